//! The README's other half: jobs that exist, a walk-through that is rehearsed, links that lead somewhere.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../../ccorch/tests/documents/mod.rs"]
mod documents;

use std::process::Command;

use documents::{anchors, commands, inline_commands, links, root, text, words};

/// What the rehearsal does not run, and why.
const NOT_REHEARSED: [(&str, &str); 12] = [
    ("adopt --dry-run", "the rehearsal runs exactly this, before the adoption"),
    ("notify --dry-run", "ccorch's own tests of notifications send to real servers"),
    ("schema", "needs no host: run as it stands by ccorch's own test of the README"),
    ("rollback --dry-run", "needs no host: run as it stands by ccorch's own test of the README"),
    ("cutover --dry-run", "needs no host: run as it stands by ccorch's own test of the README"),
    ("forget-source --dry-run", "the rehearsal runs exactly this, as its last step"),
    ("lease show", "each cutover of the rehearsal asks it of the hosts"),
    ("secrets recipient", "the rehearsed rig has no secrets"),
    ("loops list", "the rehearsal reads the same table in `status`"),
    ("loops attach", "needs a person's terminal"),
    ("loops logs", "for people: nothing in the rehearsal depends on its wording"),
    ("loops restart", "the rehearsal has loops end by crash, reboot and power cut"),
];

/// Commands of other programs that the README has, and who tries them.
const OTHER_PROGRAMS: [(&str, &str); 3] = [
    ("cargo install --locked --path crates/ccorch", "the package exists: checked below"),
    ("cp examples/cc-ci.yaml ccorch.yaml", "checked by ccorch's own test of the README"),
    ("nixos-rebuild switch --flake .#cc-ci-orchestrator", "belongs to the flake: checked below"),
];

/// The verb with its sub-verb; `--dry-run` is another walk.
fn verb(command: &str) -> String {
    let words = words(command);
    let nested = ["host", "lease", "loops", "proxy", "secrets", "vm"].contains(&words[1]);
    let verb = words[1..if nested { 3 } else { 2 }].join(" ");
    if words.contains(&"--dry-run") { verb + " --dry-run" } else { verb }
}

#[test]
fn the_walk_through_is_rehearsed() {
    let files = ["walk.rs", "adopt.rs", "judge.rs"];
    let walk: String = files.iter().map(|file| text(&format!("crates/xtask/src/rehearse/{file}"))).collect();
    let rehearsed = |verb: &str| {
        let words: Vec<String> =
            verb.trim_end_matches(" --dry-run").split(' ').map(|word| format!("\"{word}\"")).collect();
        !verb.ends_with("--dry-run") && walk.contains(&format!("(&[{}", words.join(", ")))
    };
    let readme = text("README.md");
    let verbs: Vec<String> =
        commands(&readme).iter().filter(|c| c.starts_with("ccorch ")).map(|c| verb(c)).collect();
    assert!(verbs.len() > 15, "only {} commands found", verbs.len());
    // A dry run of what is rehearsed differs by doing nothing, which the verbs' own tests see to.
    let excepted = |verb: &str| NOT_REHEARSED.iter().any(|(excepted, _)| *excepted == verb);
    for verb in &verbs {
        let known = rehearsed(verb) || excepted(verb) || on_hosts_elsewhere(verb);
        assert!(known, "`ccorch {verb}` is in the README, but neither rehearsed nor excepted with a reason");
    }
    for (verb, _) in NOT_REHEARSED {
        assert!(verbs.iter().any(|v| v == verb), "`{verb}` is excepted, but not in the README");
        assert!(!rehearsed(verb), "`{verb}` is excepted, but rehearsed");
    }
}

/// Run on real hosts by other tests of ccorch.
fn on_hosts_elsewhere(verb: &str) -> bool {
    let (test, argument) = match verb {
        "provision --dry-run" => ("provision_incus.rs", "\"--dry-run\""),
        "host uninstall --dry-run" => ("install.rs", "\"uninstall\""),
        _ => return false,
    };
    text(&format!("crates/ccorch/tests/{test}")).contains(argument)
}

#[test]
fn every_job_of_cargo_xtask_exists() {
    let all: Vec<String> = [commands(&text("README.md")), commands(&text("ARCHITECTURE.md"))].concat();
    let jobs: Vec<&String> = all.iter().filter(|c| c.starts_with("cargo xtask ")).collect();
    assert!(jobs.len() >= 2, "only {jobs:?}");
    for job in jobs {
        let run =
            Command::new(env!("CARGO_BIN_EXE_xtask")).args(&words(job)[2..]).arg("--help").output().unwrap();
        assert!(run.status.success(), "{job}: {}", String::from_utf8_lossy(&run.stderr));
    }
}

#[test]
fn every_other_command_is_accounted_for() {
    for command in commands(&text("README.md")) {
        let known = ["ccorch ", "cargo xtask ", "nix "].iter().any(|program| command.starts_with(program))
            || OTHER_PROGRAMS.iter().any(|(other, _)| *other == command);
        assert!(known, "who tries `{command}`?");
    }
    assert!(root().join("crates/ccorch/Cargo.toml").exists());
}

/// The README says of Nix what is true of the tree.
#[test]
fn nix_is_spoken_of_as_it_is() {
    let readme = text("README.md");
    let nix: Vec<String> = commands(&readme).into_iter().filter(|c| c.starts_with("nix ")).collect();
    assert_eq!(nix, ["nix run .#ccorch cutover", "nix flake check"]);
    let missing = readme.contains("The flake is not in the tree yet");
    let there = root().join("flake.nix").exists();
    assert_ne!(missing, there, "flake.nix is there: {there}; the README says that it is missing: {missing}");
    if there {
        assert!(
            root().join("hosts/cc-ci-orchestrator").exists(),
            "nixos-rebuild names a host that is not there"
        );
    }
}

#[test]
fn every_link_leads_somewhere() {
    for name in ["README.md", "ARCHITECTURE.md"] {
        let document = text(name);
        let links = links(&document);
        assert!(!links.is_empty(), "{name} has no link");
        for link in links.iter().filter(|link| !link.starts_with("https://")) {
            match link.split_once('#') {
                Some(("", anchor)) => {
                    assert!(anchors(&document).iter().any(|a| a == anchor), "{name}: {link}")
                }
                _ => assert!(root().join(link).exists(), "{name}: {link} is not there"),
            }
        }
    }
}

/// A path in backticks in the codemap is a path of the tree.
#[test]
fn the_codemap_is_true() {
    let document = text("ARCHITECTURE.md");
    let prose: String = document.split("```").step_by(2).collect();
    let spans: Vec<&str> = prose.split('`').skip(1).step_by(2).collect();
    let top = ["crates/", "examples/", "docs/"];
    let paths: Vec<&str> = spans
        .into_iter()
        .filter(|s| top.iter().any(|t| s.starts_with(t)) && !s.contains([' ', '*', '{', '<']))
        .collect();
    assert!(paths.len() > 20, "only {} paths found", paths.len());
    for path in paths {
        let file = path.split("::").next().unwrap();
        assert!(root().join(file).exists(), "ARCHITECTURE.md: `{path}` is not there");
        // `file::name` names something in it.
        if let Some((_, name)) = path.split_once("::") {
            assert!(text(file).contains(name), "ARCHITECTURE.md: {file} has no `{name}`");
        }
    }
    assert!(inline_commands(&document).iter().all(|c| !c.contains("..")));
}
