//! A terminal's lines with and without what they are drawn in: an input line that only shows a hint shows it faint.

/// One line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Line {
    /// Without escape sequences and control characters.
    pub text: String,
    /// All that stands behind the mark of an input line, or in the line where it has none, is faint.
    pub hint: bool,
}

/// How a character is drawn, as far as it matters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Style {
    faint: bool,
    /// As a cursor is that the program draws itself.
    inverse: bool,
}

impl Style {
    /// Source: SGR of ECMA-48, as `tmux capture-pane -e` writes it.
    fn select(&mut self, parameters: &str) {
        let mut words = parameters.split(';');
        while let Some(word) = words.next() {
            match word {
                "" | "0" => *self = Self::default(),
                "2" => self.faint = true,
                "22" => self.faint = false,
                "7" => self.inverse = true,
                "27" => self.inverse = false,
                // A colour's own numbers follow.
                "38" | "48" | "58" => {
                    let more = match words.next() {
                        Some("5") => 1,
                        Some("2") => 3,
                        _ => 0,
                    };
                    words.by_ref().take(more).for_each(drop);
                }
                _ => {}
            }
        }
    }
}

/// The lines of a screen as a terminal shows it or as `tmux capture-pane` saves it, with or without colours.
pub(super) fn lines(screen: &str) -> Vec<Line> {
    let (mut all, mut line, mut style) = (Vec::new(), Vec::new(), Style::default());
    let mut chars = screen.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\u{1b}' => match chars.next() {
                Some('[') => {
                    let mut parameters = String::new();
                    for c in chars.by_ref() {
                        if ('\u{40}'..='\u{7e}').contains(&c) {
                            if c == 'm' {
                                style.select(&parameters);
                            }
                            break;
                        }
                        parameters.push(c);
                    }
                }
                // A title or link ends with BEL, or with ESC and a backslash.
                Some(']') => {
                    while chars.next().is_some_and(|c| c != '\u{7}' && c != '\u{1b}') {}
                    chars.next_if_eq(&'\\');
                }
                _ => {}
            },
            '\n' => all.push(whole(&std::mem::take(&mut line))),
            '\t' => line.extend([(' ', style); 4]),
            '\u{a0}' => line.push((' ', style)),
            c if c.is_control() => {}
            c => line.push((c, style)),
        }
    }
    if !line.is_empty() {
        all.push(whole(&line));
    }
    all
}

fn whole(line: &[(char, Style)]) -> Line {
    let text: String = line.iter().map(|(c, _)| *c).collect();
    let edge = |c: char| c == ' ' || c == '│';
    let marked = line.iter().position(|(c, _)| !edge(*c)).unwrap_or(line.len());
    let from = if line.get(marked).is_some_and(|(c, _)| "❯>!#".contains(*c)) { marked + 1 } else { marked };
    let mut said = line[from..].iter().filter(|(c, _)| !edge(*c)).peekable();
    // The cursor stands on the first character of a hint.
    let cursor = said.next_if(|(_, style)| style.inverse && !style.faint).is_some();
    let faint = said.clone().count();
    let hint = faint > 0 && said.all(|(_, style)| style.faint);
    Line { text: text.trim_end().to_owned(), hint: hint && (faint > 1 || !cursor) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_faint_behind_the_mark_is_a_hint_and_nothing_else_is() {
        let hint = |text: &str| lines(text)[0].hint;
        assert!(hint("\u{1b}[39m❯ \u{1b}[2mTry \"edit this\"\u{1b}[0m"));
        assert!(hint("│ > \u{1b}[7mT\u{1b}[27m\u{1b}[2mry this\u{1b}[0m          │"));
        assert!(hint("\u{1b}[38;5;2m> \u{1b}[0;2mTry"));
        assert!(!hint("❯ \u{1b}[38;5;2mtyped\u{1b}[0m"), "a colour's number is none");
        assert!(!hint("❯ \u{1b}[38;2;2;2;2mtyped\u{1b}[0m"));
        assert!(!hint("❯ yes \u{1b}[2mand more\u{1b}[0m"), "the rest of what was begun");
        assert!(!hint("❯ \u{1b}[7mx\u{1b}[0m"), "one character and the cursor on it");
        assert!(!hint("❯ ") && !hint("❯ typed"));
        assert!(!hint("\u{1b}[2m❯\u{1b}[22m typed"));
    }

    #[test]
    fn a_style_goes_on_over_the_lines_end() {
        let all = lines("❯ \u{1b}[2mTry this\n  or that\u{1b}[0m\nplain\n");
        assert_eq!(all.iter().map(|line| line.hint).collect::<Vec<_>>(), [true, true, false]);
        assert_eq!(all[1].text, "  or that");
    }
}
