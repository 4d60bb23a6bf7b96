//! Rules for addresses, URLs, host keys and fingerprints.

use std::net::{IpAddr, SocketAddr};

use super::{Verdict, expected, has_control};

/// A loopback address and port; anything else would offer the proxy to the network.
pub(in crate::rig) fn loopback_socket(text: &str) -> Verdict {
    match text.parse::<SocketAddr>() {
        Ok(address) if address.ip().is_loopback() && address.port() > 0 => Ok(()),
        Ok(address) if address.ip().is_loopback() => expected("a port from 1 to 65535", text),
        Ok(_) => expected("a loopback address (others could use the proxy)", text),
        Err(_) => expected("an address and port like `127.0.0.1:1055`", text),
    }
}

/// `host:port`.
pub(in crate::rig) fn host_port(text: &str) -> Verdict {
    let ok = text.rsplit_once(':').is_some_and(|(host, port)| {
        host_name(host).is_ok() && port.parse::<u16>().is_ok_and(|p| p > 0) && !port.starts_with('+')
    });
    if ok { Ok(()) } else { expected("`host:port`", text) }
}

/// A DNS name or an address; never an option, never more than one word.
pub(in crate::rig) fn host_name(text: &str) -> Verdict {
    let ok = !text.is_empty()
        && text.len() <= 253
        && !text.starts_with(['-', '.'])
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '[' | ']' | '%'));
    if ok { Ok(()) } else { expected("a host name or address", text) }
}

/// `[user@]host` or an alias, as ssh takes it.
pub(in crate::rig) fn ssh_destination(text: &str) -> Verdict {
    let (login, host) = text.rsplit_once('@').unwrap_or(("", text));
    let login_ok =
        !login.starts_with('-') && login.chars().all(|c| c.is_ascii_graphic() && !"\"'`$\\;|&<>".contains(c));
    let empty_login = text.starts_with('@');
    if host_name(host).is_ok() && login_ok && !empty_login && !host.contains(':') {
        return Ok(());
    }
    expected("an ssh destination like `user@name` (a port has a key of its own)", text)
}

/// A public host key, `type base64`.
pub(in crate::rig) fn host_key(text: &str) -> Verdict {
    let mut words = text.split_ascii_whitespace();
    let kind = words.next().unwrap_or_default();
    let body = words.next().unwrap_or_default();
    let known = kind.starts_with("ssh-") || kind.starts_with("ecdsa-sha2-") || kind.starts_with("sk-");
    let base64 = body.len() >= 40
        && body.starts_with("AAAA")
        && body.chars().all(|c| c.is_ascii_alphanumeric() || "+/=".contains(c));
    if known && base64 && !has_control(text) {
        Ok(())
    } else {
        expected("a public host key like `ssh-ed25519 AAAA...`", text)
    }
}

/// A certificate's SHA-256 in hexadecimal, as `incus info` shows it.
pub(in crate::rig) fn fingerprint(text: &str) -> Verdict {
    let ok = text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit());
    if ok { Ok(()) } else { expected("64 hexadecimal digits (SHA-256 of the certificate)", text) }
}

/// A URL of one of the schemes, with a host, and with no password in it.
pub(in crate::rig) fn url(text: &str, schemes: &[&str]) -> Verdict {
    no_password(text)?;
    let rest = schemes.iter().find_map(|scheme| text.strip_prefix(scheme)?.strip_prefix("://"));
    let host =
        rest.map(|r| r.split('/').next().unwrap_or_default()).map(|h| h.rsplit('@').next().unwrap_or(h));
    let ok = host.is_some_and(|h| host_name(h).is_ok()) && text.chars().all(|c| c.is_ascii_graphic());
    if ok {
        Ok(())
    } else {
        expected(&format!("a URL that starts with `{}://`", schemes.join("://` or `")), &shown_url(text))
    }
}

/// A URL for people and files that others may read: scheme, host and path. User and query may be tokens.
pub(in crate::rig) fn shown_url(url: &str) -> String {
    let plain = url.split(['?', '#']).next().unwrap_or_default();
    let Some((scheme, rest)) = plain.split_once("://") else { return plain.into() };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    format!("{scheme}://{}{path}", authority.rsplit('@').next().unwrap_or(authority))
}

/// Whether what is sent to a URL can be read on its way: `http://` to another machine.
pub fn crosses_in_clear(url: &str) -> bool {
    let Some(rest) = url.strip_prefix("http://") else { return false };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or(authority);
    let port = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
    let host = host.rsplit_once(':').filter(|(_, end)| port(end)).map_or(host, |(host, _)| host);
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host != "localhost" && !address.is_ok_and(|address| address.is_loopback())
}

/// The password itself is not repeated in the message.
pub(super) fn no_password(url: &str) -> Verdict {
    let Some((_, rest)) = url.split_once("://") else { return Ok(()) };
    let authority = rest.split('/').next().unwrap_or_default();
    match authority.rsplit_once('@') {
        Some((login, _)) if login.contains(':') => {
            Err("there is a password in this URL, and URLs are seen in process lists and logs; use an ssh key or a credential helper".into())
        }
        _ => Ok(()),
    }
}

/// An instance name as Incus takes it: a host label that starts with a letter.
pub(in crate::rig) fn instance_name(text: &str) -> Verdict {
    if text.starts_with(|c: char| c.is_ascii_lowercase()) && !text.ends_with('-') {
        return Ok(());
    }
    expected("a name that starts with a letter and does not end with `-` (Incus takes no other)", text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(rule: fn(&str) -> Verdict, good: &[&str], bad: &[&str]) {
        for text in good {
            assert_eq!(rule(text), Ok(()), "{text}");
        }
        for text in bad {
            assert!(rule(text).is_err(), "{text}");
        }
    }

    #[test]
    fn only_another_machine_is_reached_in_clear() {
        for url in [
            "https://h/x",
            "http://localhost/x",
            "http://127.0.0.1:80/x",
            "http://[::1]:8080",
            "http://[::1]/",
        ] {
            assert!(!crosses_in_clear(url), "{url}");
        }
        for url in [
            "http://h/x",
            "http://192.0.2.1:80",
            "http://[2001:db8::1]:80/",
            "http://127.0.0.1@h/",
            "http://localhost.h",
        ] {
            assert!(crosses_in_clear(url), "{url}");
        }
    }

    #[test]
    fn a_proxy_is_for_this_machine_alone() {
        all(
            loopback_socket,
            &["127.0.0.1:1055", "127.9.9.9:1", "[::1]:1055"],
            &[
                "",
                "1055",
                "localhost:1055",
                "0.0.0.0:1055",
                "[::]:1",
                "10.0.0.1:1",
                "127.0.0.1:0",
                "127.0.0.1",
            ],
        );
    }

    #[test]
    fn a_destination_is_never_an_option_or_a_command() {
        all(
            ssh_destination,
            &["pi", "pi@raspberrypi", "root@10.0.0.1", "a.b@c-d.example.org", "DOMAIN@user@host"],
            &["", "-oProxyCommand=x", "a@-x", "-l@a", "@a", "a b", "a:22", "ssh://a", "a;b", "$(a)@b", "a@"],
        );
        all(
            host_port,
            &["a:1", "a.example.org:22", "[::1]:22"],
            &["", "a", "a:", ":1", "a:0", "a:70000", "a:+1", "a b:1"],
        );
    }

    #[test]
    fn a_key_and_a_fingerprint_look_like_one() {
        let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ1ZQ0VdmkPyd0Vwyh4c5oX2y3mJ9s0dGZ7bqL5pR8Tn";
        all(
            host_key,
            &[key, &format!("{key} comment")],
            &["", "ssh-ed25519", "AAAA", "ssh-ed25519 AAAA", &key[12..]],
        );
        all(fingerprint, &[&"0aF".repeat(22)[..64]], &["", "00", &"g".repeat(64), &"ä".repeat(32)]);
    }

    #[test]
    fn a_password_in_a_url_is_refused_and_not_repeated() {
        let https = |text: &str| url(text, &["https"]);
        all(
            https,
            &["https://b1:8443", "https://a.example.org/x"],
            &["", "http://b1", "https://", "https:///x", "https://a b"],
        );
        let message = https("https://me:hunter2@b1").unwrap_err();
        assert!(message.contains("password") && !message.contains("hunter2"), "{message}");
        let message = https("http://b1/x?token=hunter2").unwrap_err();
        assert!(message.contains("http://b1/x`") && !message.contains("hunter2"), "{message}");
    }

    #[test]
    fn a_url_is_shown_without_user_and_query() {
        for (url, shown) in [
            ("https://a.example.org:8/x/y", "https://a.example.org:8/x/y"),
            ("https://hunter2@a/x?token=hunter2#hunter2", "https://a/x"),
            ("https://a?hunter2/x@y", "https://a"),
            ("http://me:hunter2@a", "http://a"),
            ("a?hunter2", "a"),
        ] {
            assert_eq!(shown_url(url), shown, "{url}");
        }
    }
}
