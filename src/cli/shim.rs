//! Entry points `shim` and `sweep`: what the agent starts for a task.

use crate::errno::{OpContext, OpError, chain, tell};
use crate::rundir::TaskDirs;
use crate::shim::run::{Inherited, run};
use crate::shim::sweep::{SHIM_DIED, sweep};
use crate::sys::{fd, memory};
use nix::unistd::{dup2_stderr, dup2_stdin, dup2_stdout};
use std::ffi::{OsStr, OsString};
use std::fs::{File, OpenOptions};
use std::io;
use std::process::ExitCode;

/// Numbers of inherited descriptors.
const LOCK: i32 = 3;
const LISTENER: i32 = 4;
const FIRST_HELD: i32 = 5;

/// `berth-runtime shim --run DIR --state DIR`, with the task's lock, its listening socket and the sockets that hold its
/// ports as descriptors 3, 4 and 5 upwards.
pub fn shim(args: &[OsString]) -> ExitCode {
    memory::give_back_early();
    // Before anything else is opened.
    let (lock, listener) = (fd::inherited(LOCK), fd::inherited(LISTENER));
    let held_ports = (FIRST_HELD..).map_while(fd::inherited).collect();
    let dirs = match task_dirs(args) {
        Ok((dirs, _)) => dirs,
        Err(problem) => return usage(&problem),
    };
    let (Some(lock), Some(listener)) = (lock, listener) else {
        return usage("descriptors 3 (lock) and 4 (listening socket) must be open");
    };
    // What a terminal sends to all who share a session with the agent (Ctrl-C, a hang-up) is not for tasks. Refused to
    // the leader of a process group, which is out of reach already.
    let _ = nix::unistd::setsid();
    let ran = own_streams(&dirs).and_then(|()| run(dirs, Inherited { lock, listener, held_ports }));
    match ran {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => fail(&e),
    }
}

/// `berth-runtime sweep --run DIR --state DIR [--reason TEXT]`: ends the task of a shim that is dead.
pub fn sweep_task(args: &[OsString]) -> ExitCode {
    let (dirs, reason) = match task_dirs(args) {
        Ok(found) => found,
        Err(problem) => return usage(&problem),
    };
    match sweep(&dirs, reason.as_deref().unwrap_or(SHIM_DIED)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problems) => {
            problems.iter().for_each(|e| {
                fail(e);
            });
            ExitCode::FAILURE
        }
    }
}

/// Lets go of the agent's standard streams: whoever waits for their end must not wait for the task's.
fn own_streams(dirs: &TaskDirs) -> Result<(), OpError> {
    std::fs::create_dir_all(dirs.state()).op("create", dirs.state())?;
    let null = File::open("/dev/null").op("open", "/dev/null")?;
    let path = dirs.shim_log();
    let log = OpenOptions::new().create(true).append(true).open(&path).op("open", &path)?;
    dup2_stdin(&null).op("replace", "standard input")?;
    dup2_stdout(&log).op("replace", "standard output")?;
    dup2_stderr(&log).op("replace", "standard error")
}

fn task_dirs(args: &[OsString]) -> Result<(TaskDirs, Option<String>), String> {
    let (mut run, mut state, mut reason) = (None, None, None);
    let mut args = args.iter();
    while let Some(name) = args.next() {
        let value = args.next().ok_or_else(|| format!("{}: a value is missing", name.display()))?;
        match name.to_str() {
            Some("--run") => run = Some(value),
            Some("--state") => state = Some(value),
            Some("--reason") => reason = Some(value.to_string_lossy().into_owned()),
            _ => return Err(format!("{}: no such option", name.display())),
        }
    }
    let missing = |what: &str| format!("{what} DIR is missing");
    let run: &OsStr = run.ok_or_else(|| missing("--run"))?;
    let state: &OsStr = state.ok_or_else(|| missing("--state"))?;
    Ok((TaskDirs::new(run, state), reason))
}

fn usage(problem: &str) -> ExitCode {
    tell(&format!("berth-runtime: {problem}"));
    ExitCode::from(2)
}

fn fail(e: &dyn std::error::Error) -> ExitCode {
    // Nobody may be there to read it.
    let _ = io::Write::write_all(&mut io::stderr(), format!("berth-runtime: {}\n", chain(e)).as_bytes());
    ExitCode::FAILURE
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Result<(TaskDirs, Option<String>), String> {
        task_dirs(&args.iter().map(OsString::from).collect::<Vec<_>>())
    }

    #[test]
    fn both_directories_are_needed_and_nothing_unknown_is_taken() {
        let (dirs, reason) = parse(&["--run", "/r", "--state", "/s"]).unwrap();
        assert_eq!((dirs, reason), (TaskDirs::new("/r", "/s"), None));
        assert_eq!(parse(&["--run", "/r"]).unwrap_err(), "--state DIR is missing");
        assert_eq!(parse(&["--run"]).unwrap_err(), "--run: a value is missing");
        assert_eq!(parse(&["--x", "y"]).unwrap_err(), "--x: no such option");
    }
}
