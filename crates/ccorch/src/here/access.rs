//! Whether any of the rig's users can write a file, by what the file system says of it.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{StatVfsMountFlags, statvfs};

use super::Here;
use super::runtime::{Account, account};

/// Why nobody of the rig can write the file; `None` when somebody can, or when it is not there.
pub fn closed(here: &Here, path: &Path) -> Option<String> {
    let metadata = fs::metadata(path).ok().filter(fs::Metadata::is_file)?;
    if statvfs(path).is_ok_and(|fs| fs.f_flag.contains(StatVfsMountFlags::RDONLY)) {
        return Some("its file system is read-only".into());
    }
    let users =
        here.rig.loops.keys().map(|name| here.user_of(name)).chain([here.rig.workspace.user.as_str()]);
    let accounts: Vec<Account> = users.filter_map(account).collect();
    let (uid, gid, mode) = (metadata.uid(), metadata.gid(), metadata.mode());
    let may = |one: &Account| may_write(uid, gid, mode, one.uid, one.gid);
    (!accounts.is_empty() && !accounts.iter().any(may))
        .then(|| format!("none of the rig's users may write it (owner {uid}, mode {:o})", mode & 0o7777))
}

/// Source: path_resolution(7), "Permissions". Of a user's groups the first counts here.
fn may_write(owner: u32, group: u32, mode: u32, uid: u32, gid: u32) -> bool {
    match () {
        () if uid == 0 => true,
        () if uid == owner => mode & 0o200 != 0,
        () if gid == group => mode & 0o020 != 0,
        () => mode & 0o002 != 0,
    }
}

#[cfg(test)]
mod tests {
    use super::may_write;

    #[test]
    fn the_first_class_that_fits_decides() {
        assert!(may_write(5, 6, 0o200, 5, 6));
        assert!(!may_write(5, 6, 0o022, 5, 6), "the owner is no other");
        assert!(may_write(5, 6, 0o020, 7, 6));
        assert!(!may_write(5, 6, 0o644, 7, 8));
        assert!(may_write(5, 6, 0o646, 7, 8));
        assert!(may_write(5, 6, 0, 0, 0), "root");
    }
}
