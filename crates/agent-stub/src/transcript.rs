//! The transcript: one JSON object a line, appended; the session's whole memory.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result};
use serde_json::{Value, json};

/// A session's transcript. The file comes into being with the first record, as the
/// real agent's does. In each record `type` is `user`, `assistant` or `work`.
pub(crate) struct Transcript {
    path: PathBuf,
    session: String,
    file: Mutex<Option<File>>,
}

impl Transcript {
    pub fn new(path: PathBuf, session: &str) -> Transcript {
        Transcript { path, session: session.to_owned(), file: Mutex::new(None) }
    }

    /// The text so far; empty when there is none.
    pub fn read(&self) -> Result<String> {
        match fs::read(&self.path) {
            Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(String::new()),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", self.path.display())),
        }
    }

    pub fn user(&self, text: &str) -> Result<()> {
        self.append(&json!({"type": "user", "message": {"role": "user", "content": text}}), false)
    }

    pub fn assistant(&self, text: &str) -> Result<()> {
        let content = json!([{"type": "text", "text": text}]);
        self.append(
            &json!({"type": "assistant", "message": {"role": "assistant", "content": content}}),
            false,
        )
    }

    /// The turn that an error of the API ended, marked as the real agent marks it.
    pub fn api_error(&self, text: &str, error: &str) -> Result<()> {
        let message = json!({"role": "assistant", "content": [{"type": "text", "text": text}]});
        let record =
            json!({"type": "assistant", "isApiErrorMessage": true, "error": error, "message": message});
        self.append(&record, false)
    }

    /// Appends a record that has to outlive a crash of the machine.
    pub fn append_synced(&self, record: &Value) -> Result<()> {
        self.append(record, true)
    }

    fn append(&self, record: &Value, sync: bool) -> Result<()> {
        let mut record = record.clone();
        record["sessionId"] = json!(self.session);
        record["timestamp"] = json!(format!("{:.3}", jiff::Timestamp::now()));
        let mut line = record.to_string();
        line.push('\n');
        // A writer that panicked cannot have left half a line: a line is one write.
        let mut slot = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let written = match &mut *slot {
            Some(file) => write(file, &line, sync),
            None => self.open().and_then(|file| write(slot.insert(file), &line, sync)),
        };
        written.with_context(|| format!("cannot append to {}", self.path.display()))
    }

    fn open(&self) -> std::io::Result<File> {
        let folder = self.path.parent().unwrap_or(Path::new("/"));
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let mut file =
            OpenOptions::new().create(true).append(true).read(true).mode(0o600).open(&self.path)?;
        // After a crash the last line may be torn: the next record starts on its own line.
        if file.seek(SeekFrom::End(0))? > 0 {
            file.seek(SeekFrom::End(-1))?;
            let mut last = [0];
            file.read_exact(&mut last)?;
            if last != *b"\n" {
                file.write_all(b"\n")?;
            }
        }
        File::open(folder)?.sync_all()?;
        Ok(file)
    }
}

fn write(file: &mut File, line: &str, sync: bool) -> std::io::Result<()> {
    file.write_all(line.as_bytes())?;
    if sync { file.sync_data() } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_torn_line_is_not_glued_to_the_next_record() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("projects/x/s.jsonl");
        Transcript::new(path.clone(), "s").user("one").unwrap();
        let whole = fs::read_to_string(&path).unwrap();
        fs::write(&path, format!("{whole}{{\"type\":\"wo")).unwrap();
        Transcript::new(path.clone(), "s").user("two\nlines").unwrap();
        let text = fs::read_to_string(&path).unwrap();
        let good: Vec<Value> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        assert_eq!(text.lines().count(), 3);
        assert_eq!(good[0]["message"]["content"], "one");
        assert_eq!(good[1]["message"]["content"], "two\nlines");
        assert_eq!(good[1]["sessionId"], "s");
    }
}
