//! A bundle on busybox in a host of its own.

use berth_test_host::{TestHost, output};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

const APPLETS: &[&str] = &[
    "sh", "cat", "chmod", "chown", "cut", "dd", "echo", "env", "grep", "head", "hostname", "id", "ls", "mkdir",
    "mknod", "mkfifo", "mktemp", "mount", "ps", "pwd", "readlink", "sed", "seq", "sleep", "sort", "stat", "stty",
    "test", "touch", "tr", "true", "tty", "umount", "wc",
];

/// One container's bundle, and the host it is on.
pub(crate) struct Bundle {
    pub(crate) host: TestHost,
    pub(crate) config: Value,
}

/// What a finished runtime said.
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Said {
    pub(crate) fn from(output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
        Self { code: output.status.code().unwrap_or(-1), stdout: text(&output.stdout), stderr: text(&output.stderr) }
    }

    /// Its output, of a run that must have succeeded.
    pub(crate) fn ok(self) -> String {
        assert_eq!(self.code, 0, "{}\n{}", self.stdout, self.stderr);
        self.stdout
    }
}

/// The program of the runtime under test.
pub(crate) fn program() -> PathBuf {
    std::env::var_os("BERTH_TEST_RUNTIME").map_or_else(berth_test_host::berth_runtime, PathBuf::from)
}

impl Bundle {
    pub(crate) fn new(name: &str) -> Self {
        Self::on(TestHost::new(name))
    }

    pub(crate) fn on(host: TestHost) -> Self {
        let rootfs = host.dir().join("bundle/rootfs");
        for dir in ["bin", "dev", "etc", "proc", "sys", "tmp", "data"] {
            std::fs::create_dir_all(rootfs.join(dir)).unwrap();
        }
        std::fs::copy("/bin/busybox", rootfs.join("bin/busybox")).expect("busybox-static is needed");
        for applet in APPLETS {
            std::os::unix::fs::symlink("busybox", rootfs.join("bin").join(applet)).unwrap();
        }
        std::fs::write(rootfs.join("etc/passwd"), "root:x:0:0::/root:/bin/sh\nweb:x:33:34::/srv:/bin/sh\n").unwrap();
        std::fs::write(rootfs.join("etc/group"), "root:x:0:\nweb:x:34:\nlogs:x:4:web\n").unwrap();
        Self { host, config: config() }
    }

    pub(crate) fn dir(&self) -> PathBuf {
        self.host.dir().join("bundle")
    }

    pub(crate) fn rootfs(&self) -> PathBuf {
        self.dir().join("rootfs")
    }

    /// The runtime under test, its table in the host's /run.
    pub(crate) fn runtime(&self) -> Command {
        let mut command = self.host.command(program());
        command.args(["--root", "/run/runtime"]).current_dir("/").stdin(Stdio::null());
        command
    }

    /// The runtime's command line inside the host.
    pub(crate) fn words(&self) -> Vec<String> {
        let runtime = self.runtime();
        runtime.get_args().map(|a| a.to_str().unwrap().to_owned()).skip_while(|a| a != "--").skip(1).collect()
    }

    /// Runs a verb to its end.
    pub(crate) fn verb(&self, args: &[&str]) -> Said {
        Said::from(&output(self.runtime().args(args)))
    }

    /// Puts a program of C at /bin/`name` in the root file system, and gives its path.
    pub(crate) fn program(&self, name: &str, source: &str) -> PathBuf {
        let (path, text) = (self.rootfs().join("bin").join(name), self.host.dir().join(name).with_extension("c"));
        std::fs::write(&text, source).unwrap();
        let mut compiler = Command::new("cc");
        berth_test_host::run(compiler.args(["-static", "-O1", "-o"]).arg(&path).arg(&text));
        path
    }

    /// Writes config.json as it is now.
    pub(crate) fn write(&self) {
        std::fs::write(self.dir().join("config.json"), self.config.to_string()).unwrap();
    }

    /// Sets what runs to a shell script.
    pub(crate) fn script(&mut self, script: &str) -> &mut Self {
        self.config["process"]["args"] = json!(["/bin/sh", "-c", script]);
        self
    }

    /// Adds a mount at the end of the list.
    pub(crate) fn mount(&mut self, mount: Value) -> &mut Self {
        self.config["mounts"].as_array_mut().unwrap().push(mount);
        self
    }

    /// Gives the container's program a capability more.
    pub(crate) fn capable(&mut self, capability: &str) -> &mut Self {
        for set in ["bounding", "effective", "permitted"] {
            self.config["process"]["capabilities"][set].as_array_mut().unwrap().push(json!(capability));
        }
        self
    }

    /// A new directory on the host, outside of the bundle.
    pub(crate) fn volume(&self, name: &str) -> PathBuf {
        let path = self.host.dir().join(name);
        std::fs::create_dir(&path).unwrap();
        path
    }

    /// Runs the bundle as container `c` to its end.
    pub(crate) fn run(&self) -> Said {
        self.run_with(&[])
    }

    pub(crate) fn run_with(&self, options: &[&str]) -> Said {
        self.write();
        let dir = self.dir();
        self.verb(&[&["run", "--bundle", dir.to_str().unwrap()], options, &["c"]].concat())
    }

    /// Runs a script in the bundle to its end, which must be a good one, and gives its output.
    pub(crate) fn sh(&mut self, script: &str) -> String {
        self.script(script).run().ok()
    }

    /// Creates container `c`. Its output goes to a file: a pipe would stay open as long as the container.
    pub(crate) fn create(&self) -> Said {
        self.create_with(&[])
    }

    pub(crate) fn create_with(&self, options: &[&str]) -> Said {
        self.write();
        let said = std::fs::File::create(self.host.dir().join("said")).unwrap();
        let errors = std::fs::File::create(self.host.dir().join("errors")).unwrap();
        let mut command = self.runtime();
        command.args(["create", "--bundle", self.dir().to_str().unwrap()]).args(options).arg("c");
        let status = command.stdout(said).stderr(errors).status().unwrap();
        let text = |name: &str| std::fs::read_to_string(self.host.dir().join(name)).unwrap().trim_end().to_owned();
        Said { code: status.code().unwrap_or(-1), stdout: text("said"), stderr: text("errors") }
    }

    /// What the created container has written so far.
    pub(crate) fn said(&self) -> String {
        std::fs::read_to_string(self.host.dir().join("said")).unwrap()
    }

    /// Creates and starts container `c` that runs until it is told to end.
    pub(crate) fn started(&mut self) {
        self.script("trap 'exit 3' TERM; echo up; while :; do sleep 1000 & wait; done").create().ok();
        self.verb(&["start", "c"]).ok();
        berth_test_host::eventually("the container's program", PATIENCE, || self.said().contains("up").then_some(()));
    }

    /// Starts a process in container `c` that goes on by itself. It inherits no pipe, which would stay open with it.
    pub(crate) fn exec_detached(&self, args: &[&str]) {
        let mut command = self.runtime();
        command.args(["exec", "--detach", "c"]).args(args).stdout(Stdio::null()).stderr(Stdio::null());
        assert!(command.status().unwrap().success(), "{args:?}");
    }

    pub(crate) fn state(&self) -> Value {
        serde_json::from_str(&self.verb(&["state", "c"]).ok()).unwrap()
    }

    pub(crate) fn status(&self) -> String {
        self.state()["status"].as_str().unwrap().to_owned()
    }

    pub(crate) fn wait_status(&self, status: &str) {
        berth_test_host::eventually(status, PATIENCE, || (self.status() == status).then_some(()));
    }

    /// Kills and deletes container `c`, after which nothing of it may be left.
    pub(crate) fn done(self) {
        self.verb(&["delete", "--force", "c"]).ok();
        self.assert_clean();
    }

    /// Nothing is left on the host. What another runtime leaves behind is its own affair.
    pub(crate) fn assert_clean(&self) {
        if std::env::var_os("BERTH_TEST_RUNTIME").is_none() {
            self.host.assert_clean();
        }
    }
}

/// A line of a mountinfo file: its options, its optional fields (propagation), and type and options of the file system.
pub(crate) fn mount_at<'a>(mountinfo: &'a str, at: &str) -> (&'a str, String, &'a str) {
    let line = mountinfo.lines().rev().find(|line| line.split(' ').nth(4) == Some(at));
    let line = line.unwrap_or_else(|| panic!("no mount at {at}:\n{mountinfo}"));
    let (first, last) = line.split_once(" - ").unwrap();
    let options = first.split(' ').nth(5).unwrap();
    let optional = first.split(' ').skip(6).map(|field| field.split(':').next().unwrap()).collect::<Vec<_>>();
    (options, optional.join(" "), last)
}

fn config() -> Value {
    let caps = json!(["CAP_CHOWN", "CAP_KILL", "CAP_MKNOD", "CAP_SETUID", "CAP_SETGID", "CAP_DAC_OVERRIDE"]);
    json!({
        "ociVersion": "1.0.2",
        "process": {
            "user": {"uid": 0, "gid": 0},
            "args": ["/bin/true"],
            "env": ["PATH=/bin", "FROM=config"],
            "cwd": "/",
            "capabilities": {"bounding": caps, "effective": caps, "permitted": caps},
            "noNewPrivileges": true
        },
        "root": {"path": "rootfs"},
        "hostname": "inside",
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs",
             "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]},
            {"destination": "/dev/pts", "type": "devpts", "source": "devpts",
             "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]},
            {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "noexec", "nodev", "ro"]}
        ],
        "linux": {
            "namespaces": [
                {"type": "pid"}, {"type": "network"}, {"type": "ipc"}, {"type": "uts"}, {"type": "mount"},
                {"type": "cgroup"}
            ],
            "resources": {"devices": [{"allow": false, "access": "rwm"}]},
            "maskedPaths": ["/proc/keys", "/sys/firmware", "/proc/not-there"],
            "readonlyPaths": ["/proc/sys"]
        }
    })
}
