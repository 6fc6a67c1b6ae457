//! Runs the hooks of a container: programs of whoever configured it, at points of its life.
//!
//! ```text
//! create   worker: prestart, createRuntime     init: createContainer  (before pivot_root)
//! start    init: startContainer                verb: poststart        (the program runs)
//! delete   verb: poststop                      (nothing is left of the container)
//! ```
//! A hook gets the container's state on its standard input, exactly its arguments and environment, and a process group
//! of its own. On the host it works in the bundle, where that is still there. What it writes is kept for the error that it
//! may become. Hooks of a point run one after the other, and the first that fails is the last; only those of poststop all
//! run.
//!
//! A hook that a create waits for is ended when the container's init ends: nothing can come of the create any more. So
//! whoever kills the container does not wait for its hooks, however long they take.

use super::state::Record;
use super::status::Status;
use crate::interrupt::{self, Interrupt, interrupted};
use crate::spec::{Hook, HookKind, OCI_VERSION, Plan};
use crate::sys::pidfd::{self, Ended};
use crate::sys::spawn;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, poll};
use serde::Serialize;
use std::collections::BTreeMap;
use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

/// How much of what a hook writes is told: its end. A whole error must fit into a pipe at once.
const TOLD_BYTES: usize = 2048;

/// A hook that failed.
#[derive(Debug, thiserror::Error)]
#[error("error running {} hook #{index}", kind.name())]
pub struct HookError {
    /// At which point.
    pub kind: HookKind,
    /// Which one, from 0.
    pub index: usize,
    /// What came of it.
    pub source: io::Error,
}

/// The container whose hooks run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Subject<'a> {
    id: &'a str,
    bundle: &'a Path,
    annotations: &'a BTreeMap<String, String>,
    until: Until<'a>,
}

/// What ends a hook that has not ended by itself.
#[derive(Debug, Clone, Copy, Default)]
struct Until<'a> {
    interrupt: Interrupt<'a>,
    /// The end of this process.
    init: Option<BorrowedFd<'a>>,
}

/// What a hook reads: the state as the runtime specification has it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct State<'a> {
    oci_version: &'a str,
    id: &'a str,
    status: Status,
    #[serde(skip_serializing_if = "Option::is_none")]
    pid: Option<u32>,
    bundle: &'a Path,
    annotations: &'a BTreeMap<String, String>,
}

impl<'a> Subject<'a> {
    /// A container in the making.
    pub(super) fn new(id: &'a str, bundle: &'a Path, plan: &'a Plan) -> Self {
        Self { id, bundle, annotations: &plan.annotations, until: Until::default() }
    }

    /// A container that was recorded.
    pub(super) fn of(record: &'a Record) -> Self {
        let Record { id, bundle, annotations, .. } = record;
        Self { id, bundle, annotations, until: Until::default() }
    }

    /// An interrupt ends the hook that runs, which has failed then.
    pub(super) fn until(mut self, interrupt: Interrupt<'a>) -> Self {
        self.until.interrupt = interrupt;
        self
    }

    /// So does the end of the init of this descriptor.
    pub(super) fn with_init(mut self, init: BorrowedFd<'a>) -> Self {
        self.until.init = Some(init);
        self
    }

    /// Runs hooks one after the other up to the first that fails. `pid` is the init's, as the hooks see it.
    pub(super) fn run(&self, kind: HookKind, hooks: &[Hook], pid: Option<u32>) -> Result<(), HookError> {
        match self.failures(kind, hooks, pid).next() {
            Some(e) => Err(e),
            None => Ok(()),
        }
    }

    /// Runs hooks as it is iterated over, and gives those that fail.
    pub(super) fn failures(&self, kind: HookKind, hooks: &[Hook], pid: Option<u32>) -> impl Iterator<Item = HookError> {
        let state = if hooks.is_empty() { Vec::new() } else { self.state(status_at(kind), pid) };
        let until = self.until;
        let dir = is_on_host(kind).then_some(self.bundle);
        hooks.iter().enumerate().filter_map(move |(index, hook)| {
            run(hook, dir, &state, until).err().map(|source| HookError { kind, index, source })
        })
    }

    fn state(&self, status: Status, pid: Option<u32>) -> Vec<u8> {
        let Self { id, bundle, annotations, .. } = *self;
        let state = State { oci_version: OCI_VERSION, id, status, pid, bundle, annotations };
        // Only a path that is not UTF-8 cannot be written; the verbs that print it could not either.
        serde_json::to_vec(&state).unwrap_or_default()
    }
}

/// What the container is doing while hooks of that point run.
fn status_at(kind: HookKind) -> Status {
    match kind {
        HookKind::Prestart | HookKind::CreateRuntime | HookKind::CreateContainer => Status::Creating,
        HookKind::StartContainer => Status::Created,
        HookKind::Poststart => Status::Running,
        HookKind::Poststop => Status::Stopped,
    }
}

/// Whether hooks of that point run where the bundle can be seen by its name.
fn is_on_host(kind: HookKind) -> bool {
    !matches!(kind, HookKind::CreateContainer | HookKind::StartContainer)
}

fn run(hook: &Hook, dir: Option<&Path>, state: &[u8], until: Until<'_>) -> io::Result<()> {
    let c_strings = |texts: &[String]| {
        texts.iter().map(|t| CString::new(t.as_str()).map_err(io::Error::other)).collect::<io::Result<Vec<_>>>()
    };
    let mut argv = c_strings(&hook.args)?;
    if argv.is_empty() {
        argv.push(crate::sys::path::c_path(&hook.path)?);
    }
    let env = c_strings(&hook.env)?;
    let (input, theirs_in) = pipe(true)?;
    let (output, theirs_out) = pipe(false)?;
    let fds = [(theirs_in.as_fd(), 0), (theirs_out.as_fd(), 1), (theirs_out.as_fd(), 2)];
    let named = |e: io::Error| io::Error::new(e.kind(), format!("`{}`: {e}", hook.path.display()));
    let (pid, pidfd) = spawn::spawn_group(&hook.path, &argv, &env, dir, &fds).map_err(named)?;
    drop((theirs_in, theirs_out));
    let seconds = hook.timeout.and_then(|s| u64::try_from(s).ok());
    let deadline = seconds.and_then(|s| Instant::now().checked_add(Duration::from_secs(s)));
    let mut talk = Talk { input: Some(input), output: Some(output), state, said: Vec::new() };
    let stop = talk.until_end(&pidfd, deadline, until)?;
    if stop != Stop::Ended {
        spawn::kill_group(pid)?;
        // It may have left its group.
        match pidfd::signal(&pidfd, libc::SIGKILL) {
            Err(e) if e.raw_os_error() != Some(libc::ESRCH) => return Err(e),
            _ => {}
        }
        pidfd::wait(&pidfd)?;
        talk.hear()?;
        return Err(match stop {
            Stop::Interrupted => interrupted(),
            Stop::Died => failure("the container's process has ended", &talk.said),
            _ => failure(&format!("took longer than its timeout of {} s", seconds.unwrap_or(0)), &talk.said),
        });
    }
    talk.hear()?;
    match pidfd::wait(&pidfd)? {
        Ended::Code(0) => Ok(()),
        Ended::Code(code) => Err(failure(&format!("exit status {code}"), &talk.said)),
        Ended::Signal(signal) => Err(failure(&format!("ended by signal {signal}"), &talk.said)),
    }
}

/// A pipe whose end for us, the one to write into with `write`, does not block.
fn pipe(write: bool) -> io::Result<(OwnedFd, OwnedFd)> {
    let (reader, writer) = nix::unistd::pipe2(OFlag::O_CLOEXEC)?;
    let (ours, theirs) = if write { (writer, reader) } else { (reader, writer) };
    nix::fcntl::fcntl(&ours, nix::fcntl::FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    Ok((ours, theirs))
}

fn failure(what: &str, said: &[u8]) -> io::Error {
    let said = String::from_utf8_lossy(said);
    io::Error::other(format!("{what}, stderr: {}", said.trim_end()))
}

/// Why there is no more to talk about.
#[derive(Debug, PartialEq, Eq)]
enum Stop {
    Ended,
    Late,
    Interrupted,
    /// The container's init has ended.
    Died,
}

/// Both directions of the conversation with a hook.
struct Talk<'a> {
    /// Where the rest of the state goes; `None` when all of it has gone, or nobody wants it.
    input: Option<OwnedFd>,
    /// `None` when nobody can write any more.
    output: Option<OwnedFd>,
    /// What is still to be written.
    state: &'a [u8],
    /// The last [`TOLD_BYTES`] that were heard.
    said: Vec<u8>,
}

impl Talk<'_> {
    /// Talks until the hook has ended, or until the deadline or what else ends it. What it has started may live on, its
    /// output included: that is not waited for.
    fn until_end(&mut self, pidfd: &OwnedFd, deadline: Option<Instant>, until: Until<'_>) -> io::Result<Stop> {
        loop {
            if deadline.is_some_and(|at| Instant::now() >= at) {
                return Ok(Stop::Late);
            }
            let mut fds = vec![PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
            fds.extend(until.interrupt.poll_fd());
            fds.extend(until.init.map(|init| PollFd::new(init, PollFlags::POLLIN)));
            fds.extend(self.output.iter().map(|fd| PollFd::new(fd.as_fd(), PollFlags::POLLIN)));
            fds.extend(self.input.iter().map(|fd| PollFd::new(fd.as_fd(), PollFlags::POLLOUT)));
            match poll(&mut fds, interrupt::until(deadline)) {
                Ok(_) | Err(nix::Error::EINTR) => {}
                Err(e) => return Err(e.into()),
            }
            let ended = fds[0].any() == Some(true);
            let mut others = fds[1..].iter().map(|fd| fd.any() == Some(true));
            let interrupted = until.interrupt.poll_fd().is_some() && others.next() == Some(true);
            let died = until.init.is_some() && others.next() == Some(true);
            self.tell()?;
            self.hear()?;
            if ended {
                return Ok(Stop::Ended);
            }
            if interrupted {
                return Ok(Stop::Interrupted);
            }
            if died {
                return Ok(Stop::Died);
            }
        }
    }

    /// Writes as much of the state as can be written now.
    fn tell(&mut self) -> io::Result<()> {
        while let Some(input) = &self.input {
            let wrote = if self.state.is_empty() { Ok(0) } else { nix::unistd::write(input, self.state) };
            match wrote {
                // All of it has gone, or nobody reads it: both are the hook's affair.
                Ok(0) | Err(nix::Error::EPIPE) => self.input = None,
                Ok(n) => self.state = &self.state[n..],
                Err(nix::Error::EINTR) => {}
                Err(nix::Error::EAGAIN) => break,
                Err(e) => return Err(e.into()),
            }
        }
        Ok(())
    }

    /// Reads what there is now, of one that never stops writing not all.
    fn hear(&mut self) -> io::Result<()> {
        let mut buffer = [0; 4096];
        for _ in 0..64 {
            let Some(output) = &self.output else { break };
            match nix::unistd::read(output, &mut buffer) {
                Ok(0) => self.output = None,
                Ok(n) => {
                    self.said.extend_from_slice(&buffer[..n]);
                    self.said.drain(..self.said.len().saturating_sub(TOLD_BYTES));
                }
                Err(nix::Error::EINTR) => {}
                Err(nix::Error::EAGAIN) => break,
                Err(e) => return Err(e.into()),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    fn shell(script: &str) -> Hook {
        let args = ["sh", "-c", script].map(str::to_owned).to_vec();
        Hook { path: "/bin/sh".into(), args, env: vec!["PATH=/usr/bin:/bin".into()], timeout: None }
    }

    fn said(script: &str) -> String {
        run(&shell(script), None, b"{}", Until::default()).unwrap_err().to_string()
    }

    #[test]
    fn a_failure_says_how_it_ended_and_what_it_wrote_last() {
        assert!(run(&shell("true"), None, b"{}", Until::default()).is_ok());
        assert_eq!(said("echo a; echo b >&2; exit 3"), "exit status 3, stderr: a\nb");
        assert_eq!(said("kill -9 $$"), "ended by signal 9, stderr: ");
        let long = said("i=0; while [ $i -lt 999 ]; do echo line $i; i=$((i+1)); done; exit 1");
        assert!(long.len() < TOLD_BYTES + 100 && long.ends_with("line 998"), "{long}");
    }

    #[test]
    fn a_program_that_cannot_be_run_is_named() {
        let hook = Hook { path: "/no/such/hook".into(), ..shell("") };
        let e = run(&hook, None, b"{}", Until::default()).unwrap_err();
        assert!(e.to_string().starts_with("`/no/such/hook`: No such file"), "{e}");
    }

    #[test]
    fn a_long_state_is_read_whole_and_one_that_nobody_reads_holds_nothing_up() {
        let state = vec![b'x'; 1 << 20];
        assert!(run(&shell("test $(wc -c) = 1048576"), None, &state, Until::default()).is_ok());
        assert!(run(&shell("exit 0"), None, &state, Until::default()).is_ok());
        assert!(run(&shell("exec <&-; sleep 0; exit 0"), None, &state, Until::default()).is_ok());
    }

    #[test]
    fn what_a_hook_leaves_running_is_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let pid = dir.path().join("pid");
        let hook = shell(&format!("sleep 1000 & echo $! > {}", pid.display()));
        run(&hook, None, b"{}", Until::default()).unwrap();
        let pid: i32 = std::fs::read_to_string(pid).unwrap().trim().parse().unwrap();
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL).unwrap();
    }

    #[test]
    fn one_that_takes_too_long_is_killed_with_what_it_started() {
        let (mut reader, writer) = io::pipe().unwrap();
        // Both processes have the pipe: its end is the end of both.
        let fd = std::os::fd::AsRawFd::as_raw_fd(&writer);
        let path = format!("/proc/{}/fd/{fd}", std::process::id());
        let hook = Hook { timeout: Some(1), ..shell(&format!("echo slow; exec 9>{path}; sleep 1000 & wait")) };
        let e = run(&hook, None, b"{}", Until::default()).unwrap_err();
        assert_eq!(e.to_string(), "took longer than its timeout of 1 s, stderr: slow");
        drop(writer);
        assert_eq!(reader.read(&mut [0]).unwrap(), 0);
    }

    #[test]
    fn one_whose_container_has_ended_is_killed() {
        let (program, argv) = (Path::new("/bin/sh"), [c"sh", c"-c", c"sleep 0.2"].map(CString::from));
        let (_, init) = spawn::spawn_group(program, &argv, &[], None, &[]).unwrap();
        let until = Until { init: Some(init.as_fd()), ..Until::default() };
        let e = run(&shell("echo waits; exec sleep 1000"), None, b"{}", until).unwrap_err();
        assert_eq!(e.to_string(), "the container's process has ended, stderr: waits");
        pidfd::wait(&init).unwrap();
    }

    #[test]
    fn one_that_never_stops_writing_is_stopped() {
        let hook = Hook { timeout: Some(1), ..shell("yes") };
        let e = run(&hook, None, b"{}", Until::default()).unwrap_err();
        assert!(e.to_string().starts_with("took longer than its timeout of 1 s, stderr: y\ny\n"), "{e}");
    }

    fn subject(annotations: &BTreeMap<String, String>) -> Subject<'_> {
        Subject { id: "c", bundle: Path::new("/b"), annotations, until: Until::default() }
    }

    #[test]
    fn all_of_them_run_where_failures_are_collected_and_none_after_the_first_elsewhere() {
        let dir = tempfile::tempdir().unwrap();
        let touch = |name: &str| shell(&format!("touch {}; exit 1", dir.path().join(name).display()));
        let annotations = BTreeMap::new();
        let subject = subject(&annotations);
        let hooks = [touch("a"), touch("b")];
        let e = subject.run(HookKind::CreateRuntime, &hooks, Some(7)).unwrap_err();
        assert_eq!(crate::errno::chain(&e), "error running createRuntime hook #0: exit status 1, stderr: ");
        assert!(!dir.path().join("b").exists());
        assert_eq!(subject.failures(HookKind::Poststop, &hooks, None).count(), 2);
        assert!(dir.path().join("b").exists());
    }

    #[test]
    fn the_state_is_that_of_the_specification() {
        let annotations = BTreeMap::from([("k".to_owned(), "v".to_owned())]);
        let subject = subject(&annotations);
        let state = |kind, pid| String::from_utf8(subject.state(status_at(kind), pid)).unwrap();
        assert_eq!(
            state(HookKind::CreateRuntime, Some(7)),
            r#"{"ociVersion":"1.3.0","id":"c","status":"creating","pid":7,"bundle":"/b","annotations":{"k":"v"}}"#
        );
        assert!(!state(HookKind::Poststop, None).contains("pid"));
    }
}
