//! Who a container runs as, by the image's own passwd(5) and group(5).
//!
//! `USER[:GROUP]`, each a name or a number. A number need not be in the files; a name must. The user's supplementary groups
//! count only where no group is given. Never the host's files, never NSS.

use super::BundleError;

/// A user of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Supplementary groups, sorted. The own group is one of them: else a set-group-id program of the image, run by its
    /// owner, could take it off and pass permissions that are denied to the group (CVE-2022-36109).
    pub groups: Vec<u32>,
    /// Home directory; `/` where the files know none.
    pub home: String,
}

/// A line of passwd or group, in columns.
fn lines(text: &str) -> impl Iterator<Item = Vec<&str>> {
    text.lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| line.split(':').collect())
}

fn number(text: &str) -> Option<u32> {
    // The last id means "no change" to the kernel.
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok())?.filter(|id| *id != u32::MAX)
}

/// Finds `wanted` (empty: root) in the image's files.
pub(super) fn resolve(wanted: &str, passwd: &str, group: &str) -> Result<User, BundleError> {
    let refuse = |problem| BundleError::User { user: wanted.chars().take(100).collect(), problem };
    let (name, group_name) = wanted.split_once(':').map_or((wanted, None), |(user, group)| (user, Some(group)));
    let name = if name.is_empty() { "0" } else { name };
    let entry = lines(passwd).find_map(|columns| match columns[..] {
        [n, _, uid, gid, _, home, ..] if n == name || (number(name).is_some() && number(uid) == number(name)) => {
            Some((n.to_owned(), number(uid)?, number(gid)?, home.to_owned()))
        }
        _ => None,
    });
    let (login, uid, own_gid, home) = match (entry, number(name)) {
        (Some((login, uid, gid, home)), _) => (Some(login), uid, gid, home),
        (None, Some(uid)) => (None, uid, 0, String::new()),
        (None, None) => return Err(refuse("is not in the image's /etc/passwd")),
    };
    let named_group = |wanted: &str| {
        lines(group).find_map(|columns| match columns[..] {
            [n, _, gid, ..] if n == wanted => number(gid),
            _ => None,
        })
    };
    let (gid, mut groups) = match group_name.filter(|g| !g.is_empty()) {
        Some(given) => {
            let gid = named_group(given).or_else(|| number(given));
            (gid.ok_or_else(|| refuse("the group is not in the image's /etc/group"))?, Vec::new())
        }
        None => (own_gid, login.map(|login| member_of(&login, group)).unwrap_or_default()),
    };
    groups.push(gid);
    groups.sort_unstable();
    groups.dedup();
    let home = if home.starts_with('/') { home } else { "/".to_owned() };
    Ok(User { uid, gid, groups, home })
}

fn member_of(login: &str, group: &str) -> Vec<u32> {
    let of = |columns: Vec<&str>| match columns[..] {
        [_, _, gid, members, ..] if members.split(',').any(|m| m == login) => number(gid),
        _ => None,
    };
    lines(group).filter_map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str =
        "root:x:0:0:root:/root:/bin/sh\n# comment\nnginx:x:101:102:n:/nonexistent:/bin/false\nbad line\nx:x:no:1::/:\n";
    const GROUP: &str = "root:x:0:\nwww:x:33:nginx,other\nadm:x:4:nginx\nnginx:x:102:\n";

    fn of(wanted: &str) -> Result<(u32, u32, Vec<u32>, String), String> {
        resolve(wanted, PASSWD, GROUP).map(|u| (u.uid, u.gid, u.groups, u.home)).map_err(|e| e.to_string())
    }

    #[test]
    fn names_and_numbers_find_the_same_user() {
        let nginx = (101, 102, vec![4, 33, 102], "/nonexistent".to_owned());
        assert_eq!(of("nginx"), Ok(nginx.clone()));
        assert_eq!(of("101"), Ok(nginx));
        assert_eq!(of(""), Ok((0, 0, vec![0], "/root".into())));
    }

    #[test]
    fn a_given_group_replaces_all_others() {
        assert_eq!(of("nginx:www"), Ok((101, 33, vec![33], "/nonexistent".into())));
        assert_eq!(of("nginx:77"), Ok((101, 77, vec![77], "/nonexistent".into())));
        assert_eq!(of(":33"), Ok((0, 33, vec![33], "/root".into())));
    }

    #[test]
    fn a_number_need_not_be_in_the_files_and_a_name_must() {
        assert_eq!(of("5000"), Ok((5000, 0, vec![0], "/".into())));
        assert_eq!(of("nobody"), Err("user `nobody`: is not in the image's /etc/passwd".into()));
        assert_eq!(of("0:staff"), Err("user `0:staff`: the group is not in the image's /etc/group".into()));
        assert_eq!(of("x"), Err("user `x`: is not in the image's /etc/passwd".into()));
        assert!(of("4294967295").is_err());
    }
}
