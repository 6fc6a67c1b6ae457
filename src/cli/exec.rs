//! `exec`: from its options to one more process of a container.

use super::args::{Args, UsageError};
use super::console;
use super::oci::{CliError, Program, preserve, stdio};
use crate::container::console::{Console, TerminalTo, callers_size};
use crate::container::create;
use crate::container::exec::{Exec, ExecRequest, Subgroup, exec};
use crate::container::foreground::Foreground;
use crate::container::state::StateError;
use crate::container::status::Status;
use crate::errno::OpContext;
use crate::spec::{FurtherProcess, parse_process};
use crate::sys::pidfd;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

/// Runs a process in a container, and unless detached waits for its end.
pub(super) fn exec_verb(program: &Program, args: &Args) -> Result<u8, CliError> {
    let record = program.table.read(args.id()?)?;
    // Before the look at it: what is found alive afterwards with its start time is the one that the descriptor means.
    let init = pidfd::open(record.pid);
    match program.table.status(&record)? {
        Status::Created | Status::Running => {}
        Status::Paused if args.flag("ignore-paused") => {}
        status => return Err(StateError::Wrong { verb: "exec", status }.into()),
    }
    let init = init.op("open process", record.pid.to_string())?;
    let cgroup = record.group()?;
    let mut process = request(args)?;
    let detach = args.flag("detach");
    let terminal = process.tty || process.document.as_ref().is_some_and(FurtherProcess::terminal);
    let destination = console::destination(args, detach)?;
    destination.fits(terminal)?;
    if terminal && destination == TerminalTo::Caller {
        process.console_size = callers_size();
    }
    let documents = program.table.documents(&record.id)?;
    let mut foreground = Foreground::new()?;
    let mut launched = exec(&Exec {
        id: &record.id,
        bundle: &record.bundle,
        documents: &documents,
        init: record.pid,
        pidfd: init.as_fd(),
        cgroup: &cgroup,
        subgroups: &subgroups(args)?,
        process,
        stdio: stdio(),
        sibling: false,
        interrupt: foreground.interrupt(),
        new_keyring: !record.callers_keyring,
        preserve: preserve(args, 3)?,
    })?;
    program.log.debug(&format!("process {} runs in `{}`", launched.pid, record.id));
    launched.warnings.iter().for_each(|warning| program.log.warn(warning));
    let terminal = launched.terminal.take();
    let told = match detach {
        true => console::hand_over(args, &launched.pidfd, terminal, b"setns"),
        false => console::hand_over(args, &launched.pidfd, None, b"setns").and_then(|()| {
            if let Some(master) = terminal {
                foreground.show(Console::attach(master)?);
            }
            Ok(())
        }),
    };
    let told = told.and_then(|()| match args.value("pid-file") {
        Some(path) => Ok(create::write_pid_file(Path::new(path), launched.pid)?),
        None => Ok(()),
    });
    if let Err(e) = told {
        pidfd::end(&launched.pidfd);
        return Err(e);
    }
    if detach {
        return Ok(0);
    }
    Ok(foreground.wait(&launched.pidfd)? as u8)
}

fn request(args: &Args) -> Result<ExecRequest, CliError> {
    let document = match args.value("process") {
        Some(path) => Some(read_process(Path::new(path))?),
        None if args.operands.len() < 2 => {
            return Err(UsageError("exec: process args cannot be empty".into()).into());
        }
        None => None,
    };
    let gids = args.list("additional-gids")?;
    let gids = gids.iter().map(|gid| {
        gid.parse().map_err(|_| UsageError(format!("--additional-gids: `{gid}` is not the number of a group")))
    });
    let (env, cwd) = (args.texts("env")?, args.value("cwd").filter(|cwd| !cwd.is_empty()).map(PathBuf::from));
    check(&env, cwd.as_deref())?;
    Ok(ExecRequest {
        args: args.operands[1..].to_vec(),
        env,
        cwd,
        user: args.text("user")?.map(str::to_owned),
        keeps_home_and_groups: true,
        tty: args.flag("tty"),
        console_size: None,
        additional_gids: gids.collect::<Result<_, _>>()?,
        capabilities: args.list("cap")?,
        no_new_privileges: args.flag("no-new-privs"),
        apparmor_profile: args.text("apparmor")?.map(str::to_owned),
        selinux_label: args.text("process-label")?.map(str::to_owned),
        document,
    })
}

/// In runc's words.
fn check(env: &[String], cwd: Option<&Path>) -> Result<(), UsageError> {
    for entry in env {
        match entry.split_once('=') {
            None => return Err(UsageError(format!("exec: invalid environment variable: {entry:?}"))),
            Some(("", _)) => {
                return Err(UsageError(format!("exec: {entry:?}: environment variable name can't be empty")));
            }
            Some(_) => {}
        }
    }
    match cwd.filter(|cwd| !cwd.is_absolute()) {
        Some(cwd) => Err(UsageError(format!("exec: Cwd must be an absolute path: {cwd:?}"))),
        None => Ok(()),
    }
}

fn read_process(path: &Path) -> Result<FurtherProcess, CliError> {
    let json = std::fs::read(path).op("read", path)?;
    Ok(parse_process(&json).map_err(|e| UsageError(format!("--process {}: {e}", path.display())))?)
}

/// `[CONTROLLER[,CONTROLLER]:]PATH` of each `--cgroup`.
fn subgroups(args: &Args) -> Result<Vec<Subgroup>, CliError> {
    Ok(args.texts("cgroup")?.iter().map(|text| subgroup(text)).collect::<Result<_, _>>()?)
}

fn subgroup(text: &str) -> Result<Subgroup, UsageError> {
    let (controllers, path) = match text.split_once(':') {
        Some((controllers, path)) => (controllers.split(',').map(str::to_owned).collect(), path),
        None => (Vec::new(), text),
    };
    if path.is_empty() || path.split('/').any(|part| part == "..") {
        return Err(UsageError(format!("--cgroup: `{text}` does not name a group below the container's")));
    }
    Ok(Subgroup { controllers, path: path.trim_start_matches('/').into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_have_names_and_values_and_directories_begin_at_the_root() {
        let said = |env: &[&str], cwd: Option<&str>| {
            let env: Vec<String> = env.iter().map(ToString::to_string).collect();
            check(&env, cwd.map(Path::new)).map_err(|e| e.to_string())
        };
        assert_eq!(said(&["A=", "B=b=c"], Some("/bin")), Ok(()));
        assert_eq!(said(&["A=", "FOO"], None), Err("exec: invalid environment variable: \"FOO\"".into()));
        assert_eq!(said(&["=x"], None), Err("exec: \"=x\": environment variable name can't be empty".into()));
        assert_eq!(said(&[], Some("bin")), Err("exec: Cwd must be an absolute path: \"bin\"".into()));
    }

    #[test]
    fn a_subgroup_is_named_for_some_controllers_or_for_all() {
        let some = subgroup("cpu,memory:below/it").unwrap();
        assert_eq!((some.controllers, some.path), (vec!["cpu".into(), "memory".into()], "below/it".into()));
        let all = subgroup("/below").unwrap();
        assert_eq!((all.controllers, all.path), (Vec::<String>::new(), "below".into()));
        assert!(subgroup("cpu:").is_err());
        assert!(subgroup("../out").is_err());
    }
}
