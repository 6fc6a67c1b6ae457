//! Health, instance status, and the service's answers.

#![allow(missing_docs, reason = "the fields are the protocol's own, documented there under the same names")]

use super::Timestamp;
use crate::field::{is_default, or_default};
use serde::{Deserialize, Serialize};

/// A health report was taken.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AckPublishHealth {
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub message: String,
}

/// An instance status was taken.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AckPublishInstanceStatus {
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub message: String,
}

/// Metrics were taken.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AckPublishMetric {
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub message: String,
}

/// The service could not read what the agent sent.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BadRequestException {
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub message: String,
}

/// Health of a container.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ContainerHealth {
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub container_name: String,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub health_status: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status_since: Option<Timestamp>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub status_message: String,
}

/// Which node's health this is.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HealthMetadata {
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub cluster: String,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub container_instance: String,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub message_id: String,
    #[serde(deserialize_with = "or_default")]
    pub fin: bool,
}

/// The service is there.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HeartbeatMessage {
    #[serde(deserialize_with = "or_default")]
    pub healthy: bool,
}

/// Result of one check of the node.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct InstanceStatus {
    #[serde(rename = "type", deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub kind: String,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub status: String,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub status_reason: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_updated: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_status_change: Option<Timestamp>,
}

/// Which node's status this is.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct InstanceStatusMetadata {
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub cluster: String,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub container_instance: String,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub request_id: String,
}

/// A value was refused.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct InvalidParameterException {
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub message: String,
}

/// Health of the containers.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PublishHealthRequest {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<HealthMetadata>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub tasks: Vec<TaskHealth>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<Timestamp>,
}

/// Results of the node's checks.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PublishInstanceStatusRequest {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<InstanceStatusMetadata>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub statuses: Vec<InstanceStatus>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<Timestamp>,
}

/// A resource was refused.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ResourceValidationException {
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub message: String,
}

/// The service has failed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServerException {
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub message: String,
}

/// What the agent asks for when it connects; travels in the query of the URL.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct StartTelemetrySessionRequest {
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub cluster: String,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub container_instance: String,
}

/// The service wants no more telemetry.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct StopTelemetrySessionMessage {
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub message: String,
}

/// Health of a task's containers.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TaskHealth {
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub task_arn: String,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub cluster_arn: String,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub task_definition_family: String,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub task_definition_version: String,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub containers: Vec<ContainerHealth>,
}
