//! What a check has to say: one thing that is wrong, or doubtful, with its place in the file.

use serde::Serialize;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The rig cannot be used like this.
    Error,
    /// It can be used, and somebody should know what that means.
    Warning,
}

/// One thing that is wrong with a rig file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Line in the file, from 1; 0 where no single line is to blame.
    pub line: usize,
    /// The key's path, for example `loops.builder.agent`; empty for the file as a whole.
    pub key: String,
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong and what was expected.
    pub message: String,
}

impl Finding {
    /// Something that has to be mended.
    pub fn error(line: usize, key: impl Into<String>, message: impl Into<String>) -> Self {
        Self { line, key: key.into(), severity: Severity::Error, message: tamed(&message.into()) }
    }

    /// Something to know.
    pub fn warning(line: usize, key: impl Into<String>, message: impl Into<String>) -> Self {
        Self { line, key: key.into(), severity: Severity::Warning, message: tamed(&message.into()) }
    }

    /// Whether it has to be mended.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

/// A message on one line and of bounded length, whatever it quotes.
fn tamed(message: &str) -> String {
    const MOST: usize = 600;
    message.chars().take(MOST).flat_map(char_shown).collect()
}

/// Text of the file for use in a message: in backquotes, on one line, of bounded length.
pub(crate) fn shown(text: &str) -> String {
    const MOST: usize = 60;
    let mut out: String = text.chars().take(MOST).flat_map(char_shown).collect();
    if text.chars().nth(MOST).is_some() {
        out.push('…');
    }
    format!("`{out}`")
}

/// Control characters would break the line, or command the terminal.
fn char_shown(c: char) -> Vec<char> {
    let hidden =
        c.is_control() || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{feff}');
    if hidden { c.escape_unicode().collect() } else { vec![c] }
}

/// One key as a path shows it: bare where that is unmistakable, else quoted.
pub(crate) fn segment(key: &str) -> String {
    let bare = !key.is_empty()
        && key.len() <= 64
        && key.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '/'));
    if bare { key.to_owned() } else { shown(key).replace('`', "\"") }
}

/// The path of a key inside a mapping.
pub(crate) fn child(path: &str, key: &str) -> String {
    if path.is_empty() { segment(key) } else { format!("{path}.{}", segment(key)) }
}

/// The path of a list's item, counted from 0.
pub(crate) fn item(path: &str, index: usize) -> String {
    format!("{path}[{index}]")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_cannot_be_misread() {
        assert_eq!(child("workspace.repositories", "."), "workspace.repositories.\".\"");
        assert_eq!(child("", "rig"), "rig");
        assert_eq!(item("phases", 2), "phases[2]");
    }

    #[test]
    fn what_is_shown_stays_on_its_line_and_short() {
        assert_eq!(shown("a\n\u{1b}[2J"), "`a\\u{a}\\u{1b}[2J`");
        assert!(shown(&"x".repeat(1000)).chars().count() < 70);
    }
}
