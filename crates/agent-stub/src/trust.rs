//! The first-run dialog: whether it comes, what it shows, and what its answer leaves behind.

use std::fs;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::input::Key;

/// What the dialog's state says (`~/.claude.json`). No file, no dialog.
pub(crate) fn is_needed(state: Option<&Value>, cwd: &str) -> bool {
    state.is_some_and(|state| {
        state["hasCompletedOnboarding"] != true || state["projects"][cwd]["hasTrustDialogAccepted"] != true
    })
}

/// Reads the state; None when there is no file.
pub(crate) fn read(file: &Path) -> Result<Option<Value>> {
    match fs::read(file) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map(Some)
            .with_context(|| format!("{} is not JSON", file.display())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", file.display())),
    }
}

/// Notes the yes, and replaces the file as a whole with the mode it had.
pub(crate) fn accept(file: &Path, mut state: Value, cwd: &str) -> Result<()> {
    state["hasCompletedOnboarding"] = json!(true);
    state["projects"][cwd]["hasTrustDialogAccepted"] = json!(true);
    let mode = fs::metadata(file).map_or(0o600, |meta| meta.permissions().mode() & 0o777);
    let new = file.with_extension(format!("json.{}", std::process::id()));
    let mut options = fs::OpenOptions::new();
    options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(mode)
        .open(&new)
        .and_then(|mut handle| {
            handle.write_all(state.to_string().as_bytes()).and_then(|()| handle.sync_all())
        })
        .and_then(|()| fs::rename(&new, file))
        .with_context(|| format!("cannot write {}", file.display()))
}

/// The dialog while it is open.
#[derive(Default)]
pub(crate) struct Dialog {
    no_is_chosen: bool,
}

impl Dialog {
    /// Takes a key; the answer when there is one. All other keys are swallowed.
    pub fn key(&mut self, key: &Key) -> Option<bool> {
        match key {
            Key::Up => self.no_is_chosen = false,
            Key::Down => self.no_is_chosen = true,
            Key::Char('1') => return Some(true),
            Key::Char('2') | Key::Escape | Key::Interrupt => return Some(false),
            Key::Enter => return Some(!self.no_is_chosen),
            _ => {}
        }
        None
    }

    pub fn rows(&self, cwd: &str) -> Vec<String> {
        let mark = |chosen| if chosen { "❯" } else { " " };
        vec![
            String::new(),
            " Do you trust the files in this folder?".to_owned(),
            String::new(),
            format!(" {cwd}"),
            String::new(),
            format!(" {} 1. Yes, proceed", mark(!self.no_is_chosen)),
            format!(" {} 2. No, exit", mark(self.no_is_chosen)),
            String::new(),
            " Enter to confirm · Esc to exit".to_owned(),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_marks_are_needed_and_no_file_is_no_dialog() {
        let trusted =
            json!({"hasCompletedOnboarding": true, "projects": {"/w": {"hasTrustDialogAccepted": true}}});
        assert!(!is_needed(None, "/w"));
        assert!(!is_needed(Some(&trusted), "/w"));
        assert!(is_needed(Some(&trusted), "/other"));
        assert!(is_needed(Some(&json!({"projects": {"/w": {"hasTrustDialogAccepted": true}}})), "/w"));
        assert!(is_needed(Some(&json!({})), "/w"));
    }

    #[test]
    fn a_yes_keeps_what_was_there() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join(".claude.json");
        fs::write(&file, r#"{"a":1,"projects":{"/o":{"x":2}}}"#).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        accept(&file, read(&file).unwrap().unwrap(), "/w").unwrap();
        let state = read(&file).unwrap().unwrap();
        assert!(!is_needed(Some(&state), "/w"));
        assert_eq!((&state["a"], &state["projects"]["/o"]["x"]), (&json!(1), &json!(2)));
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn the_dialog_holds_the_keyboard() {
        let mut dialog = Dialog::default();
        assert_eq!(dialog.key(&Key::Char('x')), None);
        assert_eq!(dialog.key(&Key::Paste("1\n".into())), None);
        assert_eq!(dialog.key(&Key::Enter), Some(true));
        assert_eq!(dialog.key(&Key::Down), None);
        assert_eq!(dialog.key(&Key::Enter), Some(false));
        assert_eq!(Dialog::default().key(&Key::Char('2')), Some(false));
    }
}
