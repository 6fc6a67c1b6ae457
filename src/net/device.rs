//! Network devices of the host that become a container's.
//!
//! ```text
//! host: look up ─→ addresses ─→ move, with the new name ─→ container: addresses again ─→ up
//!                                       └──────── any error from here on: back to the host as it was
//! ```
//! The kernel takes a device down when it moves and forgets its addresses. Those of global scope that were given for
//! good are given again (runtime specification 1.3); routes, neighbours and what was learned are not. Where a device
//! goes when the container is gone is the kernel's affair: hardware to the first namespace, virtual devices nowhere.

use super::address::{self, Lasting};
use super::link::{self, Link};
use super::namespace;
use super::netlink::{Talk, errno};
use crate::errno::OpError;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Devices that were moved, for as long as they may have to come back. Keeps the namespace they are in from going.
#[derive(Debug)]
pub struct Moved {
    here: Talk,
    there: Talk,
    home: OwnedFd,
    /// In their order, the one that a failed move was about included.
    begun: Vec<Before>,
}

/// Moves each device, by its name here and its name there, from this thread's namespace to `netns`. All of them, or
/// none: the first error is given when those before it are back.
///
/// For a thread that is alone in its process: it visits `netns`.
pub fn move_all<'a>(
    devices: impl Iterator<Item = (&'a str, &'a str)>,
    netns: BorrowedFd<'_>,
) -> Result<Moved, OpError> {
    let home = namespace::current()?;
    let here = Talk::route()?;
    namespace::enter(netns)?;
    let there = Talk::route();
    namespace::enter(&home)?;
    let mut moved = Moved { here, there: there?, home, begun: Vec::new() };
    for (name, new_name) in devices {
        if let Err(e) = moved.move_one(netns, name, new_name) {
            moved.bring_back();
            return Err(e);
        }
    }
    Ok(moved)
}

impl Moved {
    /// Makes everything as it was. A device that cannot come back is not ours to lose: it is in the container's
    /// namespace, and goes where the kernel puts it.
    pub fn bring_back(mut self) {
        for device in std::mem::take(&mut self.begun).iter().rev() {
            // Whoever undoes something tells why, and not what else went wrong.
            let _ = self.bring_one_back(device);
        }
    }

    /// Moves one device, noted as begun as soon as there is something to undo.
    fn move_one(&mut self, netns: BorrowedFd<'_>, name: &str, new_name: &str) -> Result<(), OpError> {
        let link = link::find(&mut self.here, name)?.ok_or_else(|| missing(name))?;
        if link::find(&mut self.there, new_name)?.is_some() {
            let taken = io::Error::from_raw_os_error(libc::EEXIST);
            return Err(OpError::new("name network device in the container", new_name, taken));
        }
        let addresses = address::lasting(&mut self.here, link.index)?;
        let request = link::move_to(&link, netns, new_name);
        self.begun.push(Before { link, addresses: addresses.clone(), new_name: new_name.to_owned() });
        self.here.ask(&[request])?;
        settle(&mut self.there, new_name, &addresses, true)
    }

    fn bring_one_back(&mut self, device: &Before) -> Result<(), OpError> {
        let (here, there) = (&mut self.here, &mut self.there);
        let left = link::find(here, &device.link.name)?.is_none_or(|link| link.index != device.link.index);
        if left {
            // By its old name when the move succeeded and the renaming that is part of it did not.
            let found = match link::find(there, &device.new_name)? {
                Some(link) => Some(link),
                None => link::find(there, &device.link.name)?,
            };
            let link = found.ok_or_else(|| missing(&device.new_name))?;
            there.ask(&[link::move_to(&link, self.home.as_fd(), &device.link.name)])?;
        }
        settle(here, &device.link.name, &device.addresses, device.link.up)
    }
}

/// A device as it was before it was moved.
#[derive(Debug)]
struct Before {
    link: Link,
    addresses: Vec<Lasting>,
    new_name: String,
}

fn missing(name: &str) -> OpError {
    OpError::new("move network device", name, io::Error::from_raw_os_error(libc::ENODEV))
}

/// Gives a device that has just come its addresses, and takes it up.
fn settle(talk: &mut Talk, name: &str, addresses: &[Lasting], up: bool) -> Result<(), OpError> {
    let index = link::find(talk, name)?.ok_or_else(|| missing(name))?.index;
    for address in addresses {
        match talk.ask(&[address::give(index, address)]) {
            // The kernel keeps those of some kinds of device.
            Err(e) if errno(&e) != Some(libc::EEXIST) => return Err(e),
            _ => {}
        }
    }
    if up { talk.ask(&[link::set_up(name)]) } else { Ok(()) }
}
