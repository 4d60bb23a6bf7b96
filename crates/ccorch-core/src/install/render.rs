//! Texts that an installation writes on a host: its rig file and the ssh entries through the proxy.

use crate::rig::Rig;

use super::BINARY;

/// The rig as a host needs it, and the secrets file's path there relative to the rig file.
///
/// What only makes sense on the operator's machine is left out: certificates, keys and images of providers. The sops
/// file (which is encrypted) goes beside the rig file, whatever its place was on the operator's machine.
pub fn host_rig(rig: &Rig) -> Rig {
    let mut rig = rig.clone();
    for host in rig.hosts.values_mut() {
        host.identity = None;
        host.provider = None;
        host.incus = None;
        host.qemu = None;
        host.size = None;
    }
    if let Some(lease) = &mut rig.lease {
        lease.identity = lease.identity_on_host().map(Into::into);
        lease.key = None;
    }
    if let Some(secrets) = &mut rig.secrets {
        let name = secrets.file.rsplit('/').next().unwrap_or(&secrets.file);
        secrets.file = format!("secrets/{name}");
    }
    rig
}

/// ssh_config(5) entries that reach the rig's machines through its proxy; `None` when the rig names none.
pub fn ssh_config(rig: &Rig) -> Option<String> {
    let hosts = &rig.proxy.hosts;
    (!hosts.is_empty()).then(|| {
        format!(
            "# Written by ccorch host install: the machines of rig `{}` are reached through its proxy.\nHost {}\n    ProxyCommand {BINARY} connect %h %p\n",
            rig.rig,
            hosts.join(" ")
        )
    })
}
