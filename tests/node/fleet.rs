//! A control plane and its agents, each a process on a host of its own, driven as an ECS client drives them: signed
//! requests by a program that is not ours.

use berth_test_host::{Registry, Running, TestHost, eventually};
use serde_json::{Value, json};
use std::process::Stdio;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);
const PORT: u16 = 51680;

/// One control plane and some nodes.
pub(crate) struct Fleet {
    // Dropped in this order: what runs on the hosts before the hosts.
    programs: Vec<Running>,
    registries: Vec<Registry>,
    nodes: Vec<TestHost>,
    plane: TestHost,
    keys: (String, String),
}

impl Fleet {
    /// Starts a control plane and `nodes` agents, and waits until all are registered and connected.
    pub(crate) fn start(name: &str, nodes: usize) -> Self {
        let plane = TestHost::new(&format!("{name}-plane"));
        let mut fleet =
            Self { programs: vec![], registries: vec![], nodes: vec![], plane, keys: (String::new(), String::new()) };
        fleet.start_plane();
        for i in 0..nodes {
            fleet.start_node(&format!("{name}-{i}"));
        }
        eventually("every agent to be connected", PATIENCE, || {
            let listed = fleet.ask("ListContainerInstances", &json!({}));
            let arns = listed["containerInstanceArns"].as_array()?.clone();
            if arns.len() < nodes {
                return None;
            }
            let described = fleet.ask("DescribeContainerInstances", &json!({ "containerInstances": arns }));
            let instances = described["containerInstances"].as_array()?;
            let connected = instances.iter().filter(|i| i["agentConnected"] == true).count();
            (connected == nodes).then_some(())
        });
        fleet
    }

    fn start_plane(&mut self) {
        let state = self.plane.dir().join("plane");
        let mut command = self.plane.berth();
        command.args(["control-plane", "--listen", &format!("0.0.0.0:{PORT}"), "--state"]).arg(&state);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        self.programs.push(self.plane.spawn(&mut command));
        let text = eventually("the control plane's credentials", PATIENCE, || {
            std::fs::read_to_string(state.join("credentials")).ok()
        });
        let value = |name: &str| {
            let line = text.lines().find(|line| line.starts_with(name)).expect("the file holds both keys");
            line.split_once('=').expect("a key and its value").1.trim().to_owned()
        };
        self.keys = (value("aws_access_key_id"), value("aws_secret_access_key"));
    }

    fn start_node(&mut self, name: &str) {
        let mut host = TestHost::new(name);
        let link = self.plane.connect(&host);
        host.rebase();
        self.registries.push(host.registry());
        let mut command = host.berth();
        command.args(["agent", "--backend", &format!("http://{}:{PORT}", link.first.0)]);
        command.env("AWS_ACCESS_KEY_ID", &self.keys.0).env("AWS_SECRET_ACCESS_KEY", &self.keys.1);
        command.env("AWS_DEFAULT_REGION", "local").stdin(Stdio::null()).stdout(Stdio::null());
        self.programs.push(host.spawn(&mut command));
        self.nodes.push(host);
    }

    /// A call of the ECS API that must succeed.
    fn ask(&self, operation: &str, request: &Value) -> Value {
        let mut command = self.plane.command("curl");
        command.args(["-sS", "--retry", "20", "--retry-connrefused", "--retry-delay", "1"]);
        command.args(["--aws-sigv4", "aws:amz:local:ecs", "--user", &format!("{}:{}", self.keys.0, self.keys.1)]);
        command.args(["-H", "Content-Type: application/x-amz-json-1.1"]);
        command.args(["-H", &format!("X-Amz-Target: AmazonEC2ContainerServiceV20141113.{operation}")]);
        command.args(["--data-binary", &request.to_string(), &format!("http://127.0.0.1:{PORT}/")]);
        let text = berth_test_host::run(&mut command);
        let answer: Value =
            serde_json::from_str(&text).unwrap_or_else(|e| panic!("{operation} answered no JSON: {e}\n{text}"));
        assert!(answer.get("__type").is_none(), "{operation} was refused: {answer}");
        answer
    }

    /// Registers a definition and runs it once; the task's ARN.
    pub(crate) fn run_task(&self, definition: &Value) -> String {
        let mut definition = definition.clone();
        for container in definition["containerDefinitions"].as_array_mut().expect("a list of containers") {
            let name = container["image"].as_str().expect("an image").to_owned();
            container["image"] = json!(self.registries[0].image(&name));
        }
        let registered = self.ask("RegisterTaskDefinition", &definition);
        let arn = &registered["taskDefinition"]["taskDefinitionArn"];
        let placement = json!([{ "type": "spread", "field": "instanceId" }]);
        let run = self.ask("RunTask", &json!({ "taskDefinition": arn, "count": 1, "placementStrategy": placement }));
        assert_eq!(run["failures"].as_array().map_or(0, Vec::len), 0, "{run}");
        run["tasks"][0]["taskArn"].as_str().unwrap_or_else(|| panic!("no task: {run}")).to_owned()
    }

    /// Asks that a task be stopped.
    pub(crate) fn stop_task(&self, arn: &str) {
        self.ask("StopTask", &json!({ "task": arn, "reason": "the test has seen enough" }));
    }

    /// The task as the control plane knows it.
    pub(crate) fn describe(&self, arn: &str) -> Value {
        self.ask("DescribeTasks", &json!({ "tasks": [arn] }))["tasks"][0].clone()
    }

    /// Waits until the control plane says that the task has come to that status.
    pub(crate) fn wait_status(&self, arn: &str, status: &str) {
        eventually(&format!("task {arn} to be {status}"), PATIENCE, || {
            (self.describe(arn)["lastStatus"] == status).then_some(())
        });
    }

    /// Stops every program, and asserts that the nodes hold nothing more.
    pub(crate) fn finish(mut self) {
        for program in &mut self.programs {
            program.signal(nix::sys::signal::Signal::SIGTERM);
        }
        for mut program in self.programs.drain(..) {
            program.wait(PATIENCE);
        }
        self.registries.clear();
        for node in &self.nodes {
            node.assert_clean();
        }
    }
}
