//! What the engine has done by others, where a test does it differently.

use crate::task::Container;
use berth_runtime::cgroup::limits::Limits;
use berth_runtime::rundir::TaskDirs;
use berth_runtime::spec::IdMaps;
use std::fs::File;
use std::future::Future;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::pin::Pin;

/// A future that owns all it needs.
pub type Later<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// An image could not be had, or a bundle not be made of it. The text begins with the name that Amazon ECS gives such
/// an end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct ImageFailure {
    /// The whole reason.
    pub text: String,
    /// What to do about it, where that is known.
    pub hint: Option<String>,
}

impl ImageFailure {
    /// A reason without a hint.
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), hint: None }
    }
}

/// Images and the bundles made of them.
pub trait Images: Send + Sync + 'static {
    /// The image's digest, once the image is here: at once, or after a pull.
    fn obtain(&self, reference: &str) -> Later<Result<String, ImageFailure>>;
    /// Takes a snapshot and writes a bundle. Blocks.
    fn bundle(&self, request: &BundleRequest) -> Result<BundleFacts, ImageFailure>;
    /// Gives a snapshot back, with what was written into it. Blocks. What is not there is no error.
    fn release(&self, key: &str) -> io::Result<()>;
}

/// What a bundle is to be made of.
#[derive(Debug, Clone, PartialEq)]
pub struct BundleRequest {
    /// Where it is written.
    pub dir: PathBuf,
    /// Name of the snapshot, unique on the node.
    pub key: String,
    /// What the task definition says.
    pub container: Container,
    /// Environment of the node's making; the definition's own wins.
    pub environment: Vec<(String, String)>,
    /// The container's host name; `None` in host mode, where it is the host's.
    pub hostname: Option<String>,
    /// Volumes, in an order in which none hides one before.
    pub mounts: Vec<BindMount>,
    /// Written into the container as `/etc/hosts`.
    pub hosts: PathBuf,
    /// Written into the container as `/etc/resolv.conf`.
    pub resolv_conf: PathBuf,
    /// Written into the container as `/etc/hostname`.
    pub hostname_file: PathBuf,
    /// Limits of the container's own group.
    pub limits: Limits,
    /// The container is in the host's network namespace.
    pub host_network: bool,
    /// What users inside are on the host; empty for the same.
    pub users: IdMaps,
}

/// A file or directory of the host, seen in a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BindMount {
    /// On the host.
    pub source: PathBuf,
    /// In the container.
    pub target: String,
    /// Writing is refused.
    pub read_only: bool,
}

/// What the agent needs to know of a bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BundleFacts {
    /// Number of the signal that asks the container to stop.
    pub stop_signal: i32,
}

/// What a shim inherits.
#[derive(Debug)]
pub struct Inheritance {
    /// The lock file, locked: whoever holds it is the task's one shim.
    pub lock: File,
    /// Already bound to the task's socket.
    pub listener: UnixListener,
    /// Sockets that hold the task's ports.
    pub ports: Vec<OwnedFd>,
}

/// Shims, and what is done after one has died.
pub trait Shims: Send + Sync + 'static {
    /// Starts the shim of a task whose plan is written. Blocks for about a millisecond.
    fn spawn(&self, dirs: &TaskDirs, inheritance: Inheritance) -> io::Result<()>;
    /// Removes what a dead shim left and writes down how the task ended.
    fn sweep(&self, dirs: &TaskDirs) -> Later<Result<(), String>>;
}
