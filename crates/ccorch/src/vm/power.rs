//! Starting a machine until its ssh answers, and stopping it at the guest's own pace.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use ccorch_core::qemu::{Accelerator, Started, Verdict, accelerator, argv, judge};
use ccorch_io::lock::{self, Lock};
use ccorch_io::qemu::{self, QmpError};
use ccorch_io::{clock, durable};

use super::{ANSWER, Machine, autostart};
use crate::command::provision::progress::Progress;
use crate::error::{Kind, Problem};

/// How often a machine that comes up is looked at.
const POLL: Duration = Duration::from_millis(250);
/// One look for an ssh banner; a guest emulated on a busy machine is slow to greet.
const BANNER: Duration = Duration::from_secs(2);
/// A guest that was not ready for the power button is asked again.
const PRESS_AGAIN: Duration = Duration::from_secs(5);
/// How much of the serial log an error carries, in lines.
const TAIL_LINES: usize = 12;

/// How a start came out.
enum Came {
    Up,
    /// KVM fails this guest; why.
    Not(String),
}

impl Machine<'_> {
    /// Starts it, through systemd where there is one, so that it starts at boot too.
    pub fn start(&self, progress: &Progress) -> Result<()> {
        match autostart::manager() {
            Some(manager) => autostart::start(self, manager, progress),
            None => self.start_directly(progress),
        }
    }

    /// Starts it as a process in the background and waits until its ssh answers. That it runs is fine.
    pub fn start_directly(&self, progress: &Progress) -> Result<()> {
        let _lock = self.lock("start")?;
        let boot = clock::boot_id()?;
        let failed: Option<String> = durable::read_json(&self.files.kvm_failed())?;
        let mut with = match self.running()? {
            Some(started) => started.accelerator,
            None => {
                let with = accelerator(qemu::kvm_opens(), failed.as_deref() == Some(&boot));
                progress.say(format!("starting {} with {}", self.name, word(with)));
                with
            }
        };
        loop {
            let why = match self.launch(with) {
                Ok(()) => match self.wait(with, progress)? {
                    Came::Up => return Ok(()),
                    Came::Not(why) => why,
                },
                Err(error) if with == Accelerator::Kvm => error.to_string(),
                Err(error) => return Err(error),
            };
            progress.say(format!("KVM does not run it here: {why}"));
            progress.say(format!("starting {} with TCG, which is many times slower", self.name));
            self.cut_power()?;
            with = Accelerator::Tcg;
            // Should TCG fail too, KVM was not to blame.
            self.launch(with)?;
            durable::replace_json(&self.files.kvm_failed(), &boot, 0o600)?;
        }
    }

    /// Stops it as its power button would, and waits; `force` cuts the power when the time is over.
    pub fn stop_directly(&self, force: bool, progress: &Progress) -> Result<bool> {
        let _lock = self.lock("stop")?;
        let Some(mut qmp) = self.qmp()? else { return Ok(false) };
        while !progress.left().is_zero() {
            let ended = match qmp.execute("system_powerdown", ANSWER) {
                Err(QmpError::Closed { .. }) => true,
                Err(error) => return Err(error.into()),
                Ok(_) => qmp.wait_for_end(progress.left().min(PRESS_AGAIN))?,
            };
            if ended {
                return Ok(true);
            }
        }
        drop(qmp);
        if force {
            self.cut_power()?;
            return Ok(true);
        }
        let text = format!(
            "host `{}`: the guest did not shut down within {} s",
            self.name,
            progress.budget.as_secs()
        );
        let hint =
            "look at it over ssh; `--force` cuts the power, with what that does to files being written";
        Err(Problem::new(Kind::TimedOut, text).hint(hint).into())
    }

    fn lock(&self, verb: &str) -> Result<Lock> {
        let who = format!("ccorch vm {verb}, pid {}, since {}", std::process::id(), clock::now());
        lock::acquire(&self.files.lock(), &who)
    }

    fn launch(&self, accelerator: Accelerator) -> Result<()> {
        if self.running()?.is_some() {
            return Ok(());
        }
        let started = Started { shape: self.wanted.shape, accelerator };
        durable::replace_json(&self.files.started(), &started, 0o600)?;
        let name = format!("ccorch-{}-{}", self.loaded.rig.rig, self.name);
        qemu::start(&argv(&name, &self.files, started)).map_err(|error| {
            if error.tail.contains("host forwarding rule") {
                let text = format!(
                    "host `{}`: port {} of 127.0.0.1 is taken by another program",
                    self.name,
                    self.ssh_port()
                );
                let hint = format!("give `hosts.{}.qemu.ssh_port` a port that is free", self.name);
                return Problem::new(Kind::Conflict, text).hint(hint).into();
            }
            error.into()
        })
    }

    fn wait(&self, with: Accelerator, progress: &Progress) -> Result<Came> {
        let (mut activity, mut since) = (0, Instant::now());
        while !qemu::ssh_answers(self.ssh_port(), BANNER) {
            let Some(mut qmp) = self.qmp()? else {
                let problem = format!("host `{}`: QEMU ended while the guest booted", self.name);
                return Err(self.with_serial(Kind::General, problem));
            };
            let (state, now) = (qmp.status(ANSWER)?, qmp.disk_bytes(ANSWER)? + self.serial_bytes());
            if now != activity {
                (activity, since) = (now, Instant::now());
            }
            let quiet = since.elapsed();
            match judge(with, &state, quiet) {
                Verdict::FallBack if state == "running" => {
                    return Ok(Came::Not(format!("the guest has done nothing for {} s", quiet.as_secs())));
                }
                Verdict::FallBack => return Ok(Came::Not(format!("QEMU's state is `{state}`"))),
                Verdict::Broken => {
                    let problem = format!("host `{}`: QEMU's state is `{state}`", self.name);
                    return Err(self.with_serial(Kind::General, problem));
                }
                Verdict::Wait if progress.left().is_zero() => {
                    let seconds = progress.budget.as_secs();
                    let problem = format!("host `{}`: no ssh after {seconds} s", self.name);
                    return Err(self.with_serial(Kind::TimedOut, problem));
                }
                Verdict::Wait => thread::sleep(POLL),
            }
        }
        Ok(Came::Up)
    }

    /// Ends QEMU whatever the guest does.
    fn cut_power(&self) -> Result<()> {
        let Some(mut qmp) = self.qmp()? else { return Ok(()) };
        match qmp.execute("quit", ANSWER) {
            Ok(_) | Err(QmpError::Closed { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        if qmp.wait_for_end(ANSWER)? {
            return Ok(());
        }
        let text = format!("host `{}`: QEMU does not end ({})", self.name, self.files.pid().display());
        Err(Problem::new(Kind::TimedOut, text).hint("end the process with the id in that file").into())
    }

    fn serial_bytes(&self) -> u64 {
        fs::metadata(self.files.serial()).map_or(0, |metadata| metadata.len())
    }

    fn with_serial(&self, kind: Kind, problem: String) -> anyhow::Error {
        let path = self.files.serial();
        let log = fs::read(&path).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().filter(|line| !line.trim().is_empty()).collect();
        let tail = &lines[lines.len().saturating_sub(TAIL_LINES)..];
        let tail: String = tail.iter().map(|line| format!("\n    | {}", line.trim_end())).collect();
        let said = if tail.is_empty() { "; it wrote nothing to its serial line".into() } else { tail };
        Problem::new(kind, format!("{problem}{said}"))
            .hint(format!("see {}; a cloud image with sshd and cloud-init is needed", path.display()))
            .into()
    }
}

fn word(accelerator: Accelerator) -> &'static str {
    match accelerator {
        Accelerator::Kvm => "KVM",
        Accelerator::Tcg => "TCG (no usable KVM, so many times slower)",
    }
}
