//! The node's own network objects: the bridge, the nftables table, the kernel's parameters.
//!
//! [`up`] makes them what they should be from any state, as often as it is called, and disturbs no running task;
//! [`down`] takes bridge and table away again. Forwarding stays on: others may have come to count on it, and nobody
//! can tell.

use super::address::{self, Scope};
use super::attach::address_mac;
use super::link::{self, Link};
use super::netlink::{Talk, errno};
use super::nft::{self, Batch, Element, ruleset};
use super::plan::{IpPrefix, NodeNet};
use super::sysctl;
use crate::errno::{OpContext, OpError};
use std::io;
use std::net::Ipv6Addr;

/// Whether bridged IPv6 packets are shown to nftables a second time, by whoever loaded br_netfilter.
const BRIDGE_CALLS_IP6TABLES: &str = "net/bridge/bridge-nf-call-ip6tables";

impl NodeNet {
    /// The pools there are, by what they are for.
    pub(crate) fn pools(&self) -> impl Iterator<Item = (&'static str, IpPrefix)> {
        let named = [
            ("bridge-v4", self.bridge_v4),
            ("bridge-v6", self.bridge_v6),
            ("awsvpc-v4", self.awsvpc_v4),
            ("awsvpc-v6", self.awsvpc_v6),
        ];
        named.into_iter().filter_map(|(name, pool)| Some((name, pool?)))
    }

    fn bridge_addresses(&self) -> impl Iterator<Item = IpPrefix> {
        self.bridge_v4.into_iter().chain(self.bridge_v6)
    }

    fn uses_ipv6(&self) -> bool {
        self.bridge_v6.is_some() || self.awsvpc_v6.is_some()
    }
}

/// Checks what can be checked without the kernel.
pub fn validate(node: &NodeNet) -> Result<(), OpError> {
    let refuse = |op, object: String, words: &str| {
        Err(OpError::new(op, object, io::Error::new(io::ErrorKind::InvalidInput, words)))
    };
    link::check_name(&node.bridge)?;
    if node.table.is_empty()
        || node.table.len() > 63
        || !node.table.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_./".contains(&b))
    {
        return refuse(
            "use nftables table name",
            node.table.clone(),
            "needs 1 to 63 letters, digits, `-`, `_`, `.`, `/`",
        );
    }
    for (name, pool) in node.pools() {
        let object = || format!("{name} {}/{}", pool.address, pool.prefix);
        if pool.address.is_ipv4() != name.ends_with("v4") {
            return refuse("use pool", object(), "is of the other address family");
        }
        if pool.prefix > address::bits(pool.address) || pool.prefix == 0 {
            return refuse("use pool", object(), "has no such prefix length");
        }
        if name.starts_with("bridge") && pool.prefix > address::bits(pool.address) - 2 {
            return refuse("use pool", object(), "leaves no address for a task");
        }
    }
    Ok(())
}

/// The node as far as the kernel can have it: without its IPv6 pools where there is no IPv6. Settings have them by
/// default, and a host without loses nothing but them.
pub(crate) fn without_missing(node: &NodeNet, has_ipv6: bool) -> NodeNet {
    let keep = |pool: Option<IpPrefix>| pool.filter(|_| has_ipv6);
    NodeNet { bridge_v6: keep(node.bridge_v6), awsvpc_v6: keep(node.awsvpc_v6), ..node.clone() }
}

/// Makes the node's network what it should be; running it again changes nothing.
pub fn up(node: &NodeNet) -> Result<(), OpError> {
    validate(node)?;
    let node = &without_missing(node, sysctl::has_ipv6());
    allow_forwarding(node)?;
    let mut talk = Talk::route()?;
    let bridge = ensure_bridge(&mut talk, node)?;
    set_parameters(node)?;
    ensure_addresses(&mut talk, node, &bridge)?;
    ensure_mtu(&mut talk, &bridge)?;
    if node.bridge_v6.is_some() {
        talk.ask(&[address::accept_loopback_v6(bridge.index)])?;
    }
    let mut netfilter = Talk::netfilter()?;
    ruleset::batch(node).commit(&mut netfilter)?;
    refuse_loopback_v6(&mut netfilter, node, bridge_interferes()?)
}

/// Sets the bridge's own parameters, before it has addresses.
fn set_parameters(node: &NodeNet) -> Result<(), OpError> {
    let parameter = |family: &str, name: &str| format!("net/{family}/conf/{}/{name}", node.bridge);
    if node.bridge_v4.is_some() {
        // Lets packets of clients on 127.0.0.1 out to tasks; the table's `raw` chain keeps tasks from using it.
        sysctl::ensure(&parameter("ipv4", "route_localnet"), "1")?;
    }
    // The host takes no router's word from a task, whatever it does elsewhere.
    sysctl::write_if_present(&parameter("ipv6", "accept_ra"), "0")?;
    // The bridge gets its link-local address as the first task comes; while that was still being checked for
    // duplicates the node could not ask where a task is, and clients from outside would wait for two seconds.
    sysctl::write_if_present(&parameter("ipv6", "accept_dad"), "0")?;
    if node.bridge_v6.is_some() {
        // Hosts that use no IPv6 switch it off for every link; this one was asked for by name.
        sysctl::ensure(&parameter("ipv6", "disable_ipv6"), "0")?;
    }
    Ok(())
}

/// Takes bridge and table away, where they are and are ours.
pub fn down(node: &NodeNet) -> Result<(), Vec<OpError>> {
    let mut errors = Vec::new();
    let table = Talk::netfilter().and_then(|mut talk| {
        let mut batch = Batch::new(&node.table);
        batch.delete_table();
        match batch.commit(&mut talk) {
            Err(e) if errno(&e) == Some(libc::ENOENT) => Ok(()),
            other => other,
        }
    });
    errors.extend(table.err());
    let bridge = Talk::route().and_then(|mut talk| link::remove(&mut talk, &node.bridge, link::group(node)));
    errors.extend(bridge.err());
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}

/// Whether bridged IPv6 packets pass nftables twice, see [`refuse_loopback_v6`].
pub(crate) fn bridge_interferes() -> Result<bool, OpError> {
    Ok(sysctl::read(BRIDGE_CALLS_IP6TABLES)?.as_deref() == Some("1"))
}

/// Says whether published ports are refused on ::1.
///
/// With br_netfilter in the way, the packets of a client on ::1 are lost between bridge and task: refused at once,
/// the client falls back to 127.0.0.1; led to the task, it would wait for ever.
fn refuse_loopback_v6(talk: &mut Talk, node: &NodeNet, refuse: bool) -> Result<(), OpError> {
    let loopback = Element { key: Ipv6Addr::LOCALHOST.octets().to_vec(), data: Vec::new() };
    let there = nft::element(talk, &node.table, ruleset::REFUSED6, &loopback.key)?.is_some();
    let mut batch = Batch::new(&node.table);
    match (there, refuse) {
        (false, true) => batch.add_elements(ruleset::REFUSED6, &[loopback]),
        (true, false) => batch.delete_elements(ruleset::REFUSED6, &[loopback]),
        _ => return Ok(()),
    }
    batch.commit(talk)
}

fn allow_forwarding(node: &NodeNet) -> Result<(), OpError> {
    sysctl::ensure("net/ipv4/ip_forward", "1")?;
    if !node.uses_ipv6() || sysctl::read("net/ipv6/conf/all/forwarding")?.as_deref() == Some("1") {
        return Ok(());
    }
    // A host that forwards takes no more router advertisements, and forgets the default route it has from one, but
    // where it is told to (2).
    let directory = "/proc/sys/net/ipv6/conf";
    for entry in std::fs::read_dir(directory).op("list", directory)? {
        let name = entry.op("list", directory)?.file_name();
        let Some(name) = name.to_str().filter(|n| !["all", "default", "lo"].contains(n)) else { continue };
        let parameter = format!("net/ipv6/conf/{name}/accept_ra");
        if sysctl::read(&parameter)?.as_deref() == Some("1") {
            sysctl::write_if_present(&parameter, "2")?;
        }
    }
    sysctl::write("net/ipv6/conf/all/forwarding", "1")
}

fn ensure_bridge(talk: &mut Talk, node: &NodeNet) -> Result<Link, OpError> {
    let name = &node.bridge;
    if link::find(talk, name)?.is_none() {
        let mac = address_mac(node.bridge_addresses().next().map(|a| a.address));
        match talk.ask(&[link::add_bridge(name, link::group(node), mac)]) {
            // Somebody made one since we looked: it is checked below as any other.
            Err(e) if errno(&e) == Some(libc::EEXIST) => {}
            other => other?,
        }
    }
    let bridge = own_bridge(talk, node)?;
    if !bridge.up {
        talk.ask(&[link::set_up(name)])?;
    }
    Ok(bridge)
}

/// The node's bridge, where there is one of that name and it is ours.
pub(crate) fn own_bridge(talk: &mut Talk, node: &NodeNet) -> Result<Link, OpError> {
    let name = &node.bridge;
    let refuse = |kind, words: &str| Err(OpError::new("use bridge", name, io::Error::new(kind, words)));
    match link::find(talk, name)? {
        None => refuse(io::ErrorKind::NotFound, "no such link: the node's network is not up"),
        Some(l) if l.kind != "bridge" => refuse(io::ErrorKind::AlreadyExists, "a link of that name is no bridge"),
        Some(l) if l.group != link::group(node) => {
            refuse(io::ErrorKind::AlreadyExists, "a bridge of that name was not made by this node")
        }
        Some(l) => Ok(l),
    }
}

/// Gives the bridge the MTU of the link that leads out of the node; tasks get theirs from the bridge. One that is too
/// large loses packets wherever somebody filters the ICMP messages that would say so.
fn ensure_mtu(talk: &mut Talk, bridge: &Link) -> Result<(), OpError> {
    let Some(uplink) = address::default_link(talk)? else { return Ok(()) };
    match link::list(talk)?.into_iter().find(|l| l.index == uplink) {
        Some(uplink) if uplink.mtu != bridge.mtu => talk.ask(&[link::set_mtu(&bridge.name, uplink.mtu)]),
        _ => Ok(()),
    }
}

fn ensure_addresses(talk: &mut Talk, node: &NodeNet, bridge: &Link) -> Result<(), OpError> {
    let there: Vec<_> = address::list(talk)?.into_iter().filter(|(l, _)| *l == bridge.index).map(|(_, a)| a).collect();
    let wanted: Vec<_> = node.bridge_addresses().collect();
    // Of a configuration that was changed since.
    let old = there.iter().filter(|a| !wanted.contains(a) && !address::is_link_local(a.address));
    let new = wanted.iter().filter(|a| !there.contains(a));
    let mut requests: Vec<_> = old.map(|a| address::delete(bridge.index, *a)).collect();
    requests.extend(new.map(|a| address::add(bridge.index, *a, Scope::Global, false)));
    talk.ask(&requests)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::errno::chain;

    fn node() -> NodeNet {
        let pool = |text: &str, prefix| Some(IpPrefix { address: text.parse().unwrap(), prefix });
        NodeNet {
            bridge: "berth0".into(),
            table: "berth".into(),
            bridge_v4: pool("172.30.0.1", 16),
            bridge_v6: pool("fd00::1", 64),
            awsvpc_v4: pool("10.80.0.0", 24),
            awsvpc_v6: None,
        }
    }

    #[test]
    fn a_kernel_without_ipv6_costs_a_node_its_ipv6_pools_only() {
        let left = without_missing(&node(), false);
        assert_eq!(left.pools().map(|(name, _)| name).collect::<Vec<_>>(), ["bridge-v4", "awsvpc-v4"]);
        assert_eq!(without_missing(&node(), true), node());
    }

    #[test]
    fn a_node_is_refused_with_the_field_that_is_wrong() {
        assert!(validate(&node()).is_ok());
        let mut wrong = node();
        wrong.bridge_v4 = wrong.bridge_v6;
        assert_eq!(
            chain(&validate(&wrong).unwrap_err()),
            "use pool `bridge-v4 fd00::1/64`: is of the other address family"
        );
        let mut wrong = node();
        wrong.bridge_v4 = Some(IpPrefix { address: "10.0.0.1".parse().unwrap(), prefix: 31 });
        assert_eq!(
            chain(&validate(&wrong).unwrap_err()),
            "use pool `bridge-v4 10.0.0.1/31`: leaves no address for a task"
        );
        let mut wrong = node();
        wrong.table = "a table".into();
        assert!(validate(&wrong).is_err());
    }
}
