//! What an ELF program says about the machine it was made for (elf(5)): architecture and the C library it needs.

use std::fmt;

/// A program file, as far as its header and version strings tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binary {
    /// The architecture as `uname -m` calls it, or `machine N` for one without a name here.
    pub arch: String,
    /// The newest glibc symbol version it asks for; `None` for a static program or another C library.
    pub glibc: Option<(u32, u32)>,
}

/// The file is not a program for Linux.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an ELF program")]
pub struct NotElf;

impl Binary {
    /// Reads the header and looks for `GLIBC_x.y` version names.
    pub fn of(bytes: &[u8]) -> Result<Self, NotElf> {
        let header = bytes.get(..20).filter(|h| h.starts_with(b"\x7fELF")).ok_or(NotElf)?;
        let pair = [header[18], header[19]];
        // EI_DATA: 2 is big-endian.
        let machine = if header[5] == 2 { u16::from_be_bytes(pair) } else { u16::from_le_bytes(pair) };
        let arch = match machine {
            3 => "i686".into(),
            40 => "armv7l".into(),
            62 => "x86_64".into(),
            183 => "aarch64".into(),
            243 => "riscv64".into(),
            other => format!("machine {other}"),
        };
        Ok(Self { arch, glibc: newest_glibc(bytes) })
    }
}

impl fmt::Display for Binary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.glibc {
            Some((major, minor)) => write!(f, "{}, glibc {major}.{minor} or newer", self.arch),
            None => write!(f, "{}, no glibc needed", self.arch),
        }
    }
}

fn newest_glibc(bytes: &[u8]) -> Option<(u32, u32)> {
    const MARK: &[u8] = b"GLIBC_";
    let mut rest = bytes;
    let mut newest = None;
    while let Some(at) = rest.windows(MARK.len()).position(|w| w == MARK) {
        rest = &rest[at + MARK.len()..];
        let end = rest.iter().position(|b| !b.is_ascii_digit() && *b != b'.').unwrap_or(rest.len());
        // The names in the version table end with NUL; anything else is some other text of the program.
        if rest.get(end) == Some(&0) {
            newest = newest.max(version(&rest[..end]));
        }
    }
    newest
}

fn version(text: &[u8]) -> Option<(u32, u32)> {
    let mut numbers = std::str::from_utf8(text).ok()?.split('.').map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(machine: u8, tail: &[u8]) -> Vec<u8> {
        let mut bytes = b"\x7fELF\x02\x01\x01".to_vec();
        bytes.resize(18, 0);
        bytes.extend([machine, 0]);
        bytes.extend(tail);
        bytes
    }

    #[test]
    fn architecture_and_newest_library_are_told() {
        let binary = Binary::of(&program(183, b"\0GLIBC_2.17\0GLIBC_2.4\0GLIBC_9.9 in a text")).unwrap();
        assert_eq!(binary.to_string(), "aarch64, glibc 2.17 or newer");
        assert_eq!(Binary::of(&program(62, b"")).unwrap().to_string(), "x86_64, no glibc needed");
    }

    #[test]
    fn a_script_is_no_program() {
        assert_eq!(Binary::of(b"#!/bin/sh\nexit 0 # long enough for a header"), Err(NotElf));
        assert_eq!(Binary::of(b"\x7fELF"), Err(NotElf));
    }
}
