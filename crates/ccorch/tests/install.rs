//! `ccorch host install` and `uninstall` on a real systemd machine: a container of the test bed.
//!
//! Run with `--features bed-tests` and CCORCH_TESTBED naming the bed's `bed.json`.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

struct Container {
    state: serde_json::Value,
    name: String,
    dir: tempfile::TempDir,
}

impl Container {
    /// Launches one with the operator's key, and writes a rig file that names it.
    fn launch(name: &str) -> Self {
        let state = fs::read(std::env::var("CCORCH_TESTBED").unwrap()).unwrap();
        let dir = tempfile::Builder::new().prefix("cc").tempdir_in("/tmp").unwrap();
        let name = format!("{name}-{}", std::process::id());
        let made = Self { state: serde_json::from_slice(&state).unwrap(), name, dir };
        let key = made.dir.path().join("id");
        let keygen = Command::new("ssh-keygen").args(["-qt", "ed25519", "-N", "", "-f"]).arg(&key).status();
        assert!(keygen.unwrap().success());
        let public = fs::read_to_string(key.with_extension("pub")).unwrap();
        let user_data = format!(
            "cloud-init.user-data=#cloud-config\nlocale: false\ndisable_root: false\nssh_authorized_keys: [{}]\n",
            public.trim()
        );
        let image = made.state["image"].as_str().unwrap();
        made.incus(&["launch", image, &made.name, "-c", &user_data]);
        made.wait("cloud-init", || made.inside("cloud-init status 2>/dev/null").contains("done"));
        let address = || made.inside("ip -4 -o addr show eth0 | sed 's/.*inet \\([0-9.]*\\).*/\\1/'");
        made.wait("address", || !address().is_empty());
        let host_key = made.inside("cut -d' ' -f1,2 /etc/ssh/ssh_host_ed25519_key.pub");
        let rig = format!(
            r#"
rig: demo
workspace: {{ root: /srv/w, user: loops, repositories: {{}} }}
phases: [{{ id: a, plan: a.md }}]
loops: {{ one: {{ agent: command, workdir: ., command: [sleep, "9"] }} }}
proxy: {{ backend: ssh, ssh: git@gate, host_key: "{host_key}", hosts: [inner.example.org] }}
hosts: {{ vm: {{ ssh: "root@{}", host_key: "{host_key}", identity: id }} }}
"#,
            address()
        );
        fs::write(made.dir.path().join("ccorch.yaml"), rig).unwrap();
        made
    }

    fn incus_command(&self) -> Command {
        let mut command = Command::new("incus");
        command.env("INCUS_DIR", self.state["incus_dir"].as_str().unwrap());
        command.arg("--project").arg(self.state["project"].as_str().unwrap()).stdin(Stdio::null());
        command
    }

    fn incus(&self, args: &[&str]) -> String {
        let output = self.incus_command().args(args).output().unwrap();
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Runs a script on the machine, whatever its status; its output.
    fn inside(&self, script: &str) -> String {
        let output = self.incus_command().args(["exec", &self.name, "--", "sh", "-c", script]).output();
        String::from_utf8_lossy(&output.unwrap().stdout).trim().to_owned()
    }

    fn wait(&self, what: &str, done: impl Fn() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(120);
        while !done() {
            assert!(Instant::now() < deadline, "{}: no {what}", self.name);
        }
    }

    fn ccorch(&self, args: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ccorch"));
        command
            .args(args)
            .current_dir(self.dir.path())
            .env_clear()
            .env("PATH", std::env::var("PATH").unwrap());
        command
            .env("HOME", self.dir.path())
            .env("XDG_STATE_HOME", self.dir.path().join("s"))
            .output()
            .unwrap()
    }

    fn ok(&self, args: &[&str]) -> String {
        let output = self.ccorch(args);
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn fails(&self, args: &[&str], status: i32) -> String {
        let output = self.ccorch(args);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(status), "{args:?}: {text}");
        text
    }

    /// Inode, change and modification time of everything an installation could touch.
    fn snapshot(&self) -> String {
        let places = "/etc/ccorch /etc/systemd/system /etc/ssh /usr/local/bin /srv /etc/passwd /home";
        self.inside(&format!("find {places} -printf '%i %C@ %T@ %m %p\\n' | sort"))
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let _ = self.incus_command().args(["delete", "--force", &self.name]).output();
    }
}

#[test]
fn installed_once_kept_and_taken_back() {
    let vm = Container::launch("install");
    let bare = vm.snapshot();
    assert!(vm.ok(&["host", "install", "vm", "--dry-run"]).contains("create user loops"));
    assert_eq!(vm.snapshot(), bare, "a dry run changes nothing");

    assert!(vm.ok(&["host", "install", "vm", "--ssh-config"]).contains("nothing was started"));
    assert_eq!(
        vm.inside("systemctl is-enabled ccorch.target; systemctl is-active ccorch.target"),
        "enabled\ninactive"
    );
    assert_eq!(
        vm.inside("stat -c '%U %a' /srv/w /etc/ccorch /etc/ccorch/rig.json"),
        "loops 755\nroot 755\nroot 644"
    );
    assert_eq!(vm.inside("cat /etc/ccorch/host; getent shadow loops | cut -d: -f2"), "vm\n!");
    assert!(!vm.inside("cat /etc/ccorch/rig.json").contains("identity"));
    let proxy = vm.inside("ssh -G inner.example.org | grep -i proxycommand");
    assert_eq!(proxy, "proxycommand /usr/local/bin/ccorch connect %h %p");
    let installed = vm.snapshot();
    let all_options = &["host", "install", "vm", "--ssh-config", "--install-packages"];
    for args in [&all_options[..], &["host", "install", "vm"]] {
        assert_eq!(vm.ok(args), "vm: nothing to do\n");
    }
    assert_eq!(vm.snapshot(), installed, "a second run changes nothing");

    // A stale unit of an older version goes, somebody's own drop-in stays.
    vm.inside("cd /etc/systemd/system; cp ccorch.target ccorch-old.target; echo /etc/systemd/system/ccorch-old.target >>/etc/ccorch/installed; mkdir -p ccorch.target.d; echo '[Unit]' >ccorch.target.d/mine.conf");
    vm.ok(&["host", "install", "vm"]);
    assert_eq!(
        vm.inside("cd /etc/systemd/system; ls -d ccorch-old.target ccorch.target.d/mine.conf 2>/dev/null"),
        "ccorch.target.d/mine.conf"
    );
    // A run that was ended half-way is taken up.
    vm.inside("sed -i '1i unfinished' /etc/ccorch/installed; rm /etc/systemd/system/ccorch-loops.slice");
    assert!(vm.ok(&["host", "install", "vm", "--json"]).contains("verify the units"));
    assert_eq!(vm.ok(&["host", "install", "vm"]), "vm: nothing to do\n");

    let installed = vm.snapshot();
    let would = vm.ok(&["host", "uninstall", "vm", "--dry-run"]);
    for line in ["vm: would stop ccorch.target and remove", "  /etc/ccorch", "  /usr/local/bin/ccorch"] {
        assert!(would.lines().any(|l| l == line), "{line}: {would}");
    }
    assert_eq!(vm.snapshot(), installed, "a dry run changes nothing");
    assert_eq!(vm.inside("systemctl is-enabled ccorch.target"), "enabled");
    let removed = vm.ok(&["host", "uninstall", "vm"]);
    assert!(removed.contains("ccorch is gone"), "{removed}");
    assert_eq!(vm.inside("ls /etc/ccorch /usr/local/bin /etc/ssh/ssh_config.d; find /etc/systemd -name 'ccorch*' ! -name '*.d'"), "/etc/ssh/ssh_config.d:\n\n/usr/local/bin:");
    assert_eq!(vm.inside("stat -c %U /srv/w"), "loops");
    assert_eq!(vm.ok(&["host", "uninstall", "vm"]), "vm: nothing to do\n");
}

#[test]
fn what_cannot_run_there_is_not_switched_to() {
    let vm = Container::launch("refuse");
    let mut foreign = fs::read("/bin/true").unwrap();
    // aarch64 on x86_64, and the other way round.
    foreign[18] = if foreign[18] == 183 { 62 } else { 183 };
    let file: PathBuf = vm.dir.path().join("foreign");
    fs::File::create(&file).unwrap().write_all(&foreign).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    let bare = vm.inside("find /etc/ccorch /usr/local/bin /etc/systemd/system | sort");
    let error = vm.fails(&["host", "install", "vm", "--binary", "foreign"], 7);
    assert!(error.contains("cannot execute binary file: Exec format error"), "{error}");
    assert!(
        error.contains("nothing was switched")
            && error.contains("hint: name a ccorch built for that machine")
    );
    fs::write(&file, of_a_newer_libc()).unwrap();
    let error = vm.fails(&["host", "install", "vm", "--binary", "foreign"], 7);
    assert!(error.contains("version `GLIBC_9.") && error.contains("' not found"), "{error}");
    assert!(
        error.contains("nothing was switched")
            && error.contains("hint: name a ccorch built for that machine")
    );
    let error = vm.fails(&["host", "install", "vm", "--binary", "/bin/true"], 7);
    assert!(error.contains("of itself"), "{error}");

    vm.inside("mount -t tmpfs -o noexec tmpfs /usr/local/bin");
    let error = vm.fails(&["host", "install", "vm"], 7);
    assert!(error.contains("Permission denied"), "{error}");
    vm.inside("umount /usr/local/bin; mount -t tmpfs -o size=1m tmpfs /usr/local/bin");
    let error = vm.fails(&["host", "install", "vm"], 7);
    assert!(error.contains("/usr/local/bin has 1 MiB free") && error.contains("hint: free space"), "{error}");
    vm.inside("umount /usr/local/bin; mv /usr/bin/tmux /usr/bin/tmux.away");
    let error = vm.fails(&["host", "install", "vm"], 7);
    assert!(error.contains("programs are missing: tmux") && error.contains("apt-get install"), "{error}");
    assert_eq!(vm.inside("find /etc/ccorch /usr/local/bin /etc/systemd/system | sort"), bare);

    vm.inside("mv /usr/bin/tmux.away /usr/bin/tmux");
    vm.ok(&["host", "install", "vm"]);
}

/// This very program, asking for a C library that is not there yet: the newest version it names, with another number.
fn of_a_newer_libc() -> Vec<u8> {
    let mut bytes = fs::read(env!("CARGO_BIN_EXE_ccorch")).unwrap();
    // As the table of version names has it: two digits, and a NUL at both ends.
    let names: Vec<usize> =
        bytes.windows(12).enumerate().filter(|(_, w)| is_version(w)).map(|(at, _)| at).collect();
    let newest = names.iter().map(|at| bytes[at + 9..at + 11].to_vec()).max().unwrap();
    for at in names {
        if bytes[at + 9..at + 11] == newest {
            bytes[at + 7] = b'9';
        }
    }
    bytes
}

fn is_version(bytes: &[u8]) -> bool {
    bytes.starts_with(b"\0GLIBC_2.") && bytes[9..11].iter().all(u8::is_ascii_digit) && bytes[11] == 0
}
