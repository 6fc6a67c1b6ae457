//! Requests to registries: scheme, challenge, redirects, and tries.

use super::auth::{self, Challenge, Credentials, TokenAnswer, TokenKey, Tokens};
use super::error::Cause;
use futures_util::StreamExt;
use reqwest::header::{
    ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, HeaderMap, HeaderValue, LOCATION, RANGE, WWW_AUTHENTICATE,
};
use reqwest::{Method, Response, StatusCode, Url};
use std::net::IpAddr;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// Redirects followed for one request.
const MAX_REDIRECTS: usize = 5;
/// Pauses between tries grow to this.
const MAX_PAUSE: Duration = Duration::from_secs(10);
/// The most bytes of an error's or a token server's answer that are read.
const MAX_ANSWER: usize = 64 << 10;

/// How registries are spoken to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistryConfig {
    /// Registries (`HOST` or `HOST:PORT`) to speak to without TLS. Loopback always is.
    pub insecure: Vec<String>,
    /// Downloads at a time, over all pulls.
    pub downloads: usize,
    /// Tries of one request, and of one download that gets no further.
    pub tries: u32,
    /// The pause after the first failed try; each next one is twice as long.
    pub pause: Duration,
    /// How long to wait for a connection.
    pub connect_timeout: Duration,
    /// How long to wait for the next bytes.
    pub read_timeout: Duration,
}

impl Default for RegistryConfig {
    fn default() -> Self {
        Self {
            insecure: Vec::new(),
            downloads: 6,
            tries: 5,
            pause: Duration::from_millis(300),
            connect_timeout: Duration::from_secs(10),
            read_timeout: Duration::from_secs(60),
        }
    }
}

/// What one request is about.
#[derive(Debug, Clone)]
pub(super) struct Ask<'a> {
    pub(super) registry: &'a str,
    pub(super) repository: &'a str,
    pub(super) credentials: Option<&'a Credentials>,
}

/// The HTTP client of all pulls.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) config: RegistryConfig,
    plain: OnceLock<Result<reqwest::Client, String>>,
    secure: OnceLock<Result<reqwest::Client, String>>,
    tokens: Mutex<Tokens>,
}

impl Client {
    pub(super) fn new(config: RegistryConfig) -> Self {
        Self { config, plain: OnceLock::new(), secure: OnceLock::new(), tokens: Mutex::default() }
    }

    /// The base address of a registry.
    pub(super) fn base(&self, registry: &str) -> String {
        // The default registry answers under another name than the one it is known by.
        let host = if registry == "docker.io" { "registry-1.docker.io" } else { registry };
        let scheme = if self.is_plain(host) { "http" } else { "https" };
        format!("{scheme}://{host}")
    }

    /// Whether a host (and port) is spoken to without TLS: it is on loopback, or listed.
    fn is_plain(&self, authority: &str) -> bool {
        let host = match authority.rsplit_once(':') {
            Some((host, port)) if !host.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) => host,
            _ => authority,
        };
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        bare == "localhost"
            || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
            || self.config.insecure.iter().any(|listed| listed == authority || listed == host)
    }

    /// Whether anything may be sent to `url`: by TLS to everybody, without only to whom [`Client::is_plain`] says.
    fn may_ask(&self, url: &Url) -> bool {
        match (url.scheme(), url.host_str()) {
            ("https", Some(_)) => true,
            ("http", Some(host)) => {
                let authority = url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
                self.is_plain(&authority)
            }
            _ => false,
        }
    }

    /// The connection pools are made when first needed: TLS reads the machine's certificates.
    fn http(&self, url: &Url) -> Result<&reqwest::Client, Cause> {
        let plain = url.scheme() == "http";
        let made = if plain { &self.plain } else { &self.secure }.get_or_init(|| {
            // Another part of the agent may have chosen the same provider before.
            let _ = rustls::crypto::ring::default_provider().install_default();
            let builder = reqwest::Client::builder()
                .user_agent(concat!("berth/", env!("CARGO_PKG_VERSION")))
                .redirect(reqwest::redirect::Policy::none())
                .referer(false)
                .connect_timeout(self.config.connect_timeout)
                .read_timeout(self.config.read_timeout);
            // What is on loopback is never behind a proxy.
            let builder = if plain { builder.no_proxy() } else { builder };
            builder.build().map_err(|e| berth_runtime::errno::chain(&e))
        });
        made.as_ref().map_err(|message| Cause::Client { message: message.clone() })
    }

    /// Sends a request as often as makes sense, and gives the answer when it is one of success.
    pub(super) async fn get(
        &self,
        ask: &Ask<'_>,
        method: Method,
        path: &str,
        headers: &HeaderMap,
    ) -> Result<Response, Cause> {
        let mut failed = 0;
        loop {
            let error = match self.try_get(ask, method.clone(), path, headers).await {
                Ok(response) => return Ok(response),
                Err(error) => error,
            };
            failed += 1;
            if failed >= self.config.tries || !is_passing(&error) {
                return Err(error);
            }
            self.pause(failed).await;
        }
    }

    /// Waits before try number `failed`: longer each time.
    pub(super) async fn pause(&self, failed: u32) {
        let pause = self.config.pause.saturating_mul(1 << failed.saturating_sub(1).min(10));
        tokio::time::sleep(pause.min(MAX_PAUSE)).await;
    }

    /// One try: with the token at hand, then with a new one where the registry asks for it.
    pub(super) async fn try_get(
        &self,
        ask: &Ask<'_>,
        method: Method,
        path: &str,
        headers: &HeaderMap,
    ) -> Result<Response, Cause> {
        let text = format!("{}/v2/{}/{path}", self.base(ask.registry), ask.repository);
        let url = parse_url(&text, ask.registry)?;
        let mut authorization = self.known_token(ask);
        for renewed in [false, true] {
            let response = self.follow(method.clone(), url.clone(), headers, authorization.as_deref()).await?;
            if response.status() != StatusCode::UNAUTHORIZED || renewed {
                return check(response, ask, &url).await;
            }
            let challenges = response.headers().get_all(WWW_AUTHENTICATE);
            let challenge = auth::parse(challenges.iter().filter_map(|v| v.to_str().ok()));
            drop(response);
            authorization = match self.answer(ask, challenge).await? {
                Some(header) => Some(header),
                None => return Err(denied(ask)),
            };
        }
        Err(denied(ask))
    }

    /// Follows redirects by hand: none to a place that must not be asked, and no secrets to another host.
    async fn follow(
        &self,
        method: Method,
        url: Url,
        headers: &HeaderMap,
        authorization: Option<&str>,
    ) -> Result<Response, Cause> {
        let origin = url.origin();
        let mut url = url;
        for _ in 0..=MAX_REDIRECTS {
            if !self.may_ask(&url) {
                return Err(Cause::Protocol { host: host_of(&url), problem: "would be asked without TLS" });
            }
            let mut request = self.http(&url)?.request(method.clone(), url.clone()).headers(headers.clone());
            // A proxy that compresses would change the bytes that the digest is of.
            request = request.header(ACCEPT_ENCODING, "identity");
            if let Some(value) = authorization.filter(|_| url.origin() == origin) {
                let problem = "gave a token that is no header";
                let mut value =
                    HeaderValue::from_str(value).map_err(|_| Cause::Protocol { host: host_of(&url), problem })?;
                value.set_sensitive(true);
                request = request.header(AUTHORIZATION, value);
            }
            let response = request.send().await.map_err(|e| unreachable(&url, e))?;
            if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
                return Ok(response);
            }
            let location = response.headers().get(LOCATION).and_then(|v| v.to_str().ok());
            url = location
                .and_then(|l| url.join(l).ok())
                .ok_or_else(|| Cause::Protocol { host: host_of(&url), problem: "redirects without saying where to" })?;
        }
        Err(Cause::Protocol { host: host_of(&url), problem: "redirects for ever" })
    }

    fn key(ask: &Ask<'_>) -> TokenKey {
        TokenKey {
            registry: ask.registry.to_owned(),
            repository: ask.repository.to_owned(),
            credentials: ask.credentials.cloned(),
        }
    }

    fn known_token(&self, ask: &Ask<'_>) -> Option<String> {
        let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        tokens.retain(|_, (_, until)| *until > now);
        tokens.get(&Self::key(ask)).map(|(header, _)| header.clone())
    }

    fn keep_token(&self, ask: &Ask<'_>, header: &str, good_for: Duration) {
        let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        tokens.insert(Self::key(ask), (header.to_owned(), Instant::now() + good_for));
    }

    /// The header that answers a challenge; `None` when we have nothing to answer with.
    async fn answer(&self, ask: &Ask<'_>, challenge: Option<Challenge>) -> Result<Option<String>, Cause> {
        let (realm, service, scope) = match challenge {
            None => return Ok(None),
            Some(Challenge::Basic) => {
                let header = ask.credentials.map(Credentials::basic);
                if let Some(header) = &header {
                    self.keep_token(ask, header, Duration::from_secs(600));
                }
                return Ok(header);
            }
            Some(Challenge::Bearer { realm, service, scope }) => (realm, service, scope),
        };
        let mut url = parse_url(&realm, ask.registry)?;
        {
            let mut query = url.query_pairs_mut();
            if let Some(service) = &service {
                query.append_pair("service", service);
            }
            let wanted = format!("repository:{}:pull", ask.repository);
            query.append_pair("scope", scope.as_deref().unwrap_or(&wanted));
        }
        let basic = ask.credentials.map(Credentials::basic);
        let response = self.follow(Method::GET, url.clone(), &HeaderMap::new(), basic.as_deref()).await?;
        if matches!(response.status().as_u16(), 400 | 401 | 403 | 404) {
            return Err(denied(ask));
        }
        let response = check(response, ask, &url).await?;
        let body = read_body(response, &url, MAX_ANSWER).await?;
        let answer: Option<TokenAnswer> = serde_json::from_slice(&body).ok();
        let problem = "gave an answer without a token";
        let (header, good_for) =
            answer.and_then(TokenAnswer::header).ok_or_else(|| Cause::Protocol { host: host_of(&url), problem })?;
        self.keep_token(ask, &header, good_for);
        Ok(Some(header))
    }
}

fn parse_url(text: &str, registry: &str) -> Result<Url, Cause> {
    let problem = "has or gives an address that is none";
    Url::parse(text).map_err(|_| Cause::Protocol { host: registry.to_owned(), problem })
}

pub(super) fn host_of(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// The address is left out of the error: redirects hold signatures.
pub(super) fn unreachable(url: &Url, source: reqwest::Error) -> Cause {
    Cause::Unreachable { host: host_of(url), source: source.without_url() }
}

fn denied(ask: &Ask<'_>) -> Cause {
    Cause::Denied { registry: ask.registry.to_owned(), anonymous: ask.credentials.is_none() }
}

/// Whether the same request may be answered otherwise in a moment.
pub(super) fn is_passing(error: &Cause) -> bool {
    match error {
        Cause::Unreachable { .. } => true,
        Cause::Status { status, .. } => matches!(status, 408 | 429 | 500..),
        _ => false,
    }
}

/// Headers of a request for a document or a blob.
pub(super) fn headers(accept: Option<&'static str>, from: u64) -> HeaderMap {
    let mut headers = HeaderMap::new();
    if let Some(accept) = accept {
        headers.insert(ACCEPT, HeaderValue::from_static(accept));
    }
    if from > 0 {
        let value = HeaderValue::from_str(&format!("bytes={from}-")).expect("digits are a header value");
        headers.insert(RANGE, value);
    }
    headers
}

/// Makes an error of an answer that is none of success.
async fn check(response: Response, ask: &Ask<'_>, asked: &Url) -> Result<Response, Cause> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    // Behind a redirect it is the signed address that ran out, which says nothing about our rights.
    let (host, at_registry) = (host_of(response.url()), response.url().origin() == asked.origin());
    match status {
        StatusCode::NOT_FOUND => Err(Cause::NotFound { registry: ask.registry.to_owned() }),
        StatusCode::UNAUTHORIZED => Err(denied(ask)),
        StatusCode::FORBIDDEN if at_registry => Err(denied(ask)),
        _ => {
            let url = response.url().clone();
            let body = read_body(response, &url, MAX_ANSWER).await.unwrap_or_default();
            Err(Cause::Status { host, status: status.as_u16(), message: words(&body) })
        }
    }
}

/// The registry's own words, from `{"errors":[{"code":…,"message":…}]}`.
fn words(body: &[u8]) -> String {
    let value: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let message = value["errors"][0]["message"].as_str().unwrap_or_default();
    message.chars().filter(|c| !c.is_control()).take(200).collect()
}

/// Reads a body of at most `limit` bytes.
pub(super) async fn read_body(response: Response, url: &Url, limit: usize) -> Result<Vec<u8>, Cause> {
    let mut body = Vec::new();
    let mut stream = response.bytes_stream();
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.map_err(|e| unreachable(url, e))?;
        if body.len() + chunk.len() > limit {
            return Err(Cause::Protocol { host: host_of(url), problem: "sends a document that is too large" });
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}
