//! A control plane on loopback, a client that signs as the SDKs do, and a fake agent.

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4::SigningParams;
use berth_control_plane::{Config, ControlPlane};
use berth_wire::acs::{self, Message};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Once};
use std::time::{Duration, SystemTime};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{self, Message as Frame, http::HeaderName};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

/// How long anything may take that happens at once.
pub(crate) const DEADLINE: Duration = Duration::from_secs(10);

/// A control plane that serves until it is dropped.
pub(crate) struct Plane {
    pub(crate) plane: Arc<ControlPlane>,
    pub(crate) address: SocketAddr,
    server: JoinHandle<()>,
}

impl Plane {
    pub(crate) async fn start(dir: &Path) -> Self {
        Self::start_with(dir, Config::default()).await
    }

    pub(crate) async fn start_with(dir: &Path, config: Config) -> Self {
        let plane = ControlPlane::open(dir, config).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = Arc::clone(&plane);
        let server = tokio::spawn(async move { serving.serve(listener, std::future::pending()).await.unwrap() });
        Self { plane, address, server }
    }

    /// Ends it as a crash would for its peers: connections break; the records are on disk.
    pub(crate) async fn stop(self) {
        self.server.abort();
        let _ = self.server.await;
        // Sessions hold the plane until they have noticed.
        let plane = Arc::downgrade(&self.plane);
        drop(self.plane);
        timeout(DEADLINE, async {
            while plane.strong_count() > 0 {
                tokio::task::yield_now().await;
            }
        })
        .await
        .expect("sessions end when the server does");
    }

    pub(crate) fn client(&self) -> Client {
        static PROVIDER: Once = Once::new();
        PROVIDER.call_once(|| rustls::crypto::ring::default_provider().install_default().unwrap());
        let keys = self.plane.credentials();
        Client {
            http: reqwest::Client::new(),
            address: self.address,
            access_key_id: keys.access_key_id.clone(),
            secret_access_key: keys.secret_access_key.clone(),
            clock: SystemTime::now,
        }
    }
}

/// A client of the API.
#[derive(Clone)]
pub(crate) struct Client {
    pub(crate) http: reqwest::Client,
    pub(crate) address: SocketAddr,
    pub(crate) access_key_id: String,
    pub(crate) secret_access_key: String,
    pub(crate) clock: fn() -> SystemTime,
}

impl Client {
    /// The headers that make a request a signed one.
    pub(crate) fn signature(
        &self,
        method: &str,
        url: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Vec<(String, String)> {
        let identity = Credentials::new(&self.access_key_id, &self.secret_access_key, None, None, "test").into();
        let params = SigningParams::builder()
            .identity(&identity)
            .region("anywhere-1")
            .name("ecs")
            .time((self.clock)())
            .settings(SigningSettings::default())
            .build()
            .unwrap()
            .into();
        let request = SignableRequest::new(method, url, headers.iter().copied(), SignableBody::Bytes(body)).unwrap();
        let (instructions, _) = sign(request, &params).unwrap().into_parts();
        instructions.headers().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    /// Calls an operation with a body that need not be JSON: the status and what came back.
    pub(crate) async fn raw(&self, target: &str, body: &str) -> (u16, Value) {
        let url = format!("http://{}/", self.address);
        let headers = [("content-type", "application/x-amz-json-1.1"), ("x-amz-target", target)];
        let mut request = self.http.post(&url).body(body.to_owned());
        for (name, value) in headers {
            request = request.header(name, value);
        }
        for (name, value) in self.signature("POST", &url, &headers, body.as_bytes()) {
            request = request.header(name, value);
        }
        let response = request.send().await.unwrap();
        assert_eq!(response.headers()["content-type"], "application/x-amz-json-1.1");
        let status = response.status().as_u16();
        let body = response.bytes().await.unwrap();
        (status, serde_json::from_slice(&body).unwrap())
    }

    /// Calls an operation that must be carried out.
    pub(crate) async fn call(&self, operation: &str, body: Value) -> Value {
        let (status, answer) = self.raw(&target(operation), &body.to_string()).await;
        assert_eq!(status, 200, "{operation}: {answer}");
        crate::model::check_output(operation, &answer);
        answer
    }

    /// Calls an operation that must be refused: the exception's name and its words.
    pub(crate) async fn refused(&self, operation: &str, body: Value) -> (String, String) {
        let (status, answer) = self.raw(&target(operation), &body.to_string()).await;
        assert!((400..500).contains(&status), "{operation}: {status} {answer}");
        let text = |name: &str| answer[name].as_str().unwrap_or_default().to_owned();
        (text("__type"), text("message"))
    }

    /// Registers a definition of one container called `main`, with `more` in it.
    pub(crate) async fn register(&self, family: &str, more: Value) -> String {
        let mut container = json!({ "name": "main", "image": "busybox", "memory": 64 });
        container.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let answer =
            self.call("RegisterTaskDefinition", json!({ "family": family, "containerDefinitions": [container] })).await;
        answer["taskDefinition"]["taskDefinitionArn"].as_str().unwrap().to_owned()
    }

    /// Runs one task, which must be placed: its ARN.
    pub(crate) async fn run(&self, definition: &str) -> String {
        let answer = self.call("RunTask", json!({ "taskDefinition": definition })).await;
        assert_eq!(answer["failures"], json!([]), "{answer}");
        answer["tasks"][0]["taskArn"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn describe(&self, task: &str) -> Value {
        self.call("DescribeTasks", json!({ "tasks": [task] })).await["tasks"][0].clone()
    }
}

pub(crate) fn target(operation: &str) -> String {
    format!("AmazonEC2ContainerServiceV20141113.{operation}")
}

/// A node that has registered.
pub(crate) struct Agent {
    pub(crate) client: Client,
    pub(crate) instance: String,
}

pub(crate) fn resources(cpu: i64, memory: i64) -> Value {
    let amount = |name: &str, value: i64| json!({ "name": name, "type": "INTEGER", "integerValue": value });
    let ports = |name: &str, ports: &[&str]| json!({ "name": name, "type": "STRINGSET", "stringSetValue": ports });
    json!([amount("CPU", cpu), amount("MEMORY", memory), ports("PORTS", &["22", "51678"]), ports("PORTS_UDP", &[])])
}

impl Agent {
    pub(crate) async fn register(client: &Client, cpu: i64, memory: i64) -> Self {
        let answer = client
            .call(
                "RegisterContainerInstance",
                json!({
                    "cluster": "default",
                    "totalResources": resources(cpu, memory),
                    "attributes": [
                        { "name": "ecs.os-type", "value": "linux" },
                        { "name": "ecs.capability.task-eni" },
                        { "name": "ecs.capability.task-cpu-mem-limit" },
                        { "name": "ecs.capability.container-ordering" },
                    ],
                }),
            )
            .await;
        let instance = answer["containerInstance"]["containerInstanceArn"].as_str().unwrap().to_owned();
        Self { client: client.clone(), instance }
    }

    /// The handshake, as the stock agent makes it.
    pub(crate) async fn try_connect(&self) -> Result<Session, (u16, Message)> {
        let cluster = "arn:aws:ecs:local:000000000000:cluster/default";
        let encoded = |text: &str| text.replace(':', "%3A").replace('/', "%2F");
        let url = format!(
            "ws://{}/ws?agentHash=abc&agentVersion=1.2.3&clusterArn={}&containerInstanceArn={}&dockerVersion=none\
             &protocolVersion=2&sendCredentials=true&seqNum=1",
            self.client.address,
            encoded(cluster),
            encoded(&self.instance)
        );
        let mut request = url.clone().into_client_request().unwrap();
        for (name, value) in self.client.signature("GET", &url.replacen("ws", "http", 1), &[], b"") {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            request.headers_mut().insert(name, value.parse().unwrap());
        }
        match connect_async(request).await {
            Ok((socket, _)) => Ok(Session { socket }),
            Err(tungstenite::Error::Http(response)) => {
                let body = String::from_utf8(response.body().clone().unwrap_or_default()).unwrap();
                Err((response.status().as_u16(), Message::decode(&body).unwrap()))
            }
            Err(error) => panic!("{error}"),
        }
    }

    /// Connects, and takes the manifest that comes first.
    pub(crate) async fn connect(&self) -> (Session, acs::TaskManifestMessage) {
        let mut session = match self.try_connect().await {
            Ok(session) => session,
            Err((status, message)) => panic!("{status} {message:?}"),
        };
        match session.next().await {
            Message::TaskManifest(manifest) => (session, manifest),
            other => panic!("{other:?}"),
        }
    }

    /// Reports on a task.
    pub(crate) async fn report(&self, task: &str, change: Value) {
        let mut body = json!({ "cluster": "default", "task": task });
        body.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        self.client.call("SubmitTaskStateChange", body).await;
    }
}

/// The agent's end of a websocket.
pub(crate) struct Session {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

impl Session {
    /// The next message that is no heartbeat; those are answered.
    pub(crate) async fn next(&mut self) -> Message {
        loop {
            match self.next_of_any().await.expect("the connection is open") {
                Message::Heartbeat(beat) => {
                    self.send(acs::HeartbeatAckRequest { message_id: beat.message_id }).await;
                }
                message => return message,
            }
        }
    }

    /// The next message, or `None` when the connection was closed.
    pub(crate) async fn next_of_any(&mut self) -> Option<Message> {
        loop {
            match timeout(DEADLINE, self.socket.next()).await.expect("a message comes in time") {
                Some(Ok(Frame::Text(text))) => {
                    crate::model::check_message(text.as_str());
                    return Some(Message::decode(text.as_str()).unwrap());
                }
                Some(Ok(Frame::Close(_)) | Err(_)) | None => return None,
                Some(Ok(_)) => {}
            }
        }
    }

    /// The next payload.
    pub(crate) async fn payload(&mut self) -> acs::PayloadMessage {
        match self.next().await {
            Message::Payload(payload) => payload,
            other => panic!("{other:?}"),
        }
    }

    /// The next payload, acknowledged.
    pub(crate) async fn take(&mut self) -> acs::PayloadMessage {
        let payload = self.payload().await;
        self.ack(&payload).await;
        payload
    }

    pub(crate) async fn ack(&mut self, payload: &acs::PayloadMessage) {
        let ack = acs::AckRequest {
            cluster: payload.cluster_arn.clone(),
            container_instance: payload.container_instance_arn.clone(),
            message_id: payload.message_id.clone(),
        };
        self.send(ack).await;
    }

    pub(crate) async fn send(&mut self, message: impl Into<Message>) {
        self.send_text(message.into().encode()).await;
    }

    pub(crate) async fn send_text(&mut self, text: String) {
        self.socket.send(Frame::Text(text.into())).await.unwrap();
    }
}
