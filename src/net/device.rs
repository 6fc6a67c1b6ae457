//! Network devices of the host that become a container's.
//!
//! ```text
//! host: look up ─→ addresses ─→ move, with the new name ─→ container: addresses again ─→ up
//!                                       └──────── any error from here on: back to the host as it was
//! ```
//! A name with `%d` in it is the kernel's to complete, there and not here. So that the device can be told from all others
//! meanwhile, it moves with a name that has its number here in it, and gets the other one by its number there.
//!
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
        let first_name = if is_template(new_name) { format!("move{}", link.index) } else { new_name.to_owned() };
        if link::find(&mut self.there, &first_name)?.is_some() {
            let taken = io::Error::from_raw_os_error(libc::EEXIST);
            return Err(OpError::new("name network device in the container", first_name, taken));
        }
        let addresses = address::lasting(&mut self.here, link.index)?;
        let request = link::move_to(link.index, name, netns, &first_name);
        let begun = Before { link, addresses: addresses.clone(), first_name: first_name.clone(), index_there: None };
        self.begun.push(begun);
        self.here.ask(&[request])?;
        let index = link::find(&mut self.there, &first_name)?.ok_or_else(|| missing(name))?.index;
        if let Some(begun) = self.begun.last_mut() {
            begun.index_there = Some(index);
        }
        if is_template(new_name) {
            self.there.ask(&[link::rename(index, new_name)])?;
        }
        settle(&mut self.there, index, name, &addresses, true)
    }

    fn bring_one_back(&mut self, device: &Before) -> Result<(), OpError> {
        let Self { here, there, home, .. } = self;
        let name = &device.link.name;
        let left = link::find(here, name)?.is_none_or(|link| link.index != device.link.index);
        if left {
            // By its old name when the move succeeded and the renaming that is part of it did not.
            let mut index = device.index_there;
            for name in [&device.first_name, name] {
                if index.is_none() {
                    index = link::find(there, name)?.map(|link| link.index);
                }
            }
            let index = index.ok_or_else(|| missing(name))?;
            there.ask(&[link::move_to(index, name, home.as_fd(), name)])?;
        }
        let index = link::find(here, name)?.ok_or_else(|| missing(name))?.index;
        settle(here, index, name, &device.addresses, device.link.up)
    }
}

/// Whether the kernel is to complete the name.
fn is_template(name: &str) -> bool {
    name.contains('%')
}

/// A device as it was before it was moved.
#[derive(Debug)]
struct Before {
    link: Link,
    addresses: Vec<Lasting>,
    /// What it is called where it goes, at first.
    first_name: String,
    /// Its number there, once it is there.
    index_there: Option<u32>,
}

fn missing(name: &str) -> OpError {
    OpError::new("move network device", name, io::Error::from_raw_os_error(libc::ENODEV))
}

/// Gives a device that has just come its addresses, and takes it up. `name` is what the document calls it.
fn settle(talk: &mut Talk, index: u32, name: &str, addresses: &[Lasting], up: bool) -> Result<(), OpError> {
    for address in addresses {
        match talk.ask(&[address::give(index, address)]) {
            // The kernel keeps those of some kinds of device.
            Err(e) if errno(&e) != Some(libc::EEXIST) => return Err(e),
            _ => {}
        }
    }
    if up { talk.ask(&[link::set_up_number(index, name)]) } else { Ok(()) }
}
