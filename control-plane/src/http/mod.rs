//! The control plane over HTTP: `POST /` for the API, `GET /ws` for agents. Everything is signed.
//!
//! A request goes through here in the order: size limit, signature, operation, body, decision. What is refused before
//! the signature is right costs no more than reading it.

mod dispatch;
mod sigv4;

use crate::error::{ApiError, Code};
use crate::plane::ControlPlane;
use crate::session;
use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{FromRequestParts, Request, State, WebSocketUpgrade};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use berth_wire::acs;
use berth_wire::ecs::{CONTENT_TYPE, ErrorBody, TARGET_PREFIX};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// The largest body and the largest websocket message taken; ECS takes task definitions of 64 KiB.
const MAX_BODY: usize = 1024 * 1024;

/// Time between two looks for stopped tasks to forget, where no request does it before.
const PRUNE: Duration = Duration::from_secs(60);

#[derive(Clone)]
struct App {
    plane: Arc<ControlPlane>,
    stopping: CancellationToken,
}

/// Serves until `shutdown` is ready, see [`ControlPlane::serve`].
pub(crate) async fn serve(
    plane: Arc<ControlPlane>,
    listener: TcpListener,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let stopping = CancellationToken::new();
    let app = App { plane: Arc::clone(&plane), stopping: stopping.clone() };
    let router = Router::new().route("/", post(api)).route("/ws", get(websocket)).with_state(app);
    let prune = async {
        loop {
            tokio::time::sleep(PRUNE).await;
            plane.decide(|state, turn| state.prune(turn));
        }
    };
    // Dropping this future must end the connections and sessions as well: they are tasks of their own.
    let _end_sessions = stopping.clone().drop_guard();
    let stop = async move {
        tokio::select! {
            () = shutdown => stopping.cancel(),
            () = stopping.cancelled() => {}
        }
    };
    let server = axum::serve(listener, router).with_graceful_shutdown(stop);
    tokio::select! {
        result = server => result,
        () = prune => unreachable!("the loop has no end"),
    }
}

/// One request to the API.
async fn api(State(app): State<App>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = match to_bytes(body, MAX_BODY).await {
        Ok(body) => body,
        Err(_) => {
            let text = format!("the body could not be read, or is larger than {MAX_BODY} bytes");
            return refusal(&ApiError::new(Code::Serialization, text));
        }
    };
    let signed = sigv4::Signed {
        method: parts.method.as_str(),
        path: parts.uri.path(),
        query: parts.uri.query().unwrap_or_default(),
        headers: &parts.headers,
        body: &body,
    };
    if let Err(error) = sigv4::verify(&signed, &app.plane.credentials, SystemTime::now()) {
        return refusal(&error);
    }
    let text = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok());
    let target = text("x-amz-target").unwrap_or_default();
    let Some(operation) = target.strip_prefix(TARGET_PREFIX) else {
        let text = format!("X-Amz-Target: must be {TARGET_PREFIX}OPERATION (got `{target}`)");
        return refusal(&ApiError::new(Code::UnknownOperation, text));
    };
    match dispatch::dispatch(&app.plane, operation, &body, text("host")).await {
        Ok(body) => answer(StatusCode::OK, body),
        Err(error) => {
            if error.code == Code::Server {
                tracing::error!(operation, err = %error, "a request failed");
            } else {
                tracing::debug!(operation, err = %error, "a request was refused");
            }
            refusal(&error)
        }
    }
}

fn answer(status: StatusCode, body: Vec<u8>) -> Response {
    let mut response = Response::new(Body::from(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
    response
}

fn refusal(error: &ApiError) -> Response {
    let body = ErrorBody { kind: error.code.name().to_owned(), message: error.message.clone() };
    let body = serde_json::to_vec(&body).expect("two strings serialize");
    let status = StatusCode::from_u16(error.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = answer(status, body);
    response.headers_mut().insert("x-amzn-errortype", HeaderValue::from_static(error.code.name()));
    response
}

/// An agent connects. A refusal has the form of a websocket message, because that is how agents read it.
async fn websocket(State(app): State<App>, request: Request) -> Response {
    let (mut parts, _) = request.into_parts();
    let query = parts.uri.query().unwrap_or_default().to_owned();
    let signed =
        sigv4::Signed { method: "GET", path: parts.uri.path(), query: &query, headers: &parts.headers, body: b"" };
    if let Err(error) = sigv4::verify(&signed, &app.plane.credentials, SystemTime::now()) {
        return refused_session(acs::AccessDeniedException { message: error.to_string() }.into());
    }
    let poll = match session::Poll::parse(&sigv4::parse_query(&query)) {
        Ok(poll) => poll,
        Err(message) => return refused_session(acs::BadRequestException { message }.into()),
    };
    let instance = match session::instance(&app.plane, &poll) {
        Ok(instance) => instance,
        Err(message) => return refused_session(*message),
    };
    match WebSocketUpgrade::from_request_parts(&mut parts, &()).await {
        Ok(upgrade) => upgrade
            .max_message_size(MAX_BODY)
            .on_upgrade(move |socket| session::run(app.plane, socket, instance, poll, app.stopping)),
        Err(error) => error.into_response(),
    }
}

fn refused_session(message: acs::Message) -> Response {
    tracing::debug!(kind = message.kind(), "an agent's connection was refused");
    answer(StatusCode::BAD_REQUEST, message.encode().into_bytes())
}
