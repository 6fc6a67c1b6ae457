//! Addresses and routes.

use super::attr::{self, Attr};
use super::netlink::{CREATE, CREATE_NEW, Request, Talk};
use super::plan::IpPrefix;
use crate::errno::OpError;
use netlink_packet_core::Emitable;
use netlink_packet_route::AddressFamily;
use netlink_packet_route::address::{AddressAttribute, AddressHeaderFlags, AddressMessage, AddressScope};
use netlink_packet_route::route::{RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

const RTM_NEWADDR: u16 = 20;
const RTM_DELADDR: u16 = 21;
const RTM_GETADDR: u16 = 22;
const RTM_GETMULTICAST: u16 = 58;
const RTM_NEWROUTE: u16 = 24;
const RTM_GETROUTE: u16 = 26;
/// Bytes of `struct rtmsg`.
const RTMSG: usize = 12;
const RTN_UNICAST: u8 = 1;
const RTA_OIF: u16 = 4;
const RTA_PRIORITY: u16 = 6;
/// Bytes of `struct ifaddrmsg`.
const IFADDRMSG: usize = 8;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_BROADCAST: u16 = 4;
const IFA_MULTICAST: u16 = 7;
const IFA_FLAGS: u16 = 8;
/// `RT_SCOPE_UNIVERSE`.
const SCOPE_UNIVERSE: u8 = 0;
/// `IFA_F_PERMANENT`.
const FLAG_PERMANENT: u32 = 0x80;
/// `IFA_F_NODAD | IFA_F_HOMEADDRESS | IFA_F_NOPREFIXROUTE`: flags that whoever adds an address chooses; the rest is the
/// kernel's account of it.
const FLAGS_GIVEN: u32 = 0x02 | 0x10 | 0x200;
/// `RT_TABLE_LOCAL`.
const TABLE_LOCAL: u8 = 255;
/// `NLM_F_REPLACE`.
const REPLACE: u16 = 0x100;

fn family(address: IpAddr) -> AddressFamily {
    match address {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    }
}

/// How many bits an address of that family has.
pub(crate) fn bits(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// Whether `pool` holds `address`.
pub(crate) fn contains(pool: IpPrefix, address: IpAddr) -> bool {
    match (pool.address, address) {
        (IpAddr::V4(p), IpAddr::V4(a)) => mask_v4(p, pool.prefix) == mask_v4(a, pool.prefix),
        (IpAddr::V6(p), IpAddr::V6(a)) => mask_v6(p, pool.prefix) == mask_v6(a, pool.prefix),
        _ => false,
    }
}

/// The first address of the network that `address` is in.
pub(crate) fn mask_v4(address: Ipv4Addr, prefix: u8) -> Ipv4Addr {
    Ipv4Addr::from_bits(address.to_bits() & u32::MAX.checked_shl(32 - u32::from(prefix.min(32))).unwrap_or(0))
}

/// The first address of the network that `address` is in.
pub(crate) fn mask_v6(address: Ipv6Addr, prefix: u8) -> Ipv6Addr {
    Ipv6Addr::from_bits(address.to_bits() & u128::MAX.checked_shl(128 - u32::from(prefix.min(128))).unwrap_or(0))
}

/// Who may use an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    /// Everybody.
    Global,
    /// Neighbours on the link may address it, but the kernel never picks it as a source.
    Host,
}

/// Gives a link an address. Usable at once: no duplicate address detection.
pub(crate) fn add(link: u32, address: IpPrefix, scope: Scope, fresh: bool) -> Request {
    let mut message = AddressMessage::default();
    message.header.family = family(address.address);
    message.header.prefix_len = address.prefix;
    message.header.index = link;
    message.header.scope = match scope {
        Scope::Global => AddressScope::Universe,
        Scope::Host => AddressScope::Host,
    };
    message.attributes = vec![AddressAttribute::Local(address.address), AddressAttribute::Address(address.address)];
    match address.address {
        IpAddr::V6(_) => message.header.flags = AddressHeaderFlags::Nodad,
        IpAddr::V4(a) if address.prefix < 31 && scope == Scope::Global => {
            let broadcast = a.to_bits() | u32::MAX.checked_shr(address.prefix.into()).unwrap_or(0);
            message.attributes.push(AddressAttribute::Broadcast(Ipv4Addr::from_bits(broadcast)));
        }
        IpAddr::V4(_) => {}
    }
    let flags = if fresh { CREATE_NEW } else { CREATE | REPLACE };
    request(RTM_NEWADDR, flags, &message, "add address", address.to_string())
}

/// A lasting address that everybody may use, as it was read from a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lasting {
    family: u8,
    prefix: u8,
    flags: u32,
    local: Vec<u8>,
    /// The other side of a point-to-point link, else the same.
    peer: Vec<u8>,
    broadcast: Option<Vec<u8>>,
}

/// The addresses of the link `index` that a person or a program has given it for good, of global scope. What the kernel
/// has given it, or has learned for a time, belongs to the namespace it was learned in.
pub(crate) fn lasting(talk: &mut Talk, index: u32) -> Result<Vec<Lasting>, OpError> {
    let mut found = Vec::new();
    let message = AddressMessage::default();
    let query = request(RTM_GETADDR, 0, &message, "list addresses of link", index.to_string());
    talk.dump(&query, |kind, payload| {
        if kind == RTM_NEWADDR {
            found.extend(parse_lasting(payload, index));
        }
    })?;
    Ok(found)
}

fn parse_lasting(payload: &[u8], link: u32) -> Option<Lasting> {
    let header = payload.get(..IFADDRMSG)?;
    let attrs = payload.get(IFADDRMSG..)?;
    let index = u32::from_ne_bytes([header[4], header[5], header[6], header[7]]);
    let flags = attr::find(attrs, IFA_FLAGS).and_then(Attr::u32).unwrap_or(header[2].into());
    if index != link || header[3] != SCOPE_UNIVERSE || flags & FLAG_PERMANENT == 0 {
        return None;
    }
    let bytes = |kind| attr::find(attrs, kind).map(|attr| attr.value.to_vec());
    let peer = bytes(IFA_ADDRESS)?;
    let local = bytes(IFA_LOCAL).unwrap_or_else(|| peer.clone());
    let flags = flags & FLAGS_GIVEN;
    Some(Lasting { family: header[0], prefix: header[1], flags, local, peer, broadcast: bytes(IFA_BROADCAST) })
}

/// Gives the link `index` an address that another link, or the same one elsewhere, had.
pub(crate) fn give(index: u32, address: &Lasting) -> Request {
    let mut header = [address.family, address.prefix, 0, SCOPE_UNIVERSE, 0, 0, 0, 0];
    header[4..].copy_from_slice(&index.to_ne_bytes());
    let mut attrs = attr::Attrs::after(&header)
        .bytes(IFA_LOCAL, &address.local)
        .bytes(IFA_ADDRESS, &address.peer)
        .bytes(IFA_FLAGS, &address.flags.to_ne_bytes());
    if let Some(broadcast) = &address.broadcast {
        attrs = attrs.bytes(IFA_BROADCAST, broadcast);
    }
    let object =
        ip(&address.local).map_or_else(String::new, |a| IpPrefix { address: a, prefix: address.prefix }.to_string());
    Request { kind: RTM_NEWADDR, flags: CREATE_NEW, payload: attrs.into_bytes(), op: "add address", object }
}

/// Takes an address from a link.
pub(crate) fn delete(link: u32, address: IpPrefix) -> Request {
    let mut message = AddressMessage::default();
    message.header.family = family(address.address);
    message.header.prefix_len = address.prefix;
    message.header.index = link;
    message.attributes = vec![AddressAttribute::Local(address.address)];
    request(RTM_DELADDR, 0, &message, "delete address", address.to_string())
}

fn request(kind: u16, flags: u16, message: &AddressMessage, op: &'static str, object: String) -> Request {
    let mut payload = vec![0; message.buffer_len()];
    message.emit(&mut payload);
    Request { kind, flags, payload, op, object }
}

/// Whether the address is one that the kernel gives to links by itself.
pub(crate) fn is_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(a) if a.segments()[0] & 0xffc0 == 0xfe80)
}

/// All addresses of the conversation's namespace with the links they are on.
pub(crate) fn list(talk: &mut Talk) -> Result<Vec<(u32, IpPrefix)>, OpError> {
    let mut found = Vec::new();
    let message = AddressMessage::default();
    let query = request(RTM_GETADDR, 0, &message, "list addresses of", "this namespace".to_owned());
    talk.dump(&query, |kind, payload| {
        if kind == RTM_NEWADDR {
            found.extend(parse(payload));
        }
    })?;
    Ok(found)
}

/// Waits until the kernel hears neighbours ask for the IPv6 addresses of `addresses` on `link`.
///
/// It joins the group that such questions are sent to in a work queue of its own, some hundred microseconds after the
/// address was added; a neighbour that asks before asks again a second later.
pub(crate) fn wait_until_heard(talk: &mut Talk, link: u32, addresses: &[IpPrefix]) -> Result<(), OpError> {
    let mut wanted: Vec<_> = addresses.iter().filter_map(|a| solicited_node(a.address)).collect();
    let mut message = AddressMessage::default();
    message.header.family = AddressFamily::Inet6;
    let query = request(RTM_GETMULTICAST, 0, &message, "list multicast groups of", link.to_string());
    let deadline = Instant::now() + Duration::from_millis(50);
    while !wanted.is_empty() && Instant::now() < deadline {
        talk.dump(&query, |_, payload| {
            let group = payload.get(IFADDRMSG..).and_then(|attrs| ip(attr::find(attrs, IFA_MULTICAST)?.value));
            if payload.get(4..IFADDRMSG) == Some(&link.to_ne_bytes()) {
                wanted.retain(|w| Some(*w) != group);
            }
        })?;
        if !wanted.is_empty() {
            std::thread::sleep(Duration::from_micros(50));
        }
    }
    Ok(())
}

/// The group to which neighbours send their questions for an address (RFC 4291, 2.7.1).
fn solicited_node(address: IpAddr) -> Option<IpAddr> {
    let IpAddr::V6(v6) = address else { return None };
    let group = 0xff02_0000_0000_0000_0000_0001_ff00_0000 | (v6.to_bits() & 0xff_ffff);
    Some(Ipv6Addr::from_bits(group).into())
}

fn parse(payload: &[u8]) -> Option<(u32, IpPrefix)> {
    let header = payload.get(..IFADDRMSG)?;
    let index = u32::from_ne_bytes([header[4], header[5], header[6], header[7]]);
    let attrs = payload.get(IFADDRMSG..)?;
    // On a point-to-point link ADDRESS is the other side; IPv6 has no LOCAL elsewhere.
    let address = attr::find(attrs, IFA_LOCAL).or_else(|| attr::find(attrs, IFA_ADDRESS))?;
    Some((index, IpPrefix { address: ip(address.value)?, prefix: header[1] }))
}

/// An address from the bytes of an attribute.
pub(crate) fn ip(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Some(IpAddr::from(v4));
    }
    <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from)
}

/// The link that the default route leads to, IPv4's before IPv6's, the preferred one before others.
pub(crate) fn default_link(talk: &mut Talk) -> Result<Option<u32>, OpError> {
    for family in [AddressFamily::Inet, AddressFamily::Inet6] {
        let mut message = RouteMessage::default();
        message.header.address_family = family;
        let mut query = route(&message, "list routes of", "this namespace".to_owned());
        (query.kind, query.flags) = (RTM_GETROUTE, 0);
        let mut found = Vec::new();
        talk.dump(&query, |kind, payload| {
            if kind == RTM_NEWROUTE {
                found.extend(parse_default(payload));
            }
        })?;
        if let Some((_, link)) = found.into_iter().min() {
            return Ok(Some(link));
        }
    }
    Ok(None)
}

/// Metric and link of a route, where it is a default route of the main table.
fn parse_default(payload: &[u8]) -> Option<(u32, u32)> {
    let header = payload.get(..RTMSG)?;
    let is_default = header[1] == 0 && header[4] == RouteHeader::RT_TABLE_MAIN && header[7] == RTN_UNICAST;
    let attrs = payload.get(RTMSG..)?;
    let number = |kind| attr::find(attrs, kind).and_then(Attr::u32);
    is_default.then_some((number(RTA_PRIORITY).unwrap_or(0), number(RTA_OIF)?))
}

fn route(message: &RouteMessage, op: &'static str, object: String) -> Request {
    let mut payload = vec![0; message.buffer_len()];
    message.emit(&mut payload);
    Request { kind: RTM_NEWROUTE, flags: CREATE | REPLACE, payload, op, object }
}

fn route_message(to: IpPrefix, link: u32, scope: RouteScope) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = family(to.address);
    message.header.destination_prefix_length = to.prefix;
    message.header.table = RouteHeader::RT_TABLE_MAIN;
    message.header.protocol = RouteProtocol::Static;
    message.header.scope = scope;
    message.header.kind = RouteType::Unicast;
    message.attributes.push(RouteAttribute::Oif(link));
    if to.prefix > 0 {
        message.attributes.push(RouteAttribute::Destination(to.address.into()));
    }
    message
}

/// Routes everything of the gateway's family through it.
pub(crate) fn add_default_route(link: u32, gateway: IpAddr) -> Request {
    let unspecified = match gateway {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let mut message = route_message(IpPrefix { address: unspecified, prefix: 0 }, link, RouteScope::Universe);
    message.attributes.push(RouteAttribute::Gateway(gateway.into()));
    route(&message, "add default route by", gateway.to_string())
}

/// Says that a network is reached directly on a link.
pub(crate) fn add_link_route(link: u32, to: IpPrefix) -> Request {
    // IPv6 knows no scopes of routes and refuses none.
    let scope = if to.address.is_ipv4() { RouteScope::Link } else { RouteScope::Universe };
    route(&route_message(to, link, scope), "add route to", to.to_string())
}

/// Takes packets for ::1 that arrive on `link` as the node's own: answers of tasks to clients on ::1, once connection
/// tracking has put the client's address back.
pub(crate) fn accept_loopback_v6(link: u32) -> Request {
    let to = IpPrefix { address: Ipv6Addr::LOCALHOST.into(), prefix: 128 };
    let mut message = route_message(to, link, RouteScope::Universe);
    message.header.table = TABLE_LOCAL;
    message.header.kind = RouteType::Local;
    // IPv6 lets routes of one destination stand side by side: a higher metric keeps the one on `lo` first.
    message.attributes.push(RouteAttribute::Priority(1024));
    route(&message, "accept ::1 on link", link.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefix(text: &str, prefix: u8) -> IpPrefix {
        IpPrefix { address: text.parse().unwrap(), prefix }
    }

    #[test]
    fn an_address_is_read_back_from_its_own_message() {
        for address in [prefix("172.30.0.2", 16), prefix("fd00::2", 64), prefix("10.0.0.1", 32)] {
            let request = add(7, address, Scope::Global, true);
            assert_eq!(parse(&request.payload), Some((7, address)));
        }
    }

    #[test]
    fn an_address_that_lasts_is_given_on_as_it_was() {
        let header = |scope, flags| [2, 24, flags, scope, 7, 0, 0, 0];
        let told = |header: [u8; 8]| {
            let attrs = attr::Attrs::after(&header).bytes(IFA_ADDRESS, &[10, 0, 0, 2]).bytes(IFA_LOCAL, &[10, 0, 0, 1]);
            parse_lasting(&attrs.bytes(IFA_FLAGS, &0x280u32.to_ne_bytes()).into_bytes(), 7)
        };
        let lasting = told(header(SCOPE_UNIVERSE, 0x80)).unwrap();
        assert_eq!((lasting.local.as_slice(), lasting.peer.as_slice()), (&[10, 0, 0, 1][..], &[10, 0, 0, 2][..]));
        let given = give(9, &lasting);
        assert_eq!(given.object, "10.0.0.1/24");
        assert_eq!(parse(&given.payload), Some((9, prefix("10.0.0.1", 24))));
        // Of the link only, and of another link.
        assert_eq!(told(header(253, 0x80)), None);
        assert_eq!(parse_lasting(&given.payload, 7), None);
    }

    #[test]
    fn a_default_route_is_told_from_others() {
        let through = add_default_route(7, "192.0.2.1".parse().unwrap());
        assert_eq!(parse_default(&through.payload), Some((0, 7)));
        let network = add_link_route(7, prefix("10.0.0.0", 8));
        assert_eq!(parse_default(&network.payload), None);
    }

    #[test]
    fn pools_hold_their_own_addresses_only() {
        assert!(contains(prefix("172.30.0.1", 16), "172.30.255.9".parse().unwrap()));
        assert!(!contains(prefix("172.30.0.1", 16), "172.31.0.1".parse().unwrap()));
        assert!(contains(prefix("0.0.0.0", 0), "1.2.3.4".parse().unwrap()));
        assert!(contains(prefix("fd00::1", 64), "fd00::ffff".parse().unwrap()));
        assert!(!contains(prefix("fd00::1", 64), "172.30.0.1".parse().unwrap()));
        assert!(contains(prefix("10.1.1.1", 32), "10.1.1.1".parse().unwrap()));
    }

    #[test]
    fn questions_for_an_address_go_to_the_group_of_its_last_three_bytes() {
        let group = solicited_node("2001:db8::1:2345:6789".parse().unwrap());
        assert_eq!(group, Some("ff02::1:ff45:6789".parse().unwrap()));
        assert_eq!(solicited_node("10.0.0.1".parse().unwrap()), None);
    }

    proptest::proptest! {
        #[test]
        fn foreign_addresses_never_panic(bytes: Vec<u8>) {
            let _ = (parse(&bytes), parse_default(&bytes), parse_lasting(&bytes, 0));
        }
    }
}
