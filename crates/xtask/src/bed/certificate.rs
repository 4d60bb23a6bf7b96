//! The client certificate for mutual TLS with the bed's daemon.

use std::path::Path;

use anyhow::{Context as _, Result};
use rcgen::{CertificateParams, DnType, KeyPair};

use super::layout::Layout;
use super::state::replace;

/// Makes certificate and key unless both are there; returns the certificate in PEM.
pub fn ensure(layout: &Layout) -> Result<(String, bool)> {
    let (certificate, key) = (layout.certificate(), layout.key());
    if certificate.exists() && key.exists() {
        let pem = std::fs::read_to_string(&certificate)
            .with_context(|| format!("cannot read {}", certificate.display()))?;
        return Ok((pem, false));
    }
    Ok((make(&certificate, &key)?, true))
}

fn make(certificate: &Path, key: &Path) -> Result<String> {
    let pair = KeyPair::generate().context("cannot make a key")?;
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name.push(DnType::CommonName, "ccorch test bed");
    let pem = params.self_signed(&pair).context("cannot sign the certificate")?.pem();
    // The key first: a certificate alone would pass for a finished pair nowhere.
    replace(key, pair.serialize_pem().as_bytes(), 0o600)?;
    replace(certificate, pem.as_bytes(), 0o644)?;
    Ok(pem)
}

/// The base64 text between the lines of a PEM file, as the API wants it.
pub fn body(pem: &str) -> String {
    pem.lines().filter(|line| !line.starts_with("-----")).map(str::trim).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn the_pair_is_made_once_and_the_key_is_private() {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::new(Path::new("/src/one"), folder.path()).unwrap();
        std::fs::create_dir_all(&layout.home).unwrap();
        let (first, made) = ensure(&layout).unwrap();
        assert!(made);
        let (second, made) = ensure(&layout).unwrap();
        assert!(!made);
        assert_eq!(first, second);
        let mode = layout.key().metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(!body(&first).contains(['-', '\n']) && body(&first).len() > 200);
    }
}
