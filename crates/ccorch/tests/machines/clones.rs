//! One clone that is clean and pushed on both machines, and what `ccorch unsaved` says of it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(dead_code, reason = "each test binary uses its part")]

use std::fs;

use super::{Bed, Machine};

pub const GIT: &str = "git -c user.name=a -c user.email=a@b -c protocol.file.allow=always";
pub const IN: &str = "/srv/w/cc-ci";

/// A clone that is clean and pushed, on both machines.
pub fn rig() -> Bed {
    let bed = Bed::new();
    let url = bed.remote("inner.git");
    bed.rig(&format!(
        r#"
rig: demo
workspace:
  root: /srv/w
  user: loops
  repositories: {{ cc-ci: {{ url: "{url}", branch: main }} }}
  phase_file: cc-ci/.phase
phases: [{{ id: a, plan: a.md }}]
loops:
  builder: {{ agent: claude, workdir: cc-ci, inbox: INBOX.md }}
"#
    ));
    bed.pi.sh("/srv/w", &format!("git clone -q {url} cc-ci"));
    bed.pi.put("/srv/w/cc-ci/held", "1\n");
    bed.pi.put("/srv/w/cc-ci/.gitignore", "ignored\n");
    bed.pi.put("/srv/w/cc-ci/.phase", "2\n");
    bed.pi.put("/srv/w/cc-ci/INBOX.md", "do this\n");
    bed.pi.sh(IN, &format!("git add held .gitignore INBOX.md && {GIT} commit -qm held && git push -q"));
    // What the rig writes itself is no work of anybody's.
    bed.pi.put("/srv/w/cc-ci/INBOX.md", "do that\n");
    bed.vm.sh("/srv/w", &format!("git clone -q {url} cc-ci"));
    bed
}

/// What is not saved, one line each, without the workspace.
pub fn unsaved(bed: &Bed) -> Vec<String> {
    let output = bed.ccorch(&["unsaved"]);
    let text = String::from_utf8(output.stdout).unwrap();
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    let clean = text == "pi has saved everything in git\n";
    assert_eq!(output.status.code(), Some(i32::from(!clean)), "{text}{words}");
    if clean { Vec::new() } else { text.lines().map(|line| line.replace("/srv/w/", "")).collect() }
}

/// The one branch that a rescue pushed, as the remote knows it.
pub fn pushed(bed: &Bed) -> Vec<String> {
    let refs = bed.pi.sh(IN, "git ls-remote origin 'refs/heads/ccorch/*' | cut -f 2");
    refs.lines().map(ToOwned::to_owned).collect()
}

/// A script of the workspace's user in the clone, run on the machine itself: git writes whole paths into work trees.
pub fn inside(bed: &Bed, machine: &Machine, script: &str) -> String {
    let known = bed.path("known");
    fs::write(&known, format!("[127.0.0.1]:{} {}\n", machine.port, machine.host_key)).unwrap();
    let mut command = std::process::Command::new("ssh");
    command
        .args(["-F", "none", "-o", "BatchMode=yes", "-o"])
        .arg(format!("UserKnownHostsFile={}", known.display()));
    command.arg("-i").arg(bed.path("id")).args([
        "-p",
        &machine.port.to_string(),
        "root@127.0.0.1",
        "runuser -u loops -- sh -es",
    ]);
    let file = bed.path("script");
    fs::write(&file, format!("cd {IN}\n{script}\n")).unwrap();
    let output = command.stdin(fs::File::open(file).unwrap()).output().unwrap();
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}
