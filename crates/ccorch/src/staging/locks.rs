//! Locks that a git left that was ended at work. Whoever rescues wants to go on, and a lock holds no work (the files are
//! rescued), but it would stop git on the way back: on a host that was stopped it is set aside, once nobody can be meant.

use anyhow::Result;
use ccorch_core::safepoint::{Facts, Unsaved, What};
use ccorch_io::git::Clone;
use ccorch_io::host::Host;

use crate::error::{Kind, Problem};

/// Prints process id and command line of every process that has one of the files open, or is a git in one of the folders
/// (between its last write and the renaming it has the lock and no file). Arguments: folders, `--`, files.
const HELD: &str = r#"
for process in /proc/[0-9]*; do
    { read -r name <"$process/comm"; } 2>/dev/null || continue
    case $name in git|git-*) ;; *) continue ;; esac
    at=$(readlink "$process/cwd") || continue
    for dir; do
        if [ "$dir" = -- ]; then break; fi
        case $at/ in "$dir"/*) echo "${process#/proc/}" ;; esac
    done
done >"${t:=$(mktemp)}"
while [ "$1" != -- ]; do shift; done
shift
for file; do
    find -L /proc/[0-9]*/fd -maxdepth 1 -samefile "$file" 2>/dev/null | cut -d / -f 3 >>"$t"
done
# find itself had the file open.
sort -un "$t" | while read -r pid; do
    if ! [ -e "/proc/$pid" ]; then continue; fi
    echo "$pid $(tr '\0' ' ' 2>/dev/null <"/proc/$pid/cmdline")"
done
rm -f "$t"
"#;

/// Moves files of the git folder to a folder in it, where they have other names than locks. Arguments: the folder, then their names.
const ASIDE: &str = r#"set -eu; to=$1; shift
for name; do
    if ! [ -e "$name" ]; then continue; fi
    case $name in */*) mkdir -p -- "$to/${name%/*}" ;; *) mkdir -p -- "$to" ;; esac
    mv -f -T -- "$name" "$to/$name.was"
done"#;

/// Sets the locks of a repository aside; what was.
pub fn set_aside(facts: &Facts, host: &Host, user: &str, stamp: &str) -> Result<Vec<Unsaved>> {
    if facts.locks.is_empty() {
        return Ok(Vec::new());
    }
    let clone = Clone { host, user, dir: facts.dir.clone() };
    let git = clone.git(&["rev-parse", "--path-format=absolute", "--git-common-dir"]).read()?;
    let files: Vec<String> = facts.locks.iter().map(|lock| format!("{git}/{lock}")).collect();
    let dirs = facts.trees.iter().map(|tree| tree.dir.as_str()).chain([facts.dir.as_str(), &git]);
    let argv: Vec<&str> = ["sh", "-c", HELD, "held"]
        .into_iter()
        .chain(dirs)
        .chain(["--"])
        .chain(files.iter().map(String::as_str))
        .collect();
    let held = host.command(&argv).shown_as("see who holds git's locks").read()?;
    if !held.is_empty() {
        let list: String = held.lines().map(|line| format!("\n  - {line}")).collect();
        let text =
            format!("{}: git is at work in {}, by process id and command:{list}", host.name, facts.dir);
        return Err(Problem::new(Kind::Conflict, text)
            .hint("wait for it or end it there, then run this again")
            .into());
    }
    let to = format!("ccorch-locks/{stamp}");
    let argv: Vec<&str> = ["sh", "-c", ASIDE, "aside", to.as_str()]
        .into_iter()
        .chain(facts.locks.iter().map(String::as_str))
        .collect();
    host.command_as(user, &git, &argv).shown_as("set git's locks aside").run()?;
    let one = |lock: &String| Unsaved { place: facts.dir.clone(), what: What::Lock(lock.clone()) };
    Ok(facts.locks.iter().map(one).collect())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::{BufRead as _, BufReader};
    use std::process::{Child, Command, Stdio};

    use ccorch_io::host::Reach;

    use super::*;

    /// A process in the folder that has said that it is there.
    fn at_work(dir: &str, argv: &[&str], says: &str) -> Child {
        let mut command = Command::new(argv[0]);
        command.args(&argv[1..]).current_dir(dir).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        std::io::Write::write_all(child.stdin.as_mut().unwrap(), b"HEAD\n").unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        assert!(line.contains(says), "{line}");
        child
    }

    #[test]
    fn a_lock_that_somebody_holds_is_refused_and_one_that_nobody_holds_is_set_aside() {
        let scratch = tempfile::tempdir().unwrap();
        let dir = scratch.path().join("clone").display().to_string();
        ccorch_io::command::Command::new("git").args(["init", "-q", &dir]).run().unwrap();
        let locks = ["index.lock", "refs/heads/a b.lock"];
        locks.iter().for_each(|lock| fs::write(format!("{dir}/.git/{lock}"), "x").unwrap());
        let host = Host::connect("here", Reach::Local).unwrap();
        let user = ccorch_io::command::Command::new("id").arg("-un").read().unwrap();
        let facts = Facts { dir: dir.clone(), locks: locks.map(Into::into).into(), ..Facts::default() };
        let holders = [
            (vec!["sh", "-c", "exec 3<'.git/refs/heads/a b.lock'; echo open; read line; read line"], "open"),
            // The lock is closed while a hook runs, for one.
            (vec!["git", "cat-file", "--batch-check"], "HEAD missing"),
        ];
        for (argv, says) in holders {
            let mut holder = at_work(&dir, &argv, says);
            let refused = set_aside(&facts, &host, &user, "pi/T").unwrap_err().to_string();
            holder.kill().unwrap();
            holder.wait().unwrap();
            assert!(refused.contains(&format!("\n  - {} {}", holder.id(), argv[0])), "{refused}");
            assert!(fs::exists(format!("{dir}/.git/index.lock")).unwrap());
        }
        let aside = set_aside(&facts, &host, &user, "pi/T").unwrap();
        assert_eq!(aside.len(), 2);
        for lock in locks {
            assert!(!fs::exists(format!("{dir}/.git/{lock}")).unwrap());
            assert_eq!(fs::read_to_string(format!("{dir}/.git/ccorch-locks/pi/T/{lock}.was")).unwrap(), "x");
        }
        let again = set_aside(&Facts { locks: Vec::new(), ..facts }, &host, &user, "pi/T").unwrap();
        assert!(again.is_empty());
    }
}
