//! Connections that the kernel tracks, and deleting those that a change of published ports has made wrong.
//!
//! nftables decides about a connection once, at its first packet; the decision is kept with the tracked connection.
//! A datagram that came before its port was published keeps its sender's flow on the held socket for as long as it
//! goes on sending, and a flow to a task that is gone goes on to whoever gets the task's address next.

use super::address;
use super::attr::{self, Attr, Attrs};
use super::netlink::{Request, Talk, errno};
use super::plan::Transport;
use super::sysctl;
use crate::errno::OpError;
use std::net::IpAddr;

const NFNL_SUBSYS_CTNETLINK: u16 = 1;
const IPCTNL_MSG_CT_GET: u16 = 1;
const IPCTNL_MSG_CT_DELETE: u16 = 2;
const CTA_TUPLE_ORIG: u16 = 1;
const CTA_TUPLE_REPLY: u16 = 2;
const CTA_ID: u16 = 12;
const CTA_ZONE: u16 = 18;
const CTA_TUPLE_IP: u16 = 1;
const CTA_TUPLE_PROTO: u16 = 2;

/// One direction of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tuple {
    pub(crate) source: IpAddr,
    pub(crate) destination: IpAddr,
    /// Number of the transport protocol.
    pub(crate) protocol: u8,
    /// 0 where the protocol has no ports.
    pub(crate) destination_port: u16,
}

/// A tracked connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Connection {
    /// As its first packet went.
    pub(crate) original: Tuple,
    /// As answers come: from where the packets were really sent to.
    pub(crate) reply: Tuple,
    /// The message that deletes this connection and no later one of the same addresses.
    delete: Vec<u8>,
}

impl Connection {
    /// Whether one end is `address`, as anybody sees it.
    pub(crate) fn touches(&self, address: IpAddr) -> bool {
        [self.original.source, self.original.destination, self.reply.source, self.reply.destination].contains(&address)
    }

    /// Whether it goes to a port of `ports` and nobody has sent it on to another address.
    pub(crate) fn stays_on(&self, transport: Transport, ports: &[u16]) -> bool {
        self.original.protocol == transport.number()
            && ports.contains(&self.original.destination_port)
            && self.reply.source == self.original.destination
    }
}

fn message(kind: u16, payload: Vec<u8>, op: &'static str, object: String) -> Request {
    Request { kind: (NFNL_SUBSYS_CTNETLINK << 8) | kind, flags: 0, payload, op, object }
}

/// Deletes the connections that `wrong` picks, and says how many.
pub(crate) fn delete(talk: &mut Talk, wrong: impl Fn(&Connection) -> bool) -> Result<usize, OpError> {
    // Most nodes track something; one that tracks nothing need not walk its table, which has a bucket for each
    // 16 KiB of memory. The parameter is missing while connection tracking is not loaded: nothing is tracked.
    if matches!(sysctl::read("net/netfilter/nf_conntrack_count")?.as_deref(), None | Some("0")) {
        return Ok(0);
    }
    let mut found = Vec::new();
    let query =
        message(IPCTNL_MSG_CT_GET, vec![0, 0, 0, 0], "list tracked connections of", "this namespace".to_owned());
    talk.dump(&query, |_, payload| found.extend(parse(payload).filter(&wrong)))?;
    let requests: Vec<_> = found
        .into_iter()
        .map(|c| {
            let object = format!("{} to {}", c.original.source, c.original.destination);
            message(IPCTNL_MSG_CT_DELETE, c.delete, "delete tracked connection", object)
        })
        .collect();
    let mut deleted = 0;
    // In pieces, so that the answers fit the receive buffer.
    for some in requests.chunks(100) {
        for answer in talk.ask_each(some)? {
            match answer {
                Ok(()) => deleted += 1,
                // It ended by itself meanwhile.
                Err(e) if errno(&e) == Some(libc::ENOENT) => {}
                Err(e) => return Err(e),
            }
        }
    }
    Ok(deleted)
}

fn parse(payload: &[u8]) -> Option<Connection> {
    let family = *payload.first()?;
    let attrs = payload.get(4..)?;
    let mut delete = Attrs::after(&[family, 0, 0, 0]);
    for Attr { kind, value } in attr::attributes(attrs).filter(|a| [CTA_TUPLE_ORIG, CTA_ID, CTA_ZONE].contains(&a.kind))
    {
        delete = delete.bytes(if kind == CTA_TUPLE_ORIG { kind | attr::NESTED } else { kind }, value);
    }
    let tuple_of = |kind| tuple(attr::find(attrs, kind)?);
    Some(Connection {
        original: tuple_of(CTA_TUPLE_ORIG)?,
        reply: tuple_of(CTA_TUPLE_REPLY)?,
        delete: delete.into_bytes(),
    })
}

fn tuple(of: Attr<'_>) -> Option<Tuple> {
    let ends = attr::find(of.value, CTA_TUPLE_IP)?.value;
    let protocol = attr::find(of.value, CTA_TUPLE_PROTO)?.value;
    // Types 1 and 2 are source and destination in IPv4, 3 and 4 in IPv6.
    let end = |v4, v6| address::ip(attr::find(ends, v4).or_else(|| attr::find(ends, v6))?.value);
    Some(Tuple {
        source: end(1, 3)?,
        destination: end(2, 4)?,
        protocol: *attr::find(protocol, 1)?.value.first()?,
        destination_port: attr::find(protocol, 3).and_then(Attr::be16).unwrap_or(0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn direction(source: [u8; 4], destination: [u8; 4], port: u16) -> Attrs {
        let ends = Attrs::new().bytes(1, &source).bytes(2, &destination);
        let protocol = Attrs::new().u8(1, 17).be16(2, 9).be16(3, port);
        Attrs::new().nest(CTA_TUPLE_IP, &ends).nest(CTA_TUPLE_PROTO, &protocol)
    }

    fn connection(reply_from: [u8; 4]) -> Vec<u8> {
        Attrs::after(&[2, 0, 0, 0])
            .nest(CTA_TUPLE_ORIG, &direction([192, 0, 2, 9], [192, 0, 2, 1], 53))
            .nest(CTA_TUPLE_REPLY, &direction(reply_from, [192, 0, 2, 9], 9))
            .be32(CTA_ID, 77)
            .into_bytes()
    }

    #[test]
    fn a_flow_that_nobody_sent_on_stays_on_its_port() {
        let came_early = parse(&connection([192, 0, 2, 1])).unwrap();
        assert!(came_early.stays_on(Transport::Udp, &[52, 53]));
        assert!(!came_early.stays_on(Transport::Tcp, &[53]));
        assert!(!came_early.stays_on(Transport::Udp, &[54]));
        let sent_on = parse(&connection([172, 30, 0, 2])).unwrap();
        assert!(!sent_on.stays_on(Transport::Udp, &[53]));
        assert!(sent_on.touches("172.30.0.2".parse().unwrap()));
    }

    #[test]
    fn a_deletion_names_the_connection_by_its_id() {
        let found = parse(&connection([192, 0, 2, 1])).unwrap();
        assert_eq!(attr::find(&found.delete[4..], CTA_ID).unwrap().value, 77u32.to_be_bytes());
        assert!(attr::find(&found.delete[4..], CTA_TUPLE_ORIG).is_some());
        assert!(attr::find(&found.delete[4..], CTA_TUPLE_REPLY).is_none());
    }

    proptest::proptest! {
        #[test]
        fn foreign_connections_never_panic(bytes: Vec<u8>) {
            let _ = parse(&bytes);
        }
    }
}
