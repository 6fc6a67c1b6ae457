//! What the node was asked to run, as the node takes it: checked, complete, free of the wire's oddities.
//!
//! A [`Task`] is made at one of two borders (a payload in `control`, `berth run` under a remote control plane in
//! `api`), kept whole in the store, written redacted to `task.json`, and read by everything between.

mod refusal;
mod remap;

pub use refusal::Refusal;
pub use remap::{InvalidRemap, Remap, Users};

use berth_runtime::net::plan::Transport;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

/// A task to run on this node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Task {
    /// The last part of its ARN, a valid [`berth_runtime::id::TaskId`].
    pub id: String,
    /// Its whole ARN.
    pub arn: String,
    /// The cluster it belongs to, as the control plane names it.
    pub cluster: String,
    /// Family of its definition.
    pub family: String,
    /// Revision of its definition.
    pub revision: String,
    /// Who wanted it.
    pub origin: Origin,
    /// How its containers are joined to the network.
    pub network: NetworkMode,
    /// Hard CPU limit of the whole task in units; 0 for none.
    pub cpu: u64,
    /// Memory limit of the whole task in MiB; 0 for none.
    pub memory: u64,
    /// Address given by the control plane (awsvpc), else one comes from the node's pool.
    pub interface: Option<Interface>,
    /// Its containers, in the definition's order; never empty, names unique.
    pub containers: Vec<Container>,
    /// Volumes that its containers mount, by name.
    pub volumes: BTreeMap<String, Volume>,
    /// When the node learned of it, milliseconds since the epoch.
    pub created_at_ms: u64,
    /// What in the definition is taken but not yet acted on, in words.
    #[serde(default)]
    pub notes: Vec<String>,
    /// What its users are on the host, where they are others.
    #[serde(default)]
    pub remap: Option<Remap>,
}

/// Who wanted a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Origin {
    /// The control plane: told of all that happens to it.
    ControlPlane,
    /// An operator of this node under a remote control plane, which is never told.
    Local,
}

/// How a task's containers are joined to the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum NetworkMode {
    /// A namespace per container on the node's bridge.
    Bridge,
    /// The host's own namespace.
    Host,
    /// One namespace for the task, with an address of its own.
    Awsvpc,
    /// A namespace per container with loopback only.
    None,
}

impl NetworkMode {
    /// The word of task definitions.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bridge => "bridge",
            Self::Host => "host",
            Self::Awsvpc => "awsvpc",
            Self::None => "none",
        }
    }

    /// Reads the word of task definitions; none given is `bridge`.
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "" | "bridge" => Some(Self::Bridge),
            "host" => Some(Self::Host),
            "awsvpc" => Some(Self::Awsvpc),
            "none" => Some(Self::None),
            _ => None,
        }
    }
}

/// A network interface that the control plane chose for an awsvpc task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interface {
    /// What to report as attached.
    pub attachment_arn: Option<String>,
    /// IPv4 address.
    pub ipv4: Option<Ipv4Addr>,
    /// IPv6 address.
    pub ipv6: Option<Ipv6Addr>,
    /// MAC address.
    pub mac: Option<[u8; 6]>,
}

/// A container of a task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Container {
    /// A valid [`berth_runtime::id::ContainerName`], unique in the task.
    pub name: String,
    /// The image as the definition names it.
    pub image: String,
    /// Replaces the image's command where not empty.
    pub command: Vec<String>,
    /// Replaces the image's entry point where given.
    pub entry_point: Option<Vec<String>>,
    /// Added to the image's environment. Only names are written to `task.json`.
    pub environment: BTreeMap<String, String>,
    /// The task is stopped when this container ends.
    pub essential: bool,
    /// CPU weight in units; 0 is the least.
    pub cpu: u64,
    /// Hard memory limit in MiB; 0 for none.
    pub memory: u64,
    /// Memory kept for it, in MiB; 0 for none.
    pub memory_reservation: u64,
    /// Ports that are asked for.
    pub ports: Vec<PortMapping>,
    /// Volumes of the task mounted into it.
    pub mounts: Vec<MountPoint>,
    /// Containers whose mounts it gets as well.
    pub volumes_from: Vec<VolumeFrom>,
    /// What must have happened to which others before it starts; indices into [`Task::containers`].
    pub depends_on: Vec<Dependency>,
    /// Containers that are known to it by name in `/etc/hosts`: index and alias.
    pub links: Vec<(usize, String)>,
    /// How long those that depend on it wait, in seconds; 0 for ever.
    pub start_timeout_s: u64,
    /// Between stop signal and SIGKILL in seconds, or the node's default.
    pub stop_timeout_s: Option<u64>,
    /// `user[:group]`, instead of the image's.
    pub user: Option<String>,
    /// Instead of the image's working directory.
    pub working_directory: Option<String>,
    /// Instead of one made from the task's id.
    pub hostname: Option<String>,
    /// The root file system cannot be written.
    pub readonly_rootfs: bool,
    /// All capabilities, all devices, no seccomp.
    pub privileged: bool,
    /// Whose users it is to have; `None` is as the node does it.
    #[serde(default)]
    pub users: Option<Users>,
    /// Capabilities on top of the default ones, `CAP_` in front or not.
    pub cap_add: Vec<String>,
    /// Capabilities taken from the default ones; `ALL` for all.
    pub cap_drop: Vec<String>,
    /// Resource limits.
    pub ulimits: Vec<Ulimit>,
    /// tmpfs mounts: path and options.
    pub tmpfs: BTreeMap<String, String>,
    /// Kernel parameters of its namespaces.
    pub sysctls: BTreeMap<String, String>,
    /// Size of `/dev/shm` in bytes.
    pub shm_bytes: Option<u64>,
    /// Name servers instead of the host's.
    pub dns: Vec<String>,
    /// Search domains instead of the host's.
    pub dns_search: Vec<String>,
    /// Lines added to `/etc/hosts`: name and address.
    pub extra_hosts: Vec<(String, String)>,
    /// Where its output goes.
    pub log: Log,
}

/// Where a container's output goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Log {
    /// To its log file.
    File,
    /// Nowhere.
    Discard,
}

/// A port that a container asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortMapping {
    /// TCP or UDP.
    #[serde(with = "transport_name")]
    pub transport: Transport,
    /// First port of the container.
    pub container_port: u16,
    /// How many, one after the other; 1 but for a `containerPortRange`.
    pub count: u16,
    /// First port of the host, or any that are free.
    pub host_port: Option<u16>,
}

/// A volume of the task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Volume {
    /// A directory (or file) of the host.
    Host(PathBuf),
    /// An empty directory that lives as long as the task.
    Empty,
}

/// A volume mounted into a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountPoint {
    /// The name of the volume.
    pub volume: String,
    /// Where in the container, an absolute path.
    pub path: String,
    /// Writing is refused.
    pub read_only: bool,
}

/// A container whose mounts another one gets as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeFrom {
    /// Index into [`Task::containers`].
    pub container: usize,
    /// Writing is refused, whatever the other one may do.
    pub read_only: bool,
}

/// What must have happened to another container first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dependency {
    /// Index into [`Task::containers`].
    pub on: usize,
    /// What must have happened to it.
    pub condition: Condition,
}

/// What must have happened to a container that another depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Condition {
    /// It runs, or has run.
    Start,
    /// It has ended.
    Complete,
    /// It has ended with exit code 0.
    Success,
}

/// A resource limit of a container's processes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ulimit {
    /// As Docker names it, such as `nofile`.
    pub name: String,
    /// Soft limit; `u64::MAX` is unlimited.
    pub soft: u64,
    /// Hard limit; `u64::MAX` is unlimited.
    pub hard: u64,
}

impl Task {
    /// The same without what may be secret: values of environment variables.
    pub fn redacted(&self) -> Self {
        let mut task = self.clone();
        for container in &mut task.containers {
            for value in container.environment.values_mut() {
                value.clear();
            }
        }
        task
    }

    /// CPU units to hold for it: its own, or else what its containers name.
    pub fn cpu_needed(&self) -> u64 {
        if self.cpu > 0 { self.cpu } else { self.containers.iter().map(|c| c.cpu).sum() }
    }

    /// Memory to hold for it in MiB: its own, or else what each container reserves or is limited to.
    pub fn memory_needed(&self) -> u64 {
        let of = |c: &Container| if c.memory_reservation > 0 { c.memory_reservation } else { c.memory };
        if self.memory > 0 { self.memory } else { self.containers.iter().map(of).sum() }
    }

    /// What a person may call it when nobody has given it a name: family and the start of its id.
    pub fn default_name(&self) -> String {
        let short: String = self.id.chars().take(8).collect();
        format!("{}-{short}", self.family)
    }
}

/// TCP and UDP by the words of task definitions.
pub mod transport_name {
    use berth_runtime::net::plan::Transport;
    use serde::{Deserialize, Deserializer, Serializer};

    /// The word.
    pub fn of(transport: Transport) -> &'static str {
        match transport {
            Transport::Tcp => "tcp",
            Transport::Udp => "udp",
        }
    }

    /// Writes the word.
    pub fn serialize<S: Serializer>(transport: &Transport, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(of(*transport))
    }

    /// Reads the word.
    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Transport, D::Error> {
        match String::deserialize(d)?.as_str() {
            "tcp" => Ok(Transport::Tcp),
            "udp" => Ok(Transport::Udp),
            other => Err(serde::de::Error::unknown_variant(other, &["tcp", "udp"])),
        }
    }
}

#[cfg(test)]
pub(crate) mod fixtures {
    use super::*;

    /// A container with nothing asked for.
    pub(crate) fn container(name: &str) -> Container {
        Container {
            name: name.into(),
            image: "example/app:1".into(),
            command: vec![],
            entry_point: None,
            environment: BTreeMap::new(),
            essential: true,
            cpu: 0,
            memory: 0,
            memory_reservation: 0,
            ports: vec![],
            mounts: vec![],
            volumes_from: vec![],
            depends_on: vec![],
            links: vec![],
            start_timeout_s: 0,
            stop_timeout_s: None,
            user: None,
            working_directory: None,
            hostname: None,
            readonly_rootfs: false,
            privileged: false,
            users: None,
            cap_add: vec![],
            cap_drop: vec![],
            ulimits: vec![],
            tmpfs: BTreeMap::new(),
            sysctls: BTreeMap::new(),
            shm_bytes: None,
            dns: vec![],
            dns_search: vec![],
            extra_hosts: vec![],
            log: Log::File,
        }
    }

    /// A task of one such container.
    pub(crate) fn task(id: &str, network: NetworkMode) -> Task {
        Task {
            id: id.into(),
            arn: format!("arn:aws:ecs:local:000000000000:task/default/{id}"),
            cluster: "default".into(),
            family: "app".into(),
            revision: "1".into(),
            origin: Origin::ControlPlane,
            network,
            cpu: 256,
            memory: 64,
            interface: None,
            containers: vec![container("app")],
            volumes: BTreeMap::new(),
            created_at_ms: 1,
            notes: vec![],
            remap: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::fixtures::*;
    use super::*;

    #[test]
    fn a_redacted_task_keeps_the_names_of_variables_and_loses_their_values() {
        let mut task = task("t1", NetworkMode::None);
        task.containers[0].environment.insert("TOKEN".into(), "hunter2".into());
        let text = serde_json::to_string(&task.redacted()).unwrap();
        assert!(text.contains("TOKEN") && !text.contains("hunter2"), "{text}");
    }

    #[test]
    fn a_task_without_limits_of_its_own_needs_what_its_containers_name() {
        let mut task = task("t1", NetworkMode::None);
        (task.cpu, task.memory) = (0, 0);
        task.containers = vec![container("a"), container("b")];
        (task.containers[0].cpu, task.containers[0].memory, task.containers[0].memory_reservation) = (100, 64, 32);
        (task.containers[1].cpu, task.containers[1].memory) = (28, 16);
        assert_eq!((task.cpu_needed(), task.memory_needed()), (128, 48));
    }

    #[test]
    fn a_task_comes_back_from_json_as_it_went() {
        let mut task = task("t1", NetworkMode::Bridge);
        task.containers[0].ports.push(PortMapping {
            transport: Transport::Udp,
            container_port: 53,
            count: 1,
            host_port: None,
        });
        let text = serde_json::to_string(&task).unwrap();
        assert_eq!(serde_json::from_str::<Task>(&text).unwrap(), task);
    }
}
