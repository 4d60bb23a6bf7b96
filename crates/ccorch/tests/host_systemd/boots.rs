//! A host's boots and its lease on a real systemd: who may start what, and when. One container of the test bed, with the
//! lease's repository as a folder that can be away.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::container::Container;
use serde_json::Value;

const LOOPS: [&str; 2] = ["one", "two"];
const RIG: &str = r"
rig: demo
workspace: { root: /srv/w, user: loops, repositories: {} }
phases: [{ id: a, plan: a.md }]
loops:
  one: { agent: command, workdir: ., command: [/usr/local/bin/agent, one] }
  two: { agent: command, workdir: ., command: [/usr/local/bin/agent, two] }
lease: { remote: /var/lib/ccorch/arbiter.git, heartbeat: 2s, offline: wait }
hosts: { vm: HOST, pi: { ssh: pi@192.0.2.1 } }
";

/// A step of the walk and what it is called.
type Step = (&'static str, fn(&Container));

#[test]
fn boots_and_the_lease_decide() {
    let vm = Container::installed("boots", RIG);
    vm.push(Path::new("tests/host_systemd/agent.sh"), "/usr/local/bin/agent");
    vm.tells("mkdir -p /var/lib/ccorch; git init -q --bare /var/lib/ccorch/arbiter.git");
    vm.operator(&["lease", "init", "--holder", "vm", "--host", "vm"]);
    vm.operator(&["resume", "--host", "vm"]);
    vm.until_well();
    let steps: [Step; 4] = [
        ("a reboot in order, with a trap for root", reboot),
        ("a legacy unit under the fence", legacy),
        ("a boot without the lease's remote", offline),
        ("a lease that went elsewhere", demoted),
    ];
    for (what, step) in steps {
        let began = Instant::now();
        eprintln!("{what} ...");
        step(&vm);
        eprintln!("{what}: {:.1} s", began.elapsed().as_secs_f64());
    }
}

fn lines(vm: &Container, pattern: &str, file: &str) -> usize {
    vm.tells(&format!("grep -c '{pattern}' {file} || true")).parse().unwrap()
}

fn reboots(vm: &Container) -> Vec<Value> {
    serde_json::from_str(&vm.tells("ccorch reboots --json")).unwrap()
}

/// The receipt of this boot, when it is there.
fn receipt(vm: &Container, boot: &str) -> Value {
    let path = format!("/var/lib/ccorch/receipts/{boot}.json");
    vm.until_holds(&format!("test -s {path}"));
    serde_json::from_str(&vm.tells(&format!("cat {path}"))).unwrap()
}

/// Why a loop was stopped last, as it was recorded at that time.
fn why_stopped(vm: &Container) -> String {
    let stop = vm.tells("cat /var/lib/ccorch-loops/one/last-stop.json");
    serde_json::from_str::<Value>(&stop).unwrap()["why"].as_str().unwrap().to_owned()
}

fn silent(vm: &Container) {
    assert!(!vm.holds("pgrep -f '^/bin/sh /usr/local/bin/agent'"), "agents run");
}

fn reboot(vm: &Container) {
    assert_eq!(vm.tells("ccorch reboots --json"), "[]", "the first boot is no reboot");
    // The workspace is the agents': a link there must not lead root astray.
    vm.tells("echo precious > /etc/victim; chmod 600 /etc/victim; runuser -u loops -- ln -s /etc/victim /srv/w/REBOOTS.md");
    vm.tells("rm -f /srv/w/left");
    let boot = vm.reboot();
    let receipt = receipt(vm, &boot);
    assert_eq!((&receipt["complete"], &receipt["reboot"]["boot_id"]), (&true.into(), &boot.as_str().into()));
    // Every agent and what it had started got its TERM while the machine went down, some of them twice.
    let left = vm.tells("sort -u /srv/w/left");
    assert_eq!(left, "one agent\none child\ntwo agent\ntwo child");
    assert_eq!(why_stopped(vm), "shutdown");
    assert_eq!(vm.tells("cat /etc/victim"), "precious");
    assert_eq!(
        lines(vm, "the reboot log in the workspace was not written", "/var/lib/ccorch/events.jsonl"),
        1
    );
    let logged = reboots(vm);
    assert_eq!(logged.len(), 1);
    assert_eq!((&logged[0]["clean"], &logged[0]["boot_id"]), (&true.into(), &boot.as_str().into()));

    // Only the boot_id makes a reboot, and one receipt is all there is to a boot.
    vm.tells("rm /srv/w/REBOOTS.md; systemctl restart ccorch-supervisor.service");
    vm.tells("ccorch resume; systemctl restart ccorch.target");
    vm.until_well();
    assert_eq!(reboots(vm).len(), 1);
    assert_eq!(vm.tells(&format!("ls /var/lib/ccorch/receipts | grep -c {boot}")), "1");
    assert!(!vm.holds("test -e /srv/w/REBOOTS.md"));
}

/// The product's fence, and why it is no other.
fn legacy(vm: &Container) {
    const FENCE: &str = "[Unit]\nConditionPathExists=!/var/lib/ccorch/fenced";
    assert!(
        include_str!("../../src/cutover/legacy.rs").contains(&format!("text='{FENCE}'")),
        "the product fences otherwise by now"
    );
    let unit = r"[Service]\nType=oneshot\nExecStart=/bin/sh -c \x27echo ran >> /srv/ran\x27\n[Install]\nWantedBy=multi-user.target\n";
    vm.tells(&format!("printf '{}' > /etc/systemd/system/old.service", unit.replace(r"\x27", "\"")));
    vm.tells("systemctl daemon-reload; systemctl enable -q old.service");
    let output = vm.sh("systemctl mask old.service");
    assert!(!output.status.success(), "by now `mask` works for a unit in /etc/systemd/system");
    vm.tells("systemctl disable -q old.service; systemctl start old.service");
    assert_eq!(vm.tells("cat /srv/ran"), "ran", "`disable` keeps a start by hand away by now");

    vm.tells("systemctl enable -q old.service; mkdir -p /etc/systemd/system/old.service.d");
    vm.tells(&format!("printf '%s\\n' '{FENCE}' > /etc/systemd/system/old.service.d/90-ccorch-fence.conf"));
    vm.tells("touch /var/lib/ccorch/fenced; systemctl daemon-reload; systemctl start old.service");
    assert_eq!(vm.tells("cat /srv/ran"), "ran", "the fence does not hold against a start by hand");
    // The next step reboots, and looks again.
}

/// The supervisor may just have asked whether it may start.
fn until_inactive(vm: &Container, name: &str) {
    vm.until_holds(&format!("test $(systemctl is-active ccorch-loop@{name}.service) = inactive"));
}

fn offline(vm: &Container) {
    vm.tells("mv /var/lib/ccorch/arbiter.git /var/lib/ccorch/away.git");
    let boot = vm.reboot();
    let waits = "journalctl -b --no-pager -u ccorch-lease.service | grep -q 'no loop starts yet'".to_owned();
    vm.until_holds(&waits);
    for name in LOOPS {
        vm.until_loop(name, "fenced");
        assert!(vm.holds(&format!("systemctl start ccorch-loop@{name}.service")));
        until_inactive(vm, name);
    }
    silent(vm);
    let status = vm.sh("ccorch status");
    let text = String::from_utf8_lossy(&status.stdout).into_owned();
    assert_eq!(status.status.code(), Some(1), "{text}");
    assert!(text.contains("the lease remote is away"), "{text}");
    assert!(!vm.holds(&format!("test -e /var/lib/ccorch/receipts/{boot}.json")), "a receipt of nothing");
    assert_eq!(vm.tells("cat /srv/ran"), "ran", "the fence does not hold over a reboot");

    vm.tells("mv /var/lib/ccorch/away.git /var/lib/ccorch/arbiter.git");
    vm.until_well();
    assert_eq!(receipt(vm, &boot)["complete"], true);
    assert_eq!(reboots(vm).len(), 2);
    assert_eq!(lines(vm, "^- Reboot 2:", "/srv/w/REBOOTS.md"), 1);
    assert_eq!(lines(vm, "^- Reboot", "/srv/w/REBOOTS.md"), 1);
    // While loops run, a remote that goes away changes nothing.
    let pids = vm.agents(LOOPS);
    vm.tells("mv /var/lib/ccorch/arbiter.git /var/lib/ccorch/away.git");
    vm.until_holds("grep -q lease-unknown /var/lib/ccorch/events.jsonl");
    vm.tells("mv /var/lib/ccorch/away.git /var/lib/ccorch/arbiter.git");
    assert_eq!(vm.agents(LOOPS), pids);
}

/// Somebody gives the lease to the pi while this host's supervisor hangs.
fn demoted(vm: &Container) {
    const GIVE: &str = r#"
cd /var/lib/ccorch/arbiter.git
ref=refs/ccorch/lease/demo
blob=$(git show $ref:lease.json | python3 -c '
import json, sys
lease = json.load(sys.stdin)
lease.update(holder="pi", epoch=lease["epoch"] + 1, nonce="elsewhere")
print(json.dumps(lease))' | git hash-object -w --stdin)
tree=$(printf '100644 blob %s\tlease.json\n' "$blob" | git mktree)
git update-ref $ref "$(git -c user.name=t -c user.email=t@example.org commit-tree "$tree" -p $ref -m elsewhere)"
"#;
    let gone = |vm: &Container| {
        for name in LOOPS {
            until_inactive(vm, name);
        }
        silent(vm);
    };
    vm.tells("kill -STOP $(systemctl show --value -p MainPID ccorch-supervisor.service)");
    let began = Instant::now();
    vm.tells(GIVE);
    gone(vm);
    assert_eq!(why_stopped(vm), "fence");
    let took = began.elapsed();
    eprintln!("the loops were down {:.1} s after the push", took.as_secs_f64());
    assert!(took < Duration::from_secs(30), "with a heartbeat of 2 s this took {took:?}");
    for name in LOOPS {
        assert!(
            vm.holds(&format!("systemctl start ccorch-loop@{name}.service")),
            "a skipped start is no error"
        );
        until_inactive(vm, name);
    }
    vm.tells("kill -CONT $(systemctl show --value -p MainPID ccorch-supervisor.service)");
    for name in LOOPS {
        vm.until_loop(name, "fenced");
    }
    let status = vm.status();
    assert_eq!((&status["lease"]["state"], &status["degraded"]), (&"standby".into(), &Value::Array(vec![])));
    assert!(!vm.holds("ccorch loops start one"), "a person may start a loop on a standby host");

    // It stays so over a boot, and comes back by a person's word that the other host is gone.
    vm.reboot();
    vm.until("a supervisor", || (vm.status()["supervisor"] == true).then_some(()));
    for name in LOOPS {
        vm.until_loop(name, "fenced");
    }
    gone(vm);
    vm.tells("ccorch lease take --source pi");
    vm.operator(&["resume", "--host", "vm"]);
    vm.until_well();
}
