//! The ECS API (`awsJson1_1`): one structure for each shape of the API, with its name there.

mod cluster;
mod container_definition;
mod container_instance;
mod launch;
mod shared;
mod state_change;
mod task;
mod task_definition;
pub mod values;

pub use cluster::*;
pub use container_definition::*;
pub use container_instance::*;
pub use launch::*;
pub use shared::*;
pub use state_change::*;
pub use task::*;
pub use task_definition::*;

/// Stands before the operation's name in the header `X-Amz-Target`.
pub const TARGET_PREFIX: &str = "AmazonEC2ContainerServiceV20141113.";

/// Media type of requests and responses.
pub const CONTENT_TYPE: &str = "application/x-amz-json-1.1";

/// Name of the service in signatures.
pub const SIGNING_NAME: &str = "ecs";

/// Seconds since the epoch, with a fraction.
pub type Timestamp = f64;

/// What an error response carries; `__type` may have a namespace and a `#` before the name.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct ErrorBody {
    /// The exception's name.
    #[serde(rename = "__type", deserialize_with = "crate::field::or_default")]
    pub kind: String,
    /// In words. Some services capitalise the member's name.
    #[serde(alias = "Message", deserialize_with = "crate::field::or_default")]
    pub message: String,
}

impl ErrorBody {
    /// The exception's name without its namespace.
    pub fn code(&self) -> &str {
        self.kind.rsplit('#').next().unwrap_or_default()
    }
}
