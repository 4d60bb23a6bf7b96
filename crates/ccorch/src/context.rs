//! What every verb has at hand: the rig file, where things lie, and how progress is told.

use std::path::{Path, PathBuf};

use anyhow::Result;
use ccorch_core::rig::{Rig, parse};
use ccorch_io::lock::{self, Lock};
use ccorch_io::paths::{HostPaths, OperatorPaths};
use ccorch_io::{clock, durable};

use crate::error::{Kind, Problem};
use crate::findings;

/// What every verb has at hand.
#[derive(Debug)]
pub struct Context {
    rig_option: Option<PathBuf>,
    /// Paths on this machine, where it is a host.
    pub host_paths: HostPaths,
}

/// A rig with the file it came from; paths in the rig are relative to that file.
#[derive(Debug)]
pub struct LoadedRig {
    /// The rig.
    pub rig: Rig,
    /// Its file.
    pub file: PathBuf,
}

impl LoadedRig {
    /// Resolves a path of the rig file: absolute, `~/...`, or relative to the file.
    pub fn resolve(&self, path: &str) -> PathBuf {
        if let Some(rest) = path.strip_prefix("~/") {
            return PathBuf::from(std::env::var_os("HOME").unwrap_or_else(|| "/root".into())).join(rest);
        }
        self.file.parent().unwrap_or(Path::new(".")).join(path)
    }

    /// The operator's state folder for this rig, created 0700.
    pub fn operator(&self) -> Result<OperatorPaths> {
        let paths = OperatorPaths::of(&self.rig.rig);
        durable::create_dir(paths.dir(), 0o700)?;
        Ok(paths)
    }

    /// Takes the lock of verbs that change hosts, or says who holds it.
    pub fn lock(&self, verb: &str) -> Result<Lock> {
        let who = format!("ccorch {verb}, pid {}, since {}", std::process::id(), clock::now());
        lock::acquire(&self.operator()?.lock(), &who)
    }
}

impl Context {
    /// A context for this process.
    pub fn new(rig_option: Option<PathBuf>) -> Self {
        Self { rig_option, host_paths: HostPaths::of_this_machine() }
    }

    /// The rig file's path: `--rig`, else `./ccorch.yaml`, else the one this host was given.
    pub fn rig_file(&self) -> Result<PathBuf> {
        if let Some(file) = &self.rig_option {
            return Ok(file.clone());
        }
        let candidates = [PathBuf::from("ccorch.yaml"), self.host_paths.rig()];
        candidates.iter().find(|file| file.exists()).cloned().ok_or_else(|| {
            let looked = candidates.map(|c| c.display().to_string()).join(" and ");
            Problem::new(Kind::Rig, format!("no rig file: looked for {looked}"))
                .hint("name one with `--rig FILE`, or start from examples/cc-ci.yaml")
                .into()
        })
    }

    /// Reads and checks the rig file.
    pub fn rig(&self) -> Result<LoadedRig> {
        self.rig_at(&self.rig_file()?)
    }

    /// Reads and checks the rig file at a path.
    pub fn rig_at(&self, file: &Path) -> Result<LoadedRig> {
        match parse(&findings::read(file)?) {
            Ok(rig) => Ok(LoadedRig { rig, file: file.into() }),
            Err(found) => Err(findings::problem(file, &found).into()),
        }
    }
}
