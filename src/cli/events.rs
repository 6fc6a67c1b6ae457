//! `events`: lines of JSON in runc's form.

use super::args::{Args, UsageError};
use super::oci::CliError;
use crate::cgroup::account::{Account, Counted, Pressure, RdmaAccount, Transfer, Waits};
use crate::container::events::{self, Event};
use crate::container::state::Table;
use crate::errno::OpContext;
use crate::spec::number_list;
use serde_json::{Map, Value, json};
use std::io::Write;
use std::time::Duration;

/// `events ID`.
pub(super) fn events(table: &Table, args: &Args) -> Result<(), CliError> {
    let id = args.id()?;
    let interval = match args.text("interval")? {
        None => Duration::from_secs(5),
        Some(text) => match duration(text) {
            Some(interval) if !interval.is_zero() => interval,
            Some(_) => return Err(UsageError("--interval: duration interval must be greater than 0".into()).into()),
            None => {
                return Err(UsageError(format!("--interval: `{text}` is not a duration such as 500ms or 5s")).into());
            }
        },
    };
    let say = |event: Event| {
        let mut line = match event {
            Event::Stats(account) => json!({"type": "stats", "id": id, "data": stats(&account)}),
            Event::Oom => json!({"type": "oom", "id": id}),
        }
        .to_string();
        line.push('\n');
        let mut out = std::io::stdout().lock();
        out.write_all(line.as_bytes()).and_then(|()| out.flush()).op("write to", "standard output")
    };
    if args.flag("stats") {
        return Ok(say(Event::Stats(Box::new(events::stats(table, id)?)))?);
    }
    Ok(events::watch(table, id, interval, &mut { say })?)
}

/// A duration as Go writes it: `5s`, `1m30s`, `1.5h`, `300ms`.
fn duration(text: &str) -> Option<Duration> {
    let (mut rest, mut sum) = (text, Duration::ZERO);
    while !rest.is_empty() {
        let number = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let unit = rest[number..].find(|c: char| c.is_ascii_digit() || c == '.').map_or(rest.len(), |n| number + n);
        let seconds = match &rest[number..unit] {
            "ns" => 1e-9,
            "us" | "µs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        let part = rest[..number].parse::<f64>().ok()? * seconds;
        sum = sum.checked_add(Duration::try_from_secs_f64(part).ok()?)?;
        rest = &rest[unit..];
    }
    (!text.is_empty()).then_some(sum)
}

/// An object without the members that are zero, as runc leaves them out.
fn without_zeros(members: &[(&str, u64)]) -> Value {
    members
        .iter()
        .filter(|(_, n)| *n != 0)
        .map(|(name, n)| ((*name).to_owned(), json!(n)))
        .collect::<Map<_, _>>()
        .into()
}

fn stats(a: &Account) -> Value {
    let s = &a.stats;
    let mut usage = json!({"kernel": s.cpu_system_ns, "user": s.cpu_user_ns});
    if s.cpu_ns != 0 {
        usage["total"] = json!(s.cpu_ns);
    }
    for (name, times) in ["percpu", "percpu_kernel", "percpu_user"].iter().zip(&a.per_cpu_ns) {
        if !times.is_empty() {
            usage[name] = json!(times);
        }
    }
    let throttling = without_zeros(&[
        ("periods", s.periods),
        ("throttledPeriods", s.throttled_periods),
        ("throttledTime", s.throttled_ns),
    ]);
    let mut data = json!({
        "cpu": {"usage": usage, "throttling": throttling},
        "cpuset": {},
        "memory": memory(a),
        "pids": without_zeros(&[("current", s.pids), ("limit", a.pids_limit.unwrap_or(0))]),
        "blkio": {},
        "hugetlb": a.hugepages.iter().map(|(size, c)| (size.clone(), hugepages(c))).collect::<Map<_, _>>(),
        "intel_rdt": {},
        "network_interfaces": null,
    });
    if let Some((cpus, mems)) = &a.cpuset {
        data["cpuset"] = json!({"cpus": list(cpus), "mems": list(mems)});
    }
    for (name, transfers) in [("ioServiceBytesRecursive", &a.io_bytes), ("ioServicedRecursive", &a.io_operations)] {
        if !transfers.is_empty() {
            data["blkio"][name] = transfers.iter().map(transfer).collect();
        }
    }
    if a.rdma.iter().any(|list| !list.is_empty()) {
        data["rdma"] = json!({
            "rdma_current": a.rdma[0].iter().map(rdma).collect::<Vec<_>>(),
            "rdma_limit": a.rdma[1].iter().map(rdma).collect::<Vec<_>>(),
        });
    }
    for (name, p) in ["cpu", "memory", "blkio"].iter().zip(&a.pressure) {
        if let Some(p) = p {
            data[name]["psi"] = pressure(p);
        }
    }
    data
}

fn memory(a: &Account) -> Value {
    let mut memory = json!({
        "usage": counted(&a.memory),
        "swap": counted(&a.memory_and_swap),
        "kernel": counted(&a.kernel_memory),
        "kernelTCP": counted(&a.kernel_tcp),
        "raw": a.memory_stat,
    });
    if a.cache_bytes != 0 {
        memory["cache"] = json!(a.cache_bytes);
    }
    memory
}

/// runc's number for no limit is the kernel's on v1; on v2 the largest there is.
fn counted(c: &Counted) -> Value {
    let mut value = without_zeros(&[("usage", c.usage), ("max", c.peak)]);
    value["limit"] = json!(c.limit.unwrap_or(u64::MAX));
    value["failcnt"] = json!(c.failures);
    value
}

fn hugepages(c: &Counted) -> Value {
    let mut value = without_zeros(&[("usage", c.usage), ("max", c.peak)]);
    value["failcnt"] = json!(c.failures);
    value
}

fn transfer(t: &Transfer) -> Value {
    let mut value = without_zeros(&[("major", t.device.0.into()), ("minor", t.device.1.into()), ("value", t.amount)]);
    value["op"] = json!(t.what);
    value
}

fn rdma(r: &RdmaAccount) -> Value {
    let all = |n: Option<u32>| n.unwrap_or(u32::MAX);
    json!({"device": r.device, "hca_handles": all(r.handles), "hca_objects": all(r.objects)})
}

fn pressure(p: &Pressure) -> Value {
    let waits = |w: &Waits| {
        let [avg10, avg60, avg300] = w.averages;
        json!({"avg10": avg10, "avg60": avg60, "avg300": avg300, "total": w.total_us})
    };
    json!({"some": waits(&p.some), "full": waits(&p.full)})
}

/// The numbers of a list of the kernel's: `0-2,5`.
fn list(text: &str) -> Vec<usize> {
    number_list::parse(text).map(|bits| number_list::numbers(&bits).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_gos() {
        for (text, ms) in [
            ("5s", Some(5000)),
            ("1m30s", Some(90_000)),
            ("1.5h", Some(5_400_000)),
            ("300ms", Some(300)),
            ("0s", Some(0)),
            ("", None),
            ("5", None),
            ("s", None),
            ("5x", None),
            ("-5s", None),
        ] {
            assert_eq!(duration(text), ms.map(Duration::from_millis), "{text:?}");
        }
    }

    #[test]
    fn an_account_has_the_form_of_runcs() {
        let mut account = Account { cpuset: Some(("0-1,3".into(), "0".into())), ..Account::default() };
        account.stats.cpu_ns = 7;
        account.memory = Counted { usage: 4096, peak: 8192, limit: Some(16_384), failures: 1 };
        account.io_bytes = vec![Transfer { device: (8, 0), what: "Read".into(), amount: 9 }];
        account.pressure[0] = Some(Pressure::default());
        let value = stats(&account);
        assert_eq!(value["cpu"]["usage"], json!({"total": 7, "kernel": 0, "user": 0}));
        assert_eq!(value["cpuset"], json!({"cpus": [0, 1, 3], "mems": [0]}));
        assert_eq!(value["memory"]["usage"], json!({"limit": 16_384, "usage": 4096, "max": 8192, "failcnt": 1}));
        assert_eq!(value["memory"]["swap"], json!({"limit": u64::MAX, "failcnt": 0}));
        assert_eq!(value["blkio"], json!({"ioServiceBytesRecursive": [{"major": 8, "value": 9, "op": "Read"}]}));
        assert_eq!(value["pids"], json!({}));
        assert_eq!(value["cpu"]["psi"]["some"]["total"], json!(0));
        assert_eq!(value.get("rdma"), None);
    }
}
