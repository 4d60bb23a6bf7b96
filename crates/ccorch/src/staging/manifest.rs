//! A manifest of files on a host: kind, mode and path of everything below some names, and the hash of each file's content.
//!
//! What was hashed while the source still worked is not hashed again in the dark, as long as size, inode and both times
//! are the same: the kernel sets a file's change time, no program can take it back.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context as _, Result};
use ccorch_io::host::Host;

use super::cache::Cache;

/// Prints, for names on standard input below a folder, a record each: kind and mode (or a link's target), then size,
/// times and inode, then the path. Newlines divide them; the path comes last, because it may hold one too. A folder that
/// is not there has no files.
const LIST: &str = r#"[ -e "$1" ] || exit 0; cd -- "$1"; xargs -0 -r sh -ec '
for p do shift; if [ -e "$p" ] || [ -L "$p" ]; then set -- "$@" "$p"; fi; done
[ "$#" -gt 0 ] || exit 0
find "$@" -type f -printf "f %m\n%s %T@ %C@ %i\n%p\0" -o -type d -printf "d %m\n\n%p\0" -o -type l -printf "l\n\n%p -> %l\0"' list"#;
/// Hashes the files named on standard input below a folder; sha256sum -z does not escape names.
const HASH: &str = r#"cd -- "$1"; xargs -0 -r sha256sum -z --"#;
/// A large tree takes its time.
const LONG: Duration = Duration::from_secs(3600);

/// One record: kind and mode, path, hash (empty where there is no content).
pub type Record = (Vec<u8>, Vec<u8>, Vec<u8>);

/// Everything below the names, in a folder.
pub fn manifest(host: &Host, dir: &str, names: &[Vec<u8>], cache: &Cache) -> Result<BTreeSet<Record>> {
    let input: Vec<u8> = names.iter().flat_map(|name| [b"./", name.as_slice(), b"\0"].concat()).collect();
    let command = host.command(&["sh", "-ec", LIST, "list", dir]).input(input);
    let listed = command.shown_as(format!("list files below {dir}")).deadline(LONG).run()?.stdout;
    let (mut all, mut unknown) = (BTreeSet::new(), Vec::new());
    for record in listed.split(|b| *b == 0).filter(|r| !r.is_empty()) {
        let mut fields = record.splitn(3, |b| *b == b'\n');
        let mut next = || fields.next().with_context(|| format!("{}: a record of {dir} is torn", host.name));
        let (kind, key, path) = (next()?.to_vec(), next()?.to_vec(), next()?.to_vec());
        let place = (host.name.clone(), dir.to_owned(), path);
        if !kind.starts_with(b"f ") {
            all.insert((kind, place.2, Vec::new()));
        } else if let Some(hash) = cache.hash(&place, &key) {
            all.insert((kind, place.2, hash));
        } else {
            unknown.push((kind, key, place));
        }
    }
    if unknown.is_empty() {
        return Ok(all);
    }
    let input: Vec<u8> =
        unknown.iter().flat_map(|(_, _, place)| [place.2.as_slice(), b"\0"].concat()).collect();
    let command = host.command(&["sh", "-ec", HASH, "hash", dir]).input(input);
    let hashed = command.shown_as(format!("hash files below {dir}")).deadline(LONG).run()?.stdout;
    let hashes: Vec<&[u8]> = hashed.split(|b| *b == 0).filter(|r| !r.is_empty()).collect();
    let fit = || format!("{}: the hashes of {dir} do not fit the list", host.name);
    anyhow::ensure!(hashes.len() == unknown.len(), fit());
    for ((kind, key, place), line) in unknown.into_iter().zip(hashes) {
        // 64 digits, a blank, a mark, the path (sha256sum(1)).
        let (hash, path) = line.split_at_checked(66).with_context(fit)?;
        anyhow::ensure!(path == place.2.as_slice(), fit());
        all.insert((kind, place.2.clone(), hash.to_vec()));
        cache.remember(place, key, hash.to_vec());
    }
    Ok(all)
}
