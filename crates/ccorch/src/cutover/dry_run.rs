//! What a cutover would do: each step with the commands it runs on which host, its undo, and how long nobody would work; of an
//! unfinished one what is left, or what taking it back would undo.

use anyhow::Result;
use ccorch_core::cutover::{Outcome, Plan, Rest, Side, SideKind, Step};
use ccorch_core::rig::Rig;
use ccorch_io::quote;

use super::itself::{self, Leaving};
use super::{log, open, report, signs, verify};
use crate::context::LoadedRig;

/// One step of a plan, for people and for scripts.
#[derive(Debug, serde::Serialize)]
struct Planned {
    step: &'static str,
    does: String,
    commands: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    undo: Option<String>,
    /// How long it took in the last cutover in this direction, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_ms: Option<u64>,
}

/// Prints it.
pub fn print(loaded: &LoadedRig, plan: &Plan, json: bool) -> Result<()> {
    let last = last(loaded, plan)?;
    let all = plan.steps.iter().map(|step| planned(&loaded.rig, plan, *step, &last));
    let steps: Vec<Planned> = itself::would_leave(loaded, plan)?.map(leaves).into_iter().chain(all).collect();
    if json {
        let value = serde_json::json!({
            "from": plan.from.name, "to": plan.to.name, "steps": steps,
            "expected_downtime_ms": last.gap_ms, "expected_by": last.journal,
        });
        println!("{}", serde_json::to_string_pretty(&value)?);
        return Ok(());
    }
    show(&steps);
    match (last.journal, last.gap_ms) {
        (Some(journal), Some(gap)) => {
            println!("expected downtime: {:.1} s, as in the last one ({journal})", seconds(gap));
        }
        _ => println!(
            "expected downtime: unknown; no cutover from {} to {} has been measured",
            plan.from.name, plan.to.name
        ),
    }
    Ok(())
}

/// Prints what `--resume`, or with `back` what `--abort`, would do now. `plan` tells which hosts to ask where this machine has no
/// unfinished cutover.
pub fn print_rest(loaded: &LoadedRig, plan: &Plan, back: bool, json: bool) -> Result<()> {
    let journal = open::seen(loaded, plan)?;
    let (id, plan, rig) = (&journal.id, &journal.plan, &loaded.rig);
    let rest = journal.rest(back);
    let goes_back = back || journal.goes_back();
    let steps: Vec<Planned> = rest
        .into_iter()
        .map(|one| match one {
            Rest::Perform(step) => planned(rig, plan, step, &Last::default()),
            Rest::Undo(step) => {
                let does =
                    if step.has_undo() { plan.describe_undo(step) } else { "nothing to take back".into() };
                Planned { step: step.name(), does, commands: Vec::new(), undo: None, last_ms: None }
            }
        })
        .collect();
    let (from, to) = (&plan.from.name, &plan.to.name);
    if json {
        let value = serde_json::json!({
            "journal": id, "from": from, "to": to, "goes_back": goes_back, "steps": steps,
        });
        println!("{}", serde_json::to_string_pretty(&value)?);
        return Ok(());
    }
    let how = if goes_back { "would be taken back:" } else { "would go on:" };
    println!("cutover {id} from {from} to {to} {how}");
    show(&steps);
    Ok(())
}

fn show(steps: &[Planned]) {
    for step in steps {
        let took =
            step.last_ms.map(|ms| format!(" ({:.1} s the last time)", seconds(ms))).unwrap_or_default();
        println!("{:<13} {}{took}", step.step, step.does);
        for command in &step.commands {
            println!("{:<13}   {command}", "");
        }
        if let Some(undo) = &step.undo {
            println!("{:<13}   undo: {undo}", "");
        }
    }
}

/// No step of the journal: it comes before there is one.
fn leaves(leaving: Leaving) -> Planned {
    let Leaving { does, commands, undo } = leaving;
    Planned { step: "leave", does, commands, undo: Some(undo), last_ms: None }
}

fn planned(rig: &Rig, plan: &Plan, step: Step, last: &Last) -> Planned {
    Planned {
        step: step.name(),
        does: plan.describe(step),
        commands: commands(rig, plan, step),
        undo: step.has_undo().then(|| plan.describe_undo(step)),
        last_ms: last.times.iter().find(|(s, _)| *s == step).map(|(_, ms)| *ms),
    }
}

/// The last completed cutover in this direction.
#[derive(Debug, Default)]
struct Last {
    journal: Option<String>,
    times: Vec<(Step, u64)>,
    gap_ms: Option<u64>,
}

fn last(loaded: &LoadedRig, plan: &Plan) -> Result<Last> {
    let same = |log: &log::Log| {
        log.journal.outcome() == Some(Outcome::Completed)
            && log.journal.plan.from == plan.from
            && log.journal.plan.to == plan.to
    };
    let Some(log) = log::all(loaded)?.into_iter().rfind(same) else { return Ok(Last::default()) };
    let ms = |took: std::time::Duration| u64::try_from(took.as_millis()).unwrap_or(0);
    let gap = signs::read(loaded, &log.journal.id)?;
    Ok(Last {
        times: report::times(&log.journal).into_iter().map(|(step, took)| (step, ms(took))).collect(),
        gap_ms: gap.map(|gap| ms(gap.length())),
        journal: Some(log.journal.id),
    })
}

/// The commands that change something, by host; what only looks is left out.
fn commands(rig: &Rig, plan: &Plan, step: Step) -> Vec<String> {
    let (from, to) = (&plan.from, &plan.to);
    let on = |side: &Side, command: &str| format!("{}: {command}", side.name);
    let writer = |side: &Side, other: &Side| {
        let writer = if side.kind == SideKind::Ccorch { side } else { other };
        writer.name.clone()
    };
    let root = &rig.workspace.root;
    match step {
        Step::Preflight | Step::Prove => vec![],
        Step::Presync | Step::FinalSync => vec![
            on(to, &format!("make {root} writable, if it is the read-only standby of an earlier cutover")),
            format!(
                "{} -> {}: git packs of what is missing; rsync of copies, carried files and agents' state",
                from.name, to.name
            ),
        ],
        Step::Quiesce => match from.kind {
            SideKind::Legacy => {
                // Before anything, while all of it still works.
                let mut all = own(rig, from, |runs| &runs.safe_point);
                all.push(on(from, "drop-in ConditionPathExists=!/var/lib/ccorch/fenced for its units"));
                all.extend(units(rig, from, "stop"));
                all.extend(own(rig, from, |runs| &runs.stop));
                all
            }
            SideKind::Ccorch => vec![on(
                from,
                &format!("ccorch quiesce --safe-point {} --journal ID --turn N", rig.safe_point()),
            )],
        },
        Step::Fence => {
            vec![format!(
                "{}: ccorch lease write --about {} --journal ID --turn N",
                writer(from, to),
                from.name
            )]
        }
        Step::Activate => {
            let lease = format!(
                "{}: ccorch lease write --about {} --active{} --journal ID --turn N",
                writer(to, from),
                to.name,
                if to.kind == SideKind::Legacy { " --for-its-owner" } else { "" }
            );
            let mut all = vec![lease];
            match to.kind {
                SideKind::Ccorch => all.push(on(to, "ccorch activate --journal ID --turn N")),
                SideKind::Legacy => {
                    all.push(on(to, "remove the drop-ins, enable the units again"));
                    let units = units(rig, to, "start");
                    let own = if units.is_none() { own(rig, to, |runs| &runs.start) } else { vec![] };
                    all.extend(units.into_iter().chain(own));
                }
            }
            all
        }
        Step::Verify => match to.kind {
            SideKind::Ccorch => vec![on(to, "ccorch-confirm.service decides; asked by ccorch confirm show")],
            SideKind::Legacy => {
                let words = verify::not_checked(rig, &to.name);
                words.iter().map(|words| words.trim_start_matches("; ").into()).collect()
            }
        },
        Step::Decommission => {
            let mut all = match from.kind {
                SideKind::Legacy => units(rig, from, "disable").into_iter().collect(),
                SideKind::Ccorch => {
                    vec![on(from, "systemctl disable ccorch.target; systemctl stop it and the proxy")]
                }
            };
            if plan.in_place() {
                return all;
            }
            all.push(on(from, &format!("a mount unit that keeps {root} read-only, and a note")));
            all
        }
    }
}

fn units(rig: &Rig, side: &Side, verb: &str) -> Option<String> {
    let units = &rig.hosts.get(&side.name)?.runs.as_ref()?.units;
    let argv: Vec<&str> =
        ["systemctl", verb, "--"].into_iter().chain(units.iter().map(String::as_str)).collect();
    (!units.is_empty()).then(|| format!("{}: {}", side.name, quote::argv(&argv)))
}

fn own(rig: &Rig, side: &Side, which: impl Fn(&ccorch_core::rig::LegacyRuns) -> &Vec<String>) -> Vec<String> {
    let runs = rig.hosts.get(&side.name).and_then(|host| host.runs.as_ref());
    let say = |argv: &Vec<String>| {
        format!("{}: {} (as {} in {})", side.name, quote::argv(argv), rig.workspace.user, rig.workspace.root)
    };
    runs.map(which).filter(|argv| !argv.is_empty()).map(say).into_iter().collect()
}

fn seconds(ms: u64) -> f64 {
    std::time::Duration::from_millis(ms).as_secs_f64()
}
