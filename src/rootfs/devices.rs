//! Device nodes and the links that programs expect in /dev.

use super::{Rootfs, clone_host_path};
use crate::errno::{OpContext, OpError};
use crate::spec::{Device, MountKind, Plan};
use crate::sys::mount;
use crate::sys::path::{Kind, make_dirs_in, make_place};
use nix::sys::stat::{Mode, SFlag, fstatat, makedev, mknodat};
use nix::unistd::{Gid, Uid, UnlinkatFlags, fchownat, symlinkat, unlinkat};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

/// Devices that every container has, by the runtime specification: name, major and minor number.
const DEFAULT: [(&str, u32, u32); 6] =
    [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)];

/// Links that every container has, name and target.
const LINKS: [(&str, &str); 6] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("core", "/proc/kcore"),
    ("ptmx", "pts/ptmx"),
];

impl Rootfs {
    /// Makes the default devices and links and those of the plan. Needs a umask of 0.
    ///
    /// A /dev that is bound from the host is complete by definition, and is left as it is.
    pub fn make_devices(&self, plan: &Plan) -> Result<(), OpError> {
        let bound = |m: &crate::spec::Mount| m.destination == Path::new("/dev") && matches!(m.kind, MountKind::Bind(_));
        if plan.mounts.iter().any(bound) {
            return Ok(());
        }
        let dev = make_dirs_in(&self.root, Path::new("/dev"), 0o755).op("open", "/dev")?;
        for (name, major, minor) in DEFAULT {
            let path = Path::new("/dev").join(name);
            // What is mounted there is what the container is to have there.
            let mounted = plan.mounts.iter().any(|m| m.destination == path);
            if !mounted && !plan.devices.iter().any(|d| d.path == path) {
                make_node(&dev, &path, SFlag::S_IFCHR, 0o666, (major, minor))?;
            }
        }
        for (name, target) in LINKS {
            match symlinkat(target, &dev, name) {
                // What an image or a mount has put there stays, but for ptmx, which must be that of our devpts.
                Err(nix::Error::EEXIST) if name == "ptmx" => {
                    unlinkat(&dev, name, UnlinkatFlags::NoRemoveDir).op("replace", "/dev/ptmx")?;
                    symlinkat(target, &dev, name).op("link", "/dev/ptmx")?;
                }
                Ok(()) | Err(nix::Error::EEXIST) => {}
                Err(e) => return Err(e).op("link in /dev", name),
            }
        }
        // Who hands over all devices of the host names this one too, and means the container's own.
        let mut wanted = plan.devices.iter().filter(|device| device.path != Path::new("/dev/ptmx"));
        wanted.try_for_each(|device| self.make_device(device))
    }

    fn make_device(&self, device: &Device) -> Result<(), OpError> {
        let (Some(parent), Some(name)) = (device.path.parent(), device.path.file_name()) else {
            return Err(io::Error::from_raw_os_error(libc::EINVAL)).op("make device", &device.path);
        };
        let dir = make_dirs_in(&self.root, parent, 0o755).op("make the directory of device", &device.path)?;
        let kind = SFlag::from_bits_truncate(device.kind);
        let own = make_node(&dir, &device.path, kind, device.mode, device.number)?;
        if own && (device.uid, device.gid) != (0, 0) {
            let (uid, gid) = (Uid::from_raw(device.uid), Gid::from_raw(device.gid));
            fchownat(&dir, Path::new(name), Some(uid), Some(gid), nix::fcntl::AtFlags::AT_SYMLINK_NOFOLLOW)
                .op("give away device", &device.path)?;
        }
        Ok(())
    }

    /// Makes /dev/console another name of the terminal `peer`.
    pub fn bind_console(&self, peer: &OwnedFd) -> Result<(), OpError> {
        let console = Path::new("/dev/console");
        let place = make_place(&self.root, console, Kind::File, 0o600).op("make", console)?;
        if place.linked {
            // Whoever can put a link there would choose what the terminal covers (CVE-2025-52565).
            return Err(io::Error::from_raw_os_error(libc::ELOOP)).op("bind a terminal at", console);
        }
        let tree = mount::clone_tree(peer.as_fd(), c"", false).op("clone the terminal for", console)?;
        mount::attach(&tree, place.handle.as_fd()).op("bind mount at", console)
    }
}

/// Makes the node `path` in the directory `dir` where that is. Says whether it is the container's own and not the host's.
fn make_node(dir: &OwnedFd, path: &Path, kind: SFlag, mode: u32, number: (u32, u32)) -> Result<bool, OpError> {
    let device = makedev(number.0.into(), number.1.into());
    let name = Path::new(path.file_name().unwrap_or_default());
    match mknodat(dir, name, kind, Mode::from_bits_truncate(mode), device) {
        Err(nix::Error::EEXIST) => {
            // An image's own node is taken when it is the same device, and never something else of that name.
            let found = fstatat(dir, name, nix::fcntl::AtFlags::AT_SYMLINK_NOFOLLOW).op("look at device", path)?;
            let place = found.st_mode & libc::S_IFMT == libc::S_IFREG && found.st_size == 0;
            if place && kind != SFlag::S_IFIFO {
                // Left by a container that could make no nodes, on a /dev that outlives it.
                bind_host_device(dir, path, kind, device).map(|()| false)
            } else if is_device(&found, kind, device) {
                Ok(true)
            } else {
                Err(io::Error::from_raw_os_error(libc::EEXIST)).op("make device", path)
            }
        }
        // Without the right to make nodes, the host's is bound.
        Err(nix::Error::EPERM) if kind != SFlag::S_IFIFO => bind_host_device(dir, path, kind, device).map(|()| false),
        other => other.op("make device", path).map(|()| true),
    }
}

fn is_device(found: &nix::sys::stat::FileStat, kind: SFlag, device: u64) -> bool {
    found.st_mode & libc::S_IFMT == kind.bits() && (kind == SFlag::S_IFIFO || found.st_rdev == device)
}

fn bind_host_device(dir: &OwnedFd, path: &Path, kind: SFlag, device: u64) -> Result<(), OpError> {
    let tree = clone_host_path(path, false).op("clone device", path)?;
    let found = nix::sys::stat::fstat(&tree).op("look at device", path)?;
    if !is_device(&found, kind, device) {
        return Err(io::Error::from_raw_os_error(libc::ENODEV)).op("take for a device", path);
    }
    let name = Path::new(path.file_name().unwrap_or_default());
    let target = make_place(dir, name, Kind::File, 0o666).op("make the place of device", path)?;
    if target.linked {
        return Err(io::Error::from_raw_os_error(libc::ELOOP)).op("bind device", path);
    }
    mount::attach(&tree, target.handle.as_fd()).op("bind device", path)
}
