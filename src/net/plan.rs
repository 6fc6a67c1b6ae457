//! What one network namespace gets, decided before anything is made.

use crate::{enum_codec, struct_codec};
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;

/// Names of the node's own network objects, so that several nodes can share one kernel in tests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeNet {
    /// The bridge device of bridge-mode containers, 15 bytes at most.
    pub bridge: String,
    /// The nftables table, in the `inet` family.
    pub table: String,
    /// The bridge's own address, prefix and pool of bridge-mode containers.
    pub bridge_v4: Option<IpPrefix>,
    /// The same in IPv6.
    pub bridge_v6: Option<IpPrefix>,
    /// The pool of awsvpc tasks: routed by the host, a /32 each.
    pub awsvpc_v4: Option<IpPrefix>,
    /// The same in IPv6, a /128 each.
    pub awsvpc_v6: Option<IpPrefix>,
}
struct_codec!(NodeNet { bridge, table, bridge_v4, bridge_v6, awsvpc_v4, awsvpc_v6 });

/// An address and the length of its prefix in bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct IpPrefix {
    /// The address, host bits included.
    pub address: IpAddr,
    /// 0 to 32 or 0 to 128.
    pub prefix: u8,
}
struct_codec!(IpPrefix { address, prefix });

impl fmt::Display for IpPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

/// Text is no address with a prefix length.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPrefix {
    /// It has another form.
    #[error("`{0}` is no ADDRESS/LENGTH")]
    Form(String),
    /// The family has fewer bits.
    #[error("`{text}` has no such prefix length, limit {limit}")]
    Length {
        /// The text.
        text: String,
        /// The longest prefix of its family.
        limit: u8,
    },
}

impl FromStr for IpPrefix {
    type Err = InvalidPrefix;

    fn from_str(text: &str) -> Result<Self, InvalidPrefix> {
        let form = || InvalidPrefix::Form(text.to_owned());
        let (address, prefix) = text.split_once('/').ok_or_else(form)?;
        let address: IpAddr = address.parse().map_err(|_| form())?;
        let prefix: u8 = prefix.parse().map_err(|_| form())?;
        let limit = if address.is_ipv4() { 32 } else { 128 };
        if prefix > limit {
            Err(InvalidPrefix::Length { text: text.to_owned(), limit })
        } else {
            Ok(Self { address, prefix })
        }
    }
}

/// What one network namespace is joined to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NetPlan {
    /// The host's namespace: nothing is made.
    Host,
    /// A namespace with a loopback device only.
    None {
        /// Where the namespace is pinned.
        pin: PathBuf,
    },
    /// A veth on the node's bridge.
    Bridge {
        /// Where the namespace is pinned.
        pin: PathBuf,
        /// The node's network objects.
        node: NodeNet,
        /// Name of the veth's host end, 15 bytes at most, unique on the node.
        host_link: String,
        /// Addresses of `eth0`, one per family, with the bridge's prefix; the gateway is the bridge's address.
        addresses: Vec<IpPrefix>,
        /// Published ports.
        publish: Vec<Publish>,
    },
    /// A veth routed by the host, with an address of its own per family.
    Awsvpc {
        /// Where the namespace is pinned.
        pin: PathBuf,
        /// The node's network objects.
        node: NodeNet,
        /// Name of the veth's host end, 15 bytes at most, unique on the node.
        host_link: String,
        /// Addresses of `eth0`, /32 and /128.
        addresses: Vec<IpPrefix>,
        /// The task's MAC address as six bytes.
        mac: Vec<u8>,
    },
}
enum_codec!(NetPlan {
    0 => Host,
    1 => None { pin },
    2 => Bridge { pin, node, host_link, addresses, publish },
    3 => Awsvpc { pin, node, host_link, addresses, mac },
});

/// A transport protocol whose ports can be published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Transport {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}
enum_codec!(Transport { 6 => Tcp, 17 => Udp });

/// One port of the host that leads to one port of a container. The host's port is held by a bound socket in the shim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Publish {
    /// TCP or UDP.
    pub transport: Transport,
    /// The host's port, on all of its addresses.
    pub host_port: u16,
    /// The container's port.
    pub container_port: u16,
}
struct_codec!(Publish { transport, host_port, container_port });
