//! The operators' socket seen from the command line: HTTP/1.1 and JSON over a unix socket.
//!
//! One connection per request: a command makes one or two, and a stream that is followed needs its own anyhow.
//! Errors come back as `{"message", "field"?, "hint"?}` and become a [`Failure`].

use super::failure::Failure;
use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tokio::net::UnixStream;

/// The longest answer taken in one piece, in bytes. The agent is trusted; a stray program on the socket is not.
const MAX_ANSWER: usize = 64 << 20;

/// The longest line of a stream, in bytes: a log line of a container may be long, but is split by the shim.
const MAX_LINE: usize = 4 << 20;

/// Speaks to the agent behind a socket.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    socket: PathBuf,
}

/// The agent's words for what went wrong.
#[derive(Debug, serde::Deserialize)]
struct ErrorAnswer {
    message: String,
    #[serde(default)]
    field: Option<String>,
    #[serde(default)]
    hint: Option<String>,
}

impl Client {
    /// Speaks to the agent that listens on `socket`. Connects at each request.
    pub(crate) fn new(socket: impl Into<PathBuf>) -> Self {
        Self { socket: socket.into() }
    }

    /// The agent's socket.
    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }

    /// Reads a value.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        self.call(Method::GET, path, None::<&()>).await
    }

    /// Reads a value, and asks again while an agent that was there a moment ago is being restarted.
    ///
    /// For requests that wait: what they wait for does not end with the agent.
    pub(crate) async fn get_patiently<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        let mut patience = Patience::new();
        loop {
            match self.get(path).await {
                Err(failure) if failure.is_lost() => patience.wait(failure).await?,
                done => return done,
            }
        }
    }

    /// Makes a request with an optional JSON body, and reads the JSON answer whole.
    pub(crate) async fn call<B: Serialize, T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&B>,
    ) -> Result<T, Failure> {
        let answer = self.request(method, path, body).await?;
        let bytes = read_whole(answer.into_body()).await?;
        // An answer without content is `null` to serde, which `()` and `Option` take.
        let bytes = if bytes.is_empty() { Bytes::from_static(b"null") } else { bytes };
        serde_json::from_slice(&bytes).map_err(|e| {
            Failure::caused(format!("read the agent's answer to `{path}`"), &e)
                .hint("the agent may be of another version than this command; restart it after an upgrade")
        })
    }

    /// Makes a request whose answer is a stream of JSON lines.
    pub(crate) async fn lines<B: Serialize>(
        &self,
        method: Method,
        path: &str,
        body: Option<&B>,
    ) -> Result<Lines, Failure> {
        let answer = self.request(method, path, body).await?;
        Ok(Lines { body: answer.into_body(), buffer: Vec::new(), scanned: 0 })
    }

    async fn request<B: Serialize>(
        &self,
        method: Method,
        path: &str,
        body: Option<&B>,
    ) -> Result<http::Response<Incoming>, Failure> {
        let stream = UnixStream::connect(&self.socket).await.map_err(|e| no_agent(&self.socket, &e))?;
        let lost =
            |e: hyper::Error| Failure::caused("talk to the agent", &e).hint("see the agent's log for why it went");
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(lost)?;
        // Ends when the answer's body has been read or dropped; its error is told through the body.
        tokio::spawn(connection);
        let mut request = Request::builder().method(method).uri(path).header(http::header::HOST, "berth");
        let payload = match body {
            Some(body) => {
                request = request.header(http::header::CONTENT_TYPE, "application/json");
                Bytes::from(serde_json::to_vec(body).map_err(|e| Failure::caused("write the request", &e))?)
            }
            None => Bytes::new(),
        };
        let request = request.body(Full::new(payload)).map_err(|e| Failure::caused("make the request", &e))?;
        let answer = sender.send_request(request).await.map_err(lost)?;
        if answer.status().is_success() {
            return Ok(answer);
        }
        let status = answer.status();
        Err(refused(status, &read_whole(answer.into_body()).await?))
    }
}

/// How long an agent may be away before a command that follows a task gives up on it.
///
/// An upgrade restarts the agent in a second or two; past this somebody should know.
const PATIENCE: Duration = Duration::from_secs(30);

/// Waits out the restart of an agent.
#[derive(Debug)]
pub(crate) struct Patience {
    ends: Option<Instant>,
}

impl Patience {
    /// Full of it.
    pub(crate) fn new() -> Self {
        Self { ends: None }
    }

    /// The agent answered: the next absence is counted from its own beginning.
    pub(crate) fn renew(&mut self) {
        self.ends = None;
    }

    /// Waits a moment before the next try, or gives `failure` back when the agent has been away for too long.
    pub(crate) async fn wait(&mut self, failure: Failure) -> Result<(), Failure> {
        let now = Instant::now();
        if now >= *self.ends.get_or_insert(now + PATIENCE) {
            return Err(failure);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        Ok(())
    }
}

/// JSON lines as they come.
#[derive(Debug)]
pub(crate) struct Lines {
    body: Incoming,
    buffer: Vec<u8>,
    /// How much of `buffer` is known to hold no line end.
    scanned: usize,
}

impl Lines {
    /// The next line, or `None` when the agent has ended the stream. Cancelling loses nothing.
    pub(crate) async fn next<T: DeserializeOwned>(&mut self) -> Result<Option<T>, Failure> {
        match self.next_line().await? {
            Some(line) => {
                let value = serde_json::from_slice(&line);
                value.map(Some).map_err(|e| Failure::caused("read a line of the agent's answer", &e))
            }
            None => Ok(None),
        }
    }

    async fn next_line(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        loop {
            if let Some(at) = self.buffer[self.scanned..].iter().position(|b| *b == b'\n') {
                let rest = self.buffer.split_off(self.scanned + at + 1);
                let line = std::mem::replace(&mut self.buffer, rest);
                self.scanned = 0;
                if line.len() > 1 {
                    return Ok(Some(line));
                }
                continue;
            }
            self.scanned = self.buffer.len();
            if self.buffer.len() > MAX_LINE {
                return Err(Failure::new(format!("read a line of the agent's answer: longer than {MAX_LINE} bytes")));
            }
            match self.body.frame().await {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.buffer.extend_from_slice(&data);
                    }
                }
                Some(Err(e)) => return Err(Failure::caused("follow the agent's answer", &e).lost()),
                None if self.buffer.is_empty() => return Ok(None),
                None => {
                    self.scanned = 0;
                    return Ok(Some(std::mem::take(&mut self.buffer)));
                }
            }
        }
    }
}

async fn read_whole(body: Incoming) -> Result<Bytes, Failure> {
    let limited = http_body_util::Limited::new(body, MAX_ANSWER);
    match limited.collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(e) => Err(Failure::caused("read the agent's answer", e.as_ref()).lost()),
    }
}

/// Nobody answers on the socket: each reason has its own mend.
fn no_agent(socket: &Path, error: &io::Error) -> Failure {
    let failure = Failure::caused(format!("connect to the agent at `{}`", socket.display()), error).lost();
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => failure
            .hint("is it running? start it with `systemctl start berth` or `berth agent`; `--socket` names another"),
        io::ErrorKind::PermissionDenied => failure.hint("the socket is root's: run this as root, such as by sudo"),
        _ => failure,
    }
}

/// What the agent said no with, or the status alone where the answer is not an agent's.
fn refused(status: StatusCode, body: &[u8]) -> Failure {
    let Ok(answer) = serde_json::from_slice::<ErrorAnswer>(body) else {
        return Failure::new(format!("the agent answered {status}"));
    };
    let failure = match answer.field {
        // The agent names the field apart from its message, unless the message begins with it.
        Some(field) if !answer.message.contains(&field) => Failure::new(format!("{field}: {}", answer.message)),
        _ => Failure::new(answer.message),
    };
    match answer.hint {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

/// Escapes `value` for one segment of a path or one value of a query.
pub(crate) fn escape(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    for byte in value.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_leave_its_segment() {
        assert_eq!(escape("../a b?c&d=é"), "..%2Fa%20b%3Fc%26d%3D%C3%A9");
    }

    #[test]
    fn a_refusal_names_the_field_once() {
        let with = br#"{"message":"got 3, at least 6","field":"memory","hint":"use 6"}"#;
        let failure = refused(StatusCode::BAD_REQUEST, with);
        assert_eq!(failure.to_string(), "error: memory: got 3, at least 6\nhint: use 6");
        let named = br#"{"message":"memory: got 3, at least 6","field":"memory"}"#;
        assert_eq!(refused(StatusCode::BAD_REQUEST, named).to_string(), "error: memory: got 3, at least 6");
    }

    #[test]
    fn an_answer_that_is_not_an_agents_is_told_by_its_status() {
        let failure = refused(StatusCode::BAD_GATEWAY, b"<html>");
        assert_eq!(failure.to_string(), "error: the agent answered 502 Bad Gateway");
    }

    #[test]
    fn each_reason_for_silence_has_its_own_hint() {
        let hint = |kind| no_agent(Path::new("/run/berth/agent.sock"), &io::Error::from(kind)).to_string();
        assert!(hint(io::ErrorKind::NotFound).contains("berth agent"));
        assert!(hint(io::ErrorKind::PermissionDenied).contains("root"));
        assert!(!hint(io::ErrorKind::TimedOut).contains("hint:"));
    }
}
