//! What must be true in a world: who is at work, who is not, and that no work was lost or done twice.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail, ensure};

use super::host;
use super::world::{World, path};
use super::{HOSTS, LOOPS};
use crate::run::Run;
use crate::wait;

/// A loop commits every second; one that waits after a failure, or on a loaded machine, gets far more.
const PATIENCE: Duration = Duration::from_secs(180);
/// Files that git does not hold, in the workspace and beside it; nobody changes them, and they go wherever the rig goes.
pub const KEPT: [&str; 2] = ["srv/w/.logs/kept", "srv/beside/kept"];
/// Where agents keep their conversations.
const PROJECTS: &str = "home/loops/.claude/projects";
/// Between two samples.
const PAUSE: Duration = Duration::from_millis(50);

/// Every loop pushes new work from now on.
pub fn at_work(_world: &World) -> Result<()> {
    let before = tips()?;
    wait::until("new work of every loop", PATIENCE, || {
        Ok(tips()?.iter().zip(&before).all(|(now, then)| now != then).then_some(()))
    })
}

/// The rig is at work on this host, and no agent runs on the other.
pub fn works_on(world: &World, name: &str) -> Result<()> {
    at_work(world)?;
    for host in &world.hosts {
        let wanted = if host.name == name { LOOPS.len() } else { 0 };
        // What an agent has just forked bears its name until it runs something else.
        wait::until(&format!("{wanted} agents on {}", host.name), PATIENCE, || {
            Ok((host.agents()?.len() == wanted).then_some(()))
        })?;
    }
    for file in KEPT {
        let host = &world.hosts[usize::from(name == world.hosts[1].name)];
        let text = fs::read_to_string(host.path(file)).unwrap_or_default();
        let found = text.len();
        ensure!(text == kept(), "{file} on {name} is not what it was: {found} bytes of {}", kept().len());
    }
    numbering()
}

/// What [`KEPT`] has in it since the target was staged.
pub fn kept() -> String {
    (0..20_000).map(|line| format!("{line}\n")).collect()
}

/// The work that reached the remotes last, loop by loop: only loops push to their `main`. No remote here packs its branches,
/// so that each is a file of its own.
fn tips() -> Result<Vec<String>> {
    let tip = |(_, repository): &(&str, &str)| {
        let file = path(&format!("git/{repository}.git/refs/heads/main"));
        fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))
    };
    LOOPS.iter().map(tip).collect()
}

/// Every conversation that the source had when it stopped is on the target, to its last record; the agents there go on with it.
pub fn conversations(world: &World) -> Result<()> {
    let [source, target] = &world.hosts;
    let (mut folders, mut found) = (vec![PROJECTS.to_owned()], 0);
    while let Some(folder) = folders.pop() {
        let list =
            fs::read_dir(source.path(&folder)).with_context(|| format!("no {folder} on {}", source.name));
        for entry in list?.flatten() {
            let name = format!("{folder}/{}", entry.file_name().to_string_lossy());
            if entry.file_type()?.is_dir() {
                folders.push(name);
                continue;
            }
            let (ours, theirs) = (fs::read(entry.path())?, fs::read(target.path(&name)).unwrap_or_default());
            let same = ours.iter().zip(&theirs).take_while(|(one, other)| one == other).count();
            ensure!(
                same == ours.len(),
                "{name}: {} has {} bytes, {} has {same} of them",
                source.name,
                ours.len(),
                target.name
            );
            found += usize::from(same > 0);
        }
    }
    ensure!(found >= LOOPS.len(), "{} has {found} conversations", source.name);
    Ok(())
}

/// On the remotes every loop's numbers go on without a gap or a repeat.
pub fn numbering() -> Result<()> {
    for (name, repository) in LOOPS {
        let verify = ["verify-numbering", "--ref", "main", "--label", name, "--git"];
        let run = Run::new(&[path("tools/bin/claude")]).args(&verify);
        let run = run.arg(path(&format!("git/{repository}.git")));
        let run = run.env("GIT_CONFIG_COUNT", "1").env("GIT_CONFIG_KEY_0", "safe.directory");
        run.env("GIT_CONFIG_VALUE_0", "*").run()?;
    }
    Ok(())
}

/// A thread that looks all the time whether agents run on both hosts.
#[derive(Debug)]
pub struct Sampler {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<usize>>,
}

impl Sampler {
    /// Starts sampling.
    pub fn start() -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let mut samples = 0;
            while !flag.load(Ordering::Relaxed) {
                let seen = agents()?;
                if namespaces(&seen) >= HOSTS.len() {
                    // Seen in two namespaces by one look, and still there at the next, they ran at the same moment.
                    let still = seen.intersection(&agents()?).copied().collect();
                    if namespaces(&still) >= HOSTS.len() {
                        bail!("agents ran on both hosts at the same moment (sample {samples}): {still:?}");
                    }
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

fn namespaces(agents: &BTreeSet<(u64, i32)>) -> usize {
    agents.iter().map(|(namespace, _)| namespace).collect::<BTreeSet<_>>().len()
}

fn agents() -> Result<BTreeSet<(u64, i32)>> {
    // The world itself reads the agents' work with the agents' program.
    let own = fs::metadata("/proc/self/ns/pid").context("this process has no namespace")?.ino();
    let agents = host::agents()?.into_iter().filter(|one| one.namespace != own);
    Ok(agents.map(|one| (one.namespace, one.pid.as_raw_nonzero().get())).collect())
}
