//! containerd's shim for runc (`containerd-shim-runc-v2`), driven by `ctr`.

use crate::support::{PATIENCE, SERVICE, TERMINAL, archive, runtime};
use berth_test_host::{Running, Said, TestHost, at_a_terminal, eventually, said};
use std::fs::File;
use std::process::{Command, Stdio};

const ADDRESS: &str = "/run/containerd/containerd.sock";
const IMAGE: &str = "docker.io/library/busybox:latest";

struct Containerd {
    host: TestHost,
    /// Ends with the host, whatever becomes of this.
    _daemon: Running,
}

impl Containerd {
    fn new(name: &str) -> Self {
        let host = TestHost::new(name);
        let archive = archive(&host, "docker-archive");
        let config = host.dir().join("config.toml");
        let root = host.dir().join("containerd");
        let text = format!(
            "version = 2\nroot = {root:?}\nstate = \"/run/containerd\"\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n\
             [grpc]\naddress = \"{ADDRESS}\"\n"
        );
        std::fs::write(&config, text).unwrap();
        let log = File::create(host.dir().join("containerd.log")).unwrap();
        let mut command = host.command("containerd");
        command.arg("--config").arg(config).stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let daemon = host.spawn(&mut command);
        let mut containerd = Self { host, _daemon: daemon };
        eventually("containerd", PATIENCE, || (containerd.verb(&["version"]).code == 0).then_some(()));
        containerd.verb(&["images", "import", "--snapshotter", "native", archive.to_str().unwrap()]).ok();
        said(containerd.run(&["--rm"]).args([IMAGE, "first", "true"])).ok();
        // What the daemon is and keeps counts as having always been there.
        containerd.host.rebase();
        containerd
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = self.host.command("ctr");
        command.args(["--address", ADDRESS]).args(args).current_dir("/");
        command
    }

    fn verb(&self, args: &[&str]) -> Said {
        said(&mut self.command(args))
    }

    /// The beginning of `ctr run` with this runtime.
    fn run(&self, options: &[&str]) -> Command {
        let mut command = self.command(&["run", "--snapshotter", "native", "--runtime", "io.containerd.runc.v2"]);
        command.arg("--runc-binary").arg(runtime()).args(options);
        command
    }

    fn status(&self) -> Option<String> {
        let table = self.verb(&["tasks", "list"]).ok();
        let row = table.lines().find(|line| line.starts_with("c "))?;
        row.split_ascii_whitespace().nth(2).map(str::to_owned)
    }
}

#[test]
#[ignore = "needs root"]
fn containerds_shim_runs_commands_to_their_end() {
    let containerd = Containerd::new("peer-ctr-run");
    assert_eq!(said(containerd.run(&["--rm"]).args([IMAGE, "c", "echo", "hello"])).ok(), "hello");
    assert_eq!(said(containerd.run(&["--rm"]).args([IMAGE, "c", "sh", "-c", "exit 7"])).code, 7);
    let missing = said(containerd.run(&["--rm"]).args([IMAGE, "c", "no-such-program"]));
    assert_ne!(missing.code, 0);
    // What the runtime has logged is what the user reads.
    assert!(missing.stderr.contains("executable file not found in $PATH"), "{}", missing.stderr);
    containerd.verb(&["containers", "delete", "c"]);
    let (code, shown) =
        at_a_terminal(containerd.run(&["--rm", "--tty"]).args([IMAGE, "c", "sh", "-c", TERMINAL]), PATIENCE);
    assert!(code == 5 && shown.contains("/dev/pts/0"), "{code}: {shown}");
}

#[test]
#[ignore = "needs root"]
fn containerds_shim_leads_a_container_through_its_life() {
    let containerd = Containerd::new("peer-ctr-life");
    said(containerd.run(&["--detach", "--memory-limit", "67108864"]).args([IMAGE, "c", "sh", "-c", SERVICE])).ok();
    assert_eq!(containerd.status().as_deref(), Some("RUNNING"));
    let exec = |id: &str, script: &str| containerd.verb(&["tasks", "exec", "--exec-id", id, "c", "sh", "-c", script]);
    // On a busy machine ctr of 1.6 gives up reading what a process wrote that has ended before ctr looks.
    assert_eq!(exec("e1", "echo inside; sleep 1").ok(), "inside");
    assert_eq!(exec("e2", "exit 9").code, 9);
    let mut command =
        containerd.command(&["tasks", "exec", "--tty", "--exec-id", "e3", "c", "sh", "-c", "tty; sleep 1; exit 4"]);
    let (code, shown) = at_a_terminal(&mut command, PATIENCE);
    assert!(code == 4 && shown.contains("/dev/pts/"), "{code}: {shown}");
    assert!(containerd.verb(&["tasks", "ps", "c"]).ok().lines().count() >= 3);
    containerd.verb(&["tasks", "pause", "c"]).ok();
    assert_eq!(containerd.status().as_deref(), Some("PAUSED"));
    containerd.verb(&["tasks", "resume", "c"]).ok();
    assert_eq!(containerd.status().as_deref(), Some("RUNNING"));
    assert!(containerd.verb(&["tasks", "metrics", "c"]).ok().contains("67108864"));
    containerd.verb(&["tasks", "kill", "--signal", "TERM", "c"]).ok();
    eventually("its end", PATIENCE, || (containerd.status().as_deref() == Some("STOPPED")).then_some(()));
    let ended = containerd.verb(&["tasks", "delete", "c"]);
    assert!(ended.stderr.contains("exit code 3"), "{ended:?}");
    containerd.verb(&["tasks", "start", "--detach", "c"]).ok();
    containerd.verb(&["tasks", "kill", "--signal", "KILL", "c"]).ok();
    eventually("its end", PATIENCE, || (containerd.status().as_deref() == Some("STOPPED")).then_some(()));
    let ended = containerd.verb(&["tasks", "delete", "c"]);
    assert!(ended.stderr.contains("exit code 137"), "{ended:?}");
    containerd.verb(&["containers", "delete", "c"]).ok();
    assert_eq!(containerd.verb(&["containers", "list", "--quiet"]).ok(), "");
    containerd.host.assert_clean();
}
