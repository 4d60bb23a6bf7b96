//! Going through the states. A search goes its own way, so that what it finds is found again; what the searches came to is counted
//! in one set of fingerprints, so that a state counts once whoever comes to it.

use std::collections::{HashSet, VecDeque};
use std::fmt;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher, Hash};
use std::rc::Rc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::settle::settles;
use crate::world::{Budget, World};

/// The states that any search has come to, whatever may still happen to them. Two of ten million share a fingerprint by accident
/// with a chance of one in 300 000; it would cost a state, not a false alarm.
pub struct Known {
    distinct: Vec<Mutex<HashSet<u64>>>,
    pub settled: AtomicUsize,
}

const SHARDS: u64 = 64;

impl Known {
    pub fn new() -> Self {
        Self { distinct: (0..SHARDS).map(|_| Mutex::default()).collect(), settled: AtomicUsize::new(0) }
    }

    fn count(&self, world: &World) {
        let bare = fingerprint(&World { budget: Budget::default(), ..world.clone() });
        self.distinct[usize::try_from(bare % SHARDS).unwrap()].lock().unwrap().insert(bare);
    }

    /// How many worlds differ in more than what may still happen to them.
    pub fn distinct(&self) -> usize {
        self.distinct.iter().map(|shard| shard.lock().unwrap().len()).sum()
    }
}

fn fingerprint(world: &impl Hash) -> u64 {
    BuildHasherDefault::<DefaultHasher>::default().hash_one(world)
}

/// How a search goes.
#[derive(Debug, Clone, Copy)]
pub struct Search {
    /// So many states and no more.
    pub most: usize,
    /// One in so many is also let settle.
    pub sample: u64,
    /// Where it goes first. A search that starts at the beginning and always takes the last way first sees one corner of a
    /// large world; so it first walks this far at random, and takes the ways from there in an order of its own.
    pub seed: u64,
    pub walk: u64,
    /// The nearest states first, so that what is found has a short way; else the farthest.
    pub near: bool,
}

/// What a search came to.
pub struct Searched {
    pub states: usize,
    pub whole: bool,
}

/// A small generator (SplitMix64), so that a seed is all there is to tell.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % u64::try_from(end).unwrap()).unwrap()
    }
}

/// How a search came to a state.
struct Way {
    world: World,
    before: Option<Rc<Self>>,
}

impl fmt::Display for Way {
    /// A line a state, the last one whole.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mut lines, mut at) = (vec![format!("{:#?}", self.world)], Some(self));
        while let Some(way) = at {
            lines.push(way.world.in_short());
            at = way.before.as_deref();
        }
        lines.dedup();
        lines.iter().rev().try_for_each(|line| writeln!(f, "{line}"))
    }
}

impl Drop for Way {
    /// A long way is dropped without recursion.
    fn drop(&mut self) {
        let mut before = self.before.take();
        while let Some(way) = before {
            before = Rc::try_unwrap(way).ok().and_then(|mut way| way.before.take());
        }
    }
}

fn after(world: &World) -> Vec<World> {
    let mut all = Vec::new();
    world.happens(&mut all);
    for machine in 0..2 {
        all.extend(world.drive(machine));
        all.extend(world.bad_luck(machine));
    }
    all.extend(world.orphan_acts());
    all
}

/// Goes through every state that can be reached and nobody has been to, or as many as asked; what is wrong, if something is.
pub fn search(first: World, how: Search, known: &Known) -> Result<Searched, String> {
    let mut random = Random(how.seed);
    let mut start = first;
    for _ in 0..how.walk {
        let mut ways = after(&start);
        if ways.is_empty() {
            break;
        }
        start = ways.swap_remove(random.below(ways.len()));
        if let Some(wrong) = start.wrong() {
            return Err(format!("{wrong} on the walk of seed {}: {start:#?}", how.seed));
        }
    }
    let mut visited = HashSet::new();
    let mut open = VecDeque::from([Rc::new(Way { world: start, before: None })]);
    while let Some(way) = if how.near { open.pop_front() } else { open.pop_back() } {
        let world = &way.world;
        let fingerprint = fingerprint(world);
        if !visited.insert(fingerprint) {
            continue;
        }
        known.count(world);
        let states = visited.len();
        if let Some(wrong) = world.wrong() {
            return Err(format!("{wrong}, by this way:\n{way}"));
        }
        if fingerprint.is_multiple_of(how.sample) {
            known.settled.fetch_add(1, Ordering::Relaxed);
            settles(world).map_err(|why| format!("no way on or back: {why}\nfrom the end of\n{way}"))?;
        }
        if states >= how.most {
            return Ok(Searched { states, whole: false });
        }
        let mut ways = after(world);
        for end in (1..ways.len()).rev() {
            ways.swap(end, random.below(end + 1));
        }
        open.extend(ways.into_iter().map(|world| Rc::new(Way { world, before: Some(Rc::clone(&way)) })));
    }
    Ok(Searched { states: visited.len(), whole: true })
}
