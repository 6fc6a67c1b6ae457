//! What the agent was told: a TOML file, `ECS_*` variables, flags; each wins over the one before.
//!
//! Each source is read into a [`Partial`]; [`Partial::over`] lays one over another; [`Settings::resolve`] adds the
//! defaults and checks the whole. A wrong value names where it came from.

mod environment;
mod host;

pub use environment::read as from_environment;
pub use host::HostFacts;

use crate::capacity::{Node, Pool, PortRange, default_dynamic_range};
use crate::task::Remap;
use berth_runtime::net::plan::{IpPrefix, NodeNet};
use berth_runtime::rundir::Dirs;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where a control plane inside the agent listens.
pub const DEFAULT_LISTEN: &str = "127.0.0.1:51680";

/// Ports that Amazon ECS never gives to tasks, and the embedded control plane's own.
const RESERVED_TCP: [u16; 6] = [22, 2375, 2376, 51678, 51679, 51680];

/// A setting is wrong.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("read configuration file `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not what it should be.
    #[error("configuration file `{}`", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: Box<toml::de::Error>,
    },
    /// One value is wrong.
    #[error("setting {name} `{value}`: {problem}")]
    Value {
        /// The setting, by the name of its source.
        name: String,
        /// What stands there.
        value: String,
        /// What is wrong with it.
        problem: String,
    },
}

impl ConfigError {
    pub(crate) fn value(name: impl Into<String>, value: impl ToString, problem: impl ToString) -> Self {
        Self::Value { name: name.into(), value: value.to_string(), problem: problem.to_string() }
    }
}

/// Settings of one source; what it does not name is `None`. The names are those of the TOML file.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Partial {
    /// Name of the cluster.
    pub cluster: Option<String>,
    /// URL of the control plane; none starts one inside the agent.
    pub backend: Option<String>,
    /// Region that requests are signed for.
    pub region: Option<String>,
    /// File with `accessKeyId` and `secretAccessKey` for the control plane.
    pub credentials_file: Option<PathBuf>,
    /// Address of the control plane inside the agent.
    pub listen: Option<String>,
    /// Directory that dies with the boot.
    pub run_dir: Option<PathBuf>,
    /// Directory that outlives the boot.
    pub state_dir: Option<PathBuf>,
    /// The operators' socket, instead of `agent.sock` in the run directory.
    pub socket: Option<PathBuf>,
    /// The `berth-runtime` executable.
    pub runtime: Option<PathBuf>,
    /// Parent of all control groups of tasks, below each hierarchy's mount.
    pub cgroup_parent: Option<String>,
    /// CPU units kept for the host.
    pub reserved_cpu: Option<u64>,
    /// Memory in MiB kept for the host.
    pub reserved_memory: Option<u64>,
    /// TCP ports never given to tasks.
    pub reserved_ports: Option<Vec<u16>>,
    /// UDP ports never given to tasks.
    pub reserved_ports_udp: Option<Vec<u16>>,
    /// Where ports are taken from when a definition names none, `FIRST-LAST`.
    pub dynamic_ports: Option<PortRange>,
    /// Name of the bridge device.
    pub bridge: Option<String>,
    /// Name of the nftables table.
    pub nft_table: Option<String>,
    /// Subnets of containers on the bridge, at most one of each family; empty for none.
    pub bridge_subnets: Option<Vec<IpNet>>,
    /// Subnets of awsvpc tasks, at most one of each family; empty for none.
    pub awsvpc_subnets: Option<Vec<IpNet>>,
    /// How long records and logs of stopped tasks are kept, in seconds.
    pub keep_stopped_s: Option<u64>,
    /// Between stop signal and SIGKILL for containers that do not say, in seconds.
    pub stop_timeout_s: Option<u64>,
    /// When images are pulled.
    pub pull: Option<PullBehavior>,
    /// Registries that are spoken to by plain HTTP, `HOST:PORT`; those on loopback always may be.
    pub insecure_registries: Option<Vec<String>>,
    /// Attributes registered beside those of the agent's own.
    pub attributes: Option<BTreeMap<String, String>>,
    /// Refuse privileged containers.
    pub disable_privileged: Option<bool>,
    /// What users of tasks are on the host, `BASE:COUNT`; none given is the same.
    pub userns_remap: Option<Remap>,
    /// Most processes and threads of one task.
    pub task_pids: Option<u64>,
    /// `text` or `json`.
    pub log_format: Option<LogFormat>,
    /// `error`, `warn`, `info`, `debug` or `trace`, or a filter of `tracing`.
    pub log_level: Option<String>,
}

/// When images are pulled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PullBehavior {
    /// Each time; where that fails and the image is there already, that one is used.
    Default,
    /// Each time, or not at all.
    Always,
    /// Unless it was pulled before.
    Once,
    /// Unless it is there, however it came.
    PreferCached,
}

/// How the agent's own log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// A JSON object per line.
    Json,
}

macro_rules! lay_over {
    ($top:ident, $below:ident, $($field:ident),* $(,)?) => {
        Partial { $($field: $top.$field.or($below.$field)),* }
    };
}

impl Partial {
    /// Reads a TOML file.
    pub fn from_file(path: &Path) -> Result<Self, ConfigError> {
        let text =
            std::fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        toml::from_str(&text).map_err(|e| ConfigError::Parse { path: path.to_owned(), source: Box::new(e) })
    }

    /// These settings, and where they say nothing those `below`.
    pub fn over(self, below: Self) -> Self {
        lay_over!(
            self,
            below,
            cluster,
            backend,
            region,
            credentials_file,
            listen,
            run_dir,
            state_dir,
            socket,
            runtime,
            cgroup_parent,
            reserved_cpu,
            reserved_memory,
            reserved_ports,
            reserved_ports_udp,
            dynamic_ports,
            bridge,
            nft_table,
            bridge_subnets,
            awsvpc_subnets,
            keep_stopped_s,
            stop_timeout_s,
            pull,
            insecure_registries,
            attributes,
            disable_privileged,
            userns_remap,
            task_pids,
            log_format,
            log_level,
        )
    }
}

/// Everything the agent needs to know, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Name of the cluster.
    pub cluster: String,
    /// Who is in charge.
    pub backend: Backend,
    /// Region that requests are signed for.
    pub region: String,
    /// File with credentials for the control plane.
    pub credentials_file: Option<PathBuf>,
    /// Run and state directories.
    pub dirs: Dirs,
    /// The operators' socket.
    pub socket: PathBuf,
    /// The `berth-runtime` executable where one was named.
    pub runtime: Option<PathBuf>,
    /// Parent of all control groups of tasks.
    pub cgroup_parent: String,
    /// What there is for tasks.
    pub node: Node,
    /// Names and subnets of the node's network.
    pub net: NodeNet,
    /// How long records and logs of stopped tasks are kept.
    pub keep_stopped: Duration,
    /// Between stop signal and SIGKILL for containers that do not say.
    pub stop_timeout: Duration,
    /// When images are pulled.
    pub pull: PullBehavior,
    /// Registries that are spoken to by plain HTTP.
    pub insecure_registries: Vec<String>,
    /// Attributes registered beside those of the agent's own.
    pub attributes: BTreeMap<String, String>,
    /// Refuse privileged containers.
    pub disable_privileged: bool,
    /// What users of tasks are on the host, where they are others.
    pub userns_remap: Option<Remap>,
    /// Most processes and threads of one task.
    pub task_pids: Option<u64>,
    /// How the agent's own log is written.
    pub log_format: LogFormat,
    /// How much of it.
    pub log_level: String,
}

/// Who is in charge of the node's tasks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Backend {
    /// The control plane inside the agent, listening here.
    Embedded(SocketAddr),
    /// The one at this URL.
    Remote(String),
}

impl Settings {
    /// Adds defaults and checks the whole. Everything about the host comes as an argument.
    pub fn resolve(partial: Partial, host: &HostFacts) -> Result<Self, ConfigError> {
        let dirs = Dirs::new(
            absolute("run-dir", partial.run_dir.unwrap_or_else(|| "/run/berth".into()))?,
            absolute("state-dir", partial.state_dir.unwrap_or_else(|| "/var/lib/berth".into()))?,
        );
        let cluster = partial.cluster.filter(|c| !c.is_empty()).unwrap_or_else(|| "default".into());
        let backend = backend(partial.backend.as_deref(), partial.listen.as_deref())?;
        let bridge_subnets = partial.bridge_subnets.unwrap_or_else(default_bridge);
        let awsvpc_subnets = partial.awsvpc_subnets.unwrap_or_else(default_awsvpc);
        let (bridge_v4, bridge_v6) = by_family("bridge-subnets", &bridge_subnets)?;
        let (awsvpc_v4, awsvpc_v6) = by_family("awsvpc-subnets", &awsvpc_subnets)?;
        disjoint(&bridge_subnets, &awsvpc_subnets)?;
        let bridge_pools: Vec<Pool> = [bridge_v4, bridge_v6].into_iter().flatten().map(Pool::new).collect();
        let awsvpc_pools: Vec<Pool> = [awsvpc_v4, awsvpc_v6].into_iter().flatten().map(Pool::new).collect();
        let net = NodeNet {
            bridge: link_name(partial.bridge.unwrap_or_else(|| "berth0".into()))?,
            table: partial.nft_table.unwrap_or_else(|| "berth".into()),
            bridge_v4: bridge_v4.map(|net| Pool::new(net).gateway()),
            bridge_v6: bridge_v6.map(|net| Pool::new(net).gateway()),
            awsvpc_v4: awsvpc_v4.map(prefix_of),
            awsvpc_v6: awsvpc_v6.map(prefix_of),
        };
        let node = Node {
            cpu: u64::from(host.cpus) * 1024,
            memory: host.memory_mib,
            reserved_cpu: below("reserved-cpu", partial.reserved_cpu.unwrap_or(0), u64::from(host.cpus) * 1024)?,
            reserved_memory: below("reserved-memory", partial.reserved_memory.unwrap_or(0), host.memory_mib)?,
            reserved_tcp: partial.reserved_ports.map_or_else(|| RESERVED_TCP.into(), BTreeSet::from_iter),
            reserved_udp: partial.reserved_ports_udp.unwrap_or_default().into_iter().collect(),
            dynamic_ports: partial.dynamic_ports.unwrap_or_else(|| default_dynamic_range(host.ephemeral_ports)),
            bridge: bridge_pools,
            awsvpc: awsvpc_pools,
        };
        Ok(Self {
            cluster,
            backend,
            region: partial.region.filter(|r| !r.is_empty()).unwrap_or_else(|| "local".into()),
            credentials_file: partial.credentials_file,
            socket: partial.socket.unwrap_or_else(|| dirs.agent_socket()),
            dirs,
            runtime: partial.runtime,
            cgroup_parent: cgroup_parent(partial.cgroup_parent.unwrap_or_else(|| "berth".into()))?,
            node,
            net,
            keep_stopped: Duration::from_secs(partial.keep_stopped_s.unwrap_or(3 * 3600).max(1)),
            stop_timeout: Duration::from_secs(partial.stop_timeout_s.unwrap_or(30).max(1)),
            pull: partial.pull.unwrap_or(PullBehavior::Once),
            insecure_registries: partial.insecure_registries.unwrap_or_default(),
            attributes: partial.attributes.unwrap_or_default(),
            disable_privileged: partial.disable_privileged.unwrap_or(false),
            userns_remap: partial.userns_remap,
            task_pids: partial.task_pids,
            log_format: partial.log_format.unwrap_or(LogFormat::Text),
            log_level: partial.log_level.unwrap_or_else(|| "info".into()),
        })
    }
}

fn default_bridge() -> Vec<IpNet> {
    vec![
        IpNet::V4(Ipv4Net::new([10, 88, 0, 0].into(), 16).expect("16 is a prefix length of IPv4")),
        IpNet::V6(Ipv6Net::new([0xfd00, 0xbe57, 0, 0x88, 0, 0, 0, 0].into(), 64).expect("64 is one of IPv6")),
    ]
}

fn default_awsvpc() -> Vec<IpNet> {
    vec![
        IpNet::V4(Ipv4Net::new([10, 89, 0, 0].into(), 16).expect("16 is a prefix length of IPv4")),
        IpNet::V6(Ipv6Net::new([0xfd00, 0xbe57, 0, 0x89, 0, 0, 0, 0].into(), 64).expect("64 is one of IPv6")),
    ]
}

fn prefix_of(net: IpNet) -> IpPrefix {
    IpPrefix { address: net.network(), prefix: net.prefix_len() }
}

fn absolute(name: &str, path: PathBuf) -> Result<PathBuf, ConfigError> {
    if path.is_absolute() {
        return Ok(path);
    }
    std::path::absolute(&path).map_err(|e| ConfigError::value(name, path.display(), e))
}

fn backend(url: Option<&str>, listen: Option<&str>) -> Result<Backend, ConfigError> {
    let Some(url) = url.filter(|u| !u.is_empty()) else {
        let listen = listen.unwrap_or(DEFAULT_LISTEN);
        let address = listen.parse().map_err(|_| ConfigError::value("listen", listen, "write ADDRESS:PORT"))?;
        return Ok(Backend::Embedded(address));
    };
    let scheme = url.split_once("://").map(|(scheme, _)| scheme);
    match scheme {
        Some("http" | "https") => Ok(Backend::Remote(url.trim_end_matches('/').to_owned())),
        // As the stock agent takes ECS_BACKEND_HOST.
        None => Ok(Backend::Remote(format!("https://{}", url.trim_end_matches('/')))),
        Some(_) => Err(ConfigError::value("backend", url, "begin with http:// or https://")),
    }
}

fn by_family(name: &str, nets: &[IpNet]) -> Result<(Option<IpNet>, Option<IpNet>), ConfigError> {
    let mut families: [Option<IpNet>; 2] = [None, None];
    for net in nets {
        let family = &mut families[usize::from(matches!(net, IpNet::V6(_)))];
        if family.replace(*net).is_some() {
            return Err(ConfigError::value(name, net, "at most one subnet of each family"));
        }
        let host_bits = net.max_prefix_len() - net.prefix_len();
        if host_bits < 2 {
            return Err(ConfigError::value(name, net, "too small: two bits for addresses at least"));
        }
    }
    Ok((families[0], families[1]))
}

fn disjoint(bridge: &[IpNet], awsvpc: &[IpNet]) -> Result<(), ConfigError> {
    for a in bridge {
        if let Some(b) = awsvpc.iter().find(|b| a.contains(*b) || b.contains(a)) {
            return Err(ConfigError::value("awsvpc-subnets", b, format!("overlaps the bridge's {a}")));
        }
    }
    Ok(())
}

fn link_name(name: String) -> Result<String, ConfigError> {
    let good =
        !name.is_empty() && name.len() <= 15 && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
    if good { Ok(name) } else { Err(ConfigError::value("bridge", name, "1 to 15 letters, digits, `-`, `_` and `.`")) }
}

fn cgroup_parent(path: String) -> Result<String, ConfigError> {
    let trimmed = path.trim_matches('/').to_owned();
    let good = !trimmed.is_empty() && trimmed.split('/').all(|part| !matches!(part, "" | "." | ".."));
    if good {
        Ok(trimmed)
    } else {
        Err(ConfigError::value("cgroup-parent", path, "a path below the mount, such as `berth`"))
    }
}

fn below(name: &str, value: u64, total: u64) -> Result<u64, ConfigError> {
    if value < total { Ok(value) } else { Err(ConfigError::value(name, value, format!("the host has {total}"))) }
}

/// Where the agent finds `berth-runtime`: named, beside its own executable, or in `PATH`.
pub fn find_runtime(named: Option<&Path>, own: Option<&Path>, search_path: &str) -> Result<PathBuf, ConfigError> {
    let is_file = |path: &PathBuf| path.is_file();
    if let Some(named) = named {
        let named = named.to_owned();
        let missing = || ConfigError::value("runtime", named.display(), "there is no such file");
        return Some(named.clone()).filter(is_file).ok_or_else(missing);
    }
    let beside = own.and_then(Path::parent).map(|dir| dir.join("berth-runtime"));
    let in_path = std::env::split_paths(search_path).map(|dir| dir.join("berth-runtime"));
    beside.into_iter().chain(in_path).find(is_file).ok_or_else(|| {
        ConfigError::value("runtime", "", "no berth-runtime beside this program or in PATH: name it with --runtime")
    })
}

#[cfg(test)]
mod tests;
