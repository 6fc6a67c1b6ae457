//! What a process in the making and the worker that makes it say to each other, over a socket that keeps messages apart.
//!
//! ```text
//! child ──→ worker: READY (and the terminal), FAILED with the InitError, LISTENER with a number, BUILT
//! worker ─→ child:  MAPPED, and BUILT as an answer; the end of the socket is that of whoever was at the other one
//! ```

use super::launch::LaunchError;
use super::report::{InitError, REPORT_BYTES};
use crate::codec::Codec;
use crate::errno::{OpContext, OpError};
use crate::interrupt::Interrupt;
use crate::sys::fd;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

const READY: u8 = 0;
const FAILED: u8 = 1;
/// Followed by the number of a descriptor, see [`super::listener`].
pub(super) const LISTENER: u8 = 2;
/// Its namespaces and mounts are there, the host may do its part. And the answer.
pub(super) const BUILT: u8 = 3;
/// Its identities are mapped.
pub(super) const MAPPED: u8 = 4;

/// Child: waits until the worker has done something. Fails when it has gone or was not able to.
pub(super) fn await_worker(socket: &OwnedFd) -> Result<(), OpError> {
    let mut answer = [0];
    match fd::receive_with(socket, &mut answer, &mut Vec::new()).op("hear from", "the worker")? {
        1.. => Ok(()),
        0 => Err(io::Error::from_raw_os_error(libc::ECANCELED)).op("hear from", "the worker"),
    }
}

/// What a child says of itself.
pub(super) enum Word {
    /// Set up, and here is the terminal.
    Ready(Option<OwnedFd>),
    /// Its filter has a listener, at this number.
    Listener(Vec<u8>),
    /// It waits for the host's part.
    Built,
    /// Nothing any more.
    End,
}

/// Child to worker: set up, and here is the terminal.
pub(super) fn announce_ready(socket: &OwnedFd, terminal: Option<&OwnedFd>) -> Result<(), OpError> {
    let passed: Vec<BorrowedFd<'_>> = terminal.into_iter().map(AsFd::as_fd).collect();
    fd::send_with(socket, &[READY], &passed).op("tell", "the worker").map(drop)
}

/// Child to worker: why not.
pub(super) fn announce(socket: &OwnedFd, error: &InitError) {
    // Who cannot hear it has died, and tells its own caller so by that.
    let _ = fd::send_with(socket, &[&[FAILED], error.to_bytes().as_slice()].concat(), &[]);
}

/// What a message of the child says.
pub(super) fn hear(socket: &OwnedFd, interrupt: Interrupt<'_>) -> Result<Word, LaunchError> {
    interrupt.wait(socket)?;
    let (mut buffer, mut fds) = ([0; 1 + REPORT_BYTES], Vec::new());
    let n = fd::receive_with(socket, &mut buffer, &mut fds).op("hear from", "the container's process")?;
    match buffer[..n].split_first() {
        Some((&READY, _)) => Ok(Word::Ready(fds.pop())),
        Some((&LISTENER, number)) => Ok(Word::Listener(number.to_vec())),
        Some((&BUILT, _)) => Ok(Word::Built),
        Some((_, error)) => Err(InitError::from_bytes(error).map_or(LaunchError::Died, LaunchError::Init)),
        None => Ok(Word::End),
    }
}

/// Waits until the child is set up. `listener` is called with the number of its filter's listener, where there is one.
pub(super) fn hear_ready(
    socket: &OwnedFd,
    interrupt: Interrupt<'_>,
    listener: impl Fn(&[u8]) -> Result<(), LaunchError>,
) -> Result<Option<OwnedFd>, LaunchError> {
    loop {
        match hear(socket, interrupt)? {
            Word::Ready(terminal) => return Ok(terminal),
            Word::Listener(number) => listener(&number)?,
            Word::Built | Word::End => return Err(LaunchError::Died),
        }
    }
}

/// Waits until the child has become its program, which closes the socket.
pub(super) fn hear_end(socket: &OwnedFd, interrupt: Interrupt<'_>) -> Result<(), LaunchError> {
    hear(socket, interrupt).map(drop)
}
