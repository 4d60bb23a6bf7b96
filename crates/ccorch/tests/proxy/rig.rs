//! A rig whose proxy is under test, and `ccorch proxy run` for it.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

use crate::sshd::Sshd;
use crate::{Running, ccorch, free_port, shown};

const RIG: &str = "
rig: t
workspace: { root: /srv/t, user: loops, repositories: {} }
phases: [{ id: a, plan: a.md }]
loops: { builder: { agent: command, workdir: ., command: [\"true\"] } }
hosts: { vm: { ssh: root@vm } }
";

/// A rig file in a root folder of its own.
pub struct Rig {
    dir: TempDir,
    pub port: u16,
}

impl Rig {
    /// A rig with this `proxy`; `LISTEN` in it becomes a free address.
    pub fn with(proxy: &str) -> Self {
        let (dir, port) = (tempfile::tempdir().unwrap(), free_port());
        let proxy = proxy.replace("LISTEN", &format!("127.0.0.1:{port}"));
        fs::write(dir.path().join("ccorch.yaml"), format!("{RIG}proxy: {proxy}\n")).unwrap();
        Self { dir, port }
    }

    /// A rig whose proxy is `ssh -N -D` to this sshd.
    pub fn through(sshd: &Sshd) -> Self {
        Self::with(&format!(
            "{{ listen: LISTEN, backend: ssh, {}, identity: {}, host_key: '{}' }}",
            sshd.destination(),
            sshd.identity().display(),
            sshd.host_key.trim()
        ))
    }

    pub fn file(&self) -> PathBuf {
        self.dir.path().join("ccorch.yaml")
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = ccorch();
        command.arg("--rig").arg(self.file()).args(args).env("CCORCH_ROOT", self.dir.path());
        command
    }

    pub fn output(&self, args: &[&str]) -> Output {
        self.command(args).stdin(Stdio::null()).output().unwrap()
    }

    /// What a person sees, with the changing parts named.
    pub fn shown(&self, args: &[&str]) -> String {
        let text = shown(&self.output(args));
        text.replace(&format!("127.0.0.1:{}", self.port), "PROXY")
            .replace(self.dir.path().to_str().unwrap(), "DIR")
    }

    /// Starts the proxy and waits with the unit's own condition until it answers.
    pub fn run(&self) -> Running {
        let log = fs::File::create(self.dir.path().join("log")).unwrap();
        let mut command = self.command(&["proxy", "run"]);
        let process = Running(command.stdin(Stdio::null()).stderr(log).spawn().unwrap());
        let pid = process.0.id().to_string();
        let wait = ["proxy", "check", "--listening", "--wait", "--timeout", "30s", "--while-pid", &pid];
        let waited = shown(&self.output(&wait));
        let log = fs::read_to_string(self.dir.path().join("log")).unwrap();
        assert!(waited.starts_with("status 0\n"), "{waited}{log}");
        process
    }
}
