//! The hosts: how each is reached, what makes it, and the direction of a cutover.

use std::collections::BTreeMap;

use super::Report;
use crate::names::HostName;
use crate::provision::Endpoint;
use crate::rig::finding::shown;
use crate::rig::{CutoverHosts, Host, Incus, LegacyRuns, Provider, Qemu, Rig, Size, rules};

/// A Debian system with git, tmux and one agent does not start in less.
const LEAST_MEMORY: u64 = 256 << 20;
/// Nor does its image fit in less.
const LEAST_DISK: u64 = 2 << 30;

pub(super) fn check(rig: &Rig, report: &mut Report) {
    if !report.has_entries("hosts") {
        report.error(&["hosts"], "expected at least one host");
    }
    let mut reached: BTreeMap<(&str, Option<u16>), &HostName> = BTreeMap::new();
    let mut forwarded: BTreeMap<u16, &HostName> = BTreeMap::new();
    for (name, host) in &rig.hosts {
        if report.is_full() {
            return;
        }
        one(name, host, report);
        let same = host.ssh.as_deref().and_then(|ssh| reached.insert((ssh, host.port), name));
        if let Some(other) = same {
            report.warn(
                &["hosts", name.as_str(), "ssh"],
                format!("is where host `{other}` is too; they would be one machine"),
            );
        }
        if let Some(other) = host.qemu.as_ref().and_then(|qemu| forwarded.insert(qemu.ssh_port, name)) {
            report.error(
                &["hosts", name.as_str(), "qemu", "ssh_port"],
                format!("is the port of host `{other}` already; expected one that is not taken"),
            );
        }
    }
    if let Some(cutover) = &rig.cutover {
        direction(rig, cutover, report);
    }
}

fn one(name: &HostName, host: &Host, report: &mut Report) {
    let name = name.as_str();
    let at = |key| ["hosts", name, key];
    let unsure = report.has(&at("ssh")) || report.has(&at("provider"));
    if host.ssh.is_none() && host.provider.is_none() && !unsure {
        report.error(&["hosts", name], "expected `ssh` (where it is) or `provider` (what makes it)");
    }
    report.must_if(&at("ssh"), host.ssh.as_deref(), rules::ssh_destination);
    report.must_if(&at("host_key"), host.host_key.as_deref(), rules::host_key);
    report.must_if(&at("identity"), host.identity.as_deref(), rules::operator_path);
    section(name, host, Provider::Incus, "incus", host.incus.is_some(), report);
    section(name, host, Provider::Qemu, "qemu", host.qemu.is_some(), report);
    if let Some(settings) = &host.incus {
        incus(name, settings, report);
    }
    if let Some(settings) = &host.qemu {
        qemu(name, settings, report);
    }
    if let Some(wanted) = &host.size {
        size(name, wanted, report);
        if host.provider.is_none() && !report.has(&at("provider")) {
            report.warn(&at("size"), "has no effect without `provider`");
        }
    }
    if let Some(runs) = &host.runs {
        legacy(name, runs, report);
    }
}

/// A provider needs its section, and a section its provider.
fn section(name: &str, host: &Host, provider: Provider, key: &str, given: bool, report: &mut Report) {
    let chosen = host.provider == Some(provider);
    if chosen && !given {
        report.error(&["hosts", name, key], format!("missing; `provider: {key}` needs this section"));
    }
    // A provider that is there and could not be kept has a finding of its own.
    let misspelt = host.provider.is_none() && report.has(&["hosts", name, "provider"]);
    if given && !chosen && !misspelt {
        report.error(&["hosts", name, key], format!("expected `provider: {key}` beside this section"));
    }
}

fn incus(name: &str, incus: &Incus, report: &mut Report) {
    let at = |key| ["hosts", name, "incus", key];
    report.must(&["hosts", name], rules::instance_name(name));
    report.must(&at("url"), incus.url.parse::<Endpoint>().map(drop).map_err(|bad| bad.to_string()));
    report.must_if(&at("fingerprint"), incus.fingerprint.as_deref(), rules::fingerprint);
    report.must(&at("project"), rules::line(&incus.project));
    report.must(&at("image"), rules::line(&incus.image));
    for (key, path) in
        [("certificate", &incus.certificate), ("key", &incus.key), ("authorized_key", &incus.authorized_key)]
    {
        report.must(&at(key), rules::operator_path(path));
    }
    for (index, profile) in incus.profiles.iter().enumerate() {
        report.must(&["hosts", name, "incus", "profiles", &index.to_string()], rules::line(profile));
    }
}

fn qemu(name: &str, qemu: &Qemu, report: &mut Report) {
    let at = |key| ["hosts", name, "qemu", key];
    report.must(&at("image"), rules::operator_path(&qemu.image));
    report.must(&at("authorized_key"), rules::operator_path(&qemu.authorized_key));
}

fn size(name: &str, size: &Size, report: &mut Report) {
    let at = |key| ["hosts", name, "size", key];
    if let Some(memory) = &size.memory {
        report.must(&at("memory"), rules::size(memory, LEAST_MEMORY, "expected at least `256MiB`"));
    }
    if let Some(disk) = &size.disk {
        report.must(&at("disk"), rules::size(disk, LEAST_DISK, "expected at least `2GiB`"));
    }
}

fn legacy(name: &str, runs: &LegacyRuns, report: &mut Report) {
    for (key, argv) in [("stop", &runs.stop), ("start", &runs.start)] {
        if argv.first().is_none_or(|program| program.trim().is_empty()) {
            report.error(&["hosts", name, "runs", key], "expected a program and its arguments");
        }
    }
    for (index, unit) in runs.units.iter().enumerate() {
        report.must(&["hosts", name, "runs", "units", &index.to_string()], rules::unit(unit));
    }
}

fn direction(rig: &Rig, cutover: &CutoverHosts, report: &mut Report) {
    for (key, host) in [("from", &cutover.from), ("to", &cutover.to)] {
        if !report.has(&["hosts", host.as_str()]) {
            let known: Vec<String> = rig.hosts.keys().map(|h| shown(h.as_str())).collect();
            report.error(
                &["cutover", key],
                format!("there is no host `{host}`; expected one of {}", known.join(", ")),
            );
        }
    }
    if cutover.from == cutover.to {
        report.error(&["cutover", "to"], "is the source too; expected another host");
    }
    if let Some(confirm) = &cutover.confirm {
        super::confirm::check(rig, confirm, report);
    }
}
