//! A container of a task definition, and what it is made of.

#![allow(missing_docs, reason = "the fields are the protocol's own, documented there under the same names")]

use super::KeyValuePair;
use crate::field::{is_default, or_default};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A container of a task definition.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ContainerDefinition {
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub name: String,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub image: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repository_credentials: Option<RepositoryCredentials>,
    #[serde(deserialize_with = "or_default")]
    pub cpu: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_reservation: Option<i64>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub links: Vec<String>,
    #[serde(deserialize_with = "or_default")]
    pub port_mappings: Vec<PortMapping>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub essential: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restart_policy: Option<ContainerRestartPolicy>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub entry_point: Vec<String>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub command: Vec<String>,
    #[serde(deserialize_with = "or_default")]
    pub environment: Vec<KeyValuePair>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub environment_files: Vec<EnvironmentFile>,
    #[serde(deserialize_with = "or_default")]
    pub mount_points: Vec<MountPoint>,
    #[serde(deserialize_with = "or_default")]
    pub volumes_from: Vec<VolumeFrom>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub linux_parameters: Option<LinuxParameters>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub secrets: Vec<Secret>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub depends_on: Vec<ContainerDependency>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_timeout: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_timeout: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version_consistency: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub working_directory: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disable_networking: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub privileged: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub readonly_root_filesystem: Option<bool>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub dns_servers: Vec<String>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub dns_search_domains: Vec<String>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub extra_hosts: Vec<HostEntry>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub docker_security_options: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interactive: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pseudo_terminal: Option<bool>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub docker_labels: BTreeMap<String, String>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub ulimits: Vec<Ulimit>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_configuration: Option<LogConfiguration>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub health_check: Option<HealthCheck>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub system_controls: Vec<SystemControl>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub resource_requirements: Vec<ResourceRequirement>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub firelens_configuration: Option<FirelensConfiguration>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub credential_specs: Vec<String>,
}

/// The secret that opens a private registry.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RepositoryCredentials {
    #[serde(deserialize_with = "or_default")]
    pub credentials_parameter: String,
}

/// A port of a container that is reached from outside.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PortMapping {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container_port: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host_port: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub app_protocol: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container_port_range: Option<String>,
}

/// Whether a container that ends is started again, and when not.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ContainerRestartPolicy {
    #[serde(deserialize_with = "or_default")]
    pub enabled: bool,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub ignored_exit_codes: Vec<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restart_attempt_period: Option<i64>,
}

/// A file of environment variables.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EnvironmentFile {
    #[serde(deserialize_with = "or_default")]
    pub value: String,
    #[serde(rename = "type", deserialize_with = "or_default")]
    pub kind: String,
}

/// A volume in a container.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MountPoint {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_volume: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container_path: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read_only: Option<bool>,
}

/// Mounts of another container of the task.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct VolumeFrom {
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub source_container: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read_only: Option<bool>,
}

/// Settings of a container that only Linux knows. Sizes are in MiB.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LinuxParameters {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capabilities: Option<KernelCapabilities>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub devices: Vec<Device>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub init_process_enabled: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shared_memory_size: Option<i64>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub tmpfs: Vec<Tmpfs>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_swap: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub swappiness: Option<i64>,
}

/// Capabilities added to and dropped from the default set.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct KernelCapabilities {
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub add: Vec<String>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub drop: Vec<String>,
}

/// A device of the host that a container sees.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Device {
    #[serde(deserialize_with = "or_default")]
    pub host_path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container_path: Option<String>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub permissions: Vec<String>,
}

/// A file system in memory. The size is in MiB.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Tmpfs {
    #[serde(deserialize_with = "or_default")]
    pub container_path: String,
    #[serde(deserialize_with = "or_default")]
    pub size: i64,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub mount_options: Vec<String>,
}

/// A value that is fetched from where it is kept when the task starts.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Secret {
    #[serde(deserialize_with = "or_default")]
    pub name: String,
    #[serde(deserialize_with = "or_default")]
    pub value_from: String,
}

/// What another container must have reached before this one starts.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ContainerDependency {
    #[serde(deserialize_with = "or_default")]
    pub container_name: String,
    #[serde(deserialize_with = "or_default")]
    pub condition: String,
}

/// A line for a container's hosts file.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HostEntry {
    #[serde(deserialize_with = "or_default")]
    pub hostname: String,
    #[serde(deserialize_with = "or_default")]
    pub ip_address: String,
}

/// A resource limit of a container's processes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Ulimit {
    #[serde(deserialize_with = "or_default")]
    pub name: String,
    #[serde(deserialize_with = "or_default")]
    pub soft_limit: i64,
    #[serde(deserialize_with = "or_default")]
    pub hard_limit: i64,
}

/// Where a container's output goes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LogConfiguration {
    #[serde(deserialize_with = "or_default")]
    pub log_driver: String,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub options: BTreeMap<String, String>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub secret_options: Vec<Secret>,
}

/// A command that tells whether a container is healthy. Times are in seconds.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HealthCheck {
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub command: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retries: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_period: Option<i64>,
}

/// A kernel parameter (sysctl) of a container's namespaces.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SystemControl {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
}

/// A device that a container needs.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ResourceRequirement {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    #[serde(rename = "type", deserialize_with = "or_default")]
    pub kind: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sharing_strategy: Option<SharingStrategy>,
}

/// How a device is shared.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SharingStrategy {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nvidia_mps: Option<NvidiaMpsAllocation>,
}

/// A share of a GPU.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NvidiaMpsAllocation {
    #[serde(deserialize_with = "or_default")]
    pub memory: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_compute_percent: Option<i64>,
}

/// Makes a container the log router of its task.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct FirelensConfiguration {
    #[serde(rename = "type", deserialize_with = "or_default")]
    pub kind: String,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub options: BTreeMap<String, String>,
}
