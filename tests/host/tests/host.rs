//! The test host keeps its own promises.

use berth_test_host::{Leftover, TestHost, eventually, run};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

#[test]
#[ignore = "needs root"]
fn a_host_has_its_own_names_places_and_loopback() {
    let host = TestHost::new("own");
    assert_eq!(host.run("cat", &["/proc/sys/kernel/hostname"]).trim(), "own");
    assert_eq!(host.run("ls", &["/var/lib"]), "");
    assert_eq!(host.run("stat", &["-f", "-c", "%T", "/run"]), "tmpfs\n");
    assert!(host.run("ip", &["-brief", "link"]).starts_with("lo "));
    assert_eq!(host.leftovers(), []);
}

#[test]
#[ignore = "needs root"]
fn control_groups_made_inside_are_seen_outside_and_named() {
    let host = TestHost::new("groups");
    // The memory controller has a directory of its own on v1 and shares the only one on v2.
    host.run("sh", &["-c", "d=/sys/fs/cgroup; [ -d $d/memory ] && d=$d/memory; mkdir $d/berth"]);
    assert!(host.controller("memory", "berth").is_dir());
    assert!(matches!(host.leftovers().as_slice(), [Leftover::Cgroup(name)] if name.ends_with("berth")));
}

#[test]
#[ignore = "needs root"]
fn everything_left_behind_is_named_and_goes_with_the_host() {
    let host = TestHost::new("left");
    let mut command = host.command("sleep");
    let sleeper = host.spawn(command.arg("1000").stdin(Stdio::null()));
    host.run("ip", &["link", "add", "left0", "type", "bridge"]);
    host.run("mount", &["-t", "tmpfs", "tmpfs", "/run/lock"]);
    host.run("nft", &["add", "table", "inet", "left"]);
    let left = host.leftovers();
    assert!(left.iter().any(|l| matches!(l, Leftover::Process(p) if p.ends_with("sleep 1000"))), "{left:#?}");
    assert!(left.iter().any(|l| matches!(l, Leftover::Link(name) if name == "left0")), "{left:#?}");
    assert!(left.iter().any(|l| matches!(l, Leftover::Mount(m) if m.starts_with("/run/lock tmpfs"))), "{left:#?}");
    assert!(left.iter().any(|l| matches!(l, Leftover::Rule(r) if r == "table inet left {")), "{left:#?}");
    let (pid, dir, groups) = (sleeper.pid(), host.dir(), host.cgroup(""));
    assert!(dir.is_dir() && groups.iter().all(|g| g.is_dir()));
    drop(host);
    eventually("the host's process to end", Duration::from_secs(5), || {
        (!Path::new(&format!("/proc/{pid}/exe")).exists()).then_some(())
    });
    assert!(!dir.exists() && groups.iter().all(|g| !g.exists()));
}

#[test]
#[ignore = "needs root"]
fn a_program_inside_a_host_can_be_killed_by_its_own_pid() {
    let host = TestHost::new("kill");
    let mut running = host.spawn(host.command("sleep").arg("1000"));
    assert_eq!(std::fs::read_to_string(format!("/proc/{}/comm", running.pid())).unwrap(), "sleep\n");
    running.signal(nix::sys::signal::Signal::SIGKILL);
    assert!(!running.wait(Duration::from_secs(5)).success());
    host.assert_clean();
}

#[test]
#[ignore = "needs root"]
fn a_peer_reaches_the_host_over_both_families() {
    let mut host = TestHost::new("front");
    let peer = host.peer();
    for address in [peer.server.0.to_string(), peer.server.1.to_string()] {
        peer.host.run("busybox", &["ping", "-c", "1", "-W", "5", &address]);
    }
    host.assert_clean();
    peer.host.assert_clean();
}

#[test]
#[ignore = "needs root"]
fn mounts_are_private_unless_asked_for() {
    for (host, shared) in [(TestHost::new("private"), false), (TestHost::with_shared_mounts("shared"), true)] {
        let propagation = run(host.command("findmnt").args(["-n", "-o", "PROPAGATION", "/"]));
        assert_eq!(propagation.trim(), if shared { "shared" } else { "private" });
    }
}

#[test]
#[ignore = "needs root"]
fn a_registry_on_the_host_serves_every_test_image() {
    let mut host = TestHost::new("images");
    let registry = host.registry();
    let inspect = |name: &str, args: &[&str]| {
        let image = format!("docker://{}", registry.image(name));
        run(host.command("skopeo").args(["inspect", "--raw", "--tls-verify=false"]).args(args).arg(image))
    };
    let layers =
        |text: String| serde_json::from_str::<serde_json::Value>(&text).unwrap()["layers"].as_array().map(Vec::len);
    assert_eq!(layers(inspect("nginx", &[])), Some(3));
    assert_eq!(layers(inspect("probe", &[])), Some(2));
    assert!(inspect("busybox:docker", &[]).contains("application/vnd.docker.distribution.manifest.v2+json"));
    assert!(inspect("busybox:zstd", &[]).contains("tar+zstd"));
    assert_eq!(inspect("busybox:multi", &[]).matches("\"architecture\"").count(), 2);
    assert_eq!(inspect("busybox:foreign", &[]).matches("\"architecture\"").count(), 1);
    assert_eq!(host.leftovers(), []);
}
