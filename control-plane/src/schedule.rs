//! Where a task goes: a pure function of what it needs and what the container instances have left.
//!
//! A task fits an instance when the instance is active, its agent is connected, it has every attribute the task needs,
//! and CPU, memory and static ports are free. Among those it fits, the placement strategy decides. What is held is held
//! until the task is reported STOPPED: a task that takes long to stop still uses its memory.

use serde::{Deserialize, Serialize};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

/// What a task takes from the instance it runs on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Demand {
    /// In units.
    pub(crate) cpu: i64,
    /// In MiB.
    pub(crate) memory: i64,
    pub(crate) tcp: BTreeSet<u16>,
    pub(crate) udp: BTreeSet<u16>,
}

/// What an instance has: its size, and ports that no task may have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Capacity {
    pub(crate) cpu: i64,
    pub(crate) memory: i64,
    pub(crate) reserved_tcp: BTreeSet<u16>,
    pub(crate) reserved_udp: BTreeSet<u16>,
}

/// An instance as the scheduler sees it.
#[derive(Debug, Clone)]
pub(crate) struct Candidate<'a> {
    /// Tells instances apart, and orders those that are equally good.
    pub(crate) id: &'a str,
    pub(crate) active: bool,
    pub(crate) connected: bool,
    pub(crate) attributes: &'a BTreeMap<String, Option<String>>,
    pub(crate) capacity: &'a Capacity,
    /// What its tasks take.
    pub(crate) used: &'a Demand,
    pub(crate) tasks: usize,
    /// A task of the same group runs there, for `distinctInstance`.
    pub(crate) has_group: bool,
}

/// An attribute that a task needs: with this value, or with any.
pub(crate) type Needed = (String, Option<String>);

/// What restricts and orders the candidates.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Wishes {
    pub(crate) attributes: Vec<Needed>,
    pub(crate) architecture: Option<&'static str>,
    pub(crate) distinct: bool,
    pub(crate) strategy: Vec<Preference>,
}

/// One step of a placement strategy; later steps decide among what is equal for the earlier ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Preference {
    /// The fewest tasks.
    SpreadInstances,
    /// The fewest tasks among all instances with the same value of this attribute.
    SpreadAttribute(String),
    /// The least CPU left.
    BinpackCpu,
    /// The least memory left.
    BinpackMemory,
    /// Any: by this number.
    Random(u64),
}

/// Why a task does not fit an instance, as ECS names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    Inactive,
    Agent,
    Attribute,
    DistinctInstance,
    Cpu,
    Memory,
    Ports,
}

impl Refusal {
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Refusal::Inactive => "INACTIVE",
            Refusal::Agent => "AGENT",
            Refusal::Attribute => "ATTRIBUTE",
            Refusal::DistinctInstance => "distinctInstance placement constraint unsatisfied.",
            Refusal::Cpu => "RESOURCE:CPU",
            Refusal::Memory => "RESOURCE:MEMORY",
            Refusal::Ports => "RESOURCE:PORTS",
        }
    }
}

/// Why a task does not fit, in numbers, for people.
pub(crate) fn detail(refusal: Refusal, demand: &Demand, wishes: &Wishes, node: &Candidate<'_>) -> String {
    match refusal {
        Refusal::Inactive => "the container instance takes no new tasks".to_owned(),
        Refusal::Agent => "its agent is not connected".to_owned(),
        Refusal::Attribute => match missing_attribute(wishes, node) {
            Some(name) => format!("it does not have the attribute {name}"),
            None => "it has another processor than the task needs".to_owned(),
        },
        Refusal::DistinctInstance => "it runs a task of the same group already".to_owned(),
        Refusal::Cpu => {
            let left = node.capacity.cpu.saturating_sub(node.used.cpu);
            format!("the task needs {} CPU units, {left} of {} are left", demand.cpu, node.capacity.cpu)
        }
        Refusal::Memory => {
            let left = node.capacity.memory.saturating_sub(node.used.memory);
            format!("the task needs {} MiB, {left} of {} are left", demand.memory, node.capacity.memory)
        }
        Refusal::Ports => {
            let taken = |wanted: &BTreeSet<u16>, used: &BTreeSet<u16>, reserved: &BTreeSet<u16>, name: &str| {
                wanted.iter().find(|port| used.contains(port) || reserved.contains(port)).map(|port| {
                    let by = if reserved.contains(port) { "reserved" } else { "used by another task" };
                    format!("{name} port {port} is {by}")
                })
            };
            taken(&demand.tcp, &node.used.tcp, &node.capacity.reserved_tcp, "TCP")
                .or_else(|| taken(&demand.udp, &node.used.udp, &node.capacity.reserved_udp, "UDP"))
                .unwrap_or_default()
        }
    }
}

fn missing_attribute<'a>(wishes: &'a Wishes, node: &Candidate<'_>) -> Option<&'a str> {
    let has = |(name, value): &&Needed| match node.attributes.get(name) {
        Some(own) => value.is_none() || own == value,
        None => false,
    };
    wishes.attributes.iter().find(|needed| !has(needed)).map(|(name, _)| name.as_str())
}

/// Whether the task fits.
pub(crate) fn fits(demand: &Demand, wishes: &Wishes, node: &Candidate<'_>) -> Result<(), Refusal> {
    let capacity = node.capacity;
    let other_processor = wishes.architecture.is_some_and(|wanted| {
        let own = node.attributes.get("ecs.cpu-architecture").and_then(Option::as_deref);
        // The kernel's name for what ECS calls arm64.
        own.map(|own| if own == "aarch64" { "arm64" } else { own }).is_some_and(|own| own != wanted)
    });
    let free = |wanted: &BTreeSet<u16>, used: &BTreeSet<u16>, reserved: &BTreeSet<u16>| {
        wanted.is_disjoint(used) && wanted.is_disjoint(reserved)
    };
    let checks = [
        (node.active, Refusal::Inactive),
        (node.connected, Refusal::Agent),
        (missing_attribute(wishes, node).is_none() && !other_processor, Refusal::Attribute),
        (!(wishes.distinct && node.has_group), Refusal::DistinctInstance),
        (demand.cpu <= capacity.cpu.saturating_sub(node.used.cpu), Refusal::Cpu),
        (demand.memory <= capacity.memory.saturating_sub(node.used.memory), Refusal::Memory),
        (
            free(&demand.tcp, &node.used.tcp, &capacity.reserved_tcp)
                && free(&demand.udp, &node.used.udp, &capacity.reserved_udp),
            Refusal::Ports,
        ),
    ];
    match checks.iter().find(|(ok, _)| !ok) {
        Some((_, refusal)) => Err(*refusal),
        None => Ok(()),
    }
}

/// The candidate that takes the task, or why each does not.
pub(crate) fn place(demand: &Demand, wishes: &Wishes, nodes: &[Candidate<'_>]) -> Result<usize, Vec<Refusal>> {
    let verdicts: Vec<_> = nodes.iter().map(|node| fits(demand, wishes, node)).collect();
    let best =
        (0..nodes.len()).filter(|index| verdicts[*index].is_ok()).min_by_key(|index| rank(wishes, nodes, *index));
    best.ok_or_else(|| verdicts.into_iter().filter_map(Result::err).collect())
}

/// Smaller is better.
fn rank<'a>(wishes: &Wishes, nodes: &'a [Candidate<'_>], index: usize) -> (Vec<i128>, Reverse<i64>, &'a str) {
    let node = &nodes[index];
    let left = |capacity: i64, used: i64| capacity.saturating_sub(used);
    let by_strategy = wishes.strategy.iter().map(|step| match step {
        Preference::SpreadInstances => node.tasks as i128,
        Preference::SpreadAttribute(name) => {
            let own = node.attributes.get(name);
            let same = nodes.iter().filter(|other| other.attributes.get(name) == own);
            same.map(|other| other.tasks as i128).sum()
        }
        Preference::BinpackCpu => left(node.capacity.cpu, node.used.cpu).into(),
        Preference::BinpackMemory => left(node.capacity.memory, node.used.memory).into(),
        // Mixes the number with the place in the list, so that each candidate gets its own.
        Preference::Random(number) => {
            let mixed =
                (number ^ (index as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            i128::from(mixed >> 16)
        }
    });
    let mut keys: Vec<i128> = by_strategy.collect();
    keys.push(node.tasks as i128);
    (keys, Reverse(left(node.capacity.memory, node.used.memory)), node.id)
}

#[cfg(test)]
mod tests;
