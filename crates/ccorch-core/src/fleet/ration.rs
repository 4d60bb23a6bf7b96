//! How much of what agents cause at will is written down: so many lines a kind and loop within a span, the rest counted.

use std::collections::BTreeMap;

use super::steady::{HOUR, Millis};
use crate::names::LoopName;

/// Lines of one kind about one loop that are written within [`SPAN`].
pub const MOST: u32 = 60;
/// See [`MOST`].
pub const SPAN: Millis = HOUR;
/// What is shown of the latest one that was held back, in characters.
const SHOWN: usize = 200;

/// What was written lately, and what was not.
#[derive(Debug, Default)]
pub struct Ration {
    spans: BTreeMap<(String, Option<LoopName>), Span>,
}

#[derive(Debug)]
struct Span {
    since: Millis,
    written: u32,
    held_back: u64,
    latest: String,
}

/// A line that tells how many were held back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Count {
    /// Of which kind.
    pub what: String,
    /// The loop they were about.
    pub about: Option<LoopName>,
    /// In words.
    pub detail: String,
}

impl Ration {
    /// Whether a line may be written now; one that may not is counted.
    pub fn pass(&mut self, now: Millis, what: &str, about: Option<&LoopName>, detail: &str) -> bool {
        let fresh = || Span { since: now, written: 0, held_back: 0, latest: String::new() };
        let span = self.spans.entry((what.to_owned(), about.cloned())).or_insert_with(fresh);
        if span.written < MOST {
            span.written += 1;
            return true;
        }
        span.held_back += 1;
        span.latest = detail.lines().next().unwrap_or_default().chars().take(SHOWN).collect();
        false
    }

    /// Forgets the spans that are over; what is to be written of them.
    pub fn over(&mut self, now: Millis) -> Vec<Count> {
        self.take(|span| now.saturating_sub(span.since) >= SPAN)
    }

    /// The same for all of them, before whoever counts leaves.
    pub fn all(&mut self) -> Vec<Count> {
        self.take(|_| true)
    }

    fn take(&mut self, is_over: impl Fn(&Span) -> bool) -> Vec<Count> {
        let mut counts = Vec::new();
        self.spans.retain(|(what, about), span| {
            let over = is_over(span);
            if over && span.held_back > 0 {
                let detail = format!("{} more were held back; the latest: {}", span.held_back, span.latest);
                counts.push(Count { what: what.clone(), about: about.clone(), detail });
            }
            !over
        });
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_counted_and_is_nothing_to_other_kinds_and_loops() {
        let (mut ration, one) = (Ration::default(), LoopName::new("one").unwrap());
        let flood = (0..1000).filter(|n| ration.pass(5, "notify", Some(&one), &format!("word {n}\nmore")));
        assert_eq!(flood.count(), MOST as usize);
        assert!(ration.pass(5, "notify", None, "x") && ration.pass(5, "nudge", Some(&one), "x"));
        assert_eq!(ration.over(SPAN + 4), []);
        let detail = "940 more were held back; the latest: word 999".to_owned();
        assert_eq!(
            ration.over(SPAN + 5),
            [Count { what: "notify".into(), about: Some(one.clone()), detail }]
        );
        assert!(ration.spans.is_empty(), "bounded");
        assert!(ration.pass(SPAN + 5, "notify", Some(&one), "again"));
        assert_eq!(ration.all(), []);
    }
}
