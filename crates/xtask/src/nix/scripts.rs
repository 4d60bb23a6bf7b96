//! Scripts: the tests of whole machines cannot run without a NixOS builder, but that theirs are Python can be seen; the one
//! that looks for secrets is run.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};

use super::Outcome;
use super::tool::{Nix, string};
use crate::run::{Run, tail};

/// Compiles each script; nothing of it is executed.
const COMPILE: &str = "import sys; compile(sys.stdin.read(), sys.argv[1], 'exec')";

/// Evaluates every test as far as its script, and has Python read that.
pub fn check(nix: &Nix) -> Result<Outcome> {
    let scripts: BTreeMap<String, String> = serde_json::from_value(nix.eval("nixos/tests/scripts.nix", &[])?)
        .context("scripts are texts by name")?;
    ensure!(!scripts.is_empty(), "no tests of whole machines");
    if Run::new(&["python3", "--version"]).output().is_err() {
        return Ok(Outcome::NotRun("no python3 here".into()));
    }
    for (name, script) in &scripts {
        compiles(name, script)?;
    }
    Ok(Outcome::Passed(format!("{} are Python; the tests themselves are not run here", scripts.len())))
}

/// What the unit that looks for secrets says without a key, with one that opens nothing, and when all is there.
pub fn look(nix: &Nix) -> Result<Outcome> {
    let folder = tempfile::tempdir().context("no temporary folder")?;
    // As awkward as a path may be.
    let (secret, key) = (folder.path().join("it's a $secret"), folder.path().join("age key"));
    let place = |path: &Path| path.display().to_string();
    let arguments = [("path", string(&place(&secret))), ("key", string(&place(&key)))];
    let script = nix.eval("nixos/tests/look.nix", &arguments)?;
    let script = script.as_str().context("the script is a text")?;
    let runs = |well: bool, words: &[&str]| -> Result<()> {
        let output = Run::new(&["bash", "-c", script]).output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        let all = words.iter().all(|words| said.contains(words));
        ensure!(output.status.success() == well && all, "expected {words:?}, it says: {}", tail(&output));
        ensure!(!well || said.is_empty(), "all is there, and it says: {said}");
        Ok(())
    };
    let absent = format!("the secret {} is not there", place(&secret));
    let bring = format!("hint: put the age key at {} (owner root, mode 0600)", place(&key));
    runs(false, &[&absent, &bring])?;
    fs::write(&key, "AGE-SECRET-KEY-OF-NOBODY\n")?;
    // An empty file is no secret.
    fs::write(&secret, "")?;
    runs(false, &[&absent, "may open nothing of rig.yaml", "`sops updatekeys`"])?;
    fs::write(&secret, "TOKEN=x\n")?;
    runs(true, &[])?;
    Ok(Outcome::Passed("run without a key, with one that opens nothing, with all there".into()))
}

fn compiles(name: &str, script: &str) -> Result<()> {
    let output = Run::new(&["python3", "-c", COMPILE, name]).stdin(script).output()?;
    if !output.status.success() {
        bail!("checks/{name}: {}", tail(&output));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_that_is_no_python_is_named() {
        if Run::new(&["python3", "--version"]).output().is_err() {
            return;
        }
        assert!(compiles("good.nix", "vm.start()\n").is_ok());
        let error = compiles("bad.nix", "with subtest('x')\n").unwrap_err();
        assert!(error.to_string().contains("checks/bad.nix"), "{error}");
    }
}
