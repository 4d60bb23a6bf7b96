//! A real sshd on loopback with keys of its own.

use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::{Running, free_port, wait_for};

/// An sshd that lets this test's user in with `identity`, and ends with its value.
pub struct Sshd {
    pub dir: TempDir,
    pub port: u16,
    pub user: String,
    /// `ssh-ed25519 AAAA...`
    pub host_key: String,
    _process: Running,
}

impl Sshd {
    pub fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let host_key = keygen(&dir.path().join("host"));
        let login = keygen(&dir.path().join("id"));
        fs::write(dir.path().join("authorized"), login).unwrap();
        if fs::metadata("/proc/self").is_ok_and(|m| std::os::unix::fs::MetadataExt::uid(&m) == 0) {
            // Debian's sshd wants this folder when root starts it; its unit makes it where there is systemd.
            fs::create_dir_all("/run/sshd").unwrap();
        }
        let user = run("id", &["-un"]);
        // Another test may have been given the same port in the meantime: then sshd ends, and the next port is tried.
        let (process, port) = (0..5).find_map(|_| serve(dir.path())).expect("no sshd came up");
        Self { dir, port, user, host_key, _process: process }
    }

    pub fn identity(&self) -> PathBuf {
        self.dir.path().join("id")
    }

    /// The keys of `proxy` that say where it is.
    pub fn destination(&self) -> String {
        format!("ssh: {}@127.0.0.1, port: {}", self.user, self.port)
    }
}

fn serve(dir: &Path) -> Option<(Running, u16)> {
    let port = free_port();
    // A shell that sshd starts reads the startup files of HOME: those of this machine's user are none of the test's.
    let config = format!(
        "Port {port}\nListenAddress 127.0.0.1\nHostKey {0}/host\nAuthorizedKeysFile {0}/authorized\n\
         PidFile none\nStrictModes no\nUsePAM no\nPasswordAuthentication no\nPermitRootLogin prohibit-password\n\
         PrintMotd no\n\
         SetEnv HOME={0}\n",
        dir.display()
    );
    let file = dir.join("sshd_config");
    fs::write(&file, config).unwrap();
    let log = fs::File::create(dir.join("sshd.log")).unwrap();
    let mut command = Command::new("/usr/sbin/sshd");
    command.args(["-D", "-e", "-f"]).arg(&file).stdin(Stdio::null()).stderr(log);
    let mut process = Running(command.spawn().expect("/usr/sbin/sshd (Debian: openssh-server)"));
    let ended = |process: &mut Child| process.try_wait().unwrap().is_some();
    wait_for("sshd answers", || ended(&mut process.0) || TcpStream::connect(("127.0.0.1", port)).is_ok());
    (!ended(&mut process.0)).then_some((process, port))
}

fn keygen(file: &Path) -> String {
    let path = file.to_str().unwrap();
    run("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-C", "test", "-f", path]);
    fs::read_to_string(file.with_extension("pub")).unwrap()
}

fn run(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output().unwrap();
    assert!(output.status.success(), "{program}: {output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}
