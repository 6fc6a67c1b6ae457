//! Being told when processes of a group run out of memory.

use super::files::keyed;
use super::hierarchies::Controller;
use super::{Group, Version};
use crate::errno::{OpContext as _, OpError};
use nix::poll::PollFlags;
use nix::sys::eventfd::{EfdFlags, EventFd};
use std::fs::File;
use std::io::{ErrorKind, Read as _, Seek as _};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

/// Tells of a group's OOM events from now on. Dropping it ends that.
#[derive(Debug)]
pub struct OomWatch {
    source: Source,
}

#[derive(Debug)]
enum Source {
    /// v2: the kernel marks the file when a count in it changes, until it is read again.
    Counts { file: File, seen: u64 },
    /// v1: an eventfd, written by the kernel for each event, and when the group goes.
    Event(EventFd),
}

impl OomWatch {
    /// Starts to watch a group.
    pub(super) fn new(group: &Group, version: Version) -> Result<Self, OpError> {
        let missing = || OpError::new("watch", group.path().display().to_string(), ErrorKind::NotFound);
        let dir = group.controller_dir(Controller::Memory).ok_or_else(missing)?;
        if version == Version::V2 {
            let path = dir.join("memory.events");
            let mut source = Source::Counts { file: File::open(&path).op("open", &path)?, seen: 0 };
            source.count()?;
            return Ok(Self { source });
        }
        let path = dir.join("memory.oom_control");
        let control = File::open(&path).op("open", &path)?;
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        let event = EventFd::from_flags(flags).op("make", "an eventfd")?;
        let line = format!("{} {}", event.as_fd().as_raw_fd(), control.as_raw_fd());
        // The kernel keeps what it needs of the two.
        super::files::write(&dir.join("cgroup.event_control"), line)?;
        Ok(Self { source: Source::Event(event) })
    }

    /// What to poll, and for what.
    pub fn fd(&self) -> (BorrowedFd<'_>, PollFlags) {
        match &self.source {
            Source::Counts { file, .. } => (file.as_fd(), PollFlags::POLLPRI),
            Source::Event(event) => (event.as_fd(), PollFlags::POLLIN),
        }
    }

    /// How many events there were since the last time.
    pub fn take(&mut self) -> Result<u64, OpError> {
        self.source.count()
    }
}

impl Source {
    fn count(&mut self) -> Result<u64, OpError> {
        match self {
            Self::Counts { file, seen } => {
                let mut text = String::new();
                let read = file.rewind().and_then(|()| file.read_to_string(&mut text));
                match read {
                    // The group is gone, and what it had counted with it.
                    Err(e) if super::files::is_gone(&e) => return Ok(0),
                    other => other.op("read", "memory.events")?,
                };
                let now = keyed(&text, "oom_kill").unwrap_or(0);
                let new = now.saturating_sub(*seen);
                *seen = now;
                Ok(new)
            }
            Self::Event(event) => match event.read() {
                Ok(n) => Ok(n),
                Err(nix::Error::EAGAIN) => Ok(0),
                Err(e) => Err(e).op("read", "an eventfd"),
            },
        }
    }
}
