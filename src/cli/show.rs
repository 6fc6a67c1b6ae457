//! Verbs that only show something: `state`, `list`, `ps`, `spec`, `features`.

use super::args::{Args, UsageError};
use super::log::rfc3339;
use super::oci::CliError;
use crate::container::state::{Record, StateError, Status, Table, group};
use crate::errno::OpContext;
use serde_json::{Value, json};
use std::path::Path;

fn print(value: &Value) {
    println!("{value:#}");
}

fn document(record: &Record, status: Status) -> Value {
    // The pid of a process that has ended may be another's by now.
    let pid = if status == Status::Stopped { 0 } else { record.pid };
    json!({
        "ociVersion": record.oci_version,
        "id": record.id,
        "pid": pid,
        "status": status,
        "bundle": record.bundle,
        "rootfs": record.rootfs,
        "created": rfc3339(record.created_ms),
        "annotations": record.annotations,
        "owner": "",
    })
}

/// `state ID`.
pub(super) fn state(table: &Table, id: &str) -> Result<(), CliError> {
    let record = table.read(id)?;
    print(&document(&record, table.status(&record)?));
    Ok(())
}

/// `list`.
pub(super) fn list(table: &Table, args: &Args) -> Result<(), CliError> {
    let mut found = Vec::new();
    for id in table.ids()? {
        match table.read(&id) {
            Ok(record) => found.push((table.status(&record)?, record)),
            // Deleted meanwhile, or being created.
            Err(StateError::Missing(_)) => {}
            Err(e) => return Err(e.into()),
        }
    }
    if args.flag("quiet") {
        found.iter().for_each(|(_, record)| println!("{}", record.id));
        return Ok(());
    }
    match args.text("format")? {
        Some("json") => print(&found.iter().map(|(status, record)| document(record, *status)).collect()),
        None | Some("table") => {
            let width = found.iter().map(|(_, r)| r.id.len()).max().unwrap_or(0).max(11);
            println!("{:width$} {:11} {:11} {:40} CREATED", "ID", "PID", "STATUS", "BUNDLE");
            for (status, r) in &found {
                let pid = if *status == Status::Stopped { 0 } else { r.pid };
                let (status, bundle, created) =
                    (status.to_string(), r.bundle.display().to_string(), rfc3339(r.created_ms));
                println!("{:width$} {pid:<11} {status:11} {bundle:40} {created}", r.id);
            }
        }
        Some(other) => return Err(UsageError(format!("--format: got `{other}`, it is table or json")).into()),
    }
    Ok(())
}

/// `ps ID`: the processes of a container, by their pids on the host.
pub(super) fn ps(table: &Table, args: &Args) -> Result<(), CliError> {
    let record = table.read(args.id()?)?;
    let mut pids = group(&record.cgroup)?.procs()?;
    pids.sort_unstable();
    if args.text("format")? == Some("json") {
        print(&json!(pids));
        return Ok(());
    }
    println!("{:>7} CMD", "PID");
    for pid in pids {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        println!("{pid:>7} {}", line.trim_end());
    }
    Ok(())
}

/// `features`: what this runtime knows, whatever the machine lacks.
pub(super) fn features() -> Result<(), CliError> {
    print(&json!({
        "ociVersionMin": "1.0.0",
        "ociVersionMax": crate::spec::OCI_VERSION,
        "hooks": [],
        "mountOptions": [
            "async", "atime", "bind", "defaults", "dev", "diratime", "dirsync", "exec", "lazytime", "noatime", "nodev",
            "nodiratime", "noexec", "norelatime", "nostrictatime", "nosuid", "nosymfollow", "private", "ratime", "rbind",
            "rdev", "rdiratime", "relatime", "rexec", "rnoatime", "rnodev", "rnodiratime", "rnoexec", "rnorelatime",
            "rnostrictatime", "rnosuid", "rnosymfollow", "ro", "rprivate", "rrelatime", "rro", "rrw", "rshared", "rslave",
            "rstrictatime", "rsuid", "rsymfollow", "runbindable", "rw", "shared", "slave", "strictatime", "suid",
            "symfollow", "sync", "unbindable"
        ],
        "linux": {
            "namespaces": ["cgroup", "ipc", "mount", "network", "pid", "uts"],
            "capabilities": caps::all().iter().map(ToString::to_string).collect::<std::collections::BTreeSet<_>>(),
            "cgroup": {"v1": true, "v2": true, "systemd": false, "systemdUser": false, "rdma": false},
            "seccomp": {
                "enabled": true,
                "actions": [
                    "SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO", "SCMP_ACT_KILL", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_KILL_THREAD",
                    "SCMP_ACT_LOG", "SCMP_ACT_TRACE", "SCMP_ACT_TRAP"
                ],
                "operators": [
                    "SCMP_CMP_EQ", "SCMP_CMP_GE", "SCMP_CMP_GT", "SCMP_CMP_LE", "SCMP_CMP_LT", "SCMP_CMP_MASKED_EQ",
                    "SCMP_CMP_NE"
                ],
                "archs": ["SCMP_ARCH_AARCH64", "SCMP_ARCH_X32", "SCMP_ARCH_X86", "SCMP_ARCH_X86_64"],
                "knownFlags": [
                    "SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW", "SECCOMP_FILTER_FLAG_TSYNC",
                    "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"
                ]
            },
            "apparmor": {"enabled": false},
            "selinux": {"enabled": false},
            "intelRdt": {"enabled": false},
            "mountExtensions": {"idmap": {"enabled": false}}
        },
        "potentiallyUnsafeConfigAnnotations": []
    }));
    Ok(())
}

/// `spec`: a config.json to begin with.
pub(super) fn spec(args: &Args) -> Result<(), CliError> {
    if args.flag("rootless") {
        return Err(UsageError("--rootless: user namespaces are not supported yet".into()).into());
    }
    let dir = Path::new(args.value("bundle").unwrap_or(".".as_ref()));
    let path = dir.join("config.json");
    let mut file = std::fs::File::options().write(true).create_new(true).open(&path).op("make", &path)?;
    let text = format!("{:#}\n", example());
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

#[cfg(test)]
mod tests {
    #[test]
    fn the_example_is_a_document_that_this_runtime_takes() {
        crate::spec::parse(super::example().to_string().as_bytes()).unwrap();
    }
}
