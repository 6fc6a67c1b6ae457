//! One agent's websocket.
//!
//! ```text
//! connected ──► manifest sent ──► serving ──┬─ wake ────────► payload of what is not acknowledged
//!                                           ├─ AckRequest ──► delivered
//!                                           ├─ tick ────────► heartbeat; resend what was not acknowledged in time
//!                                           └─ replaced, deregistered, stopping, silent, peer gone ──► closed
//! ```
//! What there is to send is a question to the state, asked at each wake: a session that dies loses nothing, and the next
//! one sends all that was not acknowledged. There is one session for each instance: a new one closes the one before,
//! because an agent that connects again knows better than we that its old connection is dead.

use crate::plane::ControlPlane;
use crate::state::{Delivered, NoSession};
use axum::extract::ws::{CloseFrame, Message as Frame, WebSocket, close_code};
use berth_wire::acs::{self, Message};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, watch};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

/// How long a message may wait for the peer to take it.
const SEND: Duration = Duration::from_secs(30);

/// After how many heartbeats without an answer an agent that promised answers is taken for dead.
const MAX_MISSED: u32 = 3;

/// After how many ticks a payload that was not acknowledged is sent again.
const RESEND_TICKS: u32 = 2;

/// Why a session ends from our side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    Replaced,
    Deregistered,
}

struct Handle {
    number: u64,
    wake: Arc<Notify>,
    ending: watch::Sender<Option<Ending>>,
}

/// The sessions that are open, by instance.
#[derive(Default)]
pub(crate) struct Sessions {
    open: Mutex<HashMap<String, Handle>>,
    next: AtomicU64,
}

impl Sessions {
    fn open(&self) -> MutexGuard<'_, HashMap<String, Handle>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something is to be sent to an instance.
    pub(crate) fn wake(&self, instance: &str) {
        if let Some(handle) = self.open().get(instance) {
            handle.wake.notify_one();
        }
    }

    /// An instance was deregistered.
    pub(crate) fn close(&self, instance: &str) {
        if let Some(handle) = self.open().get(instance) {
            handle.ending.send_replace(Some(Ending::Deregistered));
        }
    }
}

/// What an agent says of itself in the query of its connection.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Poll {
    cluster: String,
    instance: String,
    /// From version 2 on, agents answer heartbeats.
    protocol_version: u32,
}

impl Poll {
    pub(crate) fn parse(query: &[(String, String)]) -> Result<Self, String> {
        let value = |name: &str| query.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
        let instance = value("containerInstanceArn").filter(|arn| !arn.is_empty());
        Ok(Self {
            cluster: value("clusterArn").unwrap_or_default().to_owned(),
            instance: instance.ok_or("containerInstanceArn: is required")?.to_owned(),
            protocol_version: value("protocolVersion").and_then(|version| version.parse().ok()).unwrap_or(1),
        })
    }
}

/// The id of the instance that connects, or what its agent is told instead.
pub(crate) fn instance(plane: &ControlPlane, poll: &Poll) -> Result<String, Box<Message>> {
    plane.decide(|state, _| state.session(&poll.cluster, &poll.instance)).map_err(|why| match why {
        NoSession::Inactive => {
            let message = format!(
                "InactiveInstanceException: the container instance {} is not registered any more",
                poll.instance
            );
            Box::new(acs::InactiveInstanceException { message }.into())
        }
        NoSession::Unknown => {
            let message = format!("there is no container instance {} in cluster {}", poll.instance, poll.cluster);
            Box::new(acs::InvalidInstanceException { message }.into())
        }
    })
}

/// Serves one connection until it ends.
pub(crate) async fn run(
    plane: Arc<ControlPlane>,
    socket: WebSocket,
    instance: String,
    poll: Poll,
    stopping: CancellationToken,
) {
    let wake = Arc::new(Notify::new());
    let (sender, mut ending) = watch::channel(None);
    let number = plane.sessions.next.fetch_add(1, Ordering::Relaxed);
    {
        // Under the lock, so that "connected" is said in the order in which sessions replace each other.
        let mut open = plane.sessions.open();
        let handle = Handle { number, wake: Arc::clone(&wake), ending: sender };
        if let Some(old) = open.insert(instance.clone(), handle) {
            old.ending.send_replace(Some(Ending::Replaced));
        }
        plane.decide(|state, _| state.set_connected(&instance, true));
    }
    tracing::info!(%instance, "an agent has connected");
    let mut session = Session {
        plane: &plane,
        instance: &instance,
        socket,
        in_flight: HashMap::new(),
        answers_heartbeats: poll.protocol_version >= 2,
        missed: 0,
    };
    let why = session.serve(&wake, &mut ending, &stopping).await;
    session.finish(&why).await;
    {
        let mut open = plane.sessions.open();
        if open.get(&instance).is_some_and(|handle| handle.number == number) {
            open.remove(&instance);
            plane.decide(|state, _| state.set_connected(&instance, false));
        }
    }
    tracing::info!(%instance, ?why, "an agent's connection has ended");
}

/// Why a session has ended.
#[derive(Debug)]
enum Why {
    Ended(Ending),
    Stopping,
    /// No answer to heartbeats.
    Silent,
    /// The peer has closed, or the connection is broken.
    Gone,
}

struct InFlight {
    items: Vec<Delivered>,
    ticks: u32,
}

struct Session<'a> {
    plane: &'a ControlPlane,
    instance: &'a str,
    socket: WebSocket,
    /// Payloads that were sent here and are not acknowledged, by message id.
    in_flight: HashMap<String, InFlight>,
    answers_heartbeats: bool,
    missed: u32,
}

impl Session<'_> {
    async fn serve(
        &mut self,
        wake: &Notify,
        ending: &mut watch::Receiver<Option<Ending>>,
        stopping: &CancellationToken,
    ) -> Why {
        let manifest = self.plane.decide(|state, turn| state.manifest(self.instance, turn));
        if let Some(manifest) = manifest
            && !self.send(&manifest.into()).await
        {
            return Why::Gone;
        }
        wake.notify_one();
        let mut tick = interval(self.plane.config.heartbeat_interval);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let going_on = tokio::select! {
                ended = async { ending.wait_for(Option::is_some).await.map(|ended| *ended) } => {
                    return Why::Ended(ended.ok().flatten().unwrap_or(Ending::Replaced));
                }
                () = stopping.cancelled() => return Why::Stopping,
                () = wake.notified() => self.send_due().await,
                _ = tick.tick() => {
                    if self.missed >= MAX_MISSED {
                        return Why::Silent;
                    }
                    self.beat().await
                }
                frame = self.socket.recv() => match frame {
                    Some(Ok(Frame::Text(text))) => self.receive(text.as_str()).await,
                    Some(Ok(Frame::Close(_)) | Err(_)) | None => false,
                    Some(Ok(_)) => true,
                },
            };
            if !going_on {
                return Why::Gone;
            }
        }
    }

    /// Sends a message; `false` when the connection is broken or the peer does not read.
    async fn send(&mut self, message: &Message) -> bool {
        matches!(timeout(SEND, self.socket.send(Frame::Text(message.encode().into()))).await, Ok(Ok(())))
    }

    /// Sends what is due, in as many payloads as it takes.
    async fn send_due(&mut self) -> bool {
        loop {
            let in_flight = &self.in_flight;
            let sent = |item: &Delivered| in_flight.values().any(|flight| flight.items.contains(item));
            let Some((payload, items)) = self.plane.decide(|state, turn| state.payload(self.instance, &sent, turn))
            else {
                return true;
            };
            self.in_flight.insert(payload.message_id.clone(), InFlight { items, ticks: 0 });
            if !self.send(&payload.into()).await {
                return false;
            }
        }
    }

    async fn beat(&mut self) -> bool {
        self.missed += u32::from(self.answers_heartbeats);
        self.in_flight.values_mut().for_each(|flight| flight.ticks += 1);
        self.in_flight.retain(|_, flight| flight.ticks <= RESEND_TICKS);
        let message_id = self.plane.decide(|_, turn| (turn.fresh)());
        self.send(&acs::HeartbeatMessage { healthy: true, message_id }.into()).await && self.send_due().await
    }

    async fn receive(&mut self, text: &str) -> bool {
        let message = match Message::decode(text) {
            Ok(message) => message,
            Err(err) => {
                tracing::warn!(instance = self.instance, %err, "an agent sent what cannot be read");
                return true;
            }
        };
        match message {
            Message::HeartbeatAck(_) => self.missed = 0,
            Message::Ack(ack) => {
                if let Some(flight) = self.in_flight.remove(&ack.message_id) {
                    self.plane.decide(|state, _| state.delivered(&flight.items));
                }
            }
            Message::Nack(nack) => {
                tracing::warn!(
                    instance = self.instance,
                    message_id = nack.message_id,
                    reason = nack.reason,
                    "an agent refused a message"
                );
            }
            Message::TaskStopVerification(asked) => {
                let answer = self.plane.decide(|state, turn| state.verify_stops(self.instance, asked, turn.now));
                return self.send(&answer.into()).await;
            }
            other => {
                tracing::debug!(instance = self.instance, kind = other.kind(), "a message from an agent was left alone")
            }
        }
        true
    }

    /// Says why, where there is somebody to say it to.
    async fn finish(mut self, why: &Why) {
        let (code, reason) = match why {
            Why::Ended(Ending::Deregistered) => {
                let message = "InactiveInstanceException: the container instance is not registered any more".to_owned();
                self.send(&acs::InactiveInstanceException { message }.into()).await;
                (close_code::NORMAL, "the container instance was deregistered")
            }
            Why::Ended(Ending::Replaced) => (close_code::NORMAL, "the agent has connected again"),
            Why::Stopping => (close_code::AWAY, "the control plane is stopping"),
            Why::Silent => (close_code::POLICY, "heartbeats were not answered"),
            Why::Gone => return,
        };
        let started = Instant::now();
        let frame = Frame::Close(Some(CloseFrame { code, reason: reason.into() }));
        if timeout(SEND, self.socket.send(frame)).await.is_err() {
            tracing::debug!(
                instance = self.instance,
                elapsed_ms = started.elapsed().as_millis(),
                "a connection could not be closed in order"
            );
        }
    }
}
