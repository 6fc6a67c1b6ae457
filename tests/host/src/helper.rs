//! The host itself: the helper process, its namespaces and its directories.

use crate::child::Running;
use crate::leftovers::{self, Baseline, Helpers, Leftover};
use crate::stale::Place;
use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A machine of its own, as long as the value lives. See the crate for what is private in it.
#[derive(Debug)]
pub struct TestHost {
    name: String,
    /// `unshare`, the parent of the host's pid 1. Its standard input is the pipe that the host lives by.
    helper: Child,
    helpers: Helpers,
    baseline: Baseline,
    /// Directory and cgroup that outlive the namespaces. Dropped after the helper has ended.
    place: Place,
}

impl TestHost {
    /// Starts a host. `name` becomes its host name and part of the names of its directory and cgroup.
    pub fn new(name: &str) -> Self {
        Self::start(name, false)
    }

    /// A host whose mounts are shared, as they are on a machine that runs systemd; on others they are private.
    pub fn with_shared_mounts(name: &str) -> Self {
        Self::start(name, true)
    }

    fn start(name: &str, shared: bool) -> Self {
        assert!(nix::unistd::geteuid().is_root(), "test host `{name}` needs root: run `scripts/test root`");
        let place = Place::make(name);
        let mut helper = Command::new("unshare")
            .args(["--net", "--mount", "--pid", "--fork", "--uts", "--ipc", "--kill-child", "sh", "-c"])
            .arg(script(name, &place, shared))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| panic!("start test host `{name}` by unshare: {e}"));
        let mut lines = BufReader::new(helper.stdout.take().expect("stdout is piped"));
        let mut first = String::new();
        lines.read_line(&mut first).unwrap_or_else(|e| panic!("read from test host `{name}`: {e}"));
        let Some(helpers) = ready(&first) else {
            let mut rest = String::new();
            let _ = lines.read_to_string(&mut rest);
            let status = helper.wait();
            panic!("test host `{name}` did not start ({status:?}): {first}{rest}");
        };
        let baseline = leftovers::baseline(helpers, &place);
        Self { name: name.to_owned(), helper, helpers, baseline, place }
    }

    /// The name it was given.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The host's pid 1 as this process sees it, for `/proc/PID/ns/net` and the like.
    pub fn pid(&self) -> u32 {
        self.helpers.init
    }

    /// A directory of the host's own on a real file system, empty at first, under the same path inside and outside.
    pub fn dir(&self) -> PathBuf {
        self.place.dir().join("files")
    }

    /// How this process reaches a path of the host: `host.outside("/run/berth")`.
    pub fn outside(&self, path: impl AsRef<Path>) -> PathBuf {
        let path = path.as_ref();
        Path::new("/proc").join(self.pid().to_string()).join("root").join(path.strip_prefix("/").unwrap_or(path))
    }

    /// The directories of a control group of the host, as this process reaches them: one on cgroup v2, one per
    /// hierarchy on v1. `""` is the root that the host sees. A group that berth calls `tasks` is found by that name,
    /// although its directory is `_tasks` (v1 has a file `tasks` in every group).
    pub fn cgroup(&self, group: &str) -> Vec<PathBuf> {
        let group = on_disk(group);
        self.place.cgroups().iter().map(|dir| dir.join(&group)).collect()
    }

    /// The directory of a control group of the host where a v1 controller is, or the one there is on v2.
    pub fn controller(&self, controller: &str, group: &str) -> PathBuf {
        let root = self.place.controller(controller);
        root.unwrap_or_else(|| panic!("no cgroup controller `{controller}` on this machine")).join(on_disk(group))
    }

    /// A command that runs inside the host. `program` is looked up on the machine's own path. The started process is
    /// `nsenter`; [`TestHost::spawn`] knows the program's own pid.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.pid().to_string()]);
        command.args(["--mount", "--net", "--pid", "--uts", "--ipc", "--cgroup", "--"]).arg(program);
        command.env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        command
    }

    /// `berth-runtime` inside the host.
    pub fn berth_runtime(&self) -> Command {
        self.command(crate::berth_runtime())
    }

    /// `berth` inside the host. It finds the `berth-runtime` under test.
    pub fn berth(&self) -> Command {
        let mut command = self.command(crate::berth());
        command.env("BERTH_RUNTIME_BIN", crate::berth_runtime());
        command
    }

    /// Runs a program inside the host that must succeed, and returns its standard output.
    pub fn run(&self, program: &str, args: &[&str]) -> String {
        crate::run(self.command(program).args(args))
    }

    /// Starts a command made by [`TestHost::command`] and finds the process behind `nsenter`.
    pub fn spawn(&self, command: &mut Command) -> Running {
        Running::start(command)
    }

    /// What is on the host that was not there when it started: processes, mounts, links, nftables rules, open ports,
    /// control groups. Empty when everything was cleaned up.
    pub fn leftovers(&self) -> Vec<Leftover> {
        leftovers::beyond(&self.baseline, self.helpers, &self.place)
    }

    /// Takes what is there now as the baseline of [`TestHost::leftovers`].
    pub fn rebase(&mut self) {
        self.baseline = leftovers::baseline(self.helpers, &self.place);
    }

    /// Waits until nothing is left on the host, and panics with the list when something stays longer than 5 s.
    pub fn assert_clean(&self) {
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(5);
        loop {
            let left = self.leftovers();
            if left.is_empty() {
                return;
            }
            assert!(std::time::Instant::now() < deadline, "left on test host `{}`: {left:#?}", self.name);
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }
}

impl Drop for TestHost {
    fn drop(&mut self) {
        drop(self.helper.stdin.take());
        // By --kill-child, the end of unshare is the end of pid 1 and so of the host.
        let _ = self.helper.kill();
        let _ = self.helper.wait();
        // `wait` saw the end of unshare. Pid 1, its child, must be gone too before the cgroup can be removed; the
        // place's drop waits for that.
    }
}

/// What the helper's shell does. Its pid is read from the outer `/proc`, before that is covered.
fn script(name: &str, place: &Place, shared: bool) -> String {
    let mut s = String::from("set -e\nread pid rest </proc/self/stat\n");
    for dir in place.cgroups() {
        // A thread that moves itself costs nothing on v1; see the runtime's cgroup module.
        let file = if place.unified() { "cgroup.procs" } else { "tasks" };
        let _ = writeln!(s, "echo 0 >{}/{file}", dir.display());
    }
    s.push_str("exec unshare --cgroup sh -c '");
    s.push_str("set -e\nmount -t proc proc /proc\nmount -t sysfs sysfs /sys\n");
    s.push_str("mount -t tmpfs -o mode=755 tmpfs /run\nmkdir /run/lock\n");
    if place.unified() {
        s.push_str("mount -t cgroup2 cgroup2 /sys/fs/cgroup\nmkdir /sys/fs/cgroup/.helper\n");
        s.push_str("echo 0 >/sys/fs/cgroup/.helper/cgroup.procs\n");
    } else {
        s.push_str("mount -t tmpfs -o mode=755 tmpfs /sys/fs/cgroup\n");
        for (at, options) in place.v1_mounts() {
            let _ = writeln!(s, "mkdir /sys/fs/cgroup/{at}; mount -t cgroup -o {options} cgroup /sys/fs/cgroup/{at}");
        }
    }
    let _ = writeln!(s, "mount --bind {}/lib /var/lib", place.dir().display());
    let _ = writeln!(s, "echo {name} >/proc/sys/kernel/hostname\nip link set lo up");
    if shared {
        s.push_str("mount --make-rshared /\n");
    }
    // The shell reaps what is orphaned while it waits; stdin must be named, or the shell gives /dev/null instead.
    s.push_str("exec 3<&0\ncat <&3 >/dev/null &\necho ready $0 $!\nwait $!\n' $pid\n");
    s
}

fn on_disk(group: &str) -> PathBuf {
    group.split('/').map(|name| if name == "tasks" { "_tasks" } else { name }).collect()
}

/// What the script says last: `ready INIT READER`.
fn ready(line: &str) -> Option<Helpers> {
    let (init, reader) = line.trim().strip_prefix("ready ")?.split_once(' ')?;
    Some(Helpers { init: init.parse().ok()?, reader: reader.parse().ok()? })
}

/// Reads a file that may be of another process's view of the machine; missing is empty.
pub(crate) fn read(path: impl AsRef<Path>) -> String {
    fs::read_to_string(path).unwrap_or_default()
}
