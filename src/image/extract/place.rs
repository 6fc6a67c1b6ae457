//! Puts entries below one directory descriptor.
//!
//! Parents are opened by openat2(2) with `RESOLVE_IN_ROOT` (Linux 5.6): links inside the layer count, and none leads out,
//! `..` and absolute ones included. The last component is never followed: what stands there is removed, and the new thing
//! made exclusively. Directories get mode and time last, since the entries in them change both.

use super::tar::{Archive, Entry, Kind};
use super::{ExtractError, Extracted, Limits};
use crate::errno::{OpContext, OpError};
use crate::sys::xattr;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, OpenHow, ResolveFlag};
use nix::sys::stat::{FchmodatFlags, Mode, SFlag, UtimensatFlags};
use nix::sys::time::TimeSpec;
use std::collections::{BTreeMap, HashMap};
use std::ffi::{CStr, CString, OsStr};
use std::io::{BufRead, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::rc::Rc;

const WHITEOUT: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";
const AUFS: &[u8] = b".wh..wh.";

/// How many directories are kept open. Entries mostly come directory by directory.
const OPEN_DIRS: usize = 64;
/// How often the free space is looked at, in bytes written.
const SPACE_CHECK: u64 = 32 << 20;

/// What a directory gets at the end.
#[derive(Debug)]
struct Late {
    mode: u32,
    mtime: (i64, u32),
}

/// A layer being made.
#[derive(Debug)]
pub(super) struct Tree<'a> {
    root: OwnedFd,
    limits: &'a Limits,
    /// Owners, devices and `trusted.` attributes are for root only; without it the layer is for tests and fuzzing.
    privileged: bool,
    open: HashMap<Vec<u8>, Rc<OwnedFd>>,
    late: BTreeMap<Vec<u8>, Late>,
    found: Extracted,
    unchecked: u64,
}

/// Joins an entry's path to what it means below the root, without `.`, `//` and a leading slash; `None` with `..` in it.
fn normalise(path: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(path.len());
    for part in path.split(|b| *b == b'/').filter(|part| !part.is_empty() && *part != b".") {
        if part == b".." {
            return None;
        }
        if !out.is_empty() {
            out.push(b'/');
        }
        out.extend_from_slice(part);
    }
    Some(out)
}

/// Parent and last component of a normalised path.
fn split(path: &[u8]) -> (&[u8], &[u8]) {
    path.iter().rposition(|b| *b == b'/').map_or((&path[..0], path), |at| (&path[..at], &path[at + 1..]))
}

/// Attributes that an archive may set. Everything else would speak to overlayfs, to the host's security modules or to
/// its integrity measurement.
fn is_allowed(name: &[u8]) -> bool {
    matches!(name, b"security.capability" | b"system.posix_acl_access" | b"system.posix_acl_default")
        || (name.starts_with(b"user.") && !name.starts_with(b"user.overlay.") && name.len() > 5)
}

fn os(bytes: &[u8]) -> &OsStr {
    OsStr::from_bytes(bytes)
}

fn shown(path: &[u8]) -> String {
    String::from_utf8_lossy(path).into_owned()
}

fn refused(path: &[u8], problem: &'static str) -> ExtractError {
    ExtractError::Refused { path: shown(path), problem }
}

impl<'a> Tree<'a> {
    /// A layer below `root`, an empty directory.
    pub(super) fn new(root: OwnedFd, limits: &'a Limits) -> Self {
        let found = Extracted { implied: [Vec::new()].into(), ..Extracted::default() };
        Self {
            root,
            limits,
            privileged: nix::unistd::geteuid().is_root(),
            open: HashMap::new(),
            late: BTreeMap::new(),
            found,
            unchecked: SPACE_CHECK,
        }
    }

    /// Makes what `entry` says; reads its data from `archive`.
    pub(super) fn place<R: BufRead>(&mut self, entry: &Entry, archive: &mut Archive<R>) -> Result<(), ExtractError> {
        let path = normalise(&entry.path).ok_or_else(|| refused(&entry.path, "the path has `..` in it"))?;
        let (parent, name) = split(&path);
        if name.is_empty() {
            // The root itself: only as a directory can it mean anything.
            return if entry.kind == Kind::Directory { self.describe(entry, path, None) } else { Ok(()) };
        }
        if let Some(hidden) = name.strip_prefix(WHITEOUT) {
            return self.whiteout(parent, name, hidden, &path);
        }
        let dir = self.directory(parent)?;
        let dir = dir.as_fd();
        if let Kind::Char { device: (0, 0) } = entry.kind {
            // overlayfs's own whiteout, as someone packed it who did not translate.
            return self.hide(dir, name, &path);
        }
        if entry.kind == Kind::HardLink && normalise(&entry.link).as_deref() == Some(&path) {
            // To make room for it would remove what it means.
            return Ok(());
        }
        let existed = self.make_room(dir, name, &path, entry.kind)?;
        match entry.kind {
            Kind::Directory => {
                if existed != Existed::Directory {
                    nix::sys::stat::mkdirat(dir, os(name), Mode::S_IRWXU).op("make directory", os(&path))?;
                }
                let opaque = existed == Existed::Whiteout;
                return self.describe(entry, path, Some(opaque));
            }
            Kind::File => return self.file(entry, archive, dir, name, &path),
            Kind::HardLink => return self.hard_link(entry, dir, name, path.clone()),
            Kind::SymLink => {
                nix::unistd::symlinkat(os(&entry.link), dir, os(name)).op("make link", os(&path))?;
            }
            Kind::Fifo => self.node(dir, name, &path, SFlag::S_IFIFO, (0, 0))?,
            Kind::Char { device } => self.node(dir, name, &path, SFlag::S_IFCHR, device)?,
            Kind::Block { device } => self.node(dir, name, &path, SFlag::S_IFBLK, device)?,
        }
        self.dress(entry, dir, name, &path)
    }

    fn node(
        &self,
        dir: BorrowedFd<'_>,
        name: &[u8],
        path: &[u8],
        kind: SFlag,
        device: (u32, u32),
    ) -> Result<(), OpError> {
        let device = nix::sys::stat::makedev(device.0.into(), device.1.into());
        nix::sys::stat::mknodat(dir, os(name), kind, Mode::from_bits_truncate(0o600), device)
            .op("make device or FIFO", os(path))
    }

    /// Owner, attributes, mode and time of what is neither a file nor a directory.
    fn dress(&self, entry: &Entry, dir: BorrowedFd<'_>, name: &[u8], path: &[u8]) -> Result<(), ExtractError> {
        if self.privileged && (entry.uid, entry.gid) != (0, 0) {
            let (uid, gid) = (entry.uid.into(), entry.gid.into());
            nix::unistd::fchownat(dir, os(name), Some(uid), Some(gid), AtFlags::AT_SYMLINK_NOFOLLOW)
                .op("set owner of", os(path))?;
        }
        self.attributes(entry, path, |key, value| xattr::set_at(dir, os(name), key, value))?;
        if entry.kind != Kind::SymLink {
            // Made a moment ago by us and no link, so this cannot lead anywhere.
            nix::sys::stat::fchmodat(dir, os(name), Mode::from_bits_truncate(entry.mode), FchmodatFlags::FollowSymlink)
                .op("set mode of", os(path))?;
        }
        let time = TimeSpec::new(entry.mtime.0, entry.mtime.1.into());
        nix::sys::stat::utimensat(dir, os(name), &time, &time, UtimensatFlags::NoFollowSymlink)
            .op("set time of", os(path))?;
        Ok(())
    }

    fn attributes(
        &self,
        entry: &Entry,
        path: &[u8],
        set: impl Fn(&CStr, &[u8]) -> std::io::Result<()>,
    ) -> Result<(), ExtractError> {
        for (name, value) in entry.xattrs.iter().filter(|(name, _)| is_allowed(name)) {
            if !self.privileged && !name.starts_with(b"user.") {
                continue;
            }
            let key = CString::new(&name[..]).map_err(|_| refused(path, "an attribute's name holds a NUL"))?;
            match set(&key, value) {
                // user.* on links and devices is not allowed by the kernel, and a file system may know no ACLs.
                Err(e) if matches!(e.raw_os_error(), Some(libc::EOPNOTSUPP)) => {}
                Err(e) if e.raw_os_error() == Some(libc::EPERM) && name.starts_with(b"user.") => {}
                done => done.op("set an attribute of", os(path))?,
            }
        }
        Ok(())
    }

    fn file<R: BufRead>(
        &mut self,
        entry: &Entry,
        archive: &mut Archive<R>,
        dir: BorrowedFd<'_>,
        name: &[u8],
        path: &[u8],
    ) -> Result<(), ExtractError> {
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let fd = nix::fcntl::openat(dir, os(name), flags, Mode::S_IRUSR | Mode::S_IWUSR).op("make file", os(path))?;
        let mut file = std::fs::File::from(fd);
        loop {
            let written = archive.data(|chunk| file.write_all(chunk).op("write file", os(path)))?? as u64;
            if written == 0 {
                break;
            }
            self.account(written)?;
        }
        if self.privileged && (entry.uid, entry.gid) != (0, 0) {
            nix::unistd::fchown(&file, Some(entry.uid.into()), Some(entry.gid.into())).op("set owner of", os(path))?;
        }
        // After the owner, whose change takes capabilities away, and before the mode, which might not let us write.
        self.attributes(entry, path, |key, value| xattr::set(file.as_fd(), key, value))?;
        nix::sys::stat::fchmod(&file, Mode::from_bits_truncate(entry.mode)).op("set mode of", os(path))?;
        let time = TimeSpec::new(entry.mtime.0, entry.mtime.1.into());
        nix::sys::stat::futimens(&file, &time, &time).op("set time of", os(path))?;
        Ok(())
    }

    fn account(&mut self, written: u64) -> Result<(), ExtractError> {
        self.found.bytes += written;
        if self.found.bytes > self.limits.bytes {
            return Err(ExtractError::TooLarge { what: "bytes", limit: self.limits.bytes });
        }
        self.unchecked += written;
        if self.unchecked >= SPACE_CHECK {
            self.unchecked = 0;
            let space = nix::sys::statvfs::fstatvfs(&self.root).op("read the free space of", "the image store")?;
            let free = space.blocks_available().saturating_mul(space.fragment_size());
            if free < self.limits.reserve {
                return Err(ExtractError::NoSpace { free, reserve: self.limits.reserve });
            }
        }
        Ok(())
    }

    fn hard_link(
        &mut self,
        entry: &Entry,
        dir: BorrowedFd<'_>,
        name: &[u8],
        path: Vec<u8>,
    ) -> Result<(), ExtractError> {
        let target = normalise(&entry.link).ok_or_else(|| refused(&entry.link, "the link's target has `..` in it"))?;
        let (parent, target_name) = split(&target);
        if target_name.is_empty() {
            return Err(refused(&path, "a hard link to the root"));
        }
        let made = match self.open_dir(parent) {
            Ok(from) => nix::unistd::linkat(from.as_fd(), os(target_name), dir, os(name), AtFlags::empty()),
            Err(errno) => Err(errno),
        };
        match made {
            Err(Errno::ENOENT | Errno::ENOTDIR) => self.found.links.push((path, target)),
            made => made.op("make hard link", os(&path))?,
        }
        Ok(())
    }

    /// Takes away what stands in the place of a new entry, except a directory for a directory.
    fn make_room(
        &mut self,
        dir: BorrowedFd<'_>,
        name: &[u8],
        path: &[u8],
        kind: Kind,
    ) -> Result<Existed, ExtractError> {
        let existed = Existed::at(dir, name).op("look at", os(path))?;
        match existed {
            Existed::Nothing => {}
            Existed::Directory if kind == Kind::Directory => {}
            Existed::Directory => super::super::tree::remove_at(dir, os(name)).op("replace directory", os(path))?,
            Existed::Whiteout | Existed::Other => {
                nix::unistd::unlinkat(dir, os(name), nix::unistd::UnlinkatFlags::NoRemoveDir)
                    .op("replace", os(path))?;
            }
        }
        if existed != Existed::Nothing && !(existed == Existed::Directory && kind == Kind::Directory) {
            self.forget(path);
        }
        self.found.links.retain(|(link, _)| link != path);
        Ok(existed)
    }

    /// Forgets what was known of a path that was replaced, and of everything below it (also where it was a link).
    fn forget(&mut self, path: &[u8]) {
        self.open.clear();
        let below = |other: &[u8]| other == path || (other.starts_with(path) && other.get(path.len()) == Some(&b'/'));
        self.late.retain(|other, _| !below(other));
        self.found.implied.retain(|other| !below(other));
        self.found.links.retain(|(link, _)| !below(link));
    }

    fn whiteout(&mut self, parent: &[u8], name: &[u8], hidden: &[u8], path: &[u8]) -> Result<(), ExtractError> {
        if name != OPAQUE && name.starts_with(AUFS) {
            // Bookkeeping of the file system that the format comes from.
            return Ok(());
        }
        if matches!(hidden, b"" | b"." | b"..") {
            return Err(refused(path, "a whiteout of nothing"));
        }
        // Where this layer has a file, a link or a whiteout in place of the directory, everything in it is hidden already;
        // through a link the wrong thing would be hidden. Some tools write such whiteouts for a directory that was replaced.
        match self.open_with(parent, ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS) {
            Err(Errno::ENOTDIR | Errno::ELOOP) => return Ok(()),
            Err(Errno::ENOENT) => {}
            opened => drop(opened.op("open directory", os(parent))?),
        }
        let dir = self.directory(parent)?;
        if name == OPAQUE { self.make_opaque(dir.as_fd(), path) } else { self.hide(dir.as_fd(), hidden, path) }
    }

    /// Hides `name` of the layers below. An entry of this layer hides it already, a directory does so when it is opaque.
    fn hide(&mut self, dir: BorrowedFd<'_>, name: &[u8], path: &[u8]) -> Result<(), ExtractError> {
        match Existed::at(dir, name).op("look at", os(path))? {
            Existed::Nothing => {
                // The kernel lets anybody make a device 0/0 (Linux 5.8).
                nix::sys::stat::mknodat(dir, os(name), SFlag::S_IFCHR, Mode::empty(), 0)
                    .op("make whiteout", os(path))?;
            }
            Existed::Directory => {
                let dir = open_below(dir, name).op("open directory", os(path))?;
                self.make_opaque(dir.as_fd(), path)?;
            }
            Existed::Whiteout | Existed::Other => {}
        }
        Ok(())
    }

    fn make_opaque(&self, dir: BorrowedFd<'_>, path: &[u8]) -> Result<(), ExtractError> {
        let name = if self.privileged { c"trusted.overlay.opaque" } else { c"user.overlay.opaque" };
        Ok(xattr::set(dir, name, b"y").op("make opaque", os(path))?)
    }

    /// Owner and attributes of a directory now, mode and time at the end.
    fn describe(&mut self, entry: &Entry, path: Vec<u8>, opaque: Option<bool>) -> Result<(), ExtractError> {
        let dir = self.directory(&path)?;
        if self.privileged {
            nix::unistd::fchown(dir.as_fd(), Some(entry.uid.into()), Some(entry.gid.into()))
                .op("set owner of", os(&path))?;
        }
        self.attributes(entry, &path, |key, value| xattr::set(dir.as_fd(), key, value))?;
        if opaque == Some(true) {
            self.make_opaque(dir.as_fd(), &path)?;
        }
        self.found.implied.remove(&path);
        self.late.insert(path, Late { mode: entry.mode, mtime: entry.mtime });
        Ok(())
    }

    fn open_dir(&self, path: &[u8]) -> nix::Result<OwnedFd> {
        self.open_with(path, ResolveFlag::RESOLVE_IN_ROOT)
    }

    fn open_with(&self, path: &[u8], resolve: ResolveFlag) -> nix::Result<OwnedFd> {
        let path = if path.is_empty() { b"." } else { path };
        let how = OpenHow::new()
            .flags(OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC)
            .resolve(resolve | ResolveFlag::RESOLVE_NO_MAGICLINKS | ResolveFlag::RESOLVE_NO_XDEV);
        loop {
            match nix::fcntl::openat2(&self.root, os(path), how) {
                // A rename somewhere on the machine while `..` of a link was walked (openat2(2)).
                Err(Errno::EAGAIN | Errno::EINTR) => {}
                done => return done,
            }
        }
    }

    /// Opens a directory of the layer, and makes it and those above it where no entry has yet.
    fn directory(&mut self, path: &[u8]) -> Result<Rc<OwnedFd>, ExtractError> {
        if let Some(dir) = self.open.get(path) {
            return Ok(Rc::clone(dir));
        }
        let dir = match self.open_dir(path) {
            Err(Errno::ENOENT | Errno::ENOTDIR) => {
                self.imply(path)?;
                self.open_dir(path).op("open directory", os(path))?
            }
            opened => opened.op("open directory", os(path))?,
        };
        if self.open.len() >= OPEN_DIRS {
            self.open.clear();
        }
        let dir = Rc::new(dir);
        self.open.insert(path.to_vec(), Rc::clone(&dir));
        Ok(dir)
    }

    fn imply(&mut self, path: &[u8]) -> Result<(), ExtractError> {
        let mut above = self.open_dir(b"").op("open", "the layer's root")?;
        let ends = path.iter().enumerate().filter(|(_, b)| **b == b'/').map(|(at, _)| at).chain([path.len()]);
        for end in ends {
            let (prefix, (_, name)) = (&path[..end], split(&path[..end]));
            above = match self.open_dir(prefix) {
                Err(Errno::ENOENT | Errno::ENOTDIR) => {
                    let whiteout = Existed::at(above.as_fd(), name).op("look at", os(prefix))? == Existed::Whiteout;
                    if whiteout {
                        nix::unistd::unlinkat(&above, os(name), nix::unistd::UnlinkatFlags::NoRemoveDir)
                            .op("replace", os(prefix))?;
                    }
                    nix::sys::stat::mkdirat(&above, os(name), Mode::S_IRWXU).op("make directory", os(prefix))?;
                    self.found.implied.insert(prefix.to_vec());
                    self.late.insert(prefix.to_vec(), Late { mode: 0o755, mtime: (0, 0) });
                    let dir = self.open_dir(prefix).op("open directory", os(prefix))?;
                    if whiteout {
                        self.make_opaque(dir.as_fd(), prefix)?;
                    }
                    dir
                }
                opened => opened.op("open directory", os(prefix))?,
            };
        }
        Ok(())
    }

    /// Gives the directories their modes and times, deepest first, and tells what was found.
    pub(super) fn finish(mut self) -> Result<Extracted, ExtractError> {
        self.open.clear();
        let late = std::mem::take(&mut self.late);
        if !late.contains_key(&b""[..]) {
            nix::sys::stat::fchmod(&self.root, Mode::from_bits_truncate(0o755))
                .op("set mode of", "the layer's root")?;
        }
        for (path, late) in late.iter().rev() {
            let dir = match self.open_dir(path) {
                // It was named through a link, and what the link led to was replaced.
                Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => continue,
                opened => opened.op("open directory", os(path))?,
            };
            nix::sys::stat::fchmod(&dir, Mode::from_bits_truncate(late.mode)).op("set mode of", os(path))?;
            let time = TimeSpec::new(late.mtime.0, late.mtime.1.into());
            nix::sys::stat::futimens(&dir, &time, &time).op("set time of", os(path))?;
        }
        Ok(self.found)
    }
}

/// What stands where an entry is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Existed {
    Nothing,
    Directory,
    Whiteout,
    Other,
}

impl Existed {
    fn at(dir: BorrowedFd<'_>, name: &[u8]) -> nix::Result<Self> {
        let stat = match nix::sys::stat::fstatat(dir, os(name), AtFlags::AT_SYMLINK_NOFOLLOW) {
            Err(Errno::ENOENT) => return Ok(Self::Nothing),
            stat => stat?,
        };
        let kind = SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits());
        Ok(match kind {
            SFlag::S_IFDIR => Self::Directory,
            SFlag::S_IFCHR if stat.st_rdev == 0 => Self::Whiteout,
            _ => Self::Other,
        })
    }
}

fn open_below(dir: BorrowedFd<'_>, name: &[u8]) -> nix::Result<OwnedFd> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    nix::fcntl::openat(dir, os(name), flags, Mode::empty())
}
