//! What came of the stops of loops: left by the stop itself, which no supervisor need be there for, and put into the events.

use ccorch_core::boot::Reboot;
use ccorch_core::names::LoopName;
use ccorch_core::stop::{SafePoint, StopReason};
use ccorch_io::spool::Spool;
use jiff::SignedDuration;

use super::loops::Loops;
use crate::here::exits::{self, Stop};

/// The supervisor's last sign of life before a shutdown is older than the stops, but for what a clock was put right by.
const MARGIN: SignedDuration = SignedDuration::from_mins(10);
/// So many names are told; the others are counted.
const NAMED: usize = 20;

impl Loops {
    /// Takes what a loop's stops left, and writes it down.
    pub(super) fn hear_stops(&mut self, name: &LoopName) {
        let spools = self.here.paths.loop_spools();
        let spool = match Spool::open(&spools, &[name.as_str(), "stops"]) {
            Ok(Some(spool)) => spool,
            Ok(None) => return,
            Err(error) => return eprintln!("warning: the stops of {name} are not read: {error}"),
        };
        for file in spool.list().unwrap_or_default() {
            let read = spool.read(&file, None).ok();
            let stop = read.and_then(|bytes| serde_json::from_slice::<Stop>(&bytes).ok());
            // What is none is not worth a word: the loop's own user can put anything there.
            if let Some(stop) = stop {
                let detail = format!("stopped at {}: {}", stop.at, stop.words());
                self.history.record("loop-safe-point", Some(name), detail);
            }
            if let Err(error) = spool.remove(&file) {
                return eprintln!("warning: {} of the stops of {name} stays: {error}", file.display());
            }
        }
    }

    /// Who was cut off in a turn when the machine went down for this reboot, as a sentence.
    pub fn cut_off(&self, reboot: &Reboot) -> Option<String> {
        let cut = |name: &LoopName| {
            let stop = exits::last_stop(&self.here.paths, name)?;
            let then = stop.at >= reboot.last_alive - MARGIN && stop.at <= reboot.booted_at + MARGIN;
            match stop.safe_point? {
                SafePoint::RanOut(_) if then && stop.why == StopReason::Shutdown => {
                    Some(format!("{name} ({})", stop.at))
                }
                _ => None,
            }
        };
        let all: Vec<String> = self.names().iter().filter_map(cut).collect();
        let more = all.len().saturating_sub(NAMED);
        let more = if more > 0 { format!(", and {more} more") } else { String::new() };
        let named = all[..all.len().min(NAMED)].join(", ");
        (!all.is_empty()).then(|| format!("Cut off in the middle of a turn by that shutdown: {named}{more}."))
    }
}
