//! What clients ask for.

use super::protocol::{ContainerStats, FromShim, PROTOCOL_VERSION, ToShim};
use super::run::Shim;
use crate::task::event::Event;
use std::os::fd::OwnedFd;

impl Shim {
    /// Does what a client asks. False when it is not to be spoken with any more.
    pub(super) fn obey(&mut self, client: u64, message: ToShim) -> bool {
        let Some(sender) = self.clients.iter_mut().find(|c| c.number == client) else { return false };
        let fds = std::mem::take(&mut sender.fds);
        match message {
            // Versions are only told: each side goes on with what the older of the two knows.
            ToShim::Hello { .. } if !sender.greeted => {
                sender.greeted = true;
                let hello =
                    FromShim::Hello { version: PROTOCOL_VERSION, task: self.task_id.clone(), pid: std::process::id() };
                self.say(client, hello, None);
            }
            _ if !sender.greeted => return false,
            ToShim::Hello { .. } => return false,
            ToShim::Stop { generation, timeout_ms, reason } => {
                self.events.push_back(Event::Stop { generation, timeout_ms, reason });
            }
            ToShim::Exec { container, process } => self.exec(client, &container, process, &fds),
            ToShim::Stats { id } => {
                let containers = self.stats();
                self.say(client, FromShim::Stats { id, containers }, None);
            }
            ToShim::Collect if self.task.has_ended() => self.collected = true,
            ToShim::Collect => self.refuse(client, "the task has not ended"),
            ToShim::Signal { container, signal } => {
                if let Err(problem) = self.signal(client, &container, signal) {
                    self.refuse(client, &problem);
                }
            }
        }
        true
    }

    pub(super) fn say(&mut self, client: u64, message: FromShim, fd: Option<OwnedFd>) {
        if let Some(c) = self.clients.iter_mut().find(|c| c.number == client) {
            c.say(&message, fd);
        }
    }

    fn refuse(&mut self, client: u64, message: &str) {
        self.say(client, FromShim::Refused { message: message.to_owned(), code: 125 }, None);
    }

    fn signal(&mut self, client: u64, container: &str, signal: i32) -> Result<(), String> {
        if container.is_empty() {
            return self.signal_exec(client, signal);
        }
        let live = self.live.iter().find(|c| c.name.as_str() == container);
        match live {
            Some(c) if c.pidfd.is_some() => c.signal(signal).map_err(|e| format!("send signal {signal}: {e}")),
            Some(_) => Err(format!("container `{container}` is not running")),
            None => Err(format!("container `{container}`: the task has none of that name")),
        }
    }

    fn stats(&self) -> Vec<ContainerStats> {
        let task_limit = self.group.memory_limit().ok().flatten();
        let mut all = Vec::with_capacity(self.live.len());
        for live in &self.live {
            let name = live.name.as_str();
            let mut stats = ContainerStats { name: name.to_owned(), ..ContainerStats::default() };
            if live.pid.is_some()
                && let Ok(s) = self.group.child(name).stats()
            {
                stats.cpu_ns = s.cpu_ns;
                stats.memory_bytes = s.memory_bytes;
                stats.memory_limit_bytes = s.memory_limit_bytes.into_iter().chain(task_limit).min();
                stats.pids = s.pids;
            }
            all.push(stats);
        }
        all
    }
}
