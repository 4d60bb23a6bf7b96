//! What cloud-init reads on the first boot (NoCloud,
//! <https://cloudinit.readthedocs.io/en/latest/reference/datasources/nocloud.html>).

use std::fmt;

use super::Made;
use crate::names::HostName;
use crate::provision::{PublicKey, user_data};

/// The volume label that cloud-init looks for.
pub const LABEL: &str = "cidata";

/// A machine's ssh host key: the private half goes into the seed alone.
pub struct HostKey {
    /// In OpenSSH's PEM-like form.
    pub private: String,
    /// The public half.
    pub public: PublicKey,
}

impl fmt::Debug for HostKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostKey").field("public", &self.public).finish_non_exhaustive()
    }
}

/// The files of a seed. The user-data holds the private host key, so it is not to be printed.
pub struct Seed {
    /// Which instance this is and what it is called.
    pub meta_data: String,
    /// Logins and host key.
    pub user_data: String,
}

/// The seed of a machine: the operator's key logs in as root, and sshd has exactly the host key given.
pub fn seed(host: &HostName, made: &Made, key: &PublicKey, host_key: &HostKey) -> Seed {
    let private: String = host_key.private.trim().lines().map(|line| format!("    {line}\n")).collect();
    let user_data = format!(
        "{}ssh_deletekeys: true\nssh_keys:\n  ed25519_private: |\n{private}  ed25519_public: \"{}\"\n",
        user_data(host, key),
        host_key.public
    );
    let meta_data = format!("instance-id: {}\nlocal-hostname: {host}\n", made.instance_id);
    Seed { meta_data, user_data }
}
