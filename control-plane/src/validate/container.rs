//! Rules of one container of a task definition.

use super::task::TaskSize;
use super::{Faults, MIN_MEMORY_MIB, NAME_RULE, image, is_name};
use berth_wire::ecs::{ContainerDefinition, LinuxParameters, RegisterTaskDefinitionRequest, values};
use std::collections::BTreeSet;
use std::fmt::Display;
use std::net::IpAddr;

/// Checks the container at `index`.
pub(super) fn check(
    task: &RegisterTaskDefinitionRequest,
    index: usize,
    container: &ContainerDefinition,
    size: &TaskSize,
    faults: &mut Faults,
) {
    let at = |member: &dyn Display| format!("containerDefinitions[{index}].{member}");
    if container.name.is_empty() {
        faults.missing(at(&"name"));
    } else if !is_name(&container.name) {
        faults.add(at(&"name"), &container.name, NAME_RULE);
    }
    if container.image.is_empty() {
        faults.missing(at(&"image"));
    } else if let Err(problem) = image::check(&container.image) {
        faults.add(at(&"image"), &container.image, problem);
    }
    resources(container, size, &at, faults);
    process(container, &at, faults);
    mounts(task, container, &at, faults);
    siblings(task, container, &at, faults);
    network(task, container, &at, faults);
    if let Some(linux) = &container.linux_parameters {
        linux_parameters(linux, &at, faults);
    }
    if let Some(log) = &container.log_configuration
        && log.log_driver.is_empty()
    {
        faults.missing(at(&"logConfiguration.logDriver"));
    }
}

type At<'a> = dyn Fn(&dyn Display) -> String + 'a;

/// Notes `path` unless it is absolute.
pub(super) fn path(field: String, path: &str, faults: &mut Faults) {
    if !path.starts_with('/') {
        faults.add(field, path, "must be an absolute path");
    } else if path.contains('\0') {
        faults.add(field, path.replace('\0', "\\0"), "may not hold a NUL");
    }
}

fn resources(container: &ContainerDefinition, size: &TaskSize, at: &At<'_>, faults: &mut Faults) {
    if container.cpu < 0 {
        faults.add(at(&"cpu"), container.cpu, "may not be negative");
    }
    for (member, value) in [("memory", container.memory), ("memoryReservation", container.memory_reservation)] {
        if let Some(value) = value.filter(|value| *value < MIN_MEMORY_MIB) {
            faults.add(at(&member), value, format!("must be at least {MIN_MEMORY_MIB} MiB"));
        }
    }
    match (container.memory, container.memory_reservation, size.memory) {
        (None, None, None) => {
            faults.add(at(&"memory"), "", "one of memory, memoryReservation and the task's memory is required");
        }
        (Some(memory), _, Some(task)) if memory > task => {
            faults.add(at(&"memory"), memory, format!("is more than the task's memory, {task} MiB"));
        }
        (Some(memory), Some(reserved), _) if memory < reserved => {
            faults.add(at(&"memory"), memory, format!("is less than memoryReservation, {reserved} MiB"));
        }
        _ => {}
    }
    let mut seen = BTreeSet::new();
    for (index, limit) in container.ulimits.iter().enumerate() {
        let name = format!("ulimits[{index}].name");
        if faults.one_of(at(&name), &limit.name, values::ulimit_name::VALUES) && !seen.insert(&limit.name) {
            faults.add(at(&name), &limit.name, "is limited twice");
        }
        // -1 is "unlimited", which is above every number.
        let order = |value: i64| if value == -1 { i64::MAX } else { value };
        for (member, value) in [("softLimit", limit.soft_limit), ("hardLimit", limit.hard_limit)] {
            if value < -1 {
                faults.add(at(&format!("ulimits[{index}].{member}")), value, "must be -1 (unlimited) or more");
            }
        }
        if order(limit.soft_limit) > order(limit.hard_limit) {
            let field = at(&format!("ulimits[{index}].softLimit"));
            faults.add(field, limit.soft_limit, format!("is more than hardLimit, {}", limit.hard_limit));
        }
    }
}

fn process(container: &ContainerDefinition, at: &At<'_>, faults: &mut Faults) {
    for (member, list) in [("entryPoint", &container.entry_point), ("command", &container.command)] {
        for (index, word) in list.iter().enumerate().filter(|(_, word)| word.contains('\0')) {
            faults.add(at(&format!("{member}[{index}]")), word.replace('\0', "\\0"), "may not hold a NUL");
        }
    }
    for (index, pair) in container.environment.iter().enumerate() {
        if pair.name.is_empty() || pair.name.contains(['=', '\0']) {
            let field = at(&format!("environment[{index}].name"));
            faults.add(field, &pair.name, "must have a character, and neither `=` nor NUL");
        }
        if pair.value.as_deref().unwrap_or_default().contains('\0') {
            // The value itself may be a secret.
            faults.add(at(&format!("environment[{index}].value")), "", "may not hold a NUL");
        }
    }
    if let Some(user) = container.user.as_deref().filter(|user| !user.is_empty()) {
        let fine = |part: &str| !part.is_empty() && !part.contains(|c: char| c.is_whitespace() || c == '\0');
        let parts: Vec<&str> = user.split(':').collect();
        if parts.len() > 2 || !parts.into_iter().all(fine) {
            faults.add(at(&"user"), user, "must be USER, UID, USER:GROUP or UID:GID");
        }
    }
    if let Some(directory) = container.working_directory.as_deref().filter(|directory| !directory.is_empty()) {
        path(at(&"workingDirectory"), directory, faults);
    }
    for (member, value) in [("startTimeout", container.start_timeout), ("stopTimeout", container.stop_timeout)] {
        if let Some(value) = value.filter(|value| *value < 0) {
            faults.add(at(&member), value, "must be 0 or more seconds");
        }
    }
}

fn mounts(task: &RegisterTaskDefinitionRequest, container: &ContainerDefinition, at: &At<'_>, faults: &mut Faults) {
    let mut seen = BTreeSet::new();
    for (index, mount) in container.mount_points.iter().enumerate() {
        let source = mount.source_volume.as_deref().unwrap_or_default();
        let field = at(&format!("mountPoints[{index}].sourceVolume"));
        if source.is_empty() {
            faults.missing(field);
        } else if !task.volumes.iter().any(|volume| volume.name == source) {
            faults.add(field, source, "is not in the task definition's volumes");
        }
        let target = mount.container_path.as_deref().unwrap_or_default();
        let field = at(&format!("mountPoints[{index}].containerPath"));
        if target.is_empty() {
            faults.missing(field);
        } else if target.trim_end_matches('/').is_empty() {
            faults.add(field, target, "may not be the root directory");
        } else if !seen.insert(target.trim_end_matches('/')) {
            faults.add(field, target, "has another mount point already");
        } else {
            path(field, target, faults);
        }
    }
}

/// Members that name other containers of the task.
fn siblings(task: &RegisterTaskDefinitionRequest, container: &ContainerDefinition, at: &At<'_>, faults: &mut Faults) {
    let mut check = |field: String, name: &str| {
        if name == container.name {
            faults.add(field, name, "is the container itself");
        } else if !task.container_definitions.iter().any(|other| other.name == name) {
            faults.add(field, name, "is not a container of this task definition");
        }
    };
    for (index, from) in container.volumes_from.iter().enumerate() {
        check(at(&format!("volumesFrom[{index}].sourceContainer")), &from.source_container);
    }
    for (index, link) in container.links.iter().enumerate() {
        check(at(&format!("links[{index}]")), link.split(':').next().unwrap_or_default());
    }
    let mode = task.network_mode.as_deref().unwrap_or(values::network_mode::BRIDGE);
    if mode != values::network_mode::BRIDGE && !container.links.is_empty() {
        faults.add(at(&"links"), container.links.join(" "), format!("are not allowed with networkMode {mode}"));
    }
}

fn network(task: &RegisterTaskDefinitionRequest, container: &ContainerDefinition, at: &At<'_>, faults: &mut Faults) {
    let awsvpc = task.network_mode.as_deref() == Some(values::network_mode::AWSVPC);
    if let Some(hostname) = container.hostname.as_deref().filter(|hostname| !hostname.is_empty()) {
        if awsvpc {
            faults.add(at(&"hostname"), hostname, "is not allowed with networkMode awsvpc");
        } else if hostname.len() > 64
            || !hostname.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.'))
        {
            faults.add(at(&"hostname"), hostname, "must be at most 64 letters, digits, hyphens and dots");
        }
    }
    let host = task.network_mode.as_deref() == Some(values::network_mode::HOST);
    for (index, control) in container.system_controls.iter().enumerate() {
        let name = control.namespace.as_deref().unwrap_or_default();
        let field = at(&format!("systemControls[{index}].namespace"));
        if name.is_empty() {
            faults.missing(field);
        } else if host && name.starts_with("net.") {
            faults.add(field, name, "is not allowed with networkMode host: it would change the host");
        }
        if control.value.as_deref().unwrap_or_default().is_empty() {
            faults.missing(at(&format!("systemControls[{index}].value")));
        }
    }
    for (index, server) in container.dns_servers.iter().enumerate() {
        if server.parse::<IpAddr>().is_err() {
            faults.add(at(&format!("dnsServers[{index}]")), server, "must be an IP address");
        }
    }
    for (index, host) in container.extra_hosts.iter().enumerate() {
        if awsvpc {
            faults.add(at(&format!("extraHosts[{index}]")), &host.hostname, "is not allowed with networkMode awsvpc");
        }
        if host.hostname.is_empty() || host.hostname.contains(char::is_whitespace) {
            faults.add(at(&format!("extraHosts[{index}].hostname")), &host.hostname, "must be a host name");
        }
        if host.ip_address.parse::<IpAddr>().is_err() {
            faults.add(at(&format!("extraHosts[{index}].ipAddress")), &host.ip_address, "must be an IP address");
        }
    }
}

/// The capabilities of Linux 6.1, without their prefix, as ECS writes them.
const CAPABILITIES: &[&str] = &[
    "ALL",
    "AUDIT_CONTROL",
    "AUDIT_READ",
    "AUDIT_WRITE",
    "BLOCK_SUSPEND",
    "BPF",
    "CHECKPOINT_RESTORE",
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "IPC_LOCK",
    "IPC_OWNER",
    "KILL",
    "LEASE",
    "LINUX_IMMUTABLE",
    "MAC_ADMIN",
    "MAC_OVERRIDE",
    "MKNOD",
    "NET_ADMIN",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_RAW",
    "PERFMON",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_CHROOT",
    "SYS_MODULE",
    "SYS_NICE",
    "SYS_PACCT",
    "SYS_PTRACE",
    "SYS_RAWIO",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "SYSLOG",
    "WAKE_ALARM",
];

fn linux_parameters(linux: &LinuxParameters, at: &At<'_>, faults: &mut Faults) {
    let lists = linux.capabilities.iter().flat_map(|c| [("add", &c.add), ("drop", &c.drop)]);
    for (member, list) in lists {
        for (index, name) in list.iter().enumerate() {
            let upper = name.to_ascii_uppercase();
            if !CAPABILITIES.contains(&upper.strip_prefix("CAP_").unwrap_or(&upper)) {
                let field = at(&format!("linuxParameters.capabilities.{member}[{index}]"));
                faults.add(field, name, "is not a capability of Linux");
            }
        }
    }
    for (index, tmpfs) in linux.tmpfs.iter().enumerate() {
        let field = at(&format!("linuxParameters.tmpfs[{index}].containerPath"));
        if tmpfs.container_path.is_empty() {
            faults.missing(field);
        } else {
            path(field, &tmpfs.container_path, faults);
        }
        if tmpfs.size < 1 {
            let field = at(&format!("linuxParameters.tmpfs[{index}].size"));
            faults.add(field, tmpfs.size, "must be at least 1 MiB");
        }
    }
    if let Some(size) = linux.shared_memory_size.filter(|size| *size < 1) {
        faults.add(at(&"linuxParameters.sharedMemorySize"), size, "must be at least 1 MiB");
    }
}
