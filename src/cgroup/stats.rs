//! What a control group uses, in the units of neither version.

/// A reading of a group's counters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stats {
    /// CPU time used, in nanoseconds.
    pub cpu_ns: u64,
    /// The part of it spent in user mode, in nanoseconds.
    pub cpu_user_ns: u64,
    /// The part of it spent in the kernel, in nanoseconds.
    pub cpu_system_ns: u64,
    /// Periods of the CPU limit that have passed.
    pub periods: u64,
    /// Periods in which the limit stopped the group.
    pub throttled_periods: u64,
    /// How long the limit has stopped the group, in nanoseconds.
    pub throttled_ns: u64,
    /// Memory in use that the kernel could not take back at once: usage minus inactive file pages, in bytes. What
    /// `docker stats` shows.
    pub memory_bytes: u64,
    /// All memory charged to the group, page cache included, in bytes.
    pub memory_usage_bytes: u64,
    /// The most that has ever been charged, in bytes.
    pub memory_peak_bytes: u64,
    /// The hard limit in bytes, `None` when there is none.
    pub memory_limit_bytes: Option<u64>,
    /// Processes and threads.
    pub pids: u64,
    /// Processes killed for want of memory.
    pub oom_kills: u64,
}
