//! A place of its own for each test: home, bare remote, clones, and the stub run in them.
#![allow(dead_code)] // each test file uses a part

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

pub const STUB: &str = env!("CARGO_BIN_EXE_agent-stub");
pub const DEADLINE: Duration = Duration::from_secs(60);

pub struct Bed {
    dir: TempDir,
    pub root: PathBuf,
}

impl Bed {
    /// A bed with a bare remote and a clone `builder` of it; work at a fast rate.
    pub fn new() -> Bed {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        let bed = Bed { dir, root };
        fs::create_dir_all(bed.home().join(".claude")).unwrap();
        bed.configure(json!({"interval_ms": 10}));
        git(&bed.root, &["init", "-q", "--bare", "-b", "main", "remote.git"]);
        bed.clone_to("builder");
        fs::write(bed.path("builder/README"), "work\n").unwrap();
        git(&bed.path("builder"), &["add", "README"]);
        git(&bed.path("builder"), &["commit", "-q", "-m", "Begin"]);
        git(&bed.path("builder"), &["push", "-q", "origin", "HEAD:main"]);
        bed
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    pub fn home(&self) -> PathBuf {
        self.path("home")
    }

    pub fn configure(&self, config: Value) {
        // Replaced as a whole: the stub reads it at any moment.
        let new = self.home().join("stub.json.new");
        fs::write(&new, config.to_string()).unwrap();
        fs::rename(new, self.home().join(".claude/stub.json")).unwrap();
    }

    pub fn clone_to(&self, name: &str) -> PathBuf {
        git(&self.root, &["clone", "-q", "remote.git", name]);
        self.path(name)
    }

    /// The stub in a working directory, with no terminal.
    pub fn stub(&self, cwd: &str) -> Command {
        let mut command = Command::new(STUB);
        command
            .current_dir(self.path(cwd))
            .env("HOME", self.home())
            .env_remove("CLAUDE_CONFIG_DIR")
            .env_remove("AGENT_STUB_CONFIG")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs it to its end with lines on its input.
    pub fn run(&self, cwd: &str, args: &[&str], input: &str) -> Output {
        use std::io::Write;
        let mut child = self.stub(cwd).args(args).spawn().unwrap();
        // It may refuse its arguments before it reads anything.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        child.wait_with_output().unwrap()
    }

    /// Transcripts of a working directory.
    pub fn transcripts(&self, cwd: &str) -> Vec<PathBuf> {
        let slug = self.path(cwd).to_str().unwrap().replace('/', "-");
        let folder = self.home().join(".claude/projects").join(slug);
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).collect()
    }

    /// All whole records of a working directory's only transcript.
    pub fn records(&self, cwd: &str) -> Vec<Value> {
        let files = self.transcripts(cwd);
        assert!(files.len() <= 1, "{files:?}");
        let text = files.first().map(|file| fs::read_to_string(file).unwrap());
        let text = text.unwrap_or_default();
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    pub fn user_messages(&self, cwd: &str) -> Vec<String> {
        let records = self.records(cwd);
        let users = records.iter().filter(|record| record["type"] == "user");
        users.map(|record| record["message"]["content"].as_str().unwrap().to_owned()).collect()
    }

    /// The highest number that is noted as done.
    pub fn done(&self, cwd: &str) -> u64 {
        let records = self.records(cwd);
        let done = records.iter().filter(|record| record["state"] == "done");
        done.filter_map(|record| record["n"].as_u64()).max().unwrap_or(0)
    }

    pub fn wait_for_done(&self, cwd: &str, n: u64) {
        wait_until(&format!("work {n} in {cwd}"), || self.done(cwd) >= n);
    }

    /// `verify-numbering` of a repository: its exit code and report.
    pub fn verify(&self, repository: &str, label: &str) -> (i32, Value) {
        let done = Command::new(STUB)
            .args(["verify-numbering", "--git"])
            .arg(self.path(repository))
            .args(["--ref", "main", "--label", label])
            .output()
            .unwrap();
        let report = serde_json::from_slice(&done.stdout).unwrap_or_else(|_| panic!("{done:?}"));
        (done.status.code().unwrap(), report)
    }

    /// Asserts that remote and clone hold 1, 2, 3... without gap or repeat; returns the last.
    pub fn assert_whole(&self, clone: &str, label: &str) -> u64 {
        let (code, remote) = self.verify("remote.git", label);
        assert_eq!(code, 0, "{remote}");
        let (code, local) = self.verify(clone, label);
        assert_eq!(code, 0, "{local}");
        assert_eq!(remote["last"], local["last"]);
        let last = remote["last"].as_u64().unwrap();
        let lines: String = (1..=last).map(|n| format!("{n}\n")).collect();
        let file = self.path(clone).join("work").join(format!("{label}.txt"));
        assert_eq!(fs::read_to_string(file).unwrap(), lines);
        last
    }
}

pub fn git(cwd: &Path, args: &[&str]) -> String {
    let done = Command::new("git")
        .current_dir(cwd)
        .args(["-c", "user.name=test", "-c", "user.email=test@example.org"])
        .args(args)
        .output()
        .unwrap();
    assert!(done.status.success(), "git {args:?}: {done:?}");
    String::from_utf8(done.stdout).unwrap().trim().to_owned()
}

pub fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !is_so() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// The stub running in the background; killed at the end of the test.
pub struct Running(pub std::process::Child);

impl Running {
    pub fn start(mut command: Command) -> Running {
        Running(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }

    /// With its output in a file.
    pub fn start_into(mut command: Command, output: &Path) -> Running {
        let file = fs::File::create(output).unwrap();
        Running(command.stdout(file).stderr(Stdio::null()).spawn().unwrap())
    }

    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.0);
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// Its exit code, once it ends by itself. (`Child::wait` would close its input first,
    /// and that ends it too.)
    pub fn code(&mut self) -> Option<i32> {
        let mut status = None;
        wait_until("the end of the stub", || {
            status = self.0.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap().code()
    }

    /// SIGTERM, and its end as it must be.
    pub fn stop(&mut self) {
        self.signal(rustix::process::Signal::TERM);
        assert_eq!(self.code(), Some(143));
    }

    /// kill -9, and its end.
    pub fn kill(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}
