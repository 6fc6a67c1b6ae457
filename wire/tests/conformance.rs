//! The wire types against the shapes of the protocols: no member is lost, renamed or of another type.

#![allow(clippy::unwrap_used, reason = "clippy.toml allows it in tests, and does not know what tests share for one")]

mod model;

use berth_wire::{acs, ecs, tcs};
use model::Model;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// Everything a shape can have survives being read and written again; null and absent are the same.
fn survives<T: DeserializeOwned + Serialize + PartialEq + std::fmt::Debug + Default>(model: &Model, shape: &str) {
    let sample = model.sample(shape);
    assert_eq!(model.problems(shape, &sample), Vec::<String>::new());
    let read: T = serde_json::from_value(sample.clone()).unwrap_or_else(|error| panic!("{shape}: {error}"));
    assert_eq!(serde_json::to_value(&read).unwrap(), sample, "{shape}");

    let empty: T = serde_json::from_value(json!({})).unwrap_or_else(|error| panic!("{shape}: {error}"));
    assert_eq!(empty, T::default(), "{shape}");
    let nulls: T = serde_json::from_value(model.nulls(shape)).unwrap_or_else(|error| panic!("{shape}: {error}"));
    assert_eq!(nulls, T::default(), "{shape}");

    let mut newer = sample;
    if let Value::Object(members) = &mut newer {
        members.insert("aMemberOfTomorrow".to_owned(), json!({ "x": [1] }));
    }
    let read_newer: T = serde_json::from_value(newer).unwrap_or_else(|error| panic!("{shape}: {error}"));
    assert_eq!(read_newer, read, "{shape}");
}

macro_rules! operations {
    ($($operation:ident: $request:ident -> $response:ident;)*) => {
        #[test]
        fn every_member_of_the_ecs_api_survives_a_round_trip() {
            let model = Model::ecs();
            let mut tested = Vec::new();
            $(
                let name = stringify!($operation);
                assert_eq!(model.operation(name), (stringify!($request), stringify!($response)));
                survives::<ecs::$request>(&model, stringify!($request));
                survives::<ecs::$response>(&model, stringify!($response));
                tested.push(name);
            )*
            assert_eq!(model.operations().collect::<Vec<_>>(), tested);
        }
    };
}

operations! {
    CreateCluster: CreateClusterRequest -> CreateClusterResponse;
    DeleteCluster: DeleteClusterRequest -> DeleteClusterResponse;
    DeleteTaskDefinitions: DeleteTaskDefinitionsRequest -> DeleteTaskDefinitionsResponse;
    DeregisterContainerInstance: DeregisterContainerInstanceRequest -> DeregisterContainerInstanceResponse;
    DeregisterTaskDefinition: DeregisterTaskDefinitionRequest -> DeregisterTaskDefinitionResponse;
    DescribeClusters: DescribeClustersRequest -> DescribeClustersResponse;
    DescribeContainerInstances: DescribeContainerInstancesRequest -> DescribeContainerInstancesResponse;
    DescribeTaskDefinition: DescribeTaskDefinitionRequest -> DescribeTaskDefinitionResponse;
    DescribeTasks: DescribeTasksRequest -> DescribeTasksResponse;
    DiscoverPollEndpoint: DiscoverPollEndpointRequest -> DiscoverPollEndpointResponse;
    GetTaskProtection: GetTaskProtectionRequest -> GetTaskProtectionResponse;
    ListClusters: ListClustersRequest -> ListClustersResponse;
    ListContainerInstances: ListContainerInstancesRequest -> ListContainerInstancesResponse;
    ListTagsForResource: ListTagsForResourceRequest -> ListTagsForResourceResponse;
    ListTaskDefinitionFamilies: ListTaskDefinitionFamiliesRequest -> ListTaskDefinitionFamiliesResponse;
    ListTaskDefinitions: ListTaskDefinitionsRequest -> ListTaskDefinitionsResponse;
    ListTasks: ListTasksRequest -> ListTasksResponse;
    RegisterContainerInstance: RegisterContainerInstanceRequest -> RegisterContainerInstanceResponse;
    RegisterTaskDefinition: RegisterTaskDefinitionRequest -> RegisterTaskDefinitionResponse;
    RunTask: RunTaskRequest -> RunTaskResponse;
    StartTask: StartTaskRequest -> StartTaskResponse;
    StopTask: StopTaskRequest -> StopTaskResponse;
    SubmitAttachmentStateChanges: SubmitAttachmentStateChangesRequest -> SubmitAttachmentStateChangesResponse;
    SubmitContainerStateChange: SubmitContainerStateChangeRequest -> SubmitContainerStateChangeResponse;
    SubmitTaskStateChange: SubmitTaskStateChangeRequest -> SubmitTaskStateChangeResponse;
    TagResource: TagResourceRequest -> TagResourceResponse;
    UntagResource: UntagResourceRequest -> UntagResourceResponse;
    UpdateContainerInstancesState: UpdateContainerInstancesStateRequest -> UpdateContainerInstancesStateResponse;
    UpdateTaskProtection: UpdateTaskProtectionRequest -> UpdateTaskProtectionResponse;
}

macro_rules! frames {
    ($test:ident, $model:ident, $wire:ident: $($kind:ident)*) => {
        #[test]
        fn $test() {
            let model = Model::$model();
            $({
                let kind = stringify!($kind);
                let frame = json!({ "type": kind, "message": model.sample(kind) });
                let read = $wire::Message::decode(&frame.to_string()).unwrap_or_else(|error| panic!("{kind}: {error}"));
                assert_eq!(read.kind(), kind);
                assert!(!matches!(read, $wire::Message::Unknown { .. }), "{kind}");
                assert_eq!(serde_json::from_str::<Value>(&read.encode()).unwrap(), frame, "{kind}");
                // A body may be absent, and its members null.
                for empty in [json!({ "type": kind }), json!({ "type": kind, "message": model.nulls(kind) })] {
                    let read = $wire::Message::decode(&empty.to_string()).unwrap_or_else(|error| panic!("{kind}: {error}"));
                    assert_eq!(read.kind(), kind);
                }
            })*
        }
    };
}

frames! { every_message_of_acs_survives_a_round_trip, acs, acs:
    HeartbeatMessage HeartbeatAckRequest PayloadMessage AckRequest NackRequest IAMRoleCredentialsMessage
    IAMRoleCredentialsAckRequest AttachTaskNetworkInterfacesMessage AttachInstanceNetworkInterfacesMessage
    ConfirmAttachmentMessage TaskManifestMessage TaskStopVerificationMessage TaskStopVerificationAck
    StageUpdateMessage PerformUpdateMessage CloseMessage ErrorMessage ServerException BadRequestException
    InvalidClusterException InvalidInstanceException AccessDeniedException InactiveInstanceException
}

frames! { every_message_of_tcs_survives_a_round_trip, tcs, tcs:
    PublishMetricsRequest PublishHealthRequest PublishInstanceStatusRequest AckPublishMetric AckPublishHealth
    AckPublishInstanceStatus HeartbeatMessage StopTelemetrySessionMessage ServerException BadRequestException
    ResourceValidationException InvalidParameterException
}

#[test]
fn a_message_of_tomorrow_is_kept_as_it_is() {
    let text = r#"{"type":"Tomorrow","message":{"a":1}}"#;
    let read = acs::Message::decode(text).unwrap();
    assert_eq!(read, acs::Message::Unknown { kind: "Tomorrow".to_owned(), message: json!({ "a": 1 }) });
    assert_eq!(serde_json::from_str::<Value>(&read.encode()).unwrap(), serde_json::from_str::<Value>(text).unwrap());
}

#[test]
fn a_body_of_another_shape_is_an_error_that_names_the_message() {
    let error =
        acs::Message::decode(r#"{"type":"PayloadMessage","message":{"messageId":"m1","tasks":7}}"#).unwrap_err();
    let berth_wire::DecodeError::Body { kind, message_id, .. } = error else { panic!("{error}") };
    assert_eq!((kind.as_str(), message_id.as_deref()), ("PayloadMessage", Some("m1")));
    for text in ["", "{", "[]", "{}", r#"{"type":1}"#] {
        assert!(matches!(acs::Message::decode(text), Err(berth_wire::DecodeError::Envelope(_))), "{text}");
    }
}

#[test]
fn secrets_are_not_in_debug_output() {
    let credentials = acs::IamRoleCredentials {
        access_key_id: "AKIA".to_owned(),
        secret_access_key: "hush-1".to_owned().into(),
        session_token: "hush-2".to_owned().into(),
        ..acs::IamRoleCredentials::default()
    };
    let mut container = acs::Container::default();
    container.environment.insert("PASSWORD".to_owned(), "hush-3".to_owned());
    let pair = ecs::KeyValuePair { name: "PASSWORD".to_owned(), value: Some("hush-4".to_owned()) };
    let shown = format!("{credentials:?} {container:?} {pair:?}");
    assert!(!shown.contains("hush"), "{shown}");
    assert!(serde_json::to_string(&credentials).unwrap().contains("hush-1"));
}

#[test]
fn the_signed_header_before_a_tcs_message_is_skipped() {
    let json = r#"{"type":"AckPublishMetric","message":{}}"#;
    assert_eq!(tcs::strip_header(json), json);
    assert_eq!(tcs::strip_header(&format!("GET / HTTP/1.1\r\nHost: a\r\n\r\n{json}")), json);
    assert_eq!(tcs::strip_header("no end"), "");
}
