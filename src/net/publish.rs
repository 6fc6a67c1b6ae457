//! Published ports: elements of the table's maps, and what connection tracking remembers of them.

use super::netlink::{Talk, errno};
use super::nft::ruleset::{PUBLISH4, PUBLISH6};
use super::nft::{self, Batch, Element};
use super::plan::{IpPrefix, NodeNet, Publish, Transport};
use super::{address, conntrack};
use crate::errno::OpError;
use std::fmt;
use std::io;
use std::net::IpAddr;

impl Transport {
    /// The protocol's number.
    pub(crate) fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
        }
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

/// One port of the node and where it leads, as the kernel has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Published {
    /// TCP or UDP.
    pub transport: Transport,
    /// The node's port.
    pub host_port: u16,
    /// The task's address.
    pub address: IpAddr,
    /// The task's port.
    pub container_port: u16,
}

fn map_of(address: IpAddr) -> &'static str {
    if address.is_ipv4() { PUBLISH4 } else { PUBLISH6 }
}

fn padded_port(port: u16) -> [u8; 4] {
    let [high, low] = port.to_be_bytes();
    [high, low, 0, 0]
}

fn key(transport: Transport, host_port: u16) -> Vec<u8> {
    let mut key = vec![transport.number(), 0, 0, 0];
    key.extend_from_slice(&padded_port(host_port));
    key
}

fn element(publish: Publish, to: IpAddr) -> Element {
    let mut data = match to {
        IpAddr::V4(a) => a.octets().to_vec(),
        IpAddr::V6(a) => a.octets().to_vec(),
    };
    data.extend_from_slice(&padded_port(publish.container_port));
    Element { key: key(publish.transport, publish.host_port), data }
}

/// Reads an element of a map; `None` for what we never write.
fn published(element: &Element) -> Option<Published> {
    let transport = match element.key.first()? {
        6 => Transport::Tcp,
        17 => Transport::Udp,
        _ => return None,
    };
    let port = |bytes: &[u8]| Some(u16::from_be_bytes([*bytes.first()?, *bytes.get(1)?]));
    let (to, container) = element.data.split_at_checked(element.data.len().checked_sub(4)?)?;
    Some(Published {
        transport,
        host_port: port(element.key.get(4..)?)?,
        address: address::ip(to)?,
        container_port: port(container)?,
    })
}

/// Publishes ports of the node as ports at `addresses`. With an error it is all of them (connection tracking refused
/// to forget old flows) or none: [`remove`] knows which.
pub(crate) fn add(talk: &mut Talk, node: &NodeNet, addresses: &[IpPrefix], ports: &[Publish]) -> Result<(), OpError> {
    if ports.is_empty() {
        return Ok(());
    }
    let mut batch = Batch::new(&node.table);
    for to in addresses {
        let elements: Vec<_> = ports.iter().map(|p| element(*p, to.address)).collect();
        batch.add_new_elements(map_of(to.address), &elements);
    }
    batch.commit(talk).map_err(|e| taken(talk, node, addresses, ports).unwrap_or(e))?;
    // TCP needs none: nobody listened on the port, so no connection can have been made to it, and one that was
    // refused is forgotten at the next SYN. Deleting entries would only cut off connections that are older than
    // the hold on the port.
    let udp: Vec<_> = ports.iter().filter(|p| p.transport == Transport::Udp).map(|p| p.host_port).collect();
    if udp.is_empty() {
        return Ok(());
    }
    let mine = local_addresses()?;
    conntrack::delete(talk, |c| {
        c.stays_on(Transport::Udp, &udp) && mine.iter().any(|m| address::contains(*m, c.original.destination))
    })
    .map(drop)
}

/// The node's own addresses, each as a network of one but for loopback: a flow to anybody else's is not for a
/// published port.
fn local_addresses() -> Result<Vec<IpPrefix>, OpError> {
    let all = address::list(&mut Talk::route()?)?.into_iter().map(|(_, a)| a);
    let whole = |a: IpPrefix| if a.address.is_loopback() { a.prefix } else { address::bits(a.address) };
    Ok(all.map(|a| IpPrefix { address: a.address, prefix: whole(a) }).collect())
}

/// The clear form of a refusal: the first of `ports` that leads somewhere already.
fn taken(talk: &mut Talk, node: &NodeNet, addresses: &[IpPrefix], ports: &[Publish]) -> Option<OpError> {
    for to in addresses {
        for port in ports {
            let wanted = key(port.transport, port.host_port);
            let there = nft::element(talk, &node.table, map_of(to.address), &wanted).ok().flatten();
            let Some(there) = there.as_ref().and_then(published) else { continue };
            let words = format!("it leads to {} port {} already", there.address, there.container_port);
            let source = io::Error::new(io::ErrorKind::AddrInUse, words);
            return Some(OpError::new("publish port", format!("{}/{}", port.host_port, port.transport), source));
        }
    }
    None
}

/// Takes back published ports that lead to `addresses`; those that lead elsewhere have a new owner and stay.
pub(crate) fn remove(
    talk: &mut Talk,
    node: &NodeNet,
    addresses: &[IpPrefix],
    ports: &[Publish],
) -> Result<(), OpError> {
    let mut batch = Batch::new(&node.table);
    let mut any = false;
    for to in addresses {
        let map = map_of(to.address);
        let mut ours = Vec::new();
        for port in ports {
            let wanted = element(*port, to.address);
            if nft::element(talk, &node.table, map, &wanted.key)?.is_some_and(|there| there.data == wanted.data) {
                ours.push(wanted);
            }
        }
        any |= !ours.is_empty();
        batch.delete_elements(map, &ours);
    }
    if !any {
        return Ok(());
    }
    match batch.commit(talk) {
        // Another teardown of the same task was faster.
        Err(e) if errno(&e) == Some(libc::ENOENT) => Ok(()),
        other => other,
    }
}

/// Makes the kernel forget every connection of `addresses`, which are about to be somebody else's.
pub(crate) fn forget(talk: &mut Talk, addresses: &[IpPrefix]) -> Result<(), OpError> {
    conntrack::delete(talk, |c| addresses.iter().any(|a| c.touches(a.address))).map(drop)
}

/// All published ports of the node.
pub(crate) fn list(talk: &mut Talk, node: &NodeNet) -> Result<Vec<Published>, OpError> {
    let mut found = Vec::new();
    for map in [PUBLISH4, PUBLISH6] {
        found.extend(nft::elements(talk, &node.table, map)?.iter().filter_map(published));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_published_port_is_read_back_from_its_element() {
        for to in ["172.30.0.2", "fd00::2"] {
            let address: IpAddr = to.parse().unwrap();
            let publish = Publish { transport: Transport::Udp, host_port: 5353, container_port: 53 };
            let read = published(&element(publish, address)).unwrap();
            assert_eq!(read, Published { transport: Transport::Udp, host_port: 5353, address, container_port: 53 });
        }
    }

    proptest::proptest! {
        #[test]
        fn foreign_elements_never_panic(key: Vec<u8>, data: Vec<u8>) {
            let _ = published(&Element { key, data });
        }
    }
}
