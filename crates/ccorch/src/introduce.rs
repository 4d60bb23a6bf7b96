//! Each host of a cutover keeps how the other one is reached, where a machine of the operator's found that out by provisioning:
//! so another machine can go on with the cutover. What it is told comes over a connection to a host whose key it knows.

use anyhow::Result;
use ccorch_core::names::HostName;
use ccorch_io::durable;
use ccorch_io::host::Host;

use crate::context::LoadedRig;
use crate::reach::{self, Provisioned};

/// On a host: what it knows of another one. Nothing in it is secret.
fn place(about: &HostName) -> String {
    format!("/var/lib/ccorch/hosts/{about}.json")
}

/// Has a host keep how another one is reached, if this machine found that out.
pub fn tell(loaded: &LoadedRig, host: &Host, about: &HostName) -> Result<()> {
    let Some(known) = reach::provisioned(loaded, about)? else { return Ok(()) };
    let (text, place) = (serde_json::to_string_pretty(&known)?, place(about));
    let there = host.read_file(&place)?;
    if there.is_some_and(|there| serde_json::from_slice::<Provisioned>(&there).ok().as_ref() == Some(&known))
    {
        return Ok(());
    }
    host.command(&["mkdir", "-p", "/var/lib/ccorch/hosts"]).run()?;
    host.write_file(&place, text.as_bytes(), "0644")?;
    Ok(())
}

/// Asks the rig's other hosts, those that this machine reaches by the rig file alone, and keeps what one of them says.
pub fn ask(loaded: &LoadedRig, about: &HostName) -> Result<Option<Provisioned>> {
    for (name, entry) in &loaded.rig.hosts {
        if name == about || entry.ssh.is_none() {
            continue;
        }
        // One that does not answer knows nothing.
        let said = reach::connect(loaded, name).and_then(|host| Ok(host.read_file(&place(about))?));
        let Some(known) =
            said.ok().flatten().and_then(|text| serde_json::from_slice::<Provisioned>(&text).ok())
        else {
            continue;
        };
        eprintln!("how {about} is reached was learnt from {name}: {}", known.ssh);
        let path = loaded.operator()?.host(about.as_str());
        if let Some(dir) = path.parent() {
            durable::create_dir(dir, 0o700)?;
        }
        durable::replace_json(&path, &known, 0o600)?;
        return Ok(Some(known));
    }
    Ok(None)
}
