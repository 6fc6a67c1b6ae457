//! What is left after the control plane was gone.

use crate::support::{Agent, Plane};
use berth_control_plane::{Config, ControlPlane};
use serde_json::json;
use std::time::Duration;

#[tokio::test]
async fn everything_is_there_after_a_restart_and_what_was_not_acknowledged_is_sent() {
    let dir = tempfile::tempdir().unwrap();
    let plane = Plane::start(dir.path()).await;
    let client = plane.client();
    let agent = Agent::register(&client, 1024, 4096).await;
    let (mut session, first_manifest) = agent.connect().await;
    client.register("web", json!({ "cpu": 100 })).await;
    let running = client.run("web").await;
    session.take().await;
    agent.report(&running, json!({ "status": "RUNNING" })).await;
    let pending = client.run("web").await;
    // Read, and not acknowledged.
    session.payload().await;
    let keys = plane.plane.credentials().clone();
    plane.stop().await;

    let plane = Plane::start(dir.path()).await;
    assert_eq!(plane.plane.credentials(), &keys);
    let client = plane.client();
    let agent = Agent { client: client.clone(), ..agent };
    assert_eq!(client.describe(&running).await["lastStatus"], "RUNNING");
    let view = client.call("DescribeContainerInstances", json!({ "containerInstances": [agent.instance] })).await;
    let view = &view["containerInstances"][0];
    assert_eq!((&view["remainingResources"][0]["integerValue"], &view["agentConnected"]), (&json!(824), &json!(false)));
    let (mut session, manifest) = agent.connect().await;
    assert!(manifest.timeline > first_manifest.timeline, "a manifest with an old number would be dropped");
    assert_eq!(manifest.tasks.len(), 2);
    let payload = session.take().await;
    assert_eq!(payload.tasks.iter().map(|task| &task.arn).collect::<Vec<_>>(), [&pending]);
    assert!(client.register("web", json!({})).await.ends_with("web:2"));
}

#[tokio::test]
async fn stopped_tasks_are_forgotten_after_their_time() {
    let dir = tempfile::tempdir().unwrap();
    let config = Config { stopped_task_retention: Duration::ZERO, ..Config::default() };
    let plane = Plane::start_with(dir.path(), config).await;
    let client = plane.client();
    let agent = Agent::register(&client, 1024, 4096).await;
    let (mut session, _) = agent.connect().await;
    client.register("web", json!({})).await;
    let task = client.run("web").await;
    session.take().await;
    let mut watch = plane.plane.watch_task(&task).unwrap();
    agent.report(&task, json!({ "status": "STOPPED" })).await;
    watch.wait_for(|task| task.last_status == "STOPPED").await.unwrap();
    // Times are compared in milliseconds: the next decision may fall into the same one.
    let forgotten = async {
        while plane.plane.watch_task(&task).is_some() {
            client.register("web", json!({})).await;
        }
    };
    tokio::time::timeout(crate::support::DEADLINE, forgotten).await.unwrap();
    let answer = client.call("DescribeTasks", json!({ "tasks": [task] })).await;
    assert_eq!(answer["failures"][0]["reason"], "MISSING");
}

#[tokio::test]
async fn two_processes_cannot_have_the_same_directory() {
    let dir = tempfile::tempdir().unwrap();
    let _first = ControlPlane::open(dir.path(), Config::default()).unwrap();
    let error = ControlPlane::open(dir.path(), Config::default()).err().expect("it is taken");
    assert!(error.to_string().contains("state.redb"), "{error}");
}

#[tokio::test]
async fn the_directory_is_for_its_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("control-plane");
    let _plane = ControlPlane::open(&path, Config::default()).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
}
