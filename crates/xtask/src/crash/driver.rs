//! A run of the real program that is killed at a chosen moment, and everything it said.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use crate::rehearse::operator::Operator;

/// No run takes longer; one that does is a failure.
const LONG: Duration = Duration::from_secs(300);
/// Between two looks at a running driver.
const LOOK: Duration = Duration::from_millis(5);

/// What a run left.
#[derive(Debug)]
pub struct Ran {
    /// The exit status; absent when it was killed.
    pub status: Option<i32>,
    /// Both streams.
    pub said: String,
}

impl Ran {
    /// Demands an exit status and words that it said.
    pub fn expect(&self, status: i32, words: &[&str]) -> Result<()> {
        ensure!(self.status == Some(status), "exit status {status} was expected: {self:?}");
        for word in words {
            ensure!(self.said.contains(word), "`{word}` was expected in what it said: {}", self.said);
        }
        let errors = self.said.lines().filter(|line| line.starts_with("error: ")).count();
        // What a person asked to be taken back is no error; its last line says what is so.
        let taken_back = status == 8 && self.said.contains("the cutover was taken back; ");
        ensure!(errors == usize::from(status != 0) || taken_back, "{errors} errors: {}", self.said);
        ensure!(!self.said.contains("panicked"), "a panic: {}", self.said);
        Ok(())
    }
}

/// Runs commands of an operator and keeps what they say.
pub struct Drivers<'a> {
    operator: &'a Operator,
    outputs: PathBuf,
    count: usize,
}

impl<'a> Drivers<'a> {
    /// Outputs are kept in `outputs`, a new folder.
    pub fn new(operator: &'a Operator, outputs: PathBuf) -> Result<Self> {
        fs::create_dir_all(&outputs).with_context(|| format!("cannot make {}", outputs.display()))?;
        Ok(Self { operator, outputs, count: 0 })
    }

    /// Runs a command to its end, whatever that is.
    pub fn run(&mut self, args: &[&str]) -> Result<Ran> {
        self.watched(args, |_| Ok(false))
    }

    /// Runs a command that has to succeed.
    pub fn runs(&mut self, args: &[&str]) -> Result<()> {
        self.run(args)?.expect(0, &[])
    }

    /// Runs a command and kills it as soon as `now` says so, or at its journal's end of the step if that comes first.
    pub fn killed(&mut self, args: &[&str], step: &str, mut now: impl FnMut() -> Result<bool>) -> Result<()> {
        let journals = self.operator.journals();
        let (started, done) = (entry("started", step), entry("done", step));
        let before = count(&journals, &started)?;
        let done_before = count(&journals, &done)?;
        let ran = self.watched(args, |_| {
            Ok(count(&journals, &started)? > before && (count(&journals, &done)? > done_before || now()?))
        })?;
        ensure!(ran.status.is_none(), "it was to be killed in {step} and ended before: {ran:?}");
        Ok(())
    }

    /// Runs a command and kills it when it begins a step.
    pub fn killed_at(&mut self, args: &[&str], step: &str) -> Result<()> {
        self.killed(args, step, || Ok(true))
    }

    /// Runs a command; `act` once, when it has begun a step.
    pub fn meanwhile(
        &mut self,
        args: &[&str],
        step: &str,
        act: impl FnOnce(u32) -> Result<()>,
    ) -> Result<Ran> {
        let journals = self.operator.journals();
        let started = entry("started", step);
        let before = count(&journals, &started)?;
        let mut act = Some(act);
        self.watched(args, |pid| {
            if act.is_some()
                && count(&journals, &started)? > before
                && let Some(act) = act.take()
            {
                act(pid)?;
            }
            Ok(false)
        })
    }

    /// Everything that every run said, and every journal.
    pub fn all_words(&self) -> Result<String> {
        let mut all = texts(&self.outputs)?;
        all.push_str(&texts(&self.operator.journals())?);
        Ok(all)
    }

    /// Starts a command and leaves it running; what it says goes to that file.
    pub fn start(&mut self, args: &[&str]) -> Result<(Child, PathBuf)> {
        self.count += 1;
        let path = self.outputs.join(format!("{:03}.txt", self.count));
        let file = File::create(&path).with_context(|| format!("cannot make {}", path.display()))?;
        let mut command = self.operator.command(args);
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        Ok((command.spawn().context("cannot run ccorch")?, path))
    }

    fn watched(&mut self, args: &[&str], mut look: impl FnMut(u32) -> Result<bool>) -> Result<Ran> {
        let line = format!("ccorch {}", args.join(" "));
        let (mut child, path) = self.start(args)?;
        let begin = Instant::now();
        let status = loop {
            if let Some(status) = child.try_wait()? {
                break status;
            }
            let kill = look(child.id());
            if !matches!(kill, Ok(false)) || begin.elapsed() > LONG {
                end(&mut child)?;
            }
            if kill? {
                break child.wait()?;
            }
            if begin.elapsed() > LONG {
                bail!("`{line}` did not end: {}", fs::read_to_string(&path)?);
            }
            std::thread::sleep(LOOK);
        };
        let said = fs::read_to_string(&path)?;
        println!(
            "  $ {line}  ({})",
            status.code().map_or("killed".to_owned(), |code| format!("status {code}"))
        );
        Ok(Ran { status: status.code(), said })
    }
}

fn end(child: &mut Child) -> Result<()> {
    child.kill()?;
    child.wait()?;
    Ok(())
}

fn entry(what: &str, step: &str) -> String {
    format!("\"entry\":\"{what}\",\"step\":\"{step}\"")
}

/// How often the journals say so.
fn count(journals: &std::path::Path, entry: &str) -> Result<usize> {
    Ok(texts(journals)?.matches(entry).count())
}

fn texts(folder: &std::path::Path) -> Result<String> {
    let mut all = String::new();
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    for entry in entries {
        all.push_str(&fs::read_to_string(entry.path())?);
    }
    Ok(all)
}
