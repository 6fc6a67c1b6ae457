//! What of ours is in the kernel, whoever's it was: for `doctor`, and for sweeps after a crash.

use super::link;
use super::netlink::Talk;
use super::nft;
use super::plan::NodeNet;
use super::publish::{self, Published};
use crate::errno::{OpContext, OpError};
use std::path::{Path, PathBuf};

/// Everything of ours that the kernel holds for a node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Leftovers {
    /// Links of tasks, by the name of the host's end.
    pub links: Vec<String>,
    /// The node's bridge is there.
    pub bridge: bool,
    /// The node's table is there.
    pub table: bool,
    /// Published ports.
    pub published: Vec<Published>,
    /// Pinned namespaces.
    pub pins: Vec<PathBuf>,
}

impl Leftovers {
    /// Whether tasks have left nothing; bridge and table are the node's.
    pub fn no_task(&self) -> bool {
        self.links.is_empty() && self.published.is_empty() && self.pins.is_empty()
    }
}

/// Lists everything that carries the node's label, and the pins of network namespaces below `run`.
pub fn leftovers(node: &NodeNet, run: &Path) -> Result<Leftovers, OpError> {
    let group = link::group(node);
    let ours: Vec<_> = link::list(&mut Talk::route()?)?.into_iter().filter(|l| l.group == group).collect();
    let mut netfilter = Talk::netfilter()?;
    let mounts = "/proc/thread-self/mountinfo";
    Ok(Leftovers {
        links: ours.iter().filter(|l| l.kind != "bridge").map(|l| l.name.clone()).collect(),
        bridge: ours.iter().any(|l| l.kind == "bridge" && l.name == node.bridge),
        table: nft::table_exists(&mut netfilter, &node.table)?,
        published: publish::list(&mut netfilter, node)?,
        pins: pins(&std::fs::read_to_string(mounts).op("read", mounts)?, run),
    })
}

/// Deletes a link of ours that no plan speaks of any more, and says whether it was there.
pub fn remove_link(node: &NodeNet, name: &str) -> Result<bool, OpError> {
    link::remove(&mut Talk::route()?, name, link::group(node))
}

/// The mounts of network namespaces below `run`.
fn pins(mountinfo: &str, run: &Path) -> Vec<PathBuf> {
    let mounts = mountinfo.lines().filter_map(|line| {
        // 36 35 0:4 net:[4026532300] /run/berth/tasks/x/netns rw shared:1 - nsfs nsfs rw
        let (front, back) = line.split_once(" - ")?;
        let mut front = front.split(' ').skip(3);
        let (root, at) = (front.next()?, front.next()?);
        (back.starts_with("nsfs ") && root.starts_with("net:")).then(|| PathBuf::from(at))
    });
    mounts.filter(|at| at.starts_with(run)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pins_are_the_network_namespaces_below_the_run_directory() {
        let mountinfo = "\
36 35 0:4 net:[4026532300] /run/berth/tasks/x/netns rw shared:1 - nsfs nsfs rw
37 35 0:4 net:[4026532301] /run/netns/other rw - nsfs nsfs rw
38 35 0:4 ipc:[4026532302] /run/berth/tasks/x/ipc rw - nsfs nsfs rw
39 35 0:30 / /run/berth rw - tmpfs tmpfs rw
nonsense
";
        assert_eq!(pins(mountinfo, Path::new("/run/berth")), [Path::new("/run/berth/tasks/x/netns")]);
    }
}
