//! The control plane, from the agent's side: the only place where the wire's types and the node's meet.
//!
//! ```text
//!  register ─► discover ─► session ─► (clean | broken) ─► session ...   payloads, acknowledgements, heartbeats
//!      ▲                                                                     │ engine
//!      └── what operators' own tasks hold has changed                        ▼
//!                                                       reporter ─► SubmitTaskStateChange
//! ```
//!
//! It is the same for Amazon ECS and for the control plane inside the agent. Running tasks need none of it: while the
//! control plane is away, they go on and what happens is told later.

mod backoff;
pub mod convert;
mod docker;
mod register;
mod report;
mod reporter;
mod respond;
mod session;

use crate::aws::{ApiFailure, Class, EcsClient};
use crate::config::Settings;
use crate::engine::{Engine, now_ms};
use backoff::{Backoff, random, token};
use berth_runtime::errno::chain;
use berth_wire::ecs::{DiscoverPollEndpointRequest, Resource};
use reporter::Reporter;
use respond::Responders;
use session::{Ended, Target};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// Between two tries of a node that the control plane does not know any more.
const INACTIVE: Duration = Duration::from_secs(3600);

/// How the node stands with its control plane.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Connection {
    /// Given at registration.
    pub container_instance_arn: Option<String>,
    /// A session is open.
    pub connected: bool,
    /// The last message from the control plane, milliseconds since the epoch.
    pub last_contact_at_ms: Option<u64>,
    /// Why there is no session, while there is none.
    pub problem: Option<String>,
}

/// The agent cannot work with this control plane.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// It refuses the node for good.
    #[error("register with control plane")]
    Register(#[source] ApiFailure),
    /// It has not taken the node as it is.
    #[error("register with control plane: attribute `{0}` came back changed or not at all")]
    Attribute(String),
}

/// The agent's side of its control plane.
pub struct Control {
    engine: Engine,
    settings: Arc<Settings>,
    client: EcsClient,
    connection: watch::Sender<Connection>,
}

impl Control {
    /// Nothing is done yet.
    pub fn new(engine: Engine, settings: Arc<Settings>, client: EcsClient) -> Self {
        Self { engine, settings, client, connection: watch::Sender::new(Connection::default()) }
    }

    /// How the node stands with its control plane, and every change of that.
    pub fn connection(&self) -> watch::Receiver<Connection> {
        self.connection.subscribe()
    }

    /// Registers, listens and reports until it is dropped, or the control plane refuses the node for good.
    pub async fn run(self) -> Result<(), ControlError> {
        let mut arn = self.register().await?;
        let reporter = Reporter::new(self.engine.clone(), self.client.clone(), self.settings.cluster.clone());
        let reporting = tokio::spawn(reporter.run());
        let _stop = AbortOnDrop(reporting);
        let mut responders = Responders::new(self.engine.clone(), self.settings.clone());
        let mut backoff = Backoff::new(Duration::from_millis(250), Duration::from_secs(120), 1.5);
        let mut send_credentials = true;
        let mut registered = self.resources();
        let mut changes = self.engine.changes();
        loop {
            let opened = tokio::time::Instant::now();
            let session = self.session(&arn, send_credentials, &mut responders);
            let ended = tokio::select! {
                ended = session => ended,
                () = self.resources_changed(&registered, &mut changes) => {
                    arn = self.register().await?;
                    registered = self.resources();
                    continue;
                }
            };
            if self.connection.borrow().connected {
                send_credentials = false;
            }
            let pause = self.ended(ended, &mut backoff, opened);
            tokio::time::sleep(pause).await;
        }
    }

    /// Notes the end of a session, and says how long to wait before the next.
    fn ended(&self, ended: Ended, backoff: &mut Backoff, opened: tokio::time::Instant) -> Duration {
        let (problem, pause) = match ended {
            Ended::Clean => (None, Duration::ZERO),
            Ended::Broken(problem) => {
                if opened.elapsed() > Duration::from_secs(60) {
                    backoff.reset();
                }
                (Some(problem), backoff.pause(random()))
            }
            Ended::Inactive(problem) => {
                tracing::error!(problem, "the control plane does not know this node any more: trying again in an hour");
                (Some(problem), INACTIVE)
            }
        };
        let known = self.connection.borrow().problem == problem;
        match &problem {
            Some(problem) if !known => tracing::warn!(problem, "session with the control plane has ended"),
            _ => tracing::debug!("session with the control plane has ended"),
        }
        self.connection.send_modify(|c| {
            c.connected = false;
            c.problem = problem;
        });
        // A control plane that closes every session at once is not asked more than a few times a second.
        if opened.elapsed() < Duration::from_secs(1) { pause.max(Duration::from_millis(250)) } else { pause }
    }

    async fn session(&self, arn: &str, send_credentials: bool, responders: &mut Responders) -> Ended {
        let request = DiscoverPollEndpointRequest {
            container_instance: Some(arn.to_owned()),
            cluster: Some(self.settings.cluster.clone()),
            zone_id: Some(String::new()),
        };
        let endpoint = match self.client.discover(&request).await {
            Ok(found) => found.endpoint.unwrap_or_else(|| self.client.endpoint().to_owned()),
            Err(e) => return Ended::Broken(chain(&e)),
        };
        let target = Target {
            endpoint,
            cluster: self.settings.cluster.clone(),
            container_instance: arn.to_owned(),
            send_credentials,
        };
        let socket = match session::connect(&self.client, &target).await {
            Ok(socket) => socket,
            Err(e) if e.is_inactive() => return Ended::Inactive(chain(&e)),
            Err(e) => return Ended::Broken(chain(&e)),
        };
        tracing::info!(endpoint = target.endpoint, "session with the control plane is open");
        self.connection.send_modify(|c| {
            c.connected = true;
            c.problem = None;
            c.last_contact_at_ms = Some(now_ms());
        });
        let contact = || {
            self.connection.send_if_modified(|c| {
                c.last_contact_at_ms = Some(now_ms());
                false
            });
        };
        session::serve(socket, responders, contact).await
    }

    fn resources(&self) -> Vec<Resource> {
        self.engine.with_book(register::resources)
    }

    /// Resolves when what is to be registered differs from what is.
    async fn resources_changed(
        &self,
        registered: &[Resource],
        changes: &mut tokio::sync::broadcast::Receiver<Arc<crate::engine::TaskState>>,
    ) {
        loop {
            match changes.recv().await {
                Ok(state) if state.row.task.origin == crate::task::Origin::ControlPlane => {}
                Ok(_) | Err(tokio::sync::broadcast::error::RecvError::Lagged(_)) => {
                    if self.resources() != registered {
                        return;
                    }
                }
                Err(tokio::sync::broadcast::error::RecvError::Closed) => std::future::pending().await,
            }
        }
    }

    /// Registers the node, as the one it was before where that is known.
    async fn register(&self) -> Result<String, ControlError> {
        let mut backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(192), 2.0);
        let meta = self.engine.meta();
        let same = meta.cluster == self.settings.cluster && meta.backend == self.client.endpoint();
        let mut before = meta.container_instance_arn.filter(|_| same);
        let token = token();
        loop {
            let request =
                self.engine.with_book(|book| register::request(&self.settings, book, before.clone(), token.clone()));
            match self.client.register(&request).await {
                Ok(instance) => {
                    let back = |sent: &berth_wire::ecs::Attribute| {
                        instance.attributes.iter().any(|a| a.name == sent.name && a.value == sent.value)
                    };
                    if let Some(lost) = request.attributes.iter().find(|sent| !back(sent)) {
                        return Err(ControlError::Attribute(lost.name.clone()));
                    }
                    let arn = instance.container_instance_arn;
                    tracing::info!(container_instance = arn, "registered with the control plane");
                    self.remember(&arn).await;
                    return Ok(arn);
                }
                Err(error) if error.class() == Class::Terminal && before.is_some() => {
                    tracing::warn!(
                        err = chain(&error),
                        "the control plane does not take this node back: it registers anew"
                    );
                    before = None;
                }
                Err(error) if error.class() == Class::Terminal => return Err(ControlError::Register(error)),
                Err(error) => {
                    let problem = chain(&error);
                    if self.connection.borrow().problem.as_ref() != Some(&problem) {
                        tracing::warn!(err = problem, "not registered with the control plane: trying again");
                    }
                    self.connection.send_modify(|c| c.problem = Some(problem));
                    tokio::time::sleep(backoff.pause(random())).await;
                }
            }
        }
    }

    async fn remember(&self, arn: &str) {
        let stored = self.engine.change_meta(|meta| {
            meta.cluster.clone_from(&self.settings.cluster);
            self.client.endpoint().clone_into(&mut meta.backend);
            meta.container_instance_arn = Some(arn.to_owned());
        });
        if let Err(e) = stored.await {
            tracing::error!(err = chain(&e), "registration not written to the store");
        }
        self.connection.send_modify(|c| c.container_instance_arn = Some(arn.to_owned()));
    }
}

struct AbortOnDrop(tokio::task::JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}
