//! Who gets the terminal of a container's process, and handing it over.
//!
//! A process that the caller waits for shares the caller's own terminal; one that goes on by itself has its terminal
//! handed to whoever listens on `--console-socket`. Both rules, and their words, are runc's.

use super::args::{Args, UsageError};
use super::oci::CliError;
use crate::container::console::TerminalTo;
use crate::errno::OpContext;
use crate::sys::fd;
use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;

/// Where the options send a terminal, should the process have one.
pub(super) fn destination(args: &Args, detach: bool) -> Result<TerminalTo, UsageError> {
    match (detach, args.value("console-socket").is_some()) {
        (false, false) => Ok(TerminalTo::Caller),
        (true, true) => Ok(TerminalTo::Socket),
        (true, false) => Ok(TerminalTo::Nobody),
        (false, true) => Err(UsageError("cannot use console socket if it will not be detached or allocate tty".into())),
    }
}

/// Hands the terminal to `--console-socket` and a descriptor of the process to `--pidfd-socket`, where they are given.
/// `kind` is what runc calls the process.
pub(super) fn hand_over(args: &Args, pidfd: &OwnedFd, terminal: Option<OwnedFd>, kind: &[u8]) -> Result<(), CliError> {
    if let Some(master) = terminal {
        let Some(socket) = args.value("console-socket") else {
            return Err(UsageError("a terminal needs --console-socket".into()).into());
        };
        send(socket, b"/dev/ptmx", master.as_fd())?;
    }
    match args.value("pidfd-socket") {
        Some(socket) => send(socket, kind, pidfd.as_fd()),
        None => Ok(()),
    }
}

fn send(socket: &OsStr, name: &[u8], passed: BorrowedFd<'_>) -> Result<(), CliError> {
    let path = Path::new(socket);
    let stream = UnixStream::connect(path).op("connect to", path)?;
    fd::send_with(&stream, name, &[passed]).op("send a descriptor to", path)?;
    Ok(())
}
