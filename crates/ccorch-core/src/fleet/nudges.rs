//! What a loop is to be told: in order, each with an id that makes a repeat harmless, up to three tries.

use serde::{Deserialize, Serialize};

use super::steady::{MINUTE, Millis, SECOND};

/// Tries that count before a nudge is given up, aloud.
pub const TRIES: u32 = 3;
/// The pause after a try that failed, times the number of tries.
const RETRY: Millis = 10 * SECOND;
/// A try of which nothing is heard for this long has failed.
pub const PATIENCE: Millis = 5 * MINUTE;
/// Something that is in the way for longer is a person's to see to.
pub const LONG: Millis = 15 * MINUTE;
/// Reasons of one nudge that are told.
const REASONS: usize = 8;
/// A nudge that something is in the way of is tried at least this often, in units of [`RETRY`].
const RARELY: u32 = 6;
/// No loop has more waiting; a person who asks for more is told so.
pub const MOST: usize = 32;

/// Why a loop is told something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Purpose {
    /// A person or another loop asked for it.
    Asked,
    /// A turn is over and the phase is open.
    Continue,
    /// The next plan.
    Phase,
    /// New content in its inbox.
    Inbox,
    /// A turn is open and nothing moves.
    Stall,
    /// A limit or a pause is over: go on, and show whether it works.
    Probe,
    /// What came back after a reboot.
    Report,
}

impl Purpose {
    /// The word in its ids.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Asked => "asked",
            Self::Continue => "continue",
            Self::Phase => "phase",
            Self::Inbox => "inbox",
            Self::Stall => "stall",
            Self::Probe => "probe",
            Self::Report => "report",
        }
    }
}

/// One thing to tell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nudge {
    /// Unique for ever; whoever delivers it delivers an id once.
    pub id: String,
    /// Why.
    pub purpose: Purpose,
    /// The words.
    pub text: String,
    /// Tries that failed.
    pub tries: u32,
    /// Tries in a row at which something was in the way.
    #[serde(default, skip_serializing_if = "is_zero")]
    waits: u32,
    /// When the first try failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    failed: Option<Millis>,
    /// Why tries failed; each reason is told once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    why: Vec<String>,
    /// Not before this.
    after: Millis,
    /// Under way since; kept, so that a new supervisor goes on with the same id.
    under_way: Option<Millis>,
    /// It was under way when its deliverer or its agent went: the agent may have it, in these words.
    #[serde(default, skip_serializing_if = "is_false")]
    begun: bool,
}

fn is_false(is: &bool) -> bool {
    !is
}

fn is_zero(n: &u32) -> bool {
    *n == 0
}

impl Nudge {
    /// Whether it was tried before, at whatever number of its try.
    pub fn is_repeat(&self) -> bool {
        self.waits > 0
    }
}

/// What follows from a try that failed.
#[derive(Debug, PartialEq, Eq)]
pub enum Failed {
    /// It is tried again; whether the reason is news, and whether it lasts so long that people should know.
    Again {
        /// The reason was not told yet.
        news: bool,
        /// Something has been in the way for longer than [`LONG`].
        long: bool,
    },
    /// It was tried often enough.
    GivenUp(Nudge),
    /// Nobody waits for it any more.
    Unknown,
}

/// The nudges of a loop; the first is the one under way or next.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Nudges(Vec<Nudge>);

impl Nudges {
    /// Adds one behind the others. What has the id already, or says the same for the same reason and is not under way,
    /// stands for it. False when there is no room.
    pub fn add(&mut self, id: String, purpose: Purpose, text: String) -> bool {
        if self.0.iter().any(|nudge| nudge.id == id) {
            return true;
        }
        let same = |nudge: &&mut Nudge| {
            nudge.purpose == purpose && nudge.under_way.is_none() && !nudge.begun && nudge.tries == 0
        };
        // People's own words are never merged, nor replaced by newer ones.
        if purpose != Purpose::Asked
            && let Some(waiting) = self.0.iter_mut().find(same)
        {
            waiting.text = text;
            return true;
        }
        // Of the engine's own there are two of a purpose at most: however many people ask, none of those is lost.
        if purpose == Purpose::Asked && self.0.len() >= MOST {
            return false;
        }
        let (after, under_way, failed) = (0, None, None);
        self.0.push(Nudge {
            id,
            purpose,
            text,
            tries: 0,
            waits: 0,
            failed,
            why: Vec::new(),
            after,
            under_way,
            begun: false,
        });
        true
    }

    /// The nudge whose time has come; from now on it is under way.
    pub fn take(&mut self, now: Millis) -> Option<&Nudge> {
        let head = self.0.first_mut()?;
        if head.under_way.is_some() || head.after > now {
            return None;
        }
        head.under_way = Some(now);
        Some(head)
    }

    /// The agent has it.
    pub fn received(&mut self, id: &str) -> Option<Nudge> {
        let at = self.0.iter().position(|nudge| nudge.id == id)?;
        Some(self.0.remove(at))
    }

    /// A try failed; one that could not even be typed (a menu holds the keyboard) does not count.
    pub fn failed(&mut self, id: &str, why: &str, now: Millis, counts: bool) -> Failed {
        let Some(at) = self.0.iter().position(|nudge| nudge.id == id && nudge.under_way.is_some()) else {
            return Failed::Unknown;
        };
        let nudge = &mut self.0[at];
        nudge.under_way = None;
        nudge.tries += u32::from(counts);
        nudge.waits = if counts { 0 } else { nudge.waits.saturating_add(1) };
        nudge.after = now + RETRY * u64::from(nudge.tries.max(nudge.waits.min(RARELY)).max(1));
        if nudge.tries >= TRIES {
            return Failed::GivenUp(self.0.remove(at));
        }
        let news = nudge.why.len() < REASONS && !nudge.why.iter().any(|told| told == why);
        if news {
            nudge.why.push(why.into());
        }
        let long = now >= *nudge.failed.get_or_insert(now) + LONG;
        Failed::Again { news, long }
    }

    /// All that wait or are under way.
    pub fn all(&self) -> &[Nudge] {
        &self.0
    }

    /// The one with this id.
    pub fn get(&self, id: &str) -> Option<&Nudge> {
        self.0.iter().find(|nudge| nudge.id == id)
    }

    /// Whether the first one is being told right now.
    pub fn under_way(&self) -> bool {
        self.0.first().is_some_and(|head| head.under_way.is_some())
    }

    /// A try of which nothing was heard.
    pub fn overdue(&self, now: Millis) -> Option<String> {
        let head = self.0.first()?;
        head.under_way.filter(|since| since + PATIENCE <= now).map(|_| head.id.clone())
    }

    /// What was under way is asked for again, with the same id: its deliverer is gone, or its agent is.
    pub fn again(&mut self) {
        for nudge in &mut self.0 {
            nudge.begun |= nudge.under_way.take().is_some();
        }
    }

    /// When something is to be done about the first one.
    pub fn due(&self) -> Option<Millis> {
        let head = self.0.first()?;
        Some(head.under_way.map_or(head.after, |since| since + PATIENCE))
    }

    /// Forgets those of a purpose that are not under way: what they would say is no longer true.
    pub fn drop_waiting(&mut self, purpose: Purpose) {
        self.0.retain(|nudge| nudge.purpose != purpose || nudge.under_way.is_some());
    }

    /// Whether one of this purpose waits or is under way.
    pub fn has(&self, purpose: Purpose) -> bool {
        self.0.iter().any(|nudge| nudge.purpose == purpose)
    }

    /// How many wait or are under way.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nudges() -> Nudges {
        let mut nudges = Nudges::default();
        assert!(nudges.add("a".into(), Purpose::Asked, "A".into()));
        assert!(nudges.add("b".into(), Purpose::Asked, "B".into()));
        nudges
    }

    #[test]
    fn one_at_a_time_in_order_and_each_id_once() {
        let mut nudges = nudges();
        assert!(nudges.add("a".into(), Purpose::Asked, "again".into()));
        assert_eq!(nudges.take(0).unwrap().text, "A");
        assert!(nudges.take(0).is_none(), "the second waits for the first");
        assert!(nudges.received("a").is_some());
        assert!(nudges.received("a").is_none());
        assert_eq!(nudges.take(0).unwrap().text, "B");
    }

    #[test]
    fn three_tries_with_growing_pauses() {
        let mut nudges = nudges();
        nudges.take(0).unwrap();
        assert_eq!(nudges.failed("a", "a menu", 0, false), Failed::Again { news: true, long: false });
        assert!(nudges.take(1).is_none());
        let mut now = 0;
        for tries in 1..=3 {
            now = nudges.due().unwrap().max(now);
            assert_eq!(nudges.take(now).unwrap().id, "a");
            let failed = nudges.failed("a", "no receipt", now, true);
            assert_eq!(matches!(failed, Failed::GivenUp(_)), tries == 3, "{failed:?}");
        }
        assert_eq!(nudges.failed("a", "no receipt", now, true), Failed::Unknown);
        assert_eq!(nudges.take(now).unwrap().id, "b", "the next is not held up");
    }

    #[test]
    fn what_is_in_the_way_is_told_once_and_asked_after_ever_more_rarely() {
        let (mut nudges, mut now, mut tries, mut news) = (nudges(), 0, 0, 0);
        let mut since_long = 0;
        while now < LONG + MINUTE {
            nudges.take(now).unwrap();
            let why = if tries % 2 == 0 { "somebody types" } else { "a menu" };
            let Failed::Again { news: told, long } = nudges.failed("a", why, now, false) else { panic!() };
            (tries, news, since_long) = (tries + 1, news + u32::from(told), since_long + u32::from(long));
            now = nudges.due().unwrap();
        }
        assert_eq!((tries, news, since_long), (19, 2, 1));
    }

    #[test]
    fn the_engines_own_words_are_merged_and_find_room_however_many_people_ask() {
        let mut nudges = Nudges::default();
        let asked = (0..100).filter(|n| nudges.add(format!("p{n}"), Purpose::Asked, "x".into())).count();
        assert_eq!(asked, MOST);
        for n in 0..10 {
            assert!(nudges.add(format!("i{n}"), Purpose::Inbox, "read it".into()));
        }
        assert_eq!(nudges.len(), MOST + 1);
        // One that was tried stays as it is, and takes at most one more along.
        let mut nudges = Nudges::default();
        nudges.add("i".into(), Purpose::Inbox, "read it".into());
        nudges.take(0).unwrap();
        nudges.failed("i", "no receipt", 0, true);
        for n in 0..10 {
            assert!(nudges.add(format!("i{n}"), Purpose::Inbox, "read it".into()));
        }
        assert_eq!(nudges.len(), 2);
    }

    #[test]
    fn a_new_supervisor_goes_on_with_the_same_id() {
        let mut nudges = nudges();
        nudges.take(0).unwrap();
        assert_eq!(nudges.overdue(PATIENCE), Some("a".into()));
        let text = serde_json::to_string(&nudges).unwrap();
        let mut read: Nudges = serde_json::from_str(&text).unwrap();
        read.again();
        assert_eq!(read.take(1).unwrap().id, "a");
    }

    #[test]
    fn what_an_agent_may_have_already_takes_nothing_new_along() {
        let mut nudges = Nudges::default();
        nudges.add("i1".into(), Purpose::Inbox, "read it".into());
        nudges.take(0).unwrap();
        nudges.again();
        let text = serde_json::to_string(&nudges).unwrap();
        let mut read: Nudges = serde_json::from_str(&text).unwrap();
        assert!(read.add("i2".into(), Purpose::Inbox, "read it".into()));
        assert!(read.received("i1").is_some(), "the transcript had it");
        assert_eq!(read.take(1).unwrap().id, "i2");
    }

    #[test]
    fn floods_are_merged_and_people_are_not() {
        let mut nudges = nudges();
        for n in 0..100 {
            assert!(nudges.add(format!("i{n}"), Purpose::Inbox, format!("{n}")));
        }
        assert_eq!(nudges.len(), 3);
        let refused = (0..100).filter(|n| !nudges.add(format!("p{n}"), Purpose::Asked, "x".into())).count();
        assert_eq!((nudges.len(), refused), (MOST, 100 - (MOST - 3)));
    }
}
