//! A container's program is known to run for as long as it does, whatever it makes of itself, and its end is heard of.

use crate::bundle::{Bundle, program};
use std::process::Stdio;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(10);

/// Waits until the created and started program has said `up`, and asserts that it can be killed and is gone then.
fn seen_until_killed(bundle: Bundle) {
    bundle.create().ok();
    bundle.verb(&["start", "c"]).ok();
    berth_test_host::eventually("the program", PATIENCE, || bundle.said().contains("up").then_some(()));
    // What it does next may take a moment.
    for _ in 0..20 {
        assert_eq!(bundle.status(), "running");
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(bundle.verb(&["ps", "c"]).ok().lines().count() >= 2);
    assert_ne!(bundle.verb(&["delete", "c"]).code, 0);
    bundle.verb(&["kill", "c", "KILL"]).ok();
    bundle.wait_status("stopped");
    bundle.verb(&["delete", "c"]).ok();
    bundle.done();
}

#[test]
#[ignore = "needs root"]
fn of_a_program_that_calls_itself_what_is_no_text() {
    let mut bundle = Bundle::new("rt-comm");
    bundle.script(r"printf '\377\376) Z' > /proc/self/comm; echo up; while :; do sleep 1000 & wait; done");
    seen_until_killed(bundle);
}

#[test]
#[ignore = "needs root"]
fn of_a_program_whose_first_thread_has_ended() {
    let mut bundle = Bundle::new("rt-outlived");
    let probe = std::env::var_os("BERTH_PROBE_STATIC").expect("BERTH_PROBE_STATIC names the static probe");
    std::fs::copy(probe, bundle.rootfs().join("bin/probe")).unwrap();
    bundle.script("echo up; exec probe outlived");
    seen_until_killed(bundle);
}

#[test]
#[ignore = "needs root"]
fn of_a_caller_that_ignores_the_ends_of_its_children() {
    let mut bundle = Bundle::new("rt-sigchld");
    bundle.script("exit 3").write();
    let mut command = bundle.host.command("bash");
    command.args(["-c", "trap '' CHLD; exec \"$@\"", "bash"]).arg(program());
    command.args(["--root", "/run/runtime", "run", "--bundle"]).arg(bundle.dir()).arg("c").stdin(Stdio::null());
    let output = berth_test_host::output(&mut command);
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    assert_ne!(bundle.verb(&["state", "c"]).code, 0);
    bundle.done();
}
