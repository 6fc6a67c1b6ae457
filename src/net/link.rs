//! Links: a bridge, a pair of veths with one end in another namespace, what is known of a link.
//!
//! Every link we make carries the node's *group* (see [`group`]): the mark that nftables rules match, and the label by
//! which leftovers are told from other people's links. A link without it is never changed and never deleted.

use super::attr;
use super::netlink::{CREATE_NEW, Request, Talk, errno};
use super::plan::NodeNet;
use crate::errno::OpError;
use netlink_packet_core::Emitable;
use netlink_packet_route::link::{
    AfSpecInet6, AfSpecUnspec, BridgeStpState, In6AddrGenMode, InfoBridge, InfoBridgePort, InfoData, InfoKind,
    InfoPortData, InfoPortKind, InfoVeth, LinkAttribute, LinkFlags, LinkInfo, LinkMessage,
};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::{Duration, Instant};

const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_GETLINK: u16 = 18;
/// Bytes of `struct ifinfomsg`.
const IFINFOMSG: usize = 16;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_OPERSTATE: u16 = 16;
const IFLA_LINKINFO: u16 = 18;
const IFLA_GROUP: u16 = 27;
const IFLA_INFO_KIND: u16 = 1;
const IF_OPER_UP: u8 = 6;
/// The longest name of a link, its NUL left out (`IFNAMSIZ` less one).
pub const NAME_MAX: usize = 15;
/// What a task's own end is called.
pub(crate) const TASK_LINK: &str = "eth0";

/// What is known of a link.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Link {
    pub(crate) index: u32,
    pub(crate) name: String,
    pub(crate) up: bool,
    /// Whether packets really pass, see [`wait_until_running`].
    running: bool,
    pub(crate) group: u32,
    /// Bytes that fit into one packet.
    pub(crate) mtu: u32,
    /// `bridge`, `veth`, ...; empty for hardware.
    pub(crate) kind: String,
}

/// The group that all links of a node carry: made of its table's name, so that several nodes can share one namespace,
/// and far above the small numbers that people give to groups by hand.
pub(crate) fn group(node: &NodeNet) -> u32 {
    // FNV-1a: stable for ever, as links outlive the program that made them.
    let hash = node.table.bytes().fold(0x811c_9dc5_u32, |h, b| (h ^ u32::from(b)).wrapping_mul(0x0100_0193));
    0x4000_0000 | (hash & 0x00ff_ffff)
}

/// Checks that `name` can be a link's: the kernel cuts nothing off, but its refusal names nothing.
pub(crate) fn check_name(name: &str) -> Result<(), OpError> {
    let problem = if name.is_empty() {
        "is empty".to_owned()
    } else if name.len() > NAME_MAX {
        format!("has {} bytes, limit {NAME_MAX}", name.len())
    } else if name == "." || name == ".." || name.bytes().any(|b| b == b'/' || b == b':' || b <= b' ' || b >= 0x7f) {
        "may hold no slash, colon, space or control character".to_owned()
    } else {
        return Ok(());
    };
    Err(OpError::new("use link name", name, std::io::Error::new(std::io::ErrorKind::InvalidInput, problem)))
}

fn request(kind: u16, flags: u16, message: &LinkMessage, op: &'static str, object: &str) -> Request {
    let mut payload = vec![0; message.buffer_len()];
    message.emit(&mut payload);
    Request { kind, flags, payload, op, object: object.to_owned() }
}

fn message(index: u32, up: bool, attributes: Vec<LinkAttribute>) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header.index = index;
    if up {
        message.header.flags = LinkFlags::Up;
        message.header.change_mask = LinkFlags::Up;
    }
    message.attributes = attributes;
    message
}

/// A bridge of ours, up, with a MAC address that does not change as ports come and go.
pub(crate) fn add_bridge(name: &str, group: u32, mac: [u8; 6]) -> Request {
    let data = vec![InfoBridge::StpState(BridgeStpState::Disabled), InfoBridge::MulticastSnooping(false)];
    let attributes = vec![
        LinkAttribute::IfName(name.to_owned()),
        LinkAttribute::Group(group),
        LinkAttribute::Address(mac.to_vec()),
        LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Bridge), LinkInfo::Data(InfoData::Bridge(data))]),
    ];
    request(RTM_NEWLINK, CREATE_NEW, &message(0, true, attributes), "add bridge", name)
}

/// The two ends of a veth pair.
#[derive(Debug)]
pub(crate) struct Pair<'a> {
    /// Name of the host's end.
    pub(crate) host_link: &'a str,
    /// See [`group`].
    pub(crate) group: u32,
    /// The bridge that the host's end becomes a port of.
    pub(crate) bridge: Option<u32>,
    /// The namespace that the task's end is born in: it is never seen in the host's.
    pub(crate) netns: BorrowedFd<'a>,
    /// MAC address of the task's end.
    pub(crate) mac: [u8; 6],
    /// Of both ends.
    pub(crate) mtu: u32,
}

/// A veth pair, both ends still down: a veth cannot come up before its peer is joined to it. See
/// [`take_up_host_end`].
pub(crate) fn add_pair(pair: &Pair<'_>) -> Request {
    // One queue per end: the kernel would make one per processor, each with its directory in sysfs, and a veth, which
    // takes no lock to send, gains nothing from them.
    let queues = [LinkAttribute::NumTxQueues(1), LinkAttribute::NumRxQueues(1)];
    let mut peer = vec![
        LinkAttribute::IfName(TASK_LINK.to_owned()),
        LinkAttribute::Address(pair.mac.to_vec()),
        LinkAttribute::NetNsFd(pair.netns.as_raw_fd()),
        LinkAttribute::Mtu(pair.mtu),
    ];
    peer.extend(queues.clone());
    let data = InfoData::Veth(InfoVeth::Peer(message(0, false, peer)));
    let mut attributes = vec![
        LinkAttribute::IfName(pair.host_link.to_owned()),
        LinkAttribute::Group(pair.group),
        LinkAttribute::Mtu(pair.mtu),
        LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Veth), LinkInfo::Data(data)]),
    ];
    attributes.extend(queues);
    attributes.extend(pair.bridge.map(LinkAttribute::Controller));
    request(RTM_NEWLINK, CREATE_NEW, &message(0, false, attributes), "add veth", pair.host_link)
}

/// Takes up the host's end of a pair, without an address of its own: what a link has, we give it. The kernel would give
/// one as the link comes up, so that must be settled before.
pub(crate) fn take_up_host_end(host_link: &str, bridged: bool) -> [Request; 2] {
    let name = || LinkAttribute::IfName(host_link.to_owned());
    let no_address = AfSpecUnspec::Inet6(vec![AfSpecInet6::AddrGenMode(In6AddrGenMode::None)]);
    let quiet = message(0, false, vec![name(), LinkAttribute::AfSpecUnspec(vec![no_address])]);
    let mut attributes = vec![name()];
    if bridged {
        // The bridge may send a frame back out of the port it came from: a task that calls its own published port
        // needs it where br_netfilter hands bridged frames to nftables.
        attributes.push(LinkAttribute::LinkInfo(vec![
            LinkInfo::PortKind(InfoPortKind::Bridge),
            LinkInfo::PortData(InfoPortData::BridgePort(vec![InfoBridgePort::HairpinMode(true)])),
        ]));
    }
    [
        request(RTM_NEWLINK, 0, &quiet, "switch off automatic address of link", host_link),
        request(RTM_NEWLINK, 0, &message(0, true, attributes), "take up link", host_link),
    ]
}

/// Takes a link up.
pub(crate) fn set_up(name: &str) -> Request {
    request(RTM_NEWLINK, 0, &message(0, true, vec![LinkAttribute::IfName(name.to_owned())]), "take up link", name)
}

/// Takes the link of that number up, which an error calls `name`.
pub(crate) fn set_up_number(index: u32, name: &str) -> Request {
    request(RTM_NEWLINK, 0, &message(index, true, Vec::new()), "take up link", name)
}

/// Calls the link of that number `name`, which may be a template with `%d` for a number of the kernel's choice.
pub(crate) fn rename(index: u32, name: &str) -> Request {
    let attributes = vec![LinkAttribute::IfName(name.to_owned())];
    request(RTM_NEWLINK, 0, &message(index, false, attributes), "name network device in the container", name)
}

/// Sets how many bytes fit into one packet of a link.
pub(crate) fn set_mtu(name: &str, mtu: u32) -> Request {
    let attributes = vec![LinkAttribute::IfName(name.to_owned()), LinkAttribute::Mtu(mtu)];
    request(RTM_NEWLINK, 0, &message(0, false, attributes), "set MTU of link", name)
}

/// Moves the link of that number to the namespace `netns`, where it is called `name`. The kernel takes it down and its
/// addresses away. An error calls it `known_as`.
pub(crate) fn move_to(index: u32, known_as: &str, netns: BorrowedFd<'_>, name: &str) -> Request {
    let attributes = vec![LinkAttribute::NetNsFd(netns.as_raw_fd()), LinkAttribute::IfName(name.to_owned())];
    request(RTM_NEWLINK, 0, &message(index, false, attributes), "move link", known_as)
}

/// Deletes a link; the other end of a veth goes with it.
fn delete(link: &Link) -> Request {
    request(RTM_DELLINK, 0, &message(link.index, false, Vec::new()), "delete link", &link.name)
}

/// Deletes the link `name` if it exists and is ours, and says whether it did.
pub(crate) fn remove(talk: &mut Talk, name: &str, group: u32) -> Result<bool, OpError> {
    let Some(link) = find(talk, name)? else { return Ok(false) };
    if link.group != group {
        let other = std::io::Error::new(
            std::io::ErrorKind::PermissionDenied,
            format!("it carries group {}, ours is {group}: not made by this node", link.group),
        );
        return Err(OpError::new("delete link", name, other));
    }
    match talk.ask(&[delete(&link)]) {
        Ok(()) => Ok(true),
        // The namespace of the other end died meanwhile and took both ends with it.
        Err(e) if errno(&e) == Some(libc::ENODEV) => Ok(false),
        Err(e) => Err(e),
    }
}

/// The link of that name in the conversation's namespace.
pub(crate) fn find(talk: &mut Talk, name: &str) -> Result<Option<Link>, OpError> {
    let mut found = None;
    let query = message(0, false, vec![LinkAttribute::IfName(name.to_owned())]);
    let asked = talk.get(&request(RTM_GETLINK, 0, &query, "look up link", name), |kind, payload| {
        if kind == RTM_NEWLINK {
            found = parse(payload);
        }
    });
    match asked {
        Ok(()) => Ok(found),
        Err(e) if errno(&e) == Some(libc::ENODEV) => Ok(None),
        Err(e) => Err(e),
    }
}

/// Waits until the kernel has really switched the link on.
///
/// A link that is up drops what it is given until a work queue of the kernel's has seen its carrier: some hundred
/// microseconds later, but a client whose first packet falls into them waits a second for its second. Asking is what
/// makes newer kernels (6.14) do that work at once. A link that is still off at the deadline comes on by itself later:
/// no error.
pub(crate) fn wait_until_running(talk: &mut Talk, name: &str) -> Result<(), OpError> {
    let deadline = Instant::now() + Duration::from_millis(50);
    while find(talk, name)?.is_some_and(|link| !link.running) && Instant::now() < deadline {
        std::thread::sleep(Duration::from_micros(50));
    }
    Ok(())
}

/// All links of the conversation's namespace.
pub(crate) fn list(talk: &mut Talk) -> Result<Vec<Link>, OpError> {
    let mut links = Vec::new();
    let query = message(0, false, Vec::new());
    talk.dump(&request(RTM_GETLINK, 0, &query, "list links of", "this namespace"), |kind, payload| {
        if kind == RTM_NEWLINK {
            links.extend(parse(payload));
        }
    })?;
    Ok(links)
}

/// Reads a link out of the payload of an `RTM_NEWLINK`.
///
/// By hand, and only what is used: newer kernels send attributes that no library of today knows, and a link of
/// somebody else's that cannot be parsed must not stand in our way.
fn parse(payload: &[u8]) -> Option<Link> {
    let header = payload.get(..IFINFOMSG)?;
    let word = |at: usize| u32::from_ne_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    let mut link = Link { index: word(4), up: word(8) & LinkFlags::Up.bits() != 0, ..Link::default() };
    for attr in attr::attributes(payload.get(IFINFOMSG..)?) {
        match attr.kind {
            IFLA_IFNAME => link.name = attr.text().unwrap_or_default().to_owned(),
            IFLA_MTU => link.mtu = attr.u32().unwrap_or_default(),
            IFLA_OPERSTATE => link.running = attr.value == [IF_OPER_UP],
            IFLA_GROUP => link.group = attr.u32().unwrap_or_default(),
            IFLA_LINKINFO => {
                let kind = attr.nested().find(|a| a.kind == IFLA_INFO_KIND).and_then(|a| a.text());
                link.kind = kind.unwrap_or_default().to_owned();
            }
            _ => {}
        }
    }
    Some(link)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(table: &str) -> NodeNet {
        NodeNet {
            bridge: "b".into(),
            table: table.into(),
            bridge_v4: None,
            bridge_v6: None,
            awsvpc_v4: None,
            awsvpc_v6: None,
        }
    }

    #[test]
    fn the_group_of_a_node_never_changes_and_differs_between_nodes() {
        assert_eq!(group(&node("berth")), group(&node("berth")));
        assert_ne!(group(&node("berth")), group(&node("berth-2")));
        assert_ne!(group(&node("")), 0);
    }

    #[test]
    fn a_name_the_kernel_would_refuse_is_refused_with_its_reason() {
        let said = |name: &str| crate::errno::chain(&check_name(name).unwrap_err());
        assert_eq!(said("sixteen-bytes-ab"), "use link name `sixteen-bytes-ab`: has 16 bytes, limit 15");
        assert_eq!(said(""), "use link name ``: is empty");
        for bad in ["a/b", "a b", "..", "a:1", "é"] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
        assert!(check_name("berth0").is_ok());
    }

    #[test]
    fn a_link_is_read_back_from_its_own_message() {
        let bytes = add_bridge("berth0", 9, [2, 0, 0, 0, 0, 1]).payload;
        let link = parse(&bytes).unwrap();
        assert_eq!((link.name.as_str(), link.group, link.kind.as_str(), link.up), ("berth0", 9, "bridge", true));
    }

    proptest::proptest! {
        #[test]
        fn foreign_links_never_panic(bytes: Vec<u8>) {
            let _ = parse(&bytes);
        }
    }
}
