//! The machines of the flake's tests, booted without NixOS: what the module renders is put into a container of the test
//! bed, whose systemd boots it, and the test's own script is run on it, word for word.
//!
//! Replaced are: the package's and the agent's programs (built by cargo in place of Nix, at the same store paths),
//! every other store path that a unit names (the programs of Debian's package of that name, and no more), the programs on
//! the system's path (Debian's, and no more than a NixOS has by itself or the machine declares), stage 2 of the boot (`/run/current-system` is a link that
//! systemd-tmpfiles makes) and switch-to-configuration (`switch.py`).

mod generation;

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use indoc::formatdoc;
use serde_json::{Value, json};
use tempfile::TempDir;

pub use self::generation::Programs;
use self::generation::{Machine, RUNTIME, SYSTEM_PATH, Test, Texts};
use super::tool::{Nix, string};
use super::{Outcome, units};
use crate::bed::{Bed, Instance};
use crate::run::Run;

/// The tests whose scripts are run.
pub const CHECKS: [&str; 5] = ["reboot", "switch", "supervisor", "proxy", "cutover"];

/// Debian's packages with the programs that a NixOS has by itself.
const SYSTEM: &str = "bash coreutils diffutils findutils mawk libc-bin grep sed gzip less openssh-client procps util-linux \
                      login mount systemd hostname tar sudo iproute2";
/// Those that the package's wrapper adds.
const WRAPPED: &str = "git openssh-client rsync tmux util-linux";

/// Boots the machines of one test and runs its script on them.
pub fn run(nix: &Nix, bed: &Bed, programs: &Programs, check: &str) -> Result<Outcome> {
    let work = tempfile::tempdir().context("no temporary folder")?;
    let key = work.path().join("key");
    Run::new(&["ssh-keygen", "-q", "-t", "ed25519", "-C", "", "-N", "", "-f"]).arg(&key).run()?;
    let public = std::fs::read_to_string(key.with_extension("pub"))?;
    let mut arguments = vec![("check", string(check)), ("publicKey", string(public.trim()))];
    arguments.extend(nix.trees());
    let test: Test = serde_json::from_value(nix.eval("nixos/tests/generation.nix", &arguments)?)
        .context("not a test of whole machines")?;
    let mut guests = Vec::new();
    let mut about = serde_json::Map::new();
    let mut replaced = BTreeMap::new();
    for (node, machine) in &test.machines {
        let name = format!("nixos-{check}-{node}");
        // A run that was killed leaves its guests.
        bed.remove(|left| left == name)?;
        let guest = Guest(bed.launch(&name, None)?);
        let packaged = units::of_package(nix, machine.package())?;
        replaced.append(&mut guest.becomes(machine, &packaged, programs, &work)?);
        about.insert(node.clone(), guest.described(bed, &work, machine)?);
        guests.push(guest);
    }
    let mut names = String::new();
    for (node, guest) in test.machines.keys().zip(&guests) {
        names += &format!("{} {node}\n", guest.0.reachable()?);
    }
    for guest in &guests {
        guest.0.script(&format!("cat >> /etc/hosts <<'END'\n{names}END\nsync"))?;
        // The first boot is one of the machine as it is now.
        guest.0.stop_force()?;
    }
    drive(&work, &about.into(), &test.script)?;
    let many = guests.len();
    Ok(Outcome::Passed(format!(
        "{many} booted, {} store paths of others are Debian's; evaluated by {}",
        replaced.len(),
        test.how
    )))
}

fn drive(work: &TempDir, about: &Value, script: &str) -> Result<()> {
    let place = |name: &str, text: &str| -> Result<_> {
        let path = work.path().join(name);
        std::fs::write(&path, text)?;
        Ok(path)
    };
    let script = Run::new(&["python3"])
        .arg(place("driver.py", include_str!("driver.py"))?)
        .arg(place("about.json", &about.to_string())?)
        .arg(place("script.py", script)?);
    let output = script.output()?;
    // All of it: what a machine said long before its script failed is often the reason.
    for said in [&output.stdout, &output.stderr] {
        String::from_utf8_lossy(said).lines().for_each(|line| println!("  {line}"));
    }
    if !output.status.success() {
        bail!("the script failed ({}): see above", output.status);
    }
    Ok(())
}

/// A container, removed at the end.
struct Guest(Instance);

impl Guest {
    /// Puts the machine's files in place, as an installation would.
    fn becomes(
        &self,
        machine: &Machine,
        packaged: &Texts,
        programs: &Programs,
        work: &TempDir,
    ) -> Result<BTreeMap<String, &'static str>> {
        let root = work.path().join(&self.0.name);
        let (system, replaced) = machine.lay_out(&self.0.name, packaged, programs, &root)?;
        let packed = work.path().join("store.tar");
        Run::new(&["tar", "-C"]).arg(&root).arg("-cf").arg(&packed).arg("nix").run()?;
        self.0.push_file(&std::fs::read(&packed)?, "/root/store.tar", "0600", "root:root")?;
        let public = std::fs::read_to_string(work.path().join("key.pub"))?;
        self.0.push_file(public.as_bytes(), "/root/.ssh/authorized_keys", "0600", "root:root")?;
        self.0.push_file(&std::fs::read(work.path().join("key"))?, "/root/key", "0600", "root:root")?;
        let declared = machine.programs();
        let users = machine.users().join(" ");
        let others: String =
            replaced.iter().map(|(path, of)| format!("programs {path}/bin {of}\n")).collect();
        self.0.script(&formatdoc! {"
            tar -C / --no-same-owner -xf /root/store.tar
            rm /root/store.tar
            programs() {{ # FOLDER PACKAGE...
                into=$1; shift
                mkdir -p $into
                test $# -gt 0 || return 0
                dpkg -L \"$@\" | grep -E '^(/usr)?/s?bin/[^/]+$' | while read -r file; do
                    test -e $into/${{file##*/}} || ln -s $file $into/
                done
                test ! -e $into/bash || ln -s bash $into/sh
            }}
            {others}
            programs {SYSTEM_PATH}/bin {SYSTEM} {declared}
            programs {RUNTIME}/bin {WRAPPED}
            mkdir -p /nix/var/nix/profiles /run/wrappers/bin
            ln -s {system} /nix/var/nix/profiles/system
            cp -a {system}/etc/. /etc/
            echo 'L+ /run/current-system - - - - /nix/var/nix/profiles/system' > /etc/tmpfiles.d/00-current-system.conf
            for user in {users}; do useradd --create-home --gid users --shell /bin/bash $user; done
            # There units belong to the generation: nothing else can put one there.
            touch /etc/NIXOS
            echo '/etc/systemd/system /etc/systemd/system none bind,ro 0 0' >> /etc/fstab
        "})?;
        for (file, key) in machine.keys() {
            let (user, mode) = (&key.user, &key.mode);
            self.0.script(&format!("install -o {user} -m {mode} /root/key /etc/{file}"))?;
        }
        for (user, keys) in machine.authorized() {
            let keys = keys.join("\n");
            self.0.script(&format!(
                "folder=$(getent passwd {user} | cut -d : -f 6)/.ssh; install -d -o {user} -m 700 $folder
                 echo '{keys}' >> $folder/authorized_keys; chown {user} $folder/authorized_keys"
            ))?;
        }
        self.0.script("rm /root/key; sync")?;
        Ok(replaced)
    }

    /// What the driver needs to know.
    fn described(&self, bed: &Bed, work: &TempDir, machine: &Machine) -> Result<Value> {
        let address = self.0.reachable()?;
        let known = work.path().join(format!("{}.known", self.0.name));
        let host_key = if machine.has_key_as_host() {
            std::fs::read_to_string(work.path().join("key.pub"))?
        } else {
            self.0.host_key()?
        };
        std::fs::write(&known, format!("{address} {host_key}\n"))?;
        let path = |path: &Path| path.display().to_string();
        let login = format!("root@{address}");
        let known = format!("UserKnownHostsFile={}", path(&known));
        let key = path(&work.path().join("key"));
        Ok(json!({
            "instance": self.0.name,
            "ssh": [
                "ssh", "-F", "none", "-T", "-i", key, "-o", known, "-o", "BatchMode=yes", "-o", "LogLevel=ERROR",
                "-o", "ConnectTimeout=5", "-o", "ServerAliveInterval=5", login,
            ],
            "incus": [
                "env", format!("INCUS_DIR={}", path(&bed.layout.incus_dir())),
                format!("INCUS_CONF={}", path(&bed.layout.client_dir())),
                "incus", "--project", bed.state.project,
            ],
        }))
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        if let Err(error) = self.0.delete() {
            eprintln!("{} is still there: {error:#}", self.0.name);
        }
    }
}
