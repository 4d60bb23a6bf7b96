//! The rehearsal's scenario: a git host, a legacy rig on a "pi" with work in
//! flight, and the operator's rig file for moving it.
//!
//! Both instances have fixed addresses in the bed's subnet, and every URL and
//! destination is by address: so the same words work in the instances and on
//! this machine, which does not ask the bridge's name server. Inside the bed
//! `git.incus` and `pi.incus` resolve too.

pub mod check;
mod git_host;
mod keys;
mod pi;
mod rig;
mod seed;
mod user_data;

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow};

use crate::bed::{Bed, Instance, replace};
use crate::report::Report;
pub use keys::{Key, Keys};
pub use pi::{LOOPS, pace, work_of};
pub use rig::{PHASES, REFERENCES, WORKSPACE, rig_yaml};

/// The instances of a scenario; the last comes into being in its course.
const OURS: [&str; 3] = ["git", "pi", "vm"];
/// Last number of the git host's address.
const GIT: u8 = 10;
/// Last number of the pi's address.
const PI: u8 = 20;

/// Everything a rehearsal starts from.
#[derive(Debug)]
pub struct Scenario {
    /// The git host; user `git` has the work, user `lease` the lease.
    pub git: Instance,
    /// The machine that the legacy rig lives on.
    pub pi: Instance,
    /// Addresses, keys and paths.
    pub place: Place,
}

/// Where the things of a scenario are.
#[derive(Debug, Clone)]
pub struct Place {
    /// The operator's folder: rig file, keys, certificate.
    pub folder: PathBuf,
    /// `ccorch.yaml` in it.
    pub rig_file: PathBuf,
    /// Host keys of git host and pi, pinned, by address.
    pub known_hosts: PathBuf,
    /// For people: `ssh -F` with it knows `git`, `pi` and their keys.
    pub ssh_config: PathBuf,
    /// The key pairs.
    pub keys: Keys,
    /// Address of the git host.
    pub git_address: Ipv4Addr,
    /// Address of the pi.
    pub pi_address: Ipv4Addr,
}

impl Place {
    /// The URL of a repository that agents push to, `orchestrator` or `cc-ci`.
    pub fn repository(&self, name: &str) -> String {
        format!("ssh://git@{}/srv/git/ci/{name}.git", self.git_address)
    }

    /// The URL of the lease's repository, which the agents' key does not open.
    pub fn lease(&self) -> String {
        format!("ssh://lease@{}/srv/git/ci/lease.git", self.git_address)
    }
}

impl Scenario {
    /// Removes what an earlier one left and sets the scenario up anew.
    /// `agent` is the program that the loops run as `claude`.
    pub fn set_up(bed: &Bed, agent: &Path, report: &mut Report) -> Result<Self> {
        report.step("clear", || Ok(((), clear(bed)?)))?;
        let place = report.step("operator", || operator(bed))?;
        let (git, pi) = report.step("launch", || launch(bed, &place))?;
        report.step("git host", || Ok(((), git_host::set_up(&git, &place.keys)?)))?;
        report.step("host keys", || Ok(((), pin(&git, &pi, &place)?)))?;
        report.step("seed", || Ok(((), seed::push(&place)?)))?;
        report.step("pi", || Ok(((), pi::set_up(&pi, &git, agent, &place)?)))?;
        report.step("rig file", || {
            let text = rig_yaml(&place, &bed.state, &pi.host_key()?);
            replace(&place.rig_file, text.as_bytes(), 0o644)?;
            Ok(((), place.rig_file.display().to_string()))
        })?;
        report.step("in flight", || Ok(((), pi::wait_for_work(&git)?)))?;
        Ok(Self { git, pi, place })
    }
}

fn clear(bed: &Bed) -> Result<String> {
    // Whatever else is there may be in use.
    let removed = bed.remove(|name| OURS.contains(&name))?;
    let folder = bed.layout.scenario();
    if folder.exists() {
        std::fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {}", folder.display()))?;
    }
    Ok(removed)
}

fn operator(bed: &Bed) -> Result<(Place, String)> {
    let folder = bed.layout.scenario();
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    for (from, name, mode) in [(&bed.state.certificate, "bed.crt", 0o644), (&bed.state.key, "bed.key", 0o600)]
    {
        let bytes = std::fs::read(from).with_context(|| format!("cannot read {}", from.display()))?;
        replace(&folder.join(name), &bytes, mode)?;
    }
    let place = Place {
        rig_file: folder.join("ccorch.yaml"),
        known_hosts: folder.join("known_hosts"),
        ssh_config: folder.join("ssh_config"),
        keys: Keys::make(&folder)?,
        git_address: bed.host_address(GIT)?,
        pi_address: bed.host_address(PI)?,
        folder,
    };
    Ok((place, "keys and certificate".to_owned()))
}

/// Both at once: each spends most of its time waiting for its first boot.
fn launch(bed: &Bed, place: &Place) -> Result<((Instance, Instance), String)> {
    let operator = &place.keys.operator.public;
    let (git, pi) = std::thread::scope(|scope| {
        let git = scope.spawn(|| bed.launch_at("git", Some(&user_data::git(operator)), place.git_address));
        let pi = bed.launch_at("pi", Some(&user_data::pi(operator)), place.pi_address);
        (git.join(), pi)
    });
    let git = git.map_err(|_| anyhow!("the launch of the git host came to a sudden end"))??;
    Ok(((git, pi?), format!("git at {}, pi at {}", place.git_address, place.pi_address)))
}

/// Pins both host keys, read past the network.
fn pin(git: &Instance, pi: &Instance, place: &Place) -> Result<String> {
    let hosts = [("git", git, place.git_address), ("pi", pi, place.pi_address)];
    let mut known = String::new();
    let mut config = format!(
        "UserKnownHostsFile {}\nIdentityFile {}\nIdentitiesOnly yes\nStrictHostKeyChecking yes\nUser root\n",
        place.known_hosts.display(),
        place.keys.operator.private.display()
    );
    for (name, instance, address) in hosts {
        known.push_str(&format!("{address} {}\n", instance.host_key()?));
        config.push_str(&format!("\nHost {name}\n    HostName {address}\n"));
    }
    replace(&place.known_hosts, known.as_bytes(), 0o644)?;
    replace(&place.ssh_config, config.as_bytes(), 0o644)?;
    Ok("of git and pi pinned".to_owned())
}
