//! An agent that says what a test wants, on a unix socket; and the `berth` command under test.

use axum::Router;
use axum::body::Body;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use tempfile::TempDir;
use tokio::net::UnixListener;
use tokio::process::Command;

/// Longer than anything takes that is well.
pub(crate) const PATIENCE: std::time::Duration = std::time::Duration::from_secs(20);

/// An agent with the routes of a test. Ends with the value.
pub(crate) struct Agent {
    dir: TempDir,
    server: tokio::task::JoinHandle<()>,
}

impl Agent {
    /// Serves `routes` on a socket of its own.
    pub(crate) fn start(routes: Router) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(dir.path().join("agent.sock")).unwrap();
        let server = tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
        Self { dir, server }
    }

    /// Its directory.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// `berth`, told to speak with this agent.
    pub(crate) fn berth(&self, args: &[&str]) -> Command {
        berth(&self.dir.path().join("agent.sock"), args)
    }

    /// Runs `berth` to its end.
    pub(crate) async fn run(&self, args: &[&str]) -> Ran {
        ran(self.berth(args)).await
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// `berth`, told to speak with the agent at `socket`, with nothing of the caller's environment.
pub(crate) fn berth(socket: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_berth"));
    command.args(args).env_clear().env("BERTH_SOCKET", socket).stdin(Stdio::null()).kill_on_drop(true);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// What a command ended with.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs a command to its end.
pub(crate) async fn ran(mut command: Command) -> Ran {
    let child = command.spawn().unwrap();
    ended(tokio::time::timeout(PATIENCE, child.wait_with_output()).await.expect("the command ends").unwrap())
}

/// What a command ended with.
pub(crate) fn ended(output: Output) -> Ran {
    Ran {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// An answer as the agent refuses.
pub(crate) fn refusal(status: u16, body: Value) -> Response {
    (StatusCode::from_u16(status).unwrap(), body.to_string()).into_response()
}

/// An answer of JSON lines that ends after them.
pub(crate) fn lines(lines: &[Value]) -> Response {
    lines.iter().map(|l| format!("{l}\n")).collect::<String>().into_response()
}

/// An answer of JSON lines that breaks off after them, as it does when an agent is killed.
pub(crate) fn broken_off(lines: &[Value]) -> Response {
    let text: String = lines.iter().map(|l| format!("{l}\n")).collect();
    let breaks = stream::once(async {
        // What came before is sent while this waits.
        tokio::task::yield_now().await;
        Err(std::io::Error::from(std::io::ErrorKind::ConnectionReset))
    });
    Body::from_stream(stream::iter([Ok(text)]).chain(breaks)).into_response()
}

/// A log line.
pub(crate) fn log(stream: &str, nanos: u32, text: &str) -> Value {
    json!({"container": "web", "stream": stream, "time": format!("2026-01-31T08:00:00.{nanos:09}Z"), "log": text})
}

/// A task of one container in this status; `code` is its exit code.
pub(crate) fn task(status: &str, code: Option<i32>) -> Value {
    let stopped = status == "STOPPED";
    json!({
        "id": "0af3651a7c4f4d19a3b1d2e5f6a7b8c9",
        "arn": "arn:aws:ecs:local:000000000000:task/default/0af3651a7c4f4d19a3b1d2e5f6a7b8c9",
        "name": "web",
        "family": "web",
        "revision": "1",
        "origin": "controlplane",
        "status": status,
        "networkMode": "bridge",
        "cpu": 0,
        "memory": 64,
        "createdAtMs": 1_000,
        "startedAtMs": 2_000,
        "stoppedAtMs": stopped.then_some(9_000),
        "containers": [{
            "name": "web",
            "image": "nginx",
            "essential": true,
            "status": if stopped { "STOPPED" } else { "RUNNING" },
            "exitCode": code,
            "startedAtMs": 2_000,
            "finishedAtMs": stopped.then_some(9_000),
            "bindings": [{
                "protocol": "tcp", "bindIp": "0.0.0.0", "hostPort": 8080, "containerPort": 80, "count": 1
            }],
        }],
        // Fields that this command does not know yet are no trouble.
        "ofTomorrow": true,
    })
}

/// The same task with its shim's socket.
pub(crate) fn with_shim(mut task: Value, socket: &PathBuf) -> Value {
    task["shimSocket"] = json!(socket);
    task
}
