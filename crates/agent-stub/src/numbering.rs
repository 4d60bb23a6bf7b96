//! Reads the numbered work of a ref back, and says whether it goes 1, 2, 3... without gap or repeat.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::Result;
use serde::Serialize;

use crate::git::Git;

/// What the commits of a ref say about one label's work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Numbering {
    /// Whose work.
    pub label: String,
    /// The number of the oldest commit.
    pub first: Option<u64>,
    /// The number of the newest commit.
    pub last: Option<u64>,
    /// How many commits.
    pub count: usize,
    /// Numbers from 1 to the highest that no commit has.
    pub gaps: Vec<u64>,
    /// Numbers that more than one commit has.
    pub repeats: Vec<u64>,
    /// Whether each commit's number is higher than that of the one before.
    pub order_ok: bool,
}

impl Numbering {
    /// Judges numbers in the order of their commits, oldest first.
    pub fn of(label: &str, numbers: &[u64]) -> Numbering {
        let mut seen = BTreeSet::new();
        let repeats: BTreeSet<u64> = numbers.iter().copied().filter(|n| !seen.insert(*n)).collect();
        let highest = seen.last().copied().unwrap_or_default();
        Numbering {
            label: label.to_owned(),
            first: numbers.first().copied(),
            last: numbers.last().copied(),
            count: numbers.len(),
            gaps: (1..=highest).filter(|n| !seen.contains(n)).collect(),
            repeats: repeats.into_iter().collect(),
            order_ok: numbers.is_sorted_by(|a, b| a < b),
        }
    }

    /// Whether it is contiguous from 1 without repeat; no work at all is not.
    pub fn is_whole(&self) -> bool {
        self.first == Some(1) && self.gaps.is_empty() && self.repeats.is_empty() && self.order_ok
    }
}

/// Reads the commits of `git_ref` in a clone or bare repository.
///
/// # Errors
/// When git cannot read the ref.
pub fn read(repository: &Path, git_ref: &str, label: &str) -> Result<Numbering> {
    // The reader may be root and the repository an agent's; only commits are read.
    let git = Git::new(repository).with(&["-c", "safe.directory=*"]);
    let subjects = git.out(&["log", "--topo-order", "--reverse", "--format=%s", git_ref, "--"])?;
    let numbers: Vec<u64> = subjects.lines().filter_map(|subject| number(subject, label)).collect();
    Ok(Numbering::of(label, &numbers))
}

/// The subject of a unit's commit.
pub(crate) fn subject(label: &str, n: u64) -> String {
    format!("{label}: work {n}")
}

fn number(subject: &str, label: &str) -> Option<u64> {
    subject.strip_prefix(label)?.strip_prefix(": work ")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contiguous_from_one_is_whole() {
        let numbering = Numbering::of("b", &[1, 2, 3]);
        assert!(numbering.is_whole());
        assert_eq!((numbering.first, numbering.last, numbering.count), (Some(1), Some(3), 3));
    }

    #[test]
    fn gaps_repeats_order_and_nothing_are_not_whole() {
        assert_eq!(Numbering::of("b", &[1, 3]).gaps, [2]);
        assert_eq!(Numbering::of("b", &[2, 3]).gaps, [1]);
        assert_eq!(Numbering::of("b", &[1, 2, 1, 2]).repeats, [1, 2]);
        for numbers in [&[1, 3][..], &[2, 3], &[1, 2, 2], &[1, 3, 2], &[]] {
            assert!(!Numbering::of("b", numbers).is_whole(), "{numbers:?}");
        }
        assert!(!Numbering::of("b", &[1, 3, 2]).order_ok);
    }

    #[test]
    fn only_the_label_s_own_subjects_count() {
        assert_eq!(number(&subject("builder", 12), "builder"), Some(12));
        assert_eq!(number("builder2: work 1", "builder"), None);
        assert_eq!(number("builder: work 1 and more", "builder"), None);
        assert_eq!(number("Revert \"builder: work 1\"", "builder"), None);
    }
}
