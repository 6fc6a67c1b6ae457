//! One task of the node, in one tokio task: it alone changes the row, and does what [`Life`] says.
//!
//! Inputs: commands by channel, answers of the queue for resources, what the shim says, the end of what is under way.
//! Outputs: the state by watch, each change to the engine's feed, the row to the store. It outlives the task itself until
//! its records are removed.

mod asked;
mod waits;

pub(super) use asked::{Begin, Command};

use super::admission::{Answer, Ticket};
use super::life::{Action, Event, Life};
use super::link::{News, ShimLink};
use super::need::need_of;
use super::prepare::{prepare, remove_all, undo};
use super::seams::{Inheritance, Later};
use super::state::{TaskState, outcome_of, outcome_without};
use super::{Shared, now_ms};
use crate::store::{Row, Sent, StopWish, StoreError};
use crate::task::Origin;
use berth_runtime::errno::chain;
use berth_runtime::rundir::TaskDirs;
use berth_runtime::shim::facts;
use berth_runtime::task::view::{Phase, TaskView};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use waits::{next_answer, next_done, next_news, obtain_images, sleep_until};

/// Between two tries to sweep what a dead shim left.
const SWEEP_AGAIN: Duration = Duration::from_secs(5);

type Work = Later<Done>;

/// What was under way, and how it came out.
enum Done {
    Event(Event),
    Prepared(Result<(Inheritance, Timing), String>),
}

/// What is learned while images are obtained.
struct Timing {
    digests: Vec<Option<String>>,
    pull_started_at_ms: u64,
    pull_stopped_at_ms: u64,
}

pub(super) struct Runner {
    shared: Arc<Shared>,
    dirs: TaskDirs,
    commands: mpsc::UnboundedReceiver<Command>,
    state: watch::Sender<Arc<TaskState>>,
    row: Row,
    life: Life,
    waits_for: Option<String>,
    view: Option<TaskView>,
    started_at_ms: Option<u64>,
    ticket: Option<Ticket>,
    ports: Vec<OwnedFd>,
    inheritance: Option<Inheritance>,
    link: Option<ShimLink>,
    work: Option<Work>,
    cancel: Option<oneshot::Sender<()>>,
    stored: Option<oneshot::Sender<Result<(), StoreError>>>,
}

impl Runner {
    pub(super) fn new(
        shared: Arc<Shared>,
        dirs: TaskDirs,
        row: Row,
        commands: mpsc::UnboundedReceiver<Command>,
        state: watch::Sender<Arc<TaskState>>,
    ) -> Self {
        Self {
            shared,
            dirs,
            commands,
            state,
            row,
            life: Life::Waiting,
            waits_for: None,
            view: None,
            started_at_ms: None,
            ticket: None,
            ports: Vec::new(),
            inheritance: None,
            link: None,
            work: None,
            cancel: None,
            stored: None,
        }
    }

    pub(super) async fn run(mut self, begin: Begin) {
        self.begin(begin).await;
        loop {
            let removal = self.removal();
            tokio::select! {
                biased;
                command = self.commands.recv() => {
                    let Some(command) = command else { return };
                    if self.obey(command).await { return }
                }
                done = next_done(&mut self.work) => {
                    self.work = None;
                    self.finished(done).await;
                }
                news = next_news(&mut self.link) => self.heard(news).await,
                answer = next_answer(&mut self.ticket) => self.answered(answer).await,
                () = sleep_until(removal) => {
                    if self.forget().await.is_ok() { return }
                }
            }
        }
    }

    async fn begin(&mut self, begin: Begin) {
        match begin {
            Begin::New(stored) => {
                self.stored = Some(stored);
                self.enqueue().await;
            }
            Begin::Again => self.enqueue().await,
            Begin::Adopted => {
                self.life = Life::Supervised;
                self.open_link();
                if let (Some(wish), Some(link)) = (&self.row.stop, &self.link) {
                    link.stop(wish);
                }
                self.publish();
            }
            Begin::Dead => {
                self.life = Life::Supervised;
                self.step(Event::ShimGone).await;
            }
            Begin::LeftEnd(view) => {
                self.life = Life::Supervised;
                self.view = Some(view);
                self.step(Event::ShimEnded).await;
                self.step(Event::ShimGone).await;
            }
            Begin::Ended => {
                self.life = Life::Ended;
                self.publish();
            }
        }
    }

    /// Asks for resources. A task that fits goes on without having been written down as waiting first.
    async fn enqueue(&mut self) {
        let mut ticket = self.shared.admission.request(&self.row.task.id, need_of(&self.row.task));
        let answer = ticket.answer_now();
        self.ticket = Some(ticket);
        let stop = self.row.stop.clone();
        if let Some(wish) = stop {
            self.step(Event::Stop(wish)).await;
        } else if let Some(answer) = answer {
            self.answered(answer).await;
        }
        if self.life == Life::Waiting {
            self.put().await;
        }
    }

    async fn answered(&mut self, answer: Answer) {
        match answer {
            Answer::Granted(grant, ports) => {
                self.row.grant = Some(grant);
                self.ports = ports;
                self.ticket = None;
                self.waits_for = None;
                self.step(Event::Admitted).await;
            }
            Answer::Waits(what) => {
                self.waits_for = Some(what);
                self.publish();
            }
            Answer::Never { field, problem } => {
                self.ticket = None;
                self.step(Event::Refused(format!("ResourceInitializationError: {field}: {problem}"))).await;
            }
        }
    }

    /// Says whether the runner is done for good.
    async fn obey(&mut self, command: Command) -> bool {
        match command {
            Command::Stop { timeout_ms, reason, done } => {
                // A second wish can only hurry: one without a time of its own adds nothing.
                let adds = self.row.stop.is_none() || timeout_ms.is_some();
                if adds && self.row.outcome.is_none() && !self.life.is_ended() {
                    let generation = self.row.stop.as_ref().map_or(1, |s| s.generation + 1);
                    // The first reason is the reason.
                    let reason = self.row.stop.as_ref().map_or(reason, |s| s.reason.clone());
                    let wish = StopWish { generation, timeout_ms, reason };
                    self.row.stop = Some(wish.clone());
                    self.put().await;
                    self.step(Event::Stop(wish)).await;
                }
                let _ = done.send(());
            }
            Command::Acknowledged(sent) => {
                if sent > self.row.sent {
                    self.row.sent = sent;
                    self.shared.store.put_later(self.row.clone());
                    self.publish();
                }
            }
            Command::Rename(name) => {
                self.row.name = name;
                self.shared.store.put_later(self.row.clone());
                self.publish();
            }
            Command::Forget(done) => {
                let result = self.forget().await;
                let gone = result.is_ok();
                let _ = done.send(result);
                return gone;
            }
        }
        false
    }

    async fn heard(&mut self, news: News) {
        match news {
            News::Gone => {
                self.link = None;
                self.step(Event::ShimGone).await;
            }
            News::View(view) => {
                if view.phase == Phase::Running && self.started_at_ms.is_none() {
                    self.started_at_ms = view.containers.iter().filter_map(|c| c.started_at_ms).max();
                }
                let ended = view.phase == Phase::Ended;
                self.view = Some(view);
                if ended {
                    self.step(Event::ShimEnded).await;
                } else {
                    self.publish();
                }
            }
        }
    }

    async fn finished(&mut self, done: Done) {
        let event = match done {
            Done::Event(event) => event,
            Done::Prepared(Err(reason)) => Event::PrepareFailed(reason),
            Done::Prepared(Ok((inheritance, timing))) => {
                self.row.digests = timing.digests;
                self.row.pull_started_at_ms = Some(timing.pull_started_at_ms);
                self.row.pull_stopped_at_ms = Some(timing.pull_stopped_at_ms);
                self.row.launched = true;
                self.inheritance = Some(inheritance);
                Event::Prepared
            }
        };
        self.cancel = None;
        self.step(event).await;
    }

    async fn step(&mut self, event: Event) {
        let before = self.life.clone();
        let actions = self.life.step(event);
        if before != self.life {
            tracing::debug!(task = %self.row.task.id, from = %before, to = %self.life, "task goes on");
        }
        for action in actions {
            self.act(action).await;
        }
        self.publish();
    }

    async fn act(&mut self, action: Action) {
        match action {
            Action::LeaveQueue => self.ticket = None,
            Action::Prepare => self.start_preparing(),
            Action::Cancel => drop(self.cancel.take()),
            Action::Launch => self.launch(),
            Action::SendStop(wish) => {
                if let Some(link) = &self.link {
                    link.stop(&wish);
                }
            }
            Action::Record => self.record_end().await,
            Action::Collect => {
                if let Some(link) = &self.link {
                    link.collect();
                }
            }
            Action::Sweep => self.sweep(Duration::ZERO),
            Action::SweepLater => self.sweep(SWEEP_AGAIN),
            Action::Undo => self.start_undoing(),
            Action::Release => {
                self.ports.clear();
                self.inheritance = None;
                self.shared.admission.release(&self.row.task.id);
            }
            Action::EndWithout(reason) => {
                tracing::info!(task = %self.row.task.id, reason, "task ends before it has begun");
                self.row.outcome = Some(outcome_without(reason, self.row.task.containers.len(), now_ms()));
                self.row.grant = None;
                self.put().await;
            }
        }
    }

    fn start_preparing(&mut self) {
        let (cancel, cancelled) = oneshot::channel::<()>();
        self.cancel = Some(cancel);
        let shared = self.shared.clone();
        let (dirs, row, stored) = (self.dirs.clone(), self.row.clone(), self.stored.take());
        let ports = std::mem::take(&mut self.ports);
        self.work = Some(Box::pin(async move {
            let store = shared.store.clone();
            let put = {
                let row = row.clone();
                async move {
                    let result = store.put(row).await;
                    if let Some(stored) = stored {
                        let _ = stored.send(result.clone());
                    }
                    result.map_err(|e| format!("ResourceInitializationError: {}", chain(&e)))
                }
            };
            let make = async {
                let started = now_ms();
                let digests = obtain_images(&shared, &row, cancelled).await?;
                let timing = Timing { digests, pull_started_at_ms: started, pull_stopped_at_ms: now_ms() };
                let row = Row {
                    digests: timing.digests.clone(),
                    pull_started_at_ms: Some(timing.pull_started_at_ms),
                    pull_stopped_at_ms: Some(timing.pull_stopped_at_ms),
                    launched: true,
                    ..row.clone()
                };
                let made = prepare(shared.node.clone(), shared.images.clone(), dirs, row, ports).await?;
                Ok((made, timing))
            };
            let (put, made) = tokio::join!(put, make);
            Done::Prepared(put.and(made))
        }));
    }

    /// The record is on disk: from here on there may be a shim. The row follows at the next change; until then the record
    /// says more than the row.
    fn launch(&mut self) {
        let Some(inheritance) = self.inheritance.take() else { return };
        let (shared, dirs) = (self.shared.clone(), self.dirs.clone());
        self.open_link();
        self.work = Some(Box::pin(async move {
            let spawned = tokio::task::spawn_blocking(move || shared.shims.spawn(&dirs, inheritance)).await;
            match spawned {
                Ok(Ok(())) => std::future::pending().await,
                Ok(Err(e)) => Done::Event(Event::LaunchFailed(format!("ResourceInitializationError: start shim: {e}"))),
                Err(e) => Done::Event(Event::LaunchFailed(format!("ResourceInitializationError: start shim: {e}"))),
            }
        }));
    }

    fn open_link(&mut self) {
        self.link = Some(ShimLink::open(self.dirs.clone()));
    }

    fn sweep(&mut self, after: Duration) {
        let (shared, dirs, id) = (self.shared.clone(), self.dirs.clone(), self.row.task.id.clone());
        self.work = Some(Box::pin(async move {
            tokio::time::sleep(after).await;
            Done::Event(match shared.shims.sweep(&dirs).await {
                Ok(()) => Event::Swept,
                Err(err) => {
                    tracing::error!(task = id, err, "what a dead shim left is not removed: trying again");
                    Event::SweepFailed
                }
            })
        }));
    }

    fn start_undoing(&mut self) {
        self.link = None;
        self.inheritance = None;
        self.ports.clear();
        let (shared, dirs, task) = (self.shared.clone(), self.dirs.clone(), self.row.task.clone());
        self.work = Some(Box::pin(async move {
            let undone = tokio::task::spawn_blocking(move || undo(shared.images.as_ref(), &dirs, &task)).await;
            match undone {
                Ok(Ok(())) => {}
                Ok(Err(e)) => tracing::error!(err = chain(&e), "what was prepared is not all removed"),
                Err(e) => tracing::error!(err = %e, "what was prepared is not all removed"),
            }
            Done::Event(Event::Undone)
        }));
    }

    /// Takes the end from the shim's last view, or from what it or the sweep left on disk.
    async fn record_end(&mut self) {
        self.work = None;
        let told = self.view.take().filter(|v| v.phase == Phase::Ended);
        let dirs = self.dirs.clone();
        let view = match told {
            Some(view) => Some(view),
            None => match tokio::task::spawn_blocking(move || facts::read_end(&dirs)).await {
                Ok(Ok(view)) => view,
                Ok(Err(e)) => {
                    tracing::error!(task = %self.row.task.id, err = chain(&e), "the record of a task's end is not readable");
                    None
                }
                Err(_) => None,
            },
        };
        let mut outcome = match &view {
            Some(view) => outcome_of(view, now_ms()),
            None => super::adopt::outcome_from_exits(&self.dirs, &self.row.task, now_ms()),
        };
        if outcome.reason.is_none() {
            outcome.reason = self.row.stop.as_ref().map(|s| s.reason.clone());
        }
        self.view = view;
        tracing::info!(task = %self.row.task.id, reason = outcome.reason, "task has ended");
        self.row.outcome = Some(outcome);
        self.publish();
        self.put().await;
    }

    async fn put(&mut self) {
        let result = self.shared.store.put(self.row.clone()).await;
        if let Err(error) = &result {
            tracing::error!(task = %self.row.task.id, err = chain(error), "task not written to the store");
        }
        if let Some(stored) = self.stored.take() {
            let _ = stored.send(result);
        }
    }

    /// When its records are to be removed; never before the control plane knows of its end.
    fn removal(&self) -> Option<u64> {
        let outcome = self.row.outcome.as_ref()?;
        let told = self.row.task.origin == Origin::Local || self.row.sent == Sent::Stopped;
        let keep = u64::try_from(self.shared.keep_stopped.as_millis()).unwrap_or(u64::MAX);
        (told && self.life.is_ended()).then(|| outcome.stopped_at_ms.saturating_add(keep))
    }

    async fn forget(&mut self) -> Result<(), String> {
        if !self.life.is_ended() {
            return Err("it has not stopped".into());
        }
        let (shared, dirs, task) = (self.shared.clone(), self.dirs.clone(), self.row.task.clone());
        let removed = tokio::task::spawn_blocking(move || remove_all(shared.images.as_ref(), &dirs, &task)).await;
        let removed = removed.map_err(|e| e.to_string()).and_then(|r| r.map_err(|e| chain(&e)));
        if let Err(err) = removed {
            tracing::error!(task = %self.row.task.id, err, "records of a stopped task are not all removed");
            return Err(err);
        }
        let id = &self.row.task.id;
        self.shared.store.remove(id).await.map_err(|e| chain(&e))?;
        self.shared.forget(id);
        tracing::debug!(task = %id, "records removed");
        Ok(())
    }

    fn publish(&mut self) {
        let shim_socket = self.link.is_some().then(|| self.dirs.socket());
        let state = TaskState {
            row: self.row.clone(),
            life: self.life.clone(),
            waits_for: self.waits_for.clone(),
            view: self.view.clone(),
            started_at_ms: self.started_at_ms,
            shim_socket,
        };
        let changed = self.state.send_if_modified(|now| {
            let changed = **now != state;
            if changed {
                *now = Arc::new(state);
            }
            changed
        });
        if changed {
            let _ = self.shared.changes.send(self.state.borrow().clone());
        }
    }
}
