//! Loops that are kept apart: one that eats all memory or bombs with forks, and one with a user of its own that reads
//! what it may not write. CPU weight and memory high are only looked up in systemd: the bed's kernel does not show them.

use std::path::Path;

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
    assert_eq!(vm.unit("one", "CPUWeight"), "50");
    assert_eq!(vm.unit("two", "MemoryHigh"), (1u64 << 30).to_string());
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

fn uninstalled(vm: &Container) {
    assert!(vm.holds("grep -qx user:adversary /etc/ccorch/installed"));
    vm.operator(&["host", "uninstall", "vm", "--force"]);
    assert!(!vm.holds("id adversary") && vm.holds("id loops"));
}
