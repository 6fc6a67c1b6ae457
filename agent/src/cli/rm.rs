//! `berth rm`: removes the records and logs of stopped tasks.

use super::Context;
use super::failure::Failure;
use super::{stop, tasks, wait};
use crate::api::types::{Removed, StopRequest, TaskStatus, TaskView};
use berth_runtime::errno::tell;
use http::Method;
use std::process::ExitCode;

/// Flags of `berth rm`.
#[derive(Debug, clap::Args)]
pub(crate) struct RmArgs {
    /// Id, unique start of an id, or name
    #[arg(required_unless_present = "stopped", value_name = "TASK")]
    tasks: Vec<String>,
    /// Kill what still runs first
    #[arg(short, long)]
    force: bool,
    /// Remove every stopped task
    #[arg(long, conflicts_with = "tasks")]
    stopped: bool,
}

/// Removes each; goes on after a failure, and ends with the first.
pub(crate) async fn run(context: &Context, args: &RmArgs) -> Result<ExitCode, Failure> {
    let references = if args.stopped { stopped_ids(context).await? } else { args.tasks.clone() };
    let mut first_failure = None;
    for reference in &references {
        if let Err(failure) = remove(context, reference, args.force).await {
            match &first_failure {
                None => first_failure = Some(failure),
                Some(_) => tell(&failure.to_string()),
            }
        }
    }
    first_failure.map_or(Ok(ExitCode::SUCCESS), Err)
}

async fn stopped_ids(context: &Context) -> Result<Vec<String>, Failure> {
    let all: Vec<TaskView> = context.client.get("/v1/tasks?all=true").await?;
    Ok(all.into_iter().filter(|t| t.status == TaskStatus::Stopped).map(|t| t.id).collect())
}

/// Removes one task, killing it first where that is wanted.
pub(crate) async fn remove(context: &Context, reference: &str, force: bool) -> Result<(), Failure> {
    let mut reference = reference.to_owned();
    if force {
        let task: TaskView = context.client.get(&tasks::path(&reference)).await?;
        if task.status != TaskStatus::Stopped {
            let now = StopRequest { timeout_ms: Some(0), reason: Some("removed by force".to_owned()) };
            stop::stop(context, &task.id, &now).await?;
            wait::stopped(context, &task.id).await?;
        }
        // A name may be taken again between the two requests.
        reference = task.id;
    }
    let _: Removed = context.client.call(Method::DELETE, &tasks::path(&reference), None::<&()>).await?;
    Ok(())
}
