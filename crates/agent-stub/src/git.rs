//! Runs git in one directory: never asks, never opens an editor, never waits for ever.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::process::{self, Finished};

/// A push over a slow line fits; a remote that hangs does not stop the agent for ever.
const LIMIT: Duration = Duration::from_secs(60);

/// Settings of every call. What an agent has noted as done must be on disk, so all is
/// synced; a background gc would look like a living git after a crash.
const ALWAYS: [&str; 8] =
    ["-c", "core.fsync=all", "-c", "gc.auto=0", "-c", "maintenance.auto=false", "-c", "commit.gpgsign=false"];

/// Git in a directory.
pub(crate) struct Git {
    directory: PathBuf,
    options: Vec<OsString>,
}

impl Git {
    pub fn new(directory: &Path) -> Git {
        Git { directory: directory.to_owned(), options: ALWAYS.iter().map(OsString::from).collect() }
    }

    /// Adds options before the subcommand.
    pub fn with(mut self, options: &[&str]) -> Git {
        self.options.extend(options.iter().map(OsString::from));
        self
    }

    /// Runs it; a failure is in the answer.
    pub fn run(&self, args: &[&str]) -> Result<Finished> {
        let mut command = Command::new("git");
        command
            .current_dir(&self.directory)
            .args(&self.options)
            .args(args)
            .env("GIT_TERMINAL_PROMPT", "0")
            // ssh would ask on the terminal, from the background, and be stopped for that.
            .env("SSH_ASKPASS", "false")
            .env("SSH_ASKPASS_REQUIRE", "force")
            .env("GIT_EDITOR", "true")
            .env("LC_ALL", "C");
        for name in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"] {
            command.env_remove(name);
        }
        process::run(&mut command, b"", LIMIT)
            .with_context(|| format!("cannot run git {} in {}", args.join(" "), self.directory.display()))
    }

    /// Runs it and returns its trimmed output; a failure is an error.
    pub fn out(&self, args: &[&str]) -> Result<String> {
        let done = self.run(args)?;
        if !done.ok() {
            bail!("git {} in {} failed, {}", args.join(" "), self.directory.display(), done.why());
        }
        Ok(done.stdout.trim_end().to_owned())
    }

    /// Whether it succeeds.
    pub fn ok(&self, args: &[&str]) -> Result<bool> {
        Ok(self.run(args)?.ok())
    }
}
