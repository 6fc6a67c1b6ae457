//! Everything a shim needs, written: directories, the files of `/etc`, bundles, plan, record, lock and socket.
//!
//! What must survive a power cut is synced side by side: the store's commit, the record, each image lease. The plan and
//! all else under the run directory dies with the boot and is not synced.

use super::files;
use super::plan::{NodePlan, bundle_request, hostname_of, task_addresses, task_plan, volume_path};
use super::seams::{BundleRequest, Images, Inheritance};
use crate::capacity::Grant;
use crate::store::{Row, write_record};
use crate::task::{NetworkMode, Task, Volume};
use berth_runtime::errno::{OpContext, OpError, chain};
use berth_runtime::id::ContainerName;
use berth_runtime::rundir::TaskDirs;
use berth_runtime::shim::facts;
use std::fs;
use std::io;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, chown};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;

/// Makes directories and files of one task and its containers' bundles, and the plan that names them. Blocks.
pub(super) async fn prepare(
    node: Arc<NodePlan>,
    images: Arc<dyn Images>,
    dirs: TaskDirs,
    row: Row,
    ports: Vec<OwnedFd>,
) -> Result<Inheritance, String> {
    let record = {
        let (dirs, row) = (dirs.clone(), row.clone());
        tokio::task::spawn_blocking(move || write_record(&dirs, &row).map_err(|e| internal(&e)))
    };
    let made = tokio::task::spawn_blocking(move || {
        let grant = row.grant.clone().unwrap_or_default();
        make(&node, images.as_ref(), &dirs, &row.task, &grant)?;
        inherit(&dirs, ports).map_err(|e| internal(&e))
    });
    let made = joined(made.await);
    joined(record.await)?;
    made
}

fn joined<T>(result: Result<Result<T, String>, tokio::task::JoinError>) -> Result<T, String> {
    result.unwrap_or_else(|e| Err(format!("ResourceInitializationError: {e}")))
}

fn internal(error: &dyn std::error::Error) -> String {
    format!("ResourceInitializationError: {}", chain(error))
}

fn make(node: &NodePlan, images: &dyn Images, dirs: &TaskDirs, task: &Task, grant: &Grant) -> Result<(), String> {
    let host = HostFiles::read();
    make_directory(dirs.run(), 0o700).map_err(|e| internal(&e))?;
    make_volumes(dirs, task).map_err(|e| internal(&e))?;
    let mut stop_signals = Vec::with_capacity(task.containers.len());
    for index in 0..task.containers.len() {
        let request = bundle_request(node, dirs, task, grant, index);
        write_etc(dirs, task, grant, index, &request, &host).map_err(|e| internal(&e))?;
        let facts = images.bundle(&request).map_err(|e| e.to_string())?;
        stop_signals.push(facts.stop_signal);
    }
    let plan = task_plan(node, dirs, task, grant, &stop_signals);
    facts::write_plan(dirs, &plan).map_err(|e| internal(&e))
}

/// What containers get of the host's own `/etc`.
struct HostFiles {
    hosts: String,
    resolv_conf: String,
    upstream: String,
    hostname: String,
}

impl HostFiles {
    /// A host without one of them is no error: it has nothing to say then.
    fn read() -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        Self {
            hosts: read("/etc/hosts"),
            resolv_conf: read("/etc/resolv.conf"),
            upstream: read("/run/systemd/resolve/resolv.conf"),
            hostname: read("/proc/sys/kernel/hostname").trim().to_owned(),
        }
    }
}

fn make_directory(path: &Path, mode: u32) -> Result<(), OpError> {
    fs::DirBuilder::new().recursive(true).mode(mode).create(path).op("create directory", path)
}

fn make_volumes(dirs: &TaskDirs, task: &Task) -> Result<(), OpError> {
    for (name, volume) in &task.volumes {
        let path = volume_path(dirs, name, volume);
        match volume {
            // As Docker does: a path of the host that is not there becomes a directory.
            Volume::Host(path) if path.exists() => {}
            Volume::Host(path) => make_directory(path, 0o755)?,
            Volume::Empty => {
                make_directory(&path, 0o755)?;
                // Whoever the containers run as: nobody but root gets as far as here from outside.
                fs::set_permissions(&path, fs::Permissions::from_mode(0o1777)).op("set mode of", &path)?;
            }
        }
    }
    Ok(())
}

fn write_etc(
    dirs: &TaskDirs,
    task: &Task,
    grant: &Grant,
    index: usize,
    request: &BundleRequest,
    host: &HostFiles,
) -> Result<(), OpError> {
    let container = &task.containers[index];
    let name = ContainerName::parse(&container.name).expect("names are checked before a task is taken");
    let paths = dirs.container(&name);
    make_directory(paths.run(), 0o700)?;
    make_directory(paths.state(), 0o700)?;
    let own_name = match task.network {
        NetworkMode::Host => host.hostname.clone(),
        _ => hostname_of(task, container),
    };
    let of_container = |index: usize| -> Vec<IpAddr> {
        let bridge = grant.bridge.iter().filter(|b| b.container == index);
        bridge.flat_map(|b| b.addresses.iter().copied()).collect()
    };
    let own = if task.network == NetworkMode::Awsvpc { task_addresses(task, grant) } else { of_container(index) };
    let links: Vec<(String, IpAddr)> = container
        .links
        .iter()
        .flat_map(|(on, alias)| of_container(*on).into_iter().map(move |address| (alias.clone(), address)))
        .collect();
    let hosts = files::hosts(task.network, &host.hosts, (&own_name, &own), &links, container);
    let resolv_conf = files::resolv_conf(task.network, &host.resolv_conf, &host.upstream, container);
    fs::write(&request.hosts, hosts).op("write", &request.hosts)?;
    fs::write(&request.resolv_conf, resolv_conf).op("write", &request.resolv_conf)?;
    fs::write(&request.hostname_file, own_name + "\n").op("write", &request.hostname_file)?;
    let Some(remap) = task.remap else { return Ok(()) };
    // Root inside may edit them, as it may where it is the host's.
    let root = Some(remap.root());
    let files = [&request.hosts, &request.resolv_conf, &request.hostname_file];
    files.into_iter().try_for_each(|file| chown(file, root, root).op("give to root of the task", file))
}

/// Locks the task and binds its socket.
fn inherit(dirs: &TaskDirs, ports: Vec<OwnedFd>) -> Result<Inheritance, OpError> {
    let path = dirs.lock();
    let mut open = fs::OpenOptions::new();
    let lock = open.create(true).truncate(false).write(true).mode(0o600).open(&path).op("create", &path)?;
    lock.try_lock().map_err(io::Error::from).op("lock", &path)?;
    let socket = dirs.socket();
    match fs::remove_file(&socket) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e).op("remove", &socket),
        _ => {}
    }
    let listener = UnixListener::bind(&socket).op("bind", &socket)?;
    fs::set_permissions(&socket, fs::Permissions::from_mode(0o600)).op("set mode of", &socket)?;
    Ok(Inheritance { lock, listener, ports })
}

/// Whether a task's shim is alive: nobody else can have its lock.
pub(super) fn is_shim_alive(dirs: &TaskDirs) -> Result<bool, OpError> {
    let path = dirs.lock();
    let file = match fs::File::open(&path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(e) => return Err(e).op("open", &path),
    };
    match file.try_lock() {
        Ok(()) => Ok(false),
        Err(fs::TryLockError::WouldBlock) => Ok(true),
        Err(fs::TryLockError::Error(e)) => Err(e).op("lock", &path),
    }
}

/// Removes what was prepared for a task that never had a shim: nothing is left but its row. Blocks.
pub(super) fn undo(images: &dyn Images, dirs: &TaskDirs, task: &Task) -> Result<(), OpError> {
    remove_all(images, dirs, task)
}

/// Removes all files of a task, and its snapshots. Goes on after an error and returns the first. Blocks.
pub(super) fn remove_all(images: &dyn Images, dirs: &TaskDirs, task: &Task) -> Result<(), OpError> {
    let mut first = Ok(());
    let mut keep = |result: Result<(), OpError>| {
        if first.is_ok() {
            first = result;
        }
    };
    for container in &task.containers {
        let key = super::names::snapshot_key(&task.id, &container.name);
        keep(images.release(&key).op("release snapshot", &key));
    }
    for dir in [dirs.run(), dirs.state()] {
        match fs::remove_dir_all(dir) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => keep(Err(e).op("remove directory", dir)),
            _ => {}
        }
    }
    first
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_tells_whether_a_shim_is_alive() {
        let dir = tempfile::tempdir().unwrap();
        let dirs = TaskDirs::new(dir.path(), dir.path());
        assert!(!is_shim_alive(&dirs).unwrap());
        let inheritance = inherit(&dirs, vec![]).unwrap();
        assert!(is_shim_alive(&dirs).unwrap());
        let shims = inheritance.lock.try_clone().unwrap();
        drop(inheritance);
        assert!(is_shim_alive(&dirs).unwrap(), "the shim's copy keeps it locked");
        drop(shims);
        assert!(!is_shim_alive(&dirs).unwrap());
    }
}
