//! `cargo xtask test`: every test of the project, on a machine that has nothing set up for it.

mod cargo;

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, ExitStatus};
use std::thread;

use anyhow::{Context as _, Result, anyhow, bail};
use clap::{Args, ValueEnum};

use crate::asleep;
use crate::bed::{self, Bed, Layout};
use crate::crash::{self, CrashArgs};
use crate::matrix::cell::Cell;
use crate::matrix::{self, Ground};
use crate::meddle;
use crate::nix;
use crate::rehearse::{self, RehearseArgs};
use crate::report::Report;
use crate::testbed::PROGRAMS;
use crate::trials;
use cargo::{cargo_test, programs};

/// Random trials of cutovers, and the seed of the first: the same each time, so that a failure comes again.
const TRIALS: u64 = 50;
const FIRST: u64 = 1;
/// Worlds at a time.
const WORLDS: usize = 3;

/// Run every test: units, snapshots, crashes, the real Incus and systemd of the test bed, the flake, every
/// fault at every step of a cutover, random trials of cutovers, and the rehearsal.
///
/// Needs root; installs what is missing and sets the test bed up by itself. Its parts run side by side, but for the flake's,
/// which follows the worlds.
#[derive(Debug, Args)]
pub struct TestArgs {
    /// Where beds and built images are kept [default: as `testbed` does]
    #[arg(long, env = "CCORCH_TESTBED_DIR")]
    dir: Option<PathBuf>,
    /// Only one of the parts
    #[arg(long)]
    part: Option<Part>,
    /// Leave the flake, the crash walks, the broken cutovers and the rehearsal out
    #[arg(long, conflicts_with = "part")]
    no_rehearsal: bool,
    /// Only tests whose name contains this (leaves the same out)
    #[arg(conflicts_with = "part")]
    filter: Option<String>,
}

/// What runs beside the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// The tests of every crate, some of them on the test bed
    Tests,
    /// Cutovers that are broken in worlds on this machine
    Worlds,
    /// The flake and its module, on machines of the test bed
    Flake,
    /// Whole machines of the test bed: crash walks, the rehearsal
    Walks,
}

/// What runs beside the tests, each row one after the other: no row is much longer than the tests.
const BESIDE: [&[&str]; 2] = [&["walks"], &["worlds", "flake"]];

/// Runs them all; exit status 1 when one failed.
pub fn run(args: &TestArgs) -> Result<ExitCode> {
    let layout = Layout::here(args.dir.as_deref())?;
    match args.part {
        Some(Part::Tests) => return tests(&layout),
        Some(Part::Worlds) => return worlds(),
        Some(Part::Flake) => return nix::run(&nix::NixArgs::all(args.dir.clone())),
        Some(Part::Walks) => return walks(args),
        None => {}
    }
    let mut report = Report::default();
    // The bed first: it installs what the plain tests need too.
    let bed = Bed::up(&layout, &mut report)?;
    report.step("clear", || Ok(((), bed.remove(|_| true)?)))?;
    report.step("sops", || bed::sops::ensure(&layout.shared))?;
    if args.no_rehearsal || args.filter.is_some() {
        cargo_test(&layout, &mut report, "cargo test", args.filter.as_slice())?;
        return Ok(ExitCode::SUCCESS);
    }
    // All of it at once, and the programs where no other build puts others in their place.
    cargo_test(&layout, &mut report, "build", &["--no-run"])?;
    let programs = report.step("programs", programs)?;
    let start = |part: &str, out: Option<&File>| -> Result<Child> {
        // Not by its path: a build may have put another program there.
        let mut command = Command::new("/proc/self/exe");
        command.args(["test", "--part", part]).env(PROGRAMS, &programs);
        command.args(args.dir.iter().flat_map(|dir| ["--dir".as_ref(), dir.as_os_str()]));
        if let Some(out) = out {
            command.stdout(out.try_clone()?).stderr(out.try_clone()?);
        }
        command.spawn().context("cannot run this program anew")
    };
    let beside = |part: &str| -> Result<(ExitStatus, String)> {
        let said = tempfile::Builder::new().prefix("ccorch-part").tempfile()?;
        let status = start(part, Some(said.as_file()))?.wait()?;
        Ok((status, fs::read_to_string(said.path())?))
    };
    let (mut failed, mut others) = (Vec::new(), Vec::new());
    thread::scope(|scope| -> Result<()> {
        let rows = BESIDE
            .map(|row| scope.spawn(|| row.iter().map(|part| (*part, beside(part))).collect::<Vec<_>>()));
        let tests = report.step("tests", || ended(&mut start("tests", None)?))?;
        failed.extend((!tests.success()).then_some("tests, at the top"));
        for row in rows {
            others.extend(row.join().map_err(|_| anyhow!("a part came to a sudden end"))?);
        }
        Ok(())
    })?;
    for (part, ended) in others {
        let (status, said) = ended?;
        println!("\n--- {part} ({status})\n{said}");
        failed.extend((!status.success()).then_some(part));
    }
    if failed.is_empty() { Ok(ExitCode::SUCCESS) } else { bail!("failed: {}; see there", failed.join(", ")) }
}

fn ended(child: &mut Child) -> Result<(ExitStatus, String)> {
    let status = child.wait()?;
    Ok((status, format!("this part ended ({status})")))
}

/// Tests of crates; the bed's machines of other names are not touched.
fn tests(layout: &Layout) -> Result<ExitCode> {
    let mut report = Report::default();
    Bed::up(layout, &mut report)?;
    cargo_test::<&str>(layout, &mut report, "cargo test", &[])?;
    Ok(ExitCode::SUCCESS)
}

/// What walks through whole machines of the bed, one after the other; each brings the bed up.
fn walks(args: &TestArgs) -> Result<ExitCode> {
    crash::run(&CrashArgs::of(args.dir.clone()))?;
    rehearse::run(&RehearseArgs::of(args.dir.clone()))
}

/// Cutovers that are broken in worlds on this machine.
fn worlds() -> Result<ExitCode> {
    let ground = Ground::prepare(&mut Report::default())?;
    let cells = matrix::on(&ground, &Cell::all(), WORLDS)?;
    let stories = asleep::sample(&ground, WORLDS)? + meddle::on(&ground, "", WORLDS)?;
    let trials = trials::on(&ground, TRIALS, FIRST, WORLDS)?;
    if cells + stories + trials > 0 {
        bail!("{cells} cells, {stories} stories and {trials} trials failed");
    }
    Ok(ExitCode::SUCCESS)
}
