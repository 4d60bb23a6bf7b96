//! `ccorch check`: is the rig file right?

use std::fs;
use std::io::{ErrorKind, Write, stdout};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;
use ccorch_core::names::{HostName, LoopName};
use ccorch_core::rig::{self, FileKind, Finding, NamedFile, Severity};
use serde_json::json;

use crate::context::{Context, LoadedRig};
use crate::error::Kind;
use crate::findings::{self, counted};
use crate::here::{Here, unattended};
use crate::remote;

/// Check the rig file: every problem at once, with file, line and key
///
/// Prints one line per finding, `FILE:LINE: KEY: MESSAGE`. Exit status 0 when the rig can be used, warnings or not; 3
/// when it has errors. Files the rig names on this machine (keys, certificates, images, secrets) are looked at: one
/// that is not there is a warning, because the rig may be checked elsewhere, and a private key that others can read is
/// an error.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  ccorch check
  ccorch check --files ccorch.yaml    before `ccorch provision`: every named file has to be there
  ccorch check --host vm              the agents there: trust dialog, permissions, first run, login
  ccorch check --json /etc/ccorch/rig.json")]
pub struct Args {
    /// The rig file, in place of the one `--rig` or its default names
    file: Option<PathBuf>,

    /// Take a named file that is not on this machine for an error
    #[arg(long)]
    files: bool,

    /// Check on this host of the rig, over ssh: its rig file, and whether its agents would start without a question
    #[arg(long, value_name = "HOST", conflicts_with = "file")]
    host: Option<HostName>,

    /// Print one JSON object: rig, file, errors, warnings, findings
    #[arg(long)]
    json: bool,
}

/// Runs the verb.
pub fn run(context: &Context, args: &Args) -> Result<ExitCode> {
    if let Some(host) = &args.host {
        return remote::again(context, host);
    }
    let file = match &args.file {
        Some(file) => file.clone(),
        None => context.rig_file()?,
    };
    let text = findings::read(&file)?;
    let (checked, mut found) = rig::check(&text);
    let name = checked.as_ref().map(|rig| rig.rig.to_string());
    if let Some(rig) = checked {
        let loaded = LoadedRig { rig, file: file.clone() };
        let missing = if args.files { Severity::Error } else { Severity::Warning };
        found.extend(rig::files(&loaded.rig).iter().filter_map(|named| {
            let (severity, message) = look(named, &loaded.resolve(named.path), missing)?;
            let (line, key) = rig::locate_key(&text, &named.keys);
            Some(Finding { line, key, severity, message })
        }));
        found.extend(agents(context, &file, &text));
        found.sort_by_key(|f| f.line);
    }
    let errors = found.iter().filter(|f| f.is_error()).count();
    let printed = if args.json { as_json(&file, name, &found)? } else { as_lines(&file, name, &found) };
    match stdout().write_all(printed.as_bytes()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => return Err(error.into()),
        _ => {}
    }
    Ok(if errors > 0 { ExitCode::from(Kind::Rig as u8) } else { ExitCode::SUCCESS })
}

/// On a host, of its own rig: what would hold its agents up at their start, each with its fix.
fn agents(context: &Context, file: &Path, text: &str) -> Vec<Finding> {
    let own = fs::canonicalize(file).ok().zip(fs::canonicalize(context.host_paths.rig()).ok());
    let here = own.filter(|(file, own)| file == own).and_then(|_| Here::load(context).ok());
    let Some(here) = here else { return Vec::new() };
    let of = |(name, spec): (&LoopName, &rig::Loop)| {
        let (line, key) = rig::locate_key(text, &["loops", name.as_str()]);
        let found = unattended::look(&here, spec);
        found.into_iter().map(move |message| Finding::warning(line, key.clone(), message)).collect::<Vec<_>>()
    };
    here.rig.loops.iter().flat_map(of).collect()
}

fn as_lines(file: &Path, name: Option<String>, found: &[Finding]) -> String {
    let errors = found.iter().filter(|f| f.is_error()).count();
    let counts = format!("{}, {}", counted(errors, "error"), counted(found.len() - errors, "warning"));
    let closing = match (errors, name) {
        (0, Some(name)) => format!("{}: rig `{name}` is good: {counts}", file.display()),
        _ => format!("{}: {counts}", file.display()),
    };
    let lines = found.iter().map(|f| findings::line(file, f)).chain([closing]);
    lines.map(|line| line + "\n").collect()
}

fn as_json(file: &Path, name: Option<String>, found: &[Finding]) -> Result<String> {
    let errors = found.iter().filter(|f| f.is_error()).count();
    let one = |f: &Finding| json!({ "file": file, "line": f.line, "key": f.key, "severity": f.severity, "message": f.message });
    let whole = json!({
        "rig": name,
        "file": file,
        "errors": errors,
        "warnings": found.len() - errors,
        "findings": found.iter().map(one).collect::<Vec<_>>(),
    });
    Ok(serde_json::to_string_pretty(&whole)? + "\n")
}

/// What is wrong with a named file on this machine, if anything.
fn look(named: &NamedFile, path: &Path, missing: Severity) -> Option<(Severity, String)> {
    let shown = path.display();
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Some((missing, format!("no file {shown} on this machine")));
        }
        Err(error) => return Some((Severity::Error, format!("cannot look at {shown}: {error}"))),
    };
    if !metadata.is_file() {
        return Some((Severity::Error, format!("{shown} is not a file")));
    }
    let mode = metadata.permissions().mode() & 0o7777;
    match named.kind {
        FileKind::PrivateKey if mode & 0o077 != 0 => Some((
            Severity::Error,
            format!(
                "others can get at the private key {shown} (mode {mode:04o}); expected 0600: `chmod 600 {shown}`"
            ),
        )),
        FileKind::PublicKey if holds_private_key(path) => Some((
            Severity::Error,
            format!("{shown} is a private key; expected the public one beside it (`.pub`)"),
        )),
        _ => None,
    }
}

/// Whether a file starts like a private key in PEM; its content goes nowhere else.
fn holds_private_key(path: &Path) -> bool {
    fs::read(path)
        .is_ok_and(|bytes| bytes.starts_with(b"-----BEGIN") && bytes.windows(11).any(|w| w == b"PRIVATE KEY"))
}
