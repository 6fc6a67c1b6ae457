//! The process of config.json.

use super::document::{CapabilitiesDocument, ProcessDocument};
use super::scheduling::{self, ExecAffinity};
use super::{SpecError, c_string, null, refuse};
use crate::sys::sched::Policy;
use nix::sys::resource::Resource;
use oci_spec::runtime as oci;
use std::collections::BTreeSet;
use std::ffi::CString;
use std::path::PathBuf;

/// A process to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Program and arguments; not empty.
    pub args: Vec<CString>,
    /// `NAME=value`, each name once.
    pub env: Vec<CString>,
    /// Working directory inside.
    pub cwd: PathBuf,
    /// User id inside.
    pub uid: u32,
    /// Group id inside.
    pub gid: u32,
    /// Other groups.
    pub additional_gids: Vec<u32>,
    /// File mode creation mask, where the document gives one.
    pub umask: Option<u32>,
    /// It gets a terminal.
    pub terminal: bool,
    /// Rows and columns of that terminal.
    pub console_size: Option<(u16, u16)>,
    /// Capabilities; none where the document says nothing.
    pub capabilities: Capabilities,
    /// Names of the document's that are no capabilities, and count for nothing.
    pub unknown_capabilities: Vec<String>,
    /// AppArmor's profile of the program.
    pub apparmor_profile: Option<CString>,
    /// SELinux's context of the program.
    pub selinux_label: Option<CString>,
    /// Resource limits.
    pub rlimits: Vec<Rlimit>,
    /// Nothing it executes can gain privileges.
    pub no_new_privileges: bool,
    /// Weight for the kernel's choice of whom to kill for memory.
    pub oom_score_adj: Option<i32>,
    /// How it gets processor time.
    pub scheduler: Option<Policy>,
    /// How its disk operations are served, as ioprio_set(2) takes it.
    pub io_priority: Option<u16>,
    /// Where it is executed, when it is not a container's first.
    pub exec_affinity: ExecAffinity,
}

/// The five sets, as bits numbered like the kernel's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// May be gained at most.
    pub bounding: u64,
    /// In force.
    pub effective: u64,
    /// Kept over execve by files that allow it.
    pub inheritable: u64,
    /// May be put in force.
    pub permitted: u64,
    /// Kept over execve by every file.
    pub ambient: u64,
}

/// A resource limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rlimit {
    /// Of what.
    pub resource: Resource,
    /// Soft limit.
    pub soft: u64,
    /// Hard limit.
    pub hard: u64,
}

/// A capability by its name, as a bit. Both cases, with and without `CAP_`.
pub fn capability(name: &str) -> Option<u64> {
    let upper = name.to_ascii_uppercase();
    let full = if upper.starts_with("CAP_") { upper } else { format!("CAP_{upper}") };
    full.parse::<caps::Capability>().ok().map(|cap| cap.bitmask())
}

/// The sets, and the names that mean nothing, once each.
fn capabilities(sets: &CapabilitiesDocument) -> (Capabilities, Vec<String>) {
    let mut unknown: Vec<String> = Vec::new();
    let mut bits = |names: &Option<Vec<String>>| {
        names.iter().flatten().fold(0, |all, name| match capability(name) {
            Some(bit) => all | bit,
            None => {
                if !unknown.contains(name) {
                    unknown.push(name.clone());
                }
                all
            }
        })
    };
    let found = Capabilities {
        bounding: bits(&sets.bounding),
        effective: bits(&sets.effective),
        inheritable: bits(&sets.inheritable),
        permitted: bits(&sets.permitted),
        ambient: bits(&sets.ambient),
    };
    (found, unknown)
}

fn label(field: &str, text: Option<String>) -> Result<Option<CString>, SpecError> {
    text.filter(|text| !text.is_empty()).map(|text| c_string(field, text)).transpose()
}

fn resource(kind: oci::PosixRlimitType) -> Resource {
    use oci::PosixRlimitType as T;
    match kind {
        T::RlimitCpu => Resource::RLIMIT_CPU,
        T::RlimitFsize => Resource::RLIMIT_FSIZE,
        T::RlimitData => Resource::RLIMIT_DATA,
        T::RlimitStack => Resource::RLIMIT_STACK,
        T::RlimitCore => Resource::RLIMIT_CORE,
        T::RlimitRss => Resource::RLIMIT_RSS,
        T::RlimitNproc => Resource::RLIMIT_NPROC,
        T::RlimitNofile => Resource::RLIMIT_NOFILE,
        T::RlimitMemlock => Resource::RLIMIT_MEMLOCK,
        T::RlimitAs => Resource::RLIMIT_AS,
        T::RlimitLocks => Resource::RLIMIT_LOCKS,
        T::RlimitSigpending => Resource::RLIMIT_SIGPENDING,
        T::RlimitMsgqueue => Resource::RLIMIT_MSGQUEUE,
        T::RlimitNice => Resource::RLIMIT_NICE,
        T::RlimitRtprio => Resource::RLIMIT_RTPRIO,
        T::RlimitRttime => Resource::RLIMIT_RTTIME,
    }
}

fn rlimits(given: &Option<Vec<oci::PosixRlimit>>) -> Result<Vec<Rlimit>, SpecError> {
    let mut found: Vec<Rlimit> = Vec::new();
    for (i, limit) in given.iter().flatten().enumerate() {
        let field = format!("process.rlimits[{i}]");
        let resource = resource(limit.typ());
        if found.iter().any(|f| f.resource == resource) {
            return refuse(field, format!("a second limit for {}", limit.typ()));
        }
        if limit.soft() > limit.hard() {
            return refuse(field, format!("soft limit {} is above the hard limit {}", limit.soft(), limit.hard()));
        }
        found.push(Rlimit { resource, soft: limit.soft(), hard: limit.hard() });
    }
    Ok(found)
}

fn strings(field: &str, texts: &[String]) -> Result<Vec<CString>, SpecError> {
    texts.iter().enumerate().map(|(i, text)| c_string(&format!("{field}[{i}]"), text.as_str())).collect()
}

/// The variables as they come; of those with one name the last, as runc has it: a program may take any of several.
fn environment(given: &[String]) -> Result<Vec<CString>, SpecError> {
    let (mut names, mut found) = (BTreeSet::new(), Vec::with_capacity(given.len()));
    for (i, entry) in given.iter().enumerate().rev() {
        let Some((name, _)) = entry.split_once('=') else {
            return refuse("process.env", format!("`{entry}` is no NAME=VALUE"));
        };
        if name.is_empty() {
            return refuse("process.env", format!("`{entry}`: environment variable name can't be empty"));
        }
        let variable = c_string(&format!("process.env[{i}]"), entry.as_str())?;
        if names.insert(name) {
            found.push(variable);
        }
    }
    found.reverse();
    Ok(found)
}

/// A further process of a container, by a document of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FurtherProcess {
    process: Process,
    /// The document says which capabilities it has, be it none.
    has_capabilities: bool,
}

impl FurtherProcess {
    /// Whether it has a terminal.
    pub fn terminal(&self) -> bool {
        self.process.terminal
    }

    /// The process, confined as the container's own `process` where its document does not say otherwise: capabilities,
    /// limits, labels.
    pub fn within(self, container: &Process) -> Process {
        let Self { mut process, has_capabilities } = self;
        if !has_capabilities {
            process.capabilities = container.capabilities;
        }
        if process.rlimits.is_empty() {
            process.rlimits.clone_from(&container.rlimits);
        }
        process.apparmor_profile = process.apparmor_profile.or_else(|| container.apparmor_profile.clone());
        process.selinux_label = process.selinux_label.or_else(|| container.selinux_label.clone());
        process
    }
}

/// Parses and checks a process that stands by itself.
pub fn parse_process(json: &[u8]) -> Result<FurtherProcess, SpecError> {
    let document: ProcessDocument = null::read(json, "/process")?;
    let has_capabilities = document.capabilities.is_some();
    Ok(FurtherProcess { process: check(document)?, has_capabilities })
}

pub(super) fn check(process: ProcessDocument) -> Result<Process, SpecError> {
    let args = strings("process.args", &process.args)?;
    if args.first().is_none_or(|program| program.is_empty()) {
        return refuse("process.args", "is empty");
    }
    if !process.cwd.is_absolute() {
        return refuse("process.cwd", format!("`{}` is not absolute", process.cwd.display()));
    }
    c_string("process.cwd", process.cwd.as_os_str().as_encoded_bytes())?;
    if let Some(adj) = process.oom_score_adj
        && !(-1000..=1000).contains(&adj)
    {
        return refuse("process.oomScoreAdj", format!("got {adj}, it goes from -1000 to 1000"));
    }
    let (capabilities, unknown_capabilities) = capabilities(&process.capabilities.unwrap_or_default());
    let side = |n: u64| u16::try_from(n).unwrap_or(u16::MAX);
    Ok(Process {
        args,
        env: environment(&process.env)?,
        cwd: process.cwd,
        uid: process.user.uid(),
        gid: process.user.gid(),
        additional_gids: process.user.additional_gids().clone().unwrap_or_default(),
        umask: process.user.umask(),
        terminal: process.terminal.unwrap_or(false),
        console_size: process.console_size.map(|b| (side(b.height()), side(b.width()))).filter(|s| *s != (0, 0)),
        capabilities,
        unknown_capabilities,
        apparmor_profile: label("process.apparmorProfile", process.apparmor_profile)?,
        selinux_label: label("process.selinuxLabel", process.selinux_label)?,
        rlimits: rlimits(&process.rlimits)?,
        no_new_privileges: process.no_new_privileges.unwrap_or(false),
        oom_score_adj: process.oom_score_adj,
        scheduler: process.scheduler.map(scheduling::scheduler).transpose()?,
        io_priority: process.io_priority.map(scheduling::io_priority).transpose()?,
        exec_affinity: process.exec_cpu_affinity.map(scheduling::affinity).transpose()?.unwrap_or_default(),
    })
}
