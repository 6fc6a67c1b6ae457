//! Why an image was not pulled.

use berth_runtime::errno::chain;
use berth_runtime::image::{Digest, ExtractError, StoreError, manifest::ManifestError};

/// Whether another try makes sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// The same pull may succeed later.
    Retry,
    /// It will fail the same way until somebody changes something.
    Terminal,
}

/// How far a pull was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    Manifest,
    Content,
}

/// An image was not pulled.
#[derive(Debug, thiserror::Error)]
#[error("pull image `{image}`")]
pub struct PullError {
    /// Its name, as people write it.
    pub image: String,
    pub(super) stage: Stage,
    /// What went wrong.
    #[source]
    pub cause: Cause,
}

/// What went wrong in a pull.
#[derive(Debug, thiserror::Error)]
pub enum Cause {
    /// The registry does not have it.
    #[error("not found in the registry `{registry}`")]
    NotFound {
        /// Which registry.
        registry: String,
    },
    /// The registry does not give it to us, or does not say whether it has it.
    #[error("the registry `{registry}` denies access{}", if *.anonymous { ", no credentials were given" } else { "" })]
    Denied {
        /// Which registry.
        registry: String,
        /// It was asked without credentials.
        anonymous: bool,
    },
    /// No answer.
    #[error("no answer from `{host}`")]
    Unreachable {
        /// Who was asked.
        host: String,
        /// Why.
        #[source]
        source: reqwest::Error,
    },
    /// This machine cannot make connections as it should: it has no certificates, say.
    #[error("make the HTTP client: {message}")]
    Client {
        /// Why not; kept as text, because it is the same for every pull.
        message: String,
    },
    /// An answer that is none.
    #[error("`{host}` answers {status}{}", if .message.is_empty() { String::new() } else { format!(": {}", .message) })]
    Status {
        /// Who was asked.
        host: String,
        /// The HTTP status.
        status: u16,
        /// The registry's words.
        message: String,
    },
    /// An answer that breaks the protocol.
    #[error("`{host}` {problem}")]
    Protocol {
        /// Who was asked.
        host: String,
        /// What it did.
        problem: &'static str,
    },
    /// Manifest, index or configuration cannot be used.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The image configuration does not parse.
    #[error("parse the image's configuration")]
    Config(#[source] serde_json::Error),
    /// The image's configuration and manifest do not fit together.
    #[error("the image has {layers} layers, its configuration describes {diff_ids}")]
    LayerCount {
        /// Layers in the manifest.
        layers: usize,
        /// Layers in the configuration.
        diff_ids: usize,
    },
    /// A document is not what its digest says.
    #[error("the registry's document is {actual}, {expected} was asked for")]
    WrongDigest {
        /// What was asked for.
        expected: Digest,
        /// What came.
        actual: Digest,
    },
    /// A layer could not be kept or unpacked.
    #[error("layer {digest}")]
    Layer {
        /// The layer's digest.
        digest: Digest,
        /// Why not.
        #[source]
        source: Box<StoreError>,
    },
    /// The store failed.
    #[error("keep the image")]
    Store(#[source] Box<StoreError>),
    /// The runtime is shutting down.
    #[error("the agent is stopping")]
    Stopping,
}

impl PullError {
    /// Whether another try makes sense.
    pub fn class(&self) -> Class {
        match &self.cause {
            Cause::Unreachable { .. } | Cause::Stopping | Cause::Protocol { .. } => Class::Retry,
            Cause::Status { status, .. } if *status == 429 || *status >= 500 => Class::Retry,
            Cause::Layer { source, .. } | Cause::Store(source) => store_class(source),
            _ => Class::Terminal,
        }
    }

    /// The name by which Amazon ECS knows this error.
    pub fn reason(&self) -> &'static str {
        match self.stage {
            Stage::Manifest => "CannotPullImageManifestError",
            Stage::Content => "CannotPullContainerError",
        }
    }

    /// Name and whole text, as a task's stopped reason.
    pub fn text(&self) -> String {
        format!("{}: {}", self.reason(), chain(self))
    }

    /// What to do about it, where that is known.
    pub fn hint(&self) -> Option<String> {
        match &self.cause {
            Cause::NotFound { .. } => Some("check the name and the tag".into()),
            Cause::Denied { anonymous: true, .. } => {
                Some("private images need repositoryCredentials, or an execution role for its registry".into())
            }
            Cause::Manifest(ManifestError::NoPlatform { .. }) => {
                Some("build the image for this node's architecture".into())
            }
            Cause::Unreachable { source, .. } if source.is_connect() => {
                Some("a registry without TLS that is not on loopback has to be listed as insecure".into())
            }
            Cause::Layer { source, .. } => match **source {
                StoreError::Layer { source: ExtractError::NoSpace { .. }, .. } => {
                    Some("free disk space, or remove images".into())
                }
                _ => None,
            },
            _ => None,
        }
    }
}

fn store_class(error: &StoreError) -> Class {
    match error {
        // A full disk is emptied by clean-up; other errors of the machine may pass as well.
        StoreError::Io(_) | StoreError::Busy(_) | StoreError::NoLayer(_) | StoreError::NoBlob(_) => Class::Retry,
        StoreError::Layer { source: ExtractError::Io(_) | ExtractError::NoSpace { .. }, .. } => Class::Retry,
        _ => Class::Terminal,
    }
}
