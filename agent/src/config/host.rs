//! What the agent must know of its host before it can have settings.

use crate::capacity::{PortRange, parse_ephemeral_range};
use std::io;

/// Size of the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HostFacts {
    /// Logical CPUs, all that are online.
    pub cpus: u32,
    /// Memory in MiB.
    pub memory_mib: u64,
    /// From where the kernel gives ports to outgoing connections.
    pub ephemeral_ports: PortRange,
}

impl HostFacts {
    /// Reads them from `/proc`.
    pub fn read() -> io::Result<Self> {
        let cpus = parse_cpus(&std::fs::read_to_string("/proc/stat")?);
        let memory_mib = parse_memory(&std::fs::read_to_string("/proc/meminfo")?)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "/proc/meminfo has no MemTotal"))?;
        let ports = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").ok();
        let ephemeral_ports = ports.as_deref().and_then(parse_ephemeral_range);
        let ephemeral_ports = ephemeral_ports.unwrap_or(PortRange { first: 32_768, last: 60_999 });
        Ok(Self { cpus, memory_mib, ephemeral_ports })
    }
}

/// Counts the `cpuN` lines of `/proc/stat`. Not `sched_getaffinity`: the agent may be pinned, its tasks are not.
fn parse_cpus(stat: &str) -> u32 {
    let is_cpu =
        |line: &&str| line.strip_prefix("cpu").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    u32::try_from(stat.lines().filter(is_cpu).count()).unwrap_or(u32::MAX).max(1)
}

fn parse_memory(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib / 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpus_and_memory_are_read_from_proc() {
        assert_eq!(parse_cpus("cpu  1 2\ncpu0 1\ncpu1 1\nintr 5\n"), 2);
        assert_eq!(parse_memory("MemTotal:        4028852 kB\nMemFree: 1 kB\n"), Some(3934));
        assert_eq!(parse_memory("MemFree: 1 kB\n"), None);
        assert!(HostFacts::read().unwrap().memory_mib > 0);
    }
}
