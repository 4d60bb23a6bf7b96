//! A container of the test bed as a host of a rig: real systemd, sshd, tmux and git, and the operator beside it.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// Nothing waited for takes near as long; a loaded machine gets far more than it takes.
const PATIENCE: Duration = Duration::from_secs(120);

pub struct Container {
    bed: Value,
    name: String,
    address: String,
    /// The operator's folder: rig file, key, state.
    pub dir: tempfile::TempDir,
}

impl Container {
    /// Launches one and makes it a host.
    pub fn installed(name: &str, rig: &str) -> Self {
        let made = Self::launched(name);
        made.becomes(rig);
        made
    }

    /// Launches one that the operator's key opens.
    pub fn launched(name: &str) -> Self {
        let bed = fs::read(std::env::var("CCORCH_TESTBED").unwrap()).unwrap();
        let dir = tempfile::Builder::new().prefix("cc").tempdir_in("/tmp").unwrap();
        let name = format!("{name}-{}", std::process::id());
        let bed = serde_json::from_slice(&bed).unwrap();
        let mut made = Self { bed, name, address: String::new(), dir };
        let key = made.dir.path().join("id");
        let keygen = Command::new("ssh-keygen").args(["-qt", "ed25519", "-N", "", "-f"]).arg(&key).status();
        assert!(keygen.unwrap().success());
        let public = fs::read_to_string(key.with_extension("pub")).unwrap();
        let user_data = format!(
            "cloud-init.user-data=#cloud-config\nlocale: false\ndisable_root: false\nssh_authorized_keys: [{}]\n",
            public.trim()
        );
        let image = made.bed["image"].as_str().unwrap();
        made.incus(&["launch", image, &made.name, "-c", &user_data]);
        made.address = made.first("ip -4 -o addr show eth0 | sed 's/.*inet \\([0-9.]*\\).*/\\1/'");
        let host_key = made.first("cut -d' ' -f1,2 /etc/ssh/ssh_host_ed25519_key.pub");
        fs::write(made.dir.path().join("known"), format!("{} {host_key}\n", made.address)).unwrap();
        made.until_holds("cloud-init status | grep -q done");
        made
    }

    /// Writes the rig file (`HOST` in it becomes the entry of `vm`) and runs `ccorch host install`.
    pub fn becomes(&self, rig: &str) {
        let known = fs::read_to_string(self.dir.path().join("known")).unwrap();
        let (address, host_key) = known.trim().split_once(' ').unwrap();
        let host = format!("{{ ssh: \"root@{address}\", host_key: \"{host_key}\", identity: id }}");
        fs::write(self.dir.path().join("ccorch.yaml"), rig.replace("HOST", &host)).unwrap();
        self.operator(&["host", "install", "vm"]);
    }

    fn incus_command(&self) -> Command {
        let mut command = Command::new("incus");
        command.env("INCUS_DIR", self.bed["incus_dir"].as_str().unwrap());
        command.arg("--project").arg(self.bed["project"].as_str().unwrap()).stdin(Stdio::null());
        command
    }

    fn incus(&self, args: &[&str]) {
        let output = self.incus_command().args(args).output().unwrap();
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// What a script prints there, as soon as it prints something: how ssh's own needs are found.
    fn first(&self, script: &str) -> String {
        self.until(script, || {
            let output = self.incus_command().args(["exec", &self.name, "--", "sh", "-c", script]).output();
            let text = String::from_utf8_lossy(&output.unwrap().stdout).trim().to_owned();
            (!text.is_empty()).then_some(text)
        })
    }

    /// Runs a script there as root, whatever its status. Over ssh: `incus exec` loses the output of one call in some
    /// hundreds on a loaded machine (seen).
    pub fn sh(&self, script: &str) -> Output {
        let mut command = Command::new("ssh");
        command.args(["-F", "none", "-T", "-i"]).arg(self.dir.path().join("id"));
        command.arg("-o").arg(format!("UserKnownHostsFile={}", self.dir.path().join("known").display()));
        for option in ["BatchMode=yes", "LogLevel=ERROR", "ConnectTimeout=5", "ServerAliveInterval=5"] {
            command.args(["-o", option]);
        }
        command.arg(format!("root@{}", self.address)).arg(script).stdin(Stdio::null()).output().unwrap()
    }

    /// Runs a script there that must end well; what it prints.
    pub fn tells(&self, script: &str) -> String {
        let output = self.sh(script);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: `{script}`: {} {error}", self.name, output.status);
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Whether a script ends well there.
    pub fn holds(&self, script: &str) -> bool {
        self.sh(script).status.success()
    }

    /// Waits until a script ends well there.
    pub fn until_holds(&self, script: &str) {
        self.until(script, || self.holds(script).then_some(()));
    }

    /// Looks until there is something to return.
    pub fn until<T>(&self, what: &str, look: impl Fn() -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = look() {
                return found;
            }
            assert!(Instant::now() < deadline, "{}: waited in vain for {what}\n{}", self.name, self.state());
        }
    }

    /// What helps to understand a failure.
    fn state(&self) -> String {
        let script =
            "timeout 10 ccorch status; tail -n 15 /var/lib/ccorch/events.jsonl; journalctl -n 40 --no-pager";
        String::from_utf8_lossy(&self.sh(script).stdout).into_owned()
    }

    /// Runs ccorch as the operator, who must succeed.
    pub fn operator(&self, args: &[&str]) -> String {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ccorch"));
        command.args(args).current_dir(self.dir.path()).env_clear();
        command.env("PATH", std::env::var("PATH").unwrap()).env("HOME", self.dir.path());
        let output = command.env("XDG_STATE_HOME", self.dir.path().join("s")).output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{args:?}: {error}\n{}", self.state());
        String::from_utf8(output.stdout).unwrap()
    }

    /// Copies a file there, executable.
    pub fn push(&self, from: &Path, to: &str) {
        let target = format!("{}{to}", self.name);
        self.incus(&["file", "push", "--mode=0755", &from.display().to_string(), &target]);
    }

    /// Shuts it down in order and boots it; the new boot's id.
    pub fn reboot(&self) -> String {
        let before = self.boot_id();
        self.incus(&["restart", "--timeout", "100", &self.name]);
        self.until("another boot", || {
            let output = self.sh("cat /proc/sys/kernel/random/boot_id");
            let now = String::from_utf8_lossy(&output.stdout).trim().to_owned();
            (output.status.success() && now != before && self.holds("systemctl is-active -q dbus"))
                .then_some(now)
        })
    }

    pub fn boot_id(&self) -> String {
        self.tells("cat /proc/sys/kernel/random/boot_id")
    }

    /// `ccorch status --json` there.
    pub fn status(&self) -> Value {
        let output = self.sh("ccorch status --json");
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
            panic!("{error}: {} {}", String::from_utf8_lossy(&output.stderr), self.state())
        })
    }

    /// One loop as its supervisor sees it.
    pub fn report(&self, name: &str) -> Value {
        let status = self.status();
        status["loops"].as_array().unwrap().iter().find(|l| l["name"] == name).unwrap().clone()
    }

    /// Waits until every loop runs and nothing is degraded.
    pub fn until_well(&self) {
        self.until("a rig that is well", || {
            (self.status()["degraded"].as_array().unwrap().is_empty()).then_some(())
        });
    }

    /// Waits until the supervisor says this of a loop.
    pub fn until_loop(&self, name: &str, state: &str) -> Value {
        self.until(&format!("loop {name} to be {state}"), || {
            Some(self.report(name)).filter(|report| report["state"] == state)
        })
    }

    /// The agent's process.
    pub fn agent(&self, name: &str) -> u64 {
        self.report(name)["pid"].as_u64().unwrap()
    }

    /// One property of a loop's unit.
    pub fn unit(&self, name: &str, property: &str) -> String {
        self.tells(&format!("systemctl show --value -p {property} ccorch-loop@{name}.service"))
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.state());
        }
        let _ = self.incus_command().args(["delete", "--force", &self.name]).output();
    }
}
