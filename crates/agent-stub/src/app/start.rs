//! Puts the agent together from its arguments and files.

use std::collections::VecDeque;
use std::env;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::{Instant, SystemTime};

use anyhow::{Context, Result};
use rustix::process::{Resource, Rlimit, setrlimit};

use super::{App, Held, Then};
use crate::args::Args;
use crate::config::Config;
use crate::draft::Draft;
use crate::events;
use crate::hooks::Hooks;
use crate::input::Parser;
use crate::memory::Memory;
use crate::mode::Mode;
use crate::paths;
use crate::schedule::Schedule;
use crate::screen::Screen;
use crate::session;
use crate::terminal::Terminal;
use crate::transcript::Transcript;
use crate::work::Work;
use crate::worker::{Job, Worker};

impl App {
    pub(super) fn start(args: Args) -> Result<App> {
        forbid_core_files()?;
        let cwd = env::current_dir().context("cannot read the working directory")?;
        let folder = paths::transcripts(&paths::config_dir()?, &cwd);
        let session = session::choose(&args, &folder)?;
        let hooks = Hooks::new(args.settings.as_deref(), &session.id, &session.transcript, &cwd)?;
        let hooks = Arc::new(hooks);
        let transcript = Arc::new(Transcript::new(session.transcript, &session.id));
        let memory = Memory::replay(&transcript.read()?);
        let config_file = paths::stub_config()?;
        let config = Config::read(&config_file)?;

        let (sender, events) = sync_channel(64);
        events::watch_signals(sender.clone())?;
        let terminal = Terminal::open()?;
        events::read_input(sender.clone(), terminal.is_some());
        let (jobs, to_do) = sync_channel(1);
        let worker = Worker {
            hooks: hooks.clone(),
            transcript: transcript.clone(),
            work: Work::new(&cwd, transcript.clone(), memory),
            events: sender,
        };
        thread::spawn(move || worker.run(to_do));

        let waits = config.needs_prompt && args.prompt.is_none();
        let label = config.label(args.name.as_deref(), &cwd);
        Ok(App {
            is_clone: cwd.ancestors().any(|folder| folder.join(".git").exists()),
            cwd,
            config_file,
            config,
            transcript,
            hooks,
            terminal,
            screen: Screen::default(),
            status: format!("{label} · session {}", session.id),
            said: Vec::new(),
            working_since: Instant::now(),
            spin: 0,
            parser: Parser::default(),
            draft: Draft::default(),
            shell: false,
            pasted_at: None,
            interrupts: 0,
            input_ended: false,
            events,
            jobs,
            queue: VecDeque::from([Job::Start(session.source.name())]),
            worker_is_busy: false,
            schedule: Schedule::new(Instant::now()),
            mode: if waits { Mode::Waiting } else { Mode::Working },
            held: Held::No,
            then: Then::GoOn,
            logged_out_at: SystemTime::UNIX_EPOCH,
            args,
        })
    }
}

/// Crashes are asked for here, and nobody will read their cores.
fn forbid_core_files() -> Result<()> {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    setrlimit(Resource::Core, none).context("cannot forbid core files")
}
