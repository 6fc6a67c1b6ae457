//! `berth`: the node agent, and the commands that talk to it.

use std::process::ExitCode;

fn main() -> ExitCode {
    berth_agent::cli::main()
}
