//! A program that runs inside a host.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::path::Path;
use std::process::{Child, Command, ExitStatus};
use std::time::Duration;

/// A started program and the `nsenter` before it. Killed on drop.
#[derive(Debug)]
pub struct Running {
    /// `nsenter`: it takes the program's exit code, and holds the pipes that the command asked for.
    pub nsenter: Child,
    /// None of one that had ended before it was seen.
    pid: Option<u32>,
}

impl Running {
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut nsenter = command.spawn().unwrap_or_else(|e| panic!("start {command:?}: {e}"));
        let program = Path::new("/proc").join(nsenter.id().to_string());
        let enter = std::fs::read_link(program.join("exe")).ok();
        let pid = crate::eventually(&format!("{command:?} to start"), Duration::from_secs(10), || {
            if matches!(nsenter.try_wait(), Ok(Some(_))) {
                return Some(None);
            }
            let children = crate::helper::read(program.join(format!("task/{}/children", nsenter.id())));
            let pid: u32 = children.split_whitespace().next()?.parse().ok()?;
            // Between fork and exec it is still nsenter.
            let exe = std::fs::read_link(format!("/proc/{pid}/exe")).ok()?;
            let is_nsenter = exe.file_name().is_some_and(|n| n == "nsenter");
            (!is_nsenter || enter.is_none()).then_some(Some(pid))
        });
        Self { nsenter, pid }
    }

    /// The program's pid, as this process sees it.
    pub fn pid(&self) -> u32 {
        self.pid.expect("a program that goes on for longer than it takes to find it")
    }

    /// Sends the program a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = self.pid();
        kill(Pid::from_raw(pid as i32), signal).unwrap_or_else(|e| panic!("signal process {pid}: {e}"));
    }

    /// Waits for the program's end, and panics when it takes longer than `patience`. An end by signal N is 128 + N.
    pub fn wait(&mut self, patience: Duration) -> ExitStatus {
        let pid = self.nsenter.id();
        crate::eventually(&format!("the program of nsenter {pid} to end"), patience, || {
            self.nsenter.try_wait().unwrap_or_else(|e| panic!("wait for nsenter {pid}: {e}"))
        })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let (Ok(None), Some(pid)) = (self.nsenter.try_wait(), self.pid) {
            let _ = kill(Pid::from_raw(pid as i32), Signal::SIGKILL);
            let _ = self.nsenter.wait();
        }
    }
}
