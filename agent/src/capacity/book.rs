//! The record of who holds what.

use super::{BridgeGrant, Grant, Need, Node, Pool, PortGrant, PortNeed};
use berth_runtime::net::plan::Transport;
use std::collections::{BTreeMap, HashSet};
use std::io;
use std::net::IpAddr;

/// Why a task was not admitted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Denied {
    /// Others hold what it needs: ask again when something is released.
    Wait(String),
    /// No release will help: the node has not as much, or the port is not one for tasks.
    Never {
        /// The field of the definition at fault.
        field: String,
        /// What is wrong, with the value.
        problem: String,
    },
}

/// What the node has, and which task holds what of it.
#[derive(Debug)]
pub struct Book {
    node: Node,
    grants: BTreeMap<String, Grant>,
    last_port: u16,
    last_address: Vec<IpAddr>,
}

impl Book {
    /// Nothing is held yet.
    pub fn new(node: Node) -> Self {
        Self { node, grants: BTreeMap::new(), last_port: 0, last_address: Vec::new() }
    }

    /// What the node has.
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// Who holds what, by task id.
    pub fn grants(&self) -> &BTreeMap<String, Grant> {
        &self.grants
    }

    /// CPU units held.
    pub fn used_cpu(&self) -> u64 {
        self.grants.values().map(|g| g.cpu).sum()
    }

    /// Memory held in MiB.
    pub fn used_memory(&self) -> u64 {
        self.grants.values().map(|g| g.memory).sum()
    }

    /// CPU units and memory in MiB held by operators' own tasks, of which the control plane knows nothing.
    pub fn local_use(&self) -> (u64, u64) {
        let local = || self.grants.values().filter(|g| g.local);
        (local().map(|g| g.cpu).sum(), local().map(|g| g.memory).sum())
    }

    /// Ports of the host held, of one transport; `local_only` for those of operators' own tasks.
    pub fn used_ports(&self, transport: Transport, local_only: bool) -> HashSet<u16> {
        let grants = self.grants.values().filter(|g| g.local || !local_only);
        grants.flat_map(|g| &g.ports).filter(|p| p.transport == transport).flat_map(PortGrant::host_ports).collect()
    }

    /// Addresses held on the bridge or of the awsvpc pool.
    pub fn used_addresses(&self) -> HashSet<IpAddr> {
        let of = |g: &Grant| -> Vec<IpAddr> {
            g.bridge.iter().flat_map(|b| b.addresses.iter().copied()).chain(g.awsvpc.iter().copied()).collect()
        };
        self.grants.values().flat_map(of).collect()
    }

    /// Notes what a task holds already, as after a restart. Facts are not argued with.
    pub fn restore(&mut self, task: &str, grant: Grant) {
        self.grants.insert(task.to_owned(), grant);
    }

    /// Takes what `need` says for `task`, or says what is short and takes nothing. `hold` binds a port; what it
    /// returns goes to the caller with the grant, in the order of the held ports.
    pub fn admit<H>(
        &mut self,
        task: &str,
        need: &Need,
        mut hold: impl FnMut(Transport, u16) -> io::Result<H>,
    ) -> Result<(Grant, Vec<H>), Denied> {
        if self.grants.contains_key(task) {
            return Err(never("taskId", format!("{task} holds resources already")));
        }
        self.check_amounts(need)?;
        let (bridge, awsvpc) = self.choose_addresses(need)?;
        let mut used = [Transport::Tcp, Transport::Udp].map(|t| self.used_ports(t, false));
        let mut ports = Vec::new();
        let mut held = Vec::new();
        // Named ports first, so that a choice among free ones cannot take a port that the same task names.
        let named = need.ports.iter().filter(|p| p.host_port.is_some());
        for want in named.chain(need.ports.iter().filter(|p| p.host_port.is_none())) {
            let used = &mut used[usize::from(want.transport == Transport::Udp)];
            let host_port = match want.host_port {
                Some(port) => self.take_named(want, port, used, &mut hold, &mut held)?,
                None => self.take_free(want, used, &mut hold, &mut held)?,
            };
            let PortNeed { container, transport, container_port, count, hold: is_held, .. } = *want;
            let grant = PortGrant { container, transport, container_port, host_port, count, held: is_held };
            used.extend(grant.host_ports());
            ports.push(grant);
        }
        let grant = Grant { cpu: need.cpu, memory: need.memory, ports, bridge, awsvpc, local: need.local };
        let chosen = grant.bridge.iter().flat_map(|b| b.addresses.iter()).chain(&grant.awsvpc);
        for address in chosen {
            let node = &self.node;
            self.last_address.retain(|a| node.pool_of(*a) != node.pool_of(*address));
            self.last_address.push(*address);
        }
        self.grants.insert(task.to_owned(), grant.clone());
        Ok((grant, held))
    }

    /// Gives back what `task` holds; says whether it held anything.
    pub fn release(&mut self, task: &str) -> bool {
        self.grants.remove(task).is_some()
    }

    fn check_amounts(&self, need: &Need) -> Result<(), Denied> {
        let amounts = [
            ("cpu", "CPU units", need.cpu, self.node.task_cpu(), self.used_cpu()),
            ("memory", "MiB of memory", need.memory, self.node.task_memory(), self.used_memory()),
        ];
        for (field, words, wanted, total, _) in amounts {
            if wanted > total {
                return Err(never(field, format!("needs {wanted} {words}, and the node has {total} for tasks")));
            }
        }
        for (_, words, wanted, total, used) in amounts {
            let free = total.saturating_sub(used);
            if wanted > free {
                return Err(Denied::Wait(format!("waits for {words}: needs {wanted}, {free} of {total} are free")));
            }
        }
        Ok(())
    }

    fn choose_addresses(&self, need: &Need) -> Result<(Vec<BridgeGrant>, Vec<IpAddr>), Denied> {
        let mut used = self.used_addresses();
        let mut choose = |pools: &[Pool], mode: &str| -> Result<Vec<IpAddr>, Denied> {
            if pools.is_empty() {
                return Err(never("networkMode", format!("`{mode}`: the node has no subnet for it")));
            }
            let mut chosen = Vec::new();
            for pool in pools {
                let after = self.last_address.iter().copied().find(|a| pool.contains(*a));
                let address = pool.next_free(&used, after);
                let full = || Denied::Wait(format!("waits for an address: all of {} are in use", pool.subnet()));
                let address = address.ok_or_else(full)?;
                used.insert(address);
                chosen.push(address);
            }
            Ok(chosen)
        };
        let mut bridge = Vec::new();
        for &container in &need.bridge {
            bridge.push(BridgeGrant { container, addresses: choose(&self.node.bridge, "bridge")? });
        }
        let awsvpc = if need.awsvpc { choose(&self.node.awsvpc, "awsvpc")? } else { Vec::new() };
        Ok((bridge, awsvpc))
    }

    fn take_named<H>(
        &self,
        want: &PortNeed,
        first: u16,
        used: &HashSet<u16>,
        hold: &mut impl FnMut(Transport, u16) -> io::Result<H>,
        held: &mut Vec<H>,
    ) -> Result<u16, Denied> {
        let word = crate::task::transport_name::of(want.transport);
        let field = format!("containerDefinitions[{}].portMappings.hostPort", want.container);
        for n in 0..want.count {
            let Some(port) = first.checked_add(n) else {
                return Err(never(field, format!("{first} and {} after it go beyond 65535", want.count - 1)));
            };
            if self.node.reserved(want.transport).contains(&port) {
                return Err(never(field, format!("{port}/{word} is reserved on this node")));
            }
            if used.contains(&port) {
                return Err(Denied::Wait(format!(
                    "waits for port {port}/{word} of the host, which another task holds"
                )));
            }
            if want.hold {
                let taken = |e: io::Error| match e.kind() {
                    io::ErrorKind::AddrInUse => {
                        never(&field, format!("{port}/{word} is in use by another program of the host"))
                    }
                    _ => never(&field, format!("{port}/{word} cannot be bound: {e}")),
                };
                held.push(hold(want.transport, port).map_err(taken)?);
            }
        }
        Ok(first)
    }

    fn take_free<H>(
        &mut self,
        want: &PortNeed,
        used: &HashSet<u16>,
        hold: &mut impl FnMut(Transport, u16) -> io::Result<H>,
        held: &mut Vec<H>,
    ) -> Result<u16, Denied> {
        let range = self.node.dynamic_ports;
        let reserved = self.node.reserved(want.transport);
        let is_free = |port: u16| !used.contains(&port) && !reserved.contains(&port);
        'first: for first in range.round_from(self.last_port.wrapping_add(1)) {
            let Some(last) = first.checked_add(want.count.saturating_sub(1)).filter(|last| *last <= range.last) else {
                continue;
            };
            if !(first..=last).all(is_free) {
                continue;
            }
            let before = held.len();
            for port in first..=last {
                if !want.hold {
                    continue;
                }
                match hold(want.transport, port) {
                    Ok(socket) => held.push(socket),
                    Err(e) if e.kind() == io::ErrorKind::AddrInUse => {
                        held.truncate(before);
                        continue 'first;
                    }
                    Err(e) => {
                        let field = format!("containerDefinitions[{}].portMappings", want.container);
                        return Err(never(field, format!("port {port} of the host cannot be bound: {e}")));
                    }
                }
            }
            self.last_port = last;
            return Ok(first);
        }
        let word = crate::task::transport_name::of(want.transport);
        Err(Denied::Wait(format!("waits for {} free {word} port(s) of the host in {range}", want.count)))
    }
}

fn never(field: impl Into<String>, problem: impl Into<String>) -> Denied {
    Denied::Never { field: field.into(), problem: problem.into() }
}

#[cfg(test)]
mod tests;
