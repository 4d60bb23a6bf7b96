//! A host's own age identity: what its secrets are encrypted for. The private half never leaves the host.

use std::fs;
use std::path::Path;

use age::secrecy::ExposeSecret;
use age::x25519::Identity;
use anyhow::{Context, Result, anyhow};

use crate::durable;

/// The recipient (`age1...`, public) of the identity at `path`; the identity is made when there is none, for its owner
/// alone. The file is what `age-keygen` writes, so age and sops read it.
pub fn recipient(path: &Path) -> Result<String> {
    if let Some(identity) = read(path)? {
        return Ok(identity.to_public().to_string());
    }
    let identity = Identity::generate();
    let public = identity.to_public().to_string();
    let text = format!("# public key: {public}\n{}\n", identity.to_string().expose_secret());
    durable::create_dir(path.parent().unwrap_or(Path::new("/")), 0o700)?;
    durable::replace(path, text.as_bytes(), 0o600)?;
    Ok(public)
}

/// The identity in a file; none when the file does not exist.
fn read(path: &Path) -> Result<Option<Identity>> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e).with_context(|| format!("read the age identity {}", path.display())),
    };
    let key = text.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('#'));
    // The parser's own message could quote the key.
    let identity = key.and_then(|key| key.parse().ok());
    identity.map(Some).ok_or_else(|| anyhow!("{} does not hold an age identity", path.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn it_is_made_once_and_for_its_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secrets/age.key");
        let first = recipient(&path).unwrap();
        assert!(first.starts_with("age1"));
        assert_eq!(recipient(&path).unwrap(), first);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_broken_one_is_named_and_neither_quoted_nor_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("age.key");
        fs::write(&path, "AGE-SECRET-KEY-1BROKEN\n").unwrap();
        let error = format!("{:#}", recipient(&path).unwrap_err());
        assert!(error.contains("does not hold an age identity") && !error.contains("BROKEN"), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "AGE-SECRET-KEY-1BROKEN\n");
    }
}
