//! The driver leaves the rig's own session: what it asks to be stopped would end it otherwise.

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use ccorch_core::cutover::itself::{Unit, ended_with, may_hand_over};
use ccorch_core::cutover::{Plan, Side, SideKind};
use ccorch_io::host::Host;
use ccorch_io::paths::HostPaths;
use ccorch_io::{durable, process, quote};

use super::{above, follow, is_this_machine, unshared};
use crate::context::LoadedRig;
use crate::error::{Kind, Problem};
use crate::here::runtime::name_of;
use crate::remote::without_options;

/// What a driver needs of its caller's environment; nothing in it is secret, for everybody may read a unit's.
const ENVIRONMENT: [&str; 6] = ["HOME", "PATH", "LANG", "LC_ALL", "XDG_STATE_HOME", "SSH_AUTH_SOCK"];

/// Has a driver that would be ended with the rig begin anew in a unit of its own, and follows that until it ends or has this
/// session stopped. Nothing where this process stays.
pub fn leave(loaded: &LoadedRig, plan: &Plan) -> Result<Option<ExitCode>> {
    let Some((side, session, reached)) = own_session(loaded, plan) else { return Ok(None) };
    let host = reached.map_err(|error| {
        let message = format!(
            "this runs in {session}, which is stopped on the way; a unit of the driver's own cannot be started: {error:#}"
        );
        Problem::new(crate::hints::of(&error).0, message).hint(format!(
            "let {} reach itself by `ssh` of its entry in the rig file, as root or with `sudo` that asks for no password; or run \
             this on another machine",
            side.name
        ))
    })?;
    begin_anew(loaded, side, &host, &session).map(Some)
}

/// What [`leave`] would do, for people.
#[derive(Debug)]
pub struct Leaving {
    /// What, and why.
    pub does: String,
    /// The commands, by host.
    pub commands: Vec<String>,
    /// What takes it back.
    pub undo: String,
}

/// What [`leave`] would do; nothing where this process stays.
pub fn would_leave(loaded: &LoadedRig, plan: &Plan) -> Result<Option<Leaving>> {
    let Some((side, session, reached)) = own_session(loaded, plan) else { return Ok(None) };
    let mut does = format!(
        "this runs in {session}, which the cutover stops: the driver begins anew in a unit of its own, and this session ends"
    );
    if let Err(error) = reached {
        does += &format!("; but that unit cannot be started now: {error:#}");
    }
    let (user, argv) = (user(), again(loaded)?);
    let unit = Unit { id: "ID", user: &user, environment: &[], files: None, argv: &argv };
    let mut commands = vec![format!("{}: {}", side.name, quote::argv(&unit.start()))];
    if side.name == plan.from.name && may_hand_over(plan) {
        commands.push(format!(
            "{}: drives what remains once it has judged itself, if {user} there reaches both hosts by that rig file",
            plan.to.name
        ));
    }
    let undo = format!(
        "nothing of the rig is changed by it; `systemctl stop {}` on {} ends that driver, and `ccorch cutover --abort` takes \
         back what it had begun",
        unit.name(),
        side.name
    );
    Ok(Some(Leaving { does, commands, undo }))
}

/// The host of the plan that is this machine, with what would end this process there, and how the host is reached. Where another
/// machine may be meant, whoever needs it says that it does not answer.
fn own_session<'a>(loaded: &LoadedRig, plan: &'a Plan) -> Option<(&'a Side, String, Result<Host>)> {
    let cgroups = process::about(Path::new("/proc/self/cgroup")).unwrap_or_default();
    let one = |side: &'a Side| {
        let session = session(loaded, side, &cgroups)?;
        let reached = unshared(loaded, &side.name).and_then(|host| Ok((is_this_machine(&host)?, host)));
        match reached {
            Ok((here, host)) => here.then_some((side, session, Ok(host))),
            Err(error) => is_named(side).then_some((side, session, Err(error))),
        }
    };
    [&plan.from, &plan.to].into_iter().find_map(one)
}

/// What would end this process with the rig of a host, if this machine is that host.
fn session(loaded: &LoadedRig, side: &Side, cgroups: &str) -> Option<String> {
    let runs = loaded.rig.hosts.get(&side.name).and_then(|host| host.runs.as_ref());
    let units = runs.map(|runs| runs.units.as_slice()).unwrap_or_default();
    let at_work =
        (side.kind == SideKind::Legacy).then(|| above::at_work(&loaded.rig.workspace.root)).flatten();
    ended_with(cgroups, side.kind, units, at_work)
}

/// Whether this machine was installed as that host, so that no other one is meant.
fn is_named(side: &Side) -> bool {
    let name = fs::read_to_string(HostPaths::of_this_machine().host_name()).unwrap_or_default();
    name.trim() == side.name.as_str()
}

fn begin_anew(loaded: &LoadedRig, side: &Side, host: &Host, session: &str) -> Result<ExitCode> {
    let program = std::env::current_exe().context("find this very program")?;
    let folder = loaded.operator()?.dir().join("drivers");
    stays_usable(loaded, side, &program, &folder)?;
    durable::create_dir(&folder, 0o700)?;
    let id = super::super::new_id();
    let (printed, reported) = (folder.join(format!("{id}.out")), folder.join(format!("{id}.err")));
    for file in [&printed, &reported] {
        durable::replace(file, b"", 0o600)?;
    }
    let (printed_path, reported_path) = (text(&printed)?, text(&reported)?);
    let (user, argv) = (user(), again(loaded)?);
    let present =
        |name: &'static str| Some((name, std::env::var(name).ok().filter(|value| !value.is_empty())?));
    let environment: Vec<(&str, String)> = ENVIRONMENT.into_iter().filter_map(present).collect();
    let files = Some((printed_path.as_str(), reported_path.as_str()));
    let unit = Unit { id: &id, user: &user, environment: &environment, files, argv: &argv };
    eprintln!(
        "this runs in {session}, which the cutover stops: the driver goes on in {}\n\
         follow it by `tail -f {reported_path}`, `systemctl status {0}` or `ccorch journal show`",
        unit.name()
    );
    follow::to_the_end(loaded, side, host, &unit, (&printed, &reported))
}

/// Who drives.
fn user() -> String {
    let user = rustix::process::geteuid().as_raw();
    name_of(user).unwrap_or_else(|| user.to_string())
}

/// The same command once more, from another folder.
fn again(loaded: &LoadedRig) -> Result<Vec<String>> {
    let program = std::env::current_exe().context("find this very program")?;
    let rig = std::path::absolute(&loaded.file).context("find the rig file")?;
    let args = without_options(std::env::args().skip(1), &["--rig"]);
    let args = args.into_iter().filter(|word| word != "--dry-run");
    Ok([text(&program)?, "--rig".into(), text(&rig)?].into_iter().chain(args).collect())
}

/// What the driver needs to the end must not lie in what is stopped or made read-only.
fn stays_usable(loaded: &LoadedRig, side: &Side, program: &Path, state: &Path) -> Result<()> {
    let root = fs::canonicalize(&loaded.rig.workspace.root).unwrap_or_default();
    let inside = |path: &Path| {
        let mut up = path.ancestors().filter_map(|one| fs::canonicalize(one).ok());
        !root.as_os_str().is_empty() && up.next().is_some_and(|path| path.starts_with(&root))
    };
    if side.kind == SideKind::Legacy && inside(program) {
        let message =
            format!("{} lies in the workspace, and whatever runs from there is stopped", program.display());
        return Err(Problem::new(Kind::Unfit, message).hint("run a copy outside of it").into());
    }
    if inside(state) {
        let message =
            format!("{} lies in the workspace, which is made read-only at the end", state.display());
        let hint = "set XDG_STATE_HOME to a folder outside of it";
        return Err(Problem::new(Kind::Unfit, message).hint(hint).into());
    }
    Ok(())
}

fn text(path: &Path) -> Result<String> {
    let path = path.to_str().with_context(|| format!("{} is no UTF-8", path.display()))?;
    Ok(path.to_owned())
}
