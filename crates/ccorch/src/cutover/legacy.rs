//! The acts of a cutover on a host whose rig ccorch does not run: its own start and stop commands, and a fence that
//! holds whoever starts its units.
//!
//! The fence is a drop-in with a condition: `mask` fails for units in `/etc/systemd/system`, and `disable` does not
//! keep a unit from being started by hand.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use ccorch_core::rig::LegacyRuns;
use ccorch_core::seconds::Seconds;

use super::copies;
use super::side::Side;
use crate::error::{Kind, Problem};

/// The mark that the condition asks for; what is in it says which units were enabled before.
const FENCED: &str = "/var/lib/ccorch/fenced";
/// How long the rig's own stop command may take.
const STOP: Duration = Duration::from_secs(120);
/// After the stop command, how long processes may take to leave; the same again after TERM.
const LEAVE: Duration = Duration::from_secs(20);

/// What was done there for the cutover itself may take as long to be over.
const LINGER: Duration = Duration::from_secs(5);

/// Lists processes that work in the workspace, run a program of it or have a file of it open: `PID COMMAND`.
const PROCESSES: &str = r#"
root=$(printf %s "$1" | sed 's/[][*?\\]/\\&/g')
find /proc/[0-9]*/cwd /proc/[0-9]*/exe /proc/[0-9]*/fd -maxdepth 1 \( -lname "$root" -o -lname "$root/*" \) \
  -printf '%p\n' 2>/dev/null | cut -d / -f 3 | sort -nu | while read -r pid; do
  # One line each, whatever stands in an argument.
  line=$(tr '\000-\037\177' '[ *]' < "/proc/$pid/cmdline" 2>/dev/null | cut -c 1-80)
  # What has just ended has none any more.
  if [ -n "$line" ]; then printf '%s %s\n' "$pid" "$line"; fi
done
"#;

/// Fences every unit: the mark first, so that a unit never has its condition without the mark's meaning being true.
const FENCE: &str = r#"
if [ ! -e "$1" ]; then
  shift_file=$1; shift
  : > "$shift_file.new"
  for unit in "$@"; do
    if systemctl is-enabled --quiet "$unit"; then echo "$unit" >> "$shift_file.new"; fi
  done
  sync "$shift_file.new"; mv "$shift_file.new" "$shift_file"
else
  shift
fi
reload=
for unit in "$@"; do
  file=/etc/systemd/system/$unit.d/90-ccorch-fence.conf
  text='[Unit]
ConditionPathExists=!/var/lib/ccorch/fenced'
  # Written already, systemd may still not have read it: its own word counts.
  if [ "$(cat "$file" 2>/dev/null)" = "$text" ] &&
    case " $(systemctl show --property=DropInPaths --value "$unit") " in *" $file "*) ;; *) false ;; esac
  then
    continue
  fi
  mkdir -p "/etc/systemd/system/$unit.d"
  printf '%s\n' "$text" > "$file"
  # A source that loses its power from here on must not start what is fenced.
  sync "$file" "/etc/systemd/system/$unit.d"
  reload=yes
done
sync /var/lib/ccorch
if [ -d /etc/systemd/system ]; then sync /etc/systemd/system; fi
if [ "$reload" ]; then systemctl daemon-reload; fi
"#;

const UNFENCE: &str = r#"
file=$1; shift
for unit in "$@"; do
  rm -f "/etc/systemd/system/$unit.d/90-ccorch-fence.conf"
  rmdir "/etc/systemd/system/$unit.d" 2>/dev/null || true
done
if [ -e "$file" ]; then
  while read -r unit; do systemctl enable --quiet "$unit"; done < "$file"
  rm -f "$file"
fi
sync -f /etc/systemd/system; sync /var/lib/ccorch
systemctl daemon-reload
"#;

/// Has the agents come to a safe point, by the owner's own command where there is one; what became of that. Whatever it is, the
/// rig is stopped then.
pub fn safe_point(side: &Side, within: Seconds) -> Option<String> {
    let command = side.runs.as_ref().map(|runs| &runs.safe_point).filter(|command| !command.is_empty())?;
    if within.0 == 0 {
        return None;
    }
    let began = Instant::now();
    let ran = side.owners(command).deadline(within.duration()).run();
    let waited = format!("waited {:.1} s for a safe point", began.elapsed().as_secs_f64());
    Some(match ran {
        Ok(_) => waited,
        Err(error) => {
            eprintln!("warning: on {}: not every agent came to a safe point: {error:#}", side.name);
            format!("{waited} that was not reached")
        }
    })
}

/// Stops the rig and proves that nothing of it is left.
pub fn quiesce(side: &Side) -> Result<()> {
    let runs = runs(side)?;
    if !runs.units.is_empty() {
        side.acting().command(&with(&["systemctl", "stop", "--"], &runs.units)).deadline(STOP).run()?;
    }
    side.owners(&runs.stop).deadline(STOP).run()?;
    if left_after(side, LEAVE)?.is_empty() {
        return Ok(());
    }
    signal(side, "TERM")?;
    if left_after(side, LEAVE)?.is_empty() {
        return Ok(());
    }
    signal(side, "KILL")?;
    let left = left_after(side, LEAVE)?;
    if left.is_empty() {
        return Ok(());
    }
    let message = format!("on {}: processes of the rig are left: {}", side.name, left.join("; "));
    Err(Problem::new(Kind::Conflict, message).hint("end them by hand, then run this again").into())
}

/// Starts the rig by its units, or by its start command where it has none.
pub fn start(side: &Side) -> Result<()> {
    let runs = runs(side)?;
    if runs.units.is_empty() {
        side.owners(&runs.start).deadline(STOP).run()?;
    } else {
        side.acting().command(&with(&["systemctl", "start", "--"], &runs.units)).deadline(STOP).run()?;
    }
    Ok(())
}

/// Keeps every unit from starting, by whatever hand, over reboots too. By the newest driver alone.
pub fn fence(side: &Side, journal: &str) -> Result<()> {
    let units = &runs(side)?.units;
    copies::act(side, journal, "fence the rig's units", FENCE, &with(&[FENCED], units)).run()?;
    Ok(())
}

/// Lifts the fence and enables what was enabled before. By the newest driver alone, and who takes over next sees that it was
/// lifted: what this driver knows may be in no copy of its journal.
pub fn unfence(side: &Side, journal: &str) -> Result<()> {
    let units = &runs(side)?.units;
    copies::act(side, journal, "lift the fence of the rig's units", UNFENCE, &with(&[FENCED], units))
        .run()?;
    Ok(())
}

/// Whether the fence is up.
pub fn is_fenced(side: &Side) -> Result<bool> {
    Ok(side.host.exists(FENCED)?)
}

/// Disables the units, now that the target has proven itself; the fence's mark remembers which were enabled.
pub fn disable(side: &Side) -> Result<()> {
    let units = &runs(side)?.units;
    if !units.is_empty() {
        side.acting().command(&with(&["systemctl", "disable", "--quiet", "--"], units)).run()?;
    }
    Ok(())
}

/// Processes of the rig: those that have to do with the workspace.
pub fn processes(side: &Side) -> Result<Vec<String>> {
    let text = side.script("list processes in the workspace", PROCESSES, &[&side.workspace.root]).read()?;
    Ok(text.lines().map(Into::into).collect())
}

/// Refuses a source where somebody has started the rig again since it was stopped, by hand: no fence holds that.
pub fn still_down(side: &Side) -> Result<()> {
    let left = left_after(side, LINGER)?;
    if left.is_empty() {
        return Ok(());
    }
    let message = format!("on {}: the rig was started again while it moved: {}", side.name, left.join("; "));
    Err(Problem::new(Kind::Conflict, message).hint("see who did; then cut over again").into())
}

/// Stops what somebody has started by hand since; what it was. By the newest driver alone, and only while the fence is up: else
/// what works there is the rig, which a driver has started again.
pub fn started_since(side: &Side, journal: &str) -> Result<Vec<String>> {
    let found = left_after(side, LINGER)?;
    if found.is_empty() || !copies::admit(side, journal)? {
        return Ok(Vec::new());
    }
    quiesce(side)?;
    Ok(found)
}

fn left_after(side: &Side, patience: Duration) -> Result<Vec<String>> {
    let until = Instant::now() + patience;
    loop {
        let left = processes(side)?;
        if left.is_empty() || Instant::now() >= until {
            return Ok(left);
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

fn signal(side: &Side, signal: &str) -> Result<()> {
    let left = processes(side)?;
    let pids = left.iter().filter_map(|line| line.split(' ').next());
    let pids: Vec<&str> = pids.filter(|pid| pid.parse().is_ok_and(|pid: u32| pid > 1)).collect();
    // Some may be gone by now; what is left is looked at again.
    let script = r#"signal=$1; shift; kill -s "$signal" -- "$@" || true"#;
    side.act("end processes in the workspace", script, &with_str(&[signal], &pids)).run()?;
    Ok(())
}

fn runs(side: &Side) -> Result<&LegacyRuns> {
    side.runs.as_ref().with_context(|| format!("the rig file does not say how {} runs the rig", side.name))
}

fn with<'a>(head: &[&'a str], tail: &'a [String]) -> Vec<&'a str> {
    head.iter().copied().chain(tail.iter().map(String::as_str)).collect()
}

fn with_str<'a>(head: &[&'a str], tail: &[&'a str]) -> Vec<&'a str> {
    head.iter().chain(tail).copied().collect()
}

#[cfg(test)]
#[path = "legacy_tests.rs"]
mod tests;
