//! A registry in this process, on loopback, that misbehaves as told.

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::response::Response;
use berth_runtime::image::{Digest, manifest::Platform};
use http::{Method, StatusCode, header};
use serde_json::{Value, json};
use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

/// What the registry wants before it answers.
#[derive(Debug, Clone, Default)]
pub(super) enum Wants {
    #[default]
    Nothing,
    /// Name and password, at every request.
    Basic,
    /// A token of its own token server, which wants name and password where they are set.
    Bearer,
}

/// What happens to the next request for a path.
#[derive(Debug, Clone)]
pub(super) enum Trick {
    /// Says that all comes, sends so many bytes and breaks the connection.
    CutAfter(usize),
    /// Answers this status.
    Status(u16),
    /// Sends these bytes instead.
    Other(Vec<u8>),
    /// Sends all, whatever range was asked for.
    NoRange,
    /// Sends nothing until told.
    Wait(Arc<tokio::sync::Notify>),
}

/// A request that came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) authorization: Option<String>,
    pub(super) range: Option<String>,
}

#[derive(Debug, Default)]
struct Inner {
    documents: HashMap<String, (String, Vec<u8>)>,
    wants: Wants,
    login: Option<String>,
    tricks: HashMap<String, VecDeque<Trick>>,
    seen: Vec<Seen>,
    /// Where blobs really are: the origin of another fake.
    elsewhere: Option<String>,
    address: String,
    tokens: u32,
}

/// The registry; it ends with the test's runtime.
#[derive(Debug, Clone)]
pub(super) struct Fake(Arc<Mutex<Inner>>);

impl Fake {
    pub(super) async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address: SocketAddr = listener.local_addr().unwrap();
        let fake = Self(Arc::new(Mutex::new(Inner { address: address.to_string(), ..Inner::default() })));
        let router = Router::new().fallback(answer).with_state(fake.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        fake
    }

    fn inner(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.0.lock().unwrap()
    }

    /// `127.0.0.1:PORT`.
    pub(super) fn address(&self) -> String {
        self.inner().address.clone()
    }

    pub(super) fn want(&self, wants: Wants, login: Option<&str>) {
        let mut inner = self.inner();
        inner.wants = wants;
        inner.login = login.map(str::to_owned);
    }

    pub(super) fn put(&self, path: &str, kind: &str, bytes: &[u8]) {
        self.inner().documents.insert(path.into(), (kind.into(), bytes.into()));
    }

    pub(super) fn blobs_are_at(&self, other: &Self) {
        self.redirect_blobs(&format!("http://{}", other.address()));
    }

    pub(super) fn redirect_blobs(&self, origin: &str) {
        self.inner().elsewhere = Some(origin.to_owned());
    }

    pub(super) fn trick(&self, path: &str, tricks: impl IntoIterator<Item = Trick>) {
        self.inner().tricks.entry(path.into()).or_default().extend(tricks);
    }

    pub(super) fn seen(&self) -> Vec<Seen> {
        self.inner().seen.clone()
    }

    /// The paths of requests for blobs, in order.
    pub(super) fn blob_requests(&self) -> Vec<Seen> {
        self.seen().into_iter().filter(|s| s.path.contains("/blobs/")).collect()
    }

    /// Serves an image of these layers under `name:tag`; gives the digests of manifest and layers.
    pub(super) fn image(&self, name: &str, tag: &str, layers: &[Vec<u8>]) -> (Digest, Vec<Digest>) {
        let (manifest, digests) = self.manifest(name, layers, &Platform::node().architecture);
        self.put(&format!("/v2/{name}/manifests/{tag}"), MANIFEST, &manifest);
        (Digest::of(&manifest), digests)
    }

    /// Serves everything of an image but its tag; gives the manifest.
    pub(super) fn manifest(&self, name: &str, layers: &[Vec<u8>], architecture: &str) -> (Vec<u8>, Vec<Digest>) {
        let digests: Vec<Digest> = layers.iter().map(|l| Digest::of(l)).collect();
        let config = json!({
            "architecture": architecture, "os": "linux", "config": { "Cmd": ["x"] },
            "rootfs": { "type": "layers", "diff_ids": digests },
        });
        let config = config.to_string().into_bytes();
        let blob = |bytes: &[u8], kind: &str| -> Value {
            let digest = Digest::of(bytes);
            self.put(&format!("/v2/{name}/blobs/{digest}"), "application/octet-stream", bytes);
            json!({ "mediaType": kind, "digest": digest, "size": bytes.len() })
        };
        let layers: Vec<Value> = layers.iter().map(|l| blob(l, "application/vnd.oci.image.layer.v1.tar")).collect();
        let manifest = json!({
            "schemaVersion": 2, "config": blob(&config, "application/vnd.oci.image.config.v1+json"), "layers": layers,
        });
        let manifest = manifest.to_string().into_bytes();
        self.put(&format!("/v2/{name}/manifests/{}", Digest::of(&manifest)), MANIFEST, &manifest);
        (manifest, digests)
    }
}

pub(super) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(super) const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// A tar with one file.
pub(super) fn layer(path: &str, content: &[u8]) -> Vec<u8> {
    let mut block = [0u8; 512];
    block[..path.len()].copy_from_slice(path.as_bytes());
    block[100..107].copy_from_slice(b"0000644");
    block[124..135].copy_from_slice(format!("{:011o}", content.len()).as_bytes());
    block[136..147].copy_from_slice(b"00000000001");
    block[156] = b'0';
    block[257..265].copy_from_slice(b"ustar\x0000");
    block[148..156].copy_from_slice(b"        ");
    let sum: u32 = block.iter().map(|b| u32::from(*b)).sum();
    block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    let mut out = block.to_vec();
    out.extend_from_slice(content);
    out.resize(out.len().next_multiple_of(512) + 1024, 0);
    out
}

fn reply(status: u16, body: impl Into<Body>) -> Response {
    Response::builder().status(status).body(body.into()).unwrap()
}

async fn answer(State(fake): State<Fake>, request: Request) -> Response {
    let (request, _) = request.into_parts();
    let path = request.uri.path().to_owned();
    let text = |name| request.headers.get(name).and_then(|v| v.to_str().ok()).map(str::to_owned);
    let (authorization, range) = (text(header::AUTHORIZATION), text(header::RANGE));
    let trick = {
        let mut inner = fake.inner();
        let method = request.method.to_string();
        let seen = Seen { method, path: path.clone(), authorization: authorization.clone(), range: range.clone() };
        inner.seen.push(seen);
        inner.tricks.get_mut(&path).and_then(VecDeque::pop_front)
    };
    if path == "/token" {
        return fake.token(authorization.as_deref());
    }
    if let Some(refusal) = fake.refuse(authorization.as_deref()) {
        return refusal;
    }
    if let Some(Trick::Wait(told)) = &trick {
        told.notified().await;
    }
    if let Some(Trick::Status(status)) = trick {
        return reply(status, r#"{"errors":[{"code":"X","message":"as told"}]}"#);
    }
    fake.document(&request.method, &path, range.as_deref(), trick)
}

impl Fake {
    fn token(&self, authorization: Option<&str>) -> Response {
        let mut inner = self.inner();
        if inner.login.is_some() && inner.login.as_deref() != authorization {
            return reply(401, "");
        }
        inner.tokens += 1;
        let token = format!("token-{}", inner.tokens);
        reply(200, json!({ "token": token, "expires_in": 300 }).to_string())
    }

    fn refuse(&self, authorization: Option<&str>) -> Option<Response> {
        let inner = self.inner();
        let challenge = match inner.wants {
            Wants::Nothing => return None,
            Wants::Basic if authorization.is_some() && inner.login.as_deref() == authorization => return None,
            Wants::Basic => r#"Basic realm="fake""#.to_owned(),
            Wants::Bearer if authorization == Some(&format!("Bearer token-{}", inner.tokens)) => return None,
            Wants::Bearer => format!(r#"Bearer realm="http://{}/token",service="fake""#, inner.address),
        };
        Some(Response::builder().status(401).header(header::WWW_AUTHENTICATE, challenge).body(Body::empty()).unwrap())
    }

    fn document(&self, method: &Method, path: &str, range: Option<&str>, trick: Option<Trick>) -> Response {
        let inner = self.inner();
        if let Some(origin) = inner.elsewhere.as_ref().filter(|_| path.contains("/blobs/")) {
            let location = format!("{origin}{path}?signature=s");
            return Response::builder().status(307).header(header::LOCATION, location).body(Body::empty()).unwrap();
        }
        let Some((kind, bytes)) = inner.documents.get(path).cloned() else {
            return reply(404, r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"unknown"}]}"#);
        };
        let digest = Digest::of(&bytes).to_string();
        let (bytes, trick) = match trick {
            Some(Trick::Other(other)) => (other, None),
            trick => (bytes, trick),
        };
        let from = range.and_then(|r| r.strip_prefix("bytes=")?.strip_suffix('-')?.parse::<usize>().ok());
        let from = from.filter(|_| !matches!(trick, Some(Trick::NoRange)));
        let part = bytes[from.unwrap_or(0).min(bytes.len())..].to_vec();
        let mut response = Response::builder()
            .header(header::CONTENT_TYPE, kind)
            .header("docker-content-digest", digest)
            .header(header::CONTENT_LENGTH, part.len());
        if let Some(from) = from {
            let range = format!("bytes {from}-{}/{}", bytes.len() - 1, bytes.len());
            response = response.status(StatusCode::PARTIAL_CONTENT).header(header::CONTENT_RANGE, range);
        }
        let body = match trick {
            _ if *method == Method::HEAD => Body::empty(),
            Some(Trick::CutAfter(n)) => {
                let start = Bytes::from(part[..n.min(part.len())].to_vec());
                let broken = std::io::Error::other("cut");
                Body::from_stream(futures_util::stream::iter([Ok(start), Err(broken)]))
            }
            _ => part.into(),
        };
        response.body(body).unwrap()
    }
}
