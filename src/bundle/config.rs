//! The runtime's document, a pure function of image, settings and user (but for the devices and capabilities of the node,
//! which privileged containers get).

use super::settings::{ContainerSettings, Namespace, Volume, VolumeSource};
use super::user::User;
use super::{BundleError, defaults};
use crate::security::seccomp::default_profile;
use crate::spec::IdRange;
use oci_spec::image::ImageConfiguration;
use serde_json::{Value, json};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

/// The version of the OCI runtime specification that is written, one that every runtime in use reads.
const OCI_VERSION: &str = "1.0.2";
const SHM_BYTES: u64 = 64 << 20;

/// Makes the arguments and the whole of `config.json`.
pub(super) fn document(
    image: &ImageConfiguration,
    settings: &ContainerSettings,
    user: &User,
) -> Result<(Vec<String>, Value), BundleError> {
    let args = arguments(image, settings)?;
    let may = if settings.privileged || !settings.cap_add.is_empty() { defaults::may_give() } else { u64::MAX };
    let caps = defaults::capabilities(settings.privileged, &settings.cap_add, &settings.cap_drop, may)?;
    let mut document = json!({
        "ociVersion": OCI_VERSION,
        "process": process(image, settings, user, &args, caps)?,
        "root": { "path": "rootfs", "readonly": settings.readonly_rootfs },
        "mounts": mounts(settings)?,
        "linux": linux(settings, caps)?,
    });
    // The host's name is not ours to change, and runtimes refuse a name without a namespace for it.
    if let (Some(hostname), true) = (&settings.hostname, settings.uts == Namespace::Own) {
        document["hostname"] = json!(hostname);
    }
    if settings.init {
        document["annotations"] = json!({ "berth.init": "true" });
    }
    Ok((args, document))
}

fn refuse<T>(field: &'static str, value: &str, problem: &'static str) -> Result<T, BundleError> {
    Err(BundleError::Value { field, value: value.chars().take(200).collect(), problem })
}

fn arguments(image: &ImageConfiguration, settings: &ContainerSettings) -> Result<Vec<String>, BundleError> {
    let config = image.config().as_ref();
    let entry_point = settings.entry_point.clone().or_else(|| config.and_then(|c| c.entrypoint().clone()));
    let command = match (&settings.command, &settings.entry_point) {
        (Some(command), _) => Some(command.clone()),
        // The image's command is made of arguments for the image's entry point.
        (None, Some(_)) => None,
        (None, None) => config.and_then(|c| c.cmd().clone()),
    };
    let args: Vec<String> = entry_point.into_iter().chain(command).flatten().collect();
    match args.first() {
        None => Err(BundleError::NoCommand),
        Some(program) if program.is_empty() => Err(BundleError::NoCommand),
        Some(_) => match args.iter().find(|arg| arg.contains('\0')) {
            Some(arg) => refuse("argument", arg, "holds a NUL"),
            None => Ok(args),
        },
    }
}

/// The image's variables, replaced by the task's in place, and what every program may count on.
fn environment(
    image: &ImageConfiguration,
    settings: &ContainerSettings,
    user: &User,
) -> Result<Vec<String>, BundleError> {
    let mut variables: Vec<(String, String)> = Vec::new();
    let mut set = |name: &str, value: &str| match variables.iter_mut().find(|(n, _)| n == name) {
        Some(known) => known.1 = value.to_owned(),
        None => variables.push((name.to_owned(), value.to_owned())),
    };
    set("PATH", defaults::PATH);
    if let (Some(hostname), true) = (&settings.hostname, settings.uts == Namespace::Own) {
        set("HOSTNAME", hostname);
    }
    if settings.tty {
        set("TERM", "xterm");
    }
    set("HOME", &user.home);
    let of_image = image.config().as_ref().and_then(|c| c.env().as_ref());
    for variable in of_image.into_iter().flatten() {
        match variable.split_once('=') {
            Some((name, value)) if !name.is_empty() => set(name, value),
            // Builders keep such lines out; one that came anyway must not end the container.
            _ => {}
        }
    }
    for (name, value) in &settings.env {
        if name.is_empty() || name.contains(['=', '\0']) {
            return refuse("environment variable", name, "is not a name");
        }
        if value.contains('\0') {
            return refuse("environment variable", name, "has a value with a NUL");
        }
        set(name, value);
    }
    Ok(variables.into_iter().map(|(name, value)| format!("{name}={value}")).collect())
}

fn process(
    image: &ImageConfiguration,
    settings: &ContainerSettings,
    user: &User,
    args: &[String],
    caps: u64,
) -> Result<Value, BundleError> {
    let of_image = image.config().as_ref().and_then(|c| c.working_dir().clone());
    let cwd = settings.cwd.clone().or(of_image).filter(|cwd| !cwd.is_empty()).unwrap_or_else(|| "/".into());
    if !cwd.starts_with('/') {
        return refuse("working directory", &cwd, "is not absolute");
    }
    let caps = defaults::names(caps);
    // Another user than root gets none by execve(2) anyway, but may through set-user-id files: only the bound counts.
    let held = if user.uid == 0 { caps.clone() } else { Vec::new() };
    let mut rlimits = Vec::new();
    for limit in &settings.ulimits {
        // -1 is RLIM_INFINITY, whose bits it has.
        let (soft, hard) = (limit.soft as u64, limit.hard as u64);
        if soft > hard {
            return refuse("ulimit", &limit.name, "has a soft limit above its hard limit");
        }
        rlimits.push(json!({ "type": defaults::rlimit(&limit.name)?, "soft": soft, "hard": hard }));
    }
    let mut process = json!({
        "terminal": settings.tty,
        "user": { "uid": user.uid, "gid": user.gid, "additionalGids": user.groups },
        "args": args,
        "env": environment(image, settings, user)?,
        "cwd": cwd,
        "capabilities": { "bounding": caps, "effective": held, "permitted": held, "inheritable": [], "ambient": [] },
        "rlimits": rlimits,
        "noNewPrivileges": settings.no_new_privileges,
    });
    if let Some(score) = settings.oom_score_adj {
        process["oomScoreAdj"] = json!(score);
    }
    Ok(process)
}

fn mount(destination: &str, kind: &str, source: &str, options: &[&str]) -> Value {
    json!({ "destination": destination, "type": kind, "source": source, "options": options })
}

fn mounts(settings: &ContainerSettings) -> Result<Vec<Value>, BundleError> {
    let host_read_only = if settings.privileged { "rw" } else { "ro" };
    let shm = format!("size={}", settings.shm_bytes.unwrap_or(SHM_BYTES));
    let mut all = vec![
        mount("/proc", "proc", "proc", &["nosuid", "noexec", "nodev"]),
        mount("/dev", "tmpfs", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
        mount(
            "/dev/pts",
            "devpts",
            "devpts",
            &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
        ),
        mount("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", host_read_only]),
        mount("/sys/fs/cgroup", "cgroup", "cgroup", &["nosuid", "noexec", "nodev", "relatime", host_read_only]),
        mount("/dev/mqueue", "mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
    ];
    all.push(match settings.ipc {
        Namespace::Host => mount("/dev/shm", "bind", "/dev/shm", &["rbind", "nosuid", "noexec", "nodev"]),
        _ => mount("/dev/shm", "tmpfs", "shm", &["nosuid", "noexec", "nodev", "mode=1777", &shm]),
    });
    let mut asked: Vec<(String, Value)> = Vec::new();
    let files = [
        ("/etc/resolv.conf", &settings.resolv_conf),
        ("/etc/hostname", &settings.hostname_file),
        ("/etc/hosts", &settings.hosts),
    ];
    for (destination, source) in files {
        if let Some(source) = source {
            let source = source.to_string_lossy();
            asked.push((destination.into(), mount(destination, "bind", &source, &["rbind", "rprivate"])));
        }
    }
    for volume in &settings.mounts {
        let destination = destination(&volume.destination)?;
        let value = volume_mount(volume, &destination, !settings.users.is_empty())?;
        // A volume of the task's over one of these files, or over one of the mounts above, replaces it.
        asked.retain(|(other, _)| *other != destination);
        all.retain(|other| other["destination"] != destination.as_str());
        asked.push((destination, value));
    }
    // Those above before those below; the order of the task among equals.
    asked.sort_by_key(|(destination, _)| destination.matches('/').count());
    all.extend(asked.into_iter().map(|(_, value)| value));
    Ok(all)
}

fn destination(path: &str) -> Result<String, BundleError> {
    if !path.starts_with('/') {
        return refuse("container path", path, "is not absolute");
    }
    let parts: Vec<&str> = path.split('/').filter(|p| !p.is_empty() && *p != ".").collect();
    if parts.is_empty() || parts.contains(&"..") || path.contains('\0') {
        return refuse("container path", path, "is not a path below the root");
    }
    Ok(format!("/{}", parts.join("/")))
}

/// `mapped`: users inside are others on the host.
fn volume_mount(volume: &Volume, destination: &str, mapped: bool) -> Result<Value, BundleError> {
    let access = if volume.read_only { "ro" } else { "rw" };
    match &volume.source {
        VolumeSource::Bind(source) => {
            let text = source.to_string_lossy();
            if !source.is_absolute() {
                return refuse("host path", &text, "is not absolute");
            }
            let options = ["rbind", "rprivate", access, "ridmap"];
            Ok(mount(destination, "bind", &text, if mapped { &options } else { &options[..3] }))
        }
        VolumeSource::Tmpfs { size_bytes, options } => {
            let size = size_bytes.map(|bytes| format!("size={bytes}"));
            let base = ["nosuid", "nodev", "noexec", access];
            // What the task says about one of the base options replaces it: `exec` takes back `noexec`.
            let overridden = |base: &str| options.iter().any(|o| base.strip_prefix("no") == Some(o) || o == base);
            let options: Vec<&str> = base
                .into_iter()
                .filter(|base| !overridden(base))
                .chain(size.as_deref())
                .chain(options.iter().map(String::as_str))
                .collect();
            Ok(mount(destination, "tmpfs", "tmpfs", &options))
        }
    }
}

fn namespaces(settings: &ContainerSettings) -> Vec<Value> {
    let mut all = vec![json!({ "type": "mount" }), json!({ "type": "cgroup" })];
    for (kind, namespace) in
        [("pid", &settings.pid), ("ipc", &settings.ipc), ("uts", &settings.uts), ("network", &settings.network)]
    {
        match namespace {
            Namespace::Own => all.push(json!({ "type": kind })),
            Namespace::At(path) => all.push(json!({ "type": kind, "path": path.to_string_lossy() })),
            Namespace::Host => {}
        }
    }
    if !settings.users.is_empty() {
        all.push(json!({ "type": "user" }));
    }
    all
}

fn linux(settings: &ContainerSettings, caps: u64) -> Result<Value, BundleError> {
    let (devices, rules) = devices(settings)?;
    let mut linux = json!({
        "namespaces": namespaces(settings),
        "resources": resources(settings, rules),
        "devices": devices,
        "maskedPaths": defaults::masked(),
        "readonlyPaths": defaults::READ_ONLY,
    });
    if settings.privileged {
        linux["maskedPaths"] = json!([]);
        linux["readonlyPaths"] = json!([]);
    }
    if !settings.privileged && !settings.no_seccomp {
        linux["seccomp"] = serde_json::to_value(default_profile(caps)).map_err(BundleError::Json)?;
    }
    if !settings.sysctls.is_empty() {
        linux["sysctl"] = settings.sysctls.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
    }
    if !settings.users.is_empty() {
        linux["uidMappings"] = mappings(&settings.users.users);
        linux["gidMappings"] = mappings(&settings.users.groups);
    }
    if let Some(path) = &settings.cgroups_path {
        linux["cgroupsPath"] = json!(path.to_string_lossy());
    }
    Ok(linux)
}

fn mappings(ranges: &[IdRange]) -> Value {
    let entry = |r: &IdRange| json!({ "containerID": r.inside, "hostID": r.outside, "size": r.count });
    ranges.iter().map(entry).collect()
}

fn resources(settings: &ContainerSettings, device_rules: Vec<Value>) -> Value {
    let limits = &settings.limits;
    let mut resources = json!({ "devices": device_rules });
    let (mut memory, mut cpu) = (json!({}), json!({}));
    if let Some(bytes) = limits.memory_bytes {
        memory["limit"] = json!(bytes);
        // Memory and swap together, as the kernel of cgroup v1 counts.
        if let Some(swap) = limits.swap_bytes {
            memory["swap"] = json!(bytes.saturating_add(swap));
        }
    }
    if let Some(bytes) = limits.memory_reservation_bytes {
        memory["reservation"] = json!(bytes);
    }
    for (key, value) in [("shares", limits.cpu_shares), ("quota", limits.quota_us()), ("period", limits.cpu_period_us)]
    {
        if let Some(value) = value {
            cpu[key] = json!(value);
        }
    }
    if let Some(pids) = limits.pids {
        resources["pids"] = json!({ "limit": pids });
    }
    for (key, value) in [("memory", memory), ("cpu", cpu)] {
        if value != json!({}) {
            resources[key] = value;
        }
    }
    resources
}

/// Devices to make, and rules of who may use which. The runtime adds those that every container has.
fn devices(settings: &ContainerSettings) -> Result<(Vec<Value>, Vec<Value>), BundleError> {
    let mut rules = vec![json!({ "allow": settings.privileged, "access": "rwm" })];
    let mut devices = Vec::new();
    for device in &settings.devices {
        let path = destination(&device.container)?;
        if device.access.is_empty() || !device.access.bytes().all(|b| b"rwm".contains(&b)) {
            return refuse("device access", &device.access, "is not made of r, w and m");
        }
        let Some((node, mut rule)) = node(&device.host, &path) else {
            return refuse("device", &device.host.to_string_lossy(), "is not a device of the host");
        };
        rule["access"] = json!(device.access);
        devices.push(node);
        rules.push(rule);
    }
    if settings.privileged {
        devices.extend(host_devices(Path::new("/dev"), 0));
    }
    Ok((devices, rules))
}

/// A device of the host as the runtime makes it again, and the rule that names it.
fn node(host: &Path, container: &str) -> Option<(Value, Value)> {
    let meta = std::fs::metadata(host).ok()?;
    let kind = match meta.file_type() {
        kind if kind.is_char_device() => "c",
        kind if kind.is_block_device() => "b",
        _ => return None,
    };
    let (major, minor) = (nix::sys::stat::major(meta.rdev()), nix::sys::stat::minor(meta.rdev()));
    let device = json!({
        "path": container, "type": kind, "major": major, "minor": minor,
        "fileMode": meta.mode() & 0o777, "uid": meta.uid(), "gid": meta.gid(),
    });
    Some((device, json!({ "allow": true, "type": kind, "major": major, "minor": minor })))
}

/// All devices below /dev, without what a container has of its own: terminals, shared memory, its console.
fn host_devices(dir: &Path, depth: u8) -> Vec<Value> {
    const OWN: [&str; 14] = [
        "pts", "shm", "mqueue", "fd", "console", "ptmx", "null", "zero", "full", "random", "urandom", "tty", "core",
        "stdin",
    ];
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    let mut found = Vec::new();
    for entry in entries.flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        if depth == 0 && OWN.iter().any(|own| name == *own) {
            continue;
        }
        let Ok(kind) = entry.file_type() else { continue };
        if kind.is_dir() && depth < 4 {
            found.extend(host_devices(&path, depth + 1));
        } else if !kind.is_symlink() {
            found.extend(node(&path, &path.to_string_lossy()).map(|(device, _)| device));
        }
    }
    found.sort_by_key(|device| device["path"].as_str().unwrap_or_default().to_owned());
    found
}
