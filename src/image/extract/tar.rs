//! Reads a tar archive of foreign bytes: headers, PAX records and GNU long names, with bounds on all of them.
//!
//! One reading for each byte sequence: a PAX `size` replaces the header's, and extension records apply to the next entry
//! that is a file of some kind, never to another extension. Types that have no data have none whatever their size field
//! says, as in Go's reader, by which nearly all layers are made. Checksums must be right. Global PAX records are skipped,
//! sparse files are refused.

use std::io::{self, BufRead};

/// The longest path or link target taken, in bytes: the kernel's own limit (`PATH_MAX`).
pub const MAX_PATH: usize = 4096;
/// The most bytes of extension records for one entry; extended attributes of 64 KiB must fit.
const MAX_EXTENSION: u64 = 1 << 20;
const BLOCK: usize = 512;

/// An archive cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum TarError {
    /// The bytes are no tar, or one that is not understood.
    #[error("read the tar at byte {offset}: {problem}")]
    Format {
        /// Where in the archive.
        offset: u64,
        /// What is wrong there.
        problem: &'static str,
    },
    /// The bytes could not be had: the download broke off, or they do not decompress.
    #[error("read the layer")]
    Read(#[source] io::Error),
}

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A regular file, with data.
    File,
    /// Another name of a file, see [`Entry::link`].
    HardLink,
    /// A symbolic link, see [`Entry::link`].
    SymLink,
    /// A character device.
    Char {
        /// Major and minor number.
        device: (u32, u32),
    },
    /// A block device.
    Block {
        /// Major and minor number.
        device: (u32, u32),
    },
    /// A directory.
    Directory,
    /// A FIFO.
    Fifo,
}

/// One entry of an archive. Nothing in it is trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What it is.
    pub kind: Kind,
    /// Its path as written.
    pub path: Vec<u8>,
    /// Target of a hard or symbolic link as written, else empty.
    pub link: Vec<u8>,
    /// Length of its data in bytes.
    pub size: u64,
    /// Permission bits with setuid, setgid and sticky.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Time of last change: seconds since 1970 and nanoseconds.
    pub mtime: (i64, u32),
    /// Extended attributes.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// Extension records that wait for the entry they describe.
#[derive(Debug, Default)]
struct Extensions {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    uid: Option<u32>,
    gid: Option<u32>,
    mtime: Option<(i64, u32)>,
    xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    bytes: u64,
}

/// An archive being read from front to back.
#[derive(Debug)]
pub struct Archive<R> {
    input: R,
    offset: u64,
    /// Data of the current entry that is not read yet.
    data: u64,
    /// Bytes after the data up to the next block.
    padding: u64,
    ended: bool,
}

impl<R: BufRead> Archive<R> {
    /// Reads the archive that `input` gives.
    pub fn new(input: R) -> Self {
        Self { input, offset: 0, data: 0, padding: 0, ended: false }
    }

    fn refuse<T>(&self, problem: &'static str) -> Result<T, TarError> {
        Err(TarError::Format { offset: self.offset, problem })
    }

    /// The next entry; what was not read of the last one's data is passed over. `None` at the archive's end.
    pub fn next_entry(&mut self) -> Result<Option<Entry>, TarError> {
        let mut ext = Extensions::default();
        loop {
            self.skip_data()?;
            let Some(block) = self.header()? else {
                if ext.bytes > 0 {
                    return self.refuse("the archive ends after an extension record");
                }
                return Ok(None);
            };
            let Some(size) = number(&block[124..136]).and_then(|n| u64::try_from(n).ok()) else {
                return self.refuse("the size is no number");
            };
            match block[156] {
                b'x' => {
                    let records = self.extension(size, &mut ext)?;
                    if let Err(problem) = pax(&records, &mut ext) {
                        return self.refuse(problem);
                    }
                }
                b'L' => ext.path = Some(until_nul(&self.extension(size, &mut ext)?).to_vec()),
                b'K' => ext.link = Some(until_nul(&self.extension(size, &mut ext)?).to_vec()),
                b'g' => self.announce(size)?,
                _ => return self.entry(&block, size, ext).map(Some),
            }
        }
    }

    /// Takes up to one buffer of the current entry's data: gives it to `with` and returns its length, 0 at its end.
    pub fn data<E>(&mut self, with: impl FnOnce(&[u8]) -> Result<(), E>) -> Result<Result<usize, E>, TarError> {
        if self.data == 0 {
            return Ok(Ok(0));
        }
        let chunk = match self.input.fill_buf() {
            Ok([]) => return self.refuse("the data ends early"),
            Ok(chunk) => &chunk[..chunk.len().min(usize::try_from(self.data).unwrap_or(usize::MAX))],
            Err(e) => return Err(TarError::Read(e)),
        };
        let len = chunk.len();
        let done = with(chunk);
        self.input.consume(len);
        self.offset += len as u64;
        self.data -= len as u64;
        Ok(done.map(|()| len))
    }

    fn announce(&mut self, size: u64) -> Result<(), TarError> {
        // Past this no sum of offsets can overflow.
        if size > 1 << 60 {
            return self.refuse("the size is absurd");
        }
        self.data = size;
        self.padding = size.next_multiple_of(BLOCK as u64) - size;
        Ok(())
    }

    fn skip_data(&mut self) -> Result<(), TarError> {
        while self.data > 0 {
            let Ok(_) = self.data(|_| Ok::<_, std::convert::Infallible>(()))?;
        }
        self.data = std::mem::take(&mut self.padding);
        while self.data > 0 {
            let Ok(_) = self.data(|_| Ok::<_, std::convert::Infallible>(()))?;
        }
        Ok(())
    }

    /// Reads one block; `None` when the input ends in front of it.
    fn block(&mut self) -> Result<Option<[u8; BLOCK]>, TarError> {
        let mut block = [0; BLOCK];
        let mut have = 0;
        while have < BLOCK {
            match self.input.read(&mut block[have..]) {
                Ok(0) if have == 0 => return Ok(None),
                Ok(0) => return self.refuse("the archive ends inside a block"),
                Ok(n) => have += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(TarError::Read(e)),
            }
        }
        self.offset += BLOCK as u64;
        Ok(Some(block))
    }

    /// Reads a header and checks its sum; `None` at the end: two blocks of zeros, or fewer where the input ends.
    fn header(&mut self) -> Result<Option<[u8; BLOCK]>, TarError> {
        if self.ended {
            return Ok(None);
        }
        let Some(block) = self.block()? else {
            self.ended = true;
            return Ok(None);
        };
        if block.iter().all(|b| *b == 0) {
            self.ended = true;
            return match self.block()? {
                Some(next) if next.iter().any(|b| *b != 0) => self.refuse("a single block of zeros inside the archive"),
                _ => Ok(None),
            };
        }
        let sum = |field: &dyn Fn(u8) -> i64| -> i64 {
            let blank = 8 * i64::from(b' ');
            let sum = block.iter().enumerate().filter(|(i, _)| !(148..156).contains(i)).map(|(_, b)| field(*b));
            sum.sum::<i64>() + blank
        };
        let said = number(&block[148..156]);
        // Old archives sum signed bytes.
        if said != Some(sum(&|b| i64::from(b))) && said != Some(sum(&|b| i64::from(b as i8))) {
            return self.refuse("the header's checksum is wrong");
        }
        Ok(Some(block))
    }

    fn extension(&mut self, size: u64, ext: &mut Extensions) -> Result<Vec<u8>, TarError> {
        ext.bytes = ext.bytes.saturating_add(size.max(1));
        if ext.bytes > MAX_EXTENSION {
            return self.refuse("the extension records of an entry are over 1 MiB");
        }
        self.announce(size)?;
        let mut bytes = Vec::new();
        while self.data > 0 {
            let Ok(_) = self.data(|chunk| {
                bytes.extend_from_slice(chunk);
                Ok::<_, std::convert::Infallible>(())
            })?;
        }
        Ok(bytes)
    }

    fn entry(&mut self, block: &[u8; BLOCK], size: u64, ext: Extensions) -> Result<Entry, TarError> {
        let small = |range: std::ops::Range<usize>| number(&block[range]).and_then(|n| u32::try_from(n).ok());
        let posix = &block[257..263] == b"ustar\0";
        let name = until_nul(&block[..100]);
        let path = ext.path.unwrap_or_else(|| match until_nul(&block[345..500]) {
            prefix if posix && !prefix.is_empty() => [prefix, b"/", name].concat(),
            _ => name.to_vec(),
        });
        let device = || small(329..337).zip(small(337..345));
        let kind = match block[156] {
            0 if path.ends_with(b"/") => Kind::Directory,
            0 | b'0' | b'7' => Kind::File,
            b'1' => Kind::HardLink,
            b'2' => Kind::SymLink,
            b'5' => Kind::Directory,
            b'6' => Kind::Fifo,
            b'3' | b'4' => match (device(), block[156]) {
                (Some(device), b'3') => Kind::Char { device },
                (Some(device), _) => Kind::Block { device },
                (None, _) => return self.refuse("the device numbers are no numbers"),
            },
            b'S' => return self.refuse("sparse files are not supported"),
            _ => return self.refuse("an entry is of a type that is not known"),
        };
        let (Some(mode), Some(uid), Some(gid)) =
            (small(100..108), ext.uid.or_else(|| small(108..116)), ext.gid.or_else(|| small(116..124)))
        else {
            return self.refuse("mode, owner or group are no 32 bit numbers");
        };
        let Some(mtime) = ext.mtime.or_else(|| number(&block[136..148]).map(|s| (s, 0))) else {
            return self.refuse("the time is no number");
        };
        let link = ext.link.unwrap_or_else(|| until_nul(&block[157..257]).to_vec());
        let link = if matches!(kind, Kind::HardLink | Kind::SymLink) { link } else { Vec::new() };
        if path.len() > MAX_PATH || link.len() > MAX_PATH {
            return self.refuse("a path is longer than 4096 bytes");
        }
        if path.contains(&0) || link.contains(&0) {
            return self.refuse("a path holds a NUL");
        }
        let size = if kind == Kind::File { ext.size.unwrap_or(size) } else { 0 };
        self.announce(size)?;
        Ok(Entry { kind, path, link, size, mode: mode & 0o7777, uid, gid, mtime, xattrs: ext.xattrs })
    }
}

fn until_nul(field: &[u8]) -> &[u8] {
    field.split(|b| *b == 0).next().unwrap_or_default()
}

/// A number field: octal digits between blanks, or (first bit set) big-endian two's complement.
fn number(field: &[u8]) -> Option<i64> {
    let first = *field.first()?;
    if first & 0x80 != 0 {
        let start: i128 = if first & 0x40 != 0 { -1 } else { 0 };
        let mut value = start << 6 | i128::from(first & 0x3f);
        for byte in &field[1..] {
            value = value.checked_mul(256)? | i128::from(*byte);
        }
        return i64::try_from(value).ok();
    }
    let digits = until_nul(field).trim_ascii();
    digits.iter().try_fold(0i64, |value, byte| match byte {
        b'0'..=b'7' => value.checked_mul(8)?.checked_add(i64::from(byte - b'0')),
        _ => None,
    })
}

/// Reads PAX records, `LENGTH KEY=VALUE\n` each, where LENGTH counts all of the record.
fn pax(mut records: &[u8], ext: &mut Extensions) -> Result<(), &'static str> {
    const BAD: &str = "a PAX record is malformed";
    while !records.is_empty() {
        let blank = records.iter().position(|b| *b == b' ').ok_or(BAD)?;
        let length: usize = decimal(&records[..blank]).and_then(|n| n.try_into().ok()).ok_or(BAD)?;
        let (record, rest) = records.split_at_checked(length).ok_or(BAD)?;
        let record = record.get(blank + 1..).and_then(|r| r.strip_suffix(b"\n")).ok_or(BAD)?;
        let equals = record.iter().position(|b| *b == b'=').ok_or(BAD)?;
        let (key, value) = (&record[..equals], &record[equals + 1..]);
        keep(key, value, ext)?;
        records = rest;
    }
    Ok(())
}

fn keep(key: &[u8], value: &[u8], ext: &mut Extensions) -> Result<(), &'static str> {
    // POSIX: an empty value takes a record back.
    let given = !value.is_empty();
    let small = || decimal(value).and_then(|n| u32::try_from(n).ok());
    match key {
        b"path" => ext.path = given.then(|| value.to_vec()),
        b"linkpath" => ext.link = given.then(|| value.to_vec()),
        b"size" if given => ext.size = Some(decimal(value).ok_or("a PAX size is no number")?),
        b"uid" if given => ext.uid = Some(small().ok_or("a PAX owner is no number")?),
        b"gid" if given => ext.gid = Some(small().ok_or("a PAX group is no number")?),
        b"mtime" if given => ext.mtime = Some(time(value).ok_or("a PAX time is no number")?),
        _ if key.starts_with(b"GNU.sparse.") => return Err("sparse files are not supported"),
        _ => {
            if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
                ext.xattrs.retain(|(n, _)| n != name);
                ext.xattrs.push((name.to_vec(), value.to_vec()));
            }
        }
    }
    Ok(())
}

fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// Seconds with a fraction, such as `-12.5`: the nanoseconds count forwards.
fn time(text: &[u8]) -> Option<(i64, u32)> {
    let (negative, text) = text.strip_prefix(b"-").map_or((false, text), |rest| (true, rest));
    let dot = text.iter().position(|b| *b == b'.');
    let (whole, fraction) = dot.map_or((text, &b""[..]), |dot| (&text[..dot], &text[dot + 1..]));
    let seconds = i64::try_from(decimal(whole)?).ok()?;
    let mut nanos = 0;
    for i in 0..9 {
        let digit = fraction.get(i).copied().unwrap_or(b'0');
        nanos = nanos * 10 + u32::from(digit.is_ascii_digit().then(|| digit - b'0')?);
    }
    Some(match (negative, nanos) {
        (false, _) => (seconds, nanos),
        (true, 0) => (-seconds, 0),
        (true, _) => (-seconds - 1, 1_000_000_000 - nanos),
    })
}

#[cfg(test)]
#[path = "tar_tests.rs"]
mod tests;
