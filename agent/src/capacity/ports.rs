//! Ranges of the host's ports.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Ports from the first to the last, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PortRange {
    /// The first.
    pub first: u16,
    /// The last, not below the first.
    pub last: u16,
}

/// Why text is no range of ports.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("port range `{0}`: write FIRST-LAST with 1 <= FIRST <= LAST <= 65535")]
pub struct InvalidRange(String);

impl PortRange {
    /// How many ports there are.
    pub fn len(self) -> u32 {
        u32::from(self.last) - u32::from(self.first) + 1
    }

    /// Never: a range has its first port at least.
    pub fn is_empty(self) -> bool {
        false
    }

    /// All of them, beginning at `from` (or at the first when that lies outside) and going round once.
    pub fn round_from(self, from: u16) -> impl Iterator<Item = u16> {
        let from = if (self.first..=self.last).contains(&from) { from } else { self.first };
        (from..=self.last).chain(self.first..from)
    }
}

impl FromStr for PortRange {
    type Err = InvalidRange;

    fn from_str(text: &str) -> Result<Self, InvalidRange> {
        let invalid = || InvalidRange(text.chars().take(40).collect());
        let (first, last) = text.split_once('-').ok_or_else(invalid)?;
        let read = |s: &str| s.trim().parse::<u16>().map_err(|_| invalid());
        let range = Self { first: read(first)?, last: read(last)? };
        if range.first == 0 || range.first > range.last { Err(invalid()) } else { Ok(range) }
    }
}

impl TryFrom<String> for PortRange {
    type Error = InvalidRange;

    fn try_from(text: String) -> Result<Self, InvalidRange> {
        text.parse()
    }
}

impl From<PortRange> for String {
    fn from(range: PortRange) -> Self {
        range.to_string()
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}

/// Reads `/proc/sys/net/ipv4/ip_local_port_range`: two numbers.
pub fn parse_ephemeral_range(text: &str) -> Option<PortRange> {
    let mut words = text.split_whitespace();
    let range = PortRange { first: words.next()?.parse().ok()?, last: words.next()?.parse().ok()? };
    (range.first <= range.last).then_some(range)
}

/// Where ports for tasks are taken from when nothing else is configured: beside the range from which the kernel gives
/// ports to outgoing connections, so that none of them can have taken one. Above it where that leaves a thousand,
/// else the four thousand below it.
pub fn default_dynamic_range(ephemeral: PortRange) -> PortRange {
    let above = u32::from(u16::MAX) - u32::from(ephemeral.last);
    if above >= 1000 {
        return PortRange { first: ephemeral.last + 1, last: u16::MAX };
    }
    let last = ephemeral.first.saturating_sub(1);
    if last >= 1024 + 1000 {
        return PortRange { first: last.saturating_sub(4095).max(1024), last };
    }
    // The kernel's range covers everything: held sockets still keep the two apart, at the price of a retry.
    PortRange { first: 49_153, last: u16::MAX }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(first: u16, last: u16) -> PortRange {
        PortRange { first, last }
    }

    #[test]
    fn the_default_range_lies_beside_the_kernels() {
        assert_eq!(default_dynamic_range(range(32768, 60999)), range(61000, 65535));
        assert_eq!(default_dynamic_range(range(32768, 65535)), range(28672, 32767));
        assert_eq!(default_dynamic_range(range(1024, 65535)), range(49153, 65535));
    }

    #[test]
    fn ranges_are_read_as_people_and_kernel_write_them() {
        assert_eq!("8000-8010".parse(), Ok(range(8000, 8010)));
        assert_eq!(parse_ephemeral_range("32768\t60999\n"), Some(range(32768, 60999)));
        for bad in ["", "8000", "0-10", "10-9", "1-70000", "a-b"] {
            assert!(bad.parse::<PortRange>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_round_visits_each_port_once() {
        let seen: Vec<u16> = range(5, 8).round_from(7).collect();
        assert_eq!(seen, [7, 8, 5, 6]);
        assert_eq!(range(5, 8).round_from(99).next(), Some(5));
        assert_eq!(range(65534, 65535).round_from(65535).collect::<Vec<_>>(), [65535, 65534]);
    }
}
