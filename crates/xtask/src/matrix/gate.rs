//! Stops a driver at a moment of its journal, from outside: the kernel asks before it lets the driver open the journal for
//! the next line (fanotify(7), `FAN_OPEN_PERM`), and tells when one was written.

use std::fs::File;
use std::io::Read as _;
use std::os::fd::AsFd as _;
use std::path::Path;
use std::process::{Child, ExitStatus};

use anyhow::{Context as _, Result};
use ccorch_core::cutover::Step;
use nix::sys::fanotify::{
    EventFFlags, Fanotify, FanotifyEvent, FanotifyResponse, InitFlags, MarkFlags, MaskFlags, Response,
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, kill_process};

use super::cell::Point;

/// Between two looks at whether the driver is over, in nanoseconds.
const LOOK: i64 = 10_000_000;

/// Watches the journals of one driver.
#[derive(Debug)]
pub struct Gate {
    fanotify: Fanotify,
    /// Moments that have not come yet.
    points: Vec<Point>,
}

/// What the one who follows a driver is told.
#[derive(Debug)]
pub enum Moment {
    /// The driver stands still at this point.
    At(Point),
    /// Nothing happened for a while.
    Meanwhile,
}

impl Gate {
    /// A gate at these moments, for journals in a folder that exists.
    pub fn at(points: Vec<Point>, journals: &Path) -> Result<Self> {
        let fanotify = Fanotify::init(
            InitFlags::FAN_CLASS_CONTENT | InitFlags::FAN_CLOEXEC,
            EventFFlags::O_RDONLY | EventFFlags::O_CLOEXEC,
        );
        let fanotify = fanotify.context("fanotify_init")?;
        let mask = MaskFlags::FAN_OPEN_PERM | MaskFlags::FAN_CLOSE_WRITE | MaskFlags::FAN_EVENT_ON_CHILD;
        let here = rustix::fs::CWD;
        fanotify.mark(MarkFlags::FAN_MARK_ADD, mask, here, Some(journals)).context("fanotify_mark")?;
        Ok(Self { fanotify, points })
    }

    /// Follows the driver until it is over; `act` at each moment, while it does not move, and every now and then. Nobody is
    /// held up by it any more when this returns.
    pub fn follow(
        mut self,
        driver: &mut Child,
        mut act: impl FnMut(Moment, &mut Child) -> Result<()>,
    ) -> Result<ExitStatus> {
        loop {
            if let Some(status) = driver.try_wait()? {
                return Ok(status);
            }
            act(Moment::Meanwhile, driver)?;
            let mut fds = [PollFd::new(&self.fanotify, PollFlags::IN)];
            let timeout = Timespec { tv_sec: 0, tv_nsec: LOOK };
            if poll(&mut fds, Some(&timeout)).context("poll")? == 0 {
                continue;
            }
            for event in self.fanotify.read_events().context("read fanotify")? {
                self.event(&event, driver, &mut act)?;
            }
        }
    }

    fn event(
        &mut self,
        event: &FanotifyEvent,
        driver: &mut Child,
        act: &mut impl FnMut(Moment, &mut Child) -> Result<()>,
    ) -> Result<()> {
        let Some(fd) = event.fd() else { return Ok(()) };
        let asks = event.mask().contains(MaskFlags::FAN_OPEN_PERM);
        let ours = u32::try_from(event.pid()).is_ok_and(|pid| pid == driver.id());
        let mut text = String::new();
        if ours && !self.points.is_empty() {
            // Not through its path: opening that would ask this very process.
            let mut file = File::from(fd.try_clone_to_owned()?);
            let _ = file.read_to_string(&mut text);
        }
        let come = self.points.iter().position(|point| ours && is_it(*point, asks, &text));
        let result = match come.map(|at| self.points.remove(at)) {
            Some(point) => stand_still(point, asks, driver, act),
            None => Ok(()),
        };
        if asks {
            let answer = FanotifyResponse::new(fd.as_fd(), Response::FAN_ALLOW);
            self.fanotify.write_response(answer).context("answer fanotify")?;
        }
        result
    }
}

/// Whether the driver, which wrote this text or asks to write on, is there.
fn is_it(point: Point, asks: bool, text: &str) -> bool {
    let last = text.lines().last().unwrap_or_default();
    let says =
        |what: &str, step: Step| last.contains(&format!(r#""entry":"{what}","step":"{}""#, step.name()));
    match point {
        Point::Before(step) => !asks && says("started", step),
        Point::Claim => asks && says("started", Step::Preflight),
        // It takes the cutover in hand as the last act of this one.
        Point::After(Step::Preflight) => asks && last.contains(r#""entry":"driver""#),
        Point::After(step) => asks && says("started", step),
        Point::End => asks && Step::ALL.last().is_some_and(|step| says("done", *step)),
    }
}

/// A driver that waits for its file stands still by itself; any other is stopped meanwhile, and stays so where the act fails.
fn stand_still(
    point: Point,
    asks: bool,
    driver: &mut Child,
    act: &mut impl FnMut(Moment, &mut Child) -> Result<()>,
) -> Result<()> {
    let pid = i32::try_from(driver.id()).ok().and_then(Pid::from_raw).context("the driver has no pid")?;
    if !asks {
        kill_process(pid, Signal::STOP)?;
    }
    let acted = act(Moment::At(point), driver);
    if acted.is_ok() && !asks && driver.try_wait()?.is_none() {
        kill_process(pid, Signal::CONT)?;
    }
    acted
}
