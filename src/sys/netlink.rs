//! Netlink sockets: opened in the network namespace of the calling thread, and bound to it for life.
//!
//! A socket sends whole datagrams to the kernel and takes whole datagrams from it; what is in them is the caller's.
//! The kernel answers a request inside the `send` call, so a receive that waits for seconds means a lost answer and
//! ends with `EAGAIN` (the time-out) rather than never.

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recvmsg, setsockopt, socket, sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike};
use std::io::{self, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

/// How long an answer may take, in seconds. The kernel works while we send: only a lost answer takes longer.
const ANSWER_TIMEOUT_S: i64 = 10;

/// Which part of the kernel a socket talks to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// Links, addresses, routes.
    Route,
    /// nftables and connection tracking.
    Netfilter,
}

/// A netlink socket, connected to nobody: the destination of a send is the kernel.
#[derive(Debug)]
pub struct Socket {
    fd: OwnedFd,
}

impl Socket {
    /// Opens a socket in the network namespace of the calling thread, with extended errors asked for.
    pub fn open(family: Family) -> io::Result<Self> {
        let protocol = match family {
            Family::Route => SockProtocol::NetlinkRoute,
            Family::Netfilter => SockProtocol::NetlinkNetFilter,
        };
        let fd = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol)?;
        // Without these two an error is a bare number with our whole request attached to it.
        super::sockopt::set_int(fd.as_fd(), libc::SOL_NETLINK, libc::NETLINK_EXT_ACK, 1)?;
        super::sockopt::set_int(fd.as_fd(), libc::SOL_NETLINK, libc::NETLINK_CAP_ACK, 1)?;
        setsockopt(&fd, sockopt::ReceiveTimeout, &TimeVal::seconds(ANSWER_TIMEOUT_S))?;
        Ok(Self { fd })
    }

    /// Sends one datagram of any length: the send buffer grows with it, which root may do beyond the system's limit.
    pub fn send(&self, datagram: &[u8]) -> io::Result<()> {
        // The kernel accounts its own bookkeeping to the buffer as well; half as much again has always been enough.
        const ALWAYS_FITS: usize = 64 * 1024;
        if datagram.len() > ALWAYS_FITS {
            let bytes = libc::c_int::try_from(datagram.len().saturating_mul(2)).map_err(|_| Errno::EMSGSIZE)?;
            super::sockopt::set_int(self.fd.as_fd(), libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, bytes)?;
        }
        loop {
            match nix::sys::socket::sendto(self.fd.as_raw_fd(), datagram, &NetlinkAddr::new(0, 0), MsgFlags::empty()) {
                Ok(n) if n == datagram.len() => return Ok(()),
                Ok(_) => return Err(Errno::EMSGSIZE.into()),
                Err(Errno::EINTR) => {}
                Err(e) => return Err(e.into()),
            }
        }
    }

    /// Receives the kernel's next datagram into `buffer` and gives its length. Datagrams of other processes are
    /// dropped; one longer than the buffer is `EMSGSIZE`.
    pub fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let mut parts = [IoSliceMut::new(buffer)];
            match recvmsg::<NetlinkAddr>(self.fd.as_raw_fd(), &mut parts, None, MsgFlags::empty()) {
                Ok(message) => {
                    if message.address.is_none_or(|from| from.pid() != 0) {
                        continue;
                    }
                    if message.flags.contains(MsgFlags::MSG_TRUNC) {
                        return Err(Errno::EMSGSIZE.into());
                    }
                    return Ok(message.bytes);
                }
                Err(Errno::EINTR) => {}
                Err(e) => return Err(e.into()),
            }
        }
    }
}
