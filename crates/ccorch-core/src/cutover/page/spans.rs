//! What of a journal has a length: each time a step was performed or undone, and when each host was active.

use std::time::Duration;

use jiff::Timestamp;

use super::super::{Entry, Journal, Step};

/// One performance of a step, or of its undo.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bar {
    pub step: Step,
    pub undo: bool,
    pub failed: bool,
    pub from: Timestamp,
    pub to: Timestamp,
}

impl Bar {
    pub fn length(&self) -> Duration {
        between(self.from, self.to)
    }
}

/// Everything with a length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spans {
    pub begin: Timestamp,
    pub end: Timestamp,
    pub bars: Vec<Bar>,
    /// When the source was active by the lease.
    pub source: Vec<(Timestamp, Timestamp)>,
    /// When the target was.
    pub target: Vec<(Timestamp, Timestamp)>,
}

impl Spans {
    /// A begun step that was never ended lasts until it was begun again, or until the journal ends.
    pub fn of(journal: &Journal) -> Self {
        let begin = journal.lines.first().map_or(Timestamp::UNIX_EPOCH, |line| line.at);
        let end = journal.lines.iter().map(|line| line.at).max().unwrap_or(begin);
        let mut bars: Vec<Bar> = Vec::new();
        let mut open: Option<Bar> = None;
        let (mut source, mut target) = (Holder::since(begin), Holder::default());
        for line in &journal.lines {
            let at = line.at;
            let bar = |step: Step, undo: bool| Bar { step, undo, failed: false, from: at, to: end };
            match &line.entry {
                Entry::Started { step } => bars.extend(close(open.replace(bar(*step, false)), at, false)),
                Entry::UndoStarted { step } => bars.extend(close(open.replace(bar(*step, true)), at, false)),
                Entry::Failed { .. } | Entry::UndoFailed { .. } => {
                    bars.extend(close(open.take(), at, true));
                }
                Entry::Done { step, .. } => {
                    bars.extend(close(open.take(), at, false));
                    match step {
                        Step::Fence => source.ends(at),
                        Step::Activate => target.begins(at),
                        _ => {}
                    }
                }
                Entry::UndoDone { step, .. } => {
                    bars.extend(close(open.take(), at, false));
                    match step {
                        Step::Activate => target.ends(at),
                        Step::Fence => source.begins(at),
                        _ => {}
                    }
                }
                Entry::Begin { .. } | Entry::Driver { .. } | Entry::TurnBack { .. } | Entry::End { .. } => {}
            }
        }
        bars.extend(open);
        Self { begin, end, bars, source: source.over(end), target: target.over(end) }
    }

    pub fn total(&self) -> Duration {
        between(self.begin, self.end)
    }

    pub fn after(&self, at: Timestamp) -> Duration {
        between(self.begin, at)
    }
}

#[derive(Default)]
struct Holder {
    since: Option<Timestamp>,
    spans: Vec<(Timestamp, Timestamp)>,
}

impl Holder {
    fn since(at: Timestamp) -> Self {
        Self { since: Some(at), spans: Vec::new() }
    }

    fn begins(&mut self, at: Timestamp) {
        self.since.get_or_insert(at);
    }

    fn ends(&mut self, at: Timestamp) {
        self.spans.extend(self.since.take().map(|since| (since, at)));
    }

    fn over(mut self, end: Timestamp) -> Vec<(Timestamp, Timestamp)> {
        self.ends(end);
        self.spans
    }
}

fn close(bar: Option<Bar>, at: Timestamp, failed: bool) -> Option<Bar> {
    bar.map(|bar| Bar { to: at, failed, ..bar })
}

fn between(from: Timestamp, to: Timestamp) -> Duration {
    Duration::try_from(to.duration_since(from)).unwrap_or(Duration::ZERO)
}
