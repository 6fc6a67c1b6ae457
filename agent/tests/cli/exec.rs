//! `berth exec` against a shim that says what the test wants.

use crate::fake::{Agent, PATIENCE, berth, ran, task, with_shim};
use axum::routing::get;
use axum::{Json, Router};
use berth_runtime::codec::Codec;
use berth_runtime::shim::frame::{Inbox, frame};
use berth_runtime::shim::protocol::{ExecProcess, FromShim, PROTOCOL_VERSION, ToShim};
use berth_runtime::sys::fd::{receive_with, send_with};
use berth_runtime::sys::tty::{self, WindowSize};
use berth_runtime::task::view::{Phase, TaskView};
use nix::sys::signal::{Signal, kill};
use nix::sys::termios::{LocalFlags, tcgetattr};
use nix::unistd::Pid;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::Stdio;
use std::thread::JoinHandle;
use tempfile::TempDir;

/// The other end of a command's connection, after hello.
struct Shim {
    stream: UnixStream,
    inbox: Inbox,
    fds: Vec<OwnedFd>,
}

impl Shim {
    /// Listens in a directory of its own, and plays `part` with the first who connects.
    fn play<T: Send + 'static>(part: impl FnOnce(Shim) -> T + Send + 'static) -> (TempDir, JoinHandle<T>) {
        let dir = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(dir.path().join("sock")).unwrap();
        let played = std::thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            let mut shim = Shim { stream, inbox: Inbox::default(), fds: Vec::new() };
            assert_eq!(shim.receive(), ToShim::Hello { version: PROTOCOL_VERSION });
            shim.send(&FromShim::Hello { version: PROTOCOL_VERSION, task: "0af3".into(), pid: 1 }, None);
            part(shim)
        });
        (dir, played)
    }

    fn receive(&mut self) -> ToShim {
        let mut buffer = [0; 4096];
        loop {
            if let Some(message) = self.inbox.take().unwrap() {
                return message;
            }
            let n = receive_with(&self.stream, &mut buffer, &mut self.fds).unwrap();
            assert!(n > 0, "the command hung up");
            self.inbox.push(&buffer[..n]);
        }
    }

    fn exec(&mut self) -> (String, ExecProcess) {
        match self.receive() {
            ToShim::Exec { container, process } => (container, process),
            other => panic!("not an exec: {other:?}"),
        }
    }

    fn send<T: Codec>(&self, message: &T, fd: Option<&OwnedFd>) {
        let fds: Vec<_> = fd.into_iter().map(AsFd::as_fd).collect();
        let bytes = frame(message);
        assert_eq!(send_with(&self.stream, &bytes, &fds).unwrap(), bytes.len());
    }
}

/// A task's view with nothing in it but its phase.
fn view_in(phase: Phase) -> FromShim {
    let view = TaskView { generation: 4, phase, reason: None, containers: vec![], execution_stopped_at_ms: None };
    FromShim::View { view }
}

#[tokio::test(flavor = "multi_thread")]
async fn stop_all_asks_the_shims_where_no_agent_runs() {
    let (dir, played) = Shim::play(|mut shim| {
        shim.send(&view_in(Phase::Running), None);
        let asked = shim.receive();
        shim.send(&view_in(Phase::Stopping), None);
        shim.send(&view_in(Phase::Ended), None);
        asked
    });
    let run = tempfile::tempdir().unwrap();
    for (task, socket) in [("0af3", dir.path().join("sock")), ("dead", "/nonexistent".into())] {
        std::fs::create_dir_all(run.path().join("tasks").join(task)).unwrap();
        std::os::unix::fs::symlink(socket, run.path().join("tasks").join(task).join("sock")).unwrap();
    }
    let stop = ran(berth(&run.path().join("agent.sock"), &["stop", "--all", "--reason", "shutdown"])).await;
    assert_eq!((stop.code, stop.stderr.as_str()), (Some(0), ""));
    assert_eq!(played.join().unwrap(), ToShim::Stop { generation: 5, timeout_ms: None, reason: "shutdown".into() });
}

fn agent_of(shim: &TempDir) -> Agent {
    let view = with_shim(task("RUNNING", None), &shim.path().join("sock"));
    Agent::start(Router::new().route("/v1/tasks/{id}", get(|| async { Json(view) })))
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_are_handed_over_and_the_code_is_handed_on() {
    let (dir, played) = Shim::play(|mut shim| {
        let (container, process) = shim.exec();
        let [stdin, stdout, stderr]: [OwnedFd; 3] = std::mem::take(&mut shim.fds).try_into().unwrap();
        shim.send(&FromShim::ExecStarted { pid: 77 }, None);
        let mut input = String::new();
        std::fs::File::from(stdin).read_to_string(&mut input).unwrap();
        std::fs::File::from(stdout).write_all(b"out\n").unwrap();
        std::fs::File::from(stderr).write_all(b"err\n").unwrap();
        shim.send(&FromShim::ExecExited { code: 42 }, None);
        (container, process, input)
    });
    let exec = agent_of(&dir).run(&["exec", "-e", "A=1", "-u", "nobody", "-w", "/tmp", "web", "ls", "-l"]).await;
    assert_eq!((exec.code, exec.stdout.as_str(), exec.stderr.as_str()), (Some(42), "out\n", "err\n"));
    let (container, process, input) = played.join().unwrap();
    assert_eq!((container.as_str(), input.as_str()), ("web", ""));
    assert_eq!(
        process,
        ExecProcess {
            args: vec!["ls".into(), "-l".into()],
            env: vec!["A=1".into()],
            cwd: Some("/tmp".into()),
            user: Some("nobody".into()),
            tty: false,
        }
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn input_is_handed_over_only_when_asked_for() {
    let (dir, played) = Shim::play(|mut shim| {
        shim.exec();
        shim.send(&FromShim::ExecStarted { pid: 77 }, None);
        let mut input = String::new();
        std::fs::File::from(shim.fds.remove(0)).read_to_string(&mut input).unwrap();
        shim.fds.clear();
        shim.send(&FromShim::ExecExited { code: 0 }, None);
        input
    });
    let (reader, mut writer) = std::io::pipe().unwrap();
    writer.write_all(b"typed").unwrap();
    drop(writer);
    let agent = agent_of(&dir);
    let mut command = agent.berth(&["exec", "-i", "web", "cat"]);
    command.stdin(OwnedFd::from(reader));
    assert_eq!(ran(command).await.code, Some(0));
    assert_eq!(played.join().unwrap(), "typed");
}

#[tokio::test(flavor = "multi_thread")]
async fn signals_reach_the_process() {
    let (started, signalled) = std::sync::mpsc::channel();
    let (dir, played) = Shim::play(move |mut shim| {
        shim.exec();
        shim.fds.clear();
        shim.send(&FromShim::ExecStarted { pid: 77 }, None);
        started.send(()).unwrap();
        let signal = shim.receive();
        shim.send(&FromShim::ExecExited { code: 143 }, None);
        signal
    });
    let agent = agent_of(&dir);
    let mut child = agent.berth(&["exec", "web", "sleep", "9"]).spawn().unwrap();
    tokio::task::spawn_blocking(move || signalled.recv_timeout(PATIENCE).unwrap()).await.unwrap();
    kill(Pid::from_raw(child.id().unwrap() as i32), Signal::SIGTERM).unwrap();
    let status = tokio::time::timeout(PATIENCE, child.wait()).await.unwrap().unwrap();
    assert_eq!(status.code(), Some(143));
    assert_eq!(played.join().unwrap(), ToShim::Signal { container: String::new(), signal: 15 });
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_that_comes_together_with_the_beginning_is_seen() {
    let (dir, played) = Shim::play(|mut shim| {
        shim.exec();
        shim.fds.clear();
        let mut both = frame(&FromShim::ExecStarted { pid: 77 });
        both.extend(frame(&FromShim::ExecExited { code: 7 }));
        shim.stream.write_all(&both).unwrap();
        // The connection stays: only what was said may end the command.
        let mut rest = Vec::new();
        let _ = shim.stream.read_to_end(&mut rest);
    });
    assert_eq!(agent_of(&dir).run(&["exec", "web", "true"]).await.code, Some(7));
    played.join().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_told_with_its_code() {
    for code in [126, 127] {
        let (dir, played) = Shim::play(move |mut shim| {
            shim.exec();
            shim.send(&FromShim::Refused { message: "run `nope` in `web`: no such file".into(), code }, None);
        });
        let exec = agent_of(&dir).run(&["exec", "web", "nope"]).await;
        assert_eq!((exec.code, exec.stderr.as_str()), (Some(code), "error: run `nope` in `web`: no such file\n"));
        played.join().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shim_that_is_gone_is_berths_failure() {
    let (dir, played) = Shim::play(|mut shim| {
        shim.exec();
    });
    let exec = agent_of(&dir).run(&["exec", "web", "ls"]).await;
    assert_eq!((exec.code, exec.stderr.as_str()), (Some(125), "error: exec: speak with shim: it has hung up\n"));
    played.join().unwrap();
    let gone = tempfile::tempdir().unwrap();
    let exec = agent_of(&gone).run(&["exec", "web", "ls"]).await;
    assert_eq!(exec.code, Some(125));
    assert!(exec.stderr.ends_with("hint: the task may have just ended\n"), "{}", exec.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_needs_one_of_ours() {
    let dir = tempfile::tempdir().unwrap();
    let exec = agent_of(&dir).run(&["exec", "-it", "web", "sh"]).await;
    assert_eq!(exec.code, Some(2));
    assert!(exec.stderr.contains("standard input is not a terminal"), "{}", exec.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_carries_keys_output_and_size_and_is_put_back() {
    let ours = nix::pty::openpty(None, None).unwrap();
    tty::set_window_size(&ours.master, WindowSize { rows: 33, columns: 101 }).unwrap();
    let before = tcgetattr(&ours.slave).unwrap();
    let (dir, played) = Shim::play(|mut shim| {
        let (_, process) = shim.exec();
        assert!(process.tty && shim.fds.is_empty());
        let pty = nix::pty::openpty(None, None).unwrap();
        shim.send(&FromShim::ExecStarted { pid: 77 }, Some(&pty.master));
        let (mut reader, mut writer) =
            (std::fs::File::from(pty.slave.try_clone().unwrap()), std::fs::File::from(pty.slave.try_clone().unwrap()));
        writer.write_all(b"prompt> ").unwrap();
        let mut line = [0; 16];
        let n = reader.read(&mut line).unwrap();
        let size = tty::window_size(&pty.slave).unwrap();
        writer.write_all(b"last words").unwrap();
        drop((reader, writer, pty));
        shim.send(&FromShim::ExecExited { code: 5 }, None);
        (process.env, line[..n].to_vec(), size)
    });
    let agent = agent_of(&dir);
    let mut command = agent.berth(&["exec", "-it", "web", "sh"]);
    let slave = || Stdio::from(ours.slave.try_clone().unwrap());
    command.env("TERM", "vt100").stdin(slave()).stdout(slave());
    let mut child = command.spawn().unwrap();
    let (mut screen, slave) = (std::fs::File::from(ours.master), ours.slave);
    let shown = tokio::task::spawn_blocking(move || {
        let mut shown = Vec::new();
        read_until(&mut screen, &mut shown, b"prompt> ");
        // Raw by now: what is typed is not echoed here but by the container's terminal.
        assert!(!tcgetattr(&screen).unwrap().local_flags.contains(LocalFlags::ICANON));
        screen.write_all(b"hi\n").unwrap();
        read_until(&mut screen, &mut shown, b"last words");
        // Our end of the terminal lives on: without it there would be no terminal to look at.
        (shown, screen)
    });
    let status = tokio::time::timeout(PATIENCE, child.wait()).await.unwrap().unwrap();
    assert_eq!(status.code(), Some(5));
    let (shown, _screen) = shown.await.unwrap();
    assert!(String::from_utf8_lossy(&shown).contains("hi"));
    assert_eq!(tcgetattr(&slave).unwrap().local_flags, before.local_flags);
    let (env, line, size) = played.join().unwrap();
    assert_eq!((env, line), (vec!["TERM=vt100".to_owned()], b"hi\n".to_vec()));
    assert_eq!(size, WindowSize { rows: 33, columns: 101 });
}

fn read_until(from: &mut std::fs::File, seen: &mut Vec<u8>, until: &[u8]) {
    let mut buffer = [0; 256];
    while !seen.windows(until.len()).any(|w| w == until) {
        let n = from.read(&mut buffer).unwrap();
        seen.extend_from_slice(&buffer[..n]);
    }
}
