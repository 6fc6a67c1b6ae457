//! `berth exec`: one more process in a container that runs.
//!
//! The agent only tells where the task's shim is; from there on the command and the shim talk without it, so that a
//! restart of the agent cuts no session. Without `--tty` the command hands its own standard streams over and carries no
//! byte itself; with it, it carries bytes between its terminal and the container's, see `console`.
//! Signals that reach the command are sent on to the process.

use super::Context;
use super::console;
use super::failure::{Failure, NOT_FOUND, NOT_RUNNABLE};
use super::{definition, tasks};
use crate::api::types::{ContainerStatus, ContainerView, TaskView};
use berth_runtime::shim::client::{Client, ClientError, Exec};
use berth_runtime::shim::protocol::{ExecProcess, FromShim};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use std::fs::File;
use std::io::IsTerminal;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::ExitCode;

/// Flags of `berth exec`.
#[derive(Debug, clap::Args)]
pub(crate) struct ExecArgs {
    /// Hand standard input over
    #[arg(short, long)]
    interactive: bool,
    /// Give the process a terminal
    #[arg(short, long)]
    tty: bool,
    /// Container of the task [default: the only one that runs]
    #[arg(short, long, value_name = "NAME")]
    container: Option<String>,
    /// Environment variable; without a value, this command's own
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    env: Vec<String>,
    /// Working directory [default: the container's]
    #[arg(short, long, value_name = "DIR")]
    workdir: Option<String>,
    /// User, by name or number [default: the container's]
    #[arg(short, long, value_name = "USER[:GROUP]")]
    user: Option<String>,
    /// Id, unique start of an id, or name
    task: String,
    /// Program and arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,
}

/// What the shim is to be asked: found with the agent's help, carried out without it.
#[derive(Debug)]
pub(crate) struct Request {
    socket: PathBuf,
    container: String,
    process: ExecProcess,
    interactive: bool,
}

/// Finds the container and its shim.
pub(crate) async fn find(context: &Context, args: &ExecArgs) -> Result<Request, Failure> {
    if args.interactive && args.tty && !std::io::stdin().is_terminal() {
        return Err(
            Failure::usage("standard input is not a terminal").hint("leave `--tty` out to hand it over as it is")
        );
    }
    let task: TaskView = context.client.get(&tasks::path(&args.task)).await.map_err(Failure::of_run)?;
    let container = choose(&task, args.container.as_deref()).map_err(Failure::of_run)?.name.clone();
    let socket = task.shim_socket.ok_or_else(|| not_running(&task.name).of_run())?;
    let process = ExecProcess {
        args: args.command.clone(),
        env: environment(args, |name| std::env::var(name).ok()),
        cwd: args.workdir.clone(),
        user: args.user.clone(),
        tty: args.tty,
    };
    Ok(Request { socket, container, process, interactive: args.interactive })
}

/// Runs the process, and gives its exit code. Blocks; to be called with no event loop around it.
pub(crate) fn run(request: Request) -> Result<ExitCode, Failure> {
    let Request { socket, container, process, interactive } = request;
    let signals = listen().map_err(|e| Failure::caused("listen for signals", &e).of_run())?;
    let client = Client::connect(&socket).map_err(told)?;
    let tty = process.tty;
    let (nothing, stdin, stdout, stderr) = (dev_null()?, std::io::stdin(), std::io::stdout(), std::io::stderr());
    let input = if interactive { stdin.as_fd() } else { nothing.as_fd() };
    let mut exec = client.exec(&container, process, [input, stdout.as_fd(), stderr.as_fd()]).map_err(told)?;
    let code = if tty {
        console::carry(&mut exec, &signals, interactive)?
    } else {
        drop(nothing);
        wait(&mut exec, &signals)?
    };
    Ok(ExitCode::from(u8::try_from(code).unwrap_or(super::failure::FAILED)))
}

/// Signals that are sent on; SIGWINCH is for the terminal.
const FORWARDED: [Signal; 6] =
    [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT, Signal::SIGUSR1, Signal::SIGUSR2];

fn listen() -> nix::Result<SignalFd> {
    let mut set = SigSet::empty();
    for signal in FORWARDED.into_iter().chain([Signal::SIGWINCH]) {
        set.add(signal);
    }
    set.thread_block()?;
    SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
}

fn dev_null() -> Result<File, Failure> {
    File::open("/dev/null").map_err(|e| Failure::caused("open `/dev/null`", &e).of_run())
}

/// Waits for the end of a process that has our streams.
fn wait(exec: &mut Exec, signals: &SignalFd) -> Result<i32, Failure> {
    loop {
        if let Some(code) = ended_already(exec)? {
            return Ok(code);
        }
        let (talked, signalled) = {
            let mut fds =
                [PollFd::new(exec.client.as_fd(), PollFlags::POLLIN), PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
            match poll(&mut fds, PollTimeout::NONE) {
                Ok(_) | Err(nix::Error::EINTR) => {}
                Err(e) => return Err(Failure::caused("wait for the process", &e).of_run()),
            }
            let ready = |fd: &PollFd<'_>| fd.any().unwrap_or(false);
            (ready(&fds[0]), ready(&fds[1]))
        };
        if signalled {
            forward(exec, signals)?;
        }
        if talked {
            return exec.wait().map_err(told);
        }
    }
}

/// The exit code, where the news of it has been read together with what came before.
pub(crate) fn ended_already(exec: &mut Exec) -> Result<Option<i32>, Failure> {
    while let Some(message) = exec.client.received().map_err(told)? {
        if let FromShim::ExecExited { code } = message {
            return Ok(Some(code));
        }
    }
    Ok(None)
}

/// Sends the signals that have come on to the process; says whether the size of the terminal has changed.
pub(crate) fn forward(exec: &mut Exec, signals: &SignalFd) -> Result<bool, Failure> {
    let mut resized = false;
    loop {
        match signals.read_signal() {
            Ok(Some(info)) if info.ssi_signo == Signal::SIGWINCH as u32 => resized = true,
            Ok(Some(info)) => exec.signal(info.ssi_signo as i32).map_err(told)?,
            Ok(None) => return Ok(resized),
            Err(e) => return Err(Failure::caused("read signals", &e).of_run()),
        }
    }
}

/// A shim's no, or its silence.
pub(crate) fn told(error: ClientError) -> Failure {
    match error {
        ClientError::Refused { message, code } => {
            let failure = Failure::new(message);
            match u8::try_from(code) {
                Ok(code @ (NOT_RUNNABLE | NOT_FOUND)) => failure.code(code),
                _ => failure.of_run(),
            }
        }
        ClientError::Connect { .. } => Failure::caused("exec", &error).hint("the task may have just ended").of_run(),
        error => Failure::caused("exec", &error).of_run(),
    }
}

fn choose<'a>(task: &'a TaskView, named: Option<&str>) -> Result<&'a ContainerView, Failure> {
    let names =
        |containers: &[&ContainerView]| containers.iter().map(|c| c.name.as_str()).collect::<Vec<_>>().join(", ");
    if let Some(name) = named {
        let found = task.containers.iter().find(|c| c.name == name).ok_or_else(|| {
            Failure::new(format!("task `{}` has no container `{name}`", task.name))
                .hint(format!("it has {}", names(&task.containers.iter().collect::<Vec<_>>())))
        })?;
        return match found.status {
            ContainerStatus::Running | ContainerStatus::Stopping => Ok(found),
            _ => Err(not_running(name)),
        };
    }
    let running: Vec<_> = task
        .containers
        .iter()
        .filter(|c| matches!(c.status, ContainerStatus::Running | ContainerStatus::Stopping))
        .collect();
    match running[..] {
        [] => Err(not_running(&task.name)),
        [only] => Ok(only),
        _ => Err(Failure::new(format!("task `{}` has several containers", task.name))
            .hint(format!("name one by `--container`: {}", names(&running)))),
    }
}

fn not_running(name: &str) -> Failure {
    Failure::new(format!("`{name}` is not running")).hint("see `berth ps --all`")
}

/// What is typed, and for a terminal its kind.
fn environment(args: &ExecArgs, own: impl Fn(&str) -> Option<String>) -> Vec<String> {
    let mut pairs: Vec<_> = args.env.iter().filter_map(|text| definition::parse_environment(text, &own)).collect();
    if args.tty
        && !pairs.iter().any(|(name, _)| name == "TERM")
        && let Some(kind) = own("TERM")
    {
        pairs.push(("TERM".to_owned(), kind));
    }
    pairs.into_iter().map(|(name, value)| format!("{name}={value}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::tasks::samples;

    #[test]
    fn the_only_container_that_runs_is_meant() {
        let mut task = samples::task();
        assert_eq!(choose(&task, None).unwrap().name, "web");
        task.containers.push(samples::container("log"));
        let several = choose(&task, None).unwrap_err();
        assert!(several.to_string().ends_with("hint: name one by `--container`: web, log"), "{several}");
        task.containers[0].status = ContainerStatus::Stopped;
        assert_eq!(choose(&task, None).unwrap().name, "log");
        assert!(choose(&task, Some("web")).unwrap_err().to_string().contains("`web` is not running"));
        assert!(choose(&task, Some("db")).unwrap_err().to_string().contains("it has web, log"));
    }

    #[test]
    fn the_codes_of_a_shims_no_are_handed_on() {
        let refused =
            |code| told(ClientError::Refused { message: "run `nope`: no such file".into(), code }).exit_code();
        assert_eq!(refused(126), ExitCode::from(126));
        assert_eq!(refused(127), ExitCode::from(127));
        assert_eq!(refused(1), ExitCode::from(125));
        assert_eq!(told(ClientError::Closed).exit_code(), ExitCode::from(125));
    }

    #[test]
    fn a_terminal_takes_the_kind_of_ours_along() {
        use clap::Parser;
        #[derive(Debug, Parser)]
        struct Wrap {
            #[command(flatten)]
            args: ExecArgs,
        }
        let own = |name: &str| (name == "TERM").then(|| "xterm".to_owned());
        let parsed = |line: &[&str]| environment(&Wrap::parse_from(line).args, own);
        assert_eq!(parsed(&["exec", "-it", "-e", "A=1", "web", "sh", "-c", "x"]), ["A=1", "TERM=xterm"]);
        assert_eq!(parsed(&["exec", "-t", "-e", "TERM=dumb", "web", "sh"]), ["TERM=dumb"]);
        assert!(parsed(&["exec", "web", "sh"]).is_empty());
    }
}
