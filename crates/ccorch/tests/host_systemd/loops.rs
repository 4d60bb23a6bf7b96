//! Loops on a real systemd: what one loop, the supervisor, a person or an attacker does, and what becomes of the others.
//! One container of the test bed; `boots.rs` is about its boots and its lease.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::container::{Container, ccorch};
use crate::slow;

const LOOPS: [&str; 3] = ["one", "three", "two"];
const RIG: &str = r"
rig: demo
workspace: { root: /srv/w, user: loops, repositories: {} }
phases: [{ id: a, plan: a.md }]
loops:
  one: { agent: command, workdir: ., command: [/usr/local/bin/agent, one] }
  two: { agent: command, workdir: ., command: [/usr/local/bin/agent, two] }
  three: { agent: command, workdir: ., command: [/usr/local/bin/agent, three] }
hosts: { vm: HOST }
";

/// A step of the walk and what it is called.
type Step = (&'static str, fn(&Container));

#[test]
fn loops_live_and_die_apart() {
    let vm = Container::installed("apart", RIG);
    vm.push(Path::new("tests/host_systemd/agent.sh"), "/usr/local/bin/agent");
    let steps: [Step; 16] = [
        ("the units are installed as they are", installed_units),
        ("a start on a host without the lease is refused", refused),
        ("the holder starts", starts),
        ("a loop's main process is its tmux server", main_process),
        ("a stop by hand", stopped_by_hand),
        ("an agent that fails", failing_agent),
        ("an agent that is killed", killed_agent),
        ("a tmux server that is killed", killed_server),
        ("a tmux server that systemd knows nothing of", unknown_server),
        ("a build that eats all memory", out_of_memory),
        ("root and another user at an agent's tmux", strangers_at_tmux),
        ("an agent that has something to say", speaks),
        ("a supervisor that restarts or is killed", supervisor),
        ("a supervisor that hangs", hung_supervisor),
        ("a systemd that does not answer", slow::no_answer),
        ("an upgrade", upgrade),
    ];
    for (what, step) in steps {
        let began = Instant::now();
        eprintln!("{what} ...");
        step(&vm);
        eprintln!("{what}: {:.1} s", began.elapsed().as_secs_f64());
    }
}

fn agents(vm: &Container) -> BTreeMap<&'static str, u64> {
    LOOPS.into_iter().zip(vm.agents(LOOPS)).collect()
}

/// Every agent but the named ones is the process that it was.
fn untouched(vm: &Container, before: &BTreeMap<&str, u64>, but: &[&str]) {
    let now: BTreeMap<_, _> = LOOPS.into_iter().zip(vm.reports(LOOPS)).collect();
    for (name, pid) in before.iter().filter(|(name, _)| !but.contains(name)) {
        assert_eq!(now[name]["pid"], *pid, "the agent of {name} is another process");
        assert!(vm.holds(&format!("grep -qz {name} /proc/{pid}/cmdline")), "the agent of {name} is gone");
    }
}

fn installed_units(vm: &Container) {
    for entry in fs::read_dir("units").unwrap().map(Result::unwrap) {
        let name = entry.file_name().into_string().unwrap();
        let there = vm.tells(&format!("cat '/etc/systemd/system/{name}'"));
        assert_eq!(there, fs::read_to_string(entry.path()).unwrap().trim(), "{name}");
    }
    let said = vm.tells("systemd-analyze verify --man=no ccorch.target ccorch-loop@one.service 2>&1");
    assert_eq!(said, "");
}

/// What an agent leaves in its own folder is taken by the supervisor, whose unit sees little of the host.
fn speaks(vm: &Container) {
    vm.tells("runuser -u loops -- env CCORCH_LOOP=one ccorch notify from a loop");
    vm.until_holds(
        "grep '\"what\":\"notify\",\"loop\":\"one\",\"detail\":\"from a loop\"' /var/lib/ccorch/chatter.jsonl",
    );
    vm.until_holds("test -z \"$(ls /var/lib/ccorch-loops/one/notify)\"");
    assert!(!vm.holds("runuser -u loops -- ccorch notify nobody says this"), "root's own folder takes it");
}

/// A start that the lease refuses is none, and no failure that systemd or a person would try again.
fn refused(vm: &Container) {
    let refused = "journalctl --no-pager -u ccorch-loop@one.service | grep -c 'loop one is not started: '";
    let start = |why: &str| {
        let before = vm.tells(&format!("{refused} || true"));
        assert!(vm.holds("systemctl start ccorch-loop@one.service"), "{why}: a refused start is no error");
        assert_eq!(vm.unit("one", "ActiveState"), "inactive", "{why}");
        vm.until_holds(&format!("test $({refused}) -gt {before}"));
        assert!(!vm.holds("runuser -u loops -- ccorch lease check"), "{why}");
    };
    start("no lease");
    vm.tells("mkdir -p /var/lib/ccorch; echo '{' > /var/lib/ccorch/lease.json");
    start("a damaged lease");
    vm.tells("rm /var/lib/ccorch/lease.json; mv /etc/ccorch/rig.json /etc/ccorch/away.json");
    start("no rig");
    vm.tells("mv /etc/ccorch/away.json /etc/ccorch/rig.json");
    vm.tells("mv /usr/local/bin/ccorch /usr/local/bin/away");
    assert!(!vm.holds("systemctl start ccorch-loop@one.service"), "nobody was asked");
    assert_eq!(vm.unit("one", "ActiveState"), "failed");
    vm.tells("mv /usr/local/bin/away /usr/local/bin/ccorch; systemctl reset-failed ccorch-loop@one.service");
    assert!(!vm.holds("pgrep -x agent"));
}

fn starts(vm: &Container) {
    vm.operator(&["lease", "init", "--holder", "vm", "--host", "vm"]);
    let receipt = vm.operator(&["resume", "--host", "vm"]);
    assert!(receipt.contains("all is well"), "{receipt}");
}

fn main_process(vm: &Container) {
    for name in LOOPS {
        let pid = vm.unit(name, "MainPID");
        assert!(vm.holds(&format!("test /proc/{pid}/exe -ef /usr/bin/tmux")), "{name}: {pid} is no tmux");
        let socket = format!("/run/ccorch-loops/{name}/tmux");
        let asked = vm.tells(&format!("runuser -u loops -- tmux -S {socket} display-message -p '#{{pid}}'"));
        assert_eq!(asked, pid);
        assert!(vm.unit(name, "ControlGroup").starts_with("/ccorch.slice/ccorch-loops.slice/"));
    }
}

fn stopped_by_hand(vm: &Container) {
    let before = agents(vm);
    vm.tells("rm -f /srv/w/left; systemctl stop ccorch-loop@two.service");
    // The agent was asked first, and what it had started got its own TERM.
    assert_eq!(vm.tells("uniq /srv/w/left"), "two agent\ntwo child");
    assert!(!vm.holds("ls /run/ccorch-loops/two"), "its runtime folder stays");
    for name in ["one", "three"] {
        vm.tells(&format!("test -S /run/ccorch-loops/{name}/tmux"));
    }
    untouched(vm, &before, &["two"]);
    assert_eq!(vm.until_loop("two", "stopped")["reason"], "stopped by hand");
    let why =
        |why: &str| vm.tells(&format!("grep '\"why\": \"{why}\"' /var/lib/ccorch-loops/two/last-stop.json"));
    why("outside");
    // Other loops' ups and downs are no reason to start it.
    vm.tells("ccorch loops restart three");
    assert_eq!(vm.report("two")["state"], "stopped");

    vm.tells("systemctl start ccorch-loop@two.service");
    vm.until_loop("two", "running");
    vm.tells("systemctl stop ccorch-loop@two.service");
    vm.until_loop("two", "stopped");
    vm.tells("ccorch loops start two");
    assert_eq!(vm.report("two")["state"], "running");

    vm.tells("ccorch loops stop two");
    why("held");
    assert_eq!(vm.report("two")["state"], "held");
    vm.tells("systemctl restart ccorch-supervisor.service");
    assert_eq!(vm.until_loop("two", "held")["restarts"], 0);
    vm.tells("ccorch loops start two");
    vm.until_well();
}

/// Through tmux and systemd alone its exit status and its last words are lost.
fn failing_agent(vm: &Container) {
    let before = agents(vm);
    let failures = "journalctl --no-pager -u ccorch-loop@one.service | grep -c 'Failed with' || true";
    let failed = vm.tells(failures);
    vm.tells("runuser -u loops -- touch /srv/w/one.fail");
    vm.until("a restart of one", || (vm.report("one")["restarts"] == 1).then_some(()));
    vm.until_loop("one", "running");
    let journal = vm.tells("journalctl --no-pager -u ccorch-loop@one.service");
    assert!(journal.contains("Deactivated successfully") && vm.tells(failures) == failed, "{journal}");
    let logs = vm.operator(&["loops", "logs", "one", "--host", "vm"]);
    assert!(logs.contains("exit status 7") && logs.contains("last words of one"), "{logs}");
    untouched(vm, &before, &["one"]);
}

/// The next one is started where it was: unit and tmux server stay, and nothing of it is left in them.
fn killed_agent(vm: &Container) {
    let before = agents(vm);
    let place = || ["MainPID", "InvocationID"].map(|what| vm.unit("two", what));
    let processes =
        "cat $(find /sys/fs/cgroup -path '*ccorch-loop@two.service/cgroup.procs') | sort -u | tr '\\n' ' '";
    let (at, tmux) = (place(), "runuser -u loops -- tmux -S /run/ccorch-loops/two/tmux");
    vm.tells(&format!("{tmux} send-keys typed-before-its-end"));
    let old = vm.tells(processes);
    vm.tells(&format!("kill -9 {}", before["two"]));
    vm.until("a restart of two", || (vm.report("two")["restarts"] == 1).then_some(()));
    vm.until_loop("two", "running");
    let logs = vm.tells("ccorch loops logs two");
    assert!(logs.contains("ended by signal 9") && logs.contains("this is two"), "{logs}");
    assert_eq!(place(), at, "the unit was started anew");
    let (old, new) = (old.split(' '), vm.tells(processes));
    let stayed = old.filter(|pid| new.split(' ').any(|other| other == *pid)).count();
    assert_eq!(stayed, 2, "others than the tmux server and the agent's parent: {new}");
    vm.until("its first words", || {
        vm.tells(&format!("{tmux} capture-pane -p -S -")).contains("this is two").then_some(())
    });
    let screen = vm.tells(&format!("{tmux} capture-pane -p -S -"));
    assert!(screen.matches("this is two").count() == 1 && !screen.contains("typed"), "{screen}");
    untouched(vm, &before, &["two"]);
}

/// Its agent takes no notice of a lost terminal, so that systemd asks it to leave: nobody's wish that it stays down.
fn killed_server(vm: &Container) {
    for times in 1..=3 {
        let before = agents(vm);
        vm.tells(&format!("kill -9 {}", vm.unit("three", "MainPID")));
        vm.until("a restart of three", || (vm.report("three")["restarts"] == times).then_some(()));
        vm.until_loop("three", "running");
        assert!(!vm.holds(&format!("test -e /proc/{}", before["three"])), "the old agent still runs");
        untouched(vm, &before, &["three"]);
    }
}

/// Its guess fails when something else is still to be reaped, and it does not guess again.
fn unknown_server(vm: &Container) {
    let folder = "/run/systemd/system/ccorch-loop@one.service.d";
    vm.tells(&format!(
        "mkdir -p {folder}; printf '[Service]\\nGuessMainPID=no\\n' >{folder}/90-no-guess.conf; systemctl daemon-reload"
    ));
    vm.tells("ccorch loops restart one");
    vm.until_well();
    assert_eq!(vm.unit("one", "MainPID"), "0");
    let (before, restarts) = (agents(vm), vm.report("one")["restarts"].as_u64().unwrap());
    vm.tells("systemctl restart ccorch-supervisor.service");
    vm.until_well();
    assert_eq!(agents(vm), before, "adopted");
    let old = before["one"];
    vm.tells("kill -9 $(runuser -u loops -- tmux -S /run/ccorch-loops/one/tmux display-message -p '#{pid}')");
    vm.until("a restart of one", || (vm.report("one")["restarts"] == restarts + 1).then_some(()));
    vm.until_loop("one", "running");
    assert!(!vm.holds(&format!("test -e /proc/{old}")), "the old agent still runs");
    vm.tells(&format!("rm -r {folder}; systemctl daemon-reload; ccorch loops restart one"));
    vm.until_well();
    assert_ne!(vm.unit("one", "MainPID"), "0");
    untouched(vm, &before, &["one"]);
}

fn out_of_memory(vm: &Container) {
    vm.tells("systemctl set-property --runtime ccorch-loop@two.service MemoryMax=64M");
    let before = agents(vm);
    vm.tells("runuser -u loops -- touch /srv/w/two.hog");
    vm.until_holds("test -s /srv/w/two.hogged");
    assert_eq!(vm.tells("cat /srv/w/two.hogged"), "137", "the build was not killed");
    untouched(vm, &before, &[]);
    for name in LOOPS {
        assert_eq!(vm.unit(name, "ActiveState"), "active");
        vm.tells(&format!("runuser -u loops -- tmux -S /run/ccorch-loops/{name}/tmux has-session"));
    }
    // Not the next tests' business.
    vm.tells("systemctl set-property --runtime ccorch-loop@two.service MemoryMax=infinity");
}

fn strangers_at_tmux(vm: &Container) {
    let socket = "/run/ccorch-loops/two/tmux";
    // An agent owns its tmux server and may give commands another meaning: the client executes what it says.
    // The client's own arguments go to the last command of the alias.
    let ran = "'id -un >> /srv/w/ran'";
    let traps = [
        format!("attach-session=attach-session ; detach-client -E {ran} ; display-message"),
        format!("has-session=run-shell {ran} ; has-session"),
        format!("capture-pane=run-shell {ran} ; capture-pane"),
        format!("display-message=run-shell {ran} ; display-message"),
    ];
    for (index, alias) in traps.iter().enumerate() {
        let set = format!("set-option -s 'command-alias[{}]' \"{alias}\"", index + 100);
        vm.tells(&format!("runuser -u loops -- tmux -S {socket} {set}"));
    }
    let in_terminal = |call: &str| {
        vm.tells(&format!(
            "rm -f /srv/w/ran; TERM=xterm timeout 20 script -qec '{call}' /dev/null </dev/null"
        ));
        vm.until_holds("test -s /srv/w/ran");
        vm.tells("cat /srv/w/ran")
    };
    let by_hand = in_terminal(&format!("tmux -S {socket} attach-session -t =two:"));
    assert!(by_hand.contains("root"), "the trap does not work, so this proves nothing: {by_hand}");
    let attached = in_terminal("ccorch loops attach two");
    assert!(!attached.contains("root"), "root executed what an agent said");
    vm.tells("ccorch loops logs two; ccorch loops list; ccorch status");
    // The last screen is taken when an agent ends.
    vm.tells("ccorch loops restart two");
    assert!(!vm.tells("cat /srv/w/ran").contains("root"), "root executed what an agent said");

    vm.tells("useradd --create-home --groups loops other");
    for call in [
        format!("tmux -S {socket} list-sessions"),
        format!("cat {socket}"),
        "ls /run/ccorch-loops/two".into(),
    ] {
        assert!(!vm.holds(&format!("runuser -u other -- {call}")), "another user may: {call}");
    }
    assert!(!vm.holds("runuser -u loops -- ccorch loops stop two"), "an agent may stop loops");
}

fn supervisor(vm: &Container) {
    vm.until_well();
    let restarts = || vm.reports(LOOPS).map(|report| report["restarts"].clone());
    let (before, counted) = (agents(vm), restarts());
    let pid = || vm.tells("systemctl show --value -p MainPID ccorch-supervisor.service");
    for end in [
        "systemctl restart ccorch-supervisor.service",
        "kill -9 $(systemctl show --value -p MainPID ccorch-supervisor.service)",
    ] {
        let old = pid();
        vm.tells(end);
        vm.until("another supervisor", || {
            let now = pid();
            (now != "0" && now != old).then_some(())
        });
        vm.until_well();
        untouched(vm, &before, &[]);
        assert_eq!(restarts(), counted);
    }
    assert_eq!(vm.tells("ccorch reboots --json"), "[]", "a restart is no reboot");
    // It watches what it adopted; the unit of an agent that another supervisor started may be another rig's.
    let unit = vm.unit("one", "InvocationID");
    vm.tells(&format!("kill -9 {}", before["one"]));
    let one = counted[0].as_u64().unwrap();
    vm.until("a restart of one", || (vm.report("one")["restarts"] == one + 1).then_some(()));
    vm.until_loop("one", "running");
    assert_ne!(vm.unit("one", "InvocationID"), unit);
    untouched(vm, &before, &["one"]);
}

/// Holds one thread of a process still, and no other, until it is gone.
const HOLDS: &str = r#"python3 -c '
import ctypes, os, sys
pid, attach, any_thread = int(sys.argv[1]), 16, 0x40000000
assert ctypes.CDLL(None).ptrace(attach, pid, 0, 0) == 0
os.waitpid(pid, any_thread)
print("held", flush=True)
while os.WIFSTOPPED(os.waitpid(pid, any_thread)[1]): pass
'"#;

/// As a whole or its main loop alone: it feeds no watchdog, so systemd ends it and starts another, and no agent with it.
fn hung_supervisor(vm: &Container) {
    let before = agents(vm);
    let unit = "ccorch-supervisor.service";
    let pid = || vm.tells(&format!("systemctl show --value -p MainPID {unit}"));
    // A short time, for the test's sake; a running service takes it over at its next start.
    let folder = format!("/run/systemd/system/{unit}.d");
    vm.tells(&format!(
        "mkdir -p {folder}; printf '[Service]\\nWatchdogSec=5\\n' >{folder}/90-short.conf; systemctl daemon-reload; systemctl restart {unit}"
    ));
    for (times, main_loop_alone) in [(1, false), (2, true)] {
        vm.until_well();
        let hung = pid();
        if main_loop_alone {
            assert_ne!(
                vm.tells(&format!("ls /proc/{hung}/task")),
                hung,
                "it has no other thread, so this proves nothing"
            );
            vm.tells(&format!(
                "{HOLDS} {hung} >/root/held 2>&1 & until grep -q . /root/held; do sleep 0.1; done"
            ));
            assert_eq!(vm.tells("cat /root/held"), "held");
        } else {
            vm.tells(&format!("kill -s STOP {hung}"));
        }
        vm.until("another supervisor", || {
            let now = pid();
            (now != "0" && now != hung).then_some(())
        });
        let ended =
            format!("test $(journalctl -u {unit} --no-pager | grep -c 'Watchdog timeout') -ge {times}");
        vm.until_holds(&ended);
    }
    vm.until_well();
    untouched(vm, &before, &[]);
    vm.tells(&format!("rm -r {folder}; systemctl daemon-reload; systemctl restart {unit}"));
    vm.until_well();
}

fn upgrade(vm: &Container) {
    let before = agents(vm);
    // The same program, and yet another file.
    let newer = vm.dir.path().join("newer");
    let mut bytes = fs::read(ccorch()).unwrap();
    bytes.push(0);
    fs::write(&newer, bytes).unwrap();
    let began = Instant::now();
    vm.operator(&["host", "install", "vm", "--binary", "newer"]);
    eprintln!("upgraded in {:.1} s", began.elapsed().as_secs_f64());
    vm.until_well();
    let exe = "$(systemctl show --value -p MainPID ccorch-supervisor.service)/exe";
    vm.tells(&format!("cmp /usr/local/bin/ccorch /proc/{exe}"));
    assert_eq!(vm.tells("stat -c %s /usr/local/bin/ccorch"), fs::metadata(&newer).unwrap().len().to_string());
    untouched(vm, &before, &[]);
    // Loops that were started by the old program are stopped and restarted by the new one.
    vm.tells("ccorch loops restart one");
    untouched(vm, &before, &["one"]);
    assert!(began.elapsed() < Duration::from_secs(120));
}
