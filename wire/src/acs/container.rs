//! A container in a payload.

#![allow(missing_docs, reason = "the fields are the protocol's own, documented there under the same names")]

use crate::field::{Redacted, is_default, or_default};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A container of a task in a payload.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Container {
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub command: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<i64>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub credential_specs: Vec<String>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub entry_point: Vec<String>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub environment: Redacted<BTreeMap<String, String>>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub environment_files: Vec<EnvironmentFile>,
    #[serde(deserialize_with = "or_default")]
    pub essential: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restart_policy: Option<RestartPolicy>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub image: String,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub links: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<i64>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub name: String,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub overrides: String,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub port_mappings: Vec<PortMapping>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub managed_agents: Vec<ManagedAgent>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub mount_points: Vec<MountPoint>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub linux_parameters: Option<LinuxParameters>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub privileged: Option<bool>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub network_interface_names: Vec<String>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub volumes_from: Vec<VolumeFrom>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub docker_config: Option<DockerConfig>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub health_check_type: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub registry_authentication: Option<RegistryAuthenticationData>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub logs_auth_strategy: String,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub secrets: Vec<Secret>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub depends_on: Vec<ContainerDependency>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_timeout: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_timeout: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub firelens_configuration: Option<FirelensConfiguration>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub container_arn: String,
}

/// A file of environment variables.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EnvironmentFile {
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub value: String,
    #[serde(rename = "type", deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub kind: String,
}

/// Whether a container that ends is started again. The period is in seconds.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RestartPolicy {
    #[serde(deserialize_with = "or_default")]
    pub enabled: bool,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub ignored_exit_codes: Vec<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restart_attempt_period: Option<i64>,
}

/// A port of a container.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PortMapping {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container_port: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host_port: Option<i64>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub container_port_range: String,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub protocol: String,
}

/// An agent of the service inside a container.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ManagedAgent {
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub name: String,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub properties: BTreeMap<String, String>,
}

/// A volume in a container.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MountPoint {
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub source_volume: String,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub container_path: String,
    #[serde(deserialize_with = "or_default")]
    pub read_only: bool,
}

/// Settings that only Linux knows; for runtimes other than Docker.
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

/// A device of the host.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Device {
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub host_path: String,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub container_path: String,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub permissions: Vec<String>,
}

/// Mounts of another container.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct VolumeFrom {
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub source_container: String,
    #[serde(deserialize_with = "or_default")]
    pub read_only: bool,
}

/// Configuration as the Docker API has it: `config` and `host_config` are JSON in a string.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DockerConfig {
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub version: String,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub config: String,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub host_config: String,
}

/// How to get into a private registry.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RegistryAuthenticationData {
    #[serde(rename = "type", deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub kind: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ecr_auth_data: Option<EcrAuthData>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub asm_auth_data: Option<AsmAuthData>,
}

/// How to get into an ECR registry.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EcrAuthData {
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub registry_id: String,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub region: String,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub endpoint_override: String,
    #[serde(deserialize_with = "or_default")]
    pub use_execution_role: bool,
}

/// A secret that opens a registry.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AsmAuthData {
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub credentials_parameter: String,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub region: String,
}

/// A value that is fetched before the container starts.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Secret {
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub name: String,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub value_from: String,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub container_path: String,
    #[serde(rename = "type", deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub kind: String,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub region: String,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub provider: String,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub target: String,
}

/// What another container must have reached before this one starts.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ContainerDependency {
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub container_name: String,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub condition: String,
}

/// Makes a container the log router.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct FirelensConfiguration {
    #[serde(rename = "type", deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub kind: String,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub options: BTreeMap<String, String>,
}
