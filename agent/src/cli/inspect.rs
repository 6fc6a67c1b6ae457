//! `berth inspect`: everything known about tasks.

use super::Context;
use super::failure::Failure;
use super::table::facts;
use super::{tasks, terminal, text};
use crate::api::types::{ContainerView, Origin, TaskStatus, TaskView};
use std::process::ExitCode;

/// Flags of `berth inspect`.
#[derive(Debug, clap::Args)]
pub(crate) struct InspectArgs {
    /// Id, unique start of an id, or name
    #[arg(required = true, value_name = "TASK")]
    tasks: Vec<String>,
    /// Print JSON, always a list
    #[arg(long)]
    json: bool,
}

/// Shows each task.
pub(crate) async fn run(context: &Context, args: &InspectArgs) -> Result<ExitCode, Failure> {
    let mut found: Vec<TaskView> = Vec::new();
    for reference in &args.tasks {
        found.push(context.client.get(&tasks::path(reference)).await?);
    }
    if args.json {
        terminal::print_json(&found)?;
    } else {
        let now = text::now_ms();
        terminal::print(&found.iter().map(|task| render(task, now)).collect::<Vec<_>>().join("\n"))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn render(task: &TaskView, now_ms: u64) -> String {
    let moment = |ms: Option<u64>| match ms {
        Some(ms) => format!("{} ({})", text::timestamp(ms), text::ago(ms, now_ms)),
        None => String::new(),
    };
    let pulled = match (task.pull_started_at_ms, task.pull_stopped_at_ms) {
        (Some(a), Some(b)) => format!("{} ms", b.saturating_sub(a)),
        _ => String::new(),
    };
    let mut out = facts(&[
        ("Task", task.id.clone()),
        ("Name", task.name.clone()),
        ("ARN", task.arn.clone()),
        ("Definition", format!("{}:{}", task.family, task.revision)),
        ("Origin", origin(task.origin).to_owned()),
        ("Status", task.status.as_str().to_owned()),
        ("Reason", task.reason.clone().unwrap_or_default()),
        ("Network", network(&task.network_mode, &task.addresses)),
        (if task.status == TaskStatus::Stopped { "Held" } else { "Holds" }, held(task)),
        ("Created", moment(Some(task.created_at_ms))),
        ("Images took", pulled),
        ("Started", moment(task.started_at_ms)),
        ("Stopped", moment(task.stopped_at_ms)),
    ]);
    for container in &task.containers {
        out.push_str(&format!("\nContainer {}\n", container.name));
        for line in describe(container, &moment).lines() {
            out.push_str(&format!("  {line}\n"));
        }
    }
    out
}

fn describe(c: &ContainerView, moment: &dyn Fn(Option<u64>) -> String) -> String {
    let ended = match (c.exit_code, c.signal) {
        (Some(code), Some(signal)) => format!("{code} (signal {signal})"),
        (Some(code), None) => code.to_string(),
        (None, _) => String::new(),
    };
    facts(&[
        ("Image", c.image.clone()),
        ("Digest", c.image_digest.clone().unwrap_or_default()),
        ("Essential", if c.essential { "yes" } else { "no" }.to_owned()),
        ("Status", c.status.as_str().to_owned()),
        ("Process", c.pid.map(|pid| pid.to_string()).unwrap_or_default()),
        ("Exit code", ended),
        ("Memory", c.oom.as_ref().map(tasks::out_of_memory).unwrap_or_default()),
        ("Reason", c.reason.clone().unwrap_or_default()),
        ("Addresses", c.addresses.join(", ")),
        ("Ports", c.bindings.iter().map(tasks::binding).collect::<Vec<_>>().join(", ")),
        ("Started", moment(c.started_at_ms)),
        ("Finished", moment(c.finished_at_ms)),
    ])
}

fn held(task: &TaskView) -> String {
    format!("{} CPU units, {} MiB", task.cpu, task.memory)
}

fn network(mode: &str, addresses: &[String]) -> String {
    if addresses.is_empty() { mode.to_owned() } else { format!("{mode}, {}", addresses.join(", ")) }
}

fn origin(origin: Origin) -> &'static str {
    match origin {
        Origin::ControlPlane => "control plane",
        Origin::Local => "this node (never reported to the control plane)",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::tasks::samples;

    #[test]
    fn a_running_task_shows_no_empty_lines_of_its_end() {
        let text = render(&samples::task(), 62_000);
        assert_eq!(
            text,
            "\
Task         0af3651a7c4f4d19a3b1d2e5f6a7b8c9
Name         web
ARN          arn:aws:ecs:local:000000000000:task/default/0af3651a7c4f4d19a3b1d2e5f6a7b8c9
Definition   web:1
Origin       control plane
Status       RUNNING
Network      bridge
Holds        256 CPU units, 64 MiB
Created      1970-01-01T00:00:01.000Z (1m 1s ago)
Images took  800 ms
Started      1970-01-01T00:00:02.000Z (1m ago)

Container web
  Image      127.0.0.1:5000/nginx:1
  Digest     sha256:11aa22bb33cc44dd55ee66ff
  Essential  yes
  Status     RUNNING
  Process    4242
  Addresses  10.88.0.2
  Started    1970-01-01T00:00:02.000Z (1m ago)
"
        );
    }
}
