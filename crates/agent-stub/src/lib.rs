//! A stand-in for an interactive coding agent (Claude Code), for the test bed.
//!
//! It takes the same command line as far as a rig uses it, keeps its memory in
//! a transcript, runs hooks, and does numbered work in the git clone it stands
//! in. The next number comes from the transcript alone, the last one is in git:
//! the two agree only while session and workspace stay together. So a number
//! that is missing or comes twice proves that something was lost on the way.
//!
//! Decisions (`args`, `input`, `draft`, `screen::frame`, `command`, `mode`,
//! `memory`, `recovery`, `numbering`) are apart from effects (the rest).

mod app;
mod args;
mod auth;
mod clone;
mod command;
mod config;
mod draft;
mod events;
mod git;
mod hooks;
mod input;
mod memory;
mod mode;
pub mod numbering;
mod paths;
mod process;
mod recovery;
mod schedule;
mod screen;
mod session;
mod terminal;
mod transcript;
mod trust;
mod work;
mod worker;

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;

/// Runs the program with the arguments of the process and returns its exit code.
pub fn run() -> ExitCode {
    let args = args::Args::parse();
    match dispatch(args) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(1)
        }
    }
}

fn dispatch(args: args::Args) -> Result<u8> {
    match &args.verb {
        Some(args::Verb::Auth { action: args::AuthAction::Status }) => auth::status(),
        Some(args::Verb::VerifyNumbering(verify)) => {
            let report = numbering::read(&verify.git, &verify.git_ref, &verify.label)?;
            println!("{}", serde_json::to_string(&report)?);
            Ok(if report.is_whole() { 0 } else { 1 })
        }
        None => app::run(args),
    }
}
