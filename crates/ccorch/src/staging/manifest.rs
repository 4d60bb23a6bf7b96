//! A manifest of files on a host: kind, mode and path of everything below some names, and the hash of each file's content.
//!
//! What was hashed while the source still worked is not hashed again in the dark, as long as size, inode and both times
//! are the same: the kernel sets a file's change time, no program can take it back.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use anyhow::{Context as _, Result};
use ccorch_io::host::Host;

use super::cache::Cache;

/// Prints, for absolute names on standard input, four fields for everything at and below each: kind and mode (or a link's
/// target), then size, times and inode of a file, the name, and the path below it. A name that is not there has no files.
const LIST: &str = r#"xargs -0 -r sh -ec '
for p do shift; if [ -e "$p" ] || [ -L "$p" ]; then set -- "$@" "$p"; fi; done
[ "$#" -gt 0 ] || exit 0
find "$@" -type f -printf "f %m\0%s %T@ %C@ %i\0%H\0%P\0" -o -type d -printf "d %m\0\0%H\0%P\0" -o -type l -printf "l %l\0\0%H\0%P\0"' list"#;
/// Hashes the files named on standard input; sha256sum -z does not escape names.
const HASH: &str = "xargs -0 -r sha256sum -z --";
/// A large tree takes its time.
const LONG: Duration = Duration::from_secs(3600);

/// A folder, and names below it.
#[derive(Debug, Clone, Copy)]
pub struct Below<'a> {
    /// Absolute.
    pub dir: &'a str,
    /// Relative to it; `.` is all of it.
    pub names: &'a [Vec<u8>],
}

/// One record: kind and mode, path, hash (empty where there is no content).
pub type Record = (Vec<u8>, Vec<u8>, Vec<u8>);

/// A file whose hash is not known: its place in the list, what its record has beside that, its key, and where it lies.
struct Unknown {
    index: usize,
    kind: Vec<u8>,
    path: Vec<u8>,
    key: Vec<u8>,
    file: Vec<u8>,
}

/// Everything below the names, folder by folder; one call lists it all, a second one hashes what is not known.
pub fn manifests(host: &Host, places: &[Below<'_>], cache: &Cache) -> Result<Vec<BTreeSet<Record>>> {
    let mut names: HashMap<Vec<u8>, Vec<(usize, &[u8])>> = HashMap::new();
    let mut input = Vec::new();
    for (index, place) in places.iter().enumerate() {
        for name in place.names {
            let full = [place.dir.as_bytes(), b"/", name].concat();
            let known = names.entry(full.clone()).or_default();
            if known.is_empty() {
                input.extend([full.as_slice(), b"\0"].concat());
            }
            known.push((index, name));
        }
    }
    let command = host.command(&["sh", "-ec", LIST, "list"]).input(input);
    let listed =
        command.shown_as("list the files that are carried").deadline(LONG).most(usize::MAX).run()?.stdout;
    let torn = || format!("{}: the list of files is torn", host.name);
    let listed = listed.strip_suffix(b"\0").unwrap_or(&listed);
    let fields: Vec<&[u8]> = if listed.is_empty() { Vec::new() } else { listed.split(|b| *b == 0).collect() };
    anyhow::ensure!(fields.len().is_multiple_of(4), torn());
    let (mut all, mut unknown) = (vec![BTreeSet::new(); places.len()], Vec::new());
    for record in fields.chunks_exact(4) {
        let (kind, key, start, below) = (record[0], record[1], record[2], record[3]);
        for (index, name) in names.get(start).with_context(torn)? {
            let path = if below.is_empty() { name.to_vec() } else { [name, &b"/"[..], below].concat() };
            let file = [places[*index].dir.as_bytes(), b"/", &path].concat();
            let hash = if kind.starts_with(b"f ") {
                cache.hash(&(host.name.clone(), file.clone()), key)
            } else {
                Some(Vec::new())
            };
            let (index, kind) = (*index, kind.to_vec());
            match hash {
                Some(hash) => drop(all[index].insert((kind, path, hash))),
                None => unknown.push(Unknown { index, kind, path, key: key.to_vec(), file }),
            }
        }
    }
    learn(host, unknown, cache, &mut all)?;
    Ok(all)
}

/// Hashes what is not known.
fn learn(host: &Host, unknown: Vec<Unknown>, cache: &Cache, all: &mut [BTreeSet<Record>]) -> Result<()> {
    if unknown.is_empty() {
        return Ok(());
    }
    let input: Vec<u8> = unknown.iter().flat_map(|one| [one.file.as_slice(), b"\0"].concat()).collect();
    let command = host.command(&["sh", "-ec", HASH, "hash"]).input(input);
    let hashed =
        command.shown_as("hash the files that are carried").deadline(LONG).most(usize::MAX).run()?.stdout;
    let hashes: Vec<&[u8]> = hashed.split(|b| *b == 0).filter(|r| !r.is_empty()).collect();
    let fit = || format!("{}: the hashes do not fit the list of files", host.name);
    anyhow::ensure!(hashes.len() == unknown.len(), fit());
    for (one, line) in unknown.into_iter().zip(hashes) {
        // 64 digits, a blank, a mark, the path (sha256sum(1)).
        let (hash, path) = line.split_at_checked(66).with_context(fit)?;
        anyhow::ensure!(path == one.file.as_slice(), fit());
        all[one.index].insert((one.kind, one.path, hash.to_vec()));
        cache.remember((host.name.clone(), one.file), one.key, hash.to_vec());
    }
    Ok(())
}
