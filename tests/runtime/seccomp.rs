//! System call filters: what the default one keeps away, and calls that an agent answers.

use crate::bundle::{Bundle, PATIENCE, Said};
use berth_runtime::security::seccomp::default_profile;
use berth_runtime::sys::fd::receive_with;
use nix::libc;
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::mpsc;

/// All that there are, so that what is refused is refused by the filter.
fn all_capabilities() -> Value {
    let all = json!(caps::all().iter().map(ToString::to_string).collect::<Vec<_>>());
    json!({"bounding": all, "effective": all, "permitted": all})
}

/// A bundle that holds the probe, and what that is linked to.
fn with_probe(name: &str) -> Bundle {
    let mut bundle = Bundle::new(name);
    std::fs::copy(berth_test_host::probe(), bundle.rootfs().join("bin/probe")).unwrap();
    let mounts = bundle.config["mounts"].as_array_mut().unwrap();
    for dir in ["/usr/lib", "/lib64", "/lib"] {
        mounts.push(json!({"destination": dir, "type": "bind", "source": dir, "options": ["rbind", "ro"]}));
    }
    bundle.config["process"]["capabilities"] = all_capabilities();
    bundle
}

/// The probe's calls, and what the kernel gave back for each.
fn called(bundle: &mut Bundle, calls: &[(&str, String)]) -> Vec<i64> {
    let args: Vec<&str> = ["/bin/probe", "call"].into_iter().chain(calls.iter().map(|(_, c)| c.as_str())).collect();
    bundle.config["process"]["args"] = json!(args);
    bundle.run().ok().lines().map(|line| line.parse().unwrap()).collect()
}

#[cfg(target_arch = "x86_64")]
#[test]
#[ignore = "needs root"]
fn the_default_filter_keeps_the_kernel_away_from_both_kinds_of_programs() {
    let denied: Vec<(&str, String)> = [
        // Numbers of x86_64 and of x86, and arguments with which the kernel would do nothing, or fail otherwise.
        ("mount", 165, Some(21), ""),
        ("umount2", 166, Some(52), ""),
        ("unshare", 272, Some(310), ":0"),
        ("setns", 308, Some(346), ":999:0"),
        ("keyctl", 250, Some(288), ":99"),
        ("add_key", 248, Some(286), ""),
        ("bpf", 321, Some(357), ":99"),
        ("io_uring_setup", 425, Some(425), ":0:0"),
        ("io_uring_enter", 426, Some(426), ":999"),
        ("perf_event_open", 298, Some(336), ""),
        ("userfaultfd", 323, Some(374), ":99"),
        ("open_by_handle_at", 304, Some(342), ""),
        ("fsopen", 430, Some(430), ""),
        ("move_mount", 429, Some(429), ":999:0:999"),
        ("pivot_root", 155, Some(217), ""),
        ("kexec_load", 246, Some(283), ":0:99:0:99"),
        ("init_module", 175, Some(128), ""),
        ("swapoff", 168, Some(115), ""),
        ("iopl", 172, Some(110), ":9"),
        ("acct", 163, Some(51), ":1"),
        ("socket AF_ALG", 41, Some(359), ":38:5:0"),
        ("socket AF_VSOCK", 41, Some(359), ":40:1:0"),
        ("personality", 135, Some(136), ":67108864"),
        ("clone NEWUSER", 56, Some(120), ":268435456:1"),
        ("socketcall socket", 102, None, ""),
    ]
    .into_iter()
    .flat_map(|(name, wide, narrow, args)| match narrow {
        Some(narrow) => vec![(name, format!("64:{wide}{args}")), (name, format!("32:{narrow}{args}"))],
        None => vec![(name, format!("32:{wide}:1{args}"))],
    })
    .collect();
    let allowed = [
        ("getpid", "64:39".to_owned()),
        ("getpid", "32:20".to_owned()),
        ("socket AF_INET", "64:41:2:1:0".to_owned()),
        ("socket AF_INET", "32:359:2:1:0".to_owned()),
        ("ptrace", "64:101:99".to_owned()),
        ("personality, asked", "64:135:4294967295".to_owned()),
    ];
    let clone3 = [("clone3", "64:435:0:0".to_owned()), ("clone3", "32:435:0:0".to_owned())];
    let newer = [("newer", "64:999".to_owned()), ("newer", "32:999".to_owned())];

    let mut bundle = with_probe("rt-default-filter");
    bundle.config["linux"]["seccomp"] = serde_json::to_value(default_profile(0)).unwrap();
    for (call, result) in denied.iter().zip(called(&mut bundle, &denied)) {
        assert_eq!(result, -i64::from(libc::EPERM), "{call:?}");
    }
    for (call, result) in allowed.iter().zip(called(&mut bundle, &allowed)) {
        assert!(result >= 0 || result == -i64::from(libc::ESRCH), "{call:?}: {result}");
    }
    for calls in [&clone3, &newer] {
        assert_eq!(called(&mut bundle, calls), [-i64::from(libc::ENOSYS); 2], "{calls:?}");
    }

    // Without it the kernel refuses none of them for want of a right, so it was the filter.
    bundle.config["linux"]["seccomp"] = Value::Null;
    let unfiltered = called(&mut bundle, &denied);
    let also = denied.iter().zip(&unfiltered).filter(|(_, r)| **r == -i64::from(libc::EPERM));
    let also: Vec<&str> = also.map(|((name, _), _)| *name).collect();
    // A sysctl of the machine may forbid these to everybody.
    assert!(also.iter().all(|name| ["io_uring_setup", "io_uring_enter", "kexec_load"].contains(name)), "{also:?}");
    assert_ne!(called(&mut bundle, &clone3)[0], -i64::from(libc::ENOSYS));
    bundle.done();
}

#[test]
#[ignore = "needs root"]
fn programs_live_under_the_default_filter() {
    let mut bundle = Bundle::new("rt-default-lives");
    bundle.config["linux"]["seccomp"] = serde_json::to_value(default_profile(0)).unwrap();
    for no_new_privileges in [true, false] {
        bundle.config["process"]["noNewPrivileges"] = json!(no_new_privileges);
        let said = bundle.sh(
            "cd $(mktemp -d) && (sleep 0 & wait $!) && echo x | sed s/x/piped/ && touch a && chmod 600 a && chown 33 a && \
             stat -c %u a && mknod p p && (echo fifo > p &) && cat p && trap 'echo trapped' USR1 && kill -USR1 $$ && \
             ls / > /dev/null && id -u",
        );
        assert_eq!(said, "piped\n33\nfifo\ntrapped\n0");
    }
    bundle.done();
}

nix::ioctl_readwrite!(receive_notification, b'!', 0, libc::seccomp_notif);
nix::ioctl_readwrite!(send_response, b'!', 1, libc::seccomp_notif_resp);

/// An agent's socket in the host's directory, which answers one container.
struct Agent {
    socket: UnixListener,
    path: PathBuf,
}

impl Agent {
    fn new(bundle: &Bundle) -> Self {
        let path = bundle.host.dir().join("agent");
        let _ = std::fs::remove_file(&path);
        Self { socket: UnixListener::bind(&path).unwrap(), path }
    }

    /// Takes one listener and what is said of it.
    fn accept(&self) -> (Value, OwnedFd) {
        let (mut connection, _) = self.socket.accept().unwrap();
        let (mut state, mut fds) = (vec![0; 1 << 16], Vec::new());
        let n = receive_with(&connection, &mut state, &mut fds).unwrap();
        state.truncate(n);
        // The connection ends with the state.
        connection.read_to_end(&mut state).unwrap();
        assert_eq!(fds.len(), 1);
        (serde_json::from_slice(&state).unwrap(), fds.remove(0))
    }

    /// Answers in a thread: every call that is handed on gives `errno`, or goes on when that is 0. The channel tells of
    /// each listener, and of the numbers of the calls when it has ended.
    fn serve(self, errno: i32, listeners: usize) -> mpsc::Receiver<(Value, Vec<i32>)> {
        let (tell, told) = mpsc::channel();
        std::thread::spawn(move || {
            for _ in 0..listeners {
                let (state, listener) = self.accept();
                tell.send((state, answer_all(&listener, errno))).unwrap();
            }
        });
        told
    }
}

/// Answers until no process is left under the filter.
fn answer_all(listener: &OwnedFd, errno: i32) -> Vec<i32> {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    let mut numbers = Vec::new();
    loop {
        let mut fds = [PollFd::new(listener.as_fd(), PollFlags::POLLIN)];
        assert_ne!(poll(&mut fds, PollTimeout::from(20_000u16)).unwrap(), 0, "a container that never ends");
        if !fds[0].revents().unwrap().contains(PollFlags::POLLIN) {
            return numbers;
        }
        // Else its process has died meanwhile.
        if let Some(call) = receive(listener) {
            numbers.push(call.data.nr);
            answer(listener, call.id, errno);
        }
    }
}

/// Waits for a call that is handed on.
fn receive(listener: &OwnedFd) -> Option<libc::seccomp_notif> {
    // SAFETY: all-zero bytes are a notification, a struct of integers, and the kernel wants it so.
    let mut call: libc::seccomp_notif = unsafe { std::mem::zeroed() };
    // SAFETY: the descriptor is a listener and the struct the one that this request fills.
    unsafe { receive_notification(listener.as_raw_fd(), &raw mut call) }.ok().map(|_| call)
}

fn answer(listener: &OwnedFd, id: u64, errno: i32) {
    let go_on = u32::from(errno == 0); // SECCOMP_USER_NOTIF_FLAG_CONTINUE
    let mut response = libc::seccomp_notif_resp { id, val: 0, error: -errno, flags: go_on };
    // SAFETY: the descriptor is a listener and the struct the one that this request reads.
    let _ = unsafe { send_response(listener.as_raw_fd(), &raw mut response) };
}

fn notifying(agent: &Agent, names: &[&str]) -> Value {
    json!({
        "defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_AARCH64"],
        "flags": ["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV", "SECCOMP_FILTER_FLAG_TSYNC"],
        "listenerPath": agent.path, "listenerMetadata": "for the agent",
        "syscalls": [{"names": names, "action": "SCMP_ACT_NOTIFY"}]})
}

#[test]
#[ignore = "needs root"]
fn an_agent_gets_the_listener_and_the_state_and_answers_for_the_kernel() {
    let mut bundle = Bundle::new("rt-notify");
    for no_new_privileges in [true, false] {
        let agent = Agent::new(&bundle);
        bundle.config["linux"]["seccomp"] = notifying(&agent, &["mkdir", "mkdirat"]);
        bundle.config["process"]["noNewPrivileges"] = json!(no_new_privileges);
        bundle.config["annotations"] = json!({"org.example": "x"});
        let told = agent.serve(libc::ENOSPC, 1);
        assert_eq!(bundle.sh("mkdir /x 2>&1 | grep -o 'No space.*'"), "No space left on device");
        let (state, calls) = told.recv_timeout(PATIENCE).unwrap();
        assert_eq!(calls.len(), 1);
        assert_eq!(state["fds"], json!(["seccompFd"]));
        assert_eq!(state["metadata"], "for the agent");
        assert_eq!((&state["ociVersion"], &state["state"]["ociVersion"]), (&json!("1.3.0"), &json!("1.3.0")));
        assert_eq!(state["state"]["id"], "c");
        assert_eq!(state["state"]["status"], "creating");
        assert_eq!(state["state"]["bundle"], json!(bundle.dir()));
        assert_eq!(state["state"]["annotations"]["org.example"], "x");
        assert!(state["pid"].as_u64().unwrap() > 1);
        assert_eq!(state["pid"], state["state"]["pid"]);
    }
    bundle.assert_clean();
}

#[test]
#[ignore = "needs root"]
fn a_container_starts_although_an_agent_answers_for_what_its_start_itself_calls() {
    let mut bundle = Bundle::new("rt-notify-start");
    for no_new_privileges in [true, false] {
        let agent = Agent::new(&bundle);
        let names = ["read", "close", "sendmsg", "execve", "setresuid", "close_range", "fcntl", "rt_sigaction"];
        bundle.config["linux"]["seccomp"] = notifying(&agent, &names);
        bundle.config["process"]["noNewPrivileges"] = json!(no_new_privileges);
        let told = agent.serve(0, 1);
        bundle.script("echo up").create().ok();
        bundle.verb(&["start", "c"]).ok();
        bundle.wait_status("stopped");
        assert!(bundle.said().contains("up"));
        let (_, calls) = told.recv_timeout(PATIENCE).unwrap();
        assert!(calls.contains(&(libc::SYS_execve as i32)), "{calls:?}");
        bundle.verb(&["delete", "c"]).ok();
    }
    bundle.assert_clean();
}

#[test]
#[ignore = "needs root"]
fn an_agent_gets_a_listener_for_each_process_of_exec_as_well() {
    let mut bundle = Bundle::new("rt-notify-exec");
    let agent = Agent::new(&bundle);
    bundle.config["linux"]["seccomp"] = notifying(&agent, &["mkdir", "mkdirat"]);
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || {
        let (of_init, keep) = agent.accept();
        let (of_exec, listener) = agent.accept();
        let calls = answer_all(&listener, libc::ENOSPC);
        tell.send((of_init, of_exec, calls, keep)).unwrap();
    });
    bundle.started();
    let said = bundle.verb(&["exec", "c", "/bin/mkdir", "/x"]);
    assert!(said.stderr.contains("No space left on device"), "{}", said.stderr);
    let (of_init, of_exec, calls, _keep) = told.recv_timeout(PATIENCE).unwrap();
    assert_eq!(calls.len(), 1);
    assert_eq!(of_exec["state"]["status"], "running");
    assert_eq!(of_exec["state"]["pid"], of_init["pid"]);
    assert_ne!(of_exec["pid"], of_init["pid"]);
    bundle.done();
}

/// Answers for the init, and holds the first process of exec in the call by which it becomes its program: tells its id
/// inside, and lets it go when told to.
fn hold_exec(agent: Agent) -> (mpsc::Receiver<String>, mpsc::Sender<()>) {
    let (tell, told) = mpsc::channel();
    let (release, released) = mpsc::channel();
    std::thread::spawn(move || {
        let (_, of_init) = agent.accept();
        std::thread::spawn(move || answer_all(&of_init, 0));
        let (_, of_exec) = agent.accept();
        let call = receive(&of_exec).unwrap();
        assert_eq!(i64::from(call.data.nr), libc::SYS_execve);
        let status = std::fs::read_to_string(format!("/proc/{}/status", call.pid)).unwrap();
        let pids = status.lines().find(|line| line.starts_with("NSpid:")).unwrap();
        tell.send(pids.split_ascii_whitespace().next_back().unwrap().to_owned()).unwrap();
        released.recv().unwrap();
        answer(&of_exec, call.id, 0);
        answer_all(&of_exec, 0);
    });
    (told, release)
}

#[test]
#[ignore = "needs root"]
fn a_process_of_exec_is_not_open_to_the_container_before_its_program_runs() {
    // CVE-2016-9962: what is open in it, and it itself, were the host's.
    let mut bundle = Bundle::new("rt-exec-closed");
    let probe = std::env::var_os("BERTH_PROBE_STATIC").expect("BERTH_PROBE_STATIC names the static probe");
    std::fs::copy(probe, bundle.rootfs().join("bin/probe")).unwrap();
    let agent = Agent::new(&bundle);
    bundle.config["linux"]["seccomp"] = notifying(&agent, &["execve"]);
    let (told, release) = hold_exec(agent);
    let seize = format!("64:{}:16902", libc::SYS_ptrace);
    bundle.script(&format!(
        "mkfifo /pids; echo up; while read pid; do
            for link in root cwd exe fd/0 fd/1 fd/3; do readlink /proc/$pid/$link >/dev/null 2>&1 && echo open $link; done
            ls /proc/$pid/root/ >/dev/null 2>&1 && echo entered
            cat /proc/$pid/maps 2>/dev/null | grep -q . && echo mapped
            echo traced $(probe call {seize}:$pid:0:0); echo looked
         done <>/pids"
    ));
    bundle.create().ok();
    bundle.verb(&["start", "c"]).ok();
    let mut exec = bundle.runtime();
    let mut exec = bundle.host.spawn(exec.args(["exec", "c", "sleep", "1000"]));
    let pid = told.recv_timeout(PATIENCE).unwrap();
    let look = |times: usize| {
        berth_test_host::eventually("the fifo", PATIENCE, || bundle.rootfs().join("pids").exists().then_some(()));
        std::fs::write(bundle.rootfs().join("pids"), format!("{pid}\n")).unwrap();
        berth_test_host::eventually("a look", PATIENCE, || {
            (bundle.said().matches("looked").count() == times).then(|| bundle.said())
        })
    };
    assert_eq!(look(1), format!("up\ntraced -{}\nlooked\n", libc::EPERM));
    // Open it is to the very same looks when it is the program.
    release.send(()).unwrap();
    let runs = || bundle.verb(&["ps", "c"]).ok().contains("sleep 1000").then_some(());
    berth_test_host::eventually("the program", PATIENCE, runs);
    let said = look(2);
    for found in ["open root", "open cwd", "open exe", "open fd/0", "entered", "mapped"] {
        assert!(said.contains(found), "{found}\n{said}");
    }
    bundle.verb(&["kill", "c", "KILL"]).ok();
    exec.wait(PATIENCE);
    bundle.done();
}

/// The processes in container `c`.
fn in_container(bundle: &Bundle) -> usize {
    let dirs = bundle.host.cgroup("berth-runtime-c").into_iter();
    dirs.filter_map(|dir| std::fs::read_to_string(dir.join("cgroup.procs")).ok())
        .map(|p| p.lines().count())
        .max()
        .unwrap()
}

#[test]
#[ignore = "needs root"]
fn a_runtime_that_is_killed_while_it_tells_the_agent_leaves_no_process() {
    let mut bundle = Bundle::new("rt-notify-killed");
    let agent = Agent::new(&bundle);
    bundle.config["linux"]["seccomp"] = notifying(&agent, &["mkdir"]);
    // More than a socket holds: the runtime waits for an agent that reads.
    bundle.config["annotations"] = json!({"org.example": "x".repeat(4 << 20)});
    bundle.script("exec sleep 1000").write();
    let dir = bundle.dir();
    let killed = |args: &[&str]| {
        let mut runtime = bundle.runtime();
        let mut runtime = bundle.host.spawn(runtime.args(args).stdout(Stdio::null()).stderr(Stdio::null()));
        let (mut connection, _) = agent.socket.accept().unwrap();
        // The process is there and waits, and its listener is on the way.
        connection.read_exact(&mut [0]).unwrap();
        runtime.signal(Signal::SIGKILL);
        runtime.wait(PATIENCE);
    };
    killed(&["create", "--bundle", dir.to_str().unwrap(), "c"]);
    berth_test_host::eventually("the init to end", PATIENCE, || (in_container(&bundle) == 0).then_some(()));
    bundle.verb(&["delete", "--force", "c"]).ok();
    std::thread::scope(|scope| {
        scope.spawn(|| agent.accept());
        bundle.create().ok();
    });
    bundle.verb(&["start", "c"]).ok();
    let before = in_container(&bundle);
    killed(&["exec", "c", "true"]);
    berth_test_host::eventually("the process to end", PATIENCE, || (in_container(&bundle) == before).then_some(()));
    bundle.done();
}

#[test]
#[ignore = "needs root"]
fn a_process_of_exec_that_an_agent_holds_ends_with_an_interrupt() {
    let mut bundle = Bundle::new("rt-exec-held");
    let agent = Agent::new(&bundle);
    bundle.config["linux"]["seccomp"] = notifying(&agent, &["execve"]);
    let (told, release) = hold_exec(agent);
    bundle.started();
    let mut exec = bundle.runtime();
    let mut exec = bundle.host.spawn(exec.args(["exec", "c", "sleep", "1000"]));
    told.recv_timeout(PATIENCE).unwrap();
    exec.signal(Signal::SIGINT);
    assert_eq!(exec.wait(PATIENCE).code(), Some(255));
    release.send(()).unwrap();
    bundle.done();
}

#[test]
#[ignore = "needs root"]
fn without_its_agent_a_container_does_not_start_and_nothing_is_left() {
    let mut bundle = Bundle::new("rt-notify-alone");
    let agent = Agent::new(&bundle);
    let path = agent.path.clone();
    bundle.config["linux"]["seccomp"] = notifying(&agent, &["mkdir"]);
    drop(agent);
    std::fs::remove_file(&path).unwrap();
    let Said { code, stderr, .. } = bundle.script("echo ran > /data/ran").run();
    assert_ne!(code, 0);
    assert!(stderr.contains(path.to_str().unwrap()), "{stderr}");
    assert!(!bundle.rootfs().join("data/ran").exists());
    assert!(UnixStream::connect(&path).is_err());
    bundle.assert_clean();
}

#[test]
#[ignore = "needs root"]
fn every_architecture_of_the_specification_is_taken_and_named_by_features() {
    let mut bundle = Bundle::new("rt-seccomp-archs");
    let features: Value = serde_json::from_str(&bundle.verb(&["features"]).ok()).unwrap();
    let archs = "AARCH64 ARM LOONGARCH64 M68K MIPS MIPS64 MIPS64N32 MIPSEL MIPSEL64 MIPSEL64N32 PARISC PARISC64 PPC PPC64 \
                 PPC64LE RISCV64 S390 S390X SH SHEB X32 X86 X86_64";
    let archs = json!(archs.split(' ').map(|arch| format!("SCMP_ARCH_{arch}")).collect::<Vec<_>>());
    assert_eq!(features["linux"]["seccomp"]["archs"], archs);
    // Those that this machine has no processes of as well: profiles name the architectures of all machines.
    bundle.config["linux"]["seccomp"] = json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": archs, "syscalls": [
        {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}]});
    assert_eq!(bundle.sh("mkdir /data/d 2>/dev/null || echo refused"), "refused");
    bundle.assert_clean();
}

#[test]
#[ignore = "needs root"]
fn what_is_wrong_with_a_profile_is_said_by_field() {
    let mut bundle = Bundle::new("rt-seccomp-errors");
    for (profile, expected) in [
        (
            json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mount"], "action": "SCMP_ACT_ERRNO",
                "args": [{"index": 7, "value": 0, "op": "SCMP_CMP_EQ"}]}]}),
            "linux.seccomp.syscalls[0].args[0].index: got 7 for `mount`",
        ),
        (
            json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["read"], "action": "SCMP_ACT_NOTIFY"}]}),
            "linux.seccomp.listenerPath: is missing",
        ),
        (
            json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerMetadata": "for nobody"}),
            "linux.seccomp.listenerMetadata: is for a listener",
        ),
        (
            json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": [], "action": "SCMP_ACT_ERRNO"}]}),
            "linux.seccomp.syscalls[0].names: is empty",
        ),
        (
            json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": null, "action": "SCMP_ACT_ERRNO"}]}),
            "linux.seccomp.syscalls[0].names: is empty",
        ),
        (json!({"defaultAction": "SCMP_ACT_FOO"}), "linux.seccomp.defaultAction: got `SCMP_ACT_FOO`"),
        (
            json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_VAX"]}),
            "linux.seccomp.architectures[0]: got `SCMP_ARCH_VAX`",
        ),
        (
            json!({"defaultAction": "SCMP_ACT_ALLOW", "flags": ["SECCOMP_FILTER_FLAG_X"]}),
            "linux.seccomp.flags[0]: got `SECCOMP_FILTER_FLAG_X`",
        ),
        (
            json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mount"], "action": "SCMP_ACT_ERRNO",
                "args": [{"index": 0, "value": 0, "op": "SCMP_CMP_ABOUT"}]}]}),
            "linux.seccomp.syscalls[0].args[0].op: got `SCMP_CMP_ABOUT` for `mount`",
        ),
    ] {
        bundle.config["linux"]["seccomp"] = profile;
        let said = bundle.run();
        assert_ne!(said.code, 0);
        assert!(said.stderr.contains(expected), "{expected}\n{}", said.stderr);
    }
    bundle.assert_clean();
}
