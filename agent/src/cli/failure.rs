//! What a command ends with when it does not succeed: a message, a hint where the mend is known, an exit code.
//!
//! | code | meaning |
//! |---|---|
//! | 0 | done |
//! | 1 | the command failed |
//! | 2 | the command line is wrong (clap's own code) |
//! | 125 | `run` or `exec`: berth failed, the container's process never ran |
//! | 126 | `run` or `exec`: the program in the container is not executable |
//! | 127 | `run` or `exec`: there is no such program in the container |
//! | other | `run` or `exec`: the container's own |
//!
//! `run` and `exec` hand the container's code on, so their own failures have to stand apart from it: see
//! [`Failure::of_run`].

use std::fmt;
use std::process::ExitCode;

/// The command failed.
pub(crate) const FAILED: u8 = 1;
/// The command line or a file named on it is wrong.
pub(crate) const USAGE: u8 = 2;
/// berth failed before the container's process ran.
pub(crate) const BERTH_FAILED: u8 = 125;
/// The program is there but cannot be run.
pub(crate) const NOT_RUNNABLE: u8 = 126;
/// The program is not there.
pub(crate) const NOT_FOUND: u8 = 127;

/// Why a command ends without success.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    message: String,
    hint: Option<String>,
    code: u8,
    lost: bool,
}

impl Failure {
    /// The command failed, for the reason told by `message`.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None, code: FAILED, lost: false }
    }

    /// The caller asked for something that cannot be meant.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None, code: USAGE, lost: false }
    }

    /// Fails with `act` and the whole chain of its cause.
    pub(crate) fn caused(act: impl fmt::Display, cause: &dyn std::error::Error) -> Self {
        Self::new(format!("{act}: {}", berth_runtime::errno::chain(cause)))
    }

    /// Ends with `code` and without a word: what there was to say has been said.
    pub(crate) fn silent(code: u8) -> Self {
        Self { message: String::new(), hint: None, code, lost: false }
    }

    /// Adds what the reader can do about it.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Ends with another exit code.
    pub(crate) fn code(mut self, code: u8) -> Self {
        self.code = code;
        self
    }

    /// The connection to the agent is what failed: an agent that is restarted takes the same request again.
    pub(crate) fn lost(mut self) -> Self {
        self.lost = true;
        self
    }

    /// Whether the connection to the agent is what failed.
    pub(crate) fn is_lost(&self) -> bool {
        self.lost
    }

    /// The same failure of `run` or `exec`: 1 would be taken for the container's.
    pub(crate) fn of_run(mut self) -> Self {
        if self.code == FAILED {
            self.code = BERTH_FAILED;
        }
        self
    }

    /// The exit code.
    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.code)
    }
}

/// `error: MESSAGE`, and the hint on a line of its own.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.message)?;
        if let Some(hint) = &self.hint {
            write!(f, "\nhint: {hint}")?;
        }
        Ok(())
    }
}

impl Failure {
    /// Whether there is anything to print.
    pub(crate) fn is_silent(&self) -> bool {
        self.message.is_empty()
    }
}

/// A reader that has gone away, such as `| head`, ends the command quietly; any other trouble with standard output is
/// told.
impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::BrokenPipe => Self::silent(0),
            _ => Self::caused("write to standard output", &error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hint_stands_on_a_line_of_its_own() {
        let failure = Failure::new("connect to the agent").hint("start it");
        assert_eq!(failure.to_string(), "error: connect to the agent\nhint: start it");
    }

    #[test]
    fn a_failure_of_run_is_not_taken_for_the_containers() {
        assert_eq!(Failure::new("x").of_run().code, BERTH_FAILED);
        assert_eq!(Failure::usage("x").of_run().code, USAGE);
        assert_eq!(Failure::new("x").code(NOT_FOUND).of_run().code, NOT_FOUND);
    }

    #[test]
    fn a_closed_pipe_is_no_failure() {
        let failure = Failure::from(std::io::Error::from(std::io::ErrorKind::BrokenPipe));
        assert!(failure.is_silent());
        assert_eq!(failure.code, 0);
    }
}
