//! Work that is in no commit when the loops stop: refused, with the loops back at work; or rescued, and what may be a secret
//! goes to the target alone and is told where people look.

use std::fs;

use anyhow::{Context as _, Result, ensure};

use super::walk::{CUTOVER, ROLLBACK, Stage};
use crate::bed::{Instance, replace};
use crate::scenario::WORKSPACE;

/// In the builder's clone; its agent commits nothing but its own file.
const FILE: &str = "held-back-notes";

/// The walk; it begins and ends with the pi at work.
pub fn not_saved(stage: &mut Stage<'_, '_>) -> Result<String> {
    // In two parts: as a whole it would be found in this file.
    let token = ["ghp_", "0123456789abcdefghijABCDEFGHIJ012345"].concat();
    let commit = refused(stage, &token)?;
    stage.works_on_the_pi()?;
    stage.drivers.runs(CUTOVER)?;
    let name = kept_on_the_target_alone(stage, &token)?;
    stage.works_on_the_vm()?;
    stage.drivers.runs(ROLLBACK)?;
    let clone = format!("{WORKSPACE}/cc-ci");
    let (pi, stash) = (stage.pi, "refs/stash");
    ensure!(in_clone(pi, "rev-parse -q --verify refs/stash")? == commit, "the stash of the pi is another");
    pi.read(&["rm", &format!("{clone}/{FILE}")])?;
    in_clone(pi, &format!("update-ref -d {stash}"))?;
    stage.works_on_the_pi()?;
    Ok(format!("refused and back at work; then rescued past the forge, as {name}"))
}

/// With `refuse` in the rig file: names file and commit, and takes itself back. The commit of the stash.
fn refused(stage: &mut Stage<'_, '_>, token: &str) -> Result<String> {
    let file = &stage.scenario.place.rig_file;
    let rig = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let refuses = rig.replace("unsaved: rescue", "unsaved: refuse");
    ensure!(refuses != rig, "the rig file does not say `unsaved: rescue`");
    replace(file, refuses.as_bytes(), 0o644)?;
    let pi = stage.pi.clone();
    let ran = stage.drivers.meanwhile(CUTOVER, "quiesce", |_| plant(&pi, token));
    replace(file, rig.as_bytes(), 0o644)?;
    let commit = in_clone(stage.pi, "rev-parse -q --verify refs/stash")?;
    let stash = format!("{WORKSPACE}/cc-ci: the stash holds {}", commit.get(..12).unwrap_or(&commit));
    let left = format!("{WORKSPACE}/cc-ci: `{FILE}` is not committed");
    ran?.expect(8, &[&left, &stash, "the cutover was taken back; pi runs the rig"])?;
    Ok(commit)
}

/// A file with a token, and a stash that touches no file.
fn plant(pi: &Instance, token: &str) -> Result<()> {
    let text = format!("a note\nuse {token}\n");
    pi.push_file(text.as_bytes(), &format!("{WORKSPACE}/cc-ci/{FILE}"), "0644", "loops:loops")?;
    let commit = in_clone(pi, "commit-tree -m put-aside -p HEAD HEAD^{tree}")?;
    in_clone(pi, &format!("update-ref --create-reflog -m put-aside refs/stash {commit}")).map(drop)
}

/// The ref is on the vm and not on the forge, and journal and handoff note name it; its name.
fn kept_on_the_target_alone(stage: &mut Stage<'_, '_>, token: &str) -> Result<String> {
    let refs = in_clone(&stage.vm, "for-each-ref --format=%(objectname)=%(refname) refs/ccorch/rescue/pi")?;
    let held = refs.lines().filter_map(|line| line.split_once('=')).find_map(|(id, name)| {
        let text = in_clone(&stage.vm, &format!("cat-file blob {id}:{FILE}")).ok()?;
        text.contains(token).then(|| (id.to_owned(), name.replace("refs/ccorch/", "ccorch/")))
    });
    let (id, name) = held.with_context(|| format!("no rescue on the vm holds {FILE}: {refs}"))?;
    let git = ["runuser", "-u", "git", "--", "git", "--git-dir=/srv/git/ci/cc-ci.git"];
    let known = stage.scenario.git.exec(&[&git[..], &["cat-file", "-e", &id]].concat())?;
    ensure!(!known.status.success(), "the forge has the commit of {name}");
    let branches = stage.scenario.git.read(&[&git[..], &["for-each-ref", "refs/heads"]].concat())?;
    let pushed = |name: &str| branches.lines().any(|line| line.ends_with(&format!("\trefs/heads/{name}")));
    ensure!(pushed("main") && !pushed(&name), "on the forge: {branches}");
    let journal = stage.drivers.run(&["journal", "show"])?;
    journal.expect(0, &[&name, "and not pushed: it may hold secrets: held-back-notes:2"])?;
    let note = stage.vm.read(&["cat", "/var/lib/ccorch/HANDOFF.md"])?;
    ensure!(note.contains(&format!("cc-ci: {name} at ")), "{name} is not in the handoff note: {note}");
    ensure!(!stage.drivers.all_words()?.contains(token), "the token is told");
    Ok(name)
}

/// git in the builder's clone, as its user; words without blanks.
fn in_clone(host: &Instance, words: &str) -> Result<String> {
    let clone = format!("{WORKSPACE}/cc-ci");
    let git = ["runuser", "-u", "loops", "--", "git", "-C", &clone];
    let words: Vec<&str> = words.split(' ').collect();
    host.read(&[&git[..], &words].concat())
}
