//! Looks all the time whether both hosts have agents at work at the same moment.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Result, anyhow, bail};

use crate::bed::Instance;

/// Between two samples; each takes about as long itself.
const PAUSE: Duration = Duration::from_millis(100);

/// A thread that samples until it is stopped.
#[derive(Debug)]
pub struct Sampler {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<usize>>,
}

impl Sampler {
    /// Starts sampling both hosts; one that does not exist yet, or is booting, has no agents.
    pub fn start(one: Instance, other: Instance) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let mut samples = 0;
            while !flag.load(Ordering::Relaxed) {
                // Agents seen on one host before and after they are seen on the other ran at the same moment.
                if agents(&one) && agents(&other) && agents(&one) {
                    bail!(
                        "agents ran on {} and {} at the same moment (sample {samples})",
                        one.name,
                        other.name
                    );
                }
                samples += 1;
                thread::sleep(PAUSE);
            }
            Ok(samples)
        });
        Self { stop, thread }
    }

    /// Stops; the number of samples, or the violation.
    pub fn stop(self) -> Result<usize> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow!("the sampler came to a sudden end"))?
    }
}

fn agents(instance: &Instance) -> bool {
    // Not the tmux servers, whose command line has the agent's in it.
    instance.exec(&["pgrep", "-x", "claude"]).is_ok_and(|output| output.status.success())
}
