//! The states of a container and the verbs between them.

use crate::bundle::Bundle;
use serde_json::json;

#[test]
#[ignore = "needs root"]
fn run_gives_output_and_exit_code_and_leaves_nothing() {
    let mut bundle = Bundle::new("rt-run");
    let said = bundle.script("echo out; echo err >&2; exit 7").run();
    assert_eq!((said.code, said.stdout.as_str(), said.stderr.as_str()), (7, "out", "err"));
    bundle.assert_clean();
}

#[test]
#[ignore = "needs root"]
fn a_program_ended_by_a_signal_gives_128_and_its_number() {
    let mut bundle = Bundle::new("rt-signal");
    // Its own signals do not reach an init: somebody else's do.
    let here = bundle.rootfs().join("data/here");
    for (signal, code) in [("KILL", 137), ("TERM", 143)] {
        bundle.script("echo > /data/here; exec sleep 1000").write();
        if signal == "TERM" {
            // In the host's pid namespace it is no init.
            bundle.config["linux"]["namespaces"].as_array_mut().unwrap().remove(0);
            bundle.write();
        }
        let mut run = bundle.runtime();
        run.args(["run", "--bundle"]).arg(bundle.dir()).arg("c");
        run.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
        let mut running = bundle.host.spawn(&mut run);
        berth_test_host::eventually("the program", crate::bundle::PATIENCE, || here.exists().then_some(()));
        bundle.wait_status("running");
        bundle.verb(&["kill", "c", signal]).ok();
        assert_eq!(running.wait(crate::bundle::PATIENCE).code(), Some(code), "{signal}");
        std::fs::remove_file(&here).unwrap();
    }
    bundle.assert_clean();
}

#[test]
#[ignore = "needs root"]
fn a_container_is_created_then_runs_then_is_stopped_then_gone() {
    let mut bundle = Bundle::new("rt-states");
    bundle.script("echo ran; trap 'exit 0' TERM; while :; do sleep 1000 & wait; done");
    bundle.create().ok();
    assert_eq!(bundle.status(), "created");
    assert_eq!(bundle.said(), "");
    bundle.verb(&["start", "c"]).ok();
    assert_eq!(bundle.status(), "running");
    assert_ne!(bundle.verb(&["start", "c"]).code, 0);
    assert_ne!(bundle.verb(&["delete", "c"]).code, 0);
    berth_test_host::eventually("its output", crate::bundle::PATIENCE, || (bundle.said() == "ran\n").then_some(()));
    bundle.verb(&["kill", "c"]).ok();
    bundle.wait_status("stopped");
    assert_ne!(bundle.verb(&["kill", "c"]).code, 0);
    bundle.verb(&["delete", "c"]).ok();
    assert_ne!(bundle.verb(&["state", "c"]).code, 0);
    bundle.done();
}

#[test]
#[ignore = "needs root"]
fn the_state_says_what_the_specification_asks_for() {
    let mut bundle = Bundle::new("rt-state");
    // The second would be refused with --systemd-cgroup; without, it is an annotation as others are.
    bundle.config["annotations"] = json!({"org.example.key": "value", "org.systemd.property.Slice": "x"});
    let pid_file = bundle.host.dir().join("pid");
    bundle.script("true").create_with(&["--pid-file", pid_file.to_str().unwrap()]).ok();
    let state = bundle.state();
    // Of the runtime's version of the specification, which need not be the document's.
    let features: serde_json::Value = serde_json::from_str(&bundle.verb(&["features"]).ok()).unwrap();
    assert_eq!(state["ociVersion"], features["ociVersionMax"]);
    assert_ne!(state["ociVersion"], bundle.config["ociVersion"]);
    assert_eq!(state["id"], json!("c"));
    assert_eq!(state["bundle"], json!(bundle.dir()));
    assert_eq!(state["annotations"], bundle.config["annotations"]);
    assert_eq!(state["pid"].to_string(), std::fs::read_to_string(pid_file).unwrap());
    bundle.done();
}

#[test]
#[ignore = "needs root"]
fn an_id_in_use_is_refused_and_its_container_lives_on() {
    let mut bundle = Bundle::new("rt-twice");
    bundle.started();
    let second = bundle.create();
    assert_ne!(second.code, 0);
    assert_eq!(bundle.status(), "running");
    bundle.done();
}

#[test]
#[ignore = "needs root"]
fn a_create_that_fails_leaves_nothing() {
    let mut bundle = Bundle::new("rt-fail");
    bundle.config["process"]["args"] = json!(["/no/such/program"]);
    assert_ne!(bundle.create().code, 0);
    bundle.assert_clean();
    bundle.config["process"]["args"] = json!(["/bin/true"]);
    bundle.config["mounts"].as_array_mut().unwrap().push(json!(
        {"destination": "/m", "type": "bind", "source": "/no/such/source", "options": ["bind"]}));
    assert_ne!(bundle.create().code, 0);
    bundle.assert_clean();
    assert_ne!(bundle.verb(&["state", "c"]).code, 0);
}

#[test]
#[ignore = "needs root"]
fn a_created_container_whose_init_was_killed_is_stopped() {
    let mut bundle = Bundle::new("rt-died");
    bundle.script("true").create().ok();
    bundle.verb(&["kill", "c", "9"]).ok();
    bundle.wait_status("stopped");
    assert_ne!(bundle.verb(&["start", "c"]).code, 0);
    bundle.verb(&["delete", "c"]).ok();
    bundle.done();
}

#[test]
#[ignore = "needs root"]
fn a_paused_container_does_nothing_until_it_is_resumed() {
    let mut bundle = Bundle::new("rt-pause");
    bundle.script("i=0; while :; do i=$((i+1)); echo $i; done").create().ok();
    bundle.verb(&["start", "c"]).ok();
    berth_test_host::eventually("it to begin", crate::bundle::PATIENCE, || (!bundle.said().is_empty()).then_some(()));
    bundle.verb(&["pause", "c"]).ok();
    assert_eq!(bundle.status(), "paused");
    let before = bundle.said().len();
    // A line takes it microseconds: what starts and ends meanwhile is many thousands of its turns.
    for _ in 0..10 {
        assert_eq!(bundle.status(), "paused");
        assert_eq!(bundle.said().len(), before);
    }
    bundle.verb(&["resume", "c"]).ok();
    assert_eq!(bundle.status(), "running");
    berth_test_host::eventually("it to go on", crate::bundle::PATIENCE, || {
        (bundle.said().len() > before).then_some(())
    });
    bundle.verb(&["pause", "c"]).ok();
    bundle.done();
}

#[test]
#[ignore = "needs root"]
fn processes_are_listed_by_their_pids_on_the_host() {
    let mut bundle = Bundle::new("rt-ps");
    bundle.started();
    let listed: Vec<u64> = serde_json::from_str(&bundle.verb(&["ps", "--format", "json", "c"]).ok()).unwrap();
    assert!(listed.contains(&bundle.state()["pid"].as_u64().unwrap()), "{listed:?}");
    assert_eq!(bundle.verb(&["list", "--quiet"]).ok(), "c");
    bundle.done();
}

#[test]
#[ignore = "needs root"]
fn forced_delete_of_what_does_not_exist_is_no_error() {
    let bundle = Bundle::new("rt-force");
    bundle.verb(&["delete", "--force", "c"]).ok();
    assert_ne!(bundle.verb(&["delete", "c"]).code, 0);
}

#[test]
#[ignore = "needs root"]
fn errors_are_lines_of_json_where_asked_for() {
    let bundle = Bundle::new("rt-log");
    let log = bundle.host.dir().join("log");
    let said = bundle.verb(&["--log", log.to_str().unwrap(), "--log-format", "json", "start", "nothing"]);
    assert_eq!(said.code, 1);
    let text = std::fs::read_to_string(log).unwrap();
    let last: serde_json::Value = serde_json::from_str(text.lines().next_back().unwrap()).unwrap();
    assert_eq!(last["level"], json!("error"));
    assert!(last["msg"].as_str().unwrap().contains("container does not exist"), "{last}");
}
