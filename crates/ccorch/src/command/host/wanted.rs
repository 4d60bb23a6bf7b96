//! What is wanted on a host: gathered from the rig, its folder and this executable.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use ccorch_core::install::{Binary, Facts, File, SSH_CONFIG, UNIT_DIR, Wanted, host_rig, ssh_config};
use ccorch_core::names::HostName;
use ccorch_core::rig::{Backend, LEASE_KEY, Rig};
use ccorch_core::sha256;

use super::known_hosts;
use crate::context::LoadedRig;
use crate::error::{Kind, Problem};
use crate::{reach, units};

/// What ccorch itself runs on a host, beside what POSIX and systemd bring.
const PROGRAMS: [&str; 9] =
    ["tmux", "git", "rsync", "ssh", "ssh-keygen", "runuser", "useradd", "flock", "sha256sum"];

/// Reads the program to install: the file named, else the one that runs now.
pub fn binary(file: Option<&Path>) -> Result<Vec<u8>> {
    let own = std::env::current_exe().context("find this executable")?;
    let file = file.unwrap_or(&own);
    let bytes = fs::read(file).with_context(|| format!("read {}", file.display()))?;
    // Refused here and not on the host: a shell there would run a text file as a script.
    if Binary::of(&bytes[..bytes.len().min(64)]).is_err() {
        let text = format!("{} is not a Linux program", file.display());
        return Err(Problem::new(Kind::Unfit, text).hint("name a built ccorch with `--binary FILE`").into());
    }
    Ok(bytes)
}

/// All that is wanted whatever is found on the host.
pub fn of(loaded: &LoadedRig, host: &HostName, binary: &[u8]) -> Result<Wanted> {
    let mut rig = host_rig(&loaded.rig);
    address(loaded, &mut rig)?;
    let mut files = vec![
        file("/etc/ccorch/rig.json", "644", rendered(&rig)?),
        file("/etc/ccorch/host", "644", format!("{host}\n").into_bytes()),
        file("/etc/ccorch/known_hosts", "644", known_hosts::collect(loaded)?.into_bytes()),
    ];
    if let Some(key) = loaded.rig.lease.as_ref().and_then(|lease| lease.key.as_ref()) {
        let path = loaded.resolve(key);
        let bytes = fs::read(&path).with_context(|| format!("read the lease's key {}", path.display()))?;
        files.push(file(LEASE_KEY, "600", bytes));
    }
    if let (Some(own), Some(theirs)) = (&loaded.rig.secrets, &rig.secrets) {
        let path = loaded.resolve(&own.file);
        let bytes = fs::read(&path).with_context(|| format!("read the secrets file {}", path.display()))?;
        files.push(file(&format!("/etc/ccorch/{}", theirs.file), "600", bytes));
    }
    let units = units::UNITS.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
    let units = units.chain(ccorch_core::units::drop_ins(&loaded.rig));
    files.extend(units.map(|(name, text)| file(&format!("{UNIT_DIR}/{name}"), "644", text.into_bytes())));
    Ok(Wanted {
        user: rig.workspace.user.clone(),
        loop_users: rig.loop_users().into_iter().map(Into::into).collect(),
        workspace: rig.workspace.root.trim_end_matches('/').to_owned(),
        binary: sha256(binary),
        binary_size: binary.len() as u64,
        programs: programs(&rig),
        install_packages: false,
        files,
    })
}

/// Hosts know each other by address: one that was provisioned has it from the operator's state.
fn address(loaded: &LoadedRig, rig: &mut Rig) -> Result<()> {
    for (name, host) in rig.hosts.iter_mut().filter(|(_, host)| host.ssh.is_none()) {
        let known = reach::provisioned(loaded, name)?;
        host.ssh = Some(known.as_ref().map_or_else(|| format!("root@{name}"), |known| known.ssh.clone()));
        host.port = host.port.or(known.as_ref().map(|known| known.port));
        host.host_key = host.host_key.take().or(known.map(|known| known.host_key));
    }
    Ok(())
}

/// Adds the ssh entries when they are asked for, or were when ccorch was installed before.
pub fn add_ssh_config(wanted: &mut Wanted, loaded: &LoadedRig, facts: &Facts, asked: bool) -> Result<()> {
    match ssh_config(&loaded.rig) {
        Some(text) if asked || facts.installed.contains(SSH_CONFIG) => {
            wanted.files.push(file(SSH_CONFIG, "644", text.into_bytes()));
        }
        None if asked => {
            let text = format!("{}: no machines to write ssh entries for", loaded.file.display());
            return Err(Problem::new(Kind::Rig, text).hint("name them in `proxy.hosts`").into());
        }
        _ => {}
    }
    Ok(())
}

fn programs(rig: &Rig) -> Vec<String> {
    let proxy = (rig.proxy.backend == Backend::Tailscaled).then_some("tailscaled");
    let own = PROGRAMS.into_iter().chain(proxy).map(ToOwned::to_owned);
    let mut all: Vec<String> = Vec::new();
    for program in own.chain(rig.tools.iter().cloned()) {
        if !all.contains(&program) {
            all.push(program);
        }
    }
    all
}

fn rendered(rig: &Rig) -> Result<Vec<u8>> {
    let mut bytes = serde_json::to_vec_pretty(rig).context("render the rig file")?;
    bytes.push(b'\n');
    Ok(bytes)
}

fn file(path: &str, mode: &'static str, content: Vec<u8>) -> File {
    File { path: path.into(), mode, sha256: sha256(&content), content }
}
