//! What clients of the API see.

use crate::support::{Agent, Plane};
use berth_wire::ecs;
use serde_json::{Value, json};

#[tokio::test]
async fn definitions_get_revisions_and_can_be_listed_and_deregistered() {
    let dir = tempfile::tempdir().unwrap();
    let plane = Plane::start(dir.path()).await;
    let client = plane.client();
    let first = client.register("web", json!({})).await;
    let second = client.register("web", json!({ "cpu": 128 })).await;
    assert_eq!(first, "arn:aws:ecs:local:000000000000:task-definition/web:1");
    assert!(second.ends_with("web:2"), "{second}");
    let newest = client.call("DescribeTaskDefinition", json!({ "taskDefinition": "web" })).await;
    let definition = &newest["taskDefinition"];
    assert_eq!((&definition["revision"], &definition["networkMode"]), (&json!(2), &json!("bridge")));
    assert_eq!(definition["containerDefinitions"][0]["essential"], true);

    client.call("DeregisterTaskDefinition", json!({ "taskDefinition": "web:2" })).await;
    let newest = client.call("DescribeTaskDefinition", json!({ "taskDefinition": "web" })).await;
    assert_eq!(newest["taskDefinition"]["revision"], 1);
    assert_eq!(client.call("ListTaskDefinitions", json!({})).await["taskDefinitionArns"], json!([first]));
    let inactive = client.call("ListTaskDefinitions", json!({ "status": "INACTIVE" })).await;
    assert_eq!(inactive["taskDefinitionArns"], json!([second]));
    let (code, text) = client.refused("RunTask", json!({ "taskDefinition": "web:2" })).await;
    assert_eq!(code, "ClientException");
    assert!(text.contains("inactive"), "{text}");
    assert!(client.register("web", json!({})).await.ends_with("web:3"), "a number is not given twice");
}

#[tokio::test]
async fn long_lists_come_in_pieces_in_the_order_of_revisions() {
    let dir = tempfile::tempdir().unwrap();
    let plane = Plane::start(dir.path()).await;
    let client = plane.client();
    for _ in 0..11 {
        client.register("web", json!({})).await;
    }
    for (sort, expected) in [("ASC", (1..=11).collect::<Vec<i64>>()), ("DESC", (1..=11).rev().collect())] {
        let (mut seen, mut token) = (Vec::new(), Value::Null);
        loop {
            let request = json!({ "sort": sort, "maxResults": 4, "nextToken": token });
            let answer = client.call("ListTaskDefinitions", request).await;
            let arns = answer["taskDefinitionArns"].as_array().unwrap();
            seen.extend(
                arns.iter().map(|arn| arn.as_str().unwrap().rsplit(':').next().unwrap().parse::<i64>().unwrap()),
            );
            token = answer["nextToken"].clone();
            if token.is_null() {
                break;
            }
        }
        assert_eq!(seen, expected);
    }
}

#[tokio::test]
async fn tasks_are_placed_until_nothing_is_left_and_the_failure_says_what() {
    let dir = tempfile::tempdir().unwrap();
    let plane = Plane::start(dir.path()).await;
    let client = plane.client();
    let agent = Agent::register(&client, 1024, 4096).await;
    let (_session, _) = agent.connect().await;
    client.register("busy", json!({ "cpu": 400 })).await;
    let answer = client.call("RunTask", json!({ "taskDefinition": "busy", "count": 5 })).await;
    assert_eq!(answer["tasks"].as_array().unwrap().len(), 2);
    let failure = &answer["failures"][0];
    assert_eq!((&failure["arn"], &failure["reason"]), (&json!(agent.instance), &json!("RESOURCE:CPU")));
    assert_eq!(failure["detail"], "the task needs 400 CPU units, 224 of 1024 are left");

    client.register("big", json!({ "memory": 5000 })).await;
    let answer = client.call("RunTask", json!({ "taskDefinition": "big" })).await;
    assert_eq!(answer["failures"][0]["reason"], "RESOURCE:MEMORY");
}

#[tokio::test]
async fn a_static_port_is_taken_once_and_given_back_at_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let plane = Plane::start(dir.path()).await;
    let client = plane.client();
    let agent = Agent::register(&client, 1024, 4096).await;
    let (_session, _) = agent.connect().await;
    client.register("web", json!({ "portMappings": [{ "containerPort": 80, "hostPort": 8080 }] })).await;
    client.register("ssh", json!({ "portMappings": [{ "containerPort": 80, "hostPort": 22 }] })).await;
    let task = client.run("web").await;
    let reason = |answer: &Value| answer["failures"][0]["reason"].clone();
    assert_eq!(reason(&client.call("RunTask", json!({ "taskDefinition": "web" })).await), "RESOURCE:PORTS");
    let reserved = client.call("RunTask", json!({ "taskDefinition": "ssh" })).await;
    assert_eq!(reason(&reserved), "RESOURCE:PORTS");
    assert_eq!(reserved["failures"][0]["detail"], "TCP port 22 is reserved");

    let view = client.call("DescribeContainerInstances", json!({ "containerInstances": [agent.instance] })).await;
    let remaining = view["containerInstances"][0]["remainingResources"].as_array().unwrap();
    let ports = remaining.iter().find(|resource| resource["name"] == "PORTS").unwrap();
    assert_eq!(ports["stringSetValue"], json!(["22", "8080", "51678"]));

    client.call("StopTask", json!({ "task": task })).await;
    assert_eq!(
        reason(&client.call("RunTask", json!({ "taskDefinition": "web" })).await),
        "RESOURCE:PORTS",
        "held until it has stopped"
    );
    agent.report(&task, json!({ "status": "STOPPED" })).await;
    client.run("web").await;
}

#[tokio::test]
async fn a_task_that_needs_what_no_node_has_is_not_placed() {
    let dir = tempfile::tempdir().unwrap();
    let plane = Plane::start(dir.path()).await;
    let client = plane.client();
    client.register("web", json!({ "privileged": true })).await;
    let (code, text) = client.refused("RunTask", json!({ "taskDefinition": "web" })).await;
    assert_eq!(
        (code.as_str(), text.as_str()),
        ("InvalidParameterException", "No Container Instances were found in your cluster.")
    );
    let agent = Agent::register(&client, 1024, 4096).await;
    let (_session, _) = agent.connect().await;
    let answer = client.call("RunTask", json!({ "taskDefinition": "web" })).await;
    assert_eq!(answer["failures"][0]["reason"], "ATTRIBUTE");
    assert_eq!(
        answer["failures"][0]["detail"],
        "it does not have the attribute com.amazonaws.ecs.capability.privileged-container"
    );
}

#[tokio::test]
async fn a_draining_instance_takes_no_new_tasks() {
    let dir = tempfile::tempdir().unwrap();
    let plane = Plane::start(dir.path()).await;
    let client = plane.client();
    let agent = Agent::register(&client, 1024, 4096).await;
    let (_session, _) = agent.connect().await;
    client.register("web", json!({})).await;
    let drain = |status: &str| json!({ "containerInstances": [agent.instance], "status": status });
    client.call("UpdateContainerInstancesState", drain("DRAINING")).await;
    let answer = client.call("RunTask", json!({ "taskDefinition": "web" })).await;
    assert_eq!(answer["failures"][0]["reason"], "INACTIVE");
    client.call("UpdateContainerInstancesState", drain("ACTIVE")).await;
    client.run("web").await;
}

#[tokio::test]
async fn a_run_changes_what_it_overrides_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let plane = Plane::start(dir.path()).await;
    let client = plane.client();
    let agent = Agent::register(&client, 1024, 4096).await;
    let (mut session, _) = agent.connect().await;
    let environment = json!([{ "name": "A", "value": "1" }, { "name": "B", "value": "2" }]);
    client.register("web", json!({ "command": ["sleep", "1"], "environment": environment })).await;
    let change = json!({
        "name": "main", "command": ["sleep", "9"], "environment": [{ "name": "B", "value": "3" }], "memory": 128
    });
    let request = json!({ "taskDefinition": "web", "overrides": { "containerOverrides": [change] } });
    client.call("RunTask", request).await;
    let task = session.take().await.tasks.remove(0);
    let sent = &task.containers[0];
    assert_eq!((sent.command.join(" "), sent.memory), ("sleep 9".to_owned(), Some(128)));
    assert_eq!((&*sent.environment["A"], &*sent.environment["B"]), ("1", "3"));

    let stranger = json!({ "taskDefinition": "web", "overrides": { "containerOverrides": [{ "name": "other" }] } });
    let (code, text) = client.refused("RunTask", stranger).await;
    assert_eq!(code, "InvalidParameterException");
    assert!(text.contains("`other`"), "{text}");
}

#[tokio::test]
async fn the_same_client_token_starts_a_task_once() {
    let dir = tempfile::tempdir().unwrap();
    let plane = Plane::start(dir.path()).await;
    let client = plane.client();
    let agent = Agent::register(&client, 1024, 4096).await;
    let (_session, _) = agent.connect().await;
    client.register("web", json!({})).await;
    let request = json!({ "taskDefinition": "web", "clientToken": "t1" });
    let first = client.call("RunTask", request.clone()).await;
    let second = client.call("RunTask", request).await;
    assert_eq!(first["tasks"][0]["taskArn"], second["tasks"][0]["taskArn"]);

    let register = json!({ "totalResources": crate::support::resources(1, 1), "clientToken": "node-1" });
    let once = client.call("RegisterContainerInstance", register.clone()).await;
    let again = client.call("RegisterContainerInstance", register).await;
    let arn = |answer: &Value| answer["containerInstance"]["containerInstanceArn"].clone();
    assert_eq!(arn(&once), arn(&again));
}

#[tokio::test]
async fn an_awsvpc_task_shows_the_address_its_node_gave_it() {
    let dir = tempfile::tempdir().unwrap();
    let plane = Plane::start(dir.path()).await;
    let client = plane.client();
    let agent = Agent::register(&client, 1024, 4096).await;
    let (mut session, _) = agent.connect().await;
    let container =
        json!({ "name": "main", "image": "busybox", "memory": 64, "portMappings": [{ "containerPort": 80 }] });
    let definition = json!({ "family": "vpc", "networkMode": "awsvpc", "containerDefinitions": [container] });
    client.call("RegisterTaskDefinition", definition).await;
    let task = client.run("vpc").await;
    let sent = session.take().await.tasks.remove(0);
    assert_eq!(sent.elastic_network_interfaces, []);
    assert_eq!(sent.containers[0].port_mappings[0].host_port, Some(80));
    let bindings = json!([{ "bindIP": "10.0.2.7", "containerPort": 80, "hostPort": 80, "protocol": "tcp" }]);
    let containers = json!([{ "containerName": "main", "status": "RUNNING", "networkBindings": bindings }]);
    agent.report(&task, json!({ "status": "RUNNING", "containers": containers })).await;
    let view = client.describe(&task).await;
    assert_eq!(view["containers"][0]["networkInterfaces"][0]["privateIpv4Address"], "10.0.2.7");
    let view = client.call("DescribeContainerInstances", json!({ "containerInstances": [agent.instance] })).await;
    let remaining = view["containerInstances"][0]["remainingResources"].as_array().unwrap();
    let ports = remaining.iter().find(|resource| resource["name"] == "PORTS").unwrap();
    assert_eq!(ports["stringSetValue"], json!(["22", "51678"]), "the task's ports are its own");
}

#[tokio::test]
async fn a_task_that_never_started_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let plane = Plane::start(dir.path()).await;
    let client = plane.client();
    let agent = Agent::register(&client, 1024, 4096).await;
    let (mut session, _) = agent.connect().await;
    client.register("web", json!({})).await;
    let task = client.run("web").await;
    session.take().await;
    let reason = "CannotPullContainerError: there is no such image";
    agent.report(&task, json!({ "status": "STOPPED", "containers": [{ "containerName": "main", "status": "STOPPED", "reason": reason }] })).await;
    let view = client.describe(&task).await;
    assert_eq!((&view["stopCode"], &view["stoppedReason"]), (&json!("TaskFailedToStart"), &json!(reason)));
    // Late and repeated reports change nothing.
    agent.report(&task, json!({ "status": "RUNNING" })).await;
    assert_eq!(client.describe(&task).await, view);
}

#[tokio::test]
async fn the_end_of_an_essential_container_stops_the_rest() {
    let dir = tempfile::tempdir().unwrap();
    let plane = Plane::start(dir.path()).await;
    let client = plane.client();
    let agent = Agent::register(&client, 1024, 4096).await;
    let (mut session, _) = agent.connect().await;
    let container =
        |name: &str, essential: bool| json!({ "name": name, "image": "busybox", "memory": 64, "essential": essential });
    let definition =
        json!({ "family": "pair", "containerDefinitions": [container("main", true), container("side", false)] });
    client.call("RegisterTaskDefinition", definition).await;
    let task = client.run("pair").await;
    session.take().await;
    let report = |name: &str| json!({ "cluster": "default", "task": task, "containerName": name, "status": "STOPPED", "exitCode": 0 });
    agent.report(&task, json!({ "status": "RUNNING" })).await;
    client.call("SubmitContainerStateChange", report("side")).await;
    assert_eq!(client.describe(&task).await["desiredStatus"], "RUNNING");
    client.call("SubmitContainerStateChange", report("main")).await;
    let view = client.describe(&task).await;
    assert_eq!((&view["desiredStatus"], &view["lastStatus"]), (&json!("STOPPED"), &json!("RUNNING")));
    assert_eq!(session.take().await.tasks[0].desired_status, "STOPPED");
    agent.report(&task, json!({ "status": "STOPPED" })).await;
    let view = client.describe(&task).await;
    assert!(view["containers"].as_array().unwrap().iter().all(|one| one["lastStatus"] == "STOPPED"), "{view}");
}

#[tokio::test]
async fn waiting_in_process_ends_when_the_agent_reports() {
    let dir = tempfile::tempdir().unwrap();
    let plane = Plane::start(dir.path()).await;
    let client = plane.client();
    let agent = Agent::register(&client, 1024, 4096).await;
    let (_session, _) = agent.connect().await;
    client.register("web", json!({})).await;
    let request = ecs::RunTaskRequest { task_definition: "web".to_owned(), ..ecs::RunTaskRequest::default() };
    let task = plane.plane.run_task(request).await.unwrap().tasks.remove(0);
    let waiting = plane.plane.wait_task(&task.task_arn, "RUNNING");
    let (running, ()) = tokio::join!(waiting, agent.report(&task.task_arn, json!({ "status": "RUNNING" })));
    assert_eq!(running.unwrap().last_status, "RUNNING");
    let waiting = plane.plane.wait_task(&task.task_arn, "STOPPED");
    let (stopped, ()) = tokio::join!(waiting, agent.report(&task.task_arn, json!({ "status": "STOPPED" })));
    assert_eq!(stopped.unwrap().last_status, "STOPPED");
    assert!(plane.plane.wait_task("no-such-task", "RUNNING").await.is_none());
}

#[tokio::test]
async fn clusters_keep_their_nodes_and_tasks_apart() {
    let dir = tempfile::tempdir().unwrap();
    let plane = Plane::start(dir.path()).await;
    let client = plane.client();
    client.call("CreateCluster", json!({ "clusterName": "other" })).await;
    let agent = Agent::register(&client, 1024, 4096).await;
    let (_session, _) = agent.connect().await;
    client.register("web", json!({})).await;
    let task = client.run("web").await;
    assert_eq!(
        client.refused("RunTask", json!({ "cluster": "other", "taskDefinition": "web" })).await.0,
        "InvalidParameterException"
    );
    assert_eq!(client.call("ListTasks", json!({ "cluster": "other" })).await["taskArns"], json!([]));
    let missing = client.call("DescribeTasks", json!({ "cluster": "other", "tasks": [task] })).await;
    assert_eq!(missing["failures"][0]["reason"], "MISSING");
    assert_eq!(client.refused("ListTasks", json!({ "cluster": "nowhere" })).await.0, "ClusterNotFoundException");
    assert_eq!(
        client.refused("DeleteCluster", json!({ "cluster": "default" })).await.0,
        "ClusterContainsContainerInstancesException"
    );
    client.call("DeleteCluster", json!({ "cluster": "other" })).await;
    let view = client.call("DescribeClusters", json!({ "clusters": ["default", "other", "nowhere"] })).await;
    assert_eq!(
        (&view["clusters"][0]["pendingTasksCount"], &view["clusters"][1]["status"]),
        (&json!(1), &json!("INACTIVE"))
    );
    assert_eq!(view["failures"][0]["reason"], "MISSING");
}

#[tokio::test]
async fn agents_are_told_the_address_that_they_used() {
    let dir = tempfile::tempdir().unwrap();
    let plane = Plane::start(dir.path()).await;
    let client = plane.client();
    let agent = Agent::register(&client, 1024, 4096).await;
    let request = json!({ "cluster": "default", "containerInstance": agent.instance, "zoneId": "" });
    let answer = client.call("DiscoverPollEndpoint", request).await;
    assert_eq!(answer["endpoint"], format!("http://{}", plane.address));
}

#[tokio::test]
async fn labels_are_put_on_listed_and_taken_off() {
    let dir = tempfile::tempdir().unwrap();
    let plane = Plane::start(dir.path()).await;
    let client = plane.client();
    let arn = client.register("web", json!({})).await;
    client
        .call(
            "TagResource",
            json!({ "resourceArn": arn, "tags": [{ "key": "a", "value": "1" }, { "key": "b", "value": "2" }] }),
        )
        .await;
    client.call("UntagResource", json!({ "resourceArn": arn, "tagKeys": ["a"] })).await;
    let tags = client.call("ListTagsForResource", json!({ "resourceArn": arn })).await["tags"].clone();
    assert_eq!(tags, json!([{ "key": "b", "value": "2" }]));
}
