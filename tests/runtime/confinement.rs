//! What a container must not be able to do.

use crate::bundle::Bundle;
use serde_json::json;

#[test]
#[ignore = "needs root"]
fn a_filter_answers_for_the_kernel() {
    let mut bundle = Bundle::new("rt-seccomp");
    bundle.config["linux"]["seccomp"] = json!({
    "defaultAction": "SCMP_ACT_ALLOW",
    "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"],
    "syscalls": [
        {"names": ["mkdir", "mkdirat", "no_such_call"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28},
        {"names": ["kill"], "action": "SCMP_ACT_ERRNO", "args": [{"index": 1, "value": 10, "op": "SCMP_CMP_EQ"}]}
    ]});
    for no_new_privileges in [true, false] {
        bundle.config["process"]["noNewPrivileges"] = json!(no_new_privileges);
        let said = bundle.sh(
            "mkdir /x 2>&1 | grep -o 'No space.*'; kill -10 1 2>&1 | grep -o 'not permitted'; kill -18 1 && echo sent; \
             grep Seccomp: /proc/self/status | cut -f2",
        );
        assert_eq!(said, "No space left on device\nnot permitted\nsent\n2");
    }
    bundle.done();
}

#[test]
#[ignore = "needs root"]
fn a_device_that_was_not_given_cannot_be_opened_even_with_a_node_of_it() {
    let mut bundle = Bundle::new("rt-devices");
    // The memory of the host (1:1) by a node made inside; the null device by another name.
    let said = bundle.sh("mknod /dev/mine c 1 3 && echo x > /dev/mine && echo null; \
         mknod /dev/kmem c 1 1 && head -c 1 /dev/kmem 2>&1 | grep -o 'not permitted'");
    assert_eq!(said, "null\nnot permitted");
    bundle.done();
}

/// Version 1 of control groups takes such a rule for all devices if it is handed on as it is.
#[test]
#[ignore = "needs root"]
fn a_rule_for_devices_of_either_type_is_for_those_of_its_numbers() {
    let mut bundle = Bundle::new("rt-devices-untyped");
    let rules = json!([
        {"allow": false, "access": "rwm"}, {"allow": true, "type": "c", "major": 10, "minor": 229, "access": "rwm"},
        {"allow": true, "major": 1, "minor": 4, "access": "r"}, {"allow": false, "major": 1, "minor": 5, "access": "w"}]);
    bundle.config["linux"]["resources"]["devices"] = rules;
    // A device may be missing here.
    let said = bundle.sh("mknod /dev/mem c 1 1; mknod /dev/port c 1 4; \
         for access in '< /dev/mem' '< /dev/port' '> /dev/port' '> /dev/zero'; do \
         sh -c \": $access\" 2>&1 | grep -q 'not permitted' && echo \"$access\"; done; true");
    assert_eq!(said, "< /dev/mem\n> /dev/port");
    bundle.done();
}

#[test]
#[ignore = "needs root"]
fn a_container_may_make_tunnels_where_it_is_given_the_rights() {
    let mut bundle = Bundle::new("rt-devices-tun");
    assert_eq!(bundle.sh("mknod /dev/tun c 10 200 && head -c 0 /dev/tun && echo open"), "open");
    bundle.done();
}

#[test]
#[ignore = "needs root"]
fn signals_from_inside_do_not_reach_processes_outside() {
    let mut bundle = Bundle::new("rt-pids");
    assert_eq!(
        bundle.sh("ls /proc > /tmp/seen; grep -c '^[0-9]' /tmp/seen; kill -0 99999 2>/dev/null || echo none"),
        "2\nnone"
    );
    bundle.done();
}
