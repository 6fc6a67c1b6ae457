//! config.json as it is written, the part of it that Linux containers have.
//!
//! The parts are oci-spec's types; the two that hold them together are here, because oci-spec's own bring other systems'
//! parts and, for one field that this runtime refuses by name, a regular expression engine: a megabyte of program, which
//! every start of a container maps.

use super::hooks::Hooks;
use oci_spec::runtime as oci;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// The whole document.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Document {
    #[serde(default)]
    pub(super) oci_version: String,
    pub(super) root: Option<oci::Root>,
    pub(super) mounts: Option<Vec<oci::Mount>>,
    pub(super) process: Option<ProcessDocument>,
    pub(super) hostname: Option<String>,
    pub(super) domainname: Option<String>,
    pub(super) hooks: Option<Hooks>,
    pub(super) annotations: Option<BTreeMap<String, String>>,
    pub(super) linux: Option<oci::Linux>,
}

/// The process, of a container's document or by itself for `exec --process`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ProcessDocument {
    pub(super) terminal: Option<bool>,
    pub(super) console_size: Option<oci::Box>,
    #[serde(default)]
    pub(super) user: oci::User,
    #[serde(default)]
    pub(super) args: Vec<String>,
    #[serde(default)]
    pub(super) env: Vec<String>,
    #[serde(default)]
    pub(super) cwd: PathBuf,
    pub(super) capabilities: Option<CapabilitiesDocument>,
    pub(super) rlimits: Option<Vec<oci::PosixRlimit>>,
    pub(super) no_new_privileges: Option<bool>,
    pub(super) apparmor_profile: Option<String>,
    pub(super) oom_score_adj: Option<i32>,
    pub(super) selinux_label: Option<String>,
    pub(super) scheduler: Option<SchedulerDocument>,
    pub(super) io_priority: Option<IoPriorityDocument>,
    #[serde(rename = "execCPUAffinity")]
    pub(super) exec_cpu_affinity: Option<AffinityDocument>,
}

/// How a process is scheduled, by the kernel's names.
#[derive(Debug, Deserialize)]
pub(super) struct SchedulerDocument {
    pub(super) policy: String,
    pub(super) nice: Option<i32>,
    pub(super) priority: Option<i32>,
    #[serde(default, deserialize_with = "super::hooks::or_none")]
    pub(super) flags: Vec<String>,
    pub(super) runtime: Option<u64>,
    pub(super) deadline: Option<u64>,
    pub(super) period: Option<u64>,
}

/// How a process's disk operations are scheduled.
#[derive(Debug, Deserialize)]
pub(super) struct IoPriorityDocument {
    pub(super) class: String,
    #[serde(default)]
    pub(super) priority: i64,
}

/// On which processors a process is executed.
#[derive(Debug, Deserialize)]
pub(super) struct AffinityDocument {
    pub(super) initial: Option<String>,
    #[serde(rename = "final")]
    pub(super) last: Option<String>,
}

/// The five sets by name: names that nobody knows yet are for whoever reads the document to pass over.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct CapabilitiesDocument {
    pub(super) bounding: Option<Vec<String>>,
    pub(super) effective: Option<Vec<String>>,
    pub(super) inheritable: Option<Vec<String>>,
    pub(super) permitted: Option<Vec<String>>,
    pub(super) ambient: Option<Vec<String>>,
}
