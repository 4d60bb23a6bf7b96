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

/// What a cutover compares of this host with another one.
fn carried(place: &Place) -> Value {
    serde_json::from_str(&place.ok(&["loops", "carried"])).unwrap()
}

#[test]
fn a_supervisor_that_begins_anew_keeps_what_both_hosts_are_compared_by() {
    let mut place = Place::new();
    // As it comes from a source at work: with what the agent was told and has yet to be told.
    let nudge = json!({ "id": "mail-2", "purpose": "asked", "text": "and this", "tries": 1, "after": 0 });
    let memory = json!({
        "state": "working", "reason": "working", "nudges": [nudge],
        "told": [{ "id": "mail-1", "text": "0123456789abcdef" }], "inbox": [7, 8],
    });
    let state =
        json!({ "desired": "run", "session": CARRIED, "message": "Look at mail-1.", "memory": memory });
    let path = place.state("loops/builder.json");
    let state = state.to_string();
    place.env.write(&path, &state);
    let brought = carried(&place);
    assert_eq!(brought["builder"]["state"]["conversation"], CARRIED, "{brought}");
    assert_eq!(brought["builder"]["state"]["asked"].as_array().unwrap().len(), 1, "{brought}");
    // A host without the lease: its supervisor writes down why nothing runs.
    place.supervise();
    let written = until("the supervisor to write its own", || {
        Some(place.env.text(&path)).filter(|text| *text != state)
    });
    assert_eq!(carried(&place)["builder"], brought["builder"], "{written}");
    place.kill_supervisor();
    place.env.write(&path, "{ \"desired\": ");
    let damaged = carried(&place)["builder"]["damaged"].to_string();
    assert!(damaged.contains("builder.json"), "{damaged}");
}
