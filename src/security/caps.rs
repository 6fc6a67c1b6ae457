//! A container's capabilities, put in force on the thread that becomes its process.
//!
//! What the caller's own bounding set lacks cannot be given to a container and is left out of every set, so that a
//! runtime that is itself confined still runs what asks for the usual set. So is what the kernel refuses: inheritable
//! beyond the bounding set, in force without being permitted, ambient without being both permitted and inheritable.

use crate::spec::Capabilities;
use crate::sys::capability::{self, Sets};
use std::io;

/// The names of the sets, in the order of [`withheld`].
const SETS: [&str; 5] = ["bounding", "effective", "inheritable", "permitted", "ambient"];

/// The sets without what cannot be given: `held` is what the bounding set of the caller holds.
pub fn grantable(asked: Capabilities, held: u64) -> Capabilities {
    let permitted = asked.permitted & held;
    let bounding = asked.bounding & held;
    let inheritable = asked.inheritable & bounding;
    Capabilities {
        bounding,
        effective: asked.effective & permitted,
        inheritable,
        permitted,
        ambient: asked.ambient & permitted & inheritable,
    }
}

/// What of `asked` is not [`grantable`], by name: with the sets that it is left out of, if others have it.
pub fn withheld(asked: Capabilities, held: u64) -> Vec<String> {
    let given = grantable(asked, held);
    let sets = |of: Capabilities| [of.bounding, of.effective, of.inheritable, of.permitted, of.ambient];
    let lost: Vec<u64> = sets(asked).iter().zip(sets(given)).map(|(asked, given)| asked & !given).collect();
    let (any_lost, any_given) =
        (lost.iter().fold(0, |all, set| all | set), sets(given).iter().fold(0, |all, set| all | set));
    let word = |number: u32| {
        let from = SETS.iter().zip(&lost).filter(|(_, lost)| *lost & 1 << number != 0).map(|(set, _)| *set);
        match any_given & 1 << number {
            0 => name(number),
            _ => format!("{}({})", name(number), from.collect::<Vec<_>>().join(",")),
        }
    };
    (0..=capability::MAX).filter(|number| any_lost & 1 << number != 0).map(word).collect()
}

fn name(number: u32) -> String {
    let known = caps::all().into_iter().find(|known| u32::from(known.index()) == number);
    known.map_or_else(|| number.to_string(), |known| known.to_string())
}

/// What the bounding set of a container's process holds to begin with: that of the calling thread or, in a `user`
/// namespace other than its own, all that the kernel knows.
pub fn held(user: bool) -> u64 {
    let known = (0..=capability::MAX).map_while(|n| Some((n, capability::bounds(n)?)));
    known.fold(0, |held, (n, holds)| held | u64::from(holds || user) << n)
}

/// First half, while still root: drops everything but `keep` from the bounding set, and keeps the permitted set over
/// the change of user.
pub fn bound(keep: u64, held: u64) -> io::Result<()> {
    for number in (0..=capability::MAX).filter(|n| held & !keep & 1 << n != 0) {
        capability::drop_bound(number)?;
    }
    capability::keep_over_setuid(true)
}

/// Second half, as the container's user: puts the other four sets in force.
pub fn settle(caps: Capabilities) -> io::Result<()> {
    capability::keep_over_setuid(false)?;
    capability::set(Sets { effective: caps.effective, permitted: caps.permitted, inheritable: caps.inheritable })?;
    capability::clear_ambient()?;
    (0..=capability::MAX).filter(|n| caps.ambient & 1 << n != 0).try_for_each(capability::raise_ambient)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_held_is_left_out_of_every_set() {
        let all = Capabilities { bounding: 7, effective: 7, inheritable: 3, permitted: 7, ambient: 7 };
        let given = grantable(all, 0b110);
        let expected = Capabilities { bounding: 6, effective: 6, inheritable: 2, permitted: 6, ambient: 2 };
        assert_eq!(given, expected);
        let beyond = Capabilities { bounding: 1, inheritable: 3, ..Capabilities::default() };
        assert_eq!(grantable(beyond, 7).inheritable, 1);
    }

    #[test]
    fn what_is_withheld_is_named_with_the_sets_that_lack_it() {
        let asked =
            Capabilities { bounding: 0b1011, effective: 0b111, inheritable: 0b10, permitted: 0b1011, ambient: 0b11 };
        assert_eq!(withheld(asked, 0b11), ["CAP_CHOWN(ambient)", "CAP_DAC_READ_SEARCH", "CAP_FOWNER"]);
        assert_eq!(
            withheld(Capabilities { permitted: 0b1, ambient: 0b11, ..asked }, !0),
            ["CAP_CHOWN(ambient)", "CAP_DAC_OVERRIDE(effective,ambient)", "CAP_DAC_READ_SEARCH"]
        );
        assert_eq!(withheld(Capabilities { bounding: !0, ..Capabilities::default() }, !(1 << 63)), ["63"]);
        assert!(withheld(Capabilities { effective: 3, permitted: 3, ..Capabilities::default() }, 3).is_empty());
    }

    #[test]
    fn another_user_namespace_has_all_that_the_kernel_knows() {
        let last: u32 = std::fs::read_to_string("/proc/sys/kernel/cap_last_cap").unwrap().trim().parse().unwrap();
        assert_eq!(held(true), u64::MAX >> (63 - last));
    }

    #[test]
    fn the_bounding_set_is_read_as_the_kernel_shows_it() {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|l| l.strip_prefix("CapBnd:")).unwrap();
        assert_eq!(held(false), u64::from_str_radix(line.trim(), 16).unwrap());
    }
}
