//! Connections to the shim's socket: bytes in, messages out, nothing decided here.

use super::frame::{FrameError, Inbox, frame};
use super::protocol::{FromShim, MAX_FRAME, ToShim};
use crate::sys::fd::{MAX_PASSED, receive_with, send_with};
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;

/// A connection.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) number: u64,
    pub(super) stream: UnixStream,
    /// Its hello has come.
    pub(super) greeted: bool,
    /// The number of the last view it was sent.
    pub(super) view_told: u64,
    /// Descriptors that came and belong to a message that is not whole yet.
    pub(super) fds: Vec<OwnedFd>,
    inbox: Inbox,
    outbox: VecDeque<Outgoing>,
}

#[derive(Debug)]
struct Outgoing {
    bytes: Vec<u8>,
    sent: usize,
    /// Goes with the first byte.
    fd: Option<OwnedFd>,
}

/// What has come on a connection.
#[derive(Debug)]
pub(super) enum Received {
    Message(ToShim),
    /// Nothing more for now.
    Nothing,
    /// The other side is gone, or not to be understood.
    Gone,
}

impl Client {
    pub(super) fn new(number: u64, stream: UnixStream) -> Self {
        Self {
            number,
            stream,
            greeted: false,
            view_told: 0,
            fds: Vec::new(),
            inbox: Inbox::default(),
            outbox: VecDeque::new(),
        }
    }

    /// Reads what has come, once.
    pub(super) fn read(&mut self) -> Received {
        let mut buffer = [0; 4096];
        match receive_with(&self.stream, &mut buffer, &mut self.fds) {
            Ok(0) => Received::Gone,
            Ok(n) if self.fds.len() <= MAX_PASSED => {
                self.inbox.push(&buffer[..n]);
                Received::Nothing
            }
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => Received::Nothing,
            Ok(_) | Err(_) => Received::Gone,
        }
    }

    /// Takes the next message that is whole.
    pub(super) fn next(&mut self) -> Received {
        match self.inbox.take() {
            Ok(Some(message)) => Received::Message(message),
            Ok(None) => Received::Nothing,
            Err(FrameError::TooLong { .. } | FrameError::Message { .. }) => Received::Gone,
        }
    }

    /// Queues a message.
    pub(super) fn say(&mut self, message: &FromShim, fd: Option<OwnedFd>) {
        self.outbox.push_back(Outgoing { bytes: frame(message), sent: 0, fd });
    }

    /// Whether messages wait to be sent.
    pub(super) fn is_behind(&self) -> bool {
        !self.outbox.is_empty()
    }

    /// Sends what the socket takes. False when the other side is gone, or takes nothing while much waits for it.
    pub(super) fn flush(&mut self) -> bool {
        while let Some(first) = self.outbox.front_mut() {
            let fds: Vec<_> = first.fd.iter().map(AsFd::as_fd).collect();
            match send_with(&self.stream, &first.bytes[first.sent..], &fds) {
                Ok(n) => {
                    first.sent += n;
                    first.fd = None;
                    if first.sent == first.bytes.len() {
                        self.outbox.pop_front();
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    let waiting: usize = self.outbox.iter().map(|o| o.bytes.len()).sum();
                    return waiting <= MAX_FRAME as usize;
                }
                Err(_) => return false,
            }
        }
        self.outbox = VecDeque::new();
        true
    }
}
