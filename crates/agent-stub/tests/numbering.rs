//! Real git, real kills: numbering goes on without gap or repeat, and shows what was lost.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // tests, helpers too

mod common;

use std::thread;
use std::time::Duration;

use common::{Bed, Running};
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
    let seed = std::env::var("STUB_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok());
    seed.unwrap_or(20_251_121)
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
        stub.kill();
    }
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
