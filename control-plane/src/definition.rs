//! From a checked request to a registered revision: defaults filled in as ECS does, and what follows from it.

use crate::schedule::{Demand, Needed};
use crate::validate::{parse_cpu, parse_memory};
use berth_wire::ecs::values::{network_mode, task_definition_status, transport_protocol};
use berth_wire::ecs::{Attribute, ContainerDefinition, RegisterTaskDefinitionRequest, TaskDefinition, TaskOverride};

/// Makes the revision. The request has been checked.
pub(crate) fn revision(request: RegisterTaskDefinitionRequest, arn: String, revision: i64, now: f64) -> TaskDefinition {
    let mode = request.network_mode.unwrap_or_else(|| network_mode::BRIDGE.to_owned());
    let mut containers = request.container_definitions;
    for container in &mut containers {
        container.essential.get_or_insert(true);
        for mapping in &mut container.port_mappings {
            mapping.protocol.get_or_insert_with(|| transport_protocol::TCP.to_owned());
            let default = if mode == network_mode::BRIDGE { Some(0) } else { mapping.container_port };
            mapping.host_port = mapping.host_port.filter(|port| *port != 0).or(default);
        }
    }
    let mut made = TaskDefinition {
        task_definition_arn: arn,
        container_definitions: containers,
        family: request.family,
        task_role_arn: request.task_role_arn,
        execution_role_arn: request.execution_role_arn,
        network_mode: Some(mode),
        revision,
        volumes: request.volumes,
        status: task_definition_status::ACTIVE.to_owned(),
        placement_constraints: request.placement_constraints,
        compatibilities: vec!["EXTERNAL".to_owned(), "EC2".to_owned()],
        runtime_platform: request.runtime_platform,
        requires_compatibilities: request.requires_compatibilities,
        cpu: request.cpu.as_deref().and_then(parse_cpu).map(|cpu| cpu.to_string()),
        memory: request.memory.as_deref().and_then(parse_memory).map(|memory| memory.to_string()),
        inference_accelerators: request.inference_accelerators,
        pid_mode: request.pid_mode,
        ipc_mode: request.ipc_mode,
        proxy_configuration: request.proxy_configuration,
        registered_at: Some(now),
        ephemeral_storage: request.ephemeral_storage,
        enable_fault_injection: request.enable_fault_injection,
        trusted_execution_configuration: request.trusted_execution_configuration,
        ..TaskDefinition::default()
    };
    made.requires_attributes = required(&made);
    made
}

/// The attributes that an instance needs for this definition.
///
/// ECS also translates a definition into versions of the Docker API; a berth node has no Docker, so only the names of
/// features are asked for.
fn required(definition: &TaskDefinition) -> Vec<Attribute> {
    let mut names = Vec::new();
    let mut need = |asked: bool, name: &str| {
        if asked && !names.iter().any(|known| known == name) {
            names.push(name.to_owned());
        }
    };
    let any = |test: &dyn Fn(&ContainerDefinition) -> bool| definition.container_definitions.iter().any(test);
    for container in &definition.container_definitions {
        if let Some(log) = &container.log_configuration {
            need(true, &format!("com.amazonaws.ecs.capability.logging-driver.{}", log.log_driver));
        }
    }
    need(any(&|c| c.privileged == Some(true)), "com.amazonaws.ecs.capability.privileged-container");
    need(definition.network_mode.as_deref() == Some(network_mode::AWSVPC), "ecs.capability.task-eni");
    need(any(&|c| !c.depends_on.is_empty()), "ecs.capability.container-ordering");
    let ranges = any(&|c| c.port_mappings.iter().any(|mapping| mapping.container_port_range.is_some()));
    need(ranges, "ecs.capability.network.container-port-range");
    need(any(&|c| c.health_check.is_some()), "ecs.capability.container-health-check");
    need(any(&|c| c.restart_policy.is_some()), "ecs.capability.container-restart-policy");
    need(definition.cpu.is_some() || definition.memory.is_some(), "ecs.capability.task-cpu-mem-limit");
    need(definition.pid_mode.is_some() || definition.ipc_mode.is_some(), "ecs.capability.pid-ipc-namespace-sharing");
    names.into_iter().map(|name| Attribute { name, ..Attribute::default() }).collect()
}

/// The attributes as the scheduler wants them.
pub(crate) fn needed(definition: &TaskDefinition) -> Vec<Needed> {
    definition.requires_attributes.iter().map(|attribute| (attribute.name.clone(), attribute.value.clone())).collect()
}

/// The value of `ecs.cpu-architecture` that a node must have, if it says one at all.
pub(crate) fn architecture(definition: &TaskDefinition) -> Option<&'static str> {
    match definition.runtime_platform.as_ref()?.cpu_architecture.as_deref()? {
        "X86_64" => Some("x86_64"),
        "ARM64" => Some("arm64"),
        _ => None,
    }
}

/// CPU and memory of the task as a whole after `overrides`, where it has limits of its own.
pub(crate) fn task_size(definition: &TaskDefinition, overrides: &TaskOverride) -> (Option<i64>, Option<i64>) {
    let cpu = overrides.cpu.as_deref().or(definition.cpu.as_deref()).and_then(parse_cpu);
    let memory = overrides.memory.as_deref().or(definition.memory.as_deref()).and_then(parse_memory);
    (cpu, memory)
}

/// What a task takes from its instance. `containers` are the definition's after overrides.
pub(crate) fn demand(
    definition: &TaskDefinition,
    containers: &[ContainerDefinition],
    size: (Option<i64>, Option<i64>),
) -> Demand {
    let sum = |amount: &dyn Fn(&ContainerDefinition) -> i64| {
        containers.iter().fold(0_i64, |sum, container| sum.saturating_add(amount(container)))
    };
    let mut demand = Demand {
        cpu: size.0.unwrap_or_else(|| sum(&|container| container.cpu)),
        memory: size
            .1
            .unwrap_or_else(|| sum(&|container| container.memory_reservation.or(container.memory).unwrap_or_default())),
        ..Demand::default()
    };
    // With awsvpc the task's ports are its own.
    if matches!(definition.network_mode.as_deref(), Some(network_mode::BRIDGE | network_mode::HOST)) {
        for mapping in containers.iter().flat_map(|container| &container.port_mappings) {
            let Some(port) = mapping.host_port.and_then(|port| u16::try_from(port).ok()).filter(|port| *port != 0)
            else {
                continue;
            };
            let udp = mapping.protocol.as_deref() == Some(transport_protocol::UDP);
            if udp { &mut demand.udp } else { &mut demand.tcp }.insert(port);
        }
    }
    demand
}
