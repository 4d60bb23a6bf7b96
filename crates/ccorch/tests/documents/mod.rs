//! The documents at the root of the repository, read as what a person would type and follow.

// Each test file is a crate of its own and uses its own part of this.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::path::{Path, PathBuf};

/// The root of the repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// A document's text.
pub fn text(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Every line of every block fenced as `sh`, in order; each is one command.
pub fn commands(document: &str) -> Vec<String> {
    let mut fence = None;
    let mut found = Vec::new();
    for line in document.lines() {
        match (line.strip_prefix("```"), fence) {
            (Some(language), None) => fence = Some(language),
            (Some(_), Some(_)) => fence = None,
            (None, Some("sh")) if !line.trim().is_empty() => found.push(line.trim().to_owned()),
            (None, _) => {}
        }
    }
    assert!(fence.is_none(), "a fence is not closed");
    found
}

/// Every `ccorch ...` in backticks in the prose that is a whole command: no placeholder, no ellipsis.
pub fn inline_commands(document: &str) -> Vec<String> {
    let prose: String = document.split("```").step_by(2).collect();
    let spans = prose.split('`').skip(1).step_by(2);
    spans.filter(|span| span.starts_with("ccorch ")).map(ToOwned::to_owned).collect()
}

/// The words of a command line: none in the documents needs quotes.
pub fn words(command: &str) -> Vec<&str> {
    assert!(!command.contains(['"', '\'', '\\', '$', ';']), "not one plain command: {command}");
    command.split_whitespace().take_while(|word| !word.starts_with('#')).collect()
}

/// The targets of every link and image, `[text](target)`.
pub fn links(document: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, _) in document.match_indices("](") {
        let rest = &document[at + 2..];
        found.push(rest[..rest.find(')').expect("a link is not closed")].to_owned());
    }
    found
}

/// The anchors that headings get: lower case, spaces as `-`, other punctuation dropped.
pub fn anchors(document: &str) -> Vec<String> {
    let headings = document.lines().filter(|line| line.starts_with('#'));
    let anchor = |line: &str| -> String {
        let title = line.trim_start_matches('#').trim().to_lowercase();
        let kept = title.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect()
    };
    headings.map(anchor).collect()
}
