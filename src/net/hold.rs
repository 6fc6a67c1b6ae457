//! Holding a published port: from the moment it is chosen until its task is torn down.
//!
//! A bound socket that never listens: no other program gets the port, and a client that comes before or after the
//! task is refused at once by the kernel. Packets of clients are sent on to the task before they reach the socket.

use super::plan::Transport;
use crate::errno::OpError;
use crate::sys::sockopt;
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrIn, SockaddrIn6, bind as bind_to, getsockname, socket,
};
use std::net::{SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

/// Binds `port` (0: one that the kernel chooses, see [`port`]) on all addresses of both families and holds it until
/// the descriptor and its copies are closed.
pub fn bind(transport: Transport, port: u16) -> Result<OwnedFd, OpError> {
    let held = match bind_family(AddressFamily::Inet6, transport, port) {
        // The host runs without IPv6.
        Err(Errno::EAFNOSUPPORT | Errno::EADDRNOTAVAIL) => bind_family(AddressFamily::Inet, transport, port),
        other => other,
    };
    held.map_err(|e| OpError::new("hold port", format!("{port}/{transport}"), e))
}

fn bind_family(family: AddressFamily, transport: Transport, port: u16) -> Result<OwnedFd, Errno> {
    let kind = match transport {
        Transport::Tcp => SockType::Stream,
        Transport::Udp => SockType::Datagram,
    };
    let fd = socket(family, kind, SockFlag::SOCK_CLOEXEC, None)?;
    let set = |level, name, value| {
        sockopt::set_int(fd.as_fd(), level, name, value)
            .map_err(|e| Errno::from_raw(e.raw_os_error().unwrap_or(libc::EINVAL)))
    };
    if transport == Transport::Udp {
        // Before the bind: nothing may be queued, ever. What is dropped here is answered by nobody, as by a server
        // that is still starting.
        sockopt::drop_all(fd.as_fd()).map_err(|e| Errno::from_raw(e.raw_os_error().unwrap_or(libc::EINVAL)))?;
    } else {
        // Connections of a task that is gone, in TIME_WAIT, would refuse us the port for a minute. UDP has no such
        // state, and there the option would let us share a port with another program that set it.
        set(libc::SOL_SOCKET, libc::SO_REUSEADDR, 1)?;
    }
    if family == AddressFamily::Inet6 {
        set(libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, 0)?;
        bind_to(fd.as_raw_fd(), &SockaddrIn6::from(SocketAddrV6::new([0; 8].into(), port, 0, 0)))?;
    } else {
        bind_to(fd.as_raw_fd(), &SockaddrIn::from(SocketAddrV4::new([0; 4].into(), port)))?;
    }
    if transport == Transport::Tcp {
        // Both must have it set to share a port: from here on nobody can.
        set(libc::SOL_SOCKET, libc::SO_REUSEADDR, 0)?;
    }
    Ok(fd)
}

/// The port that a held socket holds.
pub fn port(held: impl AsFd) -> Result<u16, OpError> {
    let fd = held.as_fd().as_raw_fd();
    let failed = |e: Errno| OpError::new("read address of socket", fd.to_string(), e);
    if let Ok(address) = getsockname::<SockaddrIn6>(fd) {
        return Ok(address.port());
    }
    Ok(getsockname::<SockaddrIn>(fd).map_err(failed)?.port())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, Ipv6Addr, TcpListener, TcpStream, UdpSocket};

    #[test]
    fn a_held_tcp_port_is_nobody_elses_and_refuses_clients_at_once() {
        let held = bind(Transport::Tcp, 0).unwrap();
        let port = port(&held).unwrap();
        assert!(TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_err());
        assert!(TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_err());
        assert!(TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)).is_err());
        assert!(bind(Transport::Tcp, port).is_err());
        let refused = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    }

    #[test]
    fn a_port_with_connections_in_time_wait_can_be_held() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let client = TcpStream::connect(address).unwrap();
        let (server, _) = listener.accept().unwrap();
        // The server closes first: TIME_WAIT is on its side.
        drop(server);
        drop(listener);
        drop(client);
        bind(Transport::Tcp, address.port()).unwrap();
    }

    #[test]
    fn a_held_udp_port_is_nobody_elses_and_swallows_datagrams() {
        let held = bind(Transport::Udp, 0).unwrap();
        let port = port(&held).unwrap();
        assert!(UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).is_err());
        let client = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        client.send_to(b"early", (Ipv4Addr::LOCALHOST, port)).unwrap();
        let mut buffer = [0; 8];
        let queued = nix::sys::socket::recv(held.as_raw_fd(), &mut buffer, nix::sys::socket::MsgFlags::MSG_DONTWAIT);
        assert_eq!(queued, Err(Errno::EAGAIN));
    }

    #[test]
    fn a_port_in_use_is_named_in_the_error() {
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let said = crate::errno::chain(&bind(Transport::Tcp, port).unwrap_err());
        assert_eq!(said, format!("hold port `{port}/tcp`: Address already in use (os error 98)"));
    }
}
