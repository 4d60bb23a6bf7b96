//! `cargo xtask bench cutover`: what a cutover with all its proofs takes beside a script that stops, copies and starts over
//! connections that are open already, and how it grows with the repositories.

mod figures;
mod floor;
mod timing;

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::judge;
use crate::bed::{Bed, Layout};
use crate::rehearse::judge as must;
use crate::rehearse::operator::Operator;
use crate::rehearse::walk;
use crate::report::Report;
use crate::scenario::{Scenario, WORKSPACE, pace};
use crate::testbed;
use figures::{Figures, Growth};

/// Downtime of a cutover, step by step, beside a script that stops, copies and starts
#[derive(Debug, clap::Args)]
pub struct CutoverArgs {
    /// How often it goes there and back at each size
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// The numbers of repositories beside the rig's own three
    #[arg(long, value_delimiter = ',', default_value = "1,10,50")]
    repositories: Vec<usize>,
}

/// Where the clones lie that are only there to be many; the outer repository ignores them.
const MANY: &str = "clones";

/// Measures, prints, judges.
pub fn run(layout: &Layout, ccorch: &Path, args: &CutoverArgs, report: &mut Report) -> Result<ExitCode> {
    let agent = report.step("agent", || testbed::build("agent-stub"))?;
    let bed = Bed::up(layout, report)?;
    let scenario = Scenario::set_up(&bed, &agent, report)?;
    // What is measured begins with the last of its work.
    pace(&scenario.pi, Duration::from_secs(1))?;
    let operator = Operator::new(&scenario.place, ccorch)?;
    let vm = bed.instance("vm");
    let own = std::fs::read_to_string(&scenario.place.rig_file).context("the scenario has no rig file")?;
    walk::prepare(&scenario, &operator, &agent, &vm, report)?;
    let mut figures = Figures::default();
    for (index, count) in args.repositories.iter().enumerate() {
        report.step("repositories", || {
            let text = with_clones(&own, &scenario.place.repository("cc-ci"), *count);
            std::fs::write(&scenario.place.rig_file, text)?;
            clone(&scenario, *count)?;
            operator.runs(&["host", "install", "vm"])?;
            // Not staged: after a way back the target is a read-only standby, which the cutover's presync opens.
            Ok(((), format!("{} and the rig's own three", count)))
        })?;
        if index == 0 {
            figures.floor =
                report.step("floor", || Ok((floor::measure(&scenario, &vm, 10)?, "by hand".to_owned())))?;
        }
        let mut growth = Growth { repositories: count + 3, rounds: Vec::new() };
        for _ in 0..args.rounds {
            let round = report.step("cutover", || {
                let journal = cut_over(&operator)?;
                let timing = timing::of(&scenario, &vm, &journal)?;
                Ok((timing, "pi to vm".to_owned()))
            })?;
            growth.rounds.push(round);
            report.step("back", || {
                operator.runs(&["rollback"])?;
                Ok(((), must::at_work(&scenario)?))
            })?;
        }
        figures.growth.push(growth);
    }
    println!("\n{}", figures.tables());
    Ok(judge(&figures.aims()))
}

/// The journal of a cutover that was just driven, with the gap that it measured.
fn cut_over(operator: &Operator) -> Result<Value> {
    let said = operator.reads(&["cutover", "--json"])?;
    let result: Value = serde_json::from_str(&said).context("the cutover printed no JSON")?;
    let id = result["journal"].as_str().context("the cutover has no journal")?;
    let mut journal = operator.looks(&["journal", "show", id, "--json"])?;
    journal["gap"] = result["gap"].clone();
    Ok(journal)
}

/// The rig with more repositories; all of one remote, as clones of one repository for several loops are.
fn with_clones(rig: &str, url: &str, count: usize) -> String {
    let line = |number: usize| format!("    {MANY}/{number:03}: {{ url: \"{url}\", branch: main }}\n");
    let lines: String = (1..=count).map(line).collect();
    rig.replacen("  repositories:\n", &format!("  repositories:\n{lines}"), 1)
}

fn clone(scenario: &Scenario, count: usize) -> Result<()> {
    let url = scenario.place.repository("cc-ci");
    scenario.pi.script(&format!(
        "runuser -u loops -- sh -eu <<'AS_LOOPS'\n\
         cd {WORKSPACE}\n\
         mkdir -p {MANY}\n\
         for number in $(seq -f %03g 1 {count}); do\n\
             test -d {MANY}/$number || git clone --quiet --branch main {url} {MANY}/$number\n\
         done\n\
         AS_LOOPS\n"
    ))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_come_to_the_rigs_own() {
        let text = with_clones("workspace:\n  repositories:\n    \".\": x\n", "ssh://u@h/r.git", 2);
        assert!(
            text.contains("    clones/002: { url: \"ssh://u@h/r.git\", branch: main }\n    \".\": x\n"),
            "{text}"
        );
    }
}
