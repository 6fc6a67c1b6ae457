//! A task and what it holds, made into what its shim and its bundles are to be. Pure: paths are named, none is touched.

use super::names;
use super::seams::{BindMount, BundleRequest};
use crate::capacity::{Grant, PortGrant};
use crate::config::Settings;
use crate::task::{Condition, Container, Log, NetworkMode, Remap, Task, Volume, transport_name};
use berth_runtime::cgroup::limits::Limits;
use berth_runtime::id::ContainerName;
use berth_runtime::net::plan::{IpPrefix, NetPlan, Publish};
use berth_runtime::rundir::TaskDirs;
use berth_runtime::task::plan;
use std::net::IpAddr;
use std::path::PathBuf;

/// Length of the CPU period: that of the stock agent.
const PERIOD_US: u64 = 100_000;

/// What all tasks of the node have in common.
#[derive(Debug, Clone)]
pub struct NodePlan {
    /// Names and subnets of the node's network.
    pub net: berth_runtime::net::plan::NodeNet,
    /// Parent of all control groups of tasks.
    pub cgroup_parent: String,
    /// Most processes and threads of one task.
    pub task_pids: Option<u64>,
    /// Between stop signal and SIGKILL for containers that do not say, in milliseconds.
    pub stop_timeout_ms: u64,
    /// Region for the SDKs in containers, where there is a real one.
    pub region: Option<String>,
}

impl NodePlan {
    /// What `settings` say of it.
    pub fn of(settings: &Settings) -> Self {
        Self {
            net: settings.net.clone(),
            cgroup_parent: settings.cgroup_parent.clone(),
            task_pids: settings.task_pids,
            stop_timeout_ms: u64::try_from(settings.stop_timeout.as_millis()).unwrap_or(u64::MAX),
            region: Some(settings.region.clone()).filter(|r| r != "local"),
        }
    }
}

/// The plan that the shim reads. `stop_signals` are the bundles', in order.
pub(super) fn task_plan(
    node: &NodePlan,
    dirs: &TaskDirs,
    task: &Task,
    grant: &Grant,
    stop_signals: &[i32],
) -> plan::TaskPlan {
    let containers = task.containers.iter().enumerate().map(|(index, container)| {
        let paths = dirs.container(&name_of(container));
        plan::ContainerPlan {
            name: container.name.clone(),
            essential: container.essential,
            bundle: paths.bundle(),
            network: container_network(node, task, grant, index, paths.netns()),
            depends_on: container
                .depends_on
                .iter()
                .map(|d| dependency(d.on, d.condition))
                .chain(links(container))
                .collect(),
            start_timeout_ms: container.start_timeout_s.saturating_mul(1000),
            stop_timeout_ms: container.stop_timeout_s.map_or(node.stop_timeout_ms, |s| s.saturating_mul(1000)),
            // SIGTERM where the image does not say.
            stop_signal: stop_signals.get(index).copied().unwrap_or(15),
            log: match container.log {
                Log::File => plan::LogPlan::File,
                Log::Discard => plan::LogPlan::Discard,
            },
        }
    });
    plan::TaskPlan {
        version: plan::PLAN_VERSION,
        task: task.id.clone(),
        cgroup_parent: node.cgroup_parent.clone(),
        limits: task_limits(node, task),
        network: (task.network == NetworkMode::Awsvpc).then(|| awsvpc(node, dirs, task, grant)),
        containers: containers.collect(),
        users: task.remap.map(Remap::ids).unwrap_or_default(),
    }
}

fn name_of(container: &Container) -> ContainerName {
    ContainerName::parse(&container.name).expect("names are checked before a task is taken")
}

fn dependency(on: usize, condition: Condition) -> plan::Dependency {
    plan::Dependency {
        on: u32::try_from(on).expect("a task has few containers"),
        condition: match condition {
            Condition::Start => plan::Condition::Start,
            Condition::Complete => plan::Condition::Complete,
            Condition::Success => plan::Condition::Success,
        },
    }
}

/// A link waits until what it leads to has started, as in the stock agent.
fn links(container: &Container) -> impl Iterator<Item = plan::Dependency> {
    let named: Vec<usize> = container.depends_on.iter().map(|d| d.on).collect();
    let linked = container.links.iter().map(|(on, _)| *on).filter(move |on| !named.contains(on));
    linked.map(|on| dependency(on, Condition::Start))
}

fn task_limits(node: &NodePlan, task: &Task) -> Limits {
    let shares: u64 = task.containers.iter().map(|c| c.cpu.max(2)).sum();
    Limits {
        cpu_quota_us: (task.cpu > 0).then(|| task.cpu.saturating_mul(PERIOD_US) / 1024),
        cpu_period_us: (task.cpu > 0).then_some(PERIOD_US),
        cpu_shares: Some(if task.cpu > 0 { task.cpu } else { shares }.clamp(2, 262_144)),
        memory_bytes: mib(task.memory),
        memory_reservation_bytes: None,
        swap_bytes: Some(0),
        pids: node.task_pids,
    }
}

fn container_limits(container: &Container) -> Limits {
    Limits {
        cpu_quota_us: None,
        cpu_period_us: None,
        cpu_shares: Some(container.cpu.clamp(2, 262_144)),
        memory_bytes: mib(container.memory),
        memory_reservation_bytes: mib(container.memory_reservation),
        swap_bytes: Some(0),
        pids: None,
    }
}

fn mib(n: u64) -> Option<u64> {
    (n > 0).then(|| n.saturating_mul(1 << 20))
}

fn container_network(node: &NodePlan, task: &Task, grant: &Grant, index: usize, pin: PathBuf) -> Option<NetPlan> {
    match task.network {
        NetworkMode::Host => Some(NetPlan::Host),
        NetworkMode::None => Some(NetPlan::None { pin }),
        NetworkMode::Awsvpc => None,
        NetworkMode::Bridge => Some(NetPlan::Bridge {
            pin,
            node: node.net.clone(),
            host_link: names::host_link(&task.id, index),
            addresses: bridge_addresses(grant, index).map(|a| on_bridge(node, a)).collect(),
            publish: grant.ports.iter().filter(|p| p.container == index).flat_map(publish).collect(),
        }),
    }
}

fn bridge_addresses(grant: &Grant, container: usize) -> impl Iterator<Item = IpAddr> {
    grant.bridge.iter().filter(move |b| b.container == container).flat_map(|b| b.addresses.iter().copied())
}

fn on_bridge(node: &NodePlan, address: IpAddr) -> IpPrefix {
    let own = if address.is_ipv4() { node.net.bridge_v4 } else { node.net.bridge_v6 };
    IpPrefix { address, prefix: own.map_or(host_prefix(address), |p| p.prefix) }
}

fn host_prefix(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn publish(port: &PortGrant) -> impl Iterator<Item = Publish> + use<> {
    let PortGrant { transport, container_port, .. } = *port;
    port.host_ports().zip(container_port..).map(move |(host_port, container_port)| Publish {
        transport,
        host_port,
        container_port,
    })
}

/// The task's own addresses.
pub(super) fn task_addresses(task: &Task, grant: &Grant) -> Vec<IpAddr> {
    match &task.interface {
        Some(i) => i.ipv4.map(IpAddr::from).into_iter().chain(i.ipv6.map(IpAddr::from)).collect(),
        None => grant.awsvpc.clone(),
    }
}

fn awsvpc(node: &NodePlan, dirs: &TaskDirs, task: &Task, grant: &Grant) -> NetPlan {
    let addresses = task_addresses(task, grant);
    let mac = task.interface.as_ref().and_then(|i| i.mac).unwrap_or_else(|| names::mac_address(&task.id));
    NetPlan::Awsvpc {
        pin: dirs.netns(),
        node: node.net.clone(),
        host_link: names::host_link(&task.id, 0),
        addresses: addresses.iter().map(|a| IpPrefix { address: *a, prefix: host_prefix(*a) }).collect(),
        mac: mac.to_vec(),
    }
}

/// What the bundle of container `index` is to be made of.
pub(super) fn bundle_request(
    node: &NodePlan,
    dirs: &TaskDirs,
    task: &Task,
    grant: &Grant,
    index: usize,
) -> BundleRequest {
    let container = &task.containers[index];
    let paths = dirs.container(&name_of(container));
    BundleRequest {
        dir: paths.bundle(),
        key: names::snapshot_key(&task.id, &container.name),
        environment: environment(node, grant, index),
        hostname: (task.network != NetworkMode::Host).then(|| hostname_of(task, container)),
        mounts: mounts(dirs, task, index, &mut Vec::new()),
        hosts: paths.hosts(),
        resolv_conf: paths.resolv_conf(),
        hostname_file: paths.hostname(),
        limits: container_limits(container),
        host_network: task.network == NetworkMode::Host,
        users: task.remap.map(Remap::ids).unwrap_or_default(),
        container: container.clone(),
    }
}

/// The name that a container has for itself.
pub(super) fn hostname_of(task: &Task, container: &Container) -> String {
    container.hostname.clone().unwrap_or_else(|| names::hostname(&task.id))
}

/// What the definition does not say and the node knows: the host's ports, which a container cannot learn otherwise.
fn environment(node: &NodePlan, grant: &Grant, index: usize) -> Vec<(String, String)> {
    let mut environment = Vec::new();
    for port in grant.ports.iter().filter(|p| p.container == index) {
        let protocol = transport_name::of(port.transport);
        let suffix = if protocol == "udp" { "_UDP" } else { "" };
        for (host, container) in port.host_ports().zip(port.container_port..) {
            environment.push((format!("HOST_PORT_{container}{suffix}"), host.to_string()));
        }
    }
    for name in ["AWS_REGION", "AWS_DEFAULT_REGION"] {
        environment.extend(node.region.iter().map(|region| (name.to_owned(), region.clone())));
    }
    environment
}

/// Where a volume of the task lies on the host.
pub(super) fn volume_path(dirs: &TaskDirs, name: &str, volume: &Volume) -> PathBuf {
    match volume {
        Volume::Host(path) => path.clone(),
        Volume::Empty => dirs.state().join("volumes").join(name),
    }
}

/// Mounts of container `index`: its own, then those of the containers it names in `volumesFrom` for paths that are
/// not taken. `seen` breaks circles.
fn mounts(dirs: &TaskDirs, task: &Task, index: usize, seen: &mut Vec<usize>) -> Vec<BindMount> {
    seen.push(index);
    let container = &task.containers[index];
    let mut list: Vec<BindMount> = Vec::new();
    for mount in &container.mounts {
        if let Some(volume) = task.volumes.get(&mount.volume) {
            let source = volume_path(dirs, &mount.volume, volume);
            list.push(BindMount { source, target: mount.path.clone(), read_only: mount.read_only });
        }
    }
    for from in &container.volumes_from {
        if seen.contains(&from.container) {
            continue;
        }
        for mut mount in mounts(dirs, task, from.container, seen) {
            if list.iter().all(|m| m.target != mount.target) {
                mount.read_only |= from.read_only;
                list.push(mount);
            }
        }
    }
    // A path comes after those above it, or it would be hidden.
    list.sort_by_key(|m| m.target.split('/').filter(|part| !part.is_empty()).count());
    list
}

#[cfg(test)]
mod tests;
