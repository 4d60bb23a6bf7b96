//! `ccorch lease`: which host may run the loops.

use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use ccorch_core::lease::{Lease, Standing, Turn};
use ccorch_core::names::HostName;
use ccorch_io::alive;
use ccorch_io::lease_ref::Seen;
use clap::Subcommand;

use super::plumbing::ByDriver;
use crate::context::Context;
use crate::error::{Kind, Problem};
use crate::here::lease::{self, Tick, change, term};
use crate::here::{Ground, Here, driver, events, handover, journals, standby, start};
use crate::{person, remote};

/// While the remote is away at boot, it is asked again this often.
const ASK_AGAIN: Duration = Duration::from_secs(2);
/// One run of the unit waits this long for the remote; the timer starts the next.
const ONE_RUN: Duration = Duration::from_secs(100);

/// A host that is called dead has so long to answer.
const ANSWER: Duration = Duration::from_secs(5);

/// So many of the newest changes are shown.
const CHAIN: usize = 8;

/// See or create the lease: which host may run the loops
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  ccorch lease init --holder pi --host vm\n  ccorch lease show --host vm")]
pub struct Args {
    #[command(subcommand)]
    what: What,
    /// Do it on this host of the rig, over ssh [default: the machine this runs on]
    #[arg(long, global = true, value_name = "HOST")]
    host: Option<HostName>,
}

impl Args {
    /// `lease check`.
    pub fn check() -> Self {
        Self { what: What::Check, host: None }
    }
}

#[derive(Debug, Subcommand)]
enum What {
    /// Who holds it, here and at the arbiter
    #[command(after_help = "Example: ccorch lease show --host vm")]
    Show {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Give it to the host that runs the loops today; only once in a rig's life
    #[command(after_help = "Example: ccorch lease init --holder pi --host vm")]
    Init {
        /// The host that runs the loops today
        #[arg(long, value_name = "HOST")]
        holder: HostName,
        /// Say what would be created, and create nothing
        #[arg(long)]
        dry_run: bool,
        /// Print the lease as JSON
        #[arg(long)]
        json: bool,
    },
    /// Give it up: this host's loops stop, then nobody holds it
    #[command(
        after_help = "Example: ccorch lease release --host vm\n\nTo take it again: ccorch lease acquire --host vm"
    )]
    Release {
        /// Say what would be done, and do nothing
        #[arg(long)]
        dry_run: bool,
        /// Print the lease as JSON
        #[arg(long)]
        json: bool,
    },
    /// Take what nobody holds, or what is this host's own but for a lost file
    ///
    /// Asks for this host's name: on a copied disk or instance the answer is no. Another machine under the same name stops
    /// within one heartbeat.
    #[command(after_help = "Example: ccorch lease acquire --host vm")]
    Acquire {
        /// In place of typing the host's name
        #[arg(long, value_name = "NAME")]
        yes_host: Option<HostName>,
        /// Say what would be done, and do nothing
        #[arg(long)]
        dry_run: bool,
        /// Print the lease as JSON
        #[arg(long)]
        json: bool,
    },
    /// A takeover's change (people use `ccorch takeover`)
    #[command(hide = true)]
    Take {
        #[arg(long)]
        source: HostName,
        /// Where the source's sshd would answer; it must not
        #[arg(long, value_name = "ADDRESS:PORT")]
        silent: Option<String>,
    },
    /// This host stops being a standby (what ccorch-lease.service has done outside of its sandbox)
    #[command(hide = true)]
    LeaveStandby,
    /// Takes a cutover in hand; its journal comes on standard input
    #[command(hide = true)]
    Claim {
        #[arg(long)]
        journal: String,
        #[arg(long)]
        by: String,
        #[arg(long)]
        held: Option<u64>,
    },
    /// Lets go of a cutover that is over
    #[command(hide = true)]
    Close {
        #[command(flatten)]
        by: ByDriver,
    },
    /// Proves that the arbiter lets a lease be created, moved and deleted, on a probe beside it
    #[command(hide = true)]
    Probe,
    /// Waits for the end of the term (what ccorch-term.service runs)
    #[command(hide = true)]
    Guard,
    /// May a loop start here now? (what every loop's unit asks)
    #[command(hide = true)]
    Check,
    /// One heartbeat (what ccorch-lease.service runs)
    #[command(hide = true)]
    Tick,
    /// A cutover's change
    #[command(hide = true)]
    Write {
        #[arg(long)]
        about: HostName,
        #[arg(long)]
        active: bool,
        /// By scripts and units of its owner's: where that is this host, its ccorch stays down
        #[arg(long, requires = "active")]
        for_its_owner: bool,
        #[command(flatten)]
        by: ByDriver,
    },
}

/// Runs the verb.
pub fn run(context: &Context, args: &Args) -> Result<ExitCode> {
    if let Some(host) = &args.host {
        return remote::again(context, host);
    }
    if let What::Check = &args.what {
        // Asked at every start of a loop: what decides needs no rig, and reading one takes longer than all the rest.
        let ground = Ground::load(context)?;
        lease::check_at(&ground.paths, &ground.name)?;
        return Ok(ExitCode::SUCCESS);
    }
    let here = Here::load(context)?;
    match &args.what {
        What::Check => {}
        What::Tick => tick(&here)?,
        What::Show { json } => show(&here, *json)?,
        What::Init { holder, dry_run: true, .. } => {
            println!("would create {}: `{holder}` is active at epoch 1", place(&here));
        }
        What::Init { holder, dry_run: false, json } => {
            here.create_folders()?;
            let lease = change::init(&here, holder)?;
            println!("{}", if *json { serde_json::to_string_pretty(&lease)? } else { sentence(&lease) });
        }
        What::Write { about, active, for_its_owner, by } => {
            here.create_folders()?;
            let to = match (active, for_its_owner) {
                (false, _) => change::To::Standby,
                (true, false) => change::To::Active,
                (true, true) => change::To::ActiveForItsOwner,
            };
            let lease = change::write(&here, about, to, &by.driver())?;
            println!("{}", serde_json::to_string(&lease)?);
        }
        What::Claim { journal, by, held } => {
            here.create_folders()?;
            let text =
                std::io::read_to_string(std::io::stdin()).context("read the journal from standard input")?;
            journals::first(&here, journal, &text)?;
            let owner = change::claim(&here, journal, by, held.map(Turn))?;
            println!("{}", serde_json::to_string(&owner)?);
        }
        What::Close { by } => change::close(&here, &by.driver())?,
        What::Probe => change::probe(&here)?,
        What::Guard => term::guard(&here)?,
        What::Release { dry_run: true, .. } => {
            println!("would stop every loop on {} and make it standby", here.name);
        }
        What::Release { dry_run: false, json } => {
            here.create_folders()?;
            told(&change::release(&here)?, *json)?;
        }
        What::Acquire { dry_run: true, .. } => {
            one_way_to_run(&here)?;
            println!("would make {} the holder at {}", here.name, place(&here));
        }
        What::Acquire { yes_host, dry_run: false, json } => {
            one_way_to_run(&here)?;
            let question =
                format!("{} becomes the holder of the lease; no copy of it may be running", here.name);
            person::confirm(&question, &here.name, yes_host.as_ref())?;
            here.create_folders()?;
            let lease = change::acquire(&here)?;
            start::tell(&here, &format!("The lease was given to {} by a person.", here.name))?;
            start::rig(&here)?;
            told(&lease, *json)?;
        }
        What::LeaveStandby => {
            standby::leave(&here)?;
            standby::catch_up(&here);
        }
        What::Take { source, silent } => {
            here.create_folders()?;
            one_way_to_run(&here)?;
            if let Some(place) = silent {
                must_be_silent(&here, source, place)?;
            }
            let lease = change::take_over(&here, source)?;
            standby::leave(&here)?;
            standby::catch_up(&here);
            let news =
                format!("{source} is gone: {} took over. What it had not pushed is not here.", here.name);
            start::tell(&here, &news)?;
            start::rig(&here)?;
            println!("{}", serde_json::to_string(&lease)?);
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// A host whose rig its owner's scripts may start runs it twice as soon as ccorch starts it too.
fn one_way_to_run(here: &Here) -> Result<()> {
    let its_owner_s = here.rig.hosts.get(&here.name).is_some_and(|host| host.runs.is_some());
    if !its_owner_s || here.paths.state().join("fenced").exists() {
        return Ok(());
    }
    let name = &here.name;
    let message = format!("{name} runs the rig by scripts and units of its owner's, and they are not fenced");
    Err(Problem::new(Kind::Rig, message)
        .hint(format!(
            "`ccorch adopt {name}` has ccorch run it there; only then can its ccorch have the lease"
        ))
        .into())
}

/// The second look at a host that a person calls dead: from here, where its network may be another than the operator's.
fn must_be_silent(here: &Here, source: &HostName, place: &str) -> Result<()> {
    let (host, port) = place.rsplit_once(':').context("`--silent` is ADDRESS:PORT")?;
    let port = port.parse().context("the port of `--silent`")?;
    let Some(how) = alive::answers(host.trim_matches(['[', ']']), port, ANSWER) else { return Ok(()) };
    let message = format!("{source} is not dead: seen from {}, {host} {how} at port {port}", here.name);
    Err(Problem::new(Kind::Conflict, message)
        .hint("cut over from it, or make sure that it is switched off")
        .into())
}

fn told(lease: &Lease, json: bool) -> Result<()> {
    println!("{}", if json { serde_json::to_string_pretty(lease)? } else { sentence(lease) });
    Ok(())
}

fn tick(here: &Here) -> Result<()> {
    here.create_folders()?;
    // A disk or a systemd that fails must not keep the lease from being looked at.
    if let Err(error) = handover::heed(here) {
        eprintln!("warning: whether a cutover's driver died here is not known: {error:#}");
    }
    let until = Instant::now() + ONE_RUN;
    let mut said = None;
    loop {
        let tick = lease::tick(here)?;
        if said.as_ref() != Some(&tick) {
            match &tick {
                Tick::Held(epoch) => eprintln!("this boot holds the lease at epoch {epoch}"),
                Tick::Standby(why) => eprintln!("standby: {why}"),
                Tick::Waiting(why) => {
                    events::record(here, lease::WAITING, None, format!("no loop starts yet: {why}"))
                }
            }
        }
        if !matches!(tick, Tick::Waiting(_)) || Instant::now() >= until {
            return Ok(());
        }
        said = Some(tick);
        thread::sleep(ASK_AGAIN);
    }
}

fn show(here: &Here, json: bool) -> Result<()> {
    let (file, seen, check) = (lease::file(here)?, lease::look(here)?, lease::check(here));
    let (arbiter, note) = match &seen {
        Some(Seen::Holds(_, lease)) => (Some(lease), None),
        Some(Seen::Away(why)) => (None, Some(format!("away: {why}"))),
        Some(Seen::Absent) => (None, Some("the ref does not exist".into())),
        None => (None, Some("not configured: the hosts' own files decide".into())),
    };
    if json {
        let value = serde_json::json!({
            "host": here.name, "file": file.as_ref().map(|f| &f.lease), "arbiter": arbiter,
            "arbiter_note": note, "may_start": check.is_ok(), "driver": driver::seen(here)?,
        });
        println!("{}", serde_json::to_string_pretty(&value)?);
        return Ok(());
    }
    println!("arbiter: {}", arbiter.map(|lease| sentence(lease)).or(note).unwrap_or_default());
    if let Some(owner) = arbiter.and_then(|lease| lease.cutover.as_ref()) {
        let state = if owner.open { "under way" } else { "over" };
        println!("cutover: {} is {state}, turn {}, driven by {}", owner.journal, owner.turn, owner.by);
    }
    println!("{}: {}", here.name, file.map_or("never held it".into(), |f| sentence(&f.lease)));
    for change in lease::arbiter(here).map(|a| a.chain(CHAIN)).transpose()?.unwrap_or_default() {
        println!("  {change}");
    }
    match check {
        Ok(_) => println!("loops may start here"),
        Err(why) => println!("{why}"),
    }
    Ok(())
}

/// Where the lease comes into being.
fn place(here: &Here) -> String {
    match lease::arbiter(here) {
        Some(arbiter) => format!("{} in {}", arbiter.name, arbiter.remote),
        None => here.paths.lease().display().to_string(),
    }
}

fn sentence(lease: &Lease) -> String {
    let state = if lease.state == Standing::Active { "active" } else { "standby" };
    format!("`{}` is {state} at epoch {}, since {}", lease.holder, lease.epoch, lease.at)
}
