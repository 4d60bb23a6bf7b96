//! Source and target of a staging, with what every part of it needs to know of them.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};
use ccorch_core::rig::{Repository, Rig};
use ccorch_core::stage::{self, join};
use ccorch_io::git::Clone;
use ccorch_io::host::Host;
use ccorch_io::rsync::{Stats, Transfer};

use super::Mode;
use crate::error::{Kind, Problem};

/// Source and target.
pub struct Pair<'a> {
    pub rig: &'a Rig,
    pub source: &'a Host,
    pub target: &'a Host,
    pub user: &'a str,
    pub root: &'a str,
    /// Homes of the workspace's user.
    pub source_home: String,
    pub target_home: String,
    /// Outer ones first.
    pub repositories: Vec<(String, &'a Repository)>,
    /// What the rig itself writes, relative to the workspace.
    pub own_files: BTreeSet<String>,
}

/// One repository on both hosts.
pub struct Clones<'a> {
    /// Relative to the workspace.
    pub path: &'a str,
    pub source: Clone<'a>,
    pub target: Clone<'a>,
}

impl<'a> Pair<'a> {
    /// Looks at both; a target that ccorch was not installed on is refused.
    pub fn of(rig: &'a Rig, source: &'a Host, target: &'a Host) -> Result<Self> {
        let user = rig.workspace.user.as_str();
        let root = rig.workspace.root.trim_end_matches('/');
        let bad = |e: stage::Outside| Problem::new(Kind::Rig, e.to_string());
        let stat = target.command(&["stat", "-c", "%U", "--", root]);
        let owner = stat.output()?;
        if !matches!(owner.status.code(), Some(0 | 1)) {
            return Err(stat.failed(&owner).into());
        }
        if owner.text() != user {
            let text = format!("{}: {root} is not there, or not {user}'s", target.name);
            let hint = format!("run `ccorch host install {}` first", target.name);
            return Err(Problem::new(Kind::Unfit, text).hint(hint).into());
        }
        Ok(Self {
            rig,
            source,
            target,
            user,
            root,
            source_home: home(source, user)?,
            target_home: home(target, user)?,
            repositories: stage::repositories(rig).map_err(bad)?,
            own_files: stage::own_files(rig).map_err(bad)?,
        })
    }

    /// A repository on both hosts.
    pub fn clones<'b>(&'b self, path: &'b str) -> Clones<'b> {
        let at = |host| Clone { host, user: self.user, dir: join(self.root, path) };
        Clones { path, source: at(self.source), target: at(self.target) }
    }

    /// The rig's own files inside one repository (and in no nested one), relative to it.
    pub fn own_files_of(&self, repository: &str) -> BTreeSet<String> {
        let holds = |path: &str, file: &str| path == "." || file.starts_with(&format!("{path}/"));
        let innermost = |file: &str| {
            self.repositories.iter().map(|(path, _)| path.as_str()).rfind(|path| holds(path, file))
        };
        let mine = self.own_files.iter().filter(|file| innermost(file) == Some(repository));
        let strip = |file: &String| match repository {
            "." => file.clone(),
            path => file[path.len() + 1..].to_owned(),
        };
        mine.map(strip).collect()
    }

    /// Whether this is one of the rig's repositories.
    pub fn is_repository(&self, path: &[u8]) -> bool {
        self.repositories.iter().any(|(known, _)| known.as_bytes() == path)
    }

    /// Has rsync carry a folder, or a list of names below it.
    pub fn transfer(&self, from: &str, to: &str, list: Option<&[Vec<u8>]>, mode: Mode) -> Result<Stats> {
        let dry_run = mode == Mode::DryRun;
        Transfer { source: self.source, target: self.target, user: self.user, from, to, list, dry_run }.run()
    }
}

fn home(host: &Host, user: &str) -> Result<String> {
    let command = host.command(&["getent", "passwd", user]);
    let entry = command.output()?;
    // 2: no such user (getent(1)).
    if !matches!(entry.status.code(), Some(0 | 2)) {
        return Err(command.failed(&entry).into());
    }
    let home = entry.text().split(':').nth(5).map(ToOwned::to_owned);
    home.with_context(|| format!("{}: there is no user `{user}` (the rig's `workspace.user`)", host.name))
}
