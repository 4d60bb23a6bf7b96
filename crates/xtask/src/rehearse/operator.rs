//! The operator: runs the real program with their own rig file and state, each command printed before it runs.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::scenario::Place;

/// The person at the keyboard.
#[derive(Debug)]
pub struct Operator {
    ccorch: PathBuf,
    rig: PathBuf,
    home: PathBuf,
    /// What was announced last.
    last: RefCell<String>,
}

impl Operator {
    /// An operator with a home of their own, so that nothing of this machine's user takes part.
    pub fn new(place: &Place, ccorch: &Path) -> Result<Self> {
        let home = place.folder.join("home");
        let ssh = home.join(".ssh");
        std::fs::create_dir_all(&ssh).with_context(|| format!("cannot make {}", ssh.display()))?;
        std::fs::copy(&place.known_hosts, ssh.join("known_hosts")).context("cannot copy known_hosts")?;
        Ok(Self { ccorch: ccorch.into(), rig: place.rig_file.clone(), home, last: RefCell::default() })
    }

    /// The same person at another machine, which knows the rig file and nothing else.
    pub fn elsewhere(&self) -> Result<Self> {
        let home = self.home.with_file_name("home-elsewhere");
        let ssh = home.join(".ssh");
        std::fs::create_dir_all(&ssh).with_context(|| format!("cannot make {}", ssh.display()))?;
        std::fs::copy(self.home.join(".ssh/known_hosts"), ssh.join("known_hosts"))
            .context("copy known_hosts")?;
        Ok(Self { ccorch: self.ccorch.clone(), rig: self.rig.clone(), home, last: RefCell::default() })
    }

    /// Runs a command that has to succeed; its output goes to the terminal.
    pub fn runs(&self, args: &[&str]) -> Result<()> {
        self.announce(args);
        let status = self.command(args).status().context("cannot run ccorch")?;
        if !status.success() {
            bail!("`ccorch {}` failed ({status})", args.join(" "));
        }
        Ok(())
    }

    /// Runs a command that has to succeed; what it prints, shown and returned.
    pub fn reads(&self, args: &[&str]) -> Result<String> {
        self.announce(args);
        let output = self.output(args)?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        print!("{text}");
        if !output.status.success() {
            bail!("`ccorch {}` failed ({})", args.join(" "), output.status);
        }
        Ok(text)
    }

    /// Runs a command that has to succeed; everything it says.
    pub fn reads_all(&self, args: &[&str]) -> Result<String> {
        self.announce(args);
        let output = self.command(args).stderr(Stdio::piped()).output().context("cannot run ccorch")?;
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text).into_owned();
        if !output.status.success() {
            bail!("`ccorch {}` failed ({}): {text}", args.join(" "), output.status);
        }
        Ok(text)
    }

    /// Runs a command that has to fail with this exit status; what it says, shown and returned.
    pub fn fails(&self, args: &[&str], status: i32) -> Result<String> {
        self.announce(args);
        let output = self.command(args).stderr(Stdio::piped()).output().context("cannot run ccorch")?;
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        print!("{text}");
        if output.status.code() != Some(status) {
            bail!("`ccorch {}` ended with {}, not {status}", args.join(" "), output.status);
        }
        Ok(text)
    }

    /// The JSON that a command prints, whatever its exit status; announced once however often it looks.
    pub fn looks(&self, args: &[&str]) -> Result<Value> {
        if *self.last.borrow() != args.join(" ") {
            self.announce(args);
        }
        let output = self.output(args)?;
        serde_json::from_slice(&output.stdout).with_context(|| {
            format!(
                "`ccorch {}` printed no JSON: {}",
                args.join(" "),
                String::from_utf8_lossy(&output.stdout)
            )
        })
    }

    fn output(&self, args: &[&str]) -> Result<Output> {
        self.command(args).stdout(Stdio::piped()).output().context("cannot run ccorch")
    }

    fn announce(&self, args: &[&str]) {
        let line = args.join(" ");
        println!("\n$ ccorch {line}");
        *self.last.borrow_mut() = line;
    }

    /// A command of this operator on a terminal of its own, which `script` makes; announced, not run yet.
    pub fn on_a_terminal(&self, args: &[&str]) -> Command {
        self.announce(args);
        let mut command = self.dressed(Command::new("script"));
        // The name of the program may have any letter in it; a shell takes it from the environment.
        command.args(["-qec", &format!("exec \"$CCORCH\" {}", args.join(" ")), "/dev/null"]);
        command.env("CCORCH", &self.ccorch).env("TERM", "xterm");
        command
    }

    /// The program.
    pub fn program(&self) -> &Path {
        &self.ccorch
    }

    /// What this operator found out about a host by provisioning it.
    pub fn knows(&self, host: &str) -> PathBuf {
        self.home.join(".local/state/ccorch/cc-ci/hosts").join(format!("{host}.json"))
    }

    /// Where the journals of cutovers lie.
    pub fn journals(&self) -> PathBuf {
        self.home.join(".local/state/ccorch/cc-ci/journal")
    }

    /// A command of this operator, not run yet.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = self.dressed(Command::new(&self.ccorch));
        command.args(args).stdin(Stdio::null()).stderr(Stdio::inherit());
        command
    }

    fn dressed(&self, mut command: Command) -> Command {
        command.env_clear().env("HOME", &self.home).env("CCORCH_RIG", &self.rig);
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command
    }
}
