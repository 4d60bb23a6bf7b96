//! Which journal to drive: this machine's unfinished one, one that another machine left on the hosts, or a new one.

use anyhow::Result;
use ccorch_core::cutover::{Plan, SideKind, plan_hash};
use ccorch_core::lease::Owner;

use super::side::Side;
use super::{Log, copies, hosted, log};
use crate::context::LoadedRig;
use crate::error::{Kind, Problem};

/// What the person asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// This direction: a new cutover, or its own unfinished one.
    Begin,
    /// Go on with what is unfinished, or take it back.
    GoOn,
}

/// Opens the journal to drive.
pub fn open(loaded: &LoadedRig, plan: Plan, wish: Wish) -> Result<Log> {
    let log = match log::unfinished(loaded)? {
        Some(log) => refreshed(loaded, log)?,
        None => None,
    };
    let log = match (log, wish) {
        (Some(log), Wish::GoOn) => log,
        (Some(log), Wish::Begin) if log.journal.plan == plan => log,
        (Some(log), Wish::Begin) => return Err(unfinished(&log)),
        (None, Wish::Begin) => return Log::begin(loaded, plan),
        (None, Wish::GoOn) => elsewhere(loaded, &plan)?,
    };
    fits(loaded, &log)?;
    eprintln!("going on with cutover {}", log.journal.id);
    Ok(log)
}

fn unfinished(log: &Log) -> anyhow::Error {
    let (id, from, to) = (&log.journal.id, &log.journal.plan.from.name, &log.journal.plan.to.name);
    Problem::new(Kind::Conflict, format!("cutover {id} from {from} to {to} is not finished"))
        .hint("`--resume` goes on with it, `--abort` takes it back")
        .into()
}

/// A journal of this machine's, or what the hosts know that is newer: another machine went on with it meanwhile. Nothing
/// when that one brought it to its end.
fn refreshed(loaded: &LoadedRig, log: Log) -> Result<Option<Log>> {
    // Before a driver took it in hand nothing of it left this machine.
    if log.journal.turn().is_none() {
        return Ok(Some(log));
    }
    let Some((copy, text)) = copies::newest(loaded, &log.journal.id)? else { return Ok(Some(log)) };
    if copy.turn() <= log.journal.turn() {
        return Ok(Some(log));
    }
    let by = copy.driver().map_or("another machine", |(_, by)| by).to_owned();
    let log = Log::adopt(loaded, copy, text)?;
    if let Some(outcome) = log.journal.outcome() {
        eprintln!("cutover {} was brought to its end by {by}: {outcome:?}", log.journal.id);
        return Ok(None);
    }
    eprintln!("cutover {} was gone on with by {by}", log.journal.id);
    Ok(Some(log))
}

/// A cutover that another machine began: its journal is on the hosts.
fn elsewhere(loaded: &LoadedRig, plan: &Plan) -> Result<Log> {
    let none = || Problem::new(Kind::Conflict, "no cutover is unfinished").hint("run it without this option");
    let Some(owner) = owner(loaded, plan)?.filter(|owner| owner.open) else { return Err(none().into()) };
    let Some((copy, text)) = copies::newest(loaded, &owner.journal)? else {
        let message = format!(
            "cutover {} is under way, driven by {}, and no host that answers has a copy of its journal",
            owner.journal, owner.by
        );
        let hint = "go on with it on that machine, or see that the hosts answer; when both are gone for good, \
                    `ccorch takeover` ends it";
        return Err(Problem::new(Kind::Conflict, message).hint(hint).into());
    };
    eprintln!("cutover {} was driven by {} (turn {})", owner.journal, owner.by, owner.turn);
    Log::adopt(loaded, copy, text)
}

/// Who drives by the arbiter, asked by a host that runs ccorch.
fn owner(loaded: &LoadedRig, plan: &Plan) -> Result<Option<Owner>> {
    let asked = [&plan.from, &plan.to].into_iter().find(|side| side.kind == SideKind::Ccorch);
    let Some(asked) = asked else { return Ok(None) };
    let view = hosted::lease(&Side::connect(loaded, asked)?)?;
    Ok(view.owner().cloned())
}

/// Whoever goes on must mean the same: the rig and the program may have changed since.
fn fits(loaded: &LoadedRig, log: &Log) -> Result<()> {
    let (id, then) = (&log.journal.id, &log.journal.origin);
    let ours = env!("CARGO_PKG_VERSION");
    if then.ccorch != ours {
        let message = format!("cutover {id} was begun by ccorch {}; this is {ours}", then.ccorch);
        let hint =
            format!("go on with ccorch {}; both hosts have it at {}", then.ccorch, crate::remote::INSTALLED);
        return Err(Problem::new(Kind::Conflict, message).hint(hint).into());
    }
    if then.plan_hash != plan_hash(&loaded.rig, &log.journal.plan) {
        let message = format!(
            "{}: since cutover {id} was begun, the workspace, the loops, the lease's place or `runs` changed",
            loaded.file.display()
        );
        let hint = "put the rig file back as it was (the target's /etc/ccorch/rig.json has it), finish or abort, then \
                    change it; addresses and keys of hosts may change at any time";
        return Err(Problem::new(Kind::Conflict, message).hint(hint).into());
    }
    Ok(())
}
