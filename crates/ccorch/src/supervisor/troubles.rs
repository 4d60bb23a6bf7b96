//! What is not as it should be and lasts, found by the supervisor's threads and told by `ccorch status` until it is over.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// All of it, by what it is about; shared by every thread.
#[derive(Debug, Clone, Default)]
pub struct Troubles(Arc<Mutex<BTreeMap<String, String>>>);

impl Troubles {
    /// From now on this is wrong: what happened, where, and what to do.
    pub fn set(&self, about: &str, text: String) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(about.into(), text);
    }

    /// It is over, if it was.
    pub fn over(&self, about: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(about);
    }

    /// Every one, in words.
    pub fn all(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }
}
