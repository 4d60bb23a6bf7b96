//! What goes on, on standard error: one line for each thing that begins or is found, with the time since the start.

use std::time::{Duration, Instant};

use ccorch_core::seconds::Seconds;

/// When the verb started and until when it may take.
#[derive(Debug)]
pub struct Progress {
    started: Instant,
    /// All the time there was.
    pub budget: Duration,
}

impl Progress {
    /// Starts now.
    pub fn new(budget: Seconds) -> Self {
        Self { started: Instant::now(), budget: budget.duration() }
    }

    /// Tells one thing.
    pub fn say(&self, text: impl AsRef<str>) {
        eprintln!("{:>6.1} s  {}", self.started.elapsed().as_secs_f64(), text.as_ref());
    }

    /// How much time is left.
    pub fn left(&self) -> Duration {
        self.budget.saturating_sub(self.started.elapsed())
    }
}
