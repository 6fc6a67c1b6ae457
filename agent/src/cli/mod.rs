//! The command line: what is typed, and how it is answered.
//!
//! Standard output is data, standard error is talk. Exit codes: 0 done, 1 failed, 2 wrong usage, 125 berth itself
//! failed, 126 and 127 a program could not be run or was not found, else the container's own.

pub mod agent;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Runs Amazon ECS task definitions on this host, without Docker.
#[derive(Debug, Parser)]
#[command(name = "berth", version, propagate_version = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the node agent in the foreground
    Agent(agent::AgentArgs),
    /// Run a control plane by itself, for agents on other hosts
    ControlPlane(agent::ControlPlaneArgs),
}

/// Parses the arguments and does what they say.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    match cli.command {
        Command::Agent(args) => agent::run_agent(args),
        Command::ControlPlane(args) => agent::run_control_plane(args),
    }
}
