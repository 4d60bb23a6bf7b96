//! Which of a clone's own settings go with it: a person's name and habits do, what holds a secret or runs a program does not.

/// What of a clone's configuration is carried.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Carry {
    /// Key and value, in the order of the source; a key may come more than once.
    pub settings: Vec<(String, String)>,
    /// Keys that are left because their value holds, or may hold, a credential. Never the values.
    pub withheld: Vec<String>,
}

/// Keys that belong to the clone itself, not to its owner: git and ccorch set them.
const OF_THE_CLONE: [&str; 9] = [
    "core.repositoryformatversion",
    "core.filemode",
    "core.bare",
    "core.logallrefupdates",
    "core.worktree",
    "core.hookspath",
    "core.fsmonitor",
    "remote.origin.url",
    "gc.auto",
];
/// Whole families that belong to the clone (`extensions`, `submodule`) or come with a program's installation (`filter`).
const FAMILIES: [&str; 3] = ["extensions.", "submodule.", "filter."];

/// Decides over `git config --local --list -z`: key, newline, value, NUL.
pub fn config_to_carry(list: &[u8]) -> Carry {
    let mut carry = Carry::default();
    for entry in list.split(|b| *b == 0).filter(|e| !e.is_empty()) {
        let entry = String::from_utf8_lossy(entry);
        // A key without a value means true.
        let (key, value) = entry.split_once('\n').unwrap_or((&entry, "true"));
        let lower = key.to_ascii_lowercase();
        if OF_THE_CLONE.contains(&lower.as_str()) || FAMILIES.iter().any(|f| lower.starts_with(f)) {
            continue;
        }
        let secret = ["credential.", "http."].iter().any(|f| lower.starts_with(f))
            || ["token", "password", "secret"].iter().any(|word| lower.contains(word));
        if secret || has_credentials(key) || has_credentials(value) {
            // `url.https://user:token@host/.insteadOf` has its secret in the key.
            let shown = if has_credentials(key) { format!("{}.[redacted]", family(key)) } else { key.into() };
            carry.withheld.push(shown);
        } else {
            carry.settings.push((key.into(), value.into()));
        }
    }
    carry
}

fn family(key: &str) -> &str {
    key.split('.').next().unwrap_or(key)
}

/// Whether a URL in the text carries a password or token. A bare user name (`ssh://git@host`) is none; over http it may
/// be a token.
pub fn has_credentials(text: &str) -> bool {
    text.match_indices("://").any(|(at, _)| {
        let authority = text[at + 3..].split(['/', '?', '#', ' ']).next().unwrap_or_default();
        let http = text[..at].ends_with("http") || text[..at].ends_with("https");
        authority.rsplit_once('@').is_some_and(|(user, _)| http || user.contains(':'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_goes_along_and_a_token_does_not() {
        let list = b"user.name\nA B\nC\0user.email\na@b\0core.bare\nfalse\0remote.origin.url\nx\0\
            remote.backup.url\nhttps://me:hunter2@host/x\0url.https://tok@host/.insteadof\nssh://host/\0\
            http.https://host/.extraheader\nAuthorization: hunter2\0credential.helper\nstore\0\
            branch.main.remote\norigin\0pull.rebase\0filter.lfs.smudge\ngit-lfs smudge\0core.hooksPath\nhooks\0";
        let carry = config_to_carry(list);
        let settings: Vec<(&str, &str)> = carry.settings.iter().map(|(k, v)| (&**k, &**v)).collect();
        assert_eq!(
            settings,
            [
                ("user.name", "A B\nC"),
                ("user.email", "a@b"),
                ("branch.main.remote", "origin"),
                ("pull.rebase", "true")
            ]
        );
        assert_eq!(
            carry.withheld,
            ["remote.backup.url", "url.[redacted]", "http.https://host/.extraheader", "credential.helper"]
        );
    }

    #[test]
    fn a_user_name_for_ssh_is_no_credential() {
        for fine in ["ssh://git@host/x", "git@host:x", "https://host/x@y", "/srv/x", "refs/heads/*:refs/x/*"]
        {
            assert!(!has_credentials(fine), "{fine}");
        }
        for bad in ["ssh://a:b@host/x", "https://tok@host/x", "url.http://t@h/.insteadOf"] {
            assert!(has_credentials(bad), "{bad}");
        }
    }
}
