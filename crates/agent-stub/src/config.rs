//! The stub's own configuration, read anew before each unit of work.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::Deserialize;

/// What the test bed sets. Every key may be absent; an unknown key is an error.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Config {
    /// Pause between two units of work, in milliseconds. A clone that never pauses starves
    /// the others that push to the same branch.
    pub interval_ms: u64,
    /// Whether to do numbered work at all.
    pub work: bool,
    /// Name of the work; by default `--name`, else the last part of the working directory.
    pub label: Option<String>,
    /// Whether each unit is pushed.
    pub push: bool,
    /// Stay idle after the start until a message comes, as the real agent does.
    pub needs_prompt: bool,
    /// What an empty input line shows, faintly.
    pub hint: String,
    /// An Enter sooner than this after a paste stays in the draft, as seen on the real agent.
    pub paste_settle_ms: u64,
    /// What stands in the input line stays there: no key deletes or submits it.
    pub frozen: bool,
    /// A `!` in an empty line has the next one go to a shell, as the real agent's does.
    pub shell_mode: bool,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            interval_ms: 500,
            work: true,
            label: None,
            push: true,
            needs_prompt: false,
            hint: String::new(),
            paste_settle_ms: 0,
            frozen: false,
            shell_mode: false,
        }
    }
}

impl Config {
    /// Reads the file; the defaults when there is none.
    pub fn read(file: &Path) -> Result<Config> {
        let text = match fs::read_to_string(file) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Config::default()),
            Err(error) => {
                return Err(error).with_context(|| format!("cannot read {}", file.display()));
            }
        };
        serde_json::from_str(&text).with_context(|| format!("{} is not a stub configuration", file.display()))
    }

    pub fn interval(&self) -> Duration {
        Duration::from_millis(self.interval_ms)
    }

    /// The label as it goes into file names and mail addresses.
    pub fn label(&self, name: Option<&str>, cwd: &Path) -> String {
        let last = cwd.file_name().map(|part| part.to_string_lossy().into_owned());
        let label = self.label.as_deref().or(name).or(last.as_deref()).unwrap_or_default();
        let safe: String = label
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '-' })
            .collect();
        match safe.trim_start_matches(['.', '-']) {
            "" => "agent".to_owned(),
            label => label.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_label_comes_from_the_file_the_name_or_the_directory() {
        let cwd = Path::new("/srv/cc-ci-adv");
        let mut config = Config::default();
        assert_eq!(config.label(None, cwd), "cc-ci-adv");
        assert_eq!(config.label(Some("adversary"), cwd), "adversary");
        config.label = Some("../a b".into());
        assert_eq!(config.label(Some("adversary"), cwd), "a-b");
        assert_eq!(Config::default().label(None, Path::new("/")), "agent");
    }

    #[test]
    fn absent_keys_have_defaults_and_unknown_ones_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("stub.json");
        assert_eq!(Config::read(&file).unwrap(), Config::default());
        fs::write(&file, r#"{"interval_ms":20,"push":false}"#).unwrap();
        let config = Config::read(&file).unwrap();
        assert_eq!((config.interval_ms, config.push, config.work), (20, false, true));
        fs::write(&file, r#"{"intervall":20}"#).unwrap();
        assert!(format!("{:#}", Config::read(&file).unwrap_err()).contains("intervall"));
    }
}
