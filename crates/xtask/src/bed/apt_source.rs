//! The package sources the machine already uses, so that ours name the same mirror.
//!
//! Formats: sources.list(5), one-line and deb822.

use std::path::Path;

use anyhow::{Context as _, Result};

/// One `deb` source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AptSource {
    /// Where it is fetched from.
    pub uri: String,
    /// Its suites, such as `bookworm` and `bookworm-updates`.
    pub suites: Vec<String>,
    /// The keyring file that signs it, when the source names one.
    pub signed_by: Option<String>,
}

/// All enabled `deb` sources of this machine.
pub fn of_this_machine() -> Result<Vec<AptSource>> {
    let mut found = Vec::new();
    let list = Path::new("/etc/apt/sources.list");
    if list.exists() {
        found.extend(one_line(&read(list)?));
    }
    let folder = Path::new("/etc/apt/sources.list.d");
    if folder.exists() {
        let mut files: Vec<_> = folder.read_dir()?.filter_map(|entry| Some(entry.ok()?.path())).collect();
        files.sort();
        for file in files {
            match file.extension().and_then(|end| end.to_str()) {
                Some("sources") => found.extend(deb822(&read(&file)?)),
                Some("list") => found.extend(one_line(&read(&file)?)),
                _ => {}
            }
        }
    }
    Ok(found)
}

/// The first source that has `suite`.
pub fn serving<'a>(sources: &'a [AptSource], suite: &str) -> Option<&'a AptSource> {
    sources.iter().find(|source| source.suites.iter().any(|name| name == suite))
}

fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

fn one_line(text: &str) -> Vec<AptSource> {
    text.lines().filter_map(one_line_source).collect()
}

fn one_line_source(line: &str) -> Option<AptSource> {
    let rest = line.trim().strip_prefix("deb ")?.trim_start();
    let (options, rest) = match rest.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?,
        None => ("", rest),
    };
    let mut words = rest.split_whitespace();
    let signed_by = options.split_whitespace().find_map(|word| word.strip_prefix("signed-by="));
    Some(AptSource {
        uri: words.next()?.to_owned(),
        suites: vec![words.next()?.to_owned()],
        signed_by: signed_by.map(str::to_owned),
    })
}

fn deb822(text: &str) -> Vec<AptSource> {
    let bare: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    bare.split(|line| line.trim().is_empty()).flat_map(deb822_source).collect()
}

fn deb822_source(stanza: &[&str]) -> Vec<AptSource> {
    let field = |name: &str| {
        stanza.iter().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    };
    let words = |name: &str| {
        field(name).unwrap_or_default().split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    if field("Enabled") == Some("no") || !words("Types").iter().any(|kind| kind == "deb") {
        return Vec::new();
    }
    let source = |uri| AptSource {
        uri,
        suites: words("Suites"),
        // A key may also stand in the file itself, over several lines; then apt's own keys are used.
        signed_by: field("Signed-By").filter(|key| key.starts_with('/')).map(str::to_owned),
    };
    words("URIs").into_iter().map(source).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use indoc::indoc;

    #[test]
    fn both_formats_are_read() {
        let stanzas = deb822(indoc! {"
            Types: deb
            # a note
            URIs: http://mirror.test/debian
            Suites: bookworm bookworm-updates
            Components: main
            Signed-By: /usr/share/keyrings/a.gpg

            Types: deb-src
            URIs: http://mirror.test/debian
            Suites: bookworm

            Enabled: no
            Types: deb
            URIs: http://off.test/
            Suites: bookworm
        "});
        let expected = AptSource {
            uri: "http://mirror.test/debian".into(),
            suites: vec!["bookworm".into(), "bookworm-updates".into()],
            signed_by: Some("/usr/share/keyrings/a.gpg".into()),
        };
        assert_eq!(stanzas, [expected]);

        let lines = one_line(indoc! {"
            # deb http://no.test/ sid main
            deb [arch=amd64 signed-by=/k.gpg] http://mirror.test/debian trixie main contrib
        "});
        assert_eq!(serving(&lines, "trixie").map(|source| source.signed_by.as_deref()), Some(Some("/k.gpg")));
        assert_eq!(serving(&lines, "sid"), None);
    }
}
