//! `ccorch-secrets.service` on a real systemd with the released sops: secrets are there before any loop starts, and what
//! is wrong fails this one unit with words, and nothing else. One container of the test bed; CCORCH_SOPS names sops.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use ccorch_io::age_identity;

use crate::container::Container;

/// One of them lies in memory and is made anew at each boot, so a loop that starts too early does not see it.
const RIG: &str = r#"
rig: demo
workspace: { root: /srv/w, user: loops, repositories: {} }
phases: [{ id: a, plan: a.md }]
loops:
  one: { agent: command, workdir: ., command: [sh, -c, "cat /dev/shm/secret > saw 2>&1; exec sleep infinity"] }
secrets:
  file: secrets.yaml
  items:
    testenv: { path: /srv/w/.testenv, mode: "0640" }
    other: { path: /dev/shm/secret }
    roots: { path: /root/secret, owner: root }
hosts: { vm: HOST }
"#;
const UNIT: &str = "ccorch-secrets.service";

/// The operator's own sops: a key that can read all, and a file for whoever is to read it.
struct Operator<'a> {
    sops: PathBuf,
    dir: &'a Path,
}

impl Operator<'_> {
    fn encrypts(&self, value: &str, recipients: &[&str]) {
        let mut argv = vec!["--encrypt", "--input-type=yaml", "--output-type=yaml", "--age"];
        let all = recipients.join(",");
        argv.extend([all.as_str(), "--output", "secrets.yaml", "clear.yaml"]);
        fs::write(
            self.dir.join("clear.yaml"),
            format!("testenv: {value}\nother: of-{value}\nroots: root-{value}\n"),
        )
        .unwrap();
        let mut command = Command::new(&self.sops);
        let output = command.args(argv).current_dir(self.dir).stdin(Stdio::null()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        fs::remove_file(self.dir.join("clear.yaml")).unwrap();
    }
}

#[test]
fn secrets_are_there_before_loops_or_one_unit_says_why_not() {
    let sops = PathBuf::from(std::env::var_os("CCORCH_SOPS").expect("CCORCH_SOPS names a sops"));
    let vm = Container::launched("secrets");
    let own = age_identity::recipient(&vm.dir.path().join("own.key")).unwrap();
    let dir = vm.dir.path().to_owned();
    let operator = Operator { sops: sops.clone(), dir: &dir };
    operator.encrypts("first", &[&own]);
    vm.becomes(RIG);
    vm.tells("rm -f /srv/w/saw");
    vm.operator(&["lease", "init", "--holder", "vm", "--host", "vm"]);

    // Without the program nothing is decrypted either, and it is named.
    no_program(&vm);
    vm.push(&sops, "/usr/local/bin/sops");
    no_key(&vm);

    let recipient = vm.operator(&["secrets", "recipient", "--host", "vm"]).trim().to_owned();
    assert_eq!(vm.tells("stat -c '%a %U' /var/lib/ccorch-secrets/age.key"), "600 root");
    useless_key(&vm);

    operator.encrypts("second", &[&own, &recipient]);
    vm.operator(&["host", "install", "vm"]);
    decrypted_at_boot(&vm);

    operator.encrypts("third", &[&own, &recipient]);
    rotated(&vm);
    let journal = vm.tells("journalctl --no-pager; cat /var/lib/ccorch/events.jsonl");
    for value in ["first", "second", "third"] {
        assert!(!journal.contains(&format!("of-{value}")), "a secret is in the journal");
    }
}

/// The unit fails with these words in its journal, and the machine is up with its loops.
fn fails(vm: &Container, words: &[&str]) {
    assert!(!vm.holds(&format!("systemctl start {UNIT}")));
    assert_eq!(vm.tells(&format!("systemctl show --value -p ActiveState {UNIT}")), "failed");
    let said = vm.tells(&format!("journalctl -b --no-pager -o cat -u {UNIT} | tail -n 20"));
    for word in words {
        assert!(said.contains(word), "`{word}` is not in: {said}");
    }
    let others = "systemctl list-units --failed --no-legend --plain | grep -v ccorch-secrets || true";
    assert_eq!(vm.tells(others), "", "other units failed too");
    assert!(!vm.holds("ls /dev/shm/secret"));
}

fn no_program(vm: &Container) {
    vm.tells("mkdir -p /var/lib/ccorch-secrets; touch /var/lib/ccorch-secrets/age.key");
    fails(vm, &["secret `other`", "sops", "no such program", "hint: install"]);
    vm.tells("rm /var/lib/ccorch-secrets/age.key");
}

fn no_key(vm: &Container) {
    vm.reboot();
    vm.until_loop("one", "running");
    fails(
        vm,
        &[
            "on vm: there is no age key /var/lib/ccorch-secrets/age.key",
            "hint: `ccorch secrets recipient --host vm` makes one",
        ],
    );
    // The loop ran without its secret, which is its owner's to know; see `RIG`.
    vm.until_holds("grep -q 'No such file' /srv/w/saw");
}

fn useless_key(vm: &Container) {
    fails(
        vm,
        &[
            "could not be decrypted with /var/lib/ccorch-secrets/age.key",
            "secrets/secrets.yaml",
            "hint:",
            "sops updatekeys",
        ],
    );
}

fn decrypted_at_boot(vm: &Container) {
    vm.tells("rm -f /srv/w/saw");
    vm.reboot();
    vm.until_loop("one", "running");
    vm.until_holds("test -s /srv/w/saw");
    assert_eq!(vm.tells("cat /srv/w/saw"), "of-second", "the loop started before its secrets were there");
    assert_eq!(vm.tells("cat /srv/w/.testenv"), "second");
    let stat = "stat -c '%a %U' /srv/w/.testenv /dev/shm/secret /root/secret";
    assert_eq!(vm.tells(stat), "640 loops\n600 loops\n600 root");
    assert!(vm.holds(&format!("systemctl is-active {UNIT}")));
}

fn rotated(vm: &Container) {
    let before = vm.agent("one");
    vm.operator(&["host", "install", "vm"]);
    vm.tells(&format!("systemctl restart {UNIT}"));
    let each = "for file in /srv/w/.testenv /dev/shm/secret /root/secret; do echo $(cat $file); done";
    assert_eq!(vm.tells(each), "third\nof-third\nroot-third");
    assert_eq!(vm.agent("one"), before, "a rotation ended an agent that did not ask for it");
    vm.until_well();
}
