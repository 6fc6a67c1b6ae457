//! Which files of a group get which values for the limits of a document. Pure.
//!
//! Not here: memory with swap and CPU time with period and burst, whose writes depend on what the files hold already
//! (`v1`, `v2`). A limit that a version does not have is refused by its field, unless it is one that the other version
//! has dropped for want of use.

use super::hierarchies::Controller;
use crate::errno::OpError;
use crate::spec::{Rate, Resources, Throttle, WeightDevice, cpu_weight};
use std::borrow::Cow;
use std::io;

/// A value for a file of a group.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Write {
    /// The field of the document that asks for it.
    pub(super) field: &'static str,
    pub(super) controller: Controller,
    pub(super) file: Cow<'static, str>,
    pub(super) value: String,
    /// File and value for a kernel that does not have `file`.
    pub(super) or: Option<(&'static str, String)>,
    /// A kernel that does not have the file keeps the limit without it.
    pub(super) optional: bool,
}

impl Write {
    pub(super) fn new(
        field: &'static str,
        controller: Controller,
        file: impl Into<Cow<'static, str>>,
        value: impl ToString,
    ) -> Self {
        Self { field, controller, file: file.into(), value: value.to_string(), or: None, optional: false }
    }

    fn or(self, file: &'static str, value: impl ToString) -> Self {
        Self { or: Some((file, value.to_string())), ..self }
    }

    pub(super) fn optional(self, optional: bool) -> Self {
        Self { optional, ..self }
    }
}

const BLOCK_IO: &str = "linux.resources.blockIO";
const WEIGHT: &str = "linux.resources.blockIO.weight";
const WEIGHT_DEVICE: &str = "linux.resources.blockIO.weightDevice";
const LEAF_WEIGHT: &str = "linux.resources.blockIO.leafWeight";
const HUGEPAGES: &str = "linux.resources.hugepageLimits";
const RDMA: &str = "linux.resources.rdma";

pub(super) fn refuse<T>(field: &str, why: impl Into<String>) -> Result<T, OpError> {
    Err(OpError::new("set", field, io::Error::new(io::ErrorKind::Unsupported, why.into())))
}

/// The writes of version 2.
pub(super) fn v2(r: &Resources) -> Result<Vec<Write>, OpError> {
    only_v1(r)?;
    let mut writes = Vec::new();
    let shares = r.cpu_shares.filter(|s| *s > 0 && r.cpu_idle != Some(1));
    cpu(r, &mut writes, shares.map(|s| ("cpu.weight", cpu_weight(s))));
    cpuset(r, &mut writes);
    if let Some(bytes) = given(r.memory_reservation_bytes) {
        writes.push(Write::new(
            "linux.resources.memory.reservation",
            Controller::Memory,
            "memory.low",
            v2_limit(bytes),
        ));
    }
    pids(r, &mut writes);
    v2_block_io(r, &mut writes);
    for (size, bytes) in &r.hugepages {
        let value = v2_limit(*bytes);
        writes.push(Write::new(HUGEPAGES, Controller::Hugetlb, format!("hugetlb.{size}.max"), &value));
        // What is reserved and not yet used; kernels before 5.7 do not count it.
        let reserved = format!("hugetlb.{size}.rsvd.max");
        writes.push(Write::new(HUGEPAGES, Controller::Hugetlb, reserved, value).optional(true));
    }
    rdma(r, &mut writes);
    Ok(writes)
}

/// What version 2 does not have.
fn only_v1(r: &Resources) -> Result<(), OpError> {
    let asked = [
        ("linux.resources.cpu.realtimeRuntime", r.realtime_runtime_us.is_some_and(|n| n != 0)),
        ("linux.resources.cpu.realtimePeriod", r.realtime_period_us.is_some_and(|n| n != 0)),
        ("linux.resources.memory.swappiness", r.swappiness.is_some()),
        ("linux.resources.memory.disableOOMKiller", r.disable_oom_killer),
        (LEAF_WEIGHT, r.block_io.leaf_weight.is_some_and(|w| w > 0)),
        (WEIGHT_DEVICE, r.block_io.weight_devices.iter().any(|d| d.leaf_weight.is_some_and(|w| w > 0))),
        ("linux.resources.network.classID", r.class_id.is_some_and(|id| id != 0)),
        ("linux.resources.network.priorities", !r.priorities.is_empty()),
    ];
    match asked.iter().find(|(_, asked)| *asked) {
        Some((field, _)) => refuse(field, "cgroup v2, which this machine uses, does not have it"),
        None => Ok(()),
    }
}

/// The writes of version 1.
pub(super) fn v1(r: &Resources) -> Result<Vec<Write>, OpError> {
    if let Some((name, _)) = r.unified.first() {
        return refuse(&format!("linux.resources.unified[{name}]"), "it is for cgroup v2, and this machine uses v1");
    }
    let mut writes = Vec::new();
    let shares = r.cpu_shares.filter(|s| *s > 0 && r.cpu_idle != Some(1));
    // The kernel would take the nearest that it has.
    match shares {
        Some(..2) => return refuse("linux.resources.cpu.shares", "the minimum allowed cpu-shares is 2"),
        Some(262_145..) => return refuse("linux.resources.cpu.shares", "the maximum allowed cpu-shares is 262144"),
        _ => {}
    }
    cpu(r, &mut writes, shares.map(|s| ("cpu.shares", s)));
    // The period first: a runtime must fit in it.
    if let Some(period) = r.realtime_period_us.filter(|p| *p > 0) {
        writes.push(Write::new("linux.resources.cpu.realtimePeriod", Controller::Cpu, "cpu.rt_period_us", period));
    }
    if let Some(runtime) = given(r.realtime_runtime_us) {
        writes.push(Write::new("linux.resources.cpu.realtimeRuntime", Controller::Cpu, "cpu.rt_runtime_us", runtime));
    }
    cpuset(r, &mut writes);
    v1_memory(r, &mut writes);
    pids(r, &mut writes);
    v1_block_io(r, &mut writes);
    for (size, bytes) in &r.hugepages {
        let file = format!("hugetlb.{size}.limit_in_bytes");
        writes.push(Write::new(HUGEPAGES, Controller::Hugetlb, file, bytes));
        let reserved = format!("hugetlb.{size}.rsvd.limit_in_bytes");
        writes.push(Write::new(HUGEPAGES, Controller::Hugetlb, reserved, bytes).optional(true));
    }
    rdma(r, &mut writes);
    if let Some(id) = r.class_id.filter(|id| *id != 0) {
        writes.push(Write::new("linux.resources.network.classID", Controller::NetCls, "net_cls.classid", id));
    }
    for (name, priority) in &r.priorities {
        let value = format!("{name} {priority}");
        writes.push(Write::new("linux.resources.network.priorities", Controller::NetPrio, "net_prio.ifpriomap", value));
    }
    Ok(writes)
}

/// The hierarchies of version 1 that a group with such limits is in besides those that every group is in.
pub(super) fn v1_further(r: &Resources) -> Vec<Controller> {
    let mut further = Vec::new();
    // What is refused is told when the limits are set.
    for write in v1(r).unwrap_or_default() {
        if Controller::FURTHER.contains(&write.controller) && !further.contains(&write.controller) {
            further.push(write.controller);
        }
    }
    further
}

/// Neither version takes a limit of zero for what this is used for, so that a zero is a field left empty.
pub(super) fn given(n: Option<i64>) -> Option<i64> {
    n.filter(|n| *n != 0)
}

/// A limit as version 2 writes it.
pub(super) fn v2_limit(n: i64) -> String {
    if n < 0 { "max".to_owned() } else { n.to_string() }
}

/// An idle group has no weight to change (the kernel says EINVAL), and one that is idle no more gets it after that.
fn cpu(r: &Resources, writes: &mut Vec<Write>, weight: Option<(&'static str, u64)>) {
    if let Some(idle) = r.cpu_idle {
        writes.push(Write::new("linux.resources.cpu.idle", Controller::Cpu, "cpu.idle", idle));
    }
    if let Some((file, value)) = weight {
        writes.push(Write::new("linux.resources.cpu.shares", Controller::Cpu, file, value));
    }
}

fn cpuset(r: &Resources, writes: &mut Vec<Write>) {
    if let Some(cpus) = &r.cpus {
        writes.push(Write::new("linux.resources.cpu.cpus", Controller::Cpuset, "cpuset.cpus", cpus));
    }
    if let Some(mems) = &r.mems {
        writes.push(Write::new("linux.resources.cpu.mems", Controller::Cpuset, "cpuset.mems", mems));
    }
}

fn v1_memory(r: &Resources, writes: &mut Vec<Write>) {
    if let Some(bytes) = given(r.memory_reservation_bytes) {
        let field = "linux.resources.memory.reservation";
        writes.push(Write::new(field, Controller::Memory, "memory.soft_limit_in_bytes", bytes));
    }
    if let Some(bytes) = given(r.kernel_tcp_bytes) {
        // Gone from kernels that have no use for it.
        let write =
            Write::new("linux.resources.memory.kernelTCP", Controller::Memory, "memory.kmem.tcp.limit_in_bytes", bytes);
        writes.push(write.optional(true));
    }
    if r.disable_oom_killer {
        let field = "linux.resources.memory.disableOOMKiller";
        writes.push(Write::new(field, Controller::Memory, "memory.oom_control", 1));
    }
    if let Some(swappiness) = r.swappiness {
        let field = "linux.resources.memory.swappiness";
        writes.push(Write::new(field, Controller::Memory, "memory.swappiness", swappiness));
    }
}

fn pids(r: &Resources, writes: &mut Vec<Write>) {
    if let Some(pids) = given(r.pids) {
        writes.push(Write::new("linux.resources.pids.limit", Controller::Pids, "pids.max", v2_limit(pids)));
    }
}

fn rdma(r: &Resources, writes: &mut Vec<Write>) {
    for limits in &r.rdma {
        let mut value = limits.device.clone();
        for (name, n) in [("hca_handle", limits.handles), ("hca_object", limits.objects)] {
            if let Some(n) = n {
                value.push_str(&format!(" {name}={n}"));
            }
        }
        if value != limits.device {
            writes.push(Write::new(RDMA, Controller::Rdma, "rdma.max", value));
        }
    }
}

fn numbers((major, minor): (u32, u32)) -> String {
    format!("{major}:{minor}")
}

/// The scheduler that has weights is BFQ; without it (its file is there only when it is) the kernel's cost model may.
fn v2_block_io(r: &Resources, writes: &mut Vec<Write>) {
    if let Some(weight) = r.block_io.weight.filter(|w| *w > 0) {
        let write = Write::new(WEIGHT, Controller::Blkio, "io.bfq.weight", weight);
        writes.push(write.or("io.weight", io_weight(weight)));
    }
    for WeightDevice { device, weight, .. } in &r.block_io.weight_devices {
        if let Some(weight) = weight.filter(|w| *w > 0) {
            let device = numbers(*device);
            let write = Write::new(WEIGHT_DEVICE, Controller::Blkio, "io.bfq.weight", format!("{device} {weight}"));
            writes.push(write.or("io.weight", format!("{device} {}", io_weight(weight))));
        }
    }
    for Throttle { what, device, each_second } in &r.block_io.throttles {
        let key = match what {
            Rate::ReadBytes => "rbps",
            Rate::WriteBytes => "wbps",
            Rate::Reads => "riops",
            Rate::Writes => "wiops",
        };
        let limit = if *each_second == 0 { "max".to_owned() } else { each_second.to_string() };
        writes.push(Write::new(BLOCK_IO, Controller::Blkio, "io.max", format!("{} {key}={limit}", numbers(*device))));
    }
}

fn v1_block_io(r: &Resources, writes: &mut Vec<Write>) {
    let positive = |w: Option<u16>| w.filter(|w| *w > 0);
    if let Some(weight) = positive(r.block_io.weight) {
        writes.push(Write::new(WEIGHT, Controller::Blkio, "blkio.bfq.weight", weight).or("blkio.weight", weight));
    }
    if let Some(weight) = positive(r.block_io.leaf_weight) {
        writes.push(Write::new(LEAF_WEIGHT, Controller::Blkio, "blkio.leaf_weight", weight));
    }
    for WeightDevice { device, weight, leaf_weight } in &r.block_io.weight_devices {
        let line = |w: u16| format!("{} {w}", numbers(*device));
        if let Some(weight) = positive(*weight) {
            let write = Write::new(WEIGHT_DEVICE, Controller::Blkio, "blkio.bfq.weight_device", line(weight));
            writes.push(write.or("blkio.weight_device", line(weight)));
        }
        if let Some(weight) = positive(*leaf_weight) {
            writes.push(Write::new(WEIGHT_DEVICE, Controller::Blkio, "blkio.leaf_weight_device", line(weight)));
        }
    }
    for Throttle { what, device, each_second } in &r.block_io.throttles {
        let file = match what {
            Rate::ReadBytes => "blkio.throttle.read_bps_device",
            Rate::WriteBytes => "blkio.throttle.write_bps_device",
            Rate::Reads => "blkio.throttle.read_iops_device",
            Rate::Writes => "blkio.throttle.write_iops_device",
        };
        writes.push(Write::new(BLOCK_IO, Controller::Blkio, file, format!("{} {each_second}", numbers(*device))));
    }
}

/// Version 1 weights, 10 to 1000, on version 2's scale of 1 to 10 000, by runc's formula: a straight line.
fn io_weight(weight: u16) -> u64 {
    1 + (u64::from(weight).clamp(10, 1000) - 10) * 9999 / 990
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::parse_resources;
    use serde_json::{Value, json};

    fn resources(value: Value) -> Resources {
        parse_resources(value.to_string().as_bytes()).unwrap()
    }

    fn lines(writes: Result<Vec<Write>, OpError>) -> Vec<String> {
        let line = |w: Write| {
            let or = w.or.map(|(file, value)| format!(" or {file}={value}")).unwrap_or_default();
            format!("{}={}{or}{}", w.file, w.value, if w.optional { " if there" } else { "" })
        };
        writes.unwrap().into_iter().map(line).collect()
    }

    fn all() -> Value {
        json!({
            "cpu": {"shares": 512, "cpus": "0", "mems": "0", "idle": 0},
            "memory": {"reservation": 4096, "kernel": 1},
            "pids": {"limit": -1},
            "blockIO": {"weight": 500, "weightDevice": [{"major": 8, "minor": 0, "weight": 1000}],
                        "throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 1024}],
                        "throttleWriteIOPSDevice": [{"major": 8, "minor": 0, "rate": 0}]},
            "hugepageLimits": [{"pageSize": "2MB", "limit": 0}],
            "rdma": {"mlx5_0": {"hcaHandles": 3, "hcaObjects": 7}, "mlx5_1": {"hcaObjects": 1}, "unlimited": {}}
        })
    }

    #[test]
    fn weights_of_block_devices_are_on_a_straight_line() {
        assert_eq!([10, 100, 500, 1000].map(io_weight), [1, 910, 4950, 10_000]);
    }

    #[test]
    fn every_limit_has_its_file_on_version_2() {
        let expected = [
            "cpu.idle=0",
            "cpu.weight=59",
            "cpuset.cpus=0",
            "cpuset.mems=0",
            "memory.low=4096",
            "pids.max=max",
            "io.bfq.weight=500 or io.weight=4950",
            "io.bfq.weight=8:0 1000 or io.weight=8:0 10000",
            "io.max=8:0 rbps=1024",
            "io.max=8:0 wiops=max",
            "hugetlb.2MB.max=0",
            "hugetlb.2MB.rsvd.max=0 if there",
            "rdma.max=mlx5_0 hca_handle=3 hca_object=7",
            "rdma.max=mlx5_1 hca_object=1",
        ];
        assert_eq!(lines(v2(&resources(all()))), expected);
    }

    #[test]
    fn every_limit_has_its_file_on_version_1() {
        let mut given = all();
        given["cpu"]["realtimeRuntime"] = json!(95_000);
        given["cpu"]["realtimePeriod"] = json!(100_000);
        given["memory"]["kernelTCP"] = json!(5);
        given["memory"]["disableOOMKiller"] = json!(true);
        given["memory"]["swappiness"] = json!(0);
        given["blockIO"]["leafWeight"] = json!(10);
        given["network"] = json!({"classID": 16, "priorities": [{"name": "lo", "priority": 5}]});
        let expected = [
            "cpu.idle=0",
            "cpu.shares=512",
            "cpu.rt_period_us=100000",
            "cpu.rt_runtime_us=95000",
            "cpuset.cpus=0",
            "cpuset.mems=0",
            "memory.soft_limit_in_bytes=4096",
            "memory.kmem.tcp.limit_in_bytes=5 if there",
            "memory.oom_control=1",
            "memory.swappiness=0",
            "pids.max=max",
            "blkio.bfq.weight=500 or blkio.weight=500",
            "blkio.leaf_weight=10",
            "blkio.bfq.weight_device=8:0 1000 or blkio.weight_device=8:0 1000",
            "blkio.throttle.read_bps_device=8:0 1024",
            "blkio.throttle.write_iops_device=8:0 0",
            "hugetlb.2MB.limit_in_bytes=0",
            "hugetlb.2MB.rsvd.limit_in_bytes=0 if there",
            "rdma.max=mlx5_0 hca_handle=3 hca_object=7",
            "rdma.max=mlx5_1 hca_object=1",
            "net_cls.classid=16",
            "net_prio.ifpriomap=lo 5",
        ];
        let given = resources(given);
        assert_eq!(lines(v1(&given)), expected);
        let further =
            [Controller::Blkio, Controller::Hugetlb, Controller::Rdma, Controller::NetCls, Controller::NetPrio];
        assert_eq!(v1_further(&given), further);
    }

    #[test]
    fn what_is_zero_or_left_out_writes_nothing() {
        let zeros = resources(json!({
            "cpu": {"shares": 0, "realtimeRuntime": 0, "realtimePeriod": 0, "cpus": "", "mems": ""},
            "memory": {"reservation": 0, "kernelTCP": 0, "disableOOMKiller": false},
            "pids": {},
            "blockIO": {"weight": 0, "leafWeight": 0},
            "network": {"classID": 0}
        }));
        assert_eq!(lines(v2(&zeros)), [""; 0]);
        assert_eq!(lines(v1(&zeros)), [""; 0]);
        assert_eq!(v1_further(&zeros), []);
    }

    #[test]
    fn what_one_version_does_not_have_is_refused_by_field() {
        let object = |writes: Result<Vec<Write>, OpError>| writes.unwrap_err().object;
        for (given, field) in [
            (json!({"cpu": {"realtimeRuntime": 1}}), "linux.resources.cpu.realtimeRuntime"),
            (json!({"cpu": {"realtimePeriod": 1}}), "linux.resources.cpu.realtimePeriod"),
            (json!({"memory": {"swappiness": 0}}), "linux.resources.memory.swappiness"),
            (json!({"memory": {"disableOOMKiller": true}}), "linux.resources.memory.disableOOMKiller"),
            (json!({"blockIO": {"leafWeight": 10}}), LEAF_WEIGHT),
            (json!({"network": {"classID": 1}}), "linux.resources.network.classID"),
            (json!({"network": {"priorities": [{"name": "a", "priority": 1}]}}), "linux.resources.network.priorities"),
        ] {
            assert_eq!(object(v2(&resources(given))), field);
        }
        for (given, field) in [
            (json!({"unified": {"memory.high": "1"}}), "linux.resources.unified[memory.high]"),
            (json!({"cpu": {"shares": 1}}), "linux.resources.cpu.shares"),
            (json!({"cpu": {"shares": 262_145}}), "linux.resources.cpu.shares"),
        ] {
            assert_eq!(object(v1(&resources(given))), field);
        }
    }

    #[test]
    fn an_idle_group_gets_no_weight() {
        let idle = resources(json!({"cpu": {"idle": 1, "shares": 512}}));
        assert_eq!(lines(v2(&idle)), ["cpu.idle=1"]);
        assert_eq!(lines(v1(&idle)), ["cpu.idle=1"]);
    }
}
