//! A container of the test bed as a host of a rig: real systemd, sshd, tmux and git, and the operator beside it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use serde_json::Value;

/// Nothing waited for takes near as long; a loaded machine gets far more than it takes.
const PATIENCE: Duration = Duration::from_secs(120);
/// Between two looks, so that the one who waits leaves the machine to what is waited for.
const PAUSE: Duration = Duration::from_millis(100);

/// The program under test without what only a debugger reads: two thirds of it, for which every installation would wait.
pub fn ccorch() -> &'static Path {
    static MADE: OnceLock<PathBuf> = OnceLock::new();
    MADE.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let (new, made) = (folder.join(format!("ccorch-{}", std::process::id())), folder.join("ccorch"));
        let strip = Command::new("strip").arg("-o").arg(&new).arg(env!("CARGO_BIN_EXE_ccorch")).status();
        assert!(strip.unwrap().success());
        fs::rename(new, &made).unwrap();
        made
    })
}

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
        let (key, host) = (made.dir.path().join("id"), made.dir.path().join("host"));
        for key in [&key, &host] {
            let keygen =
                Command::new("ssh-keygen").args(["-qt", "ed25519", "-N", "", "-f"]).arg(key).status();
            assert!(keygen.unwrap().success());
        }
        made.incus(&["init", made.bed["image"].as_str().unwrap(), &made.name]);
        // What cloud-init would bring, and its own four programs at this boot and at every other would take longer than
        // all else that happens there.
        made.put(&key.with_extension("pub"), "0600", "/root/.ssh/authorized_keys");
        made.put(&host, "0600", "/etc/ssh/ssh_host_ed25519_key");
        made.put(&host.with_extension("pub"), "0644", "/etc/ssh/ssh_host_ed25519_key.pub");
        made.put(Path::new("/dev/null"), "0644", "/etc/cloud/cloud-init.disabled");
        made.incus(&["start", &made.name]);
        made.address = made.first("ip -4 -o addr show eth0 | sed 's/.*inet \\([0-9.]*\\).*/\\1/'");
        let public = fs::read_to_string(host.with_extension("pub")).unwrap();
        let host_key = public.split_whitespace().take(2).collect::<Vec<_>>().join(" ");
        fs::write(made.dir.path().join("known"), format!("{} {host_key}\n", made.address)).unwrap();
        made.until_holds("systemctl is-system-running --wait | grep -q .");
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

    /// Runs a script there as root without a login, whatever its status; what it prints may be lost, see [`Self::sh`].
    pub fn exec(&self, script: &str) -> Output {
        self.incus_command().args(["exec", &self.name, "--", "sh", "-c", script]).output().unwrap()
    }

    /// What a script prints there, as soon as it prints something: how ssh's own needs are found.
    pub fn first(&self, script: &str) -> String {
        self.until(script, || {
            let text = String::from_utf8_lossy(&self.exec(script).stdout).trim().to_owned();
            (!text.is_empty()).then_some(text)
        })
    }

    /// Stops its process 1 for as long as what is returned lives.
    pub fn frozen(&self) -> Frozen {
        let output = self.incus_command().args(["list", &self.name, "--format", "json"]).output().unwrap();
        let found: Value = serde_json::from_slice(&output.stdout).unwrap();
        let state = found.as_array().unwrap().iter().find(|one| one["name"] == self.name.as_str()).unwrap();
        let frozen = Frozen(state["state"]["pid"].as_u64().unwrap().to_string());
        frozen.send("STOP");
        frozen
    }

    /// Runs a script there as root, whatever its status. Over ssh: `incus exec` loses the output of one call in some
    /// hundreds on a loaded machine (seen).
    pub fn sh(&self, script: &str) -> Output {
        self.ssh(&[]).arg(script).output().unwrap()
    }

    /// A call by ssh. All go through one login, for a login costs the container more than most scripts.
    fn ssh(&self, more: &[&str]) -> Command {
        let mut command = Command::new("ssh");
        command.args(["-F", "none", "-T", "-i"]).arg(self.dir.path().join("id"));
        command.arg("-o").arg(format!("UserKnownHostsFile={}", self.dir.path().join("known").display()));
        command.arg("-o").arg(format!("ControlPath={}", self.dir.path().join("ssh").display()));
        for option in ["BatchMode=yes", "LogLevel=ERROR", "ConnectTimeout=5", "ServerAliveInterval=5"] {
            command.args(["-o", option]);
        }
        command.args(["-o", "ControlMaster=auto", "-o", "ControlPersist=yes"]).args(more);
        command.arg(format!("root@{}", self.address)).stdin(Stdio::null());
        command
    }

    /// Ends that login, if there is one.
    fn log_out(&self) {
        let _ = self.ssh(&["-O", "exit"]).output();
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
            std::thread::sleep(PAUSE);
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
        let mut command = Command::new(ccorch());
        command.args(args).current_dir(self.dir.path()).env_clear();
        command.env("PATH", std::env::var("PATH").unwrap()).env("HOME", self.dir.path());
        let output = command.env("XDG_STATE_HOME", self.dir.path().join("s")).output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{args:?}: {error}\n{}", self.state());
        String::from_utf8(output.stdout).unwrap()
    }

    /// Copies a file there, executable.
    pub fn push(&self, from: &Path, to: &str) {
        self.put(from, "0755", to);
    }

    /// Copies a file there as root's, whether it runs or not.
    fn put(&self, from: &Path, mode: &str, to: &str) {
        let (from, target) = (from.display().to_string(), format!("{}{to}", self.name));
        self.incus(&["file", "push", "-p", "--uid=0", "--gid=0", "--mode", mode, &from, &target]);
    }

    /// Puts the project's stand-in for an agent there, as `claude`.
    pub fn claude(&self) {
        // `cargo xtask test` has built it, and another build would wait for every other.
        if let Some(built) = std::env::var_os("CCORCH_PROGRAMS") {
            return self.push(&Path::new(&built).join("agent-stub"), "/usr/local/bin/claude");
        }
        let me = Path::new(env!("CARGO_BIN_EXE_ccorch"));
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["build", "--quiet", "--package", "agent-stub", "--manifest-path"]);
        cargo.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/../agent-stub/Cargo.toml"));
        cargo.arg("--target-dir").arg(me.ancestors().nth(2).unwrap());
        assert!(cargo.status().unwrap().success());
        self.push(&me.with_file_name("agent-stub"), "/usr/local/bin/claude");
    }

    /// Shuts it down in order and boots it; the new boot's id.
    pub fn reboot(&self) -> String {
        let before = self.boot_id();
        self.log_out();
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

    /// Loops as their supervisor sees them, all at one moment.
    pub fn reports<const N: usize>(&self, names: [&str; N]) -> [Value; N] {
        let status = self.status();
        let loops = status["loops"].as_array().unwrap();
        names.map(|name| loops.iter().find(|one| one["name"] == name).unwrap().clone())
    }

    /// One of them.
    pub fn report(&self, name: &str) -> Value {
        let [report] = self.reports([name]);
        report
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

    /// The agents' processes.
    pub fn agents<const N: usize>(&self, names: [&str; N]) -> [u64; N] {
        self.reports(names).map(|report| report["pid"].as_u64().unwrap())
    }

    /// One of them.
    pub fn agent(&self, name: &str) -> u64 {
        let [pid] = self.agents([name]);
        pid
    }

    /// One property of a loop's unit.
    pub fn unit(&self, name: &str, property: &str) -> String {
        self.tells(&format!("systemctl show --value -p {property} ccorch-loop@{name}.service"))
    }
}

/// A process 1 that does nothing at the moment.
pub struct Frozen(String);

impl Frozen {
    fn send(&self, signal: &str) {
        assert!(Command::new("kill").args(["-s", signal, &self.0]).status().unwrap().success());
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        self.send("CONT");
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.state());
        }
        self.log_out();
        let _ = self.incus_command().args(["delete", "--force", &self.name]).output();
    }
}
