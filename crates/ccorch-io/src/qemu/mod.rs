//! QEMU on this machine: disks, keys, seeds, processes. What they are for is decided elsewhere.

mod qmp;
pub mod seed;

use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use ccorch_core::qemu::HostKey;
use serde_json::Value;

pub use qmp::{Event, Qmp, QmpError};

use crate::command::{Command, CommandError};

/// Copying an image of some gigabytes from a slow disk.
const COPY: Duration = Duration::from_secs(1800);
/// From the command to a machine that runs; what boots in it is waited for elsewhere.
const START: Duration = Duration::from_secs(60);

/// Whether KVM can be used by this user at all. That it works is seen only in use.
pub fn kvm_opens() -> bool {
    File::options().read(true).write(true).open("/dev/kvm").is_ok()
}

/// Starts a machine in the background; see `ccorch_core::qemu::argv`.
pub fn start(argv: &[String]) -> Result<(), CommandError> {
    Command::new(&argv[0]).args(&argv[1..]).deadline(START).run().map(drop)
}

/// How large the disk in an image is, in bytes, also while a machine uses it; `None` when there is no such file.
pub fn disk_size(image: &Path) -> Result<Option<u64>> {
    Ok(info(image)?.and_then(|info| info["virtual-size"].as_u64()))
}

fn info(image: &Path) -> Result<Option<Value>> {
    match fs::metadata(image) {
        Ok(_) => {}
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e).with_context(|| format!("look at {}", image.display())),
    }
    let text = Command::new("qemu-img").args(["info", "--force-share", "--output=json"]).arg(image).read()?;
    serde_json::from_str(&text).map(Some).context("`qemu-img info` printed no JSON")
}

/// Makes a disk of its own from an image: after a crash it is there whole, or not at all.
pub fn make_disk(image: &Path, disk: &Path, size: u64) -> Result<()> {
    let info = info(image)?.with_context(|| format!("{} does not exist", image.display()))?;
    let format = info["format"].as_str().context("`qemu-img info` names no format")?;
    let new = disk.with_extension("new");
    let convert = ["convert", "-f", format, "-O", "qcow2"];
    Command::new("qemu-img").args(convert).arg(image).arg(&new).deadline(COPY).run()?;
    resize(&new, size)?;
    let sync = || -> std::io::Result<()> {
        File::open(&new)?.sync_all()?;
        fs::rename(&new, disk)?;
        File::open(disk.parent().unwrap_or(Path::new(".")))?.sync_all()
    };
    sync().with_context(|| format!("write {}", disk.display()))
}

/// Makes a disk larger; no machine may use it meanwhile.
pub fn resize(disk: &Path, size: u64) -> Result<(), CommandError> {
    Command::new("qemu-img")
        .args(["resize", "-q", "-f", "qcow2"])
        .arg(disk)
        .arg(size.to_string())
        .run()
        .map(drop)
}

/// Makes an ssh host key. `dir` must be readable by its owner alone.
pub fn host_key(dir: &Path) -> Result<HostKey> {
    let work = tempfile::Builder::new().prefix(".key-").tempdir_in(dir).context("make a host key")?;
    let file = work.path().join("key");
    let options = ["-q", "-t", "ed25519", "-N", "", "-C", "", "-f"];
    Command::new("ssh-keygen").args(options).arg(&file).run()?;
    let read = |path: &Path| fs::read_to_string(path).with_context(|| format!("read {}", path.display()));
    let public = read(&file.with_extension("pub"))?.parse().context("ssh-keygen's public key")?;
    Ok(HostKey { private: read(&file)?, public })
}

/// Whether an ssh server answers on this loopback port. The port alone says nothing: QEMU itself accepts there.
pub fn ssh_answers(port: u16, within: Duration) -> bool {
    let look = || -> std::io::Result<bool> {
        let mut stream = TcpStream::connect_timeout(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)), within)?;
        stream.set_read_timeout(Some(within))?;
        let mut banner = [0; 4];
        stream.read_exact(&mut banner)?;
        Ok(&banner == b"SSH-")
    };
    look().unwrap_or(false)
}
