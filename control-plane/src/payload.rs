//! From a registered task definition to the task that an agent is sent, in the form in which Amazon ECS sends it:
//! container settings that Docker's API knows travel as two JSON documents in strings (`dockerConfig`).

use berth_wire::acs;
use berth_wire::ecs::{self, ContainerDefinition, TaskDefinition};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

const MIB: i64 = 1024 * 1024;

/// Names of one task and what its run changes.
pub(crate) struct Run<'a> {
    pub(crate) arn: &'a str,
    pub(crate) cluster_arn: &'a str,
    pub(crate) account: &'a str,
    pub(crate) group: Option<&'a str>,
    /// Units and MiB of the task as a whole.
    pub(crate) size: (Option<i64>, Option<i64>),
    /// The definition's containers with the overrides applied.
    pub(crate) containers: &'a [ContainerDefinition],
    /// ARNs of the containers, in the same order.
    pub(crate) container_arns: &'a [String],
    pub(crate) overrides: &'a ecs::TaskOverride,
}

/// The task for a payload, to be run.
pub(crate) fn task(definition: &TaskDefinition, run: &Run<'_>) -> acs::Task {
    let mode = definition.network_mode.clone().unwrap_or_default();
    acs::Task {
        arn: run.arn.to_owned(),
        task_cluster_arn: run.cluster_arn.to_owned(),
        family: definition.family.clone(),
        version: definition.revision.to_string(),
        desired_status: "RUNNING".to_owned(),
        overrides: serde_json::to_string(run.overrides).expect("an override has string keys"),
        task_definition_account_id: run.account.to_owned(),
        containers: run
            .containers
            .iter()
            .zip(run.container_arns)
            .map(|(container, arn)| self::container(container, arn, &mode, run.overrides))
            .collect(),
        volumes: definition.volumes.iter().map(volume).collect(),
        cpu: run.size.0.map(|units| units as f64 / 1024.0),
        memory: run.size.1,
        pid_mode: definition.pid_mode.clone().unwrap_or_default(),
        ipc_mode: definition.ipc_mode.clone().unwrap_or_default(),
        launch_type: "EC2".to_owned(),
        network_mode: mode,
        group: run.group.unwrap_or_default().to_owned(),
        ..acs::Task::default()
    }
}

/// The containers of `definition` with `overrides` applied; the name of an override that fits no container is the error.
pub(crate) fn overridden(
    definition: &TaskDefinition,
    overrides: &ecs::TaskOverride,
) -> Result<Vec<ContainerDefinition>, String> {
    let mut containers = definition.container_definitions.clone();
    for change in &overrides.container_overrides {
        let Some(container) = containers.iter_mut().find(|container| container.name == change.name) else {
            return Err(change.name.clone());
        };
        if !change.command.is_empty() {
            container.command.clone_from(&change.command);
        }
        for pair in &change.environment {
            match container.environment.iter_mut().find(|known| known.name == pair.name) {
                Some(known) => known.value.clone_from(&pair.value),
                None => container.environment.push(pair.clone()),
            }
        }
        container.cpu = change.cpu.unwrap_or(container.cpu);
        container.memory = change.memory.or(container.memory);
        container.memory_reservation = change.memory_reservation.or(container.memory_reservation);
    }
    Ok(containers)
}

fn container(container: &ContainerDefinition, arn: &str, mode: &str, overrides: &ecs::TaskOverride) -> acs::Container {
    let own = overrides.container_overrides.iter().find(|change| change.name == container.name);
    let mut environment: BTreeMap<String, String> =
        container.environment.iter().map(|pair| (pair.name.clone(), pair.value.clone().unwrap_or_default())).collect();
    environment.entry("AWS_EXECUTION_ENV".to_owned()).or_insert_with(|| "AWS_ECS_EC2".to_owned());
    acs::Container {
        container_arn: arn.to_owned(),
        name: container.name.clone(),
        image: container.image.clone(),
        command: container.command.clone(),
        entry_point: container.entry_point.clone(),
        environment: environment.into(),
        essential: container.essential != Some(false),
        cpu: Some(container.cpu),
        // 0 is no hard limit.
        memory: Some(container.memory.unwrap_or_default()),
        links: container.links.clone(),
        port_mappings: container.port_mappings.iter().map(port_mapping).collect(),
        mount_points: container.mount_points.iter().map(mount_point).collect(),
        volumes_from: container
            .volumes_from
            .iter()
            .map(|from| acs::VolumeFrom {
                source_container: from.source_container.clone(),
                read_only: from.read_only == Some(true),
            })
            .collect(),
        depends_on: container
            .depends_on
            .iter()
            .map(|dependency| acs::ContainerDependency {
                container_name: dependency.container_name.clone(),
                condition: dependency.condition.clone(),
            })
            .collect(),
        start_timeout: container.start_timeout,
        stop_timeout: container.stop_timeout,
        overrides: own
            .filter(|change| !change.command.is_empty())
            .map_or_else(|| "{}".to_owned(), |change| json!({ "command": change.command }).to_string()),
        docker_config: Some(acs::DockerConfig {
            version: "1.32".to_owned(),
            config: config(container).to_string(),
            host_config: host_config(container, mode).to_string(),
        }),
        health_check_type: if container.health_check.is_some() { "docker".to_owned() } else { String::new() },
        restart_policy: container.restart_policy.as_ref().map(|policy| acs::RestartPolicy {
            enabled: policy.enabled,
            ignored_exit_codes: policy.ignored_exit_codes.clone(),
            restart_attempt_period: policy.restart_attempt_period,
        }),
        ..acs::Container::default()
    }
}

fn port_mapping(mapping: &ecs::PortMapping) -> acs::PortMapping {
    acs::PortMapping {
        container_port: mapping.container_port,
        host_port: mapping.host_port,
        container_port_range: mapping.container_port_range.clone().unwrap_or_default(),
        protocol: mapping.protocol.clone().unwrap_or_default(),
    }
}

fn mount_point(mount: &ecs::MountPoint) -> acs::MountPoint {
    acs::MountPoint {
        source_volume: mount.source_volume.clone().unwrap_or_default(),
        container_path: mount.container_path.clone().unwrap_or_default(),
        read_only: mount.read_only == Some(true),
    }
}

fn volume(volume: &ecs::Volume) -> acs::Volume {
    let source_path = volume.host.as_ref().and_then(|host| host.source_path.clone()).unwrap_or_default();
    acs::Volume {
        name: volume.name.clone(),
        kind: "host".to_owned(),
        host: Some(acs::HostVolumeProperties { source_path }),
        ..acs::Volume::default()
    }
}

/// A JSON object in which members that were not asked for do not appear.
#[derive(Default)]
struct Document(Map<String, Value>);

impl Document {
    fn put(&mut self, name: &str, value: Option<impl Into<Value>>) {
        if let Some(value) = value {
            self.0.insert(name.to_owned(), value.into());
        }
    }

    fn put_list(&mut self, name: &str, list: &[String]) {
        self.put(name, (!list.is_empty()).then(|| list.to_vec()));
    }
}

/// Docker's container `Config`.
fn config(container: &ContainerDefinition) -> Value {
    let text = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let yes = |flag: Option<bool>| flag.filter(|flag| *flag);
    let mut out = Document::default();
    out.put("User", text(&container.user));
    out.put("WorkingDir", text(&container.working_directory));
    out.put("Hostname", text(&container.hostname));
    out.put("Labels", (!container.docker_labels.is_empty()).then(|| json!(container.docker_labels)));
    out.put("Tty", yes(container.pseudo_terminal));
    out.put("OpenStdin", yes(container.interactive));
    out.put("NetworkDisabled", yes(container.disable_networking));
    out.put("Healthcheck", container.health_check.as_ref().map(health_check));
    Value::Object(out.0)
}

/// Durations are nanoseconds in Docker's API. ECS fills in its own defaults.
fn health_check(check: &ecs::HealthCheck) -> Value {
    let nanoseconds = |seconds: i64| seconds.saturating_mul(1_000_000_000);
    json!({
        "Test": check.command,
        "Interval": nanoseconds(check.interval.unwrap_or(30)),
        "Timeout": nanoseconds(check.timeout.unwrap_or(5)),
        "Retries": check.retries.unwrap_or(3),
        "StartPeriod": nanoseconds(check.start_period.unwrap_or(0)),
    })
}

/// Docker's container `HostConfig`.
fn host_config(container: &ContainerDefinition, mode: &str) -> Value {
    let yes = |flag: Option<bool>| flag.filter(|flag| *flag);
    let mut out = Document::default();
    out.put("NetworkMode", (!mode.is_empty()).then_some(mode));
    out.put("Privileged", yes(container.privileged));
    out.put("ReadonlyRootfs", yes(container.readonly_root_filesystem));
    out.put_list("Dns", &container.dns_servers);
    out.put_list("DnsSearch", &container.dns_search_domains);
    out.put_list("SecurityOpt", &container.docker_security_options);
    let hosts: Vec<_> =
        container.extra_hosts.iter().map(|host| format!("{}:{}", host.hostname, host.ip_address)).collect();
    out.put_list("ExtraHosts", &hosts);
    out.put("MemoryReservation", container.memory_reservation.map(|mib| mib.saturating_mul(MIB)));
    let ulimits: Vec<_> = container
        .ulimits
        .iter()
        .map(|limit| json!({ "Name": limit.name, "Soft": limit.soft_limit, "Hard": limit.hard_limit }))
        .collect();
    out.put("Ulimits", (!ulimits.is_empty()).then_some(ulimits));
    out.put(
        "LogConfig",
        container.log_configuration.as_ref().map(|log| json!({ "Type": log.log_driver, "Config": log.options })),
    );
    let sysctls: Map<_, _> = container
        .system_controls
        .iter()
        .map(|control| (control.namespace.clone().unwrap_or_default(), json!(control.value)))
        .collect();
    out.put("Sysctls", (!sysctls.is_empty()).then_some(Value::Object(sysctls)));
    if let Some(linux) = &container.linux_parameters {
        linux_parameters(linux, &mut out);
    }
    Value::Object(out.0)
}

fn linux_parameters(linux: &ecs::LinuxParameters, out: &mut Document) {
    if let Some(capabilities) = &linux.capabilities {
        out.put_list("CapAdd", &capabilities.add);
        out.put_list("CapDrop", &capabilities.drop);
    }
    let permissions = |list: &[String]| {
        let letter = |name: &String| name.chars().next().unwrap_or_default();
        if list.is_empty() { "rwm".to_owned() } else { list.iter().map(letter).collect() }
    };
    let devices: Vec<_> = linux
        .devices
        .iter()
        .map(|device| {
            let inside = device.container_path.as_ref().unwrap_or(&device.host_path);
            json!({
                "PathOnHost": device.host_path,
                "PathInContainer": inside,
                "CgroupPermissions": permissions(&device.permissions),
            })
        })
        .collect();
    out.put("Devices", (!devices.is_empty()).then_some(devices));
    out.put("Init", linux.init_process_enabled.filter(|init| *init));
    out.put("ShmSize", linux.shared_memory_size.map(|mib| mib.saturating_mul(MIB)));
    let tmpfs: Map<_, _> = linux
        .tmpfs
        .iter()
        .map(|tmpfs| {
            let options = [format!("size={}m", tmpfs.size)].into_iter().chain(tmpfs.mount_options.iter().cloned());
            (tmpfs.container_path.clone(), json!(options.collect::<Vec<_>>().join(",")))
        })
        .collect();
    out.put("Tmpfs", (!tmpfs.is_empty()).then_some(Value::Object(tmpfs)));
    out.put("MemorySwappiness", linux.swappiness);
    // Docker's MemorySwap is memory and swap together, which needs the memory limit: not sent until it is supported.
}
