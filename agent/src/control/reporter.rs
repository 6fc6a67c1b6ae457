//! Tells the control plane of every change, each task in its own order, until it has acknowledged.
//!
//! At most ten calls at a time; a call that fails is made again with growing pauses, with what is true by then, so that
//! an outage ends in one report for each task and not in its whole history. What is acknowledged goes to the store.

use super::backoff::{Backoff, random};
use super::report::{Told, next};
use crate::aws::{Class, EcsClient};
use crate::engine::{Engine, TaskState};
use crate::store::Sent;
use berth_runtime::errno::chain;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::sync::broadcast::error::RecvError;
use tokio::task::JoinSet;

/// Calls at a time.
const AT_A_TIME: usize = 10;

pub(super) struct Reporter {
    engine: Engine,
    client: EcsClient,
    cluster: String,
    told: HashMap<String, Told>,
    under_way: HashSet<String>,
    again: HashSet<String>,
    calls: JoinSet<(String, Told)>,
    permits: Arc<Semaphore>,
}

impl Reporter {
    pub(super) fn new(engine: Engine, client: EcsClient, cluster: String) -> Self {
        Self {
            engine,
            client,
            cluster,
            told: HashMap::new(),
            under_way: HashSet::new(),
            again: HashSet::new(),
            calls: JoinSet::new(),
            permits: Arc::new(Semaphore::new(AT_A_TIME)),
        }
    }

    /// Runs for ever.
    pub(super) async fn run(mut self) {
        let mut changes = self.engine.changes();
        self.look_at_all();
        loop {
            tokio::select! {
                change = changes.recv() => match change {
                    Ok(state) => self.consider(&state),
                    Err(RecvError::Lagged(_)) => self.look_at_all(),
                    Err(RecvError::Closed) => return,
                },
                Some(done) = self.calls.join_next() => {
                    let Ok((id, told)) = done else { continue };
                    self.under_way.remove(&id);
                    self.told.insert(id.clone(), told);
                    if self.again.remove(&id) && let Some(state) = self.engine.task(&id) {
                        self.consider(&state);
                    }
                }
            }
        }
    }

    fn look_at_all(&mut self) {
        let tasks = self.engine.tasks();
        let known: HashSet<&str> = tasks.iter().map(|t| t.row.task.id.as_str()).collect();
        self.told.retain(|id, _| known.contains(id.as_str()));
        for state in &tasks {
            self.consider(state);
        }
    }

    fn consider(&mut self, state: &Arc<TaskState>) {
        let id = state.row.task.id.clone();
        if self.under_way.contains(&id) {
            self.again.insert(id);
            return;
        }
        let told = self.told.entry(id.clone()).or_insert_with(|| Told { sent: state.row.sent, containers: Vec::new() });
        if next(state, told, &self.cluster).is_none() {
            return;
        }
        let told = told.clone();
        self.under_way.insert(id.clone());
        let call = Call {
            id: id.clone(),
            engine: self.engine.clone(),
            client: self.client.clone(),
            cluster: self.cluster.clone(),
            permits: self.permits.clone(),
        };
        self.calls.spawn(async move { (id, call.tell(told).await) });
    }
}

struct Call {
    id: String,
    engine: Engine,
    client: EcsClient,
    cluster: String,
    permits: Arc<Semaphore>,
}

impl Call {
    /// Tells what there is to tell of one task, until there is nothing more.
    async fn tell(self, mut told: Told) -> Told {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(30), 1.3);
        let mut failed = false;
        loop {
            let state = self.engine.task(&self.id);
            let Some((now, request)) = state.and_then(|s| next(&s, &told, &self.cluster)) else { return told };
            let result = {
                let _permit = self.permits.acquire().await;
                self.client.submit_task(&request).await
            };
            match result {
                Ok(()) => {
                    if failed {
                        tracing::info!(task = self.id, "change of state reported at last");
                    }
                    self.acknowledge(&mut told, now);
                }
                Err(error) if error.class() == Class::Terminal => {
                    tracing::error!(task = self.id, err = chain(&error), "change of state refused: not sent again");
                    self.acknowledge(&mut told, now);
                }
                Err(error) => {
                    if !failed {
                        tracing::warn!(
                            task = self.id,
                            err = chain(&error),
                            "change of state not reported: trying again"
                        );
                    }
                    failed = true;
                    tokio::time::sleep(backoff.pause(random())).await;
                }
            }
        }
    }

    fn acknowledge(&self, told: &mut Told, now: Told) {
        if now.sent > told.sent && now.sent != Sent::Nothing {
            self.engine.acknowledged(&self.id, now.sent);
        }
        *told = now;
    }
}
