//! The audit of a rescue: every line that `git log --patch` says was added, with its file and number, and every message.

use std::fmt;

use serde::Serialize;

use super::audit::{Kind, audit_line};

/// A place that looks like a secret. Never the secret.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Secret {
    /// The file, as git shows it, or whose message it is.
    pub file: String,
    /// Its line, from 1.
    pub line: u64,
    /// What it looks like.
    pub kind: Kind,
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.kind)
    }
}

/// Audits the output of `git log --patch --text --unified=0 --format='commit %H%n%w(0,1,1)%B'`. The counts of each hunk are
/// followed, so that an added line that looks like a header is none.
pub fn audit(patch: &[u8]) -> Vec<Secret> {
    let (mut all, mut file) = (Vec::new(), String::new());
    let (mut left, mut number) = ((0_u64, 0_u64), 0);
    let mut look = |file: &str, line: u64, text: &[u8]| {
        if let Some(kind) = audit_line(&String::from_utf8_lossy(text)) {
            all.push(Secret { file: file.to_owned(), line, kind });
        }
    };
    for line in patch.split(|b| *b == b'\n') {
        match line.first() {
            Some(b'-') if left.0 > 0 => left.0 -= 1,
            Some(b'+') if left.1 > 0 => {
                left.1 -= 1;
                look(&file, number, &line[1..]);
                number += 1;
            }
            // Of a message: without context a patch has no such line.
            Some(b' ') => {
                look(&file, number, &line[1..]);
                number += 1;
            }
            _ => {
                if let Some(commit) = line.strip_prefix(b"commit ") {
                    let short = String::from_utf8_lossy(commit).chars().take(12).collect::<String>();
                    (file, number) = (format!("the message of {short}"), 1);
                } else if let Some(name) = line.strip_prefix(b"+++ ") {
                    let name = String::from_utf8_lossy(name);
                    file = name.trim_end_matches('\t').trim_start_matches("b/").to_owned();
                } else if let Some((removed, (start, added))) = hunk(line) {
                    (left, number) = ((removed, added), start);
                }
            }
        }
    }
    all.sort();
    all.dedup();
    all
}

/// `@@ -a,b +c,d @@`: lines removed; first line and count of those added.
fn hunk(line: &[u8]) -> Option<(u64, (u64, u64))> {
    let text = String::from_utf8_lossy(line.strip_prefix(b"@@ -")?).into_owned();
    let mut parts = text.split(' ');
    let range = |part: &str| -> Option<(u64, u64)> {
        let (start, count) = part.split_once(',').unwrap_or((part, "1"));
        Some((start.parse().ok()?, count.parse().ok()?))
    };
    let removed = range(parts.next()?)?.1;
    Some((removed, range(parts.next()?.strip_prefix('+')?)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_names_file_and_line_and_not_the_secret() {
        let patch =
            b"commit 0123456789abcdef0123\n why\n \n with api_key=q8Zr1LmN0pXs\n\ndiff --git a/a b/a\n--- /dev/null\n+++ b/a\n@@ -0,0 +1,4 @@\n+one\n++++ b/fake\n\
            +TOKEN=ghp_0123456789abcdefghijABCDEFGHIJ012345\n+four\ndiff --git a/b b/b\n--- a/b\n+++ b/b\n\
            @@ -7 +9 @@ fn\n-AGE-SECRET-KEY-1OLD\n+AGE-SECRET-KEY-1NEW\n\\ No newline at end of file\n";
        let found = audit(patch);
        let shown: Vec<String> = found.iter().map(ToString::to_string).collect();
        let message = "the message of 0123456789ab:3: a random value, likely a secret";
        assert_eq!(shown, ["a:3: a token", "b:9: an age secret key", message]);
        let json = serde_json::to_string(&found).unwrap();
        assert!(!json.contains("ghp_") && !json.contains("q8Zr"), "{json}");
    }

    #[test]
    fn any_bytes_are_answered() {
        for patch in
            [&b""[..], b"@@ -x +y @@\n+z", b"+\xff\n@@ -1,99999999999999999999 +1 @@\n+password=a1b2c3d4"]
        {
            let _ = audit(patch);
        }
    }
}
