//! One line a step: what was done or already held, and how long it took.

use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

/// Prints the steps of a job and keeps their times.
#[derive(Default)]
pub struct Report {
    steps: Vec<(String, Duration)>,
    failed: Option<(String, Duration)>,
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
        let done = act().with_context(|| format!("step `{name}` failed"));
        let took = start.elapsed();
        if done.is_err() {
            self.failed = Some((name.to_owned(), took));
        }
        let (value, said) = done?;
        println!("{name:<12} {said:<62} {:>7.2} s", took.as_secs_f64());
        self.steps.push((name.to_owned(), took));
        Ok(value)
    }

    /// All steps so far with their times, in order.
    pub fn steps(&self) -> &[(String, Duration)] {
        &self.steps
    }

    /// All steps with their times as a table, the one that failed as well.
    pub fn table(&self) -> String {
        let mut table = format!("{:<14}{:>9}\n", "STEP", "TIME");
        let mut row = |name: &str, took: Duration, rest: &str| {
            table.push_str(&format!("{name:<14}{:>7.1} s{rest}\n", took.as_secs_f64()));
        };
        self.steps.iter().for_each(|(name, took)| row(name, *took, ""));
        let failed = self.failed.as_ref();
        failed.inspect(|(name, took)| row(name, *took, "  failed"));
        row("all", self.total() + failed.map_or(Duration::ZERO, |(_, took)| *took), "");
        table
    }

    /// The sum over all steps.
    pub fn total(&self) -> Duration {
        self.steps.iter().map(|(_, took)| *took).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_every_step_and_the_one_that_failed() {
        let mut report = Report::default();
        report.step("first", || Ok(((), "done".into()))).unwrap();
        let failed = report.step::<()>("second", || anyhow::bail!("no")).unwrap_err();
        assert_eq!(format!("{failed:#}"), "step `second` failed: no");
        let table = report.table();
        let rows: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(rows[0], ["STEP", "TIME"]);
        assert_eq!(rows[1], ["first", "0.0", "s"]);
        assert_eq!(rows[2], ["second", "0.0", "s", "failed"]);
        assert_eq!(rows[3], ["all", "0.0", "s"]);
    }
}
