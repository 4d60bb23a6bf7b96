//! `ccorch proxy run` and `wanted`: what `ccorch-proxy.service` executes.

use std::env;
use std::process::ExitCode;

use anyhow::Result;
use ccorch_core::proxy::{self, Places, Plan, Program};
use ccorch_core::rig::Backend;
use ccorch_io::command::Command;
use ccorch_io::durable;

use super::in_file;
use crate::context::Context;
use crate::error::{Kind, Problem};

/// Become the proxy's backend; the unit ccorch-proxy.service runs this
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: ccorch proxy run")]
pub struct Args {}

/// Exit 0 when the rig has a proxy to run, 1 when it has none; the unit's start condition
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: ccorch proxy wanted && echo yes")]
pub struct WantedArgs {}

/// Replaces this process by the backend.
pub fn run(context: &Context, _args: &Args) -> Result<ExitCode> {
    let loaded = context.rig()?;
    let paths = &context.host_paths;
    let places = Places {
        runtime: paths.proxy_run(),
        state: paths.proxy_state(),
        known_hosts: paths.known_hosts(),
        credentials: env::var_os("CREDENTIALS_DIRECTORY").map(Into::into),
    };
    let plan = proxy::plan(&loaded.rig.proxy, &places).map_err(|bad| in_file(&loaded, &bad))?;
    let Plan::Run(program) = plan else {
        println!("the rig has no proxy (`proxy.backend: none`): nothing to run");
        return Ok(ExitCode::SUCCESS);
    };
    if loaded.rig.proxy.backend == Backend::Ssh {
        named_user()?;
    }
    Err(start(&program)?)
}

/// A wrong rig file counts as wanted: then `run` fails and says why, where a skipped start would be silent.
pub fn wanted(context: &Context, _args: &WantedArgs) -> ExitCode {
    let none = context.rig().is_ok_and(|loaded| loaded.rig.proxy.is_none());
    if none { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn start(program: &Program) -> Result<anyhow::Error> {
    for folder in &program.folders {
        durable::create_dir(folder, 0o700)?;
    }
    if let Some((path, text)) = &program.file {
        durable::replace(path, text.as_bytes(), 0o600)?;
    }
    let command = Command::new(&program.argv[0]).args(&program.argv[1..]);
    eprintln!("proxy: {}", command.display());
    Ok(command.exec().into())
}

/// ssh ends at once where its user has no name, as a `DynamicUser=` has none on a machine without nss-systemd.
fn named_user() -> Result<()> {
    if Command::new("id").arg("-un").output()?.status.success() {
        return Ok(());
    }
    let problem = "the user this runs as has no name on this machine, and ssh does not run without one";
    let hint = "install libnss-systemd, or create a system user `ccorch-proxy`";
    Err(Problem::new(Kind::Unfit, problem).hint(hint).into())
}
