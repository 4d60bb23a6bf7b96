//! `provider: qemu`: a virtual machine on this machine, with a host key that is known before it boots.

use std::net::Ipv4Addr;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use ccorch_core::provision::PublicKey;
use ccorch_io::command::CommandError;
use ccorch_io::durable;
use ccorch_io::host::Host;
use ccorch_io::ssh::classify;

use super::Args;
use super::cloud_init;
use super::outcome::{Machine as Ready, Outcome};
use super::progress::Progress;
use crate::context::LoadedRig;
use crate::error::{Kind, Problem};
use crate::reach::{self, Provisioned};
use crate::vm::Machine;

/// How often ssh is tried again.
const POLL: Duration = Duration::from_millis(500);
/// From sshd's first word to the operator's key and the right host key being in place: cloud-init's first stages.
const LOGIN: Duration = Duration::from_secs(180);

/// Makes the machine and waits until it is ready.
pub fn provision(loaded: &LoadedRig, args: &Args) -> Result<Outcome> {
    let (name, progress) = (&args.host, Progress::new(args.timeout));
    let machine = Machine::of(loaded, name)?;
    let steps = machine.steps()?;
    let mut changes = Vec::new();
    for step in &steps {
        if !args.dry_run {
            machine.perform(step, &progress)?;
        }
        changes.push(machine.told(step));
    }
    let ready = match args.dry_run {
        true => None,
        false => Some(ready(loaded, &machine, &progress, &mut changes)?),
    };
    Ok(Outcome { host: name.clone(), dry_run: args.dry_run, changes, machine: ready })
}

fn ready(
    loaded: &LoadedRig,
    machine: &Machine,
    progress: &Progress,
    changes: &mut Vec<String>,
) -> Result<Ready> {
    let address = Ipv4Addr::LOCALHOST.into();
    let made = machine.made()?.with_context(|| format!("host `{}` is not made", machine.name()))?;
    agrees(loaded, machine, &made.host_key)?;
    let reached =
        Provisioned { ssh: format!("root@{address}"), port: machine.ssh_port(), host_key: made.host_key };
    if record(loaded, machine, &reached)? {
        changes.push(format!("recorded: {} port {} and its host key", reached.ssh, reached.port));
    }
    progress.say("waiting for ssh");
    let host = login(loaded, machine, progress)?;
    progress.say("waiting for cloud-init");
    let cloud_init = cloud_init::wait(&host, progress)?;
    Ok(Ready { address, reached, cloud_init })
}

/// A host key in the rig file would be trusted in place of the one the machine was given.
fn agrees(loaded: &LoadedRig, machine: &Machine, key: &str) -> Result<()> {
    let name = machine.name();
    let named = reach::entry(loaded, name)?.host_key.as_deref();
    if named.is_none_or(|named| named.parse::<PublicKey>().is_ok_and(|named| named.to_string() == key)) {
        return Ok(());
    }
    let text =
        format!("host `{name}`: the rig file's `host_key` is not the key of the machine, which is {key}");
    Err(Problem::new(Kind::Identity, text)
        .hint(format!("remove `hosts.{name}.host_key`: ccorch makes the key of a local virtual machine"))
        .into())
}

/// Keeps in the operator's state folder how it is reached; whether that was new.
fn record(loaded: &LoadedRig, machine: &Machine, reached: &Provisioned) -> Result<bool> {
    let path = loaded.operator()?.host(machine.name().as_str());
    if durable::read_json::<Provisioned>(&path).ok().flatten().as_ref() == Some(reached) {
        return Ok(false);
    }
    if let Some(dir) = path.parent() {
        durable::create_dir(dir, 0o700)?;
    }
    durable::replace_json(&path, reached, 0o600)?;
    Ok(true)
}

/// Waits until a command runs there as root. On a first boot sshd may be there before cloud-init has placed the keys, so
/// a refusal counts only after a while; no other host key than the machine's own is ever accepted meanwhile.
fn login(loaded: &LoadedRig, machine: &Machine, progress: &Progress) -> Result<Host> {
    let until = Instant::now() + LOGIN.min(progress.left());
    loop {
        match reach::connect(loaded, machine.name()) {
            Ok(host) => return Ok(host),
            Err(error) => {
                let of_ssh =
                    error.chain().find_map(|cause| cause.downcast_ref::<CommandError>()).and_then(classify);
                if of_ssh.is_none() || Instant::now() >= until {
                    return Err(error);
                }
                thread::sleep(POLL);
            }
        }
    }
}
