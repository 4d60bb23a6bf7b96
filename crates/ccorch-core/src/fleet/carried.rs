//! What a cutover brings along of what is kept about a loop, told by hashes: each host makes its own list, and both are compared
//! before anything starts on the target.
//!
//! Supervisors write on meanwhile: the source's may yet announce what came into an inbox, the target's begins anew with what was
//! brought, hears of the same inbox, and leaves word of its own reboot. So what the target has more of is no difference where it
//! only has the agent told more; and why a loop is down, and since when, is each host's own.

use serde::{Deserialize, Serialize};

use super::memory::{Memory, Told, content};
use super::nudges::Purpose;
use crate::sha256;

/// Of the contents that an inbox had, so many of the newest are compared: the oldest make room for new ones.
const NEWEST: usize = 48;

/// What counts of one loop's state.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Carried {
    conversation: Option<String>,
    held: bool,
    /// What people had it told: id and words.
    told: Vec<String>,
    /// What people want it told yet.
    asked: Vec<String>,
    /// What is left for its next start, line by line.
    word: Vec<String>,
    limit: Option<String>,
    /// Contents of its inbox that were announced, but for the one in it now.
    inbox: Vec<u64>,
    /// Whether the one in it now was.
    announced: bool,
    /// Whether it is yet to be told of its inbox.
    unread: bool,
}

impl Carried {
    /// Of a loop: its conversation, whether a person holds it, the word left for its next start, and the content of its inbox
    /// by the hash that announces it.
    pub fn of(
        memory: &Memory,
        conversation: Option<String>,
        held: bool,
        word: Option<&str>,
        inbox: Option<&str>,
    ) -> Self {
        let told = |Told { id, text }: &Told| hash(&[id, text]);
        let waiting = || memory.nudges.all().iter().chain(&memory.missed);
        let asked = waiting().filter(|nudge| nudge.purpose == Purpose::Asked);
        let now = inbox.map(content);
        Self {
            conversation,
            held,
            told: memory.told.iter().map(told).collect(),
            asked: asked.map(|nudge| hash(&[&nudge.id, &nudge.text])).collect(),
            word: word.unwrap_or_default().lines().map(|line| hash(&[line])).collect(),
            limit: memory.limit.as_ref().map(|limit| {
                hash(&[&limit.evidence, &limit.until.map(|at| at.to_string()).unwrap_or_default()])
            }),
            inbox: memory.inbox.iter().copied().filter(|one| Some(*one) != now).collect(),
            announced: now.is_some_and(|now| memory.inbox.contains(&now)),
            unread: waiting().any(|nudge| nudge.purpose == Purpose::Inbox),
        }
    }

    /// Whether a person holds it.
    pub fn is_held(&self) -> bool {
        self.held
    }

    /// In what the target's differs from this one, the source's, in words.
    pub fn differs(&self, target: &Self) -> Vec<&'static str> {
        let lacks = |ours: &[String], theirs: &[String]| ours.iter().any(|one| !theirs.contains(one));
        let older = self.inbox.len().saturating_sub(NEWEST);
        let inbox = self.inbox[older..].iter().any(|one| !target.inbox.contains(one));
        // What the target has not announced it will; what it has, it has to tell.
        let unheard = match (self.announced, self.unread) {
            (true, false) => !target.announced,
            (_, true) | (false, false) => target.announced && !target.unread,
        };
        let all = [
            (self.conversation != target.conversation, "its conversation"),
            (self.held != target.held, "whether it is held"),
            (self.told != target.told, "what it was told"),
            (lacks(&self.asked, &target.asked), "what it is to be told"),
            (lacks(&self.word, &target.word), "the word left for its next start"),
            (self.limit != target.limit, "its plan limit"),
            (inbox || unheard, "what it knows of its inbox"),
        ];
        all.into_iter().filter(|(differs, _)| *differs).map(|(_, what)| what).collect()
    }
}

fn hash(parts: &[&str]) -> String {
    sha256(parts.join("\0").as_bytes())[..16].to_owned()
}

#[cfg(test)]
mod tests {
    use super::super::nudges::Nudge;
    use super::*;

    fn memory() -> Memory {
        let mut memory = Memory::default();
        for number in 0..3 {
            memory.was_told(Told::of(&format!("id-{number}"), "words"));
            assert!(!memory.announced(&format!("content {number}")));
        }
        assert!(memory.nudges.add("id-9".into(), Purpose::Asked, "look at this".into()));
        memory
    }

    fn carried(memory: &Memory) -> Carried {
        Carried::of(memory, Some("c1".into()), false, Some("one\ntwo"), Some("content 2"))
    }

    #[test]
    fn every_part_that_was_lost_or_changed_is_named() {
        let source = carried(&memory());
        assert!(source.differs(&source).is_empty());
        let of = |change: fn(&mut Memory)| {
            let mut memory = memory();
            change(&mut memory);
            source.differs(&carried(&memory))
        };
        assert_eq!(of(|m| m.told[1].text = "0".into()), ["what it was told"]);
        assert_eq!(of(|m| drop(m.told.pop())), ["what it was told"]);
        assert_eq!(of(|m| m.was_told(Told::of("id-9", "x"))), ["what it was told"]);
        assert_eq!(of(|m| drop(m.nudges.received("id-9"))), ["what it is to be told"]);
        assert_eq!(of(|m| m.inbox[0] ^= 1), ["what it knows of its inbox"]);
        assert_eq!(of(|m| m.inbox[2] ^= 1), ["what it knows of its inbox"], "the agent has that one");
        let other = |word, held, conversation: &str| {
            Carried::of(&memory(), Some(conversation.into()), held, word, Some("content 2"))
        };
        assert_eq!(source.differs(&other(Some("one"), false, "c1")), ["the word left for its next start"]);
        let both = source.differs(&other(Some("one\ntwo"), true, "c2"));
        assert_eq!(both, ["its conversation", "whether it is held"]);
    }

    #[test]
    fn what_supervisors_do_meanwhile_is_no_difference() {
        let (mut ours, mut theirs) = (memory(), memory());
        // The target begins anew on its own terms, was asked something itself, and rebooted.
        theirs.because("this host is standby");
        theirs.refusals = 3;
        assert!(theirs.nudges.add("mine".into(), Purpose::Asked, "hello".into()));
        let theirs_now = |theirs: &Memory, inbox| {
            Carried::of(theirs, Some("c1".into()), false, Some("one\ntwo\nReboot 3"), Some(inbox))
        };
        assert!(carried(&ours).differs(&theirs_now(&theirs, "content 2")).is_empty());
        // Late mail: announced by the source after the carry, then by the target as well.
        let ours_now =
            |ours: &Memory| Carried::of(ours, Some("c1".into()), false, Some("one\ntwo"), Some("late"));
        let tell = |memory: &mut Memory| {
            assert!(!memory.announced("late"));
            assert!(memory.nudges.add("inbox-late".into(), Purpose::Inbox, "read it".into()));
        };
        tell(&mut ours);
        assert!(ours_now(&ours).differs(&theirs_now(&theirs, "late")).is_empty(), "it will hear of it");
        tell(&mut theirs);
        assert!(ours_now(&ours).differs(&theirs_now(&theirs, "late")).is_empty());
        assert!(
            ours_now(&memory()).differs(&theirs_now(&theirs, "late")).is_empty(),
            "the source was slower"
        );
        // Announced and not to be told: the agent would never hear of it.
        theirs.nudges.received("inbox-late");
        let lost = ours_now(&ours).differs(&theirs_now(&theirs, "late"));
        assert_eq!(lost, ["what it knows of its inbox"]);
    }

    #[test]
    fn a_list_that_is_full_may_have_lost_its_oldest() {
        let full = |from: usize| {
            let mut memory = Memory::default();
            let contents: Vec<String> = (from..from + 64).map(|number| number.to_string()).collect();
            assert!(!contents.iter().any(|one| memory.announced(one)));
            memory
        };
        let of = |memory: &Memory| Carried::of(memory, None, false, None, None);
        assert!(of(&full(0)).differs(&of(&full(1))).is_empty());
        assert!(of(&full(1)).differs(&of(&full(0))).len() == 1, "of the newest none may be missing");
        let missed = |text: &str| {
            let mut memory = Memory::default();
            memory.nudges.add("a".into(), Purpose::Asked, text.into());
            let nudge: Nudge = memory.nudges.received("a").unwrap();
            memory.missed.push(nudge);
            memory
        };
        assert!(of(&missed("x")).differs(&of(&missed("x"))).is_empty());
        assert_eq!(of(&missed("x")).differs(&of(&missed("y"))), ["what it is to be told"]);
    }
}
