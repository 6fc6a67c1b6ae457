//! What connection tracking remembers must not outlive what it was true of.

use crate::world::{DEADLINE, NODE, World, alone, serve, within};
use berth_runtime::net;
use berth_runtime::net::plan::{Publish, Transport};
use std::net::UdpSocket;
use std::os::fd::OwnedFd;
use std::time::Duration;

const PORTS: [Publish; 1] = [Publish { transport: Transport::Udp, host_port: 5300, container_port: 53 }];

/// A client outside that calls the published port from one socket for ever.
fn client(world: &World, to: &str) -> UdpSocket {
    within(&world.outside, || {
        let any = if to.contains(':') { "[::]:0" } else { "0.0.0.0:0" };
        let socket = UdpSocket::bind(any).unwrap();
        socket.connect((to, 5300)).unwrap();
        socket
    })
}

fn ask(socket: &UdpSocket, patience: Duration) -> Option<String> {
    socket.set_read_timeout(Some(patience)).unwrap();
    socket.send(b"?").unwrap();
    let mut buffer = [0; 64];
    let n = socket.recv(&mut buffer).ok()?;
    Some(String::from_utf8_lossy(&buffer[..n]).into_owned())
}

/// How many connections the kernel tracks in this namespace.
fn tracked() -> u32 {
    std::fs::read_to_string("/proc/sys/net/netfilter/nf_conntrack_count").unwrap().trim().parse().unwrap()
}

fn start(world: &World, number: u8, name: &'static str) -> OwnedFd {
    let task = net::up(&world.bridge(number, &PORTS)).unwrap().unwrap();
    serve(&task, name, Transport::Udp, 53);
    task
}

#[test]
#[ignore = "needs root"]
fn a_udp_client_that_came_before_its_task_is_served_by_it() {
    alone("connections::a_udp_client_that_came_before_its_task_is_served_by_it", |world| {
        net::node::up(&world.node).unwrap();
        let _held = net::hold::bind(Transport::Udp, 5300).unwrap();
        for to in NODE {
            let socket = client(world, to);
            // Swallowed by the held socket: neither an answer nor an error, and now the kernel tracks it.
            assert_eq!(ask(&socket, Duration::from_millis(100)), None);
            assert_eq!(tracked(), 1);
            let task = start(world, 2, "late");
            assert!(ask(&socket, DEADLINE).is_some_and(|a| a.starts_with("late")), "{to}");
            drop(task);
            net::down(&world.bridge(2, &PORTS)).unwrap();
        }
    });
}

#[test]
#[ignore = "needs root"]
fn a_udp_client_goes_to_the_next_task_of_the_port_not_to_the_address_of_the_last() {
    alone("connections::a_udp_client_goes_to_the_next_task_of_the_port_not_to_the_address_of_the_last", |world| {
        net::node::up(&world.node).unwrap();
        let _held = net::hold::bind(Transport::Udp, 5300).unwrap();
        for to in NODE {
            let socket = client(world, to);
            let first = start(world, 2, "first");
            assert!(ask(&socket, DEADLINE).is_some_and(|a| a.starts_with("first")), "{to}");
            drop(first);
            net::down(&world.bridge(2, &PORTS)).unwrap();
            assert_eq!(tracked(), 0);
            // Sent on to nobody: tracked again, as a flow to the held socket.
            assert_eq!(ask(&socket, Duration::from_millis(100)), None);
            let second = start(world, 3, "second");
            assert!(ask(&socket, DEADLINE).is_some_and(|a| a.starts_with("second")), "{to}");
            drop(second);
            net::down(&world.bridge(3, &PORTS)).unwrap();
        }
    });
}

#[test]
#[ignore = "needs root"]
fn publishing_a_port_leaves_other_peoples_flows_alone() {
    alone("connections::publishing_a_port_leaves_other_peoples_flows_alone", |world| {
        net::node::up(&world.node).unwrap();
        // A task that asks a server outside on the very port that is published here next.
        let asking = net::up(&world.bridge(9, &[])).unwrap().unwrap();
        serve(&world.outside, "far", Transport::Udp, 5300);
        let socket = within(&asking, || {
            let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
            socket.connect((crate::world::OUTSIDE[0], 5300)).unwrap();
            socket
        });
        assert!(ask(&socket, DEADLINE).is_some());
        assert_eq!(tracked(), 1);
        let _task = start(world, 2, "here");
        assert_eq!(tracked(), 1);
        assert!(ask(&socket, DEADLINE).is_some_and(|a| a == format!("far {}", NODE[0])));
    });
}

/// Connects to the published port from one and the same port of the client's.
fn connect_from(world: &World, port: u16, to: &str) -> std::io::Result<String> {
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, bind, connect, setsockopt, socket, sockopt};
    use std::os::fd::AsRawFd;
    within(&world.outside, || {
        let fd = socket(AddressFamily::Inet, SockType::Stream, SockFlag::empty(), None)?;
        setsockopt(&fd, sockopt::ReuseAddr, &true)?;
        bind(fd.as_raw_fd(), &SockaddrIn::new(0, 0, 0, 0, port))?;
        let to: std::net::Ipv4Addr = to.parse().unwrap();
        connect(fd.as_raw_fd(), &SockaddrIn::from(std::net::SocketAddrV4::new(to, 5300)))?;
        let mut said = String::new();
        std::io::Read::read_to_string(&mut std::net::TcpStream::from(fd), &mut said)?;
        Ok(said)
    })
}

#[test]
#[ignore = "needs root"]
fn a_tcp_client_that_was_refused_is_served_from_the_same_port_as_soon_as_the_task_is_there() {
    alone(
        "connections::a_tcp_client_that_was_refused_is_served_from_the_same_port_as_soon_as_the_task_is_there",
        |world| {
            net::node::up(&world.node).unwrap();
            let _held = net::hold::bind(Transport::Tcp, 5300).unwrap();
            let refused = connect_from(world, 40_000, NODE[0]).unwrap_err();
            assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
            let ports = [Publish { transport: Transport::Tcp, host_port: 5300, container_port: 53 }];
            let task = net::up(&world.bridge(2, &ports)).unwrap().unwrap();
            serve(&task, "there", Transport::Tcp, 53);
            assert_eq!(connect_from(world, 40_000, NODE[0]).unwrap(), format!("there {}", crate::world::OUTSIDE[0]));
        },
    );
}
