//! Reading files that the kernel makes up as they are read, and gives no size of.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// Enough for most of them: one read(2) and one that finds the end. The first of the standard library's reads takes 32
/// bytes where there is no size, and the kernel begins anew for each.
const USUAL: usize = 8192;

/// The text of such a file.
pub fn read(path: impl AsRef<Path>) -> io::Result<String> {
    let mut text = String::with_capacity(USUAL);
    File::open(path)?.read_to_string(&mut text)?;
    Ok(text)
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
        assert_eq!(read("/nonexistent").unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
