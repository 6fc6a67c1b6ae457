//! Limits as properties of a unit, so that systemd, which sets all that it knows of a unit again whenever it looks at
//! it, sets the same that the files of the group hold. Pure.
//!
//! Limits that systemd has no property for are set in the files alone, which `Delegate=` leaves to us.

use super::message::{Property, Value};
use super::name::Unit;
use crate::spec::{DeviceRule, Resources, cpu_weight, number_list};

/// Which interface of control groups the machine uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interface {
    /// Version 2.
    Unified,
    /// Version 1.
    Legacy,
}

const INFINITY: u64 = u64::MAX;
/// What the kernel has when nobody says a period.
const DEFAULT_PERIOD_US: u64 = 100_000;
/// systemd counts CPU time in percent.
const PERCENT_US: u64 = 10_000;

fn property(name: &str, value: Value) -> Property {
    (name.to_owned(), value)
}

/// What a container's unit is made with: `pid` is the process that it begins with.
pub(super) fn of_new(unit: &Unit, id: &str, pid: u32, interface: Interface) -> Vec<Property> {
    let io = if interface == Interface::Unified { "IOAccounting" } else { "BlockIOAccounting" };
    let mut found = vec![
        property("Description", Value::Text(format!("berth container {id}"))),
        // Nothing that systemd does at shutdown before it stops all units is of use to a container.
        property("DefaultDependencies", Value::Bool(false)),
    ];
    if unit.is_slice() {
        // A slice's own slice follows from its name.
        found.push(property("Wants", Value::Texts(vec![unit.slice.clone()])));
    } else {
        found.push(property("Slice", Value::Text(unit.slice.clone())));
        found.push(property("Delegate", Value::Bool(true)));
        found.push(property("PIDs", Value::U32s(vec![pid])));
    }
    for name in ["MemoryAccounting", "CPUAccounting", io, "TasksAccounting"] {
        found.push(property(name, Value::Bool(true)));
    }
    found
}

/// The limits that `r` gives. Those it does not give stay as they are.
pub(super) fn of_limits(r: &Resources, interface: Interface) -> Vec<Property> {
    let mut found = Vec::new();
    let unified = interface == Interface::Unified;
    let limit = |n: Option<i64>| n.filter(|n| *n != 0).map(|n| u64::try_from(n).unwrap_or(INFINITY));
    let mut number = |name: &str, n: Option<u64>| found.extend(n.map(|n| property(name, Value::U64(n))));
    number(if unified { "MemoryMax" } else { "MemoryLimit" }, limit(r.memory_bytes));
    let shares = r.cpu_shares.filter(|s| *s > 0 && r.cpu_idle != Some(1));
    match unified {
        true => number("CPUWeight", shares.map(cpu_weight)),
        false => number("CPUShares", shares),
    }
    if let Some(period) = r.cpu_period_us.filter(|p| *p > 0) {
        number("CPUQuotaPeriodUSec", Some(period));
    }
    if let Some(quota) = r.cpu_quota_us.filter(|q| *q != 0) {
        number("CPUQuotaPerSecUSec", Some(per_second(quota, r.cpu_period_us)));
    }
    number("TasksMax", limit(r.pids));
    let weight = r.block_io.weight.filter(|w| *w > 0).map(u64::from);
    if unified {
        number("MemoryLow", limit(r.memory_reservation_bytes));
        number("MemorySwapMax", swap(r));
        for (name, value) in &r.unified {
            number_by_file(name, value, &mut number);
        }
    } else {
        number("BlockIOWeight", weight);
    }
    if unified {
        for (name, list) in [("AllowedCPUs", &r.cpus), ("AllowedMemoryNodes", &r.mems)] {
            found.extend(list.as_deref().and_then(bits).map(|bits| property(name, Value::Bytes(bits))));
        }
    }
    found
}

/// On version 1 systemd writes the rules for devices again whenever it looks at the unit, and without these it would
/// allow all. On version 2 ours are a program that it does not touch.
pub(super) fn of_devices(rules: &[DeviceRule], interface: Interface) -> Vec<Property> {
    // One rule for all that allows cannot be said in systemd's way, nor need it be.
    let open = rules.iter().rev().find(|r| r.kind == 'a').is_some_and(|r| r.allow);
    if interface == Interface::Unified || open {
        return Vec::new();
    }
    let line = |rule: &DeviceRule| {
        let kind = if rule.kind == 'b' { "block" } else { "char" };
        let what = match (rule.major, rule.minor) {
            (Some(136), None) if rule.kind == 'c' => "char-pts".to_owned(),
            (Some(major), Some(minor)) => format!("/dev/{kind}/{major}:{minor}"),
            (None, None) => format!("{kind}-*"),
            // systemd knows majors by the names of their drivers only.
            _ => return None,
        };
        Some((what, rule.access.clone()))
    };
    let allowed = rules.iter().filter(|r| r.allow && r.kind != 'a').filter_map(line).collect();
    vec![property("DevicePolicy", Value::Text("strict".into())), property("DeviceAllow", Value::Pairs(allowed))]
}

/// CPU time in each second, in whole percents: upwards, or groups below could not get what the files say.
fn per_second(quota: i64, period: Option<u64>) -> u64 {
    let Ok(quota) = u64::try_from(quota) else { return INFINITY };
    let period = period.filter(|p| *p > 0).unwrap_or(DEFAULT_PERIOD_US);
    let exact = u128::from(quota) * 1_000_000 / u128::from(period);
    u64::try_from(exact).unwrap_or(INFINITY - PERCENT_US).next_multiple_of(PERCENT_US)
}

fn swap(r: &Resources) -> Option<u64> {
    match (r.memory_and_swap_bytes.filter(|n| *n != 0), r.memory_bytes.filter(|n| *n != 0)) {
        (Some(..0), _) | (None, Some(..0)) => Some(INFINITY),
        (Some(both), Some(memory @ 0..)) => u64::try_from(both.saturating_sub(memory)).ok(),
        (Some(both), Some(_)) => u64::try_from(both).ok(),
        // Left to the files, which know the limit of memory that there is.
        (Some(_), None) | (None, _) => None,
    }
}

/// Limits that a document gives by the names of files.
fn number_by_file(name: &str, value: &str, number: &mut impl FnMut(&str, Option<u64>)) {
    let plain = match value.trim() {
        "max" => Some(INFINITY),
        text => text.parse().ok(),
    };
    match name {
        "memory.max" => number("MemoryMax", plain),
        "memory.high" => number("MemoryHigh", plain),
        "memory.low" => number("MemoryLow", plain),
        "memory.min" => number("MemoryMin", plain),
        "memory.swap.max" => number("MemorySwapMax", plain),
        "pids.max" => number("TasksMax", plain),
        "cpu.weight" => number("CPUWeight", plain),
        "cpu.max" => {
            let (quota, period) = value.trim().split_once(' ').unwrap_or((value.trim(), ""));
            let period = period.parse().ok();
            number("CPUQuotaPeriodUSec", period);
            let quota = if quota == "max" { Some(-1) } else { quota.parse().ok() };
            number("CPUQuotaPerSecUSec", quota.map(|q| per_second(q, period)));
        }
        // Others have no property, and are not written again by anybody.
        _ => {}
    }
}

/// A list such as `0-2,8` as a set of bits, the lowest number first.
fn bits(list: &str) -> Option<Vec<u8>> {
    let words = number_list::parse(list).ok().filter(|words| !words.is_empty())?;
    let mut bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    bytes.truncate(bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1));
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::parse_resources;
    use serde_json::{Value as Json, json};

    fn limits(json: Json, interface: Interface) -> Vec<Property> {
        of_limits(&parse_resources(json.to_string().as_bytes()).unwrap(), interface)
    }

    fn numbers(found: &[Property]) -> Vec<(&str, u64)> {
        found
            .iter()
            .filter_map(|(name, value)| match value {
                Value::U64(n) => Some((name.as_str(), *n)),
                _ => None,
            })
            .collect()
    }

    #[test]
    fn limits_are_properties_of_either_version() {
        let given = json!({
            "cpu": {"shares": 512, "quota": 25_000, "period": 50_000},
            "memory": {"limit": 64, "swap": 96, "reservation": 32},
            "pids": {"limit": 7}, "blockIO": {"weight": 100}
        });
        let expected = [
            ("MemoryMax", 64),
            ("CPUWeight", 59),
            ("CPUQuotaPeriodUSec", 50_000),
            ("CPUQuotaPerSecUSec", 500_000),
            ("TasksMax", 7),
            ("MemoryLow", 32),
            ("MemorySwapMax", 32),
        ];
        assert_eq!(numbers(&limits(given.clone(), Interface::Unified)), expected);
        let expected = [
            ("MemoryLimit", 64),
            ("CPUShares", 512),
            ("CPUQuotaPeriodUSec", 50_000),
            ("CPUQuotaPerSecUSec", 500_000),
            ("TasksMax", 7),
            ("BlockIOWeight", 100),
        ];
        assert_eq!(numbers(&limits(given, Interface::Legacy)), expected);
    }

    #[test]
    fn no_limit_is_infinity_and_zero_is_nothing() {
        let none = json!({"cpu": {"quota": -1}, "memory": {"limit": -1}, "pids": {"limit": -1}});
        let expected = [
            ("MemoryMax", INFINITY),
            ("CPUQuotaPerSecUSec", INFINITY),
            ("TasksMax", INFINITY),
            ("MemorySwapMax", INFINITY),
        ];
        assert_eq!(numbers(&limits(none, Interface::Unified)), expected);
        let zero = json!({"cpu": {"quota": 0, "shares": 0}, "memory": {"limit": 0}, "pids": {}});
        assert_eq!(limits(zero, Interface::Unified), []);
    }

    #[test]
    fn cpu_time_is_rounded_up_to_percents() {
        assert_eq!(per_second(1000, None), 10_000);
        assert_eq!(per_second(33_333, Some(100_000)), 340_000);
        assert_eq!(per_second(200_000, Some(100_000)), 2_000_000);
        assert_eq!(per_second(-1, None), INFINITY);
        assert!(per_second(i64::MAX, Some(1)) > 1 << 60);
    }

    #[test]
    fn files_by_name_are_properties_where_there_is_one() {
        let given = json!({"unified": {"memory.high": "4096", "cpu.max": "10000 100000", "memory.oom.group": "1"}});
        let expected = [("CPUQuotaPeriodUSec", 100_000), ("CPUQuotaPerSecUSec", 100_000), ("MemoryHigh", 4096)];
        assert_eq!(numbers(&limits(given, Interface::Unified)), expected);
    }

    #[test]
    fn sets_of_cpus_are_bits() {
        assert_eq!(bits("0"), Some(vec![1]));
        assert_eq!(bits("0-2,8"), Some(vec![7, 1]));
        assert_eq!(bits("63"), Some(vec![0, 0, 0, 0, 0, 0, 0, 128]));
        assert_eq!(bits("x"), None);
        let found = limits(json!({"cpu": {"cpus": "1", "mems": "0"}}), Interface::Unified);
        let bytes = |name: &str, byte| (name.to_owned(), Value::Bytes(vec![byte]));
        assert_eq!(found, [bytes("AllowedCPUs", 2), bytes("AllowedMemoryNodes", 1)]);
    }

    #[test]
    fn a_scope_begins_with_a_process_and_a_slice_without() {
        let of = |path: &str| {
            let unit = Unit::new(Some(std::path::Path::new(path)), "c").unwrap();
            of_new(&unit, "c", 42, Interface::Unified)
        };
        let scope = of("a.slice:p:x");
        assert!(scope.contains(&("PIDs".to_owned(), Value::U32s(vec![42]))));
        assert!(scope.contains(&("Delegate".to_owned(), Value::Bool(true))));
        assert!(!of("a.slice:p:a-x.slice").iter().any(|(name, _)| name == "PIDs"));
    }

    #[test]
    fn version_1_is_told_the_devices() {
        let rule = |allow, kind, major, minor| DeviceRule { allow, kind, major, minor, access: "rw".into() };
        let rules = [rule(false, 'a', None, None), rule(true, 'c', Some(1), Some(3)), rule(true, 'c', Some(136), None)];
        let found = of_devices(&rules, Interface::Legacy);
        let allowed = [("/dev/char/1:3", "rw"), ("char-pts", "rw")].map(|(what, how)| (what.into(), how.into()));
        assert_eq!(found[1], ("DeviceAllow".to_owned(), Value::Pairs(allowed.to_vec())));
        assert_eq!(of_devices(&rules, Interface::Unified), []);
        assert_eq!(of_devices(&[rule(true, 'a', None, None)], Interface::Legacy), []);
    }
}
