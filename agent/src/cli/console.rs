//! Between the terminal that a command was typed at and the one a process in a container has.
//!
//! ```text
//!  our stdin (raw) ──► pending ──► master │ slave: the process
//!  our stdout      ◄──────────────  master │
//!  SIGWINCH ──► window size ──────► master
//! ```
//!
//! Our terminal is put in raw mode, so that keys such as Ctrl-C reach the container's terminal and make signals there;
//! it is put back however this ends. The master never blocks: a process that does not read its input must not keep its
//! output from being shown.

use super::exec::{ended_already, forward, told};
use super::failure::Failure;
use berth_runtime::shim::client::Exec;
use berth_runtime::shim::protocol::FromShim;
use berth_runtime::sys::tty;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signalfd::SignalFd;
use nix::sys::termios::{SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};
use nix::unistd;
use std::io::{IsTerminal, Stdin};
use std::os::fd::{AsFd, OwnedFd};

/// Input that waits for the container's terminal is not read beyond this.
const MAX_PENDING: usize = 64 << 10;

/// How long output that the process left behind is waited for, in milliseconds.
const DRAIN_MS: u16 = 100;

/// Our terminal in raw mode, until this is dropped.
struct Raw {
    stdin: Stdin,
    before: Termios,
}

impl Raw {
    /// `None` where standard input is no terminal.
    fn enter() -> nix::Result<Option<Self>> {
        let stdin = std::io::stdin();
        if !stdin.is_terminal() {
            return Ok(None);
        }
        let before = tcgetattr(&stdin)?;
        let mut raw = before.clone();
        cfmakeraw(&mut raw);
        tcsetattr(&stdin, SetArg::TCSANOW, &raw)?;
        Ok(Some(Self { stdin, before }))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // Whoever has lost the terminal has nobody to tell.
        let _ = tcsetattr(&self.stdin, SetArg::TCSADRAIN, &self.before);
    }
}

/// Carries bytes until the process has ended, and gives its exit code.
pub(crate) fn carry(exec: &mut Exec, signals: &SignalFd, interactive: bool) -> Result<i32, Failure> {
    let failed = |act: &'static str| move |e: nix::Error| Failure::caused(act, &e).of_run();
    let Some(master) = exec.terminal.take() else {
        return Err(Failure::new("exec: the shim sent no terminal").of_run());
    };
    fcntl(&master, FcntlArg::F_SETFL(OFlag::O_RDWR | OFlag::O_NONBLOCK)).map_err(failed("set up the terminal"))?;
    resize(&master);
    let _raw = if interactive { Raw::enter().map_err(failed("put the terminal in raw mode"))? } else { None };
    let mut pump = Pump { master, pending: Vec::new(), input: interactive, output: true };
    loop {
        if let Some(code) = ended_already(exec)? {
            pump.drain()?;
            return Ok(code);
        }
        let ready = pump.wait(exec, signals).map_err(failed("wait for the process"))?;
        if ready.signal && forward(exec, signals)? {
            resize(&pump.master);
        }
        if ready.stdin {
            pump.read_input().map_err(failed("read standard input"))?;
        }
        if !pump.pending.is_empty() {
            pump.write_pending().map_err(failed("write to the container's terminal"))?;
        }
        if ready.output {
            pump.show()?;
        }
        if ready.shim
            && let FromShim::ExecExited { code } = exec.client.receive().map_err(told)?
        {
            pump.drain()?;
            return Ok(code);
        }
    }
}

fn resize(master: &OwnedFd) {
    // No terminal of ours, or one without a size: the container's keeps what it has.
    if let Ok(size) = tty::window_size(std::io::stdout()).or_else(|_| tty::window_size(std::io::stdin())) {
        let _ = tty::set_window_size(master, size);
    }
}

struct Pump {
    master: OwnedFd,
    /// Input that the container's terminal has not taken yet.
    pending: Vec<u8>,
    /// Our input goes on.
    input: bool,
    /// The container's terminal has not been hung up.
    output: bool,
}

#[derive(Debug, Default)]
struct Ready {
    shim: bool,
    signal: bool,
    stdin: bool,
    output: bool,
}

impl Pump {
    fn wait(&self, exec: &Exec, signals: &SignalFd) -> nix::Result<Ready> {
        let stdin = std::io::stdin();
        let mut fds =
            vec![PollFd::new(exec.client.as_fd(), PollFlags::POLLIN), PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
        let mut add = |fd, flags| {
            fds.push(PollFd::new(fd, flags));
            fds.len() - 1
        };
        let takes = self.input && self.pending.len() < MAX_PENDING;
        let stdin_at = takes.then(|| add(stdin.as_fd(), PollFlags::POLLIN));
        let writes = if self.pending.is_empty() { PollFlags::empty() } else { PollFlags::POLLOUT };
        let master_at = self.output.then(|| add(self.master.as_fd(), PollFlags::POLLIN | writes));
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) => {}
            Err(nix::Error::EINTR) => return Ok(Ready::default()),
            Err(e) => return Err(e),
        }
        let got = |at: usize| fds[at].revents().unwrap_or(PollFlags::empty());
        let any = |at: Option<usize>| {
            at.is_some_and(|at| got(at).intersects(PollFlags::all().difference(PollFlags::POLLOUT)))
        };
        Ok(Ready { shim: any(Some(0)), signal: any(Some(1)), stdin: any(stdin_at), output: any(master_at) })
    }

    fn read_input(&mut self) -> nix::Result<()> {
        let mut buffer = [0; 4096];
        match unistd::read(std::io::stdin(), &mut buffer) {
            Ok(0) | Err(nix::Error::EIO) => self.input = false,
            Ok(n) => self.pending.extend_from_slice(&buffer[..n]),
            Err(nix::Error::EINTR | nix::Error::EAGAIN) => {}
            Err(e) => return Err(e),
        }
        Ok(())
    }

    fn write_pending(&mut self) -> nix::Result<()> {
        match unistd::write(&self.master, &self.pending) {
            Ok(n) => {
                self.pending.drain(..n);
            }
            Err(nix::Error::EINTR | nix::Error::EAGAIN) => {}
            // Nobody holds the other end any more.
            Err(nix::Error::EIO) => self.pending.clear(),
            Err(e) => return Err(e),
        }
        Ok(())
    }

    /// Shows what has come; false when there is no more.
    fn show(&mut self) -> Result<bool, Failure> {
        let mut buffer = [0; 16 << 10];
        match unistd::read(&self.master, &mut buffer) {
            // EIO: the last holder of the other end has closed it.
            Ok(0) | Err(nix::Error::EIO) => {
                self.output = false;
                Ok(false)
            }
            Ok(n) => {
                use std::io::Write;
                let mut out = std::io::stdout().lock();
                out.write_all(&buffer[..n])?;
                out.flush()?;
                Ok(true)
            }
            Err(nix::Error::EINTR) => Ok(true),
            Err(nix::Error::EAGAIN) => Ok(false),
            Err(e) => Err(Failure::caused("read the container's terminal", &e).of_run()),
        }
    }

    /// Shows what the process wrote last. One that it left behind may hold the terminal for ever: not waited for.
    fn drain(&mut self) -> Result<(), Failure> {
        while self.output {
            let mut fds = [PollFd::new(self.master.as_fd(), PollFlags::POLLIN)];
            match poll(&mut fds, PollTimeout::from(DRAIN_MS)) {
                Ok(0) | Err(_) => break,
                Ok(_) => {}
            }
            if !self.show()? {
                break;
            }
        }
        Ok(())
    }
}
