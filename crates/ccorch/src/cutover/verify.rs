//! Is the target at work? A target that runs ccorch judges itself and is only asked here; a legacy target is watched from
//! here: every worker has finished a turn or pushed a commit since it was started, and its processes stay.

use std::collections::BTreeSet;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use ccorch_core::cutover::confirm::{Stage, Verdict, Window};
use ccorch_core::cutover::{Asked, SideKind, work};
use ccorch_core::launch::project_key;
use ccorch_core::names::{HostName, LoopName};
use ccorch_core::rig::{Agent, Rig, Role};
use jiff::Timestamp;

use super::meanwhile::Meanwhile;
use super::side::Side;
use super::steps::Steps;
use super::{legacy, live, signs};
use crate::error::{Kind, Problem};
use crate::hints;

/// Made at activation of a legacy target; what loops did later than this proves work.
const STAMP: &str = "/var/lib/ccorch/activated";
/// How often it is looked.
const LOOK: Duration = Duration::from_millis(500);
/// A target that was to judge and does not answer is waited for so much longer than its window.
const GRACE: Duration = Duration::from_secs(120);

/// Prints when the stamp was made, by the host's clock; then of each loop (`NAME WORKDIR-KEY WORKDIR` as arguments) its name, the
/// ends of the conversations written to since then, and those of the reflogs of pushes of its clone.
const WORKED: &str = r#"
date -r "$1" +%s
stamp=$1; home=$(getent passwd "$2" | cut -d: -f6); shift 2
while [ $# -gt 0 ]; do
  echo "loop $1"
  find "$home/.claude/projects/$2" -name '*.jsonl' -newer "$stamp" -exec tail -q -c 262144 {} \; -exec echo \; 2>/dev/null
  find "$3/.git/logs/refs/remotes" -path "*/ccorch/rescue" -prune -o \
    -type f -newer "$stamp" -exec tail -q -n 50 {} + 2>/dev/null
  shift 3
done
"#;

/// The target has given the lease back itself: there is nothing left for a driver to do.
#[derive(Debug, thiserror::Error)]
#[error("{target} did not confirm itself: {why}; it has given the lease back itself")]
pub struct FellBack {
    target: HostName,
    why: String,
}

/// Marks the moment from which work counts on a legacy target.
pub fn stamp(side: &Side) -> Result<()> {
    side.script("mark the activation", r#"mkdir -p /var/lib/ccorch && : > "$1""#, &[STAMP]).run()?;
    Ok(())
}

/// Waits until the target is confirmed; what it found, in one line.
pub fn wait(steps: &Steps<'_>, side: &Side) -> Result<String> {
    let mut source = Meanwhile::of(steps);
    let waited = match side.kind {
        SideKind::Ccorch => ask(steps, side, &mut source),
        SideKind::Legacy => watch(steps, side, &mut source),
    };
    match waited {
        Ok(note) => Ok(note + &source.ends()),
        Err(error) => match source.words() {
            Some(found) => Err(error.context(found)),
            None => Err(error),
        },
    }
}

/// How long a target that judges itself may take until it has a verdict, silence included.
pub fn longest(asked: Asked) -> Duration {
    let window = asked.timeout.duration() + asked.settle.duration();
    let rounds = if asked.prove_reboot { 2 } else { 1 };
    window * rounds + GRACE
}

/// The target decides, whether or not anybody asks; only its silence has an end here. Silence is no verdict: the step stays
/// open, and the same command asks again.
fn ask(steps: &Steps<'_>, side: &Side, source: &mut Meanwhile<'_>) -> Result<String> {
    let until = Instant::now() + longest(steps.asked());
    loop {
        source.look();
        match view(side) {
            Ok(window) if window.as_ref().is_none_or(|w| w.journal != steps.journal()) => {
                let message = format!("{} knows nothing of cutover {}", side.name, steps.journal());
                return Err(Problem::new(Kind::Conflict, message)
                    .hint(format!("`ccorch status --host {}` tells how it is", side.name))
                    .into());
            }
            Ok(None) => {}
            Ok(Some(window)) => match &window.verdict {
                Verdict::Confirmed => {
                    signs::measure(steps, window.first_work());
                    return Ok(confirmed(steps, side, &window));
                }
                Verdict::Failed { why } => {
                    let message = format!("{} did not confirm itself: {why}", side.name);
                    let hint = format!(
                        "`ccorch status --host {}` and `ccorch loops logs LOOP --host {0}`",
                        side.name
                    );
                    return Err(Problem::new(Kind::TimedOut, message).hint(hint).into());
                }
                Verdict::FellBack { why } => {
                    return Err(FellBack { target: side.name.clone(), why: why.clone() }.into());
                }
                Verdict::Withdrawn => {
                    let message = format!("the cutover was withdrawn on {}", side.name);
                    return Err(Problem::new(Kind::Conflict, message).into());
                }
                Verdict::Open => live::tell(&window.missing.join("; ")),
            },
            // It may be rebooting, by our word or by its own.
            Err(error) if hints::of(&error).0 == Kind::Unreachable && Instant::now() < until => {
                live::tell(&format!("{} does not answer", side.name));
            }
            Err(error) => return Err(error),
        }
        if Instant::now() >= until {
            let message = format!("{} has no verdict on itself, long after its window", side.name);
            return Err(Problem::new(Kind::Unreachable, message)
                .hint(format!(
                    "see `systemctl status ccorch-confirm` on {}; `--abort` takes it back",
                    side.name
                ))
                .into());
        }
        thread::sleep(LOOK);
    }
}

fn confirmed(steps: &Steps<'_>, side: &Side, window: &Window) -> String {
    let reboot = matches!(window.stage, Stage::Rebooting { .. });
    let after = if reboot { ", also after a reboot" } else { "" };
    let loops = &steps.rig().loops;
    // A program that leaves no trace in a conversation or a clone, or a loop that a person holds.
    let silent: Vec<&str> =
        loops.keys().filter(|name| !window.worked.contains_key(*name)).map(LoopName::as_str).collect();
    let worked = match silent.is_empty() {
        true => format!("all {} loops run and have worked", loops.len()),
        false => format!(
            "all {} loops are as they should be; nothing shows whether these have worked: {}",
            loops.len(),
            silent.join(", ")
        ),
    };
    format!("{worked} on {}{after}; it confirmed itself", side.name)
}

/// The target's window.
pub fn view(side: &Side) -> Result<Option<Window>> {
    side.ccorch_json(&["confirm", "show"])
}

fn watch(steps: &Steps<'_>, side: &Side, source: &mut Meanwhile<'_>) -> Result<String> {
    let (asked, settle) = (steps.asked(), steps.asked().settle);
    let until = Instant::now() + asked.timeout.duration() + settle.duration();
    let (mut good_since, mut worked) = (None, BTreeSet::new());
    loop {
        source.look();
        let mut missing = look(steps, side, &mut worked)?;
        if missing.is_empty() {
            let since = *good_since.get_or_insert_with(Instant::now);
            if since.elapsed() >= settle.duration() {
                signs::measure(steps, None);
                let note = at_work(steps.rig(), &worked, &side.name);
                return Ok([Some(note), not_checked(steps.rig(), &side.name)]
                    .into_iter()
                    .flatten()
                    .collect());
            }
            missing.push(format!("all work; settling for {settle}"));
        } else {
            good_since = None;
        }
        if Instant::now() >= until {
            let missing = missing.join("; ");
            let message = format!("on {}: not at work after {}: {missing}", side.name, asked.timeout);
            let hint = format!("look at what its own start command did on {}", side.name);
            return Err(Problem::new(Kind::TimedOut, message).hint(hint).into());
        }
        live::tell(&missing.join("; "));
        thread::sleep(LOOK);
    }
}

/// What is missing; who has worked is noted, and not asked for again.
fn look(steps: &Steps<'_>, side: &Side, worked: &mut BTreeSet<String>) -> Result<Vec<String>> {
    if legacy::processes(side)?.is_empty() {
        return Ok(vec!["no process works in the workspace".into()]);
    }
    worked.extend(newly_worked(steps.rig(), side, worked)?);
    // A legacy rig tells its orchestrator session nothing, so that one may have nothing to do; and an agent of which nothing
    // is known cannot be asked.
    let workers =
        steps.rig().loops.iter().filter(|(_, l)| l.agent == Agent::Claude && l.role == Role::Worker);
    let idle = workers.map(|(name, _)| name.as_str()).filter(|name| !worked.contains(*name));
    Ok(idle.map(|name| format!("loop {name} has not worked yet")).collect())
}

/// Other loops that finished a turn or pushed a commit since the stamp.
fn newly_worked(rig: &Rig, side: &Side, known: &BTreeSet<String>) -> Result<BTreeSet<String>> {
    let asked =
        rig.loops.iter().filter(|(name, l)| l.agent == Agent::Claude && !known.contains(name.as_str()));
    let words: Vec<String> = asked
        .flat_map(|(name, spec)| {
            let workdir = rig.place(&spec.workdir);
            [name.to_string(), project_key(&workdir), workdir]
        })
        .collect();
    if words.is_empty() {
        return Ok(BTreeSet::new());
    }
    let mut args = vec![STAMP, side.workspace.user.as_str()];
    args.extend(words.iter().map(String::as_str));
    let text = side.script("see which loops have worked", WORKED, &args).read()?;
    let said = || text.lines().next().unwrap_or_default();
    since_stamp(&text).with_context(|| format!("{}: when the rig was started there: `{}`", side.name, said()))
}

/// Reads what [`WORKED`] prints.
fn since_stamp(text: &str) -> Option<BTreeSet<String>> {
    let (stamp, rest) = text.split_once('\n')?;
    // A push is told to the second: the one in which the rig was started.
    let since = Timestamp::from_second(stamp.trim().parse().ok()?).ok()?;
    let loops = rest.split("\nloop ").map(|part| part.strip_prefix("loop ").unwrap_or(part));
    let worked = loops.filter_map(|part| {
        let (name, signs) = part.split_once('\n').unwrap_or((part, ""));
        work::signs(signs).last().filter(|last| **last >= since).map(|_| name.to_owned())
    });
    Some(worked.collect())
}

/// What is known of the loops on a target that ccorch does not run.
fn at_work(rig: &Rig, worked: &BTreeSet<String>, on: &HostName) -> String {
    let silent: Vec<&str> =
        rig.loops.keys().map(LoopName::as_str).filter(|name| !worked.contains(*name)).collect();
    let all = rig.loops.len();
    match silent.as_slice() {
        [] => format!("all {all} loops run and have worked on {on}"),
        silent => format!(
            "the rig runs on {on}, and {} of {all} loops have worked; nothing shows whether these have worked: {}",
            all - silent.len(),
            silent.join(", ")
        ),
    }
}

/// What the rig file says of a trial and nobody looks at on a target that ccorch does not run, as the end of a sentence.
pub fn not_checked(rig: &Rig, on: &HostName) -> Option<String> {
    let confirm = rig.cutover.as_ref().and_then(|cutover| cutover.confirm.as_ref());
    let parts = [
        (!rig.proxy.is_none()).then_some("the proxy"),
        confirm.filter(|confirm| !confirm.health.is_empty()).map(|_| "the URLs of `cutover.confirm.health`"),
        confirm.filter(|confirm| !confirm.handoffs.is_empty()).map(|_| "the hand-offs between loops"),
    ];
    let parts: Vec<&str> = parts.into_iter().flatten().collect();
    (!parts.is_empty())
        .then(|| format!("; not checked on {on}, which ccorch does not run: {}", parts.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_that_ccorch_does_not_run_is_not_said_to_be_better_than_is_known() {
        let text = indoc::indoc! {"
            rig: r
            workspace: { root: /srv/r, user: u, repositories: {} }
            phases: [{ id: a, plan: a.md }]
            loops:
              builder: { agent: claude, workdir: ., prompt: b.md }
              judge: { agent: command, workdir: ., command: [judge] }
              orchestrator: { agent: claude, workdir: ., role: orchestrator }
            hosts: { pi: { ssh: pi }, vm: { ssh: vm } }
        "};
        let rig = ccorch_core::rig::parse(text).unwrap();
        let (pi, all) = (HostName::new("pi").unwrap(), ["builder", "judge", "orchestrator"]);
        let said = |worked: &[&str]| at_work(&rig, &worked.iter().map(|name| (*name).into()).collect(), &pi);
        assert_eq!(said(&all), "all 3 loops run and have worked on pi");
        let words = "the rig runs on pi, and 2 of 3 loops have worked; nothing shows whether these have worked: judge";
        assert_eq!(said(&["builder", "orchestrator"]), words);
        assert_eq!(not_checked(&rig, &pi), None);
        let more = "proxy: { listen: '127.0.0.1:1055', backend: tailscaled }
cutover: { from: vm, to: pi, confirm: { health: [{ url: 'http://a' }], handoffs: [{ file: x }] } }
";
        let rig = ccorch_core::rig::parse(&(text.to_owned() + more)).unwrap();
        let words = "; not checked on pi, which ccorch does not run: the proxy, the URLs of `cutover.confirm.health`, \
                     the hand-offs between loops";
        assert_eq!(not_checked(&rig, &pi).unwrap(), words);
    }

    /// A prompt that a start command typed, and an agent that answers with an error of its own, are no work.
    #[test]
    fn a_loop_has_worked_that_finished_a_turn_or_pushed_since_the_start() {
        let record = |kind: &str, at: &str, more: &str| {
            let head = format!(r#"{{"type":"{kind}","timestamp":"2026-01-01T00:00:{at}Z""#);
            format!(r#"{head},"message":{{"content":[{{"type":"text","text":"x"}}]{more}}}}}"#)
        };
        let zero = "0".repeat(40);
        let push = |at: i64| format!("{zero} {zero} A B <a@b> {at} +0000\tupdate by push");
        let begun: Timestamp = "2026-01-01T00:00:30Z".parse().unwrap();
        let text = [
            begun.as_second().to_string(),
            "loop asked".into(),
            record("user", "40", ""),
            "loop refused".into(),
            record("assistant", "40", r#","model":"<synthetic>""#),
            "loop before".into(),
            record("assistant", "20", ""),
            push(begun.as_second() - 1),
            "loop answered".into(),
            record("user", "40", ""),
            record("assistant", "45", ""),
            String::new(),
            "loop pushed".into(),
            push(begun.as_second()),
            "loop silent".into(),
        ];
        let worked = since_stamp(&(text.join("\n") + "\n")).unwrap();
        assert_eq!(worked.into_iter().collect::<Vec<_>>(), ["answered", "pushed"]);
        assert_eq!(since_stamp("date: no such file\n"), None);
    }
}
