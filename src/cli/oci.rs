//! The OCI verbs: from the command line to `container`, and from its errors to exit codes.

use super::args::{Args, Grammar, UsageError};
use super::log::Log;
use super::{console, events, exec, features, help, out, ps, show, update, verbs};
use crate::container::create::{Create, VerbError};
use crate::container::launch::LaunchError;
use crate::container::state::{StateError, Table};
use crate::container::{create, delete, kill, notify, run, start};
use crate::errno::{OpContext, OpError, chain, chain_lower};
use crate::sys::exe;
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Where containers are recorded unless `--root` says otherwise.
const DEFAULT_ROOT: &str = "/run/berth-runtime";

/// Why a command line failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum CliError {
    #[error(transparent)]
    Usage(#[from] UsageError),
    /// The verb does not take what is said.
    #[error(transparent)]
    CommandLine(UsageError),
    /// There is no such verb.
    #[error("no help topic for '{0}': it is no command of berth-runtime")]
    UnknownVerb(String),
    /// A verb of runc's that is left out.
    #[error("{0}: checkpoint and restore are not supported by berth-runtime")]
    LeftOut(String),
    /// The caller is not root.
    #[error("{0} needs root: berth-runtime makes containers for nobody else")]
    NotRoot(String),
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
    /// runc's: callers tell by them whether a process of `exec` ran at all.
    fn exit_code(&self, verb: &str) -> u8 {
        match self {
            Self::UnknownVerb(_) => 3,
            Self::CommandLine(_) => 1,
            _ if verb == "exec" => 255,
            _ => 1,
        }
    }
}

/// What the options before the verb say.
pub(super) struct Program {
    pub(super) table: Table,
    /// Where that is, if the caller has named a place.
    named: Option<PathBuf>,
    pub(super) log: Log,
    /// systemd makes the control groups of new containers.
    systemd: bool,
}

/// Carries out an OCI command line.
pub(super) fn main(args: Vec<OsString>) -> ExitCode {
    let mut log = Log::default();
    let (verb, result) = match verbs::GLOBAL.parse(args) {
        Ok(global) => {
            let verb = global.operands.first().map_or_else(String::new, |v| v.to_string_lossy().into_owned());
            let result = log.configure(&global).map_err(CliError::from).and_then(|()| {
                let root = global.value("root").map_or(Path::new(DEFAULT_ROOT), Path::new);
                // It is mounted from, by who has another working directory.
                let root = std::path::absolute(root).op("find the table of containers at", root)?;
                let named = global.value("root").map(|_| root.clone());
                let systemd = global.flag("systemd-cgroup");
                let program = Program { table: Table::new(root), named, log: log.clone(), systemd };
                let result = dispatch(&program, &global, &verb);
                program.table.take_warnings().iter().for_each(|warning| log.warn(warning));
                result
            });
            (verb, result)
        }
        Err(e) => (String::new(), Err(e.into())),
    };
    match result {
        Ok(code) => ExitCode::from(code),
        Err(e) => {
            log.error(&chain_lower(&e));
            ExitCode::from(e.exit_code(&verb))
        }
    }
}

fn dispatch(program: &Program, global: &Args, verb: &str) -> Result<u8, CliError> {
    if global.flag("version") {
        let (version, spec) = (env!("CARGO_PKG_VERSION"), crate::spec::OCI_VERSION);
        return show(&format!("berth-runtime version {version}\nspec: {spec}\n"));
    }
    if global.flag("help") || matches!(verb, "" | "help" | "h") {
        return help_verb(global.operands.get(1).filter(|_| !global.flag("help")));
    }
    let Some(grammar) = verbs::ALL.iter().find(|g| g.name == verb) else { return Err(no_verb(verb)) };
    let args = grammar.parse(global.operands.iter().skip(1).cloned()).map_err(CliError::CommandLine)?;
    if args.help {
        return show(&help::verb(grammar));
    }
    match global.text("rootless")? {
        None | Some("true" | "false" | "auto") => {}
        Some(other) => return Err(UsageError(format!("invalid rootless value `{other}`: true, false or auto")).into()),
    }
    if matches!(verb, "create" | "run" | "exec") {
        if !nix::unistd::geteuid().is_root() {
            return Err(CliError::NotRoot(verb.to_owned()));
        }
        let sockets = if verb == "exec" { 0 } else { listen_fds()? };
        let inherited = sockets + preserve(&args, 3 + sockets)?;
        exe::protect(c"berth-runtime", inherited).op("protect", "the runtime's own program")?;
    }
    program.log.debug(&format!("{verb} {}", args.operands.first().map_or("".into(), |o| o.to_string_lossy())));
    carry_out(program, grammar, &args)
}

fn carry_out(program: &Program, grammar: &Grammar, args: &Args) -> Result<u8, CliError> {
    let table = &program.table;
    let done = |()| 0;
    match grammar.name {
        "create" => create_verb(program, args).map(done),
        "run" => run_verb(program, args),
        "start" => Ok(start::start(table, args.id()?).map(done)?),
        "state" => show::state(table, args.id()?).map(done),
        "list" => check_named(program).and_then(|()| show::list(table, args)).map(done),
        "ps" => ps::ps(table, args).map(done),
        "exec" => exec::exec_verb(program, args),
        "kill" => kill_verb(table, args).map(done),
        "pause" => Ok(kill::pause(table, args.id()?).map(done)?),
        "resume" => Ok(kill::resume(table, args.id()?).map(done)?),
        "delete" => Ok(delete::delete(table, args.id()?, args.flag("force")).map(done)?),
        "update" => update::update(program, args).map(done),
        "events" => events::events(table, args).map(done),
        "spec" => show::spec(args).map(done),
        "features" => features::features().map(done),
        other => Err(CliError::UnknownVerb(other.to_owned())),
    }
}

fn show(text: &str) -> Result<u8, CliError> {
    out::print(text).map(|()| 0)
}

fn help_verb(topic: Option<&OsString>) -> Result<u8, CliError> {
    let Some(topic) = topic else { return show(&help::program()) };
    match verbs::ALL.iter().find(|g| topic == g.name) {
        Some(grammar) => show(&help::verb(grammar)),
        None => Err(no_verb(&topic.to_string_lossy())),
    }
}

fn no_verb(name: &str) -> CliError {
    match name {
        "checkpoint" | "restore" => CliError::LeftOut(name.to_owned()),
        _ => CliError::UnknownVerb(name.to_owned()),
    }
}

/// The standard streams of this process.
pub(super) fn stdio() -> [BorrowedFd<'static>; 3] {
    // Borrowed from statics: all three exist as long as the process does.
    static STDIN: std::sync::LazyLock<io::Stdin> = std::sync::LazyLock::new(io::stdin);
    static STDOUT: std::sync::LazyLock<io::Stdout> = std::sync::LazyLock::new(io::stdout);
    static STDERR: std::sync::LazyLock<io::Stderr> = std::sync::LazyLock::new(io::stderr);
    [STDIN.as_fd(), STDOUT.as_fd(), STDERR.as_fd()]
}

/// How many descriptors from `first` on `--preserve-fds` names.
pub(super) fn preserve(args: &Args, first: u32) -> Result<u32, CliError> {
    let Some(text) = args.text("preserve-fds")? else { return Ok(0) };
    let n: u32 = text.parse().map_err(|_| UsageError(format!("--preserve-fds: `{text}` is not a number")))?;
    are_open("--preserve-fds", first, n)?;
    Ok(n)
}

/// Each descriptor that is handed on must be open, or one of ours would be handed on in its place.
fn are_open(by: &str, first: u32, n: u32) -> Result<(), CliError> {
    let end = first.checked_add(n).filter(|end| i32::try_from(*end).is_ok());
    let end = end.ok_or_else(|| UsageError(format!("{by}: there are no {n} descriptors")))?;
    for fd in first..end {
        std::fs::symlink_metadata(format!("/proc/self/fd/{fd}")).op("find preserved descriptor", fd.to_string())?;
    }
    Ok(())
}

/// A table that is not there has no containers, unless it was asked for: it may be another one that was meant.
fn check_named(program: &Program) -> Result<(), CliError> {
    match &program.named {
        Some(root) => Ok(std::fs::metadata(root).map(drop).op("list", root)?),
        None => Ok(()),
    }
}

/// How many sockets the service manager handed to this process, by sd_listen_fds(3).
fn listen_fds() -> Result<u32, CliError> {
    let number = |name: &str| std::env::var(name).ok().and_then(|value| value.parse::<u32>().ok());
    let n = if number("LISTEN_PID") != Some(std::process::id()) { 0 } else { number("LISTEN_FDS").unwrap_or(0) };
    are_open("LISTEN_FDS", 3, n)?;
    Ok(n)
}

fn request<'a>(program: &Program, args: &'a Args, detach: bool) -> Result<Create<'a>, CliError> {
    let listen_fds = listen_fds()?;
    Ok(Create {
        id: args.id()?,
        bundle: Path::new(args.value("bundle").unwrap_or(".".as_ref())),
        pid_file: args.value("pid-file").map(Path::new),
        listen_fds,
        preserve: preserve(args, 3 + listen_fds)?,
        stdio: stdio(),
        no_pivot: args.flag("no-pivot"),
        new_keyring: !args.flag("no-new-keyring"),
        notify: notify::asked().is_some(),
        systemd: program.systemd,
        terminal: console::destination(args, detach)?,
    })
}

fn create_verb(program: &Program, args: &Args) -> Result<(), CliError> {
    let request = request(program, args, true)?;
    let mut created = create::create(&program.table, &request)?;
    created.launched.warnings.iter().for_each(|warning| program.log.warn(warning));
    program.log.debug(&format!("the init of `{}` is process {}", request.id, created.launched.pid));
    let handed = console::hand_over(args, &created.launched.pidfd, created.launched.terminal.take(), b"standard");
    if let Err(e) = handed {
        let _ = created.take_back(&program.table);
        return Err(e);
    }
    Ok(())
}

fn run_verb(program: &Program, args: &Args) -> Result<u8, CliError> {
    let detach = args.flag("detach");
    let request = request(program, args, detach)?;
    let mut running = run::run(&program.table, &request)?;
    running.warnings().iter().for_each(|warning| program.log.warn(warning));
    program.log.debug(&format!("the init of `{}` is process {}", request.id, running.pid()));
    let terminal = running.terminal();
    let told = console::hand_over(args, running.pidfd(), terminal, b"standard").and_then(|()| match detach {
        true => Ok(running.wait_ready()?),
        false => Ok(()),
    });
    if let Err(e) = told {
        let _ = running.take_back(&program.table);
        return Err(e);
    }
    if detach {
        return Ok(0);
    }
    let code = running.wait()?;
    if !args.flag("keep")
        && let Err(e) = running.delete(&program.table)
    {
        // The program's own code is what was asked for; what is left, `delete` takes away.
        program.table.warn(chain(&e));
    }
    Ok(code as u8)
}

fn kill_verb(table: &Table, args: &Args) -> Result<(), CliError> {
    let name = args.operands.get(1).map_or("SIGTERM".into(), |s| s.to_string_lossy());
    Ok(kill::kill(table, args.id()?, signal_number(&name)?, args.flag("all"))?)
}

/// A signal by number, by name with or without `SIG`, in either case.
fn signal_number(name: &str) -> Result<i32, UsageError> {
    let unknown = || UsageError(format!("unknown signal \"{name}\""));
    if let Ok(number) = name.parse::<i32>() {
        return if (0..=64).contains(&number) { Ok(number) } else { Err(unknown()) };
    }
    let upper = name.to_ascii_uppercase();
    let short = upper.strip_prefix("SIG").unwrap_or(&upper);
    if let Some(offset) = short.strip_prefix("RTMIN").map(|o| if o.is_empty() { "0" } else { o }) {
        return offset.parse::<i32>().ok().map(|o| 34 + o).filter(|n| (34..=64).contains(n)).ok_or_else(unknown);
    }
    if let Some(offset) = short.strip_prefix("RTMAX").map(|o| if o.is_empty() { "0" } else { o }) {
        return offset.parse::<i32>().ok().map(|o| 64 + o).filter(|n| (34..=64).contains(n)).ok_or_else(unknown);
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
        assert_eq!(signal_number("SIGRTMAX-1"), Ok(63));
        assert!(signal_number("NOPE").is_err());
        assert!(signal_number("65").is_err());
    }

    #[test]
    fn every_verb_of_the_table_is_carried_out() {
        let source = include_str!("oci.rs");
        for grammar in verbs::ALL {
            assert!(source.contains(&format!("\"{}\" =>", grammar.name)), "{}", grammar.name);
        }
    }
}
