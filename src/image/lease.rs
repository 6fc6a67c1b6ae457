//! Snapshots, and the lease that pins the layers of each.

use super::files::{self, Durable};
use super::snapshot::Snapshot;
use super::store::EMPTY_LAYER;
use super::{Digest, ImageRecord, Store, StoreError};
use crate::errno::OpContext;
use serde::{Deserialize, Serialize};
use std::fs::{self, DirBuilder};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// The lease of one snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Lease {
    /// The image's name when the snapshot was made.
    pub(super) reference: String,
    /// The image's manifest.
    pub(super) manifest: Digest,
    /// Layers by the names of their directories, topmost first.
    pub(super) layers: Vec<String>,
}

impl Lease {
    pub(super) fn read(path: &Path) -> Result<Self, StoreError> {
        let bytes = files::read(path, 1 << 20)?.unwrap_or_default();
        serde_json::from_slice(&bytes).map_err(|source| StoreError::Parse { what: path.display().to_string(), source })
    }
}

/// A key is a file name, and `.new` is taken by files on their way.
fn check_key(key: &str) -> Result<(), StoreError> {
    let bad =
        key.is_empty() || key.len() > 240 || key.starts_with('.') || key.contains(['/', '\0']) || key.ends_with(".new");
    if bad { Err(StoreError::BadKey(key.to_owned())) } else { Ok(()) }
}

impl Store {
    /// Makes a place to run `image` in. The lease is on the disk when this returns.
    ///
    /// `key` names it on the node, `TASK.CONTAINER`. Asked again for the same image it gives the same snapshot, with what
    /// was written into it.
    pub fn snapshot(&self, key: &str, image: &ImageRecord) -> Result<Snapshot, StoreError> {
        check_key(key)?;
        let chains: Vec<Digest> = image.layers.iter().map(|l| l.chain).collect();
        {
            let mut state = self.state();
            let mut layers = Vec::new();
            for chain in chains.iter().rev() {
                layers.push(state.layers.get(chain).ok_or(StoreError::NoLayer(*chain))?.id.clone());
            }
            if layers.is_empty() {
                layers.push(EMPTY_LAYER.to_owned());
            }
            let lease = Lease { reference: image.reference.clone(), manifest: image.manifest, layers };
            match state.leases.get(key) {
                Some(old) if old.manifest == lease.manifest && old.layers == lease.layers => {}
                Some(_) => return Err(StoreError::SnapshotExists(key.to_owned())),
                None => {
                    let bytes = serde_json::to_vec(&lease).expect("text is JSON");
                    files::replace(&self.path("leases", key), &bytes, Durable::Yes)?;
                    state.leases.insert(key.to_owned(), lease);
                }
            }
        }
        self.touch(&image.reference, SystemTime::now())?;
        let snapshot = self.leased(key).ok_or_else(|| StoreError::BadKey(key.to_owned()))?;
        self.make_upper(&snapshot)?;
        Ok(snapshot)
    }

    /// The snapshot of that key, where there is one.
    pub fn leased(&self, key: &str) -> Option<Snapshot> {
        let state = self.state();
        let lease = state.leases.get(key)?;
        let dir = self.path("snapshots", key);
        Some(Snapshot {
            key: key.to_owned(),
            lower: lease.layers.iter().map(|id| self.path("l", id)).collect(),
            upper: dir.join("upper"),
            work: dir.join("work"),
        })
    }

    /// The keys of all snapshots.
    pub fn leases(&self) -> Vec<String> {
        self.state().leases.keys().cloned().collect()
    }

    /// Removes a snapshot with everything written into it, and its lease; that there is none is no error.
    ///
    /// Nothing may have it mounted any more. The layers stay until clean-up.
    pub fn release(&self, key: &str) -> Result<(), StoreError> {
        check_key(key)?;
        // The lease last: while the tree is there, so is what it stands on.
        self.discard(&self.path("snapshots", key))?;
        let mut state = self.state();
        files::remove(&self.path("leases", key))?;
        state.leases.remove(key);
        Ok(())
    }

    /// The upper directory is the root that a container sees: it gets owner and mode of the topmost layer's.
    fn make_upper(&self, snapshot: &Snapshot) -> Result<(), StoreError> {
        let make =
            |path: &PathBuf| DirBuilder::new().recursive(true).mode(0o755).create(path).op("make directory", path);
        if snapshot.upper.is_dir() && snapshot.work.is_dir() {
            return Ok(());
        }
        make(&snapshot.work)?;
        make(&snapshot.upper)?;
        let Some(top) = snapshot.lower.first() else { return Ok(()) };
        let root = fs::metadata(top).op("look at", top)?;
        let upper = &snapshot.upper;
        fs::set_permissions(upper, fs::Permissions::from_mode(root.mode() & 0o7777)).op("set mode of", upper)?;
        if nix::unistd::geteuid().is_root() {
            std::os::unix::fs::chown(upper, Some(root.uid()), Some(root.gid())).op("set owner of", upper)?;
        }
        Ok(())
    }
}
