//! The project's files: a copy of what git knows, and what every .nix file has to be.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use tempfile::TempDir;

use super::Outcome;
use super::tool::Nix;
use crate::run::{Run, tail};

/// A copy of the checkout as a flake sees it: what git tracks or would track, and no built things.
pub struct Tree {
    folder: TempDir,
    /// All .nix files, relative.
    pub nix: Vec<String>,
}

impl Tree {
    /// Copies a checkout.
    pub fn staged(checkout: &Path) -> Result<Self> {
        let listed = Run::new(&["git", "-C"])
            .arg(checkout)
            .arg("ls-files")
            .arg("--cached")
            .arg("--others")
            .arg("--exclude-standard")
            .arg("-z")
            .read()?;
        let folder = tempfile::tempdir().context("no temporary folder")?;
        let mut nix = Vec::new();
        for name in listed.split('\0').filter(|name| !name.is_empty()) {
            let (from, to) = (checkout.join(name), folder.path().join(name));
            // Deleted and not yet committed.
            if !from.exists() {
                continue;
            }
            if let Some(parent) = to.parent() {
                fs::create_dir_all(parent)?;
            }
            fs::copy(&from, &to).with_context(|| format!("cannot copy {}", from.display()))?;
            if Path::new(name).extension() == Some(OsStr::new("nix")) {
                nix.push(name.to_owned());
            }
        }
        nix.sort();
        Ok(Self { folder, nix })
    }

    /// Where the copy lies.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The text of one file.
    pub fn read(&self, relative: &str) -> Result<String> {
        let path = self.path().join(relative);
        fs::read_to_string(&path).with_context(|| format!("cannot read {relative}"))
    }
}

/// Every file is Nix.
pub fn parse(nix: &Nix, tree: &Tree) -> Result<Outcome> {
    ensure!(!tree.nix.is_empty(), "the project has no .nix file");
    let files: Vec<String> = tree.nix.iter().map(|file| nix.file(file)).collect();
    let mut argv = vec!["nix-instantiate", "--parse"];
    argv.extend(files.iter().map(String::as_str));
    nix.run(&argv).run()?;
    Ok(Outcome::Passed(format!("{} files", files.len())))
}

/// What needs no formatter to be seen.
pub fn text(tree: &Tree) -> Result<Outcome> {
    let mut found = Vec::new();
    for file in &tree.nix {
        found.extend(flaws(&tree.read(file)?).into_iter().map(|flaw| format!("{file}{flaw}")));
    }
    ensure!(found.is_empty(), "\n  {}", found.join("\n  "));
    Ok(Outcome::Passed(format!("{} files, each with a sentence on top", tree.nix.len())))
}

fn flaws(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    if !text.ends_with('\n') || text.ends_with("\n\n") {
        found.push(": does not end with exactly one line end".to_owned());
    }
    if !text.starts_with("# ") && !text.starts_with("{\n  description") {
        found.push(": does not start with a sentence on what it is".to_owned());
    }
    for (index, line) in text.lines().enumerate() {
        if line.contains('\t') {
            found.push(format!(":{}: a tab", index + 1));
        }
        if line.ends_with(' ') {
            found.push(format!(":{}: a space at the end", index + 1));
        }
    }
    found
}

/// Formatted as `nix fmt` would.
pub fn nixfmt(cache: &Path, tree: &Tree, install: bool) -> Result<Outcome> {
    over_files(
        cache,
        tree,
        install,
        &Tool { name: "nixfmt", package: "nixfmt_rs@0.5.3", flags: &["--check"] },
    )
}

/// No binding is left unused.
pub fn deadnix(cache: &Path, tree: &Tree, install: bool) -> Result<Outcome> {
    over_files(cache, tree, install, &Tool { name: "deadnix", package: "deadnix@1.3.1", flags: &["--fail"] })
}

struct Tool {
    name: &'static str,
    package: &'static str,
    flags: &'static [&'static str],
}

fn over_files(cache: &Path, tree: &Tree, install: bool, tool: &Tool) -> Result<Outcome> {
    let Some(program) = find(cache, install, tool)? else {
        let why = format!("no {} here; `cargo xtask nix --install-tools` gets it", tool.name);
        return Ok(Outcome::NotRun(why));
    };
    let run = tool.flags.iter().fold(Run::new(&[&program]), |run, flag| run.arg(flag));
    let run = tree.nix.iter().fold(run, |run, file| run.arg(tree.path().join(file)));
    let output = run.output()?;
    if !output.status.success() {
        let place = format!("{}/", tree.path().display());
        bail!("{} is not content\n{}", tool.name, tail(&output).replace(&place, ""));
    }
    Ok(Outcome::Passed(format!("{} files", tree.nix.len())))
}

/// On the path, else in the cache, else installed there.
fn find(cache: &Path, install: bool, tool: &Tool) -> Result<Option<PathBuf>> {
    let kept = cache.join("tools/bin").join(tool.name);
    let works = |program: &Path| {
        Run::new(&[program]).arg("--version").output().is_ok_and(|output| output.status.success())
    };
    if let Some(program) = [PathBuf::from(tool.name), kept.clone()].into_iter().find(|program| works(program))
    {
        return Ok(Some(program));
    }
    if !install {
        return Ok(None);
    }
    Run::new(&["cargo", "install", "--quiet", "--locked", tool.package, "--root"])
        .arg(cache.join("tools"))
        .run()?;
    Ok(Some(kept))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flaws_are_seen() {
        assert!(flaws("# A sentence.\n{ }\n").is_empty());
        assert_eq!(flaws("# A sentence.\n{\t} \n").len(), 2);
        assert_eq!(flaws("{ }").len(), 2);
    }
}
