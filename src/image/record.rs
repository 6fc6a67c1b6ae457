//! Images by name.

use super::files::{self, Durable};
use super::manifest::MAX_DOCUMENT;
use super::{Digest, Store, StoreError};
use oci_spec::image::ImageConfiguration;
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A layer of an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerRecord {
    /// Its chain id, by which the store knows it.
    pub chain: Digest,
    /// The digest of its uncompressed tar.
    pub diff_id: Digest,
    /// The digest of the blob it came as.
    pub digest: Digest,
    /// The length of that blob in bytes.
    pub size: u64,
}

/// An image that is here: everything needed to run it.
#[derive(Debug, Clone, PartialEq)]
pub struct ImageRecord {
    /// Its full name, see [`super::Reference`].
    pub reference: String,
    /// What the name stands for: the digest of the index, or of the manifest where there is no index.
    pub digest: Digest,
    /// The manifest of this node's platform.
    pub manifest: Digest,
    /// The configuration's digest, which others call the image id.
    pub config_digest: Digest,
    /// The configuration.
    pub config: ImageConfiguration,
    /// Layers, lowest first.
    pub layers: Vec<LayerRecord>,
    /// When the name was last resolved.
    pub pulled_at: SystemTime,
    /// When a snapshot was last made of it, or it was pulled.
    pub used_at: SystemTime,
}

impl ImageRecord {
    /// What was downloaded for it, in bytes: its blobs, shared ones included.
    pub fn size(&self) -> u64 {
        self.layers.iter().map(|l| l.size).sum()
    }
}

/// The form on disk: the configuration stays a blob.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Stored {
    pub(super) reference: String,
    pub(super) digest: Digest,
    pub(super) manifest: Digest,
    pub(super) config: Digest,
    pub(super) layers: Vec<LayerRecord>,
    /// Seconds since 1970.
    pub(super) pulled_at: u64,
    pub(super) used_at: u64,
}

impl Stored {
    pub(super) fn read(path: &Path) -> Result<Self, StoreError> {
        let bytes = files::read(path, 1 << 20)?.unwrap_or_default();
        serde_json::from_slice(&bytes).map_err(|source| StoreError::Parse { what: path.display().to_string(), source })
    }

    pub(super) fn write(&self, path: &Path) -> Result<(), StoreError> {
        let bytes = serde_json::to_vec(self).expect("text and numbers are JSON");
        Ok(files::replace(path, &bytes, Durable::No)?)
    }
}

pub(super) fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// Parses an image configuration. Docker writes `null` for members that OCI leaves out.
pub fn parse_config(bytes: &[u8]) -> Result<ImageConfiguration, serde_json::Error> {
    fn without_nulls(value: &mut serde_json::Value) {
        match value {
            serde_json::Value::Object(members) => {
                members.retain(|_, value| !value.is_null());
                members.values_mut().for_each(without_nulls);
            }
            serde_json::Value::Array(values) => values.iter_mut().for_each(without_nulls),
            _ => {}
        }
    }
    let mut value: serde_json::Value = serde_json::from_slice(bytes)?;
    without_nulls(&mut value);
    serde_json::from_value(value)
}

impl Store {
    fn image_path(&self, reference: &str) -> std::path::PathBuf {
        self.path("images", &Digest::of(reference.as_bytes()).hex())
    }

    /// Enters an image under its name; an older one of that name is replaced. All its layers and its configuration must be
    /// here. Lost with the machine before [`Store::settle`], it is pulled again, as its layers are.
    pub fn record(&self, image: &ImageRecord) -> Result<(), StoreError> {
        let stored = Stored {
            reference: image.reference.clone(),
            digest: image.digest,
            manifest: image.manifest,
            config: image.config_digest,
            layers: image.layers.clone(),
            pulled_at: seconds(image.pulled_at),
            used_at: seconds(image.used_at),
        };
        let mut state = self.state();
        if let Some(missing) = stored.layers.iter().find(|l| !state.layers.contains_key(&l.chain)) {
            return Err(StoreError::NoLayer(missing.chain));
        }
        stored.write(&self.image_path(&image.reference))?;
        state.images.insert(image.reference.clone(), stored);
        Ok(())
    }

    /// The image of that full name, where it is here; a name that lost its configuration counts as not here.
    pub fn resolve(&self, reference: &str) -> Option<ImageRecord> {
        let stored = self.state().images.get(reference).cloned()?;
        self.load(stored).ok()
    }

    /// All images, by name. One whose configuration cannot be read is left out.
    pub fn images(&self) -> Vec<ImageRecord> {
        let stored: Vec<Stored> = self.state().images.values().cloned().collect();
        stored.into_iter().filter_map(|image| self.load(image).ok()).collect()
    }

    fn load(&self, stored: Stored) -> Result<ImageRecord, StoreError> {
        let bytes = self.read_blob(&stored.config, MAX_DOCUMENT)?;
        let what = || format!("the configuration {}", stored.config);
        let config = parse_config(&bytes).map_err(|source| StoreError::Parse { what: what(), source })?;
        Ok(ImageRecord {
            reference: stored.reference,
            digest: stored.digest,
            manifest: stored.manifest,
            config_digest: stored.config,
            config,
            layers: stored.layers,
            pulled_at: UNIX_EPOCH + Duration::from_secs(stored.pulled_at),
            used_at: UNIX_EPOCH + Duration::from_secs(stored.used_at),
        })
    }

    /// Notes that an image is used now; lost with the machine, which does no harm.
    pub(super) fn touch(&self, reference: &str, now: SystemTime) -> Result<(), StoreError> {
        let mut state = self.state();
        let Some(image) = state.images.get_mut(reference) else { return Ok(()) };
        image.used_at = seconds(now);
        image.write(&self.image_path(reference))
    }

    /// Forgets the name of an image and removes what nothing else needs; `false` when there is no such name.
    ///
    /// Containers made of it go on: their leases keep its layers.
    pub fn remove(&self, reference: &str) -> Result<bool, StoreError> {
        let known = {
            let mut state = self.state();
            files::remove(&self.image_path(reference))?;
            state.images.remove(reference).is_some()
        };
        self.collect()?;
        Ok(known)
    }

    /// Forgets a name without collecting what it held.
    pub(super) fn forget(&self, reference: &str) -> Result<(), StoreError> {
        let mut state = self.state();
        files::remove(&self.image_path(reference))?;
        state.images.remove(reference);
        Ok(())
    }
}
