//! Container instances and the operations on them.

#![allow(missing_docs, reason = "the fields are the protocol's own, documented there under the same names")]

use super::{Attachment, Attribute, Failure, Resource, Tag, Timestamp, VersionInfo};
use crate::field::{is_default, or_default};
use serde::{Deserialize, Serialize};

/// Input of `RegisterContainerInstance`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RegisterContainerInstanceRequest {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance_identity_document: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance_identity_document_signature: Option<String>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub total_resources: Vec<Resource>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version_info: Option<VersionInfo>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container_instance_arn: Option<String>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub attributes: Vec<Attribute>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub platform_devices: Vec<PlatformDevice>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub tags: Vec<Tag>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_token: Option<String>,
}

/// A device of a node that tasks can ask for.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PlatformDevice {
    #[serde(deserialize_with = "or_default")]
    pub id: String,
    #[serde(rename = "type", deserialize_with = "or_default")]
    pub kind: String,
}

/// Output of `RegisterContainerInstance`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RegisterContainerInstanceResponse {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container_instance: Option<ContainerInstance>,
}

/// A node that runs tasks.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ContainerInstance {
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub container_instance_arn: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ec2_instance_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capacity_provider_name: Option<String>,
    #[serde(deserialize_with = "or_default")]
    pub version: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version_info: Option<VersionInfo>,
    #[serde(deserialize_with = "or_default")]
    pub remaining_resources: Vec<Resource>,
    #[serde(deserialize_with = "or_default")]
    pub registered_resources: Vec<Resource>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub status: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status_reason: Option<String>,
    #[serde(deserialize_with = "or_default")]
    pub agent_connected: bool,
    #[serde(deserialize_with = "or_default")]
    pub running_tasks_count: i64,
    #[serde(deserialize_with = "or_default")]
    pub pending_tasks_count: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent_update_status: Option<String>,
    #[serde(deserialize_with = "or_default")]
    pub attributes: Vec<Attribute>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub registered_at: Option<Timestamp>,
    #[serde(deserialize_with = "or_default")]
    pub attachments: Vec<Attachment>,
    #[serde(deserialize_with = "or_default")]
    pub tags: Vec<Tag>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub health_status: Option<ContainerInstanceHealthStatus>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub gpu_devices: Vec<GpuDevice>,
}

/// Health of a node: the worst of its checks, and each check.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ContainerInstanceHealthStatus {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub overall_status: Option<String>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub details: Vec<InstanceHealthCheckResult>,
}

/// Result of one check of a node's health.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct InstanceHealthCheckResult {
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status_reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_updated: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_status_change: Option<Timestamp>,
}

/// A GPU of a node.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GpuDevice {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gpu_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sharing_mode: Option<String>,
    #[serde(rename = "totalMemoryInMiB", skip_serializing_if = "Option::is_none")]
    pub total_memory_in_mib: Option<i64>,
    #[serde(rename = "remainingMemoryInMiB", skip_serializing_if = "Option::is_none")]
    pub remaining_memory_in_mib: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container_count: Option<i64>,
}

/// Input of `DeregisterContainerInstance`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DeregisterContainerInstanceRequest {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub container_instance: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub force: Option<bool>,
}

/// Output of `DeregisterContainerInstance`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DeregisterContainerInstanceResponse {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container_instance: Option<ContainerInstance>,
}

/// Input of `DescribeContainerInstances`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DescribeContainerInstancesRequest {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub container_instances: Vec<String>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub include: Vec<String>,
}

/// Output of `DescribeContainerInstances`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DescribeContainerInstancesResponse {
    #[serde(deserialize_with = "or_default")]
    pub container_instances: Vec<ContainerInstance>,
    #[serde(deserialize_with = "or_default")]
    pub failures: Vec<Failure>,
}

/// Input of `ListContainerInstances`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ListContainerInstancesRequest {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_token: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_results: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
}

/// Output of `ListContainerInstances`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ListContainerInstancesResponse {
    #[serde(deserialize_with = "or_default")]
    pub container_instance_arns: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_token: Option<String>,
}

/// Input of `UpdateContainerInstancesState`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct UpdateContainerInstancesStateRequest {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub container_instances: Vec<String>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub status: String,
}

/// Output of `UpdateContainerInstancesState`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct UpdateContainerInstancesStateResponse {
    #[serde(deserialize_with = "or_default")]
    pub container_instances: Vec<ContainerInstance>,
    #[serde(deserialize_with = "or_default")]
    pub failures: Vec<Failure>,
}
