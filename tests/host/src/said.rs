//! Commands of other people's programs, whose codes and words are looked at.

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::pty::{Winsize, openpty};
use std::fs::File;
use std::io::Read as _;
use std::process::{Command, Stdio};
use std::time::Duration;

/// What a finished command said.
#[derive(Debug)]
pub struct Said {
    /// Its exit code; -1 when a signal ended it.
    pub code: i32,
    /// Its output, without the end of the last line.
    pub stdout: String,
    /// Its messages, likewise.
    pub stderr: String,
}

impl Said {
    /// Its output, of a command that must have succeeded.
    pub fn ok(self) -> String {
        assert_eq!(self.code, 0, "{}\n{}", self.stdout, self.stderr);
        self.stdout
    }
}

/// Runs a command to its end, without input.
pub fn said(command: &mut Command) -> Said {
    let output = crate::output(command.stdin(Stdio::null()));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
    Said { code: output.status.code().unwrap_or(-1), stdout: text(&output.stdout), stderr: text(&output.stderr) }
}

/// Runs a command at a terminal of 41 lines and 83 columns until it ends, and gives its code and all that it showed.
pub fn at_a_terminal(command: &mut Command, patience: Duration) -> (i32, String) {
    let size = Winsize { ws_row: 41, ws_col: 83, ws_xpixel: 0, ws_ypixel: 0 };
    let pty = openpty(Some(&size), None).expect("open a terminal");
    let end = || Stdio::from(pty.slave.try_clone().expect("share the terminal"));
    command.stdin(end()).stdout(end()).stderr(end());
    let mut running = command.spawn().unwrap_or_else(|e| panic!("start {command:?}: {e}"));
    // The command keeps what it was given for its children.
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let status = crate::eventually(&format!("{command:?} to end"), patience, || running.try_wait().ok().flatten());
    let mut master = File::from(pty.master);
    fcntl(&master, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).expect("read only what is there");
    let (mut shown, mut buffer) = (String::new(), [0; 4096]);
    while let Ok(n @ 1..) = master.read(&mut buffer) {
        shown.push_str(&String::from_utf8_lossy(&buffer[..n]));
    }
    (status.code().unwrap_or(-1), shown.replace('\r', ""))
}
