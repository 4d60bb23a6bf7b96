//! The cells: where, what breaks, and what is asked for afterwards. Generated from the list of steps.

use anyhow::{Context as _, Result};
use ccorch_core::cutover::Step;

/// A moment of a cutover.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Point {
    /// The step is begun in the journal, and nothing of it is done.
    Before(Step),
    /// All of the step is done, and the journal does not say so yet.
    After(Step),
    /// The arbiter was told who drives, and the journal does not say so yet.
    Claim,
    /// The arbiter was told that it is over, and the journal does not say so yet.
    End,
}

/// Whose disk, command or power.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// Where the rig runs at first.
    Source,
    /// Where it goes.
    Target,
    /// The machine that drives.
    Driver,
}

/// What breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The driver is killed.
    Kill,
    /// Every connection to the host breaks and no new one is taken; what runs there goes on.
    Cut(Who),
    /// A command that the driver runs on the host is killed: the step's first before it did anything, or its last when it
    /// has done everything.
    Command(Who),
    /// The host loses its power and boots.
    Reboot(Who),
    /// No git remote answers.
    Remote,
    /// A disk is full.
    Disk(Who),
}

/// What a person asks for when everything is mended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// `--resume`
    Resume,
    /// `--abort`
    Abort,
}

/// One cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cell {
    /// When.
    pub point: Point,
    /// What breaks.
    pub fault: Fault,
    /// What follows.
    pub end: End,
}

const FAULTS: [Fault; 11] = [
    Fault::Kill,
    Fault::Cut(Who::Source),
    Fault::Cut(Who::Target),
    Fault::Command(Who::Source),
    Fault::Command(Who::Target),
    Fault::Reboot(Who::Source),
    Fault::Reboot(Who::Target),
    Fault::Remote,
    Fault::Disk(Who::Source),
    Fault::Disk(Who::Target),
    Fault::Disk(Who::Driver),
];

impl Cell {
    /// All of them.
    pub fn all() -> Vec<Self> {
        let points = Step::ALL.into_iter().flat_map(|step| [Point::Before(step), Point::After(step)]);
        let points = points.chain([Point::Claim, Point::End]);
        let each = |point| {
            FAULTS
                .into_iter()
                .flat_map(move |fault| [End::Resume, End::Abort].map(|end| Self { point, fault, end }))
        };
        // A command is killed within a step.
        let sense = |cell: &Self| !(cell.point.step().is_none() && matches!(cell.fault, Fault::Command(_)));
        points.flat_map(each).filter(sense).collect()
    }

    /// Its name: `FAULT-SIDE-STEP-END`.
    pub fn name(&self) -> String {
        let fault = match self.fault {
            Fault::Kill => "kill".to_owned(),
            Fault::Cut(who) => format!("cut-{}", who.name()),
            Fault::Command(who) => format!("command-{}", who.name()),
            Fault::Reboot(who) => format!("reboot-{}", who.name()),
            Fault::Remote => "remote".to_owned(),
            Fault::Disk(who) => format!("disk-{}", who.name()),
        };
        let point = match self.point {
            Point::Before(step) => format!("before-{}", step.name()),
            Point::After(step) => format!("after-{}", step.name()),
            Point::Claim => "claim".to_owned(),
            Point::End => "end".to_owned(),
        };
        let end = if self.end == End::Resume { "resume" } else { "abort" };
        format!("{fault}-{point}-{end}")
    }

    /// The cell of that name.
    pub fn named(name: &str) -> Result<Self> {
        let found = Self::all().into_iter().find(|cell| cell.name() == name);
        found.with_context(|| format!("no cell is called `{name}`"))
    }
}

impl Who {
    fn name(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Target => "target",
            Self::Driver => "driver",
        }
    }
}

impl Point {
    /// The step it is about.
    pub fn step(self) -> Option<Step> {
        match self {
            Self::Before(step) | Self::After(step) => Some(step),
            Self::Claim | Self::End => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_step_has_both_sides_of_every_fault_with_both_ends() {
        let all = Cell::all();
        let names: BTreeSet<String> = all.iter().map(Cell::name).collect();
        assert_eq!(names.len(), all.len());
        for step in Step::ALL {
            let of_step = all.iter().filter(|cell| cell.point.step() == Some(step)).count();
            assert_eq!(of_step, FAULTS.len() * 4, "{}", step.name());
        }
        assert!(all.iter().all(|cell| Cell::named(&cell.name()).unwrap() == *cell));
    }
}
