use super::super::status::start_time;
use super::*;
use std::os::unix::fs::MetadataExt;

impl Record {
    /// Of a container that there is not.
    pub(crate) fn example() -> Self {
        Self {
            oci_version: "1.0.2".into(),
            id: "c".into(),
            pid: 0,
            start_time: 0,
            bundle: "/b".into(),
            rootfs: "/b/rootfs".into(),
            cgroup: "berth-test-none".into(),
            created_ms: 0,
            annotations: BTreeMap::new(),
            shares_pids: false,
            callers_keyring: false,
            further: Vec::new(),
            mark: None,
            has_group: false,
            unit: None,
            hooks: Hooks::default(),
        }
    }
}

fn record(pid: u32) -> Record {
    Record { pid, start_time: start_time(pid).unwrap().unwrap_or(0), ..Record::example() }
}

#[test]
fn a_record_of_before_there_were_marks_is_read() {
    let mut json = serde_json::to_value(record(1)).unwrap();
    assert!(json.get("mark").is_none() && json.get("has_group").is_none());
    let old: Record = serde_json::from_value(json.clone()).unwrap();
    assert_eq!((old.mark, old.has_group), (None, false));
    json["mark"] = "1f.2".into();
    let new: Record = serde_json::from_value(json).unwrap();
    assert_eq!(new.mark.as_deref(), Some("1f.2"));
}

#[test]
fn an_id_is_taken_once_and_free_again_when_removed() {
    let dir = tempfile::tempdir().unwrap();
    let table = Table::new(dir.path());
    let slot = table.claim("c").unwrap();
    assert!(matches!(table.claim("c"), Err(StateError::Exists(_))));
    slot.remove().unwrap();
    table.claim("c").unwrap();
}

#[test]
fn what_a_create_leaves_that_was_killed_before_it_had_a_lock_is_gone_when_somebody_looks() {
    let dir = tempfile::tempdir().unwrap();
    let table = Table::new(dir.path());
    std::fs::create_dir(dir.path().join("c")).unwrap();
    assert!(matches!(table.claim("c"), Err(StateError::Exists(_))));
    assert!(matches!(table.open("c"), Err(StateError::Missing(_))));
    let slot = table.claim("c").unwrap();
    std::fs::create_dir_all(slot.notify().join("below")).unwrap();
    std::fs::write(slot.gate(), "").unwrap();
    slot.remove().unwrap();
    assert!(!dir.path().join("c").exists());
}

#[test]
fn ids_that_would_leave_the_table_are_refused() {
    let table = Table::new("/nowhere");
    for id in ["", ".", "..", "a/b", "a b", "ü"] {
        assert!(matches!(table.claim(id), Err(StateError::InvalidId(_))), "{id:?}");
    }
}

#[test]
fn a_live_init_is_created_until_its_gate_is_gone_and_then_runs() {
    let dir = tempfile::tempdir().unwrap();
    let slot = Table::new(dir.path()).claim("c").unwrap();
    let record = record(std::process::id());
    std::fs::write(slot.gate(), "").unwrap();
    assert_eq!(slot.status(&record).unwrap(), Status::Created);
    std::fs::remove_file(slot.gate()).unwrap();
    assert_eq!(slot.status(&record).unwrap(), Status::Running);
}

#[test]
fn a_gate_at_which_nobody_waits_any_more_is_that_of_a_program_that_runs() {
    let dir = tempfile::tempdir().unwrap();
    let slot = Table::new(dir.path()).claim("c").unwrap();
    let record = record(std::process::id());
    nix::unistd::mkfifo(&slot.gate(), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let waits = File::options().read(true).write(true).open(slot.gate()).unwrap();
    assert_eq!(slot.status(&record).unwrap(), Status::Created);
    drop(waits);
    assert_eq!(slot.status(&record).unwrap(), Status::Running);
}

#[test]
fn a_container_that_was_deleted_while_it_was_waited_for_is_not_the_next_one_of_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let table = Table::new(dir.path());
    let path = dir.path().join("c/lock");
    table.claim("c").unwrap();
    let kept = File::open(&path).unwrap();
    table.open("c").unwrap().remove().unwrap();
    assert_eq!(kept.metadata().unwrap().nlink(), 0, "what a waiting verb sees of the lock of a deleted container");
    // Whoever made the directory and lost it before it had the lock does not take the one of another.
    let slot = table.claim("c").unwrap();
    slot.write(&record(1)).unwrap();
    drop(slot);
    assert!(matches!(table.claim("c"), Err(StateError::Exists(_))));
}

#[test]
fn a_created_container_is_paused_while_its_gate_is_barred() {
    let dir = tempfile::tempdir().unwrap();
    let slot = Table::new(dir.path()).claim("c").unwrap();
    let record = record(std::process::id());
    std::fs::write(slot.gate(), "").unwrap();
    slot.bar_gate(true).unwrap();
    assert_eq!(slot.status(&record).unwrap(), Status::Paused);
    slot.bar_gate(false).unwrap();
    assert_eq!(slot.status(&record).unwrap(), Status::Created);
    std::fs::remove_file(slot.gate()).unwrap();
    slot.bar_gate(true).unwrap();
}

#[test]
fn a_record_keeps_the_hierarchies_that_its_group_is_in() {
    let mut kept = record(1);
    kept.further = vec!["cpuset".into()];
    let json = serde_json::to_string(&kept).unwrap();
    let read: Record = serde_json::from_str(&json).unwrap();
    assert_eq!(read.further, ["cpuset"]);
    assert!(!serde_json::to_string(&record(1)).unwrap().contains("further"), "as a rule there are none");
}

#[test]
fn another_process_with_the_same_pid_is_not_the_init() {
    let dir = tempfile::tempdir().unwrap();
    let slot = Table::new(dir.path()).claim("c").unwrap();
    let mut record = record(std::process::id());
    record.start_time += 1;
    assert_eq!(slot.status(&record).unwrap(), Status::Stopped);
}
