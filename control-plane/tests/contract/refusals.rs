//! What is refused, and in what words.

use crate::support::{Plane, target};
use serde_json::{Value, json};
use std::time::{Duration, SystemTime};

#[tokio::test]
async fn requests_that_are_not_signed_or_wrongly_signed_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let plane = Plane::start(dir.path()).await;
    let client = plane.client();
    let list = json!({});

    let response = client.http.post(format!("http://{}/", plane.address)).body("{}").send().await.unwrap();
    assert_eq!(response.status(), 400);
    assert_eq!(response.headers()["x-amzn-errortype"], "AccessDeniedException");

    let mut wrong = client.clone();
    wrong.secret_access_key.push('x');
    assert_eq!(wrong.refused("ListClusters", list.clone()).await.0, "InvalidSignatureException");
    let mut wrong = client.clone();
    wrong.access_key_id.push('x');
    assert_eq!(wrong.refused("ListClusters", list.clone()).await.0, "UnrecognizedClientException");
    for clock in [|| SystemTime::now() - Duration::from_secs(400), || SystemTime::now() + Duration::from_secs(400)] {
        let mut wrong = client.clone();
        wrong.clock = clock;
        let (code, text) = wrong.refused("ListClusters", list.clone()).await;
        assert_eq!(code, "InvalidSignatureException");
        assert!(text.contains("clock"), "{text}");
    }
    let mut late = client.clone();
    late.clock = || SystemTime::now() - Duration::from_secs(200);
    late.call("ListClusters", list).await;
}

#[tokio::test]
async fn another_body_or_operation_than_the_signed_one_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let plane = Plane::start(dir.path()).await;
    let client = plane.client();
    let url = format!("http://{}/", plane.address);
    let signed = target("ListClusters");
    let headers = [("content-type", "application/x-amz-json-1.1"), ("x-amz-target", &*signed)];
    let signature = client.signature("POST", &url, &headers, b"{}");
    let send = |operation: &str, body: &'static str| {
        let request =
            client.http.post(&url).header("content-type", headers[0].1).header("x-amz-target", target(operation));
        signature.iter().fold(request.body(body), |request, (name, value)| request.header(name, value)).send()
    };
    assert_eq!(send("ListClusters", "{}").await.unwrap().status(), 200);
    for (operation, body) in [("ListClusters", "{ }"), ("CreateCluster", "{}")] {
        let response = send(operation, body).await.unwrap();
        assert_eq!(response.headers()["x-amzn-errortype"], "InvalidSignatureException", "{operation} {body}");
    }
}

#[tokio::test]
async fn unknown_operations_and_bodies_that_are_not_json_are_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let plane = Plane::start(dir.path()).await;
    let client = plane.client();
    let refused = |status: u16, answer: Value, code: &str, word: &str| {
        assert_eq!((status, &answer["__type"]), (400, &json!(code)), "{answer}");
        assert!(answer["message"].as_str().unwrap().contains(word), "{answer}");
    };
    let (status, answer) = client.raw(&target("MakeCoffee"), "{}").await;
    refused(status, answer, "UnknownOperationException", "MakeCoffee");
    let (status, answer) = client.raw("DynamoDB_20120810.ListTables", "{}").await;
    refused(status, answer, "UnknownOperationException", "X-Amz-Target");
    for body in ["{", "[]", "7", "{\"maxResults\":\"x\"}"] {
        let (status, answer) = client.raw(&target("ListClusters"), body).await;
        refused(status, answer, "SerializationException", "read the request");
    }
    let (status, answer) = client.raw(&target("ListClusters"), "").await;
    assert_eq!(status, 200, "{answer}");
}

#[tokio::test]
async fn a_definition_that_cannot_be_run_is_refused_with_every_wrong_member() {
    let dir = tempfile::tempdir().unwrap();
    let plane = Plane::start(dir.path()).await;
    let client = plane.client();
    let container = json!({ "name": "a", "image": "Bad Name", "memory": 4 });
    let (code, text) =
        client.refused("RegisterTaskDefinition", json!({ "family": "x", "containerDefinitions": [container] })).await;
    assert_eq!(code, "ClientException");
    assert!(text.contains("containerDefinitions[0].memory: must be at least 6 MiB (got `4`)"), "{text}");
    assert!(text.contains("containerDefinitions[0].image: "), "{text}");

    let container = json!({ "name": "a", "image": "b", "memory": 64, "enviroment": [] });
    let (_, text) =
        client.refused("RegisterTaskDefinition", json!({ "family": "x", "containerDefinitions": [container] })).await;
    assert!(text.contains("containerDefinitions[0].enviroment"), "{text}");
    assert!(text.contains("did you mean `environment`?"), "{text}");
    assert_eq!(
        client.call("ListTaskDefinitions", json!({})).await["taskDefinitionArns"],
        json!([]),
        "nothing was made"
    );
}

#[tokio::test]
async fn a_report_on_an_unknown_task_is_refused_in_a_way_that_is_not_repeated() {
    let dir = tempfile::tempdir().unwrap();
    let plane = Plane::start(dir.path()).await;
    let client = plane.client();
    let report = json!({ "cluster": "default", "task": "arn:aws:ecs:local:000000000000:task/default/none", "status": "RUNNING" });
    assert_eq!(client.refused("SubmitTaskStateChange", report).await.0, "InvalidParameterException");
}
