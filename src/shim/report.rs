//! What a process that waited at its gate says when it cannot become the user's program.

use crate::codec::Codec;
use crate::container::report::InitError;
use crate::errno::chain;
use std::os::fd::OwnedFd;

/// What stands in a report pipe.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// Nothing yet.
    Nothing,
    /// Its end, without a word: execve has closed it, and the program runs.
    Runs,
    /// Why the program does not run.
    Failed { reason: String },
}

/// Reads a report pipe that does not block.
pub(super) fn read(report: &OwnedFd) -> Heard {
    let mut buffer = [0; 4096];
    let n = loop {
        match nix::unistd::read(report, &mut buffer) {
            Ok(0) => return Heard::Runs,
            Ok(n) => break n,
            Err(nix::Error::EINTR) => {}
            Err(_) => return Heard::Nothing,
        }
    };
    // One write of less than a page, so it is whole.
    match InitError::from_bytes(&buffer[..n]) {
        Ok(e) => Heard::Failed { reason: format!("CannotStartContainerError: {}", chain(&e)) },
        Err(e) => Heard::Failed { reason: format!("CannotStartContainerError: {e}") },
    }
}
