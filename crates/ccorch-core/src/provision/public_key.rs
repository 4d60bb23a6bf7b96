//! An OpenSSH public key, checked before it goes into user-data or known_hosts.

use std::fmt;
use std::str::FromStr;

/// One public key: type and base64 text. The comment is dropped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey(String);

/// Why a text is not a public key. Never holds the text: it might be the private one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadPublicKey {
    /// A private key was named by mistake.
    #[error("holds a private key, not the public one")]
    Private,
    /// More than one key, or none.
    #[error("holds {0} lines where one public key is expected")]
    Lines(usize),
    /// Neither type nor base64.
    #[error("holds no OpenSSH public key (`ssh-ed25519 AAAA...`)")]
    Shape,
}

/// OpenSSH's key types (sshd(8), "AUTHORIZED_KEYS FILE FORMAT").
const TYPES: [&str; 7] = [
    "ssh-ed25519",
    "ssh-rsa",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
];

impl FromStr for PublicKey {
    type Err = BadPublicKey;

    /// Reads the content of a `.pub` file: one key; empty lines and comments aside.
    fn from_str(text: &str) -> Result<Self, BadPublicKey> {
        if text.contains("PRIVATE KEY") {
            return Err(BadPublicKey::Private);
        }
        let lines: Vec<&str> =
            text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
        let [line] = lines[..] else { return Err(BadPublicKey::Lines(lines.len())) };
        let mut words = line.split_ascii_whitespace();
        let (kind, body) = words.next().zip(words.next()).ok_or(BadPublicKey::Shape)?;
        let base64 = |b: u8| b.is_ascii_alphanumeric() || b"+/=".contains(&b);
        // Every body starts with the length of the type's name, so with three zero bytes: `AAAA`.
        let ok = TYPES.contains(&kind)
            && body.len() >= 64
            && body.len().is_multiple_of(4)
            && body.starts_with("AAAA")
            && body.bytes().all(base64);
        if ok { Ok(Self(format!("{kind} {body}"))) } else { Err(BadPublicKey::Shape) }
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ0t1vV0d7m3X5C0s8m8yJ6q0mO0p5m5iQ0m5x0x0x0x";

    #[test]
    fn a_key_file_gives_type_and_body() {
        let text = format!("# mine\n\n{KEY} me@laptop with words\n");
        assert_eq!(text.parse::<PublicKey>().unwrap().to_string(), KEY);
    }

    #[test]
    fn what_is_not_one_public_key_is_refused_by_name() {
        let two = format!("{KEY}\n{KEY}\n");
        let cases = [
            ("-----BEGIN OPENSSH PRIVATE KEY-----\nabc\n", BadPublicKey::Private),
            ("", BadPublicKey::Lines(0)),
            (two.as_str(), BadPublicKey::Lines(2)),
            ("ssh-ed25519", BadPublicKey::Shape),
            ("ssh-ed25519 AAAA", BadPublicKey::Shape),
            (&format!("command=\"x\" {KEY}"), BadPublicKey::Shape),
            (&format!("{}$(x)", &KEY[..KEY.len() - 4]), BadPublicKey::Shape),
        ];
        for (text, expected) in cases {
            assert_eq!(text.parse::<PublicKey>(), Err(expected), "{text}");
        }
    }
}
