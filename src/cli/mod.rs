//! The OCI verbs, and the entry points of the shim and its workers.
//!
//! The command line is runc's, parsed by hand: options of the program, a verb, options of the verb. Standard output
//! holds what was asked for, standard error the reasons; exit codes are runc's (1 when a verb failed, 255 when a process
//! of `exec` could not be started, the process's own for `run` and `exec`).
//!
//! ```text
//! verbs (the table of options) ─→ args (parser), help
//!        oci: options of the program ─→ create run kill …, exec, update, events, ps, show, features ─→ container
//! ```

mod args;
mod console;
mod events;
mod exec;
mod features;
mod help;
mod log;
pub mod node_net;
mod oci;
mod out;
mod ps;
pub mod shim;
mod show;
mod update;
mod verbs;
pub mod worker;

use crate::sys::pidfd;
use std::ffi::OsString;
use std::process::ExitCode;

/// Carries out the command line of this process.
pub fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().skip(1).collect();
    // It cannot fail for a signal that there is; without it only ends are missed.
    let _ = pidfd::keep_ended_children();
    match args.first().and_then(|verb| verb.to_str()) {
        // Entry points of our own, which take no options of the program.
        Some("node-net") => node_net::main(args.into_iter().skip(1).map(|a| a.to_string_lossy().into_owned())),
        // Not run again from a read-only mount of the program, as those are who enter containers: its workers are.
        Some("shim") => shim::shim(&args[1..]),
        Some("sweep") => shim::sweep_task(&args[1..]),
        Some("worker") => worker::work(),
        _ => oci::main(args),
    }
}
