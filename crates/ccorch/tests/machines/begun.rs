//! A cutover from pi to vm that somebody has begun: the pi holds the lease, and the operator has a journal of so many steps.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(dead_code, reason = "each test binary uses its part")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;

use ccorch_core::cutover::{Entry, Journal, Origin, Said, Step, plan, plan_hash};
use ccorch_core::lease::{Owner, Turn};
use ccorch_core::names::HostName;
use jiff::Timestamp;
use serde_json::Value;

use super::Bed;

pub const RIG: &str = r#"
rig: demo
workspace: { root: /srv/w, user: loops, repositories: { ".": { url: "URL", branch: main } } }
phases: [{ id: a, plan: a.md }]
loops: { one: { agent: command, workdir: ., command: [sleep, "9"] } }
lease: { remote: "LEASE" }
"#;

/// An `/etc` of the machine's own, so that it can be a host of a rig.
pub const OWN_ETC: &str = "mkdir /run/etc; cp -a /etc/. /run/etc/; mount --bind /run/etc /etc; mkdir -p /etc/ccorch; \
                       cp /opt/rig.json /opt/host /etc/ccorch/";

/// The pi holds the lease; the vm was its source, was stopped by the cutover and is standby since.
pub fn place() -> Bed {
    place_of(RIG)
}

/// The same for another rig.
pub fn place_of(rig: &str) -> Bed {
    let mut bed = Bed::new();
    let (url, lease) = (bed.remote("x.git"), bed.path("lease.git"));
    let made = Command::new("git").args(["init", "--quiet", "--bare"]).arg(&lease).status();
    assert!(made.unwrap().success());
    bed.rig(&rig.replace("URL", &url).replace("LEASE", &lease.display().to_string()));
    bed.vm.sh("/srv/w", &format!("git clone -q {url} ."));
    let newer = "git clone -q URL t; cd t; echo pushed > since; git add since; \
                 git -c user.name=a -c user.email=a@b commit -qm since; git push -q";
    bed.pi.sh("/home/loops", &newer.replace("URL", &url));

    let (vm, rig) = (&bed.vm, ccorch_core::rig::parse(&bed.text("ccorch.yaml")).unwrap());
    fs::copy(env!("CARGO_BIN_EXE_ccorch"), vm.path("/usr/local/bin/ccorch")).unwrap();
    let json = serde_json::to_string(&ccorch_core::install::host_rig(&rig)).unwrap();
    for (file, text) in [("rig.json", json.as_str()), ("host", "vm\n")] {
        fs::write(vm.path("/opt").join(file), text).unwrap();
    }
    let state = vm.path("/var/lib/ccorch");
    fs::create_dir_all(&state).unwrap();
    for (file, text) in [("quiesced", "j1\n"), ("standby.json", "{}"), ("STANDBY.txt", "on pi")] {
        fs::write(state.join(file), text).unwrap();
    }
    vm.put("/srv/w/STANDBY.txt", "on pi");
    bed.vm.stop();
    bed.vm.start(OWN_ETC);
    bed.ok(&["lease", "init", "--holder", "pi", "--host", "vm"]);
    bed
}

pub const ID: &str = "20260101T000000Z-abcdef";

/// The operator's journal of a cutover from pi to vm with these steps done, in hand with turn 1 at the arbiter.
pub fn claimed(bed: &Bed, done: &[Step]) {
    claimed_with(bed, done, Said::default());
}

/// The same with what was asked of it.
pub fn claimed_with(bed: &Bed, done: &[Step], said: Said) {
    claimed_as(bed, ID, ["pi", "vm"], done, said);
}

/// The same between other hosts, by another name; the driver's turn.
pub fn claimed_as(bed: &Bed, id: &str, sides: [&str; 2], done: &[Step], said: Said) -> Turn {
    let rig = ccorch_core::rig::parse(&bed.text("ccorch.yaml")).unwrap();
    let [from, to] = sides.map(|name| HostName::new(name).unwrap());
    let plan = plan(&rig, &from, &to).unwrap();
    let origin = Origin { ccorch: env!("CARGO_PKG_VERSION").into(), plan_hash: plan_hash(&rig, &plan) };
    let (asked, at) = (said.of(None), Timestamp::UNIX_EPOCH);
    let (mut journal, line) = Journal::begin(id.into(), rig.rig, plan, origin, asked, at);
    let mut text = format!("{line}\n");
    let owner = bed.says(&["lease", "claim", "--journal", id, "--by", "ann@desk", "--host", "vm"], &text);
    let turn = serde_json::from_str::<Owner>(&owner).unwrap().turn;
    let driver = Entry::Driver { turn, by: "ann@desk".into() };
    let note = String::new();
    let steps = done
        .iter()
        .flat_map(|step| [Entry::Started { step: *step }, Entry::Done { step: *step, note: note.clone() }]);
    for entry in std::iter::once(driver).chain(steps) {
        text += &format!("{}\n", journal.append(at, entry).unwrap());
    }
    let journals = bed.path("s/ccorch/demo/journal");
    fs::create_dir_all(&journals).unwrap();
    fs::write(journals.join(format!("{id}.jsonl")), &text).unwrap();
    turn
}

/// The pi's rig is its owner's, and fenced by the mark whose path this is.
pub fn of_its_owner(bed: &Bed) -> PathBuf {
    stopped_by(bed, "[\"true\"]")
}

/// The same, with a stop command of its own.
pub fn stopped_by(bed: &Bed, stop: &str) -> PathBuf {
    let runs = &format!("pi: {{ runs: {{ stop: {stop}, start: [touch, started] }}, ssh");
    let text = bed.text("ccorch.yaml").replacen("pi: { ssh", runs, 1);
    fs::write(bed.path("ccorch.yaml"), &text).unwrap();
    let systemctl = bed.pi.path("/usr/local/bin/systemctl");
    fs::write(&systemctl, "#!/bin/sh\nexit 0\n").unwrap();
    fs::set_permissions(&systemctl, fs::Permissions::from_mode(0o755)).unwrap();
    let fenced = bed.pi.path("/var/lib/ccorch/fenced");
    fs::create_dir_all(fenced.parent().unwrap()).unwrap();
    fs::write(&fenced, "").unwrap();
    fenced
}

pub fn arbiter(bed: &Bed) -> (String, u64) {
    let said: Value = serde_json::from_str(&bed.ok(&["lease", "show", "--host", "vm", "--json"])).unwrap();
    let lease = &said["arbiter"];
    (lease["holder"].as_str().unwrap().to_owned(), lease["epoch"].as_u64().unwrap())
}

/// Somebody types a command on the pi.
pub fn by_hand(bed: &Bed, command: &str) {
    let ssh = ["-q", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-i"];
    let port = bed.pi.port.to_string();
    let typed = Command::new("ssh")
        .args(ssh)
        .arg(bed.path("id"))
        .args(["-p", &port, "root@127.0.0.1", command])
        .status();
    assert!(typed.unwrap().success());
}
