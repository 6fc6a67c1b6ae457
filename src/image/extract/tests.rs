use super::*;
use crate::image::lookup::Layers;
use proptest::prelude::*;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::Path;

/// Makes archives entry by entry, wrong ones too.
#[derive(Default)]
struct Layer(Vec<u8>);

impl Layer {
    fn entry(self, kind: ::tar::EntryType, path: &str, link: &str, data: &[u8]) -> Self {
        self.full(kind, path, link, data, 0o644, &[])
    }

    fn full(
        mut self,
        kind: ::tar::EntryType,
        path: &str,
        link: &str,
        data: &[u8],
        mode: u32,
        xattrs: &[(&str, &[u8])],
    ) -> Self {
        let mut records = Vec::new();
        for (name, value) in xattrs {
            let body = format!(" SCHILY.xattr.{name}=").len() + value.len() + 1;
            let length = (1..).find(|n| n.to_string().len() + body == *n).unwrap();
            records.extend_from_slice(format!("{length} SCHILY.xattr.{name}=").as_bytes());
            records.extend_from_slice(value);
            records.push(b'\n');
        }
        if !records.is_empty() {
            self.put(::tar::EntryType::XHeader, "pax", "", &records, 0);
        }
        self.put(kind, path, link, data, mode);
        self
    }

    fn put(&mut self, kind: ::tar::EntryType, path: &str, link: &str, data: &[u8], mode: u32) {
        let mut header = ::tar::Header::new_ustar();
        // The crate's own setters refuse what an attacker would write.
        header.as_mut_bytes()[..path.len()].copy_from_slice(path.as_bytes());
        header.as_mut_bytes()[157..157 + link.len()].copy_from_slice(link.as_bytes());
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_size(data.len() as u64);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1_000_000);
        if kind == ::tar::EntryType::Char {
            header.set_device_major(1).unwrap();
            header.set_device_minor(3).unwrap();
        }
        header.set_cksum();
        self.0.extend_from_slice(header.as_bytes());
        self.0.extend_from_slice(data);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
    }

    fn dir(self, path: &str) -> Self {
        self.full(::tar::EntryType::Directory, path, "", b"", 0o755, &[])
    }

    fn file(self, path: &str, data: &str) -> Self {
        self.entry(::tar::EntryType::Regular, path, "", data.as_bytes())
    }

    fn link(self, path: &str, target: &str) -> Self {
        self.entry(::tar::EntryType::Symlink, path, target, b"")
    }

    fn hard(self, path: &str, target: &str) -> Self {
        self.entry(::tar::EntryType::Link, path, target, b"")
    }

    fn end(mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 1024, 0);
        self.0
    }

    /// Unpacks into a directory of its own, beside which something lies that must not be touched.
    fn unpack(self) -> (tempfile::TempDir, Result<Extracted, ExtractError>) {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("outside"), "untouched").unwrap();
        fs::create_dir(dir.path().join("root")).unwrap();
        let root = File::open(dir.path().join("root")).unwrap();
        let limits = Limits { bytes: 1 << 20, entries: 1000, reserve: 0 };
        let done = unpack(&self.end()[..], root.into(), &limits);
        assert_eq!(fs::read_to_string(dir.path().join("outside")).unwrap(), "untouched");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2, "something was made outside");
        (dir, done)
    }

    fn good(self) -> (tempfile::TempDir, Extracted) {
        let (dir, done) = self.unpack();
        (dir, done.unwrap())
    }
}

fn is_whiteout(path: &Path) -> bool {
    let meta = fs::symlink_metadata(path).unwrap();
    meta.file_type().is_char_device() && meta.rdev() == 0
}

fn is_opaque(path: &Path) -> bool {
    let dir = File::open(path).unwrap();
    let name = if nix::unistd::geteuid().is_root() { c"trusted.overlay.opaque" } else { c"user.overlay.opaque" };
    crate::sys::xattr::read(std::os::fd::AsFd::as_fd(&dir), name).unwrap().as_deref() == Some(b"y")
}

#[test]
fn entries_become_what_they_say() {
    let (dir, found) = Layer::default()
        .full(::tar::EntryType::Directory, "./", "", b"", 0o555, &[])
        .full(::tar::EntryType::Directory, "./tmp/", "", b"", 0o1777, &[])
        .full(
            ::tar::EntryType::Regular,
            "./tmp/su",
            "",
            b"data",
            0o4755,
            &[("user.x", b"1"), ("trusted.overlay.redirect", b"/")],
        )
        .hard("hard", "tmp/su")
        .link("/sym", "/etc/passwd")
        .full(::tar::EntryType::Fifo, "fifo", "", b"", 0o600, &[])
        .good();
    let root = dir.path().join("root");
    let su = fs::metadata(root.join("tmp/su")).unwrap();
    assert_eq!((su.mode() & 0o7777, su.mtime(), su.nlink()), (0o4755, 1_000_000, 2));
    assert_eq!(fs::metadata(root.join("hard")).unwrap().ino(), su.ino());
    assert_eq!(fs::read_link(root.join("sym")).unwrap(), Path::new("/etc/passwd"));
    assert!(fs::metadata(root.join("fifo")).unwrap().file_type().is_fifo());
    let tmp = fs::metadata(root.join("tmp")).unwrap();
    assert_eq!((tmp.mode() & 0o7777, tmp.mtime()), (0o1777, 1_000_000), "mode and time are set after the contents");
    assert_eq!(fs::metadata(&root).unwrap().mode() & 0o7777, 0o555);
    assert_eq!((found.bytes, found.implied.len(), found.links.len()), (4, 0, 0));
    let file = File::open(root.join("tmp/su")).unwrap();
    assert_eq!(crate::sys::xattr::names(std::os::fd::AsFd::as_fd(&file)).unwrap(), [c"user.x".to_owned()]);
}

#[test]
fn whiteouts_become_those_of_overlayfs() {
    let (dir, _) = Layer::default()
        .dir("a/")
        .file("a/.wh.gone", "")
        .dir("b/")
        .file("b/.wh..wh..opq", "")
        .file(".wh..wh.plnk", "")
        .file("deep/down/.wh.x", "")
        .good();
    let root = dir.path().join("root");
    assert!(is_whiteout(&root.join("a/gone")) && is_whiteout(&root.join("deep/down/x")));
    assert!(is_opaque(&root.join("b")) && !is_opaque(&root.join("a")));
    assert_eq!(fs::read_dir(&root).unwrap().count(), 3);
}

#[test]
fn what_is_hidden_and_made_again_hides_what_was_there() {
    let (dir, _) = Layer::default()
        .file(".wh.first", "")
        .dir("first/")
        .dir("second/")
        .file(".wh.second", "")
        .file(".wh.third", "")
        .file("third/x", "new")
        .file(".wh.file", "")
        .file("file", "new")
        .good();
    let root = dir.path().join("root");
    for name in ["first", "second", "third"] {
        assert!(is_opaque(&root.join(name)), "{name}");
    }
    assert_eq!(fs::read_to_string(root.join("third/x")).unwrap(), "new");
    assert_eq!(fs::read_to_string(root.join("file")).unwrap(), "new");
}

#[test]
fn a_whiteout_below_what_is_no_directory_hides_nothing() {
    let (dir, _) = Layer::default()
        .file("was-dir", "")
        .file("was-dir/.wh.x", "")
        .dir("target/")
        .link("was-dir-too", "target")
        .file("was-dir-too/.wh.x", "")
        .file("was-dir-too/.wh..wh..opq", "")
        .file(".wh.gone", "")
        .file("gone/.wh.x", "")
        .good();
    let root = dir.path().join("root");
    assert!(root.join("was-dir").is_file() && is_whiteout(&root.join("gone")));
    assert_eq!(fs::read_dir(root.join("target")).unwrap().count(), 0);
    assert!(!is_opaque(&root.join("target")));
}

#[test]
fn later_entries_replace_earlier_ones() {
    let (dir, found) = Layer::default()
        .file("x/y/z", "old")
        .file("x", "a file now")
        .link("l", "/outside")
        .file("l", "no longer a link")
        .file("f", "1")
        .dir("f/")
        .file("f/g", "2")
        .good();
    let root = dir.path().join("root");
    assert_eq!(fs::read_to_string(root.join("x")).unwrap(), "a file now");
    assert_eq!(fs::read_to_string(root.join("l")).unwrap(), "no longer a link");
    assert_eq!(fs::read_to_string(root.join("f/g")).unwrap(), "2");
    assert!(!found.implied.contains(&b"x/y"[..]) && !found.implied.contains(&b"x"[..]));
}

#[test]
fn what_a_link_led_to_is_forgotten_when_it_is_replaced() {
    let (dir, _) = Layer::default()
        .dir("d/")
        .link("l", "d")
        .dir("l/sub/")
        .file("l/x", "through the link")
        .dir("l/")
        .file("l/x", "in its place")
        .file("d", "no directory now")
        .hard("d", "./d")
        .good();
    let root = dir.path().join("root");
    assert_eq!(fs::read_to_string(root.join("l/x")).unwrap(), "in its place");
    assert_eq!(fs::read_to_string(root.join("d")).unwrap(), "no directory now");
}

#[test]
fn no_entry_gets_out() {
    // Each of these would write beside the root, or through a link to it, if links led anywhere but inside.
    let (dir, done) = Layer::default().link("up", "..").file("up/outside", "evil").unpack();
    done.unwrap();
    assert_eq!(fs::read_to_string(dir.path().join("root/outside")).unwrap(), "evil", "`..` of the root is the root");
    let (_dir, done) = Layer::default().link("abs", "/").file("abs/made", "inside").unpack();
    done.unwrap();
    for bad in ["../outside", "a/../../outside", "/../outside"] {
        let (_dir, done) = Layer::default().file(bad, "evil").unpack();
        assert!(matches!(done, Err(ExtractError::Refused { .. })), "{bad}");
    }
    let (dir, done) = Layer::default().link("l", "../outside").hard("h", "l").file("h", "evil").unpack();
    done.unwrap();
    assert_eq!(fs::read_to_string(dir.path().join("root/h")).unwrap(), "evil");
    let (_dir, done) = Layer::default().hard("h", "../outside").unpack();
    assert!(matches!(done, Err(ExtractError::Refused { .. })));
    let (_dir, done) = Layer::default().link("l", "..").hard("h", "l/outside").unpack();
    assert_eq!(done.unwrap().links.len(), 1, "the file outside was found");
    let (_dir, done) = Layer::default().link("a", "b").link("b", "a").file("a/x", "loop").unpack();
    assert!(done.is_err());
    let (_dir, done) = Layer::default().file(".wh...", "").unpack();
    assert!(matches!(done, Err(ExtractError::Refused { .. })));
}

#[test]
fn what_is_left_to_lower_layers_is_told() {
    let (_dir, found) = Layer::default().file("usr/share/doc", "x").dir("etc/").hard("etc/h", "bin/busybox").good();
    let implied: Vec<&[u8]> = found.implied.iter().map(Vec::as_slice).collect();
    assert_eq!(implied, [&b""[..], b"usr", b"usr/share"]);
    assert_eq!(found.links, [(b"etc/h".to_vec(), b"bin/busybox".to_vec())]);
}

#[test]
fn limits_end_it() {
    let (_dir, done) = Layer::default().file("big", &"x".repeat((1 << 20) + 1)).unpack();
    assert!(matches!(done, Err(ExtractError::TooLarge { what: "bytes", .. })));
    let many = (0..1001).fold(Layer::default(), |layer, i| layer.file(&i.to_string(), ""));
    assert!(matches!(many.unpack().1, Err(ExtractError::TooLarge { what: "entries", .. })));
    let dir = tempfile::tempdir().unwrap();
    let limits = Limits { reserve: u64::MAX, ..Limits::default() };
    let archive = Layer::default().file("f", "x").end();
    let done = unpack(&archive[..], File::open(dir.path()).unwrap().into(), &limits);
    assert!(matches!(done, Err(ExtractError::NoSpace { .. })));
}

#[test]
fn a_small_archive_of_endless_zeros_is_stopped() {
    // 64 MiB of padding behind the archive, in 64 KiB of gzip.
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    gzip.write_all(&Layer::default().file("f", "x").end()).unwrap();
    for _ in 0..64 {
        gzip.write_all(&vec![0; 1 << 20]).unwrap();
    }
    let bomb = gzip.finish().unwrap();
    assert!(bomb.len() < 100 << 10);
    let dir = tempfile::tempdir().unwrap();
    let limits = Limits { bytes: 8 << 20, ..Limits::default() };
    let done = extract(&bomb[..], Digest::of(b""), File::open(dir.path()).unwrap().into(), &limits);
    assert!(matches!(done, Err(ExtractError::TooLarge { what: "bytes", limit }) if limit == 8 << 20), "{done:?}");
}

#[test]
fn every_compression_gives_the_same_layer() {
    let archive = Layer::default().file("f", &"content ".repeat(1000)).end();
    let gzip = |bytes: &[u8]| {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(bytes).unwrap();
        gzip.finish().unwrap()
    };
    let members = [gzip(&archive[..700]), gzip(&archive[700..])].concat();
    let frames =
        [zstd::encode_all(&archive[..700], 1).unwrap(), zstd::encode_all(&archive[700..], 1).unwrap()].concat();
    for bytes in [archive.clone(), gzip(&archive), members, zstd::encode_all(&archive[..], 3).unwrap(), frames] {
        let dir = tempfile::tempdir().unwrap();
        let root = || File::open(dir.path()).unwrap().into();
        extract(&bytes[..], Digest::of(&archive), root(), &Limits::default()).unwrap();
        assert_eq!(fs::read_to_string(dir.path().join("f")).unwrap().len(), 8000);
        let wrong = extract(&bytes[..], Digest::of(b"other"), root(), &Limits::default());
        assert!(matches!(wrong, Err(ExtractError::DiffId { actual, .. }) if actual == Digest::of(&archive)));
        let cut = extract(&bytes[..bytes.len() / 2], Digest::of(&archive), root(), &Limits::default());
        assert!(cut.is_err());
    }
}

#[test]
fn unreadable_directories_do_not_stop_their_contents() {
    let (dir, _) =
        Layer::default().full(::tar::EntryType::Directory, "d/", "", b"", 0o000, &[]).file("d/f", "x").good();
    let path = dir.path().join("root/d");
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
    assert_eq!(fs::read_to_string(path.join("f")).unwrap(), "x");
}

#[test]
fn lookup_shows_what_overlayfs_would() {
    let unpack = |layer: Layer| layer.good().0;
    let lower = unpack(
        Layer::default()
            .dir("etc/")
            .file("etc/a", "low a")
            .file("etc/b", "low b")
            .file("gone/x", "x")
            .file("op/x", "low"),
    );
    let upper = unpack(
        Layer::default()
            .dir("etc/")
            .file("etc/a", "up a")
            .file(".wh.gone", "")
            .dir("op/")
            .file("op/.wh..wh..opq", "")
            .link("e", "/etc")
            .link("etc/c", "../e/b")
            .link("loop", "loop")
            .link("out", "../../../../etc/b"),
    );
    let roots = [upper.path().join("root"), lower.path().join("root")];
    let layers = Layers::open(&roots).unwrap();
    let read = |path| layers.read(path, 100).unwrap().map(|b| String::from_utf8(b).unwrap());
    assert_eq!(read("etc/a").as_deref(), Some("up a"));
    assert_eq!(read("/etc/b").as_deref(), Some("low b"));
    assert_eq!(read("e/c").as_deref(), Some("low b"), "links go through all layers");
    assert_eq!(read("out").as_deref(), Some("low b"), "and never out");
    for missing in ["gone/x", "op/x", "loop", "etc", "etc/a/b", "nothing"] {
        assert_eq!(read(missing), None, "{missing}");
    }
    assert!(layers.read("etc/a", 3).is_err(), "the limit is kept");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever an archive says, nothing happens outside its root, and what it leaves can be removed.
    #[test]
    fn no_sequence_of_entries_gets_out(entries in prop::collection::vec(
        (0u8..7, "(\\.\\./|/|\\./|[ab]/){0,3}(\\.wh\\.)?[abc]{1,2}", "(\\.\\./|/|\\./|[ab]/){0,3}[abc]{0,2}"), 0..24))
    {
        let mut layer = Layer::default();
        for (kind, path, link) in &entries {
            layer = match kind {
                0 | 1 => layer.file(path, "data"),
                2 => layer.dir(path),
                3 => layer.link(path, link),
                4 => layer.hard(path, link),
                5 => layer.entry(::tar::EntryType::Fifo, path, "", b""),
                _ => layer.file(&format!("{path}/.wh..wh..opq"), ""),
            };
        }
        let (dir, _) = layer.unpack();
        crate::image::tree::remove(&dir.path().join("root")).unwrap();
        prop_assert!(!dir.path().join("root").exists());
    }

    /// Damaged and foreign bytes end in an error or a layer, through every decoder.
    #[test]
    fn any_bytes_are_unpacked_or_refused(
        magic in prop::sample::select(vec![&b""[..], b"\x1f\x8b\x08", b"\x28\xb5\x2f\xfd", b"\x50\x2a\x4d\x18"]),
        bytes in prop::collection::vec(any::<u8>(), 0..2000),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let limits = Limits { bytes: 1 << 20, entries: 100, reserve: 0 };
        let whole = [magic, &bytes].concat();
        let _ = extract(&whole[..], Digest::of(b""), File::open(dir.path()).unwrap().into(), &limits);
    }
}
