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

    /// Every point with every fault, and one of both ends: the neighbours in the list of faults have the other one, and so
    /// has the next seed. Two seeds in a row are all cells.
    pub fn half(seed: u64) -> Vec<Self> {
        let place =
            |cell: &Self| FAULTS.iter().position(|fault| *fault == cell.fault).unwrap_or_default() as u64;
        let wanted = |cell: &Self| (place(cell) + cell.point.number() + seed).is_multiple_of(2);
        Self::all().into_iter().filter(|cell| wanted(cell) == (cell.end == End::Resume)).collect()
    }

    /// One of so many of that half, with another seed others. A number that shares no factor with that of the faults, nor with
    /// two, has all of them in it, with both ends.
    pub fn share(seed: u64, shares: usize) -> Vec<Self> {
        let first = usize::try_from(seed).unwrap_or_default() % shares.max(1);
        Self::half(seed).into_iter().skip(first).step_by(shares.max(1)).collect()
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
    /// Its place among the moments of a cutover.
    fn number(self) -> u64 {
        let of = |step| Step::ALL.iter().position(|one| *one == step).unwrap_or_default() as u64;
        match self {
            Self::Claim => 0,
            Self::End => 1,
            Self::Before(step) => 2 + 2 * of(step),
            Self::After(step) => 3 + 2 * of(step),
        }
    }

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
        for seed in [0, 7] {
            let (one, other) = (Cell::half(seed), Cell::half(seed + 1));
            assert_eq!((one.len(), other.len()), (all.len() / 2, all.len() / 2));
            let both: BTreeSet<String> = one.iter().chain(&other).map(Cell::name).collect();
            assert_eq!(both, names, "two seeds in a row are all of them");
            let pairs: BTreeSet<String> =
                one.iter().map(|cell| format!("{:?} {:?}", cell.point, cell.fault)).collect();
            assert_eq!(pairs.len(), one.len(), "each point has each fault once");
        }
        assert!(all.iter().all(|cell| Cell::named(&cell.name()).unwrap() == *cell));
    }

    #[test]
    fn the_share_that_the_test_command_plays_has_some_of_everything() {
        use crate::test::{SEED, SHARES};
        let share = Cell::share(SEED, SHARES);
        for fault in FAULTS {
            let of_fault: Vec<_> = share.iter().filter(|cell| cell.fault == fault).collect();
            assert!(of_fault.len() >= 2, "{fault:?}: {of_fault:?}");
        }
        for step in Step::ALL {
            let of_step = share.iter().filter(|cell| cell.point.step() == Some(step)).count();
            assert!(of_step >= 3, "{}: {of_step}", step.name());
        }
        let resumed = share.iter().filter(|cell| cell.end == End::Resume).count();
        assert!(resumed * 3 > share.len() && resumed * 3 < share.len() * 2, "{resumed} of {}", share.len());
    }
}
