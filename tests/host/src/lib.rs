//! A machine of its own for each test.
//!
//! A [`TestHost`] is a helper process in network, mount, pid, uts, ipc and cgroup namespaces of its own, with a fresh
//! `/proc`, `/sys`, `/run` (tmpfs) and `/var/lib`, and the control-group trees mounted again with an own group as their
//! root. So berth's default paths (`/run/berth`, `/var/lib/berth`, the cgroup parent `berth`) are private inside, and so
//! are those of every other tool. Programs are the machine's own: `/usr`, `/etc` and the rest are shared.
//!
//! ```text
//! test process ──pipe──> unshare ──fork──> sh (pid 1 of the host, reaps) ── cat (ends when the pipe does)
//!      └─ host.command(..) = nsenter ──fork──> the program, a process of the host
//! ```
//! When the test ends, is killed or panics, the pipe closes, pid 1 ends, and the kernel ends everything in the host and
//! removes its mounts, links and rules. What outlives a pid namespace (cgroup directories and one directory for state)
//! is removed on drop, or by the next test process when there was no drop.
//!
//! Everything here panics with a message that names what was being done: it is for tests only. It needs root.

mod child;
mod fixtures;
mod helper;
mod leftovers;
mod link;
mod programs;
mod registry;
mod said;
mod stale;

pub use child::Running;
pub use fixtures::fixture;
pub use helper::TestHost;
pub use leftovers::Leftover;
pub use link::{Link, Peer};
pub use programs::{berth, berth_runtime, probe};
pub use registry::Registry;
pub use said::{Said, at_a_terminal, said};

use std::process::{Command, Output};
use std::time::{Duration, Instant};

/// Says, past the harness that keeps what passing tests print, that part of a test is left out here, and in which tier it
/// is not. In that tier (`BERTH_TEST_TIER`) it may not be left out.
pub fn not_here(what: &str, tier: &str) {
    assert_ne!(std::env::var("BERTH_TEST_TIER").as_deref(), Ok(tier), "{what} is to be tested in this tier");
    let line = format!("NOT TESTED HERE: {what}; the {tier} tier does\n");
    std::io::Write::write_all(&mut std::io::stderr(), line.as_bytes()).expect("standard error takes a line");
}

/// Asks `condition` until it says something, and panics with `what` when that takes longer than `patience`. For facts
/// that no descriptor announces; prefer to wait on the event itself.
pub fn eventually<T>(what: &str, patience: Duration, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < deadline, "waited {patience:?} for: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Compares a text with the file that holds what it was when somebody last looked at it.
pub fn golden(file: &str, found: &str) {
    if std::env::var_os("BERTH_BLESS").is_some() {
        std::fs::write(file, found).unwrap_or_else(|e| panic!("write {file}: {e}"));
    }
    let expected = std::fs::read_to_string(file).unwrap_or_default();
    let differing = || found.lines().zip(expected.lines()).find(|(a, b)| a != b);
    assert!(found == expected, "{file} has changed, first at {:?}; accept it with BERTH_BLESS=1", differing());
}

/// Runs a command that must succeed, and returns its standard output.
pub fn run(command: &mut Command) -> String {
    let output = output(command);
    assert!(output.status.success(), "{command:?}: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Runs a command to its end, whatever that is.
pub fn output(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|e| panic!("run {command:?}: {e}"))
}
