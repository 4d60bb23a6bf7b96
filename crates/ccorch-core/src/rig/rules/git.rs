//! Rules for git remotes and refs.

use super::net::no_password;
use super::{Verdict, expected, has_control};

/// A git remote: any URL or path that `git clone` takes, never an option, and with no password in it.
pub(in crate::rig) fn git_remote(text: &str) -> Verdict {
    no_password(text)?;
    if text.is_empty()
        || text.starts_with('-')
        || text.contains("::") && !text.contains('[')
        || has_control(text)
        || text.contains(' ')
    {
        return expected("a git remote like `ssh://git@host/path.git`", text);
    }
    Ok(())
}

/// What two spellings of one remote have in common: host and path, without scheme, login, port and `.git`.
pub(in crate::rig) fn repository_identity(url: &str) -> String {
    let (authority, path) = match url.split_once("://") {
        Some((_, rest)) => rest.split_once('/').unwrap_or((rest, "")),
        // `host:path`, but `/a:b` and `./a:b` are paths.
        None => match url.split_once(':') {
            Some((authority, path)) if !authority.contains('/') => (authority, path),
            _ => ("", url),
        },
    };
    let host = authority.rsplit('@').next().unwrap_or(authority);
    let host = host
        .rsplit_once(':')
        .filter(|(_, port)| port.bytes().all(|b| b.is_ascii_digit()))
        .map_or(host, |(h, _)| h);
    let path = path.trim_matches('/');
    format!("{}/{}", host.to_lowercase(), path.strip_suffix(".git").unwrap_or(path))
}

/// A branch or ref name, by the rules of git-check-ref-format(1).
pub(in crate::rig) fn ref_name(text: &str) -> Verdict {
    let parts_ok =
        text.split('/').all(|part| !part.is_empty() && !part.starts_with('.') && !part.ends_with(".lock"));
    let chars_ok = !text.chars().any(|c| c.is_control() || " ~^:?*[\\".contains(c));
    let ok = parts_ok
        && chars_ok
        && !text.contains("..")
        && !text.contains("@{")
        && !text.ends_with('.')
        && !text.starts_with('-')
        && text != "@";
    if ok { Ok(()) } else { expected("a git ref name", text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_repository_has_many_spellings() {
        let one = repository_identity("ssh://git@git.example.org:2222/ci/lease.git");
        for same in [
            "git@git.example.org:ci/lease",
            "https://git.example.org/ci/lease/",
            "git@GIT.EXAMPLE.ORG:/ci/lease.git",
        ] {
            assert_eq!(repository_identity(same), one, "{same}");
        }
        for other in ["git@git.example.org:ci/lease2", "git@example.org:ci/lease", "/ci/lease.git"] {
            assert_ne!(repository_identity(other), one, "{other}");
        }
        assert_eq!(repository_identity("file:///srv/a.git"), repository_identity("/srv/a"));
    }

    #[test]
    fn a_remote_is_never_an_option_or_a_command() {
        for good in
            ["ssh://git@h/x.git", "git@h:x.git", "/srv/x.git", "../x", "https://h/x", "ssh://git@[::1]/x"]
        {
            assert_eq!(git_remote(good), Ok(()), "{good}");
        }
        for bad in ["", "-x", "--upload-pack=x", "ext::sh -c x", "ext::x", "https://a:b@h/x", "a b", "a\nb"] {
            assert!(git_remote(bad).is_err(), "{bad}");
        }
    }

    /// The examples of git-check-ref-format(1).
    #[test]
    fn refs_follow_git() {
        for good in ["main", "a/b", "refs/heads/ccorch-lease/x", "v1.0", "é"] {
            assert_eq!(ref_name(good), Ok(()), "{good}");
        }
        for bad in [
            "", "-a", "a..b", "a b", "a~1", "a^", "a:b", "a?", "a*", "a[", "a\\b", "/a", "a/", "a//b", ".a",
            "a/.b", "a.lock", "a.", "a@{b", "@",
        ] {
            assert!(ref_name(bad).is_err(), "{bad}");
        }
    }
}
