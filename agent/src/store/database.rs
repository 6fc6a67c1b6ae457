//! The redb file and the one thread that writes it.

use super::{Meta, Row};
use redb::{Database, Durability, ReadableDatabase, ReadableTable, TableDefinition};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::sync::oneshot;

const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
const TASKS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("tasks");
const NODE: &str = "node";

/// The store could not be opened, read or written.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// Another process has it open.
    #[error("open store `{}`: another agent has it open", path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// The file system refuses.
    #[error("{act} store `{}`: {problem}", path.display())]
    Failed {
        /// What was being done.
        act: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        problem: String,
    },
    /// The thread that writes has ended.
    #[error("write store: its thread has ended")]
    Closed,
}

/// What was found at start.
#[derive(Debug, Default)]
pub struct Loaded {
    /// What is known of the node.
    pub meta: Meta,
    /// All rows that can be read.
    pub rows: Vec<Row>,
    /// For each row that cannot, its id and what is wrong.
    pub bad: Vec<(String, String)>,
    /// Where a damaged file was put.
    pub set_aside: Option<PathBuf>,
    /// There was no file, or a damaged one: the records of tasks say what there was.
    pub is_new: bool,
}

enum Change {
    Nothing,
    Row(Box<Row>),
    Remove(String),
    Meta(Meta),
}

struct Request {
    change: Change,
    /// Whoever waits until it is on disk; without anybody, it may wait for the next that is waited for.
    done: Option<oneshot::Sender<Result<(), StoreError>>>,
}

/// A handle on the store; the thread behind it ends, with all written, once the last is dropped.
#[derive(Debug, Clone)]
pub struct Store {
    requests: mpsc::Sender<Request>,
}

impl Store {
    /// Opens the file, or begins it, and reads all of it.
    pub fn open(path: &Path) -> Result<(Self, Loaded), StoreError> {
        let existed = path.exists();
        let (database, mut loaded) = match open_and_load(path) {
            Ok(opened) => opened,
            Err(OpenFailure::Refused(error)) => return Err(error),
            Err(OpenFailure::Damaged(problem)) => {
                let aside = set_aside(path)?;
                tracing::error!(path = %path.display(), aside = %aside.display(), problem, "store is damaged: set aside");
                match open_and_load(path) {
                    Ok((database, loaded)) => (database, Loaded { set_aside: Some(aside), ..loaded }),
                    Err(OpenFailure::Refused(error)) => return Err(error),
                    Err(OpenFailure::Damaged(problem)) => {
                        return Err(StoreError::Failed { act: "begin", path: path.to_owned(), problem });
                    }
                }
            }
        };
        loaded.is_new = !existed || loaded.set_aside.is_some();
        let (requests, inbox) = mpsc::channel();
        let path = path.to_owned();
        std::thread::Builder::new().name("store".into()).spawn(move || write_all(&database, &path, &inbox)).map_err(
            |e| StoreError::Failed { act: "start the thread of", path: PathBuf::new(), problem: e.to_string() },
        )?;
        Ok((Self { requests }, loaded))
    }

    /// Keeps a row, in place of the one with its id; returns when it is on disk.
    pub async fn put(&self, row: Row) -> Result<(), StoreError> {
        self.durably(Change::Row(Box::new(row))).await
    }

    /// Keeps a row, on disk with the next change that somebody waits for: for what can be found out again.
    pub fn put_later(&self, row: Row) {
        let _ = self.requests.send(Request { change: Change::Row(Box::new(row)), done: None });
    }

    /// Forgets a task; returns when that is on disk.
    pub async fn remove(&self, id: &str) -> Result<(), StoreError> {
        self.durably(Change::Remove(id.to_owned())).await
    }

    /// Keeps what is known of the node; returns when it is on disk.
    pub async fn put_meta(&self, meta: Meta) -> Result<(), StoreError> {
        self.durably(Change::Meta(meta)).await
    }

    /// The same, on disk with the next change that somebody waits for.
    pub fn put_meta_later(&self, meta: Meta) {
        let _ = self.requests.send(Request { change: Change::Meta(meta), done: None });
    }

    /// Returns when everything that was given so far is on disk.
    pub async fn flush(&self) -> Result<(), StoreError> {
        self.durably(Change::Nothing).await
    }

    async fn durably(&self, change: Change) -> Result<(), StoreError> {
        let (done, answer) = oneshot::channel();
        self.requests.send(Request { change, done: Some(done) }).map_err(|_| StoreError::Closed)?;
        answer.await.map_err(|_| StoreError::Closed)?
    }
}

enum OpenFailure {
    /// The file is not what it should be.
    Damaged(String),
    /// The file is not to blame.
    Refused(StoreError),
}

fn open_and_load(path: &Path) -> Result<(Database, Loaded), OpenFailure> {
    // redb checks what it reads, but a file of another program's making can still trip an assertion.
    let opened = std::panic::catch_unwind(|| {
        // Tasks hold environment variables, and those hold passwords.
        let mut private = std::fs::OpenOptions::new();
        private.read(true).write(true).create(true).truncate(false).mode(0o600);
        private.open(path).map_err(|e| failure(path, redb::Error::Io(e)))?;
        let database = Database::create(path).map_err(|e| failure(path, e.into()))?;
        let loaded = load(&database).map_err(|e| failure(path, e))?;
        Ok((database, loaded))
    });
    opened.unwrap_or_else(|_| Err(OpenFailure::Damaged("reading it ended in an assertion".into())))
}

fn failure(path: &Path, error: redb::Error) -> OpenFailure {
    use std::io::ErrorKind;
    let failed = |problem: String| StoreError::Failed { act: "open", path: path.to_owned(), problem };
    match error {
        redb::Error::DatabaseAlreadyOpen => OpenFailure::Refused(StoreError::InUse { path: path.to_owned() }),
        redb::Error::Io(e) if !matches!(e.kind(), ErrorKind::InvalidData | ErrorKind::UnexpectedEof) => {
            OpenFailure::Refused(failed(e.to_string()))
        }
        other => OpenFailure::Damaged(other.to_string()),
    }
}

fn load(database: &Database) -> Result<Loaded, redb::Error> {
    // Both tables exist from the first opening on, so that reading need not ask.
    let begin = database.begin_write()?;
    begin.open_table(META)?;
    begin.open_table(TASKS)?;
    begin.commit()?;
    let mut loaded = Loaded::default();
    let read = database.begin_read()?;
    if let Some(json) = read.open_table(META)?.get(NODE)? {
        match serde_json::from_slice(json.value()) {
            Ok(meta) => loaded.meta = meta,
            Err(e) => loaded.bad.push((NODE.into(), e.to_string())),
        }
    }
    for entry in read.open_table(TASKS)?.iter()? {
        let (id, json) = entry?;
        match serde_json::from_slice::<Row>(json.value()) {
            Ok(row) if row.task.id == id.value() => loaded.rows.push(row),
            Ok(row) => loaded.bad.push((id.value().into(), format!("holds the row of {}", row.task.id))),
            Err(e) => loaded.bad.push((id.value().into(), e.to_string())),
        }
    }
    Ok(loaded)
}

fn set_aside(path: &Path) -> Result<PathBuf, StoreError> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".damaged-{now}"));
    let aside = path.with_file_name(name);
    let failed = |e: std::io::Error| StoreError::Failed { act: "set aside", path: path.into(), problem: e.to_string() };
    std::fs::rename(path, &aside).map_err(failed)?;
    Ok(aside)
}

fn write_all(database: &Database, path: &Path, inbox: &mpsc::Receiver<Request>) {
    let mut unwaited = false;
    while let Ok(first) = inbox.recv() {
        let mut batch = vec![first];
        batch.extend(inbox.try_iter());
        let waited = batch.iter().any(|r| r.done.is_some());
        let durability = if waited { Durability::Immediate } else { Durability::None };
        let result = commit(database, &batch, durability).map_err(|e| StoreError::Failed {
            act: "write",
            path: path.to_owned(),
            problem: e.to_string(),
        });
        if let (Err(error), false) = (&result, waited) {
            tracing::error!(err = %error, "store not written");
        }
        unwaited = !waited;
        for request in batch {
            if let Some(done) = request.done {
                let _ = done.send(result.clone());
            }
        }
    }
    if unwaited && let Err(error) = commit(database, &[], Durability::Immediate) {
        tracing::error!(path = %path.display(), err = %error, "store not written");
    }
}

fn commit(database: &Database, batch: &[Request], durability: Durability) -> Result<(), redb::Error> {
    let mut transaction = database.begin_write()?;
    transaction.set_durability(durability)?;
    {
        let mut tasks = transaction.open_table(TASKS)?;
        let mut meta = transaction.open_table(META)?;
        let encode = |e: serde_json::Error| redb::Error::Io(e.into());
        for request in batch {
            match &request.change {
                Change::Nothing => {}
                Change::Row(row) => {
                    tasks.insert(row.task.id.as_str(), serde_json::to_vec(row).map_err(encode)?.as_slice())?;
                }
                Change::Remove(id) => {
                    tasks.remove(id.as_str())?;
                }
                Change::Meta(node) => {
                    meta.insert(NODE, serde_json::to_vec(node).map_err(encode)?.as_slice())?;
                }
            }
        }
    }
    transaction.commit()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::{NetworkMode, fixtures};

    fn row(id: &str) -> Row {
        Row::new(fixtures::task(id, NetworkMode::None), id.into())
    }

    #[tokio::test]
    async fn rows_and_meta_are_there_after_opening_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("agent.redb");
        let (store, loaded) = Store::open(&path).unwrap();
        assert!(loaded.is_new && loaded.rows.is_empty());
        store.put(row("a")).await.unwrap();
        store.put(row("b")).await.unwrap();
        store.remove("a").await.unwrap();
        let meta = Meta { cluster: "c".into(), sequence: 7, ..Meta::default() };
        store.put_meta(meta.clone()).await.unwrap();
        drop(store);
        let (_store, loaded) = reopen(&path);
        assert!(!loaded.is_new);
        assert_eq!((loaded.rows, loaded.meta), (vec![row("b")], meta));
    }

    /// The thread closes the file a moment after the last handle is gone.
    fn reopen(path: &Path) -> (Store, Loaded) {
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
        loop {
            match Store::open(path) {
                Ok(opened) => return opened,
                Err(StoreError::InUse { .. }) if std::time::Instant::now() < deadline => std::thread::yield_now(),
                Err(e) => panic!("{e}"),
            }
        }
    }

    #[tokio::test]
    async fn what_nobody_waits_for_is_written_before_the_store_is_closed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("agent.redb");
        let (store, _) = Store::open(&path).unwrap();
        store.put_later(row("a"));
        drop(store);
        assert_eq!(reopen(&path).1.rows, vec![row("a")]);
    }

    #[test]
    fn a_damaged_file_is_set_aside_and_a_new_one_begun() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("agent.redb");
        std::fs::write(&path, vec![0x5a; 20_000]).unwrap();
        let (_store, loaded) = Store::open(&path).unwrap();
        let aside = loaded.set_aside.unwrap();
        assert!(loaded.is_new);
        assert_eq!(std::fs::read(aside).unwrap(), vec![0x5a; 20_000]);
    }

    #[test]
    fn a_file_that_another_agent_has_open_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("agent.redb");
        let (_store, _) = Store::open(&path).unwrap();
        assert!(matches!(Store::open(&path), Err(StoreError::InUse { .. })));
    }

    #[tokio::test]
    async fn a_bad_row_does_not_hide_the_good_ones() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("agent.redb");
        let database = Database::create(&path).unwrap();
        let transaction = database.begin_write().unwrap();
        transaction.open_table(TASKS).unwrap().insert("x", b"{".as_slice()).unwrap();
        transaction.commit().unwrap();
        drop(database);
        let (store, loaded) = Store::open(&path).unwrap();
        assert_eq!((loaded.rows.len(), loaded.bad.len(), loaded.set_aside), (0, 1, None));
        store.put(row("a")).await.unwrap();
    }
}
