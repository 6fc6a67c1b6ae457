use super::*;
use crate::capacity::Grant;
use crate::engine::testing;
use crate::store::{ContainerOutcome, Outcome, Row};
use crate::task::fixtures;
use berth_runtime::net::plan::Transport;
use berth_runtime::task::view::{ContainerView, ExitRecord, Phase, TaskView};

const NOTHING: Told = Told { sent: Sent::Nothing, containers: Vec::new() };

fn running() -> TaskState {
    let mut row = Row::new(fixtures::task("t", NetworkMode::Bridge), "n".into());
    let port = |container_port, host_port, count| PortGrant {
        container: 0,
        transport: Transport::Tcp,
        container_port,
        host_port,
        count,
        held: true,
    };
    row.grant = Some(Grant { ports: vec![port(80, 61000, 1), port(7000, 61005, 3)], ..Grant::default() });
    row.digests = vec![Some("sha256:aa".into())];
    row.pull_started_at_ms = Some(1500);
    let container = ContainerView {
        name: "app".into(),
        state: ContainerState::Running,
        pid: Some(5),
        started_at_ms: Some(1),
        exit: None,
    };
    let view = TaskView {
        generation: 0,
        phase: Phase::Running,
        reason: None,
        containers: vec![container],
        execution_stopped_at_ms: None,
    };
    testing::supervised(row, Some(view))
}

fn stopped() -> TaskState {
    let mut state = running();
    state.row.outcome = Some(Outcome {
        reason: Some("x".repeat(2000)),
        stopped_at_ms: 9000,
        containers: vec![ContainerOutcome {
            exit_code: Some(137),
            oom: Some(("task".into(), 64 << 20)),
            ..ContainerOutcome::default()
        }],
    });
    state
}

#[test]
fn a_running_task_is_told_with_its_ports_and_digests() {
    let (told, request) = next(&running(), &NOTHING, "default").unwrap();
    assert_eq!((told.sent, request.status.as_deref()), (Sent::Running, Some("RUNNING")));
    let c = &request.containers[0];
    assert_eq!((c.status.as_str(), c.image_digest.as_deref()), ("RUNNING", Some("sha256:aa")));
    assert_eq!((c.network_bindings[0].host_port, c.network_bindings[0].container_port), (Some(61000), Some(80)));
    assert_eq!(c.network_bindings[1].host_port_range.as_deref(), Some("61005-61007"));
    assert_eq!(request.pull_started_at, Some(1.5));
    assert!(next(&running(), &told, "default").is_none(), "told once");
}

#[test]
fn a_stopped_task_is_told_with_code_limit_and_a_reason_of_bearable_length() {
    let told = Told { sent: Sent::Running, containers: vec![] };
    let (told, request) = next(&stopped(), &told, "default").unwrap();
    assert_eq!((told.sent, request.status.as_deref()), (Sent::Stopped, Some("STOPPED")));
    assert_eq!(request.reason.unwrap().len(), 1024);
    let c = &request.containers[0];
    assert_eq!(c.exit_code, Some(137));
    assert_eq!(c.reason.as_deref(), Some("OutOfMemoryError: Container killed due to memory usage (task limit 64 MiB)"));
    assert!(next(&stopped(), &told, "default").is_none());
}

#[test]
fn a_task_that_never_ran_is_told_as_stopped_only() {
    let (told, _) = next(&stopped(), &NOTHING, "default").unwrap();
    assert_eq!(told.sent, Sent::Stopped);
}

#[test]
fn a_container_that_ends_while_its_task_runs_is_told() {
    let (told, _) = next(&running(), &NOTHING, "default").unwrap();
    let mut state = running();
    let container = &mut state.view.as_mut().unwrap().containers[0];
    container.state = ContainerState::Stopped;
    container.exit = Some(ExitRecord { code: Some(0), signal: None, oom: None, reason: None, finished_at_ms: 5 });
    let (_, request) = next(&state, &told, "default").unwrap();
    assert_eq!((request.status.as_deref(), request.containers[0].exit_code), (Some("RUNNING"), Some(0)));
}

#[test]
fn an_operators_own_task_is_never_told() {
    let mut state = stopped();
    state.row.task.origin = Origin::Local;
    assert!(next(&state, &NOTHING, "default").is_none());
}
