//! sops, run to decrypt one value at a time (<https://getsops.io/docs/>). The age identity is named by a path in the
//! environment; the clear text comes over a pipe and is in no argument and no file.

use std::path::Path;
use std::time::Duration;

use crate::command::{Command, CommandError};

/// The value at a top-level key of a sops file, as bytes.
pub fn decrypt(file: &Path, key: &str, identity: &Path) -> Result<Vec<u8>, CommandError> {
    let command = Command::new("sops").args(["--decrypt", "--extract"]).arg(path_of(key)).arg(file);
    Ok(command.env("SOPS_AGE_KEY_FILE", identity).deadline(Duration::from_secs(30)).private().run()?.stdout)
}

/// sops names values by a Python-like path.
fn path_of(key: &str) -> String {
    format!("[\"{}\"]", key.replace('\\', r"\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_cannot_leave_its_quotes() {
        assert_eq!(path_of("testenv"), r#"["testenv"]"#);
        assert_eq!(path_of(r#"a"]["b"#), r#"["a\"][\"b"]"#);
    }
}
