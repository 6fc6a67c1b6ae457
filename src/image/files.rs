//! Small durable files: written whole, synced, renamed into place, and the directory synced.

use crate::errno::{OpContext, OpError};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Whether a file must survive the machine, or only the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Durable {
    /// Synced, and its directory too.
    Yes,
    /// Left to the kernel.
    No,
}

/// Replaces the file at `path` by one with `content`; readers see the old or the new one, never a part.
pub(super) fn replace(path: &Path, content: &[u8], durable: Durable) -> Result<(), OpError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let new = Path::new(&name);
    let write = || -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(new)?;
        file.write_all(content)?;
        if durable == Durable::Yes {
            file.sync_all()?;
        }
        fs::rename(new, path)
    };
    write().op("write", path).inspect_err(|_| drop(fs::remove_file(new)))?;
    if durable == Durable::Yes { sync_parent(path) } else { Ok(()) }
}

/// Syncs the directory that holds `path`.
pub(super) fn sync_parent(path: &Path) -> Result<(), OpError> {
    let parent = path.parent().unwrap_or(Path::new("/"));
    File::open(parent).and_then(|dir| dir.sync_all()).op("sync", parent)
}

/// Reads at most `limit` bytes of a file; a longer one is an error, a missing one `None`.
pub(super) fn read(path: &Path, limit: u64) -> Result<Option<Vec<u8>>, OpError> {
    let file = match File::open(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened.op("open", path)?,
    };
    let mut content = Vec::new();
    file.take(limit + 1).read_to_end(&mut content).op("read", path)?;
    if content.len() as u64 > limit {
        return Err(OpError::new("read", path.display().to_string(), io::Error::from_raw_os_error(libc::EFBIG)));
    }
    Ok(Some(content))
}

/// Removes a file; that it is not there is no error.
pub(super) fn remove(path: &Path) -> Result<(), OpError> {
    match fs::remove_file(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done.op("remove", path),
    }
}

/// The names in a directory that are UTF-8; ours all are.
pub(super) fn names(dir: &Path) -> Result<Vec<String>, OpError> {
    let mut names = Vec::new();
    for entry in fs::read_dir(dir).op("read directory", dir)? {
        if let Ok(name) = entry.op("read directory", dir)?.file_name().into_string() {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}
