//! The unified hierarchy.

use super::files::{self, keyed, read_if_there, write, write_if_there};
use super::limits::Limits;
use super::stats::Stats;
use crate::errno::{OpContext as _, OpError};
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
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
    write(&file, off.join(" ")).map_err(|e| match e.errno() {
        // The kernel's rule is worth a word: whoever sees it must move the processes, not berth.
        Some(libc::EBUSY) => {
            let rule =
                "processes live in this cgroup, and v2 wants them in leaves: give berth a parent without processes";
            OpError::new("enable controllers in", file.display().to_string(), io::Error::other(rule))
        }
        _ => e,
    })
}

/// Which of [`WANTED`] a space-separated list holds, in the order of [`WANTED`].
fn wanted_in(file: &Path) -> Result<Vec<&'static str>, OpError> {
    let text = files::read(file)?;
    Ok(WANTED.into_iter().filter(|c| text.split(' ').any(|word| word == *c)).collect())
}

pub(super) fn apply(dir: &Path, limits: &Limits) -> Result<(), OpError> {
    if let Some(quota) = limits.quota_us() {
        set(dir, "cpu", "cpu.max", format!("{quota} {}", limits.cpu_period_us.unwrap_or(100_000)))?;
    } else if let Some(period) = limits.cpu_period_us {
        set(dir, "cpu", "cpu.max", format!("max {period}"))?;
    }
    if let Some(shares) = limits.cpu_shares {
        set(dir, "cpu", "cpu.weight", weight(shares))?;
    }
    // Swap first: between the two writes nothing of a group with less memory may move out to swap.
    if let Some(swap) = limits.swap_bytes {
        // Without swap accounting there is no such file; then a limit other than 0 could not be kept anyway.
        write_if_there(&dir.join("memory.swap.max"), swap)?;
    }
    if let Some(bytes) = limits.memory_bytes {
        set(dir, "memory", "memory.max", bytes)?;
    }
    if let Some(bytes) = limits.memory_reservation_bytes {
        set(dir, "memory", "memory.low", bytes)?;
    }
    if let Some(pids) = limits.pids {
        set(dir, "pids", "pids.max", pids)?;
    }
    Ok(())
}

/// Writes a limit; a missing file means that the controller is not enabled here.
fn set(dir: &Path, controller: &str, name: &str, value: impl ToString) -> Result<(), OpError> {
    let file = dir.join(name);
    if write_if_there(&file, value)? {
        return Ok(());
    }
    let why = format!("the group does not exist, or controller {controller} is not enabled in the groups above it");
    Err(io::Error::new(io::ErrorKind::NotFound, why)).op("write", &file)
}

/// v1 shares (2 to 262144, default 1024) as a v2 weight (1 to 10000, default 100), by runc's formula: a parabola in the
/// logarithms through the three pairs (2, 1), (1024, 100) and (262144, 10000).
fn weight(shares: u64) -> u64 {
    let l = (shares.clamp(2, 262_144) as f64).log2();
    let exponent = (l * l + 125.0 * l) / 612.0 - 7.0 / 34.0;
    // A hair above a whole number is rounding, not weight.
    ((10f64.powf(exponent) - 1e-9).ceil() as u64).clamp(1, 10_000)
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
    fn shares_become_weights_by_runcs_formula() {
        for (shares, expected) in
            [(0, 1), (2, 1), (256, 35), (512, 59), (1024, 100), (2048, 174), (262_144, 10_000), (u64::MAX, 10_000)]
        {
            assert_eq!(weight(shares), expected, "{shares} shares");
        }
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
        assert_eq!(names.map(text), ["25000 100000", "100", "67108864", "33554432", "0", "100"]);
    }

    #[test]
    fn a_quota_too_small_for_the_kernel_becomes_the_least_it_takes() {
        let (mount, group) = fake(&[("b/t/cpu.max", "")]);
        group.apply(&Limits { cpu_quota_us: Some(976), ..Limits::default() }).unwrap();
        assert_eq!(fs::read_to_string(mount.path().join("b/t/cpu.max")).unwrap(), "1000 100000");
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
