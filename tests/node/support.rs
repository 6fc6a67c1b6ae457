//! A node under test: a host of its own, a registry, an agent, and the command line.

use berth_test_host::{Peer, Registry, Running, TestHost, eventually};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use std::os::unix::net::UnixDatagram;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::Duration;

/// How long anything may take that has no time of its own. Generous: emulated guests are an order slower.
const PATIENCE: Duration = Duration::from_secs(60);

/// A task definition of these containers; images are completed with the registry's address when it is run.
pub(crate) fn definition(mode: &str, containers: Value) -> Value {
    json!({ "family": "test", "networkMode": mode, "containerDefinitions": containers })
}

/// A host with a registry and a running agent. [`Node::finish`] ends every good test.
pub(crate) struct Node {
    // Dropped in this order: what runs on the host before the host.
    agent: Option<Running>,
    registry: Registry,
    peer: std::cell::OnceCell<Peer>,
    notify: Option<UnixDatagram>,
    notified: Vec<String>,
    agent_flags: Vec<String>,
    host: TestHost,
}

impl Node {
    /// Starts a host, its second machine, its registry and its agent.
    pub(crate) fn start(name: &str) -> Self {
        Self::build(name, false, &[])
    }

    /// As [`Node::start`], with flags for the agent.
    pub(crate) fn start_with(name: &str, agent_flags: &[&str]) -> Self {
        Self::build(name, false, agent_flags)
    }

    /// As [`Node::start`], and listens as systemd does for what the agent says of itself.
    pub(crate) fn start_notified(name: &str) -> Self {
        Self::build(name, true, &[])
    }

    fn build(name: &str, notified: bool, agent_flags: &[&str]) -> Self {
        let mut host = TestHost::new(name);
        let peer = std::cell::OnceCell::new();
        let _ = peer.set(host.peer());
        let registry = host.registry();
        let notify = notified.then(|| {
            let socket = UnixDatagram::bind(host.dir().join("notify")).expect("bind a notification socket");
            socket.set_read_timeout(Some(PATIENCE)).expect("set a time-out");
            socket
        });
        let agent_flags = agent_flags.iter().map(ToString::to_string).collect();
        let mut node = Self { agent: None, registry, peer, notify, notified: Vec::new(), agent_flags, host };
        node.start_agent();
        node
    }

    /// Starts the agent and waits until it has registered and answers.
    pub(crate) fn start_agent(&mut self) {
        let mut command = self.host.berth();
        command.arg("agent").args(&self.agent_flags).stdin(Stdio::null()).stdout(Stdio::null());
        let log = std::fs::File::options().create(true).append(true).open(self.host.dir().join("agent.log"));
        command.stderr(log.expect("the host's directory is writable"));
        if self.notify.is_some() {
            command.env("NOTIFY_SOCKET", self.host.dir().join("notify"));
        }
        let mut agent = self.host.spawn(&mut command);
        eventually("the agent to be registered", PATIENCE, || {
            if let Ok(Some(status)) = agent.nsenter.try_wait() {
                panic!("the agent ended at once ({status}):\n{}", self.agent_log());
            }
            let output = self.try_berth(&["node", "--json"]);
            let view: Value = serde_json::from_slice(&output.stdout).ok()?;
            (view["connected"] == true).then_some(())
        });
        self.agent = Some(agent);
        if let Some(socket) = &self.notify {
            let mut buffer = [0; 4096];
            while !self.notified.iter().any(|line| line == "READY=1") {
                let n = socket.recv(&mut buffer).expect("the agent says that it is ready");
                self.notified.extend(String::from_utf8_lossy(&buffer[..n]).lines().map(str::to_owned));
            }
        }
    }

    /// What the agent has told systemd.
    pub(crate) fn notified(&self) -> &[String] {
        &self.notified
    }

    fn agent_log(&self) -> String {
        std::fs::read_to_string(self.host.dir().join("agent.log")).unwrap_or_default()
    }

    /// Ends the agent without a word.
    pub(crate) fn kill_agent(&mut self) {
        let mut agent = self.agent.take().expect("the agent runs");
        agent.signal(Signal::SIGKILL);
        agent.wait(PATIENCE);
    }

    /// Asks the agent to end.
    pub(crate) fn stop_agent(&mut self) -> ExitStatus {
        let mut agent = self.agent.take().expect("the agent runs");
        agent.signal(Signal::SIGTERM);
        agent.wait(PATIENCE)
    }

    /// Spoils the agent's store, as a disk may. Only while no agent runs.
    pub(crate) fn damage_store(&self) {
        let store = self.host.outside("/var/lib/berth/agent.redb");
        let bytes = std::fs::read(&store).unwrap_or_else(|e| panic!("read {}: {e}", store.display()));
        std::fs::write(&store, vec![0x55; bytes.len()]).expect("write the store");
    }

    /// Ends the shim of a task without a word.
    pub(crate) fn kill_shim(&self, id: &str) {
        let listed = self.host.run("sh", &["-c", "grep -lz . /proc/[0-9]*/cmdline 2>/dev/null || true"]);
        let mut killed = 0;
        for file in listed.lines() {
            let line = std::fs::read_to_string(self.host.outside(file)).unwrap_or_default();
            let mut words = line.split('\0');
            if words.nth(1) == Some("shim") && line.contains(id) {
                let pid = file.trim_start_matches("/proc/").trim_end_matches("/cmdline");
                self.host.run("kill", &["-9", pid]);
                killed += 1;
            }
        }
        assert_eq!(killed, 1, "the task has one shim");
    }

    /// `berth ARGS`, whatever comes of it.
    pub(crate) fn try_berth(&self, args: &[&str]) -> Output {
        let mut command = self.host.berth();
        berth_test_host::output(command.args(args).stdin(Stdio::null()))
    }

    /// `berth ARGS`, which must succeed; its standard output.
    pub(crate) fn berth(&self, args: &[&str]) -> String {
        let output = self.try_berth(args);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(
            output.status.success(),
            "berth {args:?}: {}\n{}{}\nthe agent's log:\n{}",
            output.status,
            text(&output.stdout),
            text(&output.stderr),
            self.agent_log()
        );
        text(&output.stdout)
    }

    /// `berth ARGS`, which must succeed and print JSON.
    pub(crate) fn json(&self, args: &[&str]) -> Value {
        let text = self.berth(args);
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("berth {args:?} printed no JSON: {e}\n{text}"))
    }

    /// `berth ARGS` on a terminal; what it showed.
    pub(crate) fn in_terminal(&self, args: &[&str]) -> String {
        let line: Vec<String> = args.iter().map(|a| format!("'{}'", a.replace('\'', "'\\''"))).collect();
        let berth = berth_test_host::berth();
        let line = format!("{} {}", berth.display(), line.join(" "));
        let mut command = self.host.command("script");
        let output = berth_test_host::output(command.args(["-qec", &line, "/dev/null"]).stdin(Stdio::null()));
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stdout));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// The reference of an image of the registry.
    pub(crate) fn image(&self, name: &str) -> String {
        self.registry.image(name)
    }

    /// Writes a definition, its images completed, where `berth run -f` reads it.
    fn definition_file(&self, definition: &Value) -> String {
        let mut definition = definition.clone();
        for container in definition["containerDefinitions"].as_array_mut().expect("a list of containers") {
            if let Some(name) = container["image"].as_str().filter(|name| !name.contains('/')) {
                container["image"] = json!(self.image(name));
            }
        }
        let file = self.host.dir().join("definition.json");
        std::fs::write(&file, definition.to_string()).expect("write a definition");
        file.display().to_string()
    }

    /// `berth run --detach -f DEFINITION`, whatever comes of it.
    pub(crate) fn try_run(&self, definition: &Value) -> Output {
        self.try_berth(&["run", "--detach", "-f", &self.definition_file(definition)])
    }

    /// Runs a task that may end at once; its id.
    pub(crate) fn run_detached(&self, definition: &Value) -> String {
        let output = self.try_run(definition);
        let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        assert!(
            !text.is_empty() && !text.contains(char::is_whitespace),
            "run: {}\n{}\nthe agent's log:\n{}",
            output.status,
            String::from_utf8_lossy(&output.stderr),
            self.agent_log()
        );
        text
    }

    /// Runs a task that stays; its id.
    pub(crate) fn run(&self, definition: &Value) -> String {
        let id = self.run_detached(definition);
        assert_eq!(self.task(&id)["status"], "RUNNING", "{:#}\n{}", self.task(&id), self.agent_log());
        id
    }

    /// Begins `berth run` and does not wait for it.
    pub(crate) fn spawn_run(&self, definition: &Value) -> Begun {
        let mut command = self.host.berth();
        command.args(["run", "--detach", "-f", &self.definition_file(definition)]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Begun(command.spawn().expect("start berth run"))
    }

    /// The task as the node tells it.
    pub(crate) fn task(&self, id: &str) -> Value {
        let view = self.json(&["inspect", "--json", id]);
        view.get(0).cloned().unwrap_or(view)
    }

    /// One container of a task as the node tells it.
    pub(crate) fn container(&self, id: &str, name: &str) -> Value {
        let task = self.task(id);
        let containers = task["containers"].as_array().expect("a task has containers");
        containers.iter().find(|c| c["name"] == name).unwrap_or_else(|| panic!("no container `{name}`: {task}")).clone()
    }

    /// CPU time that a container has used, from the kernel's own account.
    pub(crate) fn cpu_seconds(&self, id: &str, name: &str) -> f64 {
        let group = format!("berth/_tasks/{id}/{name}");
        let dirs = self.host.cgroup(&group);
        let nanoseconds = dirs.iter().find_map(|dir| {
            if let Ok(text) = std::fs::read_to_string(dir.join("cpuacct.usage")) {
                return text.trim().parse::<u64>().ok();
            }
            let text = std::fs::read_to_string(dir.join("cpu.stat")).ok()?;
            let usec = text.lines().find_map(|line| line.strip_prefix("usage_usec "))?;
            usec.parse::<u64>().ok().map(|usec| usec * 1000)
        });
        nanoseconds.unwrap_or_else(|| panic!("no account of CPU time in {dirs:?}")) as f64 / 1e9
    }

    /// A directory of the node's on a real file system, under the same path for this test.
    pub(crate) fn dir(&self) -> std::path::PathBuf {
        self.host.dir()
    }

    /// The first process of a container, as the kernel tells about it on the node.
    pub(crate) fn status_of_process(&self, id: &str, name: &str) -> String {
        let dirs = self.host.cgroup(&format!("berth/_tasks/{id}/{name}"));
        let pids = dirs.iter().find_map(|dir| std::fs::read_to_string(dir.join("cgroup.procs")).ok());
        let pids = pids.unwrap_or_else(|| panic!("no list of processes in {dirs:?}"));
        let pid = pids.lines().next().expect("the container has a process");
        std::fs::read_to_string(format!("/proc/{pid}/status")).expect("the process lives")
    }

    /// Waits until the task has stopped.
    pub(crate) fn wait_stopped(&self, id: &str) {
        self.wait_for("the task to stop", || self.task(id)["status"] == "STOPPED");
    }

    /// Waits until something is so.
    pub(crate) fn wait_for(&self, what: &str, condition: impl Fn() -> bool) {
        eventually(what, PATIENCE, || condition().then_some(()));
    }

    /// Lets the node run undisturbed; for what is measured over time or must happen with nobody looking.
    pub(crate) fn let_run(&self, time: Duration) {
        std::thread::sleep(time);
    }

    /// The node's address on the network that it shares with the second machine.
    pub(crate) fn address(&self) -> String {
        self.peer.get().expect("made with the node").server.0.to_string()
    }

    /// What an HTTP server answers to the second machine.
    pub(crate) fn fetch_from_peer(&self, address: &str, port: u16) -> String {
        fetch(&self.peer.get().expect("made with the node").host, address, port)
    }

    /// What an HTTP server answers to the node itself.
    pub(crate) fn fetch_locally(&self, address: &str, port: u16) -> String {
        fetch(&self.host, address, port)
    }

    /// Holds a TCP port of the node as another program would.
    pub(crate) fn listen(&self, port: u16) -> Running {
        let mut command = self.host.command("busybox");
        command.args(["nc", "-l", "-p", &port.to_string()]).stdin(Stdio::null()).stdout(Stdio::null());
        let running = self.host.spawn(&mut command);
        let local = format!(":{port:04X} ");
        self.wait_for("the other program to listen", || {
            let tables = ["tcp", "tcp6"].map(|t| std::fs::read_to_string(format!("/proc/{}/net/{t}", self.host.pid())));
            tables.into_iter().flatten().any(|t| t.contains(&local))
        });
        running
    }

    /// What is on the host beyond the node at rest (the agent, its bridge and its table).
    pub(crate) fn leftovers(&self) -> Vec<String> {
        let all = self.host.leftovers().into_iter().map(|l| format!("{l:?}"));
        // The group that shims live in is there as long as the agent.
        let at_rest = |text: &String| text.ends_with("berth/shims\")");
        all.filter(|t| !at_rest(t) && ["/tasks/", "/_tasks/", "shim", "worker"].iter().any(|w| t.contains(w))).collect()
    }

    /// Removes every task, stops the agent, and asserts that nothing is left on the host: no process, mount,
    /// namespace, link, rule, port or cgroup. An agent that stops with no task left takes its bridge and table along.
    pub(crate) fn finish(mut self) {
        for task in self.json(&["ps", "-a", "--json"]).as_array().expect("a list of tasks") {
            self.berth(&["rm", "-f", task["id"].as_str().expect("a task has an id")]);
        }
        let status = self.stop_agent();
        assert_eq!(status.code(), Some(0), "the agent ended badly:\n{}", self.agent_log());
        self.host.assert_clean();
    }
}

/// A `berth run` that nobody waits for.
pub(crate) struct Begun(Child);

impl Drop for Begun {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// An HTTP request from a host, tried until somebody answers.
fn fetch(from: &TestHost, address: &str, port: u16) -> String {
    let url = format!("http://{address}:{port}/");
    eventually(&format!("an answer from {url}"), PATIENCE, || {
        // Not wget of a static busybox: its name look-up crashes where the C library's modules are of another version.
        let mut command: Command = from.command("curl");
        let output = berth_test_host::output(command.args(["-sS", "--max-time", "5", &url]));
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    })
}
