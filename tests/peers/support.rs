//! What the tests of all peers need.

use berth_test_host::{TestHost, fixture, output};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

/// How long one act of a peer may take on a machine that is busy with other tests.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Stays until it is asked to end, and says what it does.
pub(crate) const SERVICE: &str = "trap 'echo asked; exit 3' TERM; echo up; while :; do sleep 1000 & wait $!; done";

/// Ends once its terminal has the size of the caller's, which peers tell it after it has begun.
pub(crate) const TERMINAL: &str = "tty; until stty size 2>/dev/null | grep -q '^41 83$'; do sleep 0.01; done; exit 5";

/// What a finished command said.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Said {
    /// Its output, of a command that must have succeeded.
    pub(crate) fn ok(self) -> String {
        assert_eq!(self.code, 0, "{}\n{}", self.stdout, self.stderr);
        self.stdout
    }
}

/// The runtime under test, as in `tests/runtime`.
pub(crate) fn runtime() -> PathBuf {
    std::env::var_os("BERTH_TEST_RUNTIME").map_or_else(berth_test_host::berth_runtime, PathBuf::from)
}

/// Runs a command to its end.
pub(crate) fn said(command: &mut Command) -> Said {
    let output = output(command.stdin(Stdio::null()));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
    Said { code: output.status.code().unwrap_or(-1), stdout: text(&output.stdout), stderr: text(&output.stderr) }
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

/// Runs a command at a terminal of 41 lines and 83 columns until it ends, and gives its code and all that it showed.
pub(crate) fn at_a_terminal(host: &TestHost, command: &mut Command) -> (i32, String) {
    use std::io::Read;
    let size = nix::pty::Winsize { ws_row: 41, ws_col: 83, ws_xpixel: 0, ws_ypixel: 0 };
    let pty = nix::pty::openpty(Some(&size), None).unwrap();
    let end = || Stdio::from(pty.slave.try_clone().unwrap());
    let mut running = host.spawn(command.stdin(end()).stdout(end()).stderr(end()));
    // The command keeps what it was given for its children.
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let code = running.wait(PATIENCE).code().unwrap_or(-1);
    let mut master = std::fs::File::from(pty.master);
    nix::fcntl::fcntl(&master, nix::fcntl::FcntlArg::F_SETFL(nix::fcntl::OFlag::O_NONBLOCK)).unwrap();
    let (mut shown, mut buffer) = (String::new(), [0; 4096]);
    while let Ok(n @ 1..) = master.read(&mut buffer) {
        shown.push_str(&String::from_utf8_lossy(&buffer[..n]));
    }
    (code, shown.replace('\r', ""))
}
