//! Pulls images from registries into the node's image store.
//!
//! ```text
//! name ─▶ manifest or index ─▶ manifest of this platform ─▶ configuration ─▶ for each layer, side by side:
//!                                                             ├─ download ─▶ blob, digested as it comes
//!                                                             └─ unpack the same bytes as they come (a blocking thread)
//!         then, lowest first: adopt each layer; enter the image under its name
//! ```
//!
//! The distribution protocol is OCI's (`/v2/NAME/manifests/…`, `/v2/NAME/blobs/…`), with both challenges in use: Bearer,
//! by a token server, and Basic. A registry is spoken to by HTTPS, by HTTP only on loopback or where it is configured;
//! that holds for token servers and redirects too. Credentials go to the host they are for: a redirect to another one
//! loses them.
//!
//! # Who waits for whom
//!
//! One pull of a manifest runs at a time; others that want it wait, see its progress, and find everything here. One download
//! of a blob runs at a time, whichever images want it. The work belongs to the future that does it: dropped, it leaves the
//! bytes that came, and the next in line goes on from there. So nothing waits for a pull that nobody wants any more.
//!
//! # Failures
//!
//! A connection that breaks or an answer of 429 or 5xx is tried again here, with growing pauses, from the byte that was
//! reached (`Range`); what is left is told as [`PullError`], which says whether trying again later makes sense and what
//! Amazon ECS calls it.

mod auth;
mod client;
mod error;
mod fetch;
mod pull;
mod turns;

pub use auth::Credentials;
pub use client::RegistryConfig;
pub use error::{Class, PullError};

use berth_runtime::image::{Digest, ImageRecord, Reference, Store, manifest::Platform};
use std::sync::Arc;
use tokio::sync::Semaphore;

/// What happens during a pull.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PullEvent {
    /// The manifest is known.
    Resolved {
        /// Digest of what the name stands for: the index, or the manifest where there is none.
        digest: Digest,
        /// Digest and compressed size in bytes of each layer, lowest first.
        layers: Vec<(Digest, u64)>,
    },
    /// A layer has come further.
    Layer {
        /// Its digest, as in [`PullEvent::Resolved`].
        digest: Digest,
        /// How far.
        state: LayerState,
    },
}

/// How far a layer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LayerState {
    /// Waits for its turn, or for another pull that wants it too.
    Waiting,
    /// Was here before.
    Here,
    /// Is read from the registry and unpacked as it comes.
    Downloading {
        /// Bytes that are here.
        bytes: u64,
        /// Bytes in all.
        total: u64,
    },
    /// Everything is here and the rest is unpacked.
    Unpacking,
    /// Is unpacked.
    Done,
}

/// What to pull.
#[derive(Debug, Clone)]
pub struct Request {
    /// The image's name.
    pub reference: Reference,
    /// For which platform, usually [`Platform::node`].
    pub platform: Platform,
    /// Who asks; `None` is anybody.
    pub credentials: Option<Credentials>,
}

/// Pulls from all registries. A handle: clones share connections, tokens and turns.
#[derive(Debug, Clone)]
pub struct Registry(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    client: client::Client,
    /// Turns by manifest digest and platform.
    images: turns::Turns<PullEvent>,
    /// Turns by blob digest.
    blobs: turns::Turns<()>,
    downloads: Semaphore,
    unpacks: Semaphore,
}

impl Registry {
    /// Makes a puller. Needs no network yet.
    pub fn new(config: RegistryConfig) -> Self {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        let downloads = Semaphore::new(config.downloads.max(1));
        Self(Arc::new(Inner {
            client: client::Client::new(config),
            images: turns::Turns::default(),
            blobs: turns::Turns::default(),
            downloads,
            unpacks: Semaphore::new(cores.max(2)),
        }))
    }

    /// Pulls an image, as far as it is not here yet, and enters it under its name.
    ///
    /// Asks the registry what the name stands for now, except for names with a digest that are here. `progress` is called
    /// from several threads and must not block.
    pub async fn pull(
        &self,
        request: &Request,
        store: &Store,
        progress: impl Fn(PullEvent) + Send + Sync + 'static,
    ) -> Result<ImageRecord, PullError> {
        pull::pull(&self.0, request, store, Arc::new(progress)).await
    }

    /// What an image's name stands for now: the digest that a registry gives, without pulling anything.
    pub async fn resolve(&self, request: &Request) -> Result<Digest, PullError> {
        pull::resolve(&self.0, request).await
    }
}

#[cfg(test)]
mod tests;
