//! One more process in a container, from a client to the shim directly.

use crate::task::{PATIENCE, Task, assert_clean, sh};
use berth_runtime::shim::client::{Client, ClientError, Exec};
use berth_runtime::shim::protocol::{ExecProcess, ToShim};
use berth_runtime::task::view::Phase;
use berth_test_host::{TestHost, eventually};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

fn process(args: &[&str]) -> ExecProcess {
    let args = args.iter().map(|a| (*a).to_owned()).collect();
    ExecProcess { args, env: vec!["ADDED=by exec".into()], cwd: None, user: None, tty: false }
}

fn refusal(result: Result<Exec, ClientError>) -> (String, i32) {
    match result {
        Err(ClientError::Refused { message, code }) => (message, code),
        other => panic!("{other:?}"),
    }
}

/// Runs a process with `input`; gives its exit code, output and errors.
fn exec(client: Client, process: ExecProcess, input: &str) -> (i32, String, String) {
    let (stdin, mut to) = std::io::pipe().unwrap();
    let (mut out, stdout) = std::io::pipe().unwrap();
    let (mut err, stderr) = std::io::pipe().unwrap();
    let mut exec = client.exec("web", process, [stdin.as_fd(), stdout.as_fd(), stderr.as_fd()]).unwrap();
    drop((stdin, stdout, stderr));
    to.write_all(input.as_bytes()).unwrap();
    drop(to);
    let (mut output, mut errors) = (String::new(), String::new());
    out.read_to_string(&mut output).unwrap();
    err.read_to_string(&mut errors).unwrap();
    (exec.wait().unwrap(), output, errors)
}

fn started<'h>(host: &'h TestHost, id: &str) -> Task<'h> {
    let task = Task::start(host, id, vec![sh("web", "echo ready; sleep 1000"), sh("done", "true").helper()]);
    let mut client = task.client();
    Task::wait_view(&mut client, |v| v.phase == Phase::Running && v.containers[1].exit.is_some());
    task.wait_output("web", "ready");
    task
}

fn end(task: &Task<'_>) {
    let mut client = task.client();
    client.send(&ToShim::Stop { generation: 1, timeout_ms: Some(0), reason: "end of the test".into() }).unwrap();
    task.collect();
    assert_clean(task.host);
}

#[test]
#[ignore = "needs root"]
fn streams_environment_directory_and_exit_code_are_the_processs_own() {
    let host = TestHost::new("shim-exec");
    let task = started(&host, "exec");
    let script = "cat; echo $ADDED $FROM $PWD; echo bad >&2; grep -c sleep /proc/1/cmdline; exit 42";
    let with_cwd = ExecProcess { cwd: Some("/tmp".into()), ..process(&["/bin/sh", "-c", script]) };
    let (code, out, err) = exec(task.client(), with_cwd, "given\n");
    assert_eq!((code, err.as_str()), (42, "bad\n"));
    assert!(out.starts_with("given\nby exec config /tmp\n"), "{out}");
    assert!(out.ends_with("\n1\n"), "it sees the container's own processes: {out}");
    end(&task);
}

#[test]
#[ignore = "needs root"]
fn what_cannot_be_run_is_refused_with_the_code_of_shells_and_leaves_no_zombie() {
    let host = TestHost::new("shim-exec-bad");
    let task = started(&host, "bad");
    let null = File::options().read(true).write(true).open("/dev/null").unwrap();
    let stdio = || [null.as_fd(); 3];
    let (message, code) = refusal(task.client().exec("web", process(&["/bin/nothing"]), stdio()));
    assert!(message.contains("/bin/nothing") && code == 127, "{message} {code}");
    let (message, code) = refusal(task.client().exec("web", process(&["/etc"]), stdio()));
    assert!(message.contains("/etc") && code == 126, "{message} {code}");
    let (message, code) = refusal(task.client().exec("done", process(&["true"]), stdio()));
    assert_eq!((message.as_str(), code), ("container `done` is not running", 125));
    let (message, _) = refusal(task.client().exec("other", process(&["true"]), stdio()));
    assert_eq!(message, "container `other`: the task has none of that name");
    let long = process(&["true", &"x".repeat(200_000)]);
    let (message, _) = refusal(task.client().exec("web", long, stdio()));
    assert!(message.contains("limit"), "{message}");
    let shim = task.shim_pid();
    let zombies = || {
        let children = std::fs::read_to_string(format!("/proc/{shim}/task/{shim}/children")).unwrap();
        children.split_whitespace().count()
    };
    eventually("the shim to have reaped all but the container", PATIENCE, || (zombies() == 1).then_some(()));
    end(&task);
}

#[test]
#[ignore = "needs root"]
fn a_process_that_cannot_be_run_does_not_keep_its_container_from_ending() {
    let host = TestHost::new("shim-exec-strays");
    let null = File::options().read(true).write(true).open("/dev/null").unwrap();
    // Whether such a process has ended before its worker is a race, closer on a busy machine, and one that the shim
    // overlooks holds the init up.
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            });
        }
        let _idle_again = Over(&over);
        for round in 0..8 {
            let task = started(&host, &format!("strays-{round}"));
            refusal(task.client().exec("web", process(&["/bin/nothing"]), [null.as_fd(); 3]));
            end(&task);
        }
    });
}

/// Sets the flag when it goes, also by a panic.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
#[ignore = "needs root"]
fn a_terminal_is_handed_to_the_client() {
    let host = TestHost::new("shim-exec-tty");
    let task = started(&host, "tty");
    let with_tty = ExecProcess { tty: true, ..process(&["/bin/sh", "-c", "tty; read line; echo got $line; exit 3"]) };
    let null = File::open("/dev/null").unwrap();
    let mut exec = task.client().exec("web", with_tty, [null.as_fd(); 3]).unwrap();
    let mut terminal = File::from(exec.terminal.take().expect("a master"));
    terminal.write_all(b"hello\n").unwrap();
    assert_eq!(exec.wait().unwrap(), 3);
    let mut text = Vec::new();
    // Reading a terminal whose other side is closed ends with EIO.
    let _ = terminal.read_to_end(&mut text);
    let text = String::from_utf8(text).unwrap();
    assert!(text.contains("/dev/pts/0\r\n") && text.contains("got hello\r\n"), "{text}");
    end(&task);
}

#[test]
#[ignore = "needs root"]
fn signals_reach_the_process_and_a_client_that_goes_hangs_up() {
    let host = TestHost::new("shim-exec-signal");
    let task = started(&host, "signal");
    let null = File::options().read(true).write(true).open("/dev/null").unwrap();
    let mut exec = task.client().exec("web", process(&["sleep", "1000"]), [null.as_fd(); 3]).unwrap();
    exec.signal(15).unwrap();
    assert_eq!(exec.wait().unwrap(), 143);
    let exec = task.client().exec("web", process(&["sleep", "1000"]), [null.as_fd(); 3]).unwrap();
    let shim = task.shim_pid();
    drop(exec);
    eventually("the process to be hung up on", PATIENCE, || {
        let children = std::fs::read_to_string(format!("/proc/{shim}/task/{shim}/children")).unwrap();
        (children.split_whitespace().count() == 1).then_some(())
    });
    end(&task);
}

#[test]
#[ignore = "needs root"]
fn a_process_ends_with_its_container_and_its_client_is_told() {
    let host = TestHost::new("shim-exec-end");
    let task = started(&host, "end");
    let null = File::options().read(true).write(true).open("/dev/null").unwrap();
    let mut exec = task.client().exec("web", process(&["sleep", "1000"]), [null.as_fd(); 3]).unwrap();
    exec.client.set_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut other = task.client();
    other.send(&ToShim::Signal { container: "web".into(), signal: 9 }).unwrap();
    assert_eq!(exec.wait().unwrap(), 137);
    task.collect();
    assert_clean(&host);
}
