//! What to do about a machine, given the one that is there.

use super::{Made, Shape, Started, Wanted};
use crate::provision::Change;

/// What is there.
#[derive(Debug, Clone)]
pub struct Facts {
    /// What it was made from; `None` when there is no machine, or a half-made one.
    pub made: Option<Made>,
    /// The size of its disk in bytes, where there is one.
    pub disk: Option<u64>,
    /// The size of the image's disk in bytes, where the image is there.
    pub image_disk: Option<u64>,
    /// What it was started with, if it runs now.
    pub running: Option<Started>,
}

/// One thing to do, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Make key, seed and disk.
    Create {
        /// The disk's size in bytes.
        disk: u64,
    },
    /// Make the disk larger; cloud-init grows the file system at the next boot.
    Grow {
        /// Bytes now.
        from: u64,
        /// Bytes asked for.
        to: u64,
    },
    /// Start it.
    Start,
}

/// Why nothing may be done to the machine that is there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is nothing to make it from.
    #[error("image {0} does not exist")]
    NoImage(String),
    /// It differs where only a new machine could be right.
    #[error("the machine differs from the rig file: {}", list(.0))]
    Differs(Vec<Change>),
    /// It differs where a stopped machine could be changed.
    #[error("the machine runs and differs from the rig file: {}", list(.0))]
    Running(Vec<Change>),
    /// A disk does not get smaller.
    #[error("`size.disk` asks for {wanted} bytes, but {what} has {there}")]
    Shrink {
        /// Bytes asked for.
        wanted: u64,
        /// Bytes there are.
        there: u64,
        /// The image or the disk.
        what: &'static str,
    },
}

fn list(changes: &[Change]) -> String {
    changes.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// The steps that make the machine what the rig file says; none when it is so.
pub fn decide(wanted: &Wanted, facts: &Facts) -> Result<Vec<Step>, Refusal> {
    let (Some(made), Some(there)) = (&facts.made, facts.disk) else {
        let image = facts.image_disk.ok_or_else(|| Refusal::NoImage(wanted.image.clone()))?;
        let disk = at_least(wanted.disk, image, "the image")?;
        return Ok(vec![Step::Create { disk }, Step::Start]);
    };
    let differs = [change("image", &made.image, &wanted.image), change("key", &made.key, &wanted.key)];
    let differs: Vec<Change> = differs.into_iter().flatten().collect();
    if !differs.is_empty() {
        return Err(Refusal::Differs(differs));
    }
    let to = at_least(wanted.disk, there, "the machine's disk")?;
    let grow = (to > there).then_some(Step::Grow { from: there, to });
    match facts.running {
        None => Ok(grow.into_iter().chain([Step::Start]).collect()),
        Some(running) => {
            let mut changes = shape(running.shape, wanted.shape);
            changes.extend(grow.and_then(|_| change("disk", &there, &to)));
            if changes.is_empty() { Ok(Vec::new()) } else { Err(Refusal::Running(changes)) }
        }
    }
}

fn at_least(wanted: Option<u64>, there: u64, what: &'static str) -> Result<u64, Refusal> {
    match wanted {
        Some(wanted) if wanted < there => Err(Refusal::Shrink { wanted, there, what }),
        wanted => Ok(wanted.unwrap_or(there)),
    }
}

fn shape(from: Shape, to: Shape) -> Vec<Change> {
    let changes = [
        change("cpus", &from.cpus, &to.cpus),
        change("memory (MiB)", &from.memory_mib, &to.memory_mib),
        change("ssh_port", &from.ssh_port, &to.ssh_port),
    ];
    changes.into_iter().flatten().collect()
}

fn change(key: &str, from: &impl ToString, to: &impl ToString) -> Option<Change> {
    let (from, to) = (from.to_string(), to.to_string());
    (from != to).then(|| Change { key: key.into(), from: Some(from), to })
}
