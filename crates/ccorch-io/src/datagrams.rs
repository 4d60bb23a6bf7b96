//! Messages between processes of this machine: datagrams on a socket, each with its sender's user as the kernel vouches
//! for it. Source: unix(7), "SCM_CREDENTIALS".

use std::fs;
use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, recvmsg, sockopt};

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
    /// Waits for a message of up to `longest` bytes.
    pub fn receive(&self, longest: usize) -> io::Result<Message> {
        let mut bytes = vec![0; longest];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmCredentials(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        // Descriptors that come along find no room and are closed by the kernel.
        let flags = RecvFlags::CMSG_CLOEXEC;
        let got = recvmsg(&self.0, &mut [IoSliceMut::new(&mut bytes)], &mut control, flags)?;
        let uid = control.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmCredentials(who) => Some(who.uid.as_raw()),
            _ => None,
        });
        bytes.truncate(got.bytes);
        Ok(Message { bytes, uid, cut: got.flags.contains(ReturnFlags::TRUNC) })
    }
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
        let uid = Some(rustix::process::geteuid().as_raw());
        assert_eq!(inbox.receive(64).unwrap(), Message { bytes: b"hello\n".to_vec(), uid, cut: false });
        assert_eq!(inbox.receive(64).unwrap(), Message { bytes: vec![b'x'; 64], uid, cut: true });
        drop(inbox);
        assert_eq!(send(&path, b"x", patience).unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
    }
}
