//! Following a driver that went on in a unit of its own: what it says is shown until it ends, or until this session is about to
//! be stopped by it.

use std::fs::File;
use std::io::{self, Read as _, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::mpsc::{self, Receiver, TryRecvError};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};
use ccorch_core::cutover::itself::{Unit, stops};
use ccorch_core::cutover::{Journal, Side};
use ccorch_io::command::{CommandError, Output};
use ccorch_io::host::Host;

use crate::context::LoadedRig;
use crate::error::{Kind, Problem};
use crate::here::journals;

/// No cutover takes longer; a driver that does is not ended by this, only no longer followed.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(200);
/// What ssh and systemd-run say of a driver that did not end by itself.
const NOT_ITS_OWN: u8 = 255;

/// Starts the unit, with the host's own rights, and follows it; the driver's exit status, or [`Kind::GoesOn`] once it stops this session.
pub fn to_the_end(
    loaded: &LoadedRig,
    side: &Side,
    host: &Host,
    unit: &Unit<'_>,
    files: (&Path, &Path),
) -> Result<ExitCode> {
    let (mut printed, mut reported) = (Tail::of(files.0)?, Tail::of(files.1)?);
    let before = newest(loaded).map(|journal| journal.sum().to_owned());
    let ended = start(host, unit)?;
    loop {
        // Asked first: what was said before the end is shown after it.
        let end = ended.try_recv();
        printed.show(&mut io::stdout())?;
        reported.show(&mut io::stderr())?;
        match end {
            Ok(end) => return status(unit, end, printed.shown || reported.shown),
            Err(TryRecvError::Empty) => {}
            Err(TryRecvError::Disconnected) => return Err(lost(unit)),
        }
        // An agent that waits for this command could come to no safe point.
        if newest(loaded).is_some_and(|journal| stops(&journal, &side.name, before.as_deref())) {
            eprintln!(
                "the rig of {} is being stopped now, and this session with it; {} drives",
                side.name,
                unit.name()
            );
            return Ok(ExitCode::from(Kind::GoesOn as u8));
        }
        thread::sleep(LOOK);
    }
}

/// What became of the unit, with the words for a start that failed.
type End = Result<(Output, CommandError), CommandError>;

/// In a thread of its own, for it waits as long as the unit runs. From a folder where nobody is ended for standing in it.
fn start(host: &Host, unit: &Unit<'_>) -> Result<Receiver<End>> {
    let mut argv = unit.start();
    argv.insert(1, "--wait".into());
    let command = host.command(&argv).shown_as(format!("start {}", unit.name())).cwd("/").deadline(LONGEST);
    let (sender, receiver) = mpsc::channel();
    let runs = move || {
        let output = command.output().map(|output| {
            let failed = command.failed(&output);
            (output, failed)
        });
        // Nobody may wait for it any more.
        drop(sender.send(output));
    };
    thread::Builder::new().spawn(runs).context("a thread that waits for the driver")?;
    Ok(receiver)
}

/// The driver's status. A driver that failed has said why; where nothing was said, it was never started.
fn status(unit: &Unit<'_>, end: End, said: bool) -> Result<ExitCode> {
    let (output, failed) = end.context("the driver cannot leave this session")?;
    match output.status.code().and_then(|code| u8::try_from(code).ok()) {
        Some(code) if code != 0 && !said => {
            Err(anyhow::Error::from(failed).context("the driver cannot leave this session"))
        }
        Some(code) if code != NOT_ITS_OWN => Ok(ExitCode::from(code)),
        _ => Err(lost(unit)),
    }
}

fn lost(unit: &Unit<'_>) -> anyhow::Error {
    Problem::new(Kind::Unreachable, format!("{} was ended, or cannot be followed any more", unit.name()))
        .hint("`ccorch journal show` tells how far it came; the same command goes on")
        .into()
}

/// The newest journal of this user's, as it is read by nobody who changes it.
fn newest(loaded: &LoadedRig) -> Option<Journal> {
    let path = journals::files(&loaded.operator().ok()?.journals()).pop()?;
    Journal::read(&journals::text(&path).ok()?).ok()
}

/// A file that grows.
struct Tail {
    file: File,
    shown: bool,
}

impl Tail {
    fn of(path: &Path) -> Result<Self> {
        let file = File::open(path).with_context(|| format!("open {}", path.display()))?;
        Ok(Self { file, shown: false })
    }

    /// What was added since.
    fn show(&mut self, to: &mut impl Write) -> Result<()> {
        let mut added = Vec::new();
        self.file.read_to_end(&mut added).context("read what the driver says")?;
        self.shown |= !added.is_empty();
        // A terminal that went away needs nothing shown.
        let _ = to.write_all(&added).and_then(|()| to.flush());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::ExitStatus;

    use ccorch_io::command::Failure;

    use super::*;

    fn ended(code: i32, said: bool) -> Result<ExitCode> {
        let unit = Unit { id: "j", user: "u", environment: &[], files: None, argv: &[] };
        let warning = b"sudo: unable to resolve host".to_vec();
        let output = Output { status: ExitStatus::from_raw(code << 8), stdout: Vec::new(), stderr: warning };
        let tail = "no such user".into();
        let failed = CommandError { host: None, command: "x".into(), failure: Failure::Exit(code), tail };
        status(&unit, Ok((output, failed)), said)
    }

    #[test]
    fn a_drivers_own_status_is_told_from_a_start_that_failed_and_from_a_sudden_end() {
        assert_eq!(ended(0, true).unwrap(), ExitCode::SUCCESS);
        assert_eq!(ended(0, false).unwrap(), ExitCode::SUCCESS);
        assert_eq!(ended(8, true).unwrap(), ExitCode::from(8));
        let failed = format!("{:#}", ended(1, false).unwrap_err());
        assert!(failed.contains("cannot leave this session") && failed.contains("no such user"), "{failed}");
        let lost = ended(255, true).unwrap_err();
        assert_eq!(crate::hints::of(&lost).0, Kind::Unreachable);
    }
}
