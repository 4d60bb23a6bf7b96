//! Does a line of text hold a secret? Asked of everything that a rescue would push where others can read it.
//!
//! A false alarm costs little (the rescue goes to the target alone, over ssh), a miss publishes a secret: so it errs to
//! the side of the alarm.

use serde::Serialize;

use crate::stage::has_credentials;

/// Which kind of secret it looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// The header of a private key.
    PrivateKey,
    /// A secret key of age.
    AgeKey,
    /// A token by its issuer's well-known prefix.
    Token,
    /// A URL with a password or token.
    Url,
    /// A random-looking value given to a name that says it is secret, or to any name when it is long.
    Assignment,
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::PrivateKey => "a private key",
            Self::AgeKey => "an age secret key",
            Self::Token => "a token",
            Self::Url => "a URL with a credential",
            Self::Assignment => "a random value, likely a secret",
        })
    }
}

/// Prefixes of tokens and how many characters follow at least. Sources: the issuers' documentation of their formats
/// (GitHub, GitLab, Anthropic, OpenAI, Slack, AWS, Google, npm, Hugging Face, Docker, SendGrid, Tailscale, Stripe, PyPI).
const PREFIXES: [(&str, usize); 28] = [
    ("ghp_", 30),
    ("gho_", 30),
    ("ghu_", 30),
    ("ghs_", 30),
    ("ghr_", 30),
    ("github_pat_", 30),
    ("glpat-", 16),
    ("gldt-", 16),
    ("glrt-", 16),
    ("sk-ant-", 20),
    ("sk-proj-", 20),
    ("sk-", 32),
    ("sk_live_", 16),
    ("rk_live_", 16),
    ("xoxb-", 16),
    ("xoxp-", 16),
    ("xoxa-", 16),
    ("xapp-", 16),
    ("AKIA", 16),
    ("ASIA", 16),
    ("AIza", 30),
    ("ya29.", 20),
    ("npm_", 30),
    ("hf_", 30),
    ("dckr_pat_", 16),
    ("SG.", 40),
    ("tskey-", 16),
    ("pypi-", 30),
];

/// Parts of names that say that the value is secret.
const NAMES: [&str; 9] =
    ["secret", "token", "password", "passwd", "apikey", "privatekey", "accesskey", "credential", "authkey"];

/// Looks at one line; the first kind that fits.
pub fn audit_line(line: &str) -> Option<Kind> {
    if line.contains("-----BEGIN ") && line.contains("PRIVATE KEY") || line.contains("PuTTY-User-Key-File-") {
        Some(Kind::PrivateKey)
    } else if line.to_ascii_uppercase().contains("AGE-SECRET-KEY-") {
        Some(Kind::AgeKey)
    } else if words(line).any(is_token) {
        Some(Kind::Token)
    } else if has_credentials(line) {
        Some(Kind::Url)
    } else if assigns_secret(line) {
        Some(Kind::Assignment)
    } else {
        None
    }
}

fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split(|c: char| !(c.is_ascii_alphanumeric() || "_-.+/=".contains(c))).flat_map(|word| {
        // `KEY=value` is two words, a value's own `=` only pads its end.
        word.split_once('=').map_or([word, ""], |(name, value)| [value, name])
    })
}

fn is_token(word: &str) -> bool {
    let of_token = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    let known = PREFIXES.iter().any(|(prefix, more)| {
        word.strip_prefix(prefix)
            .is_some_and(|rest| rest.len() >= *more && rest.chars().all(of_token) && entropy(rest) > 2.5)
    });
    // A JSON web token (RFC 7519): two base64url objects and a signature.
    let jwt = word.starts_with("eyJ") && word.matches('.').count() == 2 && word.contains(".eyJ");
    known || jwt
}

/// Whether any of the values that a line gives to names looks secret: of an assignment, a header, an option, a login of netrc(5).
fn assigns_secret(line: &str) -> bool {
    let signs: Vec<usize> = line.match_indices(['=', ':']).map(|(at, _)| at).collect();
    // A path of Rust or C++ gives nothing to anybody.
    let path = |at: usize| line[at..].starts_with("::") || line[..=at].ends_with("::");
    let mut from = 0;
    for (number, sign) in signs.iter().copied().enumerate().filter(|(_, sign)| !path(*sign)) {
        if is_secret(&line[from..sign], value(&line[sign + 1..])) {
            return true;
        }
        let typed = signs.get(number + 1).is_some_and(|next| {
            line[sign..].starts_with(':')
                && line[*next..].starts_with('=')
                && !line[sign..*next].contains([',', ';', '{', '"', '\'', '`'])
        });
        // `name: Type = value` is one name's.
        from = if typed { from } else { sign + 1 };
    }
    let mut words = line.split_whitespace().peekable();
    while let (Some(word), Some(next)) = (words.next(), words.peek()) {
        let plain = word.trim_matches(|c: char| !c.is_ascii_alphanumeric()).to_ascii_lowercase();
        let names = word.starts_with("--") || ["password", "passwd", "bearer"].contains(&plain.as_str());
        // What a scheme of authorization is followed by is its credential.
        let name = if plain == "bearer" { "token" } else { word };
        if names && is_secret(name, value(next)) {
            return true;
        }
    }
    false
}

/// The value that follows a sign: what is quoted, or a word. More than a word in quotes is a sentence.
fn value(text: &str) -> &str {
    let text = text.trim_start_matches(|c: char| c.is_whitespace() || "=:>".contains(c));
    match text.chars().next().filter(|c| "\"'`".contains(*c)) {
        Some(quote) => {
            let inside = text[1..].split(quote).next().unwrap_or_default().trim();
            if inside.contains(char::is_whitespace) { "" } else { inside }
        }
        None => text.split(|c: char| c.is_whitespace() || "\"'`,;".contains(c)).next().unwrap_or_default(),
    }
}

fn is_secret(name: &str, value: &str) -> bool {
    let name: String =
        name.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
    let value = value.trim_end_matches(['=', ':']);
    let digits = value.chars().any(|c| c.is_ascii_digit());
    let reference = value.starts_with(['$', '<', '{', '/', '.', '&', '[']) || value.contains('(');
    if NAMES.iter().any(|part| name.contains(part)) {
        return !reference && value.len() >= 8 && (digits || value.len() >= 16) && entropy(value) >= 2.8;
    }
    let random = value.chars().all(|c| c.is_ascii_alphanumeric() || "+/=_-".contains(c));
    let hash = value.chars().all(|c| c.is_ascii_hexdigit());
    digits && random && !hash && !reference && value.len() >= 32 && entropy(value) >= 4.2
}

/// Shannon's entropy in bits a character (Shannon 1948).
fn entropy(text: &str) -> f64 {
    let mut counts = [0_u32; 256];
    text.bytes().for_each(|b| counts[usize::from(b)] += 1);
    let length = text.len() as f64;
    let part = |n: &u32| f64::from(*n) / length;
    -counts.iter().filter(|n| **n > 0).map(part).map(|p| p * p.log2()).sum::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_known() {
        let cases = [
            ("-----BEGIN OPENSSH PRIVATE KEY-----", Kind::PrivateKey),
            ("key: AGE-SECRET-KEY-1QQQQ", Kind::AgeKey),
            ("GITHUB=ghp_0123456789abcdefghijABCDEFGHIJ012345", Kind::Token),
            ("  \"token\": \"glpat-AbCdEfGhIjKlMnOpQrSt\",", Kind::Token),
            ("AWS AKIAIOSFODNN7EXAMPLE", Kind::Token),
            ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl", Kind::Token),
            ("url = https://me:hunter22@example.org/x", Kind::Url),
            ("DB_PASSWORD=correct7horse", Kind::Assignment),
            ("api_key: 'q8Zr1LmN0pXs'", Kind::Assignment),
            (r#"{"client_id":"abc","client_secret":"8f3kd93jf0s9dfj3"}"#, Kind::Assignment),
            ("DB_PASSWORD=correct7horse # prod", Kind::Assignment),
            ("docker run -e DB_PASSWORD=correct7horse -e X=1 img", Kind::Assignment),
            ("curl -H 'Authorization: Bearer 8f3kd93jf0s9dfj3' https://example.org", Kind::Assignment),
            ("mysql --user me --password correct7horse db", Kind::Assignment),
            ("machine example.org login me password correct7horse", Kind::Assignment),
            ("if password == \"correct7horse\" { go() }", Kind::Assignment),
            ("let api_token: &str = \"8f3kd93jf0s9dfj3\";", Kind::Assignment),
            ("x = \"Zm9vYmFyYmF6cXV4MTIzNDU2Nzg5MGFiY2RlZg9Q\"", Kind::Assignment),
        ];
        for (line, kind) in cases {
            assert_eq!(audit_line(line), Some(kind), "{line}");
        }
    }

    #[test]
    fn ordinary_work_is_none() {
        for line in [
            "fn main() { let token = next_token(input); }",
            "password: ${DB_PASSWORD}",
            "secret_file = /run/secrets/db",
            "commit: 0123456789abcdef0123456789abcdef01234567",
            "see https://git@example.com.invalid for ssh://git@host/x".trim_start_matches("see https://git@"),
            "The token is kept elsewhere: ask the operator for it",
            "builder: work 12",
            "let token: Option<Token> = tokens.next(); // of 32 or more",
            r#"{"token": "the one of 2024 is kept elsewhere", "commit": "0123456789abcdef0123456789abcdef01234567"}"#,
            "the bearer of news, whose password is kept elsewhere",
            "docker run -e DB_PASSWORD=$DB_PASSWORD2 img",
            "sk-learn is a library",
            "",
        ] {
            assert_eq!(audit_line(line), None, "{line}");
        }
    }
}
