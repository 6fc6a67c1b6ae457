//! Networks between hosts.

use crate::TestHost;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::process::Command;
use std::sync::atomic::{AtomicU8, Ordering};

/// The two ends of a cable between two hosts, each with an IPv4 /24 and an IPv6 /64.
#[derive(Debug, Clone)]
pub struct Link {
    /// Name of the device, the same at both ends.
    pub device: String,
    /// Addresses of the first host.
    pub first: (Ipv4Addr, Ipv6Addr),
    /// Addresses of the second host.
    pub second: (Ipv4Addr, Ipv6Addr),
}

/// A second machine on a cable with the first, which is its default route.
#[derive(Debug)]
pub struct Peer {
    /// The machine.
    pub host: TestHost,
    /// The first machine's addresses on the cable: where clients on this one find it.
    pub server: (Ipv4Addr, Ipv6Addr),
    /// This machine's own addresses on the cable.
    pub address: (Ipv4Addr, Ipv6Addr),
}

impl TestHost {
    /// Starts a second machine, joined to this one by a cable. Each is the other's default route. What the cable adds
    /// to this host counts as having always been there.
    pub fn peer(&mut self) -> Peer {
        let mut peer = Self::new(&format!("{}-peer", self.name()));
        let link = self.connect(&peer);
        for (host, gateway) in [(&*self, link.second), (&peer, link.first)] {
            for (family, address) in [("-4", gateway.0.to_string()), ("-6", gateway.1.to_string())] {
                host.run("ip", &[family, "route", "replace", "default", "via", &address]);
            }
        }
        self.rebase();
        peer.rebase();
        Peer { host: peer, server: link.first, address: link.second }
    }

    /// Joins this host and another by a cable (a veth), with addresses of a new network.
    pub fn connect(&self, other: &Self) -> Link {
        static NETWORK: AtomicU8 = AtomicU8::new(1);
        let n = NETWORK.fetch_add(1, Ordering::Relaxed);
        let device = format!("cable{n}");
        let net = |last: u8| {
            (Ipv4Addr::new(198, 18, n, last), Ipv6Addr::new(0xfd00, 0x18, n.into(), 0, 0, 0, 0, last.into()))
        };
        let link = Link { device: device.clone(), first: net(1), second: net(2) };
        // `netns PID` counts in the pid namespace of `ip`, so only the network is entered.
        let mut add = Command::new("nsenter");
        add.args(["--target", &self.pid().to_string(), "--net", "ip", "link", "add", &device, "type", "veth"]);
        crate::run(add.args(["peer", "name", &device, "netns", &other.pid().to_string()]));
        for (host, (v4, v6)) in [(self, link.first), (other, link.second)] {
            host.run("ip", &["address", "add", &format!("{v4}/24"), "dev", &device]);
            host.run("ip", &["address", "add", &format!("{v6}/64"), "dev", &device, "nodad"]);
            host.run("ip", &["link", "set", &device, "up"]);
        }
        link
    }
}
