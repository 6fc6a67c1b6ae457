//! What processes have of the host as they get into a container: its init, and those of exec, which the container sees
//! from their first moment on.

use crate::bundle::{Bundle, PATIENCE, Said};
use serde_json::json;
use std::path::PathBuf;
use std::process::Stdio;

/// `plant KEY COMMAND...` runs the command in a new session keyring that holds a key of that name; `find KEY` says
/// whether its own session keyring holds one, and of which name and owner that is.
const KEYS: &str = r#"
#include <linux/keyctl.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
int main(int argc, char **argv) {
    if (!strcmp(argv[1], "plant")) {
        if (syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, 0) < 0) return 2;
        if (syscall(SYS_add_key, "user", argv[2], "x", 1, KEY_SPEC_SESSION_KEYRING) < 0) return 3;
        execvp(argv[3], argv + 3);
        return 4;
    }
    char said[256] = {0};
    syscall(SYS_keyctl, KEYCTL_DESCRIBE, KEY_SPEC_SESSION_KEYRING, said, sizeof said - 1, 0);
    long found = syscall(SYS_keyctl, KEYCTL_SEARCH, KEY_SPEC_SESSION_KEYRING, "user", argv[2], 0);
    printf("%s %s\n", found < 0 ? "none" : "found", said);
}
"#;

#[test]
#[ignore = "needs root"]
fn no_process_of_a_container_gets_a_key_of_the_callers_session() {
    let mut bundle = Bundle::new("rt-keys");
    let program = bundle.program("keys", KEYS);
    bundle.script("keys find secret; echo up; sleep 1000").write();
    let with_secret = |args: &[&str]| {
        let mut plant = bundle.host.command(&program);
        let runtime = berth_test_host::berth_runtime();
        plant.args(["plant", "secret"]).arg(runtime).args(["--root", "/run/runtime"]).args(args);
        Said::from(&berth_test_host::output(plant.stdin(Stdio::null())))
    };
    let created = |options: &[&str]| {
        let said = std::fs::File::create(bundle.host.dir().join("said")).unwrap();
        let mut plant = bundle.host.command(&program);
        let (runtime, dir) = (berth_test_host::berth_runtime(), bundle.dir());
        plant.args(["plant", "secret"]).arg(runtime).args(["--root", "/run/runtime", "create", "--bundle"]);
        plant.arg(dir).args(options).arg("c").stdin(Stdio::null());
        assert!(plant.stdout(said).status().unwrap().success());
        bundle.verb(&["start", "c"]).ok();
        berth_test_host::eventually("the program", PATIENCE, || bundle.said().contains("up").then_some(()));
        bundle.said().lines().next().unwrap().to_owned()
    };
    // One without a name of its own, that no process could have made for it to be joined.
    let own = created(&[]);
    assert!(own.starts_with("none keyring;0;0;") && own.ends_with(";_ses"), "{own}");
    let own = with_secret(&["exec", "c", "keys", "find", "secret"]).ok();
    assert!(own.starts_with("none keyring;0;0;") && own.ends_with(";_ses"), "{own}");
    bundle.verb(&["delete", "--force", "c"]).ok();
    // And where the caller's is wanted, it is so for all of them.
    let callers = created(&["--no-new-keyring"]);
    assert!(callers.starts_with("found"), "{callers}");
    let callers = with_secret(&["exec", "c", "keys", "find", "secret"]).ok();
    assert!(callers.starts_with("found"), "{callers}");
    bundle.done();
}

#[test]
#[ignore = "needs root"]
fn the_session_keyring_of_a_container_with_users_of_its_own_is_not_on_their_account() {
    let mut bundle = Bundle::new("rt-keys-user");
    bundle.program("keys", KEYS);
    let maps = json!([{"containerID": 0, "hostID": 100_000, "size": 65536}]);
    bundle.config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "user"}));
    bundle.config["linux"]["uidMappings"] = maps.clone();
    bundle.config["linux"]["gidMappings"] = maps;
    bundle.config["mounts"].as_array_mut().unwrap().pop();
    // The host's root is nobody there.
    let nobodys = |said: &str| assert!(said.starts_with("none keyring;65534;65534;"), "{said}");
    nobodys(&bundle.sh("keys find secret"));
    bundle.started();
    nobodys(&bundle.verb(&["exec", "c", "keys", "find", "secret"]).ok());
    bundle.done();
}

/// Stops each new process that it can see, as soon as it can be seen.
const STOPPER: &str = r#"
#include <signal.h>
int main(void) {
    for (int top = 2;;)
        for (int n = top; n < top + 16; n++)
            if (!kill(n, SIGSTOP)) top = n;
}
"#;

/// What of a process must be as its container's init has it: root, namespaces, groups.
fn place(pid: &str) -> std::io::Result<(u64, u64, Vec<PathBuf>, String)> {
    use std::os::unix::fs::MetadataExt;
    let root = std::fs::metadata(format!("/proc/{pid}/root/"))?;
    let links = ["ns/mnt", "ns/net", "ns/ipc", "ns/uts", "ns/cgroup", "ns/user"];
    let links = links.iter().map(|name| std::fs::read_link(format!("/proc/{pid}/{name}"))).collect::<Result<_, _>>()?;
    Ok((root.dev(), root.ino(), links, std::fs::read_to_string(format!("/proc/{pid}/cgroup"))?))
}

/// Directories that a process has open and that its container's init could not open.
fn outside(pid: &str, init: &str) -> Vec<PathBuf> {
    let mounts = std::fs::read_to_string(format!("/proc/{init}/mountinfo")).unwrap();
    let is_inside = |fd: &str| {
        let info = std::fs::read_to_string(format!("/proc/{pid}/fdinfo/{fd}")).unwrap_or_default();
        let mount = info.lines().find_map(|line| line.strip_prefix("mnt_id:")).map(str::trim).unwrap_or_default();
        mounts.lines().any(|line| line.split(' ').next() == Some(mount))
    };
    let fds = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten();
    let leading = fds.filter(|fd| std::fs::metadata(fd.path()).is_ok_and(|found| found.is_dir()));
    let outside = leading.filter(|fd| !is_inside(fd.file_name().to_str().unwrap()));
    outside.filter_map(|fd| std::fs::read_link(fd.path()).ok()).collect()
}

fn is_program(pid: &str) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm == "sleep\n")
}

/// The one letter that the kernel has for it.
fn state_of(pid: &str) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    Some(stat.rsplit_once(')')?.1.trim()[..1].to_owned())
}

fn all_processes() -> impl Iterator<Item = String> {
    let all = std::fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().into_string().ok());
    all.filter(|name| name.bytes().all(|b| b.is_ascii_digit()))
}

/// The processes in the pid namespace of `init` but itself.
fn processes_beside(init: &str) -> Vec<String> {
    let space = |pid: &str| std::fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
    let own = space(init);
    assert!(own.is_some(), "the container has ended");
    all_processes().filter(|pid| pid != init && space(pid) == own).collect()
}

/// The first process that calls itself so.
fn pid_of(name: &str) -> Option<String> {
    let comm = |pid: &str| std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    all_processes().find(|pid| comm(pid).trim_end() == name)
}

#[test]
#[ignore = "needs root"]
fn a_process_of_exec_that_the_container_stops_at_birth_is_in_the_container() {
    // Held there by a signal that it cannot block, whatever the host has in it would be there to be looked at.
    for users in [false, true] {
        let mut bundle = Bundle::new("rt-exec-stopped");
        bundle.program("exec-stopper", STOPPER);
        bundle.config["process"]["args"] = json!(["/bin/exec-stopper"]);
        if users {
            let maps = json!([{"containerID": 0, "hostID": 100_000, "size": 65536}]);
            bundle.config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "user"}));
            bundle.config["linux"]["uidMappings"] = maps.clone();
            bundle.config["linux"]["gidMappings"] = maps;
            bundle.config["mounts"].as_array_mut().unwrap().pop();
        }
        bundle.create().ok();
        bundle.verb(&["start", "c"]).ok();
        let init = berth_test_host::eventually("the program", PATIENCE, || pid_of("exec-stopper"));
        let container = place(&init).unwrap();
        let mut met = 0;
        for round in 0..40 {
            let mut exec = bundle.runtime();
            exec.args(["exec", "c", "sleep", "1000"]).stdout(Stdio::null()).stderr(Stdio::null());
            let mut exec = bundle.host.spawn(&mut exec);
            let found = berth_test_host::eventually("a process that is stopped, or is the program", PATIENCE, || {
                let here = |pid: &String| is_program(pid) || state_of(pid).as_deref() == Some("T");
                processes_beside(&init).into_iter().find(here)
            });
            if is_program(&found) {
                // It was too fast, and is no affair of exec's any more.
                let pid = nix::unistd::Pid::from_raw(found.parse().unwrap());
                nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
            } else {
                met += 1;
                assert_eq!(place(&found).unwrap(), container, "users: {users}, round {round}");
                assert_eq!(outside(&found, &init), Vec::<PathBuf>::new(), "users: {users}, round {round}");
                exec.signal(nix::sys::signal::Signal::SIGKILL);
            }
            exec.wait(PATIENCE);
            berth_test_host::eventually("the process to end with exec", PATIENCE, || {
                processes_beside(&init).is_empty().then_some(())
            });
        }
        assert!(met > 10, "{met} were stopped");
        bundle.done();
    }
}
