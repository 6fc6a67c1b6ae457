//! `run`: create, start, and unless detached wait and delete, without the files that verbs of other processes need.

use super::console::{Console, TerminalTo};
use super::create::{Create, Created, Ends, VerbError, begin, create_in, find_bundle, plan_of};
use super::delete;
use super::foreground::Foreground;
use super::hooks::Subject;
use super::launch::{Launched, read_report};
use super::notify;
use super::notify::Listener;
use super::state::{Record, Slot, Table};
use crate::cgroup::Group;
use crate::errno::{OpContext, OpError};
use crate::spec::{HookKind, Plan};
use crate::sys::pidfd;
use std::os::fd::{AsFd, OwnedFd};

/// A container that runs.
#[derive(Debug)]
pub struct Running {
    launched: Launched,
    group: Group,
    record: Record,
    foreground: Foreground,
    listener: Option<Listener>,
}

/// Creates a container and starts it.
pub fn run(table: &Table, c: &Create<'_>) -> Result<Running, VerbError> {
    let bundle = find_bundle(c)?;
    let (mut plan, document) = plan_of(&bundle, c)?;
    // Before there is a thread, which inherits what is blocked.
    let foreground = Foreground::new()?;
    let ahead = begin(&plan, c);
    let slot = table.claim(c.id)?;
    let kept = slot.keep_document(&document);
    let prepared = kept.and_then(|()| Ok((prepare_notify(&slot, &mut plan, c)?, pipe()?, pipe()?)));
    let (listener, (gate, open_gate), (report, told)) = match prepared {
        Ok(prepared) => prepared,
        Err(e) => {
            let _ = slot.remove();
            return Err(e.into());
        }
    };
    let ends = Ends { gate: gate.as_fd(), report: told.as_fd(), interrupt: foreground.interrupt(), ahead };
    let created = create_in(table, slot, &plan, &bundle, c, ends)?;
    let Created { slot, mut launched, group, record } = created;
    drop(told);
    let mut foreground = foreground;
    let shown = match (c.terminal, launched.terminal.take()) {
        (TerminalTo::Caller, Some(master)) => Console::attach(master).map(|console| foreground.show(console)),
        (_, terminal) => {
            launched.terminal = terminal;
            Ok(())
        }
    };
    let started = shown.and_then(|()| nix::unistd::write(&open_gate, b"g").op("open the gate of", c.id));
    let interrupt = foreground.interrupt();
    let running = started.map_err(VerbError::from).and_then(|_| Ok(read_report(report, interrupt)?));
    // Others may use the container, end it too, while hooks take their time.
    drop(slot);
    let hooks = record.hooks.of(HookKind::Poststart);
    match running
        .and_then(|()| Ok(Subject::of(&record).until(interrupt).run(HookKind::Poststart, hooks, Some(record.pid))?))
    {
        Ok(()) => Ok(Running { launched, group, record, foreground, listener }),
        Err(e) => {
            pidfd::end(&launched.pidfd);
            if let Ok(Some(slot)) = table.open_same(&record) {
                let _ = delete::remove(table, slot, &record, &group);
            }
            Err(e)
        }
    }
}

/// Shares a directory with the container where the service manager wants to hear from it, and listens there.
fn prepare_notify(slot: &Slot, plan: &mut Plan, c: &Create<'_>) -> Result<Option<Listener>, OpError> {
    if !c.notify {
        return Ok(None);
    }
    notify::prepare(plan, &slot.notify())?;
    Listener::open(&slot.notify())
}

fn pipe() -> Result<(OwnedFd, OwnedFd), OpError> {
    nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC).op("make", "a pipe")
}

impl Running {
    /// The master end of its terminal.
    pub fn terminal(&mut self) -> Option<OwnedFd> {
        self.launched.terminal.take()
    }

    /// What of its configuration counts for nothing.
    pub fn warnings(&self) -> &[String] {
        &self.launched.warnings
    }

    /// Its init.
    pub fn pid(&self) -> u32 {
        self.launched.pid
    }

    /// Means its init and no later process.
    pub fn pidfd(&self) -> &OwnedFd {
        &self.launched.pidfd
    }

    /// For who does not wait for the end: waits until the program is ready, where the service manager wants to hear it.
    pub fn wait_ready(&mut self) -> Result<(), VerbError> {
        match self.listener.take() {
            Some(listener) => {
                let interrupt = self.foreground.interrupt();
                Ok(listener.wait(self.launched.pid, &self.launched.pidfd, interrupt)?)
            }
            None => Ok(()),
        }
    }

    /// Waits for the init, hands on the signals that come meanwhile, and gives the exit code as shells tell it.
    pub fn wait(&mut self) -> Result<i32, VerbError> {
        self.foreground.listen(self.listener.take());
        Ok(self.foreground.wait(&self.launched.pidfd)?)
    }

    /// Ends the container and removes everything of it, unless somebody else has done so.
    pub fn take_back(self, table: &Table) -> Result<(), VerbError> {
        match table.open_same(&self.record)? {
            Some(slot) => delete::end_and_remove(table, slot, &self.record, &self.group),
            None => Ok(()),
        }
    }

    /// Removes everything of the ended container, unless somebody else has done so.
    pub fn delete(self, table: &Table) -> Result<(), VerbError> {
        match table.open_same(&self.record)? {
            Some(slot) => delete::remove(table, slot, &self.record, &self.group),
            None => Ok(()),
        }
    }
}
