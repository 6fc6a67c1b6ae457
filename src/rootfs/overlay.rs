//! An overlay of an image's layers as a detached mount.
//!
//! On Linux 6.8 and later each layer is given by itself to a file-system context, and the mount never exists anywhere
//! but as a descriptor. Before that the option that names the layers takes 255 bytes, so the mount is made by mount(2),
//! whose options take a page, with paths relative to the layers' directory, by a child in a throw-away mount namespace
//! that hands it over as a descriptor.

use crate::errno::{OpContext, OpError};
use crate::sys::clone::{CloneArgs, clone};
use crate::sys::mount::{FsContext, clone_tree};
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

/// Mounts the layers as a detached overlay. Only for single-threaded processes, see [`crate::sys::clone`].
pub fn assemble(layers: Layers<'_>) -> Result<OwnedFd, OpError> {
    match by_context(layers) {
        Ok(mount) => Ok(mount),
        // A kernel before 6.8 knows no `lowerdir+`, and says so with EINVAL, some only when the mount is made.
        Err(e) if e.source.kind() == io::ErrorKind::InvalidInput => in_throwaway_namespace(layers),
        Err(e) => Err(e),
    }
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

fn in_throwaway_namespace(layers: Layers<'_>) -> Result<OwnedFd, OpError> {
    let (base, options) = options(layers);
    if options.len() > MAX_OPTIONS {
        let long = io::Error::from_raw_os_error(libc::E2BIG);
        return Err(long).op("name in one page the layers of", layers.upper);
    }
    let (ours, theirs) = fd::message_pair().op("make", "a socket pair")?;
    let args = CloneArgs { namespaces: libc::CLONE_NEWNS as u64, ..CloneArgs::default() };
    let child = clone(&args, || match mount_and_clone(&base, &options, layers.upper) {
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

/// In the throw-away namespace: `upper` is hidden by the overlay there, and by nothing anywhere else.
fn mount_and_clone(base: &Path, options: &OsString, upper: &Path) -> io::Result<OwnedFd> {
    use nix::mount::{MsFlags, mount};
    let nothing = None::<&str>;
    mount(nothing, "/", nothing, MsFlags::MS_PRIVATE | MsFlags::MS_REC, nothing)?;
    nix::unistd::chdir(base)?;
    mount(Some("overlay"), upper, Some("overlay"), MsFlags::empty(), Some(options.as_os_str()))?;
    clone_tree(nix::fcntl::AT_FDCWD, &c_path(upper)?, false)
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
