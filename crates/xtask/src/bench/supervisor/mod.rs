//! `cargo xtask bench supervisor`: restart, memory, idleness and growth of loops, beside other supervisors.

mod figures;
mod set_up;

use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use super::{judge, rivals};
use crate::bed::{Bed, Instance, Layout};
use crate::report::Report;
use crate::run::Run;
use figures::Figures;

/// Restart, memory and idleness beside systemd alone, runit, s6, supervisord and pm2, on the same child in one container
#[derive(Debug, clap::Args)]
pub struct SupervisorArgs {
    /// How often each child is killed
    #[arg(long, default_value_t = 50)]
    kills: usize,
    /// How long the idle ones are watched, in seconds
    #[arg(long, default_value_t = 60)]
    idle: u64,
    /// How long each number of loops is watched, in seconds
    #[arg(long, default_value_t = 20)]
    watch: u64,
    /// The numbers of loops
    #[arg(long, value_delimiter = ',', default_value = "1,10,100,1000")]
    growth: Vec<usize>,
    /// Leave the container there, to look around
    #[arg(long)]
    keep: bool,
}

/// The container's name.
const NAME: &str = "bench";

/// Measures, prints, judges.
pub fn run(layout: &Layout, ccorch: &Path, args: &SupervisorArgs, report: &mut Report) -> Result<ExitCode> {
    let bed = Bed::up(layout, report)?;
    let place = tempfile::tempdir().context("no temporary folder")?;
    let (vm, host) = report.step("container", || {
        bed.remove(|left| left == NAME)?;
        launch(&bed, place.path()).map(|made| (made, NAME.to_owned()))
    })?;
    let result = measured(&vm, &host, ccorch, place.path(), args, report);
    if !args.keep {
        vm.delete()?;
    }
    let figures: Figures = serde_json::from_str(&result?).context("not a result of the measuring")?;
    println!("\n{}", figures.tables(args.idle));
    for (loops, cpu) in figures.idle_cpu() {
        println!("idle with {loops} loops: {:.3} ms CPU a second", cpu * 1e3);
    }
    Ok(judge(&figures.aims(args.idle)))
}

fn launch(bed: &Bed, place: &Path) -> Result<(Instance, Value)> {
    let key = place.join("id");
    Run::new(&["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key).run()?;
    let vm = bed.launch(NAME, None)?;
    vm.push_file(&fs::read(key.with_extension("pub"))?, "/root/.ssh/authorized_keys", "0600", "root:root")?;
    let address = vm.reachable()?;
    let host = json!({ "ssh": format!("root@{address}"), "host_key": vm.host_key()?, "identity": "id" });
    Ok((vm, host))
}

fn measured(
    vm: &Instance,
    host: &Value,
    ccorch: &Path,
    place: &Path,
    args: &SupervisorArgs,
    report: &mut Report,
) -> Result<String> {
    report.step("rivals", || {
        let said = rivals::install(vm)?;
        set_up::lay_out(vm)?;
        Ok(((), said))
    })?;
    report.step("ccorch", || {
        let names = set_up::CHILDREN.map(str::to_owned);
        fs::write(place.join("ccorch.yaml"), set_up::rig(&names, host).to_string())?;
        operator(ccorch, place, &["host", "install", "vm"])?;
        vm.script("mkdir -p /srv/w; chown loops: /srv/w")?;
        operator(ccorch, place, &["lease", "init", "--holder", "vm", "--host", "vm"])?;
        operator(ccorch, place, &["resume", "--host", "vm"])?;
        // The measuring starts it when it listens.
        vm.script("systemctl stop ccorch-supervisor.service ccorch-loops.slice")?;
        Ok(((), "installed; holds the lease".to_owned()))
    })?;
    report.step("measure", || Ok((set_up::measure(vm, args, host)?, "all of it".to_owned())))
}

/// Runs ccorch as the operator of this rig, who must succeed.
fn operator(ccorch: &Path, place: &Path, args: &[&str]) -> Result<()> {
    let mut command = Command::new(ccorch);
    command.args(args).current_dir(place).env_clear().env("HOME", place).stdin(Stdio::null());
    command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
    let output = command.output().context("cannot run ccorch")?;
    if !output.status.success() {
        bail!("`ccorch {}` failed: {}", args.join(" "), crate::run::tail(&output));
    }
    Ok(())
}
