//! Control groups that are not the container's own: none is taken, limited, killed or removed.

use crate::bundle::{Bundle, PATIENCE, Said};
use berth_test_host::Running;
use serde_json::json;
use std::fs::File;
use std::path::Path;
use std::process::Stdio;

/// A process of the host in a group that no container has made.
struct Neighbour(Running);

impl Neighbour {
    /// One that is in no such group yet.
    fn outside(bundle: &Bundle) -> Self {
        let mut sleep = bundle.host.command("sleep");
        Self(bundle.host.spawn(sleep.arg("1000").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null())))
    }

    /// One in the group in each hierarchy, but that of the cpusets on v1, which would have to be filled.
    fn inside(bundle: &Bundle, group: &str) -> Self {
        let neighbour = Self::outside(bundle);
        let wants_filling = |root: &Path| root.join("cpuset.cpus").exists() && root.join("tasks").exists();
        for root in bundle.host.cgroup("").iter().filter(|root| !wants_filling(root)) {
            neighbour.enter(&root.join(group));
        }
        neighbour
    }

    fn enter(&self, dir: &Path) {
        std::fs::create_dir_all(dir).unwrap();
        std::fs::write(dir.join("cgroup.procs"), self.0.pid().to_string()).unwrap();
    }

    fn lives(&self) -> bool {
        std::fs::read_to_string(format!("/proc/{}/stat", self.0.pid())).is_ok_and(|stat| !stat.contains(") Z "))
    }

    fn end(mut self) {
        self.0.signal(nix::sys::signal::Signal::SIGKILL);
        self.0.wait(PATIENCE);
    }
}

fn create_at(bundle: &mut Bundle, path: &str) -> Said {
    bundle.config["linux"]["cgroupsPath"] = json!(path);
    bundle.script("true").create()
}

#[test]
#[ignore = "needs root"]
fn a_group_with_processes_is_refused_and_left_as_it_is() {
    let mut bundle = Bundle::new("rt-foreign");
    let neighbour = Neighbour::inside(&bundle, "rt-foreign/below");
    for path in ["/rt-foreign/below", "/rt-foreign"] {
        let said = create_at(&mut bundle, path);
        assert_ne!(said.code, 0, "{path}");
        assert!(said.stderr.contains("linux.cgroupsPath"), "{path}: {}", said.stderr);
        assert!(said.stderr.contains("container's cgroup is not empty: 1 process(es) found"), "{}", said.stderr);
        bundle.verb(&["delete", "--force", "c"]).ok();
        assert!(neighbour.lives(), "{path}");
        assert_eq!(bundle.verb(&["list", "-q"]).ok(), "");
    }
    neighbour.end();
    // What is empty may have been made for the container.
    create_at(&mut bundle, "/rt-foreign/below").ok();
    bundle.verb(&["delete", "--force", "c"]).ok();
    assert!(!bundle.host.controller("memory", "rt-foreign/below").exists());
    // The neighbour's other groups, and what was above them.
    for group in ["rt-foreign/below", "rt-foreign"] {
        bundle.host.cgroup(group).iter().for_each(|dir| drop(std::fs::remove_dir(dir)));
    }
    bundle.assert_clean();
}

#[test]
#[ignore = "needs root"]
fn a_group_that_one_hierarchy_has_processes_in_is_refused() {
    let mut bundle = Bundle::new("rt-foreign-one");
    let neighbour = Neighbour::outside(&bundle);
    let dir = bundle.host.controller("memory", "rt-foreign");
    neighbour.enter(&dir);
    let said = create_at(&mut bundle, "rt-foreign");
    assert!(said.stderr.contains("container's cgroup is not empty"), "{} {}", said.code, said.stderr);
    assert!(neighbour.lives());
    neighbour.end();
    std::fs::remove_dir(dir).unwrap();
    bundle.assert_clean();
}

#[test]
#[ignore = "needs root"]
fn the_root_of_the_hierarchy_is_refused_whatever_it_is_called() {
    let mut bundle = Bundle::new("rt-foreign-root");
    for path in ["/", "..", "/../..", "/.", "./"] {
        let said = create_at(&mut bundle, path);
        assert_ne!(said.code, 0, "{path}");
        assert!(said.stderr.contains("linux.cgroupsPath") && said.stderr.contains("root"), "{path}: {}", said.stderr);
        assert_eq!(bundle.verb(&["list", "-q"]).ok(), "", "{path}");
    }
    bundle.assert_clean();
}

#[test]
#[ignore = "needs root"]
fn a_container_of_the_same_name_in_another_table_keeps_its_group() {
    let mut bundle = Bundle::new("rt-foreign-table");
    bundle.started();
    let mut other = bundle.host.berth_runtime();
    other.args(["--root", "/run/other", "create", "--bundle"]).arg(bundle.dir()).arg("c");
    // A pipe would stay open as long as a container that must not be.
    let path = bundle.host.dir().join("refused");
    other.current_dir("/").stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(&path).unwrap());
    assert!(!other.status().unwrap().success());
    let said = std::fs::read_to_string(path).unwrap();
    assert!(said.contains("container's cgroup is not empty"), "{said}");
    assert_eq!(bundle.status(), "running");
    bundle.done();
}

/// A verb on container `id` of another table; its output goes to a file, which a container may keep open.
fn elsewhere(bundle: &Bundle, args: &[&str], id: &str) -> Said {
    let path = bundle.host.dir().join(format!("elsewhere-{id}"));
    let file = File::create(&path).unwrap();
    let mut other = bundle.host.berth_runtime();
    other.args(["--root", "/run/other"]).args(args).arg(id).current_dir("/").stdin(Stdio::null());
    let status = other.stdout(Stdio::null()).stderr(file).status().unwrap();
    let stderr = std::fs::read_to_string(path).unwrap();
    Said { code: status.code().unwrap_or(-1), stdout: String::new(), stderr }
}

#[test]
#[ignore = "needs root"]
fn a_group_is_its_containers_until_that_is_deleted() {
    let mut bundle = Bundle::new("rt-foreign-stopped");
    create_at(&mut bundle, "/rt-foreign").ok();
    bundle.verb(&["start", "c"]).ok();
    bundle.wait_status("stopped");
    bundle.script("exec sleep 1000").write();
    let dir = bundle.dir();
    let create = ["create", "--bundle", dir.to_str().unwrap()];
    let said = elsewhere(&bundle, &create, "d");
    assert_ne!(said.code, 0);
    assert!(said.stderr.contains("it belongs to container `/run/runtime/c`"), "{}", said.stderr);
    assert!(bundle.host.controller("memory", "rt-foreign").exists());
    bundle.verb(&["delete", "c"]).ok();
    elsewhere(&bundle, &create, "d").ok();
    elsewhere(&bundle, &["delete"], "d").ok();
    bundle.assert_clean();
}

#[test]
#[ignore = "needs root"]
fn a_group_of_a_container_that_no_table_has_any_more_may_be_taken() {
    let mut bundle = Bundle::new("rt-foreign-stale");
    create_at(&mut bundle, "/rt-foreign").ok();
    let pid = bundle.state()["pid"].to_string();
    bundle.host.run("rm", &["-r", "/run/runtime/c"]);
    bundle.host.run("kill", &["-9", &pid]);
    let alive = || std::fs::read_to_string(bundle.host.controller("freezer", "rt-foreign").join("cgroup.procs"));
    berth_test_host::eventually("its end", PATIENCE, || alive().unwrap().is_empty().then_some(()));
    create_at(&mut bundle, "/rt-foreign").ok();
    bundle.done();
}

#[test]
#[ignore = "needs root"]
fn of_many_that_want_a_group_at_once_one_has_it_and_none_harms_it() {
    let mut bundle = Bundle::new("rt-foreign-many");
    bundle.config["linux"]["cgroupsPath"] = json!("/rt-foreign");
    bundle.script("exec sleep 1000").write();
    let dir = bundle.dir();
    let ids = ["a", "b", "d", "e"];
    for _ in 0..10 {
        let create = |id| elsewhere(&bundle, &["create", "--bundle", dir.to_str().unwrap()], id);
        let said: Vec<Said> = std::thread::scope(|scope| {
            let running: Vec<_> = ids.iter().map(|id| scope.spawn(|| create(id))).collect();
            running.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let words: Vec<&str> = said.iter().map(|s| s.stderr.as_str()).collect();
        assert_eq!(said.iter().filter(|s| s.code == 0).count(), 1, "{words:?}");
        for (id, _) in ids.iter().zip(&said).filter(|(_, s)| s.code == 0) {
            elsewhere(&bundle, &["start"], id).ok();
            elsewhere(&bundle, &["delete", "--force"], id).ok();
        }
        bundle.assert_clean();
    }
}

/// Makes groups below a directory that no path can name, and gives the last.
fn below(dir: &Path) -> std::os::fd::OwnedFd {
    use nix::fcntl::{OFlag, open, openat};
    let flags = OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let mode = nix::sys::stat::Mode::S_IRWXU;
    let mut here = open(dir, flags, mode).unwrap();
    let name = "n".repeat(250);
    for _ in 0..18 {
        nix::sys::stat::mkdirat(&here, name.as_str(), mode).unwrap();
        here = openat(&here, name.as_str(), flags, mode).unwrap();
    }
    here
}

#[test]
#[ignore = "needs root"]
fn groups_below_that_no_path_can_name_are_listed_killed_and_removed() {
    for verbs in [&[&["delete", "--force", "c"][..]][..], &[&["kill", "--all", "c", "KILL"], &["delete", "c"]]] {
        let mut bundle = Bundle::new("rt-foreign-deep");
        bundle.config["linux"]["cgroupsPath"] = json!("/rt-foreign");
        bundle.started();
        let mut neighbour = Neighbour::outside(&bundle);
        let deep = below(&bundle.host.controller("freezer", "rt-foreign"));
        // The same directory on version 2.
        if !bundle.host.controller("memory", "rt-foreign").join("n".repeat(250)).exists() {
            below(&bundle.host.controller("memory", "rt-foreign"));
        }
        // Frozen, on version 1 it would not even die of a signal, and the group above does not thaw it.
        let open = |name| nix::fcntl::openat(&deep, name, nix::fcntl::OFlag::O_WRONLY, nix::sys::stat::Mode::empty());
        nix::unistd::write(open("cgroup.procs").unwrap(), neighbour.0.pid().to_string().as_bytes()).unwrap();
        let (state, word) = open("freezer.state").map_or_else(|_| (open("cgroup.freeze"), "1"), |s| (Ok(s), "FROZEN"));
        nix::unistd::write(state.unwrap(), word.as_bytes()).unwrap();
        let listed = bundle.verb(&["ps", "--format", "json", "c"]).ok();
        assert_eq!(serde_json::from_str::<Vec<u32>>(&listed).unwrap().len(), 3, "{listed}");
        for verb in verbs {
            bundle.verb(verb).ok();
            if *verb == verbs[0] {
                assert!(!neighbour.0.wait(PATIENCE).success());
                berth_test_host::eventually("the end", PATIENCE, || {
                    let said = bundle.verb(&["state", "c"]);
                    (said.code != 0 || said.stdout.contains("stopped")).then_some(())
                });
            }
        }
        bundle.assert_clean();
    }
}
