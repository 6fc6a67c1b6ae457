//! Host ports that a task in host mode is to bind itself: kept out of the range from which the kernel serves
//! clients and programs that ask for any port (`net.ipv4.ip_local_reserved_ports`).
//!
//! The parameter is the machine's, and others may have written to it: [`add`] says which ports were not there yet,
//! and those only are given to [`remove`] later.

use crate::errno::{OpContext, OpError};
use nix::fcntl::{Flock, FlockArg};
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::path::Path;

const PARAMETER: &str = "/proc/sys/net/ipv4/ip_local_reserved_ports";
/// Bytes that hold any list: every other port of 65 536, six characters each.
const LONGEST: usize = 256 * 1024;

/// Reserves `ports` and gives those of them that nobody had reserved before.
pub fn add(ports: &[u16]) -> Result<Vec<u16>, OpError> {
    change(|set| ports.iter().copied().filter(|p| set.insert(*p)).collect())
}

/// Takes back the reservation of `ports`, and gives those that were reserved.
pub fn remove(ports: &[u16]) -> Result<Vec<u16>, OpError> {
    change(|set| ports.iter().copied().filter(|p| set.remove(p)).collect())
}

fn change(make: impl FnOnce(&mut BTreeSet<u16>) -> Vec<u16>) -> Result<Vec<u16>, OpError> {
    let path = Path::new(PARAMETER);
    let file = File::options().read(true).write(true).open(path).op("open", path)?;
    // Two of us must not read the same list and write different ones.
    let mut file = Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, e)| OpError::new("lock", PARAMETER, e))?;
    // In one read: the kernel gives the rest of a list that a buffer cut short to nobody, and we would write back the
    // first half of it as the whole.
    let mut text = vec![0; LONGEST];
    let n = file.read(&mut text).op("read", path)?;
    let mut set = std::str::from_utf8(&text[..n])
        .ok()
        .and_then(parse)
        .ok_or_else(|| OpError::new("read", PARAMETER, io::Error::from(io::ErrorKind::InvalidData)))?;
    let changed = make(&mut set);
    if !changed.is_empty() {
        file.rewind().op("rewind", path)?;
        file.write_all(render(&set).as_bytes()).op("write", path)?;
    }
    Ok(changed)
}

/// `8080,9000-9002` as a set.
fn parse(text: &str) -> Option<BTreeSet<u16>> {
    let mut set = BTreeSet::new();
    for part in text.trim().split(',').filter(|p| !p.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        set.extend(first.trim().parse::<u16>().ok()?..=last.trim().parse().ok()?);
    }
    Some(set)
}

fn render(set: &BTreeSet<u16>) -> String {
    let mut ranges: Vec<(u16, u16)> = Vec::new();
    for port in set {
        match ranges.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(*port) => *last = *port,
            _ => ranges.push((*port, *port)),
        }
    }
    let texts = ranges.iter().map(|(a, b)| if a == b { a.to_string() } else { format!("{a}-{b}") });
    // The kernel takes an empty list only as a line of its own.
    texts.collect::<Vec<_>>().join(",") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_ranges_is_read_and_written_as_the_kernel_does() {
        let set = parse("80,8080-8082,65535\n").unwrap();
        assert_eq!(set.iter().copied().collect::<Vec<_>>(), [80, 8080, 8081, 8082, 65535]);
        assert_eq!(render(&set), "80,8080-8082,65535\n");
        assert_eq!(render(&parse("\n").unwrap()), "\n");
    }

    #[test]
    fn what_is_no_list_is_refused() {
        assert_eq!(parse("80,many"), None);
        assert_eq!(parse("70000"), None);
    }
}
