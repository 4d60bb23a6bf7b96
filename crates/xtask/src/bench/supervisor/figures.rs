//! What was measured, as tables and as judged by the aims.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::super::median::Samples;

/// Everything of one run, as `measure.py` writes it.
#[derive(Debug, Deserialize)]
pub struct Figures {
    idle: BTreeMap<String, Idle>,
    latency: BTreeMap<String, Samples>,
    growth: Vec<Row>,
}

/// The processes of one rival beside its children, over the idle time. Sizes in KiB, times in seconds.
#[derive(Debug, Deserialize)]
struct Idle {
    rss: u64,
    pss: u64,
    threads: u64,
    processes: u64,
    cpu: f64,
    wakeups: f64,
}

#[derive(Debug, Deserialize)]
struct Row {
    loops: usize,
    bare: Start,
    ccorch: Start,
    supervisor: Size,
    each: Size,
    idle: Watched,
}

/// A start of many: until the last child's first act, and the CPU time of the whole container. Seconds.
#[derive(Debug, Deserialize)]
struct Start {
    seconds: f64,
    cpu: f64,
}

#[derive(Debug, Deserialize)]
struct Size {
    rss: f64,
    pss: f64,
    threads: u64,
}

#[derive(Debug, Deserialize)]
struct Watched {
    seconds: f64,
    cpu: f64,
    wakeups: f64,
}

const ORDER: [&str; 8] = ["bare", "tmux", "ccorch", "ccorch's loops", "runit", "s6", "supervisord", "pm2"];

/// The most a restart may take, as a multiple of the tmux unit's that systemd alone restarts.
const LATENCY: f64 = 1.5;
/// The most the supervisor may have resident, KiB.
const RESIDENT: u64 = 8 << 10;
/// The most it may wake up in a second.
const WAKEUPS: f64 = 1.0;
/// The most a loop's start may cost, as a multiple of a bare instance's.
const START: f64 = 5.0;
/// How much more a loop may cost among the most than among the fewest that are no longer noise.
const LINEAR: f64 = 1.5;

impl Figures {
    /// The tables.
    pub fn tables(&self, idle_seconds: u64) -> String {
        let mut text = format!(
            "restart after kill -9, and {idle_seconds} s idle with three children (what is beside them):\n\n\
             {:<16}{:>10}{:>10}{:>6}{:>12}{:>12}{:>9}{:>10}{:>12}\n",
            "", "median", "90 %", "n", "RSS", "PSS", "threads", "CPU", "wake-ups"
        );
        for name in ORDER {
            let latency = self.latency.get(name).map_or(format!("{:>26}", ""), |samples| {
                let (median, late) = (samples.median() * 1e3, samples.rank(0.9) * 1e3);
                format!("{median:>7.1} ms{late:>7.1} ms{:>6}", samples.count())
            });
            let idle = self.idle.get(name).filter(|idle| idle.processes > 0).map(|idle| {
                format!(
                    "{:>8.1} MiB{:>8.1} MiB{:>9}{:>7.0} ms{:>9.2} /s",
                    mebi(idle.rss),
                    mebi(idle.pss),
                    idle.threads,
                    idle.cpu * 1e3,
                    idle.wakeups / idle_seconds as f64
                )
            });
            text.push_str(&format!("{name:<16}{latency}{}\n", idle.unwrap_or_default()));
        }
        text.push_str(&format!(
            "\nstart of many, and what they cost:\n\n{:>6}{:>12}{:>12}{:>8}{:>14}{:>14}{:>8}{:>13}{:>9}{:>15}{:>12}\n",
            "loops", "bare", "ccorch", "ratio", "bare CPU", "ccorch CPU", "ratio", "supervisor", "threads", "a loop (PSS)", "wake-ups"
        ));
        for row in &self.growth {
            let n = row.loops as f64;
            text.push_str(&format!(
                "{:>6}{:>10.2} s{:>10.2} s{:>8.1}{:>11.1} ms{:>11.1} ms{:>8.1}{:>9.1} MiB{:>9}{:>11.2} MiB{:>9.2} /s\n",
                row.loops,
                row.bare.seconds,
                row.ccorch.seconds,
                row.ccorch.seconds / row.bare.seconds,
                row.bare.cpu / n * 1e3,
                row.ccorch.cpu / n * 1e3,
                row.ccorch.cpu / row.bare.cpu,
                row.supervisor.rss / 1024.0,
                row.supervisor.threads,
                row.each.pss / 1024.0 / n,
                row.idle.wakeups / row.idle.seconds,
            ));
        }
        text.push_str(
            "(CPU: of the whole container, a loop; its wall time is the machine's other work too)\n",
        );
        text
    }

    /// The aims, each with what was measured.
    pub fn aims(&self, idle_seconds: u64) -> Vec<(String, bool)> {
        let mut aims = Vec::new();
        let median = |name| self.latency.get(name).map(Samples::median);
        if let (Some(ccorch), Some(tmux)) = (median("ccorch"), median("tmux")) {
            let ratio = ccorch / tmux;
            aims.push((
                format!("a loop's restart takes {ratio:.2} of the tmux unit's: at most {LATENCY}"),
                ratio <= LATENCY,
            ));
        }
        if let Some(idle) = self.idle.get("ccorch") {
            let (rss, wakeups) = (idle.rss, idle.wakeups / idle_seconds as f64);
            aims.push((
                format!("the supervisor has {:.1} MiB resident: at most {}", mebi(rss), RESIDENT >> 10),
                rss <= RESIDENT,
            ));
            aims.push((
                format!("it wakes up {wakeups:.2} times a second: fewer than {WAKEUPS}"),
                wakeups < WAKEUPS,
            ));
        }
        // One start alone is mostly the supervisor's own.
        let many: Vec<&Row> = self.growth.iter().filter(|row| row.loops >= 10).collect();
        for row in &many {
            let ratio = row.ccorch.cpu / row.bare.cpu;
            let aim = format!("{} starts cost {ratio:.1} of bare instances': at most {START}", row.loops);
            aims.push((aim, ratio <= START));
        }
        if let [few, .., all] = many[..] {
            let each = |row: &Row, of: fn(&Row) -> f64| of(row) / row.loops as f64;
            for (what, of) in [
                ("start-up CPU", (|row| row.ccorch.cpu) as fn(&Row) -> f64),
                ("memory", |row| row.each.pss + row.supervisor.pss),
            ] {
                let ratio = each(all, of) / each(few, of);
                let aim = format!("{what} a loop: of {} {ratio:.2} of that of {}", all.loops, few.loops);
                aims.push((format!("{aim}: at most {LINEAR} (linear)"), ratio <= LINEAR));
            }
        }
        aims
    }

    /// CPU time of the idle supervisor a second, by loops.
    pub fn idle_cpu(&self) -> Vec<(usize, f64)> {
        self.growth.iter().map(|row| (row.loops, row.idle.cpu / row.idle.seconds)).collect()
    }
}

fn mebi(kibi: u64) -> f64 {
    kibi as f64 / 1024.0
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn figures(ccorch: f64, rss: u64) -> Figures {
        let idle =
            |rss| json!({ "rss": rss, "pss": rss, "threads": 3, "processes": 1, "cpu": 0.01, "wakeups": 30 });
        let row = |loops: u64, cpu: f64| {
            json!({
                "loops": loops, "bare": { "seconds": 1.0, "cpu": 1.0 }, "ccorch": { "seconds": 2.0, "cpu": cpu },
                "supervisor": { "rss": 5000, "pss": 4000, "threads": 5, "processes": 1 },
                "each": { "rss": 9000 * loops, "pss": 3000 * loops, "threads": 2 * loops, "processes": 2 * loops },
                "idle": { "seconds": 20.0, "cpu": 0.001, "wakeups": 2 },
            })
        };
        let value = json!({
            "idle": { "ccorch": idle(rss), "pm2": idle(58000) },
            "latency": { "tmux": [0.030, 0.034, 0.032], "ccorch": [ccorch, ccorch, ccorch], "s6": [1.0] },
            "growth": [row(1, 9.0), row(10, 4.0), row(100, 45.0)],
        });
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn aims_are_judged_by_ratios_of_one_run() {
        let met = |figures: Figures| figures.aims(60).into_iter().map(|(_, met)| met).collect::<Vec<_>>();
        // Restart, memory, wake-ups, 10 starts, 100 starts, start-up and memory a loop.
        assert_eq!(met(figures(0.047, 7000)), [true, true, true, true, false, true, true]);
        assert_eq!(met(figures(0.049, 9000)), [false, false, true, true, false, true, true]);
    }

    #[test]
    fn whoever_was_not_measured_has_no_figures() {
        let text = figures(0.04, 7000).tables(60);
        assert!(text.lines().any(|line| line.trim_end() == "runit"), "{text}");
        assert!(text.contains("pm2") && text.contains("56.6 MiB"), "{text}");
    }
}
