//! What holds for every text and for every rig: no panic, sane findings, and nothing lost in writing and reading.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::sample::select;

use super::tests::GOOD;
use super::*;
use crate::seconds::Seconds;

/// Pieces of YAML that parsers trip over.
const PIECES: [&str; 34] = [
    "rig: ",
    "a",
    ": ",
    ":",
    "\n",
    "  ",
    "    ",
    "- ",
    "{",
    "}",
    "[",
    "]",
    ",",
    "&a ",
    "*a",
    "!!str ",
    "!x ",
    "|\n",
    ">-\n",
    "'",
    "\"",
    "? ",
    "#",
    "---\n",
    "...\n",
    "\t",
    "\r\n",
    "%YAML 1.2\n",
    "<<: ",
    "é",
    "\u{feff}",
    "\\",
    "\u{85}",
    "null",
];

/// No variable holds a NUL; the others the writer takes for line breaks (as YAML 1.1 did) and folds.
const BREAKS: [char; 4] = ['\0', '\u{85}', '\u{2028}', '\u{2029}'];

fn piece() -> impl Strategy<Value = &'static str> {
    select(PIECES.as_slice())
}

/// A good file with some places cut out, doubled or overwritten.
fn mutated() -> impl Strategy<Value = String> {
    let change = (any::<prop::sample::Index>(), any::<prop::sample::Index>(), 0..3u8, piece());
    prop::collection::vec(change, 1..6).prop_map(|changes| {
        let mut text: Vec<char> = GOOD.chars().collect();
        for (from, length, how, piece) in changes {
            let from = from.index(text.len() + 1);
            let to = (from + length.index(12)).min(text.len());
            let new: Vec<char> = match how {
                0 => Vec::new(),
                1 => text[from..to].repeat(2),
                _ => piece.chars().collect(),
            };
            text.splice(from..to, new);
        }
        text.into_iter().collect()
    })
}

/// Strings that a careless writer or reader takes for something else. Not `<<`: the writer leaves it bare, and as a
/// key that means "merge".
fn text() -> impl Strategy<Value = String> {
    let odd = [
        "yes",
        "null",
        "~",
        "true",
        "0600",
        "0o17",
        "0x1f",
        "1e3",
        ".5",
        "+1",
        "1_000",
        "12:30",
        "- a",
        "a: b",
        "a #b",
        "'",
        "\"",
        "{",
        "[x]",
        "*a",
        "&a",
        "!a",
        "%a",
        "@a",
        "`a",
        "é\u{1f600}",
        " a",
        "a ",
        "=",
        "2026-01-01",
        "|",
        ">",
        "\u{a0}",
        "...",
        "---",
    ];
    prop_oneof![select(odd.to_vec()).prop_map(str::to_owned), "[ -~é]{1,20}"]
        .prop_filter("more than spaces", |s| !s.trim().is_empty())
}

fn name() -> impl Strategy<Value = String> {
    "[a-z][a-z0-9-]{0,10}[a-z0-9]"
}

fn agent_loop() -> impl Strategy<Value = Loop> {
    let env =
        prop::collection::btree_map("[A-Z_]{1,8}", any::<String>().prop_map(|s| s.replace(BREAKS, "")), 0..3);
    (
        any::<bool>(),
        select(vec![".", "one", "one/deep"]),
        prop::collection::vec(text(), 1..4),
        env,
        prop::option::of(text()),
    )
        .prop_map(|(claude, workdir, command, env, remote_control)| Loop {
            agent: if claude { Agent::Claude } else { Agent::Command },
            workdir: workdir.into(),
            command,
            prompt: None,
            inbox: Some("in/INBOX.md".into()),
            role: Role::Worker,
            remote_control,
            account: Some("a b".into()),
            stall_after: Some(Seconds(90)),
            continue_after: None,
            stop_grace: claude.then_some(Seconds(0)),
            env,
            user: (claude && workdir != ".").then(|| "adv".into()),
            limits: Limits { memory_max: Some("1GiB".into()), tasks: Some(64), ..Limits::default() },
            read_only: vec!["two words".into()],
            hidden: if claude { vec!["/srv/other".into()] } else { vec![] },
        })
}

fn host() -> impl Strategy<Value = Host> {
    let size = (prop::option::of(1..64u32), 1..99u32).prop_map(|(cpus, gib)| Size {
        cpus,
        memory: Some(format!("{gib}GiB")),
        disk: None,
    });
    let incus =
        (text(), text(), prop::collection::vec(text(), 0..2)).prop_map(|(project, image, profiles)| Incus {
            url: "https://b1:8443".into(),
            fingerprint: Some("0".repeat(64)),
            project,
            certificate: "../a.crt".into(),
            key: "~/a.key".into(),
            image,
            kind: InstanceType::Container,
            profiles,
            authorized_key: "/a.pub".into(),
        });
    (prop::option::of(1..=u16::MAX), prop::option::of(incus), size).prop_map(|(port, incus, size)| Host {
        ssh: Some("root@a".into()),
        port,
        provider: incus.as_ref().map(|_| Provider::Incus),
        incus,
        size: Some(size),
        ..Host::default()
    })
}

prop_compose! {
    fn any_rig()(
        rig in name(),
        ids in prop::collection::btree_set(text(), 1..5),
        loops in prop::collection::btree_map(name(), agent_loop(), 1..4),
        hosts in prop::collection::btree_map(name(), host(), 1..4),
        (items, mode) in (prop::collection::btree_set(text(), 0..3), select(vec!["0600", "400", "0640"])),
        heartbeat in prop::option::of(1..1_000_000u64),
        port in 1..=u16::MAX,
    ) -> Rig {
        let item = |(n, key): (usize, String)| {
            (key, SecretItem { path: format!("/s/{n}"), mode: mode.into(), owner: None })
        };
        Rig {
            rig: RigName::new(rig).unwrap(),
            workspace: Workspace {
                root: "/srv/x y".into(),
                user: "loops".into(),
                repositories: BTreeMap::from([("one".into(), Repository { url: "u@h:one.git".into(), branch: "0x1".into() })]),
                copies: BTreeMap::new(),
                carry: vec!["true".into(), "- a".into()],
                phase_file: "0600".into(),
                reboot_log: "null".into(),
            },
            phases: ids.into_iter().map(|id| Phase { id, plan: "1e3".into() }).collect(),
            loops: loops.into_iter().map(|(name, entry)| (LoopName::new(name).unwrap(), entry)).collect(),
            done_when: Vec::new(),
            state_file: "{phase}.md".into(),
            stall_after: None,
            continue_after: heartbeat.map(Seconds),
            stop_grace: heartbeat.map(|_| Seconds(60)),
            proxy: Proxy { listen: format!("127.0.0.1:{port}"), ..Proxy::default() },
            secrets: Some(Secrets {
                file: "s.yaml".into(),
                identity: "/k".into(),
                items: items.into_iter().enumerate().map(item).collect(),
            }),
            lease: heartbeat.map(|seconds| LeaseConfig {
                remote: "u@h:lease.git".into(),
                key: Some("lease_key".into()),
                ref_name: None,
                identity: None,
                offline: Offline::Trust,
                heartbeat: Seconds(seconds),
                term: None,
                stop: Seconds(60),
            }),
            tools: vec!["true".into()],
            hosts: hosts.into_iter().map(|(name, entry)| (HostName::new(name).unwrap(), entry)).collect(),
            cutover: None,
            notify: Vec::new(),
        }
    }
}

/// Holds for every text: findings with lines inside the file, on one line each, and a rig only without errors.
fn sane(text: &str) -> Result<(), TestCaseError> {
    let (rig, findings) = check(text);
    prop_assert_eq!(rig.is_some(), !findings.iter().any(Finding::is_error));
    prop_assert!(findings.is_sorted_by_key(|f| f.line));
    let lines = text.replace("\r\n", "\n").replace('\r', "\n").lines().count().max(1);
    for finding in &findings {
        prop_assert!(finding.line <= lines, "{finding:?} of {lines} lines");
        prop_assert!(
            !format!("{}{}", finding.key, finding.message).chars().any(char::is_control),
            "{finding:?}"
        );
    }
    Ok(())
}

proptest! {
    #[test]
    fn any_text_is_answered(text in any::<String>()) {
        sane(&text)?;
    }

    #[test]
    fn any_soup_of_yaml_is_answered(pieces in prop::collection::vec(piece(), 0..60)) {
        sane(&pieces.concat())?;
    }

    #[test]
    fn any_mutation_of_a_good_file_is_answered(text in mutated()) {
        sane(&text)?;
    }

    #[test]
    fn a_rig_is_read_back_from_yaml_and_from_json(rig in any_rig()) {
        let json = serde_json::to_string(&rig).unwrap();
        prop_assert_eq!(parse(&json), Ok(rig.clone()), "{}", json);
        let yaml = serde_yaml::to_string(&rig).unwrap();
        prop_assert_eq!(parse(&yaml), Ok(rig), "{}", yaml);
    }
}
