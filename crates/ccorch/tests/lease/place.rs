//! Two hosts under folders of their own, one real git remote between them, and journals as a driver writes them.

use std::fs;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use ccorch_core::cutover::{Entry, Journal, Origin, Outcome, Plan, Said, Side, SideKind, Step};
use ccorch_core::lease::Turn;
use ccorch_core::names::{HostName, RigName};
use jiff::Timestamp;
use serde_json::Value;

use crate::common::{Env, Ran};

/// Far beyond what anything here takes.
const LONG: Duration = Duration::from_secs(60);

/// Two hosts and the lease's remote.
pub struct Place {
    pub a: Env,
    pub b: Env,
    remote: PathBuf,
}

impl Place {
    /// Host `a` holds the lease and has acquired it in this boot. `lease` is what the rig says of it beside the remote.
    pub fn new(lease: &str) -> Self {
        let (a, b) = (Env::new().program("git").program("tmux"), Env::new().program("git").program("tmux"));
        for env in [&a, &b] {
            env.script("getent", "#!/bin/sh\nexit 2\n");
        }
        let remote = a.work().join("lease.git");
        let done =
            std::process::Command::new("git").args(["init", "--quiet", "--bare"]).arg(&remote).status();
        assert!(done.unwrap().success());
        let place = Self { a, b, remote };
        for (env, name) in [(&place.a, "a"), (&place.b, "b")] {
            env.write(env.root().join("etc/ccorch/rig.json"), place.rig(lease));
            env.write(env.root().join("etc/ccorch/host"), format!("{name}\n"));
        }
        ok(&place.a, &["lease", "init", "--holder", "a"]);
        ok(&place.a, &["lease", "tick"]);
        ok(&place.a, &["lease", "check"]);
        place
    }

    fn rig(&self, lease: &str) -> String {
        format!(
            r#"{{ "rig": "r", "phases": [{{ "id": "a", "plan": "a.md" }}],
                 "loops": {{ "one": {{ "agent": "command", "workdir": ".", "command": ["sleep", "9"] }} }},
                 "workspace": {{ "root": "/srv/r", "user": "nobody", "repositories": {{}} }},
                 "cutover": {{ "from": "a", "to": "b", "confirm": {{ "settle": "0s", "fallback": "1s" }} }},
                 "lease": {{ "remote": "{}"{lease} }},
                 "hosts": {{ "a": {{ "ssh": "root@a" }}, "b": {{ "ssh": "root@b" }} }} }}"#,
            self.remote.display()
        )
    }

    /// Both hosts get a clone `w` of one repository, whose remote this is, and agents that are this test's user.
    pub fn have_clones(&mut self) -> PathBuf {
        let remote = self.a.work().join("w.git");
        let user = std::process::Command::new("id").arg("-un").output().unwrap().stdout;
        let user = String::from_utf8(user).unwrap();
        let sh = |script: &str, env: &Env| {
            let done = std::process::Command::new("sh")
                .args(["-euc", script, "sh"])
                .args([&remote, &env.work().join("ws/w")])
                .status();
            assert!(done.unwrap().success(), "{script}");
        };
        sh("git init -q --bare -b main \"$1\"", &self.a);
        for (env, first) in
            [(&self.a, "git commit -q --allow-empty -m one; git push -q origin main"), (&self.b, ":")]
        {
            let clone = "git clone -q \"$1\" \"$2\" 2>/dev/null; cd \"$2\"; git config user.name a; git config user.email a@b";
            sh(&format!("{clone}; {first}"), env);
            let file = env.root().join("etc/ccorch/rig.json");
            let rig = fs::read_to_string(&file)
                .unwrap()
                .replace("/srv/r", &env.work().join("ws").display().to_string());
            let repository = format!(r#"{{ "w": {{ "url": "{}", "branch": "main" }} }}"#, remote.display());
            let rig = rig.replace("nobody", user.trim());
            env.write(
                file,
                rig.replace(r#""repositories": {}"#, &format!(r#""repositories": {repository}"#)),
            );
        }
        for env in [&mut self.a, &mut self.b] {
            // What looks at clones is made of the machine's own programs.
            env.put(
                "PATH",
                format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", env.root().with_file_name("bin").display()),
            );
        }
        remote
    }

    /// Has git say something in the clone of a host.
    pub fn git(&self, env: &Env, args: &[&str]) -> String {
        let said =
            std::process::Command::new("git").arg("-C").arg(env.work().join("ws/w")).args(args).output();
        let said = said.unwrap();
        assert!(said.status.success(), "{args:?}: {}", String::from_utf8_lossy(&said.stderr));
        String::from_utf8(said.stdout).unwrap().trim().to_owned()
    }

    /// Starts the tmux server of a host's loop, whatever the lease says. Needs clones.
    pub fn start_loop(&self, env: &Env) {
        let socket = self.socket(env);
        fs::create_dir_all(socket.parent().unwrap()).unwrap();
        let mut tmux = std::process::Command::new("tmux");
        tmux.args(["-f", "/dev/null", "-S"]).arg(socket).args([
            "new-session",
            "-d",
            "-s",
            "one",
            "sleep 600",
        ]);
        assert!(tmux.status().unwrap().success());
        assert!(self.loop_runs(env));
    }

    /// Whether that server is there.
    pub fn loop_runs(&self, env: &Env) -> bool {
        let mut tmux = std::process::Command::new("tmux");
        let asked = tmux.arg("-S").arg(self.socket(env)).arg("has-session").stderr(Stdio::null()).status();
        asked.unwrap().success()
    }

    fn socket(&self, env: &Env) -> PathBuf {
        env.root().join("run/ccorch-loops/one/tmux")
    }

    /// Both hosts lose the remote, or have it again.
    pub fn cut(&self, away: bool) {
        let gone = self.remote.with_extension("away");
        let (from, to) = if away { (&self.remote, &gone) } else { (&gone, &self.remote) };
        fs::rename(from, to).unwrap();
    }

    /// The remote's refs.
    pub fn refs(&self) -> String {
        let argv = ["for-each-ref", "--format=%(refname)"];
        let said = std::process::Command::new("git").arg("-C").arg(&self.remote).args(argv).output();
        String::from_utf8(said.unwrap().stdout).unwrap()
    }

    /// A hook of the remote's.
    pub fn hook(&self, name: &str) -> PathBuf {
        let hook = self.remote.join("hooks").join(name);
        fs::create_dir_all(hook.parent().unwrap()).unwrap();
        hook
    }

    /// The remote takes no push, or takes them again; it can be read all the while.
    pub fn refuse_pushes(&self, refuse: bool) {
        let hook = self.remote.join("hooks/pre-receive");
        if refuse {
            fs::create_dir_all(hook.parent().unwrap()).unwrap();
            self.a.write(&hook, "#!/bin/sh\nexit 1\n").mode(&hook, 0o755);
        } else {
            fs::remove_file(hook).unwrap();
        }
    }
}

/// Runs a verb that has to succeed; its standard output.
pub fn ok(env: &Env, args: &[&str]) -> String {
    let ran = env.run(args);
    assert_eq!(ran.status, Some(0), "{}", ran.snapshot());
    ran.stdout
}

/// Runs a verb that has to be refused with this status, in these words.
pub fn refused(ran: &Ran, status: i32, words: &[&str]) {
    assert_eq!(ran.status, Some(status), "{}", ran.snapshot());
    for word in words {
        assert!(ran.stderr.contains(word), "`{word}` is missing: {}", ran.snapshot());
    }
    // What every start of a loop asks goes to nobody who reads hints.
    assert!(ran.stderr.contains("hint: ") || ran.line.ends_with("lease check"), "{}", ran.snapshot());
}

/// What a host and the arbiter say.
pub fn show(env: &Env) -> Value {
    serde_json::from_str(&ok(env, &["lease", "show", "--json"])).unwrap()
}

/// The host boots: what lay in `/run` is gone.
pub fn reboot(env: &Env) {
    fs::remove_dir_all(env.root().join("run")).unwrap();
}

/// Waits until `look` finds something.
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

/// A cutover's journal from `a` to `b`, as its driver has it.
pub struct Story {
    pub journal: Journal,
    pub text: String,
}

impl Story {
    pub fn begin(id: &str) -> Self {
        Self::begin_from(id, SideKind::Ccorch)
    }

    /// The same from a source that is such a host.
    pub fn begin_from(id: &str, source: SideKind) -> Self {
        let side = |name: &str, kind| Side { name: HostName::new(name).unwrap(), kind };
        let (from, to) = (side("a", source), side("b", SideKind::Ccorch));
        let plan = Plan { from, to, steps: Step::ALL.into() };
        let origin = Origin { ccorch: "0".into(), plan_hash: "0".into() };
        let (rig, asked) = (RigName::new("r").unwrap(), Said::default().of(None));
        let (journal, line) = Journal::begin(id.into(), rig, plan, origin, asked, Timestamp::UNIX_EPOCH);
        Self { journal, text: format!("{line}\n") }
    }

    pub fn add(&mut self, entry: Entry) -> &mut Self {
        let line = self.journal.append(Timestamp::UNIX_EPOCH, entry).unwrap();
        self.text.push_str(&format!("{line}\n"));
        self
    }

    pub fn driver(&mut self, turn: u64, by: &str) -> &mut Self {
        self.add(Entry::Driver { turn: Turn(turn), by: by.into() })
    }

    pub fn end(&mut self) -> &mut Self {
        self.add(Entry::End { outcome: Outcome::Completed })
    }

    /// The same journal on another machine.
    pub fn copied(&self) -> Self {
        Self { journal: self.journal.clone(), text: self.text.clone() }
    }

    /// Takes it in hand on a host.
    pub fn claim(&self, env: &Env, by: &str, held: Option<u64>) -> Ran {
        let held = held.map(|held| held.to_string());
        let mut args = vec!["lease", "claim", "--journal", &self.journal.id, "--by", by];
        args.extend(held.iter().flat_map(|held| ["--held", held.as_str()]));
        env.run_with(&args, &self.text)
    }

    /// Sends it to a host.
    pub fn keep(&self, env: &Env) -> Ran {
        let turn = self.journal.turn().unwrap().to_string();
        env.run_with(&["journal", "keep", "--journal", &self.journal.id, "--turn", &turn], &self.text)
    }
}
