//! What stands beside the loops: proxy, secrets, lease, tools and notification.

use std::collections::BTreeMap;

use super::Report;
use crate::rig::finding::shown;
use crate::rig::{Backend, LeaseConfig, Notify, Offline, Proxy, Rig, Secrets, rules};
use crate::seconds::Seconds;

pub(super) fn check(rig: &Rig, report: &mut Report) {
    proxy(&rig.proxy, report);
    if let Some(found) = &rig.secrets {
        secrets(found, report);
    }
    match &rig.lease {
        Some(config) => lease(rig, config, report),
        None => report.warn(
            &["lease"],
            "no lease remote: each host's own file alone decides, so nothing stops a copied disk, or a source that comes back, from running the loops a second time",
        ),
    }
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    for (index, tool) in rig.tools.iter().enumerate() {
        let keys = ["tools", &index.to_string()];
        report.must(&keys, rules::program(tool));
        if let Some(first) = seen.insert(tool, index) {
            report.warn(&keys, format!("{} is tools[{first}] already", shown(tool)));
        }
    }
    for (index, notify) in rig.notify.iter().enumerate() {
        tell(notify, &index.to_string(), report);
    }
}

fn tell(notify: &Notify, index: &str, report: &mut Report) {
    let at = |key| ["notify", index, key];
    for (key, url) in [("ntfy", &notify.ntfy), ("webhook", &notify.webhook)] {
        report.must_if(&at(key), url.as_deref(), |url| match url.strip_prefix("file://") {
            Some(path) => rules::absolute_path(path),
            None => rules::url(url, &["https", "http"]),
        });
    }
    if let Some(program) = notify.command.first() {
        report.must(&at("command"), rules::line(program));
    }
    report.must_if(&at("token_file"), notify.token_file.as_deref(), rules::absolute_path);
    let given = [notify.ntfy.is_some(), notify.webhook.is_some(), !notify.command.is_empty()];
    match given.iter().filter(|given| **given).count() {
        1 => {}
        0 => report
            .error(&["notify", index], "expected `ntfy: URL`, `webhook: URL` or `command: [PROGRAM, ...]`"),
        _ => report.error(
            &["notify", index],
            "expected one of `ntfy`, `webhook` and `command`; make each an entry of its own",
        ),
    }
    let url = notify.ntfy.as_deref().or(notify.webhook.as_deref()).unwrap_or_default();
    if notify.token_file.is_some() && rules::crosses_in_clear(url) {
        report.error(
            &at("token_file"),
            "the token would cross the network in clear; expected an `https://` URL beside it",
        );
    }
    if notify.token_file.is_some() && !notify.command.is_empty() {
        report.warn(&at("token_file"), "has no effect with `command`, which reads files of its own");
    }
}

fn proxy(proxy: &Proxy, report: &mut Report) {
    report.must(&["proxy", "listen"], rules::loopback_socket(&proxy.listen));
    report.must_if(&["proxy", "ssh"], proxy.ssh.as_deref(), rules::ssh_destination);
    report.must_if(&["proxy", "host_key"], proxy.host_key.as_deref(), rules::host_key);
    report.must_if(&["proxy", "identity"], proxy.identity.as_deref(), rules::absolute_path);
    report.must_if(&["proxy", "check"], proxy.check.as_deref(), rules::host_port);
    for (index, host) in proxy.hosts.iter().enumerate() {
        report.must(&["proxy", "hosts", &index.to_string()], rules::host_name(host));
    }
    if proxy.backend == Backend::Ssh && proxy.ssh.is_none() {
        report.error(&["proxy", "ssh"], "missing; `backend: ssh` needs the destination of `ssh -N -D`");
    }
    let ssh_only = [
        ("ssh", proxy.ssh.is_some()),
        ("host_key", proxy.host_key.is_some()),
        ("port", proxy.port.is_some()),
        ("identity", proxy.identity.is_some()),
    ];
    for (key, given) in ssh_only {
        if given && proxy.backend != Backend::Ssh {
            report.warn(&["proxy", key], "has no effect without `backend: ssh`");
        }
    }
    let any = [("check", proxy.check.is_some()), ("hosts", !proxy.hosts.is_empty())];
    for (key, given) in any {
        if given && proxy.backend == Backend::None {
            report.warn(
                &["proxy", key],
                "has no effect without a backend; expected `backend: tailscaled` or `ssh`",
            );
        }
    }
}

fn secrets(secrets: &Secrets, report: &mut Report) {
    report.must(&["secrets", "file"], rules::operator_path(&secrets.file));
    report.must(&["secrets", "identity"], rules::absolute_path(&secrets.identity));
    let mut paths: BTreeMap<&str, &str> = BTreeMap::from([(secrets.identity.as_str(), "secrets.identity")]);
    for (name, item) in &secrets.items {
        let at = |key| ["secrets", "items", name, key];
        report.must(&["secrets", "items", name], rules::line(name));
        report.must(&at("path"), rules::absolute_path(&item.path));
        report.must(&at("mode"), rules::secret_mode(&item.mode));
        report.must_if(&at("owner"), item.owner.as_deref(), rules::user);
        if let Some(first) = paths.insert(&item.path, name) {
            report.error(
                &at("path"),
                format!(
                    "{} is written by {} already; expected a path of its own",
                    shown(&item.path),
                    shown(first)
                ),
            );
        }
    }
}

fn lease(rig: &Rig, lease: &LeaseConfig, report: &mut Report) {
    report.must(&["lease", "remote"], rules::git_remote(&lease.remote));
    report.must_if(&["lease", "ref"], lease.ref_name.as_deref(), full_ref);
    report.must_if(&["lease", "key"], lease.key.as_deref(), rules::operator_path);
    report.must_if(&["lease", "identity"], lease.identity.as_deref(), rules::absolute_path);
    if lease.heartbeat < Seconds(1) {
        report.error(
            &["lease", "heartbeat"],
            "expected at least `1s` (a running host asks the remote that often)",
        );
    }
    let shortest = Seconds(lease.stop.0.saturating_add(lease.heartbeat.0.saturating_mul(3)));
    if lease.term.is_some_and(|term| term < shortest) {
        let expected = format!("{shortest}: the time to stop (`lease.stop`) and three heartbeats");
        report.error(
            &["lease", "term"],
            format!("is too short for a holder to renew; expected at least {expected}"),
        );
    }
    if lease.term.is_some() && lease.offline == Offline::Trust {
        report.error(
            &["lease", "offline"],
            "`trust` does not go with `term`, by which the other host takes over from one that the remote does not hear of; expected `wait`",
        );
    }
    let identity = rules::repository_identity(&lease.remote);
    let shared =
        rig.workspace.repositories.iter().find(|(_, r)| rules::repository_identity(&r.url) == identity);
    if let Some((path, _)) = shared {
        report.error(
            &["lease", "remote"],
            format!(
                "is the repository of workspace.repositories.{}, which agents push to: one `push --mirror` from a clone deletes the lease; expected a repository that agents cannot push to",
                shown(path)
            ),
        );
    }
}

fn full_ref(text: &str) -> rules::Verdict {
    rules::ref_name(text)?;
    let deep = text.strip_prefix("refs/").is_some_and(|rest| rest.contains('/'));
    if deep {
        Ok(())
    } else {
        Err(format!("expected a full ref name like `refs/ccorch/lease/NAME`, found {}", shown(text)))
    }
}
