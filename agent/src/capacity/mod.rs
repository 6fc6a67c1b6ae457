//! What the node has, what is held of it, and whether one more task fits.
//!
//! A [`Book`] is a value: [`Book::admit`] answers with a [`Grant`] or says what is short, [`Book::release`] gives back.
//! What is used is always the sum over the grants, never a counter of its own, so that it cannot drift. Held ports are
//! bound sockets that the caller's `hold` makes while the choice is made, so that nobody else gets the port between.
//!
//! ```text
//!  Need ── admit ──► Grant + sockets ──(the task's last process is gone)── release
//!            └─► Denied::Wait (something is held by others) | Denied::Never (no wait will help)
//! ```

mod book;
mod pool;
mod ports;

pub use book::{Book, Denied};
pub use pool::Pool;
pub use ports::{PortRange, default_dynamic_range, parse_ephemeral_range};

use berth_runtime::net::plan::Transport;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::net::IpAddr;

/// What the node has for tasks; fixed while the agent runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// CPU units of the host.
    pub cpu: u64,
    /// Memory of the host in MiB.
    pub memory: u64,
    /// CPU units kept for the host.
    pub reserved_cpu: u64,
    /// Memory in MiB kept for the host.
    pub reserved_memory: u64,
    /// TCP ports never given to tasks.
    pub reserved_tcp: BTreeSet<u16>,
    /// UDP ports never given to tasks.
    pub reserved_udp: BTreeSet<u16>,
    /// Where ports are taken from when a definition names none.
    pub dynamic_ports: PortRange,
    /// Pools of containers on the bridge, one per family.
    pub bridge: Vec<Pool>,
    /// Pools of awsvpc tasks, one per family.
    pub awsvpc: Vec<Pool>,
}

impl Node {
    /// CPU units that tasks can have.
    pub fn task_cpu(&self) -> u64 {
        self.cpu.saturating_sub(self.reserved_cpu)
    }

    /// Memory in MiB that tasks can have.
    pub fn task_memory(&self) -> u64 {
        self.memory.saturating_sub(self.reserved_memory)
    }

    /// Ports of `transport` never given to tasks.
    pub fn reserved(&self, transport: Transport) -> &BTreeSet<u16> {
        match transport {
            Transport::Tcp => &self.reserved_tcp,
            Transport::Udp => &self.reserved_udp,
        }
    }

    fn pool_of(&self, address: IpAddr) -> Option<Pool> {
        self.bridge.iter().chain(&self.awsvpc).copied().find(|p| p.contains(address))
    }
}

/// What a task needs of the node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Need {
    /// CPU units.
    pub cpu: u64,
    /// Memory in MiB.
    pub memory: u64,
    /// Ports of the host.
    pub ports: Vec<PortNeed>,
    /// Containers that need addresses on the bridge, by index.
    pub bridge: Vec<usize>,
    /// The task needs addresses from the awsvpc pool.
    pub awsvpc: bool,
    /// It is an operator's own task under a remote control plane.
    pub local: bool,
}

/// Ports of the host that a task needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PortNeed {
    /// Index of the container.
    pub container: usize,
    /// TCP or UDP.
    pub transport: Transport,
    /// First port of the container.
    pub container_port: u16,
    /// How many, one after the other.
    pub count: u16,
    /// First port of the host, or any that are free.
    pub host_port: Option<u16>,
    /// Keep others away by a bound socket. Not in host mode, where the task itself must bind it.
    pub hold: bool,
}

/// What a task holds of the node, until its last process is gone.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// CPU units.
    pub cpu: u64,
    /// Memory in MiB.
    pub memory: u64,
    /// Ports of the host.
    pub ports: Vec<PortGrant>,
    /// Addresses on the bridge.
    pub bridge: Vec<BridgeGrant>,
    /// Addresses from the awsvpc pool.
    pub awsvpc: Vec<IpAddr>,
    /// It is an operator's own task under a remote control plane.
    pub local: bool,
}

/// Ports of the host that a task holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortGrant {
    /// Index of the container.
    pub container: usize,
    /// TCP or UDP.
    #[serde(with = "crate::task::transport_name")]
    pub transport: Transport,
    /// First port of the container.
    pub container_port: u16,
    /// First port of the host.
    pub host_port: u16,
    /// How many, one after the other.
    pub count: u16,
    /// By sockets that the shim keeps.
    pub held: bool,
}

impl PortGrant {
    /// The host's ports, one by one.
    pub fn host_ports(&self) -> impl Iterator<Item = u16> + use<> {
        let first = self.host_port;
        (0..self.count).map_while(move |n| first.checked_add(n))
    }
}

/// Addresses that one container holds on the bridge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BridgeGrant {
    /// Index of the container.
    pub container: usize,
    /// One per family.
    pub addresses: Vec<IpAddr>,
}
