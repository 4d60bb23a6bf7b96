//! The screen: what was said scrolls away above, the live part below is drawn again and again.

/// What the live part shows.
pub(crate) struct View<'a> {
    /// The spinner's text and step, while something is done.
    pub busy: Option<(String, usize)>,
    /// In front of the draft.
    pub prompt: char,
    pub draft: &'a str,
    /// In place of an empty draft.
    pub hint: &'a str,
    pub status: &'a str,
}

const SPINNER: [char; 6] = ['·', '✢', '✳', '✶', '✻', '✽'];
/// Rows of the draft that are shown; the newest ones.
const DRAFT_ROWS: usize = 6;

/// The rows of the live part for a terminal of this width; none is wider.
pub(crate) fn frame(view: &View<'_>, width: usize) -> Vec<String> {
    let inner = width.saturating_sub(4).max(1);
    let rule = "─".repeat(width.saturating_sub(2).max(1));
    let mut rows = vec![String::new()];
    if let Some((text, step)) = &view.busy {
        rows.push(format!("{} {text}", SPINNER[step % SPINNER.len()]));
        rows.push(String::new());
    }
    rows.push(format!("╭{rule}╮"));
    let at = rows.len();
    let lines: Vec<&str> = view.draft.split('\n').collect();
    let first = lines.len().saturating_sub(DRAFT_ROWS);
    for (at, line) in lines.iter().enumerate().skip(first) {
        let prompt = if at == first { view.prompt } else { ' ' };
        rows.push(format!("│ {prompt} {}", tail(line, inner.saturating_sub(2))));
    }
    rows.push(format!("╰{rule}╯"));
    rows.push(format!("  {}", view.status));
    let mut rows: Vec<String> = rows.iter().map(|row| head(row, width)).collect();
    if view.draft.is_empty() && !view.hint.is_empty() {
        rows[at] += &format!("\x1b[2m{}\x1b[22m", head(view.hint, inner.saturating_sub(2)));
    }
    rows
}

fn head(text: &str, width: usize) -> String {
    let mut left = width;
    let fits = |c: &char| {
        let fits = columns(*c) <= left;
        left = left.saturating_sub(columns(*c));
        fits
    };
    text.chars().map(printable).take_while(fits).collect()
}

fn tail(text: &str, width: usize) -> String {
    let mut wide = text.chars().rev().map(columns).scan(0, |sum, c| {
        *sum += c;
        Some(*sum)
    });
    let skip = text.chars().count() - wide.by_ref().take_while(|sum| *sum <= width).count();
    text.chars().skip(skip).collect()
}

/// A guess on the safe side: only what is surely narrow counts as one.
fn columns(c: char) -> usize {
    if c < '\u{1100}' || ('\u{2000}'..'\u{2e80}').contains(&c) { 1 } else { 2 }
}

/// Control bytes of a draft must not steer the terminal.
fn printable(c: char) -> char {
    if c.is_control() { ' ' } else { c }
}

/// What is on the screen now, to be replaced by the next drawing.
#[derive(Default)]
pub(crate) struct Screen {
    live_rows: usize,
}

impl Screen {
    /// The bytes that put `said` above and `rows` as the live part below.
    pub fn draw(&mut self, said: &[String], rows: &[String]) -> String {
        let mut out = self.erase();
        for text in said {
            for line in text.split('\n') {
                out.extend(line.chars().map(printable));
                out.push_str("\r\n");
            }
        }
        out.push_str(&rows.join("\r\n"));
        self.live_rows = rows.len();
        out
    }

    /// The bytes that take the live part away.
    pub fn erase(&mut self) -> String {
        let up = match std::mem::take(&mut self.live_rows) {
            0 | 1 => String::new(),
            rows => format!("\x1b[{}A", rows - 1),
        };
        format!("\r{up}\x1b[J")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_box_holds_the_draft() {
        let view = View {
            busy: Some(("Working… (3s)".into(), 1)),
            prompt: '>',
            draft: "one\ntwo",
            hint: "Try",
            status: "builder",
        };
        let rows = frame(&view, 20);
        let expected = [
            "",
            "✢ Working… (3s)",
            "",
            "╭──────────────────╮",
            "│ > one",
            "│   two",
            "╰──────────────────╯",
            "  builder",
        ];
        assert_eq!(rows, expected);
    }

    #[test]
    fn no_row_is_wider_than_the_terminal_and_the_end_of_the_draft_shows() {
        let draft = format!("{}\u{1b}[2J日本語 end", "x".repeat(300));
        for width in [1, 5, 20, 80] {
            let status = "a long status line";
            let rows = frame(&View { busy: None, prompt: '!', draft: &draft, hint: "", status }, width);
            for row in &rows {
                assert!(row.chars().map(columns).sum::<usize>() <= width, "{width}: {row:?}");
                assert!(!row.contains('\u{1b}'));
            }
            assert!(width < 20 || rows.iter().any(|row| row.ends_with("end")));
        }
    }

    #[test]
    fn a_drawing_replaces_the_one_before() {
        let mut screen = Screen::default();
        let rows = ["a".to_owned(), "b".to_owned(), "c".to_owned()];
        assert_eq!(screen.draw(&[], &rows), "\r\x1b[Ja\r\nb\r\nc");
        assert_eq!(screen.draw(&["hi".into()], &rows), "\r\x1b[2A\x1b[Jhi\r\na\r\nb\r\nc");
        assert_eq!(screen.erase(), "\r\x1b[2A\x1b[J");
    }
}
