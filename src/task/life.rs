//! Decides a task's life: what to start, signal, kill and remove, and when.
//!
//! ```text
//!             Begin ──▶ [network] ──▶ containers start in the order of dependsOn
//!                                          │ an essential one ends, a Stop comes, or the network fails
//!                                          ▼
//!                                       stopping: nothing starts any more; reverse order
//!                                          │ every container is stopped (also without a stop: all ended by themselves)
//!                                          ▼
//!                                       cleaning ──▶ ended (once)
//!
//! one container:
//!   Waiting ──Create──▶ Creating ──Created/Release──▶ Released ──Running──▶ Running ──Exited──▶ Stopped
//!      │                   │ Created while stopping          │ StartFailed                        ▲
//!      │                   └──────Kill──▶ Abandoned ─────────┴────────────────────────────────────┤
//!      └── its order can never come, or the task stops first ─────────────────────────────────────┘
//! ```
//!
//! Stop always wins: a container that is being made when the stop comes is killed at the gate, before anything of the
//! user's has run. Events of a container that has stopped already change nothing, so a late or doubled one is harmless.

use super::container::{Asked, Container, Stage, oom_reason};
use super::event::{Action, Event, Now};
use super::order::{Readiness, find_cycle, readiness};
use super::plan::{Dependency, TaskPlan};
use super::view::{ExitRecord, OomKill, Phase, TaskView};

/// Exit code of a container whose dependencies can never be met, as Amazon ECS tells it.
pub const DEPENDENCY_CODE: i32 = 143;

/// Why a task stops when an essential container has ended; the text is Amazon ECS's.
pub const ESSENTIAL_EXITED: &str = "Essential container in task exited";

/// A plan that cannot be carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanProblem {
    /// A dependency names no container.
    #[error("container `{container}` depends on container {on}, and there are {count}")]
    NoSuchDependency {
        /// Who depends.
        container: String,
        /// On which index.
        on: u32,
        /// How many containers there are.
        count: usize,
    },
    /// Containers wait for each other.
    #[error("Task dependencies cannot be resolved: container `{container}` waits for itself")]
    Circular {
        /// One of them.
        container: String,
    },
    /// There is nothing to run.
    #[error("the task has no container")]
    Empty,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Network {
    Wanted,
    Making,
    Ready,
}

/// A task's state.
#[derive(Debug, Clone)]
pub struct Task {
    containers: Box<[Container]>,
    network: Network,
    begun: bool,
    generation: u64,
    stopping: bool,
    reason: Option<String>,
    /// Overrides every container's stop time-out.
    stop_timeout_ms: Option<u64>,
    cleaning: bool,
    ended: bool,
    execution_stopped_at_ms: Option<u64>,
}

impl Task {
    /// The task of `plan`, before it begins.
    pub fn new(plan: &TaskPlan) -> Result<Self, PlanProblem> {
        let count = plan.containers.len();
        if count == 0 {
            return Err(PlanProblem::Empty);
        }
        for c in &plan.containers {
            if let Some(d) = c.depends_on.iter().find(|d| d.on as usize >= count) {
                return Err(PlanProblem::NoSuchDependency { container: c.name.clone(), on: d.on, count });
            }
        }
        let lists: Vec<&[Dependency]> = plan.containers.iter().map(|c| c.depends_on.as_slice()).collect();
        if let Some(i) = find_cycle(&lists) {
            return Err(PlanProblem::Circular { container: plan.containers[i].name.clone() });
        }
        let containers = plan.containers.iter().map(Container::new);
        let network = if plan.network.is_some() { Network::Wanted } else { Network::Ready };
        Ok(Self { network, ..Self::of(containers.collect()) })
    }

    /// A task that never ran and has ended, for a plan that cannot be carried out.
    pub fn refused(reason: String) -> Self {
        Self { ended: true, stopping: true, reason: Some(reason), ..Self::of(Box::default()) }
    }

    fn of(containers: Box<[Container]>) -> Self {
        Self {
            containers,
            network: Network::Ready,
            begun: false,
            generation: 0,
            stopping: false,
            reason: None,
            stop_timeout_ms: None,
            cleaning: false,
            ended: false,
            execution_stopped_at_ms: None,
        }
    }

    /// Takes an event and says what is to be done.
    pub fn step(&mut self, event: Event, now: Now) -> Vec<Action> {
        let mut actions = Vec::new();
        self.take(event, now, &mut actions);
        self.settle(now, &mut actions);
        actions
    }

    /// When [`Event::TimePassed`] is due next, on the monotonic clock.
    pub fn next_deadline_ms(&self) -> Option<u64> {
        let stops = self.containers.iter().filter(|c| c.stage != Stage::Stopped).filter_map(|c| match c.asked {
            Asked::Until(deadline) => Some(deadline),
            Asked::No | Asked::Killed => None,
        });
        let waits =
            (0..self.containers.len()).filter(|_| self.may_start()).filter_map(|i| match self.readiness(i, 0) {
                Readiness::Waits { until_ms } => until_ms,
                Readiness::Ready | Readiness::Never { .. } => None,
            });
        stops.chain(waits).min()
    }

    /// The exit record of a container that has stopped.
    pub fn exit(&self, container: usize) -> Option<&ExitRecord> {
        self.containers.get(container)?.exit.as_ref()
    }

    /// The highest generation taken.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Whether nothing is left to be done.
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// Whether the container's user's process runs and may be joined.
    pub fn is_running(&self, container: usize) -> bool {
        self.containers.get(container).is_some_and(|c| c.stage == Stage::Running)
    }

    /// The task as others see it.
    pub fn view(&self) -> TaskView {
        TaskView {
            generation: self.generation,
            phase: self.phase(),
            reason: self.reason.clone(),
            containers: self.containers.iter().map(Container::view).collect(),
            execution_stopped_at_ms: self.execution_stopped_at_ms,
        }
    }

    fn phase(&self) -> Phase {
        let on_its_way = |c: &Container| matches!(c.stage, Stage::Waiting | Stage::Creating | Stage::Released);
        if self.ended {
            Phase::Ended
        } else if self.cleaning {
            Phase::Cleaning
        } else if self.stopping {
            Phase::Stopping
        } else if self.containers.iter().any(on_its_way) {
            Phase::Starting
        } else {
            Phase::Running
        }
    }

    fn take(&mut self, event: Event, now: Now, actions: &mut Vec<Action>) {
        match event {
            Event::Begin => self.begin(actions),
            Event::NetworkUp => self.network = Network::Ready,
            Event::NetworkFailed { reason } => {
                self.network = Network::Ready;
                self.stop(reason, None);
            }
            Event::Created { container, pid } => self.created(container, pid, actions),
            Event::Running { container } => self.running(container, now, actions),
            Event::StartFailed { container, code, reason } => self.start_failed(container, code, reason, now, actions),
            Event::Exited { container, code, signal, oom } => self.exited(container, code, signal, oom, now, actions),
            Event::Stop { generation, timeout_ms, reason } if generation >= self.generation => {
                self.generation = generation;
                self.stop(reason, timeout_ms);
                self.shorten(now);
            }
            Event::Stop { .. } | Event::TimePassed => {}
            Event::TornDown if self.cleaning && !self.ended => {
                self.ended = true;
                actions.push(Action::Finish);
            }
            Event::TornDown => {}
        }
    }

    fn begin(&mut self, actions: &mut Vec<Action>) {
        if self.begun {
            return;
        }
        self.begun = true;
        if self.network == Network::Wanted && !self.stopping {
            self.network = Network::Making;
            actions.push(Action::BringUpNetwork);
        }
    }

    fn created(&mut self, container: usize, pid: u32, actions: &mut Vec<Action>) {
        let stopping = self.stopping;
        let Some(c) = self.in_stage(container, &[Stage::Creating]) else { return };
        c.pid = Some(pid);
        if stopping {
            c.stage = Stage::Abandoned;
            c.asked = Asked::Killed;
            actions.push(Action::Kill { container });
        } else {
            c.stage = Stage::Released;
            actions.push(Action::Release { container });
        }
    }

    fn running(&mut self, container: usize, now: Now, actions: &mut Vec<Action>) {
        let Some(c) = self.in_stage(container, &[Stage::Released]) else { return };
        c.stage = Stage::Running;
        c.started = Some(now);
        // Its turn to stop came while it was about to run: a signal sent then would have been lost, for the first
        // process of a pid namespace is deaf to what it has no handler for.
        if let Asked::Until(_) = c.asked {
            actions.push(Action::Signal { container, signal: c.stop_signal });
        }
    }

    fn start_failed(
        &mut self,
        container: usize,
        code: Option<i32>,
        reason: String,
        now: Now,
        actions: &mut Vec<Action>,
    ) {
        let stages = [Stage::Creating, Stage::Released, Stage::Abandoned];
        if self.in_stage(container, &stages).is_none() {
            return;
        }
        let record = ExitRecord { code, signal: None, oom: None, reason: Some(reason), finished_at_ms: now.wall_ms };
        self.end_container(container, record, actions);
    }

    fn exited(
        &mut self,
        container: usize,
        code: i32,
        signal: Option<i32>,
        oom: Option<OomKill>,
        now: Now,
        actions: &mut Vec<Action>,
    ) {
        let stages = [Stage::Creating, Stage::Abandoned, Stage::Released, Stage::Running];
        let Some(c) = self.in_stage(container, &stages) else { return };
        let finished_at_ms = now.wall_ms;
        let record = if matches!(c.stage, Stage::Creating | Stage::Abandoned) {
            let reason = Some("the task was stopped before this container began".into());
            ExitRecord { code: None, signal: None, oom: None, reason, finished_at_ms }
        } else {
            ExitRecord { code: Some(code), signal, oom, reason: oom.map(oom_reason), finished_at_ms }
        };
        self.end_container(container, record, actions);
    }

    fn end_container(&mut self, container: usize, record: ExitRecord, actions: &mut Vec<Action>) {
        let c = &mut self.containers[container];
        c.stage = Stage::Stopped;
        c.pid = None;
        self.execution_stopped_at_ms = Some(record.finished_at_ms);
        // Amazon ECS tells a task that failed to start by the reason of the container that did.
        let task_reason = match (&c.started, &record.reason) {
            (None, Some(reason)) => reason.clone(),
            _ => ESSENTIAL_EXITED.to_owned(),
        };
        c.exit = Some(record);
        let essential = c.essential;
        actions.push(Action::Record { container });
        if essential {
            self.stop(task_reason, None);
        }
    }

    /// Begins to stop, or, when it has begun, takes the new time-out. The first reason stays.
    fn stop(&mut self, reason: String, timeout_ms: Option<u64>) {
        if !self.stopping {
            self.stopping = true;
            self.reason = Some(reason);
        }
        if let Some(new) = timeout_ms {
            self.stop_timeout_ms = Some(self.stop_timeout_ms.map_or(new, |old| old.min(new)));
        }
    }

    /// Brings the deadlines of stops under way forward to a new time-out. Never back.
    fn shorten(&mut self, now: Now) {
        let Some(timeout) = self.stop_timeout_ms else { return };
        let new = now.mono_ms.saturating_add(timeout);
        for c in &mut self.containers {
            if let Asked::Until(old) = c.asked {
                c.asked = Asked::Until(old.min(new));
            }
        }
    }

    /// Does everything that the state calls for, until it calls for nothing more.
    fn settle(&mut self, now: Now, actions: &mut Vec<Action>) {
        if self.may_start() {
            // Each pass may end a container that others wait for.
            while !self.stopping && self.start_those_ready(now, actions) {}
        }
        if self.stopping {
            self.end_those_waiting(now, actions);
            self.stop_in_reverse_order(now, actions);
        }
        let all_stopped = self.containers.iter().all(|c| c.stage == Stage::Stopped);
        if all_stopped && !self.cleaning && !self.ended && self.network != Network::Making {
            self.cleaning = true;
            actions.push(Action::TearDown);
        }
    }

    fn may_start(&self) -> bool {
        self.begun && !self.stopping && self.network == Network::Ready
    }

    /// Starts what may start. True when a container has ended by it, so that it is to be called again.
    fn start_those_ready(&mut self, now: Now, actions: &mut Vec<Action>) -> bool {
        let mut ended_one = false;
        for container in 0..self.containers.len() {
            if self.containers[container].stage != Stage::Waiting || self.stopping {
                continue;
            }
            match self.readiness(container, now.mono_ms) {
                Readiness::Waits { .. } => {}
                Readiness::Ready => {
                    self.containers[container].stage = Stage::Creating;
                    actions.push(Action::Create { container });
                }
                Readiness::Never { reason } => {
                    let record = ExitRecord {
                        code: Some(DEPENDENCY_CODE),
                        signal: None,
                        oom: None,
                        reason: Some(format!("CannotStartContainerError: {reason}")),
                        finished_at_ms: now.wall_ms,
                    };
                    self.end_container(container, record, actions);
                    ended_one = true;
                }
            }
        }
        ended_one
    }

    fn end_those_waiting(&mut self, now: Now, actions: &mut Vec<Action>) {
        for container in 0..self.containers.len() {
            if self.containers[container].stage == Stage::Waiting {
                let reason = Some("the task was stopped before this container began".into());
                let record = ExitRecord { code: None, signal: None, oom: None, reason, finished_at_ms: now.wall_ms };
                self.end_container(container, record, actions);
            }
        }
    }

    /// Asks those to stop whose dependents have all stopped, and kills those whose time is over. A time-out of 0 for
    /// the whole task waits for no order.
    fn stop_in_reverse_order(&mut self, now: Now, actions: &mut Vec<Action>) {
        let at_once = self.stop_timeout_ms == Some(0);
        for container in 0..self.containers.len() {
            let turn = at_once || self.dependents_have_stopped(container);
            let timeout = self.stop_timeout_ms.unwrap_or(self.containers[container].stop_timeout_ms);
            let c = &mut self.containers[container];
            if c.stage == Stage::Stopped {
                continue;
            }
            if c.asked == Asked::No && turn {
                c.asked = Asked::Until(now.mono_ms.saturating_add(timeout));
                if c.stage == Stage::Running && timeout > 0 {
                    actions.push(Action::Signal { container, signal: c.stop_signal });
                }
            }
            if matches!(c.asked, Asked::Until(deadline) if deadline <= now.mono_ms) {
                c.asked = Asked::Killed;
                actions.push(Action::Kill { container });
            }
        }
    }

    fn dependents_have_stopped(&self, container: usize) -> bool {
        let depends = |c: &Container| c.depends_on.iter().any(|d| d.on as usize == container);
        self.containers.iter().filter(|c| depends(c)).all(|c| c.stage == Stage::Stopped)
    }

    fn readiness(&self, container: usize, now_ms: u64) -> Readiness {
        let c = &self.containers[container];
        if c.stage != Stage::Waiting {
            return Readiness::Ready;
        }
        readiness(&c.depends_on, |i| self.containers.get(i).map(Container::progress), now_ms)
    }

    fn in_stage(&mut self, container: usize, stages: &[Stage]) -> Option<&mut Container> {
        self.containers.get_mut(container).filter(|c| stages.contains(&c.stage))
    }
}
