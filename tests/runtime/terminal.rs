//! Terminals: handed to a socket, or the caller's own.

use crate::bundle::{Bundle, PATIENCE, Said};
use berth_test_host::eventually;
use serde_json::json;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::process::Stdio;

/// A console socket, and what is received there.
fn listen(bundle: &Bundle, name: &str) -> (UnixListener, String) {
    let path = bundle.host.dir().join(name);
    (UnixListener::bind(&path).unwrap(), path.to_str().unwrap().to_owned())
}

/// The descriptor that the one connection to `socket` passes. To be asked for after the runtime has ended well.
fn passed(socket: &UnixListener) -> OwnedFd {
    socket.set_nonblocking(true).unwrap();
    let (stream, _) = eventually("a connection", PATIENCE, || socket.accept().ok());
    let (mut bytes, mut fds) = ([0; 4096], Vec::new());
    berth_runtime::sys::fd::receive_with(&stream, &mut bytes, &mut fds).unwrap();
    fds.pop().expect("a descriptor is passed")
}

/// Reads from a terminal's master until `wanted` has come.
fn read_until(master: &mut File, wanted: &str) -> String {
    nix::fcntl::fcntl(&*master, nix::fcntl::FcntlArg::F_SETFL(nix::fcntl::OFlag::O_NONBLOCK)).unwrap();
    let mut said = String::new();
    eventually(&format!("`{wanted}` on the terminal"), PATIENCE, || {
        let mut buffer = [0; 4096];
        if let Ok(n) = master.read(&mut buffer) {
            said.push_str(&String::from_utf8_lossy(&buffer[..n]));
        }
        said.contains(wanted).then_some(())
    });
    said
}

#[test]
#[ignore = "needs root"]
fn a_created_containers_terminal_goes_to_the_console_socket() {
    let mut bundle = Bundle::new("rt-tty-create");
    bundle.config["process"]["terminal"] = json!(true);
    bundle.config["process"]["consoleSize"] = json!({"height": 33, "width": 101});
    let (socket, path) = listen(&bundle, "console");
    bundle.script("tty; stty size; stat -c %u:%g $(tty); read x; echo got $x");
    bundle.create_with(&["--console-socket", &path]).ok();
    let mut master = File::from(passed(&socket));
    bundle.verb(&["start", "c"]).ok();
    let said = read_until(&mut master, "0:5");
    assert!(said.contains("/dev/pts/0") && said.contains("33 101"), "{said}");
    master.write_all(b"typed\n").unwrap();
    read_until(&mut master, "got typed");
    bundle.wait_status("stopped");
    bundle.done();
}

#[test]
#[ignore = "needs root"]
fn the_terminal_of_a_further_process_goes_to_the_console_socket() {
    let mut bundle = Bundle::new("rt-tty-exec");
    bundle.started();
    let (socket, path) = listen(&bundle, "console");
    let options = ["exec", "--detach", "--tty", "--user", "33:34", "--console-socket", &path, "c"];
    bundle.verb(&[&options[..], &["sh", "-c", "stat -c %u:%g $(tty); read x"]].concat()).ok();
    let mut master = File::from(passed(&socket));
    read_until(&mut master, "33:5");
    bundle.done();
}

#[test]
#[ignore = "needs root"]
fn the_terminal_of_a_whole_process_has_the_size_of_its_document() {
    let mut bundle = Bundle::new("rt-tty-doc");
    bundle.started();
    let (socket, path) = listen(&bundle, "console");
    let process = json!({"terminal": true, "consoleSize": {"height": 12, "width": 34}, "cwd": "/",
        "user": {"uid": 0, "gid": 0}, "env": ["PATH=/bin"], "args": ["sh", "-c", "stty size; read x"]});
    let file = bundle.host.dir().join("process.json");
    std::fs::write(&file, process.to_string()).unwrap();
    let options = ["exec", "--detach", "--process", file.to_str().unwrap(), "--console-socket", &path, "c"];
    bundle.verb(&options).ok();
    read_until(&mut File::from(passed(&socket)), "12 34");
    bundle.done();
}

#[test]
#[ignore = "needs root"]
fn who_goes_away_needs_a_console_socket_for_a_terminal_and_has_no_other_use_for_one() {
    let mut bundle = Bundle::new("rt-tty-check");
    let (_socket, path) = listen(&bundle, "console");
    let refused = |said: Said| {
        assert_ne!(said.code, 0);
        assert!(said.stderr.contains("console socket"), "{}", said.stderr);
    };
    refused(bundle.script("true").create_with(&["--console-socket", &path]));
    refused(bundle.run_with(&["--console-socket", &path]));
    bundle.started();
    refused(bundle.verb(&["exec", "--detach", "--tty", "c", "true"]));
    refused(bundle.verb(&["exec", "--console-socket", &path, "c", "true"]));
    bundle.verb(&["delete", "--force", "c"]).ok();
    bundle.config["process"]["terminal"] = json!(true);
    refused(bundle.create());
    refused(bundle.run_with(&["--detach"]));
    assert_ne!(bundle.verb(&["state", "c"]).code, 0);
    bundle.done();
}

#[test]
#[ignore = "needs root"]
fn without_a_terminal_of_the_callers_the_output_of_one_is_copied() {
    let mut bundle = Bundle::new("rt-tty-none");
    bundle.config["process"]["terminal"] = json!(true);
    let said = bundle.script("tty; seq 1 20000; exit 4").run();
    let lines: Vec<&str> = said.stdout.lines().collect();
    assert_eq!((said.code, lines[0], lines.len(), lines[20000]), (4, "/dev/pts/0", 20001, "20000"));
    bundle.config["process"]["terminal"] = json!(false);
    bundle.started();
    let said = bundle.verb(&["exec", "--tty", "c", "sh", "-c", "tty; exit 5"]);
    assert_eq!((said.code, said.stdout.as_str()), (5, "/dev/pts/0"));
    bundle.done();
}

/// Starts a verb at a terminal of 41 lines and 83 columns, and gives its master end.
fn at_a_terminal(bundle: &Bundle, args: &[&str]) -> (berth_test_host::Running, File) {
    let size = nix::pty::Winsize { ws_row: 41, ws_col: 83, ws_xpixel: 0, ws_ypixel: 0 };
    let pty = nix::pty::openpty(Some(&size), None).unwrap();
    let end = || Stdio::from(pty.slave.try_clone().unwrap());
    let mut command = bundle.runtime();
    command.args(args).stdin(end()).stdout(end()).stderr(end());
    (bundle.host.spawn(&mut command), File::from(pty.master))
}

fn talk(mut running: berth_test_host::Running, mut master: File) {
    let said = read_until(&mut master, "ready");
    assert!(said.contains("41 83"), "{said}");
    let size = berth_runtime::sys::tty::WindowSize { rows: 10, columns: 20 };
    berth_runtime::sys::tty::set_window_size(master.as_fd(), size).unwrap();
    // Who has the terminal as the controlling one is told by the kernel.
    running.signal(nix::sys::signal::Signal::SIGWINCH);
    read_until(&mut master, "resized 10 20");
    // Raw: not echoed twice, and an interrupt is a byte for the inner terminal.
    master.write_all(b"typed\n").unwrap();
    let said = read_until(&mut master, "got typed");
    assert_eq!(said.matches("typed").count(), 2, "{said}");
    master.write_all(b"\x03").unwrap();
    read_until(&mut master, "interrupted");
    assert_eq!(running.wait(PATIENCE).code(), Some(6));
    // The way it was: with echo.
    let mode = nix::sys::termios::tcgetattr(&master).unwrap();
    assert!(mode.local_flags.contains(nix::sys::termios::LocalFlags::ECHO));
}

const TALKER: &str = "stty size; trap 'echo resized $(stty size)' WINCH; trap 'echo interrupted; exit 6' INT; \
                      echo ready; while read x || true; do [ -z \"$x\" ] || echo got $x; x=; done";

#[test]
#[ignore = "needs root"]
fn a_program_run_at_a_terminal_has_the_callers() {
    let mut bundle = Bundle::new("rt-tty-run");
    bundle.config["process"]["terminal"] = json!(true);
    bundle.script(TALKER).write();
    let (running, master) = at_a_terminal(&bundle, &["run", "--bundle", bundle.dir().to_str().unwrap(), "c"]);
    talk(running, master);
    bundle.assert_clean();
}

#[test]
#[ignore = "needs root"]
fn a_further_process_at_a_terminal_has_the_callers() {
    let mut bundle = Bundle::new("rt-tty-exec-own");
    bundle.started();
    let (running, master) = at_a_terminal(&bundle, &["exec", "--tty", "c", "sh", "-c", TALKER]);
    talk(running, master);
    bundle.done();
}

/// Starts a verb whose output is read byte by byte: there is always more of a program that never stops writing.
fn spawn_read_slowly(bundle: &Bundle, args: &[&str]) -> berth_test_host::Running {
    let mut command = bundle.runtime();
    let mut running = bundle.host.spawn(command.args(args).stdout(Stdio::piped()));
    let mut output = running.nsenter.stdout.take().unwrap();
    std::thread::spawn(move || while output.read(&mut [0; 1]).is_ok_and(|n| n > 0) {});
    running
}

#[test]
#[ignore = "needs root"]
fn signals_reach_a_program_that_never_stops_writing() {
    let mut bundle = Bundle::new("rt-tty-yes");
    bundle.config["process"]["terminal"] = json!(true);
    bundle.script("trap 'exit 7' TERM; cat /dev/zero & touch /ready; while :; do wait; done").write();
    let mut running = spawn_read_slowly(&bundle, &["run", "--bundle", bundle.dir().to_str().unwrap(), "c"]);
    eventually("the program", PATIENCE, || bundle.rootfs().join("ready").exists().then_some(()));
    running.signal(nix::sys::signal::Signal::SIGTERM);
    assert_eq!(running.wait(PATIENCE).code(), Some(7));
    bundle.assert_clean();
}

#[test]
#[ignore = "needs root"]
fn the_end_of_a_process_is_seen_although_another_goes_on_writing() {
    let mut bundle = Bundle::new("rt-tty-writer");
    bundle.started();
    let mut running =
        spawn_read_slowly(&bundle, &["exec", "--tty", "c", "sh", "-c", "trap '' HUP; cat /dev/zero & exit 5"]);
    assert_eq!(running.wait(PATIENCE).code(), Some(5));
    bundle.done();
}
