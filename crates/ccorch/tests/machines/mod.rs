//! Two machines for tests on loopback: each a real sshd in a mount and pid namespace of its own, so that the same path
//! (`/srv/w`, `/home/loops`) is another folder on each. Needs root; all of it ends with the value that holds it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(dead_code, reason = "each test binary uses its part")]

pub mod begun;
pub mod clones;

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// The workspace's user on both machines; no user of the machine the tests run on.
pub const UID: u32 = 64123;

/// What is mounted where inside a machine, relative to its folder.
const MOUNTS: [(&str, &str); 9] = [
    ("srv", "/srv"),
    ("home", "/home"),
    ("passwd", "/etc/passwd"),
    ("group", "/etc/group"),
    ("shadow", "/etc/shadow"),
    ("bin", "/usr/local/bin"),
    ("lib", "/var/lib"),
    ("ssh", "/etc/ssh"),
    ("opt", "/opt"),
];

pub struct Machine {
    pub dir: PathBuf,
    pub port: u16,
    pub host_key: String,
    child: Option<Child>,
}

impl Machine {
    fn new(dir: PathBuf, key: &Path) -> Self {
        for folder in ["srv/w", "home/loops", "home/admin", "bin", "lib", "ssh/ssh_config.d", "opt"] {
            fs::create_dir_all(dir.join(folder)).unwrap();
        }
        let write = |name: &str, text: &str| fs::write(dir.join(name), text).unwrap();
        // A home of its own for root: what the developer's shell does at start is no part of a test.
        let user = |name: &str, uid: u32, home: &str| format!("{name}:x:{uid}:{uid}::{home}:/bin/bash\n");
        let sshd = "sshd:x:105:65534::/run/sshd:/usr/sbin/nologin\n".to_owned();
        write("passwd", &[user("root", 0, "/home/admin"), sshd, user("loops", UID, "/home/loops")].concat());
        write("group", &format!("root:x:0:\nnogroup:x:65534:\nloops:x:{UID}:\n"));
        write("shadow", "root:*:19000:0:99999:7:::\nloops:*:19000:0:99999:7:::\n");
        for folder in ["srv/w", "home/loops"] {
            chown(dir.join(folder), Some(UID), Some(UID)).unwrap();
        }
        let host_key = dir.join("host_key");
        keygen(&host_key);
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let shown = dir.display();
        write(
            "sshd_config",
            &format!(
                "Port {port}\nListenAddress 127.0.0.1\nHostKey {shown}/host_key\nPidFile none\nUsePAM no\nStrictModes no\nAuthorizedKeysFile {}.pub\n",
                key.display()
            ),
        );
        let host_key = fs::read_to_string(host_key.with_extension("pub")).unwrap();
        let mut machine = Self { dir, port, host_key: host_key.trim().into(), child: None };
        machine.start("");
        machine
    }

    /// Boots it; `more` is done in its namespace before sshd starts.
    pub fn start(&mut self, more: &str) {
        let dir = self.dir.display();
        let mut script = "set -e; mount -t tmpfs tmpfs /run; mkdir /run/sshd\n".to_owned();
        for (from, to) in MOUNTS {
            script += &format!("mount --bind {dir}/{from} {to}\n");
        }
        script += &format!("{more}\nexec /usr/sbin/sshd -D -e -f {dir}/sshd_config\n");
        let namespaces =
            ["--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--propagation", "private"];
        let log = fs::File::create(self.dir.join("log")).unwrap();
        let mut command = Command::new("unshare");
        command.args(namespaces).args(["sh", "-c", &script]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        self.child = Some(command.spawn().unwrap());
        let deadline = Instant::now() + Duration::from_secs(120);
        while std::net::TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            let log = || fs::read_to_string(self.dir.join("log")).unwrap_or_default();
            assert!(Instant::now() < deadline, "sshd does not answer: {}", log());
            std::thread::yield_now();
        }
    }

    pub fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
            // Its namespace ends a moment later than its first process.
            let deadline = Instant::now() + Duration::from_secs(120);
            while std::net::TcpStream::connect(("127.0.0.1", self.port)).is_ok() && Instant::now() < deadline
            {
                std::thread::yield_now();
            }
        }
    }

    /// A path of the machine as seen from outside.
    pub fn path(&self, inside: &str) -> PathBuf {
        let mount = MOUNTS.iter().find(|(_, to)| inside.starts_with(*to)).unwrap();
        self.dir.join(mount.0).join(inside[mount.1.len()..].trim_start_matches('/'))
    }

    pub fn read(&self, inside: &str) -> String {
        let path = self.path(inside);
        fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
    }

    /// Writes a file of the workspace's user.
    pub fn put(&self, inside: &str, text: &str) {
        let path = self.path(inside);
        let mut above: Vec<&Path> = path.ancestors().skip(1).take_while(|p| !p.exists()).collect();
        above.reverse();
        for folder in above {
            fs::create_dir(folder).unwrap();
            chown(folder, Some(UID), Some(UID)).unwrap();
        }
        fs::write(&path, text).unwrap();
        chown(&path, Some(UID), Some(UID)).unwrap();
    }

    /// Runs a script as the workspace's user, in a folder of the machine.
    pub fn sh(&self, inside: &str, script: &str) -> String {
        as_user(&self.path(inside), script)
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.stop();
    }
}

pub struct Bed {
    // Before the folder: machines end first.
    pub pi: Machine,
    pub vm: Machine,
    pub dir: tempfile::TempDir,
}

impl Bed {
    pub fn new() -> Self {
        // Short: ssh's sockets live below it.
        let dir = tempfile::Builder::new().prefix("cc").tempdir_in("/tmp").unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let key = dir.path().join("id");
        keygen(&key);
        fs::create_dir_all(dir.path().join("operator/.ssh")).unwrap();
        let machine = |name: &str| Machine::new(dir.path().join(name), &key);
        Self { pi: machine("pi"), vm: machine("vm"), dir }
    }

    pub fn path(&self, rest: &str) -> PathBuf {
        self.dir.path().join(rest)
    }

    /// A file of the operator's.
    pub fn text(&self, rest: &str) -> String {
        fs::read_to_string(self.path(rest)).unwrap()
    }

    /// A bare repository that both machines reach, with one commit.
    pub fn remote(&self, name: &str) -> String {
        let dir = self.path(name);
        fs::create_dir(&dir).unwrap();
        chown(&dir, Some(UID), Some(UID)).unwrap();
        let script = "git init -q --bare -b main . && t=$(git mktree </dev/null) && \
            c=$(git -c user.name=a -c user.email=a@b commit-tree -m first $t) && git update-ref refs/heads/main $c";
        as_user(&dir, script);
        dir.display().to_string()
    }

    /// Writes the rig file: the given text, and both hosts.
    pub fn rig(&self, text: &str) {
        let host = |m: &Machine| {
            format!("{{ ssh: root@127.0.0.1, port: {}, host_key: \"{}\", identity: id }}", m.port, m.host_key)
        };
        let hosts = format!(
            "hosts:\n  pi: {}\n  vm: {}\ncutover: {{ from: pi, to: vm }}\n",
            host(&self.pi),
            host(&self.vm)
        );
        fs::write(self.path("ccorch.yaml"), format!("{text}{hosts}")).unwrap();
    }

    /// Runs ccorch as the operator.
    pub fn ccorch(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// Runs ccorch as the operator, who does not wait for it.
    pub fn begins(&self, args: &[&str]) -> Child {
        self.command(args).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ccorch"));
        command.args(args).current_dir(self.dir.path()).env_clear();
        command.env("PATH", std::env::var("PATH").unwrap()).env("HOME", self.path("operator"));
        command.env("XDG_STATE_HOME", self.path("s"));
        command
    }

    /// Runs ccorch with a text on standard input, and demands success.
    pub fn says(&self, args: &[&str], input: &str) -> String {
        let file = self.path("input");
        fs::write(&file, input).unwrap();
        let mut command = self.command(args);
        let output = command.stdin(fs::File::open(file).unwrap()).output().unwrap();
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs ccorch and demands success; its standard output.
    pub fn ok(&self, args: &[&str]) -> String {
        let output = self.ccorch(args);
        let logs = || [&self.pi, &self.vm].map(|m| fs::read_to_string(m.dir.join("log")).unwrap_or_default());
        assert!(
            output.status.success(),
            "{args:?}: {} {:#?}",
            String::from_utf8_lossy(&output.stderr),
            logs()
        );
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs ccorch and demands this exit status; what it says from `error:` on.
    pub fn fails(&self, args: &[&str], status: i32) -> String {
        let output = self.ccorch(args);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(status), "{args:?}: {text}");
        text.find("error: ").map(|at| text[at..].to_owned()).unwrap_or(text)
    }
}

fn keygen(path: &Path) {
    let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(path).status();
    assert!(made.unwrap().success());
}

fn as_user(dir: &Path, script: &str) -> String {
    let ids = [format!("--reuid={UID}"), format!("--regid={UID}")];
    let mut command = Command::new("setpriv");
    command.args(ids).args(["--clear-groups", "sh", "-ec", script]).current_dir(dir);
    command.env("HOME", "/nonexistent").env("GIT_CONFIG_NOSYSTEM", "1");
    let output = command.output().unwrap();
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
}
