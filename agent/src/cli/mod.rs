//! The command line: what is typed, and how it is answered.
//!
//! Standard output is data, standard error is talk. Exit codes are listed in `failure`. Each command is a file: its
//! flags, and a function that does it and gives an exit code or a `Failure`, which is printed here
//! and nowhere else.
//!
//! ```text
//!  run ps inspect logs stop wait rm node pull images ──► client ──► operators' socket
//!  exec ── asks the agent where the shim is, then ─────► shim::client ──► the task's shim
//!  stop --all, where no agent runs ────────────────────► each task's shim
//!  doctor ─────────────────────────────────────────────► /proc, /sys, the node's directories; needs no agent
//!  agent, control-plane ── become the daemon
//! ```

pub mod agent;
mod client;
mod completions;
mod console;
mod definition;
mod doctor;
mod exec;
mod failure;
mod images;
mod inspect;
mod logs;
mod node;
mod node_start;
mod ps;
mod pull;
mod rm;
mod run;
mod shims;
mod stop;
mod table;
mod tasks;
mod terminal;
mod text;
mod wait;

use berth_runtime::errno::tell;
use clap::{Parser, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;

/// Runs Amazon ECS task definitions on this host, without Docker.
#[derive(Debug, Parser)]
#[command(name = "berth", version, max_term_width = 100)]
pub struct Cli {
    /// The agent's socket
    #[arg(long, global = true, value_name = "PATH", env = "BERTH_SOCKET", hide_env_values = true, display_order = 900)]
    socket: Option<PathBuf>,
    /// What to do.
    #[command(subcommand)]
    command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
enum Command {
    /// Run a task: from a definition file, or from an image and flags
    Run(run::RunArgs),
    /// List tasks
    Ps(ps::PsArgs),
    /// Show everything known about tasks
    Inspect(inspect::InspectArgs),
    /// Run one more process in a container that runs
    Exec(exec::ExecArgs),
    /// Show what the containers of a task wrote
    Logs(logs::LogsArgs),
    /// Stop tasks
    Stop(stop::StopArgs),
    /// Wait until tasks have stopped, and print their exit codes
    Wait(wait::WaitArgs),
    /// Remove the records and logs of stopped tasks
    Rm(rm::RmArgs),
    /// Show what this node has, and what is left of it
    Node(node::NodeArgs),
    /// Fetch images before tasks need them
    Pull(pull::PullArgs),
    /// List images, or remove them
    Images(images::ImagesArgs),
    /// Look for what this host lacks, and say how to mend it
    Doctor(doctor::DoctorArgs),
    /// Print the completion script of a shell
    Completions(completions::CompletionsArgs),
    /// Run the node agent in the foreground
    Agent(agent::AgentArgs),
    /// Run a control plane by itself, for agents on other hosts
    ControlPlane(agent::ControlPlaneArgs),
}

/// What every command that talks to the agent needs.
#[derive(Debug)]
struct Context {
    client: client::Client,
}

/// Parses the arguments and does what they say.
pub fn main() -> ExitCode {
    let Cli { socket, command } = Cli::parse();
    let done = match command {
        // The daemons make their own runtime.
        Command::Agent(args) => return agent::run_agent(agent::AgentArgs { socket, ..args }),
        Command::ControlPlane(args) => return agent::run_control_plane(args),
        Command::Completions(args) => completions::run(&args),
        command => talk(command, socket),
    };
    match done {
        Ok(code) => code,
        Err(failure) => {
            if !failure.is_silent() {
                tell(&failure.to_string());
            }
            failure.exit_code()
        }
    }
}

/// Does a command that speaks with the agent.
fn talk(command: Command, socket: Option<PathBuf>) -> Result<ExitCode, failure::Failure> {
    let socket = socket.unwrap_or_else(|| berth_runtime::rundir::Dirs::default().agent_socket());
    let context = Context { client: client::Client::new(socket) };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| failure::Failure::caused("start the event loop", &e))?;
    let done = runtime.block_on(ask(&context, command))?;
    drop(runtime);
    match done {
        Done::Code(code) => Ok(code),
        Done::Exec(request) => exec::run(*request),
    }
}

/// What is left to do without an event loop.
enum Done {
    Code(ExitCode),
    Exec(Box<exec::Request>),
}

async fn ask(context: &Context, command: Command) -> Result<Done, failure::Failure> {
    let code = match command {
        Command::Run(args) => run::run(context, &args).await,
        Command::Ps(args) => ps::run(context, &args).await,
        Command::Inspect(args) => inspect::run(context, &args).await,
        Command::Exec(args) => return exec::find(context, &args).await.map(|request| Done::Exec(Box::new(request))),
        Command::Logs(args) => logs::run(context, &args).await,
        Command::Stop(args) => stop::run(context, &args).await,
        Command::Wait(args) => wait::run(context, &args).await,
        Command::Rm(args) => rm::run(context, &args).await,
        Command::Node(args) => node::run(context, &args).await,
        Command::Pull(args) => pull::run(context, &args).await,
        Command::Images(args) => images::run(context, &args).await,
        Command::Doctor(args) => doctor::run(context, &args).await,
        Command::Completions(_) | Command::Agent(_) | Command::ControlPlane(_) => Ok(ExitCode::SUCCESS),
    };
    code.map(Done::Code)
}

#[cfg(test)]
mod tests {
    use super::Cli;
    use clap::{Command, CommandFactory};

    /// The help of `command` and of all below it, in one text.
    fn help(command: &mut Command, path: &str, out: &mut String) {
        let text = command.render_help().to_string();
        let lines: Vec<_> = text.trim_end().lines().map(str::trim_end).collect();
        out.push_str(&format!("==== {path} ====\n{}\n\n", lines.join("\n")));
        for child in command.get_subcommands_mut() {
            let path = format!("{path} {}", child.get_name());
            if child.get_name() != "help" {
                help(child, &path, out);
            }
        }
    }

    /// Every change of a help text is seen in review. Accept one with `BERTH_BLESS=1 cargo test -p berth-agent help`.
    #[test]
    fn help_texts_are_those_of_the_golden_file() {
        let mut command = Cli::command().term_width(100);
        command.build();
        let mut found = String::new();
        help(&mut command, "berth", &mut found);
        berth_test_host::golden(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/help.txt"), &found);
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
