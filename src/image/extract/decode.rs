//! Decompression in a thread of its own, and the diff id of what comes out.
//!
//! Inflating a layer costs about as much as hashing and writing what comes out of it: the two run side by side. Buffers go
//! round: full ones forwards, empty ones back, so memory is bounded whatever the sizes are.

use super::{ExtractError, TarError};
use crate::image::digest::{Digest, Hasher};
use std::io::{self, BufRead, BufReader, Read};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

const BUFFER: usize = 256 << 10;
const BUFFERS: usize = 4;

/// The uncompressed bytes of a layer, hashed as they are read.
#[derive(Debug)]
pub(super) struct Decoded {
    full: Receiver<io::Result<Vec<u8>>>,
    empty: SyncSender<Vec<u8>>,
    current: Vec<u8>,
    at: usize,
    hasher: Hasher,
    total: u64,
    limit: u64,
}

/// The limit was passed; found again behind the reader that only knows `io::Error`.
#[derive(Debug, thiserror::Error)]
#[error("the layer has more than {0} bytes")]
struct TooLong(u64);

/// Gives the uncompressed bytes of `layer` to `with`.
pub(super) fn with_decoded<T>(
    layer: impl Read + Send,
    limit: u64,
    with: impl FnOnce(&mut Decoded) -> Result<T, ExtractError>,
) -> Result<T, ExtractError> {
    std::thread::scope(|scope| {
        let (to_full, full) = sync_channel(BUFFERS);
        let (empty, from_empty) = sync_channel(BUFFERS);
        scope.spawn(move || inflate(layer, &to_full, &from_empty));
        let mut decoded =
            Decoded { full, empty, current: Vec::new(), at: 0, hasher: Hasher::default(), total: 0, limit };
        // `decoded` is dropped with its channels when `with` is done, which ends the thread at its next buffer.
        with(&mut decoded).map_err(|error| match error {
            ExtractError::Tar(TarError::Read(e)) if e.get_ref().is_some_and(|e| e.is::<TooLong>()) => {
                ExtractError::TooLarge { what: "bytes", limit }
            }
            other => other,
        })
    })
}

fn inflate(layer: impl Read, full: &SyncSender<io::Result<Vec<u8>>>, empty: &Receiver<Vec<u8>>) {
    let fail = |error| drop(full.send(Err(error)));
    let mut decoder = match decoder(layer) {
        Ok(decoder) => decoder,
        Err(error) => return fail(error),
    };
    loop {
        let mut buffer = empty.try_recv().unwrap_or_else(|_| Vec::with_capacity(BUFFER));
        buffer.resize(BUFFER, 0);
        let mut len = 0;
        while len < BUFFER {
            match decoder.read(&mut buffer[len..]) {
                Ok(0) => break,
                Ok(n) => len += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return fail(e),
            }
        }
        buffer.truncate(len);
        // The other side is gone when it has failed; an empty buffer is the end.
        if full.send(Ok(buffer)).is_err() || len == 0 {
            return;
        }
    }
}

/// Chooses by the first bytes: media types are often wrong about compression, magic numbers are not.
fn decoder<'a>(layer: impl Read + 'a) -> io::Result<Box<dyn Read + 'a>> {
    let mut input = BufReader::with_capacity(BUFFER, layer);
    // One read may bring a single byte.
    let mut magic = Vec::with_capacity(4);
    input.by_ref().take(4).read_to_end(&mut magic)?;
    let head = io::Cursor::new(magic.clone());
    let input = BufReader::with_capacity(BUFFER, head.chain(input));
    Ok(match magic[..] {
        [0x1f, 0x8b, ..] => Box::new(flate2::bufread::MultiGzDecoder::new(input)),
        [0x28, 0xb5, 0x2f, 0xfd] => Box::new(zstd::stream::read::Decoder::with_buffer(input)?),
        // A skippable frame in front (0x184D2A50 to 5F).
        [0x50..=0x5f, 0x2a, 0x4d, 0x18] => Box::new(zstd::stream::read::Decoder::with_buffer(input)?),
        _ => Box::new(input),
    })
}

impl Decoded {
    /// Reads what is left behind the archive (padding, mostly) and gives the digest of everything.
    pub(super) fn finish(&mut self) -> Result<Digest, TarError> {
        loop {
            let len = self.fill_buf().map_err(TarError::Read)?.len();
            if len == 0 {
                return Ok(std::mem::take(&mut self.hasher).finish());
            }
            self.consume(len);
        }
    }
}

impl BufRead for Decoded {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.at == self.current.len() {
            let spent = std::mem::take(&mut self.current);
            self.at = 0;
            if spent.capacity() > 0 {
                // A full or closed channel only means that the buffer is not used again.
                let _ = self.empty.try_send(spent);
            }
            // The thread hangs up after its last buffer: nothing more comes.
            self.current = self.full.recv().unwrap_or_else(|_| Ok(Vec::new()))?;
            self.total += self.current.len() as u64;
            if self.total > self.limit {
                self.current.clear();
                return Err(io::Error::other(TooLong(self.limit)));
            }
            self.hasher.update(&self.current);
        }
        Ok(&self.current[self.at..])
    }

    fn consume(&mut self, n: usize) {
        self.at = (self.at + n).min(self.current.len());
    }
}

impl Read for Decoded {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let chunk = self.fill_buf()?;
        let n = chunk.len().min(out.len());
        out[..n].copy_from_slice(&chunk[..n]);
        self.consume(n);
        Ok(n)
    }
}
