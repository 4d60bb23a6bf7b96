//! The one place where an argv vector becomes a shell string, for the far side of ssh.

/// Quotes one word for a POSIX shell: bare when it is plainly safe, else in single quotes.
pub fn word(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_./:=,@%+".contains(&b);
    if !text.is_empty() && text.bytes().all(plain) {
        text.into()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

/// Quotes a whole argv as one shell command line.
pub fn argv<S: AsRef<str>>(words: &[S]) -> String {
    words.iter().map(|w| word(w.as_ref())).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_real_shell_reads_back_what_was_quoted() {
        let words =
            ["", "a b", "it's", "$(reboot)", "`x`", "a\nb", "*", "~", "\\", "\"", "ä", "-n", "a=b;c", "!"];
        let script = format!("printf '%s\\0' {}", argv(&words));
        let output = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
        let back = String::from_utf8(output.stdout).unwrap();
        assert_eq!(back.split_terminator('\0').collect::<Vec<_>>(), words);
    }

    #[test]
    fn a_plain_word_stays_readable() {
        assert_eq!(argv(&["git", "-C", "/srv/x", "fetch"]), "git -C /srv/x fetch");
    }
}
