//! `ccorch proxy check`: a real SOCKS5 dialogue with the proxy.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use ccorch_core::seconds::Seconds;
use ccorch_core::target::Target;
use ccorch_io::process;
use ccorch_io::socks::{self, First, SocksError};
use serde::Serialize;

use super::{address, in_file};
use crate::context::Context;
use crate::error::{Kind, Problem};

/// After a yes, how long a target may take for its first word before it counts as silent.
const FIRST_WORD: Duration = Duration::from_secs(2);
/// Between two tries of `--wait`.
const PAUSE: Duration = Duration::from_millis(100);
/// How much of a target's first line is shown, in characters.
const SAID: usize = 80;

/// Prove with a real SOCKS5 dialogue that the proxy answers and reaches a target
///
/// Exit status: 0 it does, 4 nothing listens at the proxy's address, 7 what listens there is no SOCKS5 proxy that lets
/// us in, 1 the proxy works and the target was refused, 10 not within the time.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: ccorch proxy check b1:22 --banner --timeout 5s")]
pub struct Args {
    /// What to reach through it [default: the rig's `proxy.check`; without that only the proxy is greeted]
    #[arg(value_name = "HOST:PORT")]
    target: Option<Target>,
    /// Only greet the proxy, reach no target
    #[arg(long, conflicts_with = "target")]
    listening: bool,
    /// Demand that the target speaks first, as sshd does: some proxies say yes before they have tried
    #[arg(long, conflicts_with = "listening")]
    banner: bool,
    /// Try again until it answers or the time is over
    #[arg(long)]
    wait: bool,
    /// With --wait, give up as soon as this process is gone
    #[arg(long, value_name = "PID", requires = "wait")]
    while_pid: Option<u32>,
    /// The longest it may take
    #[arg(long, default_value = "10s", value_name = "DURATION")]
    timeout: Seconds,
    /// The proxy's address [default: the rig's `proxy.listen`]
    #[arg(long, value_name = "ADDRESS:PORT")]
    proxy: Option<SocketAddr>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// What is printed with `--json`.
#[derive(Debug, Serialize)]
struct Report {
    ok: bool,
    proxy: SocketAddr,
    target: Option<String>,
    #[serde(flatten)]
    outcome: Outcome,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Outcome {
    Answer {
        /// `greeted`, `spoke` or `silent`.
        answer: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        said: Option<String>,
        /// Until the answer, in milliseconds.
        latency_ms: f64,
    },
    Failure {
        /// `listen`, `handshake`, `target` or `deadline`.
        failed_at: &'static str,
        error: String,
    },
}

/// Runs the verb.
pub fn run(context: &Context, args: &Args) -> Result<ExitCode> {
    let proxy = address(context, args.proxy)?;
    let target = target(context, args)?;
    let until = Instant::now() + args.timeout.duration();
    let result = loop {
        let result = attempt(proxy, target.as_ref(), args.banner, until);
        let Err(error) = &result else { break result };
        if !args.wait || !worth_another(error, args.while_pid) || Instant::now() + PAUSE >= until {
            break result;
        }
        thread::sleep(PAUSE);
    };
    let shown = target.as_ref().map(Target::to_string);
    match result {
        Ok(answer) => {
            let text = sentence(proxy, shown.as_deref(), &answer);
            print(args.json, &Report { ok: true, proxy, target: shown, outcome: answer }, Some(&text))?;
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => {
            let outcome = Outcome::Failure { failed_at: stage(&error), error: error.to_string() };
            print(args.json, &Report { ok: false, proxy, target: shown, outcome }, None)?;
            Err(error.into())
        }
    }
}

fn target(context: &Context, args: &Args) -> Result<Option<Target>> {
    if args.target.is_some() || args.listening {
        return Ok(args.target.clone());
    }
    // With `--proxy` a rig file may be absent, but then something has to be said about what to reach.
    let loaded = context.rig()?;
    let check = loaded.rig.proxy.check.as_deref().map(str::parse).transpose();
    let target = check.map_err(|bad| in_file(&loaded, &bad))?;
    if target.is_none() && args.banner {
        let problem = "`--banner` needs a target: none was given, and the rig has no `proxy.check`";
        return Err(Problem::new(Kind::Rig, problem).hint("name one: `ccorch proxy check HOST:PORT`").into());
    }
    Ok(target)
}

fn attempt(
    proxy: SocketAddr,
    target: Option<&Target>,
    banner: bool,
    until: Instant,
) -> Result<Outcome, SocksError> {
    let start = Instant::now();
    let left = || until.saturating_duration_since(Instant::now());
    let Some(target) = target else {
        socks::greet(proxy, left())?;
        return Ok(answer("greeted", None, start));
    };
    let stream = socks::connect(proxy, target, left())?;
    let yes = answer("silent", None, start);
    let patience = if banner { left() } else { left().min(FIRST_WORD) };
    match socks::first(proxy, target, &stream, patience)? {
        First::Spoke(bytes) => Ok(answer("spoke", Some(first_line(&bytes)), start)),
        First::Silent if banner => {
            Err(SocksError::Deadline { proxy, awaited: "first word of the target", after: start.elapsed() })
        }
        First::Silent => Ok(yes),
    }
}

fn answer(answer: &'static str, said: Option<String>, start: Instant) -> Outcome {
    let latency_ms = (start.elapsed().as_secs_f64() * 1e5).round() / 100.0;
    Outcome::Answer { answer, said, latency_ms }
}

/// The first line in printable characters: what comes from a network does not command a terminal.
fn first_line(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let line = text.lines().next().unwrap_or_default();
    line.chars().take(SAID).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// A login that is demanded now will be demanded in a second, and a backend that ended will not answer. `/proc` would not
/// tell: a unit with `PrivateUsers=` and `ProtectProc=invisible` hides its processes from one another (seen).
fn worth_another(error: &SocksError, backend: Option<u32>) -> bool {
    let alive = backend.is_none_or(|pid| !matches!(process::watch(pid), Ok(None)));
    alive && !matches!(error, SocksError::Login { .. })
}

fn stage(error: &SocksError) -> &'static str {
    match error {
        SocksError::NotListening { .. } => "listen",
        SocksError::Handshake { .. } | SocksError::Login { .. } => "handshake",
        SocksError::Target { .. } | SocksError::TargetClosed { .. } => "target",
        SocksError::Deadline { .. } => "deadline",
    }
}

fn sentence(proxy: SocketAddr, target: Option<&str>, outcome: &Outcome) -> String {
    let Outcome::Answer { said, latency_ms, .. } = outcome else { return String::new() };
    match (target, said) {
        (None, _) => format!("proxy {proxy} answers ({latency_ms} ms)"),
        (Some(target), Some(said)) => {
            format!("proxy {proxy} reaches {target} ({latency_ms} ms), which says `{said}`")
        }
        (Some(target), None) => format!(
            "proxy {proxy} says yes to {target} ({latency_ms} ms); the target itself has said nothing yet"
        ),
    }
}

fn print(json: bool, report: &Report, text: Option<&str>) -> Result<()> {
    if json {
        println!("{}", serde_json::to_string(report)?);
    } else if let Some(text) = text {
        println!("{text}");
    }
    Ok(())
}
