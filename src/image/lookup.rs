//! Finds a path in stacked layers as overlayfs would show it, without mounting anything.
//!
//! A directory is looked for in every layer in which all of its parents are; a whiteout ends the search downwards, an opaque
//! directory is the last one. Links are followed through all layers and never leave them; no file is opened by a path that
//! has a link in it.

use super::tree::is_whiteout;
use crate::errno::{OpContext, OpError};
use crate::sys::xattr;
use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag};
use nix::sys::stat::{FileStat, SFlag, fstat};
use std::collections::VecDeque;
use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// As many links as the kernel follows.
const MAX_LINKS: usize = 40;

/// Layers, topmost first.
#[derive(Debug)]
pub struct Layers {
    roots: Vec<OwnedFd>,
}

/// Where a path is.
#[derive(Debug, Clone)]
pub struct Found {
    /// Index of the topmost layer that has it.
    layer: usize,
    /// Its path in that layer, without links.
    path: Vec<u8>,
    /// What it is.
    pub stat: FileStat,
}

impl Found {
    /// The type of file.
    pub fn kind(&self) -> SFlag {
        SFlag::from_bits_truncate(self.stat.st_mode & SFlag::S_IFMT.bits())
    }

    /// Whether it is a directory.
    pub fn is_directory(&self) -> bool {
        self.kind() == SFlag::S_IFDIR
    }
}

/// A directory as merged: its path and the layers that show through, topmost first.
#[derive(Debug, Clone)]
struct Merged {
    path: Vec<u8>,
    layers: Vec<usize>,
}

impl Layers {
    /// Layers by their directories, topmost first.
    pub fn open(lower: &[PathBuf]) -> Result<Self, OpError> {
        let open = |path: &PathBuf| Ok(File::open(path).op("open layer", path)?.into());
        Ok(Self { roots: lower.iter().map(open).collect::<Result<_, OpError>>()? })
    }

    /// Reads the file at `path`, following links, of at most `limit` bytes; `None` when there is no such file.
    pub fn read(&self, path: &str, limit: u64) -> Result<Option<Vec<u8>>, OpError> {
        let Some(found) = self.find(path.as_bytes(), true)?.filter(|f| f.kind() == SFlag::S_IFREG) else {
            return Ok(None);
        };
        let file = File::from(self.open_found(&found, OFlag::O_RDONLY)?);
        let mut content = Vec::new();
        file.take(limit + 1).read_to_end(&mut content).op("read", path)?;
        if content.len() as u64 > limit {
            return Err(OpError::new("read", path, Errno::EFBIG));
        }
        Ok(Some(content))
    }

    /// Finds `path`; a link at its end is followed when `follow` says so.
    pub fn find(&self, path: &[u8], follow: bool) -> Result<Option<Found>, OpError> {
        let parts = |path: &[u8]| -> Vec<Vec<u8>> {
            path.split(|b| *b == b'/').filter(|p| !p.is_empty() && *p != b".").map(<[u8]>::to_vec).collect()
        };
        let root = Merged { path: Vec::new(), layers: self.shown(b"", (0..self.roots.len()).collect())?.1 };
        let mut stack = vec![root];
        let mut rest: VecDeque<Vec<u8>> = parts(path).into();
        let mut links = 0;
        while let Some(part) = rest.pop_front() {
            if part == b".." {
                if stack.len() > 1 {
                    stack.pop();
                }
                continue;
            }
            let Some(here) = stack.last() else { return Ok(None) };
            let child = if here.path.is_empty() { part } else { [&here.path[..], b"/", &part].concat() };
            let (found, below) = self.shown(&child, here.layers.clone())?;
            let Some(found) = found else { return Ok(None) };
            match found.kind() {
                SFlag::S_IFDIR => stack.push(Merged { path: child, layers: below }),
                SFlag::S_IFLNK if follow || !rest.is_empty() => {
                    links += 1;
                    if links > MAX_LINKS {
                        return Ok(None);
                    }
                    let fd = self.open_found(&found, OFlag::O_PATH | OFlag::O_NOFOLLOW)?;
                    let target = nix::fcntl::readlinkat(&fd, "").op("read link", OsStr::from_bytes(&child))?;
                    if target.as_bytes().starts_with(b"/") {
                        stack.truncate(1);
                    }
                    for part in parts(target.as_bytes()).into_iter().rev() {
                        rest.push_front(part);
                    }
                }
                _ if rest.is_empty() => return Ok(Some(found)),
                _ => return Ok(None),
            }
        }
        let Some(Merged { path, layers }) = stack.pop() else { return Ok(None) };
        Ok(self.shown(&path, layers)?.0)
    }

    /// Opens what was found.
    pub fn open_found(&self, found: &Found, flags: OFlag) -> Result<OwnedFd, OpError> {
        self.open_in(found.layer, &found.path, flags).op("open", OsStr::from_bytes(&found.path))
    }

    fn open_in(&self, layer: usize, path: &[u8], flags: OFlag) -> nix::Result<OwnedFd> {
        let mut how = OpenHow::new().flags(flags | OFlag::O_CLOEXEC);
        // O_NOFOLLOW and this one exclude a link at the end, which is only ever opened as itself.
        how = how.resolve(
            ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_MAGICLINKS | ResolveFlag::RESOLVE_NO_SYMLINKS,
        );
        nix::fcntl::openat2(&self.roots[layer], OsStr::from_bytes(if path.is_empty() { b"." } else { path }), how)
    }

    /// What is seen at `path` (no link in it) when the layers `among` have its parent, and which of them show through.
    fn shown(&self, path: &[u8], among: Vec<usize>) -> Result<(Option<Found>, Vec<usize>), OpError> {
        let (mut top, mut through) = (None, Vec::new());
        for layer in among {
            let fd = match self.open_in(layer, path, OFlag::O_PATH | OFlag::O_NOFOLLOW) {
                Err(Errno::ENOENT | Errno::ENOTDIR) => continue,
                opened => opened.op("open", OsStr::from_bytes(path))?,
            };
            let stat = fstat(&fd).op("look at", OsStr::from_bytes(path))?;
            if is_whiteout(&stat) {
                break;
            }
            let found = Found { layer, path: path.to_vec(), stat };
            if !found.is_directory() {
                // It hides what is below; under a directory it is hidden itself.
                top = top.or(Some(found));
                break;
            }
            through.push(layer);
            let opaque = self.is_opaque(layer, path)?;
            top = top.or(Some(found));
            if opaque {
                break;
            }
        }
        Ok((top, through))
    }

    fn is_opaque(&self, layer: usize, path: &[u8]) -> Result<bool, OpError> {
        let shown = OsStr::from_bytes(path);
        let dir = self.open_in(layer, path, OFlag::O_RDONLY | OFlag::O_DIRECTORY).op("open", shown)?;
        for name in [c"trusted.overlay.opaque", c"user.overlay.opaque"] {
            if xattr::read(dir.as_fd(), name).op("read an attribute of", shown)?.as_deref() == Some(b"y") {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
