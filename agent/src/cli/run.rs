//! `berth run`: a task definition becomes a running task.
//!
//! In the foreground (the default) the task's output is the command's, Ctrl-C stops the task, and the exit code is that
//! of the container that decided the task's end. The task does not depend on the command: when the command is killed
//! the task goes on.
//!
//! ```text
//!  POST /v1/tasks ─► logs, followed ─► the task has stopped ─► GET .../wait ─► exit code
//!                      │ Ctrl-C: POST .../stop, and goes on following
//!                      │ once more: POST .../stop with a time-out of 0
//! ```

use super::Context;
use super::definition::{self, Publish, Volume, Wanted};
use super::failure::{BERTH_FAILED, Failure};
use super::logs::{self, Printer, Style};
use super::{rm, stop, tasks, terminal, wait};
use crate::api::types::{RunRequest, RunResponse, StopRequest, TaskStatus, TaskView};
use berth_runtime::errno::tell;
use http::Method;
use std::path::PathBuf;
use std::process::ExitCode;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Flags of `berth run`.
#[derive(Debug, clap::Args)]
#[command(override_usage = "berth run [OPTIONS] -f FILE\n       berth run [OPTIONS] IMAGE [COMMAND]...")]
pub(crate) struct RunArgs {
    /// Task definition in ECS's JSON, `-` for standard input
    #[arg(short, long, value_name = "FILE", conflicts_with_all = ["image", "publish", "network", "cpu", "memory", "env", "volume", "user", "userns"])]
    file: Option<PathBuf>,
    /// Image of a task of one container
    #[arg(required_unless_present = "file")]
    image: Option<String>,
    /// Program and arguments, instead of the image's command
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,
    /// Return once the task runs, and print its id
    #[arg(short, long)]
    detach: bool,
    /// What to call the task [default: made from the family]
    #[arg(long)]
    name: Option<String>,
    /// How many tasks
    #[arg(long, value_name = "N", requires = "detach", value_parser = clap::value_parser!(u32).range(1..))]
    count: Option<u32>,
    /// Publish a port; the host's is chosen where it is 0 or left out
    #[arg(short, long, value_name = "HOST:CONTAINER[/udp]", value_parser = Publish::parse)]
    publish: Vec<Publish>,
    /// Network mode
    #[arg(long, value_enum, default_value = "bridge", value_name = "MODE")]
    network: Network,
    /// Hard CPU limit: units (1024 are one CPU), or CPUs as 0.25vcpu
    #[arg(long, value_name = "UNITS", value_parser = definition::parse_cpu)]
    cpu: Option<u64>,
    /// Hard memory limit: MiB, or GiB as 2g [default: none, with 64 MiB set aside]
    #[arg(long, value_name = "MIB", value_parser = definition::parse_memory)]
    memory: Option<u64>,
    /// Environment variable; without a value, this command's own
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    env: Vec<String>,
    /// Mount a file or directory of the host
    #[arg(short, long, value_name = "HOST:CONTAINER[:ro]", value_parser = Volume::parse)]
    volume: Vec<Volume>,
    /// User in the container, by name or number
    #[arg(short, long, value_name = "USER[:GROUP]")]
    user: Option<String>,
    /// Users of the host, or those that the node maps tasks to [default: as the node does it]
    #[arg(long, value_name = "USERS", value_parser = ["host", "remap"])]
    userns: Option<String>,
    /// Remove the task's records and logs when it has stopped
    #[arg(long, conflicts_with = "detach")]
    rm: bool,
    /// Print JSON
    #[arg(long, requires = "detach")]
    json: bool,
}

/// How a task is joined to the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Network {
    // Comments, not doc comments: those would turn the whole help into its long form.
    // A bridge of the node; ports are published.
    Bridge,
    // The host's own network.
    Host,
    // An address of its own.
    Awsvpc,
    // Loopback only.
    None,
}

impl Network {
    fn as_str(self) -> &'static str {
        match self {
            Self::Bridge => "bridge",
            Self::Host => "host",
            Self::Awsvpc => "awsvpc",
            Self::None => "none",
        }
    }
}

/// Runs a task.
pub(crate) async fn run(context: &Context, args: &RunArgs) -> Result<ExitCode, Failure> {
    let request = RunRequest {
        definition: definition(args)?,
        name: args.name.clone(),
        count: args.count,
        wait_running: args.detach,
    };
    // Before the task is begun: a Ctrl-C that comes between would leave it running unseen.
    let interrupts = Interrupts::new()?;
    let response: Result<RunResponse, Failure> = context.client.call(Method::POST, "/v1/tasks", Some(&request)).await;
    let response = response.map_err(Failure::of_run)?;
    if args.detach {
        return detached(&response, args.json);
    }
    let Some(task) = response.tasks.into_iter().next() else {
        return Err(Failure::new("run: the agent's answer holds no task").of_run());
    };
    let ended = foreground(context, &task, interrupts).await.map_err(Failure::of_run)?;
    if args.rm {
        rm::remove(context, &ended.id, false).await.map_err(Failure::of_run)?;
    }
    conclude(&ended)
}

fn definition(args: &RunArgs) -> Result<serde_json::Value, Failure> {
    if let Some(file) = &args.file {
        return definition::from_file(file);
    }
    if !args.publish.is_empty() && args.network != Network::Bridge {
        return Err(Failure::usage(format!("`--publish` has no meaning with `--network {}`", args.network.as_str()))
            .hint("with host and awsvpc the container's own ports are reached directly"));
    }
    let environment: Vec<_> = args
        .env
        .iter()
        .filter_map(|text| definition::parse_environment(text, |name| std::env::var(name).ok()))
        .collect();
    Ok(definition::from_flags(&Wanted {
        image: args.image.as_deref().unwrap_or_default(),
        command: &args.command,
        name: args.name.as_deref(),
        network: args.network.as_str(),
        cpu: args.cpu,
        memory: args.memory,
        publish: &args.publish,
        environment: &environment,
        volumes: &args.volume,
        user: args.user.as_deref(),
        userns: args.userns.as_deref(),
    }))
}

/// Prints the ids; a task that has stopped before it ran is a failure.
fn detached(response: &RunResponse, json: bool) -> Result<ExitCode, Failure> {
    if json {
        terminal::print_json(response)?;
    } else {
        terminal::print(&response.tasks.iter().map(|t| format!("{}\n", t.id)).collect::<String>())?;
    }
    match response.tasks.iter().find(|t| t.status == TaskStatus::Stopped && t.started_at_ms.is_none()) {
        Some(task) => conclude(task),
        None => Ok(ExitCode::SUCCESS),
    }
}

/// Follows the task to its end.
async fn foreground(context: &Context, task: &TaskView, mut interrupts: Interrupts) -> Result<TaskView, Failure> {
    let style = Style { names: task.containers.len() > 1, ..Style::default() };
    let logs = logs::stream(context, &task.id, logs::From::default(), true, Printer::new(style));
    let talk = narrate(context, &task.id);
    tokio::pin!(logs, talk);
    let mut talking = terminal::talks_to_a_person();
    loop {
        tokio::select! {
            done = &mut logs => break done?,
            () = &mut talk, if talking => talking = false,
            n = interrupts.next() => interrupted(context, task, n).await?,
        }
    }
    wait::stopped(context, &task.id).await
}

/// The first interrupt asks, the second kills; from the third on the command leaves the task alone and goes.
async fn interrupted(context: &Context, task: &TaskView, n: u32) -> Result<(), Failure> {
    let reason = Some("stopped by an interrupt of berth run".to_owned());
    let timeout_ms = match n {
        1 => {
            tell(&format!("berth: stopping {}; interrupt once more to kill it", task.name));
            None
        }
        2 => {
            tell(&format!("berth: killing {}", task.name));
            Some(0)
        }
        _ => {
            return Err(Failure::new(format!("left task {} ({}) as it is", task.name, task.id))
                .hint(format!("see `berth inspect {}`", task.name)));
        }
    };
    match stop::stop(context, &task.id, &StopRequest { timeout_ms, reason }).await {
        // The task may have ended by itself in the same moment; an agent that is away is told by the log's reader.
        Err(failure) if !failure.is_lost() => tell(&failure.to_string()),
        Err(failure) => {
            tell(&failure.to_string());
            tell("berth: the task goes on");
        }
        Ok(_) => {}
    }
    Ok(())
}

/// Says on standard error what a task that does not run yet waits for. Ends when it runs or when nothing can be had.
async fn narrate(context: &Context, id: &str) {
    let Ok(mut events) = context.client.lines(Method::GET, "/v1/events", None::<&()>).await else { return };
    let mut said = String::new();
    while let Ok(Some(task)) = events.next::<TaskView>().await {
        if task.id != id {
            continue;
        }
        let words = match task.status {
            TaskStatus::Waiting => tasks::why(&task),
            TaskStatus::Preparing if task.pull_started_at_ms.is_some() => "pulling images".to_owned(),
            TaskStatus::Preparing | TaskStatus::Starting => String::new(),
            TaskStatus::Running | TaskStatus::Stopping | TaskStatus::Stopped => return,
        };
        if !words.is_empty() && words != said {
            tell(&format!("berth: {}: {words}", task.name));
            said = words;
        }
    }
}

/// The exit code of a task that has stopped, with the reason where the code alone does not tell.
fn conclude(task: &TaskView) -> Result<ExitCode, Failure> {
    let failed = |code: u8| {
        let why = match tasks::why(task) {
            why if why.is_empty() => "it stopped before it ran".to_owned(),
            why => why,
        };
        Failure::new(format!("task {}: {why}", task.name)).code(code)
    };
    let decided = tasks::deciding(task);
    let killed = task.containers.iter().any(|c| c.oom.is_some());
    match decided.and_then(|c| c.exit_code) {
        None => Err(failed(BERTH_FAILED)),
        Some(code) => {
            let code = u8::try_from(code).unwrap_or(super::failure::FAILED);
            match decided.is_some_and(|c| c.started_at_ms.is_none()) || killed {
                true => Err(failed(code)),
                false => Ok(ExitCode::from(code)),
            }
        }
    }
}

/// SIGINT, SIGTERM and SIGHUP, counted.
struct Interrupts {
    signals: [Signal; 3],
    seen: u32,
}

impl Interrupts {
    fn new() -> Result<Self, Failure> {
        let listen = |kind| signal(kind).map_err(|e| Failure::caused("listen for signals", &e).of_run());
        let signals =
            [listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?, listen(SignalKind::hangup())?];
        Ok(Self { signals, seen: 0 })
    }

    /// Which interrupt this is, beginning with 1.
    async fn next(&mut self) -> u32 {
        let [a, b, c] = &mut self.signals;
        tokio::select! {
            _ = a.recv() => {}
            _ = b.recv() => {}
            _ = c.recv() => {}
        }
        self.seen += 1;
        self.seen
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::types::OomView;
    use crate::cli::tasks::samples;

    fn ended(code: Option<i32>) -> TaskView {
        let mut task = samples::task();
        task.status = TaskStatus::Stopped;
        task.containers[0].exit_code = code;
        task.containers[0].finished_at_ms = Some(9_000);
        task
    }

    #[test]
    fn the_containers_code_is_handed_on_without_a_word() {
        assert_eq!(conclude(&ended(Some(7))), Ok(ExitCode::from(7)));
        assert_eq!(conclude(&ended(Some(0))), Ok(ExitCode::SUCCESS));
    }

    #[test]
    fn a_kill_for_memory_is_told() {
        let mut task = ended(Some(137));
        task.containers[0].oom = Some(OomView { scope: "task".into(), limit_bytes: 32 << 20 });
        let failure = conclude(&task).unwrap_err();
        assert_eq!(failure.to_string(), "error: task web: out of memory: the task's limit of 32 MiB was hit");
        assert_eq!(failure.exit_code(), ExitCode::from(137));
    }

    #[test]
    fn a_program_that_is_not_there_gives_its_reason_and_127() {
        let mut task = ended(Some(127));
        task.containers[0].started_at_ms = None;
        task.containers[0].reason = Some("CannotStartContainerError: run `nope`: no such file".into());
        let failure = conclude(&task).unwrap_err();
        assert_eq!(failure.to_string(), "error: task web: CannotStartContainerError: run `nope`: no such file");
        assert_eq!(failure.exit_code(), ExitCode::from(127));
    }

    #[test]
    fn a_task_that_never_ran_is_berths_failure() {
        let mut task = ended(None);
        task.containers[0].started_at_ms = None;
        task.reason = Some("CannotPullContainerError: no such image".into());
        let failure = conclude(&task).unwrap_err();
        assert_eq!(failure.exit_code(), ExitCode::from(125));
        assert!(failure.to_string().contains("CannotPullContainerError"));
    }
}
