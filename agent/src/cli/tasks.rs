//! What the view of a task means to somebody who reads it: which container decided, with which code, and why.

use super::client::escape;
use super::text;
use crate::api::types::{BindingView, ContainerView, OomView, TaskStatus, TaskView};

/// The path of the task that `reference` names.
pub(crate) fn path(reference: &str) -> String {
    format!("/v1/tasks/{}", escape(reference))
}

/// The container whose end ended the task: of the essential ones the first to end; one that never ran comes before
/// all, because nothing else can have been the reason.
pub(crate) fn deciding(task: &TaskView) -> Option<&ContainerView> {
    let ended = task.containers.iter().filter(|c| c.essential && (c.finished_at_ms.is_some() || c.exit_code.is_some()));
    ended.min_by_key(|c| (c.started_at_ms.is_some(), c.finished_at_ms.unwrap_or(u64::MAX)))
}

/// The exit code of a stopped task: that of the container that decided.
pub(crate) fn exit_code(task: &TaskView) -> Option<i32> {
    deciding(task).and_then(|c| c.exit_code)
}

/// The limit that was hit, in words.
pub(crate) fn out_of_memory(oom: &OomView) -> String {
    let limit = text::bytes(oom.limit_bytes);
    match oom.scope.as_str() {
        "container" => format!("out of memory: the container's limit of {limit} was hit"),
        "task" => format!("out of memory: the task's limit of {limit} was hit"),
        _ if oom.limit_bytes == 0 => "out of memory: the node had no more to give".to_owned(),
        _ => format!("out of memory: the node had no more to give than {limit}"),
    }
}

/// Why a task is where it is, on one line; empty where there is nothing to say.
pub(crate) fn why(task: &TaskView) -> String {
    let named = |container: &ContainerView, words: String| match task.containers.len() {
        1 => words,
        _ => format!("{}: {words}", container.name),
    };
    let killed = task.containers.iter().find_map(|c| c.oom.as_ref().map(|oom| named(c, out_of_memory(oom))));
    let failed = || {
        let c = deciding(task).or_else(|| task.containers.iter().find(|c| c.reason.is_some()))?;
        c.reason.clone().map(|reason| named(c, reason))
    };
    let words = match task.status {
        TaskStatus::Stopped | TaskStatus::Stopping => killed.or_else(failed).or_else(|| task.reason.clone()),
        _ => task.reason.clone(),
    };
    // A reason may come from far away; a table has one line for it.
    words.unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Since when the task is where it is, milliseconds since the epoch.
pub(crate) fn since(task: &TaskView) -> u64 {
    match task.status {
        TaskStatus::Running | TaskStatus::Stopping => task.started_at_ms.unwrap_or(task.created_at_ms),
        TaskStatus::Stopped => task.stopped_at_ms.unwrap_or(task.created_at_ms),
        _ => task.created_at_ms,
    }
}

/// A published port: `8080->80/tcp`, or `10.0.0.1:8080->80/tcp` where it is not on all addresses.
pub(crate) fn binding(b: &BindingView) -> String {
    let address = match b.bind_ip.as_str() {
        "" | "0.0.0.0" | "::" => String::new(),
        ip if ip.contains(':') => format!("[{ip}]:"),
        ip => format!("{ip}:"),
    };
    let range = |first: u16| match b.count {
        0 | 1 => first.to_string(),
        n => format!("{first}-{}", u32::from(first) + u32::from(n) - 1),
    };
    format!("{address}{}->{}/{}", range(b.host_port), range(b.container_port), b.protocol)
}

/// All published ports of a task.
pub(crate) fn bindings(task: &TaskView) -> String {
    task.containers.iter().flat_map(|c| &c.bindings).map(binding).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
pub(crate) mod samples {
    //! Views that tests of several commands start from.

    use crate::api::types::{ContainerStatus, ContainerView, Origin, TaskStatus, TaskView};

    /// A running task of one container.
    pub(crate) fn task() -> TaskView {
        TaskView {
            id: "0af3651a7c4f4d19a3b1d2e5f6a7b8c9".into(),
            arn: "arn:aws:ecs:local:000000000000:task/default/0af3651a7c4f4d19a3b1d2e5f6a7b8c9".into(),
            name: "web".into(),
            family: "web".into(),
            revision: "1".into(),
            origin: Origin::ControlPlane,
            status: TaskStatus::Running,
            reason: None,
            network_mode: "bridge".into(),
            addresses: vec![],
            cpu: 256,
            memory: 64,
            containers: vec![container("web")],
            created_at_ms: 1_000,
            pull_started_at_ms: Some(1_100),
            pull_stopped_at_ms: Some(1_900),
            started_at_ms: Some(2_000),
            stopped_at_ms: None,
            shim_socket: Some("/run/berth/tasks/0af3651a7c4f4d19a3b1d2e5f6a7b8c9/sock".into()),
        }
    }

    /// A running container.
    pub(crate) fn container(name: &str) -> ContainerView {
        ContainerView {
            name: name.into(),
            image: "127.0.0.1:5000/nginx:1".into(),
            image_digest: Some("sha256:11aa22bb33cc44dd55ee66ff".into()),
            essential: true,
            status: ContainerStatus::Running,
            pid: Some(4242),
            exit_code: None,
            signal: None,
            oom: None,
            reason: None,
            started_at_ms: Some(2_000),
            finished_at_ms: None,
            addresses: vec!["10.88.0.2".into()],
            bindings: vec![],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::samples::{container, task};
    use super::*;

    fn ended(mut c: ContainerView, code: i32, at: u64) -> ContainerView {
        c.exit_code = Some(code);
        c.finished_at_ms = Some(at);
        c
    }

    #[test]
    fn the_first_essential_container_to_end_decides() {
        let mut t = task();
        t.containers = vec![
            ended(container("late"), 143, 9_000),
            ended(container("first"), 3, 5_000),
            ContainerView { essential: false, ..ended(container("helper"), 0, 3_000) },
        ];
        assert_eq!(exit_code(&t), Some(3));
        assert_eq!(exit_code(&task()), None);
    }

    #[test]
    fn a_container_that_never_ran_decides_before_those_that_were_stopped_for_it() {
        let mut t = task();
        let never = ContainerView { started_at_ms: None, ..ended(container("never"), 127, 6_000) };
        t.containers = vec![ended(container("ran"), 143, 5_000), never];
        assert_eq!(exit_code(&t), Some(127));
    }

    #[test]
    fn a_kill_for_memory_names_the_limit_that_was_hit() {
        let mut t = task();
        t.status = TaskStatus::Stopped;
        t.reason = Some("Essential container in task exited".into());
        t.containers[0].oom = Some(OomView { scope: "container".into(), limit_bytes: 64 << 20 });
        assert_eq!(why(&t), "out of memory: the container's limit of 64 MiB was hit");
        t.containers.push(container("other"));
        assert_eq!(why(&t), "web: out of memory: the container's limit of 64 MiB was hit");
    }

    #[test]
    fn a_reason_stays_on_one_line() {
        let mut t = task();
        t.status = TaskStatus::Waiting;
        t.reason = Some("waits for\n  512 MiB".into());
        assert_eq!(why(&t), "waits for 512 MiB");
    }

    #[test]
    fn a_binding_shows_its_address_only_where_it_is_not_on_all() {
        let b = |ip: &str, count| BindingView {
            protocol: "tcp".into(),
            bind_ip: ip.into(),
            host_port: 8080,
            container_port: 80,
            count,
        };
        assert_eq!(binding(&b("0.0.0.0", 1)), "8080->80/tcp");
        assert_eq!(binding(&b("10.0.0.1", 3)), "10.0.0.1:8080-8082->80-82/tcp");
        assert_eq!(binding(&b("fd00::1", 1)), "[fd00::1]:8080->80/tcp");
    }
}
