//! `berth agent` and `berth control-plane`.

use std::path::PathBuf;
use std::process::ExitCode;

/// Flags of `berth agent`; each wins over the configuration file and the environment.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct AgentArgs {
    /// Socket for operators' commands: the global `--socket`, which [`super::main`] puts here.
    #[arg(skip)]
    pub socket: Option<PathBuf>,
    /// Configuration file (TOML)
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Directory that dies with the boot
    #[arg(long, value_name = "DIR")]
    pub run: Option<PathBuf>,
    /// Directory that outlives the boot
    #[arg(long, value_name = "DIR")]
    pub state: Option<PathBuf>,
    /// Control plane to register with, instead of the one inside the agent
    #[arg(long, value_name = "URL")]
    pub backend: Option<String>,
}

/// Flags of `berth control-plane`.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct ControlPlaneArgs {
    /// Address to listen on
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:51680")]
    pub listen: String,
    /// Directory of its records and credentials
    #[arg(long, value_name = "DIR", default_value = "/var/lib/berth/control-plane")]
    pub state: PathBuf,
}

/// Runs the node agent until it is told to stop.
pub fn run_agent(_args: AgentArgs) -> ExitCode {
    eprintln!("berth agent: not yet built");
    ExitCode::from(125)
}

/// Runs a control plane by itself until it is told to stop.
pub fn run_control_plane(_args: ControlPlaneArgs) -> ExitCode {
    eprintln!("berth control-plane: not yet built");
    ExitCode::from(125)
}
