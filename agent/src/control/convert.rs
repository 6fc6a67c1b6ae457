//! A task in a payload, made into a [`Task`]: the only place where the wire's oddities are known.
//!
//! What this node cannot do is refused by field and value before anything is made. Settings that Docker's API knows come
//! as JSON in strings (`dockerConfig`), see `docker`; those of `linuxParameters` and `privileged`, which
//! other runtimes are sent, mean the same.

use super::docker;
use crate::task::{
    Condition, Container, Dependency, Interface, Log, MountPoint, NetworkMode, Origin, PortMapping, Refusal, Remap,
    Task, Users, Volume, VolumeFrom,
};
use berth_runtime::id::ContainerName;
use berth_runtime::net::plan::Transport;
use berth_wire::acs;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

/// What the node adds to a payload.
#[derive(Debug, Clone, Copy)]
pub struct Border {
    /// Who wants the task.
    pub origin: Origin,
    /// Refuse privileged containers.
    pub disable_privileged: bool,
    /// What users of tasks are on the host, where they are others.
    pub remap: Option<Remap>,
    /// Milliseconds since the epoch.
    pub now_ms: u64,
}

/// The task without its containers: enough to report it as refused.
pub fn skeleton(task: &acs::Task, border: Border) -> Task {
    Task {
        id: task.arn.rsplit('/').next().unwrap_or_default().to_owned(),
        arn: task.arn.clone(),
        cluster: task.task_cluster_arn.clone(),
        family: task.family.clone(),
        revision: task.version.clone(),
        origin: border.origin,
        network: NetworkMode::parse(&task.network_mode).unwrap_or(NetworkMode::None),
        cpu: 0,
        memory: 0,
        interface: None,
        containers: Vec::new(),
        volumes: BTreeMap::new(),
        created_at_ms: border.now_ms,
        notes: Vec::new(),
        remap: None,
    }
}

/// Checks and converts a task.
pub fn task(task: &acs::Task, border: Border) -> Result<Task, Refusal> {
    let network = NetworkMode::parse(&task.network_mode);
    let network = network
        .ok_or_else(|| Refusal::new("networkMode", &task.network_mode, "must be awsvpc, bridge, host or none"))?;
    for (field, value) in [("pidMode", &task.pid_mode), ("ipcMode", &task.ipc_mode)] {
        if !value.is_empty() && value != "none" {
            return Err(Refusal::new(field, value, "is not supported yet"));
        }
    }
    if let Some(proxy) = &task.proxy_configuration {
        return Err(Refusal::new("proxyConfiguration", &proxy.kind, "is not supported yet"));
    }
    if let Some(association) = task.associations.first() {
        return Err(Refusal::new("associations[0].type", &association.kind, "is not supported yet"));
    }
    if task.containers.is_empty() {
        return Err(Refusal::new("containerDefinitions", "", "must have at least one container"));
    }
    let cpu = task.cpu.unwrap_or_default();
    if !(0.0..=4096.0).contains(&cpu) {
        return Err(Refusal::new("cpu", cpu, "must be between 0 and 4096 vCPU"));
    }
    let mut notes = Vec::new();
    let volumes = task.volumes.iter().enumerate().map(|(n, v)| volume(n, v)).collect::<Result<_, _>>()?;
    let mut converted = Task {
        network,
        cpu: (cpu * 1024.0).round() as u64,
        memory: amount("memory", task.memory)?,
        interface: if network == NetworkMode::Awsvpc { interface(task)? } else { None },
        volumes,
        ..skeleton(task, border)
    };
    let names = names(task)?;
    for (index, container) in task.containers.iter().enumerate() {
        let context = Context { index, names: &names, task: &converted, border };
        let made = context.container(container, &mut notes)?;
        converted.containers.push(made);
    }
    if !converted.containers.iter().any(|c| c.essential) {
        return Err(Refusal::new("containerDefinitions", "", "at least one container must be essential"));
    }
    no_circle(&converted)?;
    converted.remap = remap(&converted, border)?;
    converted.notes = notes;
    Ok(converted)
}

/// What the task's users are on the host: as the labels of its containers say, which must agree, or else as the node does it.
fn remap(task: &Task, border: Border) -> Result<Option<Remap>, Refusal> {
    let at = |index: usize, member: &str| format!("containerDefinitions[{index}].{member}");
    let mut asked = None;
    for (index, container) in task.containers.iter().enumerate() {
        let Some(users) = container.users else { continue };
        let refuse = |problem| Err(Refusal::new(at(index, docker::USERS_FIELD), users.as_str(), problem));
        if users == Users::Remap && border.remap.is_none() {
            return refuse("this node maps no users: its agent runs without --userns-remap");
        }
        if asked.replace(users).is_some_and(|other| other != users) {
            return refuse("differs from that of another container: a task has the users of one or the other");
        }
    }
    let Some(remap) = border.remap.filter(|_| asked != Some(Users::Host)) else { return Ok(None) };
    let problem = "cannot be had where users are mapped: use the label berth.userns=host";
    if task.network == NetworkMode::Host {
        return Err(Refusal::new("networkMode", "host", problem));
    }
    match task.containers.iter().position(|c| c.privileged) {
        Some(index) => Err(Refusal::new(at(index, "privileged"), "true", problem)),
        None => Ok(Some(remap)),
    }
}

fn amount(field: impl Into<String>, value: Option<i64>) -> Result<u64, Refusal> {
    let value = value.unwrap_or_default();
    u64::try_from(value).map_err(|_| Refusal::new(field, value, "must not be negative"))
}

fn names(task: &acs::Task) -> Result<Vec<String>, Refusal> {
    let mut names: Vec<String> = Vec::new();
    for (n, container) in task.containers.iter().enumerate() {
        let field = format!("containerDefinitions[{n}].name");
        if let Err(e) = ContainerName::parse(&container.name) {
            return Err(Refusal::new(field, "", e.to_string()));
        }
        if names.contains(&container.name) {
            return Err(Refusal::new(field, &container.name, "is the name of two containers"));
        }
        names.push(container.name.clone());
    }
    Ok(names)
}

fn volume(n: usize, volume: &acs::Volume) -> Result<(String, Volume), Refusal> {
    let at = |member: &str| format!("volumes[{n}].{member}");
    // The name becomes a directory.
    if let Err(e) = ContainerName::parse(&volume.name) {
        return Err(Refusal::new(at("name"), "", e.to_string().replacen("container name", "volume name", 1)));
    }
    let source = volume.host.as_ref().map(|h| h.source_path.as_str()).unwrap_or_default();
    match volume.kind.as_str() {
        "" | "host" if source.is_empty() => Ok((volume.name.clone(), Volume::Empty)),
        "" | "host" if source.starts_with('/') => Ok((volume.name.clone(), Volume::Host(PathBuf::from(source)))),
        "" | "host" => Err(Refusal::new(at("host.sourcePath"), source, "must be an absolute path")),
        other => Err(Refusal::new(at("type"), other, "is not supported yet: use host")),
    }
}

fn interface(task: &acs::Task) -> Result<Option<Interface>, Refusal> {
    let Some(eni) = task.elastic_network_interfaces.first() else { return Ok(None) };
    let field = |member: &str| format!("elasticNetworkInterfaces[0].{member}");
    let v4 = eni.ipv4_addresses.iter().find(|a| a.primary).or(eni.ipv4_addresses.first());
    let v6 = eni.ipv6_addresses.first();
    let ipv4 = v4.map(|a| {
        let bad = |_| Refusal::new(field("ipv4Addresses"), &a.private_address, "is no IPv4 address");
        a.private_address.parse::<Ipv4Addr>().map_err(bad)
    });
    let ipv6 = v6.map(|a| {
        let bad = |_| Refusal::new(field("ipv6Addresses"), &a.address, "is no IPv6 address");
        a.address.parse::<Ipv6Addr>().map_err(bad)
    });
    let (ipv4, ipv6) = (ipv4.transpose()?, ipv6.transpose()?);
    if ipv4.is_none() && ipv6.is_none() {
        return Err(Refusal::new(field("ipv4Addresses"), "", "has no address"));
    }
    let mac = match eni.mac_address.as_str() {
        "" => None,
        text => Some(parse_mac(text).ok_or_else(|| Refusal::new(field("macAddress"), text, "is no MAC address"))?),
    };
    let attachment_arn = Some(eni.attachment_arn.clone()).filter(|a| !a.is_empty());
    Ok(Some(Interface { attachment_arn, ipv4, ipv6, mac }))
}

fn parse_mac(text: &str) -> Option<[u8; 6]> {
    let mut mac = [0; 6];
    let mut parts = text.split([':', '-']);
    for byte in &mut mac {
        *byte = u8::from_str_radix(parts.next()?, 16).ok()?;
    }
    parts.next().is_none().then_some(mac)
}

/// dependsOn, links and volumesFrom must lead to an end.
fn no_circle(task: &Task) -> Result<(), Refusal> {
    let edges = |index: usize| {
        let c = &task.containers[index];
        c.depends_on.iter().map(|d| d.on).chain(c.links.iter().map(|(on, _)| *on)).collect::<Vec<_>>()
    };
    let mut done = vec![false; task.containers.len()];
    // As many rounds as containers suffice: each takes at least one whose dependencies are all done.
    for _ in 0..task.containers.len() {
        for index in 0..task.containers.len() {
            done[index] = done[index] || edges(index).iter().all(|on| done[*on]);
        }
    }
    match done.iter().position(|done| !done) {
        None => Ok(()),
        Some(index) => {
            let name = &task.containers[index].name;
            Err(Refusal::new(
                format!("containerDefinitions[{index}].dependsOn"),
                name,
                "depends on itself, by way of others",
            ))
        }
    }
}

/// What the conversion of one container may look at.
struct Context<'a> {
    index: usize,
    names: &'a [String],
    task: &'a Task,
    border: Border,
}

impl Context<'_> {
    fn at(&self, member: &str) -> String {
        format!("containerDefinitions[{}].{member}", self.index)
    }

    fn find(&self, member: &str, name: &str) -> Result<usize, Refusal> {
        let found = self.names.iter().position(|n| n == name);
        found.ok_or_else(|| Refusal::new(self.at(member), name, "is the name of no container of this task"))
    }

    fn container(&self, c: &acs::Container, notes: &mut Vec<String>) -> Result<Container, Refusal> {
        self.refuse_unsupported(c)?;
        if c.image.is_empty() {
            return Err(Refusal::new(self.at("image"), "", "must be given"));
        }
        let memory = amount(self.at("memory"), c.memory)?;
        if memory > 0 && memory < 4 {
            return Err(Refusal::new(self.at("memory"), memory, "must be 4 MiB at least"));
        }
        if self.task.memory > 0 && memory > self.task.memory {
            let problem = format!("is more than the task's {} MiB", self.task.memory);
            return Err(Refusal::new(self.at("memory"), memory, problem));
        }
        let mut made = Container {
            name: c.name.clone(),
            image: c.image.clone(),
            command: self.command(c)?,
            entry_point: (!c.entry_point.is_empty()).then(|| c.entry_point.clone()),
            environment: c.environment.0.clone(),
            essential: c.essential,
            cpu: amount(self.at("cpu"), c.cpu)?,
            memory,
            memory_reservation: 0,
            ports: self.ports(c)?,
            mounts: self.mounts(c)?,
            volumes_from: self.volumes_from(c)?,
            depends_on: self.depends_on(c)?,
            links: self.links(c)?,
            start_timeout_s: amount(self.at("startTimeout"), c.start_timeout)?,
            stop_timeout_s: c.stop_timeout.map(|s| amount(self.at("stopTimeout"), Some(s))).transpose()?,
            user: None,
            working_directory: None,
            hostname: None,
            readonly_rootfs: false,
            privileged: c.privileged == Some(true),
            users: None,
            cap_add: Vec::new(),
            cap_drop: Vec::new(),
            ulimits: Vec::new(),
            tmpfs: BTreeMap::new(),
            sysctls: BTreeMap::new(),
            shm_bytes: None,
            dns: Vec::new(),
            dns_search: Vec::new(),
            extra_hosts: Vec::new(),
            log: Log::File,
        };
        if let Some(linux) = &c.linux_parameters {
            self.linux(linux, &mut made)?;
        }
        if let Some(docker) = &c.docker_config {
            docker::apply(docker, &self.at(""), &mut made, notes)?;
        }
        if made.privileged && self.border.disable_privileged {
            return Err(Refusal::new(self.at("privileged"), "true", "is not allowed on this node"));
        }
        Ok(made)
    }

    fn refuse_unsupported(&self, c: &acs::Container) -> Result<(), Refusal> {
        let asked = [
            ("environmentFiles", !c.environment_files.is_empty()),
            ("secrets", !c.secrets.is_empty()),
            ("restartPolicy", c.restart_policy.as_ref().is_some_and(|p| p.enabled)),
            ("firelensConfiguration", c.firelens_configuration.is_some()),
            ("repositoryCredentials", c.registry_authentication.is_some()),
            ("credentialSpecs", !c.credential_specs.is_empty()),
        ];
        match asked.iter().find(|(_, asked)| *asked) {
            Some((member, _)) => Err(Refusal::new(self.at(member), "", "is not supported yet")),
            None => Ok(()),
        }
    }

    /// A run's override of the command comes as JSON beside the definition's.
    fn command(&self, c: &acs::Container) -> Result<Vec<String>, Refusal> {
        #[derive(serde::Deserialize)]
        struct Overrides {
            #[serde(default)]
            command: Option<Vec<String>>,
        }
        if c.overrides.is_empty() {
            return Ok(c.command.clone());
        }
        let overrides: Overrides = serde_json::from_str(&c.overrides)
            .map_err(|e| Refusal::new(self.at("overrides"), &c.overrides, e.to_string()))?;
        Ok(overrides.command.filter(|command| !command.is_empty()).unwrap_or_else(|| c.command.clone()))
    }

    fn ports(&self, c: &acs::Container) -> Result<Vec<PortMapping>, Refusal> {
        let mut ports: Vec<PortMapping> = Vec::new();
        for (n, p) in c.port_mappings.iter().enumerate() {
            let at = |member: &str| self.at(&format!("portMappings[{n}].{member}"));
            let transport = match p.protocol.as_str() {
                "" | "tcp" => Transport::Tcp,
                "udp" => Transport::Udp,
                other => return Err(Refusal::new(at("protocol"), other, "must be tcp or udp")),
            };
            let port = |member: &str, value: i64| {
                u16::try_from(value).map_err(|_| Refusal::new(at(member), value, "must be between 0 and 65535"))
            };
            let (container_port, count) = if p.container_port_range.is_empty() {
                let first = port("containerPort", p.container_port.unwrap_or_default())?;
                if first == 0 {
                    return Err(Refusal::new(at("containerPort"), 0, "must be between 1 and 65535"));
                }
                (first, 1)
            } else {
                let range: crate::capacity::PortRange = p.container_port_range.parse().map_err(|_| {
                    Refusal::new(at("containerPortRange"), &p.container_port_range, "must be FIRST-LAST")
                })?;
                (range.first, u16::try_from(range.len()).unwrap_or(u16::MAX))
            };
            let host = port("hostPort", p.host_port.unwrap_or_default())?;
            let bound_by_task = matches!(self.task.network, NetworkMode::Host | NetworkMode::Awsvpc);
            if bound_by_task && host != 0 && host != container_port {
                let problem =
                    format!("must be the containerPort {container_port} in {} mode", self.task.network.as_str());
                return Err(Refusal::new(at("hostPort"), host, problem));
            }
            let mapping = PortMapping { transport, container_port, count, host_port: (host != 0).then_some(host) };
            let named_before = |other: &PortMapping| {
                other.transport == transport && other.host_port.is_some() && other.host_port == mapping.host_port
            };
            if ports.iter().chain(self.task.containers.iter().flat_map(|c| &c.ports)).any(named_before) {
                return Err(Refusal::new(at("hostPort"), host, "is asked for twice in this task"));
            }
            ports.push(mapping);
        }
        Ok(ports)
    }

    fn mounts(&self, c: &acs::Container) -> Result<Vec<MountPoint>, Refusal> {
        let mount = |(n, m): (usize, &acs::MountPoint)| {
            let at = |member: &str| self.at(&format!("mountPoints[{n}].{member}"));
            if !self.task.volumes.contains_key(&m.source_volume) {
                return Err(Refusal::new(
                    at("sourceVolume"),
                    &m.source_volume,
                    "is the name of no volume of this task",
                ));
            }
            if !m.container_path.starts_with('/') {
                return Err(Refusal::new(at("containerPath"), &m.container_path, "must be an absolute path"));
            }
            Ok(MountPoint { volume: m.source_volume.clone(), path: m.container_path.clone(), read_only: m.read_only })
        };
        c.mount_points.iter().enumerate().map(mount).collect()
    }

    fn volumes_from(&self, c: &acs::Container) -> Result<Vec<VolumeFrom>, Refusal> {
        let from = |v: &acs::VolumeFrom| {
            let container = self.find("volumesFrom", &v.source_container)?;
            Ok(VolumeFrom { container, read_only: v.read_only })
        };
        c.volumes_from.iter().map(from).collect()
    }

    fn depends_on(&self, c: &acs::Container) -> Result<Vec<Dependency>, Refusal> {
        let dependency = |d: &acs::ContainerDependency| {
            let on = self.find("dependsOn", &d.container_name)?;
            let condition = match d.condition.as_str() {
                "" | "START" => Condition::Start,
                "COMPLETE" => Condition::Complete,
                "SUCCESS" => Condition::Success,
                "HEALTHY" => {
                    let problem = "is not supported yet: health checks are not run";
                    return Err(Refusal::new(self.at("dependsOn.condition"), "HEALTHY", problem));
                }
                other => {
                    return Err(Refusal::new(
                        self.at("dependsOn.condition"),
                        other,
                        "must be START, COMPLETE, SUCCESS or HEALTHY",
                    ));
                }
            };
            Ok(Dependency { on, condition })
        };
        c.depends_on.iter().map(dependency).collect()
    }

    fn links(&self, c: &acs::Container) -> Result<Vec<(usize, String)>, Refusal> {
        if let (Some(link), true) = (c.links.first(), self.task.network != NetworkMode::Bridge) {
            return Err(Refusal::new(self.at("links"), link, "are for the network mode bridge"));
        }
        let link = |text: &String| {
            let (name, alias) = text.split_once(':').unwrap_or((text, text));
            Ok((self.find("links", name)?, alias.to_owned()))
        };
        c.links.iter().map(link).collect()
    }

    fn linux(&self, linux: &acs::LinuxParameters, made: &mut Container) -> Result<(), Refusal> {
        if let Some(device) = linux.devices.first() {
            return Err(Refusal::new(self.at("linuxParameters.devices"), &device.host_path, "is not supported yet"));
        }
        if linux.init_process_enabled == Some(true) {
            return Err(Refusal::new(self.at("linuxParameters.initProcessEnabled"), "true", "is not supported yet"));
        }
        if let Some(capabilities) = &linux.capabilities {
            made.cap_add.clone_from(&capabilities.add);
            made.cap_drop.clone_from(&capabilities.drop);
        }
        let shm = amount(self.at("linuxParameters.sharedMemorySize"), linux.shared_memory_size)?;
        made.shm_bytes = (shm > 0).then(|| shm.saturating_mul(1 << 20));
        Ok(())
    }
}

#[cfg(test)]
mod tests;
