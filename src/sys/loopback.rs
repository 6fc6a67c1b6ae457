//! The loopback device, which a new network namespace has but does not use.

use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use std::io;
use std::os::fd::AsRawFd;

/// Takes up `lo` of the calling thread's network namespace; the kernel then gives it its addresses.
pub fn take_up() -> io::Result<()> {
    // Any kind of socket will do, see netdevice(7); this one every kernel has, and makes soonest.
    let socket = socket(AddressFamily::Unix, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
    let mut name = [0; libc::IFNAMSIZ];
    for (to, from) in name.iter_mut().zip(*b"lo") {
        *to = from as libc::c_char;
    }
    let flags = (libc::IFF_UP | libc::IFF_LOOPBACK) as libc::c_short;
    let request = libc::ifreq { ifr_name: name, ifr_ifru: libc::__c_anonymous_ifr_ifru { ifru_flags: flags } };
    // SAFETY: with SIOCSIFFLAGS the kernel reads one `ifreq`, name and flags of which are set, and writes nothing to it;
    // `request` lives across the call, and so does `socket`.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS as _, &raw const request) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
