//! One line a step: what was done or already held, and how long it took.

use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

/// Prints the steps of a job and keeps their times.
#[derive(Default)]
pub struct Report {
    steps: Vec<(String, Duration)>,
}

impl Report {
    /// Does one step; what it returns as text is what it says about itself.
    pub fn step<T>(&mut self, name: &str, act: impl FnOnce() -> Result<(T, String)>) -> Result<T> {
        let start = Instant::now();
        let mut out = std::io::stdout();
        if out.is_terminal() {
            // Overwritten when the step is done; some take minutes the first time.
            print!("{name} ...\r");
            out.flush()?;
        }
        let (value, said) = act().with_context(|| format!("step `{name}` failed"))?;
        let took = start.elapsed();
        println!("{name:<12} {said:<62} {:>7.2} s", took.as_secs_f64());
        self.steps.push((name.to_owned(), took));
        Ok(value)
    }

    /// All steps so far with their times, in order.
    pub fn steps(&self) -> &[(String, Duration)] {
        &self.steps
    }

    /// The sum over all steps.
    pub fn total(&self) -> Duration {
        self.steps.iter().map(|(_, took)| *took).sum()
    }
}
