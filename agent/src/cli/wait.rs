//! `berth wait`: returns when tasks have stopped.

use super::Context;
use super::failure::Failure;
use super::{tasks, terminal};
use crate::api::types::{TaskStatus, TaskView};
use std::process::ExitCode;

/// Flags of `berth wait`.
#[derive(Debug, clap::Args)]
pub(crate) struct WaitArgs {
    /// Id, unique start of an id, or name
    #[arg(required = true, value_name = "TASK")]
    tasks: Vec<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Waits for each task in turn, and prints the exit code of the container that decided; `-` where none ever ran.
pub(crate) async fn run(context: &Context, args: &WaitArgs) -> Result<ExitCode, Failure> {
    let mut ended = Vec::new();
    for reference in &args.tasks {
        let task = stopped(context, reference).await?;
        if !args.json {
            let code = tasks::exit_code(&task).map_or_else(|| "-".to_owned(), |code| code.to_string());
            terminal::print(&format!("{code}\n"))?;
        }
        ended.push(task);
    }
    if args.json {
        terminal::print_json(&ended)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The task once it has stopped. An agent that is restarted meanwhile changes nothing.
pub(crate) async fn stopped(context: &Context, reference: &str) -> Result<TaskView, Failure> {
    // A name may be taken again, and no agent at all is told at once.
    let task: TaskView = context.client.get(&tasks::path(reference)).await?;
    if task.status == TaskStatus::Stopped {
        return Ok(task);
    }
    context.client.get_patiently(&format!("{}/wait", tasks::path(&task.id))).await
}
