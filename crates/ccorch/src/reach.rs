//! From a host's name in the rig file to a host that commands run on.

use std::fs;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::PathBuf;

use anyhow::Result;
use ccorch_core::names::HostName;
use ccorch_core::rig;
use ccorch_io::durable;
use ccorch_io::host::{Host, Reach};
use ccorch_io::paths::OperatorPaths;
use ccorch_io::ssh::Ssh;
use serde::{Deserialize, Serialize};

use crate::context::LoadedRig;
use crate::error::{Kind, Problem};
use crate::introduce;

/// What provisioning found out about a host, kept in the operator's state folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provisioned {
    /// `user@address`.
    pub ssh: String,
    /// The ssh port.
    pub port: u16,
    /// The public host key, learnt over an authenticated channel.
    pub host_key: String,
}

/// The rig's entry for a host, or an error that lists the hosts there are.
pub fn entry<'a>(loaded: &'a LoadedRig, name: &HostName) -> Result<&'a rig::Host> {
    loaded.rig.hosts.get(name).ok_or_else(|| {
        let known = loaded.rig.hosts.keys().map(HostName::as_str).collect::<Vec<_>>().join(", ");
        Problem::new(Kind::Rig, format!("{}: no host `{name}`", loaded.file.display()))
            .hint(format!("the hosts there are: {known}"))
            .into()
    })
}

/// How a host is reached by ssh: what the rig file says, else what provisioning found out.
pub fn ssh(loaded: &LoadedRig, name: &HostName) -> Result<Ssh> {
    let host = entry(loaded, name)?;
    let paths = loaded.operator()?;
    let known = provisioned(loaded, name)?;
    let provisioned = match known {
        None if host.ssh.is_none() => introduce::ask(loaded, name)?,
        known => known,
    };
    let destination = host.ssh.clone().or_else(|| provisioned.as_ref().map(|p| p.ssh.clone()));
    let destination = destination.ok_or_else(|| {
        Problem::new(
            Kind::Unfit,
            format!("host `{name}` has no `ssh` in the rig file and is not provisioned yet"),
        )
        .hint(format!(
            "run `ccorch provision {name}` first; where another machine did, a cutover has its other host know of it, and until \
             then `hosts.{name}.ssh` and `host_key` can be copied from {} there",
            paths.host(name.as_str()).display()
        ))
    })?;
    let host_key = host.host_key.clone().or_else(|| provisioned.as_ref().map(|p| p.host_key.clone()));
    let alias = format!("ccorch-{}-{name}", loaded.rig.rig);
    if let Some(key) = &host_key {
        trust(&paths, &alias, key)?;
    }
    Ok(Ssh {
        destination,
        port: host.port.or_else(|| provisioned.map(|p| p.port)),
        identity: host.identity.as_deref().map(|path| loaded.resolve(path)),
        known_hosts: Some(paths.known_hosts()),
        key_alias: host_key.map(|_| alias),
        control_dir: control_dir(),
    })
}

/// What provisioning found out about a host, if ccorch made it.
pub fn provisioned(loaded: &LoadedRig, name: &HostName) -> Result<Option<Provisioned>> {
    durable::read_json(&loaded.operator()?.host(name.as_str()))
}

/// Connects to a host.
pub fn connect(loaded: &LoadedRig, name: &HostName) -> Result<Host> {
    Host::connect(name.as_str(), Reach::Ssh(Box::new(ssh(loaded, name)?)))
}

/// Where connections are shared between commands: a folder of this user's alone, with a path short enough for a socket.
/// Without such a folder every command connects anew, which is slower and as safe.
fn control_dir() -> Option<PathBuf> {
    let uid = rustix::process::geteuid().as_raw();
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(|dir| PathBuf::from(dir).join("ccorch"));
    let dir = runtime.unwrap_or_else(|| format!("/tmp/ccorch-ssh-{uid}").into());
    // Made by somebody else before us, it is not ours to use.
    let _ = fs::DirBuilder::new().mode(0o700).create(&dir);
    let meta = fs::symlink_metadata(&dir).ok()?;
    (meta.is_dir() && meta.uid() == uid && meta.mode() & 0o077 == 0).then_some(dir)
}

/// Writes the one key that is known for `alias`, in place of any other.
fn trust(paths: &OperatorPaths, alias: &str, key: &str) -> Result<()> {
    let file = paths.known_hosts();
    let old = fs::read_to_string(&file).unwrap_or_default();
    let others = old.lines().filter(|line| line.split(' ').next() != Some(alias));
    let line = format!("{alias} {}", key.trim());
    let new: String = others.chain([line.as_str()]).map(|line| format!("{line}\n")).collect();
    if new == old { Ok(()) } else { durable::replace(&file, new.as_bytes(), 0o600) }
}
