//! The first commits of the work's repositories, pushed over ssh as a person would.

use std::path::Path;

use anyhow::{Context as _, Result};
use indoc::indoc;

use super::{PHASES, Place};
use crate::run::Run;

/// The script that a legacy rig is started with.
const LAUNCH: &str = include_str!("../../legacy/launch.sh");

/// Pushes `main` to both repositories, with the operator's key and pinned host key.
pub fn push(place: &Place) -> Result<String> {
    let work = tempfile::tempdir().context("no temporary folder")?;
    for (name, files) in [("orchestrator", orchestrator()), ("cc-ci", cc_ci())] {
        let folder = work.path().join(name);
        write(&folder, &files)?;
        commit(&folder, &place.repository(name), place)?;
    }
    Ok("first commits pushed".to_owned())
}

/// Path, text, mode.
type File = (String, String, u32);

fn orchestrator() -> Vec<File> {
    let mut files = vec![
        file("README.md", "# cc-ci orchestrator\n\nPlans and prompts of the loops; see cc-ci-plan/.\n"),
        file("AGENTS.md", "# Routine\n\nRead the plan of the current phase, then the inbox, then work.\n"),
        file("REBOOTS.md", "# Reboots\n"),
        file(".gitignore", "/cc-ci/\n/cc-ci-adv/\n/clones/\n/.cc-ci-logs/\n/.testenv\n"),
        file(
            "cc-ci-plan/prompts/builder.md",
            "You are the Builder. Do what the plan says next and push it.\n",
        ),
        file("cc-ci-plan/prompts/adversary.md", "You are the Adversary. Break what the Builder pushed.\n"),
        ("cc-ci-plan/launch.sh".to_owned(), LAUNCH.to_owned(), 0o755),
    ];
    for phase in PHASES {
        files.push(file(
            &format!("cc-ci-plan/plan-phase{phase}.md"),
            &format!("# Phase {phase}\n\nOne thing at a time.\n"),
        ));
    }
    files
}

fn cc_ci() -> Vec<File> {
    vec![
        file("README.md", "# cc-ci\n\nWhat the loops build.\n"),
        file("machine-docs/INBOX.md", "# Inbox\n"),
        file(
            "machine-docs/STATUS.md",
            indoc! {"
            # Status

            In work.
        "},
        ),
    ]
}

fn file(path: &str, text: &str) -> File {
    (path.to_owned(), text.to_owned(), 0o644)
}

fn write(folder: &Path, files: &[File]) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    for (path, text, mode) in files {
        let path = folder.join(path);
        let parent = path.parent().context("a file has a folder")?;
        std::fs::create_dir_all(parent)?;
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(*mode))?;
    }
    Ok(())
}

fn commit(folder: &Path, url: &str, place: &Place) -> Result<()> {
    let ssh = format!("ssh -F {} -o BatchMode=yes", place.ssh_config.display());
    // Nothing of the machine's own git settings takes part.
    let git = |words: &[&str]| {
        let run = Run::new(&["git", "-C"])
            .arg(folder)
            .arg("-c")
            .arg("user.name=Operator")
            .arg("-c")
            .arg("user.email=operator@example.org");
        words
            .iter()
            .fold(run, |run, word| run.arg(word))
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_SYSTEM", "/dev/null")
            .env("GIT_SSH_COMMAND", &ssh)
            .run()
    };
    git(&["init", "--quiet", "--initial-branch=main"])?;
    git(&["add", "--all"])?;
    git(&["commit", "--quiet", "--message", "Begin"])?;
    git(&["push", "--quiet", url, "main"])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_phase_has_its_plan_and_the_clones_are_ignored() {
        let files = orchestrator();
        let text = |path: &str| {
            files.iter().find(|(name, _, _)| name == path).map(|(_, text, _)| text.as_str()).unwrap()
        };
        for phase in PHASES {
            assert!(text(&format!("cc-ci-plan/plan-phase{phase}.md")).contains(phase));
        }
        assert!(text(".gitignore").contains("/cc-ci-adv/\n"));
        assert!(LAUNCH.contains(&format!("phases=({})", PHASES.join(" "))), "the script knows other phases");
    }
}
