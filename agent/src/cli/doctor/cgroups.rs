//! Control groups: which version, and which controllers.

use super::{Finding, Host};
use std::collections::BTreeSet;

const TOPIC: &str = "cgroups";

pub(super) fn check(host: &Host) -> Vec<Finding> {
    let mounts = host.read("/proc/self/mountinfo").unwrap_or_default();
    let unified = mounts.lines().any(|line| at(line) == Some("/sys/fs/cgroup") && kind(line) == Some("cgroup2"));
    vec![if unified { v2(host) } else { v1(&mounts) }]
}

/// Mount point of a line of mountinfo.
fn at(line: &str) -> Option<&str> {
    line.split(' ').nth(4)
}

/// File-system type of a line of mountinfo: the first word after the dash.
fn kind(line: &str) -> Option<&str> {
    line.split_once(" - ")?.1.split(' ').next()
}

fn v2(host: &Host) -> Finding {
    let text = host.read("/sys/fs/cgroup/cgroup.controllers").unwrap_or_default();
    let have: BTreeSet<_> = text.split_whitespace().collect();
    let missing: Vec<_> = ["cpu", "memory", "pids"].into_iter().filter(|c| !have.contains(c)).collect();
    match missing.is_empty() {
        true => Finding::ok(TOPIC, format!("v2: {}", have.into_iter().collect::<Vec<_>>().join(", "))),
        false => lacks("v2", &missing),
    }
}

fn v1(mounts: &str) -> Finding {
    let have: BTreeSet<_> = mounts
        .lines()
        .filter(|line| kind(line) == Some("cgroup"))
        .filter_map(|line| line.split_once(" - ")?.1.split(' ').nth(2))
        .flat_map(|options| options.split(','))
        .collect();
    let needed = ["cpu", "cpuacct", "memory", "pids", "devices", "freezer"];
    let missing: Vec<_> = needed.into_iter().filter(|c| !have.contains(c)).collect();
    match missing.len() {
        0 => Finding::ok(TOPIC, format!("v1: {}", needed.join(", "))),
        n if n == needed.len() => Finding::bad(
            TOPIC,
            "no control groups are mounted; nothing could be limited",
            "mount -t cgroup2 cgroup2 /sys/fs/cgroup",
        ),
        _ => lacks("v1", &missing),
    }
}

fn lacks(version: &str, missing: &[&str]) -> Finding {
    let mend = match missing.contains(&"memory") {
        true => {
            "boot without `cgroup_disable=memory` (on some boards with `cgroup_enable=memory`) on the kernel's command line"
        }
        false => "boot a kernel built with them, or mount them where they are not mounted",
    };
    Finding::bad(TOPIC, format!("{version} without {}: such limits cannot be kept", missing.join(", ")), mend)
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::super::testing::host;
    use super::*;

    const V2: &str = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n";

    #[test]
    fn v2_is_told_by_the_mount_at_its_usual_place() {
        let of = |controllers| {
            check(&host(&[("proc/self/mountinfo", V2), ("sys/fs/cgroup/cgroup.controllers", controllers)]).1).remove(0)
        };
        assert_eq!(of("cpuset cpu io memory pids\n"), Finding::ok("cgroups", "v2: cpu, cpuset, io, memory, pids"));
        let without = of("cpuset cpu io pids\n");
        assert_eq!((without.level, without.found.contains("memory")), (Level::Bad, true));
    }

    #[test]
    fn v1_controllers_may_share_a_mount_and_a_hybrid_one_is_no_v2() {
        let v1 = "\
            31 30 0:27 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct\n\
            32 30 0:28 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
            33 30 0:29 / /sys/fs/cgroup/rest rw - cgroup cgroup rw,pids,devices,freezer\n\
            34 30 0:30 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
        let of = |text: &str| check(&host(&[("proc/self/mountinfo", text)]).1).remove(0);
        assert_eq!(of(v1).level, Level::Ok);
        assert_eq!(of(&v1.replace("rw,memory", "rw")).level, Level::Bad);
        assert!(of("").mend.unwrap().starts_with("mount -t cgroup2"));
    }
}
