//! An overlay of an image's layers as a detached mount.
//!
//! On Linux 6.8 and later each layer is given by itself to a file-system context, and the mount never exists anywhere
//! but as a descriptor. Before that the option that names the layers takes 255 bytes, so the mount is made by mount(2),
//! whose options take a page, with paths relative to the layers' directory, by a child in a throw-away mount namespace
//! that hands it over as a descriptor.
//!
//! For a container with users of its own each layer is mapped (see [`super::owners`]): the image is unpacked once, and its
//! root is the container's. overlayfs takes layers by path, so they are put on their paths in such a namespace as well.
//! What is written has the container's numbers on the disk.

use super::owners;
use crate::errno::{OpContext, OpError};
use crate::spec::{IdMaps, outside};
use crate::sys::clone::{CloneArgs, clone};
use crate::sys::mount::{FsContext, attach, clone_tree};
use crate::sys::path::c_path;
use crate::sys::{fd, pidfd};
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// The most bytes of options that mount(2) takes: a page, with its NUL.
const MAX_OPTIONS: usize = 4095;

/// Where an overlay's parts are.
#[derive(Debug, Clone, Copy)]
pub struct Layers<'a> {
    /// Read-only, topmost first; not empty.
    pub lower: &'a [PathBuf],
    /// Where writes go.
    pub upper: &'a Path,
    /// overlayfs's own, on the same file system as `upper`.
    pub work: &'a Path,
}

/// Mounts the layers as a detached overlay, whose owners are mapped by `ids` unless those are empty. Only for
/// single-threaded processes, see [`crate::sys::clone`].
pub fn assemble(layers: Layers<'_>, ids: &IdMaps) -> Result<OwnedFd, OpError> {
    if !ids.is_empty() {
        give_upper(layers, ids)?;
        let user = owners::make(ids)?;
        let mapped = |lower: &PathBuf| {
            let tree = clone_tree(nix::fcntl::AT_FDCWD, &c_path(lower).op("use layer", lower)?, false);
            let tree = tree.op("use layer", lower)?;
            owners::map_owners(&tree, &user, false, lower).map(|()| tree)
        };
        let mapped: Vec<OwnedFd> = layers.lower.iter().map(mapped).collect::<Result<_, _>>()?;
        return in_throwaway_namespace(layers, &mapped);
    }
    match by_context(layers) {
        Ok(mount) => Ok(mount),
        // A kernel before 6.8 knows no `lowerdir+`, and says so with EINVAL, some only when the mount is made.
        Err(e) if e.source.kind() == io::ErrorKind::InvalidInput => in_throwaway_namespace(layers, &[]),
        Err(e) => Err(e),
    }
}

/// The upper directory is the root that the container sees. Made as the topmost layer's is, it becomes what that is mapped
/// to; one that has another owner has been in use.
fn give_upper(layers: Layers<'_>, ids: &IdMaps) -> Result<(), OpError> {
    let Some(top) = layers.lower.first() else { return Ok(()) };
    let upper = layers.upper;
    let of = |path: &Path| nix::sys::stat::stat(path).op("look at", path).map(|found| (found.st_uid, found.st_gid));
    let (user, group) = of(top)?;
    if of(upper)? != (user, group) {
        return Ok(());
    }
    let (user, group) = (outside(&ids.users, user), outside(&ids.groups, group));
    std::os::unix::fs::chown(upper, user, group).op("give to the container's root", upper)
}

fn by_context(layers: Layers<'_>) -> Result<OwnedFd, OpError> {
    let context = FsContext::open(c"overlay").op("open file system type", "overlay")?;
    let set = |key, path: &Path| {
        let value = c_path(OsString::from_vec(escaped(path, b"\\:"))).op("use layer", path)?;
        context.set(key, &value).op("use layer", path)
    };
    context.set(c"source", c"overlay").op("name", "overlay")?;
    for lower in layers.lower {
        set(c"lowerdir+", lower)?;
    }
    set(c"upperdir", layers.upper)?;
    set(c"workdir", layers.work)?;
    context.mount(0).map_err(|e| {
        // Only the errno goes up (callers branch on it); what overlayfs says about it belongs to the object.
        let said = context.message().unwrap_or_default();
        OpError::new("mount overlay for", format!("{} ({said})", layers.upper.display()), e)
    })
}

fn escaped(path: &Path, special: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    for byte in path.as_os_str().as_bytes() {
        if special.contains(byte) {
            text.push(b'\\');
        }
        text.push(*byte);
    }
    text
}

/// The options of mount(2), and the directory that their relative paths count from.
fn options(layers: Layers<'_>) -> (PathBuf, OsString) {
    let base = layers.lower.first().and_then(|first| first.parent()).unwrap_or(Path::new("/")).to_owned();
    let short = |path: &Path, special| escaped(path.strip_prefix(&base).unwrap_or(path), special);
    let mut text = b"lowerdir=".to_vec();
    for (i, lower) in layers.lower.iter().enumerate() {
        if i > 0 {
            text.push(b':');
        }
        text.extend(short(lower, b"\\:,"));
    }
    text.extend(b",upperdir=");
    text.extend(short(layers.upper, b"\\:,"));
    text.extend(b",workdir=");
    text.extend(short(layers.work, b"\\:,"));
    (base, OsString::from_vec(text))
}

/// `mapped` are in place of the layers, in their order, or none.
fn in_throwaway_namespace(layers: Layers<'_>, mapped: &[OwnedFd]) -> Result<OwnedFd, OpError> {
    let (base, options) = options(layers);
    let (ours, theirs) = fd::message_pair().op("make", "a socket pair")?;
    let args = CloneArgs { namespaces: libc::CLONE_NEWNS as u64, ..CloneArgs::default() };
    let child = clone(&args, || match mount_inside(layers, mapped, &base, &options) {
        Ok(mount) => fd::send_with(&theirs, b"m", &[mount.as_fd()]).map_or(1, |_| 0),
        Err(e) => {
            let errno = e.raw_os_error().unwrap_or(libc::EIO);
            fd::send_with(&theirs, &errno.to_le_bytes(), &[]).map_or(1, |_| 0)
        }
    })
    .op("clone for", "a throw-away mount namespace")?;
    drop(theirs);
    let (mut answer, mut mounts) = ([0; 4], Vec::new());
    let received = fd::receive_with(&ours, &mut answer, &mut mounts);
    pidfd::wait(&child.pidfd).op("wait for", "the child that mounts")?;
    received.op("mount overlay for", layers.upper)?;
    mounts
        .pop()
        .ok_or_else(|| io::Error::from_raw_os_error(i32::from_le_bytes(answer)))
        .op("mount overlay for", layers.upper)
}

/// In the throw-away namespace.
fn mount_inside(layers: Layers<'_>, mapped: &[OwnedFd], base: &Path, options: &OsString) -> io::Result<OwnedFd> {
    use nix::mount::{MsFlags, mount};
    let nothing = None::<&str>;
    mount(nothing, "/", nothing, MsFlags::MS_PRIVATE | MsFlags::MS_REC, nothing)?;
    for (tree, lower) in mapped.iter().zip(layers.lower) {
        attach(tree, std::fs::File::open(lower)?.as_fd())?;
    }
    if !mapped.is_empty() {
        match by_context(layers) {
            Err(e) if e.source.kind() == io::ErrorKind::InvalidInput => {}
            made => return made.map_err(|e| e.source),
        }
    }
    if options.len() > MAX_OPTIONS {
        // The layers cannot be named in one page.
        return Err(io::Error::from_raw_os_error(libc::E2BIG));
    }
    // `upper` is hidden by the overlay here, and by nothing anywhere else.
    nix::unistd::chdir(base)?;
    mount(Some("overlay"), layers.upper, Some("overlay"), MsFlags::empty(), Some(options.as_os_str()))?;
    clone_tree(nix::fcntl::AT_FDCWD, &c_path(layers.upper)?, false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_below_the_layers_directory_are_made_short_and_special_bytes_escaped() {
        let lower = ["/s/layers/b".into(), "/s/layers/a:1,2".into()];
        let (base, text) =
            options(Layers { lower: &lower, upper: Path::new("/s/up/u"), work: Path::new("/s/layers/w") });
        assert_eq!(base, Path::new("/s/layers"));
        assert_eq!(text, r"lowerdir=b:a\:1\,2,upperdir=/s/up/u,workdir=w");
    }
}
