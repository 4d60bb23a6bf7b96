//! Random cells of the matrix on the real bed: real systemd, a legacy pi, a vm that was provisioned. The same moments, held by
//! the same gate; what breaks is what can be broken in a container of its own.

use std::process::Child;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use super::walk::Stage;
use crate::bed::Instance;
use crate::matrix::cell::{Cell, End, Fault, Point, Who};
use crate::matrix::gate::{Gate, Moment};
use crate::matrix::play::outcome;
use crate::rehearse::judge;

/// What is broken is mended so long after it broke, if the driver has not given up before.
const OUTAGE: Duration = Duration::from_secs(3);
/// No cutover takes longer, with whatever it waits for in the dark.
const LONG: Duration = Duration::from_secs(300);
/// The exit statuses of what was taken back, and of what cannot be done.
const TAKEN_BACK: i32 = 8;
const CONFLICT: i32 = 6;

/// Kills the next command that comes over ssh, within ten seconds.
const KILL_NEXT: &str = r#"
n=0
while [ $n -lt 500 ]; do
  for session in $(pgrep -f '^sshd(-session)?: .*@notty'); do
    for pid in $(pgrep -P "$session"); do kill -s KILL "$pid" && exit 0; done
  done
  n=$((n + 1)); sleep 0.02
done
"#;

/// So many random cells, or the one of that name.
pub fn chosen(count: usize, seed: u64, only: Option<&str>) -> Result<Vec<Cell>> {
    if let Some(name) = only {
        let cell = Cell::named(name)?;
        ensure!(can_be_played(&cell), "cell `{name}` cannot be played on the bed");
        return Ok(vec![cell]);
    }
    let mut all: Vec<Cell> = Cell::all().into_iter().filter(can_be_played).collect();
    let mut random = seed;
    let picked = (0..count.min(all.len())).map(|_| {
        let at = usize::try_from(next(&mut random) % all.len() as u64).unwrap_or_default();
        all.swap_remove(at)
    });
    Ok(picked.collect())
}

/// Disks are the machine's own, which a cell must not fill (a walk does it); which command is the last of a step is not
/// counted here.
fn can_be_played(cell: &Cell) -> bool {
    match cell.fault {
        Fault::Disk(_) => false,
        Fault::Command(_) => matches!(cell.point, Point::Before(_)),
        Fault::Kill | Fault::Cut(_) | Fault::Reboot(_) | Fault::Remote => true,
    }
}

/// SplitMix64: a seed is a choice.
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Which host the rig is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// On the pi, run by its owner's scripts.
    Pi,
    /// On the vm, run by ccorch.
    Vm,
}

/// Plays one from wherever the rig is to the other host; where the rig is then, and how it went.
pub fn play(stage: &mut Stage<'_, '_>, cell: Cell, at: At) -> Result<(At, String)> {
    let verb = if at == At::Pi { "cutover" } else { "rollback" };
    let first = broken(stage, cell, at, verb);
    mend(stage)?;
    let first = first.with_context(|| again(cell))?;
    let option = if cell.end == End::Resume { "--resume" } else { "--abort" };
    let second = stage.drivers.run(&["cutover", option])?;
    let too_late = ["no cutover is unfinished", "was not taken back"];
    let over = second.status == Some(CONFLICT) && too_late.iter().any(|words| second.said.contains(words));
    ensure!(
        over || matches!(second.status, Some(0 | TAKEN_BACK)),
        "`cutover {option}` after everything was mended: {second:?}; {}",
        again(cell)
    );
    let completed = outcome(&newest_journal(stage)?)?;
    if cell.fault == Fault::Kill && cell.point != Point::End {
        ensure!(completed == (cell.end == End::Resume), "only the driver failed; completed: {completed}");
    }
    let now = if completed == (at == At::Pi) { At::Vm } else { At::Pi };
    match now {
        At::Pi => stage.works_on_the_pi(),
        At::Vm => stage.works_on_the_vm(),
    }
    .with_context(|| again(cell))?;
    let first = first.map_or("killed".to_owned(), |code| code.to_string());
    let second = second.status.map_or("killed".to_owned(), |code| code.to_string());
    Ok((
        now,
        format!("{verb}: {first} then {second}, at work on {}", if now == At::Pi { "pi" } else { "vm" }),
    ))
}

fn again(cell: Cell) -> String {
    format!("again: cargo xtask crash --cell {}", cell.name())
}

fn newest_journal(stage: &Stage<'_, '_>) -> Result<String> {
    let mut all: Vec<_> =
        std::fs::read_dir(stage.operator.journals())?.flatten().map(|one| one.path()).collect();
    all.retain(|path| path.extension().is_some_and(|end| end == "jsonl"));
    all.sort();
    let last = all.last().context("there is no journal")?;
    std::fs::read_to_string(last).with_context(|| format!("cannot read {}", last.display()))
}

/// The cutover that breaks; its exit status, none when it was killed.
fn broken(stage: &mut Stage<'_, '_>, cell: Cell, at: At, verb: &str) -> Result<Option<i32>> {
    let journals = stage.operator.journals();
    std::fs::create_dir_all(&journals)?;
    let gate = Gate::at(vec![cell.point], &journals)?;
    let (mut driver, path) = stage.drivers.start(&[verb])?;
    let began = Instant::now();
    let mut since: Option<Instant> = None;
    let mut mended = false;
    let followed = gate.follow(&mut driver, |moment, driver| {
        match moment {
            Moment::At(_) => {
                since = Some(Instant::now());
                break_it(stage, cell, at, driver)?;
            }
            Moment::Meanwhile if !mended && since.is_some_and(|since| since.elapsed() > OUTAGE) => {
                mended = true;
                mend(stage)?;
            }
            Moment::Meanwhile if began.elapsed() > LONG => bail!("`ccorch {verb}` does not end"),
            Moment::Meanwhile => {}
        }
        Ok(())
    });
    if followed.is_err() {
        let _ = driver.kill();
        let _ = driver.wait();
    }
    let status = followed?;
    println!("  $ ccorch {verb}  ({status}, {})", cell.name());
    ensure!(since.is_some(), "it ended and its moment never came: {}", std::fs::read_to_string(path)?);
    ensure!(status.code().is_some() || cell.fault == Fault::Kill, "the driver ended by a signal: {status}");
    Ok(status.code())
}

fn host<'a>(stage: &'a Stage<'_, '_>, at: At, who: Who) -> &'a Instance {
    if (who == Who::Source) == (at == At::Pi) { stage.pi } else { &stage.vm }
}

fn break_it(stage: &Stage<'_, '_>, cell: Cell, at: At, driver: &mut Child) -> Result<()> {
    match cell.fault {
        Fault::Kill => driver.kill().context("kill the driver"),
        Fault::Cut(who) => host(stage, at, who)
            .script(
                "systemctl stop ssh ssh.socket 2> /dev/null || systemctl stop ssh; \
                 for pid in $(pgrep '^sshd'); do kill -s KILL $pid || true; done",
            )
            .map(drop),
        Fault::Command(who) => {
            let script = format!("setsid sh -c {} > /dev/null 2>&1 < /dev/null &", quoted(KILL_NEXT));
            host(stage, at, who).script(&script).map(drop)
        }
        Fault::Reboot(who) => host(stage, at, who).restart(),
        Fault::Remote => [stage.pi, &stage.vm].into_iter().try_for_each(|host| route(stage, host, false)),
        Fault::Disk(_) => bail!("no disk is filled here"),
    }
}

fn quoted(script: &str) -> String {
    format!("'{}'", script.replace('\'', r"'\''"))
}

/// Lets a host reach the git host, or not. Repeatable.
fn route(stage: &Stage<'_, '_>, host: &Instance, may: bool) -> Result<()> {
    let what = if may { "del" } else { "add" };
    let script =
        format!("ip route {what} unreachable {}/32 2> /dev/null || true", stage.scenario.place.git_address);
    host.script(&script).map(drop)
}

/// Everything works again, whatever was broken.
fn mend(stage: &Stage<'_, '_>) -> Result<()> {
    for host in [stage.pi, &stage.vm] {
        host.script("systemctl start ssh")?;
        route(stage, host, true)?;
        host.reachable()?;
        judge::booted(host)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_is_a_choice_of_different_cells() {
        let names = |seed| chosen(8, seed, None).unwrap().iter().map(Cell::name).collect::<Vec<_>>();
        assert_eq!(names(1), names(1));
        assert_ne!(names(1), names(2));
        let mut once = names(1);
        once.sort();
        once.dedup();
        assert_eq!(once.len(), 8);
        assert!(chosen(1, 1, Some("disk-driver-before-fence-abort")).is_err());
    }
}
