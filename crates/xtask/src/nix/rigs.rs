//! Rigs: what the module makes of one is what the program makes of it, and every host's is right.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use ccorch_core::rig::{self, Rig};
use ccorch_core::{install, proxy, units};
use serde_json::Value;

use super::files::Tree;
use super::tool::{Nix, string};
use super::{Outcome, expression};

const EXAMPLES: [&str; 2] = ["examples/cc-ci.yaml", "examples/two-debian-hosts.yaml"];
const MACHINES: &str = "nixos/tests/machines.nix";
const RENDERED: &str = "nixos/tests/rendered.nix";

/// The drop-ins of the module are those that `ccorch host install` writes.
pub fn drop_ins(nix: &Nix, tree: &Tree) -> Result<Outcome> {
    let mut count = 0;
    for example in EXAMPLES {
        let (rig, rendered) = both(nix, tree, example)?;
        let ours: BTreeMap<String, String> = serde_json::from_value(rendered["dropIns"].clone())?;
        let mut theirs: BTreeMap<String, String> = units::drop_ins(&rig)
            .into_iter()
            .map(|(path, text)| (path.split(".d/").next().unwrap_or_default().to_owned(), text))
            .collect();
        if let Some(text) = proxy::drop_in(&rig.proxy)? {
            theirs.insert("ccorch-proxy.service".into(), text);
        }
        ensure!(ours == theirs, "{example}: the module says\n{ours:#?}\nthe program\n{theirs:#?}");
        count += ours.len();
    }
    Ok(Outcome::Passed(format!("{count} of {} examples, as `ccorch host install` has them", EXAMPLES.len())))
}

/// So is the rig file on a host.
pub fn host_rig(nix: &Nix, tree: &Tree) -> Result<Outcome> {
    for example in EXAMPLES {
        let (rig, rendered) = both(nix, tree, example)?;
        let ours = good(example, &rendered["hostRig"])?;
        let mut theirs = install::host_rig(&rig);
        for (name, host) in &mut theirs.hosts {
            host.ssh.get_or_insert_with(|| format!("root@{name}"));
        }
        ensure!(ours == theirs, "{example}: the module has\n{ours:#?}\nthe program\n{theirs:#?}");
    }
    Ok(Outcome::Passed(format!("{} examples, as `ccorch host install` has them", EXAMPLES.len())))
}

/// Every host's rig is right, and so is the template's.
pub fn host_rigs(nix: &Nix) -> Result<Outcome> {
    let rigs = nix.eval("nixos/tests/host-rigs.nix", &[])?;
    let hosts = rigs["hosts"].as_object().context("no hosts")?;
    ensure!(!hosts.is_empty(), "no hosts");
    for (name, rig) in hosts {
        let rig = good(&format!("hosts/{name}"), rig)?;
        ensure!(rig.hosts.keys().any(|host| host.as_str() == name), "hosts/{name}: its rig does not know it");
    }
    good("templates/rig", &rigs["template"])?;
    let names = hosts.keys().cloned().collect::<Vec<_>>().join(", ");
    Ok(Outcome::Passed(format!("{names}, the template")))
}

/// Every host and the template's, with stand-ins for NixOS; the template with secrets and without.
pub fn machines(nix: &Nix, tree: &Tree) -> Result<Outcome> {
    let evaluate = |secrets: bool| expression::cases(nix, MACHINES, &[("secrets", secrets.to_string())]);
    let file = tree.path().join("templates/rig/secrets/rig.yaml");
    ensure!(!file.exists(), "the template brings secrets of its own");
    let without = evaluate(false).context("without secrets in the template")?;
    // Encrypted for somebody; it is not looked into.
    std::fs::write(&file, "testenv: ENC[]\n").context("cannot write the template's secrets")?;
    let with = evaluate(true).context("with secrets in the template");
    std::fs::remove_file(&file)?;
    with.map(|_| without)
}

/// With nixpkgs every host is a NixOS whose assertions hold.
pub fn hosts(nix: &Nix) -> Result<Outcome> {
    let Some(nixpkgs) = &nix.inputs.nixpkgs else {
        return Ok(Outcome::NotRun("NIXPKGS names no folder".into()));
    };
    let mut arguments = vec![("nixpkgs", nixpkgs.display().to_string())];
    arguments.extend(nix.inputs.sops_nix.as_ref().map(|path| ("sopsNix", path.display().to_string())));
    let systems = nix.eval("nixos/tests/hosts.nix", &arguments)?;
    let hosts = systems["hosts"].as_object().context("no hosts")?;
    ensure!(!hosts.is_empty(), "no hosts");
    for (name, system) in hosts {
        let failed = system["failed"].as_array().context("no assertions")?;
        ensure!(failed.is_empty(), "hosts/{name}: assertions fail: {failed:#?}");
        good(&format!("hosts/{name}"), &system["rig"])?;
    }
    let names = hosts.keys().cloned().collect::<Vec<_>>().join(", ");
    let (version, image) = (&systems["nixpkgs"], systems["image"] == true);
    let left_out = if image { "" } else { ", without the modules of their images" };
    Ok(Outcome::Passed(format!("{names} with nixpkgs {version}{left_out}")))
}

/// An example as the program reads it, and what the module's library makes of it.
fn both(nix: &Nix, tree: &Tree, example: &str) -> Result<(Rig, Value)> {
    let text = tree.read(example)?;
    let data: Value = serde_yaml::from_str(&text).with_context(|| format!("{example} is not YAML"))?;
    let rendered = nix.eval(RENDERED, &[("rig", string(&data.to_string()))])?;
    Ok((good(example, &data)?, rendered))
}

/// A rig that `ccorch check` would take.
fn good(whose: &str, data: &Value) -> Result<Rig> {
    let text = serde_json::to_string_pretty(data)?;
    let (rig, findings) = rig::check(&text);
    let errors: Vec<_> = findings.iter().filter(|finding| finding.is_error()).collect();
    ensure!(errors.is_empty(), "{whose}: its rig has errors: {errors:#?}");
    rig.with_context(|| format!("{whose}: its rig cannot be read"))
}
