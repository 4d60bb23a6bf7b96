//! `ccorch stage` between two machines behind real sshds.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod machines;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use machines::{Bed, UID};

const GIT: &str = "git -c user.name=a -c user.email=a@b";
const CLONE: &str = "/srv/w/cc-ci";

/// A rig at work on the pi: the workspace is a clone with a nested clone that it ignores.
fn rig() -> Bed {
    let bed = Bed::new();
    let (outer, inner) = (bed.remote("outer.git"), bed.remote("inner.git"));
    bed.rig(&format!(
        r#"
rig: demo
workspace:
  root: /srv/w
  user: loops
  repositories:
    cc-ci: {{ url: "{inner}", branch: main }}
    ".": {{ url: "{outer}", branch: main }}
  carry: [logs, .env]
  phase_file: logs/.phase-idx
  copies: {{ refs: {{ from: /opt/refs }} }}
phases: [{{ id: a, plan: a.md }}]
loops:
  builder: {{ agent: claude, workdir: cc-ci, inbox: INBOX.md }}
"#
    ));
    let pi = &bed.pi;
    pi.sh("/srv/w", &format!("git clone -q {outer} . && git clone -q {inner} cc-ci"));
    pi.put("/srv/w/.gitignore", "cc-ci/\nlogs/\n.env\n");
    pi.sh("/srv/w", &format!("git add . && {GIT} commit -qm ignore && git push -q"));
    pi.sh(
        CLONE,
        "git config user.name Builder && git config user.email b@x && git config http.extraHeader hush-1",
    );
    pi.put("/srv/w/logs/.phase-idx", "2\n");
    pi.put("/srv/w/.env", "hush-2\n");
    for name in ["a b", "-rf", "new\nline", "\u{e4}", "q'\"$(x)"] {
        pi.put(&format!("/srv/w/cc-ci/notes/{name}"), name);
    }
    pi.put("/srv/w/cc-ci/INBOX.md", "do this\n");
    pi.put("/opt/refs/deep/page.html", "<p>");
    pi.put("/home/loops/.claude/projects/-srv-w-cc-ci/1.jsonl", "{}\n");
    pi.put("/home/loops/.claude/projects/-elsewhere/1.jsonl", "{}\n");
    pi.put("/home/loops/.claude/.credentials.json", "hush-3");
    pi.put("/home/loops/.claude.json", r#"{"hasCompletedOnboarding":true,"primaryApiKey":"hush-4"}"#);
    bed
}

fn figures(bed: &Bed) -> (u64, u64, u64) {
    let result: serde_json::Value = serde_json::from_str(&bed.ok(&["stage", "vm", "--json"])).unwrap();
    let figure = |key: &str| result["carried"][key].as_u64().unwrap();
    (figure("repositories"), figure("files"), figure("removed"))
}

#[test]
fn everything_arrives_and_a_second_run_carries_nothing() {
    let bed = rig();
    let (pi, vm) = (&bed.pi, &bed.vm);
    // Work that was never pushed, and a branch nobody pushed.
    pi.put("/srv/w/cc-ci/work", "1");
    pi.sh(CLONE, "git add work && git commit -qm unpushed && git branch side");
    let dry = bed.ok(&["stage", "vm", "--dry-run"]);
    assert!(dry.contains("pi -> vm: would carry 2 repositories"), "{dry}");
    assert!(!vm.path("/srv/w/.git").exists());

    let first = bed.ok(&["stage", "vm"]);
    assert!(first.contains("carried 2 repositories"), "{first}");
    assert!(
        first.contains("note: repository `cc-ci`: git setting http.extraheader of pi may hold a credential")
    );
    for secret in ["hush-1", "hush-2", "hush-3", "hush-4"] {
        assert!(!first.contains(secret), "{first}");
    }
    let log = "git log -1 --format=%s; git config user.name; git rev-parse --abbrev-ref HEAD side@{0} 2>/dev/null || true";
    assert!(vm.sh(CLONE, log).starts_with("unpushed\nBuilder\nmain"));
    assert_eq!(vm.sh(CLONE, "git rev-parse side main | sort -u | wc -l").trim(), "1");
    assert_eq!(vm.sh(CLONE, "git config --list --local | grep -c hush || true"), "0");
    for name in ["a b", "-rf", "new\nline", "\u{e4}", "q'\"$(x)"] {
        assert_eq!(vm.read(&format!("/srv/w/cc-ci/notes/{name}")), name);
    }
    assert_eq!(vm.read("/srv/w/logs/.phase-idx"), "2\n");
    assert_eq!(vm.read("/opt/refs/deep/page.html"), "<p>");
    assert!(vm.path("/home/loops/.claude/projects/-srv-w-cc-ci/1.jsonl").exists());
    assert!(!vm.path("/home/loops/.claude/projects/-elsewhere").exists());
    assert!(!vm.path("/home/loops/.claude/.credentials.json").exists());
    assert!(!vm.read("/home/loops/.claude.json").contains("hush"));
    for place in ["/srv/w", "/opt/refs", "/home/loops/.claude", "/home/loops/.claude.json"] {
        owned(&vm.path(place));
    }

    assert_eq!(bed.ok(&["stage", "vm", "--prove"]), "pi and vm hold the same\n");
    assert_eq!(figures(&bed), (0, 0, 0));
    assert!(bed.ok(&["stage", "vm"]).ends_with("vm has everything that pi has\n"));
}

#[test]
fn the_orchestrator_finds_a_routine_that_is_neither_unsaved_nor_a_difference() {
    let bed = rig();
    let (pi, vm) = (&bed.pi, &bed.vm);
    let text = fs::read_to_string(bed.path("ccorch.yaml")).unwrap();
    let session_in = |workdir: &str| {
        let boss = format!("  boss: {{ agent: claude, workdir: {workdir}, role: orchestrator }}\n");
        let at = text.find("  builder: {").unwrap();
        fs::write(bed.path("ccorch.yaml"), format!("{}{boss}{}", &text[..at], &text[at..])).unwrap();
    };
    // Where git has a file of that name, it is left alone.
    pi.put("/srv/w/cc-ci/AGENTS.md", "# Ours\n");
    pi.sh(CLONE, &format!("git add AGENTS.md && {GIT} commit -qm agents && git push -q"));
    session_in("cc-ci");
    let first = bed.ok(&["stage", "vm"]);
    assert!(first.contains("of boss to /srv/w/cc-ci/AGENTS.ccorch.md"), "{first}");
    assert_eq!(vm.read("/srv/w/cc-ci/AGENTS.md"), "# Ours\n");
    session_in(".");
    let first = bed.ok(&["stage", "vm"]);
    assert!(first.contains("note: wrote the routine of boss to /srv/w/AGENTS.md, outside git"), "{first}");
    assert!(vm.read("/srv/w/AGENTS.md").contains("`boss`, the session above the loops `builder`"));
    owned(&vm.path("/srv/w/AGENTS.md"));
    for clone in ["/srv/w", CLONE] {
        let status = vm.sh(clone, "git status --porcelain -- AGENTS.md AGENTS.ccorch.md");
        assert_eq!(status, "", "{clone}");
    }
    assert_eq!(bed.ok(&["stage", "vm", "--prove"]), "pi and vm hold the same\n");
    // What somebody writes around it stays, and a second run changes nothing.
    let around = format!("# Here\n\n{}below\n", vm.read("/srv/w/AGENTS.md"));
    vm.put("/srv/w/AGENTS.md", &around);
    let second = bed.ok(&["stage", "vm"]);
    assert!(!second.contains("routine"), "{second}");
    assert_eq!(vm.read("/srv/w/AGENTS.md"), around);
    vm.put("/srv/w/AGENTS.md", &around.replace("`boss`", "`nobody`"));
    assert!(bed.ok(&["stage", "vm", "--dry-run"]).contains("note: would write the routine of boss"));
    assert!(bed.ok(&["stage", "vm"]).contains("note: wrote the routine of boss"));
    assert_eq!(vm.read("/srv/w/AGENTS.md"), around);
}

fn owned(path: &Path) {
    let found = fs::symlink_metadata(path).unwrap();
    assert_eq!((found.uid(), found.gid()), (UID, UID), "{}", path.display());
    if found.is_dir() {
        fs::read_dir(path).unwrap().for_each(|entry| owned(&entry.unwrap().path()));
    }
}

#[test]
fn a_file_of_the_same_size_and_second_is_carried() {
    let bed = rig();
    bed.ok(&["stage", "vm"]);
    for (machine, text, part) in [(&bed.pi, "one\n", 1), (&bed.vm, "two\n", 2)] {
        machine.put("/srv/w/logs/same", text);
        machine.sh("/srv/w/logs", &format!("touch -d '2026-01-01 00:00:00.{part}' same"));
    }
    bed.ok(&["stage", "vm"]);
    assert_eq!(bed.vm.read("/srv/w/logs/same"), "one\n");
    assert_eq!(bed.ok(&["stage", "vm", "--prove"]), "pi and vm hold the same\n");
}

#[test]
fn a_clone_that_was_restored_from_a_copy_moves_on() {
    let bed = rig();
    bed.pi.put("/srv/w/cc-ci/work", "1\n");
    bed.pi.sh(CLONE, &format!("git add work && {GIT} commit -qm one"));
    bed.ok(&["stage", "vm"]);
    // Other inodes, the same content.
    bed.vm.sh(CLONE, "cp -p work work.new && mv work.new work");
    bed.pi.sh(CLONE, &format!("echo 2 >> work && {GIT} commit -qam two"));
    bed.ok(&["stage", "vm"]);
    assert_eq!(bed.vm.read("/srv/w/cc-ci/work"), "1\n2\n");
    assert_eq!(bed.vm.sh(CLONE, "stat -c %a work"), "644", "as git checks it out for its user");
}

#[test]
fn later_runs_follow_the_work() {
    let bed = rig();
    let (pi, vm) = (&bed.pi, &bed.vm);
    bed.ok(&["stage", "vm"]);
    // Committed now, deleted, appended, and the inbox is committed and changed again.
    pi.sh(CLONE, "git add -- 'notes/a b' INBOX.md && git commit -qm notes && rm -- notes/-rf");
    pi.put("/srv/w/cc-ci/INBOX.md", "and that\n");
    pi.put("/home/loops/.claude/projects/-srv-w-cc-ci/1.jsonl", "{}\n{}\n");
    pi.put("/srv/w/logs/new", "x");
    fs::remove_file(pi.path("/opt/refs/deep/page.html")).unwrap();
    let differs = bed.ccorch(&["stage", "vm", "--prove"]);
    let text = String::from_utf8(differs.stdout).unwrap();
    assert_eq!(differs.status.code(), Some(1));
    assert!(
        text.contains("repository cc-ci: branch main is ") && text.contains("logs/new is on pi only"),
        "{text}"
    );

    let (repositories, files, removed) = figures(&bed);
    assert_eq!((repositories, removed), (1, 2));
    assert!((3..=5).contains(&files), "{files}");
    assert_eq!(vm.read("/srv/w/cc-ci/INBOX.md"), "and that\n");
    assert!(!vm.path("/srv/w/cc-ci/notes/-rf").exists() && !vm.path("/opt/refs/deep/page.html").exists());
    // What was taken out of the clone is set aside, not lost.
    let aside = vm.sh("/home/loops", "find .local/state/ccorch/replaced -type f -name -rf | wc -l");
    assert_eq!(aside.trim(), "1");
    assert_eq!(bed.ok(&["stage", "vm", "--prove"]), "pi and vm hold the same\n");
    // And again, with the inbox that is tracked and changed.
    pi.sh(CLONE, "git commit -qam inbox");
    pi.put("/srv/w/cc-ci/INBOX.md", "third\n");
    assert_eq!(figures(&bed).0, 1);
    assert_eq!(bed.ok(&["stage", "vm", "--prove"]), "pi and vm hold the same\n");
    assert_eq!(figures(&bed), (0, 0, 0));
}

#[test]
fn what_the_source_rewrites_is_rewritten() {
    let bed = rig();
    bed.pi.sh(CLONE, "git commit -q --allow-empty -m unpushed");
    bed.ok(&["stage", "vm"]);
    bed.pi.sh(CLONE, "git commit -q --allow-empty --amend -m rebased");
    bed.ok(&["stage", "vm"]);
    assert_eq!(bed.vm.sh(CLONE, "git log -1 --format=%s"), "rebased");
    assert_eq!(bed.ok(&["stage", "vm", "--prove"]), "pi and vm hold the same\n");
}

#[test]
fn what_is_checked_out_on_the_source_is_on_the_target() {
    let bed = rig();
    let (pi, vm) = (&bed.pi, &bed.vm);
    bed.ok(&["stage", "vm"]);
    // A person leaves a commit without a branch; another works on a branch of its own.
    for (here, there) in [
        ("git checkout -q --detach && git commit -q --allow-empty -m nowhere", "HEAD"),
        ("git checkout -q -b topic && git commit -q --allow-empty -m topic", "topic"),
        ("git checkout -q main && git commit -q --allow-empty -m on", "main"),
    ] {
        pi.sh(CLONE, here);
        pi.put("/srv/w/cc-ci/INBOX.md", there);
        bed.ok(&["stage", "vm"]);
        assert_eq!(vm.sh(CLONE, "git rev-parse --abbrev-ref HEAD"), there);
        let commit = "git rev-parse HEAD";
        assert_eq!(vm.sh(CLONE, commit), pi.sh(CLONE, commit));
        assert_eq!(bed.ok(&["stage", "vm", "--prove"]), "pi and vm hold the same\n");
    }
}

/// A rebase that stops after the first of two commits, with a change put aside, as a loop that is killed in one leaves it.
const REBASE: &str =
    "echo 1 >held; git add held; git commit -qm mine1; git commit -q --allow-empty -m mine2; echo 2 >held
GIT_SEQUENCE_EDITOR='sed -i 1abreak' git rebase -q -i --autostash HEAD~2; test -d .git/rebase-merge";

#[test]
fn a_loop_that_was_stopped_in_a_rebase_goes_on_from_its_branch() {
    let bed = rig();
    let (pi, vm) = (&bed.pi, &bed.vm);
    bed.ok(&["stage", "vm"]);
    pi.sh(CLONE, REBASE);
    assert_eq!(pi.sh(CLONE, "git rev-parse --abbrev-ref HEAD; git log -1 --format=%s"), "HEAD\nmine1");
    bed.ok(&["stage", "vm"]);
    assert_eq!(vm.sh(CLONE, "git rev-parse --abbrev-ref HEAD; git log -1 --format=%s"), "main\nmine2");
    assert_eq!(bed.ok(&["stage", "vm", "--prove"]), "pi and vm hold the same\n");
}

#[test]
fn what_the_target_had_begun_long_ago_is_over_there_and_kept() {
    let bed = rig();
    let (pi, vm) = (&bed.pi, &bed.vm);
    // It was at work once; the source has its commits and went on.
    bed.ok(&["stage", "vm"]);
    vm.sh(CLONE, REBASE);
    let aside = vm.sh(CLONE, "cat .git/rebase-merge/autostash");
    let theirs = vm.path(CLONE).display().to_string();
    pi.sh(CLONE, &format!("git fetch -q '{theirs}' main && git reset -q --keep FETCH_HEAD"));
    pi.sh(CLONE, "git commit -q --allow-empty -m later");

    let differs = String::from_utf8(bed.ccorch(&["stage", "vm", "--prove"]).stdout).unwrap();
    assert!(differs.contains(&format!("a rebase is in progress in {CLONE} on vm")), "{differs}");
    let error = bed.fails(&["stage", "vm"], 6);
    assert!(error.contains(&format!("vm: a rebase is in progress in {CLONE}")), "{error}");
    assert!(error.contains("`--rescue`"), "{error}");
    assert_eq!(vm.sh(CLONE, "test -d .git/rebase-merge && git rev-parse --abbrev-ref HEAD"), "HEAD");

    bed.ok(&["stage", "vm", "--rescue"]);
    let stands = "git rev-parse --abbrev-ref HEAD; git log -1 --format=%s; git status --short -uno";
    assert_eq!(vm.sh(CLONE, stands), "main\nlater");
    assert_eq!(vm.sh(CLONE, "ls -d .git/rebase-* .git/*HEAD 2>/dev/null | grep -v -e .git/HEAD -e ORIG -e FETCH || true; git stash list"), "");
    let kept = vm.sh(CLONE, "git for-each-ref --format='%(objectname) %(refname)' refs/ccorch");
    assert!(kept.starts_with(&format!("{aside} refs/ccorch/rescue/pi/")), "{kept}");
    assert_eq!(bed.ok(&["stage", "vm", "--prove"]), "pi and vm hold the same\n");
}

#[test]
fn an_interrupted_run_is_repaired() {
    let bed = rig();
    let vm = &bed.vm;
    bed.pi.put("/srv/w/cc-ci/big", &"x".repeat(100_000));
    bed.pi.sh(CLONE, "git add big && git commit -qm big");
    // As a first run leaves it when it ends in the middle of a check-out.
    vm.sh("/srv/w", "mkdir -p cc-ci/.git; cd cc-ci; : >.git/ccorch-incomplete; git init -q --template= -b main; : >.git/index.lock; echo torn >big");
    bed.ok(&["stage", "vm"]);
    assert_eq!(vm.read("/srv/w/cc-ci/big").len(), 100_000);
    assert_eq!(bed.ok(&["stage", "vm", "--prove"]), "pi and vm hold the same\n");
}

#[test]
fn a_link_that_leads_out_of_the_workspace_is_refused() {
    let bed = rig();
    bed.ok(&["stage", "vm"]);
    let notes = bed.vm.path("/srv/w/cc-ci/notes");
    fs::remove_dir_all(&notes).unwrap();
    symlink("/opt", &notes).unwrap();
    let error = bed.fails(&["stage", "vm"], 6);
    assert!(error.contains("vm: /srv/w/cc-ci/notes leads out of the workspace, to /opt"), "{error}");
    assert!(error.contains("hint: ") && fs::read_dir(bed.vm.path("/opt")).unwrap().count() == 1);
}

#[test]
fn work_that_only_the_target_has_is_never_dropped() {
    let bed = rig();
    bed.ok(&["stage", "vm"]);
    bed.pi.sh(CLONE, "git commit -q --allow-empty -m theirs");
    bed.vm.sh(CLONE, &format!("{GIT} commit -q --allow-empty -m ours"));
    let error = bed.fails(&["stage", "vm"], 6);
    assert!(error.contains("vm: branch `main` has commits that pi has not"), "{error}");
    bed.vm.sh(CLONE, "git reset -q --hard HEAD~1");
    bed.vm.put("/srv/w/.gitignore", "changed");
    bed.pi.sh("/srv/w", &format!("{GIT} commit -q --allow-empty -m more"));
    let error = bed.fails(&["stage", "vm"], 6);
    assert!(error.contains("vm: uncommitted changes in /srv/w: .gitignore"), "{error}");
}

#[test]
fn a_remote_that_is_away_is_named_with_the_host_that_misses_it() {
    let bed = rig();
    fs::rename(bed.path("inner.git"), bed.path("away.git")).unwrap();
    let error = bed.fails(&["stage", "vm"], 4);
    assert!(error.contains("repository `cc-ci`: vm cannot fetch") && error.contains("as `loops`"), "{error}");
    assert!(error.contains("hint: see that vm reaches the git remote"), "{error}");
    fs::rename(bed.path("away.git"), bed.path("inner.git")).unwrap();
    bed.ok(&["stage", "vm"]);
}

#[test]
fn a_full_disk_is_told_and_the_next_run_completes() {
    let mut bed = rig();
    fs::write(bed.pi.path("/opt/refs/huge"), vec![7; 3 << 20]).unwrap();
    bed.vm.stop();
    let small = "mount -t tmpfs -o size=1m tmpfs /opt; install -d -o loops -g loops /opt/refs";
    bed.vm.start(small);
    let error = bed.fails(&["stage", "vm"], 7);
    assert!(error.contains("No space left on device") && error.contains("hint: free space on vm"), "{error}");
    bed.vm.stop();
    bed.vm.start("");
    bed.ok(&["stage", "vm"]);
    assert_eq!(bed.ok(&["stage", "vm", "--prove"]), "pi and vm hold the same\n");
}

#[test]
fn a_host_that_is_away_and_one_with_another_key_are_told_apart() {
    let mut bed = rig();
    let port = bed.vm.port;
    bed.vm.stop();
    let error = bed.fails(&["stage", "vm"], 4);
    assert!(
        error.contains("on vm: ") && error.contains(&format!("port {port}: Connection refused")),
        "{error}"
    );
    for name in ["host_key", "host_key.pub"] {
        fs::remove_file(bed.vm.dir.join(name)).unwrap();
    }
    let key = bed.vm.dir.join("host_key");
    let made =
        std::process::Command::new("ssh-keygen").args(["-qt", "ed25519", "-N", "", "-f"]).arg(&key).status();
    assert!(made.unwrap().success());
    bed.vm.start("");
    let error = bed.fails(&["stage", "vm"], 5);
    assert!(error.contains("hint: make sure vm really is the machine meant"), "{error}");
}

#[test]
fn a_host_without_the_workspace_is_sent_to_install() {
    let bed = rig();
    fs::remove_dir(bed.vm.path("/srv/w")).unwrap();
    let error = bed.fails(&["stage", "vm"], 7);
    assert!(error.contains("hint: run `ccorch host install vm` first"), "{error}");
    let error = bed.fails(&["stage", "pi"], 3);
    assert!(error.contains("`pi` is both"), "{error}");
}

#[test]
fn modes_and_links_are_kept() {
    let bed = rig();
    fs::set_permissions(bed.pi.path("/srv/w/.env"), fs::Permissions::from_mode(0o600)).unwrap();
    symlink("../.env", bed.pi.path("/srv/w/logs/link")).unwrap();
    bed.ok(&["stage", "vm"]);
    let mode = fs::metadata(bed.vm.path("/srv/w/.env")).unwrap().mode();
    assert_eq!(mode & 0o7777, 0o600);
    assert_eq!(fs::read_link(bed.vm.path("/srv/w/logs/link")).unwrap(), Path::new("../.env"));
}
