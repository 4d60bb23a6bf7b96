//! The target's confirm window in the model: it confirms itself, or fails; and without a driver it falls back by itself.

use std::rc::Rc;

use ccorch_core::cutover::SideKind;
use ccorch_core::cutover::confirm::{Alone, Event, Terms, Verdict, is_its_own, rule, without_driver};
use ccorch_core::lease::{Change, Lease, LeaseFile, give_back, given};
use ccorch_core::seconds::Seconds;

use crate::mutant::Mutant;
use crate::world::{World, name};

/// A target's window.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Window {
    pub journal: String,
    pub from: usize,
    pub verdict: Said,
    /// The push that gives the lease back, looked up and not sent yet.
    pub giving: Option<Box<(Lease, Lease)>>,
}

/// The verdict without its words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Said {
    Open,
    Confirmed,
    Failed,
    /// Failed, and its loops are down because nobody took the cutover back.
    StoodDown,
    FellBack,
    Withdrawn,
}

impl Said {
    /// The program's own table.
    fn after(self, event: Event) -> Self {
        let why = String::new();
        let verdict = match self {
            Self::Open => Verdict::Open,
            Self::Confirmed => Verdict::Confirmed,
            Self::Failed | Self::StoodDown => Verdict::Failed { why },
            Self::FellBack => Verdict::FellBack { why },
            Self::Withdrawn => Verdict::Withdrawn,
        };
        match rule(verdict, event) {
            Verdict::Open => Self::Open,
            Verdict::Confirmed => Self::Confirmed,
            Verdict::Failed { .. } if self == Self::StoodDown => self,
            Verdict::Failed { .. } => Self::Failed,
            Verdict::FellBack { .. } => Self::FellBack,
            Verdict::Withdrawn => Self::Withdrawn,
        }
    }
}

impl World {
    fn tell(&mut self, host: usize, event: Event) -> bool {
        let before = self.hosts[host].window.clone();
        if let Some(window) = &mut self.host(host).window {
            window.verdict = window.verdict.after(event);
        }
        self.hosts[host].window != before
    }

    /// What the host does by itself with a cutover is in nobody's way, and no act is in its.
    pub fn is_giving(&self, host: usize) -> bool {
        self.hosts[host].window.as_ref().is_some_and(|window| window.giving.is_some())
    }

    /// Whether the target has said of a cutover that it does not run the rig.
    pub fn has_failed(&self, host: usize, journal: &str) -> bool {
        let failed = |said| matches!(said, Said::Failed | Said::StoodDown | Said::FellBack);
        self.hosts[host]
            .window
            .as_ref()
            .is_some_and(|window| window.journal == journal && failed(window.verdict))
    }

    pub fn open_window(&mut self, host: usize, journal: &str, from: usize) {
        if self.hosts[host].window.as_ref().is_none_or(|window| window.journal != journal) {
            let window = Window { journal: journal.into(), from, verdict: Said::Open, giving: None };
            self.host(host).window = Some(window);
        }
    }

    pub fn withdraw(&mut self, host: usize, journal: &str) {
        let window = self.hosts[host].window.as_ref();
        if window.is_some_and(|window| window.journal == journal || window.verdict == Said::Open) {
            self.tell(host, Event::Withdraw);
        }
    }

    /// Its loops work.
    pub fn confirm(&mut self, host: usize) -> bool {
        self.hosts[host].runs && self.tell(host, Event::Confirm)
    }

    /// They do not.
    pub fn fail(&mut self, host: usize) -> bool {
        self.tell(host, Event::Fail(String::new()))
    }

    /// The next thing that a failed target does without a driver: stops its loops; looks at the arbiter; gives the lease back.
    pub fn alone(&mut self, host: usize) -> bool {
        let Some(window) = self.hosts[host].window.clone() else { return false };
        let source = if self.is_legacy(window.from) { SideKind::Legacy } else { SideKind::Ccorch };
        if self.is(Mutant::NoFallBack) {
            return false;
        }
        if let Some(pair) = &window.giving {
            let (old, new) = &**pair;
            let done = self.swap(old, new);
            if let Some(window) = &mut self.host(host).window {
                window.giving = None;
            }
            if done {
                self.hear(host);
                self.tell(host, Event::FallBack);
            }
            return true;
        }
        let failed = matches!(window.verdict, Said::Failed | Said::StoodDown);
        let here = &self.hosts[host];
        let over = is_its_own(&name(host), here.file.as_ref(), here.driver.as_ref(), &window.journal);
        if failed && over && !self.is(Mutant::StandsDownAfterTheEnd) {
            return self.tell(host, Event::Withdraw);
        }
        let second = Seconds(1);
        let terms =
            Terms { timeout: second, settle: second, crashes: 1, prove_reboot: false, fallback: Seconds(0) };
        let alone = without_driver(&terms, std::time::Duration::ZERO, source, true);
        match window.verdict {
            Said::Failed => self.stand_down(host, &window.journal),
            Said::StoodDown if alone == Alone::GiveBack && self.reachable => {
                self.look_to_give_back(host, &window)
            }
            _ => false,
        }
    }

    fn stand_down(&mut self, host: usize, journal: &str) -> bool {
        let runs_on = self.is(Mutant::GiveBackRunsOn);
        let here = self.host(host);
        if !runs_on {
            here.quiesced = Some(journal.into());
            here.runs = false;
        }
        if let Some(window) = &mut here.window {
            window.verdict = Said::StoodDown;
        }
        true
    }

    fn look_to_give_back(&mut self, host: usize, window: &Window) -> bool {
        let (old, source) = (Rc::clone(&self.arbiter), name(window.from));
        match give_back(&old, &name(host), &source, &window.journal) {
            Change::Write(epoch) => {
                let mut new = given(&old, &source, epoch, &window.journal, "the target itself");
                new.nonce = format!("given-{epoch}");
                let runs_on = self.is(Mutant::GiveBackRunsOn);
                let here = self.host(host);
                if !runs_on {
                    here.quiesced = Some(window.journal.clone());
                    here.runs = false;
                }
                here.ok = None;
                here.stand_by();
                if let Some(window) = &mut here.window {
                    window.giving = Some(Box::new(((*old).clone(), new)));
                }
                true
            }
            Change::Done => {
                self.hear(host);
                self.tell(host, Event::FallBack)
            }
            Change::Refused(_) | Change::Stale(_) => false,
        }
    }
}

/// The file of a host that took over or was made active.
pub fn active(lease: Lease) -> Option<LeaseFile> {
    Some(LeaseFile { lease, pending: None })
}
