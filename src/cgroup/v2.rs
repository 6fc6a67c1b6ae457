//! The unified hierarchy.

use super::files::{self, keyed, read_if_there, write, write_if_there};
use super::hierarchies::Controller;
use super::stats::Stats;
use super::writes::{self, Write, given, v2_limit};
use crate::errno::{OpContext as _, OpError};
use crate::spec::Resources;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// What groups below a parent of ours get, where the kernel has it.
const WANTED: [&str; 4] = ["cpu", "memory", "pids", "io"];
/// How long [`set_frozen`] waits for the last process to stop.
const FREEZE_PATIENCE: Duration = Duration::from_secs(2);
const FREEZE_PAUSE: Duration = Duration::from_micros(200);
const USEC: u64 = 1000;

pub(super) fn create(mount: &Path, group: &Path) -> Result<(), OpError> {
    let dir = mount.join(group);
    fs::create_dir_all(&dir).op("create cgroup", &dir)?;
    if wanted_in(&dir.join("cgroup.controllers"))? == wanted_in(&mount.join("cgroup.controllers"))? {
        return Ok(());
    }
    let mut above = mount.to_owned();
    for component in group {
        enable_controllers(&above)?;
        above.push(component);
    }
    Ok(())
}

/// Turns the controllers on for the groups below `dir`: those it has and has not turned on already.
pub(super) fn enable_controllers(dir: &Path) -> Result<(), OpError> {
    let file = dir.join("cgroup.subtree_control");
    let on = wanted_in(&file)?;
    let off: Vec<String> = wanted_in(&dir.join("cgroup.controllers"))?
        .iter()
        .filter(|c| !on.contains(c))
        .map(|c| format!("+{c}"))
        .collect();
    if off.is_empty() {
        return Ok(());
    }
    write(&file, off.join(" ")).map_err(|e| in_leaves(e, &file))
}

/// The kernel's rule is worth a word: whoever sees it must move the processes, not berth.
fn in_leaves(e: OpError, file: &Path) -> OpError {
    if e.errno() != Some(libc::EBUSY) {
        return e;
    }
    let rule = "processes live in this cgroup, and v2 wants them in leaves: give berth a parent without processes";
    OpError::new("enable controllers in", file.display().to_string(), io::Error::other(rule))
}

/// Which of [`WANTED`] a space-separated list holds, in the order of [`WANTED`].
fn wanted_in(file: &Path) -> Result<Vec<&'static str>, OpError> {
    let text = files::read(file)?;
    Ok(WANTED.into_iter().filter(|c| text.split(' ').any(|word| word == *c)).collect())
}

/// Sets what `r` gives in the group at `group` below `mount`.
pub(super) fn apply(mount: &Path, group: &Path, r: &Resources) -> Result<(), OpError> {
    let target = Target { mount, group, dir: mount.join(group) };
    check_usage(&target.dir, r)?;
    let writes = writes::v2(r)?;
    bandwidth(&target, r)?;
    memory(&target, r)?;
    writes.iter().try_for_each(|write| target.set(write))?;
    r.unified.iter().try_for_each(|(name, value)| target.set_unified(name, value))
}

/// The group whose files are written.
struct Target<'a> {
    mount: &'a Path,
    group: &'a Path,
    dir: PathBuf,
}

impl Target<'_> {
    /// Writes a limit. A missing file means more often than not that the controller is not enabled here: all but those
    /// that every group gets are enabled when they are needed.
    fn set(&self, w: &Write) -> Result<(), OpError> {
        if put(&self.dir, w)? || self.enable(w.controller.v2_name())? && put(&self.dir, w)? || w.optional {
            return Ok(());
        }
        let controller = w.controller.v2_name();
        let available = files::read(&self.dir.join("cgroup.controllers")).unwrap_or_default();
        let why = if available.split(' ').any(|c| c == controller) {
            format!("this kernel has no {}", w.file)
        } else {
            format!("the group does not exist, or controller {controller} is not enabled in the groups above it")
        };
        Err(files::refused(w.field, &w.value, &self.dir.join(&*w.file), io::Error::new(io::ErrorKind::NotFound, why)))
    }

    fn set_unified(&self, name: &str, value: &str) -> Result<(), OpError> {
        let file = self.dir.join(name);
        let controller = name.split('.').next().unwrap_or_default();
        // A file may take several lines, each by a write of its own. Nothing at all has to be written, too.
        let lines = value.lines().filter(|line| !line.is_empty());
        let empty = value.trim().is_empty().then_some("\n");
        for line in lines.chain(empty) {
            let done = match write_if_there(&file, line) {
                Ok(false) if self.enable(controller)? => write_if_there(&file, line),
                other => other,
            };
            match done {
                Ok(true) => {}
                Ok(false) => {
                    let here = files::read(&self.dir.join("cgroup.controllers")).unwrap_or_default();
                    let why = if controller == "cgroup" || here.split(' ').any(|c| c == controller) {
                        "this kernel has no such file".to_owned()
                    } else {
                        format!("controller `{controller}` not available")
                    };
                    let source = io::Error::new(io::ErrorKind::NotFound, why);
                    return Err(OpError::new("set unified resource", name, source));
                }
                Err(e) => return Err(OpError::new("set unified resource", format!("{name} to {line}"), e.source)),
            }
        }
        Ok(())
    }

    /// Enables a controller in all groups above this one. False when it makes no difference.
    fn enable(&self, controller: &str) -> Result<bool, OpError> {
        let has = |dir: &Path, name: &str| -> Result<bool, OpError> {
            let text = read_if_there(&dir.join(name))?.unwrap_or_default();
            Ok(text.split(' ').any(|word| word == controller))
        };
        if !self.dir.is_dir() || has(&self.dir, "cgroup.controllers")? || !has(self.mount, "cgroup.controllers")? {
            return Ok(false);
        }
        let mut above = self.mount.to_owned();
        for component in self.group {
            if !has(&above, "cgroup.subtree_control")? {
                let file = above.join("cgroup.subtree_control");
                write(&file, format!("+{controller}")).map_err(|e| in_leaves(e, &file))?;
            }
            above.push(component);
        }
        Ok(true)
    }
}

/// Writes a limit, or its other form; false when neither file is there.
fn put(dir: &Path, w: &Write) -> Result<bool, OpError> {
    let forms = [(&*w.file, &w.value)].into_iter().chain(w.or.as_ref().map(|(file, value)| (*file, value)));
    for (file, value) in forms {
        let path = dir.join(file);
        if write_if_there(&path, value).map_err(|e| files::refused(w.field, value, &path, e.source))? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// A memory limit below what is in use makes the kernel kill; whoever asks for it is told no instead.
fn check_usage(dir: &Path, r: &Resources) -> Result<(), OpError> {
    if !r.check_before_update {
        return Ok(());
    }
    let usage = files::read_number(&dir.join("memory.current"))?;
    files::check_usage(r, usage, usage)
}

/// Quota, period and burst. What is not given stays as it is.
fn bandwidth(target: &Target<'_>, r: &Resources) -> Result<(), OpError> {
    let quota = given(r.cpu_quota_us).map(v2_limit);
    let period = r.cpu_period_us.filter(|p| *p > 0);
    let max = match (quota, period) {
        (Some(quota), Some(period)) => Some(("linux.resources.cpu.quota", format!("{quota} {period}"))),
        // One number alone leaves the period.
        (Some(quota), None) => Some(("linux.resources.cpu.quota", quota)),
        (None, Some(period)) => {
            let now = read_if_there(&target.dir.join("cpu.max"))?.unwrap_or_default();
            let quota = now.split(' ').next().filter(|q| !q.is_empty()).unwrap_or("max").to_owned();
            Some(("linux.resources.cpu.period", format!("{quota} {period}")))
        }
        (None, None) => None,
    };
    let burst = r.cpu_burst_us.map(|b| Write::new("linux.resources.cpu.burst", Controller::Cpu, "cpu.max.burst", b));
    let max = max.map(|(field, value)| Write::new(field, Controller::Cpu, "cpu.max", value));
    // A burst may not be above the quota at any moment: which goes first depends on the direction.
    let early = match (&burst, &max) {
        (Some(burst), Some(_)) => target.set(burst).is_ok(),
        _ => false,
    };
    if let Some(max) = &max {
        target.set(max)?;
    }
    match &burst {
        Some(burst) if !early => target.set(burst),
        _ => Ok(()),
    }
}

/// Quota (-1 is none) and period as they are.
pub(super) fn bandwidth_now(dir: &Path) -> Result<(i64, u64), OpError> {
    let text = read_if_there(&dir.join("cpu.max"))?.unwrap_or_default();
    let (quota, period) = text.split_once(' ').unwrap_or(("max", ""));
    Ok((quota.parse().unwrap_or(-1), period.parse().unwrap_or(100_000)))
}

/// Swap before memory: between the two writes nothing of a group with less memory may move out to swap.
fn memory(target: &Target<'_>, r: &Resources) -> Result<(), OpError> {
    let limit = given(r.memory_bytes);
    let swap = match given(r.memory_and_swap_bytes) {
        Some(both) if both > 0 => {
            let limit = match limit {
                Some(limit) => Some(limit),
                None => files::read_limit(&target.dir.join("memory.max"))?.and_then(|now| i64::try_from(now).ok()),
            };
            Some(swap(both, limit)?)
        }
        Some(_) => Some("max".to_owned()),
        // As it is on version 1: no limit of memory is none of both.
        None if limit == Some(-1) => Some("max".to_owned()),
        None => r.swap_bytes.map(|bytes| bytes.to_string()),
    };
    if let Some(swap) = swap {
        // Without swap accounting there is no such file; all swap or none is kept then as well as it can be.
        let lenient = swap == "max" || swap == "0";
        let write = Write::new("linux.resources.memory.swap", Controller::Memory, "memory.swap.max", swap);
        target.set(&write.optional(lenient))?;
    }
    match limit {
        Some(bytes) => {
            let value = v2_limit(bytes);
            target.set(&Write::new("linux.resources.memory.limit", Controller::Memory, "memory.max", value))
        }
        None => Ok(()),
    }
}

/// Swap by itself, of a limit of memory and swap together.
fn swap(both: i64, limit: Option<i64>) -> Result<String, OpError> {
    match limit {
        None => writes::refuse("linux.resources.memory.swap", "unable to set swap limit without memory limit"),
        // Without a limit of memory the number stands for swap alone.
        Some(..0) => Ok(both.to_string()),
        Some(limit) if both < limit => writes::refuse(
            "linux.resources.memory.swap",
            format!("memory+swap limit should be >= memory limit: got {both}, memory {limit}"),
        ),
        Some(limit) => Ok((both - limit).to_string()),
    }
}

pub(super) fn dir_fd(dir: &Path) -> Result<OwnedFd, OpError> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let file = fs::OpenOptions::new().read(true).custom_flags(libc::O_DIRECTORY).open(dir).op("open cgroup", dir)?;
    Ok(file.into())
}

/// One of the flags in `cgroup.events`; false when the group does not exist.
pub(super) fn event(dir: &Path, name: &str) -> Result<bool, OpError> {
    let text = read_if_there(&dir.join("cgroup.events"))?;
    Ok(text.and_then(|t| keyed(&t, name)).is_some_and(|value| value != 0))
}

/// A counter in `memory.events` (the group and all below) or `memory.events.local` (the group alone).
pub(super) fn memory_event(dir: &Path, file: &str, name: &str) -> Result<u64, OpError> {
    Ok(read_if_there(&dir.join(file))?.and_then(|text| keyed(&text, name)).unwrap_or(0))
}

pub(super) fn kill(dir: &Path) -> Result<(), OpError> {
    match write(&dir.join("cgroup.kill"), 1) {
        Err(e) if files::is_gone(&e.source) => Ok(()),
        other => other,
    }
}

pub(super) fn set_frozen(dir: &Path, frozen: bool) -> Result<(), OpError> {
    write(&dir.join("cgroup.freeze"), u8::from(frozen))?;
    let deadline = Instant::now() + FREEZE_PATIENCE;
    // A group without processes is frozen at once; one with a process in an uninterruptible wait, when that ends.
    while event(dir, "frozen")? != frozen {
        if Instant::now() >= deadline {
            if frozen {
                // Not to be left half frozen.
                write(&dir.join("cgroup.freeze"), 0)?;
            }
            return Err(io::Error::from(io::ErrorKind::TimedOut)).op("freeze cgroup", dir);
        }
        std::thread::sleep(FREEZE_PAUSE);
    }
    Ok(())
}

pub(super) fn stats(dir: &Path) -> Result<Stats, OpError> {
    let cpu = read_if_there(&dir.join("cpu.stat"))?.unwrap_or_default();
    let memory = read_if_there(&dir.join("memory.stat"))?.unwrap_or_default();
    let usage = files::read_number(&dir.join("memory.current"))?;
    let of = |name| keyed(&cpu, name).unwrap_or(0);
    Ok(Stats {
        cpu_ns: of("usage_usec") * USEC,
        cpu_user_ns: of("user_usec") * USEC,
        cpu_system_ns: of("system_usec") * USEC,
        periods: of("nr_periods"),
        throttled_periods: of("nr_throttled"),
        throttled_ns: of("throttled_usec") * USEC,
        memory_bytes: usage.saturating_sub(keyed(&memory, "inactive_file").unwrap_or(0)),
        memory_usage_bytes: usage,
        memory_peak_bytes: files::read_number(&dir.join("memory.peak"))?,
        memory_limit_bytes: files::read_limit(&dir.join("memory.max"))?,
        pids: files::read_number(&dir.join("pids.current"))?,
        oom_kills: memory_event(dir, "memory.events", "oom_kill")?,
    })
}

#[cfg(test)]
mod tests {
    use super::super::Hierarchies;
    use super::super::hierarchies::Tree;
    use super::super::limits::Limits;
    use super::*;

    /// A v2 mount of plain files, with a group `b/t` in it.
    fn fake(files: &[(&str, &str)]) -> (tempfile::TempDir, super::super::Group) {
        let mount = tempfile::tempdir().unwrap();
        fs::create_dir_all(mount.path().join("b/t")).unwrap();
        for (name, text) in files {
            fs::write(mount.path().join(name), text).unwrap();
        }
        let group = Hierarchies::at(Tree::V2(mount.path().to_owned())).group("b/t");
        (mount, group)
    }

    #[test]
    fn limits_are_written_in_the_kernels_form() {
        let names = ["cpu.max", "cpu.weight", "memory.max", "memory.low", "memory.swap.max", "pids.max"];
        let files: Vec<_> = names.iter().map(|n| (format!("b/t/{n}"), "")).collect();
        let (mount, group) = fake(&files.iter().map(|(n, t)| (n.as_str(), *t)).collect::<Vec<_>>());
        let limits = Limits {
            cpu_quota_us: Some(25_000),
            cpu_period_us: None,
            cpu_shares: Some(1024),
            memory_bytes: Some(64 << 20),
            memory_reservation_bytes: Some(32 << 20),
            swap_bytes: Some(0),
            pids: Some(100),
        };
        group.apply(&limits).unwrap();
        let text = |n: &str| fs::read_to_string(mount.path().join("b/t").join(n)).unwrap();
        assert_eq!(names.map(text), ["25000", "100", "67108864", "33554432", "0", "100"]);
    }

    #[test]
    fn a_quota_too_small_for_the_kernel_becomes_the_least_it_takes() {
        let (mount, group) = fake(&[("b/t/cpu.max", "")]);
        group.apply(&Limits { cpu_quota_us: Some(976), ..Limits::default() }).unwrap();
        assert_eq!(fs::read_to_string(mount.path().join("b/t/cpu.max")).unwrap(), "1000");
    }

    #[test]
    fn a_limit_of_a_controller_that_is_not_enabled_says_so() {
        let (_mount, group) = fake(&[]);
        let error = group.apply(&Limits { pids: Some(1), ..Limits::default() }).unwrap_err();
        assert!(crate::errno::chain(&error).contains("controller pids is not enabled"), "{error:?}");
    }

    #[test]
    fn no_swap_is_no_error_where_swap_is_not_accounted() {
        let (_mount, group) = fake(&[]);
        group.apply(&Limits { swap_bytes: Some(0), ..Limits::default() }).unwrap();
    }

    #[test]
    fn swap_is_what_is_left_of_memory_and_swap_together() {
        assert_eq!(swap(15, Some(10)).unwrap(), "5");
        assert_eq!(swap(10, Some(10)).unwrap(), "0");
        assert_eq!(swap(15, Some(-1)).unwrap(), "15");
        let words = |r: Result<String, OpError>| crate::errno::chain(&r.unwrap_err());
        assert!(words(swap(5, Some(10))).contains("memory+swap limit should be >= memory limit"));
        assert!(words(swap(5, None)).contains("unable to set swap limit without memory limit"));
    }

    #[test]
    fn a_period_alone_keeps_the_quota_and_no_limit_takes_all_away() {
        let files = ["cpu.max", "memory.max", "memory.swap.max", "pids.max"];
        let files: Vec<_> = files.iter().map(|n| (format!("b/t/{n}"), "25000 100000")).collect();
        let (mount, group) = fake(&files.iter().map(|(n, t)| (n.as_str(), *t)).collect::<Vec<_>>());
        let text = |n: &str| fs::read_to_string(mount.path().join("b/t").join(n)).unwrap();
        group.configure(&Resources { cpu_period_us: Some(50_000), ..Resources::default() }).unwrap();
        assert!(text("cpu.max").starts_with("25000 50000"));
        let none = Resources { cpu_quota_us: Some(-1), memory_bytes: Some(-1), pids: Some(-1), ..Resources::default() };
        group.configure(&none).unwrap();
        // The kernel takes a new value where a plain file takes new contents, over its start.
        for file in ["cpu.max", "memory.max", "memory.swap.max", "pids.max"] {
            assert!(text(file).starts_with("max"), "{file}: {}", text(file));
        }
    }

    #[test]
    fn files_by_name_are_written_line_by_line_and_missing_ones_say_what_is_missing() {
        let (mount, group) = fake(&[("b/t/memory.high", ""), ("b/t/cgroup.controllers", "memory")]);
        let unified =
            |name: &str, value: &str| Resources { unified: vec![(name.into(), value.into())], ..Resources::default() };
        group.configure(&unified("memory.high", "4096\n")).unwrap();
        assert_eq!(fs::read_to_string(mount.path().join("b/t/memory.high")).unwrap(), "4096");
        let error = |name| crate::errno::chain(&group.configure(&unified(name, "1")).unwrap_err());
        assert!(error("memory.nope").contains("`memory.nope`: this kernel has no such file"));
        assert!(error("hugetlb.2MB.max").contains("controller `hugetlb` not available"));
    }

    #[test]
    fn a_limit_below_what_is_in_use_is_refused_where_that_is_asked_for() {
        let (mount, group) = fake(&[("b/t/memory.current", "8192\n"), ("b/t/memory.max", "")]);
        let mut asked = Resources { memory_bytes: Some(4096), check_before_update: true, ..Resources::default() };
        let error = group.configure(&asked).unwrap_err();
        assert!(crate::errno::chain(&error).contains("rejecting memory limit 4096 < usage 8192"));
        assert_eq!(fs::read_to_string(mount.path().join("b/t/memory.max")).unwrap(), "");
        asked.check_before_update = false;
        group.configure(&asked).unwrap();
    }

    #[test]
    fn create_turns_on_what_is_there_in_every_group_above() {
        let (mount, group) = fake(&[
            ("cgroup.controllers", "cpuset cpu io memory hugetlb pids\n"),
            ("cgroup.subtree_control", "memory\n"),
            ("b/cgroup.controllers", "cpu io memory pids\n"),
            ("b/cgroup.subtree_control", "\n"),
            ("b/t/cgroup.controllers", "\n"),
        ]);
        group.create().unwrap();
        let text = |n: &str| fs::read_to_string(mount.path().join(n)).unwrap();
        // The kernel takes a change where a plain file takes new contents, over its start.
        assert!(text("cgroup.subtree_control").starts_with("+cpu +pids +io"));
        assert!(text("b/cgroup.subtree_control").starts_with("+cpu +memory +pids +io"));
    }

    #[test]
    fn a_group_that_does_not_freeze_in_time_is_let_go() {
        let (mount, group) = fake(&[("b/t/cgroup.freeze", "0"), ("b/t/cgroup.events", "populated 1\nfrozen 0\n")]);
        assert_eq!(group.freeze().unwrap_err().source.kind(), io::ErrorKind::TimedOut);
        assert_eq!(fs::read_to_string(mount.path().join("b/t/cgroup.freeze")).unwrap(), "0");
    }

    #[test]
    fn stats_leave_out_what_the_kernel_could_take_back() {
        let (_mount, group) = fake(&[
            (
                "b/t/cpu.stat",
                "usage_usec 7\nuser_usec 4\nsystem_usec 3\nnr_periods 9\nnr_throttled 2\nthrottled_usec 5\n",
            ),
            ("b/t/memory.current", "1000\n"),
            ("b/t/memory.stat", "anon 100\ninactive_anon 50\ninactive_file 400\n"),
            ("b/t/memory.max", "max\n"),
            ("b/t/memory.events", "low 0\nhigh 0\nmax 3\noom 2\noom_kill 1\n"),
            ("b/t/memory.events.local", "max 3\noom 0\noom_kill 0\n"),
            ("b/t/pids.current", "3\n"),
        ]);
        let stats = group.stats().unwrap();
        assert_eq!((stats.cpu_ns, stats.throttled_ns, stats.pids), (7000, 5000, 3));
        assert_eq!((stats.memory_bytes, stats.memory_usage_bytes, stats.memory_limit_bytes), (600, 1000, None));
        assert_eq!((group.oom_kills().unwrap(), group.limit_hits().unwrap()), (1, 0));
    }
}
