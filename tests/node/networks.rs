//! Tasks in each network mode, fetched by another machine.

use crate::support::{Node, definition};
use serde_json::json;

/// A task definition whose one container serves its own name over HTTP on port 8080.
fn web(mode: &str, mappings: serde_json::Value) -> serde_json::Value {
    definition(
        mode,
        json!([{
            "name": "web",
            "image": "busybox",
            "memory": 32,
            "command": ["sh", "-c", "echo served by $HOSTNAME > /index.html; exec httpd -f -p 8080 -h /"],
            "portMappings": mappings,
        }]),
    )
}

#[test]
#[ignore = "needs root"]
fn a_host_mode_task_answers_on_the_hosts_address() {
    let node = Node::start("net-host");
    node.run(&web("host", json!([{ "containerPort": 8080 }])));
    assert!(node.fetch_from_peer(&node.address(), 8080).contains("served by"));
    node.finish();
}

#[test]
#[ignore = "needs root"]
fn a_bridge_task_answers_on_its_static_and_on_its_dynamic_port() {
    let node = Node::start("net-bridge");
    let task = node.run(&web(
        "bridge",
        json!([{ "containerPort": 8080, "hostPort": 18080 }, { "containerPort": 8080, "hostPort": 0 }]),
    ));
    let bindings = node.task(&task)["containers"][0]["bindings"].clone();
    let ports: Vec<u64> = bindings.as_array().unwrap().iter().map(|b| b["hostPort"].as_u64().unwrap()).collect();
    assert_eq!(ports.len(), 2, "{bindings}");
    assert!(ports.contains(&18080), "{bindings}");
    for port in ports {
        assert!(node.fetch_from_peer(&node.address(), port as u16).contains("served by"), "port {port}");
        assert!(node.fetch_locally("127.0.0.1", port as u16).contains("served by"), "127.0.0.1:{port}");
    }
    node.finish();
}

#[test]
#[ignore = "needs root"]
fn an_awsvpc_task_answers_on_its_own_address() {
    let node = Node::start("net-awsvpc");
    let task = node.run(&web("awsvpc", json!([{ "containerPort": 8080 }])));
    let address = node.task(&task)["addresses"][0].as_str().expect("an awsvpc task has an address").to_owned();
    let address = address.split('/').next().unwrap();
    assert!(node.fetch_from_peer(address, 8080).contains("served by"));
    node.finish();
}

#[test]
#[ignore = "needs root"]
fn the_containers_of_an_awsvpc_task_share_localhost() {
    let node = Node::start("net-share");
    let mut task = web("awsvpc", json!([{ "containerPort": 8080 }]));
    task["containerDefinitions"].as_array_mut().unwrap().push(json!({
        "name": "client",
        "image": "busybox",
        "memory": 32,
        "essential": false,
        "dependsOn": [{ "containerName": "web", "condition": "START" }],
        "command": ["sh", "-c", "for i in 1 2 3 4 5 6 7 8 9; do wget -qO- http://127.0.0.1:8080/ && exit; sleep 1; done; exit 1"],
    }));
    let id = node.run(&task);
    node.wait_for("the client to end", || node.container(&id, "client")["exitCode"].is_i64());
    assert_eq!(node.container(&id, "client")["exitCode"], 0);
    assert!(node.berth(&["logs", &id]).contains("served by"));
    node.finish();
}

#[test]
#[ignore = "needs root"]
fn a_task_without_network_has_a_loopback_only() {
    let node = Node::start("net-none");
    let task = node.run(&definition(
        "none",
        json!([{ "name": "app", "image": "busybox", "memory": 16, "command": ["sh", "-c", "ls /sys/class/net; exec sleep 1000"] }]),
    ));
    node.wait_for("its output", || !node.berth(&["logs", &task]).is_empty());
    assert_eq!(node.berth(&["logs", &task]).trim(), "lo");
    node.finish();
}
