//! Blobs on their way in: written, digested and read by the unpacker at the same time.

use super::digest::Hasher;
use super::files::{self, Durable};
use super::{Digest, Store, StoreError};
use crate::errno::OpContext;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

/// How far a blob is.
#[derive(Debug, Default)]
struct Progress {
    at: Mutex<(u64, End)>,
    changed: Condvar,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum End {
    /// More comes.
    #[default]
    Open,
    /// All is there and its digest is right.
    Done,
    /// Nothing more comes.
    Broken,
}

impl Progress {
    fn tell(&self, written: u64, end: End) {
        *self.at.lock().unwrap_or_else(PoisonError::into_inner) = (written, end);
        self.changed.notify_all();
    }
}

/// Takes the bytes of one blob. Dropped before [`BlobWriter::finish`], it keeps what came, for the next writer to go on.
#[derive(Debug)]
pub struct BlobWriter {
    store: Store,
    digest: Digest,
    size: u64,
    written: u64,
    hasher: Hasher,
    file: File,
    path: PathBuf,
    progress: Arc<Progress>,
}

impl Store {
    /// The length of a blob that is here whole.
    pub fn has_blob(&self, digest: &Digest) -> Option<u64> {
        fs::metadata(self.path("blobs", &digest.hex())).ok().map(|meta| meta.len())
    }

    /// Reads a small blob (a manifest, a configuration) whole and checks it; `limit` in bytes.
    pub fn read_blob(&self, digest: &Digest, limit: u64) -> Result<Vec<u8>, StoreError> {
        let bytes = files::read(&self.path("blobs", &digest.hex()), limit)?.ok_or(StoreError::NoBlob(*digest))?;
        let actual = Digest::of(&bytes);
        if actual != *digest {
            self.drop_blob(digest)?;
            return Err(StoreError::WrongDigest { expected: *digest, actual });
        }
        Ok(bytes)
    }

    /// Keeps a small blob. It is not synced: a record whose configuration is lost with the machine counts as not here.
    pub fn put_blob(&self, digest: &Digest, bytes: &[u8]) -> Result<(), StoreError> {
        let actual = Digest::of(bytes);
        if actual != *digest {
            return Err(StoreError::WrongDigest { expected: *digest, actual });
        }
        if self.has_blob(digest) != Some(bytes.len() as u64) {
            files::replace(&self.path("blobs", &digest.hex()), bytes, Durable::No)?;
        }
        Ok(())
    }

    /// Reads a blob that is here whole.
    pub fn open_blob(&self, digest: &Digest) -> Result<File, StoreError> {
        let path = self.path("blobs", &digest.hex());
        match File::open(&path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Err(StoreError::NoBlob(*digest)),
            opened => Ok(opened.op("open", &path)?),
        }
    }

    /// Removes a blob; that it is not here is no error.
    pub fn drop_blob(&self, digest: &Digest) -> Result<(), StoreError> {
        Ok(files::remove(&self.path("blobs", &digest.hex()))?)
    }

    /// Begins to write a blob of `size` bytes, or goes on where the last writer broke off: see [`BlobWriter::written`].
    ///
    /// Only one writer of a blob is let in at a time.
    pub fn blob_writer(&self, digest: &Digest, size: u64) -> Result<BlobWriter, StoreError> {
        if !self.state().writing.insert(*digest) {
            return Err(StoreError::Busy(*digest));
        }
        let opened = self.open_writer(digest, size);
        if opened.is_err() {
            self.state().writing.remove(digest);
        }
        opened
    }

    fn open_writer(&self, digest: &Digest, size: u64) -> Result<BlobWriter, StoreError> {
        let path = self.path("ingest", &digest.hex());
        let mut file =
            OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(&path).op("open", &path)?;
        let mut have = file.metadata().op("look at", &path)?.len();
        // As much as there should be, or more, was refused when it came; begin again.
        if have >= size {
            file.set_len(0).op("truncate", &path)?;
            have = 0;
        }
        let mut hasher = Hasher::default();
        let mut buffer = vec![0; if have > 0 { 256 << 10 } else { 0 }];
        let mut written = 0;
        while written < have {
            match file.read(&mut buffer) {
                Ok(0) => break,
                Ok(n) => {
                    hasher.update(&buffer[..n]);
                    written += n as u64;
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => Err(e).op("read", &path)?,
            }
        }
        let progress = Arc::new(Progress::default());
        progress.tell(written, End::Open);
        Ok(BlobWriter { store: self.clone(), digest: *digest, size, written, hasher, file, path, progress })
    }
}

impl BlobWriter {
    /// How many bytes are there, from the beginning.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// How many bytes there will be.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Adds bytes at the end.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        let total = self.written + bytes.len() as u64;
        if total > self.size {
            self.forget();
            return Err(StoreError::WrongSize { digest: self.digest, expected: self.size, actual: total });
        }
        self.file.write_all(bytes).op("write", &self.path)?;
        self.hasher.update(bytes);
        self.written = total;
        self.progress.tell(total, End::Open);
        Ok(())
    }

    /// A reader of this blob from its beginning, which waits where it has caught up.
    ///
    /// It ends only after [`BlobWriter::finish`] has found the digest right; it fails when the writer is dropped before.
    pub fn reader(&self) -> Result<BlobReader, StoreError> {
        let file = File::open(&self.path).op("open", &self.path)?;
        Ok(BlobReader { file, at: 0, progress: Arc::clone(&self.progress) })
    }

    /// Checks length and digest and makes the blob one of the store's. Wrong bytes are removed.
    pub fn finish(mut self) -> Result<(), StoreError> {
        if self.written != self.size {
            return Err(StoreError::WrongSize { digest: self.digest, expected: self.size, actual: self.written });
        }
        let actual = std::mem::take(&mut self.hasher).finish();
        if actual != self.digest {
            self.forget();
            return Err(StoreError::WrongDigest { expected: self.digest, actual });
        }
        let path = self.store.path("blobs", &self.digest.hex());
        fs::rename(&self.path, &path).op("keep", &path)?;
        self.progress.tell(self.written, End::Done);
        Ok(())
    }

    /// What came is wrong: the next writer must not go on from it.
    fn forget(&self) {
        // The error that led here is the one to tell; a file left behind is found out again by its digest.
        let _ = files::remove(&self.path);
    }
}

impl Drop for BlobWriter {
    fn drop(&mut self) {
        let (written, end) = *self.progress.at.lock().unwrap_or_else(PoisonError::into_inner);
        if end == End::Open {
            self.progress.tell(written, End::Broken);
        }
        self.store.state().writing.remove(&self.digest);
    }
}

/// Reads a blob while it is being written.
#[derive(Debug)]
pub struct BlobReader {
    file: File,
    at: u64,
    progress: Arc<Progress>,
}

impl Read for BlobReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let available = {
            let mut state = self.progress.at.lock().unwrap_or_else(PoisonError::into_inner);
            loop {
                match *state {
                    (written, _) if written > self.at => break written - self.at,
                    (_, End::Done) => return Ok(0),
                    (_, End::Broken) => return Err(io::Error::other("the download broke off")),
                    (_, End::Open) => {
                        state = self.progress.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                    }
                }
            }
        };
        let len = buffer.len().min(usize::try_from(available).unwrap_or(usize::MAX));
        let n = self.file.read_at(&mut buffer[..len], self.at)?;
        if n == 0 && len > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.at += n as u64;
        Ok(n)
    }
}
