//! Rules for users, sizes, units, variables and programs.

use super::{Verdict, expected, has_control};
use crate::rig::finding::shown;

/// Something, on one line.
pub(in crate::rig) fn line(text: &str) -> Verdict {
    if text.trim().is_empty() || has_control(text) { expected("one line of text", text) } else { Ok(()) }
}

/// A Unix user, as `useradd` takes it.
pub(in crate::rig) fn user(name: &str) -> Verdict {
    let mut chars = name.chars();
    let ok = chars.next().is_some_and(|c| c.is_ascii_lowercase() || c == '_')
        && chars.all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '-'))
        && name.len() <= 32;
    if ok { Ok(()) } else { expected("a Unix user name (a-z, 0-9, `_`, `-`)", name) }
}

/// The bytes in a size like `2GiB` (also `MiB`, `KiB`, `TiB`, and `MB`, `GB`, `TB` in powers of ten).
pub fn size_bytes(size: &str) -> Result<u64, String> {
    let error = || format!("expected a size like `2GiB` or `512MiB`, found {}", shown(size));
    let unit_at = size.find(|c: char| !c.is_ascii_digit()).ok_or_else(error)?;
    let (number, unit) = size.split_at(unit_at);
    let factor: u64 = match unit {
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        "kB" | "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "TB" => 1_000_000_000_000,
        _ => return Err(error()),
    };
    let bytes = number.parse::<u64>().ok().and_then(|n| n.checked_mul(factor));
    bytes.filter(|n| *n > 0).ok_or_else(error)
}

/// A size, no smaller than `least` bytes.
pub(in crate::rig) fn size(text: &str, least: u64, why: &str) -> Verdict {
    if size_bytes(text)? < least { Err(format!("{} is too small: {why}", shown(text))) } else { Ok(()) }
}

/// A systemd unit with its type.
pub(in crate::rig) fn unit(text: &str) -> Verdict {
    const TYPES: [&str; 6] = ["service", "timer", "target", "socket", "path", "mount"];
    let ok = text.rsplit_once('.').is_some_and(|(name, kind)| {
        TYPES.contains(&kind)
            && !name.is_empty()
            && !name.starts_with('-')
            && name.chars().all(|c| c.is_ascii_alphanumeric() || ":-_.\\@".contains(c))
    });
    if ok { Ok(()) } else { expected("a unit name with its type, like `name.service` or `name.timer`", text) }
}

/// The name of an environment variable.
pub(in crate::rig) fn variable(text: &str) -> Verdict {
    let ok = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if ok { Ok(()) } else { expected("a variable name (A-Z, a-z, 0-9, `_`)", text) }
}

/// Whether a variable is probably a secret, by its name or by the shape of its value.
pub(in crate::rig) fn looks_secret(name: &str, value: &str) -> bool {
    let name = name.to_ascii_uppercase();
    let words: Vec<&str> = name.split('_').collect();
    // A path to a secret (`TOKEN_FILE=/run/...`) is the right way, not the wrong one.
    let is_path = value.starts_with('/')
        || value.starts_with('~')
        || words.last().is_some_and(|w| ["FILE", "PATH", "DIR", "SOCK"].contains(w));
    let telling =
        ["TOKEN", "SECRET", "PASSWORD", "PASSWD", "PASSPHRASE", "CREDENTIAL", "CREDENTIALS", "APIKEY"];
    let by_name = words.iter().any(|w| telling.contains(w))
        || name.ends_with("API_KEY")
        || name.ends_with("ACCESS_KEY")
        || name.ends_with("PRIVATE_KEY");
    let shapes =
        ["sk-", "ghp_", "gho_", "github_pat_", "glpat-", "xoxb-", "AKIA", "AGE-SECRET-KEY-", "-----BEGIN"];
    !value.is_empty() && (by_name && !is_path || shapes.iter().any(|s| value.starts_with(s)))
}

/// The bare name of a program.
pub(in crate::rig) fn program(text: &str) -> Verdict {
    let ok =
        !text.is_empty() && !text.starts_with('-') && text.chars().all(|c| c.is_ascii_graphic() && c != '/');
    if ok { Ok(()) } else { expected("the bare name of a command", text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_a_number_and_a_unit() {
        for (text, bytes) in
            [("2GiB", 2 << 30), ("512MiB", 512 << 20), ("1KiB", 1024), ("3GB", 3_000_000_000)]
        {
            assert_eq!(size_bytes(text), Ok(bytes), "{text}");
        }
        for bad in [
            "",
            "2",
            "GiB",
            "2G",
            "2 GiB",
            "-2GiB",
            "2.5GiB",
            "0GiB",
            "99999999999999999999GiB",
            "18446744073709551615TiB",
            "２GiB",
        ] {
            assert!(size_bytes(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn units_have_a_type() {
        for good in ["a.service", "a@.service", "a@b.timer", "ccorch.target", "srv-x\\x2dy.mount"] {
            assert_eq!(unit(good), Ok(()), "{good}");
        }
        for bad in
            ["", "a", "a.servce", ".service", "-a.service", "a b.service", "a/b.service", "a.service\n"]
        {
            assert!(unit(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn secrets_are_known_by_name_or_shape_and_paths_to_them_are_not_secrets() {
        for (name, value) in [
            ("API_TOKEN", "x"),
            ("DB_PASSWORD", "x"),
            ("OPENAI_API_KEY", "x"),
            ("X", "ghp_abc"),
            ("apikey", "x"),
        ] {
            assert!(looks_secret(name, value), "{name}={value}");
        }
        for (name, value) in [
            ("TOKEN_FILE", "x"),
            ("TOKEN", "/run/x"),
            ("MAX_TOKENS", "5"),
            ("EDITOR", "vi"),
            ("TOKEN", ""),
            ("KEYBOARD", "us"),
        ] {
            assert!(!looks_secret(name, value), "{name}={value}");
        }
    }

    #[test]
    fn users_are_unix_users() {
        for good in ["loops", "_x", "a-b_1"] {
            assert_eq!(user(good), Ok(()), "{good}");
        }
        for bad in ["", "Loops", "1a", "-a", "a b", "a:b", &"a".repeat(33)] {
            assert!(user(bad).is_err(), "{bad}");
        }
    }
}
