//! Opens the store, joins what lies there, and keeps its one lock.

use super::extract::ExtractError;
use super::files::{self, Durable};
use super::layer::Layer;
use super::lease::Lease;
use super::record::Stored;
use super::{Digest, Limits, tree};
use crate::errno::{OpContext, OpError};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::{self, DirBuilder, File, TryLockError};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

const VERSION: &str = "1\n";
/// The layer of an image that has none: overlayfs wants at least one.
pub(super) const EMPTY_LAYER: &str = "0";

/// Something about the store failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The kernel refused something.
    #[error(transparent)]
    Io(#[from] OpError),
    /// Another process has the store open.
    #[error("open the image store `{}`: another process has it open", .0.display())]
    Locked(PathBuf),
    /// The directory was written by another version.
    #[error("open the image store `{}`: its layout is of version `{version}`, this program knows 1", dir.display())]
    Version {
        /// The store's directory.
        dir: PathBuf,
        /// What its version file says.
        version: String,
    },
    /// Bytes are not those of their digest.
    #[error("the content is {actual}, {expected} was asked for")]
    WrongDigest {
        /// What was asked for.
        expected: Digest,
        /// What came.
        actual: Digest,
    },
    /// A blob is not as long as its descriptor says.
    #[error("blob {digest} has {actual} bytes, its descriptor says {expected}")]
    WrongSize {
        /// Which blob.
        digest: Digest,
        /// What the descriptor says.
        expected: u64,
        /// What there is (or was, when more came).
        actual: u64,
    },
    /// A blob is already being written.
    #[error("blob {0} is being written already")]
    Busy(Digest),
    /// A blob is not here.
    #[error("blob {0} is not in the store")]
    NoBlob(Digest),
    /// A layer could not be unpacked.
    #[error("unpack layer {diff_id}")]
    Layer {
        /// Which layer.
        diff_id: Digest,
        /// Why not.
        #[source]
        source: ExtractError,
    },
    /// An image names a layer that is not here.
    #[error("layer {0} is not in the store: pull the image again")]
    NoLayer(Digest),
    /// A document that the store keeps does not parse.
    #[error("parse {what}")]
    Parse {
        /// Which document.
        what: String,
        /// Why not.
        #[source]
        source: serde_json::Error,
    },
    /// The snapshot's key is taken by another image.
    #[error("snapshot `{0}` exists already, of another image")]
    SnapshotExists(String),
    /// A key that is no file name.
    #[error("snapshot key `{0}` is not a file name")]
    BadKey(String),
}

/// The images of a node. A handle: clones are the same store.
#[derive(Debug, Clone)]
pub struct Store(pub(super) Arc<Inner>);

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) dir: PathBuf,
    pub(super) limits: Limits,
    pub(super) boot: String,
    pub(super) state: Mutex<State>,
    problems: Vec<String>,
    /// Its flock keeps other processes away; the kernel frees it when the process ends, however it ends.
    _lock: File,
}

/// What lies in the directory, and what this process is doing with it.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) layers: BTreeMap<Digest, Layer>,
    pub(super) images: BTreeMap<String, Stored>,
    pub(super) leases: BTreeMap<String, Lease>,
    /// Layers by chain id, and blobs by digest, that pulls in progress rely on.
    pub(super) pins: HashMap<Digest, usize>,
    pub(super) writing: HashSet<Digest>,
    pub(super) next_temporary: u64,
}

impl Store {
    /// Opens the store in `dir`, which is made where it is missing.
    ///
    /// Removes what a process that died has left behind. What cannot be read is set aside and told by
    /// [`Store::problems`]; it blocks nothing.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        Self::open_with(dir, Limits::default())
    }

    /// Opens the store with bounds of its own for the layers it unpacks.
    pub fn open_with(dir: &Path, limits: Limits) -> Result<Self, StoreError> {
        let boot = Path::new("/proc/sys/kernel/random/boot_id");
        let boot = fs::read_to_string(boot).op("read", boot)?.trim().to_owned();
        Self::open_in_boot(dir, limits, boot)
    }

    pub(super) fn open_in_boot(dir: &Path, limits: Limits, boot: String) -> Result<Self, StoreError> {
        // Layers hold set-user-id programs and devices of foreign make: nobody else may come near them.
        let make = |path: &Path| DirBuilder::new().recursive(true).mode(0o700).create(path).op("make directory", path);
        make(dir)?;
        // A packaging script may have made it before, with the usual mode.
        fs::set_permissions(dir, fs::Permissions::from_mode(0o700)).op("set mode of", dir)?;
        let lock = lock(dir)?;
        for part in ["ingest", "blobs", "tmp", "l", "chains", "images", "leases", "snapshots"] {
            make(&dir.join(part))?;
        }
        check_version(dir)?;
        let empty = dir.join("l").join(EMPTY_LAYER);
        DirBuilder::new().recursive(true).mode(0o755).create(&empty).op("make directory", &empty)?;
        let mut problems = Vec::new();
        let state = Mutex::new(load(dir, &boot, &mut problems)?);
        let inner = Inner { dir: dir.to_owned(), limits, boot, state, problems, _lock: lock };
        let store = Self(Arc::new(inner));
        store.sweep()?;
        Ok(store)
    }

    /// What was found unreadable at the start, in words.
    pub fn problems(&self) -> &[String] {
        &self.0.problems
    }

    /// The store's directory.
    pub fn dir(&self) -> &Path {
        &self.0.dir
    }

    /// Bytes free for others than root on the store's file system, and its size.
    pub fn space(&self) -> Result<(u64, u64), StoreError> {
        let space = nix::sys::statvfs::statvfs(self.dir()).op("read the free space of", self.dir())?;
        let unit = space.fragment_size();
        Ok((space.blocks_available().saturating_mul(unit), space.blocks().saturating_mul(unit)))
    }

    /// Writes everything back to the disk and marks the layers that were made since the boot as safe.
    ///
    /// To be called after a pull, when nobody waits for it: it takes as long as the disk takes for all that is unwritten
    /// on the file system.
    pub fn settle(&self) -> Result<(), StoreError> {
        let unsettled: Vec<Digest> =
            self.state().layers.iter().filter(|(_, l)| l.boot.is_some()).map(|(chain, _)| *chain).collect();
        if unsettled.is_empty() {
            return Ok(());
        }
        let dir = File::open(self.dir()).op("open", self.dir())?;
        nix::unistd::syncfs(&dir).op("sync the file system of", self.dir())?;
        let mut state = self.state();
        for chain in unsettled {
            // It may have been removed meanwhile.
            if let Some(layer) = state.layers.get_mut(&chain) {
                layer.boot = None;
                layer.write(&self.chain_path(&chain))?;
            }
        }
        Ok(())
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        // Every change of the state is a whole one, made after its files: a panic elsewhere leaves it right.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn path(&self, part: &str, name: &str) -> PathBuf {
        self.0.dir.join(part).join(name)
    }

    pub(super) fn chain_path(&self, chain: &Digest) -> PathBuf {
        self.path("chains", &chain.hex())
    }

    /// A name in `tmp` that nobody has.
    pub(super) fn temporary(&self) -> PathBuf {
        let mut state = self.state();
        state.next_temporary += 1;
        self.path("tmp", &state.next_temporary.to_string())
    }

    /// Moves a tree out of sight at once and removes it; what is left after a crash goes at the next start.
    pub(super) fn discard(&self, path: &Path) -> Result<(), StoreError> {
        let aside = self.temporary();
        match fs::rename(path, &aside) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            moved => moved.op("move away", path)?,
        }
        Ok(tree::remove(&aside).op("remove", &aside)?)
    }

    /// Removes what belongs to nothing: temporary files, layers without an index entry, snapshots without a lease.
    fn sweep(&self) -> Result<(), StoreError> {
        for name in files::names(&self.0.dir.join("tmp"))? {
            let path = self.path("tmp", &name);
            tree::remove(&path).op("remove", &path)?;
        }
        let (layers, snapshots): (HashSet<String>, HashSet<String>) = {
            let state = self.state();
            let leased = state.leases.values().flat_map(|l| l.layers.iter().cloned());
            let indexed = state.layers.values().map(|l| l.id.clone());
            (indexed.chain(leased).chain([EMPTY_LAYER.to_owned()]).collect(), state.leases.keys().cloned().collect())
        };
        for (part, kept) in [("l", layers), ("snapshots", snapshots)] {
            for name in files::names(&self.0.dir.join(part))? {
                if !kept.contains(&name) {
                    self.discard(&self.path(part, &name))?;
                }
            }
        }
        Ok(())
    }
}

fn lock(dir: &Path) -> Result<File, StoreError> {
    let path = dir.join("lock");
    let file = File::options().write(true).create(true).truncate(false).open(&path).op("open", &path)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::Locked(dir.to_owned())),
        Err(TryLockError::Error(e)) => Err(OpError::new("lock", path.display().to_string(), e).into()),
    }
}

fn check_version(dir: &Path) -> Result<(), StoreError> {
    let path = dir.join("version");
    match files::read(&path, 64)? {
        Some(version) if version == VERSION.as_bytes() => Ok(()),
        Some(version) => {
            let version = String::from_utf8_lossy(&version).trim().to_owned();
            Err(StoreError::Version { dir: dir.to_owned(), version })
        }
        None => Ok(files::replace(&path, VERSION.as_bytes(), Durable::Yes)?),
    }
}

/// Reads index, leases and records; forgets what another boot did not finish writing.
fn load(dir: &Path, boot: &str, problems: &mut Vec<String>) -> Result<State, StoreError> {
    let mut state = State::default();
    for name in files::names(&dir.join("chains"))? {
        let path = dir.join("chains").join(&name);
        let read = Digest::from_hex(&name).map(|chain| (chain, Layer::read(&path)));
        match read {
            Some((chain, Ok(layer))) => {
                let safe = layer.boot.as_deref().is_none_or(|made_in| made_in == boot);
                if safe && dir.join("l").join(&layer.id).is_dir() {
                    state.layers.insert(chain, layer);
                } else {
                    files::remove(&path)?;
                }
            }
            Some((_, Err(error))) => set_aside(&path, &error, problems)?,
            None => files::remove(&path)?,
        }
    }
    for name in files::names(&dir.join("leases"))? {
        let path = dir.join("leases").join(&name);
        match Lease::read(&path) {
            _ if name.ends_with(".new") => files::remove(&path)?,
            Ok(lease) => drop(state.leases.insert(name, lease)),
            Err(error) => set_aside(&path, &error, problems)?,
        }
    }
    for name in files::names(&dir.join("images"))? {
        let path = dir.join("images").join(&name);
        match Stored::read(&path) {
            _ if name.ends_with(".new") => files::remove(&path)?,
            Ok(image) if image.layers.iter().all(|l| state.layers.contains_key(&l.chain)) => {
                state.images.insert(image.reference.clone(), image);
            }
            Ok(image) => {
                problems.push(format!("image {} has lost layers and has to be pulled again", image.reference));
                files::remove(&path)?;
            }
            Err(error) => set_aside(&path, &error, problems)?,
        }
    }
    Ok(state)
}

fn set_aside(path: &Path, error: &StoreError, problems: &mut Vec<String>) -> Result<(), StoreError> {
    problems.push(format!("{}: {}", path.display(), crate::errno::chain(error)));
    Ok(files::remove(path)?)
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
