//! One blob: downloaded from where the last try broke off, and unpacked meanwhile.

use super::client::{Ask, headers, host_of, is_passing, unreachable};
use super::error::Cause;
use super::{Inner, LayerState};
use berth_runtime::image::manifest::Descriptor;
use berth_runtime::image::{BlobWriter, Digest, Store, StoreError, Unpacked};
use bytes::Bytes;
use futures_util::StreamExt;
use reqwest::{Method, Response, StatusCode};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::{JoinError, spawn_blocking};

/// Chunks on their way from the network to the disk.
const CHUNKS: usize = 64;
/// How long the writer of a pull that was given up may take to end.
const LINGER: Duration = Duration::from_secs(5);

/// Where a layer's progress goes.
pub(super) type Tell<'a> = &'a (dyn Fn(LayerState) + Send + Sync);

/// Gets a layer: gives it unpacked, or `None` when it came here in another way meanwhile.
pub(super) async fn layer(
    inner: &Inner,
    ask: &Ask<'_>,
    store: &Store,
    wanted: &Descriptor,
    (chain, diff_id): (Digest, Digest),
    tell: Tell<'_>,
) -> Result<Option<Unpacked>, Cause> {
    let digest = wanted.digest;
    let fail = |source| Cause::Layer { digest, source: Box::new(source) };
    let here = || store.has_layer(&chain, &diff_id).map_err(fail);
    if here()? {
        tell(LayerState::Here);
        return Ok(None);
    }
    tell(LayerState::Waiting);
    let _turn = inner.blobs.take(&digest, |()| ()).await;
    // Another pull may have brought it while we waited.
    if here()? {
        tell(LayerState::Here);
        return Ok(None);
    }
    if store.has_blob(&digest) == Some(wanted.size) {
        tell(LayerState::Unpacking);
        let blob = store.open_blob(&digest).map_err(fail)?;
        let unpacked = unpack(inner, store, blob, diff_id).await?;
        if unpacked.is_err() {
            // It was not synced when it was kept: perhaps the machine died. The next try downloads it again.
            store.drop_blob(&digest).map_err(fail)?;
        }
        tell(LayerState::Done);
        return unpacked.map(Some).map_err(fail);
    }
    let permit = inner.downloads.acquire().await.map_err(|_| Cause::Stopping)?;
    let writer = begin(store, wanted).await?;
    let reader = writer.reader().map_err(fail)?;
    // Dropped with us, the writer makes the reader fail, and with it the unpacking.
    let download = async {
        let done = download(inner, ask, wanted, writer, tell).await;
        drop(permit);
        if done.is_ok() {
            tell(LayerState::Unpacking);
        }
        done
    };
    let (downloaded, unpacked) = tokio::join!(download, unpack(inner, store, reader, diff_id));
    // When the download broke off, that is the error; the unpacking only noticed.
    downloaded?;
    let unpacked = unpacked?.map_err(fail)?;
    tell(LayerState::Done);
    Ok(Some(unpacked))
}

/// Begins to write a blob, or goes on with it.
///
/// A pull that was given up has left its writer in a thread that still puts the last chunks down.
async fn begin(store: &Store, wanted: &Descriptor) -> Result<BlobWriter, Cause> {
    let (digest, size) = (wanted.digest, wanted.size);
    let mut waited = Duration::ZERO;
    loop {
        let store = store.clone();
        let writer = spawn_blocking(move || store.blob_writer(&digest, size)).await.map_err(stopping)?;
        match writer {
            Err(StoreError::Busy(_)) if waited < LINGER => {
                tokio::time::sleep(LINGER / 500).await;
                waited += LINGER / 500;
            }
            writer => return writer.map_err(|source| Cause::Layer { digest, source: Box::new(source) }),
        }
    }
}

fn stopping(_: JoinError) -> Cause {
    Cause::Stopping
}

async fn unpack(
    inner: &Inner,
    store: &Store,
    blob: impl std::io::Read + Send + 'static,
    diff_id: Digest,
) -> Result<Result<Unpacked, StoreError>, Cause> {
    let _permit = inner.unpacks.acquire().await.map_err(|_| Cause::Stopping)?;
    let store = store.clone();
    spawn_blocking(move || store.unpack(blob, &diff_id)).await.map_err(stopping)
}

/// Downloads a blob to its end, over as many connections as it takes.
async fn download(
    inner: &Inner,
    ask: &Ask<'_>,
    wanted: &Descriptor,
    writer: BlobWriter,
    tell: Tell<'_>,
) -> Result<(), Cause> {
    let digest = wanted.digest;
    let fail = |source| Cause::Layer { digest, source: Box::new(source) };
    let mut writer = writer;
    let mut failed = 0;
    while writer.written() < writer.size() {
        let before = writer.written();
        tell(LayerState::Downloading { bytes: before, total: wanted.size });
        let error = match open(inner, ask, wanted, before).await {
            Ok((response, skip)) => {
                let (back, error) = receive(response, skip, writer, tell).await?;
                writer = back;
                match error {
                    None => continue,
                    Some(error) => error,
                }
            }
            Err(error) => error,
        };
        // A signed address runs out: the registry gives a new one.
        let passing = is_passing(&error) || matches!(error, Cause::Status { status: 403, .. });
        failed = if writer.written() > before { 1 } else { failed + 1 };
        if !passing || failed >= inner.client.config.tries {
            return Err(error);
        }
        inner.client.pause(failed).await;
    }
    spawn_blocking(move || writer.finish()).await.map_err(stopping)?.map_err(fail)
}

/// Asks for a blob from byte `from` on; gives the answer, and how many of its first bytes are here already.
async fn open(inner: &Inner, ask: &Ask<'_>, wanted: &Descriptor, from: u64) -> Result<(Response, u64), Cause> {
    let path = format!("blobs/{}", wanted.digest);
    let response = inner.client.try_get(ask, Method::GET, &path, &headers(None, from)).await?;
    if response.status() != StatusCode::PARTIAL_CONTENT {
        // The whole again: not every registry knows ranges.
        return Ok((response, from));
    }
    let range = response.headers().get("content-range").and_then(|v| v.to_str().ok());
    let start = range.and_then(|r| r.strip_prefix("bytes ")?.split('-').next()?.trim().parse::<u64>().ok());
    match start {
        Some(start) if start <= from => Ok((response, from - start)),
        _ => Err(Cause::Protocol { host: host_of(response.url()), problem: "sends another range than was asked for" }),
    }
}

/// Writes what comes, in a blocking thread; gives the writer back with what ended it early.
async fn receive(
    response: Response,
    mut skip: u64,
    mut writer: BlobWriter,
    tell: Tell<'_>,
) -> Result<(BlobWriter, Option<Cause>), Cause> {
    let url = response.url().clone();
    let (total, mut bytes) = (writer.size(), writer.written());
    let step = (total / 200).max(64 << 10);
    let mut told = bytes;
    let (to_disk, mut chunks) = mpsc::channel::<Bytes>(CHUNKS);
    let writing = spawn_blocking(move || {
        while let Some(chunk) = chunks.blocking_recv() {
            writer.write(&chunk)?;
        }
        Ok::<_, StoreError>(writer)
    });
    let mut stream = response.bytes_stream();
    let mut ended = None;
    while let Some(chunk) = stream.next().await {
        let mut chunk = match chunk {
            Ok(chunk) => chunk,
            Err(e) => {
                ended = Some(unreachable(&url, e));
                break;
            }
        };
        let known = skip.min(chunk.len() as u64);
        skip -= known;
        let chunk = chunk.split_off(usize::try_from(known).unwrap_or(chunk.len()));
        if chunk.is_empty() {
            continue;
        }
        bytes += chunk.len() as u64;
        if to_disk.send(chunk).await.is_err() {
            // The writer has failed and says why.
            break;
        }
        if bytes - told >= step && bytes < total {
            told = bytes;
            tell(LayerState::Downloading { bytes, total });
        }
    }
    drop(to_disk);
    match writing.await.map_err(stopping)? {
        Ok(writer) => {
            // An answer that ends early without an error has been cut by somebody: the same as a broken connection.
            let short = writer.written() < total;
            let cut = || Cause::Status { host: host_of(&url), status: 502, message: "the answer is cut short".into() };
            Ok((writer, ended.or_else(|| short.then(cut))))
        }
        Err(source) => Err(Cause::Store(Box::new(source))),
    }
}
