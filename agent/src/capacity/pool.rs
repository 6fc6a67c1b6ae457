//! A pool of addresses, one family each.

use berth_runtime::net::plan::IpPrefix;
use ipnet::IpNet;
use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A subnet from which tasks get addresses. Its first address is the host's (the bridge's own).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pool {
    net: IpNet,
}

impl Pool {
    /// The pool of a subnet; its host bits are ignored.
    pub fn new(net: IpNet) -> Self {
        Self { net: net.trunc() }
    }

    /// The subnet.
    pub fn subnet(self) -> IpNet {
        self.net
    }

    /// The host's own address in it: the first.
    pub fn gateway(self) -> IpPrefix {
        IpPrefix { address: number_to_ip(self.base() + 1, self.is_v4()), prefix: self.net.prefix_len() }
    }

    /// How many addresses can be given out; `None` where they are more than can be counted.
    pub fn size(self) -> Option<u64> {
        let host_bits = u32::from(self.net.max_prefix_len() - self.net.prefix_len());
        if host_bits > 62 {
            return None;
        }
        // Neither the subnet's own address nor the host's, and in IPv4 not the broadcast address.
        Some((1u64 << host_bits).saturating_sub(if self.is_v4() { 3 } else { 2 }))
    }

    /// Whether the address may be given to a task.
    pub fn contains(self, address: IpAddr) -> bool {
        self.net.contains(&address) && self.offset(address).is_some_and(|n| n >= 2 && n <= self.last())
    }

    /// The first address after `after` that is not in `used`, going round once.
    pub fn next_free(self, used: &HashSet<IpAddr>, after: Option<IpAddr>) -> Option<IpAddr> {
        if self.last() < 2 {
            return None;
        }
        let start = after.filter(|a| self.contains(*a)).and_then(|a| self.offset(a)).map_or(2, |n| n + 1);
        let start = if start > self.last() { 2 } else { start };
        // As many steps as there are used addresses, and one, are enough to find one that is not.
        let mut n = start;
        for _ in 0..=used.len() {
            let address = number_to_ip(self.base() + n, self.is_v4());
            if !used.contains(&address) {
                return Some(address);
            }
            n = if n == self.last() { 2 } else { n + 1 };
        }
        None
    }

    fn is_v4(self) -> bool {
        matches!(self.net, IpNet::V4(_))
    }

    fn base(self) -> u128 {
        ip_to_number(self.net.network())
    }

    fn offset(self, address: IpAddr) -> Option<u128> {
        ip_to_number(address).checked_sub(self.base())
    }

    /// Offset of the last address that may be given out.
    fn last(self) -> u128 {
        let host_bits = u32::from(self.net.max_prefix_len() - self.net.prefix_len());
        let top = if host_bits >= 128 { u128::MAX } else { (1u128 << host_bits) - 1 };
        if self.is_v4() { top.saturating_sub(1) } else { top }
    }
}

fn ip_to_number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(a) => u32::from(a).into(),
        IpAddr::V6(a) => a.into(),
    }
}

fn number_to_ip(n: u128, v4: bool) -> IpAddr {
    if v4 { Ipv4Addr::from(n as u32).into() } else { Ipv6Addr::from(n).into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(net: &str) -> Pool {
        Pool::new(net.parse().unwrap())
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn the_first_address_is_the_hosts_and_the_last_is_broadcast() {
        let pool = pool("10.0.0.0/29");
        assert_eq!(pool.gateway(), IpPrefix { address: ip("10.0.0.1"), prefix: 29 });
        let mut used = HashSet::new();
        let mut given = Vec::new();
        while let Some(a) = pool.next_free(&used, given.last().copied()) {
            used.insert(a);
            given.push(a);
        }
        assert_eq!(given, ["10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5", "10.0.0.6"].map(ip));
        assert_eq!(pool.size(), Some(5));
    }

    #[test]
    fn a_released_address_is_the_last_to_be_given_again() {
        let pool = pool("10.0.0.0/29");
        let used = HashSet::from([ip("10.0.0.2"), ip("10.0.0.4")]);
        assert_eq!(pool.next_free(&used, Some(ip("10.0.0.4"))), Some(ip("10.0.0.5")));
        assert_eq!(pool.next_free(&used, Some(ip("10.0.0.6"))), Some(ip("10.0.0.3")));
    }

    #[test]
    fn subnets_too_small_for_anybody_give_nothing() {
        assert_eq!(pool("10.0.0.0/32").next_free(&HashSet::new(), None), None);
        assert_eq!(pool("10.0.0.0/31").next_free(&HashSet::new(), None), None);
        assert_eq!(pool("10.0.0.0/31").size(), Some(0));
    }

    #[test]
    fn sixty_four_bits_of_addresses_are_not_walked_through() {
        let pool = pool("fd00:1::/64");
        assert_eq!(pool.next_free(&HashSet::new(), None), Some(ip("fd00:1::2")));
        assert_eq!(pool.size(), None);
        assert!(
            pool.contains(ip("fd00:1::ffff")) && !pool.contains(ip("fd00:1::1")) && !pool.contains(ip("fd00:2::2"))
        );
    }
}
