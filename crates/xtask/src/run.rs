//! Runs one short command and tells what happened when it fails.
//!
//! The commands go through xshell, which has no time-outs: whatever may take
//! long is a loop with a deadline (`wait`) around commands that do not.

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::Output;

use anyhow::{Context as _, Result, anyhow, bail};
use xshell::Shell;

/// The variables by which cargo tells a program that it runs of its package.
pub fn told_by_cargo() -> impl Iterator<Item = OsString> {
    let told = |name: &OsString| {
        let name = name.to_string_lossy();
        name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") || name == "OUT_DIR"
    };
    std::env::vars_os().map(|(name, _)| name).filter(told)
}

/// Copies a program to where an older one may be running, which cannot be written to: under another name first.
pub fn copy_program(from: &Path, to: &Path) -> Result<()> {
    let mut new = to.as_os_str().to_owned();
    new.push(format!(".{}", std::process::id()));
    std::fs::copy(from, &new).with_context(|| format!("cannot copy {}", from.display()))?;
    std::fs::rename(&new, to).with_context(|| format!("cannot make {}", to.display()))
}

/// How much of a failed command's output an error carries, in lines.
const TAIL_LINES: usize = 15;

/// A command to run: its argument vector, extra environment, standard input.
pub struct Run<'a> {
    argv: Vec<OsString>,
    env: Vec<(&'a str, OsString)>,
    stdin: Vec<u8>,
}

impl<'a> Run<'a> {
    /// A command from its program and arguments.
    pub fn new<S: AsRef<OsStr>>(argv: &[S]) -> Self {
        let argv = argv.iter().map(|word| word.as_ref().to_owned()).collect();
        Self { argv, env: Vec::new(), stdin: Vec::new() }
    }

    /// cargo, without what `cargo run` and `cargo test` tell the programs they run: a build script that asks for any of it
    /// would run anew each time, with all that follows.
    pub fn cargo() -> Self {
        let without = told_by_cargo().fold(Self::new(&["env"]), |run, name| run.arg("-u").arg(name));
        without.arg(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
    }

    /// Adds one more argument.
    pub fn arg(mut self, word: impl AsRef<OsStr>) -> Self {
        self.argv.push(word.as_ref().to_owned());
        self
    }

    /// Adds more arguments.
    pub fn args<S: AsRef<OsStr>>(self, words: &[S]) -> Self {
        words.iter().fold(self, Self::arg)
    }

    /// Sets a variable of the command's environment.
    pub fn env(mut self, name: &'a str, value: impl AsRef<OsStr>) -> Self {
        self.env.push((name, value.as_ref().to_owned()));
        self
    }

    /// Gives the command its standard input; without this it is empty.
    pub fn stdin(mut self, bytes: impl AsRef<[u8]>) -> Self {
        self.stdin = bytes.as_ref().to_vec();
        self
    }

    /// Runs it; whatever its exit status, the output is returned.
    pub fn output(&self) -> Result<Output> {
        let (program, arguments) = self.argv.split_first().ok_or_else(|| anyhow!("no program"))?;
        let shell = Shell::new()?;
        shell
            .cmd(program)
            .args(arguments)
            .envs(self.env.iter().map(|(name, value)| (*name, value)))
            .stdin(&self.stdin)
            .quiet()
            .ignore_status()
            .output()
            .with_context(|| format!("cannot run `{}`", self.line()))
    }

    /// Runs it and returns its standard output, trimmed.
    ///
    /// # Errors
    /// When it cannot be run or ends with a status other than 0; the error
    /// has the command and the tail of its output.
    pub fn read(&self) -> Result<String> {
        let output = self.output()?;
        if !output.status.success() {
            bail!("`{}` failed ({})\n{}", self.line(), output.status, tail(&output));
        }
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    /// Runs it for its effect.
    pub fn run(&self) -> Result<()> {
        self.read().map(drop)
    }

    fn line(&self) -> String {
        let words: Vec<_> = self.argv.iter().map(|word| word.to_string_lossy()).collect();
        words.join(" ")
    }
}

/// The last lines a command printed, errors after output.
pub fn tail(output: &Output) -> String {
    let text = [&output.stdout[..], &output.stderr[..]].concat();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.trim().lines().collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_names_the_command_and_its_output() {
        let error = Run::new(&["sh", "-c", "echo before; echo why >&2; exit 3"]).run();
        let text = format!("{:#}", error.unwrap_err());
        assert!(text.contains("sh -c"), "{text}");
        assert!(text.contains("exit status: 3"), "{text}");
        assert!(text.contains("before\nwhy"), "{text}");
    }

    #[test]
    fn standard_input_and_environment_arrive() {
        let run = Run::new(&["sh", "-c", "cat; printf %s \"$WORD\""]).stdin("in ").env("WORD", "env");
        assert_eq!(run.read().unwrap(), "in env");
    }
}
