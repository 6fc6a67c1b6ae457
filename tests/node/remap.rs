//! Tasks whose users are others on the host: root inside is nobody there, and sees its own files all the same.

use crate::support::{Node, definition};
use serde_json::{Value, json};
use std::os::unix::fs::MetadataExt;

/// What root of a task is on the host.
const BASE: u32 = 1_000_000;

fn node(name: &str) -> Node {
    Node::start_with(name, &["--userns-remap", &format!("{BASE}:65536")])
}

/// Says what it sees, writes to its root and to volumes, and serves what it wrote over HTTP on port 8080.
const SCRIPT: &str = "id -u; stat -c '%u:%g %n' / /bin/busybox /etc/hosts /data /data/old /scratch; \
    cat /proc/sys/net/ipv4/ip_default_ttl; ls /sys/class/net; echo by name > /dev/stdout; touch /scratch/file; \
    echo 1.2.3.4 other >> /etc/hosts; echo mapped > /index.html; cp /index.html /data/new; chown 7:8 /data/new; \
    exec httpd -f -p 8080 -h /";

fn server(node: &Node, mode: &str, mappings: Value) -> Value {
    let volume = node.dir().join("volume");
    std::fs::create_dir_all(&volume).expect("make a volume");
    std::fs::write(volume.join("old"), "").expect("write into the volume");
    std::os::unix::fs::chown(volume.join("old"), Some(33), Some(34)).expect("give a file away");
    let mut wanted = definition(
        mode,
        json!([{
            "name": "web",
            "image": "busybox",
            "memory": 32,
            "command": ["sh", "-c", SCRIPT],
            "portMappings": mappings,
            "systemControls": [{ "namespace": "net.ipv4.ip_default_ttl", "value": "77" }],
            "mountPoints": [
                { "sourceVolume": "data", "containerPath": "/data" },
                { "sourceVolume": "scratch", "containerPath": "/scratch" },
            ],
        }]),
    );
    wanted["volumes"] = json!([{ "name": "data", "host": { "sourcePath": volume } }, { "name": "scratch" }]);
    wanted
}

/// Asserts what is so in every network, once the task has answered.
fn check(node: &Node, task: &str) {
    let said = node.berth(&["logs", task]);
    let said = said.lines().map(|line| line.strip_prefix("web | ").unwrap_or(line));
    let files = ["0:0 /", "0:0 /bin/busybox", "0:0 /etc/hosts", "0:0 /data", "33:34 /data/old", "0:0 /scratch"];
    let seen = [["0"].as_slice(), &files, &["77", "eth0", "lo", "by name"]].concat();
    assert_eq!(said.collect::<Vec<_>>(), seen);
    let status = node.status_of_process(task, "web");
    let ids = |name: &str| status.lines().find_map(|l| l.strip_prefix(name)).unwrap_or_default().replace('\t', " ");
    let everywhere = format!(" {BASE} {BASE} {BASE} {BASE}");
    assert_eq!((ids("Uid:"), ids("Gid:")), (everywhere.clone(), everywhere));
    // On the disk of the volume as inside.
    let new = std::fs::metadata(node.dir().join("volume/new")).expect("the task has written it");
    assert_eq!((new.uid(), new.gid()), (7, 8));
    let inside = "id -u; cat /index.html; tail -n 1 /etc/hosts; cat /proc/self/uid_map | tr -s ' '";
    let output = node.try_berth(&["exec", "--container", "web", task, "sh", "-c", inside]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(text, format!("0\nmapped\n1.2.3.4 other\n 0 {BASE} 65536\n"), "{output:?}");
    assert!(node.berth(&["exec", "--container", "web", "--user", "5", task, "id", "-u"]).starts_with('5'));
}

#[test]
#[ignore = "needs root"]
fn root_of_a_bridge_task_is_nobody_on_the_host() {
    let node = node("remap-bridge");
    let task = node.run(&server(&node, "bridge", json!([{ "containerPort": 8080, "hostPort": 18080 }])));
    assert_eq!(node.fetch_from_peer(&node.address(), 18080).trim(), "mapped");
    check(&node, &task);
    node.finish();
}

#[test]
#[ignore = "needs root"]
fn containers_of_a_mapped_awsvpc_task_share_network_and_users() {
    let node = node("remap-awsvpc");
    let mut wanted = server(&node, "awsvpc", json!([{ "containerPort": 8080 }]));
    wanted["containerDefinitions"].as_array_mut().unwrap().push(json!({
        "name": "beside",
        "image": "busybox",
        "memory": 16,
        "essential": false,
        "logConfiguration": { "logDriver": "none" },
        "command": ["sleep", "1000"],
    }));
    let task = node.run(&wanted);
    let address = node.task(&task)["addresses"][0].as_str().expect("an awsvpc task has an address").to_owned();
    let address = address.split('/').next().unwrap();
    assert_eq!(node.fetch_from_peer(address, 8080).trim(), "mapped");
    check(&node, &task);
    let namespaces = |container: &str| {
        let both = "readlink /proc/self/ns/user; readlink /proc/self/ns/net";
        node.berth(&["exec", "--container", container, &task, "sh", "-c", both])
    };
    assert_eq!(namespaces("web"), namespaces("beside"));
    node.finish();
}

#[test]
#[ignore = "needs root"]
fn a_task_may_keep_the_hosts_users_and_one_that_must_says_so() {
    let node = node("remap-host");
    let container = |labels: Value| {
        let sleep = ["sleep", "1000"];
        json!([{ "name": "app", "image": "busybox", "memory": 16, "command": sleep, "dockerLabels": labels }])
    };
    let refused = node.try_run(&definition("host", container(json!({}))));
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("networkMode") && said.contains("berth.userns=host"), "{said}");
    let task = node.run(&definition("host", container(json!({ "berth.userns": "host" }))));
    assert!(node.status_of_process(&task, "app").contains("Uid:\t0\t0\t0\t0"));
    let image = node.image("busybox");
    let number = |users: &str| node.berth(&["run", "--rm", "--userns", users, &image, "cat", "/proc/self/uid_map"]);
    let first = |map: String| map.split_whitespace().nth(1).map(str::to_owned);
    assert_eq!((first(number("host")), first(number("remap"))), (Some("0".into()), Some(BASE.to_string())));
    node.finish();
}

#[test]
#[ignore = "needs root"]
fn a_mapped_task_that_cannot_start_says_why_and_leaves_nothing() {
    let node = node("remap-fails");
    let container = json!([{ "name": "app", "image": "busybox", "memory": 16, "command": ["/nope"] }]);
    for mode in ["bridge", "awsvpc", "none"] {
        let task = node.run_detached(&definition(mode, container.clone()));
        node.wait_stopped(&task);
        assert_eq!(node.container(&task, "app")["exitCode"], 127, "{:#}", node.task(&task));
        assert!(node.task(&task).to_string().contains("/nope"));
        node.wait_for("everything of it to be gone", || node.leftovers().is_empty());
    }
    node.finish();
}
