//! The handoff note: what a new orchestrator session has to know, and a person who comes to the host.

use crate::lease::Epoch;
use crate::names::HostName;
use crate::rig::Phase;

/// What it is made of.
#[derive(Debug, Clone)]
pub struct Handoff<'a> {
    /// What happened, in a sentence.
    pub message: &'a str,
    /// The host the rig is on now.
    pub host: &'a HostName,
    /// The cutover.
    pub journal: &'a str,
    /// The lease's epoch.
    pub epoch: Option<Epoch>,
    /// The phase, its index and how many there are; absent when the phases are over.
    pub phase: Option<(usize, &'a Phase, usize)>,
    /// What a person runs to go back when it is over.
    pub back: &'a str,
    /// Branches on which unfinished work was put away, each with its repository.
    pub rescued: &'a [String],
    /// What no branch holds and nobody carried, such as a rebase that was begun; in words.
    pub left: &'a [String],
}

impl Handoff<'_> {
    /// The note.
    pub fn text(&self) -> String {
        let epoch = self.epoch.map(|epoch| format!(", lease epoch {epoch}")).unwrap_or_default();
        let mut lines = vec![self.message.to_owned(), format!("- Host: {}{epoch}.", self.host)];
        lines.push(match self.phase {
            Some((index, phase, of)) => {
                format!("- Phase: {} (index {index} of {of}), plan {}.", phase.id, phase.plan)
            }
            None => "- Phase: all phases are over, or the phase file holds no index of one.".into(),
        });
        if self.rescued.is_empty() {
            lines.push("- No unfinished work was put away on a branch.".into());
        } else {
            lines.push(
                "- Unfinished work was put away on these branches; look at them before going on:".into(),
            );
            lines.extend(self.rescued.iter().map(|branch| format!("  - {branch}")));
        }
        if !self.left.is_empty() {
            lines.push("- On the source there is still, and nowhere else:".into());
            lines.extend(self.left.iter().map(|left| format!("  - {left}")));
        }
        lines.push("- The move is on trial until this host has confirmed itself: `ccorch status`.".into());
        lines.push(format!(
            "- To go back, a person runs `ccorch cutover --abort` while cutover {} is unfinished, `{}` later.",
            self.journal, self.back
        ));
        lines.join("\n") + "\n"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_where_the_rig_is_what_was_put_away_and_how_to_go_back() {
        let host = HostName::new("vm").unwrap();
        let phase = Phase { id: "2".into(), plan: "plans/2.md".into() };
        let rescued = ["cc-ci: ccorch/rescue/pi/20260101T000000Z at 1a2b3c4".to_owned()];
        let note = Handoff {
            message: "The rig moved from pi to this host, vm.",
            host: &host,
            journal: "j1",
            epoch: Some(Epoch(3)),
            phase: Some((1, &phase, 4)),
            back: "ccorch rollback",
            rescued: &rescued,
            left: &["cc-ci: a rebase in progress".to_owned()],
        };
        insta::assert_snapshot!(note.text(), @r"
        The rig moved from pi to this host, vm.
        - Host: vm, lease epoch 3.
        - Phase: 2 (index 1 of 4), plan plans/2.md.
        - Unfinished work was put away on these branches; look at them before going on:
          - cc-ci: ccorch/rescue/pi/20260101T000000Z at 1a2b3c4
        - On the source there is still, and nowhere else:
          - cc-ci: a rebase in progress
        - The move is on trial until this host has confirmed itself: `ccorch status`.
        - To go back, a person runs `ccorch cutover --abort` while cutover j1 is unfinished, `ccorch rollback` later.
        ");
        let empty = Handoff { epoch: None, phase: None, rescued: &[], left: &[], ..note }.text();
        assert!(
            empty.contains("all phases are over")
                && empty.contains("No unfinished work")
                && !empty.contains("nowhere"),
            "{empty}"
        );
    }
}
