//! `ccorch provision` and `ccorch vm` with `provider: qemu`: a real QEMU, for most of it with nothing to boot.

// Helpers of tests are tests, too; clippy knows only functions marked `#[test]`.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use ccorch_core::names::{HostName, RigName};
use ccorch_core::qemu::{Unit, unit, unit_name};
use common::Env;
use insta::assert_snapshot;

const RIG: &str = "
rig: t
workspace: { root: /srv/t, user: loops, repositories: {} }
phases: [{ id: a, plan: a.md }]
loops: { builder: { agent: command, workdir: ., command: [\"true\"] } }
hosts:
  vm:
    provider: qemu
    qemu: { image: image.raw, ssh_port: PORT, authorized_key: operator.pub, autostart: false }
    size: { cpus: 1, memory: 256MiB, disk: SIZE }
";
const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl op";

/// A rig with a machine whose image holds nothing; what QEMU is left at the end is ended.
struct Place {
    env: Env,
    port: u16,
}

impl Place {
    fn new() -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let env = ["qemu-system-x86_64", "qemu-img", "ssh-keygen", "xorriso"]
            .into_iter()
            .fold(Env::new(), Env::program);
        env.write("operator.pub", KEY);
        // 3 GiB of nothing, which take no space.
        fs::File::create(env.work().join("image.raw")).unwrap().set_len(3 << 30).unwrap();
        let place = Self { env, port };
        place.rig("4GiB", "");
        place
    }

    fn rig(&self, size: &str, more: &str) {
        let text = RIG.replace("PORT", &self.port.to_string()).replace("SIZE", size);
        self.env.write("ccorch.yaml", text + more);
    }

    fn files(&self) -> PathBuf {
        self.env.home().join(".local/state/ccorch/t/qemu/vm")
    }

    /// All that a run left, with the port named and the time of each progress line left out.
    fn ccorch(&self, args: &[&str]) -> String {
        let text = self.env.ccorch(args).replace(&self.port.to_string(), "PORT");
        let line = |line: &str| line.split_once(" s  ").map_or(line, |(_, rest)| rest).to_owned() + "\n";
        // Whether and how KVM fails depends on the machine.
        text.lines().filter(|l| !l.contains("KVM") && !l.contains("TCG")).map(line).collect()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.env.run(&["vm", "stop", "vm", "--force", "--timeout", "0s"]);
    }
}

#[test]
fn what_cannot_become_a_machine_is_refused_before_anything_is_made() {
    let place = Place::new();
    assert_snapshot!(place.ccorch(&["provision", "vm", "--dry-run"]), @r"
    $ ccorch provision vm --dry-run
    --- stdout
    vm: dry run
      would be created from image $TEST/work/image.raw, disk 4.0 GiB
      would be started with cpus 1, memory 256 MiB, ssh on 127.0.0.1:PORT
    --- status 0
    ");
    assert_snapshot!(place.ccorch(&["vm", "start", "vm"]), @r"
    $ ccorch vm start vm
    --- stderr
    error: host `vm` is not made yet
    hint: run `ccorch provision vm`
    --- status 7
    ");
    assert_snapshot!(place.ccorch(&["vm", "status", "vm"]), @r"
    $ ccorch vm status vm
    --- stdout
    vm: not made yet
    --- status 1
    ");
    place.rig("2GiB", "");
    assert_snapshot!(place.ccorch(&["provision", "vm"]), @r"
    $ ccorch provision vm
    --- stderr
    error: host `vm`: `size.disk` asks for 2147483648 bytes, but the image has 3221225472
    hint: correct `hosts.vm.size.disk`
    --- status 3
    ");
    place.rig("4GiB", "");
    place.env.write("operator.pub", "-----BEGIN OPENSSH PRIVATE KEY-----\n");
    assert_snapshot!(place.ccorch(&["provision", "vm"]), @r"
    $ ccorch provision vm
    --- stderr
    error: operator's public ssh key operator.pub: holds a private key, not the public one
    hint: make a pair with `ssh-keygen -t ed25519` and name its `.pub` file as `qemu.authorized_key`
    --- status 3
    ");
    place.env.write("operator.pub", KEY);
    fs::remove_file(place.env.work().join("image.raw")).unwrap();
    assert_snapshot!(place.ccorch(&["provision", "vm"]), @r"
    $ ccorch provision vm
    --- stderr
    error: host `vm`: image $TEST/work/image.raw does not exist
    hint: put a cloud image there, or correct `hosts.vm.qemu.image`
    --- status 3
    ");
    place.rig("4GiB", "  pi: { ssh: pi@pi }\n");
    assert_snapshot!(place.ccorch(&["vm", "start", "pi"]), @r"
    $ ccorch vm start pi
    --- stderr
    error: host `pi` is no local virtual machine: it needs `provider: qemu` and `qemu`
    hint: add `hosts.pi.qemu` with image, ssh_port and authorized_key
    --- status 3
    ");
    assert!(!place.files().exists());
}

#[test]
fn a_machine_that_does_not_boot_is_reported_kept_and_stopped_by_force() {
    let place = Place::new();
    assert_snapshot!(place.ccorch(&["provision", "vm", "--timeout", "3s"]), @r"
    $ ccorch provision vm --timeout 3s
    --- stderr
    creating vm in $TEST/home/.local/state/ccorch/t/qemu/vm
    error: host `vm`: no ssh after 3 s; it wrote nothing to its serial line
    hint: see $TEST/home/.local/state/ccorch/t/qemu/vm/serial.log; a cloud image with sshd and cloud-init is needed
    --- status 10
    ");
    let mode = |name: &str| fs::metadata(place.files().join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(""), mode("seed.iso"), mode("made.json")), (0o700, 0o600, 0o600));
    let status = place.env.run(&["vm", "status", "vm", "--json"]);
    assert_eq!(status.status, Some(0), "{}", status.stderr);
    let status: serde_json::Value = serde_json::from_str(&status.stdout).unwrap();
    assert_eq!((&status["state"], &status["memory_mib"]), (&"running".into(), &256.into()), "{status}");

    assert_eq!(place.env.run(&["vm", "stop", "vm", "--dry-run"]).stdout, "vm: would be stopped\n");
    assert_eq!(place.env.run(&["vm", "start", "vm", "--dry-run"]).stdout, "vm: runs already\n");
    assert_eq!(place.env.run(&["vm", "status", "vm"]).status, Some(0), "a dry run stops nothing");

    // It runs, so a larger disk has to wait for its stop.
    place.rig("8GiB", "");
    assert_snapshot!(place.ccorch(&["provision", "vm", "--dry-run"]), @r"
    $ ccorch provision vm --dry-run
    --- stderr
    error: host `vm`: the machine runs and differs from the rig file: disk: 4294967296 -> 8589934592
    hint: stop it with `ccorch vm stop vm`, then run this again
    --- status 6
    ");
    let disk = fs::read(place.files().join("made.json")).unwrap();
    assert_snapshot!(place.ccorch(&["vm", "stop", "vm", "--timeout", "0s"]), @r"
    $ ccorch vm stop vm --timeout 0s
    --- stderr
    error: host `vm`: the guest did not shut down within 0 s
    hint: look at it over ssh; `--force` cuts the power, with what that does to files being written
    --- status 10
    ");
    assert_snapshot!(place.ccorch(&["vm", "stop", "vm", "--timeout", "0s", "--force"]), @r"
    $ ccorch vm stop vm --timeout 0s --force
    --- stdout
    vm: stopped
    --- status 0
    ");
    assert_snapshot!(place.ccorch(&["vm", "stop", "vm"]), @r"
    $ ccorch vm stop vm
    --- stdout
    vm: was off already
    --- status 0
    ");
    assert_snapshot!(place.ccorch(&["provision", "vm", "--dry-run"]), @r"
    $ ccorch provision vm --dry-run
    --- stdout
    vm: dry run
      would be given a disk of 8.0 GiB in place of 4.0 GiB
      would be started with cpus 1, memory 256 MiB, ssh on 127.0.0.1:PORT
    --- status 0
    ");

    assert_snapshot!(place.ccorch(&["vm", "start", "vm", "--dry-run"]), @r"
    $ ccorch vm start vm --dry-run
    --- stdout
    vm: would be started; ssh would answer on 127.0.0.1:PORT
    --- status 0
    ");
    assert_eq!(place.env.run(&["vm", "status", "vm"]).status, Some(1), "a dry run starts nothing");

    let taken = TcpListener::bind(("127.0.0.1", place.port)).unwrap();
    assert_snapshot!(place.ccorch(&["vm", "start", "vm", "--timeout", "3s"]), @r"
    $ ccorch vm start vm --timeout 3s
    --- stderr
    error: host `vm`: port PORT of 127.0.0.1 is taken by another program
    hint: give `hosts.vm.qemu.ssh_port` a port that is free
    --- status 6
    ");
    drop(taken);
    assert_eq!(fs::read(place.files().join("made.json")).unwrap(), disk, "made once");
    place.env.write("operator.pub", KEY.replace("OMqq", "OMqr"));
    assert_snapshot!(place.ccorch(&["provision", "vm"]), @r"
    $ ccorch provision vm
    --- stderr
    error: host `vm`: the machine differs from the rig file: key: ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl -> ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqrnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl
    hint: correct the rig file; or, if nothing on the machine is needed, stop it and remove $TEST/home/.local/state/ccorch/t/qemu/vm
    --- status 6
    ");
}

#[test]
fn a_half_made_machine_is_made_again() {
    let place = Place::new();
    fs::create_dir_all(place.files()).unwrap();
    fs::write(place.files().join("disk.qcow2"), "torn").unwrap();
    let ran = place.env.run(&["provision", "vm", "--timeout", "2s"]);
    // There is nothing to boot, but the disk is whole.
    assert_eq!(ran.status, Some(10), "{}", ran.stderr);
    assert!(place.files().join("made.json").exists());
}

#[test]
fn systemd_finds_nothing_wrong_with_the_unit_of_a_machine() {
    let dir = tempfile::tempdir().unwrap();
    let (rig, host) = (RigName::new("t").unwrap(), HostName::new("vm").unwrap());
    let text = unit(&Unit {
        rig: &rig,
        host: &host,
        binary: env!("CARGO_BIN_EXE_ccorch"),
        rig_file: "/home/a b/100%/$HOME \"rig\".yaml",
        pid_file: "/s/100%/pid",
        environment: &[("HOME", "/home/a b".into())],
        wanted_by: "multi-user.target",
    });
    let path = dir.path().join(unit_name(&rig, &host));
    let verify = |text: &str| {
        fs::write(&path, text).unwrap();
        let output =
            Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&path).output().unwrap();
        (output.status.success(), String::from_utf8(output.stderr).unwrap())
    };
    assert_eq!(verify(&text), (true, String::new()));
    // That it would say something.
    assert!(verify(&text.replace("PIDFile=", "PIDFil=")).1.contains("PIDFil"));
    // Every word reaches ccorch as it was: a usage error would come before the missing file.
    let ran = Env::new().run(&[
        "--rig",
        "/home/a b/none.yaml",
        "vm",
        "start",
        "vm",
        "--direct",
        "--timeout",
        "10m",
    ]);
    assert_ne!(ran.status, Some(2), "{}", ran.stderr);
    let ran = Env::new().run(&[
        "--rig",
        "/home/a b/none.yaml",
        "vm",
        "stop",
        "vm",
        "--direct",
        "--timeout",
        "100s",
    ]);
    assert_ne!(ran.status, Some(2), "{}", ran.stderr);
}
