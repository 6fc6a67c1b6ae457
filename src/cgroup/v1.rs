//! A hierarchy per controller.

use super::files::{self, keyed, read_if_there, read_number, write, write_if_there};
use super::hierarchies::{Controller, V1Mount};
use super::limits::Limits;
use super::stats::Stats;
use crate::errno::{OpContext as _, OpError};
use nix::sys::signal::{Signal, kill as send};
use nix::unistd::Pid;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long a freezer may take to reach its state.
const FREEZE_PATIENCE: Duration = Duration::from_secs(2);
const FREEZE_PAUSE: Duration = Duration::from_micros(200);
/// A limit that the kernel shows above this is none: the largest multiple of a page that fits.
const NO_LIMIT: u64 = 0x7FFF_FFFF_FFFF_0000;
/// The largest allocation that makes the kernel kill: eight pages (`PAGE_ALLOC_COSTLY_ORDER`), of up to 64 KiB.
const LARGEST_CHARGE: u64 = 8 * 65_536;
/// The unit of `user_usec`-like values in `cpuacct.stat`: USER_HZ, which is 100 on every architecture berth runs on.
const NS_PER_TICK: u64 = 10_000_000;

pub(super) fn create(mounts: &[V1Mount], group: &Path) -> Result<(), OpError> {
    for mount in mounts {
        let dir = mount.dir(group);
        // One mkdir in the usual case, where the group above exists.
        match fs::create_dir(&dir) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            Err(e) if e.kind() == io::ErrorKind::NotFound => fs::create_dir_all(&dir).op("create cgroup", &dir)?,
            other => other.op("create cgroup", &dir)?,
        }
        if mount.cpuset {
            fill_cpuset(&mount.mount, group)?;
        }
    }
    Ok(())
}

/// Gives each empty cpuset on the way to `group` the CPUs and memory nodes of the one above it.
fn fill_cpuset(mount: &Path, group: &Path) -> Result<(), OpError> {
    for name in ["cpuset.cpus", "cpuset.mems"] {
        let mut dir = mount.to_owned();
        let mut above = files::read(&dir.join(name))?;
        for component in group {
            dir.push(component);
            let own = files::read(&dir.join(name))?;
            if own.is_empty() {
                write(&dir.join(name), &above)?;
            } else {
                above = own;
            }
        }
    }
    Ok(())
}

/// The directory of a controller that is needed.
fn need(mounts: &[V1Mount], group: &Path, controller: Controller) -> Result<PathBuf, OpError> {
    find(mounts, group, controller).ok_or_else(|| {
        let why = format!("cgroup v1 controller {} is not mounted", controller.name());
        OpError::new("use cgroup", group.display().to_string(), io::Error::new(io::ErrorKind::NotFound, why))
    })
}

fn find(mounts: &[V1Mount], group: &Path, controller: Controller) -> Option<PathBuf> {
    mounts.iter().find(|m| m.controllers.contains(&controller)).map(|m| m.dir(group))
}

pub(super) fn apply(mounts: &[V1Mount], group: &Path, limits: &Limits) -> Result<(), OpError> {
    let dir = |controller| need(mounts, group, controller);
    if let Some(period) = limits.cpu_period_us {
        write(&dir(Controller::Cpu)?.join("cpu.cfs_period_us"), period)?;
    }
    if let Some(quota) = limits.quota_us() {
        write(&dir(Controller::Cpu)?.join("cpu.cfs_quota_us"), quota)?;
    }
    if let Some(shares) = limits.cpu_shares {
        write(&dir(Controller::Cpu)?.join("cpu.shares"), shares)?;
    }
    if limits.memory_bytes.is_some() || limits.swap_bytes.is_some() {
        apply_memory(&dir(Controller::Memory)?, limits)?;
    }
    if let Some(bytes) = limits.memory_reservation_bytes {
        write(&dir(Controller::Memory)?.join("memory.soft_limit_in_bytes"), bytes)?;
    }
    if let Some(pids) = limits.pids {
        write(&dir(Controller::Pids)?.join("pids.max"), pids)?;
    }
    Ok(())
}

/// The kernel keeps memory ≤ memory + swap at every moment, so the order of the two writes is by direction.
fn apply_memory(dir: &Path, limits: &Limits) -> Result<(), OpError> {
    let (limit, both) = (dir.join("memory.limit_in_bytes"), dir.join("memory.memsw.limit_in_bytes"));
    let memory = match limits.memory_bytes {
        Some(bytes) => bytes,
        None => read_number(&limit)?,
    };
    // memsw is missing where swap is not accounted (Debian's kernels without `swapaccount=1`).
    let memsw = limits.swap_bytes.map(|swap| memory.saturating_add(swap).min(i64::MAX as u64));
    let raising = match memsw {
        Some(_) => read_if_there(&both)?.and_then(|text| text.parse::<u64>().ok()).is_some_and(|now| memory > now),
        None => false,
    };
    if raising && let Some(memsw) = memsw {
        write_if_there(&both, memsw)?;
    }
    if limits.memory_bytes.is_some() {
        write(&limit, memory)?;
    }
    if !raising && let Some(memsw) = memsw {
        write_if_there(&both, memsw)?;
    }
    Ok(())
}

/// Where the members of a group are read.
pub(super) fn members(mounts: &[V1Mount], group: &Path) -> PathBuf {
    find(mounts, group, Controller::Freezer)
        .or_else(|| mounts.first().map(|m| m.dir(group)))
        .expect("detect refuses a machine without hierarchies")
}

/// Frozen processes cannot fork, so that one list of them is complete; they take the signal when they are thawed.
/// Where the freezer is missing or stuck, the list is taken again until nobody is on it.
pub(super) fn kill(mounts: &[V1Mount], group: &Path) -> Result<(), OpError> {
    let dir = members(mounts, group);
    if !dir.is_dir() {
        return Ok(());
    }
    let frozen = freeze(mounts, group).is_ok();
    let killed = kill_listed(&dir);
    // Even a freezer that is stuck half-way must be let go, or nobody in it ever ends.
    let thawed = match thaw(mounts, group) {
        Err(e) if files::is_gone(&e.source) => Ok(()),
        other => other,
    };
    let mut left = killed?;
    let deadline = Instant::now() + FREEZE_PATIENCE;
    while !frozen && left > 0 && Instant::now() < deadline {
        std::thread::sleep(FREEZE_PAUSE);
        left = kill_listed(&dir)?;
    }
    if frozen { thawed } else { Ok(()) }
}

/// Signals every process in the group and below, and says how many there were.
fn kill_listed(dir: &Path) -> Result<usize, OpError> {
    let pids = files::procs_below(dir)?;
    for pid in &pids {
        // 0 stands for a process of another pid namespace, and would be our own process group.
        match send(Pid::from_raw(*pid as i32), Signal::SIGKILL) {
            _ if *pid == 0 => {}
            Ok(()) | Err(nix::errno::Errno::ESRCH) => {}
            Err(e) => return Err(OpError::new("kill process", pid.to_string(), e)),
        }
    }
    Ok(pids.len())
}

pub(super) fn freeze(mounts: &[V1Mount], group: &Path) -> Result<(), OpError> {
    set_state(&need(mounts, group, Controller::Freezer)?, "FROZEN")
}

pub(super) fn thaw(mounts: &[V1Mount], group: &Path) -> Result<(), OpError> {
    set_state(&need(mounts, group, Controller::Freezer)?, "THAWED")
}

fn set_state(dir: &Path, state: &str) -> Result<(), OpError> {
    let file = dir.join("freezer.state");
    let deadline = Instant::now() + FREEZE_PATIENCE;
    loop {
        // Written again each time: a process that forked while the state was FREEZING may have been missed.
        write(&file, state)?;
        if files::read(&file)? == state {
            return Ok(());
        }
        if Instant::now() >= deadline {
            return Err(io::Error::from(io::ErrorKind::TimedOut)).op("freeze or thaw cgroup", dir);
        }
        std::thread::sleep(FREEZE_PAUSE);
    }
}

/// `oom_control` counts in the group of the victim alone.
pub(super) fn oom_kills(mounts: &[V1Mount], group: &Path) -> Result<u64, OpError> {
    let Some(dir) = find(mounts, group, Controller::Memory) else { return Ok(0) };
    let mut sum = 0;
    files::walk(&dir, &mut |dir| {
        let text = read_if_there(&dir.join("memory.oom_control"))?.unwrap_or_default();
        sum += keyed(&text, "oom_kill").unwrap_or(0);
        Ok(())
    })?;
    Ok(sum)
}

pub(super) fn limit_hits(mounts: &[V1Mount], group: &Path) -> Result<u64, OpError> {
    let Some(dir) = find(mounts, group, Controller::Memory) else { return Ok(0) };
    let counted = read_number(&dir.join("memory.failcnt"))? + read_number(&dir.join("memory.memsw.failcnt"))?;
    if counted > 0 {
        return Ok(counted);
    }
    // Both stay 0 when memory and memsw are equal (seen on 6.18): then the peak tells.
    let peak = read_number(&dir.join("memory.max_usage_in_bytes"))?;
    let reached = memory_limit(mounts, group)?.is_some_and(|limit| peak.saturating_add(LARGEST_CHARGE) > limit);
    Ok(u64::from(reached))
}

pub(super) fn memory_limit(mounts: &[V1Mount], group: &Path) -> Result<Option<u64>, OpError> {
    let Some(dir) = find(mounts, group, Controller::Memory) else { return Ok(None) };
    let limit = read_number(&dir.join("memory.limit_in_bytes"))?;
    Ok((1..NO_LIMIT).contains(&limit).then_some(limit))
}

pub(super) fn stats(mounts: &[V1Mount], group: &Path) -> Result<Stats, OpError> {
    let mut stats = Stats::default();
    if let Some(dir) = find(mounts, group, Controller::Cpuacct) {
        stats.cpu_ns = read_number(&dir.join("cpuacct.usage"))?;
        let split = read_if_there(&dir.join("cpuacct.stat"))?.unwrap_or_default();
        stats.cpu_user_ns = keyed(&split, "user").unwrap_or(0) * NS_PER_TICK;
        stats.cpu_system_ns = keyed(&split, "system").unwrap_or(0) * NS_PER_TICK;
    }
    if let Some(dir) = find(mounts, group, Controller::Cpu) {
        let text = read_if_there(&dir.join("cpu.stat"))?.unwrap_or_default();
        stats.periods = keyed(&text, "nr_periods").unwrap_or(0);
        stats.throttled_periods = keyed(&text, "nr_throttled").unwrap_or(0);
        stats.throttled_ns = keyed(&text, "throttled_time").unwrap_or(0);
    }
    if let Some(dir) = find(mounts, group, Controller::Memory) {
        let text = read_if_there(&dir.join("memory.stat"))?.unwrap_or_default();
        stats.memory_usage_bytes = read_number(&dir.join("memory.usage_in_bytes"))?;
        // total_ counts the groups below as usage does.
        let inactive = keyed(&text, "total_inactive_file").unwrap_or(0);
        stats.memory_bytes = stats.memory_usage_bytes.saturating_sub(inactive);
        stats.memory_peak_bytes = read_number(&dir.join("memory.max_usage_in_bytes"))?;
        stats.memory_limit_bytes = memory_limit(mounts, group)?;
        stats.oom_kills = oom_kills(mounts, group)?;
    }
    if let Some(dir) = find(mounts, group, Controller::Pids) {
        stats.pids = read_number(&dir.join("pids.current"))?;
    }
    Ok(stats)
}

#[cfg(test)]
mod tests {
    use super::super::Hierarchies;
    use super::super::hierarchies::Tree;
    use super::*;

    /// One hierarchy of plain files with all controllers on it, and a group `b/t` in it.
    fn fake(cpuset: bool, files: &[(&str, &str)]) -> (tempfile::TempDir, super::super::Group) {
        let mount = tempfile::tempdir().unwrap();
        fs::create_dir_all(mount.path().join("b/t")).unwrap();
        for (name, text) in files {
            fs::write(mount.path().join(name), text).unwrap();
        }
        let controllers = Controller::ALL.to_vec();
        let tree = Tree::V1(vec![V1Mount { mount: mount.path().to_owned(), controllers, cpuset }]);
        (mount, Hierarchies::at(tree).group("b/t"))
    }

    #[test]
    fn an_empty_cpuset_is_filled_from_above_and_a_chosen_one_kept() {
        let (mount, group) = fake(
            true,
            &[
                ("cpuset.cpus", "0-3\n"),
                ("cpuset.mems", "0\n"),
                ("b/cpuset.cpus", "1\n"),
                ("b/cpuset.mems", "\n"),
                ("b/t/cpuset.cpus", "\n"),
                ("b/t/cpuset.mems", "\n"),
            ],
        );
        group.create().unwrap();
        let text = |n: &str| fs::read_to_string(mount.path().join(n)).unwrap().trim().to_owned();
        assert_eq!((text("b/cpuset.cpus"), text("b/t/cpuset.cpus")), ("1".into(), "1".into()));
        assert_eq!((text("b/cpuset.mems"), text("b/t/cpuset.mems")), ("0".into(), "0".into()));
    }

    #[test]
    fn memory_and_swap_become_the_two_v1_limits() {
        let (mount, group) = fake(
            false,
            &[("b/t/memory.limit_in_bytes", ""), ("b/t/memory.memsw.limit_in_bytes", "9223372036854771712")],
        );
        fs::write(mount.path().join("b/t/memory.memsw.limit_in_bytes"), "9223372036854771712").unwrap();
        group.apply(&Limits { memory_bytes: Some(4096), swap_bytes: Some(0), ..Limits::default() }).unwrap();
        let text = |n: &str| fs::read_to_string(mount.path().join("b/t").join(n)).unwrap();
        assert_eq!(text("memory.limit_in_bytes"), "4096");
        assert!(text("memory.memsw.limit_in_bytes").starts_with("4096"));
    }

    #[test]
    fn a_limit_of_a_controller_that_is_not_mounted_says_so() {
        let mount = tempfile::tempdir().unwrap();
        let controllers = vec![Controller::Freezer];
        let tree = Tree::V1(vec![V1Mount { mount: mount.path().to_owned(), controllers, cpuset: false }]);
        let error = Hierarchies::at(tree).group("b").apply(&Limits { pids: Some(1), ..Limits::default() }).unwrap_err();
        assert_eq!(crate::errno::chain(&error), "use cgroup `b`: cgroup v1 controller pids is not mounted");
    }

    #[test]
    fn the_kernels_largest_limit_is_none() {
        let (mount, group) = fake(false, &[("b/t/memory.limit_in_bytes", "9223372036854771712\n")]);
        assert_eq!(group.memory_limit().unwrap(), None);
        fs::write(mount.path().join("b/t/memory.limit_in_bytes"), "4096\n").unwrap();
        assert_eq!(group.memory_limit().unwrap(), Some(4096));
    }

    #[test]
    fn oom_kills_are_summed_over_the_groups_below() {
        let (mount, group) =
            fake(false, &[("b/t/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n")]);
        fs::create_dir(mount.path().join("b/t/c")).unwrap();
        fs::write(mount.path().join("b/t/c/memory.oom_control"), "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n")
            .unwrap();
        assert_eq!(group.oom_kills().unwrap(), 3);
    }
}
