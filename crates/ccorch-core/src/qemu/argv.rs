//! The argv of a machine (<https://www.qemu.org/docs/master/system/invocation.html>).

use std::path::Path;

use serde_json::{Value, json};

use super::{Accelerator, Files, Started};

/// Starts the machine in the background: the command returns when the machine runs, and its pid is in the pid file.
pub fn argv(name: &str, files: &Files, started: Started) -> Vec<String> {
    let shape = started.shape;
    let (accelerator, processor) = match started.accelerator {
        Accelerator::Kvm => ("kvm", "host"),
        Accelerator::Tcg => ("tcg,thread=multi", "max"),
    };
    let ssh = format!("user,id=net,hostfwd=tcp:127.0.0.1:{}-:22", shape.ssh_port);
    let serial = format!("file,id=serial,path={}", option(&files.serial()));
    let qmp = format!("unix:{},server=on,wait=off", option(&files.qmp()));
    let mut argv: Vec<String> = vec!["qemu-system-x86_64".into()];
    let mut add = |words: &[&str]| argv.extend(words.iter().map(|&word| word.to_owned()));
    add(&["-name", name, "-nodefaults", "-no-user-config"]);
    add(&["-machine", "q35", "-accel", accelerator, "-cpu", processor]);
    add(&["-smp", &shape.cpus.to_string(), "-m", &format!("{}M", shape.memory_mib)]);
    add(&["-blockdev", &disk(&files.disk()).to_string()]);
    add(&["-device", "virtio-blk-pci,drive=disk,bootindex=0"]);
    // virtio here too: the kernels of cloud images have no driver for a CD drive.
    add(&["-blockdev", &seed(&files.seed()).to_string(), "-device", "virtio-blk-pci,drive=seed"]);
    // No network boot, so no firmware for it either.
    add(&["-netdev", &ssh, "-device", "virtio-net-pci,netdev=net,romfile="]);
    // Without it a first boot may wait long for randomness to make keys from.
    add(&["-device", "virtio-rng-pci"]);
    add(&["-chardev", &serial, "-serial", "chardev:serial"]);
    // Some boot loaders hang without a screen.
    add(&["-vga", "std", "-display", "none"]);
    // `spawn=deny` and `elevateprivileges=deny` would kill it as it goes into the background (seen with QEMU 10.0).
    add(&["-sandbox", "on,obsolete=deny,resourcecontrol=deny"]);
    add(&["-qmp", &qmp, "-pidfile", &files.pid().to_string_lossy(), "-daemonize"]);
    argv
}

fn disk(path: &Path) -> Value {
    let file = json!({ "driver": "file", "filename": path.to_string_lossy() });
    // What the guest discards is given back to this machine's disk.
    json!({ "node-name": "disk", "driver": "qcow2", "discard": "unmap", "file": file })
}

fn seed(path: &Path) -> Value {
    let file = json!({ "driver": "file", "filename": path.to_string_lossy() });
    json!({ "node-name": "seed", "driver": "raw", "read-only": true, "file": file })
}

/// A path inside an option: there a comma is doubled.
fn option(path: &Path) -> String {
    path.to_string_lossy().replace(',', ",,")
}
