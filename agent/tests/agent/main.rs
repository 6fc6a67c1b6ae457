//! The agent between fakes: a real control plane in this process and on loopback, real store and files in a temporary
//! directory, and shims that are tasks of the test and speak the protocol. No root, no containers.

#![allow(clippy::unwrap_used, reason = "the fakes are part of the tests, and fail as they do")]

mod fake;

use berth_agent::engine::Status;
use berth_agent::store::Sent;
use berth_wire::ecs;
use fake::Node;

#[tokio::test(flavor = "multi_thread")]
async fn a_task_of_the_control_plane_runs_and_is_reported_to_its_end() {
    let node = Node::start().await;
    let id = node.run_task().await;
    node.wait(&id, Status::Running).await;
    node.plane.wait_task(&id, "RUNNING").await.unwrap();
    node.shims.end(&id, Some(7));
    node.wait(&id, Status::Stopped).await;
    let task = node.plane.wait_task(&id, "STOPPED").await.unwrap();
    assert_eq!(task.containers[0].exit_code, Some(7));
    assert_eq!(task.stopped_reason.as_deref().map(|r| r.contains("Essential")), Some(true), "{task:?}");
    node.until(&id, |t| t.row.sent == Sent::Stopped).await;
    node.until(&id, |t| t.life.is_ended()).await;
    assert_eq!(node.engine().with_book(|b| b.grants().len()), 0, "resources are given back");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_by_the_control_plane_reaches_the_shim() {
    let node = Node::start().await;
    let id = node.run_task().await;
    node.wait(&id, Status::Running).await;
    let request = ecs::StopTaskRequest { task: id.clone(), ..ecs::StopTaskRequest::default() };
    node.plane.stop_task(request).await.unwrap();
    node.wait(&id, Status::Stopped).await;
    node.plane.wait_task(&id, "STOPPED").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_starts_again_adopts_what_lives_and_tells_what_ended_meanwhile() {
    let mut node = Node::start().await;
    let (lives, ends) = (node.run_task().await, node.run_task().await);
    for id in [&lives, &ends] {
        node.wait(id, Status::Running).await;
        node.until(id, |t| t.row.sent == Sent::Running).await;
    }
    node.stop_agent().await;
    node.shims.end_unseen(&ends, Some(3));
    node.start_agent().await;
    node.wait(&lives, Status::Running).await;
    node.wait(&ends, Status::Stopped).await;
    let task = node.plane.wait_task(&ends, "STOPPED").await.unwrap();
    assert_eq!(task.containers[0].exit_code, Some(3));
    assert_eq!(node.shims.started(), 2, "no shim was started twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_store_is_rebuilt_from_records_and_the_node_is_the_same() {
    let mut node = Node::start().await;
    let id = node.run_task().await;
    node.wait(&id, Status::Running).await;
    let arn = node.engine().meta().container_instance_arn;
    node.stop_agent().await;
    std::fs::remove_file(node.dirs().agent_store()).unwrap();
    node.start_agent().await;
    node.wait(&id, Status::Running).await;
    assert_eq!(node.engine().meta().container_instance_arn, arn);
    node.shims.end(&id, Some(0));
    node.wait(&id, Status::Stopped).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shim_that_dies_has_its_task_swept_and_reported() {
    let node = Node::start().await;
    let id = node.run_task().await;
    node.wait(&id, Status::Running).await;
    node.shims.kill(&id);
    node.wait(&id, Status::Stopped).await;
    let task = node.plane.wait_task(&id, "STOPPED").await.unwrap();
    assert!(task.stopped_reason.as_deref().unwrap_or_default().contains("shim"), "{task:?}");
    assert_eq!(node.shims.swept(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_whose_image_cannot_be_had_leaves_nothing_but_its_report() {
    let node = Node::start().await;
    node.images.fail("CannotPullContainerError: no such image");
    let id = node.run_task().await;
    let task = node.plane.wait_task(&id, "STOPPED").await.unwrap();
    assert!(task.stopped_reason.as_deref().unwrap_or_default().contains("no such image"), "{task:?}");
    node.wait(&id, Status::Stopped).await;
    assert!(!node.dirs().run_tasks().join(&id).exists() && !node.dirs().state_tasks().join(&id).exists());
    node.engine().forget(&id).await.unwrap();
    assert!(node.engine().task(&id).is_none());
}
