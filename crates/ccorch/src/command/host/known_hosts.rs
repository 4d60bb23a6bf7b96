//! The host keys a host gets: those the operator already trusts. A key seen for the first time is never trusted.

use std::collections::BTreeSet;
use std::path::PathBuf;

use anyhow::Result;
use ccorch_core::install::{KeyLine, key_line, proxy_host, ssh_hosts};
use ccorch_io::command::Command;

use crate::context::LoadedRig;
use crate::error::{Kind, Problem};

/// The known_hosts file for a host; an error names all machines whose key the operator does not know.
pub fn collect(loaded: &LoadedRig) -> Result<String> {
    let files = files(loaded)?;
    let mut lines: BTreeSet<KeyLine> = given(loaded).into_iter().collect();
    let mut missing = Vec::new();
    for name in ssh_hosts(&loaded.rig) {
        let found = find(&name, &files)?;
        if found.is_empty() {
            missing.push(name);
        }
        lines.extend(found);
    }
    if let Some(first) = missing.first() {
        let text = format!("no host key is known for {}", missing.join(", "));
        let scan = first.strip_prefix('[').and_then(|n| n.split_once("]:"));
        let scan = scan.map_or(first.clone(), |(host, port)| format!("-p {port} {host}"));
        return Err(Problem::new(Kind::Identity, text)
            .hint(format!(
                "put it in ~/.ssh/known_hosts: `ssh-keyscan {scan}`, compared with the fingerprint the machine's owner publishes"
            ))
            .into());
    }
    Ok(lines.into_iter().map(|line| line.0 + "\n").collect())
}

/// Where the operator's trust is written down.
fn files(loaded: &LoadedRig) -> Result<Vec<PathBuf>> {
    let own = loaded.operator()?.known_hosts();
    let all = [own, loaded.resolve("~/.ssh/known_hosts"), "/etc/ssh/ssh_known_hosts".into()];
    Ok(all.into_iter().filter(|file| file.is_file()).collect())
}

/// The proxy's key, when the rig file itself gives it.
fn given(loaded: &LoadedRig) -> Option<KeyLine> {
    let proxy = &loaded.rig.proxy;
    let host = proxy_host(proxy)?;
    key_line(&host, &format!("{host} {}", proxy.host_key.as_deref()?))
}

/// The lines for one name; `ssh-keygen -F` (ssh-keygen(1)) understands hashed names and patterns, and exits 1 for none.
fn find(name: &str, files: &[PathBuf]) -> Result<BTreeSet<KeyLine>> {
    let mut lines = BTreeSet::new();
    for file in files {
        let output = Command::new("ssh-keygen").args(["-F", name, "-f"]).arg(file).output()?;
        lines.extend(output.text().lines().filter_map(|line| key_line(name, line)));
    }
    Ok(lines)
}
