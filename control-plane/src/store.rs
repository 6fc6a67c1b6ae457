//! The records on disk: a redb file, written by one thread that puts all that is waiting into one transaction.
//!
//! ```text
//! decision (under the state's mutex) ──► queue ──► writer thread: one transaction, one fsync ──► effects, answers
//! ```
//! The queue has the order of the decisions. A request is answered, and its effects are seen by agents and watchers,
//! after its records are durable. Requests that come while a commit runs share the next one. When a commit fails (disk
//! full), those who wait get the error, what was to be written stays, and it is tried again with the next request or
//! after [`RETRY`].

use crate::OpenError;
use crate::error::{ApiError, Code};
use crate::state::{Effects, Kind, State, Turn, Write};
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition, TableError};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::oneshot;

/// Time between two tries to write what could not be written.
const RETRY: Duration = Duration::from_secs(1);

type Table<'a> = TableDefinition<'a, &'static str, &'static [u8]>;

fn table(kind: Kind) -> Table<'static> {
    TableDefinition::new(kind.table())
}

/// Whoever waits for its records to be durable; the error says why they are not.
type Waiter = oneshot::Sender<Result<(), Arc<str>>>;

/// Answered once the records of a decision are durable; `None` when it left nothing to write and nothing to do.
pub(crate) type Durable = Option<oneshot::Receiver<Result<(), Arc<str>>>>;

#[derive(Default)]
struct Queue {
    writes: Vec<Write>,
    effects: Vec<Effects>,
    waiters: Vec<Waiter>,
    closed: bool,
}

struct Shared {
    queue: Mutex<Queue>,
    wake: Condvar,
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        // A panic elsewhere leaves a queue that is still right: it is only pushed to and taken whole.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// See the module. Dropping it writes what is waiting and closes the file.
pub(crate) struct Store {
    shared: Arc<Shared>,
    writer: Option<JoinHandle<()>>,
}

/// An open file whose records have not been read.
pub(crate) struct Records(Database);

impl Records {
    /// Opens the file at `path`, or makes it.
    pub(crate) fn open(path: &Path) -> Result<Self, OpenError> {
        let store =
            |source: redb::Error| OpenError::Store { op: "open", path: path.to_owned(), source: Box::new(source) };
        Ok(Self(Database::create(path).map_err(|error| store(error.into()))?))
    }

    /// Reads all records into `state`. One that cannot be read is reported and left out: it must not keep the others
    /// from being served.
    pub(crate) fn read(&self, path: &Path, state: &mut State) -> Result<(), OpenError> {
        let store =
            |source: redb::Error| OpenError::Store { op: "read", path: path.to_owned(), source: Box::new(source) };
        let transaction = self.0.begin_read().map_err(|error| store(error.into()))?;
        for kind in Kind::ALL {
            let table = match transaction.open_table(table(kind)) {
                Ok(table) => table,
                Err(TableError::TableDoesNotExist(_)) => continue,
                Err(error) => return Err(store(error.into())),
            };
            for row in table.iter().map_err(|error| store(error.into()))? {
                let (key, value) = row.map_err(|error| store(error.into()))?;
                if let Err(err) = state.restore(kind, key.value(), value.value()) {
                    tracing::error!(table = kind.table(), key = key.value(), %err, "left out a record that cannot be read");
                }
            }
        }
        Ok(())
    }

    /// Starts the writer. `on_durable` is called by it after each commit, with the effects of what is now durable.
    pub(crate) fn start(self, on_durable: impl Fn(Effects) + Send + 'static) -> Result<Store, OpenError> {
        let shared = Arc::new(Shared { queue: Mutex::new(Queue::default()), wake: Condvar::new() });
        let for_writer = Arc::clone(&shared);
        let writer = std::thread::Builder::new()
            .name("plane-store".to_owned())
            .spawn(move || write_until_closed(&self.0, &for_writer, &on_durable))
            .map_err(|source| OpenError::Thread { source })?;
        Ok(Store { shared, writer: Some(writer) })
    }
}

impl Store {
    /// Queues what a decision has left. Called under the state's mutex, so that the queue has the order of the decisions.
    pub(crate) fn queue(&self, turn: Turn<'_>) -> Durable {
        let Turn { writes, effects, .. } = turn;
        let idle = effects.wake.is_empty() && effects.tasks.is_empty() && effects.close.is_empty();
        if writes.is_empty() && idle {
            return None;
        }
        let (sender, receiver) = oneshot::channel();
        let mut queue = self.shared.queue();
        queue.writes.extend(writes);
        queue.effects.push(effects);
        queue.waiters.push(sender);
        drop(queue);
        self.shared.wake.notify_one();
        Some(receiver)
    }

    /// Waits for what [`Store::queue`] gave.
    pub(crate) async fn durable(receiver: Durable) -> Result<(), ApiError> {
        let Some(receiver) = receiver else { return Ok(()) };
        match receiver.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(why)) => {
                Err(ApiError::new(Code::Server, format!("the control plane's state could not be stored: {why}")))
            }
            Err(_) => Err(ApiError::new(Code::Server, "the control plane is stopping")),
        }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.shared.queue().closed = true;
        self.shared.wake.notify_one();
        if let Some(writer) = self.writer.take()
            && writer.join().is_err()
        {
            tracing::error!("the control plane's writer has panicked");
        }
    }
}

fn write_until_closed(database: &Database, shared: &Shared, on_durable: &dyn Fn(Effects)) {
    // What a failed commit has left, older than anything in the queue.
    let mut left = Queue::default();
    loop {
        let mut queue = shared.queue();
        while queue.waiters.is_empty() && left.writes.is_empty() && !queue.closed {
            queue = shared.wake.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        if queue.waiters.is_empty() && !left.writes.is_empty() && !queue.closed {
            queue = shared.wake.wait_timeout(queue, RETRY).unwrap_or_else(PoisonError::into_inner).0;
        }
        let taken = std::mem::take(&mut *queue);
        let closed = taken.closed;
        queue.closed = closed;
        drop(queue);

        left.writes.extend(taken.writes);
        left.effects.extend(taken.effects);
        let result = commit(database, &left.writes).map_err(|err| {
            tracing::error!(%err, records = left.writes.len(), "cannot store the control plane's state");
            Arc::<str>::from(err.to_string())
        });
        if result.is_ok() {
            left.writes.clear();
            left.effects.drain(..).for_each(on_durable);
        }
        for waiter in taken.waiters {
            // Whoever has gone away does not want to know.
            let _ = waiter.send(result.clone());
        }
        if closed {
            return;
        }
    }
}

fn commit(database: &Database, writes: &[Write]) -> Result<(), redb::Error> {
    if writes.is_empty() {
        return Ok(());
    }
    let transaction = database.begin_write()?;
    for kind in Kind::ALL {
        let mut of_kind = writes.iter().filter(|write| write.kind == kind).peekable();
        if of_kind.peek().is_none() {
            continue;
        }
        let mut table = transaction.open_table(table(kind))?;
        for write in of_kind {
            match &write.value {
                Some(value) => table.insert(write.key.as_str(), value.as_slice())?,
                None => table.remove(write.key.as_str())?,
            };
        }
    }
    transaction.commit()?;
    Ok(())
}
