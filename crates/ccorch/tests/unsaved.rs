//! `ccorch unsaved` on a machine behind a real sshd, with real git: what is not saved is named, and a rescue keeps it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod machines;

use std::fs;

use machines::Bed;

const GIT: &str = "git -c user.name=a -c user.email=a@b -c protocol.file.allow=always";
const IN: &str = "/srv/w/cc-ci";

/// A clone that is clean and pushed, on both machines.
fn rig() -> Bed {
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
fn unsaved(bed: &Bed) -> Vec<String> {
    let output = bed.ccorch(&["unsaved"]);
    let text = String::from_utf8(output.stdout).unwrap();
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    let clean = text == "pi has saved everything in git\n";
    assert_eq!(output.status.code(), Some(i32::from(!clean)), "{text}{words}");
    if clean { Vec::new() } else { text.lines().map(|line| line.replace("/srv/w/", "")).collect() }
}

/// The one branch that a rescue pushed, as the remote knows it.
fn pushed(bed: &Bed) -> Vec<String> {
    let refs = bed.pi.sh(IN, "git ls-remote origin 'refs/heads/ccorch/*' | cut -f 2");
    refs.lines().map(ToOwned::to_owned).collect()
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
        said.ends_with("carried to the target and not pushed: it may hold secrets: notes:2: a token\n"),
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
    assert!(said.contains("carried to the target and not pushed: the push failed"), "{said}");
    assert_eq!(bed.vm.sh(IN, "git show $(git for-each-ref --format='%(refname)' refs/ccorch):notes"), "x");
}

#[test]
fn worktrees_and_a_detached_head_are_asked_too() {
    let bed = rig();
    let pi = &bed.pi;
    pi.sh(IN, "git worktree add -q --detach ../tree");
    assert_eq!(unsaved(&bed), Vec::<String>::new());
    pi.sh("/srv/w/tree", &format!("{GIT} commit -q --allow-empty -m alone"));
    pi.put("/srv/w/tree/draft", "d\n");
    let all = unsaved(&bed).join("\n");
    assert!(
        all.contains("tree: `draft` is not committed")
            && all.contains("is checked out without a branch and not pushed"),
        "{all}"
    );
    bed.ok(&["unsaved", "--rescue"]);
    let branches = pushed(&bed).join("\n");
    assert!(branches.contains("Z-tree-1") && branches.contains("Z-tree-1-detached"), "{branches}");
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
fn submodules_are_asked_and_a_rescue_goes_to_their_own_remote() {
    let bed = rig();
    let part = bed.remote("part.git");
    bed.pi.sh(IN, &format!("{GIT} submodule --quiet add {part} part; {GIT} commit -qm part; git push -q"));
    assert_eq!(unsaved(&bed), Vec::<String>::new());
    bed.pi.put("/srv/w/cc-ci/part/inside", "i\n");
    assert_eq!(unsaved(&bed), ["cc-ci/part: `inside` is not committed"]);
    bed.ok(&["unsaved", "--rescue"]);
    assert_eq!(pushed(&bed), Vec::<String>::new());
    let refs = bed.pi.sh("/srv/w/cc-ci/part", "git ls-remote origin 'refs/heads/ccorch/*'");
    assert_eq!(refs.lines().count(), 1, "{refs}");
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
