//! Why a loop was stopped, decided from what its host knows at that moment, and what its agent hears of it at the next start.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Why an agent was asked to leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StopReason {
    /// The machine shut down or rebooted in order.
    Shutdown,
    /// This host may not run the loops any more.
    Fence,
    /// A cutover moves the rig.
    Cutover,
    /// A person holds it down.
    Held,
    /// A person wants it restarted.
    Restart,
    /// It stood still, and the watchdog restarts it.
    Watchdog,
    /// Its unit was stopped by other hands.
    Outside,
}

/// What a host knows when a loop is being stopped.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Facts {
    /// A cutover keeps the loops down.
    pub quiesced: bool,
    /// The lease does not let them run.
    pub fenced: bool,
    /// What the supervisor said it stops the loop for, if it said so.
    pub asked: Option<StopReason>,
    /// The machine is going down.
    pub shutting_down: bool,
}

/// The reason: what keeps a loop down goes before what only ends it.
pub fn reason(facts: Facts) -> StopReason {
    match facts {
        Facts { quiesced: true, .. } => StopReason::Cutover,
        Facts { fenced: true, .. } => StopReason::Fence,
        Facts { asked: Some(asked), .. } => asked,
        Facts { shutting_down: true, .. } => StopReason::Shutdown,
        _ => StopReason::Outside,
    }
}

impl StopReason {
    /// What an agent in the middle of a turn is told that may come to a safe point first; none where it was told already, may
    /// not work here any more, or stands still.
    pub fn gives_grace(self) -> Option<&'static str> {
        match self {
            Self::Shutdown => Some("This machine is shutting down"),
            Self::Held => Some("A person is stopping this loop"),
            Self::Restart => Some("A person is restarting this loop"),
            Self::Outside => Some("The unit of this loop is being stopped"),
            Self::Fence | Self::Cutover | Self::Watchdog => None,
        }
    }

    /// In words, as the end of "stopped: ".
    pub fn words(self) -> &'static str {
        match self {
            Self::Shutdown => "the machine shut down",
            Self::Fence => "this host lost the right to run the loops",
            Self::Cutover => "a cutover moved the rig",
            Self::Held => "a person held it down",
            Self::Restart => "a person restarted it",
            Self::Watchdog => "it stood still, and the watchdog restarted it",
            Self::Outside => "its unit was stopped by hand",
        }
    }
}

/// What came of the safe point that an agent may come to before it is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SafePoint {
    /// It was not in a turn: nobody waited.
    NotAtWork,
    /// Its turn was over, or it had left, after so many milliseconds.
    Reached(u64),
    /// So many milliseconds did not suffice, and it was stopped in its turn.
    RanOut(u64),
}

impl SafePoint {
    /// In words.
    pub fn words(self) -> String {
        let seconds = |ms: u64| ms as f64 / 1000.0;
        match self {
            Self::NotAtWork => "it was not in a turn".into(),
            Self::Reached(ms) => format!("it came to a safe point within {:.1} s", seconds(ms)),
            Self::RanOut(ms) => format!("it was cut off in its turn after {:.1} s", seconds(ms)),
        }
    }
}

/// How an agent's last run ended, as far as it matters to the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LastRun {
    /// It was asked to leave.
    Stopped(Timestamp, StopReason),
    /// It ended by itself; the supervisor's events have it.
    Ended,
    /// It went without being asked, and nobody saw how, in this boot or in an earlier one.
    Cut {
        /// The machine has booted since.
        rebooted: bool,
    },
}

/// What was recorded of an agent's last run, and of this start.
#[derive(Debug, Clone, Copy)]
pub struct Records<'a> {
    /// When its last run began, and in which boot.
    pub began: Option<(Timestamp, &'a str)>,
    /// Its last stop: when, why, and the beginning of the run that it stopped. Runs are told apart by their beginning and
    /// not by what came before what: clocks jump.
    pub stopped: Option<(Timestamp, StopReason, Timestamp)>,
    /// The beginning of the run whose end was recorded last.
    pub ended: Option<Timestamp>,
    /// The boot that this start is in.
    pub boot_id: &'a str,
}

/// What became of the last run; `None` when there was none.
pub fn last_run(records: Records<'_>) -> Option<LastRun> {
    let (began, boot_id) = records.began?;
    Some(match (records.stopped, records.ended) {
        (Some((at, reason, run)), _) if run == began => LastRun::Stopped(at, reason),
        (_, Some(run)) if run == began => LastRun::Ended,
        _ => LastRun::Cut { rebooted: boot_id != records.boot_id },
    })
}

impl LastRun {
    /// What a resumed agent hears; an orchestrator is not woken for what it hears anyway.
    pub fn sentence(self, orchestrator: bool) -> Option<String> {
        match self {
            Self::Stopped(_, StopReason::Restart | StopReason::Shutdown) if orchestrator => None,
            Self::Stopped(at, reason) => {
                let at = at.strftime("%Y-%m-%d %H:%M:%SZ");
                Some(format!("You were stopped at {at} ({}) and are started again.", reason.words()))
            }
            Self::Ended => None,
            Self::Cut { rebooted: true } if orchestrator => None,
            Self::Cut { rebooted: true } => Some(
                "The machine went down without a chance for you to stop: check what you were doing last."
                    .into(),
            ),
            Self::Cut { rebooted: false } => {
                Some("You were killed without a chance to stop: check what you were doing last.".into())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn what_keeps_it_down_goes_before_what_only_ends_it() {
        let all = Facts { quiesced: true, fenced: true, asked: Some(StopReason::Held), shutting_down: true };
        assert_eq!(reason(all), StopReason::Cutover);
        let all = Facts { quiesced: false, ..all };
        assert_eq!(reason(all), StopReason::Fence);
        let all = Facts { fenced: false, ..all };
        assert_eq!(reason(all), StopReason::Held);
        let all = Facts { asked: None, ..all };
        assert_eq!(reason(all), StopReason::Shutdown);
        assert_eq!(reason(Facts::default()), StopReason::Outside);
    }

    #[test]
    fn only_what_was_recorded_of_the_last_run_counts() {
        let stopped = Some((at(50), StopReason::Shutdown, at(10)));
        let records = Records { began: Some((at(10), "a")), stopped, ended: Some(at(10)), boot_id: "b" };
        assert_eq!(last_run(records), Some(LastRun::Stopped(at(50), StopReason::Shutdown)));
        // The clock was put back by an hour while it ran.
        let stopped = Some((at(-3550), StopReason::Held, at(10)));
        assert_eq!(
            last_run(Records { stopped, ..records }),
            Some(LastRun::Stopped(at(-3550), StopReason::Held))
        );
        // The next run began later, and the power was cut.
        let cut = Records { began: Some((at(60), "b")), boot_id: "c", ..records };
        assert_eq!(last_run(cut), Some(LastRun::Cut { rebooted: true }));
        assert_eq!(last_run(Records { boot_id: "b", ..cut }), Some(LastRun::Cut { rebooted: false }));
        assert_eq!(last_run(Records { ended: Some(at(60)), ..cut }), Some(LastRun::Ended));
        assert_eq!(last_run(Records { began: None, ..records }), None);
    }

    #[test]
    fn a_worker_hears_it_and_an_orchestrator_what_it_would_not_hear_otherwise() {
        let shutdown = LastRun::Stopped(at(0), StopReason::Shutdown);
        let words = "You were stopped at 1970-01-01 00:00:00Z (the machine shut down) and are started again.";
        assert_eq!(shutdown.sentence(false).as_deref(), Some(words));
        assert_eq!(shutdown.sentence(true), None, "it has the sentence of the reboot");
        let held = LastRun::Stopped(at(0), StopReason::Held);
        assert!(held.sentence(true).unwrap().contains("a person held it down"));
        assert!(
            LastRun::Cut { rebooted: true }.sentence(false).unwrap().starts_with("The machine went down")
        );
        assert_eq!(LastRun::Ended.sentence(false), None);
    }
}
