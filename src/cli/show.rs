//! Verbs that only show something: `state`, `list`, `spec`.

use super::args::{Args, UsageError};
use super::log::rfc3339;
use super::oci::CliError;
use super::out;
use crate::container::state::{Record, StateError, Table};
use crate::container::status::Status;
use crate::errno::{OpContext, chain};
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;

/// Prints a document over several lines.
pub(super) fn print(value: &impl Serialize) -> Result<(), CliError> {
    out::print(&format!("{}\n", serde_json::to_string_pretty(value).expect("keys are strings")))
}

/// The state of a container as the specification has it, with what runc adds: `rootfs`, `created` and `owner`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct State<'a> {
    oci_version: &'a str,
    id: &'a str,
    pid: u32,
    status: Status,
    bundle: &'a Path,
    rootfs: &'a Path,
    created: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: &'a BTreeMap<String, String>,
    owner: String,
}

fn document(record: &Record, status: Status, owner: String) -> State<'_> {
    State {
        oci_version: &record.oci_version,
        id: &record.id,
        // The pid of a process that has ended may be another's by now.
        pid: if status == Status::Stopped { 0 } else { record.pid },
        status,
        bundle: &record.bundle,
        rootfs: &record.rootfs,
        created: rfc3339(record.created_ms),
        annotations: &record.annotations,
        owner,
    }
}

/// `state ID`.
pub(super) fn state(table: &Table, id: &str) -> Result<(), CliError> {
    let record = table.read(id)?;
    print(&document(&record, table.status(&record)?, String::new()))
}

/// `list`.
pub(super) fn list(table: &Table, args: &Args) -> Result<(), CliError> {
    let mut records = Vec::new();
    for id in table.ids()? {
        match table.read(&id).and_then(|record| Ok((table.status(&record)?, table.owner(&id)?, record))) {
            Ok(found) => records.push(found),
            // Deleted meanwhile, or being created.
            Err(StateError::Missing(_)) => {}
            // The others are there all the same.
            Err(e) => table.warn(chain(&e)),
        }
    }
    let found: Vec<State<'_>> =
        records.iter().map(|(status, owner, record)| document(record, *status, user_name(*owner))).collect();
    if args.flag("quiet") {
        return out::print(&found.iter().map(|state| format!("{}\n", state.id)).collect::<String>());
    }
    match args.text("format")? {
        Some("json") => out::print(&format!("{}\n", serde_json::to_string(&found).expect("keys are strings"))),
        None | Some("table") => out::print(&table_of(&found)),
        Some(other) => Err(UsageError(format!("invalid format option: `{other}` is not table or json")).into()),
    }
}

/// The name of a user of the host, or `#` and the number.
fn user_name(uid: u32) -> String {
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let entry = passwd.lines().find(|line| line.split(':').nth(2) == Some(&uid.to_string()));
    entry.and_then(|line| line.split(':').next()).map_or_else(|| format!("#{uid}"), str::to_owned)
}

/// Columns as wide as what is in them.
fn table_of(states: &[State<'_>]) -> String {
    let mut rows = vec![["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"].map(str::to_owned)];
    rows.extend(states.iter().map(|s| {
        let (pid, bundle) = (s.pid.to_string(), s.bundle.display().to_string());
        [s.id.to_owned(), pid, s.status.to_string(), bundle, s.created.clone(), s.owner.clone()]
    }));
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0).max(9) + 3;
    let widths: [usize; 5] = std::array::from_fn(width);
    let line = |row: &[String; 6]| {
        let padded = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        padded.collect::<String>() + &row[5] + "\n"
    };
    rows.iter().map(line).collect()
}

/// `spec`: a config.json to begin with.
pub(super) fn spec(args: &Args) -> Result<(), CliError> {
    let dir = Path::new(args.value("bundle").unwrap_or(".".as_ref()));
    let path = dir.join("config.json");
    let mut file = match std::fs::File::options().write(true).create_new(true).open(&path) {
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {
            return Err(UsageError("File config.json exists. Remove it first".into()).into());
        }
        other => other.op("make", &path)?,
    };
    let mut document = example();
    if args.flag("rootless") {
        make_rootless(&mut document, nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw());
    }
    let text = format!("{document:#}\n");
    std::io::Write::write_all(&mut file, text.as_bytes()).op("write", &path)?;
    Ok(())
}

fn example() -> Value {
    let caps = ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"];
    json!({
        "ociVersion": "1.0.2",
        "process": {
            "terminal": true,
            "user": {"uid": 0, "gid": 0},
            "args": ["sh"],
            "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"],
            "cwd": "/",
            "capabilities": {"bounding": caps, "effective": caps, "permitted": caps},
            "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}],
            "noNewPrivileges": true
        },
        "root": {"path": "rootfs", "readonly": true},
        "hostname": "berth",
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs",
             "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]},
            {"destination": "/dev/pts", "type": "devpts", "source": "devpts",
             "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]},
            {"destination": "/dev/shm", "type": "tmpfs", "source": "shm",
             "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]},
            {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue", "options": ["nosuid", "noexec", "nodev"]},
            {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "noexec", "nodev", "ro"]},
            {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
             "options": ["nosuid", "noexec", "nodev", "relatime", "ro"]}
        ],
        "linux": {
            "resources": {"devices": [{"allow": false, "access": "rwm"}]},
            "namespaces": [
                {"type": "pid"}, {"type": "network"}, {"type": "ipc"}, {"type": "uts"}, {"type": "mount"},
                {"type": "cgroup"}
            ],
            "maskedPaths": [
                "/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list",
                "/proc/timer_stats", "/proc/sched_debug", "/sys/firmware", "/proc/scsi"
            ],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]
        }
    })
}

/// Makes of the example a container that a user can run who is not root: root inside is that user, who has the network
/// of the host and no control groups, and may not mount a sysfs of his own.
fn make_rootless(document: &mut Value, uid: u32, gid: u32) {
    let linux = &mut document["linux"];
    linux["namespaces"] = json!([{"type": "pid"}, {"type": "ipc"}, {"type": "uts"}, {"type": "mount"}, {"type": "cgroup"}, {"type": "user"}]);
    linux["uidMappings"] = json!([{"containerID": 0, "hostID": uid, "size": 1}]);
    linux["gidMappings"] = json!([{"containerID": 0, "hostID": gid, "size": 1}]);
    if let Some(linux) = linux.as_object_mut() {
        linux.remove("resources");
    }
    let Some(mounts) = document["mounts"].as_array_mut() else { return };
    for mount in mounts {
        if mount["destination"] == "/sys" {
            *mount = json!({"destination": "/sys", "type": "none", "source": "/sys",
                "options": ["rbind", "nosuid", "noexec", "nodev", "ro"]});
        }
        if let Some(options) = mount["options"].as_array_mut() {
            // There is no other id inside.
            options.retain(|o| !o.as_str().is_some_and(|o| o.starts_with("gid=") || o.starts_with("uid=")));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn the_example_is_a_document_that_this_runtime_takes() {
        crate::spec::parse(example().to_string().as_bytes()).unwrap();
    }

    #[test]
    fn the_rootless_example_maps_root_to_the_caller_and_has_no_groups_of_others() {
        let mut document = example();
        make_rootless(&mut document, 1000, 1001);
        assert_eq!(document["linux"]["uidMappings"][0]["hostID"], json!(1000));
        assert_eq!(document["linux"]["gidMappings"][0]["hostID"], json!(1001));
        let text = document.to_string();
        assert!(text.contains(r#""user""#) && !text.contains("gid=5") && !text.contains("sysfs"), "{text}");
    }

    #[test]
    fn the_table_has_a_line_for_each_container() {
        let record = Record { pid: 7, ..Record::example() };
        let text = table_of(&[document(&record, Status::Stopped, "root".into())]);
        let rows: Vec<Vec<&str>> = text.lines().map(|l| l.split_ascii_whitespace().collect()).collect();
        assert_eq!(rows[0], ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"]);
        assert_eq!(rows[1], ["c", "0", "stopped", "/b", "1970-01-01T00:00:00.000Z", "root"]);
    }
}
