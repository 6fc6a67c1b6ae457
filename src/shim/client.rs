//! A blocking client of a shim, for the command line and tests. The agent has its own on the same [frames](super::frame).

use super::frame::{FrameError, Inbox, frame};
use super::protocol::{ExecProcess, FromShim, PROTOCOL_VERSION, ToShim};
use crate::sys::fd::{receive_with, send_with};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Why a shim could not be spoken with.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens: the task has ended, or its shim was killed.
    #[error("connect to shim `{}`", path.display())]
    Connect {
        /// The shim's socket.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The connection broke.
    #[error("speak with shim")]
    Stream {
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The shim sent what this program does not understand.
    #[error("speak with shim")]
    Frame {
        /// What is wrong with it.
        #[source]
        source: FrameError,
    },
    /// The shim has hung up.
    #[error("speak with shim: it has hung up")]
    Closed,
    /// The shim did not do as asked.
    #[error("{message}")]
    Refused {
        /// Why, in the shim's words.
        message: String,
        /// The exit code that a command line should end with.
        code: i32,
    },
}

/// A connection to a shim whose hellos have been said.
#[derive(Debug)]
pub struct Client {
    stream: UnixStream,
    inbox: Inbox,
    fds: Vec<OwnedFd>,
    /// The shim's [`PROTOCOL_VERSION`].
    pub version: u32,
    /// The task's id.
    pub task: String,
    /// The shim's process id.
    pub pid: u32,
}

/// A process that was started in a container by [`Client::exec`].
#[derive(Debug)]
pub struct Exec {
    /// The connection: when it is dropped, the process is sent SIGHUP.
    pub client: Client,
    /// The process id in the host's pid namespace.
    pub pid: u32,
    /// The terminal's master, where one was asked for.
    pub terminal: Option<OwnedFd>,
}

impl Client {
    /// Connects to the socket at `path` and says hello.
    pub fn connect(path: &Path) -> Result<Self, ClientError> {
        let stream =
            UnixStream::connect(path).map_err(|source| ClientError::Connect { path: path.to_owned(), source })?;
        let mut client =
            Self { stream, inbox: Inbox::default(), fds: Vec::new(), version: 0, task: String::new(), pid: 0 };
        client.send(&ToShim::Hello { version: PROTOCOL_VERSION })?;
        match client.receive()? {
            FromShim::Hello { version, task, pid } => {
                (client.version, client.task, client.pid) = (version, task, pid);
                Ok(client)
            }
            FromShim::Refused { message, code } => Err(ClientError::Refused { message, code }),
            _ => Err(ClientError::Closed),
        }
    }

    /// Makes [`Client::receive`] fail with `WouldBlock` when nothing comes for `timeout`.
    pub fn set_timeout(&self, timeout: Option<Duration>) -> Result<(), ClientError> {
        self.stream.set_read_timeout(timeout).map_err(|source| ClientError::Stream { source })
    }

    /// Sends one message.
    pub fn send(&mut self, message: &ToShim) -> Result<(), ClientError> {
        self.send_with(message, &[])
    }

    fn send_with(&mut self, message: &ToShim, fds: &[BorrowedFd<'_>]) -> Result<(), ClientError> {
        let bytes = frame(message);
        let (mut sent, mut fds) = (0, fds);
        while sent < bytes.len() {
            sent += send_with(&self.stream, &bytes[sent..], fds).map_err(|source| ClientError::Stream { source })?;
            // Descriptors go with the first byte.
            fds = &[];
        }
        Ok(())
    }

    /// The next message that has been read already. To be asked before the descriptor is waited for: several messages
    /// may have come at once.
    pub fn received(&mut self) -> Result<Option<FromShim>, ClientError> {
        self.inbox.take().map_err(|source| ClientError::Frame { source })
    }

    /// Waits for the next message.
    pub fn receive(&mut self) -> Result<FromShim, ClientError> {
        let mut buffer = [0; 4096];
        loop {
            if let Some(message) = self.inbox.take().map_err(|source| ClientError::Frame { source })? {
                return Ok(message);
            }
            let n = receive_with(&self.stream, &mut buffer, &mut self.fds)
                .map_err(|source| ClientError::Stream { source })?;
            if n == 0 {
                return Err(ClientError::Closed);
            }
            self.inbox.push(&buffer[..n]);
        }
    }

    /// Runs `process` in `container`. `stdio` are its standard streams; with a terminal asked for they are not used.
    pub fn exec(
        mut self,
        container: &str,
        process: ExecProcess,
        stdio: [BorrowedFd<'_>; 3],
    ) -> Result<Exec, ClientError> {
        let tty = process.tty;
        let message = ToShim::Exec { container: container.to_owned(), process };
        self.send_with(&message, if tty { &[] } else { &stdio })?;
        loop {
            match self.receive()? {
                FromShim::ExecStarted { pid } => {
                    let terminal = if tty { self.fds.pop() } else { None };
                    return Ok(Exec { client: self, pid, terminal });
                }
                FromShim::Refused { message, code } => return Err(ClientError::Refused { message, code }),
                _ => {}
            }
        }
    }
}

impl Exec {
    /// Sends the process a signal.
    pub fn signal(&mut self, signal: i32) -> Result<(), ClientError> {
        self.client.send(&ToShim::Signal { container: String::new(), signal })
    }

    /// Waits for the process to end; the code is as shells tell it.
    pub fn wait(&mut self) -> Result<i32, ClientError> {
        loop {
            if let FromShim::ExecExited { code } = self.client.receive()? {
                return Ok(code);
            }
        }
    }
}

/// To wait for messages beside other descriptors; ready to read means that [`Client::receive`] has something to do, and
/// the rest of a message follows at once.
impl AsFd for Client {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}
