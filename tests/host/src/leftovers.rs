//! What is on a host that was not there when it started.

use crate::helper::read;
use crate::stale::Place;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

/// A thing that was left behind.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Leftover {
    /// A process: its pid inside the host and its command line.
    Process(String),
    /// A mount point and what is mounted there. Pinned namespaces are among them (`nsfs`).
    Mount(String),
    /// A network device.
    Link(String),
    /// A line of `nft list ruleset`.
    Rule(String),
    /// A port that is listened on or bound: protocol and local address as the kernel writes them.
    Port(String),
    /// A control group, below the host's root group.
    Cgroup(String),
}

pub(crate) type Baseline = BTreeSet<Leftover>;

/// The host's own two processes, which are never left over.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Helpers {
    /// Pid 1 of the host, as this process sees it.
    pub(crate) init: u32,
    /// The one that reads the pipe, as the host sees it.
    pub(crate) reader: u32,
}

/// Everything there is on the host.
pub(crate) fn baseline(helpers: Helpers, place: &Place) -> Baseline {
    let pid = helpers.init;
    let proc = format!("/proc/{pid}");
    let mut all = Baseline::new();
    all.extend(processes(&Path::new(&proc).join("root/proc"), helpers.reader).map(Leftover::Process));
    all.extend(mounts(&read(format!("{proc}/mountinfo"))).map(Leftover::Mount));
    let links = fs::read_dir(format!("{proc}/root/sys/class/net")).into_iter().flatten().flatten();
    all.extend(links.map(|e| Leftover::Link(e.file_name().to_string_lossy().into_owned())));
    all.extend(rules(pid).lines().map(|line| Leftover::Rule(line.trim().to_owned())));
    for (protocol, states) in [("tcp", ["0A"].as_slice()), ("tcp6", &["0A"]), ("udp", &["07"]), ("udp6", &["07"])] {
        let table = read(format!("{proc}/net/{protocol}"));
        all.extend(ports(&table, states).map(|port| Leftover::Port(format!("{protocol} {port}"))));
    }
    for root in place.cgroups() {
        cgroups(root, root, &mut all);
    }
    all
}

/// What is there now and was not in `baseline`.
pub(crate) fn beyond(baseline: &Baseline, helpers: Helpers, place: &Place) -> Vec<Leftover> {
    self::baseline(helpers, place).difference(baseline).cloned().collect()
}

fn processes(proc: &Path, reader: u32) -> impl Iterator<Item = String> {
    let entries = fs::read_dir(proc).into_iter().flatten().flatten();
    entries.filter_map(move |entry| {
        let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
        if pid == 1 || pid == reader {
            return None;
        }
        let status = read(entry.path().join("status"));
        let field = |name: &str| status.lines().find_map(|l| l.strip_prefix(name)).map(str::trim).unwrap_or("?");
        let line = read(entry.path().join("cmdline")).replace('\0', " ");
        let name = if line.is_empty() { field("Name:").to_owned() } else { line };
        // Other states come and go; this one stays until somebody asks for the exit code.
        let zombie = if field("State:").starts_with('Z') { " (zombie)" } else { "" };
        // A process that ended between the listing and now has no status.
        (!status.is_empty()).then(|| format!("{pid} {}{zombie}", name.trim()))
    })
}

fn mounts(mountinfo: &str) -> impl Iterator<Item = String> {
    mountinfo.lines().filter_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        let mut fields = before.split(' ');
        let id = fields.next()?;
        let at = fields.nth(3)?;
        Some(format!("{at} {} (mount {id})", after.split(' ').next()?))
    })
}

fn rules(pid: u32) -> String {
    // Without nftables on the machine nothing can have made rules through it, and no berth needs the program.
    let target = pid.to_string();
    let listed = Command::new("nsenter").args(["--target", &target, "--net", "nft", "list", "ruleset"]).output();
    listed.map(|o| String::from_utf8_lossy(&o.stdout).into_owned()).unwrap_or_default()
}

/// The local addresses of a table like `/proc/net/tcp` whose state is one of `states`.
fn ports<'a>(table: &'a str, states: &'a [&str]) -> impl Iterator<Item = String> + 'a {
    table.lines().skip(1).filter_map(move |line| {
        let mut fields = line.split_whitespace();
        let local = fields.nth(1)?;
        let state = fields.nth(1)?;
        states.contains(&state).then(|| local.to_owned())
    })
}

fn cgroups(root: &Path, dir: &Path, all: &mut Baseline) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|t| t.is_dir()) {
            let path = entry.path();
            let hierarchy = root.parent().and_then(Path::file_name).unwrap_or_default().to_string_lossy().into_owned();
            let name = path.strip_prefix(root).unwrap_or(&path).display().to_string();
            all.insert(Leftover::Cgroup(format!("{hierarchy}: {name}")));
            cgroups(root, &path, all);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listening_and_bound_ports_are_found_and_connections_are_not() {
        let table = "  sl  local_address rem_address   st\n   0: 0100007F:1F90 00000000:0000 0A 0\n   1: 0100007F:1F90 0100007F:9999 01 0\n";
        assert_eq!(ports(table, &["0A"]).collect::<Vec<_>>(), ["0100007F:1F90"]);
    }

    #[test]
    fn a_mount_is_named_by_place_type_and_id() {
        let line = "36 31 0:34 / /run/x rw,relatime shared:4 - tmpfs tmpfs rw";
        assert_eq!(mounts(line).collect::<Vec<_>>(), ["/run/x tmpfs (mount 36)"]);
    }
}
