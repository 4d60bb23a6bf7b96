//! A hermetic place to run the real binary in: a folder of its own, an empty environment, whole outputs as text.

// Each test file is a crate of its own and uses its own part of this.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

pub mod disk;

use std::fs::{self, File, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// No verb under test takes longer, not even one that waits for a supervisor which hangs; one that does is ended and fails
/// its test.
const DEADLINE: Duration = Duration::from_secs(180);

/// A folder with a home, an empty `PATH` and a root for host paths, and what the binary's environment is.
pub struct Env {
    dir: tempfile::TempDir,
    variables: Vec<(String, String)>,
}

/// What one run of the binary left.
pub struct Ran {
    /// The exit status; none when a signal ended it.
    pub status: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
    /// The command line, for the snapshot.
    pub line: String,
}

impl Env {
    /// A new, empty place.
    pub fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("ccorch-test-").tempdir().unwrap();
        for folder in ["home", "work", "bin", "root", "tmp", "out"] {
            fs::create_dir(dir.path().join(folder)).unwrap();
        }
        let at = |folder: &str| dir.path().join(folder).display().to_string();
        let variables = [
            ("HOME", at("home")),
            ("XDG_STATE_HOME", at("home/.local/state")),
            ("XDG_CACHE_HOME", at("home/.cache")),
            ("XDG_CONFIG_HOME", at("home/.config")),
            ("XDG_RUNTIME_DIR", at("home/.run")),
            ("PATH", at("bin")),
            ("TMPDIR", at("tmp")),
            ("CCORCH_ROOT", at("root")),
            ("LC_ALL", "C.UTF-8".into()),
            ("TZ", "UTC".into()),
            ("TERM", "dumb".into()),
        ];
        let variables = variables.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        Self { dir, variables }
    }

    /// Sets a variable: the way in for injected times and ids.
    pub fn set(mut self, name: &str, value: impl Into<String>) -> Self {
        self.put(name, value);
        self
    }

    /// The same, later on.
    pub fn put(&mut self, name: &str, value: impl Into<String>) {
        self.variables.retain(|(n, _)| n != name);
        self.variables.push((name.into(), value.into()));
    }

    /// Puts a real program of this machine on the otherwise empty `PATH`.
    pub fn program(self, name: &str) -> Self {
        self.link(name);
        self
    }

    /// The same, later on.
    pub fn link(&self, name: &str) {
        let found = std::env::var_os("PATH")
            .and_then(|path| std::env::split_paths(&path).map(|dir| dir.join(name)).find(|p| p.is_file()));
        let found = found.unwrap_or_else(|| panic!("no program `{name}` on this machine"));
        std::os::unix::fs::symlink(found, self.dir.path().join("bin").join(name)).unwrap();
    }

    /// Writes a script onto the otherwise empty `PATH`.
    pub fn script(&self, name: &str, text: &str) -> &Self {
        let path = self.dir.path().join("bin").join(name);
        self.write(&path, text).mode(&path, 0o755)
    }

    /// Takes a program off the `PATH` again.
    pub fn without(&self, name: &str) -> &Self {
        fs::remove_file(self.dir.path().join("bin").join(name)).unwrap();
        self
    }

    /// The folder the binary runs in; relative paths are shown as given, so outputs are the same everywhere.
    pub fn work(&self) -> PathBuf {
        self.dir.path().join("work")
    }

    /// The root of host paths (`/etc/ccorch`, `/var/lib/ccorch`, `/run/ccorch`).
    pub fn root(&self) -> PathBuf {
        self.dir.path().join("root")
    }

    /// The home folder.
    pub fn home(&self) -> PathBuf {
        self.dir.path().join("home")
    }

    /// Writes a file under the working folder (an absolute path stays one), 0644, with its folders.
    pub fn write(&self, path: impl AsRef<Path>, bytes: impl AsRef<[u8]>) -> &Self {
        let path = self.work().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        File::create(&path).unwrap().write_all(bytes.as_ref()).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        self
    }

    /// Gives a file under the working folder a mode.
    pub fn mode(&self, path: impl AsRef<Path>, mode: u32) -> &Self {
        fs::set_permissions(self.work().join(path), Permissions::from_mode(mode)).unwrap();
        self
    }

    /// Runs `ccorch` and gives all it left as one text.
    pub fn ccorch(&self, args: &[&str]) -> String {
        self.run(args).snapshot()
    }

    /// Runs `ccorch` to its end, or to the deadline.
    pub fn run(&self, args: &[&str]) -> Ran {
        let out = |name: &str| self.dir.path().join("out").join(name);
        let mut child = self.spawn(args, &out("stdout"), &out("stderr"));
        let started = Instant::now();
        let status = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break status;
            }
            if started.elapsed() > DEADLINE {
                child.kill().unwrap();
                child.wait().unwrap();
                panic!("`ccorch {}` did not end:\n{}", args.join(" "), self.text(&out("stderr")));
            }
            std::thread::sleep(Duration::from_millis(2));
        };
        Ran {
            status: status.code(),
            stdout: self.text(&out("stdout")),
            stderr: self.text(&out("stderr")),
            line: format!("ccorch {}", args.join(" ")),
        }
    }

    /// The same with a text on standard input.
    pub fn run_with(&self, args: &[&str], input: &str) -> Ran {
        let path = self.dir.path().join("out/stdin");
        fs::write(&path, input).unwrap();
        let ran = self.run(args);
        fs::remove_file(path).unwrap();
        ran
    }

    /// Starts `ccorch` and leaves it running, its output in the files named.
    pub fn spawn(&self, args: &[&str], stdout: &Path, stderr: &Path) -> Child {
        self.spawn_by(&[], args, stdout, stderr)
    }

    /// The same by way of another program, given what it needs before the command that it runs.
    pub fn spawn_by(&self, by: &[&str], args: &[&str], stdout: &Path, stderr: &Path) -> Child {
        let words: Vec<&str> = [by, &[env!("CARGO_BIN_EXE_ccorch")], args].concat();
        Command::new(words[0])
            .args(&words[1..])
            .current_dir(self.work())
            .env_clear()
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .stdin(File::open(self.dir.path().join("out/stdin")).map_or(Stdio::null(), Stdio::from))
            .stdout(File::create(stdout).unwrap())
            .stderr(File::create(stderr).unwrap())
            .spawn()
            .unwrap()
    }

    /// A file's text; the place's own path, which is new in each run, is shown as `$TEST`.
    pub fn text(&self, path: &Path) -> String {
        let bytes = fs::read(path).unwrap();
        String::from_utf8(bytes).unwrap().replace(&self.dir.path().display().to_string(), "$TEST")
    }
}

impl Ran {
    /// Everything as one text: command line, both streams (left out when empty), status.
    pub fn snapshot(&self) -> String {
        let mut text = format!("$ {}\n", self.line);
        for (name, stream) in [("stdout", &self.stdout), ("stderr", &self.stderr)] {
            if !stream.is_empty() {
                text += &format!("--- {name}\n{stream}");
                if !stream.ends_with('\n') {
                    text += "\n(no newline at the end)\n";
                }
            }
        }
        match self.status {
            Some(status) => text + &format!("--- status {status}\n"),
            None => text + "--- ended by a signal\n",
        }
    }
}
