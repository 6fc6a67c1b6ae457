//! overlayfs, the node's two directories, and `berth-runtime`.

use super::{Finding, Host};
use crate::cli::text;
use crate::config::find_runtime;
use nix::sys::statfs::{FsType, NFS_SUPER_MAGIC, OVERLAYFS_SUPER_MAGIC, Statfs, TMPFS_MAGIC, statfs};
use std::path::{Path, PathBuf};

/// Less free space than this is worth a word: an image of a few layers takes as much.
const LOW_SPACE: u64 = 1 << 30;

pub(super) fn check(host: &Host) -> Vec<Finding> {
    let state = existing(&host.dirs.state).and_then(|dir| Some((statfs(&dir).ok()?, dir)));
    let run = existing(&host.dirs.run).and_then(|dir| Some((statfs(&dir).ok()?, dir)));
    vec![
        overlay(host),
        match state {
            Some((fs, dir)) => state_dir(&host.dirs.state, &dir, fs.filesystem_type(), free(&fs)),
            None => unreachable_dir("state", &host.dirs.state),
        },
        match run {
            Some((fs, _)) => run_dir(&host.dirs.run, fs.filesystem_type()),
            None => unreachable_dir("run", &host.dirs.run),
        },
        runtime(),
    ]
}

fn overlay(host: &Host) -> Finding {
    const TOPIC: &str = "overlay";
    let known = host.read("/proc/filesystems").unwrap_or_default();
    if known.split_whitespace().any(|word| word == "overlay") {
        return Finding::ok(TOPIC, "the kernel has it");
    }
    let release = host.read("/proc/sys/kernel/osrelease").unwrap_or_default();
    let modules = host.read(&format!("/lib/modules/{release}/modules.dep")).unwrap_or_default();
    match modules.lines().any(|line| line.split(':').next().is_some_and(|m| m.contains("/overlay.ko"))) {
        true => Finding::ok(TOPIC, "a module that loads when it is first used"),
        false => Finding::bad(
            TOPIC,
            "the kernel has no overlayfs: images could not be put together",
            "modprobe overlay; or boot a kernel built with CONFIG_OVERLAY_FS",
        ),
    }
}

/// The directory or the nearest one above it that is there.
fn existing(dir: &Path) -> Option<PathBuf> {
    dir.ancestors().find(|d| d.is_dir()).map(Path::to_owned)
}

fn free(fs: &Statfs) -> u64 {
    fs.blocks_available().saturating_mul(u64::try_from(fs.block_size()).unwrap_or(0))
}

fn unreachable_dir(topic: &'static str, dir: &Path) -> Finding {
    Finding::bad(
        topic,
        format!("`{}` cannot be looked at", dir.display()),
        "name another directory to agent and doctor",
    )
}

fn state_dir(dir: &Path, at: &Path, kind: FsType, free: u64) -> Finding {
    const TOPIC: &str = "state";
    let shown = dir.display();
    match kind {
        OVERLAYFS_SUPER_MAGIC => Finding::bad(
            TOPIC,
            format!("`{shown}` is on an overlay, on which no other can be put"),
            "name a directory on a disk or tmpfs: `berth agent --state DIR`, or mount one there",
        ),
        NFS_SUPER_MAGIC => Finding::bad(
            TOPIC,
            format!("`{shown}` is on NFS, on which no overlay can be put"),
            "name a directory on a local disk: `berth agent --state DIR`",
        ),
        _ if free < LOW_SPACE => Finding::warn(
            TOPIC,
            format!("`{shown}` has {} left", text::bytes(free)),
            format!("free some space on `{}`; `berth images` tells what the images take", at.display()),
        ),
        TMPFS_MAGIC => Finding::warn(
            TOPIC,
            format!("`{shown}` is on tmpfs: images and exit codes are gone with the next boot"),
            "name a directory on a disk, unless that is meant: `berth agent --state DIR`",
        ),
        _ => Finding::ok(TOPIC, format!("`{shown}`, {} left", text::bytes(free))),
    }
}

fn run_dir(dir: &Path, kind: FsType) -> Finding {
    const TOPIC: &str = "run";
    let shown = dir.display();
    match kind {
        TMPFS_MAGIC => Finding::ok(TOPIC, format!("`{shown}`")),
        _ => Finding::warn(
            TOPIC,
            format!("`{shown}` is not on tmpfs: what a boot leaves there looks like tasks that died"),
            "name a directory on tmpfs, such as one below /run: `berth agent --run DIR`",
        ),
    }
}

fn runtime() -> Finding {
    const TOPIC: &str = "runtime";
    // As the agent looks for it.
    let own = std::env::current_exe().ok();
    let path = std::env::var("PATH").unwrap_or_default();
    match find_runtime(None, own.as_deref(), &path) {
        Ok(found) => Finding::ok(TOPIC, format!("`{}`", found.display())),
        Err(_) => Finding::warn(
            TOPIC,
            "no berth-runtime beside this program or in PATH",
            "install it beside `berth`, or tell the agent where it is: `berth agent --runtime FILE`",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::super::testing::host;
    use super::*;
    use nix::sys::statfs::EXT4_SUPER_MAGIC;

    #[test]
    fn an_overlay_may_be_built_in_or_a_module() {
        let of = |files: &[(&str, &str)]| overlay(&host(files).1).level;
        assert_eq!(of(&[("proc/filesystems", "nodev\tproc\nnodev\toverlay\n")]), Level::Ok);
        let release = ("proc/sys/kernel/osrelease", "6.1.0\n");
        let module = ("lib/modules/6.1.0/modules.dep", "kernel/fs/overlayfs/overlay.ko.xz: kernel/x.ko\n");
        assert_eq!(of(&[("proc/filesystems", "nodev\tproc\n"), release, module]), Level::Ok);
        assert_eq!(of(&[("proc/filesystems", "nodev\tproc\n"), release]), Level::Bad);
    }

    #[test]
    fn a_state_directory_must_take_overlays_and_should_outlive_the_boot() {
        let level = |kind, free| state_dir(Path::new("/s"), Path::new("/"), kind, free).level;
        assert_eq!(level(EXT4_SUPER_MAGIC, 5 << 30), Level::Ok);
        assert_eq!(level(EXT4_SUPER_MAGIC, 5 << 20), Level::Warn);
        assert_eq!(level(TMPFS_MAGIC, 5 << 30), Level::Warn);
        assert_eq!(level(OVERLAYFS_SUPER_MAGIC, 5 << 30), Level::Bad);
        assert_eq!(level(NFS_SUPER_MAGIC, 5 << 30), Level::Bad);
    }

    #[test]
    fn a_directory_that_is_yet_to_be_made_is_judged_by_the_one_above() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(existing(&dir.path().join("a/b/c")).unwrap(), dir.path());
    }
}
