//! A bootable Debian disk with cloud-init, made from packages without mounting anything.
//!
//! `mke2fs -d` fills the file system, and GRUB is put before it by hand: boot.img in the first sector, core.img behind it,
//! where it looks for it when nothing else is written into it (GRUB manual, "BIOS installation", MBR).

use std::fs::{self, File};
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use indoc::indoc;
use sha2::{Digest as _, Sha256};

use crate::bed::{Layout, image};
use crate::run::Run;

/// What building and booting it needs on this machine.
pub const NEEDED: &[&str] = &[
    "mmdebstrap",
    "fdisk",
    "e2fsprogs",
    "grub-common",
    "grub-pc-bin",
    "qemu-system-x86",
    "qemu-utils",
    "xorriso",
    "openssh-client",
];

/// What is in it: what a rig's host needs, a kernel, and what makes the root file system fill its disk.
const PACKAGES: &[&str] = &[
    "systemd",
    "systemd-sysv",
    "libpam-systemd",
    "libnss-systemd",
    "dbus",
    "udev",
    "ifupdown",
    "isc-dhcp-client",
    "openssh-server",
    "cloud-init",
    "cloud-guest-utils",
    "fdisk",
    "e2fsprogs",
    "tmux",
    "git",
    "rsync",
    "sudo",
    "procps",
    "iproute2",
    "ca-certificates",
    "linux-image-cloud-amd64",
];

/// What must be each machine's own.
const REMOVED: &[&str] = &[
    "etc/hostname",
    "etc/ssh/ssh_host_ecdsa_key",
    "etc/ssh/ssh_host_ecdsa_key.pub",
    "etc/ssh/ssh_host_ed25519_key",
    "etc/ssh/ssh_host_ed25519_key.pub",
    "etc/ssh/ssh_host_rsa_key",
    "etc/ssh/ssh_host_rsa_key.pub",
    "var/lib/dbus/machine-id",
];

/// Written into it: path and text.
const FILES: &[(&str, &str)] = &[
    ("etc/machine-id", ""),
    ("etc/fstab", "LABEL=root / ext4 defaults 0 1\n"),
    ("etc/cloud/cloud.cfg.d/90-image.cfg", "datasource_list: [NoCloud, None]\n"),
    (
        "boot/grub/grub.cfg",
        indoc! {"
            linux /vmlinuz root=LABEL=root ro console=ttyS0
            initrd /initrd.img
            boot
        "},
    ),
];

const SUITE: &str = "bookworm";
/// The disk and where its one partition begins, in bytes; GRUB fits in between.
const DISK: u64 = 2 << 30;
const PARTITION: u64 = 1 << 20;
const SECTOR: u64 = 512;
/// The part of the first sector that is code; the partition table follows.
const MBR_CODE: usize = 446;

/// Where Debian keeps GRUB's parts for BIOS machines.
const GRUB: &str = "/usr/lib/grub/i386-pc";
const MODULES: &[&str] = &["biosdisk", "part_msdos", "ext2", "linux", "normal", "configfile"];

/// Has the image in the cache; its path and what was done.
pub fn built(layout: &Layout) -> Result<(PathBuf, String)> {
    let text = format!("{SUITE} {PACKAGES:?} {REMOVED:?} {FILES:?} {DISK} {PARTITION} {MODULES:?}");
    let hash: String = Sha256::digest(text.as_bytes())[..8].iter().map(|b| format!("{b:02x}")).collect();
    let images = layout.images();
    let done = images.join(format!("vm-{hash}.raw"));
    fs::create_dir_all(&images).with_context(|| format!("cannot make {}", images.display()))?;
    // Another checkout may be building the same one: then its result is ours.
    let _lock = image::lock(&images.join(".vm-lock"))?;
    if done.exists() {
        return Ok((done, format!("vm-{hash} is in the cache")));
    }
    let work = images.join(".building-vm");
    image::clear(&work)?;
    fs::create_dir_all(&work)?;
    build(&work).with_context(|| format!("cannot build the image in {}", work.display()))?;
    fs::rename(work.join("disk"), &done)?;
    image::clear(&work)?;
    Ok((done, format!("built vm-{hash}")))
}

fn build(work: &Path) -> Result<()> {
    let root = work.join("root");
    image::bootstrap(&root, PACKAGES)?;
    for path in REMOVED {
        match fs::remove_file(root.join(path)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
    }
    for (path, text) in FILES {
        image::write(&root.join(path), text)?;
    }
    let disk = work.join("disk");
    File::create(&disk)?.set_len(DISK)?;
    let table = format!("label: dos\nstart={}, type=83, bootable\n", PARTITION / SECTOR);
    Run::new(&["sfdisk", "--quiet"]).arg(&disk).stdin(table).run()?;
    Run::new(&["mke2fs", "-q", "-t", "ext4", "-L", "root", "-E", &format!("offset={PARTITION}"), "-d"])
        .arg(&root)
        .arg(&disk)
        .arg(format!("{}k", (DISK - PARTITION) / 1024))
        .run()?;
    boot_loader(work, &disk)
}

fn boot_loader(work: &Path, disk: &Path) -> Result<()> {
    let (early, core) = (work.join("early.cfg"), work.join("core.img"));
    image::write(&early, "set root=(hd0,msdos1)\nset prefix=(hd0,msdos1)/boot/grub\n")?;
    Run::new(&["grub-mkimage", "-O", "i386-pc", "-d", GRUB, "-p", "(hd0,msdos1)/boot/grub", "-c"])
        .arg(&early)
        .arg("-o")
        .arg(&core)
        .args(MODULES)
        .run()?;
    let boot = fs::read(Path::new(GRUB).join("boot.img")).context("cannot read GRUB's boot.img")?;
    let core = fs::read(core)?;
    anyhow::ensure!((core.len() as u64) < PARTITION - SECTOR, "GRUB does not fit before the partition");
    let mut disk = File::options().write(true).open(disk)?;
    disk.write_all(&boot[..MBR_CODE])?;
    disk.seek(SeekFrom::Start(SECTOR))?;
    disk.write_all(&core)?;
    disk.sync_all().context("cannot write the image")
}
