//! Which files of the operator's machine a rig names, and what each has to be.

use super::Rig;

/// What a file is for; it decides who may read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// A private key: its owner alone may read it.
    PrivateKey,
    /// A public ssh key, one line; a private key here would be sent to the new host.
    PublicKey,
    /// Anything else.
    Data,
}

/// A file that the rig names by a path relative to itself (or absolute, or `~/...`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedFile<'r> {
    /// The key that names it, one element a level.
    pub keys: Vec<&'r str>,
    /// The path as written.
    pub path: &'r str,
    /// What it is for.
    pub kind: FileKind,
}

/// All files of the operator's machine that the rig names.
pub fn files(rig: &Rig) -> Vec<NamedFile<'_>> {
    let mut files = Vec::new();
    if let Some(secrets) = &rig.secrets {
        files.push(NamedFile { keys: vec!["secrets", "file"], path: &secrets.file, kind: FileKind::Data });
    }
    if let Some(key) = rig.lease.as_ref().and_then(|lease| lease.key.as_ref()) {
        files.push(NamedFile { keys: vec!["lease", "key"], path: key, kind: FileKind::PrivateKey });
    }
    for (name, host) in &rig.hosts {
        let mut add = |keys: &[&'static str], path, kind| {
            let keys = [&["hosts", name.as_str()], keys].concat();
            files.push(NamedFile { keys, path, kind });
        };
        if let Some(identity) = &host.identity {
            add(&["identity"], identity, FileKind::PrivateKey);
        }
        if let Some(incus) = &host.incus {
            add(&["incus", "certificate"], &incus.certificate, FileKind::Data);
            add(&["incus", "key"], &incus.key, FileKind::PrivateKey);
            add(&["incus", "authorized_key"], &incus.authorized_key, FileKind::PublicKey);
        }
        if let Some(qemu) = &host.qemu {
            add(&["qemu", "image"], &qemu.image, FileKind::Data);
            add(&["qemu", "authorized_key"], &qemu.authorized_key, FileKind::PublicKey);
        }
    }
    files
}
