//! Where an Incus server listens and which certificate it must show, as the rig file writes them.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// Where an Incus server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// `https://host:port`, without a path.
    Https(String),
    /// `unix:///path`: the socket of a server on this machine; who may open it is trusted.
    Unix(PathBuf),
}

/// A URL that is neither.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not the URL of an Incus server: `https://HOST:PORT` or `unix:///PATH` is")]
pub struct BadEndpoint(pub String);

impl FromStr for Endpoint {
    type Err = BadEndpoint;

    fn from_str(url: &str) -> Result<Self, BadEndpoint> {
        if let Some(path) = url.strip_prefix("unix://").filter(|path| path.starts_with('/')) {
            return Ok(Self::Unix(path.into()));
        }
        let authority = url.strip_prefix("https://").map(|rest| rest.trim_end_matches('/'));
        let plain = |rest: &&str| {
            !rest.is_empty() && rest.chars().all(|c| c.is_ascii_alphanumeric() || "-._:[]".contains(c))
        };
        let authority = authority.filter(plain).ok_or_else(|| BadEndpoint(url.into()))?;
        Ok(Self::Https(format!("https://{authority}")))
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Https(url) => f.write_str(url),
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
        }
    }
}

/// SHA-256 of a certificate (DER): 32 bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint(pub [u8; 32]);

/// A text that is no such fingerprint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a SHA-256 fingerprint: 64 hexadecimal digits are, as `incus info` shows them")]
pub struct BadFingerprint(pub String);

impl FromStr for Fingerprint {
    type Err = BadFingerprint;

    /// Takes both cases, and colons between the digits as `openssl x509 -fingerprint` prints them.
    fn from_str(text: &str) -> Result<Self, BadFingerprint> {
        let bad = || BadFingerprint(text.into());
        let digits: Vec<u8> = text
            .chars()
            .filter(|c| *c != ':')
            .map(|c| c.to_digit(16).and_then(|d| u8::try_from(d).ok()))
            .collect::<Option<_>>()
            .ok_or_else(bad)?;
        let bytes: Vec<u8> =
            digits.chunks(2).map(|pair| pair.iter().fold(0, |byte, d| byte << 4 | d)).collect();
        let whole = digits.len() == 64;
        bytes.try_into().ok().filter(|_| whole).map(Self).ok_or_else(bad)
    }
}

impl fmt::Display for Fingerprint {
    /// All 64 digits; with a precision, that many: `{:.16}`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text: String = self.0.iter().map(|byte| format!("{byte:02x}")).collect();
        f.pad(&text)
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_an_https_url_or_a_socket() {
        assert_eq!("https://b1:8443/".parse(), Ok(Endpoint::Https("https://b1:8443".into())));
        assert_eq!("https://[fd00::1]:8443".parse(), Ok(Endpoint::Https("https://[fd00::1]:8443".into())));
        assert_eq!("unix:///run/x.socket".parse(), Ok(Endpoint::Unix("/run/x.socket".into())));
        for bad in ["http://b1:8443", "b1:8443", "https://", "unix://x", "https://b1/1.0", "https://a@b", ""]
        {
            assert_eq!(bad.parse::<Endpoint>(), Err(BadEndpoint(bad.into())));
        }
    }

    #[test]
    fn a_fingerprint_is_read_in_every_usual_form() {
        let plain = "0123456789abcdef".repeat(4);
        let parsed: Fingerprint = plain.parse().unwrap();
        assert_eq!(parsed.to_string(), plain);
        assert_eq!(format!("{parsed:.4}"), "0123");
        assert_eq!(plain.to_uppercase().parse(), Ok(parsed));
        let colons = plain.as_bytes().chunks(2).map(|c| String::from_utf8_lossy(c).into_owned());
        assert_eq!(colons.collect::<Vec<_>>().join(":").parse(), Ok(parsed));
        for bad in
            ["", "01", &plain[1..], &format!("{plain}0"), &format!("{plain}00"), &plain.replace('a', "x")]
        {
            assert!(bad.parse::<Fingerprint>().is_err(), "{bad}");
        }
    }
}
