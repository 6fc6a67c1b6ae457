//! A hierarchy per controller.

use super::files::{self, keyed, read_if_there, read_number, write, write_if_there};
use super::hierarchies::{Controller, V1Mount};
use super::stats::Stats;
use super::tree;
use super::writes::{self, Write, given};
use crate::errno::{OpContext as _, OpError};
use crate::spec::Resources;
use nix::sys::signal::{Signal, kill as send};
use nix::unistd::Pid;
use std::fs;
use std::io;
use std::os::fd::BorrowedFd;
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

pub(super) fn create(mounts: &[V1Mount], group: &Path, further: &[Controller]) -> Result<(), OpError> {
    for mount in mounts.iter().filter(|m| m.holds(further)) {
        let dir = mount.dir(group);
        // One mkdir in the usual case, where the group above exists.
        let new = match fs::create_dir(&dir) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => false,
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                fs::create_dir_all(&dir).op("create cgroup", &dir)?;
                true
            }
            other => other.op("create cgroup", &dir).map(|()| true)?,
        };
        if mount.cpuset() {
            for name in ["cpuset.cpus", "cpuset.mems"] {
                fill_cpuset(&mount.mount, group, name, new)?;
            }
        }
    }
    Ok(())
}

/// What is in the cpuset's file `name`: of one that is empty, as a new one is, what it gets from the one above it.
fn fill_cpuset(mount: &Path, group: &Path, name: &str, new: bool) -> Result<String, OpError> {
    let file = mount.join(group).join(name);
    let own = if new { String::new() } else { files::read(&file)? };
    match group.parent() {
        Some(above) if own.is_empty() => {
            let above = fill_cpuset(mount, above, name, false)?;
            write(&file, &above)?;
            Ok(above)
        }
        _ => Ok(own),
    }
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

/// Sets what `r` gives in the group.
pub(super) fn apply(mounts: &[V1Mount], group: &Path, r: &Resources) -> Result<(), OpError> {
    let writes = writes::v1(r)?;
    bandwidth(mounts, group, r)?;
    memory(mounts, group, r)?;
    for w in &writes {
        set(&need_for(mounts, group, w.controller, w.field)?, w)?;
    }
    Ok(())
}

/// The directory of a controller that a field needs.
fn need_for(mounts: &[V1Mount], group: &Path, controller: Controller, field: &str) -> Result<PathBuf, OpError> {
    need(mounts, group, controller).map_err(|e| OpError::new("set", field, e.source))
}

fn set(dir: &Path, w: &Write) -> Result<(), OpError> {
    let forms = [(&*w.file, &w.value)].into_iter().chain(w.or.as_ref().map(|(file, value)| (*file, value)));
    for (file, value) in forms {
        let path = dir.join(file);
        if write_if_there(&path, value).map_err(|e| files::refused(w.field, value, &path, e.source))? {
            return Ok(());
        }
    }
    if w.optional {
        return Ok(());
    }
    let missing = io::Error::new(io::ErrorKind::NotFound, format!("this kernel has no {}", w.file));
    Err(files::refused(w.field, &w.value, &dir.join(&*w.file), missing))
}

/// Quota, period and burst. Each must fit the other two at every moment, so that what is refused before the quota is
/// changed is tried again after.
fn bandwidth(mounts: &[V1Mount], group: &Path, r: &Resources) -> Result<(), OpError> {
    let write = |name, file, n: Option<i64>| n.map(|n| Write::new(name, Controller::Cpu, file, n));
    let signed = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    let period = r.cpu_period_us.filter(|p| *p > 0).map(signed);
    let period = write("linux.resources.cpu.period", "cpu.cfs_period_us", period);
    let burst = write("linux.resources.cpu.burst", "cpu.cfs_burst_us", r.cpu_burst_us.map(signed));
    let quota = write("linux.resources.cpu.quota", "cpu.cfs_quota_us", given(r.cpu_quota_us).map(|q| q.max(-1)));
    let Some(first) = period.as_ref().or(burst.as_ref()).or(quota.as_ref()) else { return Ok(()) };
    let dir = need_for(mounts, group, Controller::Cpu, first.field)?;
    let mut again = Vec::new();
    for w in period.iter().chain(&burst) {
        match set(&dir, w) {
            Err(e) if quota.is_some() && e.errno() == Some(libc::EINVAL) => again.push(w),
            other => other?,
        }
    }
    if let Some(quota) = &quota {
        set(&dir, quota)?;
    }
    again.into_iter().try_for_each(|w| set(&dir, w))
}

/// Quota (-1 is none) and period as they are.
pub(super) fn bandwidth_now(mounts: &[V1Mount], group: &Path) -> Result<(i64, u64), OpError> {
    let dir = need(mounts, group, Controller::Cpu)?;
    let text = read_if_there(&dir.join("cpu.cfs_quota_us"))?.unwrap_or_default();
    Ok((text.parse().unwrap_or(-1), read_number(&dir.join("cpu.cfs_period_us"))?))
}

const LIMIT: &str = "linux.resources.memory.limit";
const SWAP: &str = "linux.resources.memory.swap";

/// The kernel keeps memory ≤ memory + swap at every moment, so the order of the two writes is by direction.
fn memory(mounts: &[V1Mount], group: &Path, r: &Resources) -> Result<(), OpError> {
    let (limit, both) = (given(r.memory_bytes), given(r.memory_and_swap_bytes));
    if limit.is_none() && both.is_none() && r.swap_bytes.is_none() {
        return Ok(());
    }
    let dir = need_for(mounts, group, Controller::Memory, if limit.is_some() { LIMIT } else { SWAP })?;
    if r.check_before_update {
        let usage = |name: &str| read_number(&dir.join(name));
        files::check_usage(r, usage("memory.usage_in_bytes")?, usage("memory.memsw.usage_in_bytes")?)?;
    }
    let now = match (limit, both.or(r.swap_bytes.map(|_| 0))) {
        // Without swap there is no order, and without a limit of memory nothing to fit.
        (_, None) | (None, Some(1..)) => 0,
        _ => read_number(&dir.join("memory.limit_in_bytes"))?,
    };
    let by_itself = r.swap_bytes.map(|swap| {
        let memory = limit.and_then(|n| u64::try_from(n).ok()).unwrap_or(now);
        i64::try_from(memory.saturating_add(swap)).unwrap_or(i64::MAX)
    });
    // No limit of memory is none of both.
    let both = both.or(by_itself).or(limit.filter(|n| *n < 0));
    // The file is missing where swap is not accounted (Debian's kernels before 12 without `swapaccount=1`); all swap or
    // none is kept then as well as it can be.
    let lenient = both.is_some_and(|n| n < 0) || both == limit || r.swap_bytes.is_some();
    let limit = limit.map(|n| Write::new(LIMIT, Controller::Memory, "memory.limit_in_bytes", n.max(-1)));
    let swap =
        both.map(|n| Write::new(SWAP, Controller::Memory, "memory.memsw.limit_in_bytes", n.max(-1)).optional(lenient));
    let swap_first = both.is_some_and(|n| u64::try_from(n).map_or(true, |n| n >= now));
    let order = if swap_first { [swap, limit] } else { [limit, swap] };
    order.iter().flatten().try_for_each(|w| set(&dir, w).map_err(|e| in_use(e, &dir, w)))
}

/// What the kernel means by EBUSY: it could not reclaim enough.
fn in_use(e: OpError, dir: &Path, w: &Write) -> OpError {
    if e.errno() != Some(libc::EBUSY) {
        return e;
    }
    let of = |name: &str| read_number(&dir.join(name)).unwrap_or(0);
    let (usage, peak) = (of("memory.usage_in_bytes"), of("memory.max_usage_in_bytes"));
    let why = format!("unable to set memory limit to {} (current usage: {usage}, peak usage: {peak})", w.value);
    OpError::new("set", w.field, io::Error::other(why))
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
    let frozen = need(mounts, group, Controller::Freezer).and_then(|dir| set_state(&dir, "FROZEN")).is_ok();
    let killed = kill_listed(&dir);
    // Even a freezer that is stuck half-way must be let go, or nobody in it ever ends.
    let thawed = match thaw(mounts, group).and(thaw_below(&dir)) {
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

/// Lets go those that a container has frozen in groups of its own: thawing the group above does not.
fn thaw_below(dir: &Path) -> Result<(), OpError> {
    let mut enter = |group: BorrowedFd<'_>| tree::write_at(group, "freezer.state", "THAWED");
    tree::below(dir, &mut enter, &mut |_, _| ())
}

/// Signals every process in the group and below, and says how many there were. Those that could be listed, where not
/// all could.
fn kill_listed(dir: &Path) -> Result<usize, OpError> {
    let (pids, mut first) = files::listed(dir);
    for pid in &pids {
        // 0 stands for a process of another pid namespace, and would be our own process group.
        match send(Pid::from_raw(*pid as i32), Signal::SIGKILL) {
            _ if *pid == 0 => {}
            Ok(()) | Err(nix::errno::Errno::ESRCH) => {}
            Err(e) => first = first.and(Err(OpError::new("kill process", pid.to_string(), e))),
        }
    }
    first.map(|()| pids.len())
}

/// On failure nothing stays frozen.
pub(super) fn freeze(mounts: &[V1Mount], group: &Path) -> Result<(), OpError> {
    let dir = need(mounts, group, Controller::Freezer)?;
    set_state(&dir, "FROZEN").inspect_err(|_| drop(write(&dir.join("freezer.state"), "THAWED")))
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
    files::read_below(&dir, "memory.oom_control", &mut |text| sum += keyed(text, "oom_kill").unwrap_or(0))?;
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
    use super::super::limits::Limits;
    use super::*;

    /// One hierarchy of plain files with all controllers on it, or all but the cpusets, and a group `b/t` in it.
    fn fake(cpuset: bool, files: &[(&str, &str)]) -> (tempfile::TempDir, super::super::Group) {
        let mount = tempfile::tempdir().unwrap();
        fs::create_dir_all(mount.path().join("b/t")).unwrap();
        for (name, text) in files {
            fs::write(mount.path().join(name), text).unwrap();
        }
        let controllers = Controller::ALL.into_iter().filter(|c| cpuset || *c != Controller::Cpuset).collect();
        let tree = Tree::V1(vec![V1Mount { mount: mount.path().to_owned(), controllers }]);
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
        let none = "9223372036854771712";
        let (mount, group) =
            fake(false, &[("b/t/memory.limit_in_bytes", none), ("b/t/memory.memsw.limit_in_bytes", none)]);
        group.apply(&Limits { memory_bytes: Some(4096), swap_bytes: Some(0), ..Limits::default() }).unwrap();
        // The kernel takes a new value where a plain file takes new contents, over its start.
        let text = |n: &str| fs::read_to_string(mount.path().join("b/t").join(n)).unwrap();
        assert!(text("memory.limit_in_bytes").starts_with("4096"));
        assert!(text("memory.memsw.limit_in_bytes").starts_with("4096"));
    }

    #[test]
    fn all_swap_or_none_is_no_error_where_swap_is_not_accounted() {
        let (_mount, group) = fake(false, &[("b/t/memory.limit_in_bytes", "0")]);
        let with = |memory, swap| Resources {
            memory_bytes: Some(memory),
            memory_and_swap_bytes: Some(swap),
            ..Resources::default()
        };
        group.configure(&with(4096, 4096)).unwrap();
        let error = group.configure(&with(4096, 8192)).unwrap_err();
        assert!(error.object.starts_with("linux.resources.memory.swap to 8192 by "), "{error}");
        group.configure(&with(-1, -1)).unwrap();
    }

    #[test]
    fn a_limit_of_a_controller_that_is_not_mounted_says_so() {
        let mount = tempfile::tempdir().unwrap();
        let controllers = vec![Controller::Freezer];
        let tree = Tree::V1(vec![V1Mount { mount: mount.path().to_owned(), controllers }]);
        let error = Hierarchies::at(tree).group("b").apply(&Limits { pids: Some(1), ..Limits::default() }).unwrap_err();
        assert_eq!(
            crate::errno::chain(&error),
            "set `linux.resources.pids.limit`: cgroup v1 controller pids is not mounted"
        );
    }

    #[test]
    fn a_group_that_does_not_freeze_in_time_is_let_go() {
        // What is written goes over the start of a plain file, which so never says what it should.
        let (mount, group) = fake(false, &[("b/t/freezer.state", "THAWED, and more")]);
        assert_eq!(group.freeze().unwrap_err().source.kind(), io::ErrorKind::TimedOut);
        assert_eq!(fs::read_to_string(mount.path().join("b/t/freezer.state")).unwrap(), "THAWED, and more");
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
