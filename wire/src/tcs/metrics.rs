//! Metrics.

#![allow(missing_docs, reason = "the fields are the protocol's own, documented there under the same names")]

use super::Timestamp;
use crate::field::{is_default, or_default};
use serde::{Deserialize, Serialize};

/// Metrics of the node and of at most ten tasks.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PublishMetricsRequest {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<MetricsMetadata>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance_metrics: Option<InstanceMetrics>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub task_metrics: Vec<TaskMetric>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<Timestamp>,
}

/// Which node's metrics these are, and whether more follow.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MetricsMetadata {
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub cluster: String,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub container_instance: String,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub message_id: String,
    #[serde(deserialize_with = "or_default")]
    pub idle: bool,
    #[serde(deserialize_with = "or_default")]
    pub fin: bool,
}

/// Metrics of the node.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct InstanceMetrics {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storage: Option<InstanceStorageMetrics>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub general_metrics_payload: Vec<GeneralMetricsWrapper>,
}

/// Use of the node's file systems in percent.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct InstanceStorageMetrics {
    #[serde(deserialize_with = "or_default")]
    pub root_filesystem: f64,
    #[serde(deserialize_with = "or_default")]
    pub data_filesystem: f64,
}

/// Metrics of one kind with their dimensions.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GeneralMetricsWrapper {
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub dimensions: Vec<Dimension>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub metric_type: String,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub general_metrics: Vec<GeneralMetric>,
}

/// A dimension of a metric.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Dimension {
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub key: String,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub value: String,
}

/// A metric by name.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GeneralMetric {
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub metric_name: String,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub metric_values: Vec<f64>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub metric_counts: Vec<i64>,
    #[serde(deserialize_with = "or_default")]
    pub metric_value_double: f64,
    #[serde(deserialize_with = "or_default")]
    pub metric_value_long: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metric_value_stats_set: Option<CwStatsSet>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub unit: String,
}

/// Statistics over the samples of one period.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CwStatsSet {
    #[serde(deserialize_with = "or_default")]
    pub min: f64,
    #[serde(deserialize_with = "or_default")]
    pub max: f64,
    #[serde(deserialize_with = "or_default")]
    pub sample_count: i64,
    #[serde(deserialize_with = "or_default")]
    pub sum: f64,
}

/// Metrics of a task.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TaskMetric {
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub task_arn: String,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub cluster_arn: String,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub task_definition_family: String,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub task_definition_version: String,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub container_metrics: Vec<ContainerMetric>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ephemeral_storage_metrics: Option<EphemeralStorageMetrics>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub volume_metrics: Vec<VolumeMetric>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub service_connect_metrics_wrapper: Vec<GeneralMetricsWrapper>,
}

/// Metrics of a container. CPU is in percent of the whole host, memory in MiB.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ContainerMetric {
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub container_arn: String,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub container_name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_stats_set: Option<CwStatsSet>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_stats_set: Option<CwStatsSet>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network_stats_set: Option<NetworkStatsSet>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storage_stats_set: Option<StorageStatsSet>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restart_stats_set: Option<RestartStatsSet>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub general_metrics_payload: Vec<GeneralMetricsWrapper>,
}

/// Statistics of the network.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NetworkStatsSet {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rx_bytes_per_second: Option<UDoubleStatsSet>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rx_bytes: Option<ULongStatsSet>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rx_dropped: Option<ULongStatsSet>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rx_errors: Option<ULongStatsSet>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rx_packets: Option<ULongStatsSet>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tx_bytes_per_second: Option<UDoubleStatsSet>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tx_bytes: Option<ULongStatsSet>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tx_dropped: Option<ULongStatsSet>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tx_errors: Option<ULongStatsSet>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tx_packets: Option<ULongStatsSet>,
}

/// Statistics over the samples of one period, never negative.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct UDoubleStatsSet {
    #[serde(deserialize_with = "or_default")]
    pub min: f64,
    #[serde(deserialize_with = "or_default")]
    pub max: f64,
    #[serde(deserialize_with = "or_default")]
    pub sample_count: i64,
    #[serde(deserialize_with = "or_default")]
    pub sum: f64,
}

/// Statistics of a counter; what does not fit is in the overflow fields.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ULongStatsSet {
    #[serde(deserialize_with = "or_default")]
    pub min: i64,
    #[serde(deserialize_with = "or_default")]
    pub max: i64,
    #[serde(deserialize_with = "or_default")]
    pub sample_count: i64,
    #[serde(deserialize_with = "or_default")]
    pub sum: i64,
    #[serde(deserialize_with = "or_default")]
    pub overflow_min: i64,
    #[serde(deserialize_with = "or_default")]
    pub overflow_max: i64,
    #[serde(deserialize_with = "or_default")]
    pub overflow_sum: i64,
}

/// Statistics of block devices.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct StorageStatsSet {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read_size_bytes: Option<ULongStatsSet>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub write_size_bytes: Option<ULongStatsSet>,
}

/// How often a container was started again.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RestartStatsSet {
    #[serde(deserialize_with = "or_default")]
    pub restart_count: i64,
}

/// Use of a task's own storage.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EphemeralStorageMetrics {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_utilized: Option<ULongStatsSet>,
}

/// Use of a volume.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct VolumeMetric {
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub volume_id: String,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub volume_name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub utilized: Option<UDoubleStatsSet>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<UDoubleStatsSet>,
}
