//! containerd and `ctr` as Debian sets them up, with this runtime in runc's place (`--runc-binary`), which is not on the
//! machine. `tests/peers` drives the same containerd through more of a container's life, without systemd.

use super::engine::{Engine, MIB, Places, SERVICE, assert_limits, service_in};
use super::scope::{file, show};
use super::{PATIENCE, REGISTRY, systemctl};
use berth_test_host::{at_a_terminal, berth_runtime, eventually, said};
use std::process::Command;

/// The machine with containerd running, the image in its store and no container.
struct Containerd {
    machine: Engine,
    image: String,
}

impl Containerd {
    fn new() -> Self {
        let machine = Engine::take(Places {
            units: "ctr-*",
            groups: &["system.slice", "default"],
            word: "ctr-",
            records: "/run/containerd/runc/default",
            programs: &["containerd-shim-runc-v2", "ctr"],
        });
        systemctl(&["start", "containerd.service"]);
        let mut containerd = Self { machine, image: format!("{REGISTRY}/busybox:latest") };
        ctr(&["images", "pull", "--plain-http", &containerd.image]);
        containerd.machine.settle();
        containerd
    }

    /// `ctr run` with this runtime; the container is `ctr-c`.
    fn run(&self, options: &[&str], args: &[&str]) -> Command {
        let mut command = command(&["run", "--runc-binary"]);
        command.arg(berth_runtime()).args(["--memory-limit", "67108864", "--cpus", "0.5"]).args(options);
        command.args([&self.image, "ctr-c"]).args(args);
        command
    }
}

impl Drop for Containerd {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let _ = command(&["tasks", "delete", "--force", "ctr-c"]).status();
            let _ = command(&["containers", "delete", "ctr-c"]).status();
        }
    }
}

fn command(args: &[&str]) -> Command {
    let mut command = Command::new("ctr");
    command.args(args);
    command
}

fn ctr(args: &[&str]) -> String {
    said(&mut command(args)).ok()
}

fn status() -> Option<String> {
    let table = ctr(&["tasks", "list"]);
    let row = table.lines().find(|line| line.starts_with("ctr-c "))?;
    row.split_ascii_whitespace().nth(2).map(str::to_owned)
}

/// Waits for the end of the task and takes it away.
fn assert_ended(code: &str) {
    eventually("its end", PATIENCE, || (status().as_deref() == Some("STOPPED")).then_some(()));
    let ended = said(&mut command(&["tasks", "delete", "ctr-c"]));
    assert!(ended.stderr.contains(&format!("exit code {code}")), "{ended:?}");
}

#[test]
#[ignore = "needs systemd with berth's units"]
fn containerds_shim_leads_a_container_in_a_scope_through_its_life() {
    let containerd = Containerd::new();
    let (unit, path) = ("ctr-c.scope", "system.slice/ctr-c.scope");
    let in_scope = ["--detach", "--runc-systemd-cgroup", "--cgroup", "system.slice:ctr:c"];
    said(&mut containerd.run(&in_scope, &["sh", "-c", SERVICE])).ok();
    service_in(path);
    assert_eq!((show(unit, "ActiveState"), show(unit, "Slice")), ("active".into(), "system.slice".into()));
    let pids = file(path, "pids.max");
    assert_limits(unit, path, 64 * MIB, &pids);

    // ctr of 1.6 gives up reading what a process wrote that has ended before ctr looks.
    let script = "cat /proc/self/cgroup; sleep 2; exit 9";
    let executed = said(&mut command(&["tasks", "exec", "--exec-id", "e1", "ctr-c", "sh", "-c", script]));
    assert_eq!((executed.code, executed.stdout), (9, format!("0::/{path}")), "{}", executed.stderr);
    let at_terminal = ["tasks", "exec", "--tty", "--exec-id", "e2", "ctr-c", "sh", "-c", "tty; sleep 2; exit 4"];
    let (code, shown) = at_a_terminal(&mut command(&at_terminal), PATIENCE);
    assert!(code == 4 && shown.contains("/dev/pts/"), "{code}: {shown}");
    let metrics = ctr(&["tasks", "metrics", "ctr-c"]);
    assert!(metrics.contains(&(64 * MIB).to_string()), "{metrics}");
    for (verb, now, frozen) in [("pause", "PAUSED", "1"), ("resume", "RUNNING", "0")] {
        ctr(&["tasks", verb, "ctr-c"]);
        assert_eq!((status().as_deref(), file(path, "cgroup.freeze").as_str()), (Some(now), frozen), "{verb}");
    }

    ctr(&["tasks", "kill", "--signal", "TERM", "ctr-c"]);
    assert_ended("3");
    containerd.machine.assert_clean();
    ctr(&["tasks", "start", "--detach", "ctr-c"]);
    service_in(path);
    ctr(&["tasks", "kill", "--signal", "KILL", "ctr-c"]);
    assert_ended("137");
    ctr(&["containers", "delete", "ctr-c"]);
    assert_eq!(ctr(&["containers", "list", "--quiet"]), "");
    containerd.machine.assert_clean();
}

#[test]
#[ignore = "needs systemd with berth's units"]
fn containerds_shim_runs_a_command_to_its_end_in_a_group_that_is_not_systemds() {
    let containerd = Containerd::new();
    // ctr neither mounts the groups nor gives the container a view of its own.
    let mount = ["--rm", "--mount", "type=cgroup,src=cgroup,dst=/sys/fs/cgroup,options=ro"];
    let script = "cd /sys/fs/cgroup/default/ctr-c && cat memory.max cpu.max; exit 7";
    let ended = said(&mut containerd.run(&mount, &["sh", "-c", script]));
    assert_eq!((ended.code, ended.stdout), (7, format!("{}\n50000 100000", 64 * MIB)), "{}", ended.stderr);
    containerd.machine.assert_clean();
}
