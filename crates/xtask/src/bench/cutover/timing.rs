//! Where the time of one cutover went: by its journal, by what the hosts' systemd says of the stop, and by when the
//! kernel started the agents. All containers share this machine's clock.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use jiff::Timestamp;
use serde_json::Value;

use crate::bed::Instance;
use crate::scenario::{LOOPS, Scenario};

/// One cutover. Seconds.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Timing {
    /// Each step, in the order of the journal.
    pub steps: Vec<(String, f64)>,
    /// From the first step's begin to the last one's end.
    pub total: f64,
    /// From the last sign of work on the source to the first one on the target.
    pub downtime: f64,
    /// From the source's last sign of work until the quiesce began: the agents' own pace.
    pub before: f64,
    /// How long the source's agents took to leave.
    pub leaving: f64,
    /// From the last agent's start until the first sign of work: the agents' own first steps.
    pub first_work: f64,
}

impl Timing {
    /// What is left of the downtime when waiting for agents is taken off.
    pub fn own(&self) -> f64 {
        self.downtime - self.before - self.leaving - self.first_work
    }
}

/// What the hosts say, as Unix times in seconds.
#[derive(Debug, Clone, Copy)]
struct Moments {
    /// The source's stop began and ended.
    stop: (f64, f64),
    /// The last agent was started on the target.
    started: f64,
}

/// Begin and end of the legacy unit's stop, by systemd's monotonic clock, and how far that is behind the wall clock.
const STOPPED: &str = "systemctl show --timestamp=us+utc -p ActiveExitTimestampMonotonic -p InactiveEnterTimestampMonotonic \
                       cc-ci-loops.service; python3 -c 'import time; print(\"ahead=%.6f\" % (time.time() - time.monotonic()))'";
/// When each agent was started, in ticks since the machine was.
const STARTED: &str = "for pid in $(pgrep -x claude); do sed 's/.*) //' /proc/$pid/stat | cut -d' ' -f20; done; \
                       python3 -c 'import os, time; print(\"hertz\", os.sysconf(\"SC_CLK_TCK\"), \
                       \"%.6f\" % (time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)))'";

/// Reads it all for the cutover that was just driven.
pub fn of(scenario: &Scenario, vm: &Instance, journal: &Value) -> Result<Timing> {
    let stop = stop(&scenario.pi.read(&["sh", "-c", STOPPED])?)?;
    let started = started(&vm.read(&["sh", "-c", STARTED])?, LOOPS.len())?;
    timing(journal, Moments { stop, started })
}

fn stop(said: &str) -> Result<(f64, f64)> {
    let values: BTreeMap<&str, &str> = said.lines().filter_map(|line| line.split_once('=')).collect();
    let value = |key: &str| -> Result<f64> {
        let text = values.get(key).with_context(|| format!("no {key} in {said}"))?;
        text.trim().parse().with_context(|| format!("{key} is {text:?}"))
    };
    let ahead = value("ahead")?;
    let of = |key| Ok::<f64, anyhow::Error>(value(key)? / 1e6 + ahead);
    Ok((of("ActiveExitTimestampMonotonic")?, of("InactiveEnterTimestampMonotonic")?))
}

/// The container's own `/proc/uptime` counts from its start, its `stat` files from the machine's.
fn started(said: &str, agents: usize) -> Result<f64> {
    let (ticks, last) = said.rsplit_once('\n').context("no agent runs on the target")?;
    let words: Vec<&str> = last.split_whitespace().collect();
    let &["hertz", hertz, boot] = words.as_slice() else { anyhow::bail!("no clock in {said}") };
    let ticks = ticks.lines().map(|line| line.trim().parse::<f64>()).collect::<Result<Vec<_>, _>>()?;
    ensure!(ticks.len() >= agents, "{} of {agents} agents run on the target", ticks.len());
    let latest = ticks.iter().copied().fold(0.0, f64::max);
    Ok(latest / hertz.parse::<f64>()? + boot.parse::<f64>()?)
}

fn timing(journal: &Value, moments: Moments) -> Result<Timing> {
    let at = |value: &Value| -> Result<f64> {
        let text = value.as_str().with_context(|| format!("{value} is no time"))?;
        let at: Timestamp = text.parse().with_context(|| format!("{text} is no time"))?;
        Ok(at.as_duration().as_secs_f64())
    };
    let mut steps = Vec::new();
    let (mut quiesce, mut first, mut last) = (None, f64::INFINITY, 0.0_f64);
    for step in journal["steps"].as_array().context("the journal has no steps")? {
        let name = step["step"].as_str().unwrap_or_default();
        let (began, ended) = (at(&step["began"])?, at(&step["ended"])?);
        if name == "quiesce" {
            quiesce = Some(began);
        }
        (first, last) = (first.min(began), last.max(ended));
        steps.push((name.to_owned(), ended - began));
    }
    let quiesce = quiesce.context("the journal has no quiesce")?;
    let (source_last, target_first) =
        (at(&journal["gap"]["source_last"])?, at(&journal["gap"]["target_first"])?);
    // An agent may go on working while the quiesce begins.
    let before = (quiesce - source_last).max(0.0);
    let leaving = moments.stop.1 - moments.stop.0.max(source_last);
    Ok(Timing {
        steps,
        total: last - first,
        downtime: target_first - source_last,
        before,
        leaving: leaving.max(0.0),
        first_work: (target_first - moments.started).max(0.0),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn waiting_for_agents_is_taken_off() {
        let step = |name: &str, began: u32, ended: u32| {
            let at = |second: u32| format!("1970-01-01T00:01:{second:02}Z");
            json!({ "step": name, "began": at(began), "ended": at(ended) })
        };
        let journal = json!({
            "steps": [step("presync", 1, 5), step("quiesce", 10, 14), step("activate", 14, 17)],
            "gap": { "source_last": "1970-01-01T00:01:09.5Z", "target_first": "1970-01-01T00:01:18Z" },
        });
        let timing = timing(&journal, Moments { stop: (71.0, 73.5), started: 76.5 }).unwrap();
        assert_eq!((timing.total, timing.downtime), (16.0, 8.5));
        assert_eq!((timing.before, timing.leaving, timing.first_work), (0.5, 2.5, 1.5));
        assert_eq!(timing.own(), 4.0);
        assert_eq!(timing.steps[1], ("quiesce".to_owned(), 4.0));
    }

    #[test]
    fn what_the_hosts_say_is_read() {
        let said =
            "ActiveExitTimestampMonotonic=5000000\nInactiveEnterTimestampMonotonic=7500000\nahead=100.5";
        assert_eq!(stop(said).unwrap(), (105.5, 108.0));
        assert!(stop("ahead=1").is_err());
        assert_eq!(started("100\n300\n200\nhertz 100 1000.5", 3).unwrap(), 1003.5);
        assert!(started("100\nhertz 100 1000.5", 3).is_err());
    }
}
