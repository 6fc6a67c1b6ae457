//! A task's network, made and taken away.
//!
//! ```text
//! up:    namespace ─ pin ─ veth pair ─ addresses, routes ─ published ports      any failure undoes what was done
//! down:  published ports ─ links ─ tracked connections ─ pin                    goes on after errors, gives all
//! ```
//! `up` may die anywhere (it runs in a worker that can be killed): `down` works from every state in between, and from
//! none. The host's end of the pair is born in the host's namespace with the node's group on it, the task's end in the
//! task's namespace; neither is ever seen half made. Ports are published last, so that nobody is led to a task that
//! cannot answer.
//!
//! **bridge**: the host's end is a port of the node's bridge, the gateway is the bridge's address. **awsvpc**: the
//! gateway is 169.254.1.1 and fe80::1 on the host's end, the same for every task; the host answers for both as for any
//! address of its own, so that neither proxying nor fixed neighbour entries are needed. The address of IPv4 has scope
//! host: neighbours may ask for it, and the host never picks it as the source of what it sends to tasks.

use super::address::{self, Scope};
use super::link::{self, Link, Pair};
use super::netlink::{Talk, errno};
use super::plan::{IpPrefix, NetPlan, NodeNet, Publish};
use super::{namespace, node, publish, sysctl};
use crate::errno::OpError;
use crate::spec::IdMaps;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

/// The gateways of awsvpc tasks, one per family.
const GATEWAYS: [IpPrefix; 2] = [
    IpPrefix { address: IpAddr::V4(Ipv4Addr::new(169, 254, 1, 1)), prefix: 32 },
    IpPrefix { address: IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1)), prefix: 64 },
];

/// What a new namespace's parameters are set to before it has links, so that they hold for all of them.
const NAMESPACE_PARAMETERS: [(&str, &str); 4] = [
    // Addresses are ours to give and usable at once; detection would also see its own question come back from a
    // hairpin port, and find the address taken.
    ("net/ipv6/conf/default/accept_dad", "0"),
    // A neighbour on the bridge is not the router.
    ("net/ipv6/conf/default/accept_ra", "0"),
    // As dockerd has it, and so what images count on: any user may bind low ports and ping.
    ("net/ipv4/ip_unprivileged_port_start", "0"),
    ("net/ipv4/ping_group_range", "0 2147483647"),
];

/// A plan that joins a namespace to the node, whichever way.
struct Join<'a> {
    node: &'a NodeNet,
    host_link: &'a str,
    /// Those of families that the kernel has.
    addresses: Vec<IpPrefix>,
    publish: &'a [Publish],
    mac: [u8; 6],
    bridged: bool,
}

impl<'a> Join<'a> {
    /// The join that a plan asks for; `Ok(None)` for one that asks for none.
    fn of(plan: &'a NetPlan) -> Result<Option<Self>, OpError> {
        let has_ipv6 = sysctl::has_ipv6();
        let usable = |addresses: &[IpPrefix]| -> Vec<IpPrefix> {
            addresses.iter().copied().filter(|a| has_ipv6 || a.address.is_ipv4()).collect()
        };
        match plan {
            NetPlan::Host | NetPlan::None { .. } => Ok(None),
            NetPlan::Bridge { node, host_link, addresses, publish, .. } => {
                let mac = address_mac(addresses.first().map(|a| a.address));
                let addresses = usable(addresses);
                Ok(Some(Self { node, host_link, addresses, publish, mac, bridged: true }))
            }
            NetPlan::Awsvpc { node, host_link, addresses, mac, .. } => {
                let mac = <[u8; 6]>::try_from(mac.as_slice()).map_err(|_| {
                    let words = format!("has {} bytes, must have 6", mac.len());
                    OpError::new("use MAC address", format!("{mac:x?}"), invalid(words))
                })?;
                let addresses = usable(addresses);
                Ok(Some(Self { node, host_link, addresses, publish: &[], mac, bridged: false }))
            }
        }
    }

    /// The addresses that the task's default routes lead to.
    fn gateways(&self) -> impl Iterator<Item = IpAddr> {
        let bridge = [self.node.bridge_v4, self.node.bridge_v6];
        self.addresses.iter().filter_map(move |a| {
            let mut of_node = if self.bridged { bridge } else { GATEWAYS.map(Some) }.into_iter().flatten();
            of_node.find(|g| g.address.is_ipv4() == a.address.is_ipv4()).map(|g| g.address)
        })
    }
}

fn invalid(words: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, words)
}

/// A MAC address made of an IP address: whoever gets the address next has the same, so that what neighbours remember
/// stays true.
pub(crate) fn address_mac(address: Option<IpAddr>) -> [u8; 6] {
    let [a, b, c, d] = match address {
        Some(IpAddr::V4(v4)) => v4.octets(),
        // The low half of the interface id is what differs inside a pool; the rest is folded in.
        Some(IpAddr::V6(v6)) => {
            let bits = v6.to_bits();
            ((bits ^ (bits >> 32) ^ (bits >> 64) ^ (bits >> 96)) as u32).to_be_bytes()
        }
        None => [0; 4],
    };
    // Locally administered, unicast.
    [0x02, 0xbe, a, b, c, d]
}

/// Makes the network that `plan` asks for and gives the namespace, which is pinned as well; `None` for the host's.
///
/// For a worker with one thread: it leaves the host's namespace and comes back. On failure nothing is left.
pub fn up(plan: &NetPlan) -> Result<Option<OwnedFd>, OpError> {
    up_for(plan, &IdMaps::default())
}

/// As [`up`], for containers whose users `ids` maps: the namespace belongs to a user namespace with those maps, which is the
/// containers' own.
pub fn up_for(plan: &NetPlan, ids: &IdMaps) -> Result<Option<OwnedFd>, OpError> {
    let pin = match plan {
        NetPlan::Host => return Ok(None),
        NetPlan::None { pin } | NetPlan::Bridge { pin, .. } | NetPlan::Awsvpc { pin, .. } => pin,
    };
    let join = Join::of(plan)?;
    if let Some(join) = &join {
        link::check_name(join.host_link)?;
    }
    let host = namespace::current()?;
    let mut made = Made::default();
    let result = build(pin, join.as_ref(), ids, &host, &mut made);
    result.map(Some).inspect_err(|_| made.undo(pin, join.as_ref(), &host))
}

/// What `up` has done so far and would have to undo.
#[derive(Default)]
struct Made {
    pinned: bool,
    linked: bool,
    /// Some of the ports may be published.
    publishing: bool,
}

impl Made {
    fn undo(&self, pin: &Path, join: Option<&Join<'_>>, host: &OwnedFd) {
        // The error that led here is the one to tell. What cannot be undone now is found by `down`, which the
        // shim calls for every network it has asked for, made or not.
        let _ = namespace::enter(host);
        if let (true, Some(join)) = (self.publishing, join) {
            let _ = Talk::netfilter()
                .and_then(|mut talk| publish::remove(&mut talk, join.node, &join.addresses, join.publish));
        }
        if let (true, Some(join)) = (self.linked, join) {
            let _ = Talk::route().and_then(|mut talk| link::remove(&mut talk, join.host_link, link::group(join.node)));
        }
        if self.pinned {
            let _ = namespace::unpin(pin);
        }
    }
}

fn build(
    pin: &Path,
    join: Option<&Join<'_>>,
    ids: &IdMaps,
    host: &OwnedFd,
    made: &mut Made,
) -> Result<OwnedFd, OpError> {
    // A socket stays in the namespace it was opened in.
    let mut of_host = Talk::route()?;
    let bridge = match join {
        // In awsvpc mode for its MTU only, and as the sign that the node is up.
        Some(join) => Some(node::own_bridge(&mut of_host, join.node)?),
        None => None,
    };
    let netns = namespace::make(ids)?;
    for (name, value) in NAMESPACE_PARAMETERS {
        sysctl::write_if_present(name, value)?;
    }
    namespace::pin(pin)?;
    made.pinned = true;
    let mut of_task = Talk::route()?;
    if let (Some(join), Some(bridge)) = (join, &bridge) {
        add_links(&mut of_host, join, bridge, &netns, made)?;
    }
    of_task.ask(&[link::set_up("lo")])?;
    let Some(join) = join else { return namespace::enter(host).map(|()| netns) };
    let link = configure_task(&mut of_task, join)?;
    namespace::enter(host)?;
    if !join.bridged {
        configure_routed_host(&mut of_host, join)?;
    }
    if !join.publish.is_empty() {
        made.publishing = true;
        publish::add(&mut Talk::netfilter()?, join.node, &join.addresses, join.publish)?;
    }
    wait_until_usable(&mut of_host, &mut of_task, join, link)?;
    Ok(netns)
}

/// Waits for what the kernel does in its own time after all is set up: usually nothing any more.
fn wait_until_usable(of_host: &mut Talk, of_task: &mut Talk, join: &Join<'_>, link: u32) -> Result<(), OpError> {
    link::wait_until_running(of_host, join.host_link)?;
    if join.bridged {
        // Off while it has no port, so that the first task of a node switches it on.
        link::wait_until_running(of_host, &join.node.bridge)?;
    }
    link::wait_until_running(of_task, link::TASK_LINK)?;
    address::wait_until_heard(of_task, link, &join.addresses)
}

fn add_links(
    of_host: &mut Talk,
    join: &Join<'_>,
    bridge: &Link,
    netns: &OwnedFd,
    made: &mut Made,
) -> Result<(), OpError> {
    let pair = Pair {
        host_link: join.host_link,
        group: link::group(join.node),
        bridge: join.bridged.then_some(bridge.index),
        netns: netns.as_fd(),
        mac: join.mac,
        mtu: bridge.mtu,
    };
    let mut requests = vec![link::add_pair(&pair)];
    requests.extend(link::take_up_host_end(join.host_link, join.bridged));
    let mut answers = of_host.ask_each(&requests)?;
    made.linked = answers.first().is_some_and(Result::is_ok);
    if let Some(Err(e)) = answers.get(1)
        && errno(e) == Some(libc::EAFNOSUPPORT)
    {
        // The host runs without IPv6: there is nothing to switch off.
        answers.remove(1).ok();
    }
    answers.into_iter().collect()
}

fn configure_task(of_task: &mut Talk, join: &Join<'_>) -> Result<u32, OpError> {
    of_task.ask(&[link::set_up(link::TASK_LINK)])?;
    let link = index(of_task, link::TASK_LINK)?;
    let mut requests: Vec<_> = join.addresses.iter().map(|a| address::add(link, *a, Scope::Global, true)).collect();
    for gateway in join.gateways() {
        if !join.bridged && gateway.is_ipv4() {
            // The gateway is in no network of the task's: say where it is before it is used.
            requests.push(address::add_link_route(link, IpPrefix { address: gateway, prefix: 32 }));
        }
        requests.push(address::add_default_route(link, gateway));
    }
    of_task.ask(&requests)?;
    Ok(link)
}

fn configure_routed_host(of_host: &mut Talk, join: &Join<'_>) -> Result<(), OpError> {
    let name = join.host_link;
    // The host takes no router's word from a task, whatever it does elsewhere.
    sysctl::write_if_present(&format!("net/ipv6/conf/{name}/accept_ra"), "0")?;
    if join.addresses.iter().any(|a| a.address.is_ipv6()) {
        // Where the host switches IPv6 off for every link: this one was asked for.
        sysctl::ensure(&format!("net/ipv6/conf/{name}/disable_ipv6"), "0")?;
    }
    let link = index(of_host, name)?;
    let of_family = |g: &IpPrefix| join.addresses.iter().any(|a| a.address.is_ipv4() == g.address.is_ipv4());
    let gateways: Vec<_> = GATEWAYS.into_iter().filter(of_family).collect();
    let scope = |g: &IpPrefix| if g.address.is_ipv4() { Scope::Host } else { Scope::Global };
    let mut requests: Vec<_> = gateways.iter().map(|g| address::add(link, *g, scope(g), true)).collect();
    for to in &join.addresses {
        let alone = IpPrefix { address: to.address, prefix: address::bits(to.address) };
        requests.push(address::add_link_route(link, alone));
    }
    of_host.ask(&requests)?;
    address::wait_until_heard(of_host, link, &gateways)
}

fn index(talk: &mut Talk, name: &str) -> Result<u32, OpError> {
    let link = link::find(talk, name)?;
    link.map(|l| l.index).ok_or_else(|| OpError::new("look up link", name, io::Error::from_raw_os_error(libc::ENODEV)))
}

/// Takes away everything that `up` makes for `plan`, from whatever state it is in; nothing there is no error.
pub fn down(plan: &NetPlan) -> Result<(), Vec<OpError>> {
    let mut errors = Vec::new();
    let mut keep = |result: Result<(), OpError>| errors.extend(result.err());
    let pin = match plan {
        NetPlan::Host => return Ok(()),
        NetPlan::None { pin } | NetPlan::Bridge { pin, .. } | NetPlan::Awsvpc { pin, .. } => pin,
    };
    match Join::of(plan) {
        Ok(Some(join)) => {
            let mut netfilter = Talk::netfilter();
            if !join.publish.is_empty() {
                keep(with(&mut netfilter, |talk| publish::remove(talk, join.node, &join.addresses, join.publish)));
            }
            let group = link::group(join.node);
            keep(Talk::route().and_then(|mut talk| link::remove(&mut talk, join.host_link, group).map(drop)));
            // After the link: no packet can make a new entry for the task.
            keep(with(&mut netfilter, |talk| publish::forget(talk, &join.addresses)));
            keep(netfilter.map(drop));
        }
        Ok(None) => {}
        Err(e) => keep(Err(e)),
    }
    keep(namespace::unpin(pin));
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}

/// Does `act` with the conversation, where it could be opened; that it could not is told once, elsewhere.
fn with(talk: &mut Result<Talk, OpError>, act: impl FnOnce(&mut Talk) -> Result<(), OpError>) -> Result<(), OpError> {
    talk.as_mut().map_or(Ok(()), act)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_always_has_the_same_mac_and_neighbours_have_others() {
        let mac = |text: &str| address_mac(Some(text.parse().unwrap()));
        assert_eq!(mac("172.30.0.2"), [0x02, 0xbe, 172, 30, 0, 2]);
        assert_ne!(mac("fd00::2"), mac("fd00::3"));
        assert_eq!(mac("fd00::2")[0] & 3, 2);
    }
}
