//! What must be true before anything is changed. All that is wrong is said at once.

use anyhow::{Error, Result};
use ccorch_core::cutover::SideKind;
use ccorch_core::lease::Standing;
use ccorch_core::names::LoopName;

use super::hosted;
use super::leftovers;
use super::legacy;
use super::loop_states;
use super::side::Side;
use super::steps::Steps;
use crate::error::{Kind, Problem};
use crate::here::carried::Kept;
use crate::{hints, staging};

/// Marks a failure before which nothing was changed, so that its own kind is the exit status.
#[derive(Debug, thiserror::Error)]
#[error("the preflight failed and nothing was changed")]
pub struct NothingChanged;

/// Looks at everything; what it found, in one line.
pub fn check(steps: &Steps<'_>) -> Result<String> {
    let mut wrong: Vec<Error> = Vec::new();
    let mut note = |result: Result<()>| wrong.extend(result.err());
    if let (Ok(from), Ok(to)) = (steps.from(), steps.to()) {
        note(source(from));
        note(target(steps));
        if steps.plan().in_place() {
            note(way_back(steps));
        }
        for side in [from, to] {
            if side.kind == SideKind::Ccorch {
                note(installed(side));
            }
        }
        if steps.plan().carries_loops() {
            note(one_works(steps, from));
        }
        note(lease(steps).and_then(|()| movable(steps)));
    } else {
        note(steps.from().map(drop));
        note(steps.to().map(drop));
    }
    match wrong.len() {
        0 => {
            // Loops at work always have something open; the proof comes when they have stopped.
            let open = steps.not_saved_yet()?;
            let open = if open > 0 { format!("; not saved in git yet: {open}") } else { String::new() };
            let apart = if steps.plan().in_place() { None } else { staging::stays_apart(steps.rig()) };
            let apart = apart.map(|words| format!("; {words}")).unwrap_or_default();
            Ok(format!("both hosts and the lease are ready{open}{apart}"))
        }
        1 => Err(wrong.remove(0).context(NothingChanged)),
        _ => {
            let (kind, hint) = hints::of(&wrong[0]);
            let list: String = wrong.iter().map(|error| format!("\n  - {error:#}")).collect();
            let problem = Problem::new(kind, format!("several things are in the way:{list}"));
            let problem = Problem { hint, ..problem };
            Err(Error::from(problem).context(NothingChanged))
        }
    }
}

fn source(side: &Side) -> Result<()> {
    let phase_file = format!("{}/{}", side.workspace.root, side.workspace.phase_file);
    if !side.host.exists(&side.workspace.root)? {
        return Err(unfit(
            side,
            format!("there is no workspace {}", side.workspace.root),
            "see `workspace.root`",
        ));
    }
    // A source with ccorch is at the first phase without it, and so will the target be.
    if side.kind == SideKind::Legacy && !side.host.exists(&phase_file)? {
        let hint = "without it the target would begin at the first phase; write the index, or see `workspace.phase_file`";
        return Err(unfit(side, format!("there is no phase file {phase_file}"), hint));
    }
    if side.kind == SideKind::Legacy && legacy::is_fenced(side)? {
        let hint = "`ccorch lease show` tells where the rig runs; on a host that was adopted, `ccorch adopt HOST --back` \
                    gives it back, or its `runs` leaves the rig file for good";
        return Err(unfit(side, "its units are fenced already".into(), hint));
    }
    if side.kind == SideKind::Legacy { leftovers::check(side) } else { Ok(()) }
}

/// Held loops arrive held, and a target none of whose loops may work could never confirm itself.
fn one_works(steps: &Steps<'_>, from: &Side) -> Result<()> {
    let kept = loop_states::of(from)?;
    let names: Vec<&str> = steps.rig().loops.keys().map(LoopName::as_str).collect();
    let held = |name| matches!(kept.get(name), Some(Kept::State(state)) if state.is_held());
    if names.is_empty() || !steps.rig().loops.keys().all(held) {
        return Ok(());
    }
    let message = format!(
        "on {}: every loop is held ({}), and would be on the target: nothing could show that it works there",
        from.name,
        names.join(", ")
    );
    let hint = format!(
        "let at least one run again: `ccorch loops start {} --host {}`; the others stay held, also on the target",
        names[0], from.name
    );
    Err(Problem::new(Kind::Conflict, message).hint(hint).into())
}

/// A rig that was adopted goes back to units that are still fenced, and to nothing else.
fn way_back(steps: &Steps<'_>) -> Result<()> {
    let to = steps.to()?;
    if to.kind == SideKind::Ccorch || legacy::is_fenced(to)? {
        return Ok(());
    }
    let hint = "`ccorch lease show` tells where the rig runs";
    Err(unfit(to, "its units are not fenced: it was not adopted".into(), hint))
}

fn target(steps: &Steps<'_>) -> Result<()> {
    let (side, from) = (steps.to()?, &steps.plan().from.name);
    if !side.host.exists(&side.workspace.root)? {
        let hint = format!("run `ccorch stage {} --from {from}` first", side.name);
        return Err(unfit(side, "the workspace is not staged".into(), &hint));
    }
    let tools = steps.rig().tools.iter().map(String::as_str);
    let agents =
        steps.rig().loops.values().any(|l| l.agent == ccorch_core::rig::Agent::Claude).then_some("claude");
    let missing: Vec<&str> = tools.chain(agents).filter(|tool| !has_tool(side, tool)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(unfit(
        side,
        format!("these programs are missing: {}", missing.join(", ")),
        "install them on the target",
    ))
}

fn has_tool(side: &Side, tool: &str) -> bool {
    // As the loops will look for it.
    let script = r#"PATH="$HOME/.local/bin:$PATH"; command -v "$1""#;
    let argv = ["sh", "-c", script, "ccorch", tool];
    side.host
        .command_as(&side.workspace.user, "/", &argv)
        .output()
        .is_ok_and(|output| output.status.success())
}

fn installed(side: &Side) -> Result<()> {
    let ours = env!("CARGO_PKG_VERSION");
    let theirs = side.ccorch(&["--version"]).output()?;
    let hint = format!("run `ccorch host install {}`", side.name);
    if !theirs.status.success() {
        return Err(unfit(side, "ccorch is not installed".into(), &hint));
    }
    let theirs = theirs.text();
    if theirs.split(' ').nth(1) != Some(ours) {
        return Err(unfit(side, format!("it has {theirs}, this is ccorch {ours}"), &hint));
    }
    Ok(())
}

/// The source holds the lease, and works by it.
pub fn lease(steps: &Steps<'_>) -> Result<()> {
    let writer = steps.writer()?;
    let view = hosted::lease(writer)?;
    let from = &steps.plan().from.name;
    match view.counts() {
        Some(lease) if lease.holder == *from && lease.state == Standing::Active => Ok(()),
        // Without an arbiter its own file tells, and says that its ccorch is down: its owner's rig is up.
        Some(lease)
            if lease.holder == *from
                && view.arbiter.is_none()
                && steps.plan().from.kind == SideKind::Legacy =>
        {
            Ok(())
        }
        Some(lease) => {
            let state = if lease.state == Standing::Active { "active" } else { "standby" };
            let message =
                format!("`{}` is {state} by the lease (epoch {}), not {from}", lease.holder, lease.epoch);
            Err(Problem::new(Kind::Conflict, message)
                .hint("cut over from the host that holds the lease")
                .into())
        }
        None => {
            let why = view.arbiter_note.unwrap_or_else(|| "nobody was ever given it".into());
            let away = why.starts_with("away");
            let kind = if away { Kind::Unreachable } else { Kind::Conflict };
            let hint = if away {
                format!("see that {} reaches the lease remote: network, key and known host key", writer.name)
            } else {
                format!("run `ccorch lease init --holder {from} --host {}` once", writer.name)
            };
            Err(Problem::new(kind, format!("on {}: no lease: {why}", writer.name)).hint(hint).into())
        }
    }
}

/// Each host that will write the lease shows that it can, while nothing is stopped yet.
fn movable(steps: &Steps<'_>) -> Result<()> {
    let mut both = [steps.from()?, steps.to()?].into_iter().filter(|side| side.kind == SideKind::Ccorch);
    both.try_for_each(hosted::probe)
}

fn unfit(side: &Side, message: String, hint: &str) -> Error {
    Problem::new(Kind::Unfit, format!("on {}: {message}", side.name)).hint(hint).into()
}
