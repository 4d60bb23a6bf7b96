//! `ccorch watchdog explain`: the watchdog's decision on saved evidence.

use std::fs;
use std::io::{ErrorKind, Write, stdout};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;
use ccorch_core::watchdog::{Evidence, Kind as State, Verdict, decide};
use ccorch_io::clock;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use crate::error::{Kind, Problem};

/// The watchdog's decisions
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: ccorch watchdog explain --agent claude --screen screen.txt")]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    Explain(Explain),
}

/// Decide on saved evidence what state an agent is in, and say why
///
/// The same decision as the supervisor's: hooks, transcript and rate limit events first, the live part of the screen
/// last. A reset time on the screen means the first such moment after `--seen-at`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  ccorch watchdog explain --agent claude --screen screen.txt --now 2026-06-01T10:00:00Z --tz Europe/Berlin --json
prints one object: verdict (working, idle, limited, throttled, login-needed, stalled, dialog or unknown), until (the
moment of the reset, or null), account_wide, reason, evidence (the line that decided).")]
struct Explain {
    /// The program the loop runs
    #[arg(long, value_enum)]
    agent: Agent,

    /// The screen as the terminal shows it, for example by `tmux capture-pane -p`
    #[arg(long, value_name = "FILE")]
    screen: PathBuf,

    /// Hook payloads, one JSON object a line, with their time as `at` where it is known
    #[arg(long, value_name = "FILE")]
    hooks: Option<PathBuf>,

    /// The transcript or its end, one JSON object a line
    #[arg(long, value_name = "FILE")]
    transcript: Option<PathBuf>,

    /// The time of the decision, such as 2026-06-01T10:00:00Z or seconds since 1970 [default: the clock]
    #[arg(long, value_name = "TIME", value_parser = time)]
    now: Option<Timestamp>,

    /// When the screen was first seen as it is [default: the same as --now]
    #[arg(long, value_name = "TIME", value_parser = time)]
    seen_at: Option<Timestamp>,

    /// The agent's time zone, for reset times without one [default: this machine's]
    #[arg(long, value_name = "ZONE", value_parser = zone)]
    tz: Option<TimeZone>,

    /// How long an open turn may show no change
    #[arg(long, value_name = "DURATION", default_value = "20m", value_parser = duration)]
    stall_after: SignedDuration,

    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Agent {
    /// Claude Code
    Claude,
    /// Any other program: its screen tells nothing
    Command,
}

/// Runs the verb.
pub fn run(args: &Args) -> Result<ExitCode> {
    let Verb::Explain(args) = &args.verb;
    let screen = read(&args.screen)?;
    let hooks = args.hooks.as_deref().map(read).transpose()?.unwrap_or_default();
    let transcript = args.transcript.as_deref().map(read).transpose()?.unwrap_or_default();
    let now = args.now.unwrap_or_else(clock::now);
    let verdict = match args.agent {
        Agent::Claude => decide(&Evidence {
            hooks: &hooks,
            transcript: &transcript,
            screen: &screen,
            now,
            seen_at: args.seen_at,
            zone: args.tz.clone().unwrap_or_else(TimeZone::system),
            stall_after: args.stall_after,
            still: None,
        }),
        Agent::Command => Verdict {
            verdict: State::Unknown,
            until: None,
            account_wide: false,
            reason: "a loop of kind `command` has no screen that could be read".into(),
            evidence: String::new(),
            reset: None,
            keyboard: None,
            quiet: None,
        },
    };
    let text =
        if args.json { serde_json::to_string_pretty(&verdict)? + "\n" } else { as_lines(&verdict, now)? };
    match stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(ExitCode::SUCCESS),
    }
}

fn as_lines(verdict: &Verdict, now: Timestamp) -> Result<String> {
    let state = serde_json::to_value(verdict.verdict)?;
    let mut text = format!("verdict:   {}\n", state.as_str().unwrap_or_default());
    if let Some(until) = verdict.until {
        let away = if until <= now { "past: probe now".to_owned() } else { left(until.duration_since(now)) };
        text += &format!("until:     {until} ({away})\n");
    }
    if verdict.account_wide {
        text += "account:   every loop on the same account\n";
    }
    text += &format!("reason:    {}\n", verdict.reason);
    if !verdict.evidence.is_empty() {
        text += &format!("evidence:  {}\n", verdict.evidence.replace('\n', "\n           "));
    }
    Ok(text)
}

fn left(duration: SignedDuration) -> String {
    let minutes = duration.as_mins();
    format!("in {}h {:02}m", minutes / 60, minutes % 60)
}

fn read(path: &Path) -> Result<String> {
    // A terminal's bytes need not be text, and a transcript may be torn.
    fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).map_err(|error| {
        Problem::new(Kind::General, format!("cannot read {}: {error}", path.display()))
            .hint("name a file of saved evidence; the screen may be an empty one")
            .into()
    })
}

fn time(text: &str) -> Result<Timestamp, String> {
    let seconds = text.parse().ok().and_then(|seconds| Timestamp::from_second(seconds).ok());
    seconds
        .or_else(|| text.parse().ok())
        .ok_or_else(|| "expected a time such as 2026-06-01T10:00:00Z, or seconds since 1970".into())
}

fn zone(text: &str) -> Result<TimeZone, String> {
    TimeZone::get(text).map_err(|_| "expected the IANA name of a time zone, such as Europe/Berlin".into())
}

fn duration(text: &str) -> Result<SignedDuration, String> {
    let seconds: ccorch_core::seconds::Seconds = text.parse()?;
    SignedDuration::try_from(seconds.duration()).map_err(|error| error.to_string())
}
