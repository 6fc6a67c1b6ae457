//! Starts a program, of ours or a hook, with exactly the descriptors it is given, and waits for children by descriptor.
//!
//! `fork` copies the page tables of its caller, which the agent, with its many threads and mapped store, would pay for
//! every shim. Here the child borrows the caller's memory (`CLONE_VM`) on a stack of its own while the calling thread
//! sleeps (`CLONE_VFORK`), and does nothing between `clone` and `execve` but system calls on values that were prepared
//! before. Kernel 5.11 or newer (`CLOSE_RANGE_CLOEXEC`).

use super::fd::gaps;
use super::pidfd::{self, wait_id};
use std::ffi::{CString, OsStr, c_char, c_int, c_void};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Room for the child between `clone` and `execve`. Large enough to be mapped by itself and given back when dropped.
const STACK_BYTES: usize = 256 * 1024;

/// Runs `program` with `args` after its name, an empty environment, every signal at its default and none blocked.
///
/// Each `(descriptor, number)` of `fds` is the child's descriptor `number`; numbers 0 to 2 that are not named are
/// inherited, all others of the caller's are closed. Returns the child's process id and a pidfd, close-on-exec. Fails
/// with the error of `clone` or, when the program cannot be run, of `execve`; no child is left then.
pub fn spawn<S: AsRef<OsStr>>(program: &Path, args: &[S], fds: &[(BorrowedFd<'_>, i32)]) -> io::Result<(u32, OwnedFd)> {
    let name = program.file_name().unwrap_or(program.as_os_str());
    spawn_as(Program::Path(c_string(program.as_os_str())?), &arguments(name, args)?, &[], &Place::default(), fds)
}

/// As [`spawn`], with all of its arguments (its name the first of them), an environment, and a process group of its
/// own, whose number is the child's process id. It works in `dir`, if that is there.
pub fn spawn_group(
    program: &Path,
    argv: &[CString],
    env: &[CString],
    dir: Option<&Path>,
    fds: &[(BorrowedFd<'_>, i32)],
) -> io::Result<(u32, OwnedFd)> {
    let dir = dir.map(|dir| c_string(dir.as_os_str())).transpose()?;
    spawn_as(Program::Path(c_string(program.as_os_str())?), argv, env, &Place { group: true, dir }, fds)
}

/// Kills every process of a group that [`spawn_group`] made. One that has none left is no error.
pub fn kill_group(group: u32) -> io::Result<()> {
    // 0 and 1 would be our own group and all processes.
    let group = i32::try_from(group).ok().filter(|group| *group > 1).ok_or(io::ErrorKind::InvalidInput)?;
    match nix::sys::signal::killpg(nix::unistd::Pid::from_raw(group), nix::sys::signal::Signal::SIGKILL) {
        Err(nix::Error::ESRCH) | Ok(()) => Ok(()),
        Err(e) => Err(e.into()),
    }
}

/// As [`spawn`], of the executable that `program` is open on, which `name` only calls.
pub fn respawn<S: AsRef<OsStr>>(
    program: BorrowedFd<'_>,
    name: &str,
    args: &[S],
    fds: &[(BorrowedFd<'_>, i32)],
) -> io::Result<(u32, OwnedFd)> {
    spawn_as(Program::Open(program.as_raw_fd()), &arguments(OsStr::new(name), args)?, &[], &Place::default(), fds)
}

fn arguments<S: AsRef<OsStr>>(name: &OsStr, args: &[S]) -> io::Result<Vec<CString>> {
    std::iter::once(name).chain(args.iter().map(AsRef::as_ref)).map(c_string).collect()
}

fn c_string(text: &OsStr) -> io::Result<CString> {
    CString::new(text.as_bytes()).map_err(io::Error::other)
}

/// What to run.
enum Program {
    Path(CString),
    /// A descriptor; the child moves it out of the way of the numbers.
    Open(c_int),
}

/// Where a child is, other than where its parent is.
#[derive(Default)]
struct Place {
    /// It leads a process group of its own.
    group: bool,
    /// Its working directory, if that is there.
    dir: Option<CString>,
}

/// What the child reads, all prepared by the parent: it may not allocate.
struct Prepared {
    program: Program,
    argv: Vec<*const c_char>,
    envp: Vec<*const c_char>,
    /// Whether the child leads a process group of its own.
    group: bool,
    /// See [`Place::dir`]; null for none.
    dir: *const c_char,
    /// Descriptor, number in the child, and (written by the child) a copy above all numbers.
    fds: Vec<(c_int, c_int, c_int)>,
    /// One above the highest number in the child.
    above: c_int,
    /// Ranges of descriptors to close at `execve`.
    gaps: Vec<(u32, u32)>,
    /// Written by the child: why it could not become the program.
    errno: c_int,
}

fn spawn_as(
    program: Program,
    argv: &[CString],
    env: &[CString],
    place: &Place,
    fds: &[(BorrowedFd<'_>, i32)],
) -> io::Result<(u32, OwnedFd)> {
    let pointers = |texts: &[CString]| texts.iter().map(|t| t.as_ptr()).chain([std::ptr::null()]).collect();
    let mut prepared = Prepared {
        program,
        argv: pointers(argv),
        envp: pointers(env),
        group: place.group,
        dir: place.dir.as_ref().map_or(std::ptr::null(), |dir| dir.as_ptr()),
        fds: fds.iter().map(|(fd, number)| (fd.as_raw_fd(), *number, -1)).collect(),
        above: fds.iter().map(|(_, number)| number + 1).max().unwrap_or(3).max(3),
        gaps: gaps(3, fds.iter().map(|(_, number)| *number)),
        errno: 0,
    };
    let (pid, pidfd) = with_signals_blocked(|| clone_and_exec(&mut prepared))?;
    if prepared.errno != 0 {
        pidfd::wait(&pidfd)?;
        return Err(io::Error::from_raw_os_error(prepared.errno));
    }
    Ok((pid, pidfd))
}

/// Runs `f` while no signal handler can run on this thread: one that ran in the child would do so in our memory.
fn with_signals_blocked<T>(f: impl FnOnce() -> T) -> T {
    let all = nix::sys::signal::SigSet::all();
    let old = all.thread_swap_mask(nix::sys::signal::SigmaskHow::SIG_SETMASK);
    let result = f();
    if let Ok(old) = old {
        // Cannot fail: the mask came from the kernel a moment ago.
        let _ = old.thread_set_mask();
    }
    result
}

fn clone_and_exec(prepared: &mut Prepared) -> io::Result<(u32, OwnedFd)> {
    let mut stack = vec![0u8; STACK_BYTES];
    let mut pidfd: c_int = -1;
    let top = stack.as_mut_ptr_range().end as usize & !15;
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_PIDFD | libc::SIGCHLD;
    let arg: *mut Prepared = prepared;
    // SAFETY: the child runs `become_program` on `stack`, whose top is 16-byte aligned as the ABI wants and which grows
    // down into `STACK_BYTES` of memory that outlives the call: CLONE_VFORK keeps this thread in the kernel until the
    // child has called execve or _exit. `arg` is borrowed mutably by this frame alone for the same time. With
    // CLONE_PIDFD the kernel writes one int through the parent_tid argument, which is `pidfd`.
    let pid = unsafe { libc::clone(become_program, top as *mut c_void, flags, arg.cast::<c_void>(), &raw mut pidfd) };
    if pid < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: clone succeeded, so the kernel has put a new descriptor into `pidfd` that nobody else knows of.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    Ok((pid.unsigned_abs(), pidfd))
}

/// The child between `clone` and `execve`. Shares memory with a parent that sleeps: no allocation, no lock, no panic.
extern "C" fn become_program(arg: *mut c_void) -> c_int {
    // SAFETY: `clone_and_exec` passes its `&mut Prepared`, and does not run while this function does (CLONE_VFORK).
    let prepared = unsafe { &mut *arg.cast::<Prepared>() };
    if place_descriptors(prepared) && lead_group(prepared.group) {
        enter(prepared.dir);
        reset_signals();
        let (fd, path, flags) = match &prepared.program {
            Program::Path(path) => (libc::AT_FDCWD, path.as_c_str(), 0),
            Program::Open(fd) => (*fd, c"", libc::AT_EMPTY_PATH),
        };
        // SAFETY: `path` is a C string, `argv` and `envp` are arrays of C strings that end with a null; all were made by
        // the parent, whose memory this is, and stay until execveat has replaced this process's memory.
        unsafe {
            libc::syscall(libc::SYS_execveat, fd, path.as_ptr(), prepared.argv.as_ptr(), prepared.envp.as_ptr(), flags)
        };
    }
    // errno: the child has the sleeping parent thread's. Taking it allocates nothing.
    prepared.errno = io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO);
    // SAFETY: `_exit` runs no exit handlers, which belong to the parent.
    unsafe { libc::_exit(127) }
}

/// Makes the child the first of a process group, before anybody else can run: its parent sleeps.
fn lead_group(wanted: bool) -> bool {
    // SAFETY: setpgid takes two integers; 0 and 0 are the caller and its own number.
    !wanted || unsafe { libc::setpgid(0, 0) } == 0
}

/// Changes the child's working directory, which is its own (no CLONE_FS). One that cannot be entered, as it may be gone
/// or on a storage that does not answer, is no reason not to run.
fn enter(dir: *const c_char) {
    if !dir.is_null() {
        // SAFETY: `dir` is a C string of the parent's, which sleeps meanwhile; it was checked not to be null.
        unsafe { libc::chdir(dir) };
    }
}

/// Puts every descriptor at its number. In two rounds, since a number may be the place of another that is yet to move.
fn place_descriptors(prepared: &mut Prepared) -> bool {
    if let Program::Open(fd) = &mut prepared.program {
        // SAFETY: takes three integers; the caller of `respawn` has the descriptor open.
        *fd = unsafe { libc::fcntl(*fd, libc::F_DUPFD_CLOEXEC, prepared.above) };
        if *fd < 0 {
            return false;
        }
    }
    for (source, _, copy) in &mut prepared.fds {
        // SAFETY: takes three integers; `source` was borrowed by the caller of `spawn` and is open in our copy of the
        // descriptor table.
        *copy = unsafe { libc::fcntl(*source, libc::F_DUPFD_CLOEXEC, prepared.above) };
        if *copy < 0 {
            return false;
        }
    }
    for (_, number, copy) in &prepared.fds {
        // SAFETY: replaces `number` in the child's own descriptor table (no CLONE_FILES): the parent keeps its own.
        if unsafe { libc::dup2(*copy, *number) } < 0 {
            return false;
        }
    }
    for (first, last) in &prepared.gaps {
        // SAFETY: marks descriptors of the child's own table close-on-exec; takes integers only.
        let done = unsafe { libc::syscall(libc::SYS_close_range, *first, *last, libc::CLOSE_RANGE_CLOEXEC) };
        if done < 0 {
            return false;
        }
    }
    true
}

/// Gives every signal its default action, also those that the parent ignores (Rust programs ignore SIGPIPE), and
/// blocks none. Dispositions are the child's own (no CLONE_SIGHAND). Past glibc, which does not let a caller change
/// the signals it uses for threads (32 and 33): a parent may have been started with these ignored.
pub fn reset_signals() {
    // The kernel's struct sigaction is at most four words: handler, flags, restorer, mask. Zero is SIG_DFL.
    let default = [0u64; 4];
    let none = 0u64;
    for signal in 1..=64 {
        // SAFETY: the kernel reads `default`, which is as long as its struct sigaction, and writes nothing through the
        // null; 8 is the size of its sigset_t. 9 and 19 give EINVAL, which is right to pass over.
        unsafe { libc::syscall(libc::SYS_rt_sigaction, signal, default.as_ptr(), std::ptr::null::<c_void>(), 8) };
    }
    // SAFETY: the kernel reads the 8 bytes of `none`, its sigset_t, and writes nothing through the null. Comes after the
    // handlers are gone: none of the parent's may run here.
    unsafe {
        libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, &raw const none, std::ptr::null::<c_void>(), 8)
    };
}

/// The process id of any one child that has ended, without reaping it.
pub fn peek_ended_child() -> io::Result<Option<u32>> {
    match wait_id(libc::P_ALL, 0, libc::WEXITED | libc::WNOHANG | libc::WNOWAIT) {
        Ok(found) => Ok(found.map(|(pid, _)| pid)),
        Err(e) if e.raw_os_error() == Some(libc::ECHILD) => Ok(None),
        Err(e) => Err(e),
    }
}

/// Reaps the ended child `pid`, for children of whom no pidfd was kept.
pub fn reap(pid: u32) -> io::Result<()> {
    wait_id(libc::P_PID, pid, libc::WEXITED | libc::WNOHANG).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::super::pidfd::Ended;
    use super::*;
    use std::io::Read;
    use std::os::fd::AsFd;

    fn shell(script: &str, fds: &[(BorrowedFd<'_>, i32)]) -> Ended {
        let (_, pidfd) = spawn(Path::new("/bin/sh"), &["-c", script], fds).unwrap();
        pidfd::wait(&pidfd).unwrap()
    }

    #[test]
    fn a_program_that_is_not_there_is_an_error_and_no_child() {
        let e = spawn(Path::new("/nonexistent/program"), &[] as &[&str], &[]).unwrap_err();
        assert_eq!(e.raw_os_error(), Some(libc::ENOENT));
    }

    #[test]
    fn a_group_gets_its_arguments_and_environment_as_they_are_and_is_killed_as_one() {
        let (mut reader, writer) = io::pipe().unwrap();
        let texts = |texts: &[&str]| texts.iter().map(|t| CString::new(*t).unwrap()).collect::<Vec<_>>();
        let argv = texts(&["called", "-c", "echo $0 $ONLY; env | wc -l; sleep 1000 & wait", "zero"]);
        let fds = [(writer.as_fd(), 1)];
        let (pid, pidfd) = spawn_group(Path::new("/bin/sh"), &argv, &texts(&["ONLY=this"]), None, &fds).unwrap();
        drop(writer);
        let mut said = [0; 64];
        let mut n = 0;
        while said[..n].iter().filter(|b| **b == b'\n').count() < 2 {
            n += reader.read(&mut said[n..]).unwrap();
        }
        // The shell adds PWD, and on some machines `_`.
        assert!(String::from_utf8_lossy(&said[..n]).starts_with("zero this\n"), "{:?}", &said[..n]);
        kill_group(pid).unwrap();
        assert_eq!(pidfd::wait(&pidfd).unwrap(), Ended::Signal(libc::SIGKILL));
        // The other process of the group had the pipe too.
        assert_eq!(reader.read(&mut said).unwrap(), 0);
        assert!(kill_group(1).is_err());
    }

    #[test]
    fn a_group_works_in_its_directory_or_where_that_cannot_be_entered_in_the_callers() {
        let dir = tempfile::tempdir().unwrap();
        let here = std::env::current_dir().unwrap();
        let place = dir.path().canonicalize().unwrap();
        let (gone, file) = (place.join("gone"), Path::new("/dev/null"));
        let asked = [Some(place.as_path()), Some(&gone), Some(file), None];
        for (asked, found) in asked.into_iter().zip([&place, &here, &here, &here]) {
            let script = format!("test \"$(pwd -P)\" = '{}'", found.display());
            let argv = ["sh", "-c", &script].map(|text| CString::new(text).unwrap());
            let (_, pidfd) = spawn_group(Path::new("/bin/sh"), &argv, &[], asked, &[]).unwrap();
            assert_eq!(pidfd::wait(&pidfd).unwrap(), Ended::Code(0), "{asked:?}");
        }
    }

    #[test]
    fn the_end_is_told_by_code_or_by_signal() {
        assert_eq!(shell("exit 7", &[]), Ended::Code(7));
        assert_eq!(shell("kill -9 $$", &[]), Ended::Signal(9));
        // A real-time signal, for which no name exists.
        assert_eq!(shell("kill -40 $$", &[]), Ended::Signal(40));
    }

    #[test]
    fn descriptors_arrive_at_their_numbers_even_when_these_are_taken_and_no_others_do() {
        let (mut reader, writer) = io::pipe().unwrap();
        let (_spare_reader, spare) = io::pipe().unwrap();
        // Ask for the two writers at each other's numbers.
        let (a, b) = (writer.as_fd(), spare.as_fd());
        let script = format!("echo out >/proc/self/fd/{}; ls /proc/self/fd", b.as_raw_fd());
        let fds = [(a, b.as_raw_fd()), (b, a.as_raw_fd()), (a, 1)];
        assert_eq!(shell(&script, &fds), Ended::Code(0));
        let (a_number, b_number) = (a.as_raw_fd(), b.as_raw_fd());
        drop((writer, spare));
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        let mut lines = text.lines();
        assert_eq!(lines.next(), Some("out"));
        // `ls` itself has the directory open as one more.
        let numbers: Vec<i32> = lines.map(|l| l.parse().unwrap()).filter(|n| *n > 2).collect();
        assert!(numbers.contains(&a_number) && numbers.contains(&b_number), "{numbers:?}");
        assert!(numbers.len() <= 3, "{numbers:?}");
    }

    #[test]
    fn the_environment_is_empty_and_no_signal_is_ignored_or_blocked() {
        let script = "grep -q 'SigIgn:.0000000000000000' /proc/self/status && \
                      grep -q 'SigBlk:.0000000000000000' /proc/self/status && test -z \"$HOME\"";
        assert_eq!(shell(script, &[]), Ended::Code(0));
    }

    #[test]
    fn a_running_child_is_signalled_by_its_descriptor() {
        let (_, pidfd) = spawn(Path::new("/bin/sleep"), &["1000"], &[]).unwrap();
        assert_eq!(pidfd::ended(&pidfd).unwrap(), None);
        pidfd::signal(&pidfd, 15).unwrap();
        assert_eq!(pidfd::wait(&pidfd).unwrap(), Ended::Signal(15));
    }

    #[test]
    fn an_open_program_runs_even_where_a_number_is_its_own() {
        let program = std::fs::File::open("/bin/sh").unwrap();
        let (reader, writer) = io::pipe().unwrap();
        let number = program.as_raw_fd();
        let fds = [(writer.as_fd(), number)];
        let script = format!("echo $0 >/proc/self/fd/{number}");
        let (_, pidfd) = respawn(program.as_fd(), "called", &["-c", &script], &fds).unwrap();
        assert_eq!(pidfd::wait(&pidfd).unwrap(), Ended::Code(0));
        drop(writer);
        assert_eq!(io::read_to_string(reader).unwrap(), "called\n");
    }
}
