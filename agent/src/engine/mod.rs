//! All tasks of the node.
//!
//! ```text
//!   control ─ submit, stop ─┐                       ┌─► store (the engine is its only writer)
//!   api ─ submit, stop ─────┴─► Engine ─► Runner ───┼─► admission (who holds what)
//!                                 ▲       one each  ├─► images (pull, snapshot, bundle)
//!   changes ◄── watch, feed ──────┘                 └─► shim (its socket; spawn, sweep)
//! ```
//!
//! The engine itself only knows which runners there are. Each `runner` owns its task's row and decides by `life`;
//! nobody else changes either. At start [`Engine::start`] joins intent and facts and begins a runner for each task.

mod admission;
mod adopt;
mod files;
mod images;
mod life;
mod link;
mod names;
mod need;
mod plan;
mod prepare;
mod runner;
mod seams;
mod shims;
mod state;

pub use admission::Hold;
pub use images::{NodeImages, open_store};
pub use plan::NodePlan;
pub use seams::{BindMount, BundleFacts, BundleRequest, ImageFailure, Images, Inheritance, Later, Shims};
pub use shims::{RuntimeShims, run as run_runtime};
pub use state::{Status, TaskState};

use crate::capacity::{Book, Node};
use crate::store::{Loaded, Meta, Row, Sent, Store, StoreError, read_node, read_records, write_node};
use crate::task::Task;
use admission::Admission;
use berth_runtime::errno::{OpError, chain};
use berth_runtime::id::TaskId;
use berth_runtime::rundir::Dirs;
use runner::{Begin, Command, Runner};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::{broadcast, mpsc, oneshot, watch};

/// Between two looks at tasks that wait for what nobody of ours will release.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// Milliseconds since the epoch.
pub fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// What the engine is made of.
pub struct Parts {
    /// Run and state directories.
    pub dirs: Dirs,
    /// What there is for tasks.
    pub node: Node,
    /// What all tasks have in common.
    pub plan: NodePlan,
    /// Images.
    pub images: Arc<dyn Images>,
    /// Shims.
    pub shims: Arc<dyn Shims>,
    /// How ports are held.
    pub hold: Hold,
    /// How long records of stopped tasks are kept.
    pub keep_stopped: Duration,
}

/// Why a task was not taken.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    /// Its id cannot name directories.
    #[error("take task `{id}`")]
    Id {
        /// The id.
        id: String,
        /// What is wrong with it.
        source: berth_runtime::id::InvalidName,
    },
    /// Another task has the name.
    #[error("name `{0}` is in use")]
    NameTaken(String),
    /// It could not be written down.
    #[error("take task `{id}`")]
    Store {
        /// The id.
        id: String,
        /// Why.
        source: StoreError,
    },
}

/// Why a task's records were not removed.
#[derive(Debug, thiserror::Error)]
pub enum ForgetError {
    /// There is no such task.
    #[error("no such task")]
    Unknown,
    /// It is still there, or its files cannot be removed.
    #[error("{0}")]
    Refused(String),
}

/// Something of the node that a task asks for and cannot have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shortage {
    /// The field that asks for it.
    pub field: String,
    /// Why not.
    pub problem: String,
}

/// What all runners share.
struct Shared {
    dirs: Dirs,
    node: Arc<NodePlan>,
    store: Store,
    admission: Admission,
    images: Arc<dyn Images>,
    shims: Arc<dyn Shims>,
    keep_stopped: Duration,
    changes: broadcast::Sender<Arc<TaskState>>,
    tasks: Mutex<Tasks>,
}

#[derive(Default)]
struct Tasks {
    handles: BTreeMap<String, Handle>,
    /// Names given before their tasks have come: `berth run` learns the id when the payload may be here already.
    names: HashMap<String, String>,
    /// Names promised to tasks whose ids are not known yet.
    reserved: HashSet<String>,
}

#[derive(Clone)]
struct Handle {
    commands: mpsc::UnboundedSender<Command>,
    state: watch::Receiver<Arc<TaskState>>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Tasks> {
        // A map of handles that each method leaves whole: a panic elsewhere does not make it wrong.
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn forget(&self, id: &str) {
        let mut tasks = self.lock();
        tasks.handles.remove(id);
        tasks.names.remove(id);
    }
}

/// All tasks of the node.
#[derive(Clone)]
pub struct Engine {
    shared: Arc<Shared>,
    meta: Arc<Mutex<Meta>>,
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").finish_non_exhaustive()
    }
}

impl Engine {
    /// Joins what the store intends with what is found, and goes on with every task. Needs a tokio runtime.
    pub fn start(parts: Parts, store: Store, mut loaded: Loaded) -> Result<Self, OpError> {
        let Parts { dirs, node, plan, images, shims, hold, keep_stopped } = parts;
        let (changes, _) = broadcast::channel(1024);
        if loaded.is_new
            && let Some(meta) = read_node(&dirs)
        {
            // The sequence is as of the registration: a manifest that was acted on already is acted on again.
            loaded.meta = Meta { sequence: 0, ..meta };
        }
        let shared = Arc::new(Shared {
            dirs,
            node: Arc::new(plan),
            store,
            admission: Admission::new(Book::new(node), hold),
            images,
            shims,
            keep_stopped,
            changes,
            tasks: Mutex::default(),
        });
        let engine = Self { shared, meta: Arc::new(Mutex::new(loaded.meta.clone())) };
        engine.resume(loaded)?;
        tokio::spawn(look_again(Arc::downgrade(&engine.shared)));
        Ok(engine)
    }

    fn resume(&self, loaded: Loaded) -> Result<(), OpError> {
        for (id, problem) in &loaded.bad {
            tracing::error!(id, problem, "a row of the store is not readable");
        }
        let mut rows: BTreeMap<String, Row> = loaded.rows.into_iter().map(|r| (r.task.id.clone(), r)).collect();
        let (records, bad) = read_records(&self.shared.dirs)?;
        for (id, problem) in bad {
            tracing::error!(task = id, problem, "the record of a task is not readable");
        }
        for record in records {
            // The record is as of the launch, the row as of later: the row wins.
            match rows.get_mut(&record.task.id) {
                Some(row) if row.launched => {}
                // Killed between the launch and the next time the row was written.
                Some(row) => {
                    row.launched = record.launched;
                    row.digests = record.digests;
                    row.pull_started_at_ms = record.pull_started_at_ms;
                    row.pull_stopped_at_ms = record.pull_stopped_at_ms;
                }
                None => {
                    tracing::warn!(task = %record.task.id, "the store does not know this task: taken from its record");
                    rows.insert(record.task.id.clone(), record);
                }
            }
        }
        adopt::remove_unknown(&self.shared.dirs, |id| rows.contains_key(id));
        let mut begun = Vec::new();
        for (id, mut row) in rows {
            let Ok(task_id) = TaskId::parse(&id) else { continue };
            let dirs = self.shared.dirs.task(&task_id);
            let begin = adopt::examine(&dirs, &row)?;
            match (&begin, row.grant.take()) {
                (Begin::Adopted | Begin::Dead | Begin::LeftEnd(_), Some(grant)) => {
                    self.shared.admission.restore(&id, grant.clone());
                    row.grant = Some(grant);
                }
                // Its ports were held by the agent that is gone.
                (Begin::Again, _) => {
                    if let Err(e) = prepare::undo(self.shared.images.as_ref(), &dirs, &row.task) {
                        tracing::error!(task = id, err = chain(&e), "what was half prepared is not all removed");
                    }
                }
                (_, grant) => row.grant = grant,
            }
            tracing::info!(task = id, found = found_word(&begin), "task of before");
            begun.push((row, begin));
        }
        // After all that is held is known: a waiting task must not be given what an adopted one has.
        for (row, begin) in begun {
            self.spawn(row, begin);
        }
        Ok(())
    }

    /// Takes a task; returns once it is on disk. One that is known already is not taken again, whatever it says.
    pub async fn submit(&self, task: Task, name: Option<String>) -> Result<(), SubmitError> {
        let id = task.id.clone();
        TaskId::parse(&id).map_err(|source| SubmitError::Id { id: id.clone(), source })?;
        let (stored, answer) = oneshot::channel();
        {
            let mut tasks = self.shared.lock();
            if tasks.handles.contains_key(&id) {
                return Ok(());
            }
            let name = tasks.names.remove(&id).or(name).unwrap_or_else(|| task.default_name());
            let row = Row::new(task, name);
            self.spawn_locked(&mut tasks, row, Begin::New(stored));
        }
        let written = answer.await.unwrap_or(Err(StoreError::Closed));
        written.map_err(|source| SubmitError::Store { id, source })
    }

    /// Keeps a task that can never be run as one that has ended for `reason`, so that it is reported.
    pub async fn refuse(&self, task: Task, reason: String) -> Result<(), SubmitError> {
        let id = task.id.clone();
        TaskId::parse(&id).map_err(|source| SubmitError::Id { id: id.clone(), source })?;
        let mut row = Row::new(task, String::new());
        row.name = row.task.default_name();
        row.outcome = Some(state::outcome_without(reason, row.task.containers.len(), now_ms()));
        if self.shared.lock().handles.contains_key(&id) {
            return Ok(());
        }
        let put = self.shared.store.put(row.clone()).await;
        put.map_err(|source| SubmitError::Store { id, source })?;
        self.spawn(row, Begin::Ended);
        Ok(())
    }

    /// Asks that a task be stopped; returns once that is on disk, `false` when there is no such task.
    pub async fn stop(&self, id: &str, timeout_ms: Option<u64>, reason: &str) -> bool {
        let (done, answer) = oneshot::channel();
        if !self.command(id, Command::Stop { timeout_ms, reason: reason.to_owned(), done }) {
            return false;
        }
        answer.await.is_ok()
    }

    /// Notes what the control plane knows of a task.
    pub fn acknowledged(&self, id: &str, sent: Sent) {
        self.command(id, Command::Acknowledged(sent));
    }

    /// Removes the records of a task that has stopped.
    pub async fn forget(&self, id: &str) -> Result<(), ForgetError> {
        let (done, answer) = oneshot::channel();
        if !self.command(id, Command::Forget(done)) {
            return Err(ForgetError::Unknown);
        }
        answer.await.map_err(|_| ForgetError::Unknown)?.map_err(ForgetError::Refused)
    }

    /// Promises a name to a task whose id is not known yet.
    pub fn reserve_name(&self, name: &str) -> Result<(), SubmitError> {
        let mut tasks = self.shared.lock();
        let in_use = tasks.handles.values().any(|h| h.state.borrow().row.name == name);
        if in_use || tasks.names.values().any(|n| n == name) || !tasks.reserved.insert(name.to_owned()) {
            return Err(SubmitError::NameTaken(name.to_owned()));
        }
        Ok(())
    }

    /// Gives a promised name to the task `id`, which may have come already, or, with `None`, to nobody.
    pub fn settle_name(&self, name: &str, id: Option<&str>) {
        let mut tasks = self.shared.lock();
        tasks.reserved.remove(name);
        let Some(id) = id else { return };
        match tasks.handles.get(id) {
            Some(handle) => drop(handle.commands.send(Command::Rename(name.to_owned()))),
            None => drop(tasks.names.insert(id.to_owned(), name.to_owned())),
        }
    }

    /// A task as it is now.
    pub fn task(&self, id: &str) -> Option<Arc<TaskState>> {
        self.shared.lock().handles.get(id).map(|h| h.state.borrow().clone())
    }

    /// All tasks as they are now, by id.
    pub fn tasks(&self) -> Vec<Arc<TaskState>> {
        self.shared.lock().handles.values().map(|h| h.state.borrow().clone()).collect()
    }

    /// A task, and every change of it.
    pub fn watch(&self, id: &str) -> Option<watch::Receiver<Arc<TaskState>>> {
        self.shared.lock().handles.get(id).map(|h| h.state.clone())
    }

    /// Every change of any task. Who falls behind lists all tasks again.
    pub fn changes(&self) -> broadcast::Receiver<Arc<TaskState>> {
        self.shared.changes.subscribe()
    }

    /// Whether the node has as much as `task` asks for, whoever holds it now, and whether the ports of the host that it
    /// names are free now. Nothing is held after.
    pub fn could_admit(&self, task: &Task) -> Result<(), Shortage> {
        self.shared.admission.could_admit(need::need_of(task))
    }

    /// Reads who holds what.
    pub fn with_book<T>(&self, read: impl FnOnce(&Book) -> T) -> T {
        self.shared.admission.with_book(read)
    }

    /// Run and state directories.
    pub fn dirs(&self) -> &Dirs {
        &self.shared.dirs
    }

    /// What is known of the node.
    pub fn meta(&self) -> Meta {
        self.meta.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Changes what is known of the node; returns once that is on disk.
    pub async fn change_meta(&self, change: impl FnOnce(&mut Meta)) -> Result<(), StoreError> {
        let meta = {
            let mut meta = self.meta.lock().unwrap_or_else(PoisonError::into_inner);
            let before = meta.clone();
            change(&mut meta);
            if *meta == before {
                return Ok(());
            }
            meta.clone()
        };
        let (dirs, copy) = (self.shared.dirs.clone(), meta.clone());
        let written = tokio::task::spawn_blocking(move || write_node(&dirs, &copy));
        let stored = self.shared.store.put_meta(meta).await;
        if let Ok(Err(e)) = written.await {
            tracing::error!(err = chain(&e), "the copy of what is known of the node is not written");
        }
        stored
    }

    /// The same, on disk with whatever is waited for next: for what comes back by itself when it is lost.
    pub fn change_meta_later(&self, change: impl FnOnce(&mut Meta)) {
        let mut meta = self.meta.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut meta);
        self.shared.store.put_meta_later(meta.clone());
    }

    fn command(&self, id: &str, command: Command) -> bool {
        self.shared.lock().handles.get(id).is_some_and(|h| h.commands.send(command).is_ok())
    }

    fn spawn(&self, row: Row, begin: Begin) {
        self.spawn_locked(&mut self.shared.lock(), row, begin);
    }

    fn spawn_locked(&self, tasks: &mut Tasks, row: Row, begin: Begin) {
        let id = row.task.id.clone();
        let Ok(task_id) = TaskId::parse(&id) else { return };
        let (commands, commands_in) = mpsc::unbounded_channel();
        let first = TaskState {
            life: if row.outcome.is_some() { life::Life::Ended } else { life::Life::Waiting },
            row: row.clone(),
            waits_for: None,
            view: None,
            started_at_ms: None,
            shim_socket: None,
        };
        let first = Arc::new(first);
        let (state_out, state) = watch::channel(first.clone());
        tasks.handles.insert(id, Handle { commands, state });
        let _ = self.shared.changes.send(first);
        let dirs = self.shared.dirs.task(&task_id);
        let runner = Runner::new(self.shared.clone(), dirs, row, commands_in, state_out);
        tokio::spawn(runner.run(begin));
    }
}

fn found_word(begin: &Begin) -> &'static str {
    match begin {
        Begin::New(_) => "new",
        Begin::Again => "not begun",
        Begin::Adopted => "alive",
        Begin::Dead => "without its shim",
        Begin::LeftEnd(_) => "ended meanwhile",
        Begin::Ended => "ended",
    }
}

async fn look_again(shared: std::sync::Weak<Shared>) {
    loop {
        tokio::time::sleep(LOOK_AGAIN).await;
        let Some(shared) = shared.upgrade() else { return };
        if shared.admission.waiting() > 0 {
            shared.admission.look_again();
        }
    }
}

#[cfg(test)]
pub(crate) mod testing {
    use super::*;
    use berth_runtime::task::view::TaskView;

    /// A task whose shim said `view`.
    pub(crate) fn supervised(row: Row, view: Option<TaskView>) -> TaskState {
        TaskState { row, life: life::Life::Supervised, waits_for: None, view, started_at_ms: None, shim_socket: None }
    }
}
