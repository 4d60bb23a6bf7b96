//! What was measured, as tables and as judged by the aims.

use super::super::median::Samples;
use super::timing::Timing;

/// What the proofs may add to the floor, in seconds.
const ABOVE: f64 = 2.0;
/// How much of the repositories' growth the downtime may follow.
const GROWTH: f64 = 0.5;

/// Everything of one run.
#[derive(Debug, Default)]
pub struct Figures {
    /// Stop, copy, start by hand. Seconds.
    pub floor: Samples,
    /// By the number of repositories.
    pub growth: Vec<Growth>,
}

/// The cutovers with so many repositories.
#[derive(Debug)]
pub struct Growth {
    /// All of the rig.
    pub repositories: usize,
    /// One each.
    pub rounds: Vec<Timing>,
}

impl Growth {
    fn median(&self, of: impl Fn(&Timing) -> f64) -> f64 {
        Samples::of(self.rounds.iter().map(of).collect()).median()
    }

    fn steps(&self) -> Vec<String> {
        self.rounds
            .first()
            .map(|round| round.steps.iter().map(|(name, _)| name.clone()).collect())
            .unwrap_or_default()
    }

    fn step(&self, wanted: &str) -> f64 {
        self.median(|round| {
            round.steps.iter().find(|(name, _)| name == wanted).map_or(0.0, |(_, took)| *took)
        })
    }
}

impl Figures {
    /// The tables: medians.
    pub fn tables(&self) -> String {
        let mut text = format!(
            "by hand (stop, copy, start): {:.2} s (median of {})\n\n{:<32}",
            self.floor.median(),
            self.floor.count(),
            "repositories"
        );
        self.growth.iter().for_each(|growth| text.push_str(&format!("{:>12}", growth.repositories)));
        let mut row = |name: &str, of: &dyn Fn(&Growth) -> f64| {
            text.push_str(&format!("\n{name:<32}"));
            self.growth.iter().for_each(|growth| text.push_str(&format!("{:>10.2} s", of(growth))));
        };
        for step in self.growth.first().map(Growth::steps).unwrap_or_default() {
            row(&format!("step {step}"), &|growth| growth.step(&step));
        }
        row("total", &|growth| growth.median(|round| round.total));
        row("downtime, sign to sign", &|growth| growth.median(|round| round.downtime));
        row("  agents' pace before the stop", &|growth| growth.median(|round| round.before));
        row("  agents leave", &|growth| growth.median(|round| round.leaving));
        row("  agents' first steps", &|growth| growth.median(|round| round.first_work));
        row("  ccorch's own", &|growth| growth.median(Timing::own));
        text.push('\n');
        text
    }

    /// The aims, each with what was measured.
    pub fn aims(&self) -> Vec<(String, bool)> {
        let mut aims = Vec::new();
        let (Some(few), Some(many)) = (self.growth.first(), self.growth.last()) else { return aims };
        let (own, floor) = (few.median(Timing::own), self.floor.median());
        aims.push((
            format!(
                "downtime without the agents' own {own:.2} s, by hand {floor:.2} s: at most {ABOVE} s more"
            ),
            own <= floor + ABOVE,
        ));
        if many.repositories > few.repositories {
            let count = many.repositories as f64 / few.repositories as f64;
            let grown = many.median(Timing::own) / own;
            aims.push((
                format!(
                    "{count:.1} times the repositories, {grown:.1} times the downtime: less than half as fast"
                ),
                grown < count * GROWTH,
            ));
        }
        aims
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn growth(repositories: usize, downtime: f64) -> Growth {
        let round = Timing {
            steps: vec![("quiesce".into(), 1.0)],
            total: 20.0,
            downtime,
            before: 0.5,
            leaving: 1.0,
            first_work: 0.5,
        };
        Growth { repositories, rounds: vec![round] }
    }

    #[test]
    fn the_agents_own_time_is_shown_apart_and_not_judged() {
        let met = |few, many| {
            let figures =
                Figures { floor: Samples::of(vec![0.2]), growth: vec![growth(4, few), growth(53, many)] };
            assert!(figures.tables().contains("step quiesce"), "{}", figures.tables());
            figures.aims().into_iter().map(|(_, met)| met).collect::<Vec<_>>()
        };
        assert_eq!(met(4.1, 5.0), [true, true]);
        assert_eq!(met(4.3, 5.0), [false, true]);
        assert_eq!(met(3.0, 12.0), [true, false]);
    }
}
