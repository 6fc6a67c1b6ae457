//! What a container gets when nothing is said, and the names that people use for what they say.

use super::BundleError;

/// Capabilities of a container that asks for none: enough to set up a service as root, nothing that reaches the host.
pub(super) const CAPABILITIES: [&str; 14] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "FSETID",
    "FOWNER",
    "MKNOD",
    "NET_RAW",
    "SETGID",
    "SETUID",
    "SETFCAP",
    "SETPCAP",
    "NET_BIND_SERVICE",
    "SYS_CHROOT",
    "KILL",
    "AUDIT_WRITE",
];

/// All capabilities by number (capabilities(7)).
const ALL: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// Paths of /proc and /sys that tell about the host or change it: Docker's, but for `/proc/sched_debug`, which kernels have
/// not had since 5.13.
const MASKED: [&str; 11] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];

/// Where each CPU counts how often it was too hot, which tells what others on the machine do.
const CPUS: &str = "/sys/devices/system/cpu";

/// The masked paths on this machine. The counts are of hardware: most virtual machines have none.
pub(super) fn masked() -> &'static [String] {
    static ALL: std::sync::LazyLock<Vec<String>> = std::sync::LazyLock::new(|| {
        let mut all: Vec<String> = MASKED.iter().map(ToString::to_string).collect();
        all.extend(heat_counts(std::path::Path::new(CPUS)));
        all
    });
    &ALL
}

fn heat_counts(cpus: &std::path::Path) -> Vec<String> {
    let entries = std::fs::read_dir(cpus).into_iter().flatten().flatten();
    let cpu = |name: &str| name.strip_prefix("cpu").is_some_and(|n| n.parse::<u32>().is_ok());
    let mut found: Vec<String> = entries
        .filter(|entry| entry.file_name().to_str().is_some_and(cpu))
        .map(|entry| entry.path().join("thermal_throttle"))
        .filter(|path| path.is_dir())
        .map(|path| path.to_string_lossy().into_owned())
        .collect();
    found.sort();
    found
}

/// Paths that may be read and not written.
pub(super) const READ_ONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// Where programs are looked for when neither image nor task says.
pub(super) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A container's capabilities, a bit each. `may` is the set that this process could give away: a node that lacks one itself
/// cannot start a container that has all.
pub(super) fn capabilities(privileged: bool, add: &[String], drop: &[String], may: u64) -> Result<u64, BundleError> {
    let mut set = 0u64;
    for name in CAPABILITIES {
        set |= parse_capability("capability", name)?;
    }
    if privileged {
        set = u64::MAX;
    }
    for name in add {
        set |= parse_capability("added capability", name)?;
    }
    for name in drop {
        set &= !parse_capability("dropped capability", name)?;
    }
    let asked = |bit: usize| add.iter().any(|name| name.trim_start_matches("CAP_").eq_ignore_ascii_case(ALL[bit]));
    // What was asked for by name and cannot be had is left in: the runtime's refusal is better than silence.
    let given = (0..ALL.len()).filter(|bit| set & (1 << bit) != 0 && (may & (1 << bit) != 0 || asked(*bit)));
    Ok(given.fold(0, |all, bit| all | 1 << bit))
}

/// The names (with `CAP_`) of a set of capabilities, by number.
pub(super) fn names(set: u64) -> Vec<String> {
    (0..ALL.len()).filter(|bit| set & (1 << bit) != 0).map(|bit| format!("CAP_{}", ALL[bit])).collect()
}

fn parse_capability(field: &'static str, name: &str) -> Result<u64, BundleError> {
    let upper = name.to_ascii_uppercase();
    let plain = upper.strip_prefix("CAP_").unwrap_or(&upper);
    if plain == "ALL" {
        return Ok(u64::MAX);
    }
    let bit = ALL.iter().position(|known| *known == plain).ok_or_else(|| BundleError::Value {
        field,
        value: name.to_owned(),
        problem: "is not a capability of Linux",
    })?;
    Ok(1 << bit)
}

/// Capabilities that this process may hand on, from the bounding set in /proc/self/status; all, where that cannot be read.
pub(super) fn may_give() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let set = status.lines().find_map(|line| line.strip_prefix("CapBnd:"));
    set.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()).unwrap_or(u64::MAX)
}

/// The kernel's name of a limit from setrlimit(2), by the name that task definitions use.
pub(super) fn rlimit(name: &str) -> Result<&'static str, BundleError> {
    Ok(match name {
        "core" => "RLIMIT_CORE",
        "cpu" => "RLIMIT_CPU",
        "data" => "RLIMIT_DATA",
        "fsize" => "RLIMIT_FSIZE",
        "locks" => "RLIMIT_LOCKS",
        "memlock" => "RLIMIT_MEMLOCK",
        "msgqueue" => "RLIMIT_MSGQUEUE",
        "nice" => "RLIMIT_NICE",
        "nofile" => "RLIMIT_NOFILE",
        "nproc" => "RLIMIT_NPROC",
        "rss" => "RLIMIT_RSS",
        "rtprio" => "RLIMIT_RTPRIO",
        "rttime" => "RLIMIT_RTTIME",
        "sigpending" => "RLIMIT_SIGPENDING",
        "stack" => "RLIMIT_STACK",
        "as" => "RLIMIT_AS",
        _ => {
            let problem = "is not a limit that a process has";
            return Err(BundleError::Value { field: "ulimit", value: name.to_owned(), problem });
        }
    })
}

/// The number of a signal from its name, with or without `SIG`, a number, or `RTMIN+n` and `RTMAX-n`.
pub(super) fn signal(name: &str) -> Result<i32, BundleError> {
    // glibc and the kernel agree on these for programs that use the C library's real-time signals.
    const RTMIN: i32 = 34;
    const RTMAX: i32 = 64;
    let refuse = || BundleError::Value { field: "stop signal", value: name.to_owned(), problem: "is not a signal" };
    let upper = name.trim().to_ascii_uppercase();
    let plain = upper.strip_prefix("SIG").unwrap_or(&upper);
    let offset = |text: &str| if text.is_empty() { Some(0) } else { text[1..].parse::<i32>().ok() };
    let number = if let Ok(number) = plain.parse::<i32>() {
        Some(number)
    } else if let Some(rest) = plain.strip_prefix("RTMIN").filter(|r| r.is_empty() || r.starts_with('+')) {
        offset(rest).and_then(|n| RTMIN.checked_add(n)).filter(|n| *n <= RTMAX)
    } else if let Some(rest) = plain.strip_prefix("RTMAX").filter(|r| r.is_empty() || r.starts_with('-')) {
        offset(rest).and_then(|n| RTMAX.checked_sub(n)).filter(|n| *n >= RTMIN)
    } else {
        format!("SIG{plain}").parse::<nix::sys::signal::Signal>().ok().map(|signal| signal as i32)
    };
    number.filter(|n| (1..=RTMAX).contains(n)).ok_or_else(refuse)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_have_names_and_numbers() {
        for (name, number) in [
            ("SIGTERM", 15),
            ("quit", 3),
            ("9", 9),
            ("SIGRTMIN+3", 37),
            ("RTMAX-1", 63),
            ("SIGWINCH", 28),
            ("RTMIN", 34),
        ] {
            assert_eq!(signal(name).unwrap(), number, "{name}");
        }
        for bad in ["", "0", "65", "SIGFOO", "RTMIN+99", "RTMIN-1", "-1"] {
            assert!(signal(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn counts_of_heat_are_masked_for_each_cpu_that_has_them() {
        let dir = tempfile::tempdir().unwrap();
        for path in ["cpu0/thermal_throttle", "cpu1/topology", "cpu12/thermal_throttle", "cpuidle/thermal_throttle"] {
            std::fs::create_dir_all(dir.path().join(path)).unwrap();
        }
        let at = |cpu: &str| dir.path().join(cpu).join("thermal_throttle").display().to_string();
        assert_eq!(heat_counts(dir.path()), [at("cpu0"), at("cpu12")]);
    }

    #[test]
    fn capabilities_are_added_before_others_are_dropped() {
        let of = |add: &[&str], drop: &[&str]| {
            let own = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
            names(capabilities(false, &own(add), &own(drop), u64::MAX).unwrap())
        };
        assert_eq!(of(&[], &[]).len(), 14);
        assert_eq!(of(&["NET_ADMIN"], &["ALL"]), Vec::<String>::new());
        assert_eq!(of(&["net_admin", "CAP_SYS_TIME"], &["MKNOD"]).len(), 15);
        assert_eq!(of(&["ALL"], &["SYS_ADMIN"]).len(), 40);
        assert!(capabilities(false, &["FLY".into()], &[], 0).is_err());
    }

    #[test]
    fn a_privileged_container_gets_what_the_node_has() {
        assert_eq!(names(capabilities(true, &[], &[], u64::MAX).unwrap()).len(), 41);
        let without_resource = !(1u64 << 24);
        let set = capabilities(true, &[], &[], without_resource).unwrap();
        assert!(!names(set).contains(&"CAP_SYS_RESOURCE".to_owned()));
    }
}
