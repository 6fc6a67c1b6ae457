//! Amazon's way of asking: credentials, signatures, and the ECS JSON API as an agent uses it.
//!
//! Speaks to Amazon ECS and to the embedded control plane alike; nothing here knows which it is.

mod client;
mod credentials;
mod sign;

pub use client::{ApiFailure, Class, EcsClient};
pub use credentials::{Credentials, CredentialsError, Provider};
pub use sign::{SignError, sign};
