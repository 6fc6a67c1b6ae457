//! Rules of a task definition as a whole.

use super::{Faults, FieldError, MIN_MEMORY_MIB, NAME_RULE, container, dependencies, is_name, ports, unsupported};
use super::{parse_cpu, parse_memory};
use berth_wire::ecs::{RegisterTaskDefinitionRequest, Tag, Volume, values};
use std::collections::BTreeSet;

/// The most CPU units a task may ask for: 192 vCPU.
const MAX_CPU: i64 = 196_608;

/// Checks a task definition, and names every member that is wrong.
pub fn task_definition(definition: &RegisterTaskDefinitionRequest) -> Result<(), Vec<FieldError>> {
    let mut faults = Faults::default();
    if definition.family.is_empty() {
        faults.missing("family");
    } else if !is_name(&definition.family) {
        faults.add("family", &definition.family, NAME_RULE);
    }
    let size = size(definition, &mut faults);
    modes(definition, &mut faults);
    volumes(&definition.volumes, &mut faults);
    tags(&definition.tags, &mut faults);
    if definition.container_definitions.is_empty() {
        faults.add("containerDefinitions", "", "at least one container is required");
    }
    for (index, definition_of_one) in definition.container_definitions.iter().enumerate() {
        container::check(definition, index, definition_of_one, &size, &mut faults);
    }
    together(definition, &size, &mut faults);
    ports::check(definition, &mut faults);
    dependencies::check(&definition.container_definitions, &mut faults);
    unsupported::check(definition, &mut faults);
    if faults.0.is_empty() { Ok(()) } else { Err(faults.0) }
}

/// The limits of the task as a whole, where it has them.
pub(super) struct TaskSize {
    pub(super) cpu: Option<i64>,
    pub(super) memory: Option<i64>,
}

fn size(definition: &RegisterTaskDefinitionRequest, faults: &mut Faults) -> TaskSize {
    let cpu = definition.cpu.as_deref().and_then(|text| {
        let cpu = parse_cpu(text);
        if cpu.is_none_or(|cpu| !(1..=MAX_CPU).contains(&cpu)) {
            faults.add("cpu", text, format!("must be 1 to {MAX_CPU} CPU units, such as `256` or `0.25 vCPU`"));
        }
        cpu
    });
    let memory = definition.memory.as_deref().and_then(|text| {
        let memory = parse_memory(text);
        match memory {
            None => faults.add("memory", text, "must be a number of MiB, such as `512` or `0.5 GB`"),
            Some(memory) if memory < MIN_MEMORY_MIB => {
                faults.add("memory", text, format!("must be at least {MIN_MEMORY_MIB} MiB"));
            }
            Some(_) => {}
        }
        memory
    });
    TaskSize { cpu, memory }
}

fn modes(definition: &RegisterTaskDefinitionRequest, faults: &mut Faults) {
    if let Some(mode) = &definition.network_mode {
        faults.one_of("networkMode", mode, values::network_mode::VALUES);
    }
    if let Some(mode) = &definition.pid_mode {
        faults.one_of("pidMode", mode, values::pid_mode::VALUES);
    }
    if let Some(mode) = &definition.ipc_mode {
        faults.one_of("ipcMode", mode, values::ipc_mode::VALUES);
    }
    for (index, kind) in definition.requires_compatibilities.iter().enumerate() {
        faults.one_of(format!("requiresCompatibilities[{index}]"), kind, values::compatibility::VALUES);
    }
    if let Some(platform) = &definition.runtime_platform {
        if let Some(os) = &platform.operating_system_family {
            faults.one_of("runtimePlatform.operatingSystemFamily", os, &[values::os_family::LINUX]);
        }
        if let Some(cpu) = &platform.cpu_architecture {
            faults.one_of("runtimePlatform.cpuArchitecture", cpu, values::cpu_architecture::VALUES);
        }
    }
}

fn volumes(volumes: &[Volume], faults: &mut Faults) {
    let mut seen = BTreeSet::new();
    for (index, volume) in volumes.iter().enumerate() {
        let field = format!("volumes[{index}].name");
        if volume.name.is_empty() {
            faults.missing(field);
        } else if !is_name(&volume.name) {
            faults.add(field, &volume.name, NAME_RULE);
        } else if !seen.insert(&volume.name) {
            faults.add(field, &volume.name, "is the name of another volume too");
        }
        let source = volume.host.as_ref().and_then(|host| host.source_path.as_deref()).unwrap_or_default();
        if !source.is_empty() {
            container::path(format!("volumes[{index}].host.sourcePath"), source, faults);
        }
    }
}

fn tags(tags: &[Tag], faults: &mut Faults) {
    if tags.len() > 50 {
        faults.add("tags", tags.len(), "there may be at most 50 tags");
    }
    for (index, tag) in tags.iter().enumerate() {
        if !(1..=128).contains(&tag.key.chars().count()) {
            faults.add(format!("tags[{index}].key"), &tag.key, "must have 1 to 128 characters");
        }
    }
}

/// What only the containers together get wrong.
fn together(definition: &RegisterTaskDefinitionRequest, size: &TaskSize, faults: &mut Faults) {
    let containers = &definition.container_definitions;
    if !containers.is_empty() && containers.iter().all(|container| container.essential == Some(false)) {
        faults.add("containerDefinitions", "", "at least one container must be essential");
    }
    let mut seen = BTreeSet::new();
    for (index, container) in containers.iter().enumerate() {
        if !container.name.is_empty() && !seen.insert(&container.name) {
            let field = format!("containerDefinitions[{index}].name");
            faults.add(field, &container.name, "is the name of another container too");
        }
    }
    let sum = containers.iter().fold(0_i64, |sum, container| sum.saturating_add(container.cpu.max(0)));
    if let Some(cpu) = size.cpu.filter(|cpu| sum > *cpu) {
        faults.add("cpu", cpu, format!("is less than the {sum} CPU units of the containers together"));
    }
    let reserved = containers
        .iter()
        .fold(0_i64, |sum, container| sum.saturating_add(container.memory_reservation.unwrap_or_default().max(0)));
    if let Some(memory) = size.memory.filter(|memory| reserved > *memory) {
        faults.add("memory", memory, format!("is less than the {reserved} MiB that the containers reserve together"));
    }
}
