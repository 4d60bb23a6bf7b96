//! The client certificate and its key, as files.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use super::tls;

/// A certificate chain and its key, fit for mutual TLS.
#[derive(Debug)]
pub struct Credential {
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) key: PrivateKeyDer<'static>,
}

/// A file of the credential that cannot be used. Never holds its content.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} {}: {problem}", path.display())]
pub struct CredentialError {
    /// `client certificate` or `client key`.
    pub what: &'static str,
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub problem: CredentialProblem,
}

/// What is wrong with a credential's file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CredentialProblem {
    /// It is not there.
    #[error("no such file")]
    Missing,
    /// It is there but cannot be read.
    #[error("{0}")]
    Unreadable(String),
    /// Others may read it, too.
    #[error("its mode is {0:04o}, so others than its owner can use it")]
    Open(u32),
    /// It holds no certificate.
    #[error("holds no certificate in PEM form")]
    NoCertificate,
    /// It holds no key, or one with a passphrase.
    #[error("holds no private key in PEM form without a passphrase")]
    NoKey,
    /// The two do not belong together, or the key is of a kind that TLS does not know.
    #[error("does not go with the certificate: {0}")]
    Mismatch(String),
}

impl Credential {
    /// Reads both files. A key that others than its owner can read is refused.
    pub fn load(certificate: &Path, key: &Path) -> Result<Self, CredentialError> {
        let pem = read("client certificate", certificate, |_| Ok(()))?;
        let chain = CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>().unwrap_or_default();
        if chain.is_empty() {
            return Err(problem("client certificate", certificate, CredentialProblem::NoCertificate));
        }
        let bad_key = |what| problem("client key", key, what);
        let pem = read("client key", key, private)?;
        let private = PrivateKeyDer::from_pem_slice(&pem).map_err(|_| bad_key(CredentialProblem::NoKey))?;
        CertifiedKey::from_der(chain.clone(), private.clone_key(), &tls::provider())
            .map_err(|e| bad_key(CredentialProblem::Mismatch(e.to_string())))?;
        Ok(Self { chain, key: private })
    }
}

fn problem(what: &'static str, path: &Path, problem: CredentialProblem) -> CredentialError {
    CredentialError { what, path: path.into(), problem }
}

fn read(
    what: &'static str,
    path: &Path,
    check: impl Fn(&fs::Metadata) -> Result<(), CredentialProblem>,
) -> Result<Vec<u8>, CredentialError> {
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => problem(what, path, CredentialProblem::Missing),
        _ => problem(what, path, CredentialProblem::Unreadable(error.to_string())),
    };
    let mut file = File::open(path).map_err(failed)?;
    // Of the open file, so that what is checked is what is read.
    check(&file.metadata().map_err(failed)?).map_err(|found| problem(what, path, found))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

fn private(metadata: &fs::Metadata) -> Result<(), CredentialProblem> {
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & 0o077 == 0 { Ok(()) } else { Err(CredentialProblem::Open(mode)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Files {
        dir: tempfile::TempDir,
    }

    impl Files {
        fn new() -> Self {
            let files = Self { dir: tempfile::tempdir().unwrap() };
            let made = rcgen::generate_simple_self_signed(["x".into()]).unwrap();
            files.write("crt", &made.cert.pem(), 0o644);
            files.write("key", &made.signing_key.serialize_pem(), 0o600);
            files
        }

        fn write(&self, name: &str, text: &str, mode: u32) {
            let path = self.dir.path().join(name);
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        }

        /// What loading says, with the folder's name taken out.
        fn refused(&self) -> String {
            let path = |name: &str| self.dir.path().join(name);
            let error = Credential::load(&path("crt"), &path("key")).unwrap_err().to_string();
            error.replace(&self.dir.path().display().to_string(), "DIR")
        }
    }

    #[test]
    fn a_pair_is_loaded() {
        let files = Files::new();
        let loaded = Credential::load(&files.dir.path().join("crt"), &files.dir.path().join("key")).unwrap();
        assert_eq!(loaded.chain.len(), 1);
    }

    #[test]
    fn each_bad_file_is_named_with_its_fault() {
        let files = Files::new();
        files.write("key", "x", 0o640);
        assert_eq!(
            files.refused(),
            "client key DIR/key: its mode is 0640, so others than its owner can use it"
        );
        files.write("key", "no pem", 0o600);
        assert_eq!(
            files.refused(),
            "client key DIR/key: holds no private key in PEM form without a passphrase"
        );
        let other = rcgen::generate_simple_self_signed(["y".into()]).unwrap();
        files.write("key", &other.signing_key.serialize_pem(), 0o600);
        let text = files.refused();
        assert!(text.starts_with("client key DIR/key: does not go with the certificate: "), "{text}");
        fs::remove_file(files.dir.path().join("key")).unwrap();
        assert_eq!(files.refused(), "client key DIR/key: no such file");
        files.write("crt", "", 0o644);
        assert_eq!(files.refused(), "client certificate DIR/crt: holds no certificate in PEM form");
    }
}
