//! Kernel parameters under `/proc/sys`, in the calling thread's network namespace for those under `net`.

use crate::errno::{OpContext, OpError};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

fn path(name: &str) -> PathBuf {
    PathBuf::from("/proc/sys").join(name)
}

/// Reads the parameter `name`, such as `net/ipv4/ip_forward`; `None` where the kernel has none of that name.
pub(crate) fn read(name: &str) -> Result<Option<String>, OpError> {
    match fs::read_to_string(path(name)) {
        Ok(text) => Ok(Some(text.trim_end().to_owned())),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(OpError::new("read", path(name).display().to_string(), e)),
    }
}

/// Whether the kernel knows IPv6 at all (it does not after `ipv6.disable=1`).
pub(crate) fn has_ipv6() -> bool {
    Path::new("/proc/sys/net/ipv6").exists()
}

/// Sets the parameter `name`.
pub(crate) fn write(name: &str, value: &str) -> Result<(), OpError> {
    fs::write(path(name), value).op("write", path(name))
}

/// Sets the parameter `name` where the kernel has it: those of IPv6 are missing where it is switched off.
pub(crate) fn write_if_present(name: &str, value: &str) -> Result<(), OpError> {
    match write(name, value) {
        Err(e) if e.source.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Sets the parameter `name` unless it has that value: on a host where `/proc/sys` is read-only, a value that is
/// right already is no error.
pub(crate) fn ensure(name: &str, value: &str) -> Result<(), OpError> {
    if read(name)?.as_deref() == Some(value) { Ok(()) } else { write(name, value) }
}
