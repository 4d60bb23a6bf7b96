//! `ccorch proxy`: the rig's SOCKS proxy, as its unit and as a person sees it.

mod check;
mod run;

use std::net::SocketAddr;
use std::process::ExitCode;

use anyhow::Result;
use ccorch_core::proxy;
use clap::Subcommand;

use crate::context::{Context, LoadedRig};
use crate::error::{Kind, Problem};

/// Run the rig's SOCKS proxy, or prove that it answers
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: ccorch proxy check b1:22")]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    Check(check::Args),
    Run(run::Args),
    Wanted(run::WantedArgs),
}

/// Runs the verb.
pub fn run(context: &Context, args: &Args) -> Result<ExitCode> {
    match &args.what {
        What::Check(args) => check::run(context, args),
        What::Run(args) => run::run(context, args),
        What::Wanted(args) => Ok(run::wanted(context, args)),
    }
}

/// Where the proxy is: the address given on the command line, else the rig's.
pub fn address(context: &Context, given: Option<SocketAddr>) -> Result<SocketAddr> {
    if let Some(address) = given {
        return Ok(address);
    }
    let loaded = context.rig()?;
    if loaded.rig.proxy.is_none() {
        let problem = format!("{}: the rig has no proxy (`proxy.backend: none`)", loaded.file.display());
        return Err(Problem::new(Kind::Rig, problem).hint("name one with `--proxy ADDRESS:PORT`").into());
    }
    proxy::listen(&loaded.rig.proxy).map_err(|bad| in_file(&loaded, &bad))
}

/// A wrong value in the rig file.
fn in_file(loaded: &LoadedRig, bad: &dyn std::error::Error) -> anyhow::Error {
    Problem::new(Kind::Rig, format!("{}: {bad}", loaded.file.display())).into()
}
