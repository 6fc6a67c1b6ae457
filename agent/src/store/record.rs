//! `task.json`: a task's row without what may be secret, beside the facts of the task.

use super::{Meta, Row};
use crate::task::Task;
use berth_runtime::errno::{OpContext, OpError};
use berth_runtime::rundir::{Dirs, TaskDirs};
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// The version of the record's form.
const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Record {
    version: u32,
    row: Row,
}

/// Writes the record of a task: redacted, durable, whole or not at all. Its state directory is made if need be.
pub fn write_record(dirs: &TaskDirs, row: &Row) -> Result<(), OpError> {
    let redacted: Task = row.task.redacted();
    let record = Record { version: VERSION, row: Row { task: redacted, ..row.clone() } };
    let path = dirs.record();
    let json = serde_json::to_vec(&record).map_err(io::Error::from).op("encode", &path)?;
    let is_new = !dirs.state().exists();
    std::fs::create_dir_all(dirs.state()).op("create directory", dirs.state())?;
    replace(&path, &json)?;
    let sync = |dir: &Path| File::open(dir).and_then(|d| d.sync_all()).op("sync directory", dir);
    sync(dirs.state())?;
    match dirs.state().parent() {
        Some(parent) if is_new => sync(parent),
        _ => Ok(()),
    }
}

/// Writes a copy of what is known of the node: should the store be lost, the control plane must find the same node again,
/// or it would have its tasks stopped. Durable, whole or not at all.
pub fn write_node(dirs: &Dirs, meta: &Meta) -> Result<(), OpError> {
    let path = dirs.node_record();
    let json = serde_json::to_vec(meta).map_err(io::Error::from).op("encode", &path)?;
    replace(&path, &json)?;
    File::open(&dirs.state).and_then(|d| d.sync_all()).op("sync directory", &dirs.state)
}

/// Reads that copy; one that is not there or not readable is `None`.
pub fn read_node(dirs: &Dirs) -> Option<Meta> {
    serde_json::from_slice(&std::fs::read(dirs.node_record()).ok()?).ok()
}

fn replace(path: &Path, bytes: &[u8]) -> Result<(), OpError> {
    let part = path.with_extension("part");
    let mut open = OpenOptions::new();
    let mut file = open.write(true).create(true).truncate(true).mode(0o600).open(&part).op("create", &part)?;
    file.write_all(bytes).and_then(|()| file.sync_data()).op("write", &part)?;
    std::fs::rename(&part, path).op("rename into place", path)
}

/// The id of a task whose record cannot be read, and what is wrong with it.
pub type BadRecord = (String, String);

/// Reads the records of all tasks that have one: good rows, and for each bad one the id and what is wrong with it.
pub fn read_records(dirs: &Dirs) -> Result<(Vec<Row>, Vec<BadRecord>), OpError> {
    let (mut rows, mut bad) = (Vec::new(), Vec::new());
    let root = dirs.state_tasks();
    let entries = match std::fs::read_dir(&root) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok((rows, bad)),
        Err(e) => return Err(e).op("read directory", &root),
    };
    for entry in entries {
        let path = entry.op("read directory", &root)?.path();
        let id = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        match std::fs::read(path.join("task.json")) {
            Ok(json) => match serde_json::from_slice::<Record>(&json) {
                Ok(record) if record.version == VERSION && record.row.task.id == id => rows.push(record.row),
                Ok(record) if record.version != VERSION => {
                    bad.push((id, format!("version {} of task.json, this program reads {VERSION}", record.version)));
                }
                Ok(_) => bad.push((id, "task.json names another task".into())),
                Err(e) => bad.push((id, format!("task.json: {e}"))),
            },
            // The agent was killed between making the directory and the record: nothing was started.
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => bad.push((id, format!("task.json: {e}"))),
        }
    }
    Ok((rows, bad))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::{NetworkMode, fixtures};
    use berth_runtime::id::TaskId;

    fn dirs() -> (tempfile::TempDir, Dirs) {
        let dir = tempfile::tempdir().unwrap();
        let dirs = Dirs::new(dir.path().join("run"), dir.path().join("state"));
        (dir, dirs)
    }

    #[test]
    fn a_record_comes_back_without_the_values_of_variables() {
        let (_dir, dirs) = dirs();
        let mut row = Row::new(fixtures::task("t1", NetworkMode::Bridge), "web".into());
        row.task.containers[0].environment.insert("TOKEN".into(), "hunter2".into());
        let task = dirs.task(&TaskId::parse("t1").unwrap());
        write_record(&task, &row).unwrap();
        write_record(&task, &row).unwrap();
        assert!(!std::fs::read_to_string(task.record()).unwrap().contains("hunter2"));
        let (rows, bad) = read_records(&dirs).unwrap();
        row.task = row.task.redacted();
        assert_eq!((rows, bad), (vec![row], vec![]));
    }

    #[test]
    fn the_node_is_known_again_without_the_store() {
        let (_dir, dirs) = dirs();
        std::fs::create_dir_all(&dirs.state).unwrap();
        assert_eq!(read_node(&dirs), None);
        let meta = Meta { container_instance_arn: Some("arn:x".into()), ..Meta::default() };
        write_node(&dirs, &meta).unwrap();
        assert_eq!(read_node(&dirs), Some(meta));
    }

    #[test]
    fn one_bad_record_does_not_hide_the_good_ones() {
        let (_dir, dirs) = dirs();
        let row = Row::new(fixtures::task("good", NetworkMode::None), "g".into());
        write_record(&dirs.task(&TaskId::parse("good").unwrap()), &row).unwrap();
        for (id, json) in [("bad", "{"), ("moved", ""), ("half", "")] {
            std::fs::create_dir_all(dirs.state_tasks().join(id)).unwrap();
            if id == "bad" {
                std::fs::write(dirs.state_tasks().join(id).join("task.json"), json).unwrap();
            }
        }
        std::fs::copy(dirs.state_tasks().join("good/task.json"), dirs.state_tasks().join("moved/task.json")).unwrap();
        let (rows, mut bad) = read_records(&dirs).unwrap();
        bad.sort();
        assert_eq!(rows.len(), 1);
        assert_eq!(bad.iter().map(|(id, _)| id.as_str()).collect::<Vec<_>>(), ["bad", "moved"]);
    }
}
