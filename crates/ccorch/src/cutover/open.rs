//! Which journal to drive: this machine's unfinished one, one that another machine left on the hosts, or a new one.

use anyhow::Result;
use ccorch_core::cutover::{Asked, Entry, Journal, Next, Outcome, Plan, Said, plan_hash};
use ccorch_core::lease::{Owner, ended_by};

use super::ask::owner;
use super::{Log, copies, log};
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
pub fn open(loaded: &LoadedRig, plan: Plan, wish: Wish, said: Said) -> Result<Log> {
    let log = unfinished_here(loaded, &plan, wish)?;
    let log = match (log, wish) {
        (Some(log), Wish::GoOn) => log,
        (Some(log), Wish::Begin) if log.journal.plan == plan => log,
        (Some(log), Wish::Begin) => return Err(unfinished(&log)),
        (None, Wish::Begin) => return Log::begin(loaded, plan, asked(loaded, said)),
        (None, Wish::GoOn) => elsewhere(loaded, &plan)?,
    };
    fits(loaded, &log)?;
    means(&log, said)?;
    eprintln!("going on with cutover {}", log.journal.id);
    Ok(log)
}

/// This machine's unfinished journal. One that came to its end elsewhere gets that end here, and is in nobody's way any more.
fn unfinished_here(loaded: &LoadedRig, plan: &Plan, wish: Wish) -> Result<Option<Log>> {
    while let Some(log) = log::unfinished(loaded)? {
        let (said, its_plan) = match refreshed(loaded, log)? {
            Found::Open(log) => return Ok(Some(*log)),
            Found::Over { said, plan } => (said, plan),
        };
        // Who typed the command of that cutover meant to go on with it, and hears first how it ended.
        if wish == Wish::Begin && its_plan == *plan {
            return Err(Problem::new(Kind::Conflict, said)
                .hint(
                    "`ccorch lease show` tells who runs the rig; the same command again begins a new cutover",
                )
                .into());
        }
        eprintln!("{said}");
    }
    Ok(None)
}

/// What became of an unfinished journal.
enum Found {
    /// Nobody has ended it.
    Open(Box<Log>),
    /// It is over, and this machine's journal has its end by now.
    Over { said: String, plan: Plan },
}

fn unfinished(log: &Log) -> anyhow::Error {
    let (id, from, to) = (&log.journal.id, &log.journal.plan.from.name, &log.journal.plan.to.name);
    Problem::new(Kind::Conflict, format!("cutover {id} from {from} to {to} is not finished"))
        .hint("`--resume` goes on with it, `--abort` takes it back")
        .into()
}

/// A journal of this machine's, or what the hosts know that is newer: another machine went on with it meanwhile.
fn refreshed(loaded: &LoadedRig, log: Log) -> Result<Found> {
    // Also before this journal names a turn: whoever dies between the arbiter's word and its own line has left a copy there.
    let newer = copies::newest(loaded, &log.journal.id)?.filter(|(copy, _)| copy.turn() > log.journal.turn());
    let Some((copy, text)) = newer else { return ended_elsewhere(loaded, log) };
    let by = copy.driver().map_or("another machine", |(_, by)| by).to_owned();
    let log = Log::adopt(loaded, copy, text)?;
    if let Some(outcome) = log.journal.outcome() {
        let said = format!("cutover {} was brought to its end by {by}: {outcome:?}", log.journal.id);
        return Ok(Found::Over { said, plan: log.journal.plan });
    }
    eprintln!("cutover {} was gone on with by {by}", log.journal.id);
    ended_elsewhere(loaded, log)
}

/// Asks the arbiter whether anybody may still go on with it: no takeover and no newer cutover writes into the journal that it
/// ends.
fn ended_elsewhere(loaded: &LoadedRig, mut log: Log) -> Result<Found> {
    let (id, plan) = (log.journal.id.clone(), log.journal.plan.clone());
    let owner = match owner(loaded, &plan) {
        Ok(owner) => owner,
        Err(error) => {
            // Whoever goes on has to ask it anyway, and hears then.
            eprintln!("warning: whether cutover {id} was ended elsewhere is not known: {error:#}");
            return Ok(Found::Open(Box::new(log)));
        }
    };
    if !end_from_elsewhere(&mut log, owner.as_ref())? {
        return Ok(Found::Open(Box::new(log)));
    }
    let by = log.journal.driver().map_or("somebody else", |(_, by)| by);
    Ok(Found::Over { said: format!("cutover {id} was ended by {by}"), plan })
}

/// Writes the end of a cutover that nobody can go on with any more, by the arbiter's word; whether there was one to write.
pub fn end_from_elsewhere(log: &mut Log, owner: Option<&Owner>) -> Result<bool> {
    let closing = matches!(log.journal.next(), Next::Close(_) | Next::Over(_));
    let id = log.journal.id.clone();
    let Some(ended) = ended_by(owner, &id, log.journal.turn(), closing) else { return Ok(false) };
    let by = match ended.journal == id {
        true => ended.by.clone(),
        false => format!("{} (cutover {})", ended.by, ended.journal),
    };
    log.append(Entry::Driver { turn: ended.turn, by })?;
    log.append(Entry::End { outcome: Outcome::Superseded })?;
    Ok(true)
}

/// The unfinished cutover as this machine and the hosts that answer know it. Nothing is written.
pub fn seen(loaded: &LoadedRig, plan: &Plan) -> Result<Journal> {
    let own = log::unfinished(loaded)?.map(|log| log.journal);
    let id = match &own {
        Some(journal) => journal.id.clone(),
        None => owner(loaded, plan)?.filter(|owner| owner.open).ok_or_else(none_unfinished)?.journal,
    };
    let newer = |copy: &Journal| own.as_ref().is_none_or(|own| copy.turn() > own.turn());
    let copy = copies::newest(loaded, &id)?.map(|(copy, _)| copy).filter(newer);
    let open = |journal: &Journal| journal.outcome().is_none();
    Ok(copy.or(own).filter(open).ok_or_else(none_unfinished)?)
}

fn none_unfinished() -> Problem {
    Problem::new(Kind::Conflict, "no cutover is unfinished").hint("run it without this option")
}

/// A cutover that another machine began: its journal is on the hosts.
fn elsewhere(loaded: &LoadedRig, plan: &Plan) -> Result<Log> {
    let owner = owner(loaded, plan)?.filter(|owner| owner.open).ok_or_else(none_unfinished)?;
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

/// What a cutover is asked that begins now.
pub fn asked(loaded: &LoadedRig, said: Said) -> Asked {
    said.of(loaded.rig.cutover.as_ref())
}

/// What was asked at the beginning holds to the end: half a cutover by one word and half by another is neither.
fn means(log: &Log, said: Said) -> Result<()> {
    let differs = log.journal.asked.map(|asked| said.differs(&asked)).unwrap_or_default();
    if differs.is_empty() {
        return Ok(());
    }
    let message = format!("cutover {} goes on as it was begun: {}", log.journal.id, differs.join("; "));
    Err(Problem::new(Kind::Conflict, message)
        .hint("leave these options away; or take it back with `--abort` alone, and begin another with them")
        .into())
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
