//! Our bundles under another runtime, Debian's runc.

#![allow(clippy::unwrap_used)] // clippy.toml allows it in tests, which leaves out their helpers

#[path = "../image/layout.rs"]
mod layout;

use berth_runtime::bundle::{self, ContainerSettings, Ulimit, Volume, VolumeSource};
use berth_runtime::image::Store;
use berth_test_host::{TestHost, fixture, output};
use layout::{load, mount};
use std::fs;

/// A bundle of the busybox image whose root is mounted inside the host, run by runc.
fn run_by_runc(host: &TestHost, settings: &ContainerSettings) -> String {
    let store = Store::open(&host.dir().join("images")).unwrap();
    let image = load(&store, &fixture("busybox-image").join("layout"));
    let key = format!("t.{}", store.leases().len());
    let snapshot = store.snapshot(&key, &image).unwrap();
    let dir = host.dir().join(&key);
    bundle::write(&dir, &snapshot, &image.config, settings).unwrap();
    mount(host, &snapshot, &dir.join("rootfs"));
    let mut command = host.command("runc");
    command.args(["--root", "/run/runc", "run", "--bundle"]).arg(&dir).arg(&key);
    let done = output(&mut command);
    let (out, err) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success(), "runc: {}\n{out}{err}", done.status);
    out.into_owned()
}

fn shell(script: &str) -> ContainerSettings {
    ContainerSettings {
        command: Some(vec!["sh".into(), "-ec".into(), script.into()]),
        hostname: Some("web".into()),
        ..ContainerSettings::default()
    }
}

#[test]
#[ignore = "needs root"]
fn another_runtime_runs_our_bundles() {
    let host = TestHost::new("image-runc");
    let hosts = host.dir().join("hosts");
    fs::write(&hosts, "127.0.0.1 here\n").unwrap();
    let settings = ContainerSettings {
        user: Some("user".into()),
        env: vec![("A".into(), "b c".into())],
        cwd: Some("/tmp".into()),
        hosts: Some(hosts),
        mounts: vec![
            Volume { source: VolumeSource::Bind(host.dir()), destination: "/mnt/host".into(), read_only: true },
            Volume {
                source: VolumeSource::Tmpfs { size_bytes: Some(1 << 20), options: vec![] },
                destination: "/scratch".into(),
                read_only: false,
            },
        ],
        ulimits: vec![Ulimit { name: "nofile".into(), soft: 100, hard: 200 }],
        ..shell(
            "id; hostname; pwd; echo $A $HOME; cat /etc/hosts; ulimit -n; ls /mnt/host | grep hosts; \
             touch /mnt/host/x 2>/dev/null || echo read-only; grep CapBnd /proc/self/status; \
             df -k /scratch | tail -n 1 | awk '{print $2}'",
        )
    };
    let expected = "uid=1000(user) gid=1000(user) groups=1000(user),2000(extra)\nweb\n/tmp\nb c /tmp\n127.0.0.1 here\n100\n\
                    hosts\nread-only\nCapBnd:\t00000000a80425fb\n1024\n";
    assert_eq!(run_by_runc(&host, &settings), expected);
}

#[test]
#[ignore = "needs root"]
fn another_runtime_runs_read_only_and_privileged_bundles() {
    let host = TestHost::new("image-runc2");
    let settings = ContainerSettings {
        readonly_rootfs: true,
        ..shell("touch /x 2>/dev/null || echo closed; wc -c </proc/interrupts")
    };
    assert_eq!(run_by_runc(&host, &settings), "closed\n0\n");
    let host = TestHost::new("image-runc3");
    let settings = ContainerSettings {
        privileged: true,
        ..shell(
            "mount -t tmpfs none /mnt 2>/dev/null || mkdir /mnt && mount -t tmpfs none /mnt && echo open; ls /dev/null",
        )
    };
    assert_eq!(run_by_runc(&host, &settings), "open\n/dev/null\n");
}
