//! `berth ps`: tasks, one a line.

use super::Context;
use super::failure::Failure;
use super::table::{Align, Table};
use super::{tasks, terminal, text};
use crate::api::types::{TaskStatus, TaskView};
use std::process::ExitCode;
use std::time::Duration;

/// Flags of `berth ps`.
#[derive(Debug, clap::Args)]
pub(crate) struct PsArgs {
    /// Show stopped tasks too
    #[arg(short, long)]
    all: bool,
    /// Print ids only, whole ones
    #[arg(short, long, conflicts_with = "json")]
    quiet: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Lists tasks, the newest first.
pub(crate) async fn run(context: &Context, args: &PsArgs) -> Result<ExitCode, Failure> {
    let path = if args.all { "/v1/tasks?all=true" } else { "/v1/tasks" };
    let mut found: Vec<TaskView> = context.client.get(path).await?;
    found.sort_by(|a, b| (b.created_at_ms, &b.id).cmp(&(a.created_at_ms, &a.id)));
    match args {
        PsArgs { json: true, .. } => terminal::print_json(&found)?,
        PsArgs { quiet: true, .. } => {
            terminal::print(&found.iter().map(|t| format!("{}\n", t.id)).collect::<String>())?;
        }
        _ => terminal::print(&table(&found, text::now_ms()).render(terminal::width()))?,
    }
    Ok(ExitCode::SUCCESS)
}

fn table(found: &[TaskView], now_ms: u64) -> Table {
    let mut table = Table::new(&[
        ("TASK", Align::Left),
        ("NAME", Align::Left),
        ("STATUS", Align::Left),
        ("SINCE", Align::Right),
        ("NETWORK", Align::Left),
        ("PORTS", Align::Left),
        ("REASON", Align::Left),
    ]);
    for task in found {
        table.row([
            text::short_id(&task.id).to_owned(),
            task.name.clone(),
            status(task),
            text::span(Duration::from_millis(now_ms.saturating_sub(tasks::since(task)))),
            network(task),
            tasks::bindings(task),
            tasks::why(task),
        ]);
    }
    table
}

/// The status, with the exit code once there is one.
fn status(task: &TaskView) -> String {
    match (task.status, tasks::exit_code(task)) {
        (TaskStatus::Stopped, Some(code)) => format!("STOPPED ({code})"),
        (status, _) => status.as_str().to_owned(),
    }
}

/// The network mode, with the task's own address where it has one.
fn network(task: &TaskView) -> String {
    match task.addresses.first() {
        Some(address) => format!("{} {address}", task.network_mode),
        None => task.network_mode.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::types::{BindingView, ContainerStatus, OomView};
    use crate::cli::tasks::samples;

    #[test]
    fn a_table_shows_ports_codes_and_the_limit_that_was_hit() {
        let mut web = samples::task();
        web.containers[0].bindings = vec![BindingView {
            protocol: "tcp".into(),
            bind_ip: "0.0.0.0".into(),
            host_port: 8080,
            container_port: 80,
            count: 1,
        }];
        let mut hungry = samples::task();
        hungry.id = "1b".into();
        hungry.name = "hungry".into();
        hungry.network_mode = "awsvpc".into();
        hungry.addresses = vec!["10.89.0.2".into()];
        hungry.status = TaskStatus::Stopped;
        hungry.stopped_at_ms = Some(60_000);
        let c = &mut hungry.containers[0];
        c.status = ContainerStatus::Stopped;
        c.exit_code = Some(137);
        c.finished_at_ms = Some(60_000);
        c.oom = Some(OomView { scope: "task".into(), limit_bytes: 32 << 20 });
        let text = table(&[web, hungry], 62_000).render(None);
        assert_eq!(
            text,
            "\
TASK           NAME     STATUS          SINCE   NETWORK            PORTS          REASON
0af3651a7c4f   web      RUNNING            1m   bridge             8080->80/tcp   -
1b             hungry   STOPPED (137)      2s   awsvpc 10.89.0.2   -              out of memory: the task's limit of 32 MiB was hit
"
        );
    }

    #[test]
    fn no_tasks_leave_the_header() {
        assert_eq!(table(&[], 0).render(None), "TASK   NAME   STATUS   SINCE   NETWORK   PORTS   REASON\n");
    }
}
