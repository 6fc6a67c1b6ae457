//! What the node says of itself when it registers.

use crate::capacity::Book;
use crate::config::Settings;
use berth_runtime::net::plan::Transport;
use berth_wire::ecs::{Attribute, RegisterContainerInstanceRequest, Resource};
use std::collections::BTreeSet;

/// What this agent can do, in the control plane's words. A task whose definition needs another is not sent here.
/// Versions of Docker's API stand for the fields of task definitions that came with them.
const CAPABILITIES: &[&str] = &[
    "com.amazonaws.ecs.capability.docker-remote-api.1.17",
    "com.amazonaws.ecs.capability.docker-remote-api.1.18",
    "com.amazonaws.ecs.capability.docker-remote-api.1.19",
    "com.amazonaws.ecs.capability.docker-remote-api.1.20",
    "com.amazonaws.ecs.capability.docker-remote-api.1.21",
    "com.amazonaws.ecs.capability.docker-remote-api.1.22",
    "com.amazonaws.ecs.capability.docker-remote-api.1.23",
    "com.amazonaws.ecs.capability.docker-remote-api.1.24",
    "com.amazonaws.ecs.capability.docker-remote-api.1.25",
    "com.amazonaws.ecs.capability.docker-remote-api.1.28",
    "com.amazonaws.ecs.capability.docker-remote-api.1.29",
    "com.amazonaws.ecs.capability.docker-remote-api.1.30",
    "com.amazonaws.ecs.capability.docker-remote-api.1.32",
    "com.amazonaws.ecs.capability.logging-driver.json-file",
    "com.amazonaws.ecs.capability.logging-driver.none",
    "ecs.capability.container-ordering",
    "ecs.capability.full-sync",
    "ecs.capability.increased-task-cpu-limit",
    "ecs.capability.network.container-port-range",
    "ecs.capability.task-cpu-mem-limit",
    "ecs.capability.task-eni",
];

const PRIVILEGED: &str = "com.amazonaws.ecs.capability.privileged-container";

/// Resources of the node: all but what is reserved, and what operators' own tasks hold.
pub(super) fn resources(book: &Book) -> Vec<Resource> {
    let node = book.node();
    let (local_cpu, local_memory) = book.local_use();
    let integer = |name: &str, value: u64| Resource {
        name: name.into(),
        kind: "INTEGER".into(),
        integer_value: i64::try_from(value).unwrap_or(i64::MAX),
        ..Resource::default()
    };
    let ports = |name: &str, transport: Transport| {
        let mut all: BTreeSet<u16> = node.reserved(transport).clone();
        all.extend(book.used_ports(transport, true));
        Resource {
            name: name.into(),
            kind: "STRINGSET".into(),
            string_set_value: all.iter().map(ToString::to_string).collect(),
            ..Resource::default()
        }
    };
    vec![
        integer("CPU", node.task_cpu().saturating_sub(local_cpu)),
        integer("MEMORY", node.task_memory().saturating_sub(local_memory)),
        ports("PORTS", Transport::Tcp),
        ports("PORTS_UDP", Transport::Udp),
    ]
}

/// Attributes of the node. Custom ones go with the first registration only, as of the stock agent.
pub(super) fn attributes(settings: &Settings, first: bool) -> Vec<Attribute> {
    let named = |name: &str, value: Option<&str>| Attribute {
        name: name.into(),
        value: value.map(Into::into),
        ..Attribute::default()
    };
    let mut list: Vec<Attribute> = CAPABILITIES.iter().map(|name| named(name, None)).collect();
    if !settings.disable_privileged {
        list.push(named(PRIVILEGED, None));
    }
    list.push(named("ecs.os-type", Some("linux")));
    list.push(named("ecs.os-family", Some("LINUX")));
    list.push(named("ecs.cpu-architecture", Some(std::env::consts::ARCH)));
    if first {
        list.extend(settings.attributes.iter().map(|(name, value)| named(name, Some(value))));
    }
    list
}

/// The request. `arn` is what the node was given before, if it was.
pub(super) fn request(
    settings: &Settings,
    book: &Book,
    arn: Option<String>,
    token: String,
) -> RegisterContainerInstanceRequest {
    RegisterContainerInstanceRequest {
        cluster: Some(settings.cluster.clone()),
        total_resources: resources(book),
        attributes: attributes(settings, arn.is_none()),
        container_instance_arn: arn,
        client_token: Some(token),
        ..RegisterContainerInstanceRequest::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capacity::{Grant, PortGrant, PortRange};
    use crate::config::{HostFacts, Partial};

    fn settings() -> Settings {
        let ephemeral_ports = PortRange { first: 32768, last: 60999 };
        let host = HostFacts { cpus: 2, memory_mib: 1000, ephemeral_ports };
        let partial = Partial {
            reserved_memory: Some(100),
            reserved_ports: Some(vec![22]),
            attributes: Some([("rack".to_owned(), "7".to_owned())].into()),
            ..Partial::default()
        };
        Settings::resolve(partial, &host).unwrap()
    }

    #[test]
    fn resources_are_in_the_order_of_the_stock_agent() {
        let book = Book::new(settings().node);
        let list = resources(&book);
        let names: Vec<&str> = list.iter().map(|r| r.name.as_str()).collect();
        assert_eq!(names, ["CPU", "MEMORY", "PORTS", "PORTS_UDP"]);
        assert_eq!((list[0].integer_value, list[1].integer_value), (2048, 900));
        assert_eq!(list[2].string_set_value, ["22"]);
    }

    #[test]
    fn what_operators_own_tasks_hold_is_registered_as_reserved() {
        let mut book = Book::new(settings().node);
        let port = PortGrant {
            container: 0,
            transport: Transport::Tcp,
            container_port: 80,
            host_port: 8080,
            count: 1,
            held: true,
        };
        let grant = Grant { cpu: 48, memory: 100, ports: vec![port], ..Grant::default() };
        book.restore("payload", grant.clone());
        book.restore("mine", Grant { local: true, ..grant });
        let list = resources(&book);
        assert_eq!((list[0].integer_value, list[1].integer_value), (2000, 800));
        assert_eq!(list[2].string_set_value, ["22", "8080"]);
    }

    #[test]
    fn custom_attributes_are_sent_once() {
        let has_rack = |first| attributes(&settings(), first).iter().any(|a| a.name == "rack");
        assert!(has_rack(true) && !has_rack(false));
    }
}
