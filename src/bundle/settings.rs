//! What a task says about one of its containers, in the words of a container engine.

use crate::cgroup::limits::Limits;
use crate::spec::IdMaps;
use std::path::PathBuf;

/// Overrides of an image's configuration, and everything that only a task can say. The default is a closed container with
/// namespaces of its own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ContainerSettings {
    /// Name of the host inside; the runtime's choice when `None`. Ignored where the host's UTS namespace is used.
    pub hostname: Option<String>,
    /// Environment, which wins over the image's. The document is a file: secrets do not belong here.
    pub env: Vec<(String, String)>,
    /// Replaces the image's command. An entry point of the task's own drops the image's command too, as Docker does.
    pub command: Option<Vec<String>>,
    /// Replaces the image's entry point.
    pub entry_point: Option<Vec<String>>,
    /// `USER[:GROUP]`, names or numbers of the image; replaces the image's.
    pub user: Option<String>,
    /// Working directory, absolute; replaces the image's.
    pub cwd: Option<String>,
    /// Volumes and other mounts, each made after those above it.
    pub mounts: Vec<Volume>,
    /// File to show as /etc/hosts.
    pub hosts: Option<PathBuf>,
    /// File to show as /etc/resolv.conf.
    pub resolv_conf: Option<PathBuf>,
    /// File to show as /etc/hostname.
    pub hostname_file: Option<PathBuf>,
    /// Limits, for runtimes that apply those of config.json.
    pub limits: Limits,
    /// Path of the cgroup, for the same.
    pub cgroups_path: Option<PathBuf>,
    /// The root file system cannot be written.
    pub readonly_rootfs: bool,
    /// All capabilities and devices, no filter and no masked paths: root on the host in all but name.
    pub privileged: bool,
    /// Capabilities to add, such as `NET_ADMIN`; `ALL` adds all.
    pub cap_add: Vec<String>,
    /// Capabilities to take away, after the others were added; `ALL` takes all.
    pub cap_drop: Vec<String>,
    /// Programs cannot gain privileges by executing set-user-id files.
    pub no_new_privileges: bool,
    /// Run without the default system call filter.
    pub no_seccomp: bool,
    /// Resource limits of the process.
    pub ulimits: Vec<Ulimit>,
    /// Kernel parameters of the container's namespaces.
    pub sysctls: Vec<(String, String)>,
    /// Devices of the host to show.
    pub devices: Vec<Device>,
    /// Size of /dev/shm in bytes; 64 MiB when `None`.
    pub shm_bytes: Option<u64>,
    /// A small init of the runtime's is process 1 and reaps children. Told to the runtime by the annotation
    /// `berth.init`.
    pub init: bool,
    /// Network namespace.
    pub network: Namespace,
    /// PID namespace.
    pub pid: Namespace,
    /// IPC namespace.
    pub ipc: Namespace,
    /// UTS namespace (host name).
    pub uts: Namespace,
    /// What users and groups inside are on the host: a user namespace of its own, and volumes whose files have the owners
    /// inside that they have on the host. Empty for the host's own users.
    pub users: IdMaps,
    /// The process has a terminal.
    pub tty: bool,
    /// Added to the score by which the kernel chooses whom to kill when memory is short, -1000 to 1000.
    pub oom_score_adj: Option<i32>,
}

/// Which namespace a container is in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Namespace {
    /// One of its own.
    #[default]
    Own,
    /// The host's.
    Host,
    /// The one pinned at a path.
    At(PathBuf),
}

/// Something mounted into a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    /// Where it comes from.
    pub source: VolumeSource,
    /// Absolute path in the container.
    pub destination: String,
    /// It cannot be written.
    pub read_only: bool,
}

/// Where a volume comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VolumeSource {
    /// A path of the host, with everything mounted below it.
    Bind(PathBuf),
    /// Memory.
    Tmpfs {
        /// Its size in bytes; half of the memory when `None`.
        size_bytes: Option<u64>,
        /// More options of tmpfs(5) and mount(8).
        options: Vec<String>,
    },
}

/// A resource limit of a process, see setrlimit(2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ulimit {
    /// Such as `nofile`.
    pub name: String,
    /// What the process gets; -1 is no limit.
    pub soft: i64,
    /// What it may raise it to; -1 is no limit.
    pub hard: i64,
}

/// A device of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Its path on the host.
    pub host: PathBuf,
    /// Its path in the container.
    pub container: String,
    /// What may be done with it, of `rwm`.
    pub access: String,
}
