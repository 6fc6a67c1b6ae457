//! Identities that are one number inside and another outside: of user namespaces and of mounts.

use super::{SpecError, refuse};
use crate::codec::{Codec, DecodeError, Reader};
use oci_spec::runtime::LinuxIdMapping;

/// The most lines that the kernel takes in one map (Linux 4.15).
const MAX_LINES: usize = 340;

/// The most bytes of a map: it is written at once, and the kernel takes less than a page.
const MAX_BYTES: usize = 4095;

/// Numbers in a row that are mapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdRange {
    /// The first one inside; of a mount: as the file system has it.
    pub inside: u32,
    /// The first one outside; of a mount: as it is seen.
    pub outside: u32,
    /// How many.
    pub count: u32,
}

impl IdRange {
    /// The range's last number plus one does not fit where numbers are kept.
    fn wraps(self) -> bool {
        self.inside.checked_add(self.count).is_none() || self.outside.checked_add(self.count).is_none()
    }

    fn overlaps(self, other: Self) -> bool {
        let meet = |a: u32, b: u32| {
            u64::from(a) < u64::from(b) + u64::from(other.count) && u64::from(b) < u64::from(a) + u64::from(self.count)
        };
        meet(self.inside, other.inside) || meet(self.outside, other.outside)
    }
}

/// Users and groups, mapped.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IdMaps {
    /// Users.
    pub users: Vec<IdRange>,
    /// Groups.
    pub groups: Vec<IdRange>,
}

impl IdMaps {
    /// The first `count` users and groups inside, from number `outside` on.
    pub fn from_zero(outside: u32, count: u32) -> Self {
        let all = vec![IdRange { inside: 0, outside, count }];
        Self { users: all.clone(), groups: all }
    }

    /// Whether nothing is mapped.
    pub fn is_empty(&self) -> bool {
        self.users.is_empty() && self.groups.is_empty()
    }
}

/// What number `inside` is outside.
pub fn outside(map: &[IdRange], inside: u32) -> Option<u32> {
    let of = |range: &IdRange| {
        let offset = inside.checked_sub(range.inside).filter(|offset| *offset < range.count)?;
        range.outside.checked_add(offset)
    };
    map.iter().find_map(of)
}

/// A map as the kernel reads it.
pub fn lines(map: &[IdRange]) -> String {
    map.iter().map(|r| format!("{} {} {}\n", r.inside, r.outside, r.count)).collect()
}

/// A map as the kernel shows it. Lines that are none are left out.
pub fn parse_lines(text: &str) -> Vec<IdRange> {
    let line = |line: &str| {
        let mut numbers = line.split_ascii_whitespace().map(|n| n.parse().ok());
        Some(IdRange { inside: numbers.next()??, outside: numbers.next()??, count: numbers.next()?? })
    };
    text.lines().filter_map(line).collect()
}

/// Checks the maps of the fields `PREFIXuidMappings` and `PREFIXgidMappings`, which are there both or not at all.
pub(super) fn check(
    prefix: &str,
    users: &Option<Vec<LinuxIdMapping>>,
    groups: &Option<Vec<LinuxIdMapping>>,
) -> Result<IdMaps, SpecError> {
    let (users_field, groups_field) = (format!("{prefix}uidMappings"), format!("{prefix}gidMappings"));
    let maps = IdMaps { users: ranges(&users_field, users)?, groups: ranges(&groups_field, groups)? };
    match (maps.users.is_empty(), maps.groups.is_empty()) {
        (true, false) => refuse(users_field, "is empty, and gidMappings is not"),
        (false, true) => refuse(groups_field, "is empty, and uidMappings is not"),
        _ => Ok(maps),
    }
}

fn ranges(field: &str, given: &Option<Vec<LinuxIdMapping>>) -> Result<Vec<IdRange>, SpecError> {
    let range = |m: &LinuxIdMapping| IdRange { inside: m.container_id(), outside: m.host_id(), count: m.size() };
    let ranges: Vec<IdRange> = given.iter().flatten().map(range).collect();
    check_ranges(field, &ranges)?;
    Ok(ranges)
}

/// What the kernel would refuse without saying why.
fn check_ranges(field: &str, ranges: &[IdRange]) -> Result<(), SpecError> {
    if ranges.len() > MAX_LINES {
        return refuse(field, format!("got {} ranges, limit {MAX_LINES}", ranges.len()));
    }
    for (i, range) in ranges.iter().enumerate() {
        if range.count == 0 {
            return refuse(format!("{field}[{i}]"), "size is 0");
        }
        if range.wraps() {
            let IdRange { inside, outside, count } = range;
            return refuse(
                format!("{field}[{i}]"),
                format!(
                    "{count} numbers from {inside} (containerID) or {outside} (hostID) on go past {}",
                    u32::MAX - 1
                ),
            );
        }
        if let Some(other) = ranges[..i].iter().position(|other| other.overlaps(*range)) {
            return refuse(format!("{field}[{i}]"), format!("overlaps {field}[{other}]"));
        }
    }
    match lines(ranges).len() {
        0..=MAX_BYTES => Ok(()),
        long => refuse(field, format!("takes {long} bytes as text, the kernel takes {MAX_BYTES}")),
    }
}

impl Codec for IdRange {
    fn encode(&self, out: &mut Vec<u8>) {
        self.inside.encode(out);
        self.outside.encode(out);
        self.count.encode(out);
    }
    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { inside: u32::decode(input)?, outside: u32::decode(input)?, count: u32::decode(input)? })
    }
}

impl Codec for IdMaps {
    fn encode(&self, out: &mut Vec<u8>) {
        self.users.encode(out);
        self.groups.encode(out);
    }
    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { users: Vec::decode(input)?, groups: Vec::decode(input)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn range(inside: u32, outside: u32, count: u32) -> IdRange {
        IdRange { inside, outside, count }
    }

    #[test]
    fn what_the_kernel_would_refuse_is_refused_by_name() {
        let problem = |ranges: &[IdRange]| check_ranges("f", ranges).unwrap_err();
        assert_eq!(problem(&[range(0, 1, 1), range(5, 5, 0)]).field, "f[1]");
        assert_eq!(problem(&[range(1, 0, u32::MAX)]).field, "f[0]");
        assert_eq!(problem(&[range(0, 1, u32::MAX)]).field, "f[0]");
        assert!(check_ranges("f", &[range(0, 0, u32::MAX)]).is_ok());
        assert_eq!(problem(&[range(0, 10, 5), range(4, 20, 1)]).problem, "overlaps f[0]");
        assert_eq!(problem(&[range(0, 10, 5), range(7, 14, 1)]).problem, "overlaps f[0]");
        assert!(check_ranges("f", &[range(0, 10, 5), range(5, 15, 1)]).is_ok());
        let many = |n: u32| (0..n).map(|i| range(i, 9000 + i, 1)).collect::<Vec<_>>();
        assert!(check_ranges("f", &many(340)).is_ok());
        assert!(problem(&many(341)).problem.contains("341"));
        let long: Vec<IdRange> = (0..340).map(|i| range(i, 4_000_000_000 + i, 1)).collect();
        assert!(problem(&long).problem.contains("4095"));
    }

    #[test]
    fn a_number_is_found_in_the_range_that_holds_it() {
        let map = [range(0, 100_000, 10), range(10, 5, 1)];
        let found = [0, 9, 10, 11].map(|n| outside(&map, n));
        assert_eq!(found, [Some(100_000), Some(100_009), Some(5), None]);
    }

    fn any_range() -> impl Strategy<Value = IdRange> {
        let edge = prop_oneof![0..50u32, u32::MAX - 50..=u32::MAX, any::<u32>()];
        let count = prop_oneof![0..30u32, u32::MAX - 50..=u32::MAX, any::<u32>()];
        (edge.clone(), edge, count).prop_map(|(inside, outside, count)| range(inside, outside, count))
    }

    proptest! {
        #[test]
        fn a_map_that_is_taken_is_one_to_one(ranges in prop::collection::vec(any_range(), 0..6), at in any::<u32>()) {
            let taken = check_ranges("f", &ranges).is_ok();
            let sound = ranges.iter().all(|r| {
                r.count > 0 && u64::from(r.inside) + u64::from(r.count) <= u64::from(u32::MAX)
                    && u64::from(r.outside) + u64::from(r.count) <= u64::from(u32::MAX)
            });
            let holds = |first: u32, count: u32, n: u64| n >= u64::from(first) && n < u64::from(first) + u64::from(count);
            // Ranges that meet do so at the first number of one of them.
            let firsts = |of: fn(&IdRange) -> u32| ranges.iter().all(|r| {
                ranges.iter().filter(|o| holds(of(o), o.count, of(r).into())).count() <= 1
            });
            prop_assert_eq!(taken, sound && firsts(|r| r.inside) && firsts(|r| r.outside));
            if taken {
                prop_assert_eq!(parse_lines(&lines(&ranges)), ranges.clone());
                if let Some(there) = outside(&ranges, at) {
                    let back: Vec<IdRange> = ranges.iter().map(|r| range(r.outside, r.inside, r.count)).collect();
                    prop_assert_eq!(outside(&back, there), Some(at));
                }
            }
        }
    }
}
