//! Carries out what the task has decided, and hears the workers that do it.

use super::facts;
use super::job::{Answer, Job};
use super::live::OomCounters;
use super::run::{Shim, note};
use super::workers::{For, Worker};
use crate::cgroup::Group;
use crate::errno::{OpContext, OpError, chain, tell};
use crate::sys::{memory, pidfd, spawn};
use crate::task::event::{Action, Event};
use crate::task::view::OomScope;
use std::os::fd::{AsFd, OwnedFd};

/// How often the tear-down is tried before the task is said to have ended all the same. What is left then is found at
/// the agent's next start.
const TEAR_DOWNS: u32 = 5;

/// Time between two tries.
const TEAR_DOWN_AGAIN_MS: u64 = 500;

impl Shim {
    pub(super) fn act(&mut self, action: &Action) {
        match *action {
            Action::BringUpNetwork => self.bring_up_network(),
            Action::Create { container } => self.create(container),
            Action::Release { container } => self.release(container),
            Action::Signal { container, signal } => {
                if let Err(e) = self.live[container].signal(signal) {
                    note(&e);
                }
            }
            Action::Kill { container } => self.kill(container),
            Action::Record { container } => self.record(container),
            Action::TearDown => self.tear_down(),
            // Done when everything that led to it has been carried out, see `settle`.
            Action::Finish => {}
        }
    }

    fn bring_up_network(&mut self) {
        if let Err(e) = self.start_worker(For::Network, Job::Network, &[]) {
            let reason = format!("ContainerNetworkingError: {}", chain(&e));
            self.events.push_back(Event::NetworkFailed { reason });
        }
    }

    fn create(&mut self, container: usize) {
        let dirs = self.container_dirs(container);
        let made = self.live[container].prepare(&dirs).and_then(|far| {
            let netns = self.netns.as_ref().map(|fd| fd.try_clone()).transpose().op("copy", "network namespace")?;
            let mut fds = vec![far.gate, far.report];
            fds.extend(netns);
            self.start_worker(For::Container(container), Job::Create { container: container as u32 }, &fds)
        });
        if let Err(e) = made {
            self.live[container].close(&dirs);
            let reason = format!("CannotCreateContainerError: {}", chain(&e));
            self.events.push_back(Event::StartFailed { container, code: None, reason });
        }
    }

    fn start_worker(&mut self, works_for: For, job: Job, fds: &[OwnedFd]) -> Result<(), OpError> {
        let fds: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
        let now_ms = self.clock.mono_ms();
        let worker =
            Worker::start(works_for, job, &fds, &self.dirs, &self.own, now_ms).op("start worker of", &self.task_id)?;
        self.workers.push(worker);
        Ok(())
    }

    fn release(&mut self, container: usize) {
        let dirs = self.container_dirs(container);
        let before = OomCounters::read(&self.group, &self.container_group(container));
        if let Err(e) = self.live[container].release(&dirs, before) {
            // It has died at the gate, or its fact cannot be written and so nothing of the user's may run.
            self.kill(container);
            let reason = format!("CannotStartContainerError: {}", chain(&e));
            self.events.push_back(Event::StartFailed { container, code: None, reason });
        }
    }

    fn kill(&mut self, container: usize) {
        for w in self.workers.iter().filter(|w| w.works_for == For::Container(container)) {
            w.kill();
        }
        let group = self.container_group(container);
        if let Err(e) = self.live[container].kill(&group) {
            note(&e);
        }
    }

    fn record(&mut self, container: usize) {
        let dirs = self.container_dirs(container);
        let Some(record) = self.task.exit(container) else { return };
        let written = std::fs::create_dir_all(dirs.state()).op("create", dirs.state());
        if let Err(e) = written.and_then(|()| facts::write_exit(&dirs, record)) {
            // Told all the same: a full disk must not keep a task from ending.
            note(&e);
        }
    }

    pub(super) fn tear_down(&mut self) {
        // The namespace goes with the last descriptor of it.
        self.netns = None;
        self.tear_downs += 1;
        if let Err(e) = self.start_worker(For::TearDown, Job::TearDown, &[]) {
            self.torn_down(&[chain(&e)]);
        }
    }

    fn torn_down(&mut self, problems: &[String]) {
        for problem in problems {
            tell(&format!("shim: tear down: {problem}"));
        }
        if !problems.is_empty() && self.tear_downs < TEAR_DOWNS {
            self.tear_down_at_ms = Some(self.clock.mono_ms() + TEAR_DOWN_AGAIN_MS);
            return;
        }
        // The ports may be taken by others before anybody hears that the task has ended.
        self.held_ports = Vec::new();
        self.events.push_back(Event::TornDown);
    }

    /// Makes the end durable.
    pub(super) fn finish(&mut self) {
        self.held_ports = Vec::new();
        if let Err(e) = facts::write_end(&self.dirs, &self.task.view()) {
            note(&e);
        }
        self.ended_at_ms = Some(self.clock.mono_ms());
    }

    /// A worker has answered, or has closed its socket without.
    pub(super) fn hear_worker(&mut self, works_for: For) {
        let Some(worker) = self.workers.iter_mut().find(|w| w.works_for == works_for) else { return };
        // Without an answer, its end says more.
        let Some((answer, fds)) = worker.hear() else { return };
        self.answered(works_for, answer, fds);
    }

    fn answered(&mut self, works_for: For, answer: Answer, fds: Vec<OwnedFd>) {
        match (works_for, answer) {
            (For::Network, Answer::NetworkUp) => {
                self.netns = fds.into_iter().next();
                self.events.push_back(Event::NetworkUp);
            }
            (For::Container(container), Answer::Launched { pid }) => {
                self.live[container].launched(pid, fds);
                self.events.push_back(Event::Created { container, pid });
            }
            (For::Exec(number), Answer::Launched { pid }) => self.exec_launched(number, pid, fds),
            (For::TearDown, Answer::TornDown { problems }) => self.torn_down(&problems),
            (_, Answer::Failed { reason, code }) => self.job_failed(works_for, reason, code),
            (_, answer) => self.job_failed(works_for, format!("worker answered {answer:?}"), 125),
        }
    }

    fn job_failed(&mut self, works_for: For, reason: String, code: i32) {
        match works_for {
            For::Network => self.events.push_back(Event::NetworkFailed { reason }),
            For::Container(container) => {
                let dirs = self.container_dirs(container);
                self.live[container].close(&dirs);
                let code = super::report::of_program(code);
                self.events.push_back(Event::StartFailed { container, code, reason });
            }
            For::Exec(number) => self.exec_failed(number, reason, code),
            For::TearDown => self.torn_down(&[reason]),
        }
    }

    pub(super) fn worker_ended(&mut self, works_for: For) {
        self.hear_worker(works_for);
        let Some(at) = self.workers.iter().position(|w| w.works_for == works_for) else { return };
        let Some(ended) = self.workers[at].reap() else { return };
        let worker = self.workers.remove(at);
        if !worker.answered {
            let how = match ended {
                pidfd::Ended::Code(code) => format!("worker exited with code {code}"),
                pidfd::Ended::Signal(signal) => format!("worker was killed by signal {signal}"),
            };
            self.job_failed(works_for, format!("CannotStartContainerError: {how}"), 125);
        }
        self.reap_strays();
        if self.workers.is_empty() {
            memory::give_back_now();
        }
    }

    /// Reaps children of whom no worker has told or will tell: processes that could not become their program, and
    /// those of a worker that was killed. Not while a worker makes processes: its answer might be about the very child
    /// that was reaped.
    pub(super) fn reap_strays(&mut self) {
        let makes_none = |w: &Worker| matches!(w.works_for, For::Network | For::TearDown);
        while self.workers.iter().all(makes_none) {
            let Ok(Some(pid)) = spawn::peek_ended_child() else { return };
            let known = self.live.iter().any(|c| c.pid == Some(pid))
                || self.execs.iter().any(|e| e.is(pid))
                || self.workers.iter().any(|w| w.pid == pid);
            // One of ours is served by its pidfd, and calls this again.
            if known || spawn::reap(pid).is_err() {
                return;
            }
        }
    }

    /// The limit that an end for want of memory is about, in bytes; 0 where it is not to be known.
    pub(super) fn limit(&self, scope: OomScope, container: &Group) -> u64 {
        let group = match scope {
            OomScope::Container => container,
            OomScope::Task => &self.group,
            OomScope::Node => &self.parent,
        };
        group.memory_limit().ok().flatten().unwrap_or(0)
    }
}
