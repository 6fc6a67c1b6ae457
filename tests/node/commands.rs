//! What an operator types.

use crate::support::{Node, definition};
use serde_json::json;
use std::time::{Duration, Instant};

/// A container that runs until it is told to stop, and then ends with code 7.
fn willing() -> serde_json::Value {
    definition(
        "none",
        json!([{
            "name": "app", "image": "busybox", "memory": 16, "stopTimeout": 30,
            "command": ["sh", "-c", "trap 'echo bye; exit 7' TERM; echo up; while :; do sleep 1 & wait $!; done"],
        }]),
    )
}

#[test]
#[ignore = "needs root"]
fn a_pull_tells_of_every_layer_and_images_lists_the_result() {
    let node = Node::start("cmd-pull");
    let text = node.berth(&["pull", &node.image("probe")]);
    assert!(text.matches("sha256:").count() >= 1, "{text}");
    let images = node.json(&["images", "--json"]);
    let image = images.as_array().unwrap().iter().find(|i| i["reference"].as_str().unwrap().contains("probe"));
    assert!(image.expect("the image is listed")["layers"].as_u64().unwrap() >= 2);
    node.finish();
}

#[test]
#[ignore = "needs root"]
fn a_foreground_run_prints_the_output_and_ends_with_the_containers_code() {
    let node = Node::start("cmd-run");
    let output = node.try_berth(&[
        "run",
        "--network",
        "none",
        "--memory",
        "16",
        "-e",
        "WHO=world",
        &node.image("busybox"),
        "sh",
        "-c",
        "echo hello $WHO; exit 3",
    ]);
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "hello world\n");
    node.finish();
}

#[test]
#[ignore = "needs root"]
fn exec_runs_in_the_container_and_hands_its_exit_code_on() {
    let node = Node::start("cmd-exec");
    let id = node.run(&willing());
    let output = node.try_berth(&["exec", &id, "sh", "-c", "cat /proc/1/comm; exit 5"]);
    assert_eq!(output.status.code(), Some(5), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "sh\n");
    let absent = node.try_berth(&["exec", &id, "/no/such/program"]);
    assert_eq!(absent.status.code(), Some(127), "{absent:?}");
    node.finish();
}

#[test]
#[ignore = "needs root"]
fn exec_with_a_terminal_has_one() {
    let node = Node::start("cmd-tty");
    let id = node.run(&willing());
    let output = node.in_terminal(&["exec", "-it", &id, "sh", "-c", "tty && stty size"]);
    assert!(output.contains("/dev/pts/"), "{output:?}");
    node.finish();
}

#[test]
#[ignore = "needs root"]
fn stop_asks_first_and_the_exit_code_is_the_containers_own() {
    let node = Node::start("cmd-stop");
    let id = node.run(&willing());
    node.wait_for("its trap to be set", || node.berth(&["logs", &id]).contains("up"));
    node.berth(&["stop", &id]);
    node.wait_stopped(&id);
    assert_eq!(node.container(&id, "app")["exitCode"], 7);
    assert_eq!(node.berth(&["logs", &id]), "up\nbye\n");
    node.finish();
}

#[test]
#[ignore = "needs root"]
fn a_container_that_ignores_sigterm_is_killed_after_its_stop_timeout() {
    let node = Node::start("cmd-kill");
    let mut task = willing();
    task["containerDefinitions"][0]["command"] =
        json!(["sh", "-c", "trap '' TERM; echo up; while :; do sleep 1; done"]);
    task["containerDefinitions"][0]["stopTimeout"] = json!(2);
    let id = node.run(&task);
    node.wait_for("its trap to be set", || node.berth(&["logs", &id]).contains("up"));
    let begun = Instant::now();
    node.berth(&["stop", &id]);
    node.wait_stopped(&id);
    assert!(begun.elapsed() >= Duration::from_secs(2), "{:?}", begun.elapsed());
    assert_eq!(node.container(&id, "app")["exitCode"], 137);
    node.finish();
}

#[test]
#[ignore = "needs root"]
fn wait_ends_with_the_task_and_rm_forgets_it() {
    let node = Node::start("cmd-wait");
    let id = node.run_detached(&definition(
        "none",
        json!([{ "name": "app", "image": "busybox", "memory": 16, "command": ["sh", "-c", "sleep 1; exit 4"] }]),
    ));
    let output = node.try_berth(&["wait", &id]);
    assert!(String::from_utf8_lossy(&output.stdout).contains('4') || output.status.code() == Some(4), "{output:?}");
    node.berth(&["rm", &id]);
    assert!(!node.berth(&["ps", "-a"]).contains(&id[..8]));
    node.finish();
}

#[test]
#[ignore = "needs root"]
fn containers_start_in_the_order_of_depends_on() {
    let node = Node::start("cmd-order");
    let say = |name: &str, text: &str| {
        json!({ "name": name, "image": "busybox", "memory": 16, "essential": name == "last",
                "command": ["sh", "-c", format!("date +%s%N; echo {text}")] })
    };
    let mut last = say("last", "third");
    last["dependsOn"] = json!([{ "containerName": "middle", "condition": "SUCCESS" }]);
    let mut middle = say("middle", "second");
    middle["dependsOn"] = json!([{ "containerName": "first", "condition": "COMPLETE" }]);
    let id = node.run_detached(&definition("none", json!([last, middle, say("first", "first")])));
    node.wait_stopped(&id);
    let began = |name: &str| node.container(&id, name)["startedAtMs"].as_u64().expect(name);
    let ended = |name: &str| node.container(&id, name)["finishedAtMs"].as_u64().expect(name);
    assert!(began("middle") >= ended("first"));
    assert!(began("last") >= ended("middle"));
    node.finish();
}

#[test]
#[ignore = "needs root"]
fn the_agent_tells_systemd_that_it_is_ready() {
    let node = Node::start_notified("cmd-notify");
    assert!(node.notified().iter().any(|line| line == "READY=1"), "{:?}", node.notified());
    node.finish();
}

#[test]
#[ignore = "needs root"]
fn doctor_finds_nothing_wrong_on_a_node_that_works() {
    let node = Node::start("cmd-doctor");
    let output = node.try_berth(&["doctor"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    node.finish();
}
