//! Where the agent's files are (transcripts keyed by path, login, first-run state).

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// `$CLAUDE_CONFIG_DIR`, else `~/.claude`.
pub(crate) fn config_dir() -> Result<PathBuf> {
    match set("CLAUDE_CONFIG_DIR") {
        Some(dir) => Ok(dir),
        None => Ok(home()?.join(".claude")),
    }
}

/// First-run state: `~/.claude.json`, or `.claude.json` in `$CLAUDE_CONFIG_DIR`.
pub(crate) fn first_run_state() -> Result<PathBuf> {
    let folder = set("CLAUDE_CONFIG_DIR").map_or_else(home, Ok)?;
    Ok(folder.join(".claude.json"))
}

/// The login file.
pub(crate) fn credentials() -> Result<PathBuf> {
    Ok(config_dir()?.join(".credentials.json"))
}

/// The stub's own configuration: `$AGENT_STUB_CONFIG`, else `stub.json` beside the login.
pub(crate) fn stub_config() -> Result<PathBuf> {
    match set("AGENT_STUB_CONFIG") {
        Some(file) => Ok(file),
        None => Ok(config_dir()?.join("stub.json")),
    }
}

/// The folder of a working directory's transcripts.
pub(crate) fn transcripts(config_dir: &Path, cwd: &Path) -> PathBuf {
    config_dir.join("projects").join(slug(cwd))
}

fn slug(cwd: &Path) -> String {
    cwd.to_string_lossy().replace('/', "-")
}

fn home() -> Result<PathBuf> {
    set("HOME").context("HOME is not set, so there is no place for the agent's files")
}

fn set(name: &str) -> Option<PathBuf> {
    env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transcript_folder_is_the_path_with_dashes() {
        assert_eq!(
            transcripts(Path::new("/home/u/.claude"), Path::new("/srv/cc-ci/cc-ci")),
            Path::new("/home/u/.claude/projects/-srv-cc-ci-cc-ci")
        );
    }
}
