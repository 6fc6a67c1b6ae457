//! Image configuration and a task's overrides, made into an OCI bundle.
//!
//! ```text
//! ImageConfiguration ─┐
//! ContainerSettings  ─┼─▶ config::document (pure) ─▶ DIR/config.json      OCI runtime specification 1.x, valid for runc
//! Snapshot: passwd,  ─┘                              DIR/snapshot         the overlay's directories, in `codec`
//!           group                                    DIR/rootfs           where a runtime mounts or finds the root
//! ```
//!
//! Everything that is not asked for is closed: 14 capabilities, the default system call filter, masked and read-only paths
//! in /proc and /sys, no devices but the usual, a cgroup namespace of its own.
//!
//! The user is looked up in the image's own /etc/passwd and /etc/group, through its layers, before anything is mounted.
//! Failure: a [`BundleError`] that names the field; nothing is left in the directory that was not there.

mod config;
mod defaults;
mod settings;
mod user;

use crate::codec::Codec;
use crate::errno::{OpContext, OpError};
use crate::image::lookup::Layers;
use crate::image::snapshot::Snapshot;
use oci_spec::image::ImageConfiguration;
use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

pub use settings::{ContainerSettings, Device, Namespace, Ulimit, Volume, VolumeSource};
pub use user::User;

/// A settings field or a member of the image's configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// The kernel refused something.
    #[error(transparent)]
    Io(#[from] OpError),
    /// Neither the task nor the image says what to run.
    #[error("no command: neither the container nor its image has one")]
    NoCommand,
    /// The user is not in the image.
    #[error("user `{user}`: {problem}")]
    User {
        /// As it was given.
        user: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A value is not what its field takes.
    #[error("{field} `{value}`: {problem}")]
    Value {
        /// The field, as people know it.
        field: &'static str,
        /// What was given.
        value: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The document cannot be written as JSON.
    #[error("write config.json")]
    Json(#[source] serde_json::Error),
}

/// A bundle on disk, and what the image says that is no part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bundle {
    /// Its directory.
    pub dir: PathBuf,
    /// The number of the signal that asks the container to stop: the image's `STOPSIGNAL`, else SIGTERM.
    pub stop_signal: i32,
    /// Who the process runs as.
    pub user: User,
    /// The process's arguments.
    pub args: Vec<String>,
}

/// Largest /etc/passwd or /etc/group that is read, in bytes.
const MAX_ACCOUNTS: u64 = 4 << 20;

/// Writes the bundle of a container into `dir`, which is made where it is missing.
pub fn write(
    dir: &Path,
    snapshot: &Snapshot,
    image: &ImageConfiguration,
    settings: &ContainerSettings,
) -> Result<Bundle, BundleError> {
    let layers = Layers::open(&snapshot.lower)?;
    let accounts = |path| -> Result<String, BundleError> {
        let bytes = layers.read(path, MAX_ACCOUNTS)?.unwrap_or_default();
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    let (passwd, group) = (accounts("etc/passwd")?, accounts("etc/group")?);
    let bundle = prepare(dir, image, settings, &passwd, &group)?;
    replace(&dir.join("snapshot"), &snapshot.to_bytes())?;
    Ok(bundle)
}

/// Writes a bundle for a root file system that is prepared at `dir/rootfs` already, as other runtimes want it.
pub fn write_plain(
    dir: &Path,
    rootfs: &Path,
    image: &ImageConfiguration,
    settings: &ContainerSettings,
) -> Result<Bundle, BundleError> {
    let layers = Layers::open(&[rootfs.to_owned()])?;
    let read = |path| layers.read(path, MAX_ACCOUNTS).map(Option::unwrap_or_default);
    let (passwd, group) = (read("etc/passwd")?, read("etc/group")?);
    prepare(dir, image, settings, &String::from_utf8_lossy(&passwd), &String::from_utf8_lossy(&group))
}

fn prepare(
    dir: &Path,
    image: &ImageConfiguration,
    settings: &ContainerSettings,
    passwd: &str,
    group: &str,
) -> Result<Bundle, BundleError> {
    let wanted = settings.user.clone().or_else(|| image.config().as_ref().and_then(|c| c.user().clone()));
    let user = user::resolve(wanted.as_deref().unwrap_or_default(), passwd, group)?;
    let stop_signal = match image.config().as_ref().and_then(|c| c.stop_signal().clone()) {
        Some(name) if !name.is_empty() => defaults::signal(&name)?,
        _ => libc::SIGTERM,
    };
    let (args, document) = config::document(image, settings, &user)?;
    let bytes = serde_json::to_vec(&document).map_err(BundleError::Json)?;
    for path in [dir.to_owned(), dir.join("rootfs")] {
        DirBuilder::new().recursive(true).mode(0o700).create(&path).op("make directory", &path)?;
    }
    replace(&dir.join("config.json"), &bytes)?;
    Ok(Bundle { dir: dir.to_owned(), stop_signal, user, args })
}

/// Bundles lie in the run directory and die with the boot: whole or not at all, but not synced.
fn replace(path: &Path, content: &[u8]) -> Result<(), OpError> {
    let new = path.with_extension("new");
    fs::write(&new, content).op("write", &new)?;
    fs::rename(&new, path).op("write", path).inspect_err(|_| drop(fs::remove_file(&new)))
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
