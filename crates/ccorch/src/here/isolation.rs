//! What keeps loops apart, on this machine: what has to be there before a start, and what the kernel counted.

use std::fs;
use std::path::Path;

use anyhow::Result;
use ccorch_core::kernel::{Counters, Deed};
use ccorch_core::names::LoopName;
use ccorch_core::rig::Loop;
use ccorch_core::units::loop_unit;
use ccorch_io::cgroup;

use super::runtime::{Runtime, account, command_as};
use super::{Here, events};
use crate::error::{Kind, Problem};

/// How much sooner the kernel takes an agent and what it starts than tmux and the agent's parent, which tells how it
/// ended; of 1000. Source: proc_pid_oom_score_adj(5).
const SOONER: &str = "300";
/// Opens what the workspace's user owns in a folder to its group, of which the loop's user is. Runs as that user: what
/// agents put there can lead it to nothing but its own.
const SHARE: &str = r#"find "$1" -xdev -user "$2" \( -type d ! -perm -070 -o -type f -perm -200 ! -perm -060 \) \
-exec chmod g+rwX {} +"#;

/// Sees that a loop's user and paths are there, and that the user may write the loop's working directory.
pub fn prepare(here: &Here, name: &LoopName) -> Result<()> {
    let Some(spec) = here.rig.loops.get(name) else { return Ok(()) };
    for (key, path) in
        spec.read_only.iter().map(|p| ("read_only", p)).chain(spec.hidden.iter().map(|p| ("hidden", p)))
    {
        let place = here.rig.place(path);
        // Whoever can create it later would own what should have been kept from them.
        if fs::symlink_metadata(&place).is_err() {
            let problem =
                Problem::new(Kind::Unfit, format!("loop {name}: {place} of its `{key}` does not exist"));
            return Err(problem.hint("create it, or take it out of the rig file").into());
        }
    }
    let (user, owner) = (here.rig.user_of(spec), here.rig.workspace.user.as_str());
    if user == owner {
        return Ok(());
    }
    if account(user).is_none() {
        let problem = Problem::new(Kind::Unfit, format!("loop {name}: there is no user {user}"));
        return Err(problem.hint("run `ccorch host install` again: it makes the users of loops").into());
    }
    let workdir = here.rig.place(&spec.workdir);
    if Path::new(&workdir).is_dir() {
        command_as(owner, &["sh", "-c", SHARE, "share", &workdir, owner])
            .shown_as(format!("share {workdir}"))
            .run()?;
    }
    Ok(())
}

/// Says what a loop that systemd does not run goes without.
pub fn tell_without_systemd(here: &Here, name: &LoopName) {
    let Some(spec) = here.rig.loops.get(name) else { return };
    let mut without: Vec<&str> = spec.limits.settings().iter().map(|(key, _)| *key).collect();
    without.extend((!spec.read_only.is_empty()).then_some("read_only"));
    without.extend((!spec.hidden.is_empty()).then_some("hidden"));
    if !without.is_empty() {
        let what = without.join(", ");
        let detail = format!(
            "without systemd nothing holds it to its {what}; hint: run the rig where systemd is process 1"
        );
        warn_once(here, name, "unlimited", &detail);
    }
}

/// Records a warning about a loop, unless it is the one of its start before; an empty one forgets that.
pub fn warn_once(here: &Here, name: &LoopName, subject: &str, detail: &str) {
    let mark = here.paths.run().join(format!("{subject}-{name}"));
    if fs::read_to_string(&mark).unwrap_or_default() == detail {
        return;
    }
    if !detail.is_empty() {
        events::record(here, "warning", Some(name), detail);
    }
    if let Err(error) = ccorch_io::durable::replace(&mark, detail.as_bytes(), 0o600) {
        eprintln!("warning: {error:#}");
    }
}

/// The kernel's counters of the loop's unit, in which this process is.
pub fn counters(pid: u32, name: &LoopName) -> Counters {
    cgroup::counters(pid, &loop_unit(name))
}

/// What the kernel did to a running loop since its unit started.
pub fn deed(here: &Here, name: &LoopName, pid: u32) -> Option<Deed> {
    // A unit's cgroup is new with each start: its counters began at nothing.
    (Runtime::of(here) == Runtime::Systemd)
        .then(|| Deed::between(&Counters::default(), &counters(pid, name)))?
}

/// Has the kernel, when memory is out, take this process and what it will start before those that watch it.
pub fn kill_first(pid: u32) {
    // Raising it needs no right; where it does not work, the end is merely told in fewer words.
    if let Err(error) = fs::write(format!("/proc/{pid}/oom_score_adj"), SOONER) {
        eprintln!("warning: the agent's order of being killed is not set: {error}");
    }
}

/// git refuses a checkout of another user's. The loop's own is the workspace's user's; no other one is trusted.
pub fn git_environment(here: &Here, spec: &Loop) -> Vec<(&'static str, String)> {
    if here.rig.user_of(spec) == here.rig.workspace.user || spec.env.contains_key("GIT_CONFIG_COUNT") {
        return Vec::new();
    }
    let key = |value: &str| value.to_owned();
    vec![
        ("GIT_CONFIG_COUNT", key("2")),
        ("GIT_CONFIG_KEY_0", key("safe.directory")),
        ("GIT_CONFIG_VALUE_0", here.rig.place(&spec.workdir)),
        // What it writes below .git stays writable for the workspace's user.
        ("GIT_CONFIG_KEY_1", key("core.sharedRepository")),
        ("GIT_CONFIG_VALUE_1", key("group")),
    ]
}
