//! What the kernel did to a loop for its limits, told from the counters of its cgroup before and after.
//!
//! Sources: cgroups(7); the kernel's Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/{memory,pids}.rst.

/// The counters of one loop's cgroup at one moment; absent where the kernel has none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Processes the kernel killed in it for want of memory.
    pub oom_kills: Option<u64>,
    /// How often it stood at its own memory limit.
    pub at_memory_limit: Option<u64>,
    /// Its memory limit in bytes.
    pub memory_limit: Option<u64>,
    /// How often it was refused a process or thread.
    pub tasks_refused: Option<u64>,
    /// How many processes and threads it may have.
    pub tasks_limit: Option<u64>,
}

/// What the kernel did between two readings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deed {
    /// Processes it killed.
    pub killed: u64,
    /// Why: `out of its memory limit of 200 MiB`.
    pub memory: Option<String>,
    /// New processes it refused: `its limit of 64 tasks`.
    pub tasks: Option<String>,
}

impl Deed {
    /// What it did, if anything. A counter that went back is that of another cgroup and tells nothing.
    pub fn between(before: &Counters, after: &Counters) -> Option<Self> {
        let grown = |before: Option<u64>, after: Option<u64>| {
            after.and_then(|after| after.checked_sub(before.unwrap_or(0))).unwrap_or(0)
        };
        let killed = grown(before.oom_kills, after.oom_kills);
        let own = grown(before.at_memory_limit, after.at_memory_limit) > 0;
        let memory = (killed > 0).then(|| match after.memory_limit.filter(|_| own) {
            Some(limit) => format!("out of its memory limit of {}", size(limit)),
            // The slice that all loops share, or the machine.
            None => "no memory was left, and not by a limit of its own".into(),
        });
        let refused = grown(before.tasks_refused, after.tasks_refused) > 0;
        let tasks = refused.then(|| match after.tasks_limit {
            Some(limit) => format!("its limit of {limit} tasks"),
            None => "a limit of tasks that is not its own".into(),
        });
        (memory.is_some() || tasks.is_some()).then_some(Self { killed, memory, tasks })
    }

    /// In words, for a loop whose agent runs or ended otherwise.
    pub fn words(&self) -> String {
        let killed = self.memory.as_ref().map(|why| {
            let (count, s) = (self.killed, if self.killed == 1 { "" } else { "es" });
            format!("the kernel killed {count} process{s} of it: {why}")
        });
        let refused = self.tasks.as_ref().map(|why| format!("the kernel refused it new processes: {why}"));
        killed.into_iter().chain(refused).collect::<Vec<_>>().join("; ")
    }

    /// In words, for an agent that ended like this: what killed it when that was the kernel.
    pub fn end(&self, how: &str, by_kill: bool) -> String {
        match &self.memory {
            Some(why) if by_kill => format!("killed by the kernel: {why}"),
            _ => format!("{how}; {}", self.words()),
        }
    }
}

/// Bytes as people set them.
fn size(bytes: u64) -> String {
    const UNITS: [(u64, &str); 3] = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    let whole = UNITS.iter().find(|(unit, _)| bytes >= *unit && bytes.is_multiple_of(*unit));
    match whole {
        Some((unit, name)) => format!("{} {name}", bytes / unit),
        None => format!("{} MiB", bytes >> 20),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALM: Counters = Counters {
        oom_kills: Some(2),
        at_memory_limit: Some(5),
        memory_limit: Some(200 << 20),
        tasks_refused: Some(0),
        tasks_limit: Some(64),
    };

    fn words(after: Counters) -> Option<String> {
        Deed::between(&CALM, &after).map(|deed| deed.words())
    }

    #[test]
    fn only_what_grew_is_told() {
        assert_eq!(words(CALM), None);
        assert_eq!(Deed::between(&Counters::default(), &Counters::default()), None);
        // Reclaim at the limit is everyday.
        assert_eq!(words(Counters { at_memory_limit: Some(900), ..CALM }), None);
        let own = Counters { oom_kills: Some(3), at_memory_limit: Some(6), ..CALM };
        let said = "the kernel killed 1 process of it: out of its memory limit of 200 MiB";
        assert_eq!(words(own), Some(said.into()));
        let other = words(Counters { oom_kills: Some(4), ..CALM }).unwrap();
        assert!(other.contains("2 processes") && !other.contains("200 MiB"), "{other}");
        let refused = words(Counters { tasks_refused: Some(9), ..CALM });
        assert_eq!(refused, Some("the kernel refused it new processes: its limit of 64 tasks".into()));
        assert_eq!(words(Counters { oom_kills: Some(0), ..CALM }), None, "another cgroup's counter");
    }

    #[test]
    fn an_end_names_the_kernel_when_it_was_the_kernel() {
        let after = Counters { oom_kills: Some(3), at_memory_limit: Some(6), tasks_refused: Some(1), ..CALM };
        let deed = Deed::between(&CALM, &after).unwrap();
        let killed = "killed by the kernel: out of its memory limit of 200 MiB";
        assert_eq!(deed.end("ended by signal 9", true), killed);
        assert!(deed.end("exit status 2", false).starts_with("exit status 2; the kernel killed 1 process"));
        let tasks = Deed { killed: 0, memory: None, tasks: Some("its limit of 64 tasks".into()) };
        // Somebody else's `kill -9` is not the kernel's.
        assert!(tasks.end("ended by signal 9", true).starts_with("ended by signal 9; the kernel refused"));
    }

    #[test]
    fn sizes_are_as_people_set_them() {
        for (bytes, text) in [(200 << 20, "200 MiB"), (2 << 30, "2 GiB"), (1_500_000_000, "1430 MiB")] {
            assert_eq!(size(bytes), text);
        }
    }
}
