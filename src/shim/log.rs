//! A container's output as json-file lines: `{"log":"text\n","stream":"stdout","time":"2026-11-23T20:39:40.123456789Z"}`.
//!
//! One [`LogFile`] per container takes the pieces of both streams as they are read, keeps what is not a whole line yet,
//! and appends whole lines in one write each time, so that a reader sees no half of one. A line longer than
//! [`LONGEST_LINE`] is cut into several entries, of which only the last ends in `\n`. Bytes that are not UTF-8 become
//! U+FFFD. A container never waits for a full disk: what cannot be written is dropped and counted, and the count is a
//! line of its own as soon as there is room again.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

/// Bytes of output in one entry; as docker's.
pub const LONGEST_LINE: usize = 16 * 1024;

/// Which of a container's streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

impl Stream {
    fn name(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// Writes one container's log.
#[derive(Debug)]
pub struct LogFile<W = File> {
    file: W,
    /// Unfinished lines of the two streams.
    pending: [Vec<u8>; 2],
    /// Bytes of output that could not be written.
    lost: u64,
    /// The last write stopped in the middle of an entry.
    torn: bool,
}

impl LogFile {
    /// Opens the log at `path` to append to it.
    pub fn open(path: &Path) -> io::Result<Self> {
        Ok(Self::new(OpenOptions::new().create(true).append(true).open(path)?))
    }
}

impl<W: Write> LogFile<W> {
    fn new(file: W) -> Self {
        Self { file, pending: [Vec::new(), Vec::new()], lost: 0, torn: false }
    }

    /// Takes output that was read at `wall_ns` (nanoseconds since the epoch).
    pub fn take(&mut self, stream: Stream, mut bytes: &[u8], wall_ns: u64) {
        let mut entries = Vec::new();
        let mut carried = 0;
        while let Some(end) = bytes.iter().position(|b| *b == b'\n').map(|at| at + 1) {
            let (line, rest) = bytes.split_at(end);
            carried += self.entry(&mut entries, stream, line, wall_ns);
            bytes = rest;
        }
        let pending = &mut self.pending[stream as usize];
        pending.extend_from_slice(bytes);
        if pending.len() >= LONGEST_LINE {
            carried += self.entry(&mut entries, stream, &[], wall_ns);
        }
        self.append(&entries, carried, wall_ns);
    }

    /// Writes what is left of lines that never ended.
    pub fn finish(&mut self, wall_ns: u64) {
        for stream in [Stream::Stdout, Stream::Stderr] {
            let mut entries = Vec::new();
            let carried = self.entry(&mut entries, stream, &[], wall_ns);
            self.append(&entries, carried, wall_ns);
        }
    }

    /// Makes entries of what is pending and `line`; returns how many bytes of output they carry.
    fn entry(&mut self, out: &mut Vec<u8>, stream: Stream, line: &[u8], wall_ns: u64) -> u64 {
        // Taken, not cleared: a stream that rests keeps no memory.
        let mut whole = std::mem::take(&mut self.pending[stream as usize]);
        let line = if whole.is_empty() {
            line
        } else {
            whole.extend_from_slice(line);
            &whole
        };
        let mut rest = line;
        while !rest.is_empty() {
            let (part, after) = rest.split_at(cut(rest));
            write_entry(out, stream, part, wall_ns);
            rest = after;
        }
        line.len() as u64
    }

    fn append(&mut self, entries: &[u8], carried: u64, wall_ns: u64) {
        if entries.is_empty() {
            return;
        }
        let mut head = Vec::new();
        if self.torn {
            head.push(b'\n');
        }
        if self.lost > 0 {
            let text = format!("berth: {} bytes of output were lost: the log could not be written\n", self.lost);
            write_entry(&mut head, Stream::Stderr, text.as_bytes(), wall_ns);
        }
        if !head.is_empty() {
            if self.write(&head).is_err() {
                self.lost += carried;
                return;
            }
            self.lost = 0;
        }
        if self.write(entries).is_err() {
            self.lost += carried;
        }
    }

    fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.file.write(bytes) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => {
                    self.torn = bytes[n - 1] != b'\n';
                    bytes = &bytes[n..];
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        self.torn = false;
        Ok(())
    }
}

/// Where to cut a line that is too long: not inside a character.
fn cut(line: &[u8]) -> usize {
    if line.len() <= LONGEST_LINE {
        return line.len();
    }
    let continues = |b: &u8| *b & 0b1100_0000 == 0b1000_0000;
    let back = line[..=LONGEST_LINE].iter().rev().take_while(|b| continues(b)).count();
    if back > 3 { LONGEST_LINE } else { LONGEST_LINE - back }
}

fn write_entry(out: &mut Vec<u8>, stream: Stream, text: &[u8], wall_ns: u64) {
    out.extend_from_slice(b"{\"log\":\"");
    for chunk in text.utf8_chunks() {
        escape(out, chunk.valid().as_bytes());
        if !chunk.invalid().is_empty() {
            out.extend_from_slice("\u{fffd}".as_bytes());
        }
    }
    out.extend_from_slice(b"\",\"stream\":\"");
    out.extend_from_slice(stream.name().as_bytes());
    out.extend_from_slice(b"\",\"time\":\"");
    write_time(out, wall_ns);
    out.extend_from_slice(b"\"}\n");
}

/// As RFC 8259 wants text between quotes: quote, backslash and control characters escaped.
fn escape(out: &mut Vec<u8>, text: &[u8]) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    for &b in text {
        match b {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', b]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0..0x20 => {
                out.extend_from_slice(b"\\u00");
                out.extend_from_slice(&[HEX[usize::from(b >> 4)], HEX[usize::from(b & 15)]]);
            }
            _ => out.push(b),
        }
    }
}

/// `wall_ns` as RFC 3339 in UTC, always with nine digits of the second, so that times sort as text.
fn write_time(out: &mut Vec<u8>, wall_ns: u64) {
    let (seconds, ns) = (wall_ns / 1_000_000_000, wall_ns % 1_000_000_000);
    let (days, of_day) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days);
    // Writing to a Vec cannot fail.
    let _ = write!(
        out,
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{ns:09}Z",
        of_day / 3600,
        of_day / 60 % 60,
        of_day % 60
    );
}

/// Year, month and day of a number of days since 1970-01-01, by eras of 400 years that begin in March (so that the leap
/// day is the last of its year).
fn civil(days: u64) -> (u64, u64, u64) {
    const ERA: u64 = 146_097;
    // From 0000-03-01 to 1970-01-01.
    let days = days + 719_468;
    let (era, of_era) = (days / ERA, days % ERA);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const T: u64 = 1_795_466_380_123_456_789;

    fn lines(bytes: &[u8]) -> Vec<(String, String, String)> {
        let text = std::str::from_utf8(bytes).unwrap();
        assert!(text.is_empty() || text.ends_with('\n'));
        let parse = |line: &str| {
            let v: serde_json::Value = serde_json::from_str(line).unwrap();
            let field = |name: &str| v[name].as_str().unwrap().to_owned();
            (field("log"), field("stream"), field("time"))
        };
        text.lines().map(parse).collect()
    }

    #[test]
    fn lines_of_two_streams_do_not_mix() {
        let mut log = LogFile::new(Vec::new());
        log.take(Stream::Stdout, b"half ", T);
        log.take(Stream::Stderr, b"error\n", T);
        log.take(Stream::Stdout, b"whole\nrest", T + 1);
        log.finish(T + 2);
        let got: Vec<_> = lines(&log.file).into_iter().map(|(l, s, _)| (l, s)).collect();
        let line = |l: &str, s: &str| (l.to_owned(), s.to_owned());
        assert_eq!(got, [line("error\n", "stderr"), line("half whole\n", "stdout"), line("rest", "stdout")]);
    }

    #[test]
    fn times_are_rfc_3339_to_the_nanosecond() {
        let time = |ns| {
            let mut out = Vec::new();
            write_time(&mut out, ns);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(time(0), "1970-01-01T00:00:00.000000000Z");
        assert_eq!(time(T), "2026-11-23T20:39:40.123456789Z");
        assert_eq!(time(1_709_164_800_000_000_000), "2024-02-29T00:00:00.000000000Z");
        assert_eq!(time(4_107_542_399_000_000_000), "2100-02-28T23:59:59.000000000Z");
        assert_eq!(time(4_107_542_400_000_000_000), "2100-03-01T00:00:00.000000000Z");
    }

    #[test]
    fn a_long_line_is_cut_between_characters() {
        let mut log = LogFile::new(Vec::new());
        let text = "é".repeat(LONGEST_LINE);
        log.take(Stream::Stdout, format!("x{text}\n").as_bytes(), T);
        let got = lines(&log.file);
        assert_eq!(got.len(), 3);
        assert_eq!(got.iter().map(|l| l.0.as_str()).collect::<String>(), format!("x{text}\n"));
        assert!(got[0].0.len() <= LONGEST_LINE && !got[0].0.contains('\u{fffd}'));
    }

    /// Takes `room` bytes, then fails until told otherwise.
    struct Full {
        bytes: Vec<u8>,
        room: usize,
    }

    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let n = bytes.len().min(self.room);
            if n == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.room -= n;
            self.bytes.extend_from_slice(&bytes[..n]);
            Ok(n)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_a_full_disk_swallows_is_counted_and_the_next_line_is_whole() {
        let mut log = LogFile::new(Full { bytes: Vec::new(), room: 10 });
        log.take(Stream::Stdout, b"first\n", T);
        log.take(Stream::Stdout, b"second\n", T);
        log.file.room = usize::MAX;
        log.take(Stream::Stdout, b"third\n", T);
        log.take(Stream::Stdout, b"fourth\n", T);
        let text = String::from_utf8(log.file.bytes).unwrap();
        let (torn, rest) = text.split_once('\n').unwrap();
        assert_eq!(torn, "{\"log\":\"fi");
        let logs: Vec<String> = lines(rest.as_bytes()).into_iter().map(|l| l.0).collect();
        let lost = "berth: 13 bytes of output were lost: the log could not be written\n";
        assert_eq!(logs, [lost, "third\n", "fourth\n"]);
    }

    proptest! {
        #[test]
        fn any_bytes_in_any_pieces_come_back_as_lossy_text(
            pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..20),
        ) {
            let mut log = LogFile::new(Vec::new());
            for piece in &pieces {
                log.take(Stream::Stdout, piece, T);
            }
            log.finish(T);
            let got: String = lines(&log.file).into_iter().map(|l| l.0).collect();
            let whole = pieces.concat();
            let want: String = whole.split_inclusive(|b| *b == b'\n').map(String::from_utf8_lossy).collect();
            prop_assert_eq!(got, want);
        }
    }
}
