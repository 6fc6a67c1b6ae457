//! Waiting for a container's process in its stead: signals that come meanwhile are handed on to it, its terminal is the
//! caller's, and what it says of its readiness goes to the host's service manager.

use super::console::Console;
use super::notify::Listener;
use crate::errno::{OpContext, OpError};
use crate::interrupt::Interrupt;
use crate::sys::{exe, pidfd};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, SigmaskHow, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use std::io;
use std::os::fd::{AsFd, OwnedFd};

/// The signals of this process as data. Made before the process is, so that none is lost.
#[derive(Debug)]
pub struct Foreground {
    signals: SignalFd,
    /// Those that end what there is no program of yet.
    interrupts: SignalFd,
    console: Option<Console>,
    listener: Option<Listener>,
}

impl Foreground {
    /// Blocks the signals of this process and listens for them.
    pub fn new() -> Result<Self, OpError> {
        let mut set = SigSet::all();
        // Faults are our own; a child's end is seen at its pidfd.
        let own = [Signal::SIGSEGV, Signal::SIGBUS, Signal::SIGILL, Signal::SIGFPE, Signal::SIGABRT, Signal::SIGCHLD];
        own.into_iter().for_each(|signal| set.remove(signal));
        set.thread_swap_mask(SigmaskHow::SIG_BLOCK).op("block", "signals")?;
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        let signals = SignalFd::with_flags(&set, flags).op("listen for", "signals")?;
        let mut set = SigSet::empty();
        [Signal::SIGINT, Signal::SIGTERM].into_iter().for_each(|signal| set.add(signal));
        let interrupts = SignalFd::with_flags(&set, flags).op("listen for", "signals")?;
        Ok(Self { signals, interrupts, console: None, listener: None })
    }

    /// What ends the making of the process.
    pub fn interrupt(&self) -> Interrupt<'_> {
        Interrupt::by(self.interrupts.as_fd())
    }

    /// Lends the caller's terminal to the process until it has ended.
    pub fn show(&mut self, console: Console) {
        self.console = Some(console);
    }

    /// Hands on what the program says of its readiness.
    pub(super) fn listen(&mut self, listener: Option<Listener>) {
        self.listener = listener;
    }

    /// Waits for the process, a child of ours, and gives its exit code as shells tell it.
    pub fn wait(&mut self, process: &OwnedFd) -> Result<i32, OpError> {
        // Not before: while the process was being made, it had a copy open, and who closes the last one waits.
        exe::settle();
        let stdin = io::stdin();
        loop {
            let [ended, signals, typed, terminal, told] = self.poll(process, &stdin)?;
            if signals {
                self.hand_on_signals(process);
            }
            if let Some(console) = &mut self.console {
                if typed {
                    console.take_input();
                }
                if terminal {
                    console.give_input();
                    console.show_output();
                }
            }
            if told && self.listener.as_ref().is_some_and(|l| l.hand_on(std::process::id()).unwrap_or(true)) {
                self.listener = None;
            }
            if ended {
                if let Some(mut console) = self.console.take() {
                    console.show_output();
                }
                return pidfd::wait(process).map(pidfd::Ended::shell_code).op("wait for", "the container's process");
            }
        }
    }

    /// What has happened: the process's end, signals, input of the caller, output of the terminal, readiness.
    fn poll(&self, process: &OwnedFd, stdin: &io::Stdin) -> Result<[bool; 5], OpError> {
        let [typed, terminal] = self.console.as_ref().map_or([None, None], |console| console.poll_fds(stdin));
        let told = self.listener.as_ref().map(|listener| PollFd::new(listener.as_fd(), PollFlags::POLLIN));
        let wanted = [
            Some(PollFd::new(process.as_fd(), PollFlags::POLLIN)),
            Some(PollFd::new(self.signals.as_fd(), PollFlags::POLLIN)),
            typed,
            terminal,
            told,
        ];
        let places: Vec<usize> = (0..wanted.len()).filter(|i| wanted[*i].is_some()).collect();
        let mut fds: Vec<PollFd<'_>> = wanted.into_iter().flatten().collect();
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) | Err(nix::Error::EINTR) => {}
            Err(e) => return Err(e).op("wait for", "the container's process"),
        }
        let mut happened = [false; 5];
        for (place, fd) in places.into_iter().zip(&fds) {
            happened[place] = fd.revents().is_some_and(|events| !events.is_empty());
        }
        Ok(happened)
    }

    fn hand_on_signals(&self, process: &OwnedFd) {
        while let Ok(Some(signal)) = self.signals.read_signal() {
            match (signal.ssi_signo as i32, &self.console) {
                // The process hears of its terminal's size from its terminal.
                (libc::SIGWINCH, Some(console)) => console.resize(),
                // It may have ended; then there is nobody to tell.
                (signal, _) => drop(pidfd::signal(process, signal)),
            }
        }
    }
}
