//! The text in the input box: what is shown of it, and what is submitted.

/// A paste with more line breaks or characters than this is folded.
const FOLD_LINES: usize = 2;
const FOLD_CHARS: usize = 800;

#[derive(Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Folded { id: usize, text: String },
}

/// Pieces of text in the order they came.
#[derive(Debug, Default)]
pub(crate) struct Draft {
    pieces: Vec<Piece>,
    /// Folded pastes so far in this session.
    folded: usize,
}

impl Draft {
    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    pub fn push(&mut self, c: char) {
        self.push_str(c.encode_utf8(&mut [0; 4]));
    }

    fn push_str(&mut self, text: &str) {
        match self.pieces.last_mut() {
            Some(Piece::Text(last)) => last.push_str(text),
            _ => self.pieces.push(Piece::Text(text.to_owned())),
        }
    }

    pub fn paste(&mut self, text: String) {
        if breaks(&text) > FOLD_LINES || text.chars().count() > FOLD_CHARS {
            self.folded += 1;
            self.pieces.push(Piece::Folded { id: self.folded, text });
        } else if !text.is_empty() {
            self.push_str(&text);
        }
    }

    /// Removes the last character, or a folded paste as a whole.
    pub fn backspace(&mut self) {
        if let Some(Piece::Text(text)) = self.pieces.last_mut() {
            text.pop();
            if !text.is_empty() {
                return;
            }
        }
        self.pieces.pop();
    }

    pub fn clear(&mut self) {
        self.pieces.clear();
    }

    /// Empties the draft and returns all of its text.
    pub fn take(&mut self) -> String {
        let text = |piece| match piece {
            Piece::Text(text) | Piece::Folded { text, .. } => text,
        };
        self.pieces.drain(..).map(text).collect()
    }

    /// What the box shows.
    pub fn shown(&self) -> String {
        let show = |piece: &Piece| match piece {
            Piece::Text(text) => text.clone(),
            Piece::Folded { id, text } => format!("[Pasted text #{id} +{} lines]", breaks(text)),
        };
        self.pieces.iter().map(show).collect()
    }
}

fn breaks(text: &str) -> usize {
    text.matches('\n').count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_paste_is_shown_folded_and_submitted_whole() {
        let mut draft = Draft::default();
        draft.push('>');
        draft.paste("1\n2\n3\n4".into());
        draft.paste("short".into());
        assert_eq!(draft.shown(), ">[Pasted text #1 +3 lines]short");
        assert_eq!(draft.take(), ">1\n2\n3\n4short");
        assert!(draft.is_empty());
        draft.paste("x".repeat(801));
        assert_eq!(draft.shown(), "[Pasted text #2 +0 lines]");
    }

    #[test]
    fn backspace_takes_a_character_or_a_folded_paste() {
        let mut draft = Draft::default();
        draft.push('a');
        draft.paste("1\n2\n3\n4".into());
        draft.push('é');
        for shown in ["a[Pasted text #1 +3 lines]", "a", "", ""] {
            draft.backspace();
            assert_eq!(draft.shown(), shown);
        }
        assert!(draft.is_empty());
    }
}
