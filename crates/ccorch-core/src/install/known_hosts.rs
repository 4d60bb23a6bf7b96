//! Host keys that a host's git and proxy need: which names, and their lines for a known_hosts file (sshd(8)).

use std::collections::BTreeSet;

use crate::rig::{Proxy, Rig};

/// One key of one host, as a line of known_hosts without hashing.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyLine(pub String);

/// The host of a git URL that is reached by ssh, as known_hosts names it: `host`, or `[host]:port`.
///
/// Both forms of git are known, `ssh://user@host:port/path` and `user@host:path` (git-clone(1), "GIT URLS").
pub fn host_of_url(url: &str) -> Option<String> {
    let rest = ["ssh://", "git+ssh://", "ssh+git://"].iter().find_map(|scheme| url.strip_prefix(scheme));
    let Some(rest) = rest else {
        // The short form has no scheme and a colon before the first slash.
        let (before, _) = url.split_once(':').filter(|(before, _)| !before.contains('/'))?;
        return (!url.contains("://")).then(|| host_only(before).to_owned());
    };
    let authority = rest.split('/').next()?;
    let authority = authority.rsplit('@').next()?;
    match authority.rsplit_once(':') {
        Some((host, "22")) => Some(host.into()),
        Some((host, port)) if !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) => {
            Some(format!("[{}]:{port}", host.trim_matches(['[', ']'])))
        }
        _ => Some(authority.trim_matches(['[', ']']).into()),
    }
}

fn host_only(authority: &str) -> &str {
    authority.rsplit('@').next().unwrap_or(authority)
}

/// The names whose host keys a host needs: the lease's remote, the repositories' and the ssh proxy's, where the rig
/// does not give the key itself.
pub fn ssh_hosts(rig: &Rig) -> BTreeSet<String> {
    let lease = rig.lease.iter().map(|lease| lease.remote.as_str());
    let urls = rig.workspace.repositories.values().map(|r| r.url.as_str()).chain(lease);
    let proxy = proxy_host(&rig.proxy).filter(|_| rig.proxy.host_key.is_none());
    urls.filter_map(host_of_url).chain(proxy).collect()
}

/// The destination of an ssh proxy, as known_hosts names it.
pub fn proxy_host(proxy: &Proxy) -> Option<String> {
    let host = host_only(proxy.ssh.as_deref()?);
    Some(match proxy.port {
        None | Some(22) => host.to_owned(),
        Some(port) => format!("[{host}]:{port}"),
    })
}

/// A found line with its host field (which may be hashed, or a list) replaced by the name that was asked for.
pub fn key_line(name: &str, found: &str) -> Option<KeyLine> {
    let mut words = found.split_whitespace().peekable();
    let marker = words.next_if(|w| w.starts_with('@')).map(|m| format!("{m} ")).unwrap_or_default();
    let _hosts = words.next().filter(|w| !w.starts_with('#'))?;
    let (kind, key) = (words.next()?, words.next()?);
    Some(KeyLine(format!("{marker}{name} {kind} {key}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_of_each_kind_of_url() {
        for (url, host) in [
            ("ssh://git@git.example.org/ci/x.git", Some("git.example.org")),
            ("ssh://git@git.example.org:2222/ci/x.git", Some("[git.example.org]:2222")),
            ("ssh://git.example.org:22/x", Some("git.example.org")),
            ("ssh://git@[::1]:2222/x", Some("[::1]:2222")),
            ("git@git.example.org:ci/x.git", Some("git.example.org")),
            ("https://git.example.org/ci/x.git", None),
            ("/srv/git/x.git", None),
            ("./a:b", None),
            ("file:///srv/git/x.git", None),
        ] {
            assert_eq!(host_of_url(url).as_deref(), host, "{url}");
        }
    }

    #[test]
    fn a_hashed_line_gets_its_name_back() {
        let line = |found| key_line("git.example.org", found).map(|k| k.0);
        assert_eq!(
            line("|1|abc=|def= ssh-ed25519 AAAA comment").unwrap(),
            "git.example.org ssh-ed25519 AAAA"
        );
        assert_eq!(line("@revoked a,b ssh-rsa BBBB").unwrap(), "@revoked git.example.org ssh-rsa BBBB");
        assert_eq!(line("# Host git.example.org found: line 3"), None);
    }
}
