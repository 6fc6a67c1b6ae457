//! The node agent, and the commands a person types.
//!
//! ```text
//!  Amazon ECS, or the embedded control plane
//!        │ payloads            ▲ state changes
//!        ▼                     │
//!     control ──────────► engine ◄────────── api ◄── operators' socket ◄── cli
//!                            │ admission: capacity
//!                            │ images: registry
//!                            │ intent: store
//!                            ▼
//!                        one shim per task
//! ```
//!
//! # Layers
//!
//! A module imports only from lower rows; the layers test reads the imports and fails on any other edge.
//!
//! | row | modules |
//! |---|---|
//! | A6 | `cli` |
//! | A5 | `api` |
//! | A4 | `control` |
//! | A3 | `engine` |
//! | A2 | `aws`, `registry`, `store`, `config` |
//! | A1 | `capacity` |
//! | A0 | `task` |
//!
//! The one exception is `api::types`: what is said on the operators' socket, which `cli` reads and nothing below `api`
//! knows.

// They panic where nobody reads any more, and where the disk of a log is full.
#![deny(clippy::print_stdout, clippy::print_stderr)]

pub mod api;
pub mod aws;
pub mod capacity;
pub mod cli;
pub mod config;
pub mod control;
pub mod engine;
pub mod registry;
pub mod store;
pub mod task;
