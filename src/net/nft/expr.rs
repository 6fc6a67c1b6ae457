//! Rules as lists of expressions: load something into a register, compare it, act.

use super::super::attr::Attrs;
use super::super::plan::IpPrefix;
use std::net::IpAddr;

/// The first register; a value longer than four bytes runs on into the next ones.
const REG: u32 = 8;
/// The register that takes verdicts.
const REG_VERDICT: u32 = 0;
const CMP_EQ: u32 = 0;
const CMP_NEQ: u32 = 1;
const NETWORK_HEADER: u32 = 1;
const TRANSPORT_HEADER: u32 = 2;
const META_NFPROTO: u32 = 15;
const META_L4PROTO: u32 = 16;
const META_OIFNAME: u32 = 7;
const META_IIFGROUP: u32 = 21;
const META_OIFGROUP: u32 = 22;
const CT_STATE: u32 = 0;
const CT_STATUS: u32 = 2;
/// `NF_CT_STATE_BIT(IP_CT_NEW)`.
const STATE_NEW: u32 = 8;
/// `IPS_DST_NAT`.
const STATUS_DNAT: u32 = 32;
const FIB_RESULT_OIF: u32 = 1;
const FIB_RESULT_ADDRTYPE: u32 = 3;
const FIB_SADDR: u32 = 1;
const FIB_DADDR: u32 = 2;
const FIB_IIF: u32 = 8;
const FIB_PRESENT: u32 = 32;
/// `RTN_LOCAL`: an address of this machine.
const LOCAL: u32 = 2;
const NAT_DNAT: u32 = 1;
const DROP: u32 = 0;
/// `NFT_RETURN`, -5.
const RETURN: u32 = (-5i32) as u32;

/// IPv4 or IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ip {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Ip {
    /// `NFPROTO_IPV4` or `NFPROTO_IPV6`.
    fn number(self) -> u8 {
        match self {
            Self::V4 => 2,
            Self::V6 => 10,
        }
    }

    /// Bytes of an address.
    pub(crate) fn length(self) -> u32 {
        match self {
            Self::V4 => 4,
            Self::V6 => 16,
        }
    }
}

/// Which address of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// Its sender's.
    Source,
    /// Its receiver's.
    Destination,
}

/// A rule under construction: conditions, then an act.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Rule {
    expressions: Attrs,
}

impl Rule {
    /// A rule that matches everything and does nothing.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// What has been written.
    pub(super) fn expressions(&self) -> &Attrs {
        &self.expressions
    }

    fn push(mut self, name: &str, data: &Attrs) -> Self {
        self.expressions = self.expressions.nest(1, &Attrs::new().text(1, name).nest(2, data));
        self
    }

    fn meta(self, key: u32, register: u32) -> Self {
        self.push("meta", &Attrs::new().be32(1, register).be32(2, key))
    }

    fn compare(self, op: u32, value: &[u8]) -> Self {
        self.push("cmp", &Attrs::new().be32(1, REG).be32(2, op).nest(3, &Attrs::new().bytes(1, value)))
    }

    fn mask(self, mask: &[u8]) -> Self {
        let value = |bytes: &[u8]| Attrs::new().bytes(1, bytes);
        let attrs = Attrs::new().be32(1, REG).be32(2, REG).be32(3, mask.len() as u32);
        self.push("bitwise", &attrs.nest(4, &value(mask)).nest(5, &value(&vec![0; mask.len()])))
    }

    fn payload(self, base: u32, offset: u32, length: u32, register: u32) -> Self {
        self.push("payload", &Attrs::new().be32(1, register).be32(2, base).be32(3, offset).be32(4, length))
    }

    fn verdict(self, code: u32) -> Self {
        let data = Attrs::new().nest(2, &Attrs::new().be32(1, code));
        self.push("immediate", &Attrs::new().be32(1, REG_VERDICT).nest(2, &data))
    }

    fn fib(self, result: u32, flags: u32) -> Self {
        self.push("fib", &Attrs::new().be32(1, REG).be32(2, result).be32(3, flags))
    }

    fn load_address(self, ip: Ip, end: End) -> Self {
        let offset = match (ip, end) {
            (Ip::V4, End::Source) => 12,
            (Ip::V4, End::Destination) => 16,
            (Ip::V6, End::Source) => 8,
            (Ip::V6, End::Destination) => 24,
        };
        self.payload(NETWORK_HEADER, offset, ip.length(), REG)
    }

    fn prefix(self, end: End, network: IpPrefix, op: u32) -> Self {
        let (ip, bytes) = match network.address {
            IpAddr::V4(a) => (Ip::V4, a.octets().to_vec()),
            IpAddr::V6(a) => (Ip::V6, a.octets().to_vec()),
        };
        let mask = mask_bytes(ip, network.prefix);
        let masked: Vec<u8> = bytes.iter().zip(&mask).map(|(a, m)| a & m).collect();
        let rule = self.load_address(ip, end);
        let rule = if mask.iter().all(|m| *m == 0xff) { rule } else { rule.mask(&mask) };
        rule.compare(op, &masked)
    }

    /// Packets of that family.
    pub(crate) fn family(self, ip: Ip) -> Self {
        self.meta(META_NFPROTO, REG).compare(CMP_EQ, &[ip.number()])
    }

    /// Packets from or to an address in `network`. [`Rule::family`] comes first: this looks at bytes of the header.
    pub(crate) fn in_network(self, end: End, network: IpPrefix) -> Self {
        self.prefix(end, network, CMP_EQ)
    }

    /// Packets from or to an address outside `network`.
    pub(crate) fn not_in_network(self, end: End, network: IpPrefix) -> Self {
        self.prefix(end, network, CMP_NEQ)
    }

    /// Packets to an address in a set.
    pub(crate) fn destined_to_any_of(self, ip: Ip, set: &str) -> Self {
        self.load_address(ip, End::Destination).push("lookup", &Attrs::new().text(1, set).be32(2, REG))
    }

    /// Packets that come in by a link of the group, or by one of another.
    pub(crate) fn in_group(self, group: u32, is: bool) -> Self {
        self.meta(META_IIFGROUP, REG).compare(if is { CMP_EQ } else { CMP_NEQ }, &group.to_ne_bytes())
    }

    /// Packets that leave by a link of another group.
    pub(crate) fn out_of_other_group(self, group: u32) -> Self {
        self.meta(META_OIFGROUP, REG).compare(CMP_NEQ, &group.to_ne_bytes())
    }

    /// Packets that leave by the link of that name.
    pub(crate) fn out_of(self, link: &str) -> Self {
        let mut name = link.as_bytes().to_vec();
        name.resize(16, 0);
        self.meta(META_OIFNAME, REG).compare(CMP_EQ, &name)
    }

    /// Packets to an address of this machine.
    pub(crate) fn destined_to_this_machine(self) -> Self {
        self.fib(FIB_RESULT_ADDRTYPE, FIB_DADDR).compare(CMP_EQ, &LOCAL.to_ne_bytes())
    }

    /// Packets whose sender is not reached by the link that they came in by.
    pub(crate) fn sent_from_elsewhere(self) -> Self {
        self.fib(FIB_RESULT_OIF, FIB_SADDR | FIB_IIF | FIB_PRESENT).compare(CMP_EQ, &0u32.to_ne_bytes())
    }

    /// The first packets of connections.
    pub(crate) fn new_connection(self) -> Self {
        self.ct_bit(CT_STATE, STATE_NEW, true)
    }

    /// Packets of connections whose destination was, or was not, changed.
    pub(crate) fn dnat_done(self, is: bool) -> Self {
        self.ct_bit(CT_STATUS, STATUS_DNAT, is)
    }

    fn ct_bit(self, key: u32, bit: u32, is: bool) -> Self {
        let op = if is { CMP_NEQ } else { CMP_EQ };
        let rule = self.push("ct", &Attrs::new().be32(1, REG).be32(2, key));
        rule.mask(&bit.to_ne_bytes()).compare(op, &0u32.to_ne_bytes())
    }

    /// Drops the packet.
    pub(crate) fn drop(self) -> Self {
        self.verdict(DROP)
    }

    /// Leaves the chain.
    pub(crate) fn leave(self) -> Self {
        self.verdict(RETURN)
    }

    /// Makes the packet come from the address of the link it leaves by.
    pub(crate) fn masquerade(self) -> Self {
        self.push("masq", &Attrs::new())
    }

    /// Sends the packet where `map` says, by transport protocol and destination port; where it says nothing the rule
    /// does nothing. One look-up, however many ports there are.
    pub(crate) fn dnat_by(self, ip: Ip, map: &str) -> Self {
        let after_address = REG + ip.length() / 4;
        let nat = Attrs::new().be32(1, NAT_DNAT).be32(2, ip.number().into()).be32(3, REG).be32(5, after_address);
        self.meta(META_L4PROTO, REG)
            .payload(TRANSPORT_HEADER, 2, 2, REG + 1)
            .push("lookup", &Attrs::new().text(1, map).be32(2, REG).be32(3, REG))
            .push("nat", &nat)
    }
}

fn mask_bytes(ip: Ip, prefix: u8) -> Vec<u8> {
    let bits_in = |byte: u32| u32::from(prefix).saturating_sub(byte * 8).min(8);
    (0..ip.length()).map(|byte| u8::MAX.checked_shl(8 - bits_in(byte)).unwrap_or(0)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_have_as_many_bits_as_the_prefix() {
        assert_eq!(mask_bytes(Ip::V4, 0), [0, 0, 0, 0]);
        assert_eq!(mask_bytes(Ip::V4, 20), [255, 255, 240, 0]);
        assert_eq!(mask_bytes(Ip::V4, 32), [255; 4]);
        for prefix in 0..=128 {
            let ones: u32 = mask_bytes(Ip::V6, prefix).iter().map(|b| b.count_ones()).sum();
            assert_eq!(ones, u32::from(prefix));
        }
    }
}
