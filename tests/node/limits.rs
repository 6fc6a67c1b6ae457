//! CPU and memory limits, and what `berth node` says they leave.

use crate::support::{Node, definition};
use serde_json::json;
use std::time::{Duration, Instant};

#[test]
#[ignore = "needs root"]
fn a_task_of_256_units_gets_a_quarter_of_a_core() {
    let node = Node::start("limit-cpu");
    let mut task = definition(
        "none",
        json!([{ "name": "busy", "image": "busybox", "memory": 16, "command": ["sh", "-c", "while :; do :; done"] }]),
    );
    task["cpu"] = json!("256");
    let id = node.run(&task);
    let cpu_seconds = || node.cpu_seconds(&id, "busy");
    let (start, before) = (Instant::now(), cpu_seconds());
    node.let_run(Duration::from_secs(5));
    let used = cpu_seconds() - before;
    let share = used / start.elapsed().as_secs_f64();
    assert!((0.225..=0.275).contains(&share), "{share:.3} of a core");
    node.finish();
}

#[test]
#[ignore = "needs root"]
fn a_task_that_grows_past_its_containers_limit_is_killed_and_ps_names_the_limit() {
    let node = Node::start("limit-memory");
    let id = node.run_detached(&definition(
        "none",
        json!([{ "name": "hog", "image": "busybox", "memory": 16, "command": ["sh", "-c", "exec tail /dev/zero"] }]),
    ));
    node.wait_stopped(&id);
    let hog = node.container(&id, "hog");
    assert_eq!(hog["oom"], json!({ "scope": "container", "limitBytes": 16 << 20 }), "{hog}");
    assert_eq!(hog["exitCode"], 137, "{hog}");
    let listing = node.berth(&["ps", "-a"]);
    assert!(listing.contains("16 MiB"), "{listing}");
    node.finish();
}

#[test]
#[ignore = "needs root"]
fn a_task_that_hits_the_tasks_limit_says_that_it_was_the_tasks() {
    let node = Node::start("limit-task");
    let mut task = definition(
        "none",
        json!([{ "name": "hog", "image": "busybox", "command": ["sh", "-c", "exec tail /dev/zero"] }]),
    );
    task["memory"] = json!("24");
    let id = node.run_detached(&task);
    node.wait_stopped(&id);
    assert_eq!(node.container(&id, "hog")["oom"], json!({ "scope": "task", "limitBytes": 24 << 20 }));
    node.finish();
}

#[test]
#[ignore = "needs root"]
fn the_nodes_capacity_is_taken_while_a_task_runs_and_comes_back_when_it_has_stopped() {
    let node = Node::start("limit-node");
    let before = node.json(&["node", "--json"]);
    let mut task = definition(
        "bridge",
        json!([{
            "name": "app", "image": "busybox", "command": ["sleep", "1000"],
            "portMappings": [{ "containerPort": 80, "hostPort": 18081 }],
        }]),
    );
    task["cpu"] = json!("512");
    task["memory"] = json!("64");
    let id = node.run(&task);
    let during = node.json(&["node", "--json"]);
    let used = |view: &serde_json::Value, what: &str| view[what]["used"].as_u64().unwrap();
    assert_eq!(used(&during, "cpu"), used(&before, "cpu") + 512);
    assert_eq!(used(&during, "memory"), used(&before, "memory") + 64);
    assert!(during["tcpPorts"]["used"].as_array().unwrap().contains(&json!(18081)), "{during}");
    node.berth(&["stop", "-t", "0", &id]);
    node.wait_stopped(&id);
    let after = node.json(&["node", "--json"]);
    for what in ["cpu", "memory", "tcpPorts", "udpPorts"] {
        assert_eq!(after[what], before[what], "{what}");
    }
    node.finish();
}
