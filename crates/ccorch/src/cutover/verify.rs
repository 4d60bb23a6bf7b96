//! Is the rig at work? Not only alive: every loop has written to its conversation since it was started.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use ccorch_core::cutover::SideKind;
use ccorch_core::launch::project_key;
use ccorch_core::rig::{Agent, Role};

use super::legacy;
use super::side::Side;
use super::steps::Steps;
use crate::error::{Kind, Problem};
use crate::here::status::Status;

/// Made at activation; conversations written to later than this prove work.
const STAMP: &str = "/var/lib/ccorch/activated";
/// How often it is looked.
const LOOK: Duration = Duration::from_millis(500);

/// Prints the names of loops (`NAME WORKDIR-KEY` pairs as arguments) whose conversations were written since the stamp.
const WORKED: &str = r#"
stamp=$1; home=$(getent passwd "$2" | cut -d: -f6); shift 2
while [ $# -gt 0 ]; do
  if [ -n "$(find "$home/.claude/projects/$2" -name '*.jsonl' -newer "$stamp" -print -quit 2>/dev/null)" ]; then
    echo "$1"
  fi
  shift 2
done
"#;

/// Marks the moment from which work counts.
pub fn stamp(side: &Side) -> Result<()> {
    side.script("mark the activation", r#"mkdir -p /var/lib/ccorch && : > "$1""#, &[STAMP]).run()?;
    Ok(())
}

/// Waits until the target is at work; what it found, in one line.
pub fn wait(steps: &Steps<'_>, side: &Side) -> Result<String> {
    let until = Instant::now() + steps.verify_timeout().duration();
    loop {
        let missing = missing(steps, side)?;
        if missing.is_empty() {
            return Ok(format!("all {} loops run and have worked on {}", steps.rig().loops.len(), side.name));
        }
        if Instant::now() >= until {
            let message = format!(
                "on {}: not at work after {}: {}",
                side.name,
                steps.verify_timeout(),
                missing.join("; ")
            );
            let hint =
                format!("`ccorch status --host {}` and `ccorch loops logs LOOP --host {0}`", side.name);
            return Err(Problem::new(Kind::TimedOut, message).hint(hint).into());
        }
        thread::sleep(LOOK);
    }
}

fn missing(steps: &Steps<'_>, side: &Side) -> Result<Vec<String>> {
    let mut missing = match side.kind {
        SideKind::Ccorch => {
            let status: Status = side.ccorch_json(&["status", "--json"])?;
            status.degraded
        }
        SideKind::Legacy => {
            let none = legacy::processes(side)?.is_empty();
            if none { vec!["no process works in the workspace".into()] } else { Vec::new() }
        }
    };
    if missing.is_empty() {
        missing = idle(steps, side)?;
    }
    Ok(missing)
}

/// Loops that have not worked yet. A session that waits for its person has nothing to do, and an agent of which nothing
/// is known cannot be asked.
fn idle(steps: &Steps<'_>, side: &Side) -> Result<Vec<String>> {
    let workers =
        steps.rig().loops.iter().filter(|(_, l)| l.agent == Agent::Claude && l.role == Role::Worker);
    let pairs: Vec<(String, String)> = workers
        .map(|(name, spec)| {
            let root = &side.workspace.root;
            let workdir = if spec.workdir == "." { root.clone() } else { format!("{root}/{}", spec.workdir) };
            (name.to_string(), project_key(&workdir))
        })
        .collect();
    let mut args = vec![STAMP, &side.workspace.user];
    args.extend(pairs.iter().flat_map(|(name, key)| [name.as_str(), key.as_str()]));
    let text = side.script("see which loops have worked", WORKED, &args).read()?;
    let worked: Vec<&str> = text.lines().collect();
    let idle = pairs.iter().filter(|(name, _)| !worked.contains(&name.as_str()));
    Ok(idle.map(|(name, _)| format!("loop {name} has not worked yet")).collect())
}
