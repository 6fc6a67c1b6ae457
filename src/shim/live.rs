//! What a shim holds of one container: its init's descriptor, its gate, its output.
//!
//! ```text
//! prepare ──▶ [fifos, log, gate and report pipes] ──launched──▶ [pidfd] ──release──▶ gate byte written
//!                                                                  report at its end: the user's process runs
//!                                                                  pidfd readable: init has ended ──▶ close
//! ```
//! The FIFOs are opened read-write on both sides: the shim never sees an end of file while nobody has them open for
//! writing, and a container whose shim was killed waits in its write instead of dying of SIGPIPE before it is swept.

use super::clock::wall_ns;
use super::facts::{InitFact, write_init};
use super::log::{LogFile, Stream};
use crate::cgroup::Group;
use crate::errno::{OpContext, OpError};
use crate::id::ContainerName;
use crate::rundir::ContainerDirs;
use crate::sys::pidfd::{self, Ended};
use crate::task::plan::LogPlan;
use crate::task::view::{OomKill, OomScope};
use nix::fcntl::OFlag;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Bytes read at once while there is little to read. More is on the stack of a shim for ever.
const SMALL_READ: usize = 4 * 1024;

/// Bytes read at once when there is much: above malloc's threshold, so that the memory goes back to the kernel.
const LARGE_READ: usize = 160 * 1024;

/// One container.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) name: ContainerName,
    pub(super) logs: LogPlan,
    pub(super) pid: Option<u32>,
    pub(super) pidfd: Option<OwnedFd>,
    /// Write end of the pipe that init waits on.
    gate: Option<OwnedFd>,
    /// Read end of the pipe that init says on why it could not run the user's process.
    pub(super) report: Option<OwnedFd>,
    output: Option<Output>,
    /// Master of its terminal, where it has one: its output comes from there.
    terminal: Option<File>,
    /// The counters of the kernel when the container was let go.
    before: OomCounters,
}

#[derive(Debug)]
struct Output {
    fifos: [File; 2],
    log: LogFile,
}

/// Counters of the kernel that tell an end for want of memory, and whose limit it was.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct OomCounters {
    /// Processes of the container that were killed.
    pub(super) kills: u64,
    /// How often its own limit was hit.
    pub(super) own_hits: u64,
    /// How often its task's limit was hit.
    pub(super) task_hits: u64,
}

/// The worker's ends of a container's pipes.
#[derive(Debug)]
pub(super) struct FarEnds {
    pub(super) gate: OwnedFd,
    pub(super) report: OwnedFd,
}

impl Live {
    pub(super) fn new(name: ContainerName, logs: LogPlan) -> Self {
        Self {
            name,
            logs,
            pid: None,
            pidfd: None,
            gate: None,
            report: None,
            output: None,
            terminal: None,
            before: OomCounters::default(),
        }
    }

    /// Makes what a container needs before its worker starts.
    pub(super) fn prepare(&mut self, dirs: &ContainerDirs) -> Result<FarEnds, OpError> {
        fs::create_dir_all(dirs.state()).op("create", dirs.state())?;
        fs::create_dir_all(dirs.run()).op("create", dirs.run())?;
        if self.logs == LogPlan::File {
            let log = LogFile::open(&dirs.log()).op("open", dirs.log())?;
            self.output = Some(Output { fifos: [fifo(&dirs.stdout())?, fifo(&dirs.stderr())?], log });
        }
        let (far_gate, gate) = pipe()?;
        let (report, far_report) = poll_pipe()?;
        self.gate = Some(gate);
        self.report = Some(report);
        Ok(FarEnds { gate: far_gate, report: far_report })
    }

    /// A worker has made its init; `fds` are the pidfd and, where it has one, the terminal's master.
    pub(super) fn launched(&mut self, pid: u32, fds: Vec<OwnedFd>) {
        let mut fds = fds.into_iter();
        self.pid = Some(pid);
        self.pidfd = fds.next();
        self.terminal = fds.next().filter(|master| do_not_block(master).is_ok()).map(File::from);
    }

    /// Writes the fact of init, then lets it pass the gate.
    pub(super) fn release(&mut self, dirs: &ContainerDirs, before: OomCounters) -> Result<(), OpError> {
        let pid = self.pid.ok_or_else(|| OpError::new("release", self.name.as_str(), io::ErrorKind::NotFound))?;
        write_init(dirs, &InitFact::of(pid)?)?;
        self.before = before;
        let gate =
            self.gate.take().ok_or_else(|| OpError::new("release", self.name.as_str(), io::ErrorKind::NotFound))?;
        File::from(gate).write_all(&[0]).op("open the gate of", self.name.as_str())
    }

    /// Sends init a signal; that it has ended already is no error.
    pub(super) fn signal(&self, signal: i32) -> io::Result<()> {
        let Some(init) = &self.pidfd else { return Ok(()) };
        match pidfd::signal(init, signal) {
            Err(e) if e.raw_os_error() == Some(libc::ESRCH) => Ok(()),
            other => other,
        }
    }

    /// Kills every process of the container. Init ends at the gate when it is still there.
    pub(super) fn kill(&mut self, group: &Group) -> Result<(), OpError> {
        self.gate = None;
        // Init first and by its descriptor: with its pid namespace all that is in it goes.
        let init = self.signal(libc::SIGKILL).op("kill init of", self.name.as_str());
        init.and(group.kill())
    }

    /// Reaps init, when it has ended.
    pub(super) fn reap(&mut self) -> Option<Ended> {
        let ended = match pidfd::ended(self.pidfd.as_ref()?) {
            Ok(None) => return None,
            Ok(Some(ended)) => ended,
            // Not ours, or reaped: it is gone, and how it ended is not to be known.
            Err(_) => Ended::Signal(libc::SIGKILL),
        };
        self.pidfd = None;
        self.pid = None;
        Some(ended)
    }

    /// The descriptors that output comes from.
    pub(super) fn outputs(&self) -> impl Iterator<Item = (Stream, BorrowedFd<'_>)> {
        let fifos = self.output.iter().flat_map(|o| [(Stream::Stdout, &o.fifos[0]), (Stream::Stderr, &o.fifos[1])]);
        let terminal = self.terminal.iter().map(|master| (Stream::Stdout, master));
        fifos.chain(terminal).map(|(stream, file)| (stream, file.as_fd()))
    }

    /// Moves what the container has written to its log. What comes meanwhile waits for the next turn, so that a
    /// container that writes without end does not keep the shim from its work.
    pub(super) fn copy_output(&mut self, stream: Stream) {
        if let Some(output) = &mut self.output {
            copy(&output.fifos[stream as usize], stream, Some(&mut output.log));
        }
        if stream == Stream::Stdout
            && let Some(master) = &self.terminal
        {
            let hung_up = copy(master, stream, self.output.as_mut().map(|o| &mut o.log));
            if hung_up {
                // Nobody has the terminal open any more; poll would say so for ever.
                self.terminal = None;
            }
        }
    }

    /// After init has ended: takes what is left of the output, and lets go of everything.
    pub(super) fn close(&mut self, dirs: &ContainerDirs) {
        // Nobody writes any more, so what is in the pipes is all there will be, and fits one large read each.
        for stream in [Stream::Stdout, Stream::Stderr] {
            self.copy_output(stream);
        }
        if let Some(mut output) = self.output.take() {
            output.log.finish(wall_ns());
            for path in [dirs.stdout(), dirs.stderr()] {
                let _ = fs::remove_file(path);
            }
        }
        self.gate = None;
        self.report = None;
        self.terminal = None;
    }

    /// Which limit init was killed for, if it was. `code` is the exit code as shells tell it.
    ///
    /// 137 without a signal counts too: a shell that runs the user's program ends so when that was killed. A kill of a
    /// process that init survives is no end of the container's.
    pub(super) fn oom(&self, code: i32, after: OomCounters, limits: impl Fn(OomScope) -> u64) -> Option<OomKill> {
        if code != 128 + libc::SIGKILL || after.kills <= self.before.kills {
            return None;
        }
        let scope = if after.own_hits > self.before.own_hits {
            OomScope::Container
        } else if after.task_hits > self.before.task_hits {
            OomScope::Task
        } else {
            OomScope::Node
        };
        Some(OomKill { scope, limit_bytes: limits(scope) })
    }
}

impl OomCounters {
    /// Reads the counters; one that cannot be read counts as 0.
    pub(super) fn read(task: &Group, container: &Group) -> Self {
        Self {
            kills: container.oom_kills().unwrap_or(0),
            own_hits: container.limit_hits().unwrap_or(0),
            task_hits: task.limit_hits().unwrap_or(0),
        }
    }
}

/// A pipe whose read end does not block.
pub(super) fn poll_pipe() -> Result<(OwnedFd, OwnedFd), OpError> {
    let (reader, writer) = pipe()?;
    do_not_block(&reader)?;
    Ok((reader, writer))
}

fn do_not_block(fd: &OwnedFd) -> Result<(), OpError> {
    nix::fcntl::fcntl(fd, nix::fcntl::FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).op("set flags of", "a descriptor")?;
    Ok(())
}

fn pipe() -> Result<(OwnedFd, OwnedFd), OpError> {
    nix::unistd::pipe2(OFlag::O_CLOEXEC).op("make", "a pipe")
}

fn fifo(path: &Path) -> Result<File, OpError> {
    match nix::unistd::mkfifo(path, nix::sys::stat::Mode::from_bits_truncate(0o600)) {
        Ok(()) | Err(nix::Error::EEXIST) => {}
        Err(e) => return Err(e).op("make fifo", path),
    }
    OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK).open(path).op("open", path)
}

/// Moves what is there from `file` to `log`. True when the other side of a terminal is gone.
fn copy(file: &File, stream: Stream, mut log: Option<&mut LogFile>) -> bool {
    let mut small = [0; SMALL_READ];
    let (n, hung_up) = read_some(file, &mut small);
    if let Some(log) = &mut log {
        log.take(stream, &small[..n], wall_ns());
    }
    if n < small.len() {
        return hung_up;
    }
    let mut large = vec![0; LARGE_READ];
    let (n, hung_up) = read_some(file, &mut large);
    if let Some(log) = &mut log {
        log.take(stream, &large[..n], wall_ns());
    }
    hung_up
}

/// Reads until the buffer is full or nothing is left; says whether anything can ever come.
fn read_some(mut file: &File, buffer: &mut [u8]) -> (usize, bool) {
    let mut n = 0;
    while n < buffer.len() {
        match file.read(&mut buffer[n..]) {
            Ok(0) => return (n, true),
            Ok(more) => n += more,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return (n, e.kind() != io::ErrorKind::WouldBlock),
        }
    }
    (n, false)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn live() -> Live {
        Live::new(ContainerName::parse("web").unwrap(), LogPlan::File)
    }

    fn after(kills: u64, own_hits: u64, task_hits: u64) -> OomCounters {
        OomCounters { kills, own_hits, task_hits }
    }

    #[test]
    fn a_kill_is_for_want_of_memory_only_when_the_kernel_counted_one() {
        let limits = |scope| if scope == OomScope::Container { 64 } else { 128 };
        let oom = |code, after| live().oom(code, after, limits).map(|o| (o.scope, o.limit_bytes));
        assert_eq!(oom(137, after(0, 5, 5)), None);
        assert_eq!(oom(0, after(1, 1, 0)), None);
        assert_eq!(oom(137, after(1, 1, 0)), Some((OomScope::Container, 64)));
        assert_eq!(oom(137, after(1, 0, 2)), Some((OomScope::Task, 128)));
        assert_eq!(oom(137, after(1, 0, 0)), Some((OomScope::Node, 128)));
    }

    #[test]
    fn kills_from_before_the_start_are_not_counted() {
        let mut live = live();
        live.before = after(3, 3, 0);
        assert_eq!(live.oom(137, after(3, 3, 0), |_| 0), None);
        assert_eq!(live.oom(137, after(4, 3, 1), |_| 0).map(|o| o.scope), Some(OomScope::Task));
    }

    #[test]
    fn output_of_any_size_comes_to_the_log_before_the_container_is_closed() {
        let dir = tempfile::tempdir().unwrap();
        let dirs = crate::rundir::TaskDirs::new(dir.path().join("run"), dir.path().join("state"));
        let mut live = live();
        let dirs = dirs.container(&live.name);
        live.prepare(&dirs).unwrap();
        let mut writer = OpenOptions::new().read(true).write(true).open(dirs.stdout()).unwrap();
        let lines: String = (0..5000).map(|n| format!("line {n}\n")).collect();
        writer.write_all(lines.as_bytes()).unwrap();
        live.close(&dirs);
        let log = fs::read_to_string(dirs.log()).unwrap();
        assert_eq!(log.lines().count(), 5000);
        assert!(log.lines().last().unwrap().contains("line 4999\\n"));
        assert!(!dirs.stdout().exists());
    }
}
