//! Tests of [`super::life`]: named cases, and properties over random tasks in a small world of their own.

use super::event::{Action, Event, Now};
use super::life::{PlanProblem, Task};
use super::plan::{Condition, ContainerPlan, Dependency, LogPlan, PLAN_VERSION, TaskPlan};
use super::view::{ContainerState, OomKill, OomScope, Phase};
use crate::cgroup::limits::Limits;
use crate::net::plan::NetPlan;
use crate::spec::IdMaps;
use proptest::prelude::*;

fn container(name: &str, depends_on: &[(u32, Condition)]) -> ContainerPlan {
    ContainerPlan {
        name: name.into(),
        essential: true,
        bundle: "/nowhere".into(),
        network: None,
        depends_on: depends_on.iter().map(|&(on, condition)| Dependency { on, condition }).collect(),
        start_timeout_ms: 0,
        stop_timeout_ms: 30_000,
        stop_signal: 15,
        log: LogPlan::Discard,
    }
}

fn helper(name: &str, depends_on: &[(u32, Condition)]) -> ContainerPlan {
    ContainerPlan { essential: false, ..container(name, depends_on) }
}

fn plan(containers: Vec<ContainerPlan>) -> TaskPlan {
    TaskPlan {
        version: PLAN_VERSION,
        task: "t".into(),
        cgroup_parent: "p".into(),
        limits: Limits::default(),
        network: None,
        containers,
        users: IdMaps::default(),
    }
}

fn at(ms: u64) -> Now {
    Now { mono_ms: ms, wall_ms: 1_000_000 + ms }
}

fn begun(containers: Vec<ContainerPlan>) -> (Task, Vec<Action>) {
    let mut task = Task::new(&plan(containers)).unwrap();
    let actions = task.step(Event::Begin, at(0));
    (task, actions)
}

/// Takes a container from its `Create` to its user's process running.
fn run(task: &mut Task, container: usize, ms: u64) -> Vec<Action> {
    let released = task.step(Event::Created { container, pid: 100 + container as u32 }, at(ms));
    assert_eq!(released, [Action::Release { container }]);
    task.step(Event::Running { container }, at(ms))
}

fn exited(container: usize, code: i32) -> Event {
    Event::Exited { container, code, signal: None, oom: None }
}

fn stop(generation: u64, timeout_ms: Option<u64>) -> Event {
    Event::Stop { generation, timeout_ms, reason: "asked".into() }
}

#[test]
fn a_container_is_started_when_those_it_depends_on_have_come_far_enough() {
    let (mut task, actions) = begun(vec![
        container("web", &[(1, Condition::Start), (2, Condition::Success)]),
        container("db", &[]),
        helper("migrate", &[(1, Condition::Start)]),
    ]);
    assert_eq!(actions, [Action::Create { container: 1 }]);
    assert_eq!(run(&mut task, 1, 1), [Action::Create { container: 2 }]);
    assert_eq!(run(&mut task, 2, 2), []);
    assert_eq!(task.view().phase, Phase::Starting);
    let actions = task.step(exited(2, 0), at(3));
    assert_eq!(actions, [Action::Record { container: 2 }, Action::Create { container: 0 }]);
    assert_eq!(run(&mut task, 0, 4), []);
    assert_eq!(task.view().phase, Phase::Running);
    assert_eq!(task.next_deadline_ms(), None);
}

#[test]
fn a_dependency_that_can_never_be_met_ends_the_one_that_waits_with_143_and_so_on_up() {
    let (mut task, _) = begun(vec![
        helper("migrate", &[]),
        helper("web", &[(0, Condition::Success)]),
        helper("proxy", &[(1, Condition::Complete)]),
        container("other", &[]),
    ]);
    run(&mut task, 0, 0);
    run(&mut task, 3, 0);
    let actions = task.step(exited(0, 3), at(5));
    let records: Vec<Action> = (0..3).map(|container| Action::Record { container }).collect();
    assert_eq!(actions, records);
    let web = task.exit(1).unwrap();
    assert_eq!(web.code, Some(143));
    let reason = "CannotStartContainerError: dependency `migrate`: it ended with code 3, not 0";
    assert_eq!(web.reason.as_deref(), Some(reason));
    assert_eq!(task.exit(2).unwrap().code, Some(143));
    assert_eq!(task.view().phase, Phase::Running);
}

#[test]
fn waiting_for_a_dependency_ends_with_its_start_time_out() {
    let slow = ContainerPlan { start_timeout_ms: 50, ..helper("slow", &[]) };
    let (mut task, _) = begun(vec![slow, container("web", &[(0, Condition::Complete)])]);
    run(&mut task, 0, 100);
    assert_eq!(task.next_deadline_ms(), Some(150));
    assert_eq!(task.step(Event::TimePassed, at(149)), []);
    let actions = task.step(Event::TimePassed, at(150));
    assert_eq!(actions, [Action::Record { container: 1 }, Action::Signal { container: 0, signal: 15 }]);
    let reason = "CannotStartContainerError: dependency `slow`: not ended within 50 ms of its start";
    assert_eq!(task.view().reason.as_deref(), Some(reason));
}

#[test]
fn an_essential_end_stops_the_task_in_reverse_order_and_it_ends_once() {
    let (mut task, _) =
        begun(vec![container("db", &[]), container("web", &[(0, Condition::Start)]), container("other", &[])]);
    run(&mut task, 0, 0);
    run(&mut task, 2, 0);
    run(&mut task, 1, 0);
    let actions = task.step(exited(2, 1), at(10));
    assert_eq!(actions, [Action::Record { container: 2 }, Action::Signal { container: 1, signal: 15 }]);
    assert_eq!(task.view().reason.as_deref(), Some("Essential container in task exited"));
    let actions = task.step(exited(1, 0), at(11));
    assert_eq!(actions, [Action::Record { container: 1 }, Action::Signal { container: 0, signal: 15 }]);
    let actions = task.step(exited(0, 0), at(12));
    assert_eq!(actions, [Action::Record { container: 0 }, Action::TearDown]);
    assert_eq!(task.view().phase, Phase::Cleaning);
    assert_eq!(task.step(Event::TornDown, at(13)), [Action::Finish]);
    assert_eq!(task.step(Event::TornDown, at(14)), []);
    assert_eq!(task.step(stop(9, None), at(15)), []);
    let view = task.view();
    assert_eq!((view.phase, view.execution_stopped_at_ms), (Phase::Ended, Some(1_000_012)));
}

#[test]
fn a_stop_is_escalated_to_a_kill_when_its_time_is_over() {
    let (mut task, _) = begun(vec![container("web", &[])]);
    run(&mut task, 0, 0);
    assert_eq!(task.step(stop(1, None), at(1_000)), [Action::Signal { container: 0, signal: 15 }]);
    assert_eq!(task.next_deadline_ms(), Some(31_000));
    assert_eq!(task.step(Event::TimePassed, at(30_999)), []);
    assert_eq!(task.step(Event::TimePassed, at(31_000)), [Action::Kill { container: 0 }]);
    assert_eq!(task.step(Event::TimePassed, at(99_000)), []);
    assert_eq!(task.next_deadline_ms(), None);
}

#[test]
fn a_second_stop_may_shorten_the_first_and_an_older_one_is_ignored() {
    let (mut task, _) = begun(vec![container("db", &[]), container("web", &[(0, Condition::Start)])]);
    run(&mut task, 0, 0);
    run(&mut task, 1, 0);
    task.step(stop(5, None), at(0));
    assert_eq!(task.step(stop(4, Some(0)), at(1)), []);
    assert_eq!(task.step(stop(6, Some(10)), at(1)), []);
    assert_eq!(task.next_deadline_ms(), Some(11));
    assert_eq!(task.step(stop(7, Some(60_000)), at(1)), []);
    assert_eq!(task.next_deadline_ms(), Some(11));
    assert_eq!(task.step(stop(7, Some(0)), at(2)), [Action::Kill { container: 0 }, Action::Kill { container: 1 }]);
}

#[test]
fn a_container_that_is_being_made_when_the_stop_comes_never_passes_the_gate() {
    let (mut task, _) = begun(vec![container("web", &[])]);
    assert_eq!(task.step(stop(1, None), at(1)), []);
    assert_eq!(task.step(Event::Created { container: 0, pid: 7 }, at(2)), [Action::Kill { container: 0 }]);
    let end = Event::Exited { container: 0, code: 137, signal: Some(9), oom: None };
    assert_eq!(task.step(end, at(3)), [Action::Record { container: 0 }, Action::TearDown]);
    assert_eq!(task.exit(0).unwrap().code, None);
}

#[test]
fn a_stop_between_gate_and_user_process_is_signalled_once_that_runs() {
    let (mut task, _) = begun(vec![container("web", &[])]);
    task.step(Event::Created { container: 0, pid: 7 }, at(0));
    assert_eq!(task.step(stop(1, None), at(1)), []);
    assert_eq!(task.step(Event::Running { container: 0 }, at(2)), [Action::Signal { container: 0, signal: 15 }]);
    assert_eq!(task.step(Event::TimePassed, at(30_001)), [Action::Kill { container: 0 }]);
}

#[test]
fn a_failed_start_of_an_essential_container_is_the_tasks_reason() {
    let (mut task, _) = begun(vec![container("web", &[])]);
    let reason = "CannotStartContainerError: exec `/x`: no such file";
    let actions = task.step(Event::StartFailed { container: 0, code: Some(127), reason: reason.into() }, at(1));
    assert_eq!(actions, [Action::Record { container: 0 }, Action::TearDown]);
    assert_eq!(task.view().reason.as_deref(), Some(reason));
    assert_eq!(task.exit(0).unwrap().code, Some(127));
}

#[test]
fn the_shared_network_comes_first_and_its_failure_ends_the_task() {
    let with = || TaskPlan { network: Some(NetPlan::Host), ..plan(vec![container("web", &[])]) };
    let mut task = Task::new(&with()).unwrap();
    assert_eq!(task.step(Event::Begin, at(0)), [Action::BringUpNetwork]);
    assert_eq!(task.step(Event::NetworkUp, at(1)), [Action::Create { container: 0 }]);

    let mut task = Task::new(&with()).unwrap();
    task.step(Event::Begin, at(0));
    let failed = Event::NetworkFailed { reason: "ContainerNetworkingError: x".into() };
    assert_eq!(task.step(failed, at(1)), [Action::Record { container: 0 }, Action::TearDown]);

    // A stop while it is being made waits for that, so that there is nothing left to be made after the tear-down.
    let mut task = Task::new(&with()).unwrap();
    task.step(Event::Begin, at(0));
    assert_eq!(task.step(stop(1, Some(0)), at(1)), [Action::Record { container: 0 }]);
    assert_eq!(task.step(Event::NetworkUp, at(2)), [Action::TearDown]);
}

#[test]
fn an_end_for_want_of_memory_names_the_limit() {
    let (mut task, _) = begun(vec![container("web", &[])]);
    run(&mut task, 0, 0);
    let oom = Some(OomKill { scope: OomScope::Task, limit_bytes: 64 << 20 });
    task.step(Event::Exited { container: 0, code: 137, signal: Some(9), oom }, at(1));
    let reason = "OutOfMemoryError: Container killed due to memory usage: the task's limit of 64 MiB was hit";
    assert_eq!(task.exit(0).unwrap().reason.as_deref(), Some(reason));
}

#[test]
fn plans_that_can_never_run_are_refused() {
    let circle = plan(vec![container("a", &[(1, Condition::Start)]), container("b", &[(0, Condition::Start)])]);
    assert_eq!(Task::new(&circle).unwrap_err(), PlanProblem::Circular { container: "a".into() });
    let missing = plan(vec![container("a", &[(3, Condition::Start)])]);
    let e = PlanProblem::NoSuchDependency { container: "a".into(), on: 3, count: 1 };
    assert_eq!(Task::new(&missing).unwrap_err(), e);
    assert_eq!(Task::new(&plan(vec![])).unwrap_err(), PlanProblem::Empty);
}

/// What the world knows of one container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum World {
    Nothing,
    Making,
    AtGate,
    Released,
    Runs,
    Gone,
}

/// Carries out actions and checks that each is legal where it comes.
#[derive(Debug)]
struct Simulation {
    task: Task,
    world: Vec<World>,
    killed: Vec<bool>,
    recorded: Vec<usize>,
    making_network: bool,
    tearing_down: bool,
    finished: usize,
    stop_asked: bool,
    ms: u64,
}

impl Simulation {
    fn new(plan: &TaskPlan) -> Self {
        let n = plan.containers.len();
        let mut new = Self {
            task: Task::new(plan).unwrap(),
            world: vec![World::Nothing; n],
            killed: vec![false; n],
            recorded: vec![0; n],
            making_network: false,
            tearing_down: false,
            finished: 0,
            stop_asked: false,
            ms: 0,
        };
        new.step(Event::Begin);
        new
    }

    fn step(&mut self, event: Event) {
        for action in self.task.step(event, at(self.ms)) {
            self.act(&action);
        }
    }

    fn act(&mut self, action: &Action) {
        assert_eq!(self.finished, 0, "{action:?} after the end");
        match *action {
            Action::BringUpNetwork => self.making_network = true,
            Action::Create { container } => {
                assert!(!self.stop_asked && !self.making_network, "create {container} after the stop");
                assert_eq!(self.world[container], World::Nothing);
                self.world[container] = World::Making;
            }
            Action::Release { container } => {
                assert!(!self.stop_asked);
                assert_eq!(self.world[container], World::AtGate);
                self.world[container] = World::Released;
            }
            Action::Signal { container, .. } => assert_eq!(self.world[container], World::Runs),
            Action::Kill { container } => {
                assert!(
                    !matches!(self.world[container], World::Nothing | World::Gone),
                    "kill of one that is not there"
                );
                self.killed[container] = true;
            }
            Action::Record { container } => {
                self.recorded[container] += 1;
                assert!(matches!(self.world[container], World::Nothing | World::Gone), "record of one that lives");
                assert_eq!(self.task.view().containers[container].state, ContainerState::Stopped);
            }
            Action::TearDown => {
                assert!(!self.tearing_down && !self.making_network);
                assert!(self.world.iter().all(|w| matches!(w, World::Nothing | World::Gone)));
                self.tearing_down = true;
            }
            Action::Finish => {
                assert!(self.tearing_down);
                self.finished += 1;
            }
        }
    }

    /// Lets the world take one step with `container`; `choice` says which, where there is one.
    fn advance(&mut self, container: usize, choice: u8) {
        let failed = Event::StartFailed { container, code: None, reason: "failed".into() };
        let ended = |code| Event::Exited { container, code, signal: None, oom: None };
        let (world, event) = match (self.world[container], choice % 4) {
            (World::Nothing | World::Gone, _) => return,
            (World::Making, 0) => (World::Gone, failed),
            (World::Making, _) if self.killed[container] => (World::Gone, failed),
            (World::Making, _) => (World::AtGate, Event::Created { container, pid: 1 }),
            (World::Released, 0) => (World::Gone, failed),
            (World::Released, _) if self.killed[container] => (World::Gone, ended(137)),
            (World::Released, _) => (World::Runs, Event::Running { container }),
            (World::Runs, n) => (World::Gone, ended(i32::from(n == 1))),
            (World::AtGate, _) => (World::Gone, ended(137)),
        };
        self.world[container] = world;
        self.step(event);
    }

    /// Lets time pass, everything be killed that is to be, and nothing else happen.
    fn wind_down(&mut self) {
        for _ in 0..200 {
            if self.making_network {
                self.making_network = false;
                self.step(Event::NetworkUp);
            }
            for container in 0..self.world.len() {
                if self.killed[container] && self.world[container] != World::Gone {
                    self.advance(container, 2);
                }
            }
            if let Some(deadline) = self.task.next_deadline_ms() {
                self.ms = self.ms.max(deadline);
                self.step(Event::TimePassed);
            }
            if self.tearing_down && self.finished == 0 {
                self.step(Event::TornDown);
            }
        }
    }
}

#[derive(Debug, Clone)]
enum Move {
    World { container: usize, choice: u8 },
    Stop { generation: u64, timeout_ms: Option<u64> },
    Time(u64),
    Network(bool),
    Stray(u8, usize),
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let one = prop_oneof![
        12 => (0usize..5, any::<u8>()).prop_map(|(container, choice)| Move::World { container, choice }),
        1 => (0u64..4, prop::option::of(0u64..100)).prop_map(|(generation, timeout_ms)| Move::Stop { generation, timeout_ms }),
        3 => (0u64..200).prop_map(Move::Time),
        3 => any::<bool>().prop_map(Move::Network),
        1 => (any::<u8>(), 0usize..7).prop_map(|(kind, container)| Move::Stray(kind, container)),
    ];
    prop::collection::vec(one, 0..60)
}

/// Plans without a circle: containers depend on earlier ones, and are then put into another order.
fn plans() -> impl Strategy<Value = TaskPlan> {
    let condition = prop_oneof![
        4 => Just(Condition::Start),
        2 => Just(Condition::Complete),
        2 => Just(Condition::Success),
        1 => Just(Condition::Healthy),
    ];
    let one = (any::<bool>(), 0u64..100, 0u64..100, prop::collection::vec((any::<u32>(), condition), 0..3));
    (prop::collection::vec(one, 1..6), any::<bool>(), any::<bool>()).prop_map(|(list, shared, reversed)| {
        let n = list.len() as u32;
        let place = |i: u32| if reversed { n - 1 - i } else { i };
        let mut containers: Vec<ContainerPlan> = (0u32..)
            .zip(list)
            .map(|(i, (essential, start_timeout_ms, stop_timeout_ms, depends_on))| {
                let depends_on: Vec<(u32, Condition)> =
                    depends_on.into_iter().filter(|_| i > 0).map(|(on, c)| (place(on % i.max(1)), c)).collect();
                let plain = container(&format!("c{i}"), &depends_on);
                ContainerPlan { essential, start_timeout_ms, stop_timeout_ms, ..plain }
            })
            .collect();
        if reversed {
            containers.reverse();
        }
        TaskPlan { network: shared.then_some(NetPlan::Host), ..plan(containers) }
    })
}

proptest! {
    /// The world checks each action where it comes (see [`Simulation::act`]): nothing is started or released after a
    /// stop, nothing is done to what is not there, tear-down comes when all have stopped, and nothing after the end.
    #[test]
    fn whatever_happens_every_action_is_legal_and_a_stop_ends_the_task_once(plan in plans(), moves in moves()) {
        let mut sim = Simulation::new(&plan);
        for m in moves {
            match m {
                Move::World { container, choice } if container < sim.world.len() => sim.advance(container, choice),
                Move::World { .. } => {}
                Move::Stop { generation, timeout_ms } => {
                    sim.stop_asked |= generation >= sim.task.generation();
                    sim.step(stop(generation, timeout_ms));
                }
                Move::Time(ms) => {
                    sim.ms += ms;
                    sim.step(Event::TimePassed);
                }
                Move::Network(works) if sim.making_network => {
                    sim.making_network = false;
                    sim.step(if works { Event::NetworkUp } else { Event::NetworkFailed { reason: "x".into() } });
                }
                Move::Network(_) => {}
                // What the shim would never say: doubled, late, or of a container that is not there.
                Move::Stray(kind, container) => {
                    let gone = sim.world.get(container).is_none_or(|w| matches!(w, World::Gone | World::Nothing));
                    match kind % 4 {
                        0 if gone => sim.step(Event::Created { container, pid: 1 }),
                        1 if gone => sim.step(Event::Running { container }),
                        2 if gone => sim.step(exited(container, 0)),
                        3 => sim.step(Event::Begin),
                        _ => {}
                    }
                }
            }
            prop_assert!(sim.recorded.iter().all(|r| *r <= 1));
        }
        // At the gate with nobody having released it means that the task had no wish to: it was killed.
        for (w, k) in sim.world.iter().zip(&sim.killed) {
            prop_assert!(*w != World::AtGate || *k);
        }
        sim.stop_asked = true;
        sim.step(stop(u64::MAX, None));
        sim.wind_down();
        // Containers that were being made and not killed come to the gate only now.
        for container in 0..sim.world.len() {
            if sim.world[container] == World::Making {
                sim.advance(container, 1);
            }
        }
        sim.wind_down();
        prop_assert_eq!(sim.finished, 1);
        prop_assert!(sim.task.has_ended());
        prop_assert!(sim.recorded.iter().all(|r| *r == 1), "{:?}", sim.recorded);
        prop_assert!(sim.world.iter().all(|w| matches!(w, World::Nothing | World::Gone)));
        prop_assert_eq!(sim.task.next_deadline_ms(), None);
    }

    /// With nobody asking for anything, every container is either started, or ended because it can never be: a task
    /// whose containers all run on rests without a deadline.
    #[test]
    fn a_task_left_alone_comes_to_rest(plan in plans()) {
        let mut sim = Simulation::new(&plan);
        for _ in 0..200 {
            if sim.making_network {
                sim.making_network = false;
                sim.step(Event::NetworkUp);
            }
            for container in 0..sim.world.len() {
                if sim.world[container] != World::Runs {
                    sim.advance(container, 1);
                }
            }
            if let Some(deadline) = sim.task.next_deadline_ms() {
                sim.ms = sim.ms.max(deadline);
                sim.step(Event::TimePassed);
            }
            for container in 0..sim.world.len() {
                if sim.killed[container] && sim.world[container] == World::Runs {
                    sim.advance(container, 0);
                }
            }
            if sim.tearing_down && sim.finished == 0 {
                sim.step(Event::TornDown);
            }
        }
        prop_assert_eq!(sim.task.next_deadline_ms(), None);
        let phase = sim.task.view().phase;
        prop_assert!(matches!(phase, Phase::Running | Phase::Ended | Phase::Starting), "{:?}", phase);
    }
}
