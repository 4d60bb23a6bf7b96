//! The template that worlds begin with: a rig at work on host one, staged on host two. Made once, in a world of its own.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use ccorch_core::install::host_rig;
use ccorch_core::rig;
use indoc::formatdoc;

use super::world::{World, journals, operator, path};
use super::{HOSTS, RIG, WORKSPACE, WORLD, judge};
use crate::run::Run;

/// The workspace's user; no user of this machine.
const UID: &str = "64123";
const DISK: &str = include_str!("../../local/disk.sh");
const RIG_SCRIPT: &str = include_str!("../../local/rig.sh");
const START: &str = include_str!("../../local/start.sh");
const SESSION: &str = include_str!("../../local/session.sh");

/// Makes the template in a new folder.
pub fn template(tools: &Path, folder: &Path) -> Result<()> {
    let mut world = World::empty(tools)?;
    people()?;
    for host in &world.hosts {
        disk(&host.disk(), host.name)?;
    }
    Run::new(&["sh", "-c", RIG_SCRIPT, "rig", WORLD, UID]).run()?;
    let text = rig_file()?;
    fs::write(operator().join("ccorch.yaml"), &text)?;
    install(&text)?;
    for host in &mut world.hosts {
        host.boot()?;
    }
    world.runs(&["lease", "init", "--holder", "one", "--host", "one"])?;
    judge::at_work(&world)?;
    world.runs(&["stage", "two"])?;
    // What a cutover has to carry.
    for name in judge::KEPT {
        fs::write(world.hosts[0].path(name), judge::kept())?;
    }
    world.keep(folder)
}

/// The operator with a key.
fn people() -> Result<()> {
    for dir in [operator().join("home/.ssh"), journals()] {
        fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o700))?;
    }
    Run::new(&["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f"]).arg(operator().join("id")).run()
}

fn disk(disk: &Path, name: &str) -> Result<()> {
    let script = Run::new(&["sh", "-c", DISK, "disk"]).arg(disk).arg(name);
    script.arg(operator().join("id.pub")).run()?;
    for (file, text, mode) in [("etc/start", START, 0o644), ("etc/ssh/session", SESSION, 0o755)] {
        fs::write(disk.join(file), text)?;
        fs::set_permissions(disk.join(file), fs::Permissions::from_mode(mode))?;
    }
    Ok(())
}

fn rig_file() -> Result<String> {
    let mut hosts = String::new();
    for (name, address) in HOSTS {
        let key = fs::read_to_string(path(name).join("etc/ssh/ssh_host_ed25519_key.pub"))?;
        let key = key.rsplit_once(' ').map_or(key.as_str(), |(key, _)| key);
        hosts += &format!("  {name}: {{ ssh: \"root@{address}\", host_key: \"{key}\", identity: id }}\n");
    }
    Ok(formatdoc! {r#"
        rig: {RIG}
        workspace:
          root: {WORKSPACE}
          user: loops
          repositories:
            build: {{ url: /git/build.git, branch: main }}
            judge: {{ url: /git/judge.git, branch: main }}
          carry: [.logs]
          copies: {{ beside: {{ from: /srv/beside }} }}
          phase_file: .logs/phase
          reboot_log: REBOOTS.md
        phases:
          - {{ id: a, plan: a.md }}
          - {{ id: b, plan: b.md }}
        loops:
          builder: {{ agent: claude, workdir: build }}
          judge: {{ agent: claude, workdir: judge }}
        lease: {{ remote: /git/lease.git }}
        # The loops are always in the middle of something, and nothing here takes long to settle or to answer again.
        cutover: {{ from: one, to: two, unsaved: rescue, patience: 2s, confirm: {{ settle: 1s }} }}
        hosts:
        {hosts}"#})
}

/// What `ccorch host install` leaves on a host, without the units: a host without systemd takes none.
fn install(text: &str) -> Result<()> {
    let parsed = rig::parse(text).map_err(|all| anyhow::anyhow!("the rig file: {all:?}"))?;
    let json = serde_json::to_string_pretty(&host_rig(&parsed))?;
    for (name, _) in HOSTS {
        let folder = path(name).join("etc/ccorch");
        for (file, content) in [("rig.json", json.as_str()), ("host", name), ("known_hosts", "")] {
            fs::write(folder.join(file), content)?;
        }
    }
    Ok(())
}
