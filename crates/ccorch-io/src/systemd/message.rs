//! Messages of D-Bus, as far as systemd's manager needs them: calls with strings, replies, signals. Little-endian alone,
//! which is what systemd of this machine speaks on every machine ccorch runs on. Source: the D-Bus specification 0.43,
//! "Message Protocol".

use std::io::{self, Read};

/// What kind of message it is.
pub const CALL: u8 = 1;
/// An answer.
pub const RETURN: u8 = 2;
/// An answer that says why not.
pub const ERROR: u8 = 3;
/// Nobody asked.
pub const SIGNAL: u8 = 4;

/// No message of systemd comes near.
const LARGEST: usize = 16 << 20;

/// What arrived.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Message {
    /// Call, return, error or signal.
    pub kind: u8,
    /// The call that is answered.
    pub answers: u32,
    /// The signal's name.
    pub member: String,
    /// The error's name.
    pub error: String,
    /// The arguments.
    pub body: Vec<u8>,
}

/// A call of `interface.member` on an object, with strings for arguments.
pub fn call(serial: u32, path: &str, interface: &str, member: &str, args: &[&str]) -> Vec<u8> {
    let mut body = Vec::new();
    args.iter().for_each(|arg| string(&mut body, arg));
    let mut fields = Vec::new();
    for (code, kind, value) in
        [(1, b'o', path), (2, b's', interface), (3, b's', member), (6, b's', "org.freedesktop.systemd1")]
    {
        align(&mut fields, 8);
        fields.extend([code, 1, kind, 0]);
        string(&mut fields, value);
    }
    if !args.is_empty() {
        align(&mut fields, 8);
        fields.extend([8, 1, b'g', 0, args.len() as u8]);
        fields.extend(vec![b's'; args.len()]);
        fields.push(0);
    }
    let mut bytes = vec![b'l', CALL, 0, 1];
    for number in [body.len() as u32, serial, fields.len() as u32] {
        bytes.extend(number.to_le_bytes());
    }
    bytes.extend(fields);
    align(&mut bytes, 8);
    bytes.extend(body);
    bytes
}

/// Reads one message.
pub fn read(from: &mut impl Read) -> io::Result<Message> {
    let mut head = [0; 16];
    from.read_exact(&mut head)?;
    let number =
        |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]) as usize;
    let (body, fields) = (number(4), number(12));
    if head[0] != b'l' || body > LARGEST || fields > LARGEST {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "no message of D-Bus"));
    }
    let mut rest = vec![0; fields.next_multiple_of(8) + body];
    from.read_exact(&mut rest)?;
    let mut message = Message { kind: head[1], ..Message::default() };
    let mut values = Values::of(&rest[..fields]);
    while values.left() > 0 {
        values.align(8);
        let (Some(code), Some(signature)) = (values.byte(), values.signature()) else { break };
        match (code, signature.as_str()) {
            (5, "u") => message.answers = values.number().unwrap_or(0),
            (_, "u") => drop(values.number()),
            (3, _) => message.member = values.string().unwrap_or_default(),
            (4, _) => message.error = values.string().unwrap_or_default(),
            (_, "g") => drop(values.signature()),
            (_, _) => drop(values.string()),
        }
    }
    message.body = rest.split_off(fields.next_multiple_of(8));
    Ok(message)
}

fn align(bytes: &mut Vec<u8>, to: usize) {
    bytes.resize(bytes.len().next_multiple_of(to), 0);
}

fn string(bytes: &mut Vec<u8>, text: &str) {
    align(bytes, 4);
    bytes.extend((text.len() as u32).to_le_bytes());
    bytes.extend(text.as_bytes());
    bytes.push(0);
}

/// Values in the order in which they lie in a message; nothing where it ends too soon.
#[derive(Debug)]
pub struct Values<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Values<'a> {
    /// Those of a body.
    pub fn of(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    fn left(&self) -> usize {
        self.bytes.len().saturating_sub(self.at)
    }

    /// Goes on to the next multiple of `to`: where a struct begins.
    pub fn align(&mut self, to: usize) {
        self.at = self.at.next_multiple_of(to);
    }

    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let taken = self.bytes.get(self.at..self.at.checked_add(count)?)?;
        self.at += count;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    /// A number of 32 bits.
    pub fn number(&mut self) -> Option<u32> {
        self.align(4);
        Some(u32::from_le_bytes(self.take(4)?.try_into().ok()?))
    }

    /// A string or a path.
    pub fn string(&mut self) -> Option<String> {
        let length = self.number()? as usize;
        let text = String::from_utf8_lossy(self.take(length)?).into_owned();
        self.take(1)?;
        Some(text)
    }

    /// The signature of what follows: what a variant begins with.
    pub fn signature(&mut self) -> Option<String> {
        let length = usize::from(self.byte()?);
        let text = String::from_utf8_lossy(self.take(length)?).into_owned();
        self.take(1)?;
        Some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_reads_back_as_what_it_is() {
        let bytes = call(7, "/a/b", "x.Y", "StartUnit", &["a.service", "replace"]);
        let message = read(&mut bytes.as_slice()).unwrap();
        assert_eq!((message.kind, message.member.as_str()), (CALL, "StartUnit"));
        let mut values = Values::of(&message.body);
        assert_eq!(values.string().as_deref(), Some("a.service"));
        assert_eq!(values.string().as_deref(), Some("replace"));
        assert_eq!(values.string(), None);
    }

    /// As `busctl` shows the bytes of an answer: `u` reply serial 2, `g` "v", and the variant `s` "active".
    #[test]
    fn an_answer_is_known_by_the_call_it_answers() {
        let mut bytes = vec![b'l', RETURN, 1, 1, 15, 0, 0, 0, 9, 0, 0, 0, 15, 0, 0, 0];
        bytes.extend([5, 1, b'u', 0, 2, 0, 0, 0, 8, 1, b'g', 0, 1, b'v', 0, 0]);
        bytes.extend([1, b's', 0, 0, 6, 0, 0, 0]);
        bytes.extend(b"active\0");
        let message = read(&mut bytes.as_slice()).unwrap();
        assert_eq!((message.kind, message.answers), (RETURN, 2));
        let mut values = Values::of(&message.body);
        assert_eq!(values.signature().as_deref(), Some("s"));
        assert_eq!(values.string().as_deref(), Some("active"));
    }

    #[test]
    fn what_is_no_message_or_ends_too_soon_is_an_error() {
        assert!(read(&mut &b"HTTP/1.1 400 Bad Request"[..]).is_err());
        let bytes = call(1, "/a", "x.Y", "Z", &["text"]);
        for end in 0..bytes.len() {
            assert!(read(&mut &bytes[..end]).is_err(), "{end}");
        }
    }
}
