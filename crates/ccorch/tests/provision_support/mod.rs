//! A hermetic place to run `ccorch provision` in: a rig file, a client certificate, an ssh key pair, own state.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

/// A folder with all that the verb reads, and the operator's state.
pub struct Place {
    dir: TempDir,
    /// Text in outputs that differs from run to run, and what stands for it.
    pub names: Vec<(String, String)>,
}

impl Place {
    /// A certificate that no server knows, an ssh key pair, no rig file yet.
    pub fn new() -> Self {
        let place = Self { dir: tempfile::tempdir().unwrap(), names: Vec::new() };
        let pair = rcgen::generate_simple_self_signed(["ccorch-test".into()]).unwrap();
        place.write("client.crt", &pair.cert.pem(), 0o644);
        place.write("client.key", &pair.signing_key.serialize_pem(), 0o600);
        place.ssh_key("operator");
        place
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Writes a file with this mode.
    pub fn write(&self, name: &str, text: &str, mode: u32) {
        let path = self.dir().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    }

    /// Makes an ssh key pair: NAME and NAME.pub.
    pub fn ssh_key(&self, name: &str) {
        let made = Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-C", "test", "-f"])
            .arg(self.dir().join(name))
            .status();
        assert!(made.unwrap().success());
    }

    /// Writes a rig file whose one host has these lines (YAML, flow or block, without indent).
    pub fn rig(&self, host: &str, settings: &str) {
        let settings: String = settings.lines().map(|line| format!("    {line}\n")).collect();
        let text = format!(
            "rig: test\n\
             workspace: {{ root: /srv/test, user: loops, repositories: {{ \".\": {{ url: \"ssh://git@x/y.git\", branch: main }} }} }}\n\
             phases: [{{ id: \"1\", plan: plan.md }}]\n\
             loops: {{ builder: {{ agent: claude, workdir: \".\", prompt: prompt.md }} }}\n\
             hosts:\n  {host}:\n{settings}"
        );
        self.write("ccorch.yaml", &text, 0o644);
    }

    /// `ccorch provision` with these arguments, not started yet.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ccorch"));
        command.arg("provision").args(args).current_dir(self.dir()).stdin(Stdio::null());
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("HOME", self.dir()).env("XDG_STATE_HOME", self.dir().join("state"));
        // No authority of this machine counts, whatever it has.
        command
            .env("SSL_CERT_FILE", self.dir().join("authorities.pem"))
            .env("SSL_CERT_DIR", self.dir().join("none"));
        command
    }

    /// Runs it; status and both streams as one text.
    pub fn run(&self, args: &[&str]) -> String {
        self.shown(&self.command(args).output().unwrap())
    }

    /// Status and both streams, elapsed times and [`Place::names`] replaced.
    pub fn shown(&self, output: &Output) -> String {
        let mut text = format!("status {}\n", output.status.code().unwrap());
        for (name, stream) in [("out", &output.stdout), ("err", &output.stderr)] {
            for line in String::from_utf8_lossy(stream).lines() {
                text.push_str(&format!("{name}| {}\n", without_time(line)));
            }
        }
        let own = (self.dir().display().to_string(), "DIR".to_owned());
        self.names.iter().chain([&own]).fold(text, |text, (from, to)| text.replace(from, to))
    }
}

/// `   0.1 s  asking` becomes `- asking`.
fn without_time(line: &str) -> String {
    match line.split_once(" s  ") {
        Some((time, said)) if time.trim().parse::<f64>().is_ok() => format!("- {said}"),
        _ => line.into(),
    }
}
