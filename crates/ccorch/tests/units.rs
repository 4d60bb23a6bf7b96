//! The systemd units: systemd itself finds nothing wrong with them, they are as hardened as is said here, and they
//! call what exists. Needs systemd-analyze; what the units do is tested on a real systemd (`host_systemd/`).
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

#[path = "../src/units.rs"]
mod embedded;

use ccorch_core::rig::Rig;
use ccorch_core::units::{LOOPS_SLICE, drop_ins};
use embedded::UNITS;

const RESUME: &str = include_str!("../src/command/resume.rs");
/// Where the units expect the program; the machine that runs these tests has none there.
const INSTALLED: &str = "/usr/local/bin/ccorch";

fn example() -> Rig {
    let text = fs::read_to_string("../../examples/cc-ci.yaml").unwrap();
    ccorch_core::rig::parse(&text).unwrap()
}

/// A folder with the units and the example's drop-ins, which call the program just built.
fn folder() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let units = UNITS.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
    for (name, text) in units.chain(drop_ins(&example())) {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text.replace(INSTALLED, env!("CARGO_BIN_EXE_ccorch"))).unwrap();
    }
    dir
}

fn analyze(args: &[&str], dir: &Path, unit: &str) -> Output {
    let mut command = Command::new("systemd-analyze");
    command.args(args).arg(dir.join(unit)).env("SYSTEMD_LOG_LEVEL", "info").env("LC_ALL", "C");
    // A colon at the end keeps the machine's own units behind ours: they name some of them.
    command.env("SYSTEMD_UNIT_PATH", format!("{}:", dir.display()));
    command.output().unwrap_or_else(|error| panic!("systemd-analyze (package systemd) is needed: {error}"))
}

/// What `systemd-analyze verify` says of all units.
fn verify(dir: &Path) -> String {
    let mut said = String::new();
    for (name, _) in UNITS {
        // A template is verified through an instance.
        let output = analyze(&["verify", "--man=no"], dir, &name.replace("@.", "@builder."));
        said.push_str(&String::from_utf8_lossy(&output.stderr));
        if !output.status.success() {
            said.push_str(&format!("{name}: {}\n", output.status));
        }
    }
    said
}

#[test]
fn systemd_finds_nothing_to_say_about_the_units_and_the_drop_ins() {
    let dir = folder();
    assert_eq!(verify(dir.path()), "");
    // That it would say something, of a unit and of a drop-in.
    let proxy = dir.path().join("ccorch-proxy.service");
    let text = fs::read_to_string(&proxy).unwrap();
    fs::write(&proxy, text.replace("PrivateTmp=", "PrivateTemp=")).unwrap();
    let drop_in = dir.path().join("ccorch-supervisor.service.d/10-rig.conf");
    fs::write(&drop_in, "[Service]\nReadWritePath=/srv\n").unwrap();
    let said = verify(dir.path());
    assert!(said.contains("'PrivateTemp'") && said.contains("'ReadWritePath'"), "{said}");
}

/// The exposure of each service as `systemd-analyze security` counts it, times ten: 0 is a sandbox, 100 no protection.
///
/// The agents' own unit is not among them: agents build, install and test software for their owner.
const EXPOSURE: [(&str, u32); 7] = [
    ("ccorch-confirm.service", 31),
    ("ccorch-lease.service", 24),
    ("ccorch-proxy.service", 11),
    ("ccorch-resume.service", 31),
    ("ccorch-secrets.service", 28),
    ("ccorch-supervisor.service", 33),
    ("ccorch-term.service", 24),
];

#[test]
fn no_service_is_more_exposed_than_today() {
    let dir = folder();
    let security = |unit: &str, most: u32| {
        let threshold = format!("--threshold={most}");
        let output = analyze(&["security", "--offline=yes", "--no-pager", &threshold], dir.path(), unit);
        let text = String::from_utf8(output.stdout).unwrap();
        let said = text.lines().last().unwrap_or_default().to_owned();
        assert!(said.contains("Overall exposure level"), "{unit}: {text}");
        (output.status.success(), said)
    };
    for (unit, most) in EXPOSURE {
        let (good, said) = security(unit, most);
        assert!(good, "{unit} is more exposed than {most}: {said}");
    }
    // That it minds the figure.
    assert!(!security("ccorch-loop@builder.service", 34).0, "the agents' own unit is as hardened as ours");
    let judged: Vec<&str> = EXPOSURE.iter().map(|(unit, _)| *unit).collect();
    let services = UNITS.iter().map(|(name, _)| *name).filter(|name| name.ends_with(".service"));
    for service in services.filter(|name| *name != "ccorch-loop@.service") {
        assert!(judged.contains(&service), "{service} has no figure here");
    }
}

#[test]
fn what_an_installation_writes_is_the_folder_of_units() {
    let read = |entry: fs::DirEntry| {
        (entry.file_name().into_string().unwrap(), fs::read_to_string(entry.path()).unwrap())
    };
    let folder: BTreeMap<String, String> =
        fs::read_dir("units").unwrap().map(|entry| read(entry.unwrap())).collect();
    let embedded = UNITS.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
    assert_eq!(folder, embedded);
    assert!(folder.contains_key(LOOPS_SLICE));
    for (path, _) in drop_ins(&example()) {
        let unit = path.split_once(".d/").unwrap().0;
        // An instance's drop-in belongs to its template.
        let template = unit.split_once('@').map(|(name, _)| format!("{name}@.service"));
        assert!(folder.contains_key(template.as_deref().unwrap_or(unit)), "{path}");
    }
}

#[test]
fn every_line_that_executes_something_calls_a_verb_that_exists() {
    let mut verbs = 0;
    for (unit, text) in UNITS {
        for line in text.lines().filter(|line| line.starts_with("Exec")) {
            let (_, call) = line.split_once('=').unwrap();
            let call = call.replace("%i", "builder").replace("$MAINPID", "1");
            let mut words = call.split(' ');
            assert_eq!(words.next(), Some(INSTALLED), "{unit}: {line}");
            // Options that do not exist are refused before the help is reached.
            let output =
                Command::new(env!("CARGO_BIN_EXE_ccorch")).args(words).arg("--help").output().unwrap();
            assert!(output.status.success(), "{unit}: {line}: {}", String::from_utf8_lossy(&output.stderr));
            assert!(String::from_utf8_lossy(&output.stdout).contains("Usage: ccorch "), "{unit}: {line}");
            verbs += 1;
        }
    }
    assert!(verbs >= 9, "only {verbs} lines were found");
}

/// What a unit says under a key of its lists, `After` or `Wants`.
fn ordered<'a>(unit: &str, key: &str) -> Vec<&'a str> {
    let text = UNITS.iter().find(|(name, _)| *name == unit).unwrap().1;
    let values = text.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    values.flat_map(str::split_whitespace).collect()
}

/// What a unit may be ordered on beside the rig's own: each is there once a boot. Anything that an activation of the
/// system starts anew (a firewall, a tailscaled, units that write /etc) would take the loops along.
const LASTING: [&str; 3] = ["network-online.target", "nss-lookup.target", "dbus.service"];

#[test]
fn units_are_ordered_on_what_lasts_and_want_what_would_not_come_by_itself() {
    let own = |name: &&str| UNITS.iter().any(|(unit, _)| unit == name);
    let mut seen = 0;
    for (unit, _) in UNITS {
        let (after, wants) = (ordered(unit, "After"), ordered(unit, "Wants"));
        for name in after.iter().chain(&ordered(unit, "Before")) {
            assert!(own(name) || LASTING.contains(name), "{unit} is ordered on {name}");
            seen += 1;
        }
        // Passive: without a Wants= the order is kept with something that may never be started.
        if after.contains(&"network-online.target") {
            assert!(wants.contains(&"network-online.target"), "{unit}: After= alone is inert");
        }
    }
    assert!(seen >= 9, "only {seen} orderings were found");
    for (path, text) in drop_ins(&example()) {
        for line in text.lines().filter(|line| line.starts_with("After=") || line.starts_with("Before=")) {
            let names = line.split_once('=').unwrap().1.split_whitespace();
            names.for_each(|name| assert!(own(&name) || LASTING.contains(&name), "{path}: {line}"));
        }
    }
}

/// Facts of systemd that the units stand on, each with the line that must stay.
#[test]
fn lines_that_were_paid_for_stay() {
    let text = |unit: &str| UNITS.iter().find(|(name, _)| *name == unit).unwrap().1;
    let has = |unit: &str, line: &str| assert!(text(unit).lines().any(|l| l == line), "{unit}: {line}");
    // TERM to the supervisor alone: it asks systemctl whether the machine shuts down.
    has("ccorch-supervisor.service", "KillMode=mixed");
    has("ccorch-supervisor.service", "WatchdogSec=60");
    // A oneshot would wait for the target that waits for it, and so would a start that waits.
    has("ccorch-resume.service", "Type=exec");
    assert!(RESUME.contains(r#"["start", "--no-block", "ccorch.target"]"#), "resume waits for the target");
    for line in [
        // With `mixed` the agents' own handlers never run.
        "KillMode=control-group",
        // One build that eats all memory takes its agent along with `stop` or `kill`.
        "OOMPolicy=continue",
        // Asked at every start, by whatever hand.
        "ExecStart=/usr/local/bin/ccorch loop-start %i",
        "Type=forking",
        "StartLimitIntervalSec=0",
        // Each its own: with one folder for all, one loop's stop takes the others' sockets.
        "RuntimeDirectory=ccorch-loops/%i",
        // Of sudo too.
        "CapabilityBoundingSet=~CAP_SYS_MODULE CAP_SYS_TIME CAP_WAKE_ALARM",
    ] {
        has("ccorch-loop@.service", line);
    }
    // At a shutdown the bus goes last, and the stop can ask for its own reason.
    assert!(ordered("ccorch-loop@.service", "After").contains(&"dbus.service"));
    // Each of these has systemd mount things anew for each of a start's three commands.
    for key in ["ProtectKernelModules=", "ProtectKernelLogs=", "ProtectSystem=", "ProtectHome=", "Private"] {
        assert!(!text("ccorch-loop@.service").lines().any(|line| line.starts_with(key)), "{key}");
    }
    for (unit, text) in UNITS.iter().filter(|(name, _)| *name != "ccorch-proxy.service") {
        // Their mounts hide a container's own boot_id, and boot_id is what a reboot is known by.
        for key in ["ProtectKernelTunables=", "ProtectControlGroups=", "ProtectProc=", "ProcSubset="] {
            assert!(!text.lines().any(|line| line.starts_with(key)), "{unit}: {key}");
        }
    }
}
