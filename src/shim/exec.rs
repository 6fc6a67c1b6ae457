//! Exec'd processes: started by a worker on a client's wish, children of the shim, told about on that connection.

use super::job::Job;
use super::protocol::{ExecProcess, FromShim};
use super::run::{Shim, note};
use super::workers::{For, Worker};
use crate::sys::pidfd;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// An exec'd process, or one that is being made.
#[derive(Debug)]
pub(super) struct Exec {
    pub(super) number: u64,
    /// Who asked; `None` when that connection is gone.
    client: Option<u64>,
    pid: u32,
    /// Once it runs.
    pub(super) pidfd: Option<OwnedFd>,
}

impl Exec {
    /// Whether `pid` is this process.
    pub(super) fn is(&self, pid: u32) -> bool {
        self.pidfd.is_some() && self.pid == pid
    }
}

impl Shim {
    /// Starts a process for a client. `fds` came with the request.
    pub(super) fn exec(&mut self, client: u64, container: &str, process: ExecProcess, fds: &[OwnedFd]) {
        let refused = match self.try_exec(client, container, process, fds) {
            Ok(()) => return,
            Err(message) => message,
        };
        self.say(client, FromShim::Refused { message: refused, code: 125 }, None);
    }

    fn try_exec(&mut self, client: u64, container: &str, process: ExecProcess, fds: &[OwnedFd]) -> Result<(), String> {
        let index = self.live.iter().position(|c| c.name.as_str() == container);
        let index = index.ok_or_else(|| format!("container `{container}`: the task has none of that name"))?;
        let (Some(init), Some(pidfd)) = (self.live[index].pid, &self.live[index].pidfd) else {
            return Err(format!("container `{container}` is not running"));
        };
        if !self.task.is_running(index) {
            return Err(format!("container `{container}` is not running"));
        }
        if self.execs.iter().any(|e| e.client == Some(client)) {
            return Err("a connection starts one process at most".into());
        }
        let streams = if process.tty { 0 } else { 3 };
        if fds.len() != streams {
            return Err(format!("exec with {} descriptors, {streams} are needed", fds.len()));
        }
        let mut passed: Vec<BorrowedFd<'_>> = vec![pidfd.as_fd()];
        passed.extend(fds.iter().map(AsFd::as_fd));
        self.next_number += 1;
        let number = self.next_number;
        let job = Job::Exec { container: index as u32, init, process };
        let now_ms = self.clock.mono_ms();
        let worker = Worker::start(For::Exec(number), job, &passed, &self.dirs, &self.own, now_ms)
            .map_err(|e| format!("start worker: {e}"))?;
        self.workers.push(worker);
        self.execs.push(Exec { number, client: Some(client), pid: 0, pidfd: None });
        Ok(())
    }

    /// The worker has started the process. `fds` are its pidfd and, where it was asked for, its terminal's master.
    pub(super) fn exec_launched(&mut self, number: u64, pid: u32, fds: Vec<OwnedFd>) {
        let Some(exec) = self.execs.iter_mut().find(|e| e.number == number) else { return };
        let mut fds = fds.into_iter();
        (exec.pid, exec.pidfd) = (pid, fds.next());
        match (exec.client, &exec.pidfd) {
            (Some(client), _) => self.say(client, FromShim::ExecStarted { pid }, fds.next()),
            (None, Some(pidfd)) => {
                // Nobody waits for it any more.
                let _ = pidfd::signal(pidfd, libc::SIGKILL);
            }
            (None, None) => {}
        }
    }

    /// The worker could not make it.
    pub(super) fn exec_failed(&mut self, number: u64, message: String, code: i32) {
        let Some(at) = self.execs.iter().position(|e| e.number == number) else { return };
        if let Some(client) = self.execs.remove(at).client {
            self.say(client, FromShim::Refused { message, code }, None);
        }
    }

    pub(super) fn exec_ended(&mut self, number: u64) {
        let Some(at) = self.execs.iter().position(|e| e.number == number) else { return };
        let Some(pidfd) = &self.execs[at].pidfd else { return };
        let code = match pidfd::ended(pidfd) {
            Ok(None) => return,
            Ok(Some(ended)) => ended.shell_code(),
            Err(e) => {
                note(&e);
                128 + libc::SIGKILL
            }
        };
        if let Some(client) = self.execs.remove(at).client {
            self.say(client, FromShim::ExecExited { code }, None);
        }
        self.reap_strays();
    }

    /// A connection is gone: its process gets what a terminal that goes away sends.
    pub(super) fn hang_up(&mut self, client: u64) {
        for exec in self.execs.iter_mut().filter(|e| e.client == Some(client)) {
            exec.client = None;
            if let Some(pidfd) = &exec.pidfd {
                let _ = pidfd::signal(pidfd, libc::SIGHUP);
            }
        }
    }

    /// Sends a signal to the process of a connection. Says why it could not.
    pub(super) fn signal_exec(&mut self, client: u64, signal: i32) -> Result<(), String> {
        let exec = self.execs.iter().find(|e| e.client == Some(client));
        let Some(pidfd) = exec.and_then(|e| e.pidfd.as_ref()) else {
            return Err("this connection has no process".into());
        };
        pidfd::signal(pidfd, signal).map_err(|e| format!("send signal {signal}: {e}"))
    }
}
