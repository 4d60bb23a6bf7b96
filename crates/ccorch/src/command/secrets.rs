//! `ccorch secrets`: decrypted on the host that needs them, by the host's own key.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use ccorch_core::names::HostName;
use ccorch_core::rig::{SecretItem, Secrets};
use ccorch_io::command::{CommandError, Failure};
use ccorch_io::{age_identity, sops};
use clap::Subcommand;

use crate::context::Context;
use crate::error::{Kind, Problem};
use crate::here::{Here, runtime};
use crate::remote;

/// Make the host's own key and decrypt the rig's secrets with it
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example: ccorch secrets recipient --host vm\n\nPut what it prints into .sops.yaml, run `sops updatekeys`, then `ccorch host install` again."
)]
pub struct Args {
    #[command(subcommand)]
    what: What,
    /// Do it on this host of the rig, over ssh [default: the machine this runs on]
    #[arg(long, global = true, value_name = "HOST")]
    host: Option<HostName>,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Print the host's age recipient; its key is made when it has none, and never leaves it
    #[command(after_help = "Example: ccorch secrets recipient --host vm")]
    Recipient {
        /// Print JSON: `{"recipient": "age1..."}`
        #[arg(long)]
        json: bool,
    },
    /// Decrypt every secret of the rig to its place (what ccorch-secrets.service runs)
    #[command(after_help = "Example: ccorch secrets install --host vm --dry-run")]
    Install {
        /// Say which files would be written, and write nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Whether the rig has secrets (the unit's condition)
    #[command(hide = true)]
    Wanted,
}

/// Runs the verb.
pub fn run(context: &Context, args: &Args) -> Result<ExitCode> {
    if let Some(host) = &args.host {
        return remote::again(context, host);
    }
    let here = Here::load(context)?;
    let Some(secrets) = &here.rig.secrets else {
        if matches!(args.what, What::Wanted) {
            return Ok(ExitCode::FAILURE);
        }
        let problem = Problem::new(Kind::Rig, format!("rig `{}` has no secrets", here.rig.rig));
        return Err(problem
            .hint("add a `secrets` section to the rig file, then `ccorch host install`")
            .into());
    };
    match &args.what {
        What::Recipient { json } => {
            let recipient = age_identity::recipient(Path::new(&secrets.identity))?;
            let shown =
                if *json { serde_json::json!({ "recipient": recipient }).to_string() } else { recipient };
            println!("{shown}");
        }
        What::Install { dry_run } => install(&here, secrets, *dry_run)?,
        What::Wanted => {}
    }
    Ok(ExitCode::SUCCESS)
}

fn install(here: &Here, secrets: &Secrets, dry_run: bool) -> Result<()> {
    let (file, identity) = (here.paths.etc().join(&secrets.file), Path::new(&secrets.identity));
    if !identity.exists() {
        let message = format!("on {}: there is no age key {}", here.name, identity.display());
        let hint = format!(
            "`ccorch secrets recipient --host {}` makes one; then encrypt the secrets for it",
            here.name
        );
        return Err(Problem::new(Kind::Unfit, message).hint(hint).into());
    }
    for (name, item) in &secrets.items {
        if dry_run {
            println!("would write {} (mode {})", item.path, item.mode);
            continue;
        }
        let value = sops::decrypt(&file, name, identity)
            .map_err(|error| closed(here, &file, name, identity, error))?;
        write(here, item, value)
            .with_context(|| format!("secret `{name}` could not be written to {}", item.path))?;
        println!("{name}: {}", item.path);
    }
    Ok(())
}

/// Why sops gave no value, and what to do.
fn closed(here: &Here, file: &Path, name: &str, identity: &Path, error: CommandError) -> anyhow::Error {
    let (file, identity) = (file.display(), identity.display());
    let text = format!("on {}: secret `{name}` of {file} could not be decrypted with {identity}", here.name);
    if error.failure == Failure::NotFound {
        return anyhow::Error::from(error).context(text);
    }
    let hint = format!(
        "if that key is none of those it is encrypted for, put what `ccorch secrets recipient --host {}` prints into .sops.yaml, run `sops updatekeys`, then `ccorch host install {}` again",
        here.name, here.name
    );
    Problem::new(Kind::Unfit, format!("{text}\n{error}")).hint(hint).into()
}

/// Written with its owner's own rights: the folder may belong to the agents, and a link they put there must not lead
/// root astray. Whole or not there at all.
fn write(here: &Here, item: &SecretItem, value: Vec<u8>) -> Result<()> {
    let owner = item.owner.as_deref().unwrap_or(&here.rig.workspace.user);
    // A new file, and not one that somebody put there beforehand.
    let script = r#"set -euC; umask 077; mkdir -p "${1%/*}"; rm -f -- "$1.new"; cat > "$1.new"; chmod "$2" "$1.new"
mv -f -T "$1.new" "$1""#;
    let argv = ["sh", "-c", script, "ccorch", &item.path, &item.mode];
    runtime::command_as(owner, &argv).input(value).run()?;
    Ok(())
}
