//! What of the systemd units depends on the rig, as drop-ins. The units themselves are the files in `crates/ccorch/units`.

use crate::proxy;
use crate::rig::{Loop, Rig};

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
    let secrets = if rig.secrets.is_some() { "Wants=ccorch-secrets.service\n" } else { "" };
    let mut drop_ins = vec![
        drop_in(
            "ccorch-loop@.service",
            format!("[Unit]\nRequiresMountsFor={root}\n{secrets}\n[Service]\nUser={}\n", escape(user)),
        ),
        // The reboot log lies in the workspace; it is written with its user's rights, but from this unit.
        drop_in("ccorch-supervisor.service", format!("[Service]\nReadWritePaths=-{root}\n")),
        drop_in("ccorch-resume.service", format!("[Service]\nReadWritePaths=-{root}\n")),
    ];
    let apart = rig.loops.iter().filter_map(|(name, spec)| {
        let text = apart(rig, spec)?;
        // Another name than the template's drop-in, which one of the same name would replace (systemd.unit(5)).
        Some((format!("{}.d/20-loop.conf", loop_unit(name)), text))
    });
    drop_ins.extend(apart);
    if let Some(lease) = &rig.lease {
        let every = lease.heartbeat.0;
        // One empty assignment clears all that the unit file says, of every kind (systemd.timer(5)): a second would clear what
        // the first was followed by, and a timer that nothing else starts would never begin.
        let timer = format!("[Timer]\nOnActiveSec=\nOnActiveSec={every}\nOnUnitInactiveSec={every}\n");
        drop_ins.push(drop_in("ccorch-lease.timer", timer));
    }
    // A rig file that passed its check has no identity that this refuses.
    if let Ok(Some(credential)) = proxy::drop_in(&rig.proxy) {
        drop_ins.push(drop_in("ccorch-proxy.service", credential));
    }
    drop_ins
}

/// What one loop's unit has of its own: who it is, what it may use, write and see. By key, as nixos/lib.nix has it.
fn apart(rig: &Rig, spec: &Loop) -> Option<String> {
    let mut settings = spec.limits.settings();
    let paths = |key, paths: &[String]| {
        paths.iter().map(|path| (key, path_word(&rig.place(path)))).collect::<Vec<_>>()
    };
    settings.extend(paths("InaccessiblePaths", &spec.hidden));
    settings.extend(paths("ReadOnlyPaths", &spec.read_only));
    if let Some(user) = spec.user.as_ref().filter(|user| **user != rig.workspace.user) {
        // What it writes stays writable for the workspace's user, whose group is its own.
        settings.extend([("UMask", "0002".to_owned()), ("User", escape(user))]);
    }
    settings.sort_by_key(|(key, _)| *key);
    let lines: String = settings.iter().map(|(key, value)| format!("{key}={value}\n")).collect();
    (!lines.is_empty()).then(|| format!("[Service]\n{lines}"))
}

/// A path as one word of a list of paths: such lists are split at blanks.
fn path_word(path: &str) -> String {
    format!("\"{}\"", escape(path).replace('\\', "\\\\").replace('"', "\\\""))
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
            loops:
              adversary:
                agent: command
                workdir: .
                user: adversary
                limits: { memory_high: 1GiB, memory_max: 1500MB, cpu_weight: 50, tasks: 200 }
                read_only: [a b, .]
                hidden: [/srv/other]
              builder: { agent: command, workdir: ., user: loops }
            lease: { remote: x, heartbeat: 5s }
            secrets: { file: s.yaml, items: {} }
            proxy: { backend: ssh, ssh: b1, identity: /etc/ccorch/proxy_key }
            hosts: {}
        "};
        let rig: Rig = serde_yaml::from_str(yaml).unwrap();
        let text: String = drop_ins(&rig).iter().map(|(path, text)| format!("# {path}\n{text}")).collect();
        insta::assert_snapshot!(text, @r#"
        # ccorch-loop@.service.d/10-rig.conf
        [Unit]
        RequiresMountsFor=/srv/50%%
        Wants=ccorch-secrets.service

        [Service]
        User=loops
        # ccorch-supervisor.service.d/10-rig.conf
        [Service]
        ReadWritePaths=-/srv/50%%
        # ccorch-resume.service.d/10-rig.conf
        [Service]
        ReadWritePaths=-/srv/50%%
        # ccorch-loop@adversary.service.d/20-loop.conf
        [Service]
        CPUWeight=50
        InaccessiblePaths="/srv/other"
        MemoryHigh=1073741824
        MemoryMax=1500000000
        ReadOnlyPaths="/srv/50%%/a b"
        ReadOnlyPaths="/srv/50%%"
        TasksMax=200
        UMask=0002
        User=adversary
        # ccorch-lease.timer.d/10-rig.conf
        [Timer]
        OnActiveSec=
        OnActiveSec=5
        OnUnitInactiveSec=5
        # ccorch-proxy.service.d/10-rig.conf
        [Service]
        LoadCredential=identity:/etc/ccorch/proxy_key
        "#);
    }
}
