//! An OCI container: its state, one file per verb, and its init as ordered stages.

mod init;
pub mod launch;
mod program;
pub mod report;
mod terminal;
