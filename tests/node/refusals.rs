//! Task definitions that cannot be run: refused by name, with nothing made.

use crate::support::{Node, definition};
use serde_json::{Value, json};

fn container() -> Value {
    json!({ "name": "app", "image": "busybox", "memory": 16, "command": ["true"] })
}

fn refused(node: &Node, definition: &Value, words: &[&str]) {
    let output = node.try_run(definition);
    assert!(!output.status.success(), "was run: {definition}");
    let text = String::from_utf8_lossy(&output.stderr);
    for word in words {
        assert!(text.contains(word), "{words:?} should all be in: {text}");
    }
    assert_eq!(node.json(&["ps", "--json"]), json!([]), "nothing runs");
    assert_eq!(node.leftovers(), Vec::<String>::new());
}

#[test]
#[ignore = "needs root"]
fn definitions_that_cannot_be_run_are_refused_by_field_and_value() {
    let node = Node::start("refuse");
    let with = |field: &str, value: Value| {
        let mut c = container();
        c[field] = value;
        definition("bridge", json!([c]))
    };
    refused(&node, &definition("overlay", json!([container()])), &["networkMode", "overlay"]);
    refused(&node, &with("memory", json!(4)), &["containerDefinitions[0].memory", "4", "6"]);
    refused(&node, &with("protMappings", json!([])), &["protMappings"]);
    refused(
        &node,
        &with("portMappings", json!([{ "containerPort": 80, "hostPort": 80, "protocol": "sctp" }])),
        &["containerDefinitions[0].portMappings[0].protocol", "sctp"],
    );
    refused(&node, &with("image", json!(node.image("no-such-image"))), &["no-such-image", "not found"]);
    refused(&node, &with("image", json!(node.image("busybox:foreign"))), &["arm64"]);
    refused(&node, &with("portMappings", json!([{ "containerPort": 80, "hostPort": 22 }])), &["22"]);
    refused(&node, &with("command", json!(["/no/such/program"])), &["/no/such/program"]);
    let mut a = container();
    a["dependsOn"] = json!([{ "containerName": "b", "condition": "START" }]);
    let mut b = container();
    b["name"] = json!("b");
    b["dependsOn"] = json!([{ "containerName": "app", "condition": "START" }]);
    refused(&node, &definition("bridge", json!([a, b])), &["dependsOn"]);
    node.finish();
}

#[test]
#[ignore = "needs root"]
fn a_static_port_that_another_program_has_is_refused_before_anything_is_made() {
    let node = Node::start("refuse-port");
    let taken = node.listen(18090);
    let mut c = container();
    c["portMappings"] = json!([{ "containerPort": 80, "hostPort": 18090 }]);
    refused(&node, &definition("bridge", json!([c])), &["18090", "in use"]);
    drop(taken);
    node.finish();
}

#[test]
#[ignore = "needs root"]
fn more_than_the_node_has_is_refused_with_what_is_missing() {
    let node = Node::start("refuse-size");
    let mut task = definition("none", json!([container()]));
    task["memory"] = json!("900000000");
    refused(&node, &task, &["memory"]);
    node.finish();
}
