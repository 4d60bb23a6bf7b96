//! `flake.lock`: well-formed, and left as it is by `nix flake lock`.

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::Outcome;
use super::files::Tree;
use super::tool::Nix;

const FILE: &str = "flake.lock";

/// What is pinned: release, seconds since the epoch of its commit, and the hash of its source, as the lock files of other
/// projects have them too.
const PINNED: [(&str, &str, u64, &str); 2] = [
    (
        "nixpkgs",
        "fd1462031fdee08f65fd0b4c6b64e22239a77870",
        1_784_432_872,
        "sha256-n3gKTBIV4ZA5VQpUakffBe3KGu4+mhPoA34rrqS0GkA=",
    ),
    (
        "sops-nix",
        "420f8d2e9882911f65cfac15cc706f639ba96cca",
        1_781_943_681,
        "sha256-NFHmA7H47adqiyp+0iEOyZOQhmigDqA/NBAlf4imB6U=",
    ),
];

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
    let short = |pin: &Pin| format!("{} {}", pin.input, &pin.rev[..9]);
    let pins = pins.iter().map(short).collect::<Vec<_>>().join(", ");
    Ok(Outcome::Passed(format!("{pins}, unchanged by `nix flake lock`")))
}

/// One input as it is locked.
#[derive(Debug, PartialEq)]
struct Pin {
    input: String,
    rev: String,
    last_modified: u64,
    nar_hash: String,
}

/// The pins, which have to be those that are known.
fn pins(text: &str) -> Result<Vec<Pin>> {
    let lock: Value = serde_json::from_str(text).context("not JSON")?;
    ensure!(lock["version"] == 7, "expected version 7");
    let nodes = lock["nodes"].as_object().context("no nodes")?;
    let mut pins = Vec::new();
    for (name, node) in nodes.iter().filter(|(name, _)| *name != "root") {
        let locked = |key: &str| node["locked"][key].as_str().unwrap_or_default().to_owned();
        let pin = Pin {
            input: name.clone(),
            rev: locked("rev"),
            last_modified: node["locked"]["lastModified"].as_u64().unwrap_or_default(),
            nar_hash: locked("narHash"),
        };
        let known = PINNED.iter().any(|(input, rev, when, hash)| {
            pin == Pin {
                input: (*input).into(),
                rev: (*rev).into(),
                last_modified: *when,
                nar_hash: (*hash).into(),
            }
        });
        ensure!(
            known,
            "not what is known of {name}: {pin:?}\nhint: after a wanted update, put it into {}",
            file!()
        );
        pins.push(pin);
    }
    ensure!(pins.len() == PINNED.len(), "{} pins, expected {}", pins.len(), PINNED.len());
    Ok(pins)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_projects_own_lock_has_what_is_known_and_nothing_else() {
        // Read when it runs: the package's source does not have it, and its tests are compiled there.
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../flake.lock");
        let text = std::fs::read_to_string(file).unwrap();
        assert_eq!(pins(&text).unwrap().len(), PINNED.len());
        for (input, rev, when, hash) in PINNED {
            for value in [rev, &when.to_string(), hash] {
                // One character is enough.
                let middle = value.len() / 2;
                let other = if value.as_bytes()[middle] == b'7' { "8" } else { "7" };
                let broken =
                    text.replace(value, &format!("{}{other}{}", &value[..middle], &value[middle + 1..]));
                assert_ne!(broken, text);
                let error = pins(&broken).unwrap_err().to_string();
                assert!(error.contains(input), "{error}");
            }
        }
        assert!(pins(r#"{ "version": 7, "nodes": { "root": {} } }"#).is_err());
    }
}
