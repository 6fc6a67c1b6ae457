//! What a container may use: `linux.resources`, checked.
//!
//! Numbers stay in the document's units (bytes, microseconds, version 1 shares) with the document's marks: a negative
//! number is no limit. Zero means the same as leaving a field out where the kernel has no use for a limit of zero, as
//! runc reads such documents; `cgroup` leaves those alone. What is checked here is what becomes a file's name or a line
//! of one: whether the machine has the limit is seen when it is set.

use super::{SpecError, null, refuse};
use oci_spec::runtime as oci;
use oci_spec::runtime::LinuxDeviceType;

/// A rule of the devices cgroup. `None` is any.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceRule {
    /// Allow or deny.
    pub allow: bool,
    /// `a`, `b` or `c`.
    pub kind: char,
    /// Major number.
    pub major: Option<u32>,
    /// Minor number.
    pub minor: Option<u32>,
    /// Of `r`, `w` and `m`.
    pub access: String,
}

/// Limits as the document gives them, in bytes, microseconds and v1 shares.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resources {
    /// CPU shares.
    pub cpu_shares: Option<u64>,
    /// CPU time per period; negative is no limit.
    pub cpu_quota_us: Option<i64>,
    /// Period.
    pub cpu_period_us: Option<u64>,
    /// CPU time that may be saved up from periods that did not use theirs.
    pub cpu_burst_us: Option<u64>,
    /// Only gets the CPU that nobody else wants: 1, or 0 for a group like others.
    pub cpu_idle: Option<i64>,
    /// CPU time of real-time processes per real-time period.
    pub realtime_runtime_us: Option<i64>,
    /// Real-time period.
    pub realtime_period_us: Option<u64>,
    /// CPUs to run on, as a list.
    pub cpus: Option<String>,
    /// Memory nodes to use, as a list.
    pub mems: Option<String>,
    /// Memory limit; negative is none.
    pub memory_bytes: Option<i64>,
    /// Memory below which reclaim spares it.
    pub memory_reservation_bytes: Option<i64>,
    /// Memory and swap together; negative is no limit.
    pub memory_and_swap_bytes: Option<i64>,
    /// Swap by itself, which no document says but tasks' limits do; not beside `memory_and_swap_bytes`.
    pub swap_bytes: Option<u64>,
    /// Memory of TCP buffers, which version 1 counts apart.
    pub kernel_tcp_bytes: Option<i64>,
    /// How readily memory goes to swap, 0 to 100.
    pub swappiness: Option<u64>,
    /// Processes wait for memory at the limit instead of being killed.
    pub disable_oom_killer: bool,
    /// A memory limit below what is in use is refused.
    pub check_before_update: bool,
    /// Most processes; negative is no limit. At least 1: a container's first process must fit, and cannot make another.
    pub pids: Option<i64>,
    /// Block devices.
    pub block_io: BlockIo,
    /// Page size as in `2MB`, and the most bytes in such pages.
    pub hugepages: Vec<(String, i64)>,
    /// Devices for remote memory access.
    pub rdma: Vec<Rdma>,
    /// Class of network packets.
    pub class_id: Option<u32>,
    /// Priority of network packets by interface.
    pub priorities: Vec<(String, u32)>,
    /// Rules for devices, the last one that matches counts.
    pub devices: Vec<DeviceRule>,
    /// Files of a version 2 group and what to write into them, sorted by name.
    pub unified: Vec<(String, String)>,
}

/// Limits of access to block devices.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BlockIo {
    /// Weight against other groups, 10 to 1000.
    pub weight: Option<u16>,
    /// Weight against the groups below.
    pub leaf_weight: Option<u16>,
    /// Weights by device.
    pub weight_devices: Vec<WeightDevice>,
    /// Rates by device.
    pub throttles: Vec<Throttle>,
}

/// The weight of one block device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WeightDevice {
    /// Major and minor number.
    pub device: (u32, u32),
    /// Weight against other groups.
    pub weight: Option<u16>,
    /// Weight against the groups below.
    pub leaf_weight: Option<u16>,
}

/// A limit of the rate at which a block device is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Throttle {
    /// Of what.
    pub what: Rate,
    /// Major and minor number.
    pub device: (u32, u32),
    /// How much each second; 0 is no limit.
    pub each_second: u64,
}

/// What a [`Throttle`] counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rate {
    /// Bytes read.
    ReadBytes,
    /// Bytes written.
    WriteBytes,
    /// Reads.
    Reads,
    /// Writes.
    Writes,
}

/// Limits of one device for remote memory access.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rdma {
    /// The device's name.
    pub device: String,
    /// Most handles.
    pub handles: Option<u32>,
    /// Most objects.
    pub objects: Option<u32>,
}

/// Parses and checks resources by themselves, as `update --resources` takes them. They are of no version of the
/// specification, so that zero processes are no limit of theirs: some write it for none.
pub fn parse_resources(json: &[u8]) -> Result<Resources, SpecError> {
    let given: oci::LinuxResources = null::read(json, "/linux/resources")?;
    let mut found = check(&given)?;
    found.pids = found.pids.filter(|limit| *limit != 0);
    Ok(found)
}

/// A limit of zero processes stands in the document, and not for one that is missing.
pub(super) fn says_no_process(json: &[u8]) -> bool {
    let document: Option<serde_json::Value> = serde_json::from_slice(json).ok();
    let limit = document.as_ref().and_then(|document| document.pointer("/linux/resources/pids/limit"));
    limit.is_some_and(|limit| *limit == 0)
}

/// v1 shares (2 to 262144, default 1024) as a v2 weight (1 to 10000, default 100), by runc's formula: a parabola in the
/// logarithms through the three pairs (2, 1), (1024, 100) and (262144, 10000).
pub fn cpu_weight(shares: u64) -> u64 {
    let l = (shares.clamp(2, 262_144) as f64).log2();
    let exponent = (l * l + 125.0 * l) / 612.0 - 7.0 / 34.0;
    // A hair above a whole number is rounding, not weight.
    ((10f64.powf(exponent) - 1e-9).ceil() as u64).clamp(1, 10_000)
}

/// Checks the resources of a document.
pub(super) fn check(given: &oci::LinuxResources) -> Result<Resources, SpecError> {
    let mut found = Resources::default();
    if let Some(cpu) = given.cpu() {
        check_cpu(cpu, &mut found)?;
    }
    if let Some(memory) = given.memory() {
        check_memory(memory, &mut found)?;
    }
    found.pids = given.pids().as_ref().map(oci::LinuxPids::limit);
    if let Some(block_io) = given.block_io() {
        found.block_io = check_block_io(block_io)?;
    }
    for (i, limit) in given.hugepage_limits().iter().flatten().enumerate() {
        found.hugepages.push((page_size(i, limit.page_size())?, limit.limit()));
    }
    for (device, limits) in given.rdma().iter().flatten() {
        plain_word("linux.resources.rdma", device)?;
        let (handles, objects) = (limits.hca_handles(), limits.hca_objects());
        found.rdma.push(Rdma { device: device.clone(), handles, objects });
    }
    found.rdma.sort_by(|a, b| a.device.cmp(&b.device));
    if let Some(network) = given.network() {
        found.class_id = network.class_id();
        for (i, priority) in network.priorities().iter().flatten().enumerate() {
            plain_word(&format!("linux.resources.network.priorities[{i}].name"), priority.name())?;
            found.priorities.push((priority.name().clone(), priority.priority()));
        }
    }
    for (i, rule) in given.devices().iter().flatten().enumerate() {
        found.devices.extend(device_rules(i, rule)?);
    }
    for (name, value) in given.unified().iter().flatten() {
        unified_name(name)?;
        found.unified.push((name.clone(), value.clone()));
    }
    found.unified.sort();
    Ok(found)
}

fn check_cpu(cpu: &oci::LinuxCpu, found: &mut Resources) -> Result<(), SpecError> {
    found.cpu_shares = cpu.shares();
    found.cpu_quota_us = cpu.quota();
    found.cpu_period_us = cpu.period();
    found.cpu_burst_us = cpu.burst();
    found.cpu_idle = cpu.idle();
    found.realtime_runtime_us = cpu.realtime_runtime();
    found.realtime_period_us = cpu.realtime_period();
    found.cpus = cpu.cpus().clone().filter(|c| !c.is_empty());
    found.mems = cpu.mems().clone().filter(|c| !c.is_empty());
    match found.cpu_idle {
        None | Some(0 | 1) => Ok(()),
        Some(other) => refuse("linux.resources.cpu.idle", format!("got {other}, it is 0 or 1")),
    }
}

fn check_memory(memory: &oci::LinuxMemory, found: &mut Resources) -> Result<(), SpecError> {
    found.memory_bytes = memory.limit();
    found.memory_reservation_bytes = memory.reservation();
    found.memory_and_swap_bytes = memory.swap();
    found.kernel_tcp_bytes = memory.kernel_tcp();
    found.swappiness = memory.swappiness();
    found.disable_oom_killer = memory.disable_oom_killer().unwrap_or(false);
    found.check_before_update = memory.check_before_update().unwrap_or(false);
    // `kernel` has no effect in any kernel that this runtime runs on, nor has `useHierarchy`, which is always so.
    match found.swappiness {
        Some(more @ 101..) => refuse("linux.resources.memory.swappiness", format!("got {more}, it is 0 to 100")),
        _ => Ok(()),
    }
}

fn check_block_io(given: &oci::LinuxBlockIo) -> Result<BlockIo, SpecError> {
    let mut found = BlockIo { weight: given.weight(), leaf_weight: given.leaf_weight(), ..BlockIo::default() };
    let field = "linux.resources.blockIO.weightDevice";
    for (i, w) in given.weight_device().iter().flatten().enumerate() {
        let device = block_device(&format!("{field}[{i}]"), w.major(), w.minor())?;
        found.weight_devices.push(WeightDevice { device, weight: w.weight(), leaf_weight: w.leaf_weight() });
    }
    for (name, what, list) in [
        ("throttleReadBpsDevice", Rate::ReadBytes, given.throttle_read_bps_device()),
        ("throttleWriteBpsDevice", Rate::WriteBytes, given.throttle_write_bps_device()),
        ("throttleReadIOPSDevice", Rate::Reads, given.throttle_read_iops_device()),
        ("throttleWriteIOPSDevice", Rate::Writes, given.throttle_write_iops_device()),
    ] {
        for (i, t) in list.iter().flatten().enumerate() {
            let device = block_device(&format!("linux.resources.blockIO.{name}[{i}]"), t.major(), t.minor())?;
            found.throttles.push(Throttle { what, device, each_second: t.rate() });
        }
    }
    Ok(found)
}

fn block_device(field: &str, major: i64, minor: i64) -> Result<(u32, u32), SpecError> {
    match (u32::try_from(major), u32::try_from(minor)) {
        (Ok(major), Ok(minor)) => Ok((major, minor)),
        _ => refuse(field, format!("device {major}:{minor} is out of range")),
    }
}

/// A page size is part of a file's name: `64KB`, `2MB`, `1GB`.
fn page_size(i: usize, size: &str) -> Result<String, SpecError> {
    let digits = size.trim_end_matches(|c: char| !c.is_ascii_digit());
    let plain = !digits.is_empty() && digits.len() < 10 && digits.bytes().all(|b| b.is_ascii_digit());
    if plain && matches!(&size[digits.len()..], "KB" | "MB" | "GB") {
        return Ok(size.to_owned());
    }
    refuse(
        format!("linux.resources.hugepageLimits[{i}].pageSize"),
        format!("got `{size}`, it is a number with KB, MB or GB"),
    )
}

/// A word in a line of a control file.
fn plain_word(field: &str, word: &str) -> Result<(), SpecError> {
    if word.is_empty() || word.bytes().any(|b| b.is_ascii_whitespace() || b.is_ascii_control()) {
        return refuse(field, format!("`{word}` is not a device's name"));
    }
    Ok(())
}

/// The name of a control file: one of the group's own directory, and of a controller.
fn unified_name(name: &str) -> Result<(), SpecError> {
    let field = "linux.resources.unified";
    if name.contains(['/', '\0']) {
        return refuse(field, format!("unified resource `{name}` must be a file name (no slashes)"));
    }
    match name.split_once('.') {
        Some((controller, parameter)) if !controller.is_empty() && !parameter.is_empty() && parameter != "." => Ok(()),
        _ => refuse(field, format!("unified resource `{name}` must be in the form CONTROLLER.PARAMETER")),
    }
}

fn device_rules(i: usize, rule: &oci::LinuxDeviceCgroup) -> Result<Vec<DeviceRule>, SpecError> {
    let field = format!("linux.resources.devices[{i}]");
    let number = |n: Option<i64>| match n {
        // runc's documents also use -1 for any.
        None | Some(-1) => Ok(None),
        Some(n) => u32::try_from(n).map(Some).or_else(|_| refuse(&field, format!("number {n} is out of range"))),
    };
    let access = rule.access().clone().unwrap_or_else(|| "rwm".into());
    if access.chars().any(|c| !"rwm".contains(c)) {
        return refuse(field, format!("access `{access}` holds more than r, w and m"));
    }
    let kind = match rule.typ().unwrap_or(LinuxDeviceType::A) {
        LinuxDeviceType::A => 'a',
        LinuxDeviceType::B => 'b',
        LinuxDeviceType::C | LinuxDeviceType::U => 'c',
        LinuxDeviceType::P => return refuse(field, "type `p` is not a device"),
    };
    let (major, minor) = (number(rule.major())?, number(rule.minor())?);
    let all = major.is_none() && minor.is_none() && "rwm".chars().all(|c| access.contains(c));
    // Version 1 of control groups takes `a` for all devices and all access, whatever else the rule says.
    let kinds = if kind == 'a' && !all { &['b', 'c'][..] } else { &[kind] };
    let rule = |kind: &char| DeviceRule { allow: rule.allow(), kind: *kind, major, minor, access: access.clone() };
    Ok(kinds.iter().map(rule).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn parse(value: Value) -> Result<Resources, SpecError> {
        parse_resources(value.to_string().as_bytes())
    }

    #[test]
    fn everything_that_a_document_can_limit_is_found() {
        let found = parse(json!({
            "cpu": {"shares": 512, "quota": -1, "period": 50000, "burst": 1000, "realtimeRuntime": 5, "realtimePeriod": 10,
                    "cpus": "0-1", "mems": "", "idle": 1},
            "memory": {"limit": 1, "reservation": 2, "swap": -1, "kernel": 3, "kernelTCP": 4, "swappiness": 0,
                       "disableOOMKiller": true, "useHierarchy": true, "checkBeforeUpdate": true},
            "pids": {"limit": 7},
            "blockIO": {"weight": 10, "leafWeight": 20, "weightDevice": [{"major": 8, "minor": 0, "weight": 30}],
                        "throttleWriteIOPSDevice": [{"major": 8, "minor": 16, "rate": 40}]},
            "hugepageLimits": [{"pageSize": "2MB", "limit": 50}],
            "rdma": {"mlx5_1": {"hcaHandles": 3, "hcaObjects": 10000}},
            "network": {"classID": 1048577, "priorities": [{"name": "eth0", "priority": 500}]},
            "unified": {"memory.high": "1", "cgroup.max.depth": "3"}
        }))
        .unwrap();
        assert_eq!((found.cpu_shares, found.cpu_quota_us, found.cpu_period_us), (Some(512), Some(-1), Some(50_000)));
        assert_eq!((found.cpu_burst_us, found.cpu_idle, found.cpus.as_deref()), (Some(1000), Some(1), Some("0-1")));
        assert_eq!((found.realtime_runtime_us, found.realtime_period_us, found.mems), (Some(5), Some(10), None));
        assert_eq!((found.memory_bytes, found.memory_and_swap_bytes), (Some(1), Some(-1)));
        assert_eq!((found.kernel_tcp_bytes, found.swappiness), (Some(4), Some(0)));
        assert!(found.disable_oom_killer && found.check_before_update);
        assert_eq!(found.pids, Some(7));
        let device = WeightDevice { device: (8, 0), weight: Some(30), leaf_weight: None };
        let throttle = Throttle { what: Rate::Writes, device: (8, 16), each_second: 40 };
        let block_io = BlockIo {
            weight: Some(10),
            leaf_weight: Some(20),
            weight_devices: vec![device],
            throttles: vec![throttle],
        };
        assert_eq!(found.block_io, block_io);
        assert_eq!(found.hugepages, [("2MB".to_owned(), 50)]);
        let most = parse(json!({"hugepageLimits": [{"pageSize": "2MB", "limit": u64::MAX}]})).unwrap();
        assert_eq!(most.hugepages, [("2MB".to_owned(), i64::MAX)]);
        let rdma = Rdma { device: "mlx5_1".into(), handles: Some(3), objects: Some(10_000) };
        assert_eq!(found.rdma, [rdma]);
        assert_eq!((found.class_id, found.priorities), (Some(1_048_577), vec![("eth0".to_owned(), 500)]));
        assert_eq!(found.unified.len(), 2);
    }

    #[test]
    fn shares_become_weights_by_runcs_formula() {
        for (shares, expected) in
            [(0, 1), (2, 1), (256, 35), (512, 59), (1024, 100), (2048, 174), (262_144, 10_000), (u64::MAX, 10_000)]
        {
            assert_eq!(cpu_weight(shares), expected, "{shares} shares");
        }
    }

    #[test]
    fn what_would_be_another_file_or_another_line_is_refused_by_field() {
        let field = |value| parse(value).unwrap_err().field;
        for size in ["", "2", "MB", "2mb", "../2MB", "2MB/x", "99999999999MB", "²MB"] {
            let given = json!({"hugepageLimits": [{"pageSize": size, "limit": 0}]});
            assert_eq!(field(given), "linux.resources.hugepageLimits[0].pageSize", "{size}");
        }
        for name in ["", ".", "..", "memory", "memory.", ".high", "a/memory.high", "../memory.high", "cpu.max\0"] {
            assert_eq!(field(json!({"unified": {name: "1"}})), "linux.resources.unified", "{name:?}");
        }
        for name in ["", "a b", "eth0\n"] {
            let given = json!({"network": {"priorities": [{"name": name, "priority": 1}]}});
            assert_eq!(field(given), "linux.resources.network.priorities[0].name", "{name:?}");
            assert_eq!(field(json!({"rdma": {name: {}}})), "linux.resources.rdma", "{name:?}");
        }
        assert_eq!(field(json!({"memory": {"swappiness": 101}})), "linux.resources.memory.swappiness");
        assert_eq!(field(json!({"cpu": {"idle": 2}})), "linux.resources.cpu.idle");
        let device = json!({"blockIO": {"throttleReadBpsDevice": [{"major": -1, "minor": 0, "rate": 1}]}});
        assert_eq!(field(device), "linux.resources.blockIO.throttleReadBpsDevice[0]");
    }
}
