//! `dockerConfig`: settings in the words of Docker's API, as JSON in strings.

use crate::task::{Container, Log, Refusal, Ulimit, Users};
use berth_wire::acs::DockerConfig;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// Docker's container `Config`: the members that mean something here. Everything is optional; null is absent.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Config {
    user: Option<String>,
    working_dir: Option<String>,
    hostname: Option<String>,
    tty: Option<bool>,
    open_stdin: Option<bool>,
    network_disabled: Option<bool>,
    healthcheck: Option<Value>,
    labels: Option<BTreeMap<String, String>>,
}

/// Docker's container `HostConfig`, likewise.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct HostConfig {
    privileged: Option<bool>,
    readonly_rootfs: Option<bool>,
    cap_add: Option<Vec<String>>,
    cap_drop: Option<Vec<String>>,
    dns: Option<Vec<String>>,
    dns_search: Option<Vec<String>>,
    extra_hosts: Option<Vec<String>>,
    security_opt: Option<Vec<String>>,
    log_config: Option<LogConfig>,
    memory_reservation: Option<i64>,
    memory_swappiness: Option<i64>,
    memory_swap: Option<i64>,
    ulimits: Option<Vec<DockerUlimit>>,
    devices: Option<Vec<Value>>,
    init: Option<bool>,
    shm_size: Option<i64>,
    tmpfs: Option<BTreeMap<String, String>>,
    sysctls: Option<BTreeMap<String, String>>,
    runtime: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct LogConfig {
    #[serde(rename = "Type")]
    kind: String,
    config: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct DockerUlimit {
    name: String,
    soft: i64,
    hard: i64,
}

/// The label by which a container is in the host's user namespace or in one with the node's map, and its field.
const USERS_LABEL: &str = "berth.userns";
pub(super) const USERS_FIELD: &str = "dockerLabels.berth.userns";

/// Adds the settings to `made`. `at` is the path of the container, with a dot at its end; `notes` gets what is taken
/// without being acted on.
pub(super) fn apply(
    docker: &DockerConfig,
    at: &str,
    made: &mut Container,
    notes: &mut Vec<String>,
) -> Result<(), Refusal> {
    let config: Config = read(&docker.config, &format!("{at}dockerConfig.config"))?;
    let host: HostConfig = read(&docker.host_config, &format!("{at}dockerConfig.hostConfig"))?;
    refuse_unsupported(&config, &host, at)?;
    if config.healthcheck.is_some() {
        notes.push(format!("{at}healthCheck: health checks are not run yet; the container's health is unknown"));
    }
    if host.memory_swap.is_some() || host.memory_swappiness.is_some() {
        notes.push(format!("{at}linuxParameters: containers have no swap; maxSwap and swappiness do nothing"));
    }
    made.log = log(host.log_config, at, notes)?;
    made.user = config.user.filter(|u| !u.is_empty());
    made.working_directory = config.working_dir.filter(|d| !d.is_empty());
    made.hostname = config.hostname.filter(|h| !h.is_empty());
    if let Some(word) = config.labels.iter().find_map(|labels| labels.get(USERS_LABEL)) {
        let bad = || Refusal::new(format!("{at}{USERS_FIELD}"), word, "must be host or remap");
        made.users = Some(Users::parse(word).ok_or_else(bad)?);
    }
    made.privileged |= host.privileged == Some(true);
    made.readonly_rootfs = host.readonly_rootfs == Some(true);
    made.cap_add.extend(host.cap_add.unwrap_or_default());
    made.cap_drop.extend(host.cap_drop.unwrap_or_default());
    made.dns = host.dns.unwrap_or_default();
    made.dns_search = host.dns_search.unwrap_or_default();
    made.tmpfs = host.tmpfs.unwrap_or_default();
    made.sysctls = host.sysctls.unwrap_or_default();
    made.memory_reservation = reservation(host.memory_reservation, at, made.memory)?;
    if let Some(bytes) = host.shm_size.filter(|b| *b > 0) {
        made.shm_bytes = u64::try_from(bytes).ok();
    }
    made.ulimits = host.ulimits.unwrap_or_default().into_iter().map(ulimit).collect();
    for host in host.extra_hosts.unwrap_or_default() {
        // The first colon: an IPv6 address has more.
        let entry = host.split_once(':').map(|(name, address)| (name.to_owned(), address.to_owned()));
        let bad = || Refusal::new(format!("{at}extraHosts"), &host, "must be NAME:ADDRESS");
        made.extra_hosts.push(entry.ok_or_else(bad)?);
    }
    Ok(())
}

fn refuse_unsupported(config: &Config, host: &HostConfig, at: &str) -> Result<(), Refusal> {
    let refuse = |member: &str, value: &dyn std::fmt::Display| {
        Err(Refusal::new(format!("{at}{member}"), value, "is not supported yet"))
    };
    if config.tty == Some(true) {
        return refuse("pseudoTerminal", &true);
    }
    if config.open_stdin == Some(true) {
        return refuse("interactive", &true);
    }
    if config.network_disabled == Some(true) {
        return refuse("disableNetworking", &true);
    }
    if let Some(device) = host.devices.iter().flatten().next() {
        return refuse("linuxParameters.devices", device);
    }
    if host.init == Some(true) {
        return refuse("linuxParameters.initProcessEnabled", &true);
    }
    if let Some(option) = host.security_opt.iter().flatten().next() {
        return refuse("dockerSecurityOptions", option);
    }
    if let Some(runtime) = host.runtime.as_ref().filter(|r| !r.is_empty()) {
        return refuse("runtime", runtime);
    }
    Ok(())
}

fn read<T: Default + serde::de::DeserializeOwned>(text: &str, field: &str) -> Result<T, Refusal> {
    if text.trim().is_empty() {
        return Ok(T::default());
    }
    serde_json::from_str(text).map_err(|e| Refusal::new(field, text, e.to_string()))
}

fn log(config: Option<LogConfig>, at: &str, notes: &mut Vec<String>) -> Result<Log, Refusal> {
    let Some(LogConfig { kind, config }) = config else { return Ok(Log::File) };
    match kind.as_str() {
        "" | "json-file" => {
            if config.is_some_and(|options| !options.is_empty()) {
                notes.push(format!("{at}logConfiguration.options: options of json-file do nothing yet"));
            }
            Ok(Log::File)
        }
        "none" => Ok(Log::Discard),
        other => {
            let problem = "is not supported yet: use json-file or none";
            Err(Refusal::new(format!("{at}logConfiguration.logDriver"), other, problem))
        }
    }
}

fn reservation(bytes: Option<i64>, at: &str, hard_mib: u64) -> Result<u64, Refusal> {
    let field = || format!("{at}memoryReservation");
    let bytes = bytes.unwrap_or_default();
    let bytes = u64::try_from(bytes).map_err(|_| Refusal::new(field(), bytes, "must not be negative"))?;
    let mib = bytes >> 20;
    if hard_mib > 0 && mib > hard_mib {
        return Err(Refusal::new(field(), mib, format!("is more than the memory of {hard_mib} MiB")));
    }
    Ok(mib)
}

/// -1 is no limit.
fn ulimit(limit: DockerUlimit) -> Ulimit {
    let of = |n: i64| u64::try_from(n).unwrap_or(u64::MAX);
    Ulimit { name: limit.name, soft: of(limit.soft), hard: of(limit.hard) }
}
