//! Installs what the bed needs and the machine does not have.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context as _, Result, bail};

use super::apt_source::{self, AptSource};
use crate::run::Run;

/// What the bed runs on, and what the tests on this machine itself need: an sshd, systemd-analyze. `qemu-system-x86` is
/// for Incus and local VMs.
const NEEDED: &[&str] = &[
    "incus-base",
    "incus-client",
    "qemu-system-x86",
    "qemu-utils",
    "xorriso",
    "mmdebstrap",
    "squashfs-tools",
    "btrfs-progs",
    "dnsmasq-base",
    "nftables",
    "iproute2",
    "openssh-client",
    "openssh-server",
    "procps",
    "systemd",
    "debian-archive-keyring",
    "util-linux",
    "rsync",
    "git",
    "tmux",
    "microsocks",
    "python3",
];

/// What Debian 12 has in its backports only (or too old without them).
const FROM_BACKPORTS: &[&str] = &["incus-base", "incus-client", "qemu-system-x86", "golang-go"];

/// Where all of them are.
const KNOWN_TO: &str = "hint: Debian 12 and 13 have all of them, and Ubuntu 24.04 and newer with the component `universe`; \
                        else install what it is by other means";

/// Ours alone, so that nothing of the machine's own is edited.
const BACKPORTS_FILE: &str = "/etc/apt/sources.list.d/ccorch-testbed-backports.sources";

/// Installs what the bed needs and is missing; says what it did.
pub fn ensure() -> Result<String> {
    ensure_all(NEEDED)
}

/// Installs what of these packages is missing; says what it did.
pub fn ensure_all(needed: &[&str]) -> Result<String> {
    let missing = missing(needed)?;
    if missing.is_empty() {
        return Ok(format!("all {} packages are there", needed.len()));
    }
    let release = os_release()?;
    let backports = add_backports(&release)?;
    apt(&["update"])?;
    let unknown = unknown(&missing)?;
    if !unknown.is_empty() {
        let system = format!("{} {}", release.id, release.codename);
        bail!("{system} has no package {}\n{KNOWN_TO}", unknown.join(", "));
    }
    let mut install = vec!["install", "--yes", "--no-install-recommends"];
    if let Some(suite) = &backports {
        install.extend(["--target-release", suite]);
    }
    let (late, plain): (Vec<&str>, Vec<&str>) = missing
        .iter()
        .map(String::as_str)
        .partition(|name| backports.is_some() && FROM_BACKPORTS.contains(name));
    // Two runs: a target release would also pull newer builds of the plain ones.
    if !plain.is_empty() {
        let words = ["install", "--yes", "--no-install-recommends"];
        apt(&[&words[..], &plain].concat())?;
    }
    if !late.is_empty() {
        apt(&[&install[..], &late].concat())?;
    }
    Ok(format!("installed {}", missing.join(" ")))
}

/// The needed packages that dpkg does not have installed.
fn missing(needed: &[&str]) -> Result<Vec<String>> {
    let status = Path::new("/var/lib/dpkg/status");
    if !status.exists() {
        bail!("no dpkg here\nhint: the test bed sets itself up on Debian and Ubuntu only");
    }
    let query =
        [&["dpkg-query", "--show", "--showformat=${Package} ${db:Status-Status}\\n"], needed].concat();
    // It exits 1 when one of them is unknown, and still lists the others.
    let output = Run::new(&query).output()?;
    Ok(not_installed(needed, &String::from_utf8_lossy(&output.stdout)))
}

/// Those of these packages that apt could not install from anywhere.
fn unknown(wanted: &[String]) -> Result<Vec<String>> {
    let words = [&["apt-cache".to_owned(), "policy".to_owned()], wanted].concat();
    Ok(without_candidate(wanted, &Run::new(&words).env("LC_ALL", "C").read()?))
}

/// `policy` is what `apt-cache policy` says; of a name that it never heard it says nothing.
fn without_candidate(wanted: &[String], policy: &str) -> Vec<String> {
    let mut known = BTreeSet::new();
    let mut name = "";
    for line in policy.lines() {
        match line.trim().strip_prefix("Candidate: ") {
            Some(candidate) if candidate != "(none)" => _ = known.insert(name),
            Some(_) => {}
            None if !line.starts_with(' ') => name = line.trim_end_matches(':'),
            None => {}
        }
    }
    wanted.iter().filter(|name| !known.contains(name.as_str())).cloned().collect()
}

fn not_installed(needed: &[&str], listing: &str) -> Vec<String> {
    let there: BTreeSet<&str> = listing.lines().filter_map(|line| line.strip_suffix(" installed")).collect();
    needed.iter().filter(|name| !there.contains(*name)).map(|name| (*name).to_owned()).collect()
}

/// Name and version of the system, from os-release.
pub struct Release {
    /// `debian`, `ubuntu`.
    pub id: String,
    /// `bookworm`, `trixie`, `noble`.
    pub codename: String,
}

/// Reads `/etc/os-release`.
pub fn os_release() -> Result<Release> {
    let text = std::fs::read_to_string("/etc/os-release").context("cannot read /etc/os-release")?;
    Ok(parse_release(&text))
}

fn parse_release(text: &str) -> Release {
    let value = |key: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        line.unwrap_or_default().trim_matches('"').to_owned()
    };
    Release { id: value("ID"), codename: value("VERSION_CODENAME") }
}

/// On Debian 12, makes its backports known to apt; the suite's name if so.
fn add_backports(release: &Release) -> Result<Option<String>> {
    if release.id != "debian" || release.codename != "bookworm" {
        return Ok(None);
    }
    let suite = format!("{}-backports", release.codename);
    let sources = apt_source::of_this_machine()?;
    if apt_source::serving(&sources, &suite).is_some() {
        return Ok(Some(suite));
    }
    let base = apt_source::serving(&sources, &release.codename)
        .context("no apt source here serves this release\nhint: look at /etc/apt/sources.list.d")?;
    std::fs::write(BACKPORTS_FILE, backports_entry(base, &suite))
        .with_context(|| format!("cannot write {BACKPORTS_FILE}"))?;
    Ok(Some(suite))
}

fn backports_entry(base: &AptSource, suite: &str) -> String {
    let mut entry = format!("Types: deb\nURIs: {}\nSuites: {suite}\nComponents: main\n", base.uri);
    if let Some(key) = &base.signed_by {
        entry.push_str(&format!("Signed-By: {key}\n"));
    }
    entry
}

/// Another apt may be at work (a second checkout's bed): wait for its lock.
fn apt(words: &[&str]) -> Result<()> {
    let lead = ["apt-get", "--quiet", "-o", "DPkg::Lock::Timeout=600"];
    Run::new(&[&lead[..], words].concat())
        .env("DEBIAN_FRONTEND", "noninteractive")
        .run()
        .context("hint: apt must work as root on this machine; try the command by hand")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_not_installed_is_missing() {
        let listing: String = NEEDED
            .iter()
            .map(|name| match *name {
                "git" => "git config-files\n".to_owned(),
                "tmux" => String::new(),
                name => format!("{name} installed\n"),
            })
            .collect();
        assert_eq!(not_installed(NEEDED, &listing), ["git", "tmux"]);
    }

    #[test]
    fn a_package_that_no_source_has_is_named() {
        let policy = "git:\n  Installed: (none)\n  Candidate: 1:2.39\n  Version table:\n     1:2.39 500\n\
                      mail-transport-agent:\n  Installed: (none)\n  Candidate: (none)\n  Version table:\n";
        let wanted = ["git", "mail-transport-agent", "incus-base"].map(ToOwned::to_owned);
        assert_eq!(without_candidate(&wanted, policy), ["mail-transport-agent", "incus-base"]);
        assert_eq!(without_candidate(&wanted[..1], policy), Vec::<String>::new());
    }

    #[test]
    fn reads_os_release() {
        let release = parse_release("ID=debian\nVERSION_ID=\"12\"\nVERSION_CODENAME=\"bookworm\"\n");
        assert_eq!((release.id.as_str(), release.codename.as_str()), ("debian", "bookworm"));
    }

    #[test]
    fn backports_come_from_the_same_mirror() {
        let base = AptSource {
            uri: "http://mirror.test/debian".into(),
            suites: vec!["bookworm".into()],
            signed_by: Some("/k.gpg".into()),
        };
        let expected = "Types: deb\nURIs: http://mirror.test/debian\nSuites: bookworm-backports\n\
                        Components: main\nSigned-By: /k.gpg\n";
        assert_eq!(backports_entry(&base, "bookworm-backports"), expected);
    }
}
