//! Containers whose control groups systemd makes: `berth-runtime --systemd-cgroup`.

use berth_test_host::{berth_runtime, eventually, output, run};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A bundle on busybox, on the machine itself.
struct Container {
    dir: PathBuf,
    id: String,
    config: Value,
    /// The runtime does not see systemd's own socket.
    by_bus: bool,
}

/// Hides systemd's own socket from a command.
const BY_BUS: [&str; 5] = ["--mount", "sh", "-c", "mount --bind /dev/null /run/systemd/private && exec \"$@\"", "sh"];

struct Said {
    ok: bool,
    text: String,
}

impl Container {
    fn new(id: &str, cgroups_path: &str, script: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("scope-{id}"));
        let rootfs = dir.join("rootfs");
        for name in ["bin", "dev", "proc"] {
            fs::create_dir_all(rootfs.join(name)).unwrap();
        }
        fs::copy("/bin/busybox", rootfs.join("bin/busybox")).unwrap();
        for applet in ["sh", "sleep", "true", "cat", "grep"] {
            let _ = symlink("busybox", rootfs.join("bin").join(applet));
        }
        let mut config = json!({
            "ociVersion": "1.0.2",
            "process": {"user": {"uid": 0, "gid": 0}, "args": ["/bin/sh", "-c", script], "env": ["PATH=/bin"], "cwd": "/"},
            "root": {"path": "rootfs"},
            "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"}],
            "linux": {
                "namespaces": [{"type": "pid"}, {"type": "mount"}, {"type": "cgroup"}],
                "resources": {"devices": [{"allow": false, "access": "rwm"}]}
            }
        });
        if !cgroups_path.is_empty() {
            config["linux"]["cgroupsPath"] = json!(cgroups_path);
        }
        Self { dir, id: id.to_owned(), config, by_bus: false }
    }

    fn annotated(mut self, name: &str, value: &str) -> Self {
        self.config["annotations"][format!("org.systemd.property.{name}")] = json!(value);
        self
    }

    fn limited(mut self, key: &str, value: Value) -> Self {
        self.config["linux"]["resources"][key] = value;
        self
    }

    /// A verb with its options; the id comes last.
    fn verb(&self, args: &[&str]) -> Said {
        fs::write(self.dir.join("config.json"), self.config.to_string()).unwrap();
        let said = fs::File::create(self.dir.join("said")).unwrap();
        let mut command = Command::new(berth_runtime());
        if self.by_bus {
            command = Command::new("unshare");
            command.args(BY_BUS).arg(berth_runtime());
        }
        command.args(["--root", "/run/scope-tests", "--systemd-cgroup"]).args(args).arg(&self.id);
        command.current_dir(&self.dir).stdin(Stdio::null());
        // To a file: a pipe would stay open as long as the container.
        let status = command.stdout(said.try_clone().unwrap()).stderr(said).status().unwrap();
        Said { ok: status.success(), text: fs::read_to_string(self.dir.join("said")).unwrap() }
    }

    fn ok(&self, args: &[&str]) -> String {
        let said = self.verb(args);
        assert!(said.ok, "{args:?}: {}", said.text);
        said.text
    }

    fn status(&self) -> String {
        let state: Value = serde_json::from_str(&self.ok(&["state"])).unwrap();
        state["status"].as_str().unwrap().to_owned()
    }

    fn pid(&self) -> u64 {
        let state: Value = serde_json::from_str(&self.ok(&["state"])).unwrap();
        state["pid"].as_u64().unwrap()
    }
}

pub(crate) fn show(unit: &str, property: &str) -> String {
    run(Command::new("systemctl").args(["show", "-p", property, "--value", unit])).trim().to_owned()
}

pub(crate) fn group(path: &str) -> PathBuf {
    Path::new("/sys/fs/cgroup").join(path)
}

pub(crate) fn file(path: &str, name: &str) -> String {
    fs::read_to_string(group(path).join(name)).unwrap().trim().to_owned()
}

/// Neither the unit nor its group is left.
fn assert_gone(unit: &str, path: &str) {
    assert_eq!(show(unit, "LoadState"), "not-found");
    assert!(!group(path).exists());
}

const FOREVER: &str = "while :; do sleep 1000; done";

#[test]
#[ignore = "needs systemd with berth's units"]
fn systemd_makes_the_scope_knows_its_limits_and_keeps_them() {
    let (unit, path) = ("rt-limits.scope", "scope.slice/scope-tests.slice/rt-limits.scope");
    let container = Container::new("limits", "scope-tests.slice:rt:limits", FOREVER)
        .limited("memory", json!({"limit": 64 << 20, "swap": 64 << 20, "reservation": 32 << 20}))
        .limited("cpu", json!({"shares": 512, "quota": 20_000, "period": 50_000, "cpus": "0"}))
        .limited("pids", json!({"limit": 33}));
    container.ok(&["create"]);
    container.ok(&["start"]);
    let members = file(path, "cgroup.procs");
    assert!(members.lines().any(|line| line == container.pid().to_string()), "{members}");
    for (property, value) in [
        ("ActiveState", "active"),
        ("Slice", "scope-tests.slice"),
        ("ControlGroup", "/scope.slice/scope-tests.slice/rt-limits.scope"),
        ("Delegate", "yes"),
        ("MemoryMax", "67108864"),
        ("MemoryLow", "33554432"),
        ("MemorySwapMax", "0"),
        ("CPUWeight", "59"),
        ("CPUQuotaPerSecUSec", "400ms"),
        ("AllowedCPUs", "0"),
        ("TasksMax", "33"),
    ] {
        assert_eq!(show(unit, property), value, "{property}");
    }
    let limits = [("pids.max", "33"), ("cpu.weight", "59"), ("cpu.max", "20000 50000"), ("memory.max", "67108864")];
    let check = || limits.iter().for_each(|(name, value)| assert_eq!(file(path, name), *value, "{name}"));
    check();
    // What systemd does not know it would now set back.
    run(Command::new("systemctl").arg("daemon-reload"));
    check();
    container.ok(&["update", "--pids-limit", "44", "--memory", "96m", "--cpu-share", "1024"]);
    assert_eq!((show(unit, "TasksMax"), file(path, "pids.max")), ("44".into(), "44".into()));
    assert_eq!((show(unit, "CPUWeight"), file(path, "cpu.weight")), ("100".into(), "100".into()));
    run(Command::new("systemctl").arg("daemon-reload"));
    assert_eq!(file(path, "memory.max"), (96 << 20).to_string());
    container.ok(&["delete", "--force"]);
    assert_gone(unit, path);
}

#[test]
#[ignore = "needs systemd with berth's units"]
fn a_container_without_a_path_is_in_the_system_slice_and_leaves_nothing() {
    let container = Container::new("plain", "", "grep -q :/ /proc/self/cgroup && echo inside; exit 7");
    let said = container.verb(&["run"]);
    assert!(!said.ok && said.text == "inside\n", "{}", said.text);
    assert_gone("berth-plain.scope", "system.slice/berth-plain.scope");
}

#[test]
#[ignore = "needs systemd with berth's units"]
fn a_path_that_names_no_unit_is_refused() {
    for (path, words) in
        [("/plain", "slice:prefix:name"), ("x:y:z", "invalid slice name"), ("a.slice:p:x y", "invalid unit")]
    {
        let said = Container::new("refused", path, "true").verb(&["create"]);
        assert!(!said.ok && said.text.contains(words), "{path}: {}", said.text);
    }
}

#[test]
#[ignore = "needs systemd with berth's units"]
fn annotations_are_properties_of_the_scope() {
    // The first two as podman writes them. The weight is one that the limits give as well.
    let container = Container::new("annotated", "", FOREVER)
        .limited("cpu", json!({"shares": 512}))
        .annotated("KillSignal", "15")
        .annotated("TimeoutStopUSec", "uint64 10000000")
        .annotated("RuntimeMaxSec", "3600.5")
        .annotated("CollectMode", "'inactive-or-failed'")
        .annotated("SendSIGHUP", "true")
        .annotated("After", "['local-fs.target']")
        .annotated("AllowedCPUs", "[byte 0x01]")
        .annotated("CPUWeight", "uint64 77");
    container.ok(&["create"]);
    container.ok(&["start"]);
    let unit = "berth-annotated.scope";
    for (property, value) in [
        ("KillSignal", "15"),
        ("TimeoutStopUSec", "10s"),
        ("RuntimeMaxUSec", "1h 500ms"),
        ("CollectMode", "inactive-or-failed"),
        ("SendSIGHUP", "yes"),
        ("AllowedCPUs", "0"),
        ("CPUWeight", "77"),
    ] {
        assert_eq!(show(unit, property), value, "{property}");
    }
    let after = show(unit, "After");
    assert!(after.split(' ').any(|name| name == "local-fs.target"), "{after}");
    container.ok(&["delete", "--force"]);
    assert_gone(unit, &format!("system.slice/{unit}"));
}

#[test]
#[ignore = "needs systemd with berth's units"]
fn systemd_is_asked_over_the_system_bus_where_its_own_socket_is_not_there() {
    let mut container = Container::new("bus", "", FOREVER).limited("pids", json!({"limit": 33}));
    container.by_bus = true;
    container.ok(&["create"]);
    container.ok(&["start"]);
    assert_eq!(show("berth-bus.scope", "TasksMax"), "33");
    container.ok(&["update", "--pids-limit", "44"]);
    assert_eq!(show("berth-bus.scope", "TasksMax"), "44");
    container.ok(&["delete", "--force"]);
    assert_gone("berth-bus.scope", "system.slice/berth-bus.scope");
    // What systemd refuses comes back over it as well.
    let mut container = Container::new("bus", "", "true").annotated("NoSuchProperty", "15");
    container.by_bus = true;
    let said = container.verb(&["create"]);
    assert!(!said.ok && said.text.contains("NoSuchProperty"), "{}", said.text);
    assert_gone("berth-bus.scope", "system.slice/berth-bus.scope");
}

#[test]
#[ignore = "needs systemd with berth's units"]
fn annotations_that_cannot_be_properties_leave_nothing() {
    for (name, value, words) in [
        ("TimeoutStopUSec", "uint64 x", "annotations[org.systemd.property.TimeoutStopUSec]"),
        ("Kill-Signal", "15", "annotations[org.systemd.property.Kill-Signal]"),
        ("Slice", "'other.slice'", "annotations[org.systemd.property.Slice]"),
        // What only systemd can know is its own to say; of a wrong type it does not say whose.
        ("NoSuchProperty", "15", "NoSuchProperty"),
        ("KillSignal", "'TERM'", "set unit properties"),
    ] {
        let said = Container::new("misannotated", "", "true").annotated(name, value).verb(&["create"]);
        assert!(!said.ok && said.text.contains(words), "{name}: {}", said.text);
        assert_gone("berth-misannotated.scope", "system.slice/berth-misannotated.scope");
        assert!(!Path::new("/run/scope-tests/misannotated").exists(), "{name}");
    }
}

#[test]
#[ignore = "needs systemd with berth's units"]
fn a_limit_of_one_process_leaves_room_for_the_init() {
    let container = Container::new("single", "", "exec sleep 1000").limited("pids", json!({"limit": 1}));
    container.ok(&["create"]);
    container.ok(&["start"]);
    assert_eq!(file("system.slice/berth-single.scope", "pids.max"), "1");
    assert_eq!(show("berth-single.scope", "TasksMax"), "1");
    assert_eq!(file("system.slice/berth-single.scope", "cgroup.procs").lines().count(), 1, "the init alone");
    container.ok(&["delete", "--force"]);
    assert_gone("berth-single.scope", "system.slice/berth-single.scope");
}

#[test]
#[ignore = "needs systemd with berth's units"]
fn a_create_that_fails_leaves_no_unit() {
    let mut container = Container::new("failed", "", "true");
    container.config["process"]["args"] = json!(["/no/such/program"]);
    assert!(!container.verb(&["create"]).ok);
    assert_gone("berth-failed.scope", "system.slice/berth-failed.scope");
    // Nor does one that systemd itself refuses.
    let container = Container::new("failed", "", "true").limited("cpu", json!({"shares": 2, "cpus": "4000"}));
    let said = container.verb(&["create"]);
    assert!(!said.ok, "{}", said.text);
    assert_gone("berth-failed.scope", "system.slice/berth-failed.scope");
}

#[test]
#[ignore = "needs systemd with berth's units"]
fn a_scope_that_systemd_stops_is_a_container_that_has_ended() {
    let container = Container::new("stopped", "", FOREVER);
    container.ok(&["create"]);
    container.ok(&["start"]);
    run(Command::new("systemctl").args(["kill", "--signal=KILL", "berth-stopped.scope"]));
    eventually("its end", super::PATIENCE, || (container.status() == "stopped").then_some(()));
    container.ok(&["delete"]);
    assert_gone("berth-stopped.scope", "system.slice/berth-stopped.scope");
    let left = output(Command::new("systemctl").args(["is-failed", "berth-stopped.scope"]));
    assert!(!left.status.success());
}
