//! `kill -9` of each of our processes, and restarts.

use crate::support::{Node, definition};
use serde_json::json;
use std::time::Duration;

/// Counts aloud, ten times a second.
fn counter(mode: &str) -> serde_json::Value {
    definition(
        mode,
        json!([{
            "name": "count", "image": "busybox", "memory": 16,
            "command": ["sh", "-c", "i=0; while :; do i=$((i+1)); echo $i; usleep 100000; done"],
        }]),
    )
}

/// The numbers that the task has printed; they must follow each other.
fn counted(node: &Node, id: &str) -> usize {
    let text = node.berth(&["logs", id]);
    for (i, line) in text.lines().enumerate() {
        assert_eq!(line, (i + 1).to_string(), "the log has a hole");
    }
    text.lines().count()
}

#[test]
#[ignore = "needs root"]
fn an_agent_that_is_killed_finds_its_tasks_running_and_their_logs_whole() {
    let mut node = Node::start("crash-agent");
    let id = node.run(&counter("bridge"));
    let pid = node.container(&id, "count")["pid"].clone();
    node.wait_for("some output", || counted(&node, &id) > 3);
    node.kill_agent();
    node.let_run(Duration::from_secs(2));
    node.start_agent();
    let at_return = counted(&node, &id);
    assert_eq!(node.task(&id)["status"], "RUNNING");
    assert_eq!(node.container(&id, "count")["pid"], pid, "the same process all along");
    node.wait_for("more output", || counted(&node, &id) > at_return + 3);
    node.finish();
}

#[test]
#[ignore = "needs root"]
fn an_agent_that_is_told_to_stop_leaves_its_tasks_running_and_adopts_them() {
    let mut node = Node::start("crash-term");
    let id = node.run(&counter("awsvpc"));
    let pid = node.container(&id, "count")["pid"].clone();
    assert_eq!(node.stop_agent().code(), Some(0));
    node.start_agent();
    assert_eq!(node.container(&id, "count")["pid"], pid);
    node.berth(&["stop", "-t", "0", &id]);
    node.wait_stopped(&id);
    node.finish();
}

#[test]
#[ignore = "needs root"]
fn a_task_that_ends_while_the_agent_is_away_is_told_with_its_exit_code() {
    let mut node = Node::start("crash-away");
    let id = node.run(&definition(
        "none",
        json!([{ "name": "app", "image": "busybox", "memory": 16, "command": ["sh", "-c", "sleep 2; exit 9"] }]),
    ));
    node.kill_agent();
    node.let_run(Duration::from_secs(4));
    node.start_agent();
    node.wait_stopped(&id);
    assert_eq!(node.container(&id, "app")["exitCode"], 9);
    node.finish();
}

#[test]
#[ignore = "needs root"]
fn a_shim_that_is_killed_ends_its_task_which_says_so() {
    let node = Node::start("crash-shim");
    let id = node.run(&counter("bridge"));
    let other = node.run(&counter("none"));
    node.kill_shim(&id);
    node.wait_stopped(&id);
    let task = node.task(&id);
    assert!(task["reason"].as_str().unwrap_or_default().contains("shim"), "{task}");
    assert_eq!(node.task(&other)["status"], "RUNNING", "the other task lives on");
    node.finish();
}

#[test]
#[ignore = "needs root"]
fn a_shim_that_is_killed_while_the_agent_is_away_ends_its_task_at_the_next_start() {
    let mut node = Node::start("crash-both");
    let id = node.run(&counter("awsvpc"));
    node.kill_agent();
    node.kill_shim(&id);
    node.start_agent();
    node.wait_stopped(&id);
    assert!(node.task(&id)["reason"].as_str().unwrap_or_default().contains("shim"), "{}", node.task(&id));
    node.finish();
}

#[test]
#[ignore = "needs root"]
fn a_lost_store_is_rebuilt_from_the_tasks_files() {
    let mut node = Node::start("crash-store");
    let id = node.run(&counter("bridge"));
    node.kill_agent();
    node.damage_store();
    node.start_agent();
    assert_eq!(node.task(&id)["status"], "RUNNING");
    node.berth(&["stop", "-t", "0", &id]);
    node.wait_stopped(&id);
    node.finish();
}

#[test]
#[ignore = "needs root"]
fn an_agent_killed_at_any_moment_of_a_start_loses_and_leaves_nothing() {
    let mut node = Node::start("crash-moments");
    for delay_ms in [1, 3, 5, 8, 12, 20, 40] {
        let child = node.spawn_run(&counter("bridge"));
        node.let_run(Duration::from_millis(delay_ms));
        node.kill_agent();
        drop(child);
        node.start_agent();
        for task in node.json(&["ps", "-a", "--json"]).as_array().unwrap() {
            let id = task["id"].as_str().unwrap();
            node.wait_for("the task to be decided", || {
                ["RUNNING", "STOPPED"].contains(&node.task(id)["status"].as_str().unwrap())
            });
            node.berth(&["rm", "-f", id]);
        }
    }
    node.finish();
}
