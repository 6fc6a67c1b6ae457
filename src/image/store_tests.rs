use super::super::{CleanUp, ImageRecord, LayerRecord, parse_config};
use super::*;
use std::collections::HashSet;
use std::io::{Read, Write};
use std::time::{Duration, SystemTime};

fn layer(files: &[(&str, &str)]) -> Vec<u8> {
    let mut builder = ::tar::Builder::new(Vec::new());
    for (path, content) in files {
        let mut header = ::tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        if let Some(target) = content.strip_prefix("hard link to ") {
            header.set_size(0);
            header.set_entry_type(::tar::EntryType::Link);
            builder.append_link(&mut header, path, target).unwrap();
        } else if path.ends_with('/') {
            header.set_size(0);
            header.set_mode(u32::from_str_radix(content, 8).unwrap());
            header.set_entry_type(::tar::EntryType::Directory);
            builder.append_data(&mut header, path, std::io::empty()).unwrap();
        } else {
            builder.append_data(&mut header, path, content.as_bytes()).unwrap();
        }
    }
    builder.into_inner().unwrap()
}

/// Puts an image of these layers into the store, as a pull would.
fn add(store: &Store, name: &str, layers: &[Vec<u8>], used_at: SystemTime) -> ImageRecord {
    let ids: Vec<Digest> = layers.iter().map(|l| Digest::of(l)).collect();
    let config = serde_json::json!({
        "architecture": "amd64", "os": "linux", "config": { "Cmd": ["x"], "Volumes": null, "Labels": null },
        "rootfs": { "type": "layers", "diff_ids": ids }, "name": name,
    });
    let config = serde_json::to_vec(&config).unwrap();
    let config_digest = Digest::of(&config);
    let _pin = store.pin([config_digest]);
    store.put_blob(&config_digest, &config).unwrap();
    let mut below = Vec::new();
    let mut records = Vec::new();
    for (bytes, diff_id) in layers.iter().zip(&ids) {
        let chain = Digest::chain(below.last().copied(), *diff_id);
        if !store.has_layer(&chain, diff_id).unwrap() {
            let unpacked = store.unpack(&bytes[..], diff_id).unwrap();
            assert_eq!(store.adopt(unpacked, &below).unwrap(), chain);
        }
        below.push(chain);
        records.push(LayerRecord { chain, diff_id: *diff_id, digest: *diff_id, size: bytes.len() as u64 });
    }
    let image = ImageRecord {
        reference: name.into(),
        digest: config_digest,
        manifest: config_digest,
        config_digest,
        config: parse_config(&config).unwrap(),
        layers: records,
        pulled_at: used_at,
        used_at,
    };
    store.record(&image).unwrap();
    image
}

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(2_000_000_000)
}

fn all(now: SystemTime) -> CleanUp {
    CleanUp { now, unused_for: Duration::ZERO, until_free: None, keep: HashSet::new() }
}

fn layers_on_disk(store: &Store) -> usize {
    fs::read_dir(store.dir().join("l")).unwrap().count() - 1
}

#[test]
fn an_image_outlives_the_process() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let image = add(&store, "a", &[layer(&[("f", "1")]), layer(&[("g", "2")])], now());
    assert!(matches!(Store::open(dir.path()), Err(StoreError::Locked(_))));
    drop(store);
    let store = Store::open(dir.path()).unwrap();
    assert_eq!(store.resolve("a"), Some(image.clone()));
    assert_eq!(store.images(), [image]);
    assert_eq!(store.resolve("b"), None);
    assert!(store.problems().is_empty());
}

#[test]
fn a_layer_is_unpacked_once_for_all_images_that_have_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    // Both describe their root, so neither depends on what is below.
    let (base, app) = (layer(&[("./", "755"), ("f", "1")]), layer(&[("./", "755"), ("g", "2")]));
    add(&store, "a", &[base, app.clone()], now());
    add(&store, "b", &[app], now());
    assert_eq!(layers_on_disk(&store), 2);
    store.remove("a").unwrap();
    assert_eq!(layers_on_disk(&store), 1);
    let b = store.resolve("b").unwrap();
    let snapshot = store.snapshot("k", &b).unwrap();
    assert_eq!(fs::read_to_string(snapshot.lower[0].join("g")).unwrap(), "2");
}

#[test]
fn a_layer_that_leaves_things_to_those_below_gets_them_from_there() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let base = layer(&[("./", "711"), ("tmp/", "1777"), ("bin/", "755"), ("bin/tool", "tool")]);
    let app = layer(&[("tmp/x", "1"), ("bin/other", "hard link to bin/tool"), ("var/y", "2")]);
    let image = add(&store, "a", &[base, app], now());
    let top = store.snapshot("k", &image).unwrap().lower[0].clone();
    let mode = |path: &str| fs::metadata(top.join(path)).unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode(""), mode("tmp"), mode("var")), (0o711, 0o1777, 0o755));
    assert_eq!(fs::read_to_string(top.join("bin/other")).unwrap(), "tool");
    let orphan = layer(&[("./", "755"), ("a", "hard link to nowhere")]);
    let unpacked = store.unpack(&orphan[..], &Digest::of(&orphan)).unwrap();
    assert!(matches!(store.adopt(unpacked, &[]), Err(StoreError::Layer { .. })));
    assert_eq!(fs::read_dir(dir.path().join("tmp")).unwrap().count(), 0, "a refused layer leaves nothing");
}

#[test]
fn a_lease_keeps_its_layers_whatever_is_removed() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let image = add(&store, "a", &[layer(&[("f", "1")])], now());
    let snapshot = store.snapshot("task.web", &image).unwrap();
    fs::write(snapshot.upper.join("written"), "x").unwrap();
    assert!(store.remove("a").unwrap() && !store.remove("a").unwrap());
    assert!(snapshot.lower[0].join("f").exists());
    drop(store);
    let store = Store::open(dir.path()).unwrap();
    assert_eq!(store.leases(), ["task.web"]);
    assert_eq!(store.leased("task.web"), Some(snapshot.clone()));
    assert!(snapshot.lower[0].join("f").exists() && snapshot.upper.join("written").exists());
    store.release("task.web").unwrap();
    store.release("task.web").unwrap();
    assert!(!snapshot.upper.exists());
    store.clean_up(&all(now())).unwrap();
    assert_eq!(layers_on_disk(&store), 0);
}

#[test]
fn a_snapshot_asked_for_again_is_the_same_and_of_another_image_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let a = add(&store, "a", &[layer(&[("./", "700"), ("f", "1")])], now());
    let b = add(&store, "b", &[layer(&[("f", "2")])], now());
    let first = store.snapshot("k", &a).unwrap();
    fs::write(first.upper.join("written"), "x").unwrap();
    assert_eq!(store.snapshot("k", &a).unwrap(), first);
    assert!(first.upper.join("written").exists());
    assert_eq!(
        fs::metadata(&first.upper).unwrap().permissions().mode() & 0o7777,
        0o700,
        "the root is like the image's"
    );
    assert!(matches!(store.snapshot("k", &b), Err(StoreError::SnapshotExists(_))));
    for bad in ["", "..", ".hidden", "a/b", "x.new"] {
        assert!(matches!(store.snapshot(bad, &a), Err(StoreError::BadKey(_))), "{bad}");
    }
}

#[test]
fn an_image_without_layers_has_an_empty_root() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let image = add(&store, "scratch", &[], now());
    let snapshot = store.snapshot("k", &image).unwrap();
    assert_eq!((snapshot.lower.len(), fs::read_dir(&snapshot.lower[0]).unwrap().count()), (1, 0));
}

#[test]
fn clean_up_begins_with_what_was_not_used_for_longest_and_keeps_what_it_is_told_to() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let hours = |n: u64| now() - Duration::from_secs(n * 3600);
    for (name, age) in [("old", 9), ("older", 10), ("kept", 11), ("leased", 12), ("young", 1)] {
        add(&store, name, &[layer(&[(name, name)])], hours(age));
    }
    let leased = store.resolve("leased").unwrap();
    store.snapshot("k", &leased).unwrap();
    let what = CleanUp { unused_for: Duration::from_secs(4 * 3600), keep: ["kept".to_owned()].into(), ..all(now()) };
    let enough = store.clean_up(&CleanUp { until_free: Some(0), ..what.clone() }).unwrap();
    assert_eq!(enough.images, Vec::<String>::new(), "enough is free already");
    let cleaned = store.clean_up(&what).unwrap();
    assert_eq!(cleaned.images, ["older", "old"]);
    assert_eq!((cleaned.layers, cleaned.bytes), (2, 8));
    assert_eq!(layers_on_disk(&store), 3);
    assert_eq!(store.images().len(), 3);
}

#[test]
fn what_a_pull_relies_on_is_pinned() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let bytes = layer(&[("f", "1")]);
    let id = Digest::of(&bytes);
    let pin = store.pin([id]);
    let again = store.pin([id]);
    store.put_blob(&id, &bytes).unwrap();
    store.adopt(store.unpack(&bytes[..], &id).unwrap(), &[]).unwrap();
    drop(again);
    store.clean_up(&all(now())).unwrap();
    assert!(store.has_layer(&id, &id).unwrap() && store.has_blob(&id).is_some());
    drop(pin);
    store.clean_up(&all(now())).unwrap();
    assert!(!store.has_layer(&id, &id).unwrap() && store.has_blob(&id).is_none());
}

#[test]
fn a_blob_is_read_while_it_comes_and_ends_only_when_its_digest_is_right() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let bytes: Vec<u8> = (0..200_000u32).map(|i| i as u8).collect();
    let digest = Digest::of(&bytes);
    let mut writer = store.blob_writer(&digest, bytes.len() as u64).unwrap();
    assert!(matches!(store.blob_writer(&digest, 1), Err(StoreError::Busy(_))));
    let mut reader = writer.reader().unwrap();
    let reading = std::thread::spawn(move || {
        let mut all = Vec::new();
        reader.read_to_end(&mut all).map(|_| all)
    });
    for chunk in bytes.chunks(7_000) {
        writer.write(chunk).unwrap();
    }
    writer.finish().unwrap();
    assert_eq!(reading.join().unwrap().unwrap(), bytes);
    assert_eq!(store.has_blob(&digest), Some(200_000));
}

#[test]
fn a_download_that_broke_off_is_gone_on_with() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let digest = Digest::of(b"hello world");
    let mut writer = store.blob_writer(&digest, 11).unwrap();
    writer.write(b"hello ").unwrap();
    let mut reader = writer.reader().unwrap();
    drop(writer);
    assert!(reader.read_to_end(&mut Vec::new()).is_err(), "a reader learns that nothing more comes");
    drop(store);
    let store = Store::open(dir.path()).unwrap();
    let mut writer = store.blob_writer(&digest, 11).unwrap();
    assert_eq!(writer.written(), 6);
    writer.write(b"world").unwrap();
    writer.finish().unwrap();
    assert_eq!(store.read_blob(&digest, 100).unwrap(), b"hello world");
}

#[test]
fn wrong_bytes_are_refused_and_not_gone_on_with() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let digest = Digest::of(b"right");
    let mut writer = store.blob_writer(&digest, 5).unwrap();
    writer.write(b"wrong").unwrap();
    assert!(matches!(writer.finish(), Err(StoreError::WrongDigest { .. })));
    let mut writer = store.blob_writer(&digest, 5).unwrap();
    assert_eq!(writer.written(), 0);
    assert!(matches!(writer.write(b"too long"), Err(StoreError::WrongSize { .. })));
    drop(writer);
    let mut writer = store.blob_writer(&digest, 5).unwrap();
    writer.write(b"rig").unwrap();
    assert!(matches!(writer.finish(), Err(StoreError::WrongSize { .. })));
    assert!(store.has_blob(&digest).is_none());
    // A blob damaged on the disk is dropped when it is read.
    store.put_blob(&digest, b"right").unwrap();
    fs::write(dir.path().join("blobs").join(digest.hex()), "damaged").unwrap();
    assert!(matches!(store.read_blob(&digest, 100), Err(StoreError::WrongDigest { .. })));
    assert!(store.has_blob(&digest).is_none());
}

#[test]
fn a_layer_of_another_boot_is_believed_only_when_it_was_settled() {
    let dir = tempfile::tempdir().unwrap();
    let open = |boot: &str| Store::open_in_boot(dir.path(), Limits::default(), boot.into()).unwrap();
    let store = open("first");
    add(&store, "settled", &[layer(&[("a", "1")])], now());
    store.settle().unwrap();
    add(&store, "lost", &[layer(&[("b", "2")])], now());
    drop(store);
    let store = open("first");
    assert_eq!(store.images().len(), 2, "a process that dies loses nothing");
    drop(store);
    let store = open("second");
    assert_eq!(store.images().iter().map(|i| i.reference.as_str()).collect::<Vec<_>>(), ["settled"]);
    assert_eq!(store.problems().len(), 1);
    assert_eq!(layers_on_disk(&store), 1);
}

#[test]
fn what_a_crash_leaves_is_swept_and_what_cannot_be_read_is_set_aside() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let image = add(&store, "a", &[layer(&[("f", "1")])], now());
    store.snapshot("k", &image).unwrap();
    drop(store);
    for left in ["tmp/7/deep/er", "l/deadbeef/x", "snapshots/gone.x/upper"] {
        fs::create_dir_all(dir.path().join(left)).unwrap();
    }
    for (path, content) in [("images/00", "{"), ("leases/torn", ""), ("chains/zz", "?"), ("leases/half.new", "{")] {
        fs::write(dir.path().join(path), content).unwrap();
    }
    let store = Store::open(dir.path()).unwrap();
    for left in ["tmp/7", "l/deadbeef", "snapshots/gone.x", "images/00", "leases/torn", "chains/zz", "leases/half.new"]
    {
        assert!(!dir.path().join(left).exists(), "{left}");
    }
    assert_eq!(store.problems().len(), 2, "{:?}", store.problems());
    assert_eq!((store.images().len(), store.leases().len()), (1, 1));
}

#[test]
fn a_store_of_another_version_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    drop(Store::open(dir.path()).unwrap());
    fs::write(dir.path().join("version"), "2\n").unwrap();
    assert!(matches!(Store::open(dir.path()), Err(StoreError::Version { version, .. }) if version == "2"));
    assert_eq!(fs::metadata(dir.path()).unwrap().permissions().mode() & 0o777, 0o700);
}

#[test]
fn a_layer_that_fails_half_way_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let bytes = layer(&[("f", "1"), ("g", "2")]);
    let cut = store.unpack(&bytes[..600], &Digest::of(&bytes));
    assert!(matches!(cut, Err(StoreError::Layer { .. })));
    let wrong = store.unpack(&bytes[..], &Digest::of(b"other"));
    assert!(matches!(wrong, Err(StoreError::Layer { source: ExtractError::DiffId { .. }, .. })));
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&bytes).unwrap();
    let mut gzip = gzip.finish().unwrap();
    let at = gzip.len() - 6;
    gzip[at] ^= 1;
    assert!(store.unpack(&gzip[..], &Digest::of(&bytes)).is_err(), "gzip's own sum is checked");
    assert_eq!(fs::read_dir(dir.path().join("tmp")).unwrap().count(), 0);
}
