//! `update`: limits from runc's flags or from a document.

use super::args::{Args, UsageError};
use super::oci::{CliError, Program};
use crate::container::update;
use crate::errno::OpContext;
use crate::spec::{Resources, parse_resources};
use std::io::Read;
use std::path::Path;
use std::str::FromStr;

/// `update ID`.
pub(super) fn update(program: &Program, args: &Args) -> Result<(), CliError> {
    for refused in ["l3-cache-schema", "mem-bw-schema"] {
        if args.value(refused).is_some() {
            return Err(UsageError(format!("--{refused}: Intel RDT is not supported by this runtime")).into());
        }
    }
    for ignored in ["kernel-memory", "kernel-memory-tcp"] {
        if args.value(ignored).is_some() {
            program.log.warn(&format!("--{ignored} is ignored: kernels have no such limit any more"));
        }
    }
    let resources = match args.text("resources")? {
        Some(path) => read(path)?,
        None => from_flags(args)?,
    };
    Ok(update::update(&program.table, args.id()?, &resources)?)
}

/// A document of resources, from a file or (`-`) from standard input.
fn read(path: &str) -> Result<Resources, CliError> {
    let mut json = Vec::new();
    if path == "-" {
        std::io::stdin().read_to_end(&mut json).op("read", "standard input")?;
    } else {
        json = std::fs::read(path).op("read", Path::new(path))?;
    }
    Ok(parse_resources(&json).map_err(|e| UsageError(format!("--resources {path}: {e}")))?)
}

fn from_flags(args: &Args) -> Result<Resources, UsageError> {
    let mut r = Resources {
        cpu_shares: number(args, "cpu-share")?,
        cpu_quota_us: number(args, "cpu-quota")?,
        cpu_period_us: number(args, "cpu-period")?,
        cpu_burst_us: number(args, "cpu-burst")?,
        cpu_idle: number(args, "cpu-idle")?,
        realtime_runtime_us: number(args, "cpu-rt-runtime")?,
        realtime_period_us: number(args, "cpu-rt-period")?,
        cpus: args.text("cpuset-cpus")?.filter(|c| !c.is_empty()).map(str::to_owned),
        mems: args.text("cpuset-mems")?.filter(|c| !c.is_empty()).map(str::to_owned),
        memory_bytes: bytes(args, "memory")?,
        memory_reservation_bytes: bytes(args, "memory-reservation")?,
        memory_and_swap_bytes: bytes(args, "memory-swap")?,
        pids: number(args, "pids-limit")?.map(|n: i64| if n == 0 { 1 } else { n }),
        ..Resources::default()
    };
    r.block_io.weight = number(args, "blkio-weight")?;
    match r.cpu_idle {
        None | Some(0 | 1) => Ok(r),
        Some(other) => Err(UsageError(format!("--cpu-idle: got {other}, it is 0 or 1"))),
    }
}

fn number<T: FromStr>(args: &Args, name: &str) -> Result<Option<T>, UsageError> {
    let Some(text) = args.text(name)?.filter(|text| !text.is_empty()) else { return Ok(None) };
    text.parse().map(Some).map_err(|_| UsageError(format!("--{name}: `{text}` is not a number it takes")))
}

fn bytes(args: &Args, name: &str) -> Result<Option<i64>, UsageError> {
    let Some(text) = args.text(name)?.filter(|text| !text.is_empty()) else { return Ok(None) };
    size(text).map(Some).ok_or_else(|| UsageError(format!("--{name}: `{text}` is not a size in bytes")))
}

/// Bytes as Docker's tools take them: `-1`, a number, or one with a unit of powers of 1024 (`512m`, `1.5GiB`).
fn size(text: &str) -> Option<i64> {
    if text == "-1" {
        return Some(-1);
    }
    let lower = text.trim().to_ascii_lowercase();
    let end = lower.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(lower.len());
    let (digits, unit) = lower.split_at(end);
    let unit = unit.trim_start();
    let power = match unit.strip_suffix("ib").or_else(|| unit.strip_suffix('b')).unwrap_or(unit) {
        "" if unit != "ib" => 0,
        "k" => 1,
        "m" => 2,
        "g" => 3,
        "t" => 4,
        "p" => 5,
        _ => return None,
    };
    let unit = 1i64 << (10 * power);
    match digits.parse::<i64>() {
        Ok(n) => n.checked_mul(unit),
        Err(_) => digits.parse::<f64>().ok().map(|n| (n * unit as f64) as i64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::verbs::UPDATE;
    use std::ffi::OsString;

    fn flags(args: &[&str]) -> Result<Resources, UsageError> {
        from_flags(&UPDATE.parse(args.iter().map(OsString::from)).unwrap())
    }

    #[test]
    fn sizes_have_units() {
        for (text, bytes) in [
            ("-1", Some(-1)),
            ("0", Some(0)),
            ("4096", Some(4096)),
            ("1k", Some(1024)),
            ("512MB", Some(512 << 20)),
            ("1.5GiB", Some(3 << 29)),
            ("2 m", Some(2 << 20)),
            ("7b", Some(7)),
            ("", None),
            ("m", None),
            ("-2", None),
            ("1x", None),
            ("1ib", None),
            ("9999999999999p", None),
        ] {
            assert_eq!(size(text), bytes, "{text:?}");
        }
    }

    #[test]
    fn every_flag_is_a_limit() {
        let r = flags(&[
            "c",
            "--blkio-weight",
            "100",
            "--cpu-period",
            "50000",
            "--cpu-quota=-1",
            "--cpu-burst",
            "10",
            "--cpu-share",
            "2",
            "--cpu-rt-period",
            "3",
            "--cpu-rt-runtime",
            "4",
            "--cpuset-cpus",
            "0-1",
            "--cpuset-mems",
            "0",
            "--memory",
            "64m",
            "--memory-reservation",
            "1k",
            "--memory-swap",
            "-1",
            "--pids-limit",
            "-1",
            "--cpu-idle",
            "1",
        ])
        .unwrap();
        let mut expected = Resources {
            cpu_shares: Some(2),
            cpu_quota_us: Some(-1),
            cpu_period_us: Some(50_000),
            cpu_burst_us: Some(10),
            cpu_idle: Some(1),
            realtime_runtime_us: Some(4),
            realtime_period_us: Some(3),
            cpus: Some("0-1".into()),
            mems: Some("0".into()),
            memory_bytes: Some(64 << 20),
            memory_reservation_bytes: Some(1024),
            memory_and_swap_bytes: Some(-1),
            pids: Some(-1),
            ..Resources::default()
        };
        expected.block_io.weight = Some(100);
        assert_eq!(r, expected);
        assert_eq!(flags(&["c", "--memory", ""]).unwrap(), Resources::default());
    }

    #[test]
    fn what_is_no_limit_is_refused_by_its_flag() {
        for (flag, value) in
            [("--cpu-share", "-1"), ("--memory", "x"), ("--blkio-weight", "65536"), ("--cpu-idle", "2")]
        {
            let error = flags(&["c", flag, value]).unwrap_err();
            assert!(error.0.starts_with(flag), "{error}");
        }
    }
}
