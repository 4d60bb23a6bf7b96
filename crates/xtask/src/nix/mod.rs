//! `cargo xtask nix`: what of the flake and the NixOS module can be checked without a binary cache, and with nixpkgs
//! where it is at hand. What was not run is said, in the summary too.

mod boot;
mod chroot;
mod expression;
mod files;
mod lock;
mod rigs;
mod scripts;
mod show;
mod tool;
mod units;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Args;

use crate::bed::{Bed, Layout};
use crate::report::Report;
use crate::testbed;
use files::Tree;
use tool::{Inputs, Nix};

/// Check the flake, the NixOS module and the hosts, with Nix from Debian where the machine has none.
///
/// Without a Nix of the machine's own it needs root and mmdebstrap, once, for a folder of about 230 MB that is kept.
/// Example: NIXPKGS=~/nixpkgs cargo xtask nix
#[derive(Debug, Args)]
pub struct NixArgs {
    /// A checkout of nixpkgs: the module is evaluated as part of a whole NixOS
    #[arg(long, env = "NIXPKGS", value_name = "FOLDER")]
    nixpkgs: Option<PathBuf>,
    /// The `lib` folder of nixpkgs alone: the module is evaluated against stand-ins for the options
    #[arg(long, env = "NIXPKGS_LIB", value_name = "FOLDER")]
    nixpkgs_lib: Option<PathBuf>,
    /// A checkout of sops-nix, to evaluate with it
    #[arg(long, env = "SOPS_NIX", value_name = "FOLDER")]
    sops_nix: Option<PathBuf>,
    /// Install the missing ones of deadnix and nixfmt with cargo, in the cache
    #[arg(long)]
    install_tools: bool,
    /// Boot the machines of the flake's tests (or of one) in the test bed, and run the tests' scripts on them
    #[arg(long, value_name = "TEST")]
    boot: Option<Option<String>>,
    /// Where built things are kept [default: as `testbed` does]
    #[arg(long, env = "CCORCH_TESTBED_DIR")]
    dir: Option<PathBuf>,
}

impl NixArgs {
    /// Everything that runs without being given a tree; those that the environment names are taken.
    pub fn all(dir: Option<PathBuf>) -> Self {
        let tree = |name: &str| std::env::var_os(name).map(PathBuf::from);
        Self {
            nixpkgs: tree("NIXPKGS"),
            nixpkgs_lib: tree("NIXPKGS_LIB"),
            sops_nix: tree("SOPS_NIX"),
            install_tools: true,
            boot: Some(None),
            dir,
        }
    }
}

/// How a check came out, when it did not fail.
pub(crate) enum Outcome {
    /// It holds; what was looked at.
    Passed(String),
    /// It was not run, and why.
    NotRun(String),
}

/// Runs all checks; one that fails does not keep the others from running.
pub fn run(args: &NixArgs) -> Result<ExitCode> {
    let layout = Layout::here(args.dir.as_deref())?;
    let cache = layout.shared.join("nix");
    let tree = Tree::staged(&layout.checkout)?;
    let inputs = Inputs {
        nixpkgs: absolute(args.nixpkgs.as_ref())?,
        nixpkgs_lib: absolute(args.nixpkgs_lib.as_ref())?,
        sops_nix: absolute(args.sops_nix.as_ref())?,
    };
    let nix = Nix::find(&cache, &tree, inputs)?;
    println!("{}", nix.about()?);
    let mut all = Summary::default();
    all.check("parse", || files::parse(&nix, &tree));
    all.check("text", || files::text(&tree));
    all.check("nixfmt", || files::nixfmt(&cache, &tree, args.install_tools));
    all.check("deadnix", || files::deadnix(&cache, &tree, args.install_tools));
    all.check("flake.lock", || lock::check(&nix, &tree));
    all.check("outputs", || expression::cases(&nix, "nixos/tests/flake.nix", &[]));
    all.check("flake show", || show::flake(&nix));
    all.check("wrong input", || show::refusals(&nix));
    all.check("lib", || expression::cases(&nix, "nixos/tests/lib.nix", &[]));
    all.check("drop-ins", || rigs::drop_ins(&nix, &tree));
    all.check("host rig", || rigs::host_rig(&nix, &tree));
    all.check("host rigs", || rigs::host_rigs(&nix));
    all.check("host modules", || rigs::machines(&nix, &tree));
    all.check("units", || units::plain(&nix, &tree));
    all.check("test scripts", || scripts::check(&nix));
    all.check("secrets script", || scripts::look(&nix));
    all.check("test machines", || expression::cases(&nix, "nixos/tests/nodes.nix", &[]));
    all.check("module (alone)", || units::module_alone(&nix));
    all.check("module (lib)", || units::module_with_lib(&nix));
    all.check("module", || units::module_with_nixpkgs(&nix));
    all.check("manual", || show::manual(&nix));
    all.check("hosts", || rigs::hosts(&nix));
    if let Some(only) = &args.boot {
        boot(&nix, &layout, only.as_deref(), &mut all)?;
    } else {
        all.not_run("boots", "`--boot` boots machines in the test bed");
    }
    all.not_run("builds, VM tests", "need a NixOS builder: `nix flake check -L`");
    Ok(all.print())
}

/// The tests of whole machines, as far as containers of the test bed bear them.
fn boot(nix: &Nix, layout: &Layout, only: Option<&str>, all: &mut Summary) -> Result<()> {
    let mut report = Report::default();
    let bed = Bed::up(layout, &mut report)?;
    let programs = boot::Programs {
        ccorch: report.step("ccorch", || testbed::build("ccorch"))?,
        agent: report.step("agent", || testbed::build("agent-stub"))?,
    };
    for check in boot::CHECKS.into_iter().filter(|check| only.is_none_or(|only| only == *check)) {
        all.check(&format!("boot: {check}"), || boot::run(nix, &bed, &programs, check));
    }
    Ok(())
}

fn absolute(path: Option<&PathBuf>) -> Result<Option<PathBuf>> {
    path.filter(|path| !path.as_os_str().is_empty())
        .map(|path| path.canonicalize().with_context(|| format!("no folder {}", path.display())))
        .transpose()
}

#[derive(Default)]
struct Summary {
    passed: usize,
    failed: Vec<String>,
    not_run: Vec<String>,
}

impl Summary {
    fn check(&mut self, name: &str, act: impl FnOnce() -> Result<Outcome>) {
        let start = std::time::Instant::now();
        match act() {
            Ok(Outcome::Passed(said)) => {
                self.passed += 1;
                println!("{name:<16} {said:<70} {:>6.2} s", start.elapsed().as_secs_f64());
            }
            Ok(Outcome::NotRun(why)) => self.not_run(name, &why),
            Err(error) => {
                self.failed.push(name.to_owned());
                println!("{name:<16} FAILED: {error:#}");
            }
        }
    }

    fn not_run(&mut self, name: &str, why: &str) {
        self.not_run.push(name.to_owned());
        println!("{name:<16} not run: {why}");
    }

    fn print(&self) -> ExitCode {
        let list = |names: &[String]| {
            if names.is_empty() { String::new() } else { format!(" ({})", names.join("; ")) }
        };
        println!(
            "\nnix: {} passed, {} failed{}, {} not run{}",
            self.passed,
            self.failed.len(),
            list(&self.failed),
            self.not_run.len(),
            list(&self.not_run)
        );
        if self.failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}
