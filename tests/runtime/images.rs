//! Bundles that umoci makes of an image, which knows nothing of this runtime.

use crate::bundle::{Bundle, Said};
use berth_test_host::{fixture, output};
use serde_json::{Value, json};

/// Unpacks the busybox image by umoci, as bundle of a host's own.
fn unpacked(name: &str) -> (Bundle, std::path::PathBuf) {
    let bundle = Bundle::new(name);
    let image = format!("{}:busybox", fixture("busybox-image").join("layout").display());
    let dir = bundle.host.dir().join("umoci");
    berth_test_host::run(std::process::Command::new("umoci").args(["unpack", "--image", &image]).arg(&dir));
    (bundle, dir)
}

/// Runs the bundle with another program, and without a terminal.
fn run(bundle: &Bundle, dir: &std::path::Path, script: &str) -> Said {
    let path = dir.join("config.json");
    let mut config: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    config["process"]["terminal"] = json!(false);
    config["process"]["args"] = json!(["sh", "-c", script]);
    std::fs::write(&path, config.to_string()).unwrap();
    Said::from(&output(bundle.runtime().args(["run", "--bundle"]).arg(dir).arg("c")))
}

#[test]
#[ignore = "needs root"]
fn a_bundle_made_by_umoci_runs() {
    let (bundle, dir) = unpacked("rt-umoci");
    let script = "hostname; id -u; pwd; echo $PATH; grep -c . /proc/mounts >/dev/null && ls /dev/null /sys/kernel >/dev/null \
                  && cat /etc/passwd | head -1; touch /kept; exit 3";
    let said = run(&bundle, &dir, script);
    let path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    assert_eq!(said.code, 3, "{}", said.stderr);
    assert_eq!(said.stdout.lines().skip(1).collect::<Vec<_>>(), ["0", "/", path, "root:x:0:0:root:/root:/bin/sh"]);
    // What the container writes is in the bundle, for umoci to make a layer of.
    assert!(dir.join("rootfs/kept").exists());
    bundle.assert_clean();
}

#[test]
#[ignore = "needs root"]
fn settings_of_the_image_reach_the_program_through_umoci() {
    let bundle = Bundle::new("rt-umoci-settings");
    let layout = bundle.host.dir().join("layout");
    let from = fixture("busybox-image").join("layout");
    berth_test_host::run(std::process::Command::new("cp").arg("-a").arg(from).arg(&layout));
    let image = format!("{}:busybox", layout.display());
    let umoci = |args: &[&str]| berth_test_host::run(std::process::Command::new("umoci").args(args));
    umoci(&[
        "config",
        "--image",
        &image,
        "--config.user",
        "user",
        "--config.workingdir",
        "/tmp",
        "--config.env",
        "A=b c",
    ]);
    let dir = bundle.host.dir().join("umoci");
    umoci(&["unpack", "--image", &image, dir.to_str().unwrap()]);
    assert_eq!(run(&bundle, &dir, "id -u; id -G; pwd; echo $A; echo $HOME").ok(), "1000\n1000 2000\n/tmp\nb c\n/tmp");
    bundle.assert_clean();
}
