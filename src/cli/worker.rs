//! Entry point `worker`: what a shim starts for a piece of kernel work.

use crate::errno::{OpContext, OpError, chain, tell};
use crate::shim::job::{LOCK_FD, SOCKET_FD};
use crate::shim::worker;
use crate::sys::{exe, fd};
use std::io;
use std::os::fd::AsFd;
use std::process::ExitCode;

/// How many descriptors from 3 on it is started with.
const INHERITED: u32 = 2;

/// `berth-runtime worker`, with its socket to the shim and the task's lock as descriptors 3 and 4.
pub fn work() -> ExitCode {
    // Its shim has started it from a read-only mount of the program, so this is a look only; run again where not.
    if let Err(e) = exe::protect(c"berth-worker", INHERITED).op("protect", "the worker's own program") {
        tell(&format!("worker: {}", chain(&e)));
        return ExitCode::FAILURE;
    }
    // Before anything else is opened. The lock is held until this process is gone, and an init that it makes is gone too
    // or has become the user's program.
    let (socket, lock) = (fd::inherited(SOCKET_FD), fd::inherited(LOCK_FD));
    let done = match &socket {
        Some(socket) => worker::run(socket, lock.as_ref().map(AsFd::as_fd)),
        None => Err(OpError::new("open", "descriptor 3", io::ErrorKind::NotFound)),
    };
    drop(lock);
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            tell(&format!("worker: {}", chain(&e)));
            ExitCode::FAILURE
        }
    }
}
