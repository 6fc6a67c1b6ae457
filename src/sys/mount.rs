//! The mount API of Linux 5.2 and later: open_tree(2), move_mount(2), fsopen(2), mount_setattr(2).
//!
//! Mounts are descriptors until they are put somewhere, so nothing is ever mounted by a path that somebody else may
//! change under us. What needs more than Linux 6.1 is said at the function.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// Attributes of a mount (not of its file system), `MOUNT_ATTR_*`.
pub mod attr {
    /// No writes.
    pub const RDONLY: u64 = 0x1;
    /// Set-user-id bits have no effect.
    pub const NOSUID: u64 = 0x2;
    /// Device nodes have no effect.
    pub const NODEV: u64 = 0x4;
    /// Nothing can be executed.
    pub const NOEXEC: u64 = 0x8;
    /// The bits that hold how access times are kept.
    pub const ATIME: u64 = 0x70;
    /// Access times are not kept.
    pub const NOATIME: u64 = 0x10;
    /// Access times are always kept.
    pub const STRICTATIME: u64 = 0x20;
    /// Access times of directories are not kept.
    pub const NODIRATIME: u64 = 0x80;
    /// Symbolic links are not followed.
    pub const NOSYMFOLLOW: u64 = 0x20_0000;
    /// Owners are mapped through a user namespace.
    pub const IDMAP: u64 = 0x10_0000;
}

const FSOPEN_CLOEXEC: libc::c_uint = 1;
const FSMOUNT_CLOEXEC: libc::c_uint = 1;
const FSCONFIG_SET_FLAG: libc::c_uint = 0;
const FSCONFIG_SET_STRING: libc::c_uint = 1;
const FSCONFIG_CMD_CREATE: libc::c_uint = 6;
const FSCONFIG_CMD_RECONFIGURE: libc::c_uint = 7;
const FSPICK_CLOEXEC: libc::c_uint = 1;
const FSPICK_EMPTY_PATH: libc::c_uint = 8;
const OPEN_TREE_CLONE: libc::c_uint = 1;
const OPEN_TREE_CLOEXEC: libc::c_uint = libc::O_CLOEXEC as libc::c_uint;
const AT_RECURSIVE: libc::c_uint = 0x8000;
const MOVE_MOUNT_F_EMPTY_PATH: libc::c_uint = 0x4;
const MOVE_MOUNT_T_EMPTY_PATH: libc::c_uint = 0x40;

fn descriptor(result: libc::c_long) -> io::Result<OwnedFd> {
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: only called with the result of a system call that returns a new descriptor on success.
    Ok(unsafe { OwnedFd::from_raw_fd(result as i32) })
}

fn done(result: libc::c_long) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// A file system that is being configured.
#[derive(Debug)]
pub struct FsContext(OwnedFd);

impl FsContext {
    /// Opens a context for a file system type, such as `tmpfs`.
    pub fn open(fs_type: &CStr) -> io::Result<Self> {
        // SAFETY: fsopen reads the NUL-terminated name during the call and returns a new descriptor.
        descriptor(unsafe { libc::syscall(libc::SYS_fsopen, fs_type.as_ptr(), FSOPEN_CLOEXEC) }).map(Self)
    }

    /// Opens a context for changing the file system whose mounted root `mount` means.
    pub fn pick(mount: impl AsFd) -> io::Result<Self> {
        let (fd, flags) = (mount.as_fd().as_raw_fd(), FSPICK_CLOEXEC | FSPICK_EMPTY_PATH);
        // SAFETY: fspick reads the static empty path during the call and returns a new descriptor.
        descriptor(unsafe { libc::syscall(libc::SYS_fspick, fd, c"".as_ptr(), flags) }).map(Self)
    }

    /// Makes the options that were set those of the file system that was picked.
    pub fn reconfigure(&self) -> io::Result<()> {
        self.config(FSCONFIG_CMD_RECONFIGURE, None, None)
    }

    fn config(&self, command: libc::c_uint, key: Option<&CStr>, value: Option<&CStr>) -> io::Result<()> {
        let key = key.map_or(std::ptr::null(), CStr::as_ptr);
        let value = value.map_or(std::ptr::null(), CStr::as_ptr);
        let fd = self.0.as_raw_fd();
        // SAFETY: key and value are null or NUL-terminated strings that outlive the call, as fsconfig's commands for
        // flags, strings and creation take them; the kernel only reads them.
        done(unsafe { libc::syscall(libc::SYS_fsconfig, fd, command, key, value, 0) })
    }

    /// Sets `key=value`; at most 255 bytes of value.
    pub fn set(&self, key: &CStr, value: &CStr) -> io::Result<()> {
        self.config(FSCONFIG_SET_STRING, Some(key), Some(value))
    }

    /// Sets an option that has no value.
    pub fn flag(&self, key: &CStr) -> io::Result<()> {
        self.config(FSCONFIG_SET_FLAG, Some(key), None)
    }

    /// Makes the file system and a detached mount of it with `attributes` (see [`attr`]).
    pub fn mount(&self, attributes: u64) -> io::Result<OwnedFd> {
        self.config(FSCONFIG_CMD_CREATE, None, None)?;
        let fd = self.0.as_raw_fd();
        // SAFETY: fsmount takes a descriptor and integers and returns a new descriptor.
        descriptor(unsafe { libc::syscall(libc::SYS_fsmount, fd, FSMOUNT_CLOEXEC, attributes as libc::c_uint) })
    }

    /// What the file system said about the last refusal, the newest line first, without its severity letter.
    pub fn message(&self) -> Option<String> {
        let mut newest = None;
        let mut line = [0; 512];
        while let Ok(n) = nix::unistd::read(&self.0, &mut line) {
            if n == 0 {
                break;
            }
            newest = Some(
                String::from_utf8_lossy(&line[..n]).trim_end().trim_start_matches(['e', 'w', 'i', ' ']).to_owned(),
            );
        }
        newest
    }
}

/// Makes a detached copy of the mount at `path` below `dir`, of everything under it too when `recursive`.
/// An empty path means `dir` itself.
pub fn clone_tree(dir: BorrowedFd<'_>, path: &CStr, recursive: bool) -> io::Result<OwnedFd> {
    let mut flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | libc::AT_EMPTY_PATH as libc::c_uint;
    if recursive {
        flags |= AT_RECURSIVE;
    }
    // SAFETY: open_tree reads the NUL-terminated path during the call and returns a new descriptor.
    descriptor(unsafe { libc::syscall(libc::SYS_open_tree, dir.as_raw_fd(), path.as_ptr(), flags) })
}

/// Puts a detached (or attached) mount on the file or directory that `target` means.
pub fn attach(mount: impl AsFd, target: BorrowedFd<'_>) -> io::Result<()> {
    let (from, to) = (mount.as_fd().as_raw_fd(), target.as_raw_fd());
    let flags = MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH;
    // SAFETY: both paths are the static empty string, read during the call; no memory of ours is written.
    done(unsafe { libc::syscall(libc::SYS_move_mount, from, c"".as_ptr(), to, c"".as_ptr(), flags) })
}

/// As [`attach`], on the entry `name` of `dir`, which is not followed when it is a link.
pub fn attach_at(mount: impl AsFd, dir: BorrowedFd<'_>, name: &CStr) -> io::Result<()> {
    let (from, to) = (mount.as_fd().as_raw_fd(), dir.as_raw_fd());
    // SAFETY: the first path is the static empty string and `name` is NUL-terminated; both are read during the call, and
    // no memory of ours is written.
    let result =
        unsafe { libc::syscall(libc::SYS_move_mount, from, c"".as_ptr(), to, name.as_ptr(), MOVE_MOUNT_F_EMPTY_PATH) };
    done(result)
}

/// The number of the mount that `name` in `dir`, a link itself where it is one, is on; nobody else's while it is there
/// (Linux 5.8). Of `dir` itself where `name` is empty.
pub fn mount_id(dir: impl AsFd, name: &CStr) -> io::Result<u64> {
    let (fd, mut found) = (dir.as_fd().as_raw_fd(), std::mem::MaybeUninit::<libc::statx>::zeroed());
    let flags = libc::AT_EMPTY_PATH | libc::AT_SYMLINK_NOFOLLOW | libc::AT_NO_AUTOMOUNT;
    // SAFETY: `name` is NUL-terminated and read during the call; the kernel writes a struct statx at most, for which
    // there is room.
    done(unsafe { libc::syscall(libc::SYS_statx, fd, name.as_ptr(), flags, libc::STATX_MNT_ID, found.as_mut_ptr()) })?;
    // SAFETY: a statx is integers only, for which zeros are values, and those not zero were written by the kernel.
    Ok(unsafe { found.assume_init() }.stx_mnt_id)
}

#[repr(C)]
#[derive(Default)]
struct MountAttr {
    set: u64,
    clear: u64,
    propagation: u64,
    user_namespace: u64,
}

/// What to change about a mount.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Change {
    /// Attributes to set.
    pub set: u64,
    /// Attributes to clear.
    pub clear: u64,
    /// `MS_PRIVATE`, `MS_SLAVE`, `MS_SHARED` or `MS_UNBINDABLE`; 0 leaves propagation alone.
    pub propagation: u64,
    /// Also of every mount under it: all or none.
    pub recursive: bool,
}

/// Changes attributes and propagation of the mount that `mount` means (Linux 5.12).
pub fn set_attributes(mount: impl AsFd, change: Change) -> io::Result<()> {
    let mut clear = change.clear;
    if change.set & attr::ATIME != 0 {
        // How access times are kept is a number, not bits: the old one has to be cleared.
        clear |= attr::ATIME;
    }
    let raw = MountAttr { set: change.set, clear, propagation: change.propagation, user_namespace: 0 };
    let mut flags = libc::AT_EMPTY_PATH as libc::c_uint;
    if change.recursive {
        flags |= AT_RECURSIVE;
    }
    let fd = mount.as_fd().as_raw_fd();
    // SAFETY: `raw` has the layout of struct mount_attr version 0 and its size is given; the kernel only reads it.
    let result = unsafe {
        libc::syscall(libc::SYS_mount_setattr, fd, c"".as_ptr(), flags, &raw const raw, size_of::<MountAttr>())
    };
    done(result)
}

/// Makes owners of files below the detached mount appear as `user`, a user namespace, maps them; once for each mount
/// (Linux 5.12; `EINVAL` for file systems that cannot).
pub fn map_owners(mount: impl AsFd, user: BorrowedFd<'_>, recursive: bool) -> io::Result<()> {
    let user_namespace = user.as_raw_fd() as u64;
    let raw = MountAttr { set: attr::IDMAP, user_namespace, ..MountAttr::default() };
    let mut flags = libc::AT_EMPTY_PATH as libc::c_uint;
    if recursive {
        flags |= AT_RECURSIVE;
    }
    let fd = mount.as_fd().as_raw_fd();
    // SAFETY: `raw` has the layout of struct mount_attr version 0 and its size is given; the kernel only reads it, and
    // takes a reference of its own to the namespace whose descriptor is borrowed for the call.
    let result = unsafe {
        libc::syscall(libc::SYS_mount_setattr, fd, c"".as_ptr(), flags, &raw const raw, size_of::<MountAttr>())
    };
    done(result)
}

/// Moves the mount at the current directory to `target`.
pub fn move_here(target: &CStr) -> io::Result<()> {
    let none = None::<&str>;
    nix::mount::mount(Some("."), target, none, nix::mount::MsFlags::MS_MOVE, none).map_err(io::Error::from)
}

/// Takes away the mount on top of the current directory, at once from sight, and for good when nobody uses it.
pub fn detach_here() -> io::Result<()> {
    nix::mount::umount2(".", nix::mount::MntFlags::MNT_DETACH).map_err(io::Error::from)
}
