//! dockerd, which drives the runtime through a containerd of its own.

use crate::support::{PATIENCE, SERVICE, TERMINAL, archive, runtime};
use berth_test_host::{Running, Said, TestHost, at_a_terminal, eventually, said};
use std::fs::File;
use std::process::{Command, Stdio};

struct Docker {
    host: TestHost,
    /// Ends with the host, whatever becomes of this.
    _daemon: Running,
}

impl Docker {
    fn new(name: &str) -> Self {
        let host = TestHost::new(name);
        let archive = archive(&host, "docker-archive");
        let config = host.dir().join("daemon.json");
        std::fs::write(&config, "{}").unwrap();
        let log = File::create(host.dir().join("dockerd.log")).unwrap();
        let mut command = host.command("dockerd");
        command.arg("--config-file").arg(config).arg("--data-root").arg(host.dir().join("docker"));
        command.args([
            "--exec-root",
            "/run/docker",
            "--pidfile",
            "/run/docker.pid",
            "--host",
            "unix:///run/docker.sock",
        ]);
        command.arg("--add-runtime").arg(format!("berth={}", runtime().display()));
        // No network is needed, and overlay on overlay is not possible where tests run on one.
        command.args(["--default-runtime", "berth", "--bridge", "none", "--iptables=false", "--ip6tables=false"]);
        command.args(["--storage-driver", "vfs"]).stdin(Stdio::null());
        command.stdout(log.try_clone().unwrap()).stderr(log);
        let daemon = host.spawn(&mut command);
        let mut docker = Self { host, _daemon: daemon };
        eventually("dockerd", PATIENCE, || (docker.verb(&["version"]).code == 0).then_some(()));
        docker.verb(&["load", "--quiet", "--input", archive.to_str().unwrap()]).ok();
        docker.run(&[], &["true"]).ok();
        // What the daemon is and keeps counts as having always been there.
        docker.host.rebase();
        docker
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = self.host.command("docker");
        command.args(["--host", "unix:///run/docker.sock"]).args(args).env("HOME", self.host.dir()).current_dir("/");
        command
    }

    fn verb(&self, args: &[&str]) -> Said {
        said(&mut self.command(args))
    }

    fn run(&self, options: &[&str], command: &[&str]) -> Said {
        self.verb(&[&["run", "--rm", "--network", "none"], options, &["busybox"], command].concat())
    }

    fn status(&self) -> String {
        self.verb(&["inspect", "--format", "{{.State.Status}}", "box"]).ok()
    }
}

#[test]
#[ignore = "needs root"]
fn docker_runs_commands_to_their_end() {
    let docker = Docker::new("peer-docker-run");
    assert_eq!(docker.run(&[], &["echo", "hello"]).ok(), "hello");
    assert_eq!(docker.run(&[], &["sh", "-c", "exit 7"]).code, 7);
    assert_eq!(docker.run(&[], &["no-such-program"]).code, 127);
    let said = docker.run(&[], &["/etc/passwd"]);
    assert_eq!(said.code, 126, "{said:?}");
    let options =
        ["--user", "user", "--workdir", "/tmp", "--env", "A=b c", "--hostname", "web", "--read-only", "--init"];
    let script = "id -u; pwd; echo $A; hostname; touch /x 2>/dev/null || echo kept";
    assert_eq!(docker.run(&options[..9], &["sh", "-c", script]).ok(), "1000\n/tmp\nb c\nweb\nkept");
    std::fs::write(docker.host.dir().join("shared"), "from the host\n").unwrap();
    let volume = format!("{}:/mnt:ro", docker.host.dir().display());
    assert_eq!(docker.run(&["--volume", &volume, "--tmpfs", "/s"], &["cat", "/mnt/shared"]).ok(), "from the host");
    let limits = ["--memory", "64m", "--pids-limit", "50", "--cpus", "0.5", "--cap-add", "NET_ADMIN"];
    let bits = docker.run(&limits, &["sh", "-c", "grep CapEff /proc/self/status | cut -f2"]).ok();
    assert_ne!(u64::from_str_radix(&bits, 16).unwrap() & 1 << 12, 0, "{bits}");
    // Debian's runc does not know how to leave out capabilities that root lacks here.
    let privileged = std::env::var_os("BERTH_TEST_RUNTIME").map_or("--privileged=true", |_| "--privileged=false");
    let all = [privileged, "--pid", "host", "--ipc", "host", "--uts", "host"];
    let first = ["run", "--rm", "--network", "host"];
    let said = docker.verb(&[&first[..], &all[..], &["busybox", "hostname"]].concat());
    assert_eq!(said.ok(), docker.host.name());
    let mut command = docker.command(&["run", "--rm", "--network", "none", "--interactive", "--tty", "busybox"]);
    let (code, shown) = at_a_terminal(command.args(["sh", "-c", TERMINAL]), PATIENCE);
    assert!(code == 5 && shown.contains("/dev/pts/0"), "{code}: {shown}");
}

#[test]
#[ignore = "needs root"]
fn docker_leads_a_container_through_its_life() {
    let docker = Docker::new("peer-docker-life");
    docker
        .verb(&[
            "run",
            "--detach",
            "--name",
            "box",
            "--network",
            "none",
            "--memory",
            "64m",
            "busybox",
            "sh",
            "-c",
            SERVICE,
        ])
        .ok();
    eventually("the service", PATIENCE, || docker.verb(&["logs", "box"]).stdout.contains("up").then_some(()));
    assert_eq!(docker.verb(&["exec", "box", "echo", "inside"]).ok(), "inside");
    assert_eq!(
        docker.verb(&["exec", "--user", "user", "--env", "A=b", "box", "sh", "-c", "id -u; echo $A"]).ok(),
        "1000\nb"
    );
    assert_eq!(docker.verb(&["exec", "box", "sh", "-c", "exit 9"]).code, 9);
    // Which of the two depends on the version of docker.
    assert!(matches!(docker.verb(&["exec", "box", "no-such-program"]).code, 126 | 127));
    let mut command = docker.command(&["exec", "--interactive", "--tty", "box", "sh", "-c", "tty; exit 4"]);
    let (code, shown) = at_a_terminal(&mut command, PATIENCE);
    assert!(code == 4 && shown.contains("/dev/pts/"), "{code}: {shown}");
    assert!(docker.verb(&["top", "box"]).ok().contains("sleep 1000"));
    docker.verb(&["pause", "box"]).ok();
    assert_eq!(docker.status(), "paused");
    docker.verb(&["unpause", "box"]).ok();
    assert_eq!(docker.status(), "running");
    let usage = docker.verb(&["stats", "--no-stream", "--format", "{{.MemUsage}} {{.PIDs}}", "box"]).ok();
    assert!(usage.contains("/ 64MiB") && usage.ends_with(" 2"), "{usage}");
    docker.verb(&["update", "--memory", "32m", "--memory-swap", "32m", "box"]).ok();
    let limit = docker.verb(&["stats", "--no-stream", "--format", "{{.MemUsage}}", "box"]).ok();
    assert!(limit.ends_with("/ 32MiB"), "{limit}");
    docker.verb(&["stop", "box"]).ok();
    assert_eq!(docker.verb(&["inspect", "--format", "{{.State.ExitCode}}", "box"]).ok(), "3");
    docker.verb(&["restart", "box"]).ok();
    assert_eq!(docker.status(), "running");
    docker.verb(&["kill", "box"]).ok();
    assert_eq!(docker.verb(&["wait", "box"]).ok(), "137");
    docker.verb(&["start", "box"]).ok();
    docker.verb(&["rm", "--force", "box"]).ok();
    assert_eq!(docker.verb(&["ps", "--all", "--quiet"]).ok(), "");
    docker.host.assert_clean();
}
