//! A host of its own under a folder: a rig of three loops, a hermetic account and agents that can be killed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::common::{Env, Ran};

/// Far beyond what anything here takes; only a failure gets there.
const LONG: Duration = Duration::from_secs(180);
/// The stand-in for an agent is built once.
static BUILT: std::sync::Once = std::sync::Once::new();
/// The loops of the rig.
pub const LOOPS: [&str; 3] = ["boss", "builder", "watch"];

/// Says which words it was started with, then waits to be ended.
const AGENT: &str = r#"#!/bin/sh
for word; do
    case $last in
        --name) name=$word ;;
    esac
    last=$word
done
for word; do
    case $word in
        # The hooks are not these tests' business.
        --settings) ;;
        '{"hooks"'*) ;;
        *) printf '%s\n' "$word" ;;
    esac
done > "$HOME/argv.$name"
echo END >> "$HOME/argv.$name"
exec sleep 100000
"#;

/// A host.
pub struct Place {
    /// Where it is.
    pub env: Env,
    supervisor: Option<Child>,
}

impl Place {
    /// A host that holds the lease, with the supervisor not started yet.
    pub fn new() -> Self {
        let env = Env::new().program("tmux").program("sleep").program("tee");
        let env = env.program("dd").program("test");
        let uid = rustix::process::geteuid().as_raw();
        let gid = rustix::process::getegid().as_raw();
        // The account is the one that runs the test, under another name and with a home of its own.
        let account = format!("agents:x:{uid}:{gid}::{}:/bin/sh", env.home().display());
        env.script("getent", &format!("#!/bin/sh\n[ \"$2\" = agents ] && echo '{account}'\n"));
        env.script("claude", AGENT);
        let place = Self { env, supervisor: None };
        let root = place.env.root();
        place.env.write(root.join("etc/ccorch/rig.json"), rig(&place.workspace()));
        place.env.write(root.join("etc/ccorch/host"), "here\n");
        place.env.write(place.workspace().join("phase"), "1\n");
        place.env.write(place.workspace().join("REBOOTS.md"), "");
        place.env.write(place.workspace().join("builder.md"), "Build it.\n");
        place.env.write(place.workspace().join("build/README"), "");
        place
    }

    /// With the project's stand-in for an agent in place of the script: it has a screen, a transcript and hooks. `loops`
    /// is the rig's part of that name.
    pub fn with_stub(self, loops: &str) -> Self {
        let me = Path::new(env!("CARGO_BIN_EXE_ccorch"));
        let stub = me.with_file_name("agent-stub");
        BUILT.call_once(|| {
            let mut cargo = Command::new(env!("CARGO"));
            cargo.args(["build", "--quiet", "--package", "agent-stub", "--manifest-path"]);
            cargo.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/../agent-stub/Cargo.toml"));
            assert!(
                cargo.arg("--target-dir").arg(me.ancestors().nth(2).unwrap()).status().unwrap().success()
            );
        });
        self.env.without("claude").link("sh");
        std::os::unix::fs::symlink(stub, self.env.root().with_file_name("bin").join("claude")).unwrap();
        // As the real one: an Enter right behind a paste stays in the draft.
        self.env.write(self.env.home().join(".claude/stub.json"), r#"{ "paste_settle_ms": 150 }"#);
        let rig = self.env.root().join("etc/ccorch/rig.json");
        let text = fs::read_to_string(&rig).unwrap();
        let (head, rest) = text.split_once("\nloops:\n").unwrap();
        let hosts = rest.split_once("hosts:\n").unwrap().1;
        self.env.write(&rig, format!("{head}\nloops:\n{loops}\nhosts:\n{hosts}"));
        self
    }

    /// Another rig, before anything runs.
    pub fn rig(self, change: impl FnOnce(String) -> String) -> Self {
        let file = self.env.root().join("etc/ccorch/rig.json");
        let text = fs::read_to_string(&file).unwrap();
        let changed = change(text.clone());
        assert_ne!(text, changed, "nothing was changed");
        self.env.write(file, changed);
        self
    }

    /// Gives it the lease, as `lease init` and the boot's heartbeat do.
    pub fn active(self) -> Self {
        self.ok(&["lease", "init", "--holder", "here"]);
        self.ok(&["lease", "tick"]);
        self
    }

    /// Starts the supervisor and waits until it answers.
    pub fn supervised(mut self) -> Self {
        self.supervise();
        self
    }

    /// Starts a supervisor and waits until it answers.
    pub fn supervise(&mut self) {
        let log = self.env.root().join("supervisor.log");
        let mut child = self.env.spawn(&["supervise"], &self.env.root().join("supervisor.out"), &log);
        until("the supervisor to answer", || {
            if let Some(status) = child.try_wait().unwrap() {
                panic!("the supervisor ended ({status}): {}", self.env.text(&log));
            }
            (self.env.run(&["loops", "list"]).status == Some(0)).then_some(())
        });
        self.supervisor = Some(child);
    }

    /// Starts one by way of another program, and waits for nothing.
    pub fn supervise_by(&mut self, by: &[&str]) {
        let log = self.env.root().join("supervisor.log");
        let out = self.env.root().join("supervisor.out");
        self.supervisor = Some(self.env.spawn_by(by, &["supervise"], &out, &log));
    }

    /// Kills the supervisor; nothing of it is left when this returns.
    pub fn kill_supervisor(&mut self) {
        let mut child = self.supervisor.take().expect("a supervisor runs");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Asks the supervisor to leave and waits until it has.
    pub fn end_supervisor(&mut self) {
        let mut child = self.supervisor.take().expect("a supervisor runs");
        signal(u64::from(child.id()), "TERM");
        assert!(child.wait().unwrap().success());
    }

    /// Has everything that is started from now on stand on a library in place of the system's: `NAME.c` beside this file.
    pub fn preload(&mut self, name: &str) {
        let library = self.env.root().with_file_name(format!("{name}.so"));
        let source = format!("{}/tests/supervise/{name}.c", env!("CARGO_MANIFEST_DIR"));
        let mut build = Command::new("cc");
        build.args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(source);
        assert!(build.status().unwrap().success());
        self.env.put("LD_PRELOAD", library.display().to_string());
    }

    /// The supervisor's pid.
    pub fn supervisor(&self) -> u32 {
        self.supervisor.as_ref().expect("a supervisor runs").id()
    }

    /// A number that the kernel tells of the supervisor's process, for example `VmRSS` in KiB. Source: proc_pid_status(5).
    pub fn of_supervisor(&self, what: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.supervisor())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(what)?.strip_prefix(':')).unwrap();
        line.split_whitespace().next().unwrap().parse().unwrap()
    }

    /// Everything the supervisor said on standard error.
    pub fn said(&self) -> String {
        self.env.text(&self.env.root().join("supervisor.log"))
    }

    /// Where the rig works.
    pub fn workspace(&self) -> PathBuf {
        self.env.root().join("srv/w")
    }

    /// A file of the host's durable state.
    pub fn state(&self, name: &str) -> PathBuf {
        self.env.root().join("var/lib/ccorch").join(name)
    }

    /// Runs a verb that has to succeed; its standard output.
    pub fn ok(&self, args: &[&str]) -> String {
        let ran = self.env.run(args);
        assert_eq!(ran.status, Some(0), "{}", ran.snapshot());
        ran.stdout
    }

    /// Runs a verb.
    pub fn run(&self, args: &[&str]) -> Ran {
        self.env.run(args)
    }

    /// The events of one kind, oldest first.
    pub fn events(&self, what: &str) -> Vec<Value> {
        let read = |name: &str| fs::read_to_string(self.state(name)).unwrap_or_default();
        let text = read("events.jsonl") + &read("chatter.jsonl");
        let events = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        events.filter(|event| event["what"] == what).collect()
    }

    /// `status --json`, whatever its exit status.
    pub fn status(&self) -> Value {
        let ran = self.env.run(&["status", "--json"]);
        serde_json::from_str(&ran.stdout).unwrap_or_else(|_| panic!("{}", ran.snapshot()))
    }

    /// One loop of the status.
    pub fn one(&self, name: &str) -> Value {
        let status = self.status();
        let loops = status["loops"].as_array().unwrap();
        loops.iter().find(|one| one["name"] == name).unwrap().clone()
    }

    /// Waits until all loops run with agents in them.
    pub fn at_work(&self) -> Value {
        until("every loop to run", || {
            let status = self.status();
            let up = |one: &Value| one["state"] == "running" && one["pid"].is_u64();
            status["loops"].as_array().unwrap().iter().all(up).then_some(status)
        })
    }

    /// Waits until a loop is so.
    pub fn until(&self, name: &str, what: impl Fn(&Value) -> bool) -> Value {
        let end = Instant::now() + LONG;
        loop {
            let one = self.one(name);
            if what(&one) {
                return one;
            }
            assert!(Instant::now() < end, "waited in vain: {one}\n{}", self.said());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until a loop has an agent, another one than `old`.
    pub fn new_agent(&self, name: &str, old: u64) -> u64 {
        let one = self.until(name, |one| {
            one["state"] == "running" && one["pid"].as_u64().is_some_and(|pid| pid != old)
        });
        one["pid"].as_u64().unwrap()
    }

    /// The pid of a loop's agent.
    pub fn pid(&self, name: &str) -> u64 {
        self.new_agent(name, 0)
    }

    /// Has a loop's agent killed so many times; the pid of the last one.
    pub fn killed(&self, name: &str, times: usize) -> u64 {
        (0..times).fold(self.pid(name), |pid, _| {
            signal(pid, "KILL");
            self.new_agent(name, pid)
        })
    }

    /// The words that a loop's agent was started with, once it runs.
    pub fn words(&self, name: &str) -> Vec<String> {
        let path = self.env.home().join(format!("argv.{name}"));
        let text =
            until("the agent's words", || fs::read_to_string(&path).ok().filter(|t| t.ends_with("END\n")));
        fs::remove_file(&path).unwrap();
        text.lines().map(Into::into).collect()
    }

    /// The transcript of a loop that works in `workdir`: its records.
    pub fn transcript(&self, name: &str, workdir: &str) -> Vec<Value> {
        let text = fs::read_to_string(self.transcript_file(name, workdir)).unwrap_or_default();
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// Where that transcript lies.
    pub fn transcript_file(&self, name: &str, workdir: &str) -> PathBuf {
        let session = self.one(name)["session"].as_str().unwrap().to_owned();
        let key = self.workspace().join(workdir).display().to_string();
        let key: String = key.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
        self.env.home().join(".claude/projects").join(key).join(format!("{session}.jsonl"))
    }

    /// What a loop that works in `workdir` was told, oldest first.
    pub fn told(&self, name: &str, workdir: &str) -> Vec<String> {
        let records = self.transcript(name, workdir);
        let said = records.iter().filter(|record| record["type"] == "user");
        said.map(|record| record["message"]["content"].as_str().unwrap().to_owned()).collect()
    }

    /// What a loop's terminal shows.
    pub fn screen(&self, name: &str) -> String {
        let tmux =
            Command::new("tmux").arg("-S").arg(self.socket(name)).args(["capture-pane", "-p"]).output();
        String::from_utf8(tmux.unwrap().stdout).unwrap()
    }

    /// Presses a key in a loop's terminal.
    pub fn press(&self, name: &str, key: &str) {
        let done = Command::new("tmux").arg("-S").arg(self.socket(name)).args(["send-keys", key]).status();
        assert!(done.unwrap().success());
    }

    /// The socket of a loop's tmux server.
    pub fn socket(&self, name: &str) -> PathBuf {
        self.env.root().join("run/ccorch-loops").join(name).join("tmux")
    }

    /// The supervisor's control socket.
    pub fn control(&self) -> PathBuf {
        self.env.root().join("run/ccorch/control.sock")
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(mut child) = self.supervisor.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        // Agents and their parents outlive their terminals, and one that just began is in no file yet: by their root.
        let root = format!("CCORCH_ROOT={}", self.env.root().display());
        let is_ours = |process: &Path| {
            let environment = fs::read(process.join("environ")).unwrap_or_default();
            environment.split(|byte| *byte == 0).any(|variable| variable == root.as_bytes())
        };
        // One that was just being started may start another before it is ended itself.
        for _ in 0..3 {
            let all = fs::read_dir("/proc").into_iter().flatten().flatten();
            let me = std::process::id().to_string();
            let pids: Vec<String> = all
                .filter(|entry| is_ours(&entry.path()))
                .map(|entry| entry.file_name().to_string_lossy().into_owned())
                .filter(|pid| pid.bytes().all(|byte| byte.is_ascii_digit()) && *pid != me)
                .collect();
            if pids.is_empty() {
                break;
            }
            let _ = Command::new("kill").arg("-KILL").args(&pids).output();
        }
    }
}

/// Two agents with conversations, and a plain program.
fn rig(workspace: &Path) -> String {
    format!(
        r#"
rig: demo
workspace: {{ root: "{}", user: agents, repositories: {{}}, carry: [build], phase_file: phase, reboot_log: REBOOTS.md }}
phases: [{{ id: a, plan: a.md }}, {{ id: b, plan: b.md }}]
done_when: [builder]
loops:
  boss:    {{ agent: claude, workdir: ., role: orchestrator }}
  builder: {{ agent: claude, workdir: build, prompt: builder.md }}
  watch:   {{ agent: command, workdir: ., command: [sleep, "100000"] }}
hosts:
  here:  {{ ssh: root@here }}
  there: {{ ssh: root@there }}
"#,
        workspace.display()
    )
}

/// Looks until `look` finds something; fails the test at the deadline.
pub fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + LONG;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < end, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Sends a process a signal.
pub fn signal(pid: u64, signal: &str) {
    let status = Command::new("kill").args(["-s", signal, &pid.to_string()]).status().unwrap();
    assert!(status.success(), "kill -s {signal} {pid}");
}

/// Whether a process is there.
pub fn lives(pid: u64) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}
