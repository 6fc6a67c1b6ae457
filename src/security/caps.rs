//! A container's capabilities, put in force on the thread that becomes its process.
//!
//! What the caller's own bounding set lacks cannot be given to a container and is left out of every set, so that a
//! runtime that is itself confined still runs what asks for the usual set.

use crate::spec::Capabilities;
use crate::sys::capability::{self, Sets};
use std::io;

/// The sets without what cannot be given: `held` is what the bounding set of the caller holds.
pub fn grantable(asked: Capabilities, held: u64) -> Capabilities {
    let permitted = asked.permitted & held;
    let inheritable = asked.inheritable & held;
    Capabilities {
        bounding: asked.bounding & held,
        // The kernel refuses what is in force without being permitted, and ambient without being both.
        effective: asked.effective & permitted,
        inheritable,
        permitted,
        ambient: asked.ambient & permitted & inheritable,
    }
}

/// What this thread's bounding set holds.
pub fn held() -> u64 {
    let known = (0..=capability::MAX).map_while(|n| Some((n, capability::bounds(n)?)));
    known.fold(0, |held, (n, holds)| held | u64::from(holds) << n)
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
    }

    #[test]
    fn the_bounding_set_is_read_as_the_kernel_shows_it() {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|l| l.strip_prefix("CapBnd:")).unwrap();
        assert_eq!(held(), u64::from_str_radix(line.trim(), 16).unwrap());
    }
}
