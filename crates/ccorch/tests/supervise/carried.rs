//! A host whose supervisor idles through the standby, and to which a cutover brings the rig: what was brought counts, and
//! nothing starts before the cutover says so.

use serde_json::{Value, json};

use crate::place::{Place, until};

/// The conversation that a cutover brings.
const CARRIED: &str = "11111111-2222-4333-8444-555555555555";

fn session(place: &Place, name: &str) -> String {
    let text = place.env.text(&place.state(&format!("loops/{name}.json")));
    serde_json::from_str::<Value>(&text).unwrap()["session"].as_str().unwrap().to_owned()
}

/// As a cutover brings it: the state of the loop on the source.
fn carry(place: &Place, name: &str) {
    let state = json!({ "desired": "run", "session": CARRIED }).to_string();
    place.env.write(place.state(&format!("loops/{name}.json")), state);
}

#[test]
fn the_carried_conversation_is_the_one_that_goes_on() {
    let place = Place::new().supervised();
    until("the host's own conversation", || {
        place.state("loops/builder.json").exists().then(|| session(&place, "builder"))
    });
    carry(&place, "builder");
    // The lease comes, and nobody has told the supervisor yet that it should begin anew.
    let place = place.active();
    let words = place.words("builder");
    assert!(words.iter().any(|word| word == CARRIED), "{words:?}");
    assert_eq!(session(&place, "builder"), CARRIED);
}

#[test]
fn a_heartbeat_between_lease_and_activation_starts_nothing() {
    let place = Place::new().supervised();
    place.ok(&["lease", "init", "--holder", "there"]);
    let by = ["--journal", "j1", "--turn", "1"];
    let write = |about, active: &[&str]| {
        place.ok(&[&["lease", "write", "--about", about], active, &by].concat());
    };
    write("there", &[]);
    carry(&place, "builder");
    for _ in 0..2 {
        write("here", &["--active"]);
        place.ok(&["lease", "tick"]);
        let refused = place.run(&["lease", "check"]);
        assert_eq!(refused.status, Some(6), "{}", refused.snapshot());
        assert!(refused.stderr.contains("cutover j1 keeps the loops down"), "{}", refused.stderr);
    }
    let activate = ["activate", "--message", "The rig moved.", "--confirm-within", "50s", "--settle", "0s"];
    place.ok(&[&activate, &by[..]].concat());
    place.at_work();
    // On trial, with everything that came along.
    assert!(place.words("boss").join("\n").contains("The rig moved."));
    assert!(place.words("builder").iter().any(|word| word == CARRIED));
    assert!(place.state("confirm.json").exists());
    // A driver that asks once more, not having heard the answer.
    write("here", &["--active"]);
    place.ok(&[&activate, &by[..]].concat());
    assert_eq!(place.run(&["lease", "check"]).status, Some(0));
}
