//! The runtime, the shim and its workers: see `berth_runtime::cli`.

use std::process::ExitCode;

fn main() -> ExitCode {
    berth_runtime::cli::main()
}
