//! `berth stop`: asks tasks to stop, and waits until nothing of them runs.

use super::Context;
use super::failure::Failure;
use super::{shims, tasks, terminal, wait};
use crate::api::types::{StopRequest, TaskView};
use berth_runtime::errno::tell;
use berth_runtime::rundir::Dirs;
use http::Method;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

/// Flags of `berth stop`.
#[derive(Debug, clap::Args)]
pub(crate) struct StopArgs {
    /// Id, unique start of an id, or name
    #[arg(required_unless_present = "all", value_name = "TASK")]
    tasks: Vec<String>,
    /// Stop every task; where no agent runs, by asking each task's shim
    #[arg(short, long, conflicts_with = "tasks")]
    all: bool,
    /// Seconds between the stop signal and SIGKILL, instead of each container's stopTimeout; 0 kills at once
    #[arg(short = 't', long = "time", value_name = "SECONDS", value_parser = parse_seconds)]
    timeout: Option<Duration>,
    /// Why, for the tasks' records
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Return at once
    #[arg(long)]
    no_wait: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

fn parse_seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number of seconds".to_owned())?;
    Duration::try_from_secs_f64(seconds).map_err(|_| "not a number of seconds".to_owned())
}

/// Stops all of them side by side: no task waits for another's time-out.
pub(crate) async fn run(context: &Context, args: &StopArgs) -> Result<ExitCode, Failure> {
    let request = StopRequest {
        timeout_ms: args.timeout.map(|t| u64::try_from(t.as_millis()).unwrap_or(u64::MAX)),
        reason: args.reason.clone(),
    };
    let references = if args.all {
        let found: Result<Vec<TaskView>, Failure> = context.client.get("/v1/tasks").await;
        match found {
            Ok(found) => found.into_iter().map(|task| task.id).collect(),
            Err(failure) if failure.is_lost() => return without_agent(context, args, &request),
            Err(failure) => return Err(failure),
        }
    } else {
        args.tasks.clone()
    };
    let mut views = Vec::new();
    let mut first_failure = None;
    for reference in &references {
        match stop(context, reference, &request).await {
            Ok(view) => views.push(view),
            // The others are stopped all the same.
            Err(failure) => match &first_failure {
                None => first_failure = Some(failure),
                Some(_) => tell(&failure.to_string()),
            },
        }
    }
    if !args.no_wait {
        for view in &mut views {
            *view = wait::stopped(context, &view.id).await?;
            if terminal::talks_to_a_person() && !args.json {
                tell(&farewell(view));
            }
        }
    }
    if args.json {
        terminal::print_json(&views)?;
    }
    first_failure.map_or(Ok(ExitCode::SUCCESS), Err)
}

/// Asks the shims. The views of an agent are not to be had, so `--json` shows none.
fn without_agent(context: &Context, args: &StopArgs, request: &StopRequest) -> Result<ExitCode, Failure> {
    let run = context.client.socket().parent().unwrap_or(Path::new("/run/berth"));
    let dirs = Dirs::new(run, Dirs::default().state);
    shims::stop_all(&dirs, request.timeout_ms, request.reason.as_deref().unwrap_or("stopped with all tasks"))?;
    if args.json {
        terminal::print_json(&[(); 0])?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Asks one task to stop; answers at once.
pub(crate) async fn stop(context: &Context, reference: &str, request: &StopRequest) -> Result<TaskView, Failure> {
    context.client.call(Method::POST, &format!("{}/stop", tasks::path(reference)), Some(request)).await
}

fn farewell(task: &TaskView) -> String {
    match tasks::exit_code(task) {
        Some(code) => format!("{} stopped, exit code {code}", task.name),
        None => format!("{} stopped", task.name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_may_have_a_fraction_and_are_never_negative() {
        assert_eq!(parse_seconds("1.5"), Ok(Duration::from_millis(1500)));
        assert_eq!(parse_seconds("0"), Ok(Duration::ZERO));
        for bad in ["-1", "x", "", "NaN", "1e300"] {
            assert!(parse_seconds(bad).is_err(), "{bad}");
        }
    }
}
