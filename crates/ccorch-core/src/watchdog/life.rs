//! The life of a loop: one total table from state and event to the next state.
//!
//! A limit, a throttle and an expired login are not crashes: an agent that ends in one of them waits there and is
//! started again when it is over. Only a person leaves `held`, and only a person or a rig that starts anew leaves
//! `crash-looping`.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::verdict::{Kind, Verdict};

/// Where a loop is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Not wanted here: the rig is down or another host holds the lease.
    Stopped,
    /// Its unit was asked to start; the agent has not shown itself yet.
    Starting,
    /// A turn runs.
    Working,
    /// A turn is over.
    Idle,
    /// The plan is used up, until then if that is known.
    Limited(Option<Timestamp>),
    /// The server asked for a pause.
    Throttled,
    /// A person has to log in.
    LoginNeeded,
    /// Nothing moves, and nudges and restarts did not help.
    Stalled,
    /// It ended, and waits for its next start.
    BackingOff,
    /// It ended too often; a person has to look.
    CrashLooping,
    /// A person wants it down.
    Held,
    /// The last phase is done.
    Done,
}

/// What happens to a loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// The rig comes up on this host.
    Up,
    /// The rig goes down here: shutdown, cutover, lease lost.
    Down,
    /// A person wants it down.
    Hold,
    /// A person wants it to run.
    Release,
    /// The watchdog looked: working, or a dialog that is being answered.
    SeenWorking,
    /// The watchdog looked: idle.
    SeenIdle,
    /// The watchdog looked: limited, until then if that is known. Also: the account is, as another loop found.
    SeenLimited(Option<Timestamp>),
    /// The watchdog looked: throttled.
    SeenThrottled,
    /// The watchdog looked: login needed.
    SeenLoginNeeded,
    /// The watchdog looked: stalled, after nudge and restart.
    SeenStalled,
    /// The agent ended.
    Exited,
    /// The agent ended, too often in too short a time.
    ExitedTooOften,
    /// The pause is over: the reset, the back-off, the wait for a login.
    Due,
    /// Every phase is done.
    Finished,
}

impl Event {
    /// Whether somebody looked, or was told what there is to be seen.
    pub fn is_seen(self) -> bool {
        matches!(
            self,
            Self::SeenWorking
                | Self::SeenIdle
                | Self::SeenLimited(_)
                | Self::SeenThrottled
                | Self::SeenLoginNeeded
                | Self::SeenStalled
        )
    }

    /// What a verdict is for the life; nothing when it does not tell.
    pub fn of(verdict: &Verdict) -> Option<Self> {
        Some(match verdict.verdict {
            Kind::Working | Kind::Dialog => Self::SeenWorking,
            Kind::Idle => Self::SeenIdle,
            Kind::Limited => Self::SeenLimited(verdict.until),
            Kind::Throttled => Self::SeenThrottled,
            Kind::LoginNeeded => Self::SeenLoginNeeded,
            Kind::Stalled => Self::SeenStalled,
            Kind::Unknown => return None,
        })
    }
}

impl State {
    /// Whether an agent process is expected.
    pub fn runs(self) -> bool {
        !matches!(self, Self::Stopped | Self::BackingOff | Self::CrashLooping | Self::Held)
    }

    /// The next state.
    pub fn after(self, event: Event) -> Self {
        use Event as E;
        use State as S;
        match (self, event) {
            // A person's word stands over everything, also over a reboot.
            (_, E::Hold) => S::Held,
            (S::Held, E::Release) => S::Starting,
            (S::Held, _) => S::Held,

            (_, E::Down) => S::Stopped,
            (S::Stopped, E::Up | E::Release) => S::Starting,
            // A last look at an agent that goes down wakes nothing.
            (S::Stopped, _) => S::Stopped,

            (S::CrashLooping, E::Release) => S::Starting,
            (S::CrashLooping, _) => S::CrashLooping,

            // The last phase's agents are kept idle; one that ends stays down.
            (S::Done, E::Release) => S::Starting,
            (S::Done, _) | (_, E::Finished) => S::Done,

            // An agent that ended at a limit, a throttle or a login did not crash.
            (S::Limited(_) | S::Throttled | S::LoginNeeded, E::Exited | E::ExitedTooOften) => self,
            (_, E::Exited) => S::BackingOff,
            (_, E::ExitedTooOften) => S::CrashLooping,

            // Nothing runs that could be seen: an old screen.
            (S::BackingOff, E::Due | E::Release) => S::Starting,
            (S::BackingOff, E::SeenLimited(until)) => S::Limited(until),
            (S::BackingOff, E::SeenThrottled) => S::Throttled,
            (S::BackingOff, E::SeenLoginNeeded) => S::LoginNeeded,
            (S::BackingOff, E::Up | E::SeenWorking | E::SeenIdle | E::SeenStalled) => S::BackingOff,

            // The probe: the agent is asked, or started if it is gone, and shows what is so.
            (S::Limited(_) | S::Throttled | S::LoginNeeded, E::Due | E::Release) => S::Starting,
            (_, E::SeenLimited(until)) => S::Limited(until),
            (_, E::SeenThrottled) => S::Throttled,
            (_, E::SeenLoginNeeded) => S::LoginNeeded,
            (_, E::SeenWorking) => S::Working,
            // A screen that is dismissed looks idle; the limit stands until its time.
            (S::Limited(_) | S::Throttled | S::LoginNeeded, E::SeenIdle | E::SeenStalled) => self,
            (_, E::SeenIdle) => S::Idle,
            (_, E::SeenStalled) => S::Stalled,

            (S::Stalled, E::Due | E::Release) => S::Starting,
            (S::Limited(_) | S::Throttled | S::LoginNeeded | S::Stalled, E::Up) => self,
            (S::Starting | S::Working | S::Idle, E::Up | E::Due | E::Release) => self,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn states() -> impl Strategy<Value = State> {
        prop_oneof![
            Just(State::Stopped),
            Just(State::Starting),
            Just(State::Working),
            Just(State::Idle),
            Just(State::Limited(None)),
            Just(State::Limited(Some(Timestamp::UNIX_EPOCH))),
            Just(State::Throttled),
            Just(State::LoginNeeded),
            Just(State::Stalled),
            Just(State::BackingOff),
            Just(State::CrashLooping),
            Just(State::Held),
            Just(State::Done),
        ]
    }

    fn events() -> impl Strategy<Value = Event> {
        prop_oneof![
            Just(Event::Up),
            Just(Event::Down),
            Just(Event::Hold),
            Just(Event::Release),
            Just(Event::SeenWorking),
            Just(Event::SeenIdle),
            Just(Event::SeenLimited(None)),
            Just(Event::SeenThrottled),
            Just(Event::SeenLoginNeeded),
            Just(Event::SeenStalled),
            Just(Event::Exited),
            Just(Event::ExitedTooOften),
            Just(Event::Due),
            Just(Event::Finished),
        ]
    }

    proptest! {
        #[test]
        fn every_event_twice_is_like_once(state in states(), event in events()) {
            let once = state.after(event);
            // An end is followed by a start, so a second end is another one; the rest repeats without harm.
            prop_assert_eq!(once.after(event), once);
        }

        #[test]
        fn only_a_person_ends_a_hold(happens in prop::collection::vec(events(), 0..40)) {
            let state = happens.iter().filter(|e| **e != Event::Release).fold(State::Held, |s, e| s.after(*e));
            prop_assert_eq!(state, State::Held);
        }

        #[test]
        fn what_is_down_is_not_woken_by_a_look(event in events()) {
            let wakes = matches!(event, Event::Up | Event::Release | Event::Hold);
            prop_assert!(wakes || State::Stopped.after(event) == State::Stopped);
        }

        #[test]
        fn a_limit_is_no_crash(happens in prop::collection::vec(prop_oneof![
            Just(Event::Exited), Just(Event::ExitedTooOften), Just(Event::SeenIdle), Just(Event::SeenStalled),
            Just(Event::Up),
        ], 0..40)) {
            for start in [State::Limited(None), State::Throttled, State::LoginNeeded] {
                prop_assert_eq!(happens.iter().fold(start, |s, e| s.after(*e)), start);
            }
        }

        #[test]
        fn no_loop_is_lost(happens in prop::collection::vec((states(), events()), 0..40)) {
            let state = happens.iter().fold(State::Starting, |s, (_, e)| s.after(*e));
            prop_assert_eq!(state.after(Event::Release).runs(), true, "{:?}", state);
        }
    }
}
