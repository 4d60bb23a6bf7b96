//! `ccorch loops nudge`: tells an agent something and waits for its receipt.

use std::fs;
use std::io::Read;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use ccorch_core::names::{HostName, LoopName};
use ccorch_core::seconds::Seconds;
use uuid::Uuid;

use crate::context::Context;
use crate::error::{Kind, Problem};
use crate::here::Here;
use crate::remote;
use crate::supervisor::control::{Reply, Request, call, status, unexpected};

/// The longest text, in bytes.
const LONGEST: usize = 32 << 10;

/// Tell a loop's agent something, and wait until it has it
///
/// The text is pasted into the agent's input line and submitted, but never into a menu or dialog: it waits until that is
/// answered. It is told once for its id, however often the command is repeated.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  ccorch loops nudge builder continue --host vm
  ccorch loops nudge builder --file note.md --id note-7 --host vm

Without TEXT and --file the text is read from standard input. Exit status 10: not received in time; it stays in line,
and the same command with the same --id waits on.")]
pub(super) struct Args {
    /// The loop
    pub(super) name: LoopName,
    /// The words
    text: Option<String>,
    /// Take the words from this file
    #[arg(long, value_name = "FILE", conflicts_with = "text")]
    file: Option<PathBuf>,
    /// Told once for this id [default: a new one]
    #[arg(long, value_name = "ID")]
    id: Option<String>,
    /// How long to wait for the receipt
    #[arg(long, value_name = "DURATION", default_value = "2m")]
    timeout: Seconds,
    /// Print JSON: loop, id, received, how
    #[arg(long)]
    json: bool,
    /// Say what would be told to whom, and do nothing
    #[arg(long)]
    dry_run: bool,
}

/// On another host: the text is read here and sent along.
pub(super) fn elsewhere(context: &Context, host: &HostName, args: &Args) -> Result<ExitCode> {
    let text = text(args)?;
    let timeout = format!("--timeout={}s", args.timeout.0);
    let mut argv = vec!["loops".to_owned(), "nudge".into(), args.name.to_string(), timeout];
    argv.push(format!("--id={}", id(args)?));
    argv.extend(args.json.then(|| "--json".to_owned()));
    argv.extend(args.dry_run.then(|| "--dry-run".to_owned()));
    remote::with_input(context, host, argv, text.as_bytes())
}

/// On this host.
pub(super) fn run(here: &Here, args: &Args) -> Result<()> {
    let (name, id, text) = (&args.name, id(args)?, text(args)?);
    if args.dry_run {
        let reports = status(&here.paths)?;
        let one = reports.iter().find(|one| one.name == *name).context("the supervisor does not know it")?;
        let life = one.life.clone().unwrap_or_default();
        eprintln!("would be told {} bytes, id {id}; it is {life}: {}", text.len(), one.reason);
        return Ok(());
    }
    let within = args.timeout.0;
    let request = Request::Nudge { name: name.clone(), id: id.clone(), text, within };
    match call(&here.paths, &request)? {
        Reply::Received { how } => {
            let how = if how.is_empty() { "it had it already".to_owned() } else { how };
            if args.json {
                let said = serde_json::json!({ "loop": name, "id": id, "received": true, "how": how });
                println!("{}", serde_json::to_string_pretty(&said)?);
            } else {
                println!("loop {name} has it ({how}); id {id}");
            }
            Ok(())
        }
        Reply::NotYet => {
            let reports = status(&here.paths).unwrap_or_default();
            let state = reports
                .iter()
                .find(|one| one.name == *name)
                .map(|one| format!("; it is {}: {}", one.life.clone().unwrap_or_default(), one.reason));
            let message = format!(
                "loop {name} has not received it within {}{}",
                args.timeout,
                state.unwrap_or_default()
            );
            Err(Problem::new(Kind::TimedOut, message)
                .hint(format!(
                    "it stays in line; wait on with the same text and `--id {id}`, and see `ccorch loops show {name}`"
                ))
                .into())
        }
        other => Err(unexpected(&other)),
    }
}

fn id(args: &Args) -> Result<String> {
    let id = args.id.clone().unwrap_or_else(|| format!("asked-{}", Uuid::new_v4()));
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.:/".contains(c);
    if id.is_empty() || id.len() > 100 || !id.chars().all(plain) {
        let problem = Problem::new(Kind::General, format!("`{id}` is no id"));
        return Err(problem.hint("an id has 1 to 100 of the characters A-Z a-z 0-9 - _ . : /").into());
    }
    Ok(id)
}

fn text(args: &Args) -> Result<String> {
    let bytes = match (&args.text, &args.file) {
        (Some(text), _) => text.clone().into_bytes(),
        (None, Some(file)) => fs::read(file).with_context(|| format!("read {}", file.display()))?,
        (None, None) if rustix::termios::isatty(std::io::stdin()) => {
            let problem = Problem::new(Kind::General, "nothing to tell");
            return Err(problem.hint("give the words, `--file FILE`, or a text on standard input").into());
        }
        (None, None) => {
            let mut bytes = Vec::new();
            std::io::stdin().take(LONGEST as u64 + 1).read_to_end(&mut bytes)?;
            bytes
        }
    };
    let refuse = |why: &str, hint: &str| Problem::new(Kind::General, why).hint(hint);
    let text = String::from_utf8(bytes).map_err(|_| refuse("the text is not UTF-8", "convert it first"))?;
    if text.trim().is_empty() {
        return Err(refuse("nothing to tell: the text is empty", "give the words").into());
    }
    if text.len() > LONGEST {
        let why = format!("the text is longer than {LONGEST} bytes");
        return Err(refuse(&why, "put it into a file, and tell the agent where it is").into());
    }
    // Such a character could end the paste and press keys.
    if text.chars().any(|c| c.is_control() && !"\n\t".contains(c)) {
        return Err(
            refuse("the text has control characters", "take them out, escapes and CR among them").into()
        );
    }
    Ok(text)
}
