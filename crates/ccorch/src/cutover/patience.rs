//! What does not answer in the dark is asked again for a while: nobody works meanwhile, and whoever drives may be asleep.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use ccorch_core::cutover::Step;

use super::steps::Steps;
use super::{is_stale, live};
use crate::error::Kind;
use crate::hints;

/// The first pause; each one after is twice as long, up to the last.
const FIRST: Duration = Duration::from_secs(1);
const LAST: Duration = Duration::from_secs(10);

/// Acts for a step, and again while what it needs does not answer, for as long as the rig says. Every act is repeatable.
pub fn with<T>(steps: &Steps<'_>, step: Step, mut act: impl FnMut() -> Result<T>) -> Result<T> {
    if dark(step) { again(steps.rig().patience().duration(), act) } else { act() }
}

/// The steps while which nobody works. A target that is to confirm itself is waited for by its own rule.
fn dark(step: Step) -> bool {
    match step {
        Step::Quiesce | Step::Fence | Step::FinalSync | Step::Prove | Step::Activate => true,
        Step::Preflight | Step::Presync | Step::Verify | Step::Decommission => false,
    }
}

fn again<T>(patience: Duration, mut act: impl FnMut() -> Result<T>) -> Result<T> {
    let until = Instant::now() + patience;
    let mut pause = FIRST;
    loop {
        match act() {
            Err(error)
                if hints::of(&error).0 == Kind::Unreachable
                    && !is_stale(&error)
                    && Instant::now() + pause < until =>
            {
                live::tell(&format!("does not answer, is asked again: {error:#}"));
                thread::sleep(pause);
                pause = LAST.min(pause * 2);
            }
            done => return done,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Problem;

    fn fails(kind: Kind, times: usize, patience: Duration) -> (usize, bool) {
        let mut tried = 0;
        let done = again(patience, || {
            tried += 1;
            if tried > times { Ok(()) } else { Err(Problem::new(kind, "no").into()) }
        });
        (tried, done.is_ok())
    }

    #[test]
    fn only_what_does_not_answer_is_asked_again_and_not_for_ever() {
        assert_eq!(fails(Kind::Unreachable, 1, Duration::from_secs(60)), (2, true));
        assert_eq!(fails(Kind::Conflict, 1, Duration::from_secs(60)), (1, false));
        assert_eq!(fails(Kind::Unreachable, 9, Duration::from_millis(1500)), (2, false));
    }
}
