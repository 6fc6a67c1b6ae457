//! Time namespaces. runc knows them from 1.2 on.

use crate::bundle::Bundle;
use crate::userns::{namespace, on_host, remapped};
use serde_json::json;

const OFFSETS: &str = "1000000";

fn with_clocks(bundle: &mut Bundle) {
    namespace(bundle, json!({"type": "time"}));
    bundle.config["linux"]["timeOffsets"] =
        json!({"boottime": {"secs": 1_000_000}, "monotonic": {"secs": 1000, "nanosecs": 5}});
}

/// How much later the clock since boot is in a place than on the host.
fn later(bundle: &Bundle, inside: &str) -> f64 {
    let seconds = |text: &str| text.split(' ').next().unwrap().parse::<f64>().unwrap();
    seconds(inside) - seconds(&on_host(bundle, "cat /proc/uptime"))
}

fn assert_later(bundle: &Bundle, inside: &str) {
    let later = later(bundle, inside);
    let meant: f64 = OFFSETS.parse().unwrap();
    // What passes between two readings of a clock, on the slowest machine.
    assert!((meant - 600.0..=meant).contains(&later), "{later}");
}

#[test]
#[ignore = "needs root"]
fn clocks_differ_from_the_hosts_by_what_the_document_says() {
    for mut bundle in [Bundle::new("rt-clocks"), remapped("rt-clocks-userns")] {
        with_clocks(&mut bundle);
        let said = bundle.sh("cat /proc/uptime; tr -s ' ' < /proc/self/timens_offsets");
        let (uptime, offsets) = said.split_once('\n').unwrap();
        assert_later(&bundle, uptime);
        assert_eq!(offsets, "monotonic 1000 5\nboottime 1000000 0");
        bundle.done();
    }
}

#[test]
#[ignore = "needs root"]
fn exec_and_a_container_that_joins_see_the_same_clocks() {
    let mut bundle = Bundle::new("rt-clocks-join");
    with_clocks(&mut bundle);
    bundle.started();
    assert_later(&bundle, &bundle.verb(&["exec", "c", "cat", "/proc/uptime"]).ok());
    let pid = bundle.state()["pid"].as_u64().unwrap();
    let dir = bundle.host.dir().join("second");
    std::fs::create_dir_all(&dir).unwrap();
    let mut config = bundle.config.clone();
    config["root"]["path"] = json!(bundle.rootfs());
    config["process"]["args"] = json!(["cat", "/proc/uptime"]);
    config["linux"].as_object_mut().unwrap().remove("timeOffsets");
    let list = config["linux"]["namespaces"].as_array_mut().unwrap();
    list.retain(|entry| entry["type"] != "time");
    list.push(json!({"type": "time", "path": format!("/proc/{pid}/ns/time")}));
    std::fs::write(dir.join("config.json"), config.to_string()).unwrap();
    let inside = bundle.verb(&["run", "--bundle", dir.to_str().unwrap(), "d"]).ok();
    assert_later(&bundle, &inside);
    bundle.done();
}

#[test]
#[ignore = "needs root"]
fn a_time_namespace_without_offsets_has_the_hosts_clocks_and_is_new() {
    let mut bundle = Bundle::new("rt-clocks-none");
    namespace(&mut bundle, json!({"type": "time"}));
    let said = bundle.sh("cat /proc/uptime; readlink /proc/self/ns/time");
    let (uptime, link) = said.split_once('\n').unwrap();
    let later = later(&bundle, uptime);
    assert!((-600.0..=0.0).contains(&later), "{later}");
    assert_ne!(link, on_host(&bundle, "readlink /proc/self/ns/time"));
    bundle.done();
}
