//! `flake.lock`: well-formed, and left as it is by `nix flake lock`.

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::Outcome;
use super::files::Tree;
use super::tool::Nix;

const FILE: &str = "flake.lock";

/// Judges the file, and has Nix lock the flake over again: pins that do not fit the inputs would change.
pub fn check(nix: &Nix, tree: &Tree) -> Result<Outcome> {
    let before = tree.read(FILE)?;
    let pins = pins(&before)?;
    let flake = format!("path:{}", nix.src.display());
    nix.run(&["nix", "flake", "lock", "--offline", &flake]).run()?;
    ensure!(
        tree.read(FILE)? == before,
        "`nix flake lock` changes it: the pins do not fit the inputs of flake.nix"
    );
    Ok(Outcome::Passed(format!("{}, unchanged by `nix flake lock`", pins.join(", "))))
}

/// Input and revision of each pin.
fn pins(text: &str) -> Result<Vec<String>> {
    let lock: Value = serde_json::from_str(text).context("not JSON")?;
    ensure!(lock["version"] == 7, "expected version 7");
    let nodes = lock["nodes"].as_object().context("no nodes")?;
    let mut pins = Vec::new();
    for (name, node) in nodes.iter().filter(|(name, _)| *name != "root") {
        let locked = |key: &str| node["locked"][key].as_str().unwrap_or_default();
        let (rev, hash) = (locked("rev"), locked("narHash"));
        ensure!(
            rev.len() == 40 && rev.bytes().all(|b| b.is_ascii_hexdigit()),
            "{name}: `{rev}` is not a revision"
        );
        let digest = hash.strip_prefix("sha256-").unwrap_or_default();
        ensure!(digest.len() == 44 && digest.ends_with('='), "{name}: `{hash}` is not a SHA-256 hash");
        ensure!(node["locked"]["lastModified"].is_u64(), "{name}: no lastModified");
        pins.push(format!("{name} {}", &rev[..9]));
    }
    ensure!(!pins.is_empty(), "no pins");
    Ok(pins)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_projects_own_lock_is_well_formed() {
        let text = include_str!("../../../../flake.lock");
        assert_eq!(pins(text).unwrap(), ["nixpkgs fd1462031", "sops-nix 420f8d2e9"]);
        let broken = text.replace("fd1462031", "main");
        assert!(pins(&broken).unwrap_err().to_string().contains("not a revision"));
        let broken = text.replace("sha256-NF", "sha1-NF");
        assert!(pins(&broken).unwrap_err().to_string().contains("sops-nix"));
    }
}
