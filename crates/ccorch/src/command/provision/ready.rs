//! From an instance that was started to a host that can be worked on: address, host key, ssh, cloud-init.

use std::net::IpAddr;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Error, Result};
use ccorch_core::names::HostName;
use ccorch_core::provision::{self, PublicKey};
use ccorch_io::command::CommandError;
use ccorch_io::durable;
use ccorch_io::host::Host;
use ccorch_io::incus::{Client, Failure, IncusError};
use ccorch_io::ssh::{SshFailure, classify};

use super::cloud_init;
use super::outcome::Machine;
use super::progress::Progress;
use crate::context::LoadedRig;
use crate::error::{Kind, Problem};
use crate::reach::{self, Provisioned};

/// How often something is looked at again.
const POLL: Duration = Duration::from_millis(200);
/// How long ssh may still refuse after cloud-init's end; what lets the operator in is in place by then.
const AFTER_CLOUD_INIT: Duration = Duration::from_secs(10);
/// sshd's own key, the one every current OpenSSH has.
const HOST_KEY: &str = "/etc/ssh/ssh_host_ed25519_key.pub";
/// Written by cloud-init when it is done with a boot.
const CLOUD_INIT_RESULT: &str = "/run/cloud-init/result.json";

/// Waits until the host can be worked on; what is new about it is recorded and added to `changes`.
pub fn wait(
    client: &Client,
    loaded: &LoadedRig,
    name: &HostName,
    progress: &Progress,
    changes: &mut Vec<String>,
) -> Result<Machine> {
    let instance = Waiting { client, loaded, name, progress };
    progress.say("waiting for its address");
    let address = instance.address()?;
    progress.say(format!("address {address}; waiting for its ssh host key"));
    let mut reached = instance.reached(address)?;
    let mut recorded = instance.record(&reached)?;
    progress.say("waiting for ssh");
    let host = instance.ssh(address, &mut reached, &mut recorded)?;
    progress.say("waiting for cloud-init");
    let cloud_init = cloud_init::wait(&host, progress)?;
    // On a first boot cloud-init replaces host keys that came with the image.
    reached = instance.reached(address)?;
    recorded |= instance.record(&reached)?;
    if recorded {
        changes.push(format!("recorded: {} and its host key", reached.ssh));
    }
    progress.say("ready");
    Ok(Machine { address, reached, cloud_init })
}

struct Waiting<'a> {
    client: &'a Client,
    loaded: &'a LoadedRig,
    name: &'a HostName,
    progress: &'a Progress,
}

impl Waiting<'_> {
    fn address(&self) -> Result<IpAddr> {
        self.until("it had no address that others reach", "see its network and DHCP", || {
            Ok(provision::address(&self.client.instance_state(self.name.as_str())?))
        })
    }

    /// Its login and host key. The key comes over the connection that both ends proved their identity on.
    fn reached(&self, address: IpAddr) -> Result<Provisioned> {
        let key = self.until(&format!("it had no {HOST_KEY}"), "see that sshd is installed there", || {
            match self.client.file(self.name.as_str(), HOST_KEY) {
                Ok(file) => {
                    Ok(file.and_then(|bytes| String::from_utf8_lossy(&bytes).parse::<PublicKey>().ok()))
                }
                // A virtual machine that boots has no agent yet that could read files.
                Err(IncusError { failure: Failure::Refused { .. }, .. }) => Ok(None),
                Err(error) => Err(error),
            }
        })?;
        self.agrees(&key)?;
        Ok(Provisioned { ssh: format!("root@{address}"), port: 22, host_key: key.to_string() })
    }

    /// A file in the instance, past its network; `None` while it is not there.
    fn file(&self, path: &str) -> Result<Option<Vec<u8>>, IncusError> {
        match self.client.file(self.name.as_str(), path) {
            // A virtual machine that boots has no agent yet that could read files.
            Err(IncusError { failure: Failure::Refused { .. }, .. }) => Ok(None),
            found => found,
        }
    }

    /// A host key in the rig file would be trusted in place of the one learnt here.
    fn agrees(&self, key: &PublicKey) -> Result<()> {
        let named = reach::entry(self.loaded, self.name)?.host_key.as_deref();
        if named.is_none_or(|named| named.parse().as_ref() == Ok(key)) {
            return Ok(());
        }
        let name = self.name;
        let text = format!(
            "host `{name}`: the rig file's `host_key` is not the key of the instance, which is {key}"
        );
        Err(Problem::new(Kind::Identity, text)
            .hint(format!(
                "remove `hosts.{name}.host_key`: a provisioned host's key is learnt from the server"
            ))
            .into())
    }

    /// Keeps it in the operator's state folder; whether that was new.
    fn record(&self, reached: &Provisioned) -> Result<bool> {
        let path = self.loaded.operator()?.host(self.name.as_str());
        // A damaged file is no reason to stop: here is what belongs in it.
        if durable::read_json::<Provisioned>(&path).ok().flatten().as_ref() == Some(reached) {
            return Ok(false);
        }
        if let Some(dir) = path.parent() {
            durable::create_dir(dir, 0o700)?;
        }
        durable::replace_json(&path, reached, 0o600)?;
        Ok(true)
    }

    /// Waits until a command runs there as root with the operator's key.
    fn ssh(&self, address: IpAddr, reached: &mut Provisioned, recorded: &mut bool) -> Result<Host> {
        let mut cloud_init_ended: Option<Instant> = None;
        loop {
            let error = match reach::connect(self.loaded, self.name) {
                Ok(host) => return Ok(host),
                Err(error) => error,
            };
            match ssh_failure(&error) {
                None => return Err(error),
                Some(SshFailure::HostKey) => {
                    let now = self.reached(address)?;
                    if now == *reached {
                        return Err(error);
                    }
                    *reached = now;
                    *recorded |= self.record(reached)?;
                }
                Some(SshFailure::Denied | SshFailure::Unreachable | SshFailure::Broken) => {
                    if cloud_init_ended.is_none() && self.file(CLOUD_INIT_RESULT)?.is_some() {
                        cloud_init_ended = Some(Instant::now());
                    }
                    let given_up = cloud_init_ended.is_some_and(|end| end.elapsed() > AFTER_CLOUD_INIT);
                    if given_up || self.progress.left().is_zero() {
                        return Err(error);
                    }
                    thread::sleep(POLL);
                }
            }
        }
    }

    fn until<T>(
        &self,
        not_so: &str,
        hint: &str,
        look: impl Fn() -> Result<Option<T>, IncusError>,
    ) -> Result<T> {
        loop {
            if let Some(found) = look()? {
                return Ok(found);
            }
            if self.progress.left().is_zero() {
                let (name, seconds) = (self.name, self.progress.budget.as_secs());
                let text = format!(
                    "Incus server {}, project `{}`, instance `{name}`: after {seconds} s {not_so}",
                    self.client.server(),
                    self.client.project()
                );
                return Err(Problem::new(Kind::TimedOut, text)
                    .hint(format!("{hint}: `incus console --show-log {name}`"))
                    .into());
            }
            thread::sleep(POLL);
        }
    }
}

fn ssh_failure(error: &Error) -> Option<SshFailure> {
    error.chain().find_map(|cause| cause.downcast_ref::<CommandError>()).and_then(classify)
}
