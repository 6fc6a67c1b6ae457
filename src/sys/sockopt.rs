//! Socket options that the `nix` crate has no name for.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Sets an option whose value is one `int`.
pub fn set_int(socket: BorrowedFd<'_>, level: libc::c_int, name: libc::c_int, value: libc::c_int) -> io::Result<()> {
    let length = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: `value` lives on this stack frame for the whole call and `length` is exactly its size; the kernel only
    // reads it, and `socket` is borrowed, so open.
    let rc = unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, (&raw const value).cast(), length) };
    if rc == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Makes a socket drop whatever arrives for it, before it is queued or answered.
pub fn drop_all(socket: BorrowedFd<'_>) -> io::Result<()> {
    // One instruction: return 0, "keep no byte of the packet".
    let mut code = [libc::sock_filter { code: (libc::BPF_RET | libc::BPF_K) as u16, jt: 0, jf: 0, k: 0 }];
    let program = libc::sock_fprog { len: code.len() as u16, filter: code.as_mut_ptr() };
    let length = size_of::<libc::sock_fprog>() as libc::socklen_t;
    // SAFETY: `program` and the `code` it points to live on this stack frame for the whole call, `len` counts the one
    // instruction of `code`; the kernel copies both and keeps neither pointer.
    let rc = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_FILTER,
            (&raw const program).cast(),
            length,
        )
    };
    if rc == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
