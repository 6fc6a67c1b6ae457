use super::*;
use proptest::prelude::*;

/// Reads all entries with their data.
fn entries(bytes: &[u8]) -> Result<Vec<(Entry, Vec<u8>)>, TarError> {
    let mut archive = Archive::new(bytes);
    let mut all = Vec::new();
    while let Some(entry) = archive.next_entry()? {
        let mut data = Vec::new();
        loop {
            let Ok(n) = archive.data(|chunk| {
                data.extend_from_slice(chunk);
                Ok::<_, std::convert::Infallible>(())
            })?;
            if n == 0 {
                break;
            }
        }
        all.push((entry, data));
    }
    Ok(all)
}

fn header(path: &str, size: u64, kind: tar::EntryType) -> tar::Header {
    let mut header = tar::Header::new_ustar();
    header.set_path(path).unwrap();
    header.set_size(size);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(5);
    header.set_entry_type(kind);
    header.set_cksum();
    header
}

fn problem(bytes: &[u8]) -> &'static str {
    match entries(bytes) {
        Err(TarError::Format { problem, .. }) => problem,
        other => panic!("{other:?}"),
    }
}

fn pax_archive(records: &[(&str, &[u8])], size: u64, data: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut text = Vec::new();
    for (key, value) in records {
        let body = key.len() + value.len() + 3;
        let mut length = body + 1;
        while length != body + length.to_string().len() {
            length = body + length.to_string().len();
        }
        text.extend_from_slice(format!("{length} {key}=").as_bytes());
        text.extend_from_slice(value);
        text.push(b'\n');
    }
    let pad = |out: &mut Vec<u8>| out.resize(out.len().next_multiple_of(512), 0);
    out.extend_from_slice(header("pax", text.len() as u64, tar::EntryType::XHeader).as_bytes());
    out.extend_from_slice(&text);
    pad(&mut out);
    out.extend_from_slice(header("short", size, tar::EntryType::Regular).as_bytes());
    out.extend_from_slice(data);
    pad(&mut out);
    out.resize(out.len() + 1024, 0);
    out
}

#[test]
fn pax_records_replace_what_the_header_says() {
    let bytes = pax_archive(
        &[
            ("path", b"a/long/name"),
            ("size", b"3"),
            ("uid", b"70000"),
            ("gid", b"70001"),
            ("mtime", b"-1.25"),
            ("SCHILY.xattr.user.x", b"a\0b\n"),
            ("comment", b"passed over"),
        ],
        0,
        b"abc",
    );
    let all = entries(&bytes).unwrap();
    let (entry, data) = &all[0];
    assert_eq!((all.len(), &entry.path[..], &data[..]), (1, &b"a/long/name"[..], &b"abc"[..]));
    assert_eq!((entry.uid, entry.gid, entry.mtime), (70000, 70001, (-2, 750_000_000)));
    assert_eq!(entry.xattrs, [(b"user.x".to_vec(), b"a\0b\n".to_vec())]);
}

#[test]
fn a_link_has_no_data_whatever_its_size_field_says() {
    let mut bytes = header("link", 512, tar::EntryType::Link).as_bytes().to_vec();
    bytes.extend_from_slice(header("next", 0, tar::EntryType::Regular).as_bytes());
    let all = entries(&bytes).unwrap();
    assert_eq!(all.len(), 2);
    assert_eq!(all[0].0.size, 0);
}

#[test]
fn extension_records_are_bounded() {
    let bytes = header("pax", 2 << 20, tar::EntryType::XHeader).as_bytes().to_vec();
    assert_eq!(problem(&bytes), "the extension records of an entry are over 1 MiB");
    let mut bytes = Vec::new();
    for _ in 0..3 {
        bytes.extend_from_slice(header("long", 512 << 10, tar::EntryType::GNULongName).as_bytes());
        bytes.resize(bytes.len() + (512 << 10), b'a');
    }
    assert_eq!(problem(&bytes), "the extension records of an entry are over 1 MiB");
}

#[test]
fn what_breaks_off_or_lies_is_refused() {
    let file = header("f", 5, tar::EntryType::Regular).as_bytes().to_vec();
    assert_eq!(problem(&file), "the data ends early");
    assert_eq!(problem(&file[..100]), "the archive ends inside a block");
    let mut wrong = file.clone();
    wrong[0] = b'g';
    assert_eq!(problem(&wrong), "the header's checksum is wrong");
    assert_eq!(problem(header("s", 0, tar::EntryType::GNUSparse).as_bytes()), "sparse files are not supported");
    assert_eq!(problem(&pax_archive(&[("GNU.sparse.major", b"1")], 0, b"")), "sparse files are not supported");
    let mut lone = vec![0; 512];
    lone.extend_from_slice(header("f", 0, tar::EntryType::Regular).as_bytes());
    assert_eq!(problem(&lone), "a single block of zeros inside the archive");
}

#[test]
fn an_archive_may_end_without_its_zeros() {
    assert_eq!(entries(header("f", 0, tar::EntryType::Regular).as_bytes()).unwrap().len(), 1);
    assert!(entries(b"").unwrap().is_empty());
}

#[test]
fn numbers_are_octal_or_binary() {
    assert_eq!(number(b"0000644\0"), Some(0o644));
    assert_eq!(number(b" 644 \0\0\0"), Some(0o644));
    assert_eq!(number(b"\0\0\0\0"), Some(0));
    assert_eq!(number(b"\x80\0\0\x01\0"), Some(256));
    assert_eq!(number(b"\xff\xff\xff\xff"), Some(-1));
    assert_eq!(number(b"89"), None);
    assert_eq!(number(b"\x80\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"), None);
}

proptest! {
    /// Bytes of any kind are an error or a list, never a panic, and time and memory are bounded by their length.
    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..4096)) {
        let _ = entries(&bytes);
    }

    /// What another writer makes is read as it was meant, long names included.
    #[test]
    fn archives_of_another_writer_are_read_as_meant(
        files in prop::collection::vec(("[a-z]{1,30}(/[a-zé]{1,60}){0,5}", prop::collection::vec(any::<u8>(), 0..1500)), 0..8)
    ) {
        let mut builder = tar::Builder::new(Vec::new());
        for (path, data) in &files {
            let mut header = tar::Header::new_gnu();
            header.set_size(data.len() as u64);
            header.set_mode(0o755);
            builder.append_data(&mut header, path, &data[..]).unwrap();
        }
        let read = entries(&builder.into_inner().unwrap()).unwrap();
        let read: Vec<_> = read.iter().map(|(e, d)| (String::from_utf8(e.path.clone()).unwrap(), d.clone())).collect();
        prop_assert_eq!(read, files);
    }

    /// An archive with some bytes changed is an error or a list.
    #[test]
    fn damaged_archives_do_no_harm(at in 0usize..2048, with in any::<u8>(), cut in 0usize..4096) {
        let mut bytes = pax_archive(&[("path", b"x"), ("SCHILY.xattr.user.a", b"b")], 4, b"data");
        let len = bytes.len();
        bytes[at % len] = with;
        bytes.truncate(len.min(cut));
        let _ = entries(&bytes);
    }
}
