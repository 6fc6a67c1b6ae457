//! A root file system ready to be put together: an image's layers and a place to write.

use crate::struct_codec;
use std::path::PathBuf;

/// The directories of an overlay. Written beside a bundle's `config.json` as `snapshot`, in [`crate::codec`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The name of its lease in the image store, unique on the node: `TASK.CONTAINER`.
    pub key: String,
    /// Unpacked layers, topmost first as overlayfs takes them; never empty.
    pub lower: Vec<PathBuf>,
    /// Where writes go.
    pub upper: PathBuf,
    /// overlayfs's own work directory, on the same file system as `upper`.
    pub work: PathBuf,
}
struct_codec!(Snapshot { key, lower, upper, work });
