//! What a control group is limited to, in the kernel's units of neither version.

use crate::spec::Resources;
use crate::struct_codec;

/// Limits of one group. `None` leaves the kernel's default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Limits {
    /// Hard CPU limit: microseconds of CPU time in each period.
    pub cpu_quota_us: Option<u64>,
    /// Length of the period in microseconds; 100 000 where a quota is given without it.
    pub cpu_period_us: Option<u64>,
    /// Relative CPU weight as v1 shares, 2 to 262 144 (1024 = one vCPU). v2's weight is derived.
    pub cpu_shares: Option<u64>,
    /// Hard memory limit in bytes.
    pub memory_bytes: Option<u64>,
    /// Memory below which the group is reclaimed last, in bytes (v2 `memory.low`, v1 soft limit).
    pub memory_reservation_bytes: Option<u64>,
    /// Swap the group may use in bytes, not counting memory. berth's tasks get `Some(0)` unless they ask.
    pub swap_bytes: Option<u64>,
    /// Most processes and threads.
    pub pids: Option<u64>,
}

/// The smallest quota that the kernel takes, in microseconds.
const LEAST_QUOTA_US: u64 = 1000;

impl Limits {
    /// The quota as the kernel takes it: less than a millisecond a period, which a few CPU units come to, is refused
    /// with EINVAL, and becomes a millisecond.
    pub fn quota_us(&self) -> Option<u64> {
        self.cpu_quota_us.map(|quota| quota.max(LEAST_QUOTA_US))
    }

    /// The same limits as a document would give them.
    pub(super) fn resources(&self) -> Resources {
        let signed = |n: Option<u64>| n.map(|n| i64::try_from(n).unwrap_or(i64::MAX));
        Resources {
            cpu_quota_us: signed(self.quota_us()),
            cpu_period_us: self.cpu_period_us,
            cpu_shares: self.cpu_shares,
            memory_bytes: signed(self.memory_bytes),
            memory_reservation_bytes: signed(self.memory_reservation_bytes),
            swap_bytes: self.swap_bytes,
            pids: signed(self.pids),
            ..Resources::default()
        }
    }
}

struct_codec!(Limits {
    cpu_quota_us,
    cpu_period_us,
    cpu_shares,
    memory_bytes,
    memory_reservation_bytes,
    swap_bytes,
    pids
});
