//! Frees disk space: images nobody used lately, and layers nobody names.

use super::files;
use super::record::seconds;
use super::store::EMPTY_LAYER;
use super::{Digest, Store, StoreError};
use std::collections::HashSet;
use std::fs;
use std::time::{Duration, SystemTime};

/// How long a broken-off download waits to be taken up again.
const STALE_INGEST: Duration = Duration::from_secs(24 * 3600);

/// What may be removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CleanUp {
    /// The time now.
    pub now: SystemTime,
    /// Images used more recently stay.
    pub unused_for: Duration,
    /// Stop when this many bytes are free on the file system; `None` removes all that may go.
    pub until_free: Option<u64>,
    /// Names of images that stay, whatever their age.
    pub keep: HashSet<String>,
}

/// What was removed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cleaned {
    /// Names of images.
    pub images: Vec<String>,
    /// How many layers.
    pub layers: usize,
    /// Their file data in bytes.
    pub bytes: u64,
}

impl Store {
    /// Removes images, those first that were not used for longest, and what only they needed. Images that a snapshot is
    /// made of stay. Pulls and starts go on meanwhile.
    pub fn clean_up(&self, what: &CleanUp) -> Result<Cleaned, StoreError> {
        let mut cleaned = self.collect()?;
        self.drop_stale_ingest(what.now)?;
        let mut candidates: Vec<(u64, String)> = {
            let state = self.state();
            let leased: HashSet<&Digest> = state.leases.values().map(|l| &l.manifest).collect();
            let since = seconds(what.now).saturating_sub(what.unused_for.as_secs());
            let old = state.images.values().filter(|i| i.used_at <= since && !leased.contains(&i.manifest));
            old.filter(|i| !what.keep.contains(&i.reference)).map(|i| (i.used_at, i.reference.clone())).collect()
        };
        candidates.sort();
        for (_, reference) in candidates {
            if let Some(wanted) = what.until_free
                && self.space()?.0 >= wanted
            {
                break;
            }
            self.forget(&reference)?;
            let freed = self.collect()?;
            cleaned.images.push(reference);
            cleaned.layers += freed.layers;
            cleaned.bytes += freed.bytes;
        }
        Ok(cleaned)
    }

    /// Removes layers and blobs that no image, lease or pull names.
    pub(super) fn collect(&self) -> Result<Cleaned, StoreError> {
        let mut cleaned = Cleaned::default();
        let mut discarded = Vec::new();
        {
            let mut state = self.state();
            let named: HashSet<Digest> = state.images.values().flat_map(|i| i.layers.iter().map(|l| l.chain)).collect();
            let unnamed: Vec<Digest> = state
                .layers
                .keys()
                .filter(|chain| !named.contains(chain) && !state.pins.contains_key(chain))
                .copied()
                .collect();
            for chain in unnamed {
                // The index entry first: without it the directory is nobody's, and the next start removes it.
                files::remove(&self.chain_path(&chain))?;
                let Some(layer) = state.layers.remove(&chain) else { continue };
                discarded.push(layer);
            }
            let mut kept: HashSet<String> = state.layers.values().map(|l| l.id.clone()).collect();
            kept.extend(state.leases.values().flat_map(|l| l.layers.iter().cloned()));
            kept.insert(EMPTY_LAYER.to_owned());
            // Moved away under the lock, so that nothing new can come to rest on it.
            discarded.retain(|layer| kept.insert(layer.id.clone()));
            // Directories whose last lease went after their index entry did.
            for name in files::names(&self.0.dir.join("l"))? {
                if !kept.contains(&name) {
                    let bytes = 0;
                    let layer = super::layer::Layer {
                        id: name,
                        diff_id: Digest::of(b""),
                        bytes,
                        independent: false,
                        boot: None,
                    };
                    discarded.push(layer);
                }
            }
        }
        for layer in discarded {
            self.discard(&self.path("l", &layer.id))?;
            cleaned.layers += 1;
            cleaned.bytes += layer.bytes;
        }
        self.drop_unnamed_blobs()?;
        Ok(cleaned)
    }

    fn drop_unnamed_blobs(&self) -> Result<(), StoreError> {
        let state = self.state();
        let named: HashSet<Digest> = state.images.values().flat_map(|i| [i.digest, i.manifest, i.config]).collect();
        for name in files::names(&self.0.dir.join("blobs"))? {
            let wanted = Digest::from_hex(&name).is_some_and(|d| named.contains(&d) || state.pins.contains_key(&d));
            if !wanted {
                files::remove(&self.path("blobs", &name))?;
            }
        }
        Ok(())
    }

    fn drop_stale_ingest(&self, now: SystemTime) -> Result<(), StoreError> {
        let state = self.state();
        for name in files::names(&self.0.dir.join("ingest"))? {
            let path = self.path("ingest", &name);
            let written = fs::metadata(&path).and_then(|meta| meta.modified()).unwrap_or(now);
            let in_use =
                Digest::from_hex(&name).is_some_and(|d| state.writing.contains(&d) || state.pins.contains_key(&d));
            if !in_use && now.duration_since(written).is_ok_and(|age| age > STALE_INGEST) {
                files::remove(&path)?;
            }
        }
        Ok(())
    }
}
