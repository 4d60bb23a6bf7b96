//! Real git, real kills: numbering goes on without gap or repeat, and shows what was lost.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // tests, helpers too

mod common;

use std::fs;
use std::thread;
use std::time::Duration;

use common::{Bed, Running};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

/// xorshift64*: the kills come at the same moments for the same seed.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) % bound
    }
}

fn seed() -> u64 {
    let seed = std::env::var("STUB_SEED").ok().and_then(|seed| seed.parse().ok());
    seed.unwrap_or(20_251_121)
}

/// Kills the stub and, as a power cut does, its gits in the clone with it. What works for
/// the remote is left alone: that is another machine.
fn power_off(bed: &Bed, stub: &mut Running) {
    stub.signal(Signal::STOP); // so that nothing new is started meanwhile
    let mut found = vec![stub.0.id()];
    let mut at = 0;
    while at < found.len() {
        for task in fs::read_dir(format!("/proc/{}/task", found[at])).into_iter().flatten().flatten() {
            let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
            found.extend(children.split_whitespace().map(|pid| pid.parse::<u32>().unwrap()));
        }
        at += 1;
    }
    stub.kill();
    for pid in &found[1..] {
        let in_clone =
            fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd.starts_with(bed.path("builder")));
        let pid = Pid::from_raw(i32::try_from(*pid).unwrap()).unwrap();
        if in_clone {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}

#[test]
fn kill_9_at_random_moments_breaks_nothing() {
    let seed = seed();
    println!("STUB_SEED={seed}");
    let mut random = Random(seed);
    let bed = Bed::new();
    bed.clone_to("adversary");
    bed.configure(json!({"interval_ms": 60}));
    // A second clone pushes to the same branch all the time, so pushes are refused and rebased.
    let mut other = Running::start(bed.stub("adversary"));
    let (mut cut, mut locks, mut rebases) = (0, 0, 0);
    for round in 0..12 {
        let mut command = bed.stub("builder");
        if !bed.transcripts("builder").is_empty() {
            command.arg("--continue");
        }
        let mut stub = Running::start(command);
        if round % 4 == 3 {
            // Now and then it gets so far as to finish what the kills left.
            bed.wait_for_done("builder", bed.done("builder") + 1);
        }
        // The moment itself is what is tried; it is not a wait for anything.
        thread::sleep(Duration::from_micros(random.below(700_000)));
        if round % 2 == 0 {
            stub.kill();
        } else {
            power_off(&bed, &mut stub);
        }
        let records = bed.records("builder");
        let begun = records.iter().rfind(|record| record["type"] == "work");
        cut += u32::from(begun.is_some_and(|record| record["state"] == "intent"));
        locks += u32::from(bed.path("builder/.git/index.lock").exists());
        rebases += u32::from(bed.path("builder/.git/rebase-merge").exists());
    }
    println!("cut in a unit: {cut}, locks left: {locks}, rebases left: {rebases}");
    assert!(cut > 0, "no kill hit a unit of work");
    other.stop();
    let before = bed.done("builder");
    let mut stub = Running::start({
        let mut command = bed.stub("builder");
        command.arg("--continue");
        command
    });
    bed.wait_for_done("builder", before + 3);
    stub.stop();
    assert!(bed.assert_whole("builder", "builder") >= before + 3);
    bed.assert_whole("adversary", "adversary");
}

#[test]
fn two_clones_share_a_branch() {
    let bed = Bed::new();
    bed.clone_to("adversary");
    bed.configure(json!({"interval_ms": 150}));
    let mut stubs = ["builder", "adversary"].map(|name| Running::start(bed.stub(name)));
    for name in ["builder", "adversary"] {
        bed.wait_for_done(name, 8);
    }
    stubs.iter_mut().for_each(Running::stop);
    for name in ["builder", "adversary"] {
        let (code, report) = bed.verify("remote.git", name);
        assert_eq!(code, 0, "{report}");
        assert!(report["last"].as_u64().unwrap() >= 8);
    }
}
