//! Everything that the kernel counts of a group, for those who show it all. [`super::Stats`] is what a node needs, and
//! costs a fraction of this.

use super::files::{self, keyed, read_if_there, read_limit, read_number};
use super::hierarchies::{Controller, V1Mount};
use super::{stats::Stats, v1, v2};
use crate::errno::OpError;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// A full account of a group. What its controllers do not count is empty.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Account {
    /// CPU time, periods and kills.
    pub stats: Stats,
    /// CPU time by processor in nanoseconds: all, in the kernel, in user mode. v1 only.
    pub per_cpu_ns: [Vec<u64>; 3],
    /// CPUs and memory nodes in use, as lists of the kernel's (`0-3,7`); `None` where the group is in no cpuset.
    pub cpuset: Option<(String, String)>,
    /// Page cache, in bytes.
    pub cache_bytes: u64,
    /// Memory.
    pub memory: Counted,
    /// Memory and swap together.
    pub memory_and_swap: Counted,
    /// Memory of the kernel's own. v1 only.
    pub kernel_memory: Counted,
    /// Memory of TCP buffers. v1 only.
    pub kernel_tcp: Counted,
    /// The lines of `memory.stat`.
    pub memory_stat: BTreeMap<String, u64>,
    /// Most processes; `None` is no limit.
    pub pids_limit: Option<u64>,
    /// Bytes to and from block devices.
    pub io_bytes: Vec<Transfer>,
    /// Operations on block devices.
    pub io_operations: Vec<Transfer>,
    /// By page size (`2MB`).
    pub hugepages: BTreeMap<String, Counted>,
    /// Devices for remote memory access: in use, and the limit.
    pub rdma: [Vec<RdmaAccount>; 2],
    /// Waiting for CPU, for memory, and for block devices. v2 with pressure accounting only.
    pub pressure: [Option<Pressure>; 3],
}

/// A quantity with a limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counted {
    /// In use.
    pub usage: u64,
    /// The most that was.
    pub peak: u64,
    /// `None` is no limit.
    pub limit: Option<u64>,
    /// How often the limit was hit.
    pub failures: u64,
}

/// What went to or from a block device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transfer {
    /// Major and minor number.
    pub device: (u32, u32),
    /// `Read`, `Write`, `Discard` and what v1 adds to them.
    pub what: String,
    /// Bytes or operations.
    pub amount: u64,
}

/// Handles and objects of one device; `None` is no limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RdmaAccount {
    /// The device's name.
    pub device: String,
    /// Handles.
    pub handles: Option<u32>,
    /// Objects.
    pub objects: Option<u32>,
}

/// How long processes have waited: some of them, and all of them at once.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Pressure {
    /// Some waited.
    pub some: Waits,
    /// All waited.
    pub full: Waits,
}

/// Shares of the last 10, 60 and 300 seconds in percent, and the sum in microseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Waits {
    /// Percent of the last 10, 60 and 300 seconds.
    pub averages: [f64; 3],
    /// All of it in microseconds.
    pub total_us: u64,
}

pub(super) fn of_v2(dir: &Path) -> Result<Account, OpError> {
    let stats = v2::stats(dir)?;
    let text = |name: &str| Ok::<_, OpError>(read_if_there(&dir.join(name))?.unwrap_or_default());
    let memory_stat = all_keyed(&text("memory.stat")?);
    let memory = Counted {
        usage: stats.memory_usage_bytes,
        peak: stats.memory_peak_bytes,
        limit: stats.memory_limit_bytes,
        failures: v2::memory_event(dir, "memory.events", "max")?,
    };
    let swap_limit = read_limit(&dir.join("memory.swap.max"))?;
    // The two together, as v1 counts and readers of both versions expect.
    let memory_and_swap = Counted {
        usage: memory.usage + read_number(&dir.join("memory.swap.current"))?,
        limit: memory.limit.zip(swap_limit).map(|(memory, swap)| memory.saturating_add(swap)),
        ..Counted::default()
    };
    let io = text("io.stat")?;
    let cpuset =
        read_if_there(&dir.join("cpuset.cpus.effective"))?.zip(read_if_there(&dir.join("cpuset.mems.effective"))?);
    let mut pressure = [None; 3];
    for (slot, name) in pressure.iter_mut().zip(["cpu.pressure", "memory.pressure", "io.pressure"]) {
        // Turned off at boot, the file is there and cannot be read.
        *slot = fs::read_to_string(dir.join(name)).ok().map(|text| parse_pressure(&text));
    }
    Ok(Account {
        cache_bytes: memory_stat.get("file").copied().unwrap_or(0),
        pids_limit: read_limit(&dir.join("pids.max"))?,
        io_bytes: io_stat(&io, [("rbytes", "Read"), ("wbytes", "Write"), ("dbytes", "Discard")]),
        io_operations: io_stat(&io, [("rios", "Read"), ("wios", "Write"), ("dios", "Discard")]),
        hugepages: hugepages(dir, ".current", |dir, size| {
            let events = read_if_there(&dir.join(format!("hugetlb.{size}.events")))?.unwrap_or_default();
            Ok(Counted {
                usage: read_number(&dir.join(format!("hugetlb.{size}.current")))?,
                peak: 0,
                limit: read_limit(&dir.join(format!("hugetlb.{size}.max")))?,
                failures: keyed(&events, "max").unwrap_or(0),
            })
        })?,
        rdma: [parse_rdma(&text("rdma.current")?), parse_rdma(&text("rdma.max")?)],
        stats,
        cpuset,
        memory,
        memory_and_swap,
        memory_stat,
        pressure,
        ..Account::default()
    })
}

pub(super) fn of_v1(mounts: &[V1Mount], group: &Path, further: &[Controller]) -> Result<Account, OpError> {
    let mut account = Account { stats: v1::stats(mounts, group)?, ..Account::default() };
    let dir = |c: Controller| {
        let in_it = |m: &&V1Mount| m.controllers.contains(&c) && m.holds(further);
        mounts.iter().find(in_it).map(|m| m.dir(group))
    };
    if let Some(dir) = dir(Controller::Cpuacct) {
        for (slot, name) in account.per_cpu_ns.iter_mut().zip(["", "_sys", "_user"]) {
            let text = read_if_there(&dir.join(format!("cpuacct.usage_percpu{name}")))?.unwrap_or_default();
            *slot = text.split_ascii_whitespace().filter_map(|n| n.parse().ok()).collect();
        }
    }
    if let Some(dir) = dir(Controller::Memory) {
        account.memory_stat = all_keyed(&read_if_there(&dir.join("memory.stat"))?.unwrap_or_default());
        account.cache_bytes = account.memory_stat.get("cache").copied().unwrap_or(0);
        account.memory = v1_counted(&dir, "memory")?;
        account.memory_and_swap = v1_counted(&dir, "memory.memsw")?;
        account.kernel_memory = v1_counted(&dir, "memory.kmem")?;
        account.kernel_tcp = v1_counted(&dir, "memory.kmem.tcp")?;
    }
    if let Some(dir) = dir(Controller::Pids) {
        account.pids_limit = read_limit(&dir.join("pids.max"))?;
    }
    if let Some(dir) = dir(Controller::Cpuset) {
        account.cpuset =
            Some((files::read(&dir.join("cpuset.effective_cpus"))?, files::read(&dir.join("cpuset.effective_mems"))?));
    }
    if let Some(dir) = dir(Controller::Blkio) {
        account.io_bytes = v1_transfers(&dir, "io_service_bytes_recursive")?;
        account.io_operations = v1_transfers(&dir, "io_serviced_recursive")?;
    }
    if let Some(dir) = dir(Controller::Hugetlb) {
        account.hugepages =
            hugepages(&dir, ".usage_in_bytes", |dir, size| v1_counted(dir, &format!("hugetlb.{size}")))?;
    }
    if let Some(dir) = dir(Controller::Rdma) {
        for (slot, name) in account.rdma.iter_mut().zip(["rdma.current", "rdma.max"]) {
            *slot = parse_rdma(&read_if_there(&dir.join(name))?.unwrap_or_default());
        }
    }
    Ok(account)
}

fn v1_counted(dir: &Path, name: &str) -> Result<Counted, OpError> {
    let of = |what: &str| read_number(&dir.join(format!("{name}.{what}")));
    Ok(Counted {
        usage: of("usage_in_bytes")?,
        peak: of("max_usage_in_bytes")?,
        // The kernel's word for none is a number, too, and readers know it.
        limit: Some(of("limit_in_bytes")?),
        failures: of("failcnt")?,
    })
}

/// What the scheduler counts, or else what the throttle does.
fn v1_transfers(dir: &Path, name: &str) -> Result<Vec<Transfer>, OpError> {
    for kind in ["blkio.", "blkio.bfq.", "blkio.throttle."] {
        let text = read_if_there(&dir.join(format!("{kind}{name}")))?.unwrap_or_default();
        let found = parse_transfers(&text);
        if !found.is_empty() {
            return Ok(found);
        }
    }
    Ok(Vec::new())
}

/// Lines of `8:0 Read 4096`; the sum of all devices at the end has none.
fn parse_transfers(text: &str) -> Vec<Transfer> {
    let line = |line: &str| {
        let mut words = line.split(' ');
        let (device, what, amount) = (words.next()?, words.next()?, words.next()?);
        Some(Transfer { device: numbers(device)?, what: what.to_owned(), amount: amount.trim().parse().ok()? })
    };
    text.lines().filter_map(line).collect()
}

/// Lines of `8:0 rbytes=1 wbytes=2 rios=3 ...`.
fn io_stat(text: &str, keys: [(&str, &str); 3]) -> Vec<Transfer> {
    let mut found = Vec::new();
    for line in text.lines() {
        let mut words = line.split(' ');
        let Some(device) = words.next().and_then(numbers) else { continue };
        for (key, value) in words.filter_map(|word| word.split_once('=')) {
            if let (Some((_, what)), Ok(amount)) = (keys.iter().find(|(k, _)| *k == key), value.parse()) {
                found.push(Transfer { device, what: (*what).to_owned(), amount });
            }
        }
    }
    found
}

fn numbers(device: &str) -> Option<(u32, u32)> {
    let (major, minor) = device.split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

fn all_keyed(text: &str) -> BTreeMap<String, u64> {
    let line = |line: &str| {
        let (key, value) = line.split_once(' ')?;
        Some((key.to_owned(), value.trim().parse().ok()?))
    };
    text.lines().filter_map(line).collect()
}

/// The page sizes are those that have a file ending in `suffix`.
fn hugepages(
    dir: &Path,
    suffix: &str,
    count: impl Fn(&Path, &str) -> Result<Counted, OpError>,
) -> Result<BTreeMap<String, Counted>, OpError> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let size = name.strip_prefix("hugetlb.").and_then(|rest| rest.strip_suffix(suffix));
        if let Some(size) = size.filter(|size| !size.contains('.')) {
            found.insert(size.to_owned(), count(dir, size)?);
        }
    }
    Ok(found)
}

/// Lines of `mlx5_0 hca_handle=2 hca_object=max`.
fn parse_rdma(text: &str) -> Vec<RdmaAccount> {
    let line = |line: &str| {
        let mut words = line.split(' ');
        let device = words.next().filter(|d| !d.is_empty())?.to_owned();
        let mut account = RdmaAccount { device, handles: None, objects: None };
        for (key, value) in words.filter_map(|word| word.split_once('=')) {
            match key {
                "hca_handle" => account.handles = value.parse().ok(),
                "hca_object" => account.objects = value.parse().ok(),
                _ => {}
            }
        }
        Some(account)
    };
    text.lines().filter_map(line).collect()
}

/// Lines of `some avg10=0.00 avg60=0.00 avg300=0.00 total=0`.
fn parse_pressure(text: &str) -> Pressure {
    let mut pressure = Pressure::default();
    for line in text.lines() {
        let mut words = line.split(' ');
        let waits = match words.next() {
            Some("some") => &mut pressure.some,
            Some("full") => &mut pressure.full,
            _ => continue,
        };
        for (key, value) in words.filter_map(|word| word.split_once('=')) {
            match key {
                "avg10" => waits.averages[0] = value.parse().unwrap_or(0.0),
                "avg60" => waits.averages[1] = value.parse().unwrap_or(0.0),
                "avg300" => waits.averages[2] = value.parse().unwrap_or(0.0),
                "total" => waits.total_us = value.parse().unwrap_or(0),
                _ => {}
            }
        }
    }
    pressure
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn block_devices_are_counted_in_either_form() {
        let v2 = "8:16 rbytes=1459200 wbytes=314773504 rios=192 wios=353 dbytes=0 dios=0\n8:0 rbytes=1 cost.usage=3\n";
        let read = |device, amount| Transfer { device, what: "Read".into(), amount };
        let keys = [("rbytes", "Read"), ("wbytes", "Write"), ("dbytes", "Discard")];
        let found = io_stat(v2, keys);
        assert_eq!((found.len(), &found[0], &found[3]), (4, &read((8, 16), 1_459_200), &read((8, 0), 1)));
        assert_eq!(parse_transfers("8:0 Read 7\n8:0 Total 9\nTotal 9\n")[..1], [read((8, 0), 7)]);
        assert_eq!(parse_transfers("8:0 Read 7\n8:0 Total 9\nTotal 9\n").len(), 2);
    }

    #[test]
    fn pressure_is_read_as_the_kernel_writes_it() {
        let text = "some avg10=0.50 avg60=1.00 avg300=0.25 total=123\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=7\n";
        let found = parse_pressure(text);
        assert_eq!((found.some.averages, found.some.total_us, found.full.total_us), ([0.5, 1.0, 0.25], 123, 7));
    }

    #[test]
    fn remote_memory_devices_may_have_no_limit() {
        let found = parse_rdma("mlx4_0 hca_handle=2 hca_object=2000\nocrdma1 hca_handle=3 hca_object=max\n");
        assert_eq!((found[0].handles, found[0].objects, found[1].objects), (Some(2), Some(2000), None));
        assert_eq!(parse_rdma(""), []);
    }

    #[test]
    fn page_sizes_are_found_by_their_files() {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in [
            ("hugetlb.2MB.current", "4096"),
            ("hugetlb.2MB.rsvd.current", "1"),
            ("hugetlb.2MB.max", "max"),
            ("hugetlb.2MB.events", "max 3"),
        ] {
            fs::write(dir.path().join(name), text).unwrap();
        }
        let account = of_v2(dir.path()).unwrap();
        let expected = Counted { usage: 4096, peak: 0, limit: None, failures: 3 };
        assert_eq!(account.hugepages.into_iter().collect::<Vec<_>>(), [("2MB".to_owned(), expected)]);
    }
}
