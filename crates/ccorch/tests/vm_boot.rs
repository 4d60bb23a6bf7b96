//! A local virtual machine that boots: provisioned, run again, crashed, started, stopped.
//!
//! `cargo xtask vm test` builds the image and runs this; without KVM it takes some minutes.

// Helpers of tests are tests, too; clippy knows only functions marked `#[test]`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// A rig whose machine is the image under test.
struct Place {
    dir: TempDir,
    port: u16,
}

impl Place {
    fn new() -> Self {
        let image = std::env::var("CCORCH_TEST_VM_IMAGE").expect("run this with `cargo xtask vm test`");
        let dir = tempfile::Builder::new().prefix("ccorch-vm-").tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let rig = format!(
            "rig: t\n\
             workspace: {{ root: /srv/t, user: loops, repositories: {{}} }}\n\
             phases: [{{ id: a, plan: a.md }}]\n\
             loops: {{ builder: {{ agent: command, workdir: ., command: [\"true\"] }} }}\n\
             hosts:\n  vm:\n    provider: qemu\n    identity: id\n    \
             qemu: {{ image: {image}, ssh_port: {port}, authorized_key: id.pub, autostart: false }}\n    \
             size: {{ cpus: 2, memory: 1GiB, disk: 4GiB }}\n"
        );
        fs::write(dir.path().join("ccorch.yaml"), rig).unwrap();
        let mut keygen = Command::new("ssh-keygen");
        keygen.args(["-q", "-t", "ed25519", "-N", "", "-f", "id"]).current_dir(&dir);
        assert!(keygen.status().unwrap().success());
        Self { dir, port }
    }

    fn ccorch(&self, args: &[&str]) -> Output {
        eprintln!("$ ccorch {}", args.join(" "));
        Command::new(env!("CARGO_BIN_EXE_ccorch"))
            .args(args)
            .current_dir(&self.dir)
            .env("HOME", self.dir.path())
            .env("XDG_STATE_HOME", self.dir.path().join("s"))
            .env_remove("CCORCH_RIG")
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()
            .unwrap()
    }

    fn good(&self, args: &[&str]) -> String {
        let output = self.ccorch(args);
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{args:?}: {text}");
        text
    }

    /// A command in the guest, with the pinned key alone.
    fn guest(&self, line: &str) -> String {
        let known = format!("UserKnownHostsFile={}", self.state("known_hosts").display());
        let mut ssh = Command::new("ssh");
        ssh.args(["-F", "none", "-T", "-i", "id", "-p", &self.port.to_string()]);
        for option in ["BatchMode=yes", "StrictHostKeyChecking=yes", "HostKeyAlias=ccorch-t-vm", &known] {
            ssh.args(["-o", option]);
        }
        let output = ssh.args(["root@127.0.0.1", line]).current_dir(&self.dir).output().unwrap();
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    fn state(&self, name: &str) -> PathBuf {
        self.dir.path().join("s/ccorch/t").join(name)
    }

    fn boot_id(&self) -> String {
        self.guest("cat /proc/sys/kernel/random/boot_id")
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.ccorch(&["vm", "stop", "vm", "--timeout", "0s", "--force"]);
    }
}

#[test]
fn a_machine_is_made_once_and_comes_back_from_a_crash() {
    let place = Place::new();
    let first: Value = serde_json::from_str(&place.good(&["provision", "vm", "--json"])).unwrap();
    assert_eq!(first["machine"]["cloud_init"], "done", "{first}");
    assert_eq!(first["changes"].as_array().unwrap().len(), 3, "{first}");
    // The key was made here, and sshd there has no other.
    let key = place.guest("cat /etc/ssh/ssh_host_*_key.pub");
    assert_eq!(key.split(' ').take(2).collect::<Vec<_>>().join(" "), first["machine"]["host_key"]);
    assert_eq!(place.guest("hostname; nproc"), "vm\n2");
    let root: u64 = place.guest("df --output=size -B1 / | tail -n 1").parse().unwrap();
    assert!(root > 3 << 30, "the root file system fills its disk: {root}");
    place.guest("echo here > /root/marker && sync");

    let boot = place.boot_id();
    let second: Value = serde_json::from_str(&place.good(&["provision", "vm", "--json"])).unwrap();
    assert_eq!(second["changes"], Value::Array(Vec::new()), "{second}");
    assert_eq!(second["machine"], first["machine"]);
    assert_eq!(place.boot_id(), boot);

    // The power goes.
    let pid = fs::read_to_string(place.state("qemu/vm/pid")).unwrap();
    assert!(Command::new("kill").args(["-KILL", pid.trim()]).status().unwrap().success());
    let killed = Instant::now();
    while place.ccorch(&["vm", "status", "vm"]).status.code() != Some(1) {
        assert!(killed.elapsed() < Duration::from_secs(60), "it still runs");
    }
    let again: Value = serde_json::from_str(&place.good(&["provision", "vm", "--json"])).unwrap();
    assert_eq!(again["changes"].as_array().unwrap().len(), 1, "only started: {again}");
    assert_ne!(place.boot_id(), boot);
    assert_eq!(place.guest("cat /root/marker"), "here");

    assert_eq!(place.good(&["vm", "stop", "vm"]), "vm: stopped\n");
    assert_eq!(place.good(&["vm", "stop", "vm"]), "vm: was off already\n");
    let serial = fs::read(place.state("qemu/vm/serial.log")).unwrap();
    assert!(String::from_utf8_lossy(&serial).contains("Power down"), "the guest went down in order");
}
