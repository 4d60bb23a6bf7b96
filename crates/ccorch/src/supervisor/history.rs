//! What the supervisor writes down of what agents cause: a flood of it is counted, line by line it would say nothing.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ccorch_core::fleet::Fact;
use ccorch_core::fleet::ration::{Count, Ration};
use ccorch_core::names::LoopName;
use ccorch_io::clock;

use crate::here::{Here, events};

/// The events as its threads write them.
#[derive(Debug, Clone)]
pub struct History {
    here: Here,
    ration: Arc<Mutex<Ration>>,
}

impl History {
    /// Of a host.
    pub fn of(here: &Here) -> Self {
        Self { here: here.clone(), ration: Arc::default() }
    }

    /// Writes one event; one too many of what agents cause at will is counted.
    pub fn record(&self, what: &str, about: Option<&LoopName>, detail: impl Into<String>) {
        self.record_fact(what, about, detail, None);
    }

    /// The same for one that carries a fact, which is never held back: typing bounds how many there are.
    pub fn record_fact(
        &self,
        what: &str,
        about: Option<&LoopName>,
        detail: impl Into<String>,
        fact: Option<Fact>,
    ) {
        let detail = detail.into();
        if fact.is_some() || self.passes(what, about, &detail) {
            events::record_fact(&self.here, what, about, detail, fact);
        }
    }

    /// The same for what must not keep a start waiting.
    pub fn record_soon(&self, what: &str, about: Option<&LoopName>, detail: String, fact: Option<Fact>) {
        if fact.is_some() || self.passes(what, about, &detail) {
            events::record_soon(&self.here, what, about, detail, fact);
        }
    }

    /// Writes how many were held back, where their time is over.
    pub fn count(&self) {
        let counts = self.lock().over(now());
        self.write(counts);
    }

    /// Writes that of all of them, before the supervisor leaves.
    pub fn close(&self) {
        let counts = self.lock().all();
        self.write(counts);
    }

    fn passes(&self, what: &str, about: Option<&LoopName>, detail: &str) -> bool {
        if !events::is_chatter(what, about) {
            return true;
        }
        self.count();
        self.lock().pass(now(), what, about, detail)
    }

    fn write(&self, counts: Vec<Count>) {
        for Count { what, about, detail } in counts {
            events::record(&self.here, &what, about.as_ref(), detail);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Ration> {
        self.ration.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn now() -> u64 {
    u64::try_from(clock::since_boot().as_millis()).unwrap_or(u64::MAX)
}
