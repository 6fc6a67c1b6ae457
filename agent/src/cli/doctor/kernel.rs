//! Kernel version, seccomp, namespaces, and what this user may do.

use super::{Finding, Host};

/// The oldest kernel that everything works on.
const MINIMUM: (u32, u32) = (6, 1);

/// Capabilities that workers and the agent use, by their numbers in `capability.h`.
const NEEDED: [(u32, &str); 9] = [
    (0, "CHOWN"),
    (1, "DAC_OVERRIDE"),
    (5, "KILL"),
    (6, "SETGID"),
    (7, "SETUID"),
    (12, "NET_ADMIN"),
    (18, "SYS_CHROOT"),
    (21, "SYS_ADMIN"),
    (27, "MKNOD"),
];

const SYS_RESOURCE: u32 = 24;

pub(super) fn check(host: &Host) -> Vec<Finding> {
    [version(host), seccomp(host), namespaces(host)].into_iter().chain(rights(host)).collect()
}

fn version(host: &Host) -> Finding {
    const TOPIC: &str = "kernel";
    let release = host.read("/proc/sys/kernel/osrelease").unwrap_or_default();
    match parse(&release) {
        Some(found) if found >= MINIMUM => Finding::ok(TOPIC, release),
        _ => Finding::bad(
            TOPIC,
            format!("`{release}`, older than {}.{}", MINIMUM.0, MINIMUM.1),
            "boot a newer kernel, such as that of Debian 12 or Amazon Linux 2023",
        ),
    }
}

fn parse(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

fn seccomp(host: &Host) -> Finding {
    const TOPIC: &str = "seccomp";
    let actions = host.read("/proc/sys/kernel/seccomp/actions_avail").unwrap_or_default();
    match actions.split(' ').any(|action| action == "errno") {
        true => Finding::ok(TOPIC, "filters can be set"),
        false => Finding::bad(
            TOPIC,
            "the kernel has no seccomp filters; containers would see every system call",
            "boot a kernel built with CONFIG_SECCOMP_FILTER",
        ),
    }
}

fn namespaces(host: &Host) -> Finding {
    const TOPIC: &str = "namespaces";
    let kinds = ["cgroup", "ipc", "mnt", "net", "pid", "uts"];
    let missing: Vec<_> = kinds.into_iter().filter(|k| !host.path(&format!("/proc/self/ns/{k}")).exists()).collect();
    let shut: Vec<_> = kinds
        .into_iter()
        .filter(|kind| host.read(&format!("/proc/sys/user/max_{kind}_namespaces")).as_deref() == Some("0"))
        .collect();
    if !missing.is_empty() {
        let mend = "boot a kernel built with them";
        return Finding::bad(TOPIC, format!("the kernel lacks {}", missing.join(", ")), mend);
    }
    if let Some(first) = shut.first() {
        let found = format!("none may be made of {}", shut.join(", "));
        return Finding::bad(TOPIC, found, format!("sysctl -w user.max_{first}_namespaces=15000"));
    }
    Finding::ok(TOPIC, kinds.join(", "))
}

fn rights(host: &Host) -> Vec<Finding> {
    const TOPIC: &str = "rights";
    let status = host.read("/proc/self/status").unwrap_or_default();
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim).unwrap_or_default();
    // Real, effective, saved, file system.
    let root = field("Uid:").split_whitespace().nth(1) == Some("0");
    let held = u64::from_str_radix(field("CapEff:"), 16).unwrap_or(0);
    let has = |capability: u32| held & (1 << capability) != 0;
    if !root {
        return vec![Finding::bad(
            TOPIC,
            "this user is not root, as the agent must be",
            "run the agent as root, and this command too: by sudo, or under systemd",
        )];
    }
    let missing: Vec<_> = NEEDED.iter().filter(|(n, _)| !has(*n)).map(|(_, name)| format!("CAP_{name}")).collect();
    if !missing.is_empty() {
        return vec![Finding::bad(
            TOPIC,
            format!("root here lacks {}", missing.join(", ")),
            "run outside of a container, or in one that keeps these capabilities",
        )];
    }
    if !has(SYS_RESOURCE) {
        return vec![Finding::warn(
            TOPIC,
            "root here lacks CAP_SYS_RESOURCE: definitions that raise ulimits are refused",
            "run outside of a container, or in one that keeps it",
        )];
    }
    vec![Finding::ok(TOPIC, "root, with all capabilities needed")]
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::super::testing::host;
    use super::*;

    #[test]
    fn kernels_are_compared_by_number() {
        assert_eq!(parse("6.1.0-28-cloud-amd64"), Some((6, 1)));
        assert_eq!(parse("6.18.5"), Some((6, 18)));
        assert_eq!(parse("7"), None);
        let level = |release| version(&host(&[("proc/sys/kernel/osrelease", release)]).1).level;
        assert_eq!(level("6.1.0\n"), Level::Ok);
        assert_eq!(level("5.15.0\n"), Level::Bad);
        assert_eq!(level("6.0.9\n"), Level::Bad);
        assert_eq!(level("nonsense\n"), Level::Bad);
    }

    #[test]
    fn rights_are_those_of_the_effective_user() {
        let of = |uid, caps| {
            let status = format!("Name:\tx\nUid:\t1000\t{uid}\t0\t0\nCapEff:\t{caps}\n");
            rights(&host(&[("proc/self/status", &status)]).1).remove(0)
        };
        assert_eq!(of("0", "000001ffffffffff").level, Level::Ok);
        assert_eq!(of("0", "000001fffeffffff").level, Level::Warn);
        let few = of("0", "00000000a80425fb");
        assert_eq!((few.level, few.found.as_str()), (Level::Bad, "root here lacks CAP_NET_ADMIN, CAP_SYS_ADMIN"));
        assert_eq!(of("1000", "000001ffffffffff").level, Level::Bad);
    }

    #[test]
    fn a_limit_of_no_namespaces_is_found() {
        let kinds = ["cgroup", "ipc", "mnt", "net", "pid", "uts"].map(|k| format!("proc/self/ns/{k}"));
        let mut files: Vec<_> = kinds.iter().map(|k| (k.as_str(), "")).collect();
        assert_eq!(namespaces(&host(&files).1).level, Level::Ok);
        files.push(("proc/sys/user/max_net_namespaces", "0\n"));
        assert_eq!(namespaces(&host(&files).1).mend.as_deref(), Some("sysctl -w user.max_net_namespaces=15000"));
        assert_eq!(namespaces(&host(&files[1..]).1).level, Level::Bad);
    }
}
