//! Images that scripts under `rootfs-fixtures/` make with tools that are not ours.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The path of a fixture, made when it is missing or older than what it is made from: `fixture("registry")` is what
/// `rootfs-fixtures/make-registry.sh` prints. With `BERTH_FIXTURES` set, the fixture of that name in that directory.
pub fn fixture(name: &str) -> PathBuf {
    if let Some(dir) = env::var_os("BERTH_FIXTURES") {
        let path = Path::new(&dir).join(name);
        assert!(path.exists(), "fixture `{}` is not there", path.display());
        return path;
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../rootfs-fixtures/make-{name}.sh"));
    // The script takes a lock of its own, prints the path and nothing else, and is quick when nothing has changed.
    PathBuf::from(crate::run(&mut Command::new(script)).trim())
}
