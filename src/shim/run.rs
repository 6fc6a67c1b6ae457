//! The event loop of a shim.
//!
//! One thread, poll(2) on: the listening socket, SIGTERM (a signalfd), connections, workers' sockets and pidfds, the
//! report pipe, output FIFOs and pidfd of each container, the pidfds of exec'd processes. The time-out is the next
//! deadline of [`Task`]; with none it sleeps until something happens. All decisions are [`Task`]'s: this file turns what
//! has happened into events, [`super::act`] carries out the actions.
//!
//! ```text
//!   descriptors ready ──▶ events ──▶ Task::step ──▶ actions ──▶ workers, signals, facts ──▶ more events
//!                                                      └── at the end of each turn: views to the clients
//! ```
//! Nothing is told before it is durable: actions are carried out, records synced, before the turn's views are sent.
//!
//! Ends: a container's by its pidfd. The task's when the tear-down worker has answered; then the `end` fact is written,
//! and the shim leaves when somebody has collected it or [`LINGER_MS`] later.

use super::clients::{Client, Received};
use super::clock::Clock;
use super::exec::Exec;
use super::live::{Live, OomCounters};
use super::workers::{For, Own, Worker};
use super::{facts, protocol};
use crate::cgroup::{Group, Hierarchies};
use crate::errno::{OpContext, OpError, chain, tell};
use crate::id::{ContainerName, TaskId};
use crate::rundir::{ContainerDirs, TaskDirs};
use crate::shim::log::Stream;
use crate::sys::{exe, pidfd};
use crate::task::event::Event;
use crate::task::life::Task;
use crate::task::plan::TaskPlan;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::Path;

/// How long a shim whose task has ended waits to be collected. Its end is durable by then.
pub const LINGER_MS: u64 = 5_000;

/// What a shim is started with.
#[derive(Debug)]
pub struct Inherited {
    /// The task's lock file, with the lock held.
    pub lock: OwnedFd,
    /// The task's socket, listening.
    pub listener: OwnedFd,
    /// Bound sockets that keep the task's published ports from others.
    pub held_ports: Vec<OwnedFd>,
}

/// A task's owner.
#[derive(Debug)]
pub(super) struct Shim {
    pub(super) dirs: TaskDirs,
    pub(super) task_id: String,
    pub(super) task: Task,
    pub(super) live: Vec<Live>,
    pub(super) workers: Vec<Worker>,
    pub(super) execs: Vec<Exec>,
    pub(super) clients: Vec<Client>,
    pub(super) own: Own,
    /// Until the task is torn down.
    pub(super) held_ports: Vec<OwnedFd>,
    /// The namespace that all containers share.
    pub(super) netns: Option<OwnedFd>,
    /// The task's group.
    pub(super) group: Group,
    /// The group of all that berth runs on this node.
    pub(super) parent: Group,
    pub(super) clock: Clock,
    /// Events that actions gave rise to.
    pub(super) events: VecDeque<Event>,
    pub(super) tear_downs: u32,
    /// When the tear-down is tried again, on the monotonic clock.
    pub(super) tear_down_at_ms: Option<u64>,
    pub(super) ended_at_ms: Option<u64>,
    pub(super) collected: bool,
    /// Grows with each change of the view.
    pub(super) view_number: u64,
    pub(super) next_number: u64,
    listener: UnixListener,
    signals: SignalFd,
}

/// Where something has happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Listener,
    Signals,
    WorkerSocket(For),
    WorkerEnd(For),
    Report(usize),
    Output(usize, Stream),
    InitEnd(usize),
    ExecEnd(u64),
    Client(u64),
}

/// Runs the task in `dirs` to its end.
///
/// Fails only before anything of the task was made, and where not even its end could be recorded.
pub fn run(dirs: TaskDirs, inherited: Inherited) -> Result<(), OpError> {
    let mut shim = Shim::start(dirs, inherited)?;
    shim.events.push_back(Event::Begin);
    shim.settle();
    while !shim.may_leave() {
        shim.turn()?;
    }
    // Whoever comes later finds no socket, and the end on disk.
    let _ = std::fs::remove_file(shim.dirs.socket());
    Ok(())
}

impl Shim {
    fn start(dirs: TaskDirs, inherited: Inherited) -> Result<Self, OpError> {
        std::fs::create_dir_all(dirs.state()).op("create", dirs.state())?;
        let mut mask = SigSet::empty();
        mask.add(Signal::SIGTERM);
        mask.add(Signal::SIGCHLD);
        mask.thread_block().op("block", "SIGTERM and SIGCHLD")?;
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        let signals = SignalFd::with_flags(&mask, flags).op("open", "signalfd")?;
        let listener = UnixListener::from(inherited.listener);
        listener.set_nonblocking(true).op("set flags of", dirs.socket())?;

        let program = exe::read_only().op("protect", "the program of workers")?;
        let plan = facts::read_plan(&dirs)?;
        let (parent, group) = enter_cgroup(&plan)?;
        let live = checked_names(&plan)?;
        let task = Task::new(&plan).unwrap_or_else(|problem| Task::refused(problem.to_string()));
        Ok(Self {
            dirs,
            task_id: plan.task,
            task,
            live,
            workers: Vec::new(),
            execs: Vec::new(),
            clients: Vec::new(),
            own: Own { program, lock: inherited.lock },
            held_ports: inherited.held_ports,
            netns: None,
            group,
            parent,
            clock: Clock::new(),
            events: VecDeque::new(),
            tear_downs: 0,
            tear_down_at_ms: None,
            ended_at_ms: None,
            collected: false,
            view_number: 1,
            next_number: 1,
            listener,
            signals,
        })
    }

    /// Everything of the task is gone, and somebody knows or has had the time to.
    fn may_leave(&self) -> bool {
        let Some(ended) = self.ended_at_ms else { return false };
        let told = self.clients.iter().all(|c| !c.is_behind());
        (self.collected && told) || self.clock.mono_ms() >= ended.saturating_add(LINGER_MS)
    }

    fn turn(&mut self) -> Result<(), OpError> {
        for source in self.wait()? {
            self.serve(source);
        }
        self.pass_time();
        self.settle();
        Ok(())
    }

    /// Sleeps until something happens, and says where.
    fn wait(&self) -> Result<Vec<Source>, OpError> {
        let timeout = match self.next_deadline_ms() {
            None => PollTimeout::NONE,
            Some(at) => {
                let ms = at.saturating_sub(self.clock.mono_ms()).min(i32::MAX as u64);
                PollTimeout::try_from(ms).unwrap_or(PollTimeout::MAX)
            }
        };
        let sources = self.sources();
        let mut fds: Vec<PollFd<'_>> = sources.iter().map(|(_, fd, flags)| PollFd::new(*fd, *flags)).collect();
        match poll(&mut fds, timeout) {
            Ok(_) | Err(nix::Error::EINTR) => {}
            Err(e) => return Err(e).op("poll for", &self.task_id),
        }
        let ready = sources.iter().zip(&fds).filter(|(_, fd)| fd.revents().is_none_or(|r| !r.is_empty()));
        Ok(ready.map(|((source, ..), _)| *source).collect())
    }

    /// What to wait for, in the order in which it is served: a worker's answer before its end, a report and the output
    /// before the end of their process.
    fn sources(&self) -> Vec<(Source, BorrowedFd<'_>, PollFlags)> {
        let mut all = Vec::with_capacity(8 + 4 * self.live.len());
        all.push((Source::Signals, self.signals.as_fd(), PollFlags::POLLIN));
        all.push((Source::Listener, self.listener.as_fd(), PollFlags::POLLIN));
        for w in &self.workers {
            all.extend(w.socket.iter().map(|s| (Source::WorkerSocket(w.works_for), s.as_fd(), PollFlags::POLLIN)));
            all.push((Source::WorkerEnd(w.works_for), w.pidfd.as_fd(), PollFlags::POLLIN));
        }
        for (i, c) in self.live.iter().enumerate() {
            // The report's other end belongs to a worker until there is an init: nothing to hear before.
            let report = c.report.iter().filter(|_| c.pidfd.is_some());
            all.extend(report.map(|r| (Source::Report(i), r.as_fd(), PollFlags::POLLIN)));
            all.extend(c.outputs().map(|(stream, fd)| (Source::Output(i, stream), fd, PollFlags::POLLIN)));
            all.extend(c.pidfd.iter().map(|p| (Source::InitEnd(i), p.as_fd(), PollFlags::POLLIN)));
        }
        for e in &self.execs {
            all.extend(e.pidfd.iter().map(|p| (Source::ExecEnd(e.number), p.as_fd(), PollFlags::POLLIN)));
        }
        for c in &self.clients {
            let out = if c.is_behind() { PollFlags::POLLOUT } else { PollFlags::empty() };
            all.push((Source::Client(c.number), c.stream.as_fd(), PollFlags::POLLIN | out));
        }
        all
    }

    fn serve(&mut self, source: Source) {
        match source {
            Source::Listener => self.accept(),
            Source::Signals => self.signalled(),
            Source::WorkerSocket(works_for) => self.hear_worker(works_for),
            Source::WorkerEnd(works_for) => self.worker_ended(works_for),
            Source::Report(i) => self.hear_init(i),
            Source::Output(i, stream) => self.live[i].copy_output(stream),
            Source::InitEnd(i) => self.init_ended(i),
            Source::ExecEnd(number) => self.exec_ended(number),
            Source::Client(number) => self.hear_client(number),
        }
    }

    fn next_deadline_ms(&self) -> Option<u64> {
        let workers = self.workers.iter().map(|w| w.deadline_ms);
        let linger = self.ended_at_ms.map(|at| at.saturating_add(LINGER_MS));
        workers.chain(self.task.next_deadline_ms()).chain(self.tear_down_at_ms).chain(linger).min()
    }

    fn pass_time(&mut self) {
        let now = self.clock.mono_ms();
        if self.task.next_deadline_ms().is_some_and(|at| at <= now) {
            self.events.push_back(Event::TimePassed);
        }
        for w in self.workers.iter_mut().filter(|w| w.deadline_ms <= now) {
            w.kill();
            w.deadline_ms = u64::MAX;
        }
        if self.tear_down_at_ms.is_some_and(|at| at <= now) {
            self.tear_down_at_ms = None;
            self.tear_down();
        }
    }

    /// Takes every event there is, then tells what has changed.
    fn settle(&mut self) {
        while let Some(event) = self.events.pop_front() {
            let now = self.clock.now();
            if event != Event::TimePassed {
                self.view_number += 1;
            }
            for action in self.task.step(event, now) {
                self.view_number += 1;
                self.act(&action);
            }
        }
        // Queues hold no memory between events.
        self.events = VecDeque::new();
        if self.task.has_ended() && self.ended_at_ms.is_none() {
            self.finish();
        }
        self.tell();
    }

    fn signalled(&mut self) {
        while let Ok(Some(signal)) = self.signals.read_signal() {
            if signal.ssi_signo == Signal::SIGCHLD as u32 {
                // Most have a pidfd that is served. One that has none must not stay: the init of a pid namespace does
                // not end before every process in it has been reaped, those of its parent's making too.
                self.reap_strays();
                continue;
            }
            let reason = "the host stops its tasks".to_owned();
            self.events.push_back(Event::Stop { generation: self.task.generation(), timeout_ms: None, reason });
        }
    }

    /// Init has said why it could not run the user's process, or, by saying nothing, that this runs.
    fn hear_init(&mut self, container: usize) {
        let Some(report) = self.live[container].report.take() else { return };
        match super::report::read(&report) {
            super::report::Heard::Nothing => self.live[container].report = Some(report),
            super::report::Heard::Runs => self.events.push_back(Event::Running { container }),
            super::report::Heard::Failed { code, reason } => {
                let code = super::report::of_program(code);
                self.events.push_back(Event::StartFailed { container, code, reason });
            }
        }
    }

    fn init_ended(&mut self, container: usize) {
        self.hear_init(container);
        let Some(ended) = self.live[container].reap() else { return };
        let group = self.container_group(container);
        // Only one with the host's pid namespace leaves anything behind.
        if group.populated().unwrap_or(true)
            && let Err(e) = group.kill()
        {
            note(&e);
        }
        let dirs = self.container_dirs(container);
        self.live[container].close(&dirs);
        let code = ended.shell_code();
        let after = OomCounters::read(&self.group, &group);
        let oom = self.live[container].oom(code, after, |scope| self.limit(scope, &group));
        let signal = if let pidfd::Ended::Signal(signal) = ended { Some(signal) } else { None };
        self.events.push_back(Event::Exited { container, code, signal, oom });
        self.reap_strays();
    }

    fn accept(&mut self) {
        while let Ok((stream, _)) = self.listener.accept() {
            if stream.set_nonblocking(true).is_ok() {
                let number = self.take_number();
                self.clients.push(Client::new(number, stream));
            }
        }
    }

    fn hear_client(&mut self, number: u64) {
        let Some(client) = self.clients.iter_mut().find(|c| c.number == number) else { return };
        let mut gone = matches!(client.read(), Received::Gone);
        while let Some(client) = self.clients.iter_mut().find(|c| c.number == number) {
            match client.next() {
                Received::Message(message) => gone |= !self.obey(number, message),
                Received::Nothing => break,
                Received::Gone => {
                    gone = true;
                    break;
                }
            }
        }
        if gone {
            self.drop_client(number);
        }
    }

    pub(super) fn drop_client(&mut self, number: u64) {
        self.clients.retain(|c| c.number != number);
        self.hang_up(number);
    }

    /// Sends every client what it has not been told.
    fn tell(&mut self) {
        let mut gone = Vec::new();
        let mut view = None;
        for client in &mut self.clients {
            let mut here = client.flush();
            // A client that is still behind gets the newest view when it has caught up, and not all in between.
            if here && client.greeted && client.view_told != self.view_number && !client.is_behind() {
                let view = view.get_or_insert_with(|| protocol::FromShim::View { view: self.task.view() });
                client.view_told = self.view_number;
                client.say(view, None);
                here = client.flush();
            }
            if !here {
                gone.push(client.number);
            }
        }
        for number in gone {
            self.drop_client(number);
        }
    }

    pub(super) fn take_number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number
    }

    pub(super) fn container_dirs(&self, container: usize) -> ContainerDirs {
        self.dirs.container(&self.live[container].name)
    }

    pub(super) fn container_group(&self, container: usize) -> Group {
        self.group.child(self.live[container].name.as_str())
    }
}

/// Moves this process to where all shims live, outside every task's limits; returns the node's and the
/// task's group.
fn enter_cgroup(plan: &TaskPlan) -> Result<(Group, Group), OpError> {
    let hierarchies = Hierarchies::detect(Path::new("/sys/fs/cgroup"))?;
    let parent = hierarchies.group(&plan.cgroup_parent);
    let shims = parent.child("shims");
    shims.create()?;
    shims.entry()?.join().op("enter", shims.path())?;
    let task = TaskId::parse(&plan.task).map_err(|e| OpError::new("read plan of", &plan.task, invalid(e)))?;
    let group = super::task_group(&parent, &task);
    Ok((parent, group))
}

fn checked_names(plan: &TaskPlan) -> Result<Vec<Live>, OpError> {
    let check = |name: &str| ContainerName::parse(name).map_err(|e| OpError::new("read plan of", name, invalid(e)));
    plan.containers.iter().map(|c| Ok(Live::new(check(&c.name)?, c.log))).collect()
}

fn invalid(e: crate::id::InvalidName) -> std::io::Error {
    std::io::Error::new(std::io::ErrorKind::InvalidData, e)
}

/// Leaves a line in the shim's log, which is its standard error.
pub(super) fn note(problem: &dyn std::error::Error) {
    tell(&format!("shim: {}", chain(problem)));
}
