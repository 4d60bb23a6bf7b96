//! `--dry-run` of what is run on a host: it says what would be done, and after it everything is as it was.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde_json::Value;

use crate::place::{LOOPS, Place};

/// A command line, and what it has to say.
type Case<'a> = (&'a [&'a str], &'a str);

/// Every file and folder with its content and the time of its last change.
fn tree(folder: &Path, all: &mut BTreeMap<PathBuf, (SystemTime, Vec<u8>)>) {
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let (path, about) = (entry.path(), entry.metadata().unwrap());
        let content = if about.is_file() { fs::read(&path).unwrap() } else { Vec::new() };
        all.insert(path.clone(), (about.modified().unwrap(), content));
        if about.is_dir() {
            tree(&path, all);
        }
    }
}

/// All of the host, with the workspace and the home of its user in it.
fn everything(place: &Place) -> BTreeMap<PathBuf, (SystemTime, Vec<u8>)> {
    let mut all = BTreeMap::new();
    tree(&place.env.root(), &mut all);
    tree(&place.env.home(), &mut all);
    all
}

/// Runs each, and demands that it says so and that nothing at all is another than before.
fn try_all(place: &Place, cases: &[Case<'_>]) {
    for (args, said) in cases {
        let before = everything(place);
        let ran = place.run(args);
        assert_eq!(ran.status, Some(0), "{}", ran.snapshot());
        assert!(ran.stdout.contains(said), "`{said}` was expected:\n{}", ran.snapshot());
        let after = everything(place);
        let other: Vec<_> = after.iter().filter(|(path, what)| before.get(*path) != Some(*what)).collect();
        assert!(other.is_empty() && before.len() == after.len(), "{} changed {other:?}", ran.line);
    }
}

#[test]
fn without_a_supervisor_nothing_is_written() {
    let place = Place::new();
    let key = place.env.root().join("age.key");
    place.env.write(&key, "of no use: nothing is decrypted\n");
    let target = place.workspace().join(".testenv");
    let secrets = format!(
        "secrets: {{ file: secrets.yaml, identity: \"{}\", items: {{ testenv: {{ path: \"{}\" }} }} }}\n",
        key.display(),
        target.display()
    );
    let place = place.rig(|rig| rig + &secrets);
    try_all(
        &place,
        &[
            (&["lease", "init", "--holder", "here", "--dry-run"], "`here` is active at epoch 1"),
            (&["secrets", "install", "--dry-run"], "would write $TEST/root/srv/w/.testenv (mode 0600)\n"),
        ],
    );
    let place = place.active();
    try_all(
        &place,
        &[
            (&["lease", "acquire", "--dry-run"], "would make here the holder at "),
            (&["lease", "release", "--dry-run"], "would stop every loop on here and make it standby\n"),
            (
                &["resume", "--dry-run"],
                "this boot holds the lease at epoch 2\nwould start ccorch.target and wait for: boss, builder, watch\n",
            ),
            (&["phase", "set", "a", "--dry-run"], "would go to index 0 (phase a)\n"),
            (&["phase", "next", "--dry-run"], "would go to index 2 (every phase done)\n"),
        ],
    );
    assert!(!target.exists());
}

#[test]
fn what_a_supervisor_would_be_asked_it_is_not_asked() {
    let place = Place::new().active().supervised();
    place.at_work();
    // What the supervisor does by itself meanwhile (it notes the time) is no matter here.
    let seen = || {
        let agents = LOOPS.map(|name| (place.one(name)["state"].clone(), place.pid(name)));
        let events = fs::read_to_string(place.state("events.jsonl")).unwrap();
        let of_loops = |event: &Value| event["what"].as_str().unwrap().starts_with("loop-");
        let parsed = events.lines().map(|line| serde_json::from_str(line).unwrap());
        (agents, parsed.filter(of_loops).count())
    };
    let before = seen();
    for (verb, would) in [
        ("stop", "would be stopped at its safe point and held down\n"),
        ("start", "would be started, if it does not run\n"),
        ("restart", "would be stopped at its safe point and started\n"),
    ] {
        let ran = place.run(&["loops", verb, "watch", "--dry-run"]);
        assert_eq!((ran.status, ran.stderr.as_str()), (Some(0), would), "{}", ran.snapshot());
        assert!(ran.stdout.contains("watch") && !ran.stdout.contains("builder"), "{}", ran.snapshot());
        assert_eq!(seen(), before, "{}", ran.line);
    }
    let ran = place.run(&["loops", "stop", "bilder", "--dry-run"]);
    assert_eq!(ran.status, Some(1), "{}", ran.snapshot());
}
