//! Units: the package's are those of other systems, and systemd takes all that is rendered.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use super::files::Tree;
use super::tool::{Lib, Nix, string};
use super::{Outcome, expression};
use crate::run::{Run, tail};

const FOLDER: &str = "crates/ccorch/units";
const INSTALLED: &str = "/usr/local/bin/ccorch";
/// By what path NixOS has the program in every generation.
const LASTING: &str = "/run/current-system/sw/bin/ccorch";
/// Stands for the program where systemd looks whether it can be executed.
const SOME_PROGRAM: &str = "/bin/true";

type Texts = BTreeMap<String, String>;

/// Without a change of path the package's units are the files themselves; with one, systemd takes them.
pub fn plain(nix: &Nix, tree: &Tree) -> Result<Outcome> {
    let same = units(nix, INSTALLED)?;
    for (name, text) in &same {
        ensure!(
            *text == tree.read(&format!("{FOLDER}/{name}"))?,
            "{name} is not the file that others install"
        );
    }
    let files = fs::read_dir(tree.path().join(FOLDER))?.count();
    ensure!(files == same.len() && files > 0, "{files} files, {} units", same.len());
    let said = verify(&units(nix, SOME_PROGRAM)?, &Texts::new())?;
    Ok(Outcome::Passed(format!("{files} equal those of `ccorch host install`; {said}")))
}

/// The module's tests with `builtins` alone: everywhere.
pub fn module_alone(nix: &Nix) -> Result<Outcome> {
    module(nix, "nixos/tests/alone.nix", &[])
}

/// The module's tests over nixpkgs' lib, and its drop-ins before systemd.
pub fn module_with_lib(nix: &Nix) -> Result<Outcome> {
    let lib = match nix.lib()? {
        Lib::Found(lib) => lib,
        Lib::Missing(why) => return Ok(Outcome::NotRun(why)),
    };
    let mut arguments = vec![("nixpkgsLib", lib)];
    arguments.extend(nix.inputs.sops_nix.as_ref().map(|path| ("sopsNix", path.display().to_string())));
    module(nix, "nixos/tests/with-lib.nix", &arguments)
}

/// The same as part of a whole NixOS, whose own rendering systemd gets to see.
pub fn module_with_nixpkgs(nix: &Nix) -> Result<Outcome> {
    let Some(nixpkgs) = &nix.inputs.nixpkgs else {
        return Ok(Outcome::NotRun("NIXPKGS names no folder".into()));
    };
    let mut arguments = vec![("nixpkgs", nixpkgs.display().to_string())];
    arguments.extend(nix.inputs.sops_nix.as_ref().map(|path| ("sopsNix", path.display().to_string())));
    module(nix, "nixos/tests/with-nixpkgs.nix", &arguments)
}

fn module(nix: &Nix, file: &str, arguments: &[(&str, String)]) -> Result<Outcome> {
    let result = nix.eval(file, arguments)?;
    let cases = expression::judge(file, &result)?;
    let mut drop_ins: Texts = serde_json::from_value(result["dropIns"].clone()).context("no drop-ins")?;
    drop_ins.values_mut().for_each(|text| *text = unbuilt(text));
    ensure!(drop_ins.contains_key("ccorch-supervisor.service"), "the supervisor has no drop-in");
    let said = verify(&units(nix, SOME_PROGRAM)?, &drop_ins)?;
    Ok(Outcome::Passed(format!("{cases}; {said}")))
}

/// The units as the package at a store path has them.
pub fn of_package(nix: &Nix, package: &str) -> Result<Texts> {
    units_naming(nix, &format!("{package}/bin/ccorch"), LASTING)
}

fn units(nix: &Nix, program: &str) -> Result<Texts> {
    units_naming(nix, program, program)
}

fn units_naming(nix: &Nix, program: &str, lasting: &str) -> Result<Texts> {
    let arguments = [("program", string(program)), ("lasting", string(lasting))];
    let value: Value = nix.eval("nixos/tests/units.nix", &arguments)?;
    serde_json::from_value(value).context("units are texts by name")
}

/// A unit's own scripts are not built here, and systemd looks whether they can be executed.
fn unbuilt(text: &str) -> String {
    let line = |line: &str| {
        if line.starts_with("ExecStart=/nix/store/") {
            format!("ExecStart={SOME_PROGRAM}\n")
        } else {
            format!("{line}\n")
        }
    };
    text.lines().map(line).collect()
}

/// `systemd-analyze verify` of units with drop-ins; a word of warning is a failure too.
fn verify(units: &Texts, drop_ins: &Texts) -> Result<String> {
    let version = Run::new(&["systemd-analyze", "--version"]).output();
    if !version.is_ok_and(|output| output.status.success()) {
        return Ok("systemd-analyze: not run, it is not here".into());
    }
    let folder = tempfile::tempdir()?;
    for (name, text) in units {
        fs::write(folder.path().join(name), text)?;
    }
    for (name, text) in drop_ins {
        let drop_in = folder.path().join(format!("{name}.d"));
        fs::create_dir(&drop_in)?;
        fs::write(drop_in.join("overrides.conf"), text)?;
    }
    // A template is verified as one of its instances.
    let names = units.keys().map(|name| folder.path().join(name.replace("@.", "@x.")));
    for name in units.keys().filter(|name| name.contains("@.")) {
        std::os::unix::fs::symlink(name, folder.path().join(name.replace("@.", "@x.")))?;
    }
    let run = Run::new(&["systemd-analyze", "verify", "--man=no", "--recursive-errors=no"]);
    let path = format!("{}:", folder.path().display());
    let output = names.fold(run.env("SYSTEMD_UNIT_PATH", path), Run::arg).output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() || said.contains("ccorch") || said.contains(&*folder.path().to_string_lossy())
    {
        bail!("systemd-analyze verify: {}", tail(&output));
    }
    Ok(format!("verified by systemd with {} drop-ins", drop_ins.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_setting_is_no_good() {
        if !Run::new(&["systemd-analyze", "--version"]).output().is_ok_and(|out| out.status.success()) {
            return;
        }
        let unit = |text: &str| Texts::from([("ccorch-x.service".to_owned(), text.to_owned())]);
        let good = "[Service]\nExecStart=/bin/true\n";
        assert!(verify(&unit(good), &Texts::new()).is_ok());
        assert!(verify(&unit("[Service]\nExecStart=/bin/true\nRestrt=no\n"), &Texts::new()).is_err());
        assert!(verify(&unit(good), &unit("[Service]\nExecStart=/not/there\n")).is_err());
    }
}
