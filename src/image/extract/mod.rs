//! Unpacks a layer: foreign bytes into a directory that overlayfs can take as a lower layer.
//!
//! ```text
//! compressed bytes ─▶ decoder ─▶ hasher (diff id) ─▶ tar ─▶ tree ─▶ files below one directory descriptor
//!                     a thread   └──────────── the caller's thread ───────────┘
//! ```
//!
//! Every layer is unpacked by itself, so several can be at once, and one that two images share needs no parent. What a
//! layer leaves to the layers below it comes back in [`Extracted`]: directories that its entries only imply (their mode and
//! owner are those of the same directory below), and hard links whose target is below.
//!
//! Whiteouts become what overlayfs understands: `.wh.NAME` a character device 0/0 called NAME, `.wh..wh..opq` the attribute
//! `trusted.overlay.opaque` of its directory. Attributes that mean something to overlayfs or to a security module of the host
//! are not taken from an archive.
//!
//! Failure: the first one ends it; whatever is already written stays for the caller to remove. Nothing is trusted, every
//! quantity has a limit ([`Limits`]).

mod decode;
mod place;
pub mod tar;

use super::digest::Digest;
use crate::errno::OpError;
use std::collections::BTreeSet;
use std::io::{BufRead, Read};
use std::os::fd::OwnedFd;

pub use tar::TarError;

/// Bounds of one layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Most bytes after decompression, and most bytes of file data.
    pub bytes: u64,
    /// Most entries.
    pub entries: u64,
    /// Bytes that must stay free on the file system.
    pub reserve: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { bytes: 64 << 30, entries: 4_000_000, reserve: 64 << 20 }
    }
}

/// What there is to know about a layer that was unpacked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Extracted {
    /// Bytes of file data.
    pub bytes: u64,
    /// Directories that no entry describes, by path below the layer's root; the root itself is the empty path.
    pub implied: BTreeSet<Vec<u8>>,
    /// Hard links whose target is not in this layer: path of the link, path of the target.
    pub links: Vec<(Vec<u8>, Vec<u8>)>,
}

/// A layer was not unpacked.
#[derive(Debug, thiserror::Error)]
pub enum ExtractError {
    /// The archive cannot be read.
    #[error(transparent)]
    Tar(#[from] TarError),
    /// An entry is not something a layer may hold.
    #[error("unpack `{path}`: {problem}")]
    Refused {
        /// The entry's path.
        path: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The layer is larger than allowed.
    #[error("the layer has more than {limit} {what}")]
    TooLarge {
        /// What is too much: bytes, entries.
        what: &'static str,
        /// How much is allowed.
        limit: u64,
    },
    /// The disk is (nearly) full.
    #[error("the disk has {free} bytes left, {reserve} are kept free")]
    NoSpace {
        /// What is left.
        free: u64,
        /// What must be left.
        reserve: u64,
    },
    /// The bytes are not those that the image configuration means.
    #[error("the layer's content is {actual}, the image says {expected}")]
    DiffId {
        /// What the configuration says.
        expected: Digest,
        /// What the bytes are.
        actual: Digest,
    },
    /// The kernel refused something.
    #[error(transparent)]
    Io(#[from] OpError),
}

/// Unpacks `layer`, a tar as it is or compressed by gzip or zstd, below `root`, and checks that its uncompressed bytes are
/// those of `diff_id`.
pub fn extract(
    layer: impl Read + Send,
    diff_id: Digest,
    root: OwnedFd,
    limits: &Limits,
) -> Result<Extracted, ExtractError> {
    decode::with_decoded(layer, limits.bytes, |decoded| {
        let found = unpack(&mut *decoded, root, limits)?;
        let actual = decoded.finish()?;
        if actual != diff_id {
            return Err(ExtractError::DiffId { expected: diff_id, actual });
        }
        Ok(found)
    })
}

/// Unpacks an uncompressed archive below `root`.
pub fn unpack(archive: impl BufRead, root: OwnedFd, limits: &Limits) -> Result<Extracted, ExtractError> {
    let mut archive = tar::Archive::new(archive);
    let mut tree = place::Tree::new(root, limits);
    let mut entries = 0;
    while let Some(entry) = archive.next_entry()? {
        entries += 1;
        if entries > limits.entries {
            return Err(ExtractError::TooLarge { what: "entries", limit: limits.entries });
        }
        tree.place(&entry, &mut archive)?;
    }
    tree.finish()
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
