//! The test bed: a private Incus daemon with everything the whole-system tests need.
//!
//! Private means: its own folder, port, bridge, subnet, project and
//! certificates, all named by the checkout, so that it meets neither the
//! machine's own Incus nor the bed of another checkout. `up` makes each part
//! unless it is there, `down` finds everything by what it is, not by what was
//! written down, so both work on a bed that somebody killed.

mod api;
pub(crate) mod apt_source;
mod certificate;
mod daemon;
pub mod image;
mod instance;
mod layout;
mod limits;
pub mod packages;
mod pool;
mod process;
mod recipe;
mod server;
pub mod sops;
mod state;
mod status;
mod subnet;
mod sweep;

use std::fs::File;
use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::report::Report;
use api::Api;
pub use instance::Instance;
pub use layout::Layout;
pub use state::{State, replace};
pub use status::{InstanceStatus, look as status};

/// A bed that is up.
#[derive(Debug, Clone)]
pub struct Bed {
    /// Where it is and how to talk to it.
    pub state: State,
    /// Where it keeps its files.
    pub layout: Layout,
    api: Api,
}

impl Bed {
    /// Brings it up, whatever is there already; each step says what it did.
    pub fn up(layout: &Layout, report: &mut Report) -> Result<Self> {
        need_root()?;
        let _lock = lock(layout)?;
        report.step("packages", || Ok(((), packages::ensure()?)))?;
        report.step("limits", || Ok(((), limits::raise()?)))?;
        let image = report.step("image", || image::built(layout))?;
        std::fs::create_dir_all(&layout.home)
            .with_context(|| format!("cannot make {}", layout.home.display()))?;
        let api = Api::new(layout);
        let pid = report.step("daemon", || daemon::ensure(layout, &api))?;
        let (url, fingerprint) = report.step("https", || {
            let (url, fingerprint, there) = server::https(&api)?;
            let said = format!("{} {url}", if there { "listens on" } else { "now on" });
            Ok(((url, fingerprint), said))
        })?;
        report.step("pool", || {
            let (of, new) = pool::ensure(&api)?;
            Ok(((), made(new, &of)))
        })?;
        let subnet = report.step("bridge", || {
            let (subnet, new) = server::network(&api, layout)?;
            let said = made(new, &format!("{} with {subnet}", layout.bridge()));
            Ok((subnet, said))
        })?;
        report.step("project", || Ok(((), made(server::project(&api, layout)?, &api.project))))?;
        report.step("certificate", || {
            let (pem, _) = certificate::ensure(layout)?;
            Ok(((), made(server::trust(&api, &pem)?, "trusted for the project")))
        })?;
        report.step("import", || Ok(((), image::imported(&api, &image)?)))?;
        let state = State {
            checkout: layout.checkout.clone(),
            pid,
            url,
            fingerprint,
            project: api.project.clone(),
            certificate: layout.certificate(),
            key: layout.key(),
            pool: pool::POOL.to_owned(),
            network: layout.bridge(),
            subnet,
            image: recipe::ALIAS.to_owned(),
            incus_dir: layout.incus_dir(),
        };
        state.write(layout)?;
        Ok(Self { state, layout: layout.clone(), api })
    }

    /// Ends and removes everything of the bed; with `purge` the image cache too.
    pub fn down(layout: &Layout, purge: bool, report: &mut Report) -> Result<()> {
        need_root()?;
        let _lock = lock(layout)?;
        let incus_dir = layout.incus_dir();
        report.step("processes", || {
            let ended = process::end_all(&incus_dir, Duration::from_secs(10))?;
            sweep::groups(&layout.project())?;
            Ok(((), format!("{ended} ended")))
        })?;
        report.step("bridge", || {
            sweep::firewall(&layout.bridge())?;
            let there = sweep::link(&layout.bridge())?;
            Ok(((), if there { "removed".to_owned() } else { "none".to_owned() }))
        })?;
        report.step("folder", || {
            let mounts = sweep::mounts(&layout.home)?;
            let there = layout.home.exists();
            if there {
                std::fs::remove_dir_all(&layout.home)
                    .with_context(|| format!("cannot remove {}", layout.home.display()))?;
            }
            Ok((
                (),
                format!("{mounts} mounts and {}", if there { "the folder removed" } else { "no folder" }),
            ))
        })?;
        if purge {
            report.step("images", || image::purge(layout).map(|()| ((), "cache removed".to_owned())))?;
        }
        Ok(())
    }

    /// Creates an instance and waits until it is ready: address, sshd, cloud-init.
    pub fn launch(&self, name: &str, cloud_init_user_data: Option<&str>) -> Result<Instance> {
        Instance::launch(&self.api, name, cloud_init_user_data, None)
    }

    /// The same, with an address of one's choice on the bridge.
    pub fn launch_at(&self, name: &str, user_data: Option<&str>, address: Ipv4Addr) -> Result<Instance> {
        Instance::launch(&self.api, name, user_data, Some(address))
    }

    /// An address in the bed's subnet that DHCP gives to nobody, by its last number: 2 to 99.
    pub fn host_address(&self, number: u8) -> Result<Ipv4Addr> {
        let network = subnet::Network::parse(&self.state.subnet).context("the bed has no subnet")?;
        Ok(network.host(number))
    }

    /// An instance by its name, whoever created it.
    pub fn instance(&self, name: &str) -> Instance {
        Instance::new(&self.api, name)
    }

    /// All instances of the project.
    pub fn instances(&self) -> Result<Vec<InstanceStatus>> {
        status::instances(&self.api)
    }

    /// Removes the instances whose names are wanted; says how many there were.
    pub fn remove(&self, wanted: impl Fn(&str) -> bool) -> Result<String> {
        let instances = self.instances()?;
        let wanted: Vec<_> = instances.iter().filter(|one| wanted(&one.name)).collect();
        for one in &wanted {
            self.instance(&one.name).delete()?;
        }
        Ok(format!("{} instances removed", wanted.len()))
    }

    /// How a person talks to it.
    pub fn how_to_talk(&self) -> String {
        format!("INCUS_DIR={} incus --project {} list", self.state.incus_dir.display(), self.state.project)
    }

    /// What is left of a bed: processes, mounts, the bridge, its folder, control groups. Empty after `down`.
    pub fn remains(layout: &Layout) -> Result<Vec<String>> {
        let processes = process::of_bed(&layout.incus_dir())?;
        let mut left: Vec<String> =
            processes.iter().map(|process| format!("process {} {}", process.pid, process.command)).collect();
        left.extend(
            sweep::mounted_below(&layout.home)?.iter().map(|point| format!("mount {}", point.display())),
        );
        let bridge = std::path::Path::new("/sys/class/net").join(layout.bridge());
        left.extend(
            [bridge, layout.home.clone()]
                .iter()
                .filter(|path| path.exists())
                .map(|path| path.display().to_string()),
        );
        left.extend(sweep::groups_of(&layout.project()).iter().map(|group| group.display().to_string()));
        Ok(left)
    }
}

fn made(new: bool, what: &str) -> String {
    format!("{} {what}", if new { "made" } else { "there:" })
}

fn need_root() -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        bail!(
            "the test bed needs root: it installs packages, makes a bridge and boots containers\nhint: run it with sudo"
        );
    }
    Ok(())
}

/// One `up` or `down` of a bed at a time; a second one waits for the first.
fn lock(layout: &Layout) -> Result<File> {
    let path = layout.lock_file();
    std::fs::create_dir_all(&layout.shared)
        .with_context(|| format!("cannot make {}", layout.shared.display()))?;
    let file = File::options()
        .create(true)
        .append(true)
        .open(&path)
        .with_context(|| format!("cannot open {}", path.display()))?;
    if file.try_lock().is_err() {
        println!("another `testbed` of this checkout is at work; waiting for it");
        file.lock().with_context(|| format!("cannot lock {}", path.display()))?;
    }
    Ok(file)
}
