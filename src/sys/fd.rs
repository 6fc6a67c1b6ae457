//! Descriptors: the ones a process was started with, and passing them over sockets.

use nix::cmsg_space;
use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, recvmsg, sendmsg, socketpair,
};
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicI32, Ordering};

/// The most descriptors that one message carries.
pub const MAX_PASSED: usize = 16;

/// The lowest descriptor that may still be taken by [`inherited`].
static NEXT_INHERITED: AtomicI32 = AtomicI32::new(3);

/// Takes descriptor `number`, which this process was started with, and marks it close-on-exec.
///
/// Each number can be taken once and only upwards, so that two owners of one descriptor cannot be made. `None` when it
/// is not open. To be called before anything else opens descriptors: numbers that are not inherited are given out from
/// below.
pub fn inherited(number: RawFd) -> Option<OwnedFd> {
    if NEXT_INHERITED.fetch_max(number + 1, Ordering::Relaxed) > number {
        return None;
    }
    // SAFETY: F_SETFD changes a flag of the descriptor table and fails with EBADF on a number that is not open.
    if unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) } < 0 {
        return None;
    }
    // SAFETY: the number is open, and above: this function hands out each number from 3 up at most once, in a process
    // whose caller has not yet opened anything itself.
    Some(unsafe { OwnedFd::from_raw_fd(number) })
}

/// A pair of connected sockets that keep message boundaries, close-on-exec.
pub fn message_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)?)
}

/// Sends `bytes` with `fds`, at most [`MAX_PASSED`]; returns how many bytes went. Never raises SIGPIPE.
pub fn send_with(socket: impl AsFd, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<usize> {
    let raw: Vec<RawFd> = fds.iter().map(AsRawFd::as_raw_fd).collect();
    let control = [ControlMessage::ScmRights(&raw)];
    let control = if raw.is_empty() { &control[..0] } else { &control[..] };
    let iov = [IoSlice::new(bytes)];
    loop {
        match sendmsg::<()>(socket.as_fd().as_raw_fd(), &iov, control, MsgFlags::MSG_NOSIGNAL, None) {
            Err(nix::Error::EINTR) => {}
            other => return Ok(other?),
        }
    }
}

/// Receives into `buffer`; descriptors that came along are appended to `fds`, close-on-exec. 0 bytes is the end.
///
/// Fails when the sender passed more descriptors than [`MAX_PASSED`] or, on a message socket, more bytes than fit.
pub fn receive_with(socket: impl AsFd, buffer: &mut [u8], fds: &mut Vec<OwnedFd>) -> io::Result<usize> {
    let mut control = cmsg_space!([RawFd; MAX_PASSED]);
    let fd = socket.as_fd().as_raw_fd();
    let mut iov = [IoSliceMut::new(buffer)];
    let message = loop {
        match recvmsg::<()>(fd, &mut iov, Some(&mut control), MsgFlags::MSG_CMSG_CLOEXEC) {
            Err(nix::Error::EINTR) => {}
            other => break other?,
        }
    };
    for part in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(raw) = part {
            for number in raw {
                // SAFETY: the kernel has just put this descriptor into our table for this message, and nobody else
                // has seen the number.
                fds.push(unsafe { OwnedFd::from_raw_fd(number) });
            }
        }
    }
    if message.flags.intersects(MsgFlags::MSG_CTRUNC | MsgFlags::MSG_TRUNC) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the message is longer than this side takes"));
    }
    Ok(message.bytes)
}

/// The ranges of numbers from `first` up that are not in `kept`.
pub(super) fn gaps(first: u32, kept: impl Iterator<Item = RawFd>) -> Vec<(u32, u32)> {
    let mut kept: Vec<u32> = kept.filter_map(|fd| u32::try_from(fd).ok()).filter(|fd| *fd >= first).collect();
    kept.sort_unstable();
    let (mut gaps, mut from) = (Vec::with_capacity(kept.len() + 1), first);
    for fd in kept {
        if from < fd {
            gaps.push((from, fd - 1));
        }
        from = fd + 1;
    }
    gaps.push((from, u32::MAX));
    gaps
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};

    #[test]
    fn descriptors_go_over_with_the_bytes() {
        let (a, b) = message_pair().unwrap();
        let (mut reader, writer) = io::pipe().unwrap();
        send_with(&a, b"hello", &[writer.as_fd()]).unwrap();
        drop(writer);
        let (mut buffer, mut fds) = ([0; 32], Vec::new());
        assert_eq!(receive_with(&b, &mut buffer, &mut fds).unwrap(), 5);
        std::fs::File::from(fds.remove(0)).write_all(b"through").unwrap();
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "through");
    }

    #[test]
    fn a_message_that_does_not_fit_is_an_error() {
        let (a, b) = message_pair().unwrap();
        send_with(&a, &[0; 100], &[]).unwrap();
        assert_eq!(receive_with(&b, &mut [0; 10], &mut Vec::new()).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn the_other_side_gone_is_the_end() {
        let (a, b) = message_pair().unwrap();
        drop(a);
        assert_eq!(receive_with(&b, &mut [0; 10], &mut Vec::new()).unwrap(), 0);
        assert_eq!(send_with(&b, b"x", &[]).unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }

    #[test]
    fn gaps_are_around_what_is_kept() {
        let gaps = |kept: &[RawFd]| gaps(4, kept.iter().copied());
        assert_eq!(gaps(&[]), [(4, u32::MAX)]);
        assert_eq!(gaps(&[7, 0, 4, 8, 3]), [(5, 6), (9, u32::MAX)]);
        assert_eq!(gaps(&[5, 5]), [(4, 4), (6, u32::MAX)]);
    }

    #[test]
    fn a_number_that_is_not_open_is_not_inherited() {
        assert!(inherited(900).is_none());
    }
}
