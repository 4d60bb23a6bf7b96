//! The decisions about a local virtual machine.

use std::time::Duration;

use super::*;
use crate::names::{HostName, RigName};

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ0t1vV0d7m3X5C0s8m8yJ6q0mO0p5m5iQ0m5x0x0x0x";
const GIB: u64 = 1 << 30;

fn settings() -> rig::Qemu {
    rig::Qemu { image: "i.qcow2".into(), ssh_port: 2222, authorized_key: "k.pub".into() }
}

fn size(cpus: u32, memory: &str, disk: &str) -> rig::Size {
    rig::Size { cpus: Some(cpus), memory: Some(memory.into()), disk: Some(disk.into()) }
}

fn wanted(size: Option<&rig::Size>) -> Result<Wanted, BadMachine> {
    Wanted::from(&settings(), size, "/i.qcow2".into(), KEY.parse().unwrap())
}

fn made() -> Made {
    Made {
        instance_id: "id-1".into(),
        image: "/i.qcow2".into(),
        key: KEY.into(),
        host_key: "ssh-ed25519 AAAAhost".into(),
    }
}

fn there(disk: u64, running: Option<Started>) -> Facts {
    Facts { made: Some(made()), disk: Some(disk), image_disk: None, running }
}

fn started(shape: Shape) -> Option<Started> {
    Some(Started { shape, accelerator: Accelerator::Tcg })
}

#[test]
fn the_argv_of_a_machine() {
    let files = Files { dir: "/s/a,b".into() };
    let shape = wanted(None).unwrap().shape;
    let started = Started { shape, accelerator: Accelerator::Kvm };
    let kvm = argv("ccorch-t-vm", &files, started).join(" ").replace(" -", "\n-");
    insta::assert_snapshot!(kvm, @r#"
    qemu-system-x86_64
    -name ccorch-t-vm
    -nodefaults
    -no-user-config
    -machine q35
    -accel kvm
    -cpu host
    -smp 2
    -m 2048M
    -blockdev {"node-name":"disk","driver":"qcow2","discard":"unmap","file":{"driver":"file","filename":"/s/a,b/disk.qcow2"}}
    -device virtio-blk-pci,drive=disk,bootindex=0
    -blockdev {"node-name":"seed","driver":"raw","read-only":true,"file":{"driver":"file","filename":"/s/a,b/seed.iso"}}
    -device virtio-blk-pci,drive=seed
    -netdev user,id=net,hostfwd=tcp:127.0.0.1:2222-:22
    -device virtio-net-pci,netdev=net,romfile=
    -device virtio-rng-pci
    -chardev file,id=serial,path=/s/a,,b/serial.log
    -serial chardev:serial
    -vga std
    -display none
    -sandbox on,obsolete=deny,resourcecontrol=deny
    -qmp unix:/s/a,,b/qmp.sock,server=on,wait=off
    -pidfile /s/a,b/pid
    -daemonize
    "#);
    let tcg = argv("ccorch-t-vm", &files, Started { accelerator: Accelerator::Tcg, ..started });
    assert!(tcg.join(" ").contains("-accel tcg,thread=multi -cpu max"), "{tcg:?}");
}

#[test]
fn a_machine_that_is_not_there_is_made_and_started() {
    let none = Facts { made: None, disk: None, image_disk: Some(3 * GIB), running: None };
    let large = wanted(Some(&size(4, "1GiB", "30GiB"))).unwrap();
    assert_eq!(decide(&large, &none), Ok(vec![Step::Create { disk: 30 * GIB }, Step::Start]));
    let plain = wanted(None).unwrap();
    assert_eq!(decide(&plain, &none), Ok(vec![Step::Create { disk: 3 * GIB }, Step::Start]));
    // Half-made: a disk, but no word that it was finished.
    let half = Facts { disk: Some(GIB), ..none.clone() };
    assert_eq!(decide(&plain, &half), Ok(vec![Step::Create { disk: 3 * GIB }, Step::Start]));
    let no_image = Facts { image_disk: None, ..none.clone() };
    assert_eq!(decide(&plain, &no_image), Err(Refusal::NoImage("/i.qcow2".into())));
    let small = wanted(Some(&size(1, "1GiB", "2GiB"))).unwrap();
    assert!(matches!(decide(&small, &none), Err(Refusal::Shrink { what: "the image", .. })));
}

#[test]
fn a_machine_that_is_as_asked_is_left_alone_and_a_stopped_one_started() {
    let wanted = wanted(Some(&size(2, "2GiB", "30GiB"))).unwrap();
    assert_eq!(decide(&wanted, &there(30 * GIB, started(wanted.shape))), Ok(Vec::new()));
    assert_eq!(decide(&wanted, &there(30 * GIB, None)), Ok(vec![Step::Start]));
    let grow = Step::Grow { from: 20 * GIB, to: 30 * GIB };
    assert_eq!(decide(&wanted, &there(20 * GIB, None)), Ok(vec![grow, Step::Start]));
}

#[test]
fn what_cannot_be_changed_in_place_is_refused_with_all_differences() {
    let wanted = wanted(Some(&size(4, "4GiB", "30GiB"))).unwrap();
    let running = Shape { cpus: 2, memory_mib: 2048, ssh_port: 2222 };
    let refusal = decide(&wanted, &there(20 * GIB, started(running))).unwrap_err();
    insta::assert_snapshot!(refusal, @r"
    the machine runs and differs from the rig file: cpus: 2 -> 4; memory (MiB): 2048 -> 4096; disk: 21474836480 -> 32212254720
    ");
    let other = Made { image: "/old.qcow2".into(), ..made() };
    let facts = Facts { made: Some(other), ..there(30 * GIB, None) };
    insta::assert_snapshot!(decide(&wanted, &facts).unwrap_err(), @r"
    the machine differs from the rig file: image: /old.qcow2 -> /i.qcow2
    ");
    assert!(matches!(decide(&wanted, &there(40 * GIB, None)), Err(Refusal::Shrink { .. })));
}

#[test]
fn sizes_that_make_no_machine_name_their_key() {
    for (cpus, memory, disk, key) in [
        (0, "2GiB", "30GiB", "size.cpus"),
        (1, "two", "30GiB", "size.memory"),
        (1, "64MiB", "30GiB", "size.memory"),
        (1, "2GiB", "30%", "size.disk"),
    ] {
        let error = wanted(Some(&size(cpus, memory, disk))).unwrap_err().to_string();
        assert!(error.starts_with(&format!("`{key}: ")), "{error}");
    }
}

#[test]
fn kvm_is_used_where_it_works_and_left_where_it_fails_the_guest() {
    use Accelerator::{Kvm, Tcg};
    assert_eq!(
        [(true, false), (true, true), (false, false)].map(|(o, f)| accelerator(o, f)),
        [Kvm, Tcg, Tcg]
    );
    let short = Duration::ZERO;
    assert_eq!(judge(Kvm, "internal-error", short), Verdict::FallBack);
    assert_eq!(judge(Tcg, "internal-error", short), Verdict::Broken);
    for state in ["running", "prelaunch", "inmigrate"] {
        assert_eq!(judge(Kvm, state, short), Verdict::Wait);
    }
    assert_eq!(judge(Kvm, "running", QUIET), Verdict::FallBack);
    assert_eq!(judge(Tcg, "running", 100 * QUIET), Verdict::Wait);
    for state in ["io-error", "shutdown", "guest-panicked"] {
        assert_eq!(judge(Kvm, state, QUIET), Verdict::Broken);
    }
}

#[test]
fn the_seed_lets_the_operator_in_and_brings_the_host_key() {
    let private = "-----BEGIN OPENSSH PRIVATE KEY-----\nabc\ndef\n-----END OPENSSH PRIVATE KEY-----\n";
    let key: PublicKey = KEY.parse().unwrap();
    let host_key = HostKey { private: private.into(), public: key.clone() };
    let seed = seed(&HostName::new("vm").unwrap(), &made(), &key, &host_key);
    assert_eq!(seed.meta_data, "instance-id: id-1\nlocal-hostname: vm\n");
    assert!(seed.user_data.starts_with("#cloud-config\n"));
    let yaml: serde_json::Value = serde_yaml::from_str(&seed.user_data).unwrap();
    assert_eq!(yaml["ssh_keys"]["ed25519_private"], private);
    assert_eq!(yaml["ssh_keys"]["ed25519_public"], KEY);
    assert_eq!(yaml["users"][0]["ssh_authorized_keys"][0], KEY);
    assert!(!format!("{host_key:?}").contains("abc"));
}

#[test]
fn the_unit_quotes_what_systemd_would_expand() {
    let (rig, host) = (RigName::new("t").unwrap(), HostName::new("vm").unwrap());
    let text = unit(&Unit {
        rig: &rig,
        host: &host,
        binary: "/usr/local/bin/ccorch",
        rig_file: "/home/a b/100%/$x.yaml",
        pid_file: "/s/100%/pid",
        environment: &[("HOME", "/home/a b".into())],
        wanted_by: "multi-user.target",
    });
    assert_eq!(unit_name(&rig, &host), "ccorch-vm-t-vm.service");
    insta::assert_snapshot!(text, @r#"
    # Written by ccorch provision.

    [Unit]
    Description=Virtual machine vm of the rig t (ccorch)

    [Service]
    Type=forking
    PIDFile=/s/100%%/pid
    Environment="HOME=/home/a b"
    ExecStart="/usr/local/bin/ccorch" --rig "/home/a b/100%%/$$x.yaml" vm start vm --direct --timeout 10m
    ExecStop="/usr/local/bin/ccorch" --rig "/home/a b/100%%/$$x.yaml" vm stop vm --direct --timeout 100s
    TimeoutStartSec=11min
    TimeoutStopSec=2min
    # The guest is asked first; only what is left after that gets a signal.
    KillMode=mixed
    Restart=on-failure
    RestartSec=10

    [Install]
    WantedBy=multi-user.target
    "#);
}
