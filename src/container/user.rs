//! Users and groups of a container, by its own passwd and group files (never by NSS, which would run what the host is
//! configured to run). The files are the image's: their size is bounded, and lines that make no sense are passed over.

use crate::sys::path::open_in;
use crate::sys::procfs;
use std::io::Read;
use std::os::fd::BorrowedFd;
use std::path::Path;

/// The most that is read of either file.
const MAX_BYTES: u64 = 1 << 20;

/// Who a process runs as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Other groups.
    pub additional_gids: Vec<u32>,
}

/// A user or group that the container does not have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unable to find {kind} {name}: no matching entries in {kind_file} file")]
pub struct UnknownName {
    kind: &'static str,
    kind_file: &'static str,
    name: String,
}

/// The file `path` inside `root`; empty when it is not there or not to be read.
pub(super) fn read(root: BorrowedFd<'_>, path: &str) -> String {
    let mut bytes = Vec::new();
    // Looked at before it is opened: an image or a container may have put a device there, of which opening alone can be
    // an act, and one that its own rules forbid it.
    if let Ok(file) = open_in(root, Path::new(path), libc::O_PATH, 0)
        && nix::sys::stat::fstat(&file).is_ok_and(|found| found.st_mode & libc::S_IFMT == libc::S_IFREG)
        && let Ok(file) = procfs::reopen(&file)
    {
        let _ = file.take(MAX_BYTES).read_to_end(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn field(line: &str, index: usize) -> &str {
    line.split(':').nth(index).unwrap_or("")
}

fn number(line: &str, index: usize) -> Option<u32> {
    field(line, index).parse().ok()
}

/// Resolves `user[:group]`, each by name or number, against the texts of a passwd and a group file.
pub fn resolve(spec: &str, passwd: &str, group: &str) -> Result<User, UnknownName> {
    let (user, wanted_group) = match spec.split_once(':') {
        Some((user, group)) => (user, Some(group).filter(|g| !g.is_empty())),
        None => (spec, None),
    };
    // A name wins over a number, as useradd allows names of digits.
    let by_name = passwd.lines().find(|l| field(l, 0) == user && !user.is_empty() && number(l, 2).is_some());
    let entry = by_name.or_else(|| passwd.lines().find(|l| user.parse().is_ok_and(|uid| number(l, 2) == Some(uid))));
    let uid = match (entry.and_then(|l| number(l, 2)), user.parse()) {
        (Some(uid), _) | (None, Ok(uid)) => uid,
        (None, Err(_)) if user.is_empty() => 0,
        _ => return Err(UnknownName { kind: "user", kind_file: "passwd", name: user.into() }),
    };
    let gid = match wanted_group {
        None => entry.and_then(|l| number(l, 3)).unwrap_or(0),
        Some(wanted) => {
            let found = group.lines().find(|l| field(l, 0) == wanted).and_then(|l| number(l, 2));
            match found.or_else(|| wanted.parse().ok()) {
                Some(gid) => gid,
                None => return Err(UnknownName { kind: "group", kind_file: "group", name: wanted.into() }),
            }
        }
    };
    let name = entry.map(|l| field(l, 0)).filter(|n| !n.is_empty());
    let member = |l: &&str| name.is_some_and(|name| field(l, 3).split(',').any(|m| m == name));
    // The own group is one of them: else a process that is run by a set-group-ID program leaves it, and with it what a
    // file denies to that group (CVE-2022-36109). Who names a group gets that one alone, as docker has it.
    let mut additional_gids = vec![gid];
    if wanted_group.is_none() {
        additional_gids.extend(group.lines().filter(member).filter_map(|l| number(l, 2)));
    }
    additional_gids.sort_unstable();
    additional_gids.dedup();
    Ok(User { uid, gid, additional_gids })
}

/// The home directory of a user id in the text of a passwd file.
pub(super) fn home(uid: u32, passwd: &str) -> Option<&str> {
    passwd.lines().find(|l| number(l, 2) == Some(uid)).map(|l| field(l, 5)).filter(|h| !h.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nbroken\nweb:x:33:34::/srv:/bin/false\n77:x:5:6:::\n";
    const GROUP: &str = "root:x:0:\nweb:x:34:\nlogs:x:4:web,other\n";

    fn user(uid: u32, gid: u32, additional_gids: &[u32]) -> Result<User, UnknownName> {
        Ok(User { uid, gid, additional_gids: additional_gids.into() })
    }

    #[test]
    fn names_and_numbers_mean_what_the_containers_files_say() {
        assert_eq!(resolve("web", PASSWD, GROUP), user(33, 34, &[4, 34]));
        assert_eq!(resolve("33", PASSWD, GROUP), user(33, 34, &[4, 34]));
        assert_eq!(resolve("web:logs", PASSWD, GROUP), user(33, 4, &[4]));
        assert_eq!(resolve("1000:1001", PASSWD, GROUP), user(1000, 1001, &[1001]));
        assert_eq!(resolve("1000", PASSWD, GROUP), user(1000, 0, &[0]));
        assert_eq!(resolve("77", PASSWD, GROUP), user(5, 6, &[6]));
        assert_eq!(resolve("", "", ""), user(0, 0, &[0]));
    }

    #[test]
    fn what_is_no_file_is_not_even_opened() {
        let dev = std::fs::File::open("/dev").unwrap();
        assert_eq!(read(std::os::fd::AsFd::as_fd(&dev), "/zero"), "");
        let etc = std::fs::File::open("/etc").unwrap();
        assert!(read(std::os::fd::AsFd::as_fd(&etc), "/passwd").contains("root:"));
    }

    #[test]
    fn unknown_names_are_refused() {
        assert!(resolve("nobody", PASSWD, GROUP).is_err());
        assert!(resolve("web:nobody", PASSWD, GROUP).is_err());
    }

    #[test]
    fn a_home_is_the_one_of_the_passwd_file() {
        assert_eq!(home(33, PASSWD), Some("/srv"));
        assert_eq!(home(5, PASSWD), None);
    }
}
