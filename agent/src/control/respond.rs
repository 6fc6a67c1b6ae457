//! One responder for each message of the control plane: what it changes, and what is answered.

use super::convert::{self, Border};
use crate::config::Settings;
use crate::engine::{Engine, Status, SubmitError};
use crate::task::Origin;
use berth_runtime::errno::chain;
use berth_wire::acs::{
    AckRequest, HeartbeatAckRequest, IamRoleCredentialsAckRequest, Message, NackRequest, PayloadMessage, Task,
    TaskIdentifier, TaskManifestMessage, TaskStopVerificationAck, TaskStopVerificationMessage,
};
use std::sync::Arc;

/// Why a task is stopped when the control plane says so.
const STOPPED_BY_CONTROL_PLANE: &str = "stopped by the control plane";

/// What the responders work with. One for the life of the agent.
pub(super) struct Responders {
    pub(super) engine: Engine,
    pub(super) settings: Arc<Settings>,
    /// The manifest whose verification is awaited.
    awaited: Option<String>,
}

/// What is to be done after a message.
#[derive(Debug, PartialEq)]
pub(super) enum Reply {
    /// Send this.
    Send(Box<Message>),
    /// Nothing.
    Nothing,
    /// The session is of no use any more.
    End {
        /// Why.
        reason: String,
        /// The control plane does not know this node any more.
        inactive: bool,
    },
}

impl Reply {
    fn send(message: impl Into<Message>) -> Self {
        Self::Send(Box::new(message.into()))
    }
}

impl Responders {
    pub(super) fn new(engine: Engine, settings: Arc<Settings>) -> Self {
        Self { engine, settings, awaited: None }
    }

    /// Acts on one message.
    pub(super) async fn respond(&mut self, message: Message) -> Reply {
        match message {
            Message::Heartbeat(m) => Reply::send(HeartbeatAckRequest { message_id: m.message_id }),
            Message::Payload(m) => self.payload(m).await,
            Message::TaskManifest(m) => self.manifest(m),
            Message::TaskStopVerificationAck(m) => self.stop_verified(m).await,
            Message::RoleCredentials(m) => credentials(m),
            Message::AttachTaskNetworkInterfaces(m) => self.ack(m.message_id),
            Message::AttachInstanceNetworkInterfaces(m) => self.ack(m.message_id),
            Message::ConfirmAttachment(m) => self.nack(m.message_id, "attachments are not supported"),
            Message::StageUpdate(m) => self.nack(m.message_id, "this agent is updated with its package"),
            Message::PerformUpdate(m) => self.nack(m.message_id, "this agent is updated with its package"),
            Message::Close(m) => Reply::End { reason: m.message, inactive: false },
            Message::InactiveInstance(m) => Reply::End { reason: m.message, inactive: true },
            Message::InvalidInstance(m) => Reply::End { reason: m.message, inactive: true },
            Message::InvalidCluster(m) => Reply::End { reason: m.message, inactive: false },
            Message::AccessDenied(m) => Reply::End { reason: m.message, inactive: false },
            Message::ServerException(m) => Reply::End { reason: m.message, inactive: false },
            Message::BadRequest(m) => Reply::End { reason: m.message, inactive: false },
            Message::Error(m) => {
                tracing::warn!(message = m.message, "the control plane reports an error");
                Reply::Nothing
            }
            other => {
                tracing::debug!(kind = other.kind(), "message is not for an agent: dropped");
                Reply::Nothing
            }
        }
    }

    fn ack(&self, message_id: String) -> Reply {
        let container_instance = self.engine.meta().container_instance_arn.unwrap_or_default();
        Reply::send(AckRequest { cluster: self.settings.cluster.clone(), container_instance, message_id })
    }

    fn nack(&self, message_id: String, reason: &str) -> Reply {
        let container_instance = self.engine.meta().container_instance_arn.unwrap_or_default();
        let cluster = self.settings.cluster.clone();
        Reply::send(NackRequest { cluster, container_instance, message_id, reason: reason.to_owned() })
    }

    /// Stops first, so that what they free is there for what starts. Acknowledged once all of it is on disk; what is not
    /// acknowledged comes again, and is known by then.
    async fn payload(&mut self, payload: PayloadMessage) -> Reply {
        let message_id = payload.message_id;
        tracing::debug!(message_id, tasks = payload.tasks.len(), "payload");
        let (stops, runs): (Vec<Task>, Vec<Task>) =
            payload.tasks.into_iter().partition(|t| matches!(t.desired_status.as_str(), "STOPPED" | "DEAD"));
        let mut taken = true;
        for task in stops {
            taken &= self.stop(&task).await;
        }
        let all = futures_util::future::join_all(runs.iter().map(|task| self.run(task))).await;
        taken &= all.into_iter().all(|taken| taken);
        let sequence = payload.seq_num.max(payload.timeline.unwrap_or_default());
        self.engine.change_meta_later(|meta| meta.sequence = meta.sequence.max(sequence));
        if taken { self.ack(message_id) } else { Reply::Nothing }
    }

    fn border(&self) -> Border {
        Border {
            origin: Origin::ControlPlane,
            disable_privileged: self.settings.disable_privileged,
            remap: self.settings.userns_remap,
            now_ms: crate::engine::now_ms(),
        }
    }

    async fn run(&self, task: &Task) -> bool {
        let result = match convert::task(task, self.border()) {
            Ok(task) => self.engine.submit(task, None).await,
            Err(refusal) => {
                let reason = format!("UnrecognizedTaskError: {refusal}");
                tracing::warn!(task = task.arn, reason, "task refused");
                self.engine.refuse(convert::skeleton(task, self.border()), reason).await
            }
        };
        result.map_err(|e| log_untaken(&task.arn, &e)).is_ok()
    }

    async fn stop(&self, task: &Task) -> bool {
        let id = task.arn.rsplit('/').next().unwrap_or_default();
        if self.engine.stop(id, None, STOPPED_BY_CONTROL_PLANE).await {
            return true;
        }
        // Not known here, so it has stopped: said, or it would be stopping for ever.
        let reason = "TaskVanishedError: this node does not know the task".to_owned();
        let told = self.engine.refuse(convert::skeleton(task, self.border()), reason).await;
        told.map_err(|e| log_untaken(&task.arn, &e)).is_ok()
    }

    /// All tasks that the control plane believes to be here. Those that run and should not are asked about once more.
    fn manifest(&mut self, manifest: TaskManifestMessage) -> Reply {
        if manifest.timeline <= self.engine.meta().sequence {
            return Reply::Nothing;
        }
        self.engine.change_meta_later(|meta| meta.sequence = meta.sequence.max(manifest.timeline));
        let is_wanted = |arn: &str| {
            manifest.tasks.iter().any(|t| t.task_arn == arn && !matches!(t.desired_status.as_str(), "STOPPED" | "DEAD"))
        };
        let tasks = self.engine.tasks();
        let unwanted = tasks.iter().filter(|t| {
            t.row.task.origin == Origin::ControlPlane && t.status() != Status::Stopped && !is_wanted(&t.row.task.arn)
        });
        let stop_candidates: Vec<TaskIdentifier> = unwanted
            .map(|t| TaskIdentifier {
                task_arn: t.row.task.arn.clone(),
                task_cluster_arn: t.row.task.cluster.clone(),
                desired_status: "STOPPED".into(),
            })
            .collect();
        if stop_candidates.is_empty() {
            return self.ack(manifest.message_id);
        }
        self.awaited = Some(manifest.message_id.clone());
        let message_id = manifest.message_id;
        Reply::send(TaskStopVerificationMessage { message_id, stop_candidates })
    }

    async fn stop_verified(&mut self, ack: TaskStopVerificationAck) -> Reply {
        if self.awaited.as_deref() != Some(ack.message_id.as_str()) {
            return Reply::Nothing;
        }
        self.awaited = None;
        for task in ack.stop_tasks {
            let id = task.task_arn.rsplit('/').next().unwrap_or_default();
            self.engine.stop(id, None, "not in the control plane's task manifest").await;
        }
        Reply::Nothing
    }
}

/// Taken, and not yet handed to containers: the endpoint for them comes later.
fn credentials(message: berth_wire::acs::IamRoleCredentialsMessage) -> Reply {
    let credentials = message.role_credentials.unwrap_or_default();
    Reply::send(IamRoleCredentialsAckRequest {
        message_id: message.message_id,
        expiration: credentials.expiration,
        credentials_id: credentials.credentials_id,
    })
}

fn log_untaken(arn: &str, error: &SubmitError) {
    tracing::error!(task = arn, err = chain(error), "task of a payload is not taken: it will be sent again");
}
