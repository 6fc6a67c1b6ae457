//! What keeps the node's network from working, in words, with what mends it.
//!
//! Reads only: whoever asks (an operator through `berth doctor`, a test) may ask at any time.

use super::link::{self, Link};
use super::netlink::Talk;
use super::plan::NodeNet;
use super::{address, nft, node, sysctl};
use crate::errno::{OpError, chain};
use std::fmt;

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Whether tasks can be networked at all.
    pub broken: bool,
    /// What is wrong.
    pub problem: String,
    /// What to do about it.
    pub remedy: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}\n  hint: {}", if self.broken { "broken" } else { "degraded" }, self.problem, self.remedy)
    }
}

fn broken(problem: impl Into<String>, remedy: impl Into<String>) -> Finding {
    Finding { broken: true, problem: problem.into(), remedy: remedy.into() }
}

fn degraded(problem: impl Into<String>, remedy: impl Into<String>) -> Finding {
    Finding { broken: false, problem: problem.into(), remedy: remedy.into() }
}

/// What the agent does at its start, and an operator may do by hand.
const MAKE: &str = "restart the agent, or run `berth-runtime node-net up` with the node's settings";

/// Looks at everything that [`node::up`] makes and at what others make that stands in its way. Empty: all is well.
pub fn check(node: &NodeNet) -> Vec<Finding> {
    if let Err(e) = node::validate(node) {
        return vec![broken(chain(&e), "correct the node's network settings")];
    }
    let mut findings = Vec::new();
    let usable = node::without_missing(node, sysctl::has_ipv6());
    if usable != *node {
        findings.push(degraded(
            "the kernel runs without IPv6 and the node has IPv6 pools: tasks have IPv4 only",
            "boot without ipv6.disable=1, or take the IPv6 pools out of the settings",
        ));
    }
    let node = &usable;
    findings.extend(parameters(node));
    match Talk::route().and_then(|mut talk| links(&mut talk, node)) {
        Ok(found) => findings.extend(found),
        Err(e) => findings.push(broken(chain(&e), "berth needs rtnetlink, which every kernel since 6.1 has")),
    }
    match Talk::netfilter().and_then(|mut talk| tables(&mut talk, node)) {
        Ok(found) => findings.extend(found),
        Err(e) => {
            findings.push(broken(chain(&e), "load nf_tables: `modprobe nf_tables nft_nat nft_masq nft_fib_inet`"))
        }
    }
    findings
}

fn parameters(node: &NodeNet) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut want = |name: &str, value: &str, broken_by: &str| match sysctl::read(name) {
        Ok(Some(now)) if now == value => {}
        Ok(Some(now)) => {
            let dotted = name.replace('/', ".");
            let remedy = format!("`sysctl -w {dotted}={value}`, and see who set it: /etc/sysctl.d, a firewall, a VPN");
            findings.push(broken(format!("{dotted} is {now}: {broken_by}"), remedy));
        }
        // Of the bridge: that it is missing is told elsewhere.
        Ok(None) => {}
        Err(e) => findings.push(broken(chain(&e), "run as root, with /proc mounted")),
    };
    want("net/ipv4/ip_forward", "1", "nothing is passed on between tasks and the network");
    if node.bridge_v4.is_some() {
        let name = format!("net/ipv4/conf/{}/route_localnet", node.bridge);
        want(&name, "1", "published ports do not answer on 127.0.0.1");
    }
    if node.bridge_v6.or(node.awsvpc_v6).is_some() {
        want("net/ipv6/conf/all/forwarding", "1", "nothing is passed on between tasks and the network in IPv6");
    }
    if node.bridge_v6.is_some() && node::bridge_interferes().unwrap_or(false) {
        findings.push(degraded(
            "net.bridge.bridge-nf-call-ip6tables is 1: published ports are refused on ::1 (127.0.0.1 answers)",
            "if no other program here needs it (dockerd and kube-proxy set it): `sysctl -w \
             net.bridge.bridge-nf-call-ip6tables=0`, then `berth-runtime node-net up`",
        ));
    }
    findings
}

fn links(talk: &mut Talk, node: &NodeNet) -> Result<Vec<Finding>, OpError> {
    let links = link::list(talk)?;
    let addresses = address::list(talk)?;
    let bridge = links.iter().find(|l| l.name == node.bridge);
    let mut findings = Vec::new();
    findings.extend(bridge_finding(node, bridge));
    for wanted in node.bridge_v4.into_iter().chain(node.bridge_v6) {
        let on = addresses.iter().find(|(_, a)| a.address == wanted.address).map(|(link, _)| *link);
        if bridge.is_some() && on != bridge.map(|b| b.index) {
            let problem = format!("bridge `{}` has not the address {}/{}", node.bridge, wanted.address, wanted.prefix);
            findings.push(broken(problem, MAKE));
        }
    }
    let ours = |index: u32| links.iter().any(|l| l.index == index && l.group == link::group(node));
    for (name, pool) in node.pools() {
        let other = addresses.iter().find(|(link, a)| {
            !ours(*link) && (address::contains(pool, a.address) || address::contains(*a, pool.address))
        });
        if let Some((index, a)) = other {
            let holder = links.iter().find(|l| l.index == *index).map_or("another link", |l| l.name.as_str());
            findings.push(broken(
                format!("pool {name} overlaps the network {}/{} of `{holder}`", a.address, a.prefix),
                "give the pool a network that nothing else on this host or near it uses",
            ));
        }
    }
    Ok(findings)
}

fn bridge_finding(node: &NodeNet, bridge: Option<&Link>) -> Option<Finding> {
    let name = &node.bridge;
    match bridge {
        None => Some(broken(format!("bridge `{name}` does not exist"), MAKE)),
        Some(l) if l.kind != "bridge" || l.group != link::group(node) => Some(broken(
            format!("link `{name}` exists and was not made by this node"),
            format!("give the node's bridge another name, or delete the link: `ip link delete {name}`"),
        )),
        Some(l) if !l.up => Some(broken(format!("bridge `{name}` is down"), MAKE)),
        Some(_) => None,
    }
}

fn tables(talk: &mut Talk, node: &NodeNet) -> Result<Vec<Finding>, OpError> {
    let mut findings = Vec::new();
    if !nft::table_exists(talk, &node.table)? {
        findings.push(broken(format!("nftables table `inet {}` does not exist", node.table), MAKE));
    }
    for drop in nft::forward_drops(talk)? {
        if drop.table == node.table {
            continue;
        }
        findings.push(degraded(
            format!(
                "chain `{}` of nftables table `{}` drops forwarded packets that none of its rules accepts",
                drop.chain, drop.table
            ),
            format!(
                "let tasks through in front of its rules: for iptables `iptables -I FORWARD -i {0} -j ACCEPT` and \
                 `iptables -I FORWARD -o {0} -j ACCEPT` (dockerd: the chain DOCKER-USER), and the same by ip6tables",
                node.bridge
            ),
        ));
    }
    Ok(findings)
}
