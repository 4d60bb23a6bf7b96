//! Loops that are kept apart: one that eats all memory or bombs with forks, and one with a user of its own that reads
//! what it may not write. What the bed's kernel cannot show is told in the run's output.

use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::container::Container;

const RIG: &str = r"
rig: demo
workspace: { root: /srv/w, user: loops, repositories: {}, carry: [theirs, adv] }
phases: [{ id: a, plan: a.md }]
loops:
  one: { agent: command, workdir: ., command: [/usr/local/bin/agent, one], limits: { memory_max: 64MiB, cpu_weight: 50 } }
  two: { agent: command, workdir: ., command: [/usr/local/bin/agent, two], limits: { tasks: 40, memory_high: 1GiB } }
  adv:
    agent: command
    workdir: adv
    command: [/usr/local/bin/adversary]
    user: adversary
    read_only: [theirs]
    hidden: [.secret]
hosts: { vm: HOST }
";
/// Far more than an answer takes on a loaded machine, and less than it takes when somebody has to be ended first.
const PROMPT: Duration = Duration::from_secs(20);
/// How often each is asked meanwhile.
const ROUNDS: usize = 10;
const ADVERSARY: &str = "#!/bin/sh\\ntrap \"exit 0\" TERM\\n{ id -un; cat ../theirs/test; echo bad > ../theirs/test; cat ../.secret; echo ok > mine; } > said 2>&1\\nwhile :; do sleep 0.1; done\\n";

#[test]
fn loops_are_kept_apart() {
    let vm = Container::installed("isolated", RIG);
    vm.push(Path::new("tests/host_systemd/agent.sh"), "/usr/local/bin/agent");
    vm.tells(&format!("printf '{ADVERSARY}' > /usr/local/bin/adversary; chmod 755 /usr/local/bin/adversary"));
    vm.tells("cd /srv/w; runuser -u loops -- sh -c 'umask 022; mkdir theirs adv; echo good > theirs/test; echo s > .secret'");
    // By its modes alone the group could write this one.
    vm.tells("chmod -R g+w /srv/w/theirs");
    vm.operator(&["lease", "init", "--holder", "vm", "--host", "vm"]);
    vm.operator(&["resume", "--host", "vm"]);
    vm.until_well();
    user_of_its_own(&vm);
    state_of_its_own(&vm);
    settings(&vm);
    others_answer(&vm, "one", "hogs", "two");
    others_answer(&vm, "two", "bombs", "one");
    let others = ["two", "adv"].map(|name| (name, vm.agent(name)));
    eaten(&vm, "one", "eat", "killed by the kernel: out of its memory limit of 64 MiB");
    for (name, pid) in others {
        assert_eq!(vm.agent(name), pid, "the agent of {name} is another process");
    }
    let others = ["one", "adv"].map(|name| (name, vm.agent(name)));
    eaten(&vm, "two", "bomb", "the kernel refused it new processes: its limit of 40 tasks");
    for (name, pid) in others {
        assert_eq!(vm.agent(name), pid, "the agent of {name} is another process");
    }
    vm.until_well();
    uninstalled(&vm);
}

fn user_of_its_own(vm: &Container) {
    vm.until_holds("grep -q ok /srv/w/adv/mine");
    let said = vm.tells("cat /srv/w/adv/said");
    assert!(said.starts_with("adversary\ngood\n"), "{said}");
    assert!(said.contains("Read-only file system") && said.contains("Permission denied"), "{said}");
    assert_eq!(vm.tells("cat /srv/w/theirs/test"), "good");
    assert_eq!(vm.tells("stat -c '%U %G %A' /srv/w/adv/mine"), "adversary loops -rw-rw-r--");
    assert_eq!(
        vm.tells("stat -c %U /run/ccorch-loops/adv /run/ccorch-loops/adv/tmux"),
        "adversary\nadversary"
    );
    assert!(vm.holds("ccorch loops logs adv"), "its tmux is not spoken to as its user");
}

/// Has a loop do its worst and waits for its restart, whose reason is the kernel's.
fn eaten(vm: &Container, name: &str, how: &str, reason: &str) {
    vm.tells(&format!("runuser -u loops -- touch /srv/w/{name}.{how}"));
    vm.until(&format!("a restart of {name}"), || (vm.report(name)["restarts"] == 1).then_some(()));
    vm.until_loop(name, "running");
    let told = vm.tells("cat /var/lib/ccorch/events.jsonl");
    assert!(told.contains(reason), "{told}");
}

/// What is kept about loops is root's, and what one's own start and stop need of it is its user's.
fn state_of_its_own(vm: &Container) {
    let stopped = |name: &str, owner: &str| {
        vm.tells(&format!("ccorch loops stop {name}"));
        // Its stop, which runs as its user, read why it was stopped.
        let stop = format!("/var/lib/ccorch-loops/{name}/last-stop.json");
        vm.tells(&format!("grep -q '\"why\": \"held\"' {stop}"));
        let share = format!("/var/lib/ccorch/shares/{name}.json");
        assert_eq!(vm.tells(&format!("stat -c '%U %a' {share}")), format!("{owner} 600"));
        share
    };
    let shares = [stopped("two", "loops"), stopped("adv", "adversary")];
    let secret = ["loops/two.json", "loops/adv.json", "events.jsonl"].map(|f| format!("/var/lib/ccorch/{f}"));
    let readable = |user: &str, path: &str| vm.holds(&format!("runuser -u {user} -- cat {path}"));
    for path in &secret {
        vm.tells(&format!("test -s {path}"));
        assert!(!readable("adversary", path) && !readable("loops", path), "{path}");
    }
    assert!(readable("loops", &shares[0]) && readable("adversary", &shares[1]));
    assert!(!readable("adversary", &shares[0]) && !readable("loops", &shares[1]));
    // Nothing else that lies there tells one of the other either.
    let found =
        vm.tells("runuser -u adversary -- find /var/lib/ccorch /var/lib/ccorch-loops /run/ccorch-loops -type f -readable 2>/dev/null || true");
    for path in found.lines() {
        assert!(!vm.holds(&format!("grep -qE 'two|evidence|nudge|session' {path}")), "{path} in {found}");
    }
    vm.tells("ccorch loops start two; ccorch loops start adv");
    vm.until_well();
}

/// The settings are systemd's, and the kernel's where it has such a thing.
fn settings(vm: &Container) {
    assert_eq!(vm.unit("one", "CPUWeight"), "50");
    assert_eq!(vm.unit("two", "MemoryHigh"), (1u64 << 30).to_string());
    // By the name of version 2 of cgroups, or of version 1, whose share of 1024 is a weight of 100.
    in_kernel(vm, "one", &[("cpu.weight", "50"), ("cpu.shares", "512")]);
    in_kernel(vm, "two", &[("memory.high", "1073741824")]);
}

/// One of these files of the loop's cgroup holds its value, or the run says that the kernel has none of them.
fn in_kernel(vm: &Container, name: &str, files: &[(&str, &str)]) {
    let group = vm.unit(name, "ControlGroup");
    for (file, value) in files {
        let path = vm.tells(&format!("find /sys/fs/cgroup -path '*{group}/{file}'"));
        if !path.is_empty() {
            assert_eq!(vm.tells(&format!("cat {path}")), *value, "{path}");
            return;
        }
    }
    let files: Vec<&str> = files.iter().map(|(file, _)| *file).collect();
    // Past the harness, which keeps what a test that passes prints.
    let said = format!("not run: this kernel has no {} for loops, only systemd has it\n", files.join(" or "));
    std::io::stderr().write_all(said.as_bytes()).unwrap();
}

/// While one loop does its worst, others and the supervisor answer.
fn others_answer(vm: &Container, name: &str, how: &str, other: &str) {
    let agents = vm.agents(["one", "two", "adv"]);
    vm.tells(&format!("runuser -u loops -- touch /srv/w/{name}.{how}"));
    // The kernel ended it or refused it something for the first time.
    vm.until_holds(&format!("test -e /srv/w/{name}.worst"));
    let mut slowest = Duration::ZERO;
    for _ in 0..ROUNDS {
        let ask = format!("rm -f /srv/w/{other}.answer; runuser -u loops -- touch /srv/w/{other}.ask");
        for question in [
            "ccorch loops list".to_owned(),
            format!("runuser -u loops -- tmux -S /run/ccorch-loops/{other}/tmux has-session"),
            format!("{ask}; until test -e /srv/w/{other}.answer; do sleep 0.05; done"),
        ] {
            let began = Instant::now();
            vm.tells(&question);
            slowest = slowest.max(began.elapsed());
        }
    }
    eprintln!("{ROUNDS} rounds of answers while {name} {how}, the slowest in {slowest:?}");
    assert!(
        !vm.holds(&format!("test -e /srv/w/{name}.over")),
        "{name} was over too soon: nothing was proven"
    );
    assert!(slowest < PROMPT, "while {name} {how} an answer took {slowest:?}");
    vm.tells(&format!("runuser -u loops -- touch /srv/w/{name}.enough"));
    vm.until_holds(&format!("test -e /srv/w/{name}.over"));
    assert_eq!(vm.agents(["one", "two", "adv"]), agents, "an agent is another process");
}

fn uninstalled(vm: &Container) {
    assert!(vm.holds("grep -qx user:adversary /etc/ccorch/installed"));
    vm.operator(&["host", "uninstall", "vm", "--force"]);
    assert!(!vm.holds("id adversary") && vm.holds("id loops"));
}
