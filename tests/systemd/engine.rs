//! What the tests of engines need: programs that run containers by the runtime, as Debian sets them up.

use super::scope::{file, group, show};
use super::{MACHINE, PATIENCE, process};
use berth_test_host::{eventually, run};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Child, Command};
use std::sync::MutexGuard;
use std::time::{Duration, Instant};

/// Ends in its own way when it is asked to. The child is there once it can be asked.
pub(crate) const SERVICE: &str = "trap 'exit 3' TERM; while :; do sleep 44444 & wait $!; done";

pub(crate) const MIB: u64 = 1 << 20;

/// Where containers of an engine are seen, besides mounts.
#[derive(Clone, Copy)]
pub(crate) struct Places {
    /// Their units: a pattern of systemd's.
    pub(crate) units: &'static str,
    /// The groups that theirs are in, and a word of the names of theirs.
    pub(crate) groups: &'static [&'static str],
    pub(crate) word: &'static str,
    /// The runtime's table of them.
    pub(crate) records: &'static str,
    /// Programs that stay as long as one of them.
    pub(crate) programs: &'static [&'static str],
}

impl Places {
    /// What a container adds to the machine, besides mounts: units, groups, records and processes.
    fn traces(self) -> Vec<String> {
        let list = ["list-units", "--all", "--plain", "--no-legend", self.units];
        let mut found: Vec<String> = run(Command::new("systemctl").args(list)).lines().map(str::to_owned).collect();
        found.extend(self.groups.iter().flat_map(|dir| names(&group(dir))).filter(|name| name.contains(self.word)));
        found.extend(names(Path::new(self.records)));
        for pid in names(Path::new("/proc")) {
            let line = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default().replace('\0', " ");
            let program = line.split(' ').next().unwrap_or_default();
            if self.programs.iter().any(|name| program.ends_with(name)) || line.contains("sleep 44444") {
                found.push(line);
            }
        }
        found
    }
}

/// The machine, with no container of an engine on it.
pub(crate) struct Engine {
    _machine: MutexGuard<'static, Child>,
    places: Places,
    mounts: BTreeSet<String>,
}

impl Engine {
    pub(crate) fn take(places: Places) -> Self {
        let machine = MACHINE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        Self { _machine: machine, places, mounts: BTreeSet::new() }
    }

    /// What is mounted now is the engine's own and no container's.
    pub(crate) fn settle(&mut self) {
        self.assert_no_traces();
        self.mounts = mounts();
    }

    /// Nothing of any container is left.
    pub(crate) fn assert_clean(&self) {
        self.assert_no_traces();
        assert_eq!(mounts(), self.mounts);
    }

    fn assert_no_traces(&self) {
        // What stays with a container, and what that starts at the end, are nobody's children.
        let deadline = Instant::now() + PATIENCE;
        while !self.places.traces().is_empty() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(200));
        }
        assert_eq!(self.places.traces(), [""; 0]);
    }
}

/// systemd's limits and the kernel's are the same: half a processor, and these.
pub(crate) fn assert_limits(unit: &str, path: &str, memory: u64, pids: &str) {
    let (memory, half) = (memory.to_string(), ("500ms", "50000 100000"));
    for (property, shown, name, value) in [
        ("CPUQuotaPerSecUSec", half.0, "cpu.max", half.1),
        ("MemoryMax", &memory, "memory.max", &memory),
        ("TasksMax", pids, "pids.max", pids),
    ] {
        assert_eq!((show(unit, property).as_str(), file(path, name).as_str()), (shown, value), "{property}");
    }
}

/// The container's service runs in that group; its pid.
pub(crate) fn service_in(path: &str) -> u32 {
    let (pid, _) = eventually("the service", PATIENCE, || process("sleep 44444"));
    assert_eq!(fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap().trim(), format!("0::/{path}"));
    pid
}

fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

/// Where something is mounted.
fn mounts() -> BTreeSet<String> {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    table.lines().filter_map(|line| line.split(' ').nth(4)).map(str::to_owned).collect()
}
