//! Users of tasks that are others on the host.

use berth_runtime::spec::IdMaps;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Fewer than images count on: `nobody` is 65534.
const LEAST: u32 = 65_536;

/// User and group 0 of a task is `base` on the host, and so on for `count` of them. As text `BASE:COUNT`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Remap {
    base: u32,
    count: u32,
}

impl Remap {
    /// What root of the task is on the host.
    pub fn root(self) -> u32 {
        self.base
    }

    /// The maps of the user namespace.
    pub fn ids(self) -> IdMaps {
        IdMaps::from_zero(self.base, self.count)
    }
}

/// Text is no range that a task's users can be mapped to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("write BASE:COUNT, such as 1000000:65536: {0}")]
pub struct InvalidRemap(&'static str);

impl FromStr for Remap {
    type Err = InvalidRemap;

    fn from_str(text: &str) -> Result<Self, InvalidRemap> {
        let number = |text: &str| text.trim().parse::<u32>().ok();
        let read = text.split_once(':').and_then(|(base, count)| Some((number(base)?, number(count)?)));
        let (base, count) = read.ok_or(InvalidRemap("two whole numbers of 32 bits"))?;
        match base.checked_add(count) {
            _ if base == 0 => Err(InvalidRemap("BASE 0 is the host's root")),
            _ if count < LEAST => Err(InvalidRemap("COUNT must be 65536 at least")),
            None => Err(InvalidRemap("BASE and COUNT together must be below 4294967296")),
            Some(_) => Ok(Self { base, count }),
        }
    }
}

impl TryFrom<String> for Remap {
    type Error = InvalidRemap;

    fn try_from(text: String) -> Result<Self, InvalidRemap> {
        text.parse()
    }
}

impl From<Remap> for String {
    fn from(remap: Remap) -> Self {
        remap.to_string()
    }
}

impl fmt::Display for Remap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.base, self.count)
    }
}

/// What a container's label asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Users {
    /// The host's users.
    Host,
    /// Those that the node maps tasks to.
    Remap,
}

impl Users {
    /// Its word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Remap => "remap",
        }
    }

    /// Reads the word.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Host, Self::Remap].into_iter().find(|users| users.as_str() == word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_remap_is_a_range_without_the_hosts_root_and_with_all_users_of_an_image() {
        let remap: Remap = "1000000:65536".parse().unwrap();
        assert_eq!((remap.root(), remap.ids()), (1_000_000, IdMaps::from_zero(1_000_000, 65_536)));
        assert_eq!(remap.to_string().parse(), Ok(remap));
        assert!("4294901759:65536".parse::<Remap>().is_ok(), "the last range");
        for bad in
            ["", "5", "1000000", "1000000:", ":65536", "0:65536", "1000000:65535", "4294901760:65536", "-1:65536"]
        {
            assert!(bad.parse::<Remap>().is_err(), "{bad}");
        }
    }
}
