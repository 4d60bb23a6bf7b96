//! Source and target of a staging, with what every part of it needs to know of them.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};
use ccorch_core::rig::{Repository, Rig};
use ccorch_core::stage::{self, join};
use ccorch_io::git::Clone;
use ccorch_io::host::Host;
use ccorch_io::repositories::Repositories;
use ccorch_io::rsync::{Stats, Transfer};

use super::cache::{Cache, both};
use super::{Facts, Mode};
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
    pub fn of(rig: &'a Rig, source: &'a Host, target: &'a Host, cache: &Cache) -> Result<Self> {
        let user = rig.workspace.user.as_str();
        let root = rig.workspace.root.trim_end_matches('/');
        let bad = |e: stage::Outside| Problem::new(Kind::Rig, e.to_string());
        let ((source_home, _), (target_home, owner)) =
            both(|| cache.who(source, user, root), || cache.who(target, user, root))?;
        if owner != user {
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
            source_home,
            target_home,
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

    /// The facts of every repository on one of the hosts.
    pub fn facts(&self, host: &Host) -> Result<Vec<Facts>> {
        facts(self.rig, host)
    }

    /// The facts of every repository, source and target.
    pub fn all_facts(&self) -> Result<(Vec<Facts>, Vec<Facts>)> {
        both(|| self.facts(self.source), || self.facts(self.target))
    }

    /// The same while nobody works on either, as far as it was just seen; what was not is asked for.
    pub fn still_facts(&self, cache: &Cache) -> Result<(Vec<Facts>, Vec<Facts>)> {
        let seen = |host: &Host| cache.take_facts(host).map_or_else(|| self.facts(host), Ok);
        both(|| seen(self.source), || seen(self.target))
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

/// The facts of every repository of the rig on a host, outer ones first.
pub fn facts(rig: &Rig, host: &Host) -> Result<Vec<Facts>> {
    let root = rig.workspace.root.trim_end_matches('/');
    let bad = |e: stage::Outside| Problem::new(Kind::Rig, e.to_string());
    let repositories = stage::repositories(rig).map_err(bad)?;
    let dirs: Vec<String> = repositories.iter().map(|(path, _)| join(root, path)).collect();
    let answer = Repositories { host, user: &rig.workspace.user }.facts(&dirs)?;
    ccorch_core::safepoint::parse(&answer, &dirs).with_context(|| format!("on {}", host.name))
}
