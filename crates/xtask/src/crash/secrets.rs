//! Nobody else may read a secret: not in what a run says, not in a journal, not in any process's arguments or
//! environment, not in a host's log, and not in a file there that everybody may read.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};

use crate::bed::Instance;
use crate::scenario::Place;

/// Between two looks at all processes.
const PAUSE: Duration = Duration::from_millis(20);

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

/// Looks at the arguments and environment of every process of this machine, which has those of all containers, until it is stopped.
pub struct Watch {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<usize>>,
}

impl Watch {
    /// Starts looking.
    pub fn start(secrets: Secrets) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let mut looks = 0;
            while !flag.load(Ordering::Relaxed) {
                for entry in fs::read_dir("/proc").context("cannot read /proc")?.flatten() {
                    for (file, what) in [("cmdline", "arguments"), ("environ", "environment")] {
                        let line = fs::read(entry.path().join(file)).unwrap_or_default();
                        let what = format!("the {what} of process {}", entry.file_name().to_string_lossy());
                        secrets.not_in(&what, &String::from_utf8_lossy(&line))?;
                    }
                }
                looks += 1;
                thread::sleep(PAUSE);
            }
            Ok(looks)
        });
        Self { stop, thread }
    }

    /// Stops; how often it looked, or what it saw.
    pub fn stop(self) -> Result<usize> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow!("the watch came to a sudden end"))?
    }
}
