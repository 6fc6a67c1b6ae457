//! What agents are told: payloads that are not acknowledged yet, and the manifest of all their tasks.

use super::{Kind, State, Turn, intake};
use crate::arn::last;
use berth_wire::acs::{
    PayloadMessage, TaskIdentifier, TaskManifestMessage, TaskStopVerificationAck, TaskStopVerificationMessage,
};
use berth_wire::ecs::values::desired_status;

/// A task in a payload, and the wish that an acknowledgement confirms.
pub(crate) type Delivered = (String, String);

/// How many sequence numbers are reserved with one write.
const SEQUENCE_STEP: i64 = 1000;

/// The most tasks of one payload: agents bound the size of a message, and a task may have 64 KiB.
const MAX_TASKS: usize = 10;

/// Why a session may not be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoSession {
    /// There is no such instance, or not in this cluster.
    Unknown,
    /// It was deregistered.
    Inactive,
}

impl State {
    /// Checks that the instance named by an agent that connects is registered; gives back its id.
    pub(crate) fn session(&self, cluster: &str, instance: &str) -> Result<String, NoSession> {
        let id = last(instance);
        match self.instances.get(id).filter(|entry| cluster.is_empty() || entry.record.cluster == last(cluster)) {
            None => Err(NoSession::Unknown),
            Some(entry) if !entry.registered() => Err(NoSession::Inactive),
            Some(_) => Ok(id.to_owned()),
        }
    }

    /// Notes that an agent has connected, or that its last connection has ended.
    pub(crate) fn set_connected(&mut self, instance: &str, connected: bool) {
        if let Some(entry) = self.instances.get_mut(instance) {
            entry.connected = connected;
        }
    }

    /// The next sequence number of messages for an instance: higher than all before, also over a restart.
    fn sequence(&mut self, instance: &str, turn: &mut Turn<'_>) -> i64 {
        let Some(entry) = self.instances.get_mut(instance) else { return 0 };
        entry.sequence += 1;
        if entry.sequence > entry.record.sequence_reserved {
            entry.record.sequence_reserved = entry.sequence + SEQUENCE_STEP;
            turn.put(Kind::Instance, instance, &entry.record);
        }
        entry.sequence
    }

    /// The next payload for an instance: tasks whose wish its agent has not acknowledged, but for those that `sent` says
    /// are on their way, at most [`MAX_TASKS`] of them. Stops come first: what they free may be what the others need.
    pub(crate) fn payload(
        &mut self,
        instance: &str,
        sent: &dyn Fn(&Delivered) -> bool,
        turn: &mut Turn<'_>,
    ) -> Option<(PayloadMessage, Vec<Delivered>)> {
        let entry = self.instances.get(instance)?;
        let cluster = entry.record.cluster.clone();
        let mut due = Vec::new();
        for id in &entry.tasks {
            let Some(task) = self.tasks.get(id) else { continue };
            let wish =
                if intake::wished_running(&task.record) { desired_status::RUNNING } else { desired_status::STOPPED };
            let item = (id.clone(), wish.to_owned());
            if task.delivered.as_deref() != Some(wish) && !sent(&item) {
                let mut task = task.record.payload.clone();
                task.desired_status = wish.to_owned();
                due.push((item, task));
            }
        }
        if due.is_empty() {
            return None;
        }
        due.sort_by_key(|((_, wish), _)| wish != desired_status::STOPPED);
        due.truncate(MAX_TASKS);
        let (items, tasks) = due.into_iter().unzip();
        let message = PayloadMessage {
            container_instance_arn: self.names.instance(&cluster, instance),
            cluster_arn: self.names.cluster(&cluster),
            tasks,
            generated_at: (turn.now * 1000.0) as i64,
            message_id: (turn.fresh)(),
            seq_num: self.sequence(instance, turn),
            timeline: None,
        };
        Some((message, items))
    }

    /// An agent has acknowledged a payload.
    pub(crate) fn delivered(&mut self, items: &[Delivered]) {
        for (id, wish) in items {
            if let Some(task) = self.tasks.get_mut(id).filter(|task| !task.record.stopped()) {
                task.delivered = Some(wish.clone());
            }
        }
    }

    /// All tasks that should run on an instance.
    pub(crate) fn manifest(&mut self, instance: &str, turn: &mut Turn<'_>) -> Option<TaskManifestMessage> {
        let entry = self.instances.get(instance)?;
        let cluster_arn = self.names.cluster(&entry.record.cluster);
        let here = entry.tasks.iter().filter_map(|id| self.tasks.get(id)).map(|task| TaskIdentifier {
            task_arn: task.record.view.task_arn.clone(),
            task_cluster_arn: cluster_arn.clone(),
            desired_status: task.record.view.desired_status.clone(),
        });
        let tasks = here.collect();
        let container_instance_arn = self.names.instance(&entry.record.cluster, instance);
        Some(TaskManifestMessage {
            container_instance_arn,
            cluster_arn,
            tasks,
            generated_at: (turn.now * 1000.0) as i64,
            message_id: (turn.fresh)(),
            timeline: self.sequence(instance, turn),
        })
    }

    /// Which of the tasks that an agent runs, and the manifest did not have, are really to stop: all but those that were
    /// started on it since.
    pub(crate) fn verify_stops(
        &self,
        instance: &str,
        asked: TaskStopVerificationMessage,
        now: f64,
    ) -> TaskStopVerificationAck {
        let to_stop = |candidate: &TaskIdentifier| match self.tasks.get(last(&candidate.task_arn)) {
            Some(task) => {
                task.record.instance != instance || task.record.stopped() || !intake::wished_running(&task.record)
            }
            None => true,
        };
        let mut stop_tasks: Vec<_> = asked.stop_candidates.into_iter().filter(to_stop).collect();
        for task in &mut stop_tasks {
            task.desired_status = desired_status::STOPPED.to_owned();
        }
        TaskStopVerificationAck { generated_at: (now * 1000.0) as i64, message_id: asked.message_id, stop_tasks }
    }
}
