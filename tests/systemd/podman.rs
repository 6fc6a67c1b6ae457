//! podman as Debian sets it up: control groups of version 2, which systemd makes, conmon in a scope of its own, overlay
//! and AppArmor. `tests/peers` drives the same podman through more of a container's life, without systemd.

use super::engine::{Engine, MIB, Places, SERVICE, assert_limits, service_in};
use super::scope::{file, group, show};
use super::{REGISTRY, systemctl};
use berth_test_host::{berth_runtime, said};
use std::fs;
use std::path::Path;
use std::process::Command;

/// The machine with the image in podman's store and no container.
struct Podman {
    machine: Engine,
    image: String,
}

impl Podman {
    fn new() -> Self {
        let machine = Engine::take(Places {
            units: "libpod*",
            groups: &["machine.slice", ""],
            word: "libpod",
            records: "/run/berth-runtime",
            programs: &["conmon", "podman"],
        });
        let mut this = Self { machine, image: format!("{REGISTRY}/busybox") };
        podman(&["pull", "--quiet", "--tls-verify=false", &this.image]);
        this.machine.settle();
        this
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
    command.arg("--runtime").arg(berth_runtime()).args(args);
    // By this one podman knows that it is a service, as the tests are, and then leaves conmon in the service's group.
    command.env_remove("INVOCATION_ID");
    command
}

fn podman(args: &[&str]) -> String {
    said(&mut command(args)).ok()
}

#[test]
#[ignore = "needs systemd with berth's units"]
fn podman_leads_a_container_in_a_scope_through_its_life() {
    let Podman { machine, image } = &Podman::new();
    let fields =
        ["Host.CgroupManager", "Host.CgroupsVersion", "Store.GraphDriverName", "Host.Security.AppArmorEnabled"];
    let shown = fields.map(|field| format!("{{{{.{field}}}}} ")).concat() + "{{.Host.OCIRuntime.Path}}";
    let runtime = berth_runtime();
    assert_eq!(podman(&["info", "--format", &shown]), format!("systemd v2 overlay true {}", runtime.display()));

    let limits = ["--memory", "64m", "--pids-limit", "33", "--cpus", "0.5"];
    let first = ["run", "--detach", "--name", "c", "--network", "none"];
    let id = podman(&[&first[..], &limits, &[image, "sh", "-c", SERVICE]].concat());
    let (unit, path) = (format!("libpod-{id}.scope"), format!("machine.slice/libpod-{id}.scope"));
    service_in(&path);
    for scope in [&unit, &format!("libpod-conmon-{id}.scope")] {
        assert_eq!((show(scope, "ActiveState"), show(scope, "Slice")), ("active".into(), "machine.slice".into()));
    }
    assert_limits(&unit, &path, 64 * MIB, "33");

    let executed = said(&mut command(&["exec", "c", "sh", "-c", "cat /sys/fs/cgroup/memory.max; exit 9"]));
    assert_eq!((executed.code, executed.stdout.as_str()), (9, "67108864"), "{}", executed.stderr);
    let stats = podman(&["stats", "--no-stream", "--format", "{{.MemUsage}} {{.PIDS}}", "c"]);
    assert!(!stats.starts_with("0B") && stats.ends_with("/ 67.11MB 2"), "{stats}");
    for (verb, frozen) in [("pause", "1"), ("unpause", "0")] {
        podman(&[verb, "c"]);
        assert_eq!(file(&path, "cgroup.freeze"), frozen, "{verb}");
    }
    podman(&["update", "--memory", "32m", "c"]);
    assert_limits(&unit, &path, 32 * MIB, "33");

    podman(&["stop", "c"]);
    assert_eq!(podman(&["inspect", "--format", "{{.State.Status}} {{.State.ExitCode}}", "c"]), "exited 3");
    machine.assert_clean();
    // Under the same name. podman remembers the first limits, not the updated ones.
    podman(&["start", "c"]);
    service_in(&path);
    assert_limits(&unit, &path, 64 * MIB, "33");
    podman(&["rm", "--force", "--time", "0", "c"]);
    assert_eq!(podman(&["ps", "--all", "--quiet"]), "");
    machine.assert_clean();
}

#[test]
#[ignore = "needs systemd with berth's units"]
fn podman_in_a_service_keeps_its_container_in_the_services_own_group() {
    let Podman { machine, image } = &Podman::new();
    // As an operator's unit has it, and the units that podman writes itself since 4.4. systemd makes no scope for it.
    let (unit, said_to) = ("of-podman.service", std::env::temp_dir().join("of-podman"));
    let text = format!(
        "[Service]\nType=oneshot\nRemainAfterExit=yes\nDelegate=yes\nStandardOutput=file:{}\nSuccessExitStatus=7\n\
         ExecStart=podman --runtime {} run --rm --network none --cgroups split --memory 64m --pids-limit 33 {} \
         sh -c 'cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/pids.max; exit 7'\n",
        said_to.display(),
        berth_runtime().display(),
        image
    );
    fs::write(Path::new("/run/systemd/system").join(unit), text).unwrap();
    systemctl(&["daemon-reload"]);
    systemctl(&["start", unit]);
    assert_eq!(show(unit, "ExecMainStatus"), "7");
    systemctl(&["stop", unit]);
    assert_eq!(fs::read_to_string(said_to).unwrap(), format!("{}\n33\n", 64 * MIB));
    assert_eq!(podman(&["ps", "--all", "--quiet"]), "");
    machine.assert_clean();
    assert!(!group("system.slice").join(unit).exists());
}
