//! Bodies of the messages.

#![allow(missing_docs, reason = "the fields are the protocol's own, documented there under the same names")]

use super::{Attachment, ElasticNetworkInterface, IamRoleCredentials, Task};
use crate::field::{is_default, or_default};
use serde::{Deserialize, Serialize};

/// The agent may not connect.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AccessDeniedException {
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub message: String,
}

/// A message was taken.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AckRequest {
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub cluster: String,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub container_instance: String,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub message_id: String,
}

/// Network interfaces are being attached to the node.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AttachInstanceNetworkInterfacesMessage {
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub container_instance_arn: String,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub cluster_arn: String,
    #[serde(deserialize_with = "or_default")]
    pub generated_at: i64,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub message_id: String,
    #[serde(deserialize_with = "or_default")]
    pub wait_timeout_ms: i64,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub elastic_network_interfaces: Vec<ElasticNetworkInterface>,
}

/// Network interfaces are being attached for a task.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AttachTaskNetworkInterfacesMessage {
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub container_instance_arn: String,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub cluster_arn: String,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub task_arn: String,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub task_cluster_arn: String,
    #[serde(deserialize_with = "or_default")]
    pub generated_at: i64,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub message_id: String,
    #[serde(deserialize_with = "or_default")]
    pub wait_timeout_ms: i64,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub elastic_network_interfaces: Vec<ElasticNetworkInterface>,
}

/// The service could not read what the agent sent.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BadRequestException {
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub message: String,
}

/// The service closes the session.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CloseMessage {
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub message: String,
}

/// A resource is being attached: tell when it is there.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConfirmAttachmentMessage {
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub container_instance_arn: String,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub cluster_arn: String,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub task_arn: String,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub task_cluster_arn: String,
    #[serde(deserialize_with = "or_default")]
    pub generated_at: i64,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub message_id: String,
    #[serde(deserialize_with = "or_default")]
    pub wait_timeout_ms: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attachment: Option<Attachment>,
}

/// The service could not do something.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ErrorMessage {
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub message: String,
}

/// Answers a heartbeat.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HeartbeatAckRequest {
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub message_id: String,
}

/// The service is there.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HeartbeatMessage {
    #[serde(deserialize_with = "or_default")]
    pub healthy: bool,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub message_id: String,
}

/// Credentials were taken.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct IamRoleCredentialsAckRequest {
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub message_id: String,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub expiration: String,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub credentials_id: String,
}

/// New credentials of a task's role.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct IamRoleCredentialsMessage {
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub task_arn: String,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub task_cluster_arn: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role_credentials: Option<IamRoleCredentials>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub role_type: String,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub message_id: String,
}

/// The container instance is no longer registered.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct InactiveInstanceException {
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub message: String,
}

/// There is no such cluster.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct InvalidClusterException {
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub message: String,
}

/// There is no such container instance.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct InvalidInstanceException {
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub message: String,
}

/// A message was refused.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NackRequest {
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub cluster: String,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub container_instance: String,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub message_id: String,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub reason: String,
}

/// Tasks to run, or to stop.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PayloadMessage {
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub container_instance_arn: String,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub cluster_arn: String,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub tasks: Vec<Task>,
    #[serde(deserialize_with = "or_default")]
    pub generated_at: i64,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub message_id: String,
    #[serde(deserialize_with = "or_default")]
    pub seq_num: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeline: Option<i64>,
}

/// Update the agent now.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PerformUpdateMessage {
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub container_instance_arn: String,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub cluster_arn: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub update_info: Option<UpdateInfo>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub message_id: String,
}

/// What the agent asks for when it connects; travels in the query of the URL.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PollRequest {
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub cluster: String,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub container_instance: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seq_num: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeline: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version_info: Option<VersionInfo>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub send_credentials: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol_version: Option<i64>,
}

/// The service has failed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServerException {
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub message: String,
}

/// Download an update of the agent.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct StageUpdateMessage {
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub container_instance_arn: String,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub cluster_arn: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub update_info: Option<UpdateInfo>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub message_id: String,
}

/// A task, and the state wished for it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TaskIdentifier {
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub task_arn: String,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub task_cluster_arn: String,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub desired_status: String,
}

/// All tasks that the service believes are on this node.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TaskManifestMessage {
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub container_instance_arn: String,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub cluster_arn: String,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub tasks: Vec<TaskIdentifier>,
    #[serde(deserialize_with = "or_default")]
    pub generated_at: i64,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub message_id: String,
    #[serde(deserialize_with = "or_default")]
    pub timeline: i64,
}

/// The tasks that really are to stop.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TaskStopVerificationAck {
    #[serde(deserialize_with = "or_default")]
    pub generated_at: i64,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub message_id: String,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub stop_tasks: Vec<TaskIdentifier>,
}

/// Tasks that run here and are not in the manifest: are they to stop?
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TaskStopVerificationMessage {
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub message_id: String,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub stop_candidates: Vec<TaskIdentifier>,
}

/// Where an update is.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct UpdateInfo {
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub location: String,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub signature: String,
}

/// Versions of an agent.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct VersionInfo {
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub agent_version: String,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub agent_hash: String,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub docker_version: String,
}
