//! The OCI verbs: from the command line to `container`, and from its errors to exit codes.

use super::args::{Args, Grammar, UsageError};
use super::log::Log;
use super::show;
use crate::container::create::{Create, VerbError};
use crate::container::exec::{Exec, ExecRequest, exec};
use crate::container::foreground::Foreground;
use crate::container::launch::LaunchError;
use crate::container::state::{StateError, Status, Table, group};
use crate::container::{create, delete, kill, run, start};
use crate::errno::{OpContext, OpError, chain};
use crate::sys::{exe, fd, pidfd};
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::process::ExitCode;

/// Where containers are recorded unless `--root` says otherwise.
const DEFAULT_ROOT: &str = "/run/berth-runtime";

const GLOBAL: Grammar = Grammar {
    values: &[("root", '\0'), ("log", '\0'), ("log-format", '\0'), ("rootless", '\0'), ("criu", '\0')],
    flags: &[("debug", '\0'), ("systemd-cgroup", '\0'), ("version", 'v'), ("help", 'h')],
    operands: 0,
};
const CREATE: Grammar = Grammar {
    values: &[
        ("bundle", 'b'),
        ("console-socket", '\0'),
        ("pid-file", '\0'),
        ("preserve-fds", '\0'),
        ("pidfd-socket", '\0'),
    ],
    flags: &[("no-pivot", '\0'), ("no-new-keyring", '\0'), ("detach", 'd'), ("keep", '\0'), ("no-subreaper", '\0')],
    operands: 1,
};
const PLAIN: Grammar = Grammar {
    values: &[("format", 'f'), ("bundle", 'b')],
    flags: &[("quiet", 'q'), ("all", 'a'), ("rootless", '\0')],
    operands: 2,
};
const EXEC: Grammar = Grammar {
    values: &[
        ("process", 'p'),
        ("pid-file", '\0'),
        ("console-socket", '\0'),
        ("user", 'u'),
        ("cwd", '\0'),
        ("env", 'e'),
        ("preserve-fds", '\0'),
    ],
    flags: &[("tty", 't'), ("detach", 'd'), ("ignore-paused", '\0')],
    operands: 1,
};
const DELETE: Grammar = Grammar { values: &[], flags: &[("force", 'f')], operands: 1 };

/// Why a command line failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum CliError {
    #[error(transparent)]
    Usage(#[from] UsageError),
    #[error(transparent)]
    Verb(#[from] VerbError),
    #[error(transparent)]
    Launch(#[from] LaunchError),
    #[error(transparent)]
    State(#[from] StateError),
    #[error(transparent)]
    Op(#[from] OpError),
}

impl CliError {
    fn exit_code(&self, verb: &str) -> u8 {
        match self {
            // Like runc: a container that could not be run is told apart by exec and run alone.
            Self::Launch(e) if verb == "exec" => e.shell_code() as u8,
            _ => 1,
        }
    }
}

/// Carries out an OCI command line.
pub(super) fn main(args: Vec<OsString>) -> ExitCode {
    let mut log = Log::default();
    let (verb, result) = match GLOBAL.parse(args) {
        Ok(global) => {
            log.file = global.value("log").map(Into::into);
            log.json = global.value("log-format").is_some_and(|f| f == "json");
            let verb = global.operands.first().map_or_else(String::new, |v| v.to_string_lossy().into_owned());
            let result = dispatch(&global, &verb);
            (verb, result)
        }
        Err(e) => (String::new(), Err(e.into())),
    };
    match result {
        Ok(code) => ExitCode::from(code),
        Err(e) => {
            log.error(&chain(&e));
            ExitCode::from(e.exit_code(&verb))
        }
    }
}

fn dispatch(global: &Args, verb: &str) -> Result<u8, CliError> {
    if global.flag("version") {
        println!("berth-runtime version {}\nspec: {}", env!("CARGO_PKG_VERSION"), crate::spec::OCI_VERSION);
        return Ok(0);
    }
    if global.flag("systemd-cgroup") {
        return Err(UsageError("--systemd-cgroup is not supported yet: use the cgroupfs driver".into()).into());
    }
    if matches!(verb, "create" | "run" | "exec") {
        exe::protect(c"berth-runtime").op("protect", "the runtime's own program")?;
    }
    let table = Table::new(global.value("root").map_or(Path::new(DEFAULT_ROOT), Path::new));
    let rest = global.operands.iter().skip(1).cloned();
    let done = |()| 0;
    match verb {
        "create" => create_verb(&table, &CREATE.parse(rest)?).map(done),
        "run" => run_verb(&table, &CREATE.parse(rest)?),
        "start" => Ok(start::start(&table, PLAIN.parse(rest)?.id()?).map(done)?),
        "state" => show::state(&table, PLAIN.parse(rest)?.id()?).map(done),
        "list" => show::list(&table, &PLAIN.parse(rest)?).map(done),
        "ps" => show::ps(&table, &PLAIN.parse(rest)?).map(done),
        "exec" => exec_verb(&table, &EXEC.parse(rest)?),
        "kill" => kill_verb(&table, &PLAIN.parse(rest)?).map(done),
        "pause" => Ok(kill::pause(&table, PLAIN.parse(rest)?.id()?).map(done)?),
        "resume" => Ok(kill::resume(&table, PLAIN.parse(rest)?.id()?).map(done)?),
        "delete" => {
            let args = DELETE.parse(rest)?;
            Ok(delete::delete(&table, args.id()?, args.flag("force")).map(done)?)
        }
        "spec" => show::spec(&PLAIN.parse(rest)?).map(done),
        "features" => show::features().map(done),
        "" => Err(UsageError("a command is needed: create, start, state, kill, delete, run, exec, ps, list, pause, resume, spec or features".into()).into()),
        other => Err(UsageError(format!("unknown command `{other}`")).into()),
    }
}

fn stdio() -> [BorrowedFd<'static>; 3] {
    // Borrowed from statics: all three exist as long as the process does.
    static STDIN: std::sync::LazyLock<io::Stdin> = std::sync::LazyLock::new(io::stdin);
    static STDOUT: std::sync::LazyLock<io::Stdout> = std::sync::LazyLock::new(io::stdout);
    static STDERR: std::sync::LazyLock<io::Stderr> = std::sync::LazyLock::new(io::stderr);
    [STDIN.as_fd(), STDOUT.as_fd(), STDERR.as_fd()]
}

fn preserve(args: &Args) -> Result<u32, UsageError> {
    match args.text("preserve-fds")? {
        Some(n) => n.parse().map_err(|_| UsageError(format!("--preserve-fds: `{n}` is not a number"))),
        None => Ok(0),
    }
}

fn request<'a>(args: &'a Args) -> Result<Create<'a>, CliError> {
    Ok(Create {
        id: args.id()?,
        bundle: Path::new(args.value("bundle").unwrap_or(".".as_ref())),
        pid_file: args.value("pid-file").map(Path::new),
        preserve: preserve(args)?,
        stdio: stdio(),
    })
}

fn create_verb(table: &Table, args: &Args) -> Result<(), CliError> {
    let request = request(args)?;
    let mut created = create::create(table, &request)?;
    let Some(master) = created.launched.terminal.take() else { return Ok(()) };
    let sent = send_terminal(args, master.as_fd());
    if sent.is_err() {
        drop(created);
        let _ = delete::delete(table, request.id, true);
    }
    sent
}

/// Hands the master end of a terminal to whoever listens on `--console-socket`.
fn send_terminal(args: &Args, master: BorrowedFd<'_>) -> Result<(), CliError> {
    let Some(path) = args.value("console-socket") else {
        return Err(UsageError("process.terminal needs --console-socket".into()).into());
    };
    let socket = std::os::unix::net::UnixStream::connect(path).op("connect to", Path::new(path))?;
    fd::send_with(&socket, b"/dev/ptmx", &[master]).op("send the terminal to", Path::new(path))?;
    Ok(())
}

fn run_verb(table: &Table, args: &Args) -> Result<u8, CliError> {
    let request = request(args)?;
    let mut running = run::run(table, &request)?;
    if let Some(master) = running.terminal() {
        let sent = send_terminal(args, master.as_fd());
        if sent.is_err() {
            let _ = delete::delete(table, request.id, true);
            return sent.map(|()| 1);
        }
    }
    if args.flag("detach") {
        return Ok(0);
    }
    let code = running.wait()?;
    if !args.flag("keep") {
        running.delete(table, request.id)?;
    }
    Ok(code as u8)
}

fn exec_verb(table: &Table, args: &Args) -> Result<u8, CliError> {
    let record = table.read(args.id()?)?;
    match table.status(&record)? {
        Status::Created | Status::Running => {}
        Status::Paused if args.flag("ignore-paused") => {}
        status => return Err(StateError::Wrong { verb: "exec in", status }.into()),
    }
    let init = pidfd::open(record.pid).op("open process", record.pid.to_string())?;
    let cgroup = group(&record.cgroup)?;
    let document = match args.value("process") {
        Some(path) => Some(read_process(Path::new(path))?),
        None => None,
    };
    let request = ExecRequest {
        args: args.operands[1..].iter().map(|a| a.to_string_lossy().into_owned()).collect(),
        env: args.texts("env")?,
        cwd: args.value("cwd").map(Into::into),
        user: args.text("user")?.map(str::to_owned),
        tty: args.flag("tty"),
        document,
    };
    let foreground = Foreground::new()?;
    let launched = exec(&Exec {
        bundle: &record.bundle,
        init: record.pid,
        pidfd: init.as_fd(),
        cgroup: &cgroup,
        process: request,
        stdio: stdio(),
        sibling: false,
        preserve: preserve(args)?,
    })?;
    let told = match &launched.terminal {
        Some(master) => send_terminal(args, master.as_fd()),
        None => Ok(()),
    };
    let told = told.and_then(|()| match args.value("pid-file") {
        Some(path) => Ok(create::write_pid_file(Path::new(path), launched.pid)?),
        None => Ok(()),
    });
    if let Err(e) = told {
        let _ = pidfd::signal(&launched.pidfd, libc::SIGKILL);
        let _ = pidfd::wait(&launched.pidfd);
        return Err(e);
    }
    if args.flag("detach") {
        return Ok(0);
    }
    Ok(foreground.wait(&launched.pidfd)? as u8)
}

fn read_process(path: &Path) -> Result<crate::spec::Process, CliError> {
    let json = std::fs::read(path).op("read", path)?;
    Ok(crate::spec::parse_process(&json).map_err(|e| UsageError(format!("--process {}: {e}", path.display())))?)
}

fn kill_verb(table: &Table, args: &Args) -> Result<(), CliError> {
    let name = args.operands.get(1).map_or("SIGTERM".into(), |s| s.to_string_lossy());
    Ok(kill::kill(table, args.id()?, signal_number(&name)?, args.flag("all"))?)
}

/// A signal by number, by name with or without `SIG`, in either case.
fn signal_number(name: &str) -> Result<i32, UsageError> {
    let unknown = || UsageError(format!("unknown signal `{name}`"));
    if let Ok(number) = name.parse::<i32>() {
        return if (0..=64).contains(&number) { Ok(number) } else { Err(unknown()) };
    }
    let upper = name.to_ascii_uppercase();
    let short = upper.strip_prefix("SIG").unwrap_or(&upper);
    if let Some(offset) = short.strip_prefix("RTMIN").map(|o| if o.is_empty() { "0" } else { o }) {
        return offset.parse::<i32>().ok().map(|o| 34 + o).filter(|n| (34..=64).contains(n)).ok_or_else(unknown);
    }
    format!("SIG{short}").parse::<nix::sys::signal::Signal>().map(|s| s as i32).map_err(|_| unknown())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_has_a_number_and_names() {
        for name in ["15", "TERM", "SIGTERM", "sigterm"] {
            assert_eq!(signal_number(name), Ok(15));
        }
        assert_eq!(signal_number("RTMIN+3"), Ok(37));
        assert!(signal_number("NOPE").is_err());
        assert!(signal_number("65").is_err());
    }
}
