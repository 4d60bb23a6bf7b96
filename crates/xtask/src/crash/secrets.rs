//! Nobody else may read a secret: not in what a run says, not in a journal, not in any process's arguments or
//! environment, not in a host's log, and not in a file there that everybody may read.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail, ensure};

use crate::bed::Instance;
use crate::scenario::Place;
use crate::wait;

/// Between two looks at all processes.
const PAUSE: Duration = Duration::from_millis(20);

/// Until a planted word is seen; a loaded machine gets far more than it takes.
const CONTROL: Duration = Duration::from_secs(60);
/// Ends the process with the planted word.
const FOUND: &str = "/run/control-of-the-watch";

/// Where the search's patterns lie on a host: nobody but root reads them.
const PATTERNS: &str = "/root/.secrets-of-the-bed";
/// Prints where a secret is found. First it has to find one where it is, so that it cannot pass by finding nothing.
const SEARCH: &str = r#"
patterns=/root/.secrets-of-the-bed
grep -qsF -f "$patterns" /etc/ccorch/lease_key /srv/cc-ci/.testenv || echo "nothing: the search itself fails"
journalctl --no-pager -q -a | grep -qF -f "$patterns" && echo "the systemd journal"
find /etc /home /opt /root /run /srv /tmp /usr/local /var -xdev -type f -perm -o=r ! -path '/var/log/journal/*' -print0 |
    xargs -0r grep -lsF -f "$patterns" -- || :
"#;

/// What must not be seen: name and text.
#[derive(Debug, Clone)]
pub struct Secrets(Vec<(String, String)>);

impl Secrets {
    /// Those of the scenario: each private key by its last full line, and the token in the workspace.
    pub fn of(place: &Place) -> Result<Self> {
        let keys = &place.keys;
        let files =
            [&keys.lease.private, &keys.operator.private, &keys.loops.private, &place.folder.join("bed.key")];
        let mut all = vec![("the token in .testenv".to_owned(), "of-the-test-bed".to_owned())];
        for file in files {
            all.push((file.display().to_string(), line_of(file)?));
        }
        Ok(Self(all))
    }

    /// Fails when a host has one in its log or in a file that everybody may read.
    pub fn not_on(&self, host: &Instance) -> Result<()> {
        let patterns: String = self.0.iter().map(|(_, secret)| format!("{secret}\n")).collect();
        host.push_file(patterns.as_bytes(), PATTERNS, "0600", "root:root")?;
        let found = host.read(&["sh", "-euc", SEARCH])?;
        host.exec(&["rm", "-f", PATTERNS])?;
        if found.is_empty() { Ok(()) } else { bail!("on {} a secret is to be read in:\n{found}", host.name) }
    }

    /// Fails when a text has one in it.
    pub fn not_in(&self, what: &str, text: &str) -> Result<()> {
        match self.0.iter().find(|(_, secret)| text.contains(secret)) {
            Some((name, _)) => bail!("{name} is to be read in {what}"),
            None => Ok(()),
        }
    }
}

/// One line of the key itself, long enough to be no chance.
fn line_of(file: &Path) -> Result<String> {
    let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let lines = text.lines().filter(|line| !line.starts_with("-----"));
    lines.max_by_key(|line| line.len()).map(str::to_owned).context("an empty key")
}

/// What everybody on a machine may see of a process: the file below `/proc/PID`, and its name.
const SEEN: [(&str, &str); 2] = [("cmdline", "arguments"), ("environ", "environment")];

/// One look at every process of this machine, which has those of all containers.
fn look(secrets: &Secrets, seen: &[(&str, &str)]) -> Result<()> {
    for entry in fs::read_dir("/proc").context("cannot read /proc")?.flatten() {
        for (file, what) in seen {
            let line = fs::read(entry.path().join(file)).unwrap_or_default();
            let what = format!("the {what} of process {}", entry.file_name().to_string_lossy());
            secrets.not_in(&what, &String::from_utf8_lossy(&line))?;
        }
    }
    Ok(())
}

/// Looks at all processes until it is stopped.
pub struct Watch {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<usize>>,
}

impl Watch {
    /// Starts looking, once it is known that a look finds what a process of this host shows.
    pub fn start(secrets: Secrets, host: &Instance) -> Result<Self> {
        control(host)?;
        let stop = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let mut looks = 0;
            while !flag.load(Ordering::Relaxed) {
                look(&secrets, &SEEN)?;
                looks += 1;
                thread::sleep(PAUSE);
            }
            Ok(looks)
        });
        Ok(Self { stop, thread })
    }

    /// Stops; how often it looked, or what it saw.
    pub fn stop(self) -> Result<usize> {
        self.stop.store(true, Ordering::Relaxed);
        let looks = self.thread.join().map_err(|_| anyhow!("the watch came to a sudden end"))??;
        ensure!(looks > 0, "the watch never looked");
        Ok(looks)
    }
}

/// Plants a word in the arguments and the environment of a process in the container, and demands that a look finds both.
/// The word goes there through standard input: no process of this machine outside has it.
fn control(host: &Instance) -> Result<()> {
    let name = "the control of the watch";
    let word = format!("seen-by-everybody-{}", std::process::id());
    let planted = Secrets(vec![(name.to_owned(), word.clone())]);
    let process = format!(
        "rm -f {FOUND}; CONTROL={word} timeout 120 sh -c 'until [ -e {FOUND} ]; do sleep 0.1; done' {word}"
    );
    thread::scope(|scope| {
        let process = scope.spawn(|| host.script(&process));
        let found = SEEN.iter().try_for_each(|one| {
            wait::until(&format!("{name} to be seen in the {} of a process", one.1), CONTROL, || {
                let found = look(&planted, &[*one]);
                Ok(found.is_err_and(|error| error.to_string().contains(name)).then_some(()))
            })
        });
        host.does(&["touch", FOUND])?;
        process.join().map_err(|_| anyhow!("the control came to a sudden end"))??;
        found
    })
}
