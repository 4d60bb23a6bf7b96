//! The source while the target is on trial. What is started there by hand passes the fence by, so whoever drives looks for it
//! now and then, has it ended, and says so: on the terminal, and in what the journal and the report tell of the step.
//!
//! The fence itself holds whatever systemd starts, with or without a driver; and a driver that slept looks once more before
//! the source is switched off.

use std::time::{Duration, Instant};

use anyhow::Result;
use ccorch_core::cutover::SideKind;

use super::side::Side;
use super::steps::Steps;
use super::{hosted, legacy, live};
use crate::here::driver::is_refusal;

/// Between two looks.
const LOOK: Duration = Duration::from_secs(5);

/// Looks at the source.
pub struct Meanwhile<'a> {
    steps: &'a Steps<'a>,
    next: Instant,
    /// What was found, in words.
    found: Vec<String>,
    /// Why it could not be looked; told once.
    told: Option<String>,
}

impl<'a> Meanwhile<'a> {
    /// Nothing is found yet.
    pub fn of(steps: &'a Steps<'a>) -> Self {
        Self { steps, next: Instant::now(), found: Vec::new(), told: None }
    }

    /// Looks, if it is time to. A source that does not answer keeps no target from its verdict: nobody is started there by a
    /// host that is off, and who can be is found when it answers.
    pub fn look(&mut self) {
        if Instant::now() < self.next || self.steps.plan().in_place() {
            return;
        }
        let looked = self.steps.from().and_then(|source| end_strays(self.steps, source));
        self.next = Instant::now() + LOOK;
        match looked {
            Ok(found) => found.into_iter().for_each(|one| self.tell(one)),
            // Another machine drives by now, and looks.
            Err(error) if is_refusal(&error) => {}
            Err(error) => {
                let (source, why) = (&self.steps.plan().from.name, format!("{error:#}"));
                if self.told.as_ref() != Some(&why) {
                    live::end(&format!(
                        "warning: whether somebody started the rig on {source} by hand: {why}"
                    ));
                }
                self.told = Some(why);
            }
        }
    }

    /// Looks once more, whenever the last time was; what was found in all, as the end of a sentence.
    pub fn ends(mut self) -> String {
        self.next = Instant::now();
        self.look();
        self.words().map(|words| format!("; {words}")).unwrap_or_default()
    }

    /// What was found.
    pub fn words(&self) -> Option<String> {
        let source = &self.steps.plan().from.name;
        let found = self.found.join("; ");
        (!found.is_empty()).then(|| format!("started by hand on {source} meanwhile, and ended: {found}"))
    }

    fn tell(&mut self, found: String) {
        live::end(&format!(
            "warning: on {}: started by hand, and ended: {found}",
            self.steps.plan().from.name
        ));
        self.found.push(found);
    }
}

fn end_strays(steps: &Steps<'_>, source: &Side) -> Result<Vec<String>> {
    match source.kind {
        SideKind::Legacy => legacy::started_since(source, steps.journal()),
        SideKind::Ccorch => hosted::end_strays(source, steps.journal()),
    }
}
