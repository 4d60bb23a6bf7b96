//! What of the systemd units depends on the rig, as drop-ins. The units themselves are the files in `crates/ccorch/units`.

use crate::proxy;
use crate::rig::Rig;

/// The slice all loops run in; stopping it stops every loop.
pub const LOOPS_SLICE: &str = "ccorch-loops.slice";

/// The unit of one loop.
pub fn loop_unit(name: &crate::names::LoopName) -> String {
    format!("ccorch-loop@{name}.service")
}

/// Drop-ins by their path below `/etc/systemd/system`.
pub fn drop_ins(rig: &Rig) -> Vec<(String, String)> {
    let drop_in = |unit: &str, text: String| (format!("{unit}.d/10-rig.conf"), text);
    let (user, root) = (&rig.workspace.user, escape(&rig.workspace.root));
    let mut drop_ins = vec![
        drop_in(
            "ccorch-loop@.service",
            format!("[Unit]\nRequiresMountsFor={root}\n\n[Service]\nUser={}\n", escape(user)),
        ),
        // The reboot log lies in the workspace; it is written with its user's rights, but from this unit.
        drop_in("ccorch-supervisor.service", format!("[Service]\nReadWritePaths=-{root}\n")),
        drop_in("ccorch-resume.service", format!("[Service]\nReadWritePaths=-{root}\n")),
    ];
    if let Some(lease) = &rig.lease {
        let every = lease.heartbeat.0;
        // An empty assignment clears what the unit file says.
        let timer = format!(
            "[Timer]\nOnActiveSec=\nOnActiveSec={every}\nOnUnitInactiveSec=\nOnUnitInactiveSec={every}\n"
        );
        drop_ins.push(drop_in("ccorch-lease.timer", timer));
    }
    // A rig file that passed its check has no identity that this refuses.
    if let Ok(Some(credential)) = proxy::drop_in(&rig.proxy) {
        drop_ins.push(drop_in("ccorch-proxy.service", credential));
    }
    drop_ins
}

/// Keeps `%` from being read as a specifier. Source: systemd.unit(5), "Specifiers".
fn escape(value: &str) -> String {
    value.replace('%', "%%")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rig_becomes_small_drop_ins() {
        let yaml = indoc::indoc! {"
            rig: r
            workspace: { root: /srv/50%, user: loops, repositories: {} }
            phases: []
            loops: {}
            lease: { remote: x, heartbeat: 5s }
            proxy: { backend: ssh, ssh: b1, identity: /etc/ccorch/proxy_key }
            hosts: {}
        "};
        let rig: Rig = serde_yaml::from_str(yaml).unwrap();
        let text: String = drop_ins(&rig).iter().map(|(path, text)| format!("# {path}\n{text}")).collect();
        insta::assert_snapshot!(text, @r"
        # ccorch-loop@.service.d/10-rig.conf
        [Unit]
        RequiresMountsFor=/srv/50%%

        [Service]
        User=loops
        # ccorch-supervisor.service.d/10-rig.conf
        [Service]
        ReadWritePaths=-/srv/50%%
        # ccorch-resume.service.d/10-rig.conf
        [Service]
        ReadWritePaths=-/srv/50%%
        # ccorch-lease.timer.d/10-rig.conf
        [Timer]
        OnActiveSec=
        OnActiveSec=5
        OnUnitInactiveSec=
        OnUnitInactiveSec=5
        # ccorch-proxy.service.d/10-rig.conf
        [Service]
        LoadCredential=identity:/etc/ccorch/proxy_key
        ");
    }
}
