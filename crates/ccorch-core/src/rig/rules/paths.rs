//! Rules for paths and file modes.

use super::{Verdict, expected, has_control};
use crate::rig::finding::shown;

/// The parts of a path, or none when the same place could be written shorter, or outside (`..`) is meant.
fn normal(path: &str) -> bool {
    path.split('/').all(|part| !matches!(part, "" | "." | ".."))
}

/// An absolute path in its shortest form, and not the root.
pub(in crate::rig) fn absolute_path(path: &str) -> Verdict {
    let ok = path.strip_prefix('/').is_some_and(normal) && !has_control(path);
    if ok {
        return Ok(());
    }
    expected("an absolute path without `.`, `..`, a doubled or a trailing `/`", path)
}

/// A path below some folder in its shortest form.
pub(in crate::rig) fn path_below(path: &str) -> Verdict {
    if normal(path) && !path.starts_with('~') && !has_control(path) {
        return Ok(());
    }
    expected("a relative path without `.`, `..`, `~`, a doubled or a trailing `/`", path)
}

/// The same, or `.` for the folder itself.
pub(in crate::rig) fn path_in(path: &str) -> Verdict {
    if path == "." { Ok(()) } else { path_below(path).map_err(|e| format!("{e} (`.` is the root itself)")) }
}

/// A place on a host: absolute, or relative to the workspace's root (`.` is the root itself).
pub(in crate::rig) fn place(path: &str) -> Verdict {
    if path == "." || absolute_path(path).is_ok() || path_below(path).is_ok() {
        return Ok(());
    }
    expected("a path, absolute or relative to the workspace's root, in its shortest form", path)
}

/// A path of the operator's machine: absolute, `~/...`, or relative to the rig file (where `..` is normal).
pub(in crate::rig) fn operator_path(path: &str) -> Verdict {
    let ok = !path.is_empty() && !has_control(path) && (!path.starts_with('~') || path.starts_with("~/"));
    if ok { Ok(()) } else { expected("a path: absolute, `~/...` or relative to the rig file", path) }
}

/// Whether one path (in normal form) is another or lies below it.
pub(in crate::rig) fn is_within(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// A file mode in octal that gives others nothing: what has it is a secret.
pub(in crate::rig) fn secret_mode(mode: &str) -> Verdict {
    let octal = (3..=4).contains(&mode.len()) && mode.bytes().all(|b| (b'0'..=b'7').contains(&b));
    let bits = u32::from_str_radix(mode, 8).unwrap_or(u32::MAX);
    if !octal || bits > 0o777 {
        return expected("a mode in octal like `0600`", mode);
    }
    if bits & 0o007 != 0 {
        return Err(format!(
            "mode {} lets everybody on the host at a secret; expected `0600` or `0640`",
            shown(mode)
        ));
    }
    if bits & 0o400 == 0 {
        return Err(format!(
            "mode {} hides the file from its own owner; expected `0600` or `0400`",
            shown(mode)
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_has_one_spelling() {
        for good in ["/srv", "/srv/cc-ci", "/srv/with space", "/.x"] {
            assert_eq!(absolute_path(good), Ok(()), "{good}");
        }
        for bad in ["", "/", "srv", "//srv", "/srv/", "/srv/.", "/a/../b", "/a\nb"] {
            assert!(absolute_path(bad).is_err(), "{bad}");
        }
        for good in ["a", "a/b", ".a", "..a"] {
            assert_eq!(path_below(good), Ok(()), "{good}");
        }
        for bad in ["", ".", "..", "../a", "a/../b", "/a", "a/", "a//b", "./a", "~/a"] {
            assert!(path_below(bad).is_err(), "{bad}");
        }
        assert_eq!(path_in("."), Ok(()));
        for good in [".", "a/b", "/srv/a"] {
            assert_eq!(place(good), Ok(()), "{good}");
        }
        for bad in ["", "/", "..", "a/../b", "/srv/", "~/a", "a\n"] {
            assert!(place(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn within_is_by_whole_names() {
        assert!(is_within("/srv/a", "/srv/a") && is_within("/srv/a/b", "/srv/a"));
        assert!(!is_within("/srv/ab", "/srv/a") && !is_within("/srv", "/srv/a"));
    }

    #[test]
    fn a_secret_is_not_for_everybody() {
        for good in ["0600", "600", "0400", "0640"] {
            assert_eq!(secret_mode(good), Ok(()), "{good}");
        }
        for bad in ["", "6", "0644", "0604", "4600", "0800", "rw", "-600", "+600", "00600", "0000", "0060"] {
            assert!(secret_mode(bad).is_err(), "{bad}");
        }
    }
}
