//! The watchdog's eyes: from saved evidence of an agent to one verdict, with the reason and the line that decided.
//!
//! Five conditions that tools mix up have five different answers: a plan limit (sleep until the reset), throttling
//! (short back-off), an expired login (a person), silence (nudge), a dialog (answer it). Structured signals (hooks,
//! transcript, rate limit events) are asked first. The screen is asked last, and only its live part counts, because
//! agents print, quote, diff and grep limit texts while they work.

pub mod life;
pub mod limit;
pub mod reset;
pub mod screen;
pub mod signals;
pub mod still;
pub mod verdict;

mod blocks;
mod dialog;
mod styled;

pub use dialog::DialogKind;
pub use verdict::{Evidence, Kind, Verdict, decide};
