//! Performs one action of an installation's plan on a host.

use std::time::Duration;

use anyhow::{Context as _, Result};
use ccorch_core::install::{Action, BINARY, Binary, Facts, File, MANIFEST, NEW_BINARY, Wanted, manifest};
use ccorch_core::sha256;
use ccorch_io::host::Host;

use crate::error::{Kind, Problem};

/// A slow link may take this long for the binary, a slow mirror for packages.
const SLOW: Duration = Duration::from_secs(1800);

/// Performs one action.
pub fn action(host: &Host, facts: &Facts, wanted: &Wanted, binary: &[u8], action: &Action) -> Result<()> {
    match action {
        Action::InstallPackages(packages) => install_packages(host, packages),
        Action::CreateUser(user) => {
            done(host, &["useradd", "--create-home", "--shell", "/bin/bash", "--", user])
        }
        Action::CreateLoopUser { user, beside } => {
            done(host, &["sh", "-c", CREATE_LOOP_USER, "create", user, beside])
        }
        Action::OwnWorkspace { path, user } => {
            let owner = format!("{user}:");
            done(host, &["sh", "-c", r#"mkdir -p -- "$1" && chown -- "$2" "$1""#, "own", path, &owner])
        }
        Action::TryBinary => try_binary(host, facts, wanted, binary),
        Action::SwitchBinary => done(host, &["sh", "-c", SWITCH, "switch", NEW_BINARY, BINARY]),
        Action::Begin(paths) => write_manifest(host, manifest(paths, true)),
        Action::Finish(paths) => write_manifest(host, manifest(paths, false)),
        Action::Write(file) => write(host, file),
        Action::Remove(path) => done(host, &["sh", "-c", REMOVE, "remove", path]),
        Action::Verify(units) => verify(host, units),
        Action::Reload => done(host, &["systemctl", "daemon-reload"]),
        Action::Enable => done(host, &["systemctl", "enable", "--quiet", "ccorch.target"]),
        Action::RestartSupervisor => done(host, &["systemctl", "restart", "ccorch-supervisor.service"]),
    }
}

/// Its group is that of the workspace's user: what either writes with the group's rights is both's.
const CREATE_LOOP_USER: &str = r#"group=$(id -gn -- "$2") &&
useradd --system --create-home --shell /bin/bash --no-user-group --gid "$group" -- "$1""#;
/// Takes a user back; its home goes only when state is to go too.
pub(super) const REMOVE_USER: &str = r#"getent passwd "$1" >/dev/null || exit 0
if [ "$2" = purge ]; then userdel --remove -- "$1" 2>/dev/null; else userdel -- "$1"; fi
! getent passwd "$1" >/dev/null"#;
/// The rename is on disk before the plan goes on.
const SWITCH: &str = r#"mv -f -- "$1" "$2" && sync -- "$2" "${2%/*}""#;
/// A drop-in's folder goes with its last file; other folders are the machine's own.
pub(super) const REMOVE: &str = r#"rm -f -- "$1" && case $1 in
/etc/systemd/system/*.d/*) [ ! -d "${1%/*}" ] || rmdir --ignore-fail-on-non-empty -- "${1%/*}" ;; esac"#;
/// Leaves no half of a binary behind on a full disk.
const COPY: &str = r#"set -eu; umask 022; trap 'rm -f -- "$1"' EXIT
cat >"$1"; chmod 755 -- "$1"; sync -- "$1"; trap - EXIT"#;
/// bash tells a foreign program from a script, which dash does not: it would run its bytes as commands.
const TRY: &str = r#"exec bash -c '"$0" --version' "$1""#;

fn done(host: &Host, argv: &[&str]) -> Result<()> {
    Ok(host.command(argv).run().map(drop)?)
}

fn install_packages(host: &Host, packages: &[String]) -> Result<()> {
    let apt = ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-q", "-y"];
    host.command(&[&apt[..], &["update"]].concat()).deadline(SLOW).run()?;
    let mut argv = [&apt[..], &["install", "--no-install-recommends"]].concat();
    argv.extend(packages.iter().map(String::as_str));
    Ok(host.command(&argv).deadline(SLOW).run().map(drop)?)
}

fn write(host: &Host, file: &File) -> Result<()> {
    let dir = file.path.rsplit_once('/').map_or("/", |(dir, _)| dir);
    done(host, &["install", "-d", "-m", "755", "--", dir])?;
    Ok(host.write_file(&file.path, &file.content, file.mode)?)
}

fn write_manifest(host: &Host, text: String) -> Result<()> {
    let content = text.into_bytes();
    write(host, &File { path: MANIFEST.into(), mode: "644", sha256: sha256(&content), content })
}

fn verify(host: &Host, units: &[String]) -> Result<()> {
    let mut argv = vec!["systemd-analyze", "verify", "--man=no"];
    argv.extend(units.iter().map(String::as_str));
    let verified = host.command(&argv).run().map(drop);
    verified.with_context(|| format!("{}: its systemd does not accept the units", host.name))
}

/// Copies the binary beside its place and has it tell its version there; only then may it take the place.
fn try_binary(host: &Host, facts: &Facts, wanted: &Wanted, binary: &[u8]) -> Result<()> {
    let copy = host.command(&["sh", "-c", COPY, "copy", NEW_BINARY]).shown_as(format!("write {NEW_BINARY}"));
    copy.input(binary).deadline(SLOW).run()?;
    let arrived = host.command(&["sha256sum", NEW_BINARY]).read()?;
    let try_it =
        host.command(&["sh", "-c", TRY, "try", NEW_BINARY]).shown_as(format!("{NEW_BINARY} --version"));
    let answer = try_it.deadline(Duration::from_secs(20)).read();
    let whole = arrived.starts_with(&wanted.binary);
    let refusal = match answer {
        Ok(version) if whole && version.starts_with("ccorch ") => return Ok(()),
        Ok(_) if !whole => "it did not arrive whole".to_owned(),
        Ok(version) => format!("it says `{}` of itself", version.lines().next().unwrap_or_default()),
        Err(error) => error.to_string(),
    };
    done(host, &["rm", "-f", "--", NEW_BINARY])?;
    let made_for = Binary::of(binary).map_or_else(|e| e.to_string(), |b| b.to_string());
    let text = format!(
        "{}: this ccorch does not run there; nothing was switched\n    ccorch is made for {made_for}\n    the host is {}\n    {refusal}",
        host.name,
        facts.machine()
    );
    Err(Problem::new(Kind::Unfit, text)
        .hint("name a ccorch built for that machine with `--binary FILE`")
        .into())
}
