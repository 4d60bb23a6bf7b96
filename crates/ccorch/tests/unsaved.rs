//! `ccorch unsaved` on a machine behind a real sshd, with real git: what is not saved is named, and a rescue keeps it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod machines;

use std::fs;

use machines::Bed;
use machines::clones::{GIT, IN, pushed, rig, unsaved};

/// Changes the rig file: both hosts run the rig in their owner's way.
fn as_legacy(bed: &Bed) {
    let text = fs::read_to_string(bed.path("ccorch.yaml")).unwrap();
    let runs = "identity: id, runs: { stop: ['true'], start: ['true'], units: [] } }";
    fs::write(bed.path("ccorch.yaml"), text.replace("identity: id }", runs)).unwrap();
}

fn state(bed: &Bed) -> String {
    bed.pi.sh(IN, "git status --porcelain=v2 --branch; git stash list; git for-each-ref refs/heads; git diff; git diff --cached")
}

#[test]
fn a_saved_host_is_said_to_be() {
    assert_eq!(unsaved(&rig()), Vec::<String>::new());
}

#[test]
fn whatever_is_not_saved_is_named() {
    let bed = rig();
    let pi = &bed.pi;
    pi.put("/srv/w/cc-ci/held", "2\n");
    pi.put("/srv/w/cc-ci/a new\nfile", "x");
    pi.put("/srv/w/cc-ci/ignored", "x");
    assert_eq!(unsaved(&bed).len(), 2 + 1, "a name with a newline is two lines: {:?}", unsaved(&bed));
    pi.sh(IN, &format!("{GIT} stash -q -u"));
    pi.sh(IN, &format!("git branch side && git checkout -q side && {GIT} commit -q --allow-empty -m s"));
    pi.sh(IN, ": >.git/refs/heads/side.lock; : >.git/index.lock");
    let all = unsaved(&bed).join("\n");
    for part in [
        "cc-ci: the stash holds ",
        "cc-ci: branch `side` at ",
        "cc-ci: git left a lock, .git/index.lock",
        "cc-ci: git left a lock, .git/refs/heads/side.lock",
    ] {
        assert!(all.contains(part), "{part}: {all}");
    }
    assert!(!all.contains("main") && !all.contains("ignored") && !all.contains("INBOX"), "{all}");
    pi.sh(IN, "rm .git/index.lock .git/refs/heads/side.lock");
    pi.sh(IN, &format!("git checkout -q main; echo m >held; {GIT} commit -qam m; git checkout -q side; echo s >held; {GIT} commit -qam s; {GIT} merge -q main || true"));
    assert!(unsaved(&bed).contains(&"cc-ci: a merge is in progress".to_owned()));
    pi.sh(IN, &format!("git merge --abort; {GIT} rebase -q main || true"));
    let all = unsaved(&bed).join("\n");
    assert!(
        all.contains("cc-ci: a rebase is in progress") && all.contains("`held` is not committed"),
        "{all}"
    );
}

#[test]
fn a_push_by_url_counts_as_pushed() {
    let bed = rig();
    let url = bed.path("inner.git").display().to_string();
    bed.pi.sh(IN, &format!("{GIT} commit -q --allow-empty -m by-url; git push -q {url} main"));
    assert_eq!(unsaved(&bed), Vec::<String>::new());
}

#[test]
fn a_rescue_keeps_everything_and_touches_nothing() {
    let bed = rig();
    let pi = &bed.pi;
    pi.sh(IN, &format!("echo stashed >held; {GIT} stash -q; {GIT} commit -q --allow-empty -m local"));
    pi.put("/srv/w/cc-ci/held", "2\n");
    pi.sh(IN, "git add held; echo 3 >held; git rm -q --cached .gitignore; rm .gitignore");
    pi.put("/srv/w/cc-ci/new file", "x\n");
    let before = state(&bed);
    let dry = bed.ccorch(&["unsaved", "--rescue", "--dry-run"]);
    assert_eq!(dry.status.code(), Some(1), "there is something to rescue");
    let shown = String::from_utf8(dry.stdout).unwrap();
    assert!(shown.contains("is not committed") && shown.contains("the stash holds"), "{shown}");
    assert_eq!((state(&bed), pushed(&bed)), (before.clone(), Vec::new()), "a dry run rescues nothing");
    let said = bed.ok(&["unsaved", "--rescue"]);
    assert!(
        said.starts_with("pi: rescued from /srv/w/cc-ci: ccorch/rescue/pi/") && said.ends_with(", pushed\n"),
        "{said}"
    );
    assert_eq!(state(&bed), before);
    let branches = pushed(&bed);
    let ends: Vec<&str> = branches.iter().map(|name| name.split_once("Z").unwrap().1).collect();
    assert_eq!(ends, ["", "-branch-main", "-stash-0"]);
    let name = branches[0].trim_start_matches("refs/heads/");
    let show = |what: &str| pi.sh(IN, &format!("git show origin/{name}{what}"));
    assert_eq!((show(":held"), show(":'new file'")), ("3".to_owned(), "x".to_owned()));
    assert_eq!(pi.sh(IN, &format!("git show origin/{name}-stash-0:held")), "stashed");
    assert_eq!(pi.sh(IN, &format!("git log -1 --format=%s origin/{name}^")), "local");
    let names = pi.sh(IN, &format!("git ls-tree --name-only origin/{name}"));
    assert!(
        !names.contains("ignored") && !names.contains(".gitignore") && !names.contains(".phase"),
        "{names}"
    );
    assert_eq!(pi.sh(IN, &format!("git show origin/{name}:INBOX.md")), "do this");
}

#[test]
fn what_may_be_a_secret_is_not_pushed_and_goes_to_the_target() {
    let bed = rig();
    let token = ["ghp_", "0123456789abcdefghijABCDEFGHIJ012345"].concat();
    bed.pi.put("/srv/w/cc-ci/notes", &format!("first\nuse {token}\n"));
    let said = bed.ok(&["unsaved", "--rescue"]);
    assert!(
        said.ends_with("carried to vm and not pushed: it may hold secrets: notes:2: a token\n"),
        "{said}"
    );
    assert!(!said.contains(&token));
    assert_eq!(pushed(&bed), Vec::<String>::new());
    let there = bed.vm.sh(IN, "git for-each-ref --format='%(refname)' refs/ccorch");
    assert!(there.starts_with("refs/ccorch/rescue/pi/"), "{there}");
    assert_eq!(bed.vm.sh(IN, &format!("git show {there}:notes")), format!("first\nuse {token}"));
}

#[test]
fn a_remote_that_is_away_costs_nothing_but_the_push() {
    let bed = rig();
    bed.pi.put("/srv/w/cc-ci/notes", "x\n");
    fs::rename(bed.path("inner.git"), bed.path("away.git")).unwrap();
    let said = bed.ok(&["unsaved", "--rescue"]);
    assert!(said.contains("carried to vm and not pushed: the push failed"), "{said}");
    assert_eq!(bed.vm.sh(IN, "git show $(git for-each-ref --format='%(refname)' refs/ccorch):notes"), "x");
}

#[test]
fn an_unborn_branch_is_rescued() {
    let bed = rig();
    bed.pi.sh(IN, "git checkout -q --orphan fresh; git rm -rfq --cached .; rm -f held .gitignore");
    bed.pi.put("/srv/w/cc-ci/seed", "s\n");
    assert_eq!(unsaved(&bed), ["cc-ci: `seed` is not committed"]);
    bed.ok(&["unsaved", "--rescue"]);
    let name = pushed(&bed)[0].replace("refs/heads/", "origin/");
    assert_eq!(bed.pi.sh(IN, &format!("git show {name}:seed; git rev-list --count {name}")), "s\n1");
}

#[test]
fn content_that_lfs_would_keep_elsewhere_is_in_the_rescue() {
    let bed = rig();
    let pi = &bed.pi;
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 3\n";
    pi.put("/srv/w/cc-ci/.gitattributes", "*.bin filter=lfs -text\n");
    pi.put("/srv/w/cc-ci/old.bin", pointer);
    pi.sh(IN, &format!("git add .gitattributes old.bin; {GIT} commit -qm lfs; git push -q"));
    assert_eq!(unsaved(&bed), Vec::<String>::new());
    // As `git lfs install --local` does, with a program that would take the content away.
    pi.sh(IN, "git config filter.lfs.clean 'echo pointer'; git config filter.lfs.required true");
    pi.put("/srv/w/cc-ci/new.bin", "content\n");
    bed.ok(&["unsaved", "--rescue"]);
    let name = pushed(&bed)[0].replace("refs/heads/", "origin/");
    assert_eq!(pi.sh(IN, &format!("git show {name}:new.bin")), "content");
    assert_eq!(pi.sh(IN, &format!("git show {name}:old.bin")), pointer.trim_end());
}

#[test]
fn a_rescue_that_was_held_back_goes_wherever_the_rig_goes() {
    let bed = rig();
    let token = ["ghp_", "0123456789abcdefghijABCDEFGHIJ012345"].concat();
    bed.pi.put("/srv/w/cc-ci/notes", &format!("use {token}\n"));
    bed.ok(&["unsaved", "--rescue"]);
    let forget = |machine: &machines::Machine| {
        machine.sh(IN, "git for-each-ref --format='delete %(refname)' refs/ccorch | git update-ref --stdin");
    };
    let refs = |machine: &machines::Machine| machine.sh(IN, "git for-each-ref refs/ccorch");
    let (name, kept) = (refs(&bed.vm), refs(&bed.pi));
    assert_eq!(name, kept);
    bed.ok(&["stage", "vm"]);
    assert_eq!(bed.ok(&["stage", "vm", "--prove"]), "pi and vm hold the same\n");

    // A new target has none of it.
    forget(&bed.vm);
    bed.vm.sh(IN, "git reflog expire --expire=now --all && git gc -q --prune=now");
    let differs = String::from_utf8(bed.ccorch(&["stage", "vm", "--prove"]).stdout).unwrap();
    assert!(
        differs.contains("repository cc-ci: rescue pi/") && differs.contains("is on pi only"),
        "{differs}"
    );
    let dry = bed.ok(&["stage", "vm", "--dry-run"]);
    assert!(dry.contains("would carry 0 repositories") && dry.contains("rescues of 1 work trees"), "{dry}");
    assert_eq!(refs(&bed.vm), "");

    // Nor may the only copy be removed.
    as_legacy(&bed);
    let standby = r#"{"rig":"demo","journal":"j","kind":"legacy","to":"vm","since":"2026-01-01T00:00:00Z","workspace":"/srv/w"}"#;
    fs::create_dir_all(bed.pi.path("/var/lib/ccorch")).unwrap();
    fs::write(bed.pi.path("/var/lib/ccorch/standby.json"), standby).unwrap();
    let obstacle = |bed: &Bed| {
        let said = bed.ok(&["forget-source", "--host", "pi", "--dry-run"]);
        said.lines().find(|line| line.starts_with("! not yet: rescue pi/")).map(ToOwned::to_owned)
    };
    let said = obstacle(&bed).unwrap();
    assert!(said.contains("of /srv/w/cc-ci is not on vm: "), "{said}");

    bed.ok(&["stage", "vm"]);
    assert_eq!(refs(&bed.vm), kept);
    assert_eq!(bed.ok(&["stage", "vm", "--prove"]), "pi and vm hold the same\n");
    assert_eq!(obstacle(&bed), None);
    // Whoever has put it on a branch may drop the rescue.
    bed.vm.sh(IN, "git branch taken $(git for-each-ref --format='%(objectname)' refs/ccorch)");
    forget(&bed.vm);
    assert_eq!(obstacle(&bed), None);
}

#[test]
fn a_lock_and_a_rebase_are_never_clean_though_all_is_rescued() {
    let bed = rig();
    let pi = &bed.pi;
    let stays = |bed: &Bed| {
        let output = bed.ccorch(&["unsaved", "--rescue"]);
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{words}");
        String::from_utf8(output.stdout).unwrap()
    };
    pi.sh(IN, ": >.git/index.lock");
    assert_eq!(stays(&bed), "pi: stays behind: /srv/w/cc-ci: git left a lock, .git/index.lock\n");
    assert!(
        pi.path("/srv/w/cc-ci/.git/index.lock").exists(),
        "the host may be at work: its locks are its own"
    );
    pi.sh(IN, "rm .git/index.lock");
    // A rebase that stopped, with changes put aside that are on no stash.
    pi.sh(IN, &format!("echo m >held; {GIT} commit -qam m; git push -q; git checkout -q -b side HEAD^; echo s >held; {GIT} commit -qam s"));
    pi.sh(IN, &format!("echo more >>.gitignore; {GIT} rebase -q --autostash main || true; git checkout -q -f HEAD -- held"));
    assert!(unsaved(&bed).join("\n").contains("cc-ci: the stash holds"), "{:?}", unsaved(&bed));
    let said = stays(&bed);
    assert!(said.contains("stays behind: /srv/w/cc-ci: a rebase is in progress"), "{said}");
    let name = pushed(&bed).into_iter().find(|name| name.ends_with("-stash-0")).unwrap();
    let held = pi.sh(IN, &format!("git show origin/{}:.gitignore", name.trim_start_matches("refs/heads/")));
    assert_eq!(held, "ignored\nmore");
}
