//! A task on a test host: its directories, its plan, its shim, as an agent would make them.

use berth_runtime::cgroup::limits::Limits;
use berth_runtime::id::ContainerName;
use berth_runtime::rundir::{ContainerDirs, TaskDirs};
use berth_runtime::shim::client::Client;
use berth_runtime::shim::facts;
use berth_runtime::shim::protocol::{FromShim, ToShim};
use berth_runtime::spec::IdMaps;
use berth_runtime::sys::{pidfd, spawn};
use berth_runtime::task::plan::{Condition, ContainerPlan, Dependency, LogPlan, PLAN_VERSION, TaskPlan};
use berth_runtime::task::view::{ContainerState, ExitRecord, Phase, TaskView};
use berth_test_host::{Leftover, TestHost, eventually};
use nix::unistd::Pid;
use serde_json::json;
use std::fs::{self, File};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Long: these tests also run in a guest without hardware support. Nothing waits this long unless it fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// A container that runs `script` in busybox's shell.
pub(crate) fn sh(name: &str, script: &str) -> Container {
    Container::new(name, &["/bin/sh", "-c", script])
}

/// One container of a task to be.
pub(crate) struct Container {
    pub(crate) plan: ContainerPlan,
    args: Vec<String>,
    memory_bytes: Option<u64>,
}

impl Container {
    pub(crate) fn new(name: &str, args: &[&str]) -> Self {
        let plan = ContainerPlan {
            name: name.into(),
            essential: true,
            bundle: PathBuf::new(),
            network: None,
            depends_on: Vec::new(),
            start_timeout_ms: 0,
            stop_timeout_ms: 10_000,
            stop_signal: 15,
            log: LogPlan::File,
        };
        Self { plan, args: args.iter().map(|a| (*a).to_owned()).collect(), memory_bytes: None }
    }

    pub(crate) fn helper(mut self) -> Self {
        self.plan.essential = false;
        self
    }

    pub(crate) fn after(mut self, on: u32, condition: Condition) -> Self {
        self.plan.depends_on.push(Dependency { on, condition });
        self
    }

    pub(crate) fn stop_timeout(mut self, ms: u64) -> Self {
        self.plan.stop_timeout_ms = ms;
        self
    }

    pub(crate) fn memory(mut self, bytes: u64) -> Self {
        self.memory_bytes = Some(bytes);
        self
    }

    fn config(&self, rootfs: &Path) -> serde_json::Value {
        let mount = |at: &str, kind: &str| json!({"destination": at, "type": kind, "source": kind});
        let pts = json!({
            "destination": "/dev/pts", "type": "devpts", "source": "devpts",
            "options": ["newinstance", "ptmxmode=0666", "mode=0620"],
        });
        let memory = self.memory_bytes.map(|b| json!({"limit": b, "swap": b}));
        json!({
            "ociVersion": "1.2.0",
            "process": {
                "user": {"uid": 0, "gid": 0}, "cwd": "/", "args": self.args,
                "env": ["PATH=/bin", "FROM=config"], "noNewPrivileges": true,
            },
            "root": {"path": rootfs, "readonly": true},
            "hostname": self.plan.name,
            "mounts": [mount("/proc", "proc"), mount("/dev", "tmpfs"), pts, mount("/tmp", "tmpfs")],
            "linux": {
                "namespaces": [
                    {"type": "pid"}, {"type": "mount"}, {"type": "ipc"}, {"type": "uts"}, {"type": "network"},
                ],
                "resources": {"memory": memory},
            },
        })
    }
}

/// A task whose shim runs, or has run.
pub(crate) struct Task<'h> {
    pub(crate) host: &'h TestHost,
    /// As the host names them.
    pub(crate) dirs: TaskDirs,
    /// As this process reaches them.
    pub(crate) seen: TaskDirs,
    /// `nsenter`, whose end is the shim's.
    pub(crate) nsenter: OwnedFd,
    nsenter_pid: u32,
}

/// A root file system of busybox, made once per host.
pub(crate) fn rootfs(host: &TestHost) -> PathBuf {
    let root = host.dir().join("rootfs");
    if root.is_dir() {
        return root;
    }
    for dir in ["bin", "proc", "dev", "tmp", "etc", "sys"] {
        fs::create_dir_all(root.join(dir)).unwrap();
    }
    fs::copy("/bin/busybox", root.join("bin/busybox")).unwrap();
    for name in [
        "sh", "sleep", "echo", "cat", "tail", "head", "dd", "kill", "true", "false", "id", "tty", "yes", "stty", "grep",
    ] {
        symlink("busybox", root.join("bin").join(name)).unwrap();
    }
    root
}

impl<'h> Task<'h> {
    /// Writes everything that an agent writes, and starts the shim.
    pub(crate) fn start(host: &'h TestHost, id: &str, containers: Vec<Container>) -> Self {
        Self::start_with(host, id, Limits::default(), containers)
    }

    pub(crate) fn start_with(host: &'h TestHost, id: &str, limits: Limits, containers: Vec<Container>) -> Self {
        let run = Path::new("/run/berth/tasks").join(id);
        let state = host.dir().join("state").join(id);
        let dirs = TaskDirs::new(&run, &state);
        let seen = TaskDirs::new(host.outside(&run), &state);
        let rootfs = rootfs(host);
        fs::create_dir_all(seen.run()).unwrap();
        let mut plans = Vec::new();
        for mut c in containers {
            let name = ContainerName::parse(&c.plan.name).unwrap();
            c.plan.bundle = dirs.container(&name).bundle();
            let bundle = seen.container(&name).bundle();
            fs::create_dir_all(&bundle).unwrap();
            fs::write(bundle.join("config.json"), c.config(&rootfs).to_string()).unwrap();
            plans.push(c.plan);
        }
        let plan = TaskPlan {
            version: PLAN_VERSION,
            task: id.into(),
            cgroup_parent: "berth".into(),
            limits,
            network: None,
            containers: plans,
            users: IdMaps::default(),
        };
        facts::write_plan(&seen, &plan).unwrap();
        let lock = locked(&seen.lock()).expect("nobody else has the lock");
        let listener = UnixListener::bind(seen.socket()).unwrap();
        let (nsenter_pid, nsenter) = spawn_in(
            host,
            &["shim", "--run", run.to_str().unwrap(), "--state", state.to_str().unwrap()],
            &[(lock.as_fd(), 3), (listener.as_fd(), 4)],
        );
        Self { host, dirs, seen, nsenter, nsenter_pid }
    }

    pub(crate) fn container(&self, name: &str) -> ContainerDirs {
        self.seen.container(&ContainerName::parse(name).unwrap())
    }

    pub(crate) fn client(&self) -> Client {
        let client = Client::connect(&self.seen.socket()).unwrap();
        client.set_timeout(Some(PATIENCE)).unwrap();
        client
    }

    /// The output of a container so far, all lines of both streams.
    pub(crate) fn output(&self, name: &str) -> String {
        let log = fs::read_to_string(self.container(name).log()).unwrap_or_default();
        let text = |line: &str| -> String {
            let v: serde_json::Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("log line {line}: {e}"));
            v["log"].as_str().unwrap().to_owned()
        };
        log.lines().map(text).collect()
    }

    /// Waits until the container has written `text`.
    pub(crate) fn wait_output(&self, name: &str, text: &str) {
        eventually(&format!("`{text}` from {name}"), PATIENCE, || self.output(name).contains(text).then_some(()));
    }

    /// Waits for a view that satisfies `want`.
    pub(crate) fn wait_view(client: &mut Client, want: impl Fn(&TaskView) -> bool) -> TaskView {
        loop {
            if let FromShim::View { view } = client.receive().unwrap()
                && want(&view)
            {
                return view;
            }
        }
    }

    /// Waits until the shim itself has ended, and returns the recorded end.
    pub(crate) fn wait_end(&self) -> TaskView {
        eventually("the shim to end", PATIENCE, || pidfd::ended(&self.nsenter).unwrap_or(None));
        facts::read_end(&self.seen).unwrap().expect("the end is recorded")
    }

    /// Tells the shim that its end has been recorded, when it has ended, and returns that.
    pub(crate) fn collect(&self) -> TaskView {
        let mut client = self.client();
        Self::wait_view(&mut client, |v| v.phase == Phase::Ended);
        client.send(&ToShim::Collect).unwrap();
        self.wait_end()
    }

    /// The shim's process id as this process sees it.
    pub(crate) fn shim_pid(&self) -> Pid {
        let children = format!("/proc/{0}/task/{0}/children", self.nsenter_pid);
        let find = || fs::read_to_string(&children).ok()?.split_whitespace().next()?.parse().ok();
        Pid::from_raw(eventually("the shim's process", PATIENCE, find))
    }

    pub(crate) fn exit(&self, name: &str) -> ExitRecord {
        facts::read_exit(&self.container(name)).unwrap().expect("the exit is recorded")
    }

    pub(crate) fn shim_log(&self) -> String {
        fs::read_to_string(self.seen.shim_log()).unwrap_or_default()
    }

    /// Somebody holds the task's lock.
    pub(crate) fn is_locked(&self) -> bool {
        locked(&self.seen.lock()).is_none()
    }
}

/// The file at `path`, made and locked; `None` when another holds the lock.
pub(crate) fn locked(path: &Path) -> Option<File> {
    let file = File::options().create(true).truncate(false).write(true).open(path).unwrap();
    file.try_lock().ok().map(|()| file)
}

/// Starts `berth-runtime` on the host with descriptors at given numbers; returns the `nsenter` before it.
pub(crate) fn spawn_in(host: &TestHost, args: &[&str], fds: &[(BorrowedFd<'_>, i32)]) -> (u32, OwnedFd) {
    let program = berth_test_host::berth_runtime();
    let pid = host.pid().to_string();
    let mut all: Vec<String> = vec!["--target".into(), pid];
    all.extend(["--mount", "--net", "--pid", "--uts", "--ipc", "--cgroup", "--"].map(String::from));
    all.push(program.to_str().unwrap().to_owned());
    all.extend(args.iter().map(|a| (*a).to_owned()));
    spawn::spawn(Path::new("/usr/bin/nsenter"), &all, fds).unwrap()
}

pub(crate) fn states(view: &TaskView) -> Vec<ContainerState> {
    view.containers.iter().map(|c| c.state).collect()
}

/// Waits until nothing is left on the host but the node's own groups, which are the agent's.
pub(crate) fn assert_clean(host: &TestHost) {
    let of_the_node = ["berth", "berth/shims", "berth/tasks", "berth/_tasks"];
    let left = || -> Vec<Leftover> {
        let is_nodes = |l: &Leftover| matches!(l, Leftover::Cgroup(name) if of_the_node.iter().any(|n| name.rsplit(' ').next() == Some(n)));
        host.leftovers().into_iter().filter(|l| !is_nodes(l)).collect()
    };
    let deadline = Instant::now() + PATIENCE;
    while !left().is_empty() {
        assert!(Instant::now() < deadline, "left on test host `{}`: {:#?}", host.name(), left());
        std::thread::sleep(Duration::from_millis(5));
    }
}
