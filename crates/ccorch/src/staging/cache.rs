//! What one cutover has learned of its hosts and need not ask again while nobody works: homes, hashes of files, and for the
//! next who asks what the repositories are like.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use anyhow::{Context as _, Result, anyhow};
use ccorch_io::host::Host;

use super::Facts;

/// Host and path.
type Place = (String, Vec<u8>);

/// What a file looked like when it was hashed, and its hash.
type Hashed = (Vec<u8>, Vec<u8>);

/// Lives as long as one run of the driver; a run that goes on after a crash asks everything anew.
#[derive(Debug, Default)]
pub struct Cache {
    who: Mutex<BTreeMap<String, (String, String)>>,
    hashes: Mutex<HashMap<Place, Hashed>>,
    facts: Mutex<BTreeMap<String, Vec<Facts>>>,
}

impl Cache {
    /// The home of the workspace's user, and who owns the workspace (empty where there is none).
    pub fn who(&self, host: &Host, user: &str, root: &str) -> Result<(String, String)> {
        if let Some(known) = lock(&self.who).get(&host.name) {
            return Ok(known.clone());
        }
        let script = r#"getent passwd "$1"; s=$?; [ $s = 0 ] || [ $s = 2 ] || exit $s
if [ -e "$2" ]; then stat -c 'owner %U' -- "$2"; fi"#;
        let text = host.command(&["sh", "-c", script, "who", user, root]).read()?;
        let (mut home, mut owner) = (None, String::new());
        for line in text.lines() {
            match line.strip_prefix("owner ") {
                Some(name) => owner = name.to_owned(),
                None => home = line.split(':').nth(5).map(ToOwned::to_owned),
            }
        }
        let home = home.with_context(|| {
            format!("{}: there is no user `{user}` (the rig's `workspace.user`)", host.name)
        })?;
        lock(&self.who).insert(host.name.clone(), (home.clone(), owner.clone()));
        Ok((home, owner))
    }

    /// The hash of a file's content, if the file is still the one that was hashed: `key` is its size, times of content
    /// and of inode, and inode.
    pub fn hash(&self, place: &Place, key: &[u8]) -> Option<Vec<u8>> {
        lock(&self.hashes).get(place).filter(|(known, _)| known == key).map(|(_, hash)| hash.clone())
    }

    /// The facts of a host's repositories as they were last seen, once: whoever asks again may have changed them.
    pub fn take_facts(&self, host: &Host) -> Option<Vec<Facts>> {
        lock(&self.facts).remove(&host.name)
    }

    /// Keeps the facts of a host on which nobody works, for the next who asks.
    pub fn keep_facts(&self, host: &Host, facts: Vec<Facts>) {
        lock(&self.facts).insert(host.name.clone(), facts);
    }

    /// Remembers a hash.
    pub fn remember(&self, place: Place, key: Vec<u8>, hash: Vec<u8>) {
        lock(&self.hashes).insert(place, (key, hash));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is in it is whole at any moment.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Does two things at the same time.
pub fn both<A: Send, B>(
    one: impl FnOnce() -> Result<A> + Send,
    other: impl FnOnce() -> Result<B>,
) -> Result<(A, B)> {
    thread::scope(|scope| {
        let one = scope.spawn(one);
        let other = other();
        let one = one.join().map_err(|_| anyhow!("a thread came to a sudden end"))?;
        Ok((one?, other?))
    })
}

/// Does the same to many, four at a time (sshd allows ten sessions on a connection); answers in order.
pub fn each<T: Sync, A: Send>(all: &[T], act: impl Fn(&T) -> Result<A> + Sync) -> Result<Vec<A>> {
    let next = Mutex::new(0..all.len());
    let work = || -> Vec<(usize, Result<A>)> {
        let mut mine = Vec::new();
        loop {
            let Some(index) = lock(&next).next() else { return mine };
            mine.push((index, act(&all[index])));
        }
    };
    let mut done = thread::scope(|scope| {
        let threads: Vec<_> = (0..4.min(all.len())).map(|_| scope.spawn(work)).collect();
        let joined =
            threads.into_iter().map(|t| t.join().map_err(|_| anyhow!("a thread came to a sudden end")));
        joined.collect::<Result<Vec<_>>>()
    })?;
    let mut done: Vec<_> = done.drain(..).flatten().collect();
    done.sort_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, answer)| answer).collect()
}
