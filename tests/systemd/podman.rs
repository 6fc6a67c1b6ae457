//! podman as Debian sets it up: control groups of version 2, which systemd makes, conmon in a scope of its own, overlay
//! and AppArmor. `tests/peers` drives the same podman through more of a container's life, without systemd.

use super::scope::{file, group, show};
use super::{MACHINE, PATIENCE, REGISTRY, process, systemctl};
use berth_test_host::{berth_runtime, eventually, output, run};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::MutexGuard;

/// Ends in its own way when it is asked to. The child is there once it can be asked.
const SERVICE: &str = "trap 'exit 3' TERM; while :; do sleep 44444 & wait $!; done";
const MIB: u64 = 1 << 20;

/// The machine with the image in podman's store and no container.
struct Podman {
    _machine: MutexGuard<'static, Child>,
    image: String,
    mounts: BTreeSet<String>,
}

impl Podman {
    fn new() -> Self {
        let machine = MACHINE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let image = format!("{REGISTRY}/busybox");
        podman(&["pull", "--quiet", "--tls-verify=false", &image]);
        let podman = Self { _machine: machine, image, mounts: mounts() };
        assert_eq!(traces(), [""; 0]);
        podman
    }

    /// Nothing of any container is left.
    fn assert_clean(&self) {
        // conmon and what it starts at the end are nobody's children.
        eventually("all of the container to go", PATIENCE, || traces().is_empty().then_some(()));
        assert_eq!(mounts(), self.mounts);
    }
}

impl Drop for Podman {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let _ = command(&["rm", "--all", "--force", "--time", "0"]).status();
        }
    }
}

fn command(args: &[&str]) -> Command {
    let mut command = Command::new("podman");
    command.arg("--runtime").arg(berth_runtime()).args(args).stdin(Stdio::null());
    // By this one podman knows that it is a service, as the tests are, and then leaves conmon in the service's group.
    command.env_remove("INVOCATION_ID");
    command
}

fn podman(args: &[&str]) -> String {
    run(&mut command(args)).trim().to_owned()
}

/// What a container of podman's adds to the machine, besides mounts: units, groups, records and processes.
fn traces() -> Vec<String> {
    let list = ["list-units", "--all", "--plain", "--no-legend", "libpod*"];
    let mut found: Vec<String> = run(Command::new("systemctl").args(list)).lines().map(str::to_owned).collect();
    found.extend(["machine.slice", ""].map(group).iter().flat_map(|dir| names(dir)).filter(|n| n.contains("libpod")));
    found.extend(names(Path::new("/run/berth-runtime")));
    for pid in names(Path::new("/proc")) {
        let line = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default().replace('\0', " ");
        let program = line.split(' ').next().unwrap_or_default();
        if program.ends_with("conmon") || program.ends_with("podman") || line.contains("sleep 44444") {
            found.push(line);
        }
    }
    found
}

fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

/// Where something is mounted.
fn mounts() -> BTreeSet<String> {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    table.lines().filter_map(|line| line.split(' ').nth(4)).map(str::to_owned).collect()
}

/// systemd's limits and the kernel's are the same, and these.
fn assert_limits(unit: &str, path: &str, memory: u64, pids: u64) {
    let (memory, pids) = (memory.to_string(), pids.to_string());
    for (property, name, value) in [("MemoryMax", "memory.max", memory), ("TasksMax", "pids.max", pids)] {
        assert_eq!((show(unit, property), file(path, name)), (value.clone(), value), "{property}");
    }
}

#[test]
#[ignore = "needs systemd with berth's units"]
fn podman_leads_a_container_in_a_scope_through_its_life() {
    let machine = Podman::new();
    let fields =
        ["Host.CgroupManager", "Host.CgroupsVersion", "Store.GraphDriverName", "Host.Security.AppArmorEnabled"];
    let shown = fields.map(|field| format!("{{{{.{field}}}}} ")).concat() + "{{.Host.OCIRuntime.Path}}";
    let runtime = berth_runtime();
    assert_eq!(podman(&["info", "--format", &shown]), format!("systemd v2 overlay true {}", runtime.display()));

    let limits = ["--memory", "64m", "--pids-limit", "33", "--cpus", "0.5"];
    let first = ["run", "--detach", "--name", "c", "--network", "none"];
    let id = podman(&[&first[..], &limits, &[&machine.image, "sh", "-c", SERVICE]].concat());
    let (unit, path) = (format!("libpod-{id}.scope"), format!("machine.slice/libpod-{id}.scope"));
    let (pid, _) = eventually("the service", PATIENCE, || process("sleep 44444"));
    assert_eq!(fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap().trim(), format!("0::/{path}"));
    for scope in [&unit, &format!("libpod-conmon-{id}.scope")] {
        assert_eq!((show(scope, "ActiveState"), show(scope, "Slice")), ("active".into(), "machine.slice".into()));
    }
    assert_limits(&unit, &path, 64 * MIB, 33);
    assert_eq!((show(&unit, "CPUQuotaPerSecUSec"), file(&path, "cpu.max")), ("500ms".into(), "50000 100000".into()));

    let executed = output(&mut command(&["exec", "c", "sh", "-c", "cat /sys/fs/cgroup/memory.max; exit 9"]));
    let said = String::from_utf8_lossy(&executed.stdout).trim().to_owned();
    assert_eq!((executed.status.code(), said), (Some(9), (64 * MIB).to_string()), "{executed:?}");
    let stats = podman(&["stats", "--no-stream", "--format", "{{.MemUsage}} {{.PIDS}}", "c"]);
    assert!(!stats.starts_with("0B") && stats.ends_with("/ 67.11MB 2"), "{stats}");
    for (verb, frozen) in [("pause", "1"), ("unpause", "0")] {
        podman(&[verb, "c"]);
        assert_eq!(file(&path, "cgroup.freeze"), frozen, "{verb}");
    }
    podman(&["update", "--memory", "32m", "c"]);
    assert_limits(&unit, &path, 32 * MIB, 33);

    podman(&["stop", "c"]);
    assert_eq!(podman(&["inspect", "--format", "{{.State.Status}} {{.State.ExitCode}}", "c"]), "exited 3");
    machine.assert_clean();
    // Under the same name. podman remembers the first limits, not the updated ones.
    podman(&["start", "c"]);
    eventually("the service", PATIENCE, || process("sleep 44444"));
    assert_limits(&unit, &path, 64 * MIB, 33);
    podman(&["rm", "--force", "--time", "0", "c"]);
    assert_eq!(podman(&["ps", "--all", "--quiet"]), "");
    machine.assert_clean();
}

#[test]
#[ignore = "needs systemd with berth's units"]
fn podman_in_a_service_keeps_its_container_in_the_services_own_group() {
    let machine = Podman::new();
    // As an operator's unit has it, and the units that podman writes itself since 4.4. systemd makes no scope for it.
    let (unit, said) = ("of-podman.service", std::env::temp_dir().join("of-podman"));
    let text = format!(
        "[Service]\nType=oneshot\nRemainAfterExit=yes\nDelegate=yes\nStandardOutput=file:{}\nSuccessExitStatus=7\n\
         ExecStart=podman --runtime {} run --rm --network none --cgroups split --memory 64m --pids-limit 33 {} \
         sh -c 'cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/pids.max; exit 7'\n",
        said.display(),
        berth_runtime().display(),
        machine.image
    );
    fs::write(Path::new("/run/systemd/system").join(unit), text).unwrap();
    systemctl(&["daemon-reload"]);
    systemctl(&["start", unit]);
    assert_eq!(show(unit, "ExecMainStatus"), "7");
    systemctl(&["stop", unit]);
    assert_eq!(fs::read_to_string(said).unwrap(), format!("{}\n33\n", 64 * MIB));
    assert_eq!(podman(&["ps", "--all", "--quiet"]), "");
    machine.assert_clean();
    assert!(!group("system.slice").join(unit).exists());
}
