//! From an error's chain to its kind and to what a person can do about it. All hints that are not the verb's own are here.

mod incus;

use ccorch_io::command::{CommandError, Failure};
use ccorch_io::durable::{Damaged, disk_refuses};
use ccorch_io::incus::{CredentialError, IncusError};
use ccorch_io::lock::Held;
use ccorch_io::qemu::QmpError;
use ccorch_io::socks::SocksError;
use ccorch_io::ssh::{SshFailure, classify};

use crate::error::{Kind, Problem};
use crate::here::driver::STALE;
use crate::remote::INSTALLED;

/// For a driver that a host refused because it listens to a newer one.
const REPLACED: &str = "`ccorch lease show` tells who runs the rig; where the cutover is not over, `ccorch cutover --resume` takes it \
                        in hand again";

/// The kind of an error and its hint: the first cause that is known decides.
pub fn of(error: &anyhow::Error) -> (Kind, Option<String>) {
    error.chain().find_map(known).unwrap_or((Kind::General, None))
}

fn known(cause: &(dyn std::error::Error + 'static)) -> Option<(Kind, Option<String>)> {
    if let Some(problem) = cause.downcast_ref::<Problem>() {
        return Some((problem.kind, problem.hint.clone()));
    }
    if cause.is::<Held>() {
        return Some((Kind::Conflict, Some("wait for it to end, or end that process".into())));
    }
    if cause.is::<Damaged>() {
        let hint = "find out what wrote to it; when it is moved away, ccorch goes on as on a host where it was never written";
        return Some((Kind::Unfit, Some(hint.into())));
    }
    if let Some(error) = cause.downcast_ref::<SocksError>() {
        let (kind, hint) = socks(error);
        return Some((kind, Some(hint.into())));
    }
    if let Some(error) = cause.downcast_ref::<QmpError>() {
        return Some(qmp(error));
    }
    if let Some(error) = cause.downcast_ref::<CredentialError>() {
        return Some(incus::credential(error));
    }
    if let Some(error) = cause.downcast_ref::<IncusError>() {
        return Some(incus::call(error));
    }
    let (kind, hint) = command(cause.downcast_ref::<CommandError>()?)?;
    Some((kind, Some(hint)))
}

fn socks(error: &SocksError) -> (Kind, &'static str) {
    match error {
        SocksError::NotListening { .. } => {
            (Kind::Unreachable, "see why the proxy is down: `systemctl status ccorch-proxy`")
        }
        SocksError::Handshake { .. } => {
            (Kind::Unfit, "see what listens there (`ss -tlnp`), or give the proxy another `proxy.listen`")
        }
        SocksError::Login { .. } => (Kind::Unfit, "let the proxy serve its own machine without a login"),
        SocksError::Target { .. } | SocksError::TargetClosed { .. } => (
            Kind::General,
            "the proxy works: see that the target is up, and that the proxy's far side may reach it",
        ),
        SocksError::Deadline { .. } => {
            (Kind::TimedOut, "see whether the proxy's own connection is up: `journalctl -u ccorch-proxy`")
        }
    }
}

fn qmp(error: &QmpError) -> (Kind, Option<String>) {
    let hint = match error {
        QmpError::Gone { .. } | QmpError::Closed { .. } => return (Kind::Unreachable, None),
        QmpError::Deadline { .. } => "see whether another program is connected to that socket, or QEMU hangs",
        QmpError::NotQmp { .. } | QmpError::Refused { .. } => {
            "see which QEMU runs there: 7.0 or later is needed"
        }
    };
    (if matches!(error, QmpError::Deadline { .. }) { Kind::TimedOut } else { Kind::Unfit }, Some(hint.into()))
}

fn command(error: &CommandError) -> Option<(Kind, String)> {
    let host = error.host.as_deref().unwrap_or("this machine");
    if let Some(failure) = classify(error) {
        return Some(ssh(failure, host));
    }
    if let Some(relayed) = relayed(error) {
        return Some(relayed);
    }
    let says = |text: &str| error.tail.contains(text);
    if error.failure == Failure::Exit(Kind::Conflict as i32) && says(STALE) {
        // A gate is a script, and says no hint.
        return Some((Kind::Conflict, REPLACED.into()));
    }
    Some(match error.failure {
        Failure::NotFound => (Kind::Unfit, format!("install the program that is missing on {host}")),
        Failure::Deadline(_) => {
            (Kind::TimedOut, format!("see what it waits for on {host}, then run this again"))
        }
        _ if disk_refuses(&error.tail) => (Kind::Unfit, of_disk(host)),
        _ if says("Could not read from remote repository") || says("unable to access '") => (
            Kind::Unreachable,
            format!(
                "see that {host} reaches the git remote: the url, the network, the key and the known host key"
            ),
        ),
        _ => return None,
    })
}

/// What to do where a disk takes nothing.
pub fn of_disk(host: &str) -> String {
    format!("free space on {host}, or see why its disk is read-only (`dmesg`), then run this again")
}

/// A ccorch on another host failed: its exit status is the kind, and it knows best what to do.
fn relayed(error: &CommandError) -> Option<(Kind, String)> {
    let Failure::Exit(status) = error.failure else { return None };
    if !error.command.split(' ').any(|word| word == INSTALLED) {
        return None;
    }
    let hint = error.tail.lines().find_map(|line| line.strip_prefix("hint: "))?;
    Some((Kind::of_status(status)?, hint.to_owned()))
}

fn ssh(failure: SshFailure, host: &str) -> (Kind, String) {
    match failure {
        SshFailure::HostKey => (
            Kind::Identity,
            format!(
                "make sure {host} really is the machine meant, then put its public host key in the rig file (`hosts.{host}.host_key`)"
            ),
        ),
        SshFailure::Denied => (
            Kind::Identity,
            format!("let your key in on {host}, or name it in the rig file (`hosts.{host}.identity`)"),
        ),
        SshFailure::Unreachable => (
            Kind::Unreachable,
            format!("see that {host} is up and its sshd answers at the address of the rig file"),
        ),
        SshFailure::Broken => (Kind::Unreachable, format!("the connection to {host} broke: run this again")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_driver_that_a_gate_refused_is_told_what_one_is_that_ccorch_refused() {
        let error = CommandError {
            host: Some("vm".into()),
            command: "rm -f -- /var/lib/ccorch/standby.json".into(),
            failure: Failure::Exit(Kind::Conflict as i32),
            tail: format!("error: {STALE}: a newer driver has taken over (turn 2)"),
        };
        assert_eq!(of(&error.into()), (Kind::Conflict, Some(REPLACED.into())));
    }

    #[test]
    fn a_failure_of_ccorch_on_a_host_keeps_its_kind_and_its_hint() {
        let error = CommandError {
            host: Some("vm".into()),
            command: format!("sudo -n -- {INSTALLED} lease write --about vm"),
            failure: Failure::Exit(Kind::Unreachable as i32),
            tail: "error: on vm: the lease remote x does not answer\nhint: see that vm reaches it".into(),
        };
        let known = command(&error);
        assert_eq!(known, Some((Kind::Unreachable, "see that vm reaches it".into())));
        let other = CommandError { command: "cat x".into(), ..error };
        assert_eq!(command(&other), None);
    }
}
