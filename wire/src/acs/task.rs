//! A task in a payload.

#![allow(missing_docs, reason = "the fields are the protocol's own, documented there under the same names")]

use super::{Attachment, Container, ElasticNetworkInterface};
use crate::field::{Redacted, is_default, or_default};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A task in a payload. `cpu` is in vCPU, `memory` in MiB.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Task {
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub arn: String,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub task_cluster_arn: String,
    #[serde(deserialize_with = "or_default")]
    pub containers: Vec<Container>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub desired_status: String,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub family: String,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub overrides: String,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub version: String,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub zone: String,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub task_definition_account_id: String,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub volumes: Vec<Volume>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role_credentials: Option<IamRoleCredentials>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub execution_role_credentials: Option<IamRoleCredentials>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub elastic_network_interfaces: Vec<ElasticNetworkInterface>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<i64>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub associations: Vec<Association>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub pid_mode: String,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub ipc_mode: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy_configuration: Option<ProxyConfiguration>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub agent_configuration: String,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub launch_type: String,
    #[serde(deserialize_with = "or_default")]
    pub attachments: Vec<Attachment>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub network_mode: String,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub service_name: String,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub group: String,
    #[serde(deserialize_with = "or_default")]
    pub enable_fault_injection: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trusted_execution_configuration: Option<TrustedExecutionConfiguration>,
}

/// A volume of a task.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Volume {
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub name: String,
    #[serde(rename = "type", deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub kind: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<HostVolumeProperties>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub docker_volume_configuration: Option<DockerVolumeConfiguration>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub efs_volume_configuration: Option<EfsVolumeConfiguration>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fsx_windows_file_server_volume_configuration: Option<FsxWindowsFileServerVolumeConfiguration>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ebs_volume_configuration: Option<EbsVolumeConfiguration>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_driver_volume_configuration: Option<LogDriverVolumeConfiguration>,
}

/// A path of the host; empty for a directory made for the task.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HostVolumeProperties {
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub source_path: String,
}

/// A volume made by a volume driver.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DockerVolumeConfiguration {
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub scope: String,
    #[serde(deserialize_with = "or_default")]
    pub autoprovision: bool,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub driver: String,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub driver_opts: BTreeMap<String, String>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub labels: BTreeMap<String, String>,
}

/// An EFS file system.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EfsVolumeConfiguration {
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub file_system_id: String,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub root_directory: String,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub transit_encryption: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transit_encryption_port: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authorization_config: Option<EfsAuthorizationConfig>,
}

/// How an EFS file system is authorised.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EfsAuthorizationConfig {
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub access_point_id: String,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub iam: String,
}

/// An FSx for Windows file system.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct FsxWindowsFileServerVolumeConfiguration {
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub file_system_id: String,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub root_directory: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authorization_config: Option<FsxWindowsFileServerAuthorizationConfig>,
}

/// How an FSx for Windows file system is authorised.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct FsxWindowsFileServerAuthorizationConfig {
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub credentials_parameter: String,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub domain: String,
}

/// An EBS volume.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EbsVolumeConfiguration {
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub volume_id: String,
    #[serde(deserialize_with = "or_default")]
    pub delete_on_termination: bool,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub device_name: String,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub filesystem_type: String,
}

/// A volume with the output of a log driver.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LogDriverVolumeConfiguration {
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub driver: String,
}

/// Credentials of a role. The secrets are left out of `Debug`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct IamRoleCredentials {
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub credentials_id: String,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub role_arn: String,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub access_key_id: String,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub secret_access_key: Redacted<String>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub session_token: Redacted<String>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub expiration: String,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub credential_scope: String,
}

/// A device associated with containers of a task.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Association {
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub name: String,
    #[serde(rename = "type", deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub kind: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content: Option<EncodedString>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub containers: Vec<String>,
}

/// A string in some encoding.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EncodedString {
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub value: String,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub encoding: String,
}

/// The App Mesh proxy of a task.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ProxyConfiguration {
    #[serde(rename = "type", deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub kind: String,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub container_name: String,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub properties: BTreeMap<String, String>,
}

/// How far a task is isolated from others.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TrustedExecutionConfiguration {
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub isolation_mode: String,
}
