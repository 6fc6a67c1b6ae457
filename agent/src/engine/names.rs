//! Names and numbers that are derived from a task's id: the same after a restart, different for each task.

use sha2::{Digest, Sha256};

/// Name of the host's end of a container's link: 15 bytes at most, as the kernel wants it.
pub(super) fn host_link(task: &str, container: usize) -> String {
    let hash = Sha256::digest(task.as_bytes());
    let hex: String = hash.iter().take(5).map(|b| format!("{b:02x}")).collect();
    format!("bv{hex}{container:x}")
}

/// A MAC address of the locally administered kind.
pub(super) fn mac_address(task: &str) -> [u8; 6] {
    let hash = Sha256::digest(format!("mac {task}").as_bytes());
    let mut mac = [0x02, 0, 0, 0, 0, 0];
    mac[1..].copy_from_slice(&hash[..5]);
    mac
}

/// Host name of a container that was given none: like a short container id.
pub(super) fn hostname(task: &str) -> String {
    let name: String = task.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').take(12).collect();
    if name.is_empty() { "task".into() } else { name.trim_matches('-').to_owned() }
}

/// Name of a container's snapshot in the image store.
pub(super) fn snapshot_key(task: &str, container: &str) -> String {
    format!("{task}.{container}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn links_are_short_and_different_for_each_container() {
        let mut seen = HashSet::new();
        for task in ["a", "b", "0123456789abcdef0123456789abcdef"] {
            for container in [0, 1, 10, 119] {
                let name = host_link(task, container);
                assert!(name.len() <= 15, "{name}");
                assert!(seen.insert(name));
            }
        }
    }

    #[test]
    fn macs_are_unicast_and_locally_administered() {
        assert_eq!(mac_address("x")[0] & 0x03, 0x02);
        assert_ne!(mac_address("x"), mac_address("y"));
    }
}
