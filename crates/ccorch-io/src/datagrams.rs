//! Messages between processes of this machine: datagrams on a socket, each with its sender's user as the kernel vouches
//! for it. Source: unix(7), "SCM_CREDENTIALS".

use std::fs;
use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SocketAddrUnix, bind, recvmsg, sockopt,
};

use crate::durable;

/// Where messages come in.
#[derive(Debug)]
pub struct Inbox(UnixDatagram);

/// One message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// What was sent.
    pub bytes: Vec<u8>,
    /// The sender's user id; none when the kernel does not tell.
    pub uid: Option<u32>,
    /// The sender's process; the same.
    pub pid: Option<u32>,
    /// Where the sender takes an answer: a name that the kernel gave it (unix(7), "Autobind feature").
    pub from: Option<Vec<u8>>,
    /// It was longer than what is taken.
    pub cut: bool,
}

/// Listens at `path`, to which every user may write; a socket that an earlier process left there is replaced. The folder
/// has to be this process's own: whoever can write it could lead the change of mode elsewhere.
pub fn listen(path: &Path) -> Result<Inbox> {
    let open = || -> Result<Inbox> {
        durable::remove(path)?;
        let socket = UnixDatagram::bind(path)?;
        sockopt::set_socket_passcred(&socket, true)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o666))?;
        Ok(Inbox(socket))
    };
    open().with_context(|| format!("listen on {}", path.display()))
}

impl Inbox {
    /// One to ask from: the kernel gives it a name, to which anybody may answer.
    pub fn nameless() -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        sockopt::set_socket_passcred(&socket, true)?;
        bind(&socket, &SocketAddrUnix::new_unnamed())?;
        Ok(Self(socket))
    }

    /// Asks who listens at `path`; the answer is what is received next, or an error after `patience` or a signal.
    pub fn ask(&self, path: &Path, bytes: &[u8], patience: Duration) -> io::Result<Message> {
        self.0.set_write_timeout(Some(patience))?;
        self.0.set_read_timeout(Some(patience))?;
        self.0.send_to(bytes, path)?;
        self.receive(bytes.len().max(64))
    }

    /// Waits for a message of up to `longest` bytes.
    pub fn receive(&self, longest: usize) -> io::Result<Message> {
        let mut bytes = vec![0; longest];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmCredentials(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        // Descriptors that come along find no room and are closed by the kernel.
        let flags = RecvFlags::CMSG_CLOEXEC;
        let got = recvmsg(&self.0, &mut [IoSliceMut::new(&mut bytes)], &mut control, flags)?;
        let who = control.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmCredentials(who) => Some(who),
            _ => None,
        });
        bytes.truncate(got.bytes);
        let from = got.address.and_then(|address| SocketAddrUnix::try_from(address).ok());
        let from = from.and_then(|address| address.abstract_name().map(<[u8]>::to_vec));
        let (uid, pid) =
            (who.map(|who| who.uid.as_raw()), who.map(|who| who.pid.as_raw_pid().cast_unsigned()));
        Ok(Message { bytes, uid, pid, from, cut: got.flags.contains(ReturnFlags::TRUNC) })
    }
}

/// Answers whoever asked from that name; an error when it waits no more, or takes nothing at the moment.
pub fn answer(name: &[u8], bytes: &[u8]) -> io::Result<()> {
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    socket.send_to_addr(bytes, &SocketAddr::from_abstract_name(name)?).map(drop)
}

/// Sends one message, within `patience`. Fails at once when nobody listens.
pub fn send(path: &Path, bytes: &[u8], patience: Duration) -> io::Result<()> {
    let socket = UnixDatagram::unbound()?;
    socket.set_write_timeout(Some(patience))?;
    socket.send_to(bytes, path).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_comes_whole_with_its_sender_and_a_long_one_cut() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        fs::write(&path, "a leftover").unwrap();
        let inbox = listen(&path).unwrap();
        let patience = Duration::from_secs(10);
        send(&path, b"hello\n", patience).unwrap();
        send(&path, &[b'x'; 100], patience).unwrap();
        let (uid, pid) = (Some(rustix::process::geteuid().as_raw()), Some(std::process::id()));
        let expected = |bytes: &[u8], cut| Message { bytes: bytes.to_vec(), uid, pid, from: None, cut };
        assert_eq!(inbox.receive(64).unwrap(), expected(b"hello\n", false));
        assert_eq!(inbox.receive(64).unwrap(), expected(&[b'x'; 64], true));
        drop(inbox);
        assert_eq!(send(&path, b"x", patience).unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
    }

    #[test]
    fn who_asks_is_answered_and_an_answer_that_comes_late_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let inbox = listen(&path).unwrap();
        let served = std::thread::spawn(move || {
            let asked = inbox.receive(64).unwrap();
            assert_eq!((&asked.bytes[..], asked.pid), (&b"may I?"[..], Some(std::process::id())));
            let name = asked.from.unwrap();
            answer(&name, b"yes").unwrap();
            (inbox, name)
        });
        let asks = Inbox::nameless().unwrap();
        let said = asks.ask(&path, b"may I?", Duration::from_secs(10)).unwrap();
        assert_eq!((&said.bytes[..], said.uid), (&b"yes"[..], Some(rustix::process::geteuid().as_raw())));
        let (_inbox, name) = served.join().unwrap();
        let late = asks.ask(&path, b"and now?", Duration::from_millis(10)).unwrap_err();
        assert_eq!(late.kind(), io::ErrorKind::WouldBlock);
        drop(asks);
        assert_eq!(answer(&name, b"yes").unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
    }
}
