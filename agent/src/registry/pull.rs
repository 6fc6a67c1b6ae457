//! The order of a pull: name, manifest, configuration, layers, record.

use super::client::{Ask, headers, read_body};
use super::error::{Cause, PullError, Stage};
use super::{Inner, LayerState, PullEvent, Request, fetch};
use berth_runtime::image::manifest::{self, ACCEPT, Descriptor, Document, MAX_DOCUMENT, Manifest, ManifestError};
use berth_runtime::image::{Digest, ImageRecord, LayerRecord, Reference, Store, StoreError, parse_config};
use futures_util::future::try_join_all;
use oci_spec::image::ImageConfiguration;
use reqwest::Method;
use reqwest::header::CONTENT_TYPE;
use std::sync::Arc;
use std::time::SystemTime;
use tokio::task::spawn_blocking;

type Progress = Arc<dyn Fn(PullEvent) + Send + Sync>;

/// A failed step, and in which stage.
type Failed = (Stage, Cause);

fn at_manifest(cause: impl Into<Cause>) -> Failed {
    (Stage::Manifest, cause.into())
}

fn at_content(cause: impl Into<Cause>) -> Failed {
    (Stage::Content, cause.into())
}

fn of_store(source: StoreError) -> Failed {
    at_content(Cause::Store(Box::new(source)))
}

/// What a name stands for on one platform.
struct Resolved {
    /// Of the index, or of the manifest where there is none.
    digest: Digest,
    manifest_digest: Digest,
    manifest: Manifest,
    bytes: Vec<u8>,
}

pub(super) async fn pull(
    inner: &Inner,
    request: &Request,
    store: &Store,
    progress: Progress,
) -> Result<ImageRecord, PullError> {
    let done = pull_stages(inner, request, store, progress).await;
    done.map_err(|(stage, cause)| PullError { image: request.reference.familiar(), stage, cause })
}

pub(super) async fn resolve(inner: &Inner, request: &Request) -> Result<Digest, PullError> {
    let done = async {
        if let Some(digest) = request.reference.digest() {
            return Ok(digest);
        }
        let ask = ask(request);
        match head(inner, &ask, &request.reference).await.map_err(at_manifest)? {
            Some(digest) => Ok(digest),
            None => Ok(document(inner, &ask, &request.reference.target()).await.map_err(at_manifest)?.0),
        }
    };
    done.await.map_err(|(stage, cause)| PullError { image: request.reference.familiar(), stage, cause })
}

fn ask(request: &Request) -> Ask<'_> {
    Ask {
        registry: request.reference.registry(),
        repository: request.reference.repository(),
        credentials: request.credentials.as_ref(),
    }
}

async fn pull_stages(
    inner: &Inner,
    request: &Request,
    store: &Store,
    progress: Progress,
) -> Result<ImageRecord, Failed> {
    if let Some(image) = still_here(inner, request, store).await? {
        progress(PullEvent::Resolved {
            digest: image.digest,
            layers: image.layers.iter().map(|l| (l.digest, l.size)).collect(),
        });
        for layer in &image.layers {
            progress(PullEvent::Layer { digest: layer.digest, state: LayerState::Here });
        }
        return Ok(image);
    }
    let resolved = manifest_of(inner, request).await?;
    let layers = resolved.manifest.layers.iter().map(|l| (l.digest, l.size)).collect();
    progress(PullEvent::Resolved { digest: resolved.digest, layers });
    let meanwhile = Arc::clone(&progress);
    let turn = inner.images.take(&resolved.manifest_digest, move |event| meanwhile(event)).await;
    let others = turn.events();
    let told = Arc::clone(&progress);
    let tell: Progress = Arc::new(move |event: PullEvent| {
        // Nobody else waiting is no error.
        let _ = others.send(event.clone());
        told(event);
    });
    content(inner, request, store, &resolved, &tell).await
}

/// The image that is here under that name, when it is the one that the name stands for.
///
/// A name with a digest always stands for the same; for a tag the registry is asked for its digest only, which many do not
/// count as a pull.
async fn still_here(inner: &Inner, request: &Request, store: &Store) -> Result<Option<ImageRecord>, Failed> {
    let (name, lookup) = (request.reference.to_string(), store.clone());
    let found = spawn_blocking(move || lookup.resolve(&name)).await.map_err(|_| at_content(Cause::Stopping))?;
    let Some(mut image) = found else { return Ok(None) };
    let config = &image.config;
    let (architecture, os) = (config.architecture().to_string(), config.os().to_string());
    if manifest::check_platform(&architecture, &os, config.variant().as_deref(), &request.platform).is_err() {
        return Ok(None);
    }
    let digest = match request.reference.digest() {
        Some(digest) => Some(digest),
        None => head(inner, &ask(request), &request.reference).await.map_err(at_manifest)?,
    };
    if digest != Some(image.digest) {
        return Ok(None);
    }
    image.pulled_at = SystemTime::now();
    image.used_at = image.pulled_at;
    record(store, &image).await?;
    Ok(Some(image))
}

async fn record(store: &Store, image: &ImageRecord) -> Result<(), Failed> {
    let (store, image) = (store.clone(), image.clone());
    spawn_blocking(move || store.record(&image)).await.map_err(|_| at_content(Cause::Stopping))?.map_err(of_store)
}

async fn head(inner: &Inner, ask: &Ask<'_>, reference: &Reference) -> Result<Option<Digest>, Cause> {
    let path = format!("manifests/{}", reference.target());
    let response = inner.client.get(ask, Method::HEAD, &path, &headers(Some(ACCEPT), 0)).await?;
    let digest = response.headers().get("docker-content-digest").and_then(|v| v.to_str().ok());
    Ok(digest.and_then(|d| d.parse().ok()))
}

/// Fetches a manifest or an index by tag or digest: its digest, its bytes and the registry's word for its type.
async fn document(inner: &Inner, ask: &Ask<'_>, target: &str) -> Result<(Digest, Vec<u8>, Option<String>), Cause> {
    let path = format!("manifests/{target}");
    let response = inner.client.get(ask, Method::GET, &path, &headers(Some(ACCEPT), 0)).await?;
    let kind = response.headers().get(CONTENT_TYPE).and_then(|v| v.to_str().ok()).map(str::to_owned);
    let url = response.url().clone();
    let bytes = read_body(response, &url, MAX_DOCUMENT as usize).await?;
    let actual = Digest::of(&bytes);
    match target.parse::<Digest>() {
        Ok(expected) if expected != actual => Err(Cause::WrongDigest { expected, actual }),
        _ => Ok((actual, bytes, kind)),
    }
}

/// Finds the manifest of the platform behind the name.
async fn manifest_of(inner: &Inner, request: &Request) -> Result<Resolved, Failed> {
    let ask = ask(request);
    let (digest, bytes, kind) = document(inner, &ask, &request.reference.target()).await.map_err(at_manifest)?;
    match manifest::parse(&bytes, kind.as_deref()).map_err(at_manifest)? {
        Document::Manifest(manifest) => Ok(Resolved { digest, manifest_digest: digest, manifest, bytes }),
        Document::Index(index) => {
            let chosen = index.select(&request.platform).map_err(at_manifest)?;
            let (manifest_digest, bytes, kind) =
                document(inner, &ask, &chosen.digest.to_string()).await.map_err(at_manifest)?;
            match manifest::parse(&bytes, kind.as_deref()).map_err(at_manifest)? {
                Document::Manifest(manifest) => Ok(Resolved { digest, manifest_digest, manifest, bytes }),
                Document::Index(_) => Err(at_manifest(ManifestError::Unknown("an index inside an index".into()))),
            }
        }
    }
}

/// The image configuration, from the store or the registry.
async fn configuration(
    inner: &Inner,
    ask: &Ask<'_>,
    store: &Store,
    wanted: &Descriptor,
) -> Result<(ImageConfiguration, Vec<u8>), Failed> {
    let bytes = match store.read_blob(&wanted.digest, MAX_DOCUMENT) {
        Ok(bytes) => bytes,
        Err(_) => {
            let path = format!("blobs/{}", wanted.digest);
            let response = inner.client.get(ask, Method::GET, &path, &headers(None, 0)).await.map_err(at_content)?;
            let url = response.url().clone();
            read_body(response, &url, MAX_DOCUMENT as usize).await.map_err(at_content)?
        }
    };
    let actual = Digest::of(&bytes);
    if actual != wanted.digest {
        return Err(at_content(Cause::WrongDigest { expected: wanted.digest, actual }));
    }
    let config = parse_config(&bytes).map_err(|e| at_content(Cause::Config(e)))?;
    Ok((config, bytes))
}

/// Configuration and layers: everything behind the manifest.
async fn content(
    inner: &Inner,
    request: &Request,
    store: &Store,
    resolved: &Resolved,
    tell: &Progress,
) -> Result<ImageRecord, Failed> {
    let ask = ask(request);
    let manifest = &resolved.manifest;
    // Clean-up must leave alone what we find here and what we bring, until the record names it.
    let blobs = manifest.layers.iter().map(|l| l.digest);
    let _blobs = store.pin(blobs.chain([manifest.config.digest, resolved.manifest_digest]));
    let (config, config_bytes) = configuration(inner, &ask, store, &manifest.config).await?;
    let layers = chain(&config, manifest, request)?;
    let _layers = store.pin(layers.iter().map(|l| l.chain));

    let fetches = manifest.layers.iter().zip(&layers).map(|(wanted, layer)| {
        let tell = Arc::clone(tell);
        let ask = ask.clone();
        async move {
            let tell = move |state| tell(PullEvent::Layer { digest: wanted.digest, state });
            fetch::layer(inner, &ask, store, wanted, (layer.chain, layer.diff_id), &tell).await
        }
    });
    let unpacked = try_join_all(fetches).await.map_err(at_content)?;

    let now = SystemTime::now();
    let image = ImageRecord {
        reference: request.reference.to_string(),
        digest: resolved.digest,
        manifest: resolved.manifest_digest,
        config_digest: manifest.config.digest,
        config,
        layers,
        pulled_at: now,
        used_at: now,
    };
    let (keep, record, manifest_bytes) = (store.clone(), image.clone(), resolved.bytes.clone());
    let kept = spawn_blocking(move || -> Result<(), StoreError> {
        keep.put_blob(&record.config_digest, &config_bytes)?;
        keep.put_blob(&record.manifest, &manifest_bytes)?;
        let chains: Vec<Digest> = record.layers.iter().map(|l| l.chain).collect();
        for (at, unpacked) in unpacked.into_iter().enumerate() {
            if let Some(unpacked) = unpacked {
                keep.adopt(unpacked, &chains[..at])?;
                keep.drop_blob(&record.layers[at].digest)?;
            }
        }
        keep.record(&record)
    });
    kept.await.map_err(|_| at_content(Cause::Stopping))?.map_err(of_store)?;
    // Nobody waits for the disk; a layer that is not on it when the machine dies is pulled again.
    let settle = store.clone();
    drop(spawn_blocking(move || {
        if let Err(error) = settle.settle() {
            tracing::warn!(err = %berth_runtime::errno::chain(&error), "layers are not synced");
        }
    }));
    Ok(image)
}

/// The layers by chain id, after checking that configuration and manifest describe the same image for this platform.
fn chain(config: &ImageConfiguration, manifest: &Manifest, request: &Request) -> Result<Vec<LayerRecord>, Failed> {
    let (architecture, os) = (config.architecture().to_string(), config.os().to_string());
    manifest::check_platform(&architecture, &os, config.variant().as_deref(), &request.platform)
        .map_err(at_manifest)?;
    let diff_ids = config.rootfs().diff_ids();
    if diff_ids.len() != manifest.layers.len() {
        let (layers, diff_ids) = (manifest.layers.len(), diff_ids.len());
        return Err(at_content(Cause::LayerCount { layers, diff_ids }));
    }
    let mut below = None;
    let mut layers = Vec::new();
    for (layer, diff_id) in manifest.layers.iter().zip(diff_ids) {
        let digest = |_| {
            at_content(Cause::Protocol {
                host: request.reference.registry().into(),
                problem: "has a diff id that is no sha256 digest",
            })
        };
        let diff_id: Digest = diff_id.parse().map_err(digest)?;
        let chain = Digest::chain(below, diff_id);
        below = Some(chain);
        layers.push(LayerRecord { chain, diff_id, digest: layer.digest, size: layer.size });
    }
    Ok(layers)
}
