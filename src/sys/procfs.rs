//! Reading files that the kernel makes up as they are read, and gives no size of.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

/// Enough for most of them: one read(2) and one that finds the end. The first of the standard library's reads takes 32
/// bytes where there is no size, and the kernel begins anew for each.
const USUAL: usize = 8192;

/// The text of such a file. Anybody can put bytes that are no text into some of them, by the name of a process or of a
/// place to mount at: those are shown as U+FFFD, and the rest stays readable.
pub fn read(path: impl AsRef<Path>) -> io::Result<String> {
    let bytes = read_bytes(path)?;
    Ok(String::from_utf8(bytes).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned()))
}

/// The bytes of such a file.
pub fn read_bytes(path: impl AsRef<Path>) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(USUAL);
    File::open(path)?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The fields of a text of proc_pid_stat(5) from the third on. The name before them may hold anything, parentheses too;
/// what follows the last one is fixed. `None` where there is none.
pub fn stat_fields(stat: &str) -> Option<impl Iterator<Item = &str>> {
    Some(stat.rsplit_once(')')?.1.split_ascii_whitespace())
}

/// A path in a mount table (proc_pid_mountinfo(5)): blanks and backslashes are three octal digits there.
pub fn unescape(text: &[u8]) -> OsString {
    let (mut plain, mut rest) = (Vec::with_capacity(text.len()), text);
    while let Some((first, after)) = rest.split_first() {
        let escaped = match rest {
            [b'\\', b'0', b'4', b'0', after @ ..] => Some((b' ', after)),
            [b'\\', b'0', b'1', b'1', after @ ..] => Some((b'\t', after)),
            [b'\\', b'0', b'1', b'2', after @ ..] => Some((b'\n', after)),
            [b'\\', b'1', b'3', b'4', after @ ..] => Some((b'\\', after)),
            _ => None,
        };
        let (byte, after) = escaped.unwrap_or((*first, after));
        plain.push(byte);
        rest = after;
    }
    OsString::from_vec(plain)
}

/// Opens once more, to read it, the file that `file` is (which may be open as a path only). The same file for certain:
/// no name is looked up.
pub fn reopen(file: &OwnedFd) -> io::Result<File> {
    use std::os::fd::AsRawFd;
    File::open(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_whole_whatever_its_length() {
        assert_eq!(read("/proc/self/comm").unwrap(), std::fs::read_to_string("/proc/self/comm").unwrap());
        let long = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(long.path(), "line\n".repeat(10_000)).unwrap();
        assert_eq!(read(long.path()).unwrap().len(), 50_000);
        std::fs::write(long.path(), b"7 (\xff) S").unwrap();
        assert_eq!(read(long.path()).unwrap(), "7 (\u{fffd}) S");
        assert_eq!(read("/nonexistent").unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
