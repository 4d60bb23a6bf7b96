//! Looks all the time whether both hosts have agents at work at the same moment.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, bail, ensure};

use super::agents::Agents;
use crate::bed::Instance;

/// Between two samples; each takes about as long itself.
const PAUSE: Duration = Duration::from_millis(100);
/// A boot takes a few seconds; a host that cannot be seen for longer once it was there is no host that was watched.
const BLIND: Duration = Duration::from_secs(120);

/// One host and how to look at it.
pub struct Watched {
    name: String,
    look: Box<dyn FnMut() -> Agents + Send>,
    /// When it was last seen, at work or not.
    seen: Option<Instant>,
    at_work: usize,
}

impl Watched {
    /// A host by its name and a way to look at it.
    pub fn new(name: &str, look: impl FnMut() -> Agents + Send + 'static) -> Self {
        Self { name: name.to_owned(), look: Box::new(look), seen: None, at_work: 0 }
    }

    /// Whether agents run there. One that does not exist yet, or is booting, is not seen; that counts for nothing.
    fn look(&mut self) -> Result<bool> {
        let agents = (self.look)();
        match agents {
            Agents::Unknown(why) => {
                let blind = self.seen.is_some_and(|seen| seen.elapsed() > BLIND);
                ensure!(!blind, "{} could not be looked at for {} s: {why}", self.name, BLIND.as_secs());
                return Ok(false);
            }
            Agents::None | Agents::AtWork(_) => self.seen = Some(Instant::now()),
        }
        let at_work = matches!(agents, Agents::AtWork(_));
        self.at_work += usize::from(at_work);
        Ok(at_work)
    }
}

/// What a sampler saw without finding both at work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Samples {
    /// Samples in which both hosts were seen.
    pub both_seen: usize,
    /// Each host, and how often it was seen at work.
    pub at_work: [(String, usize); 2],
}

impl Samples {
    /// Demands that there was something to find: both hosts at work, each in its time. What was never seen at work was
    /// perhaps never looked at.
    pub fn of_both(&self) -> Result<()> {
        for (name, count) in &self.at_work {
            ensure!(*count > 0, "in {} samples nobody was ever seen at work on {name}", self.both_seen);
        }
        ensure!(self.both_seen > 0, "no sample saw both hosts");
        Ok(())
    }
}

impl std::fmt::Display for Samples {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [(one, first), (other, second)] = &self.at_work;
        write!(f, "{} samples of both; at work: {one} {first}, {other} {second}", self.both_seen)
    }
}

/// A thread that samples until it is stopped.
#[derive(Debug)]
pub struct Sampler {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<Samples>>,
}

impl Sampler {
    /// Starts sampling two hosts of the bed.
    pub fn start(one: Instance, other: Instance) -> Self {
        let watched = |host: Instance| Watched::new(&host.name.clone(), move || Agents::on(&host));
        Self::over(watched(one), watched(other))
    }

    /// Starts sampling.
    pub fn over(mut one: Watched, mut other: Watched) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let mut both_seen = 0;
            while !flag.load(Ordering::Relaxed) {
                let begun = Instant::now();
                // Agents seen on one host before and after they are seen on the other ran at the same moment.
                if one.look()? & other.look()? && one.look()? {
                    bail!("agents ran on {} and {} at the same moment", one.name, other.name);
                }
                both_seen += usize::from([&one, &other].iter().all(|host| host.seen >= Some(begun)));
                thread::sleep(PAUSE);
            }
            Ok(Samples { both_seen, at_work: [(one.name, one.at_work), (other.name, other.at_work)] })
        });
        Self { stop, thread }
    }

    /// Whether it came to its end by itself, which it does of a violation alone.
    pub fn has_ended(&self) -> bool {
        self.thread.is_finished()
    }

    /// Stops; what it saw, or the violation.
    pub fn stop(self) -> Result<Samples> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow!("the sampler came to a sudden end"))?
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command, Stdio};
    use std::sync::atomic::AtomicUsize;

    use super::super::agents::question;
    use super::*;
    use crate::run::Run;
    use crate::wait;

    /// A "host" whose agents are processes of a name of their own.
    struct Host {
        name: String,
        folder: tempfile::TempDir,
        looks: Arc<AtomicUsize>,
    }

    impl Host {
        fn new(name: &str) -> Self {
            let name = format!("{name}{}", std::process::id());
            let folder = tempfile::tempdir().unwrap();
            std::os::unix::fs::symlink("/bin/sh", folder.path().join(&name)).unwrap();
            Self { name, folder, looks: Arc::default() }
        }

        fn agent(&self) -> Child {
            let mut agent = Command::new(self.folder.path().join(&self.name));
            agent.args(["-c", "read line"]).stdin(Stdio::piped()).spawn().unwrap()
        }

        fn watched(&self) -> Watched {
            let (question, looks) = (question(&self.name), Arc::clone(&self.looks));
            Watched::new(&self.name, move || {
                let agents = Agents::of(&Run::new(&["sh", "-c", &question]).output().unwrap());
                looks.fetch_add(1, Ordering::Relaxed);
                agents
            })
        }

        /// Until it has been looked at twice more, so that one look at least began after now.
        fn looked_at(&self) {
            let before = self.looks.load(Ordering::Relaxed);
            wait::until("two looks", Duration::from_secs(60), || {
                Ok((self.looks.load(Ordering::Relaxed) >= before + 2).then_some(()))
            })
            .unwrap();
        }
    }

    fn end(mut agent: Child) {
        agent.kill().unwrap();
        agent.wait().unwrap();
    }

    #[test]
    fn one_after_the_other_is_fine_and_both_at_once_is_found() {
        let (one, other) = (Host::new("pi"), Host::new("vm"));
        let sampler = Sampler::over(one.watched(), other.watched());
        let agent = one.agent();
        one.looked_at();
        end(agent);
        let agent = other.agent();
        other.looked_at();
        end(agent);
        let samples = sampler.stop().unwrap();
        samples.of_both().unwrap();
        assert!(samples.both_seen >= 2, "{samples}");

        let sampler = Sampler::over(one.watched(), other.watched());
        let agents = [one.agent(), other.agent()];
        wait::until("the violation", Duration::from_secs(60), || Ok(sampler.has_ended().then_some(())))
            .unwrap();
        agents.into_iter().for_each(end);
        let found = sampler.stop().unwrap_err().to_string();
        assert!(found.contains("at the same moment"), "{found}");
    }

    #[test]
    fn a_host_that_never_worked_or_was_never_seen_is_no_proof() {
        let one = Host::new("one");
        let agent = one.agent();
        let away = || Agents::Unknown("Error: Instance is not running".into());
        let sampler = Sampler::over(one.watched(), Watched::new("away", away));
        one.looked_at();
        let samples = sampler.stop().unwrap();
        end(agent);
        assert_eq!(samples.both_seen, 0);
        let refused = samples.of_both().unwrap_err().to_string();
        assert!(refused.contains("nobody was ever seen at work on away"), "{refused}");
    }
}
