//! Our one table: what it holds, as a pure function of the node's networks.
//!
//! ```text
//! raw          prerouting -300  tasks may not reach 127/8 and ::1 of the node, nor send from an address not their own
//! prerouting   nat        -100  published ports, from outside and from tasks
//! output       nat        -100  published ports, from the node itself
//! forward      filter        0  from elsewhere into the bridge only by a published port
//! postrouting  nat         100  masquerade: outwards, clients on 127/8 and ::1, tasks that call published ports
//! publish4/6   maps             (tcp or udp, port of the node) -> (address, port of a task)
//! refused6     set              addresses of the node whose published ports are refused, see `node`
//! ```

use super::super::link;
use super::super::plan::{IpPrefix, NodeNet};
use super::expr::{End, Ip, Rule};
use super::{Batch, Hook, SetForm};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The map of published ports to IPv4 addresses.
pub(crate) const PUBLISH4: &str = "publish4";
/// The map of published ports to IPv6 addresses.
pub(crate) const PUBLISH6: &str = "publish6";
/// The set of IPv6 addresses of the node on which published ports are refused.
pub(crate) const REFUSED6: &str = "refused6";

/// Numbers by which the `nft` program knows the types, to show elements as people write them.
const IPV4_ADDR: u32 = 7;
const IPV6_ADDR: u32 = 8;
const INET_PROTO: u32 = 12;
const INET_SERVICE: u32 = 13;

/// A type made of two, each part padded to four bytes.
const fn pair(first: u32, second: u32) -> u32 {
    (first << 6) | second
}

const KEY: (u32, u32) = (pair(INET_PROTO, INET_SERVICE), 8);
const SETS: [SetForm; 3] = [
    SetForm { name: PUBLISH4, key: KEY, data: Some((pair(IPV4_ADDR, INET_SERVICE), 8)) },
    SetForm { name: PUBLISH6, key: KEY, data: Some((pair(IPV6_ADDR, INET_SERVICE), 20)) },
    SetForm { name: REFUSED6, key: (IPV6_ADDR, 16), data: None },
];

const CHAINS: [(&str, Hook); 5] = [
    ("raw", Hook { kind: "filter", number: 0, priority: -300 }),
    ("prerouting", Hook { kind: "nat", number: 0, priority: -100 }),
    ("output", Hook { kind: "nat", number: 3, priority: -100 }),
    ("forward", Hook { kind: "filter", number: 2, priority: 0 }),
    ("postrouting", Hook { kind: "nat", number: 4, priority: 100 }),
];

/// The changes that make the table what it should be, from nothing or from what an older version left: chains and
/// maps stay with what is in them, rules are written anew. Packets meet the old rules or the new ones, never neither.
pub(crate) fn batch(node: &NodeNet) -> Batch<'_> {
    let mut batch = Batch::new(&node.table);
    batch.add_table();
    for (name, hook) in CHAINS {
        batch.add_chain(name, hook);
    }
    for form in SETS {
        batch.add_set(form);
    }
    batch.delete_rules();
    for (chain, rule) in rules(node) {
        batch.add_rule(chain, &rule);
    }
    batch
}

const LOOPBACK4: IpPrefix = IpPrefix { address: IpAddr::V4(Ipv4Addr::LOCALHOST), prefix: 8 };
const LOOPBACK6: IpPrefix = IpPrefix { address: IpAddr::V6(Ipv6Addr::LOCALHOST), prefix: 128 };

/// IPv6 sources of neighbour discovery: the unspecified address and link-local ones.
const NOT_ROUTED: [IpPrefix; 2] = [
    IpPrefix { address: IpAddr::V6(Ipv6Addr::UNSPECIFIED), prefix: 128 },
    IpPrefix { address: IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0)), prefix: 10 },
];

/// The rules of all chains in order.
fn rules(node: &NodeNet) -> Vec<(&'static str, Rule)> {
    let group = link::group(node);
    let mut rules = vec![("output", Rule::new().family(Ip::V6).destined_to_any_of(Ip::V6, REFUSED6).leave())];
    let families = [
        (Ip::V4, LOOPBACK4, PUBLISH4, node.bridge_v4, node.awsvpc_v4),
        (Ip::V6, LOOPBACK6, PUBLISH6, node.bridge_v6, node.awsvpc_v6),
    ];
    for (ip, loopback, map, bridge, awsvpc) in families {
        let from_task = || Rule::new().in_group(group, true).family(ip);
        rules.push(("raw", from_task().in_network(End::Destination, loopback).drop()));
        for chain in ["prerouting", "output"] {
            rules.push((chain, Rule::new().family(ip).destined_to_this_machine().dnat_by(ip, map)));
        }
        let pools = || bridge.into_iter().chain(awsvpc);
        for pool in pools() {
            let leaving = Rule::new().family(ip).in_network(End::Source, pool).out_of_other_group(group);
            let outwards = pools().fold(leaving, |rule, ours| rule.not_in_network(End::Destination, ours));
            rules.push(("postrouting", outwards.masquerade()));
        }
        let Some(bridge) = bridge else { continue };
        let into_bridge = || Rule::new().family(ip).out_of(&node.bridge);
        rules.push(("postrouting", into_bridge().in_network(End::Source, loopback).masquerade()));
        // A task that called a published port would get the answer of its neighbour, or its own, straight over the
        // bridge, from an address it never called.
        rules.push(("postrouting", into_bridge().in_network(End::Source, bridge).dnat_done(true).masquerade()));
        let uninvited = into_bridge().in_group(group, false).new_connection().dnat_done(false);
        rules.push(("forward", uninvited.drop()));
    }
    let from_task = |ip| Rule::new().in_group(group, true).family(ip);
    rules.push(("raw", from_task(Ip::V4).sent_from_elsewhere().drop()));
    // Neighbours ask for each other from addresses that no route leads to.
    let routed = NOT_ROUTED.into_iter().fold(from_task(Ip::V6), |rule, not| rule.not_in_network(End::Source, not));
    rules.push(("raw", routed.sent_from_elsewhere().drop()));
    rules
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node() -> NodeNet {
        let pool = |text: &str| Some(text.parse().unwrap());
        NodeNet {
            bridge: "b0".into(),
            table: "t".into(),
            bridge_v4: pool("172.30.0.1/16"),
            bridge_v6: pool("fd30::1/64"),
            awsvpc_v4: pool("10.80.0.0/24"),
            awsvpc_v6: None,
        }
    }

    fn chains(node: &NodeNet) -> Vec<&'static str> {
        rules(node).into_iter().map(|(chain, _)| chain).collect()
    }

    #[test]
    fn a_pool_that_is_missing_has_no_rules() {
        let count = |chain: &str, node: &NodeNet| chains(node).iter().filter(|c| **c == chain).count();
        assert_eq!((count("postrouting", &node()), count("forward", &node())), (7, 2));
        let mut none = node();
        (none.bridge_v4, none.bridge_v6, none.awsvpc_v4) = (None, None, None);
        assert_eq!((count("postrouting", &none), count("forward", &none)), (0, 0));
        assert_eq!(count("prerouting", &none), 2);
    }

    #[test]
    fn old_rules_go_in_the_batch_that_brings_the_new_ones_and_maps_stay() {
        let node = node();
        let acts: Vec<_> = batch(&node).requests().iter().map(|r| r.op).collect();
        let place = |op: &str| acts.iter().position(|a| *a == op).unwrap();
        assert!(place("add nftables set") < place("delete rules of nftables table"));
        assert!(place("delete rules of nftables table") < place("add rule to nftables chain"));
        assert!(!acts.contains(&"delete nftables table"));
    }
}
