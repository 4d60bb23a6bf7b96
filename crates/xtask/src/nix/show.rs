//! `nix flake show` and refusals: what the flake offers, and what is said of wrong input. Both with stand-ins for the
//! inputs, so anywhere.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail, ensure};
use ccorch_core::rig;
use serde_json::Value;

use super::Outcome;
use super::tool::{Lib, Nix, string};
use crate::run::tail;

type Outputs = BTreeMap<String, String>;

const BAD: &str = "nixos/tests/bad-input.nix";

const SYSTEMS: [&str; 2] = ["x86_64-linux", "aarch64-linux"];

/// What each system has: output, its names, and what `nix flake show` calls one. The formatter has no name.
const PER_SYSTEM: [(&str, &[&str], &str); 5] = [
    ("apps", &["ccorch", "default"], "app"),
    (
        "checks",
        &[
            "clippy",
            "cutover",
            "formatting",
            "module-eval",
            "proxy",
            "reboot",
            "secrets",
            "supervisor",
            "switch",
            "units",
        ],
        "derivation",
    ),
    ("devShells", &["default"], "derivation"),
    ("formatter", &[""], "derivation"),
    ("packages", &["ccorch", "default"], "derivation"),
];

/// What is there once.
const ONCE: [(&str, &str); 7] = [
    ("nixosConfigurations/cc-ci-orchestrator", "nixos-configuration"),
    ("nixosConfigurations/example-container", "nixos-configuration"),
    ("nixosModules/ccorch", "nixos-module"),
    ("nixosModules/default", "nixos-module"),
    ("overlays/default", "nixpkgs-overlay"),
    ("packages/x86_64-linux/incus-image", "derivation"),
    ("templates/default", "template"),
];

const TEMPLATE: [(&str, &str); 3] = [
    ("devShells/x86_64-linux/default", "derivation"),
    ("nixosConfigurations/vm", "nixos-configuration"),
    ("packages/x86_64-linux/image", "derivation"),
];

const SHOW: &[&str] = &["flake", "show", "--json", "--all-systems"];

/// All outputs by their place, with the type that `nix flake show` calls them.
fn offered() -> Outputs {
    let mut all: Outputs = ONCE.iter().map(|(place, kind)| ((*place).into(), (*kind).into())).collect();
    for system in SYSTEMS {
        for (output, names, kind) in PER_SYSTEM {
            let place = |name: &&str| format!("{output}/{system}/{name}").trim_end_matches('/').to_owned();
            all.extend(names.iter().map(|name| (place(name), kind.to_owned())));
        }
    }
    all
}

/// The same of what was shown.
fn outputs(shown: &Value, place: &str, into: &mut Outputs) {
    for (name, value) in shown.as_object().into_iter().flatten() {
        let place = format!("{place}{name}");
        match value["type"].as_str() {
            Some(kind) => drop(into.insert(place, kind.to_owned())),
            None => outputs(value, &format!("{place}/"), into),
        }
    }
}

/// Cases of wrong input and words that have to be said of them.
const REFUSED: [(&str, &str); 6] = [
    ("misspelt-option", "The option `services.ccorch.setings' does not exist"),
    ("relative-path", "the workspace `srv/cc-ci` is not an absolute path"),
    ("port-twice", "the proxy's port 22 is one of sshd's too"),
    ("port-of-tailscale", "the proxy and `services.tailscale` both listen on port 1055"),
    ("no-sops-file", "name it in `services.ccorch.secrets.file`"),
    ("unsupported-system", "ccorch is not made for riscv64-linux"),
];

/// What the flake offers.
pub fn flake(nix: &Nix) -> Result<Outcome> {
    let wanted = offered();
    shows(nix, &on_stand_ins(nix, SHOW, ""), &wanted)?;
    let template = TEMPLATE.iter().map(|(place, kind)| ((*place).into(), (*kind).into())).collect();
    let flake = format!("path:{}", nix.src.display());
    let mut argv = words(SHOW);
    argv.extend(["--override-input".to_owned(), "ccorch".to_owned(), flake.clone()]);
    argv.extend(stand_ins(nix, "ccorch/"));
    argv.push(format!("{flake}?dir=templates/rig"));
    shows(nix, &argv, &template).context("the template's flake")?;
    let (ours, theirs) = (wanted.len(), template.len());
    Ok(Outcome::Passed(format!("{ours} outputs, {theirs} of the template, no other, with stand-ins")))
}

fn shows(nix: &Nix, argv: &[String], wanted: &Outputs) -> Result<()> {
    let shown = nix.run(argv).output()?;
    ensure!(shown.status.success(), "nix flake show: {}", tail(&shown));
    let shown: Value = serde_json::from_slice(&shown.stdout).context("nix flake show prints no JSON")?;
    let mut found = Outputs::new();
    outputs(&shown, "", &mut found);
    ensure!(found == *wanted, "it shows\n{found:#?}\nand not\n{wanted:#?}");
    Ok(())
}

/// What is said of wrong input, and where.
pub fn refusals(nix: &Nix) -> Result<Outcome> {
    for (case, words) in REFUSED {
        let Err(error) = nix.eval(BAD, &[("case", string(case))]) else { bail!("`{case}` is not refused") };
        let said = format!("{error:#}");
        ensure!(said.contains(words), "of `{case}` it is not said that {words}, but: {said}");
    }
    // Nix takes the key; `ccorch check`, which the build runs, does not.
    let rig = nix.eval(BAD, &[("case", string("misspelt-key"))])?;
    let (_, findings) = rig::check(&serde_json::to_string_pretty(&rig)?);
    let found = findings.iter().any(|f| f.is_error() && f.line > 1 && f.key.contains("promt"));
    ensure!(found, "a misspelt key of the rig is not found: {findings:?}");

    let elsewhere = on_stand_ins(nix, &["build", "--dry-run", "--system", "riscv64-linux"], "#ccorch");
    let output = nix.run(&elsewhere).output()?;
    let said = tail(&output);
    let named = said.contains("does not provide attribute") && said.contains("riscv64-linux");
    ensure!(!output.status.success() && named, "on an unsupported system: {said}");
    Ok(Outcome::Passed(format!("{} wrong inputs, each named with its place", REFUSED.len() + 2)))
}

/// A manual page can be made of the options, and each of them is documented.
pub fn manual(nix: &Nix) -> Result<Outcome> {
    let lib = match nix.lib()? {
        Lib::Found(lib) => lib,
        Lib::Missing(why) => return Ok(Outcome::NotRun(why)),
    };
    let manual = nix.eval("nixos/tests/manual.nix", &[("nixpkgsLib", lib)])?;
    let undocumented = manual["undocumented"].as_array().context("no list of options")?;
    ensure!(undocumented.is_empty(), "these options say nothing or show nothing: {undocumented:?}");
    let (count, page) = (manual["count"].as_u64(), manual["page"].as_str().unwrap_or_default());
    ensure!(
        count.is_some_and(|count| count > 20) && page.contains("## `services.ccorch.settings`"),
        "{page}"
    );
    Ok(Outcome::Passed(format!("{} options on a page of {} lines", count.unwrap_or(0), page.lines().count())))
}

/// A command on the flake whose inputs are the stand-ins beside the tests.
fn on_stand_ins(nix: &Nix, command: &[&str], attribute: &str) -> Vec<String> {
    let mut argv = words(command);
    argv.extend(stand_ins(nix, ""));
    argv.push(format!("path:{}{attribute}", nix.src.display()));
    argv
}

/// Where the stand-ins for this project's inputs are, as `of` names them.
fn stand_ins(nix: &Nix, of: &str) -> Vec<String> {
    let place = |input: &str| format!("path:{}?dir=nixos/tests/inputs/{input}", nix.src.display());
    let input = |name: &str| ["--override-input".to_owned(), format!("{of}{name}"), place(name)];
    ["nixpkgs", "sops-nix"].into_iter().flat_map(input).collect()
}

/// A command of Nix that asks no network and writes no lock.
fn words(command: &[&str]) -> Vec<String> {
    let fixed = ["--no-write-lock-file", "--offline"];
    ["nix"].iter().chain(command).chain(&fixed).map(|word| (*word).to_owned()).collect()
}
