//! One websocket session with the control plane.
//!
//! ```text
//!  connect (signed) ─► open ─► messages in order to the responders, answers back ─► closed | expired | broken
//! ```
//! A session that is silent for a minute or two is closed; so is one that is half an hour old, to spread agents over the
//! control plane's front ends. Both are followed by another at once.

use super::backoff::random;
use super::respond::{Reply, Responders};
use crate::aws::{CredentialsError, EcsClient, SignError, sign};
use berth_runtime::errno::chain;
use berth_wire::acs::Message;
use futures_util::{SinkExt, StreamExt};
use std::time::{Duration, SystemTime};
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error as WsError, Message as Frame};

/// The largest message that is taken.
const MAX_MESSAGE: usize = 16 << 20;

/// How a session ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// In good order: open another at once.
    Clean,
    /// Open another after a while.
    Broken(String),
    /// The control plane does not know this node.
    Inactive(String),
}

/// No session came about.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectError {
    #[error("connect to `{url}`: begin it with http:// or https://")]
    Scheme { url: String },
    #[error("connect to control plane")]
    Credentials(#[source] CredentialsError),
    #[error("connect to control plane")]
    Sign(#[source] SignError),
    #[error("connect to `{url}`")]
    Socket { url: String, source: Box<WsError> },
    #[error("connect to `{url}`: no answer in 30 s")]
    TimedOut { url: String },
}

impl ConnectError {
    /// The control plane says that it does not know this node.
    pub(super) fn is_inactive(&self) -> bool {
        let Self::Socket { source, .. } = self else { return false };
        let WsError::Http(response) = source.as_ref() else { return false };
        let body = response.body().as_deref().unwrap_or_default();
        let text = String::from_utf8_lossy(body);
        text.contains("InactiveInstanceException") || text.contains("InvalidInstanceException")
    }
}

pub(super) type Socket = tokio_tungstenite::WebSocketStream<tokio_tungstenite::MaybeTlsStream<tokio::net::TcpStream>>;

/// What a session is opened with.
#[derive(Debug, Clone)]
pub(super) struct Target {
    /// As `DiscoverPollEndpoint` gave it.
    pub(super) endpoint: String,
    pub(super) cluster: String,
    pub(super) container_instance: String,
    /// Nobody has sent credentials to this process yet.
    pub(super) send_credentials: bool,
}

/// The address of the websocket, with what the agent says of itself.
pub(super) fn url(target: &Target) -> Result<String, ConnectError> {
    let endpoint = target.endpoint.trim_end_matches('/');
    let (scheme, rest) = match endpoint.split_once("://") {
        Some(("http" | "ws", rest)) => ("ws", rest),
        Some(("https" | "wss", rest)) => ("wss", rest),
        _ => return Err(ConnectError::Scheme { url: endpoint.to_owned() }),
    };
    let version = env!("CARGO_PKG_VERSION");
    let query = [
        ("agentHash", "berth"),
        ("agentVersion", version),
        ("clusterArn", &target.cluster),
        ("containerInstanceArn", &target.container_instance),
        ("dockerVersion", &format!("berth-{version}")),
        ("protocolVersion", "2"),
        ("sendCredentials", if target.send_credentials { "true" } else { "false" }),
        ("seqNum", "1"),
    ];
    let query: Vec<String> = query.iter().map(|(name, value)| format!("{name}={}", escape(value))).collect();
    Ok(format!("{scheme}://{rest}/ws?{}", query.join("&")))
}

/// As RFC 3986 and the signature want it: everything but unreserved characters as %XX.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            out.push(byte.into());
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// Opens the websocket.
pub(super) async fn connect(client: &EcsClient, target: &Target) -> Result<Socket, ConnectError> {
    let url = url(target)?;
    let shown = || target.endpoint.clone();
    let keys = client.keys().credentials().map_err(ConnectError::Credentials)?;
    // Signed as the https request that it begins as.
    let signed_url = url.replacen("ws", "http", 1);
    let headers = sign(&keys, client.region(), SystemTime::now(), "GET", &signed_url, &[], b"");
    let socket = |source: WsError| ConnectError::Socket { url: shown(), source: Box::new(source) };
    let mut request = url.as_str().into_client_request().map_err(socket)?;
    for (name, value) in headers.map_err(ConnectError::Sign)? {
        let name = http::HeaderName::try_from(name.as_str()).map_err(|e| socket(WsError::HttpFormat(e.into())))?;
        let value = http::HeaderValue::try_from(value.as_str()).map_err(|e| socket(WsError::HttpFormat(e.into())))?;
        request.headers_mut().insert(name, value);
    }
    let config = WebSocketConfig::default().max_message_size(Some(MAX_MESSAGE)).max_frame_size(Some(MAX_MESSAGE));
    let opening = tokio_tungstenite::connect_async_with_config(request, Some(config), true);
    match tokio::time::timeout(Duration::from_secs(30), opening).await {
        Ok(opened) => opened.map(|(socket, _)| socket).map_err(socket),
        Err(_) => Err(ConnectError::TimedOut { url: shown() }),
    }
}

/// Serves an open session to its end. `contact` is called at every message.
pub(super) async fn serve(mut socket: Socket, responders: &mut Responders, contact: impl Fn()) -> Ended {
    let jitter = |base: u64, more: f64| Duration::from_secs_f64(base as f64 + more * random());
    let expires = Instant::now() + jitter(30 * 60, 300.0);
    let mut silent = Instant::now() + jitter(60, 60.0);
    loop {
        let frame = tokio::select! {
            frame = socket.next() => frame,
            () = tokio::time::sleep_until(expires) => {
                let _ = socket.close(None).await;
                return Ended::Clean;
            }
            () = tokio::time::sleep_until(silent) => {
                let _ = socket.close(None).await;
                return Ended::Broken("nothing was heard for a minute".into());
            }
        };
        let text = match frame {
            None | Some(Ok(Frame::Close(_)) | Err(WsError::ConnectionClosed)) => return Ended::Clean,
            Some(Err(e)) => return Ended::Broken(chain(&e)),
            Some(Ok(Frame::Text(text))) => text,
            // Pings are answered by the library.
            Some(Ok(_)) => continue,
        };
        contact();
        silent = Instant::now() + jitter(60, 60.0);
        let reply = match Message::decode(&text) {
            Ok(message) => responders.respond(message).await,
            Err(e) => {
                tracing::warn!(err = chain(&e), "message not understood: dropped");
                Reply::Nothing
            }
        };
        match reply {
            Reply::Nothing => {}
            Reply::Send(message) => {
                let sent = tokio::time::timeout(Duration::from_secs(30), socket.send(Frame::text(message.encode())));
                match sent.await {
                    Ok(Ok(())) => {}
                    Ok(Err(e)) => return Ended::Broken(chain(&e)),
                    Err(_) => return Ended::Broken("an answer was not taken in 30 s".into()),
                }
            }
            Reply::End { reason, inactive: true } => return Ended::Inactive(reason),
            Reply::End { reason, inactive: false } => return Ended::Broken(reason),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(endpoint: &str) -> Target {
        Target {
            endpoint: endpoint.into(),
            cluster: "arn:aws:ecs:local:0:cluster/default".into(),
            container_instance: "arn:aws:ecs:local:0:container-instance/default/ab".into(),
            send_credentials: true,
        }
    }

    #[test]
    fn the_address_follows_the_scheme_of_the_endpoint() {
        assert!(url(&target("http://127.0.0.1:1/")).unwrap().starts_with("ws://127.0.0.1:1/ws?agentHash="));
        let secure = url(&target("https://ecs-a-1.us-east-1.amazonaws.com/")).unwrap();
        assert!(secure.starts_with("wss://ecs-a-1.us-east-1.amazonaws.com/ws?"));
        assert!(secure.contains("&clusterArn=arn%3Aaws%3Aecs%3Alocal%3A0%3Acluster%2Fdefault&"));
        assert!(secure.contains("&protocolVersion=2&sendCredentials=true&seqNum=1"));
        assert!(matches!(url(&target("ftp://x")), Err(ConnectError::Scheme { .. })));
    }
}
