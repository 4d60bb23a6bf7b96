//! `ccorch hook`: what an agent's hooks call. It tells the supervisor and never fails, delays or speaks to the agent.

use std::io::Read;
use std::path::Path;
use std::process::ExitCode;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use anyhow::Result;
use ccorch_core::hook;
use ccorch_core::names::LoopName;
use ccorch_io::paths::HostPaths;
use ccorch_io::spool::{self, Full};
use ccorch_io::{clock, datagrams, quote};

use crate::context::Context;
use crate::remote::INSTALLED;

/// Where NixOS has the program; unlike its place in the store it outlives an upgrade.
const ON_NIXOS: &str = "/run/current-system/sw/bin/ccorch";
/// All of it takes no longer, whatever the agent, the socket and the disk do.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long a supervisor that is busy is waited for before the message is put aside.
const BUSY: Duration = Duration::from_secs(1);
/// A longer payload is none.
const LONGEST: u64 = 4 << 20;

/// Tell the supervisor what an agent's hook says on standard input
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The loop
    name: LoopName,
}

/// Runs the verb; the exit status is 0 whatever happens.
pub fn run(context: &Context, args: Args) -> Result<ExitCode> {
    let (done, over) = mpsc::channel();
    let paths = context.host_paths.clone();
    // What hangs is left behind with the thread.
    let worker = thread::Builder::new().spawn(move || {
        let _ = tell(&paths, &args.name);
        let _ = done.send(());
    });
    if worker.is_ok() {
        let _ = over.recv_timeout(PATIENCE);
    }
    Ok(ExitCode::SUCCESS)
}

fn tell(paths: &HostPaths, name: &LoopName) -> Result<()> {
    let mut payload = Vec::new();
    std::io::stdin().take(LONGEST).read_to_end(&mut payload)?;
    // What is no payload is told too, cut: the supervisor counts it.
    let line = hook::line(&payload, clock::now())
        .unwrap_or_else(|| String::from_utf8_lossy(&payload).chars().take(200).collect());
    let message = format!("{name}\n{line}");
    if datagrams::send(&paths.hook_socket(), message.as_bytes(), BUSY).is_err() {
        spool::leave(&paths.hook_spool(name), line.as_bytes(), Full::DropOldest)?;
    }
    Ok(())
}

/// What a loop's hooks call: this program, by a path that stays right when it is upgraded.
pub fn command_line(paths: &HostPaths, name: &LoopName) -> Option<String> {
    let lasting = [ON_NIXOS, INSTALLED].map(Path::new);
    let lasting = lasting.iter().find(|path| paths.root() == Path::new("/") && path.exists());
    // A trial with a root of its own has no other path than its own.
    let program = lasting.map(|path| path.to_path_buf()).or_else(|| std::env::current_exe().ok())?;
    Some(quote::argv(&[program.to_str()?, "hook", name.as_str()]))
}
