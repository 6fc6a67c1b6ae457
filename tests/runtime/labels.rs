//! Labels of security modules, and what is asked for that counts for nothing.
//!
//! AppArmor is in the kernel of the guest, with a profile loaded; a machine without it can only show that labels are
//! refused. SELinux is in none of our machines.

use crate::bundle::{Bundle, Said, program};
use berth_test_host::not_here;
use serde_json::json;
use std::path::Path;
use std::process::{Command, Stdio};

fn apparmor() -> bool {
    std::fs::read("/sys/module/apparmor/parameters/enabled").is_ok_and(|text| text.starts_with(b"Y"))
}

fn selinux() -> bool {
    Path::new("/sys/fs/selinux/policyvers").exists()
}

/// Loads a profile that keeps programs from writing below /data, as the machine's administrator does.
fn load_profile(name: &str) {
    use std::io::Write;
    let mut parser = Command::new("apparmor_parser").args(["-r", "-K"]).stdin(Stdio::piped()).spawn().unwrap();
    let text = format!("profile {name} flags=(attach_disconnected) {{ file, capability, deny /data/** w, }}\n");
    parser.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    assert!(parser.wait().unwrap().success());
}

#[test]
#[ignore = "needs root"]
fn a_program_runs_under_the_apparmor_profile_it_is_given() {
    let mut bundle = Bundle::new("rt-apparmor");
    if !apparmor() {
        bundle.config["process"]["apparmorProfile"] = json!("berth-test");
        let said = bundle.run();
        assert_ne!(said.code, 0);
        let expected = "process.apparmorProfile: got `berth-test`, but apparmor is not enabled on this host";
        assert!(said.stderr.contains(expected), "{}", said.stderr);
        bundle.assert_clean();
        not_here("AppArmor, which this kernel does not have", "vm");
        return;
    }
    load_profile("berth-test");
    bundle.config["process"]["apparmorProfile"] = json!("berth-test");
    let script = "cat /proc/self/attr/current; (echo x > /data/x) 2>&1 | grep -o 'Permission denied'; echo y > /tmp/y && cat /tmp/y";
    let confined = "berth-test (enforce)\nPermission denied\ny";
    for no_new_privileges in [true, false] {
        bundle.config["process"]["noNewPrivileges"] = json!(no_new_privileges);
        assert_eq!(bundle.sh(script), confined);
    }
    bundle.started();
    assert_eq!(bundle.verb(&["exec", "c", "sh", "-c", script]).ok(), confined);
    let free = bundle.verb(&["exec", "--apparmor", "unconfined", "c", "cat", "/proc/self/attr/current"]).ok();
    assert_eq!(free, "unconfined");
    let missing = bundle.verb(&["exec", "--apparmor", "no-such-profile", "c", "true"]);
    assert_ne!(missing.code, 0);
    let expected = "apply apparmor profile `no-such-profile`: no such profile is loaded";
    assert!(missing.stderr.contains(expected), "{}", missing.stderr);
    bundle.done();
}

#[test]
#[ignore = "needs root"]
fn a_label_is_not_written_where_the_containers_proc_is() {
    if !apparmor() {
        not_here("AppArmor, which this kernel does not have", "vm");
        return;
    }
    // CVE-2019-16884: what looks like /proc swallows the label, and the program runs without it.
    let mut bundle = Bundle::new("rt-apparmor-proc");
    load_profile("berth-test-proc");
    bundle.config["process"]["apparmorProfile"] = json!("berth-test-proc");
    bundle.config["mounts"].as_array_mut().unwrap().remove(0);
    bundle.config["linux"]["maskedPaths"] = json!([]);
    bundle.config["linux"]["readonlyPaths"] = json!([]);
    for dir in ["self", "thread-self", "1", "1/task/1"] {
        let attr = bundle.rootfs().join("proc").join(dir).join("attr/apparmor");
        std::fs::create_dir_all(&attr).unwrap();
        for file in [attr.join("exec"), attr.parent().unwrap().join("exec")] {
            std::fs::write(file, "").unwrap();
        }
    }
    let script =
        "(echo x > /data/x) 2>&1 | grep -o 'Permission denied'; cat /proc/1/attr/exec /proc/self/attr/apparmor/exec";
    assert_eq!(bundle.sh(script), "Permission denied");
    bundle.script("while :; do sleep 1000; done").create().ok();
    bundle.verb(&["start", "c"]).ok();
    assert_eq!(bundle.verb(&["exec", "c", "sh", "-c", script]).ok(), "Permission denied");
    bundle.done();
}

#[test]
#[ignore = "needs root"]
fn selinux_labels_are_refused_by_their_field_where_the_kernel_has_no_policy() {
    let mut bundle = Bundle::new("rt-selinux");
    assert!(!selinux(), "this machine has SELinux, for which there is no test yet: see docs/SCOPE.md");
    let labels = [("process", "selinuxLabel"), ("linux", "mountLabel")];
    for (part, member) in labels {
        bundle.config[part][member] = json!("system_u:system_r:container_t:s0");
        let said = bundle.run();
        assert_ne!(said.code, 0);
        let field = format!("{part}.{member}: got `system_u:system_r:container_t:s0`, but selinux is disabled");
        assert!(said.stderr.contains(&field), "{}", said.stderr);
        bundle.config[part].as_object_mut().unwrap().remove(member);
    }
    bundle.assert_clean();
}

#[test]
#[ignore = "needs root"]
fn a_capability_that_nobody_knows_is_a_warning() {
    let mut bundle = Bundle::new("rt-unknown-cap");
    for set in ["bounding", "effective", "permitted"] {
        bundle.config["process"]["capabilities"][set] = json!(["CAP_KILL", "CAP_FLY"]);
    }
    bundle.config["process"]["args"] = json!(["grep", "CapEff", "/proc/self/status"]);
    let said = bundle.run();
    assert_eq!((said.code, said.stdout.as_str()), (0, "CapEff:\t0000000000000020"));
    assert!(said.stderr.contains("ignoring unknown or unavailable capabilities: [CAP_FLY]"), "{}", said.stderr);
    bundle.assert_clean();
}

#[test]
#[ignore = "needs root"]
fn ambient_capabilities_are_those_that_are_permitted_and_inheritable_too() {
    let mut bundle = Bundle::new("rt-ambient");
    bundle.config["process"]["capabilities"] = json!({
        "bounding": ["CAP_KILL", "CAP_CHOWN", "CAP_MKNOD"], "permitted": ["CAP_KILL", "CAP_CHOWN"],
        "effective": ["CAP_KILL", "CAP_MKNOD"], "inheritable": ["CAP_KILL", "CAP_MKNOD"],
        "ambient": ["CAP_KILL", "CAP_CHOWN", "CAP_MKNOD"]});
    bundle.config["process"]["user"] = json!({"uid": 1000, "gid": 1000});
    let said = bundle.sh("grep -E 'Cap(Amb|Eff|Prm)' /proc/self/status | cut -f2 | sort -u");
    assert_eq!(said, format!("{:016x}", 1 << 5));
    bundle.done();
}

/// Newer than the runc that the suite is proved with.
mod own {
    use super::*;

    /// The names of one warning.
    fn warned(stderr: &str) -> Vec<&str> {
        let begin = "ignoring unknown or unavailable capabilities: [";
        let mut found = stderr.match_indices(begin);
        let (at, _) = found.next().unwrap_or_else(|| panic!("no warning: {stderr}"));
        assert_eq!(found.count(), 0, "{stderr}");
        let (names, _) = stderr[at + begin.len()..].split_once(']').unwrap();
        names.split(' ').collect()
    }

    #[test]
    #[ignore = "needs root"]
    fn a_capability_that_cannot_be_granted_is_a_warning() {
        let mut bundle = Bundle::new("rt-cap-warned");
        bundle.config["process"]["capabilities"] = json!({
            "bounding": ["CAP_KILL", "CAP_CHOWN", "CAP_SETUID", "CAP_FLY"], "permitted": ["CAP_KILL", "CAP_CHOWN"],
            "effective": ["CAP_KILL", "CAP_SETUID"], "inheritable": ["CAP_KILL", "CAP_SETUID", "CAP_MKNOD"],
            "ambient": ["CAP_KILL", "CAP_CHOWN", "CAP_SETUID"]});
        let said = bundle.script("true").run();
        assert_eq!(said.code, 0, "{}", said.stderr);
        let expected = ["CAP_FLY", "CAP_CHOWN(ambient)", "CAP_SETUID(effective,ambient)", "CAP_MKNOD"];
        assert_eq!(warned(&said.stderr), expected);
        // In a user namespace as well.
        bundle.config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "user"}));
        let map = json!([{"containerID": 0, "hostID": 100_000, "size": 65536}]);
        bundle.config["linux"]["uidMappings"] = map.clone();
        bundle.config["linux"]["gidMappings"] = map;
        assert_eq!(warned(&bundle.run().stderr), expected);
        bundle.assert_clean();
    }

    #[test]
    #[ignore = "needs root"]
    fn a_capability_that_the_caller_has_not_got_is_a_warning() {
        let mut bundle = Bundle::new("rt-cap-caller");
        bundle.capable("CAP_SYSLOG").script("true").write();
        let dir = bundle.dir();
        let runtime = |bundle: &Bundle, args: &[&str]| {
            let mut command = bundle.host.command("setpriv");
            command.args(["--bounding-set", "-syslog"]).arg(program()).args(["--root", "/run/runtime"]);
            Said::from(&berth_test_host::output(command.args(args).stdin(Stdio::null())))
        };
        let said = runtime(&bundle, &["run", "--bundle", dir.to_str().unwrap(), "c"]);
        assert_eq!((said.code, warned(&said.stderr)), (0, vec!["CAP_SYSLOG"]));
        bundle.started();
        let grep = ["exec", "c", "grep", "CapBnd", "/proc/self/status"];
        let exec = runtime(&bundle, &grep);
        assert_eq!((exec.code, warned(&exec.stderr)), (0, vec!["CAP_SYSLOG"]));
        // By one that has it, it is given.
        let exec = bundle.verb(&grep);
        assert_eq!((exec.code, exec.stderr.as_str()), (0, ""));
        bundle.done();
    }
}
