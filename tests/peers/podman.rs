//! podman, which has no daemon: conmon runs the runtime, and stays with the container.

use crate::support::{PATIENCE, SERVICE, TERMINAL, archive, runtime};
use berth_test_host::{Said, TestHost, at_a_terminal, eventually, said};
use std::process::Command;

/// podman raises limits as far as root may, which not every root may.
const LIMITS: &[&str] = &["--network", "none", "--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024"];

struct Podman {
    host: TestHost,
}

impl Podman {
    fn new(name: &str) -> Self {
        let mut podman = Self { host: TestHost::new(name) };
        let archive = archive(&podman.host, "docker-archive");
        podman.verb(&["load", "--quiet", "--input", archive.to_str().unwrap()]).ok();
        podman.run(&[], &["true"]).ok();
        // What podman keeps between containers counts as having always been there.
        podman.host.rebase();
        podman
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = self.host.command("podman");
        let data = self.host.dir().join("podman");
        command.arg("--runtime").arg(runtime()).arg("--root").arg(data).args(["--runroot", "/run/podman"]);
        // Overlay on overlay is not possible, and tests may run on one.
        command.args(["--storage-driver", "vfs", "--cgroup-manager", "cgroupfs", "--events-backend", "file"]);
        command.args(args).current_dir("/");
        command
    }

    fn verb(&self, args: &[&str]) -> Said {
        said(&mut self.command(args))
    }

    /// Starts a container that stays.
    fn service(&self, options: &[&str]) {
        let first = [&["run", "--detach", "--name", "c"], LIMITS].concat();
        self.verb(&[&first[..], options, &["busybox", "sh", "-c", SERVICE]].concat()).ok();
        eventually("the service", PATIENCE, || self.verb(&["logs", "c"]).stdout.contains("up").then_some(()));
    }

    fn status(&self) -> String {
        self.verb(&["inspect", "--format", "{{.State.Status}}", "c"]).ok()
    }

    fn run(&self, options: &[&str], command: &[&str]) -> Said {
        let first = [&["run", "--rm"], LIMITS].concat();
        self.verb(&[&first[..], options, &["busybox"], command].concat())
    }
}

#[test]
#[ignore = "needs root"]
fn podman_runs_commands_to_their_end() {
    let podman = Podman::new("peer-podman-run");
    assert_eq!(podman.run(&[], &["echo", "hello"]).ok(), "hello");
    assert_eq!(podman.run(&[], &["sh", "-c", "exit 7"]).code, 7);
    assert_eq!(podman.run(&[], &["no-such-program"]).code, 127);
    assert_eq!(podman.run(&[], &["/etc/passwd"]).code, 126);
    let options = ["--user", "user", "--workdir", "/tmp", "--env", "A=b c", "--hostname", "web", "--read-only"];
    let script = "id -u; pwd; echo $A; hostname; touch /x 2>/dev/null || echo kept";
    assert_eq!(podman.run(&options, &["sh", "-c", script]).ok(), "1000\n/tmp\nb c\nweb\nkept");
    std::fs::write(podman.host.dir().join("shared"), "from the host\n").unwrap();
    let volume = format!("{}:/mnt:ro", podman.host.dir().display());
    assert_eq!(podman.run(&["--volume", &volume, "--tmpfs", "/s"], &["cat", "/mnt/shared"]).ok(), "from the host");
    let limits = ["--memory", "64m", "--pids-limit", "50", "--cpus", "0.5", "--cap-add", "NET_ADMIN"];
    let bits = podman.run(&limits, &["sh", "-c", "grep CapEff /proc/self/status | cut -f2"]).ok();
    assert_ne!(u64::from_str_radix(&bits, 16).unwrap() & 1 << 12, 0, "{bits}");
    let all = ["--privileged", "--pid", "host", "--ipc", "host", "--uts", "host"];
    assert_eq!(podman.run(&all, &["hostname"]).ok(), podman.host.name());
    let (code, shown) = at_a_terminal(
        podman.command(&["run", "--rm"]).args(LIMITS).args(["--interactive", "--tty", "busybox", "sh", "-c", TERMINAL]),
        PATIENCE,
    );
    assert_eq!(code, 5, "{shown}");
    assert!(shown.contains("/dev/pts/0\n"), "{shown}");
}

#[test]
#[ignore = "needs root"]
fn podman_leads_a_container_through_its_life() {
    let podman = Podman::new("peer-podman-life");
    podman.service(&["--memory", "64m"]);
    assert_eq!(podman.status(), "running");
    assert_eq!(podman.verb(&["exec", "c", "echo", "inside"]).ok(), "inside");
    assert_eq!(
        podman.verb(&["exec", "--user", "user", "--env", "A=b", "c", "sh", "-c", "id -u; echo $A"]).ok(),
        "1000\nb"
    );
    assert_eq!(podman.verb(&["exec", "c", "sh", "-c", "exit 9"]).code, 9);
    assert_eq!(podman.verb(&["exec", "c", "no-such-program"]).code, 127);
    let (code, shown) = at_a_terminal(
        podman.command(&["exec", "--interactive", "--tty", "c"]).args(["sh", "-c", "tty; exit 4"]),
        PATIENCE,
    );
    assert!(code == 4 && shown.contains("/dev/pts/"), "{code}: {shown}");
    assert!(podman.verb(&["top", "c", "pid", "comm"]).ok().contains("sh"));
    podman.verb(&["pause", "c"]).ok();
    assert_eq!(podman.status(), "paused");
    podman.verb(&["unpause", "c"]).ok();
    assert_eq!(podman.status(), "running");
    assert!(podman.verb(&["stats", "--no-stream", "--format", "{{.MemUsage}}", "c"]).ok().contains("/ 67"));
    podman.verb(&["update", "--memory", "32m", "c"]).ok();
    let files = "cd /sys/fs/cgroup; cat memory/memory.limit_in_bytes memory.max 2>/dev/null; true";
    assert_eq!(podman.verb(&["exec", "c", "sh", "-c", files]).ok(), (32 << 20).to_string());
    podman.verb(&["stop", "c"]).ok();
    assert_eq!(podman.verb(&["inspect", "--format", "{{.State.ExitCode}}", "c"]).ok(), "3");
    podman.verb(&["restart", "c"]).ok();
    assert_eq!(podman.status(), "running");
    podman.verb(&["kill", "c"]).ok();
    assert_eq!(podman.verb(&["wait", "c"]).ok(), "137");
    podman.verb(&["start", "c"]).ok();
    podman.verb(&["rm", "--force", "c"]).ok();
    assert_eq!(podman.verb(&["ps", "--all", "--quiet"]).ok(), "");
    podman.host.assert_clean();
}

#[test]
#[ignore = "needs root"]
fn options_of_podmans_volumes_are_taken() {
    let podman = Podman::new("peer-podman-volumes");
    let dir = podman.host.dir().display().to_string();
    let runs = |options: &[&str]| assert_eq!(podman.run(options, &["echo", "ran"]).ok(), "ran", "{options:?}");
    for options in ["U,z", "Z,ro", "rw,nosuid,nodev,noexec", "rslave,exec", "bind,suid,dev", "rbind,copy", "nocopy"] {
        let kind = if options.contains("copy") { "named" } else { dir.as_str() };
        runs(&["--volume", &format!("{kind}:/mnt:{options}")]);
    }
    for mount in [
        format!("type=bind,src={dir},dst=/mnt,consistency=cached,bind-propagation=rprivate,relabel=shared"),
        format!("type=bind,src={dir},dst=/mnt,ro=true,bind-nonrecursive,U=true"),
        "type=volume,src=other,dst=/mnt,U".to_owned(),
        "type=volume,src=third,dst=/mnt,volume-opt=type=tmpfs,volume-opt=device=tmpfs".to_owned(),
        "type=tmpfs,dst=/mnt,tmpfs-size=1m,tmpfs-mode=700,notmpcopyup".to_owned(),
    ] {
        runs(&["--mount", &mount]);
    }
    runs(&["--init=false", "--shm-size", "1m", "--read-only", "--tmpfs", "/mnt:size=1m,mode=700"]);
    podman.verb(&["volume", "rm", "--all", "--force"]).ok();
    podman.host.assert_clean();
}
