//! OCI config.json, parsed and checked into a plan. Pure.
//!
//! ```text
//! config.json ─parse→ Document (types of oci-spec) ─check→ Plan ─→ rootfs, security, container
//!                             └── SpecError: the field, its value, what is wrong with it
//! ```
//!
//! A [`Plan`] is complete and can be carried out without looking at the document again: text that becomes an argument
//! of a system call is already free of NULs, options of mounts are already flags, and what this runtime does not
//! support has been refused by name. Nothing here looks at the machine.

mod document;
mod explain;
mod hooks;
mod idmap;
mod kernel;
mod mounts;
mod namespaces;
mod null;
pub mod number_list;
mod process;
mod resources;
mod scheduling;

pub use hooks::{Hook, HookKind, Hooks};
pub use idmap::{IdMaps, IdRange, lines, outside, parse_lines};
pub use kernel::{MEMORY_FLAGS, MEMORY_MODES, MemoryPolicy, NetDevice};
pub use mounts::{Bind, Mount, MountKind, Owners, bind_mount, options as mount_options, refused_in_proc};
pub use namespaces::{Namespaces, kind_name};
pub use process::{Capabilities, FurtherProcess, Process, Rlimit, capability, parse_process};
pub use resources::{BlockIo, DeviceRule, Rate, Rdma, Resources, Throttle, WeightDevice, cpu_weight, parse_resources};
pub use scheduling::ExecAffinity;

use crate::sys::path::clean;
use document::Document;
use oci_spec::runtime::{Linux, LinuxDeviceType, LinuxSeccomp};
use std::ffi::CString;
use std::path::{Path, PathBuf};

/// The newest version of the runtime specification whose documents are taken.
pub const OCI_VERSION: &str = "1.3.0";

/// A field of config.json that cannot be carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("config.json: {field}: {problem}")]
pub struct SpecError {
    /// Which field, as one would write it to look it up.
    pub field: String,
    /// What is wrong with its value, the value included.
    pub problem: String,
}

pub(crate) fn refuse<T>(field: impl Into<String>, problem: impl Into<String>) -> Result<T, SpecError> {
    Err(SpecError { field: field.into(), problem: problem.into() })
}

pub(crate) fn c_string(field: &str, text: impl Into<Vec<u8>>) -> Result<CString, SpecError> {
    CString::new(text).or_else(|_| refuse(field, "holds a NUL byte"))
}

/// A container as it is to be made.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The root file system; relative to the bundle unless absolute. `None` when a snapshot takes its place.
    pub root: Option<PathBuf>,
    /// The root file system is made read-only.
    pub root_readonly: bool,
    /// `MS_*` propagation of the root mount inside the container, with `MS_REC` for the recursive kinds; 0 is rprivate.
    pub root_propagation: u64,
    /// Mounts in their order.
    pub mounts: Vec<Mount>,
    /// SELinux's context of the file systems that are mounted new, which their options say already.
    pub mount_label: Option<CString>,
    /// Namespaces made new and joined.
    pub namespaces: Namespaces,
    /// Host name inside.
    pub hostname: Option<String>,
    /// NIS domain name inside.
    pub domainname: Option<String>,
    /// What runs. A document may lack it, but no container is made without.
    pub process: Option<Process>,
    /// Devices beyond the default ones.
    pub devices: Vec<Device>,
    /// Paths inside that are hidden.
    pub masked_paths: Vec<PathBuf>,
    /// Paths inside that are made read-only.
    pub readonly_paths: Vec<PathBuf>,
    /// Kernel parameters, as `net.ipv4.ip_forward` and its value.
    pub sysctl: Vec<(String, String)>,
    /// `PER_*` of the kernel that programs are to see.
    pub personality: Option<u64>,
    /// Which memory nodes are used.
    pub memory_policy: Option<MemoryPolicy>,
    /// Network devices of the host that become the container's.
    pub net_devices: Vec<NetDevice>,
    /// System call filter.
    pub seccomp: Option<LinuxSeccomp>,
    /// The container's cgroup as the document names it.
    pub cgroups_path: Option<PathBuf>,
    /// Limits.
    pub resources: Resources,
    /// Programs to run at points of the container's life.
    pub hooks: Hooks,
    /// Free annotations, given back by `state`.
    pub annotations: std::collections::BTreeMap<String, String>,
}

/// A device node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Where, inside.
    pub path: PathBuf,
    /// `S_IFCHR`, `S_IFBLK` or `S_IFIFO`.
    pub kind: u32,
    /// Major and minor number.
    pub number: (u32, u32),
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

/// Parses and checks a config.json.
pub fn parse(json: &[u8]) -> Result<Plan, SpecError> {
    let document: Document = null::read(json, "").map_err(|e| explain::unknown_word(json).unwrap_or(e))?;
    let minor = minor_version(&document.oci_version);
    let mut plan = check(document)?;
    // Until version 1.2 nobody said whether zero was a limit, and some write it for none. It is as good as one.
    if plan.resources.pids == Some(0) {
        plan.resources.pids = (minor >= 3 && resources::says_no_process(json)).then_some(1);
    }
    Ok(plan)
}

fn minor_version(version: &str) -> u32 {
    version.split('.').nth(1).and_then(|minor| minor.parse().ok()).unwrap_or(0)
}

fn check(document: Document) -> Result<Plan, SpecError> {
    check_version(&document.oci_version)?;
    // A document without a `linux` part asks for nothing; `Linux::default()` would ask for a whole container.
    let nothing = || serde_json::from_str("{}").expect("every field of `linux` is optional");
    let linux = document.linux.unwrap_or_else(nothing);
    check_unsupported(&linux)?;
    let namespaces = namespaces::check(&linux)?;
    let named = |name: Option<String>| name.filter(|name| !name.is_empty());
    let (hostname, domainname) = (named(document.hostname), named(document.domainname));
    for (field, name) in [("hostname", &hostname), ("domainname", &domainname)] {
        if name.is_some() && !namespaces.has(libc::CLONE_NEWUTS) {
            return refuse(field, "needs a uts namespace");
        }
    }
    let annotations = document.annotations.unwrap_or_default();
    if annotations.contains_key("") {
        return refuse("annotations", "a key is empty");
    }
    let root = match &document.root {
        Some(root) if root.path().as_os_str().is_empty() => return refuse("root.path", "is empty"),
        root => root.as_ref().map(|r| r.path().clone()),
    };
    let mounts = document.mounts.iter().flatten().enumerate();
    let mut mounts: Vec<Mount> = mounts.map(|(i, m)| mounts::check(i, m)).collect::<Result<_, _>>()?;
    mounts::check_remounts(&mounts)?;
    let mount_label = linux.mount_label().as_deref().filter(|label| !label.is_empty());
    let mount_label = mount_label.map(|label| c_string("linux.mountLabel", label)).transpose()?;
    mounts.iter_mut().for_each(|mount| mount.label(mount_label.as_ref()));
    mounts::fill_owners(&mut mounts, &namespaces)?;
    let process = document.process.map(process::check).transpose()?;
    if let Some(process) = &process {
        namespaces::check_process(&namespaces, process)?;
    }
    Ok(Plan {
        root,
        root_readonly: document.root.as_ref().and_then(|r| r.readonly()).unwrap_or(false),
        root_propagation: root_propagation(linux.rootfs_propagation().as_deref())?,
        mounts,
        mount_label,
        hostname,
        domainname,
        process,
        devices: devices(&linux)?,
        masked_paths: inner_paths("linux.maskedPaths", linux.masked_paths())?,
        readonly_paths: inner_paths("linux.readonlyPaths", linux.readonly_paths())?,
        sysctl: kernel::sysctl(&linux, &namespaces)?,
        personality: kernel::personality(&linux)?,
        memory_policy: kernel::memory_policy(&linux)?,
        net_devices: kernel::net_devices(&linux, &namespaces)?,
        namespaces,
        seccomp: linux.seccomp().clone(),
        cgroups_path: linux.cgroups_path().clone(),
        resources: linux.resources().as_ref().map(resources::check).transpose()?.unwrap_or_default(),
        hooks: document.hooks.map(hooks::check).transpose()?.unwrap_or_default(),
        annotations,
    })
}

/// By semantic versioning every document of major version 1 means here what it says. What is newer than
/// [`OCI_VERSION`] and not known is ignored, as the specification has it.
fn check_version(version: &str) -> Result<(), SpecError> {
    let major = version.split('.').next().and_then(|m| m.parse::<u32>().ok());
    match major {
        Some(1) => Ok(()),
        _ => refuse("ociVersion", format!("got `{version}`, this runtime takes versions 1.x")),
    }
}

/// What would be ignored in silence is refused by name instead.
fn check_unsupported(linux: &Linux) -> Result<(), SpecError> {
    let asked = [("linux.intelRdt", linux.intel_rdt().is_some())];
    match asked.iter().find(|(_, asked)| *asked) {
        Some((field, _)) => refuse(*field, "is not supported by this runtime"),
        None => Ok(()),
    }
}

fn root_propagation(name: Option<&str>) -> Result<u64, SpecError> {
    match name {
        None | Some("") => Ok(0),
        Some(name) => match mounts::propagation(name) {
            Some(flags) => Ok(flags),
            None => refuse("linux.rootfsPropagation", format!("got `{name}`")),
        },
    }
}

fn inner_paths(field: &str, paths: &Option<Vec<String>>) -> Result<Vec<PathBuf>, SpecError> {
    let check = |(i, path): (usize, &String)| {
        c_string(&format!("{field}[{i}]"), path.as_str())?;
        if Path::new(path).is_absolute() {
            Ok(path.into())
        } else {
            refuse(format!("{field}[{i}]"), format!("`{path}` is not absolute"))
        }
    };
    paths.iter().flatten().enumerate().map(check).collect()
}

fn devices(linux: &Linux) -> Result<Vec<Device>, SpecError> {
    let mut devices = Vec::new();
    for (i, device) in linux.devices().iter().flatten().enumerate() {
        let field = format!("linux.devices[{i}]");
        let kind = match device.typ() {
            LinuxDeviceType::B => libc::S_IFBLK,
            LinuxDeviceType::C | LinuxDeviceType::U => libc::S_IFCHR,
            LinuxDeviceType::P => libc::S_IFIFO,
            LinuxDeviceType::A => return refuse(field, "type `a` is not a device"),
        };
        if !device.path().is_absolute() || clean(device.path()) == Path::new("/") {
            return refuse(field, format!("path `{}` is not absolute", device.path().display()));
        }
        // A FIFO has none, whatever is written there.
        let fifo = kind == libc::S_IFIFO;
        let number = |n: i64| {
            if fifo {
                Ok(0)
            } else {
                u32::try_from(n).or_else(|_| refuse(&field, format!("number {n} is out of range")))
            }
        };
        devices.push(Device {
            path: clean(device.path()),
            kind,
            number: (number(device.major())?, number(device.minor())?),
            mode: device.file_mode().unwrap_or(0o666) & 0o7777,
            uid: device.uid().unwrap_or(0),
            gid: device.gid().unwrap_or(0),
        });
    }
    Ok(devices)
}

#[cfg(test)]
mod tests;
