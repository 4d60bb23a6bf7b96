//! Bytes of a raw terminal to keys. Pure: any split of the bytes gives the same keys.

/// What a person, or tmux, entered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    Char(char),
    /// CR: submits.
    Enter,
    /// LF or Meta-Enter: a line break in the draft.
    LineBreak,
    Backspace,
    /// Ctrl-U.
    ClearLine,
    /// Ctrl-C.
    Interrupt,
    /// Ctrl-D.
    EndOfInput,
    Escape,
    Up,
    Down,
    /// A whole bracketed paste. Its line breaks are LF: terminals, and tmux unless told
    /// otherwise, send CR for them, and every program with an input box turns them back.
    Paste(String),
    /// A sequence that means nothing here.
    Ignored,
}

const PASTE_START: &[u8] = b"\x1b[200~";
const PASTE_END: &[u8] = b"\x1b[201~";

/// The parser's state: bytes that are not a whole key yet.
#[derive(Default)]
pub(crate) struct Parser {
    pending: Vec<u8>,
}

impl Parser {
    /// Takes bytes and gives the keys that are whole.
    pub fn feed(&mut self, bytes: &[u8]) -> Vec<Key> {
        self.pending.extend_from_slice(bytes);
        let mut keys = Vec::new();
        let mut used = 0;
        while let Some((key, length)) = first_key(&self.pending[used..]) {
            keys.push(key);
            used += length;
        }
        self.pending.drain(..used);
        keys
    }

    /// Whether an ESC is pending that may be the key alone. Nothing but time tells.
    pub fn waits_for_time(&self) -> bool {
        self.pending.first() == Some(&0x1b) && !self.pending.starts_with(PASTE_START)
    }

    /// Time passed and nothing followed: the ESC was the key.
    pub fn time_passed(&mut self) -> Option<Key> {
        if !self.waits_for_time() {
            return None;
        }
        self.pending.clear();
        Some(Key::Escape)
    }
}

/// The first whole key and its length in bytes.
fn first_key(bytes: &[u8]) -> Option<(Key, usize)> {
    let key = match *bytes.first()? {
        0x1b => return escape(bytes),
        b'\r' => Key::Enter,
        b'\n' => Key::LineBreak,
        b'\t' => Key::Char('\t'),
        0x7f | 0x08 => Key::Backspace,
        0x03 => Key::Interrupt,
        0x04 => Key::EndOfInput,
        0x15 => Key::ClearLine,
        0x00..0x20 => Key::Ignored,
        _ => return character(bytes),
    };
    Some((key, 1))
}

fn character(bytes: &[u8]) -> Option<(Key, usize)> {
    let length = match bytes[0] {
        0xc2..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xf4 => 4,
        _ => 1,
    };
    let part = &bytes[..length.min(bytes.len())];
    match str::from_utf8(part) {
        Ok(text) => text.chars().next().map(|c| (Key::Char(c), length)),
        // More bytes may complete it.
        Err(error) if error.error_len().is_none() && part.len() < length => None,
        Err(_) => Some((Key::Char('\u{fffd}'), 1)),
    }
}

fn escape(bytes: &[u8]) -> Option<(Key, usize)> {
    if bytes.starts_with(PASTE_START) {
        return paste(bytes);
    }
    match *bytes.get(1)? {
        b'[' => {
            let length = 3 + bytes[2..].iter().position(|byte| (0x40..=0x7e).contains(byte))?;
            let key = match &bytes[2..length] {
                b"A" => Key::Up,
                b"B" => Key::Down,
                _ if &bytes[..length] == PASTE_START => return paste(bytes),
                _ => Key::Ignored,
            };
            Some((key, length))
        }
        b'O' => match *bytes.get(2)? {
            b'A' => Some((Key::Up, 3)),
            b'B' => Some((Key::Down, 3)),
            _ => Some((Key::Ignored, 3)),
        },
        b'\r' => Some((Key::LineBreak, 2)),
        _ => Some((Key::Escape, 1)),
    }
}

fn paste(bytes: &[u8]) -> Option<(Key, usize)> {
    let body = &bytes[PASTE_START.len()..];
    let length = body.windows(PASTE_END.len()).position(|window| window == PASTE_END)?;
    let text = String::from_utf8_lossy(&body[..length]).replace("\r\n", "\n").replace('\r', "\n");
    Some((Key::Paste(text), PASTE_START.len() + length + PASTE_END.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(bytes: &[u8]) -> Vec<Key> {
        Parser::default().feed(bytes)
    }

    #[test]
    fn typed_text_ends_with_enter() {
        let expected = [Key::Char('h'), Key::Char('é'), Key::Char('·'), Key::LineBreak, Key::Enter];
        assert_eq!(keys("hé·\n\r".as_bytes()), expected);
    }

    #[test]
    fn a_paste_is_one_key_with_its_line_breaks_and_control_bytes() {
        let bytes = b"\x1b[200~one\rtwo\r\nthree\n\x03\x1b[A!\x1b[201~\r";
        assert_eq!(keys(bytes), [Key::Paste("one\ntwo\nthree\n\x03\x1b[A!".into()), Key::Enter]);
    }

    #[test]
    fn any_split_of_the_bytes_gives_the_same_keys() {
        let bytes =
            "aé\u{1b}[200~x\r\ny \u{1b}[2 é\u{1b}[201~\r\u{1b}[A\u{1b}OB\u{1b}[1;5C\u{1b}\r\u{3}∙🙂\u{7f}"
                .as_bytes();
        let whole = keys(bytes);
        assert!(whole.contains(&Key::Paste("x\ny \u{1b}[2 é".into())), "{whole:?}");
        for cut in 0..=bytes.len() {
            for cut2 in cut..=bytes.len() {
                let mut parser = Parser::default();
                let mut got = parser.feed(&bytes[..cut]);
                got.extend(parser.feed(&bytes[cut..cut2]));
                got.extend(parser.feed(&bytes[cut2..]));
                assert_eq!(got, whole, "cut at {cut} and {cut2}");
            }
        }
    }

    #[test]
    fn a_lone_escape_needs_time_and_a_paste_does_not_end_by_time() {
        let mut parser = Parser::default();
        assert_eq!(parser.feed(b"\x1b"), []);
        assert!(parser.waits_for_time());
        assert_eq!(parser.time_passed(), Some(Key::Escape));
        assert_eq!(parser.feed(b"\x1b[200~slow"), []);
        assert!(!parser.waits_for_time());
        assert_eq!(parser.time_passed(), None);
        assert_eq!(parser.feed(b"\x1b[201~"), [Key::Paste("slow".into())]);
    }

    #[test]
    fn invalid_bytes_do_not_stop_the_parser() {
        let expected = [Key::Char('\u{fffd}'), Key::Char('\u{fffd}'), Key::Char('a')];
        assert_eq!(keys(b"\xff\xc3a"), expected);
    }
}
