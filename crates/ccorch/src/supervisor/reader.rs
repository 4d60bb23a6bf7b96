//! Agents' files lie on disks that may hang: what is needed of one is read by a thread of its own, and waited for no longer
//! than a moment. One that hangs is told until it answers, and as long as it hangs no other thread is sent after it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use ccorch_core::names::LoopName;
use ccorch_io::clock;

use super::threads::STACK;
use super::troubles::Troubles;

/// How long an answer is waited for.
const MOMENT: Duration = Duration::from_secs(2);
/// The same while another one hangs: that may be the same disk, and there may be a thousand loops.
const SHORT: Duration = Duration::from_millis(10);

/// Reads files that may not answer; shared by all of the supervisor's threads.
#[derive(Debug, Clone, Default)]
pub struct Reader {
    troubles: Troubles,
    /// By the loop whose file it is: the number of the read that hangs.
    hang: Arc<Mutex<BTreeMap<LoopName, u64>>>,
    number: Arc<AtomicU64>,
}

impl Reader {
    /// One that tells what hangs.
    pub fn new(troubles: &Troubles) -> Self {
        Self { troubles: troubles.clone(), ..Self::default() }
    }

    /// What `read` finds in a loop's file at `path`; nothing where that does not answer.
    pub fn read<T: Send + 'static>(
        &self,
        name: &LoopName,
        path: &Path,
        read: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let within = match self.lock() {
            hang if hang.contains_key(name) => return None,
            hang if hang.is_empty() => MOMENT,
            _ => SHORT,
        };
        let number = self.number.fetch_add(1, Ordering::Relaxed);
        let (sender, receiver) = mpsc::channel();
        let (mine, whose, since) = (self.clone(), name.clone(), clock::now());
        let work = move || {
            let _ = sender.send(read());
            mine.answered(&whose, number);
        };
        if let Err(error) = thread::Builder::new().stack_size(STACK).spawn(work) {
            eprintln!("warning: no thread to read {}: {error}", path.display());
            return None;
        }
        match receiver.recv_timeout(within) {
            Ok(found) => Some(found),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => {
                // Whoever answers does so before it looks here.
                let mut hang = self.lock();
                if let Ok(found) = receiver.try_recv() {
                    return Some(found);
                }
                hang.insert(name.clone(), number);
                let text = format!(
                    "{} of loop {name} has not answered since {since}; the loop is judged without it, see to its disk",
                    path.display()
                );
                self.troubles.set(&about(name), text);
                None
            }
        }
    }

    fn answered(&self, name: &LoopName, number: u64) {
        let mut hang = self.lock();
        if hang.get(name) == Some(&number) {
            hang.remove(name);
            self.troubles.over(&about(name));
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<LoopName, u64>> {
        self.hang.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn about(name: &LoopName) -> String {
    format!("file {name}")
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn a_file_that_hangs_holds_nobody_and_is_told_until_it_answers() {
        let troubles = Troubles::default();
        let reader = Reader::new(&troubles);
        let (one, other) = (LoopName::new("one").unwrap(), LoopName::new("other").unwrap());
        let path = Path::new("/net/t.jsonl");
        assert_eq!(reader.read(&one, path, || 1), Some(1));
        let (answer, hangs) = mpsc::channel::<()>();
        assert_eq!(reader.read(&one, path, move || hangs.recv().is_ok()), None);
        let told = troubles.all();
        assert!(told[0].starts_with("/net/t.jsonl of loop one has not answered since "), "{told:?}");
        // Nobody else is sent after it, and the next disk that hangs is waited for no longer than a blink.
        assert_eq!(reader.read(&one, path, || -> i32 { panic!("another thread") }), None);
        let (_never, silent) = mpsc::channel::<()>();
        let began = Instant::now();
        assert_eq!(reader.read(&other, path, move || silent.recv().is_ok()), None);
        assert!(began.elapsed() < MOMENT, "{:?}", began.elapsed());
        assert_eq!(troubles.all().len(), 2);
        answer.send(()).unwrap();
        let end = Instant::now() + Duration::from_secs(60);
        while troubles.all().len() > 1 {
            assert!(Instant::now() < end, "{:?}", troubles.all());
            thread::sleep(Duration::from_millis(5));
        }
        let again = || reader.read(&one, path, || 2);
        assert!((0..100).any(|_| again() == Some(2)));
    }
}
