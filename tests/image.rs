//! Images of other people's making, in the store, as overlays and under another runtime.

#![allow(clippy::unwrap_used)] // clippy.toml allows it in tests, which leaves out their helpers

use berth_runtime::bundle::{self, ContainerSettings, Ulimit, Volume, VolumeSource};
use berth_runtime::image::manifest::{self, Document};
use berth_runtime::image::{Digest, ImageRecord, LayerRecord, Snapshot, Store, parse_config};
use berth_runtime::sys::xattr;
use berth_test_host::{TestHost, fixture, output, run};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;
use std::time::{Instant, SystemTime};

fn blob(layout: &Path, digest: &Digest) -> std::path::PathBuf {
    layout.join("blobs/sha256").join(digest.hex())
}

/// Puts the only image of an OCI layout into the store.
fn load(store: &Store, layout: &Path) -> ImageRecord {
    let index: Value = serde_json::from_slice(&fs::read(layout.join("index.json")).unwrap()).unwrap();
    let digest: Digest = index["manifests"][0]["digest"].as_str().unwrap().parse().unwrap();
    let bytes = fs::read(blob(layout, &digest)).unwrap();
    let Document::Manifest(manifest) = manifest::parse(&bytes, None).unwrap() else { panic!("not a manifest") };
    let config_bytes = fs::read(blob(layout, &manifest.config.digest)).unwrap();
    let config = parse_config(&config_bytes).unwrap();
    let _pin = store.pin([manifest.config.digest]);
    store.put_blob(&manifest.config.digest, &config_bytes).unwrap();
    let mut below: Vec<Digest> = Vec::new();
    let mut layers = Vec::new();
    for (layer, diff_id) in manifest.layers.iter().zip(config.rootfs().diff_ids()) {
        let diff_id: Digest = diff_id.parse().unwrap();
        let unpacked = store.unpack(File::open(blob(layout, &layer.digest)).unwrap(), &diff_id).unwrap();
        let chain = store.adopt(unpacked, &below).unwrap();
        below.push(chain);
        layers.push(LayerRecord { chain, diff_id, digest: layer.digest, size: layer.size });
    }
    let now = SystemTime::now();
    let image = ImageRecord {
        reference: "test".into(),
        digest,
        manifest: digest,
        config_digest: manifest.config.digest,
        config,
        layers,
        pulled_at: now,
        used_at: now,
    };
    store.record(&image).unwrap();
    image
}

/// Mounts a snapshot inside the host.
fn mount(host: &TestHost, snapshot: &Snapshot, at: &Path) {
    let lower: Vec<&str> = snapshot.lower.iter().map(|p| p.to_str().unwrap()).collect();
    let options = format!(
        "lowerdir={},upperdir={},workdir={}",
        lower.join(":"),
        snapshot.upper.display(),
        snapshot.work.display()
    );
    fs::create_dir_all(at).unwrap();
    host.run("mount", &["-t", "overlay", "-o", &options, "overlay", at.to_str().unwrap()]);
}

/// Everything that two trees can differ in, by path.
fn describe(root: &Path) -> BTreeMap<String, String> {
    fn walk(root: &Path, dir: &Path, all: &mut BTreeMap<String, String>) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let meta = fs::symlink_metadata(&path).unwrap();
            let mut text = format!("{:o} {}:{}", meta.mode(), meta.uid(), meta.gid());
            if !meta.is_dir() {
                text += &format!(" {}.{}", meta.mtime(), meta.mtime_nsec());
            }
            if meta.is_symlink() {
                text += &format!(" -> {}", fs::read_link(&path).unwrap().display());
            } else if meta.is_file() {
                text += &format!(" {:?}", Digest::of(&fs::read(&path).unwrap()));
                text += &format!(" links {}", meta.nlink());
                let file = File::open(&path).unwrap();
                for name in xattr::names(file.as_fd()).unwrap() {
                    text += &format!(" {name:?}={:?}", xattr::read(file.as_fd(), &name).unwrap());
                }
            } else if !meta.is_dir() {
                text += &format!(" device {:x}", meta.rdev());
            }
            all.insert(path.strip_prefix(root).unwrap().to_string_lossy().into_owned(), text);
            if meta.is_dir() {
                walk(root, &path, all);
            }
        }
    }
    let mut all = BTreeMap::new();
    walk(root, root, &mut all);
    all
}

#[test]
#[ignore = "needs root"]
fn layers_as_an_overlay_are_the_tree_that_another_tool_unpacks() {
    let host = TestHost::new("image-layers");
    let layers = fixture("layers-image");
    let store = Store::open(&host.dir().join("images")).unwrap();
    let image = load(&store, &layers.join("layout"));
    assert_eq!(image.layers.len(), 3);
    let snapshot = store.snapshot("t.c", &image).unwrap();
    let at = host.dir().join("merged");
    mount(&host, &snapshot, &at);
    let (ours, theirs) = (describe(&host.outside(&at)), describe(&layers.join("rootfs")));
    assert!(theirs.len() > 20, "{theirs:#?}");
    for (path, text) in &theirs {
        assert_eq!(ours.get(path), Some(text), "{path}");
    }
    assert_eq!(ours.len(), theirs.len(), "{:?}", ours.keys().filter(|k| !theirs.contains_key(*k)).collect::<Vec<_>>());
    host.run("umount", &[at.to_str().unwrap()]);
}

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

/// Not a test of right and wrong: prints how long unpacking takes here, beside what umoci takes.
#[test]
#[ignore = "a measurement: give BERTH_MEASURE_LAYOUT=DIR:TAG of an OCI layout"]
fn unpacking_speed() {
    let given = std::env::var("BERTH_MEASURE_LAYOUT").expect("BERTH_MEASURE_LAYOUT=DIR:TAG");
    let layout = Path::new(given.split(':').next().unwrap());
    let dir = tempfile::tempdir_in("/var/tmp").unwrap();
    let store = Store::open(&dir.path().join("images")).unwrap();
    let begin = Instant::now();
    let image = load(&store, layout);
    println!("store: {:?} for {} layers of {} bytes", begin.elapsed(), image.layers.len(), image.size());
    let begin = Instant::now();
    store.settle().unwrap();
    println!("settle: {:?}", begin.elapsed());
    let begin = Instant::now();
    run(Command::new("umoci").args(["unpack", "--image", &given]).arg(dir.path().join("umoci")));
    println!("umoci unpack: {:?}", begin.elapsed());
}
