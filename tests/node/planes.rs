//! One control plane and two agents, three processes on three hosts.

use crate::fleet::Fleet;
use crate::support::definition;
use serde_json::json;

#[test]
#[ignore = "needs root"]
fn two_agents_take_tasks_from_a_control_plane_on_a_third_host() {
    let fleet = Fleet::start("planes", 2);
    let arns: Vec<String> = (0..2)
        .map(|_| {
            let mut task = definition(
                "awsvpc",
                json!([{ "name": "app", "image": "busybox", "memory": 16, "stopTimeout": 2, "command": ["sleep", "1000"] }]),
            );
            task["cpu"] = json!("1024");
            fleet.run_task(&task)
        })
        .collect();
    for arn in &arns {
        fleet.wait_status(arn, "RUNNING");
    }
    let nodes: std::collections::BTreeSet<String> =
        arns.iter().map(|arn| fleet.describe(arn)["containerInstanceArn"].as_str().unwrap().to_owned()).collect();
    assert_eq!(nodes.len(), 2, "two tasks that fill a node each run on two nodes");
    for arn in &arns {
        fleet.stop_task(arn);
        fleet.wait_status(arn, "STOPPED");
        assert!(fleet.describe(arn)["containers"][0]["exitCode"].is_i64(), "{}", fleet.describe(arn));
    }
    fleet.finish();
}
