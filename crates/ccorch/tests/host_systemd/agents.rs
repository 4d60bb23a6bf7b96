//! Agents with conversations on a real systemd: what they tell while nobody listens is heard by the next supervisor, none
//! is ended by it, and an orchestrator is told why it was started again. The project's stand-in is the agent.

use std::collections::BTreeMap;
use std::fs;
use std::time::Instant;

use serde_json::{Value, json};

use crate::container::{Container, ccorch};

const LOOPS: [&str; 2] = ["boss", "builder"];
const UNIT: &str = "ccorch-supervisor.service";
const RIG: &str = r"
rig: demo
workspace: { root: /srv/w, user: loops, repositories: {}, carry: [build] }
phases: [{ id: a, plan: a.md }]
loops:
  boss: { agent: claude, workdir: ., role: orchestrator }
  builder: { agent: claude, workdir: build, prompt: builder.md }
hosts: { vm: HOST }
";

/// A step of the walk and what it is called.
type Step = (&'static str, fn(&Container));

#[test]
fn agents_are_adopted_and_the_orchestrator_is_told() {
    let vm = Container::installed("agents", RIG);
    vm.claude();
    vm.tells("cd /srv/w; runuser -u loops -- sh -c 'mkdir -p build ~/.claude; echo Build it. > builder.md'");
    // As the real one: an Enter right behind a paste stays in the draft.
    vm.tells("runuser -u loops -- sh -c 'echo \"{ \\\"paste_settle_ms\\\": 150 }\" > ~/.claude/stub.json'");
    questions(&vm);
    vm.operator(&["lease", "init", "--holder", "vm", "--host", "vm"]);
    vm.operator(&["resume", "--host", "vm"]);
    idle(&vm, "builder");
    vm.tells("ccorch loops nudge boss 'who came' --id first --timeout 2m");
    idle(&vm, "boss");
    let steps: [Step; 8] = [
        ("a person who goes on in a loop's folder", claimed),
        ("a supervisor that is stopped and started", stopped),
        ("a supervisor that is killed", killed),
        ("a restart and an upgrade", restarted_and_upgraded),
        ("a restart of the orchestrator by hand", restarted_by_hand),
        ("a stop of the unit in the middle of a turn", asked_by_a_stop),
        ("a reboot", rebooted),
        ("a reboot in the middle of a turn", asked_by_a_reboot),
    ];
    for (what, step) in steps {
        let began = Instant::now();
        eprintln!("{what} ...");
        step(&vm);
        eprintln!("{what}: {:.1} s", began.elapsed().as_secs_f64());
    }
}

/// What would hold an agent up is told from afar before anything starts, with what to do about it.
fn questions(vm: &Container) {
    let said = vm.operator(&["check", "--host", "vm"]);
    for folder in ["/srv/w", "/srv/w/build"] {
        let first = "first-run screens and the trust dialog";
        assert!(said.contains(&format!("{first}; run `claude` once in {folder} as loops")), "{said}");
    }
    for part in ["will ask before it does anything", "is not logged in", "run `claude auth login` as loops"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    // As its person leaves it who goes through them.
    let trusted = json!({ "hasTrustDialogAccepted": true });
    let state =
        json!({ "hasCompletedOnboarding": true, "projects": { "/srv/w": trusted, "/srv/w/build": trusted } });
    let login = json!({ "claudeAiOauth": { "accessToken": "a", "refreshToken": "b", "expiresAt": 1 } });
    let settings = json!({ "permissions": { "allow": ["Bash"] } });
    for (file, text) in
        [(".claude.json", state), (".claude/.credentials.json", login), (".claude/settings.json", settings)]
    {
        vm.tells(&format!("runuser -u loops -- sh -c 'umask 77; cat > ~/{file}' <<'END'\n{text}\nEND"));
    }
    let said = vm.operator(&["check", "--host", "vm"]);
    assert!(said.contains("is good: 0 errors") && !said.contains("loops."), "{said}");
}

fn idle(vm: &Container, name: &str) {
    vm.until(&format!("loop {name} to be idle"), || (vm.report(name)["life"] == "idle").then_some(()));
}

fn agents(vm: &Container) -> BTreeMap<&'static str, (u64, Value)> {
    let of = |report: Value| (report["pid"].as_u64().unwrap(), report["session"].clone());
    LOOPS.into_iter().zip(vm.reports(LOOPS).map(of)).collect()
}

/// The supervisor's process, 0 for none.
fn supervisor(vm: &Container) -> String {
    vm.tells(&format!("systemctl show --value -p MainPID {UNIT}"))
}

/// A person types into a loop's terminal, past the supervisor.
fn types(vm: &Container, name: &str, words: &str) {
    let tmux = format!("runuser -u loops -- tmux -S /run/ccorch-loops/{name}/tmux send-keys");
    vm.tells(&format!("{tmux} -l '{words}' && {tmux} Enter"));
}

/// What a loop's agent was told, oldest first, by its transcript.
fn told(vm: &Container, name: &str) -> Vec<String> {
    let session = vm.report(name)["session"].as_str().unwrap().to_owned();
    let text = vm.tells(&format!("cat ~loops/.claude/projects/*/{session}.jsonl"));
    let records = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let said = records.filter(|record| record["type"] == "user");
    said.map(|record| record["message"]["content"].as_str().unwrap().to_owned()).collect()
}

/// Waits until a loop's agent was told something new that has all of this, and returns it.
fn told_since(vm: &Container, name: &str, before: usize, parts: &[&str]) -> String {
    vm.until(&format!("{name} to be told of {parts:?}"), || {
        told(vm, name).into_iter().skip(before).find(|words| parts.iter().all(|part| words.contains(part)))
    })
}

/// What a loop's hooks wrote into its spool while nobody listened: the prompt's and the end of its turn.
fn spooled(vm: &Container, name: &str, words: &str) {
    let spool = format!("/var/lib/ccorch-loops/{name}/hooks");
    vm.until_holds(&format!("grep -qs UserPromptSubmit {spool}/* && grep -qs '\"Stop\"' {spool}/*"));
    vm.tells(&format!("grep -qs '{words}' {spool}/*"));
}

/// The supervisor heard of a prompt by the agent's hook, and has taken all that waited.
fn heard(vm: &Container, name: &str, words: &str) {
    vm.until_holds(&format!("test -z \"$(ls /var/lib/ccorch-loops/{name}/hooks)\""));
    let capture = format!("rm -rf /root/seen; ccorch loops capture {name} /root/seen");
    vm.until_holds(&format!("{capture} && grep -q '{words}' /root/seen/hooks.jsonl"));
}

/// The builder is in the middle of a turn; how much it was told before.
fn busy(vm: &Container, seconds: u32) -> usize {
    idle(vm, "builder");
    let before = told(vm, "builder").len();
    vm.tells(&format!("ccorch loops nudge builder '!stub turn {seconds}' --timeout 2m"));
    vm.until("a turn", || (vm.report("builder")["life"] == "working").then_some(()));
    before
}

/// It heard once that it will be stopped, finished what it was at, and was stopped for that reason.
fn came_to_rest(vm: &Container, before: usize, begins: &str, why: &str) {
    let all = told(vm, "builder");
    let asked: Vec<_> =
        all.iter().skip(before).filter(|words| words.contains("Come to a safe point")).collect();
    assert_eq!(asked.len(), 1, "{all:?}");
    assert!(asked[0].starts_with(begins), "{asked:?}");
    let session = vm.report("builder")["session"].as_str().unwrap().to_owned();
    let turns = vm.tells(&format!("grep -c 'Finished after' ~loops/.claude/projects/*/{session}.jsonl"));
    assert_eq!(turns, if why == "outside" { "1" } else { "2" });
    vm.tells(&format!("grep -q '\"why\": \"{why}\"' /var/lib/ccorch-loops/builder/last-stop.json"));
}

fn asked_by_a_stop(vm: &Container) {
    let before = busy(vm, 8);
    vm.tells("systemctl stop ccorch-loop@builder.service");
    came_to_rest(vm, before, "The unit of this loop is being stopped, and ", "outside");
    vm.tells("ccorch loops start builder");
    idle(vm, "builder");
}

fn asked_by_a_reboot(vm: &Container) {
    let before = busy(vm, 8);
    vm.reboot();
    vm.until_well();
    came_to_rest(vm, before, "This machine is shutting down, and ", "shutdown");
    idle(vm, "builder");
    idle(vm, "boss");
}

/// Nothing of a `claude -c` tells which conversation that is, and only its user may see where it works.
fn claimed(vm: &Container) {
    let before = agents(vm);
    vm.tells("ccorch loops stop builder");
    let script = r"printf '#!/bin/sh\nwhile sleep 1; do :; done\n' > /opt/claude; chmod 755 /opt/claude";
    vm.tells(&format!(
        "{script}; systemd-run -q -u person --uid=loops -p WorkingDirectory=/srv/w/build /opt/claude -c"
    ));
    let pid = vm.tells("systemctl show --value -p MainPID person.service");
    let says = format!("process {pid} goes on with a conversation of the folder of loop builder");
    let exit = "/var/lib/ccorch-loops/builder/last-exit.json";
    let start = vm.sh(&format!("rm -f {exit}; ccorch loops start builder"));
    let said = String::from_utf8_lossy(&start.stderr);
    assert!(start.status.code() == Some(1) && said.contains(&says), "{}: {said}", start.status);
    assert!(!vm.holds(&format!("test -e {exit}")), "it was started, and found out by itself");
    // By hand, past the supervisor.
    vm.tells("ccorch loops stop builder");
    vm.sh("systemctl start ccorch-loop@builder.service");
    vm.until_holds(&format!("grep -F '{says}' {exit}"));
    let (first, rest) = before["builder"].1.as_str().unwrap().split_at(1);
    assert!(!vm.holds(&format!("pgrep -f '[{first}]{rest}'")), "an agent was started");
    vm.tells("systemctl stop person.service");
    vm.tells("ccorch loops start builder");
    idle(vm, "builder");
    vm.until_well();
    let after = agents(vm);
    assert_eq!(after["boss"], before["boss"]);
    assert_eq!(after["builder"].1, before["builder"].1, "it went on with its own conversation");
    stranger(vm);
}

/// A person's agent is in nobody's way, and this boot's receipt tells of it, whose unit may trace nobody.
fn stranger(vm: &Container) {
    let receipt = format!("/var/lib/ccorch/receipts/{}.json", vm.boot_id());
    vm.tells("systemd-run -q -u person --uid=loops -p WorkingDirectory=/srv/w/build /opt/claude");
    let pid: u64 = vm.tells("systemctl show --value -p MainPID person.service").parse().unwrap();
    vm.tells(&format!("rm {receipt}; systemctl restart ccorch-resume.service"));
    vm.until_holds(&format!("test -e {receipt}"));
    let receipt: Value = serde_json::from_str(&vm.tells(&format!("cat {receipt}"))).unwrap();
    assert_eq!(receipt["strangers"], json!([{ "pid": pid, "workdir": "/srv/w/build" }]), "{receipt}");
    assert_eq!(receipt["complete"], true, "{receipt}");
    assert!(receipt["degraded"][0].as_str().unwrap().contains("no lease holds it back"), "{receipt}");
    vm.tells("systemctl stop person.service");
    vm.until_well();
}

fn stopped(vm: &Container) {
    let before = agents(vm);
    vm.tells(&format!("systemctl stop {UNIT}"));
    types(vm, "builder", "while it was stopped");
    spooled(vm, "builder", "while it was stopped");
    vm.tells(&format!("systemctl start {UNIT}"));
    idle(vm, "builder");
    heard(vm, "builder", "while it was stopped");
    vm.until_well();
    assert_eq!(agents(vm), before);
}

fn killed(vm: &Container) {
    // systemd brings it back, and it waits at the door, so that something happens meanwhile.
    let folder = format!("/run/systemd/system/{UNIT}.d");
    let waits = "[Service]\nTimeoutStartSec=infinity\nExecStartPre=/bin/sh -c 'until test -e /run/may; do sleep 0.1; done'";
    vm.tells(&format!(
        "mkdir -p {folder}; cat >{folder}/90-waits.conf <<'END'\n{waits}\nEND\nsystemctl daemon-reload"
    ));
    let (before, old) = (agents(vm), supervisor(vm));
    vm.tells(&format!("kill -9 {old}"));
    // As long as it dies its socket takes what nobody will read.
    vm.until_holds(&format!("! test -e /proc/{old}"));
    types(vm, "builder", "while it was dead");
    spooled(vm, "builder", "while it was dead");
    assert_eq!(supervisor(vm), "0");
    vm.tells("touch /run/may");
    vm.until("another supervisor", || {
        let now = supervisor(vm);
        (now != "0" && now != old).then_some(())
    });
    vm.tells(&format!("rm -r {folder}; systemctl daemon-reload"));
    idle(vm, "builder");
    heard(vm, "builder", "while it was dead");
    vm.until_well();
    assert_eq!(agents(vm), before);
}

fn restarted_and_upgraded(vm: &Container) {
    let (before, old) = (agents(vm), supervisor(vm));
    vm.tells(&format!("systemctl restart {UNIT}"));
    vm.until_well();
    assert_ne!(supervisor(vm), old);
    assert_eq!(agents(vm), before);

    // The same program, and yet another file.
    let old = supervisor(vm);
    let mut bytes = fs::read(ccorch()).unwrap();
    bytes.push(0);
    fs::write(vm.dir.path().join("newer"), bytes).unwrap();
    vm.operator(&["host", "install", "vm", "--binary", "newer"]);
    vm.until_well();
    assert_ne!(supervisor(vm), old);
    assert_eq!(agents(vm), before);
    // What adopted them hears and reaches them.
    vm.tells("ccorch loops nudge builder 'by the newer one' --id newer --timeout 2m");
    idle(vm, "builder");
    assert_eq!(told(vm, "builder").iter().filter(|words| *words == "by the newer one").count(), 1);
    assert_eq!(vm.tells("ccorch reboots --json"), "[]", "a restart is no reboot");
}

fn restarted_by_hand(vm: &Container) {
    let (before, words) = (agents(vm), told(vm, "boss").len());
    vm.tells("ccorch loops restart boss");
    told_since(vm, "boss", words, &["You were restarted by hand at ", "the host did not reboot"]);
    idle(vm, "boss");
    let after = agents(vm);
    assert_eq!(after["builder"], before["builder"], "only the orchestrator was restarted");
    assert!(after["boss"].0 != before["boss"].0, "it is another process");
    assert_eq!(after["boss"].1, before["boss"].1, "of the same conversation");
    assert!(told(vm, "boss").iter().all(|words| !words.contains("Reboot ")), "{:?}", told(vm, "boss"));
}

fn rebooted(vm: &Container) {
    let (before, words) = (agents(vm), told(vm, "boss").len());
    vm.reboot();
    vm.until("a supervisor", || (vm.status()["supervisor"] == true).then_some(()));
    let first = told_since(vm, "boss", words, &["Reboot 1:", "after a clean shutdown", "down for"]);
    assert!(!first.contains("by hand"), "{first}");
    told_since(vm, "boss", words, &["After the reboot (Reboot 1:", "builder came back"]);
    // The others go on where they were.
    told_since(vm, "builder", 1, &["Continue where you were."]);
    vm.until_well();
    // Its conversation is for its own user to read and for no other.
    let share = "/var/lib/ccorch/shares/boss.json";
    vm.tells(&format!("useradd other && runuser -u loops -- grep -q session {share}"));
    assert!(!vm.holds(&format!("runuser -u other -- cat {share}")), "another user reads {share}");
    for name in LOOPS {
        idle(vm, name);
        assert_eq!(agents(vm)[name].1, before[name].1, "{name} has another conversation");
    }
}
