//! The tests of whole machines cannot run without a NixOS builder; that their scripts are Python can be seen.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail, ensure};

use super::Outcome;
use super::tool::Nix;
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
