//! Clusters and the operations on them.

#![allow(missing_docs, reason = "the fields are the protocol's own, documented there under the same names")]

use super::{Attachment, CapacityProviderStrategyItem, Failure, KeyValuePair, Tag};
use crate::field::{is_default, or_default};
use serde::{Deserialize, Serialize};

/// Input of `CreateCluster`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CreateClusterRequest {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster_name: Option<String>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub tags: Vec<Tag>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub settings: Vec<ClusterSetting>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub configuration: Option<ClusterConfiguration>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub capacity_providers: Vec<String>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub default_capacity_provider_strategy: Vec<CapacityProviderStrategyItem>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_connect_defaults: Option<ClusterServiceConnectDefaultsRequest>,
}

/// A named setting of a cluster.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ClusterSetting {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
}

/// Settings of a cluster for exec and for managed storage.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ClusterConfiguration {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub execute_command_configuration: Option<ExecuteCommandConfiguration>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub managed_storage_configuration: Option<ManagedStorageConfiguration>,
}

/// Settings of exec.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ExecuteCommandConfiguration {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kms_key_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logging: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_configuration: Option<ExecuteCommandLogConfiguration>,
}

/// Where sessions of exec are logged.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ExecuteCommandLogConfiguration {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cloud_watch_log_group_name: Option<String>,
    #[serde(deserialize_with = "or_default")]
    pub cloud_watch_encryption_enabled: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub s3_bucket_name: Option<String>,
    #[serde(deserialize_with = "or_default")]
    pub s3_encryption_enabled: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub s3_key_prefix: Option<String>,
}

/// Keys of a cluster's managed storage.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ManagedStorageConfiguration {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kms_key_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fargate_ephemeral_storage_kms_key_id: Option<String>,
}

/// Default namespace wished for a cluster.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ClusterServiceConnectDefaultsRequest {
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub namespace: String,
}

/// Output of `CreateCluster`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CreateClusterResponse {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster: Option<Cluster>,
}

/// A named group of container instances and tasks.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Cluster {
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub cluster_arn: String,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub cluster_name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub configuration: Option<ClusterConfiguration>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub status: String,
    #[serde(deserialize_with = "or_default")]
    pub registered_container_instances_count: i64,
    #[serde(deserialize_with = "or_default")]
    pub running_tasks_count: i64,
    #[serde(deserialize_with = "or_default")]
    pub pending_tasks_count: i64,
    #[serde(deserialize_with = "or_default")]
    pub active_services_count: i64,
    #[serde(deserialize_with = "or_default")]
    pub statistics: Vec<KeyValuePair>,
    #[serde(deserialize_with = "or_default")]
    pub tags: Vec<Tag>,
    #[serde(deserialize_with = "or_default")]
    pub settings: Vec<ClusterSetting>,
    #[serde(deserialize_with = "or_default")]
    pub capacity_providers: Vec<String>,
    #[serde(deserialize_with = "or_default")]
    pub default_capacity_provider_strategy: Vec<CapacityProviderStrategyItem>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub attachments: Vec<Attachment>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attachments_status: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_connect_defaults: Option<ClusterServiceConnectDefaults>,
}

/// Default namespace of a cluster.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ClusterServiceConnectDefaults {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
}

/// Input of `DescribeClusters`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DescribeClustersRequest {
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub clusters: Vec<String>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub include: Vec<String>,
}

/// Output of `DescribeClusters`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DescribeClustersResponse {
    #[serde(deserialize_with = "or_default")]
    pub clusters: Vec<Cluster>,
    #[serde(deserialize_with = "or_default")]
    pub failures: Vec<Failure>,
}

/// Input of `ListClusters`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ListClustersRequest {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_token: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_results: Option<i64>,
}

/// Output of `ListClusters`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ListClustersResponse {
    #[serde(deserialize_with = "or_default")]
    pub cluster_arns: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_token: Option<String>,
}

/// Input of `DeleteCluster`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DeleteClusterRequest {
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub cluster: String,
}

/// Output of `DeleteCluster`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DeleteClusterResponse {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster: Option<Cluster>,
}
