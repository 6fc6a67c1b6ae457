//! The agent's websocket: payloads, acknowledgements, heartbeats, manifests, and what happens when connections break.

use crate::support::{Agent, Plane};
use berth_control_plane::Config;
use berth_wire::acs::{self, Message, TaskIdentifier};
use serde_json::{Value, json};
use std::time::Duration;

#[tokio::test]
async fn a_task_goes_to_the_agent_and_its_reports_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let plane = Plane::start(dir.path()).await;
    let client = plane.client();
    let agent = Agent::register(&client, 2048, 4096).await;
    let (mut session, manifest) = agent.connect().await;
    assert_eq!(manifest.tasks, []);
    client.register("web", json!({ "portMappings": [{ "containerPort": 80 }] })).await;

    let task = client.run("web").await;
    let payload = session.take().await;
    assert!(payload.seq_num > manifest.timeline, "the payload is newer than the manifest");
    assert_eq!(payload.container_instance_arn, agent.instance);
    let sent = &payload.tasks[0];
    assert_eq!(
        (sent.arn.as_str(), sent.desired_status.as_str(), sent.network_mode.as_str()),
        (&*task, "RUNNING", "bridge")
    );
    assert_eq!(sent.containers[0].environment["AWS_EXECUTION_ENV"], "AWS_ECS_EC2");
    assert_eq!(sent.containers[0].port_mappings[0].host_port, Some(0));
    assert_eq!(client.describe(&task).await["lastStatus"], "PENDING");

    let bindings = json!([{ "bindIP": "0.0.0.0", "containerPort": 80, "hostPort": 49200, "protocol": "tcp" }]);
    let running =
        json!([{ "containerName": "main", "status": "RUNNING", "runtimeId": "r1", "networkBindings": bindings }]);
    agent.report(&task, json!({ "status": "RUNNING", "containers": running })).await;
    let view = client.describe(&task).await;
    assert_eq!((&view["lastStatus"], &view["containers"][0]["networkBindings"]), (&json!("RUNNING"), &bindings));
    assert!(view["startedAt"].is_number());

    let stopped = json!([{ "containerName": "main", "status": "STOPPED", "exitCode": 3 }]);
    agent.report(&task, json!({ "status": "STOPPED", "containers": stopped })).await;
    let view = client.describe(&task).await;
    assert_eq!(view["lastStatus"], "STOPPED");
    assert_eq!(view["stopCode"], "EssentialContainerExited");
    assert_eq!(view["stoppedReason"], "Essential container in task exited");
    assert_eq!(view["containers"][0]["exitCode"], 3);
}

#[tokio::test]
async fn a_stop_is_the_same_task_with_another_wish() {
    let dir = tempfile::tempdir().unwrap();
    let plane = Plane::start(dir.path()).await;
    let client = plane.client();
    let agent = Agent::register(&client, 2048, 4096).await;
    let (mut session, _) = agent.connect().await;
    client.register("web", json!({})).await;
    let task = client.run("web").await;
    session.take().await;
    agent.report(&task, json!({ "status": "RUNNING" })).await;

    let answer = client.call("StopTask", json!({ "task": task, "reason": "enough" })).await;
    assert_eq!(
        (&answer["task"]["desiredStatus"], &answer["task"]["lastStatus"]),
        (&json!("STOPPED"), &json!("RUNNING"))
    );
    let payload = session.take().await;
    assert_eq!((payload.tasks[0].arn.as_str(), payload.tasks[0].desired_status.as_str()), (&*task, "STOPPED"));

    agent.report(&task, json!({ "status": "STOPPED", "reason": "killed" })).await;
    let view = client.describe(&task).await;
    assert_eq!((&view["stoppedReason"], &view["stopCode"]), (&json!("enough"), &json!("UserInitiated")));
}

#[tokio::test]
async fn what_was_not_acknowledged_is_sent_again_to_the_next_connection() {
    let dir = tempfile::tempdir().unwrap();
    let plane = Plane::start(dir.path()).await;
    let client = plane.client();
    let agent = Agent::register(&client, 2048, 4096).await;
    client.register("web", json!({})).await;
    let (mut first, _) = agent.connect().await;
    let acknowledged = client.run("web").await;
    first.take().await;
    // A report shows that the acknowledgement was read: the server takes both in the order sent only per connection.
    let unacknowledged = client.run("web").await;
    let once = first.payload().await;
    assert_eq!(once.tasks.iter().map(|task| &task.arn).collect::<Vec<_>>(), [&unacknowledged]);
    drop(first);

    let (mut second, manifest) = agent.connect().await;
    let mut listed: Vec<_> = manifest.tasks.iter().map(|task| task.task_arn.clone()).collect();
    listed.sort();
    let mut both = vec![acknowledged, unacknowledged.clone()];
    both.sort();
    assert_eq!(listed, both);
    let again = second.take().await;
    assert_eq!(again.tasks.iter().map(|task| &task.arn).collect::<Vec<_>>(), [&unacknowledged]);
    assert!(again.seq_num > once.seq_num);
}

#[tokio::test]
async fn a_new_connection_closes_the_one_before_and_the_agent_stays_connected() {
    let dir = tempfile::tempdir().unwrap();
    let plane = Plane::start(dir.path()).await;
    let client = plane.client();
    let agent = Agent::register(&client, 2048, 4096).await;
    let (mut old, _) = agent.connect().await;
    let (mut new, _) = agent.connect().await;
    while let Some(message) = old.next_of_any().await {
        assert!(matches!(message, Message::Heartbeat(_)), "{message:?}");
    }
    client.register("web", json!({})).await;
    let task = client.run("web").await;
    assert_eq!(new.take().await.tasks[0].arn, task);
}

#[tokio::test]
async fn an_agent_that_does_not_answer_heartbeats_is_disconnected() {
    let dir = tempfile::tempdir().unwrap();
    let config = Config { heartbeat_interval: Duration::from_millis(20), ..Config::default() };
    let plane = Plane::start_with(dir.path(), config).await;
    let client = plane.client();
    let agent = Agent::register(&client, 2048, 4096).await;
    let (mut session, _) = agent.connect().await;
    let mut beats = 0;
    while let Some(message) = session.next_of_any().await {
        assert!(
            matches!(&message, Message::Heartbeat(beat) if beat.healthy && !beat.message_id.is_empty()),
            "{message:?}"
        );
        beats += 1;
    }
    assert_eq!(beats, 3);
    client.register("web", json!({})).await;
    let answer = client.call("RunTask", json!({ "taskDefinition": "web" })).await;
    assert_eq!(answer["failures"][0]["reason"], "AGENT", "{answer}");
}

#[tokio::test]
async fn a_payload_that_is_not_acknowledged_in_time_is_sent_again() {
    let dir = tempfile::tempdir().unwrap();
    let config = Config { heartbeat_interval: Duration::from_millis(20), ..Config::default() };
    let plane = Plane::start_with(dir.path(), config).await;
    let client = plane.client();
    let agent = Agent::register(&client, 2048, 4096).await;
    let (mut session, _) = agent.connect().await;
    client.register("web", json!({})).await;
    let task = client.run("web").await;
    let first = session.payload().await;
    let second = session.take().await;
    assert_ne!(first.message_id, second.message_id);
    assert_eq!(second.tasks[0].arn, task);
}

#[tokio::test]
async fn tasks_that_nobody_wants_are_stopped_when_the_agent_asks() {
    let dir = tempfile::tempdir().unwrap();
    let plane = Plane::start(dir.path()).await;
    let client = plane.client();
    let agent = Agent::register(&client, 2048, 4096).await;
    let (mut session, manifest) = agent.connect().await;
    client.register("web", json!({})).await;
    let wanted = client.run("web").await;
    session.take().await;

    let candidate = |arn: &str| TaskIdentifier {
        task_arn: arn.to_owned(),
        task_cluster_arn: manifest.cluster_arn.clone(),
        desired_status: "RUNNING".to_owned(),
    };
    let unknown = wanted.replace(wanted.rsplit('/').next().unwrap(), "0123");
    let stop_candidates = vec![candidate(&wanted), candidate(&unknown)];
    session.send(acs::TaskStopVerificationMessage { message_id: manifest.message_id.clone(), stop_candidates }).await;
    let Message::TaskStopVerificationAck(answer) = session.next().await else { panic!("another message") };
    assert_eq!(answer.message_id, manifest.message_id);
    let stops: Vec<_> =
        answer.stop_tasks.iter().map(|task| (task.task_arn.as_str(), task.desired_status.as_str())).collect();
    assert_eq!(stops, [(unknown.as_str(), "STOPPED")]);
}

#[tokio::test]
async fn messages_that_make_no_sense_do_not_end_the_session() {
    let dir = tempfile::tempdir().unwrap();
    let plane = Plane::start(dir.path()).await;
    let client = plane.client();
    let agent = Agent::register(&client, 2048, 4096).await;
    let (mut session, _) = agent.connect().await;
    for text in ["", "{", "[1]", r#"{"type":"Tomorrow"}"#, r#"{"type":"AckRequest","message":{"messageId":9}}"#] {
        session.send_text(text.to_owned()).await;
    }
    session.send(acs::AckRequest { message_id: "of-no-message".to_owned(), ..acs::AckRequest::default() }).await;
    client.register("web", json!({})).await;
    client.run("web").await;
    session.take().await;
}

#[tokio::test]
async fn a_deregistered_instance_is_told_so_and_cannot_connect_again() {
    let dir = tempfile::tempdir().unwrap();
    let plane = Plane::start(dir.path()).await;
    let client = plane.client();
    let agent = Agent::register(&client, 2048, 4096).await;
    let (mut session, _) = agent.connect().await;
    client.register("web", json!({})).await;
    let task = client.run("web").await;
    session.take().await;

    let (code, text) =
        client.refused("DeregisterContainerInstance", json!({ "containerInstance": agent.instance })).await;
    assert_eq!(code, "InvalidParameterException", "{text}");
    client.call("DeregisterContainerInstance", json!({ "containerInstance": agent.instance, "force": true })).await;
    assert!(matches!(session.next().await, Message::InactiveInstance(_)));
    assert_eq!(session.next_of_any().await, None);
    assert_eq!(client.describe(&task).await["lastStatus"], "STOPPED");

    let Err((status, message)) = agent.try_connect().await else { panic!("it was let in") };
    assert_eq!(status, 400);
    let Message::InactiveInstance(body) = message else { panic!("{message:?}") };
    assert!(body.message.contains("InactiveInstanceException"), "{}", body.message);
    let again = json!({ "containerInstanceArn": agent.instance, "totalResources": crate::support::resources(1, 1) });
    assert_eq!(client.refused("RegisterContainerInstance", again).await.0, "ClientException");
}

#[tokio::test]
async fn only_registered_instances_with_the_right_keys_can_connect() {
    let dir = tempfile::tempdir().unwrap();
    let plane = Plane::start(dir.path()).await;
    let client = plane.client();
    let registered = Agent::register(&client, 2048, 4096).await;
    let stranger = Agent {
        client: client.clone(),
        instance: registered.instance.replace("container-instance/default/", "container-instance/default/0"),
    };
    assert!(matches!(stranger.try_connect().await, Err((400, Message::InvalidInstance(_)))));
    let mut wrong = client.clone();
    wrong.secret_access_key.push('x');
    let thief = Agent { client: wrong, instance: registered.instance };
    assert!(matches!(thief.try_connect().await, Err((400, Message::AccessDenied(_)))));
}

#[tokio::test]
async fn an_instance_that_registers_again_keeps_its_tasks() {
    let dir = tempfile::tempdir().unwrap();
    let plane = Plane::start(dir.path()).await;
    let client = plane.client();
    let agent = Agent::register(&client, 2048, 4096).await;
    let (mut session, _) = agent.connect().await;
    client.register("web", json!({})).await;
    let task = client.run("web").await;
    session.take().await;
    let attributes = json!([{ "name": "colour", "value": "red" }]);
    let request = json!({
        "containerInstanceArn": agent.instance, "totalResources": crate::support::resources(1024, 512), "attributes": attributes,
    });
    let answer = client.call("RegisterContainerInstance", request).await;
    let view = &answer["containerInstance"];
    assert_eq!((&view["containerInstanceArn"], &view["attributes"]), (&json!(agent.instance), &attributes));
    let remaining = |name: &str| -> Value {
        let list = view["remainingResources"].as_array().unwrap();
        list.iter().find(|resource| resource["name"] == name).unwrap()["integerValue"].clone()
    };
    assert_eq!((remaining("CPU"), remaining("MEMORY")), (json!(1024), json!(512 - 64)));
    assert_eq!(
        client.call("ListTasks", json!({ "containerInstance": agent.instance })).await["taskArns"],
        json!([task])
    );
}
