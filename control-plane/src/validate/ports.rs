//! Rules of port mappings, in one container and among all of a task's.

use super::Faults;
use berth_wire::ecs::{PortMapping, RegisterTaskDefinitionRequest, values};
use std::collections::BTreeSet;

/// Checks the port mappings of all containers.
pub(super) fn check(task: &RegisterTaskDefinitionRequest, faults: &mut Faults) {
    let mode = task.network_mode.as_deref().unwrap_or(values::network_mode::BRIDGE);
    let mut taken = BTreeSet::new();
    let mut names = BTreeSet::new();
    for (container_index, container) in task.container_definitions.iter().enumerate() {
        for (index, mapping) in container.port_mappings.iter().enumerate() {
            let at = format!("containerDefinitions[{container_index}].portMappings[{index}]");
            one(mode, &at, mapping, faults);
            let protocol = mapping.protocol.as_deref().unwrap_or(values::transport_protocol::TCP);
            if let Some((member, port)) = host_port(mode, mapping)
                && !taken.insert((port, protocol))
            {
                faults.add(format!("{at}.{member}"), port, format!("is mapped twice for {protocol}"));
            }
            if let Some(name) = mapping.name.as_deref().filter(|name| !name.is_empty())
                && !names.insert(name)
            {
                faults.add(format!("{at}.name"), name, "is the name of another port mapping too");
            }
        }
    }
}

/// The port that a mapping takes in the namespace it publishes into (the host's, or with awsvpc the task's), and the
/// member that says so. `None` when it is chosen later, or wrong.
fn host_port<'a>(mode: &str, mapping: &PortMapping) -> Option<(&'a str, i64)> {
    let valid = |port: &i64| (1..=65535).contains(port);
    if mode == values::network_mode::BRIDGE {
        mapping.host_port.filter(valid).map(|port| ("hostPort", port))
    } else {
        mapping.container_port.filter(valid).map(|port| ("containerPort", port))
    }
}

fn one(mode: &str, at: &str, mapping: &PortMapping, faults: &mut Faults) {
    if mode == values::network_mode::NONE {
        faults.add(at, mapping.container_port.unwrap_or_default(), "there are no ports with networkMode none");
        return;
    }
    if let Some(text) = &mapping.container_port_range {
        range(mode, at, text, mapping, faults);
    }
    match mapping.container_port {
        None if mapping.container_port_range.is_none() => faults.missing(format!("{at}.containerPort")),
        Some(port) if !(1..=65535).contains(&port) => {
            faults.add(format!("{at}.containerPort"), port, "must be 1 to 65535");
        }
        _ => {}
    }
    if let Some(port) = mapping.host_port {
        let field = format!("{at}.hostPort");
        if !(0..=65535).contains(&port) {
            faults.add(field, port, "must be 1 to 65535, or 0 for one that is chosen when the task starts");
        } else if mode != values::network_mode::BRIDGE && port != 0 && mapping.container_port.is_some_and(|c| c != port)
        {
            let container = mapping.container_port.unwrap_or_default();
            faults.add(field, port, format!("must be the same as containerPort, {container}, with networkMode {mode}"));
        }
    }
    if let Some(protocol) = &mapping.protocol {
        faults.one_of(format!("{at}.protocol"), protocol, values::transport_protocol::VALUES);
    }
    if let Some(protocol) = &mapping.app_protocol {
        faults.one_of(format!("{at}.appProtocol"), protocol, values::application_protocol::VALUES);
    }
}

/// The most ports of one range, as in ECS.
const MAX_RANGE: i64 = 100;

fn range(mode: &str, at: &str, text: &str, mapping: &PortMapping, faults: &mut Faults) {
    let field = format!("{at}.containerPortRange");
    let number = |text: &str| text.parse::<i64>().ok().filter(|port| (1..=65535).contains(port));
    let ends = text.split_once('-').and_then(|(first, last)| Some((number(first)?, number(last)?)));
    match ends {
        None => faults.add(&field, text, "must be FIRST-LAST, each of them 1 to 65535"),
        Some((first, last)) if last < first => faults.add(&field, text, "ends before it begins"),
        Some((first, last)) if last - first >= MAX_RANGE => {
            faults.add(&field, text, format!("has more than {MAX_RANGE} ports"));
        }
        Some(_) => {}
    }
    if mode == values::network_mode::HOST {
        faults.add(&field, text, "is not allowed with networkMode host");
    }
    for (member, port) in [("containerPort", mapping.container_port), ("hostPort", mapping.host_port)] {
        if let Some(port) = port.filter(|port| *port != 0) {
            faults.add(format!("{at}.{member}"), port, "may not be given with containerPortRange");
        }
    }
}
