//! `ccorch unsaved` on a machine behind a real sshd: what lies beside the branches of a clone. Linked work trees, submodules, tags,
//! and what git cannot read any more.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod machines;

use machines::clones::{GIT, IN, inside, pushed, rig, unsaved};

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

/// A commit that cannot be read is not one that is pushed.
#[test]
fn a_damaged_clone_is_refused_and_named() {
    let bed = rig();
    let pi = &bed.pi;
    // On a branch that is not checked out nothing but the question for what is pushed reads it.
    pi.sh(
        IN,
        &format!("git checkout -q -b side; for n in 1 2 3; do {GIT} commit -q --allow-empty -m $n; done"),
    );
    let lose = "id=$(git rev-parse side~1); rm -f .git/objects/$(printf %s $id | sed 's,^..,&/,')";
    pi.sh(IN, &format!("git checkout -q main; {lose}"));
    let output = bed.ccorch(&["unsaved"]);
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(1), &b""[..]), "{words}");
    assert!(words.contains("git -C /srv/w/cc-ci fsck"), "{words}");
}

#[test]
fn a_commit_that_only_a_tag_holds_is_named_and_rescued() {
    let bed = rig();
    let pi = &bed.pi;
    let alone = |name: &str, words: &str| {
        format!(
            "git checkout -q --detach; {GIT} commit -q --allow-empty -m {name}; {GIT} tag {words} {name}; git checkout -q main"
        )
    };
    // One that was pushed is on no branch either; one of a tree holds no commit.
    pi.sh(IN, &alone("pushed", "-m a -a"));
    pi.sh(IN, "git push -q origin pushed; git tag tree HEAD^{tree}; git tag here");
    assert_eq!(unsaved(&bed), Vec::<String>::new());
    pi.sh(IN, &alone("light/v1", ""));
    pi.sh(IN, &alone("heavy", "-m a -a"));
    let short = |tag: &str| pi.sh(IN, &format!("git rev-parse {tag}^0"))[..12].to_owned();
    let line = |tag: &str| format!("cc-ci: tag `{tag}` at {} is on no branch and not pushed", short(tag));
    assert_eq!(unsaved(&bed), [line("heavy"), line("light/v1")]);
    bed.ok(&["unsaved", "--rescue"]);
    let ends: Vec<String> =
        pushed(&bed).iter().map(|name| name.split_once("Z").unwrap().1.to_owned()).collect();
    assert_eq!(ends, ["-tag-heavy", "-tag-light/v1"]);
    assert_eq!(unsaved(&bed), Vec::<String>::new());
}

#[test]
fn submodules_of_linked_work_trees_are_asked_and_come_along() {
    let bed = rig();
    let part = bed.remote("part.git");
    bed.pi.sh(IN, &format!("{GIT} submodule --quiet add {part} part; {GIT} commit -qm part; git push -q"));
    for machine in [&bed.pi, &bed.vm] {
        machine.put("/home/loops/.gitconfig", "[protocol \"file\"]\nallow = always\n");
    }
    inside(
        &bed,
        &bed.pi,
        &format!("git worktree add -q --detach ../two; cd ../two; {GIT} submodule --quiet update --init"),
    );
    bed.ok(&["stage", "vm"]);
    assert_eq!(bed.ok(&["stage", "vm", "--prove"]), "pi and vm hold the same\n");
    inside(
        &bed,
        &bed.pi,
        &format!("cd ../two/part; echo 1 >file; git add file; {GIT} commit -qm alone; echo 2 >file"),
    );
    let all = unsaved(&bed).join("\n");
    for part in ["two/part: `file` is not committed", "two/part: "] {
        assert!(all.contains(part), "{part}: {all}");
    }
    assert!(all.contains("is checked out without a branch and not pushed"), "{all}");
    let said = bed.ok(&["unsaved", "--rescue"]);
    assert!(said.contains("rescued from /srv/w/two/part: "), "{said}");
    let refs = inside(&bed, &bed.pi, "git -C ../two/part ls-remote origin 'refs/heads/ccorch/*'");
    assert_eq!(refs.lines().count(), 2, "{refs}");
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
fn a_submodule_is_proven_to_be_there_at_its_commit() {
    let bed = rig();
    let part = bed.remote("part.git");
    bed.pi.sh(IN, &format!("{GIT} submodule --quiet add {part} part; {GIT} commit -qm part; git push -q"));
    // Their remote is a folder, which git takes for submodules by its owner's word alone.
    bed.vm.put("/home/loops/.gitconfig", "[protocol \"file\"]\nallow = always\n");
    bed.ok(&["stage", "vm"]);
    assert_eq!(bed.ok(&["stage", "vm", "--prove"]), "pi and vm hold the same\n");
    bed.vm.sh(IN, "git submodule --quiet deinit --force part");
    let differs = String::from_utf8(bed.ccorch(&["stage", "vm", "--prove"]).stdout).unwrap();
    assert!(differs.contains("submodule /srv/w/cc-ci/part is not there on vm"), "{differs}");
}

#[test]
fn linked_work_trees_come_along() {
    let bed = rig();
    let (pi, vm) = (&bed.pi, &bed.vm);
    let inside = |machine: &machines::Machine, script: &str| inside(&bed, machine, script);
    // One on a branch in the clone itself, one without a branch beside it, with a commit that nobody else has.
    inside(
        pi,
        &format!(
            "git worktree add -q -b side trees/one; git worktree add -q --detach ../two; cd ../two; echo 2 >held; {GIT} commit -qam two"
        ),
    );
    let look = |machine: &machines::Machine| {
        inside(
            machine,
            "git worktree list --porcelain; cat trees/one/held ../two/held; git -C trees/one status --porcelain; git -C ../two status --porcelain",
        )
    };
    bed.ok(&["stage", "vm"]);
    assert_eq!(look(vm), look(pi));
    assert_eq!(bed.ok(&["stage", "vm", "--prove"]), "pi and vm hold the same\n");
    assert!(bed.ok(&["stage", "vm"]).ends_with("vm has everything that pi has\n"));
    // Both go on, and a third comes where plain files lie on the target.
    inside(
        pi,
        &format!(
            "cd trees/one; echo 3 >held; {GIT} commit -qam three; cd ../../../two; git checkout -q -b other; echo 4 >held; {GIT} commit -qam four"
        ),
    );
    inside(pi, "git worktree add -q --detach trees/three");
    vm.put("/srv/w/cc-ci/trees/three/held", "in the way");
    let differs = String::from_utf8(bed.ccorch(&["stage", "vm", "--prove"]).stdout).unwrap();
    assert!(
        differs.contains("the work tree /srv/w/two is not there on vm, or at another commit"),
        "{differs}"
    );
    bed.ok(&["stage", "vm"]);
    assert_eq!(look(vm), look(pi));
    assert_eq!(bed.ok(&["stage", "vm", "--prove"]), "pi and vm hold the same\n");
    // What lies elsewhere is not the workspace's, and is said before anything stops.
    inside(pi, "git worktree add -q --detach /home/loops/four");
    let error = bed.fails(&["stage", "vm"], 7);
    assert!(error.contains("four of /srv/w/cc-ci lies outside of the workspace /srv/w"), "{error}");
}

/// A push of git's takes pointers along, and the source's content may be the only one.
#[test]
fn content_that_git_lfs_keeps_outside_of_git_comes_along() {
    let bed = rig();
    let (pi, vm) = (&bed.pi, &bed.vm);
    let part = bed.remote("part.git");
    pi.sh(IN, &format!("{GIT} submodule --quiet add {part} part"));
    vm.put("/home/loops/.gitconfig", "[protocol \"file\"]\nallow = always\n");
    pi.put("/srv/w/cc-ci/.gitattributes", "*.bin filter=lfs -text\n");
    let pointer = format!("version https://git-lfs.github.com/spec/v1\noid sha256:ab{:062}\nsize 8\n", 1);
    pi.put("/srv/w/cc-ci/a.bin", &pointer);
    pi.sh(IN, &format!("git add .gitattributes a.bin; {GIT} commit -qm lfs; git push -q"));
    let place = |store: &str, id: &str| format!("{IN}/.git/{store}objects/{}/00/{id}{:062}", id, 1);
    let (own, in_part) = (place("lfs/", "ab"), place("modules/part/lfs/", "cd"));
    pi.put(&own, "content\n");
    pi.put(&in_part, "of part\n");
    // What the target has of its own stays.
    let theirs = place("lfs/", "ef");
    vm.put(&theirs, "theirs\n");
    bed.ok(&["stage", "vm"]);
    assert_eq!((vm.read(&own), vm.read(&in_part)), ("content\n".into(), "of part\n".into()));
    assert_eq!(vm.read(&theirs), "theirs\n");
    assert_eq!(bed.ok(&["stage", "vm", "--prove"]), "pi and vm hold the same\n");
    vm.put(&own, "torn\n");
    let differs = String::from_utf8(bed.ccorch(&["stage", "vm", "--prove"]).stdout).unwrap();
    assert!(differs.contains(&format!("{} differs", &own["/srv/w/".len()..])), "{differs}");
}
