//! The proof that source and target hold the same: commits, cleanliness, and a manifest of every carried file.

use std::collections::BTreeSet;
use std::fmt;

use anyhow::Result;
use ccorch_core::stage::agent_state;
use ccorch_io::git::Clone;
use ccorch_io::host::Host;
use serde::Serialize;

use super::pair::Pair;
use super::{agents, files};
use crate::context::LoadedRig;

/// One thing in which the hosts differ.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Difference {
    /// The repository or folder.
    pub place: String,
    /// What differs, in words.
    pub what: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.what)
    }
}

/// Prints, for names on standard input below a folder: kind, mode and path, then the hash of each file's content.
/// sha256sum -z does not escape names.
const MANIFEST: &str = r#"cd -- "$1"; xargs -0 -r sh -ec '
for p do shift; if [ -e "$p" ] || [ -L "$p" ]; then set -- "$@" "$p"; fi; done
[ "$#" -gt 0 ] || exit 0
find "$@" -type f -printf "f %m %p\0" -o -type d -printf "d %m %p\0" -o -type l -printf "l %l %p\0"
find "$@" -type f -exec sha256sum -z -- {} +' manifest"#;

/// Compares both hosts; an empty list means that they are equal. Neither may be at work.
pub fn prove(loaded: &LoadedRig, source: &Host, target: &Host) -> Result<Vec<Difference>> {
    let pair = Pair::of(&loaded.rig, source, target)?;
    let mut all = Vec::new();
    for (path, _) in &pair.repositories {
        repository(&pair, path, &mut all)?;
    }
    let names: Vec<Vec<u8>> = files::names(&pair)?.into_iter().collect();
    compare(&pair, pair.root, pair.root, &names, &mut all)?;
    for copy in pair.rig.workspace.copies.values() {
        compare(&pair, &copy.from, &copy.from, &[b".".to_vec()], &mut all)?;
    }
    for (base, paths) in &agent_state(pair.rig).paths {
        let (from, to) = agents::folders(&pair, base);
        if source.exists(&from)? {
            let list: Vec<Vec<u8>> = paths.iter().map(|path| path.clone().into_bytes()).collect();
            compare(&pair, &from, &to, &list, &mut all)?;
        }
    }
    all.sort();
    Ok(all)
}

fn repository(pair: &Pair, path: &str, all: &mut Vec<Difference>) -> Result<()> {
    let clones = pair.clones(path);
    let mut say = |what: String| all.push(Difference { place: format!("repository {path}"), what });
    for clone in [&clones.source, &clones.target] {
        if !clone.exists()? {
            say(format!("{} has no clone", clone.host.name));
            return Ok(());
        }
    }
    let (ours, theirs) = (clones.source.heads()?, clones.target.heads()?);
    for (branch, commit) in &ours {
        let there = theirs.get(branch).map_or("nothing", String::as_str);
        if there != commit {
            say(format!(
                "branch {branch} is {commit} on {}, {there} on {}",
                pair.source.name, pair.target.name
            ));
        }
    }
    let (ours, theirs) = (clones.source.branch()?, clones.target.branch()?);
    if ours != theirs {
        let shown = |branch: Option<String>| branch.unwrap_or_else(|| "no branch".into());
        let (ours, theirs) = (shown(ours), shown(theirs));
        say(format!("{ours} is checked out on {}, {theirs} on {}", pair.source.name, pair.target.name));
    }
    let own = pair.own_files_of(path);
    for clone in [&clones.source, &clones.target] {
        for name in unclean(clone, &own)? {
            say(format!("uncommitted change of {name} on {}", clone.host.name));
        }
    }
    Ok(())
}

fn unclean(clone: &Clone, own: &BTreeSet<String>) -> Result<Vec<String>> {
    let names = clone.dirty()?.into_iter().map(|name| String::from_utf8_lossy(&name).into_owned());
    Ok(names.filter(|name| !own.contains(name)).collect())
}

fn compare(pair: &Pair, from: &str, to: &str, names: &[Vec<u8>], all: &mut Vec<Difference>) -> Result<()> {
    let (ours, theirs) = (manifest(pair.source, from, names)?, manifest(pair.target, to, names)?);
    let one_sided = |a: &BTreeSet<Vec<u8>>, b: &BTreeSet<Vec<u8>>| -> BTreeSet<String> {
        a.difference(b).map(|record| path_of(record)).collect()
    };
    let (left, right) = (one_sided(&ours, &theirs), one_sided(&theirs, &ours));
    for path in left.union(&right) {
        let what = match (left.contains(path), right.contains(path)) {
            (true, false) => format!("{path} is on {} only", pair.source.name),
            (false, true) => format!("{path} is on {} only", pair.target.name),
            _ => format!("{path} differs"),
        };
        all.push(Difference { place: from.into(), what });
    }
    Ok(())
}

fn manifest(host: &Host, dir: &str, names: &[Vec<u8>]) -> Result<BTreeSet<Vec<u8>>> {
    let input: Vec<u8> = names.iter().flat_map(|name| [b"./", name.as_slice(), b"\0"].concat()).collect();
    let command = host.command(&["sh", "-ec", MANIFEST, "manifest", dir]).input(input);
    let command = command.shown_as(format!("list and hash files below {dir}"));
    let output = command.deadline(std::time::Duration::from_secs(3600)).run()?;
    Ok(output.stdout.split(|b| *b == 0).filter(|r| !r.is_empty()).map(<[u8]>::to_vec).collect())
}

/// The path of a record: after the first `./`, which no kind, mode or hash contains.
fn path_of(record: &[u8]) -> String {
    let text = String::from_utf8_lossy(record);
    text.split_once(" ./").map_or_else(|| text.clone().into_owned(), |(_, path)| path.to_owned())
}
