//! What the loops' units call. Hidden from the help: people use `ccorch loops`.

use std::fs;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitCode, ExitStatus};

use anyhow::{Context as _, Result, bail};
use ccorch_core::kernel::Deed;
use ccorch_core::launch::{self, Conversation, Start};
use ccorch_core::lease::{Driver, Turn};
use ccorch_core::names::LoopName;
use ccorch_core::rig::{Agent, Role};
use ccorch_core::stop::LastRun;
use ccorch_io::tmux::Tmux;
use ccorch_io::{clock, process};
use jiff::Timestamp;
use uuid::Uuid;

use crate::context::Context;
use crate::error::{Kind, Problem};
use crate::here::again::Terminal;
use crate::here::exits::{self, Began, Exit, Running};
use crate::here::leave;
use crate::here::loop_state::Share;
use crate::here::runtime::start_argv;
use crate::here::{Ground, Here, holders, isolation, lease, loop_state};

/// The last screen is kept up to this many characters.
const SCREEN: usize = 4000;

/// Which driver of which cutover asks
#[derive(Debug, clap::Args)]
pub struct ByDriver {
    /// The cutover
    #[arg(long)]
    pub journal: String,
    /// The driver's turn
    #[arg(long)]
    pub turn: u64,
}

impl ByDriver {
    /// The driver.
    pub fn driver(&self) -> Driver {
        Driver { journal: self.journal.clone(), turn: Turn(self.turn) }
    }
}

/// What the units of the loops call
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The loop's name
    name: LoopName,
}

impl Args {
    /// Those for a loop.
    pub fn of(name: LoopName) -> Self {
        Self { name }
    }
}

/// Becomes the loop's tmux server (the unit's `ExecStart=`), where the lease lets a loop start, by whatever hand. Where it does
/// not, that is said and is no failure: systemd takes a start that leaves nothing behind for one that is over. A condition of the
/// unit's own would cost each start as much as the rest of it.
pub fn start(context: &Context, args: &Args) -> Result<ExitCode> {
    let allowed = Ground::load(context).and_then(|ground| {
        lease::check_at(&ground.paths, &ground.name)?;
        Ok(ground)
    });
    let ground = match allowed {
        Ok(ground) => ground,
        Err(refused) => {
            eprintln!("loop {} is not started: {refused:#}", args.name);
            return Ok(ExitCode::SUCCESS);
        }
    };
    let argv = start_argv(&ground.paths, &args.name)?;
    let error = Command::new(&argv[0]).args(&argv[1..]).exec();
    let missing = error.kind() == std::io::ErrorKind::NotFound;
    let problem =
        Problem::new(Kind::Unfit, format!("loop {}: tmux could not be started: {error}", args.name));
    Err(if missing { problem.hint("install tmux on this host") } else { problem }.into())
}

/// Asks the loop's agent to leave (the unit's `ExecStop=`).
pub fn stop(context: &Context, args: &Args) -> Result<ExitCode> {
    let ground = Ground::load(context)?;
    // systemd runs this too when the main process is gone by itself, and then names none. Source: systemd.exec(5). Nor does it
    // where it never found out which that is; then a server that is there tells that somebody wished the stop.
    let server = Tmux::new(ground.paths.tmux_socket(&args.name), args.name.as_str());
    let wished = std::env::var_os("MAINPID").is_some() || server.is_alive();
    // A rig that cannot be read costs an agent its safe point, and keeps no loop from its stop. One that is gone has none.
    let load = || Here::load_checked(context).inspect_err(|error| eprintln!("warning: {error:#}")).ok();
    let here = if wished { load() } else { None };
    leave::ask(&ground, here.as_ref(), &args.name, wished)?;
    Ok(ExitCode::SUCCESS)
}

/// Stays the agent's parent inside tmux and records how it ends.
pub fn exec(context: &Context, args: &Args) -> Result<ExitCode> {
    let here = Here::load_checked(context)?;
    let name = &args.name;
    // A stop of the unit signals the whole group; the record is written after the agent has left.
    let terminal = Terminal::keep()?;
    exits::forget(&here.paths, name)?;
    let started = clock::now();
    let before = isolation::counters(std::process::id(), name);
    let began = Began { at: started, boot_id: clock::boot_id()? };
    let last = exits::last_run(&here.paths, name, &began);
    let result = start_agent(&here, name, last, &terminal);
    // The agent does not wait for the disk; a run that no record knows of was over before it could do anything.
    if let Err(error) = exits::set_began(&here.paths, name, &began) {
        // A full disk keeps no agent from its work.
        eprintln!("warning: the beginning of this run is not kept: {error:#}");
    }
    let result = result.and_then(|(child, session)| stay(&here, name, child, started, session, &terminal));
    let status = result.as_ref().ok();
    // Before the cgroup is gone, and before anything else is started in one that may be full.
    let deed = Deed::between(&before, &isolation::counters(std::process::id(), name));
    let kernel = deed.zip(status).map(|(deed, status)| {
        let how = exits::how(status.code(), status.signal());
        // A shell in between tells its child's signal like this.
        deed.end(&how, status.signal() == Some(9) || status.code() == Some(128 + 9))
    });
    let mut exit = Exit {
        started,
        ended: clock::now(),
        boot_id: clock::boot_id()?,
        code: status.and_then(ExitStatus::code).or(if result.is_err() { Some(127) } else { None }),
        signal: status.and_then(ExitStatusExt::signal),
        asked: exits::was_asked(&here.paths, name),
        error: result.as_ref().err().map(|error| format!("{error:#}")),
        kernel,
        screen: String::new(),
    };
    // Written without the screen first: where no process can be started there will be none. Not waited for: as long as this
    // process is there, so is the tmux server, and no other agent is started. Whoever hears of the end has it kept.
    exits::record(&here.paths, name, &exit)?;
    exit.screen = last_screen(&here, name, result.as_ref().err());
    exits::record(&here.paths, name, &exit)?;
    exits::forget(&here.paths, name)?;
    // What the kernel counted against the limits of this unit is not the next agent's.
    if result.is_ok() && !exit.asked && exit.kernel.is_none() && terminal.wanted(&here.paths, name) {
        terminal.reset();
        // The next one would not know of a signal that came to this one.
        if !terminal.is_stopped() {
            // With the program as it is installed now, and nothing of this run in mind.
            let mut words = std::env::args_os();
            let error = Command::new(words.next().unwrap_or_default()).args(words).exec();
            return Err(error).context("the agent's parent could not begin anew");
        }
    }
    let code = result?.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1);
    Ok(ExitCode::from(code))
}

/// Starts the agent; with it the conversation that it was given.
fn start_agent(
    here: &Here,
    name: &LoopName,
    last: Option<LastRun>,
    terminal: &Terminal,
) -> Result<(Child, Option<Uuid>)> {
    let spec = here.rig.loops.get(name).with_context(|| format!("the rig has no loop `{name}`"))?;
    let share = Share::read(&here.paths, name)?;
    let workdir = here.in_workspace(&spec.workdir);
    let conversation = match (spec.agent, share.session) {
        (Agent::Claude, Some(id)) => {
            // Whoever had it started: a unit that is started by hand asks nobody else.
            holders::alone(here, name, id)?;
            Some(Conversation::of(id, loop_state::has_transcript(here, spec, id)))
        }
        (Agent::Claude, None) => {
            let problem = Problem::new(Kind::Conflict, format!("loop {name} has no conversation chosen yet"));
            return Err(problem
                .hint("start it with `ccorch loops start`, so that the supervisor chooses one")
                .into());
        }
        (Agent::Command, _) => None,
    };
    let prompt = spec.prompt.as_ref().map(|path| {
        let path = here.in_workspace(path);
        fs::read_to_string(&path).with_context(|| format!("read the prompt {}", path.display()))
    });
    let prompt = prompt.transpose()?;
    let phase = here.phase();
    let hook = super::hook::command_line(&here.paths, name);
    let message = message(share.message, last.filter(|_| resumed(conversation)), spec.role);
    let start = Start {
        name,
        spec,
        conversation,
        phase,
        prompt: prompt.as_deref(),
        message: message.as_deref(),
        hook: hook.as_deref(),
    };
    let argv = launch::argv(&start);
    let program = argv.first().context("the loop has no command")?;
    if !workdir.is_dir() {
        let message = format!("the working directory {} does not exist", workdir.display());
        return Err(Problem::new(Kind::Unfit, message).hint("see the loop's `workdir`").into());
    }
    let mut command = Command::new(program);
    command.args(&argv[1..]).current_dir(&workdir).envs(&spec.env).env("PATH", path());
    command.envs(isolation::git_environment(here, spec));
    // Who speaks, for `ccorch notify`.
    command.env("CCORCH_LOOP", name.as_str());
    // The stop found no agent that it could ask.
    if terminal.is_stopped() {
        exits::set_asked(&here.paths, name, terminal.is_told_to_end())?;
        bail!("it was stopped before its agent was started");
    }
    let child = command.spawn().map_err(|error| {
        let message = format!("`{program}` could not be started in {}: {error}", workdir.display());
        Problem::new(Kind::Unfit, message).hint("see that the program is installed")
    })?;
    isolation::kill_first(child.id());
    Ok((child, share.session))
}

/// Waits for the agent's end.
fn stay(
    here: &Here,
    name: &LoopName,
    mut child: Child,
    started: Timestamp,
    session: Option<Uuid>,
    terminal: &Terminal,
) -> Result<ExitStatus> {
    let (pid, parent) = (child.id(), Some(std::process::id()));
    exits::set_running(&here.paths, name, &Running { pid, parent, started, session })?;
    // A stop that came up to now found no agent that it could ask, and its signal may have been too early for this one.
    if terminal.is_stopped() {
        process::terminate(pid)?;
        exits::set_asked(&here.paths, name, terminal.is_told_to_end())?;
    }
    child.wait().context("wait for the agent")
}

fn resumed(conversation: Option<Conversation>) -> bool {
    matches!(conversation, Some(Conversation::Resume(_)))
}

/// What the supervisor left word of, and how the agent's last run ended.
fn message(left: Option<String>, last: Option<LastRun>, role: Role) -> Option<String> {
    let last = last.and_then(|last| last.sentence(role == Role::Orchestrator));
    let parts: Vec<String> = [left, last].into_iter().flatten().collect();
    (!parts.is_empty()).then(|| parts.join("\n"))
}

/// Agents are often installed in their user's home.
fn path() -> String {
    let home = std::env::var("HOME").unwrap_or_default();
    let path = std::env::var("PATH").unwrap_or_else(|_| "/usr/local/bin:/usr/bin:/bin".into());
    format!("{home}/.local/bin:{path}")
}

fn last_screen(here: &Here, name: &LoopName, error: Option<&anyhow::Error>) -> String {
    let screen = match error {
        Some(error) => {
            // It is on the pane for whoever is attached, and in the record for everybody else.
            eprintln!("error: {error:#}");
            format!("error: {error:#}")
        }
        None => Tmux::new(here.paths.tmux_socket(name), name.as_str()).screen().unwrap_or_default(),
    };
    let from = screen.char_indices().rev().nth(SCREEN).map_or(0, |(at, _)| at);
    screen[from..].to_owned()
}
