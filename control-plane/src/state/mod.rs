//! Everything the control plane knows, and every decision on it: no clock, no disk, no sockets.
//!
//! One [`State`] is owned by [`crate::ControlPlane`], behind a mutex that is held for one decision and never across a
//! wait. A decision gets a [`Turn`] (the time, fresh ids) and leaves in it what must now happen outside: records to
//! write, agents to wake, watchers to tell. The caller makes the records durable before the others learn of them.
//!
//! # A task
//!
//! ```text
//! RunTask ──► PENDING ──agent──► RUNNING ──agent──► STOPPED ──retention──► forgotten
//!                │  StopTask, or an essential container stopped: desired STOPPED
//!                └──────────────────agent──────────────► STOPPED
//! ```
//! Reports move a task forwards only: late or repeated ones change nothing. What a task takes from its instance is held
//! until it is STOPPED. `delivered` says which wish its agent has acknowledged; it is not kept over a restart, because
//! sending a payload twice is harmless and forgetting one is not.

mod clusters;
mod definitions;
mod delivery;
pub(crate) use delivery::{Delivered, NoSession};
mod instances;
mod intake;
mod page;
mod run;
mod tags;
mod tasks;

use crate::arn::{Names, last};
use crate::config::Config;
use crate::error::{ApiError, Code};
use crate::schedule::{Capacity, Demand};
use berth_wire::ecs::{self, values::last_status};
use berth_wire::{acs, ecs::Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use tokio::sync::watch;

/// A kind of record; one table each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    Cluster,
    Definition,
    Family,
    Instance,
    Task,
}

impl Kind {
    pub(crate) const ALL: [Kind; 5] = [Kind::Cluster, Kind::Definition, Kind::Family, Kind::Instance, Kind::Task];

    /// The table's name in the file.
    pub(crate) fn table(self) -> &'static str {
        match self {
            Kind::Cluster => "clusters",
            Kind::Definition => "task-definitions",
            Kind::Family => "families",
            Kind::Instance => "container-instances",
            Kind::Task => "tasks",
        }
    }
}

/// A record to write, or with no value to delete.
#[derive(Debug)]
pub(crate) struct Write {
    pub(crate) kind: Kind,
    pub(crate) key: String,
    pub(crate) value: Option<Vec<u8>>,
}

/// What happens once the records are durable.
#[derive(Debug, Default)]
pub(crate) struct Effects {
    /// Instances (by id) whose sessions have something to send.
    pub(crate) wake: BTreeSet<String>,
    /// Tasks (by id) whose watchers are to be told.
    pub(crate) tasks: BTreeSet<String>,
    /// Instances whose sessions end, because they are no longer registered.
    pub(crate) close: BTreeSet<String>,
}

/// The surroundings of one decision.
pub(crate) struct Turn<'a> {
    pub(crate) now: Timestamp,
    /// Makes an id of 32 hexadecimal digits.
    pub(crate) fresh: &'a mut dyn FnMut() -> String,
    pub(crate) writes: Vec<Write>,
    pub(crate) effects: Effects,
}

impl<'a> Turn<'a> {
    pub(crate) fn new(now: Timestamp, fresh: &'a mut dyn FnMut() -> String) -> Self {
        Self { now, fresh, writes: Vec::new(), effects: Effects::default() }
    }

    fn put(&mut self, kind: Kind, key: &str, record: &impl Serialize) {
        let value = serde_json::to_vec(record).expect("records have string keys and derived serializers");
        self.writes.push(Write { kind, key: key.to_owned(), value: Some(value) });
    }

    fn delete(&mut self, kind: Kind, key: &str) {
        self.writes.push(Write { kind, key: key.to_owned(), value: None });
    }
}

/// A cluster, kept by name.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct ClusterRecord {
    pub(crate) name: String,
    pub(crate) status: String,
    pub(crate) tags: Vec<ecs::Tag>,
    pub(crate) settings: Vec<ecs::ClusterSetting>,
}

/// A revision of a task definition, kept as `FAMILY:REVISION`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct DefinitionRecord {
    pub(crate) definition: ecs::TaskDefinition,
    pub(crate) tags: Vec<ecs::Tag>,
}

/// A container instance, kept by id.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct InstanceRecord {
    pub(crate) id: String,
    pub(crate) cluster: String,
    pub(crate) status: String,
    pub(crate) attributes: Vec<ecs::Attribute>,
    pub(crate) resources: Vec<ecs::Resource>,
    pub(crate) tags: Vec<ecs::Tag>,
    pub(crate) version_info: Option<ecs::VersionInfo>,
    pub(crate) registered_at: Timestamp,
    pub(crate) version: i64,
    /// Of the request that registered it: the same token is the same instance.
    pub(crate) client_token: Option<String>,
    /// No message for it has had a higher sequence number than this. Raised in steps, so that a payload does not cost a
    /// write of its own.
    pub(crate) sequence_reserved: i64,
}

/// A task, kept by id.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct TaskRecord {
    pub(crate) id: String,
    pub(crate) cluster: String,
    /// The instance's id.
    pub(crate) instance: String,
    pub(crate) view: ecs::Task,
    pub(crate) payload: acs::Task,
    pub(crate) demand: Demand,
    /// Of the RunTask that made it, and its place among that request's tasks.
    pub(crate) client_token: Option<String>,
    /// Until when the task is protected from scale-in, if it is.
    pub(crate) protected_until: Option<Timestamp>,
}

impl TaskRecord {
    fn stopped(&self) -> bool {
        self.view.last_status == last_status::STOPPED
    }
}

#[derive(Debug, Default)]
struct Instance {
    record: InstanceRecord,
    connected: bool,
    /// The sequence number of the last message for it.
    sequence: i64,
    /// From the record, in the scheduler's form.
    attributes: BTreeMap<String, Option<String>>,
    capacity: Capacity,
    used: Demand,
    /// Its tasks that are not STOPPED, by id.
    tasks: BTreeSet<String>,
}

#[derive(Debug)]
struct Task {
    record: TaskRecord,
    /// The desired status that the agent has acknowledged.
    delivered: Option<String>,
    watch: Option<watch::Sender<Arc<ecs::Task>>>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct State {
    names: Names,
    account: String,
    default_cluster: String,
    retention: f64,
    clusters: BTreeMap<String, ClusterRecord>,
    definitions: BTreeMap<(String, i64), DefinitionRecord>,
    /// The highest revision ever given to each family.
    families: BTreeMap<String, i64>,
    instances: BTreeMap<String, Instance>,
    tasks: HashMap<String, Task>,
    /// Tasks that are STOPPED, by when.
    stopped: BTreeSet<(Moment, String)>,
}

/// A time that can be ordered: milliseconds since the epoch.
type Moment = i64;

fn moment(time: Timestamp) -> Moment {
    (time * 1000.0) as Moment
}

impl State {
    /// A state with nothing in it.
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            names: Names::new(&config.region, &config.account),
            account: config.account.clone(),
            default_cluster: config.cluster.clone(),
            retention: config.stopped_task_retention.as_secs_f64(),
            clusters: BTreeMap::new(),
            definitions: BTreeMap::new(),
            families: BTreeMap::new(),
            instances: BTreeMap::new(),
            tasks: HashMap::new(),
            stopped: BTreeSet::new(),
        }
    }

    /// Takes in a record that was read from disk.
    pub(crate) fn restore(&mut self, kind: Kind, key: &str, value: &[u8]) -> Result<(), serde_json::Error> {
        match kind {
            Kind::Cluster => {
                self.clusters.insert(key.to_owned(), serde_json::from_slice(value)?);
            }
            Kind::Family => {
                self.families.insert(key.to_owned(), serde_json::from_slice(value)?);
            }
            Kind::Definition => {
                let record: DefinitionRecord = serde_json::from_slice(value)?;
                let at = (record.definition.family.clone(), record.definition.revision);
                self.definitions.insert(at, record);
            }
            Kind::Instance => {
                let record: InstanceRecord = serde_json::from_slice(value)?;
                self.instances.insert(key.to_owned(), Instance::of(record));
            }
            Kind::Task => {
                let record: TaskRecord = serde_json::from_slice(value)?;
                // A task that its agent has reported on is known there; of one that it has not, nobody remembers
                // whether the payload was acknowledged. A stop may also be unknown there.
                let running = record.view.last_status == last_status::RUNNING;
                let delivered = running.then(|| last_status::RUNNING.to_owned());
                self.tasks.insert(key.to_owned(), Task { record, delivered, watch: None });
            }
        }
        Ok(())
    }

    /// Puts together what records say of each other, after the last was restored, and makes the default cluster.
    pub(crate) fn restored(&mut self, turn: &mut Turn<'_>) {
        for (id, task) in &self.tasks {
            if task.record.stopped() {
                let at = task.record.view.stopped_at.unwrap_or(turn.now);
                self.stopped.insert((moment(at), id.clone()));
            } else if let Some(instance) = self.instances.get_mut(&task.record.instance) {
                instance.tasks.insert(id.clone());
            }
        }
        for id in self.instances.keys().cloned().collect::<Vec<_>>() {
            self.recount(&id);
        }
        if !self.clusters.contains_key(&self.default_cluster) {
            let name = self.default_cluster.clone();
            self.add_cluster(ClusterRecord { name, ..ClusterRecord::default() }, turn);
        }
    }

    /// Adds up anew what the tasks of an instance take: nothing is counted up and down, so nothing can drift.
    fn recount(&mut self, instance: &str) {
        let Some(entry) = self.instances.get_mut(instance) else { return };
        let mut used = Demand::default();
        for task in entry.tasks.iter().filter_map(|id| self.tasks.get(id)) {
            let demand = &task.record.demand;
            used.cpu = used.cpu.saturating_add(demand.cpu);
            used.memory = used.memory.saturating_add(demand.memory);
            used.tcp.extend(&demand.tcp);
            used.udp.extend(&demand.udp);
            // Ports chosen on the node are known once they are reported.
            for binding in task.record.view.containers.iter().flat_map(|container| &container.network_bindings) {
                if let Some(port) = binding.host_port.and_then(|port| u16::try_from(port).ok()) {
                    let udp = binding.protocol.as_deref() == Some("udp");
                    if udp { &mut used.udp } else { &mut used.tcp }.insert(port);
                }
            }
        }
        entry.used = used;
    }

    /// Notes that a task has changed: a new version of it, to be written and told.
    fn touch(&mut self, id: &str, turn: &mut Turn<'_>) {
        if let Some(task) = self.tasks.get_mut(id) {
            task.record.view.version += 1;
            turn.put(Kind::Task, id, &task.record);
            turn.effects.tasks.insert(id.to_owned());
        }
    }

    /// Forgets tasks that stopped long ago.
    pub(crate) fn prune(&mut self, turn: &mut Turn<'_>) {
        let before = moment(turn.now - self.retention);
        while let Some((at, id)) = self.stopped.first().cloned() {
            if at >= before {
                break;
            }
            self.stopped.pop_first();
            self.tasks.remove(&id);
            turn.delete(Kind::Task, &id);
        }
    }

    /// A receiver that always holds the task as it last was; closed when the task is forgotten.
    pub(crate) fn watch(&mut self, task: &str) -> Option<watch::Receiver<Arc<ecs::Task>>> {
        let task = self.tasks.get_mut(last(task))?;
        let view = &task.record.view;
        Some(task.watch.get_or_insert_with(|| watch::Sender::new(Arc::new(view.clone()))).subscribe())
    }

    /// Tells the watchers of a task, and forgets them when there are none left.
    pub(crate) fn tell(&mut self, task: &str) {
        let Some(task) = self.tasks.get_mut(task) else { return };
        if let Some(sender) = task.watch.take().filter(|sender| sender.receiver_count() > 0) {
            sender.send_replace(Arc::new(task.record.view.clone()));
            task.watch = Some(sender);
        }
    }

    /// The name of the cluster that a request means.
    fn cluster(&self, reference: Option<&str>) -> Result<String, ApiError> {
        let name = match reference.filter(|reference| !reference.is_empty()) {
            Some(reference) => last(reference),
            None => &self.default_cluster,
        };
        match self.clusters.get(name) {
            Some(cluster) if cluster.status == clusters::ACTIVE => Ok(name.to_owned()),
            _ => Err(ApiError::new(Code::ClusterNotFound, format!("there is no cluster `{name}`"))),
        }
    }
}

#[cfg(test)]
mod tests;
