//! Where a bed keeps its things, and what it calls them.
//!
//! Every name carries the checkout's id, so the beds of two checkouts on one
//! machine never meet; only the image cache is shared.

use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use sha2::{Digest as _, Sha256};

/// Longest name of a unix socket address (`sun_path`, less its final zero).
const SOCKET_PATH_MAX: usize = 107;

/// The longest path of a socket inside the Incus folder.
const LONGEST_INSIDE: &str = "/guestapi/sock";

/// Taken where the user's cache folder is closed to others, as root's mostly is.
const SYSTEM_CACHE: &str = "/var/cache/ccorch-testbed";

/// The paths and names of one checkout's bed.
#[derive(Debug, Clone)]
pub struct Layout {
    /// Eight hex digits that stand for the checkout.
    pub id: String,
    /// The checkout whose bed it is.
    pub checkout: PathBuf,
    /// Shared by all checkouts: the image cache and its lock.
    pub shared: PathBuf,
    /// This checkout's own folder.
    pub home: PathBuf,
}

impl Layout {
    /// The layout for a checkout, under `shared`.
    ///
    /// # Errors
    /// When the path is so long that sockets in it could not be bound.
    pub fn new(checkout: &Path, shared: &Path) -> Result<Self> {
        Self::named(hash(&[checkout]), checkout, shared)
    }

    fn named(id: String, checkout: &Path, shared: &Path) -> Result<Self> {
        let home = shared.join(&id);
        let layout = Self { id, checkout: checkout.to_owned(), shared: shared.to_owned(), home };
        let longest = layout.incus_dir().as_os_str().len() + LONGEST_INSIDE.len();
        if longest > SOCKET_PATH_MAX {
            bail!(
                "{} is too long a path for the sockets of a test bed\nhint: choose a shorter folder with `--dir` or XDG_CACHE_HOME",
                layout.incus_dir().display()
            );
        }
        Ok(layout)
    }

    /// The layout of the checkout that this program was built from.
    pub fn here(folder: Option<&Path>) -> Result<Self> {
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
        let checkout = manifest.ancestors().nth(2).context("the crate is not in a checkout")?;
        let checkout =
            checkout.canonicalize().with_context(|| format!("no checkout at {}", checkout.display()))?;
        if let Some(folder) = folder {
            // A second bed of the same checkout, beside the usual one.
            let folder = std::path::absolute(folder)?;
            return Self::named(hash(&[&checkout, &folder]), &checkout, &folder);
        }
        let folder = default_folder(std::env::var_os("XDG_CACHE_HOME"), std::env::var_os("HOME"))?;
        let shared = if open_to_all(&folder) { folder } else { PathBuf::from(SYSTEM_CACHE) };
        Self::new(&checkout, &shared)
    }

    /// The daemon's `INCUS_DIR`.
    pub fn incus_dir(&self) -> PathBuf {
        self.home.join("incus")
    }

    /// The client program's own configuration folder (`INCUS_CONF`).
    pub fn client_dir(&self) -> PathBuf {
        self.home.join("client")
    }

    /// What is known of the running bed, as JSON.
    pub fn state_file(&self) -> PathBuf {
        self.home.join("bed.json")
    }

    /// Everything the daemon prints.
    pub fn log_file(&self) -> PathBuf {
        self.home.join("incusd.log")
    }

    /// Held while a bed goes up or down.
    pub fn lock_file(&self) -> PathBuf {
        self.shared.join(format!("{}.lock", self.id))
    }

    /// The client certificate that the daemon trusts.
    pub fn certificate(&self) -> PathBuf {
        self.home.join("client.crt")
    }

    /// The certificate's private key.
    pub fn key(&self) -> PathBuf {
        self.home.join("client.key")
    }

    /// Built images, by the hash of their recipe.
    pub fn images(&self) -> PathBuf {
        self.shared.join("images")
    }

    /// Files of the rehearsal's scenario.
    pub fn scenario(&self) -> PathBuf {
        self.home.join("scenario")
    }

    /// The Incus project: control groups of containers carry its name, and no
    /// other bed's.
    pub fn project(&self) -> String {
        format!("ccorch-{}", self.id)
    }

    /// The bridge; at most 15 characters, as the kernel wants it.
    pub fn bridge(&self) -> String {
        format!("ccb{}", self.id)
    }
}

/// `$XDG_CACHE_HOME/ccorch-testbed`, by default in `~/.cache`.
fn default_folder(cache: Option<std::ffi::OsString>, home: Option<std::ffi::OsString>) -> Result<PathBuf> {
    // The standard says that a path that is not absolute is to be ignored.
    let cache = cache.map(PathBuf::from).filter(|path| path.is_absolute());
    let cache = match (cache, home) {
        (Some(cache), _) => cache,
        (None, Some(home)) => Path::new(&home).join(".cache"),
        (None, None) => {
            bail!("neither XDG_CACHE_HOME nor HOME is set\nhint: choose a folder with `--dir`")
        }
    };
    Ok(cache.join("ccorch-testbed"))
}

/// Whether everybody may pass through every folder on the way that is there.
///
/// The root of an unprivileged container is nobody outside: LXC refuses to
/// start one below a folder that it cannot enter, such as a `/root` of mode 0700.
fn open_to_all(folder: &Path) -> bool {
    let enters = |folder: &Path| match folder.metadata() {
        Ok(metadata) => metadata.permissions().mode() & 0o001 != 0,
        Err(_) => true,
    };
    folder.ancestors().all(enters)
}

fn hash(paths: &[&Path]) -> String {
    let mut digest = Sha256::new();
    for (index, path) in paths.iter().enumerate() {
        if index > 0 {
            digest.update([0]);
        }
        digest.update(path.as_os_str().as_bytes());
    }
    digest.finalize()[..4].iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checkouts_have_ids_of_their_own() {
        let one = Layout::new(Path::new("/src/one"), Path::new("/cache")).unwrap();
        let two = Layout::new(Path::new("/src/two"), Path::new("/cache")).unwrap();
        assert_eq!(one.id, hash(&[Path::new("/src/one")]), "stable");
        assert_ne!(one.id, two.id);
        assert_ne!(one.id, hash(&[Path::new("/src/one"), Path::new("/elsewhere")]), "a second bed");
        assert_ne!(one.bridge(), two.bridge());
        assert!(one.bridge().len() <= 15);
        assert!(one.incus_dir().starts_with(format!("/cache/{}", one.id)));
        assert_eq!(one.images(), two.images());
    }

    #[test]
    fn a_path_too_long_for_sockets_is_refused() {
        let deep = format!("/{}", "d".repeat(80));
        let error = Layout::new(Path::new("/src/one"), Path::new(&deep)).unwrap_err();
        assert!(error.to_string().contains("hint: choose a shorter folder"), "{error}");
    }

    #[test]
    fn a_closed_folder_on_the_way_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("a/b");
        std::fs::create_dir_all(&inner).unwrap();
        let mode =
            |mode| std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(mode)).unwrap();
        mode(0o711);
        assert!(open_to_all(&inner.join("not-there-yet")));
        mode(0o700);
        assert!(!open_to_all(&inner));
    }

    #[test]
    fn the_folder_follows_the_environment() {
        let folder = |cache: Option<&str>, home: Option<&str>| {
            default_folder(cache.map(Into::into), home.map(Into::into))
        };
        assert_eq!(folder(Some("/c"), Some("/h")).unwrap(), Path::new("/c/ccorch-testbed"));
        assert_eq!(folder(Some("rel"), Some("/h")).unwrap(), Path::new("/h/.cache/ccorch-testbed"));
        assert!(folder(None, None).is_err());
    }
}
