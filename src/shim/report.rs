//! What a process that waited at its gate says when it cannot become the user's program.

use crate::container::report::failure;
use crate::errno::chain;
use std::os::fd::OwnedFd;

/// What stands in a report pipe.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// Nothing yet, or that the program is next.
    Nothing,
    /// Its end, without an error: execve has closed it, and the program runs.
    Runs,
    /// Why the program does not run.
    Failed { code: i32, reason: String },
}

/// The part of a shell's code that is about the user's program; 125 is about us, and no exit code of a container.
pub(super) fn of_program(code: i32) -> Option<i32> {
    (code != 125).then_some(code)
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
    match failure(&buffer[..n]) {
        None => Heard::Nothing,
        Some(Ok(e)) => {
            Heard::Failed { code: e.shell_code(), reason: format!("CannotStartContainerError: {}", chain(&e)) }
        }
        Some(Err(e)) => Heard::Failed { code: 125, reason: format!("CannotStartContainerError: {e}") },
    }
}
