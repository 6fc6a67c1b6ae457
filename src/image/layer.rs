//! Layers: unpacked by themselves, then settled on the layers below and entered in the index.

use super::extract::{self, ExtractError, Extracted};
use super::files::{self, Durable};
use super::lookup::{Found, Layers};
use super::{Digest, Store, StoreError, tree};
use crate::errno::{OpContext, OpError};
use crate::sys::xattr;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, OpenHow, ResolveFlag};
use nix::sys::stat::{FileStat, Mode, SFlag, UtimensatFlags};
use nix::sys::time::TimeSpec;
use serde::{Deserialize, Serialize};
use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File};
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// An entry of the index: what lies under a chain id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Layer {
    /// Name of its directory in `l`. Several chain ids may name one directory.
    pub(super) id: String,
    pub(super) diff_id: Digest,
    /// Bytes of file data.
    pub(super) bytes: u64,
    /// Nothing in it came from the layers below it.
    pub(super) independent: bool,
    /// The boot in which it was written, until it is known to be on the disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) boot: Option<String>,
}

impl Layer {
    pub(super) fn read(path: &Path) -> Result<Self, StoreError> {
        let bytes = files::read(path, 64 << 10)?.unwrap_or_default();
        serde_json::from_slice(&bytes).map_err(|source| StoreError::Parse { what: path.display().to_string(), source })
    }

    /// Writes the entry. One that names its boot need not outlive it.
    pub(super) fn write(&self, path: &Path) -> Result<(), OpError> {
        let bytes = serde_json::to_vec(self).expect("text, numbers and flags are JSON");
        files::replace(path, &bytes, if self.boot.is_some() { Durable::No } else { Durable::Yes })
    }
}

/// A layer that is unpacked and not yet one of the store's. Dropped, it is removed.
#[derive(Debug)]
pub struct Unpacked {
    dir: PathBuf,
    diff_id: Digest,
    found: Extracted,
}

impl Unpacked {
    /// Bytes of file data.
    pub fn bytes(&self) -> u64 {
        self.found.bytes
    }
}

impl Drop for Unpacked {
    fn drop(&mut self) {
        // Adopted, it is no longer there; else the next start would remove it too.
        let _ = tree::remove(&self.dir);
    }
}

/// Keeps clean-up away from layers and blobs that a pull relies on, until dropped.
#[derive(Debug)]
pub struct Pin {
    store: Store,
    digests: Vec<Digest>,
}

impl Drop for Pin {
    fn drop(&mut self) {
        let mut state = self.store.state();
        for digest in &self.digests {
            if let Some(count) = state.pins.get_mut(digest) {
                *count -= 1;
                if *count == 0 {
                    state.pins.remove(digest);
                }
            }
        }
    }
}

impl Store {
    /// Keeps clean-up away from layers (by chain id) and blobs (by digest), whether they are here yet or not.
    pub fn pin(&self, digests: impl IntoIterator<Item = Digest>) -> Pin {
        let digests: Vec<Digest> = digests.into_iter().collect();
        let mut state = self.state();
        for digest in &digests {
            *state.pins.entry(*digest).or_default() += 1;
        }
        drop(state);
        Pin { store: self.clone(), digests }
    }

    /// Whether the layer with this chain id is here, or can be without being unpacked: the same content may be here on
    /// other layers, and is then entered under this chain id too.
    pub fn has_layer(&self, chain: &Digest, diff_id: &Digest) -> Result<bool, StoreError> {
        let mut state = self.state();
        if state.layers.contains_key(chain) {
            return Ok(true);
        }
        let Some(same) = state.layers.values().find(|l| l.independent && l.diff_id == *diff_id).cloned() else {
            return Ok(false);
        };
        same.write(&self.chain_path(chain))?;
        state.layers.insert(*chain, same);
        Ok(true)
    }

    /// Unpacks a layer (a tar as it is, or compressed by gzip or zstd) into a temporary directory, and checks that its
    /// uncompressed bytes are those of `diff_id`. Needs no other layer; see [`Store::adopt`].
    pub fn unpack(&self, layer: impl Read + Send, diff_id: &Digest) -> Result<Unpacked, StoreError> {
        let dir = self.temporary();
        DirBuilder::new().mode(0o700).create(&dir).op("make directory", &dir)?;
        // From here on a failure removes what was unpacked.
        let mut unpacked = Unpacked { dir, diff_id: *diff_id, found: Extracted::default() };
        let root = OwnedFd::from(File::open(&unpacked.dir).op("open", &unpacked.dir)?);
        unpacked.found = extract::extract(layer, *diff_id, root, &self.0.limits)
            .map_err(|source| StoreError::Layer { diff_id: *diff_id, source })?;
        Ok(unpacked)
    }

    /// Makes an unpacked layer one of the store's, on top of those with the chain ids `below` (lowest first, all here),
    /// and gives its chain id. That it is here already is no error.
    pub fn adopt(&self, unpacked: Unpacked, below: &[Digest]) -> Result<Digest, StoreError> {
        let chain = Digest::chain(below.last().copied(), unpacked.diff_id);
        let independent = self.rest_on(&unpacked, below)?;
        let mut state = self.state();
        if state.layers.contains_key(&chain) {
            return Ok(chain);
        }
        let hex = chain.hex();
        let taken = |id: &str| state.layers.values().any(|l| l.id == id) || self.path("l", id).exists();
        let id = (8..=hex.len()).map(|n| &hex[..n]).find(|id| !taken(id)).unwrap_or(&hex).to_owned();
        let layer = Layer {
            id,
            diff_id: unpacked.diff_id,
            bytes: unpacked.found.bytes,
            independent,
            boot: Some(self.0.boot.clone()),
        };
        let place = self.path("l", &layer.id);
        fs::rename(&unpacked.dir, &place).op("keep layer", &place)?;
        layer.write(&self.chain_path(&chain))?;
        state.layers.insert(chain, layer);
        Ok(chain)
    }

    /// The directories of layers by chain id (lowest first), topmost first as overlayfs takes them.
    pub(super) fn lower(&self, chains: &[Digest]) -> Result<Vec<PathBuf>, StoreError> {
        let state = self.state();
        chains
            .iter()
            .rev()
            .map(|chain| state.layers.get(chain).map(|l| self.path("l", &l.id)).ok_or(StoreError::NoLayer(*chain)))
            .collect()
    }

    /// Settles what an unpacked layer leaves to those below; tells whether it left nothing.
    fn rest_on(&self, unpacked: &Unpacked, below: &[Digest]) -> Result<bool, StoreError> {
        let found = &unpacked.found;
        if below.is_empty() && found.links.is_empty() {
            // The lowest layer decides for itself: on others its implied directories might look different.
            return Ok(found.implied.is_empty());
        }
        if found.implied.is_empty() && found.links.is_empty() {
            return Ok(true);
        }
        let fail = |source| StoreError::Layer { diff_id: unpacked.diff_id, source };
        let root = OwnedFd::from(File::open(&unpacked.dir).op("open", &unpacked.dir)?);
        let layers = Layers::open(&self.lower(below)?)?;
        for path in &found.implied {
            if let Some(lower) = layers.find(path, false)?.filter(Found::is_directory) {
                copy_directory(&root, path, &lower, &layers).map_err(|e| fail(e.into()))?;
            }
        }
        for (link, target) in &found.links {
            link_below(&root, link, target, &layers).map_err(fail)?;
        }
        Ok(false)
    }
}

fn os(bytes: &[u8]) -> &OsStr {
    OsStr::from_bytes(bytes)
}

/// Opens a directory inside a layer, where links may not lead out.
fn open_in(root: &OwnedFd, path: &[u8]) -> nix::Result<OwnedFd> {
    let how = OpenHow::new()
        .flags(OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    nix::fcntl::openat2(root, if path.is_empty() { os(b".") } else { os(path) }, how)
}

/// An attribute that is a layer's own and not overlayfs's.
fn is_own(name: &[u8]) -> bool {
    !name.starts_with(b"trusted.overlay.") && !name.starts_with(b"user.overlay.")
}

fn copy_attributes(from: &impl AsFd, to: &impl AsFd, shown: &[u8]) -> Result<(), OpError> {
    for name in xattr::names(from.as_fd()).op("list attributes of", os(shown))? {
        if !is_own(name.to_bytes()) {
            continue;
        }
        if let Some(value) = xattr::read(from.as_fd(), &name).op("read an attribute of", os(shown))? {
            xattr::set(to.as_fd(), &name, &value).op("set an attribute of", os(shown))?;
        }
    }
    Ok(())
}

fn times(stat: &FileStat) -> TimeSpec {
    TimeSpec::new(stat.st_mtime, stat.st_mtime_nsec)
}

/// Gives a directory that the layer only implies what it is like below.
fn copy_directory(root: &OwnedFd, path: &[u8], lower: &Found, layers: &Layers) -> Result<(), OpError> {
    let dir = match open_in(root, path) {
        // It was implied through a link, and what the link led to was replaced.
        Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => return Ok(()),
        opened => opened.op("open directory", os(path))?,
    };
    let from = layers.open_found(lower, OFlag::O_RDONLY | OFlag::O_DIRECTORY)?;
    if nix::unistd::geteuid().is_root() {
        let (uid, gid) = (lower.stat.st_uid.into(), lower.stat.st_gid.into());
        nix::unistd::fchown(&dir, Some(uid), Some(gid)).op("set owner of", os(path))?;
        copy_attributes(&from, &dir, path)?;
    }
    nix::sys::stat::fchmod(&dir, Mode::from_bits_truncate(lower.stat.st_mode & 0o7777)).op("set mode of", os(path))?;
    nix::sys::stat::futimens(&dir, &times(&lower.stat), &times(&lower.stat)).op("set time of", os(path))
}

/// Makes a hard link whose target is not in its layer: to a file that came into the layer later, else as a copy of the
/// file below, which is what overlayfs itself makes when the file is changed.
fn link_below(root: &OwnedFd, link: &[u8], target: &[u8], layers: &Layers) -> Result<(), ExtractError> {
    let split = |path: &[u8]| {
        let at = path.iter().rposition(|b| *b == b'/');
        (path[..at.unwrap_or(0)].to_vec(), path[at.map_or(0, |at| at + 1)..].to_vec())
    };
    let ((parent, name), (from, from_name)) = (split(link), split(target));
    let dir = open_in(root, &parent).op("open directory", os(&parent))?;
    if let Ok(from) = open_in(root, &from)
        && nix::unistd::linkat(&from, os(&from_name), &dir, os(&name), AtFlags::empty()).is_ok()
    {
        return Ok(());
    }
    let problem = "a hard link to a file that is in no layer";
    let refused = || ExtractError::Refused { path: String::from_utf8_lossy(link).into_owned(), problem };
    let lower = layers.find(target, false)?.filter(|f| f.kind() == SFlag::S_IFREG).ok_or_else(refused)?;
    let mut source = File::from(layers.open_found(&lower, OFlag::O_RDONLY)?);
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let copy = nix::fcntl::openat(&dir, os(&name), flags, Mode::S_IRUSR | Mode::S_IWUSR).op("make file", os(link))?;
    let mut copy = File::from(copy);
    std::io::copy(&mut source, &mut copy).op("copy file", os(link))?;
    if nix::unistd::geteuid().is_root() {
        let (uid, gid) = (lower.stat.st_uid.into(), lower.stat.st_gid.into());
        nix::unistd::fchown(&copy, Some(uid), Some(gid)).op("set owner of", os(link))?;
        copy_attributes(&source, &copy, link)?;
    }
    nix::sys::stat::fchmod(&copy, Mode::from_bits_truncate(lower.stat.st_mode & 0o7777)).op("set mode of", os(link))?;
    let time = times(&lower.stat);
    nix::sys::stat::utimensat(&dir, os(&name), &time, &time, UtimensatFlags::NoFollowSymlink)
        .op("set time of", os(link))?;
    Ok(())
}
