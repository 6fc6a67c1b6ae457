//! What the tests of all peers need.

use berth_test_host::{TestHost, fixture};
use std::path::PathBuf;
use std::time::Duration;

/// How long one act of a peer may take on a machine that is busy with other tests.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Stays until it is asked to end, and says what it does.
pub(crate) const SERVICE: &str = "trap 'echo asked; exit 3' TERM; echo up; while :; do sleep 1000 & wait $!; done";

/// Ends once its terminal has the size of the caller's, which peers tell it after it has begun.
pub(crate) const TERMINAL: &str = "tty; until stty size 2>/dev/null | grep -q '^41 83$'; do sleep 0.01; done; exit 5";

/// The runtime under test, as in `tests/runtime`.
pub(crate) fn runtime() -> PathBuf {
    std::env::var_os("BERTH_TEST_RUNTIME").map_or_else(berth_test_host::berth_runtime, PathBuf::from)
}

/// The busybox image as an archive that peers load: `kind` is a transport of skopeo's.
pub(crate) fn archive(host: &TestHost, kind: &str) -> PathBuf {
    let layout = fixture("busybox-image").join("layout");
    let file = host.dir().join("busybox.tar");
    let from = format!("oci:{}:busybox", layout.display());
    let to = format!("{kind}:{}:docker.io/library/busybox:latest", file.display());
    berth_test_host::run(host.command("skopeo").args(["--insecure-policy", "copy", &from, &to]));
    file
}
