//! seccomp(2).

use std::io;
use std::os::fd::{FromRawFd, OwnedFd};

/// One instruction of a classic BPF program, as the kernel takes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct Instruction {
    /// Operation.
    pub code: u16,
    /// Instructions to jump over when the comparison holds.
    pub jt: u8,
    /// Instructions to jump over when it does not.
    pub jf: u8,
    /// Operand.
    pub k: u32,
}

/// The most instructions that the kernel takes in one filter.
pub const MAX_INSTRUCTIONS: usize = 4096;

/// `SECCOMP_FILTER_FLAG_NEW_LISTENER`.
pub const NEW_LISTENER: u32 = 1 << 3;

/// Filters the system calls of this process and its children with `program` from now on.
///
/// Needs `CAP_SYS_ADMIN` or no_new_privs. Gives the notification descriptor when `flags` ask for one.
pub fn load(program: &[Instruction], flags: u32) -> io::Result<Option<OwnedFd>> {
    #[repr(C)]
    struct Program {
        len: libc::c_ushort,
        filter: *const Instruction,
    }
    let len = u16::try_from(program.len()).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))?;
    let raw = Program { len, filter: program.as_ptr() };
    // SAFETY: `raw` has the layout of struct sock_fprog and points to `len` instructions laid out as struct
    // sock_filter; both outlive the call and are only read.
    let result = unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const raw) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    if flags & NEW_LISTENER == 0 {
        return Ok(None);
    }
    // SAFETY: with NEW_LISTENER the call returned a new descriptor that nobody owns yet.
    Ok(Some(unsafe { OwnedFd::from_raw_fd(result as i32) }))
}
