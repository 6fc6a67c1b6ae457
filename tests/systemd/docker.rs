//! dockerd as Debian sets it up: its units and containerd's, control groups of version 2, overlay, AppArmor, a bridge with
//! rules of iptables. Only the runtime is this one, by `daemon.json`; runc is not on the machine. `tests/peers` drives the
//! same dockerd through more of a container's life, without systemd.

use super::engine::{Engine, MIB, Places, SERVICE, assert_limits, service_in};
use super::scope::{file, group, show};
use super::{PATIENCE, REGISTRY, systemctl};
use berth_test_host::{at_a_terminal, berth_runtime, said};
use serde_json::{Value, json};
use std::fs;
use std::process::Command;

const LIMITS: &[&str] = &["--memory", "64m", "--pids-limit", "33", "--cpus", "0.5"];

/// The machine with dockerd running, the image in its store and no container.
struct Docker {
    machine: Engine,
    image: String,
}

impl Docker {
    /// `options` is more of dockerd's configuration than where the runtime is.
    fn new(options: &Value) -> Self {
        let machine = Engine::take(Places {
            units: "docker-*.scope",
            groups: &["system.slice", ""],
            word: "docker-",
            records: "/run/docker/runtime-berth/moby",
            programs: &["containerd-shim-runc-v2", "docker"],
        });
        let mut this = Self { machine, image: format!("{REGISTRY}/busybox") };
        let mut config = json!({"runtimes": {"berth": {"path": berth_runtime()}}, "default-runtime": "berth"});
        config.as_object_mut().unwrap().extend(options.as_object().unwrap().clone());
        fs::create_dir_all("/etc/docker").unwrap();
        fs::write("/etc/docker/daemon.json", config.to_string()).unwrap();
        systemctl(&["start", "docker.service"]);
        docker(&["pull", "--quiet", &this.image]);
        // What it mounts for the first container in the machine's network stays.
        let (first, script) = (["run", "--rm", "--network", "host"], "cat memory.max pids.max cpu.max; exit 7");
        let container = ["--workdir", "/sys/fs/cgroup", &this.image, "sh", "-c", script];
        let ended = said(&mut command(&[&first, LIMITS, &container].concat()));
        assert_eq!((ended.code, ended.stdout.as_str()), (7, "67108864\n33\n50000 100000"), "{}", ended.stderr);
        this.machine.settle();
        this
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let _ = command(&["rm", "--force", "box"]).status();
        }
        let _ = Command::new("systemctl").args(["stop", "docker.service", "docker.socket"]).status();
    }
}

fn command(args: &[&str]) -> Command {
    let mut command = Command::new("docker");
    command.args(args);
    command
}

fn docker(args: &[&str]) -> String {
    said(&mut command(args)).ok()
}

#[test]
#[ignore = "needs systemd with berth's units"]
fn docker_leads_a_container_in_a_scope_through_its_life() {
    let Docker { machine, image } = &Docker::new(&json!({}));
    let fields = "{{.CgroupDriver}} {{.CgroupVersion}} {{.Driver}} {{.DefaultRuntime}}";
    assert_eq!(docker(&["info", "--format", fields]), "systemd 2 overlay2 berth");

    let first = ["run", "--detach", "--name", "box"];
    let id = docker(&[&first, LIMITS, &[image, "sh", "-c", SERVICE]].concat());
    let (unit, path) = (format!("docker-{id}.scope"), format!("system.slice/docker-{id}.scope"));
    let pid = service_in(&path);
    assert_eq!(fs::read_to_string(format!("/proc/{pid}/attr/current")).unwrap().trim(), "docker-default (enforce)");
    assert_eq!((show(&unit, "ActiveState"), show(&unit, "Slice")), ("active".into(), "system.slice".into()));
    assert_limits(&unit, &path, 64 * MIB, "33");

    // The network is docker's, which puts it into the container's namespace by a hook.
    let script = "ip addr show eth0 | grep -o 'inet 172.17'; cat /sys/fs/cgroup/memory.max; exit 9";
    let executed = said(&mut command(&["exec", "box", "sh", "-c", script]));
    assert_eq!((executed.code, executed.stdout.as_str()), (9, "inet 172.17\n67108864"), "{}", executed.stderr);
    let at_terminal = ["exec", "--interactive", "--tty", "box", "sh", "-c", "tty; exit 4"];
    let (code, shown) = at_a_terminal(&mut command(&at_terminal), PATIENCE);
    assert!(code == 4 && shown.contains("/dev/pts/"), "{code}: {shown}");
    let stats = docker(&["stats", "--no-stream", "--format", "{{.MemUsage}} {{.PIDs}}", "box"]);
    assert!(!stats.starts_with("0B") && stats.ends_with("/ 64MiB 2"), "{stats}");
    for (verb, frozen) in [("pause", "1"), ("unpause", "0")] {
        docker(&[verb, "box"]);
        assert_eq!(file(&path, "cgroup.freeze"), frozen, "{verb}");
    }
    docker(&["update", "--memory", "32m", "--memory-swap", "32m", "box"]);
    assert_limits(&unit, &path, 32 * MIB, "33");

    docker(&["stop", "--time", "60", "box"]);
    assert_eq!(docker(&["inspect", "--format", "{{.State.Status}} {{.State.ExitCode}}", "box"]), "exited 3");
    machine.assert_clean();
    docker(&["start", "box"]);
    let before = service_in(&path);
    docker(&["restart", "--time", "60", "box"]);
    assert_ne!(service_in(&path), before);
    assert_limits(&unit, &path, 32 * MIB, "33");
    docker(&["kill", "box"]);
    assert_eq!(docker(&["wait", "box"]), "137");
    docker(&["rm", "box"]);
    machine.assert_clean();

    docker(&["create", "--name", "box", "--network", "none", "--memory", "16m", image, "tail", "/dev/zero"]);
    assert_eq!(said(&mut command(&["start", "--attach", "box"])).code, 137);
    assert_eq!(docker(&["inspect", "--format", "{{.State.OOMKilled}}", "box"]), "true");
    docker(&["rm", "box"]);
    assert_eq!(docker(&["ps", "--all", "--quiet"]), "");
    machine.assert_clean();
}

#[test]
#[ignore = "needs systemd with berth's units"]
fn docker_makes_groups_without_systemd_where_it_is_told_to() {
    let Docker { machine, image } = &Docker::new(&json!({"exec-opts": ["native.cgroupdriver=cgroupfs"]}));
    assert_eq!(docker(&["info", "--format", "{{.CgroupDriver}}"]), "cgroupfs");
    let first = ["run", "--detach", "--name", "box", "--network", "none"];
    let id = docker(&[&first, LIMITS, &[image, "sh", "-c", SERVICE]].concat());
    let path = format!("docker/{id}");
    service_in(&path);
    let limits = [("memory.max", "67108864"), ("pids.max", "33"), ("cpu.max", "50000 100000")];
    for (name, value) in limits {
        assert_eq!(file(&path, name), value, "{name}");
    }
    for (verb, frozen) in [("pause", "1"), ("unpause", "0")] {
        docker(&[verb, "box"]);
        assert_eq!(file(&path, "cgroup.freeze"), frozen, "{verb}");
    }
    docker(&["update", "--memory", "32m", "--memory-swap", "32m", "box"]);
    assert_eq!(file(&path, "memory.max"), (32 * MIB).to_string());
    docker(&["rm", "--force", "box"]);
    assert!(!group(&path).exists());

    // In the machine's own namespaces, with all that root may.
    let machines = ["run", "--rm", "--network", "host", "--privileged", "--pid", "host", "--cgroupns", "host"];
    let script = "cat /proc/1/comm; grep -o /docker/ /proc/self/cgroup; grep Seccomp: /proc/self/status";
    let ended = docker(&[&machines[..], &[image, "sh", "-c", script]].concat());
    assert_eq!(ended, "systemd\n/docker/\nSeccomp:\t0");
    assert_eq!(docker(&["ps", "--all", "--quiet"]), "");
    machine.assert_clean();
}
