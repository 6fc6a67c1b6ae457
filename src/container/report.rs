//! What a container's init tells of its failure: a stage, an act, an object and an errno, over a pipe.

use super::hooks::HookError;
use crate::codec::{Codec, DecodeError, Reader};
use crate::enum_codec;
use crate::errno::OpError;
use std::io;

/// The steps of an init, in their order. Those of an exec'd process are the ones that it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Its session, descriptors and namespaces.
    Isolate,
    /// Its cgroup.
    Cgroup,
    /// Its root file system, mounts and devices.
    Rootfs,
    /// Hooks that run in its namespaces.
    Hooks,
    /// Its terminal.
    Terminal,
    /// Host name and kernel parameters.
    Kernel,
    /// Limits, user and capabilities.
    Identity,
    /// System call filter.
    Seccomp,
    /// Working directory.
    Directory,
    /// Looking for the program.
    Program,
    /// Waiting to be let go.
    Gate,
    /// Becoming the program.
    Exec,
}
enum_codec!(Stage {
    0 => Isolate, 1 => Cgroup, 2 => Rootfs, 3 => Hooks, 4 => Terminal, 5 => Kernel, 6 => Identity, 7 => Seccomp,
    8 => Directory, 9 => Program, 10 => Gate, 11 => Exec,
});

/// Why a process of a container did not come to run its program.
#[derive(Debug, thiserror::Error)]
#[error("{act}{}", quoted(object))]
pub struct InitError {
    /// Where in its life.
    pub stage: Stage,
    /// What it was doing: `mount at`.
    pub act: String,
    /// To what.
    pub object: String,
    /// What the kernel said.
    #[source]
    pub source: io::Error,
}

fn quoted(object: &str) -> String {
    if object.is_empty() { String::new() } else { format!(" `{object}`") }
}

/// What an init writes into its report when running its program comes next: with nothing after it the end of the report
/// means that execve has succeeded, without it that the init was killed. No stage has this number.
pub(super) const NEXT: u8 = 0xff;

/// The error in what stands in a report; `None` when that is nothing, or only that the program comes next.
pub fn failure(report: &[u8]) -> Option<Result<InitError, DecodeError>> {
    let error = report.strip_prefix(&[NEXT]).unwrap_or(report);
    (!error.is_empty()).then(|| InitError::from_bytes(error))
}

impl InitError {
    /// A hook that ran in the container failed.
    pub(super) fn of_hook(e: HookError) -> Self {
        Self { stage: Stage::Hooks, act: e.to_string(), object: String::new(), source: e.source }
    }

    /// The kernel's error number.
    pub fn errno(&self) -> i32 {
        self.source.raw_os_error().unwrap_or(libc::EIO)
    }

    /// The exit code that shells give such an end: 127 when there is no such program, 126 when it cannot be run, 125
    /// for everything before that.
    pub fn shell_code(&self) -> i32 {
        match (self.stage, self.errno()) {
            (Stage::Program | Stage::Exec, libc::ENOENT | libc::ENOTDIR) => 127,
            (Stage::Program | Stage::Exec, _) => 126,
            _ => 125,
        }
    }
}

/// The longest report. It fits into a pipe at once.
pub(super) const REPORT_BYTES: usize = 4096;

/// The most bytes of each text in it.
const ACT_BYTES: usize = 300;
const OBJECT_BYTES: usize = 1200;
const WORDS_BYTES: usize = 2400;

/// As much of `text` as there is room for: its beginning, and its end.
fn cut(text: &str, most: usize) -> String {
    const GAP: &str = " … ";
    if text.len() <= most {
        return text.to_owned();
    }
    let half = (most - GAP.len()) / 2;
    let (head, tail) = (text.floor_char_boundary(half), text.ceil_char_boundary(text.len() - half));
    [&text[..head], GAP, &text[tail..]].concat()
}

impl Codec for InitError {
    fn encode(&self, out: &mut Vec<u8>) {
        self.stage.encode(out);
        cut(&self.act, ACT_BYTES).encode(out);
        cut(&self.object, OBJECT_BYTES).encode(out);
        // An errno where there is one; else the words.
        let errno: Option<i32> = self.source.raw_os_error();
        errno.encode(out);
        if errno.is_none() {
            cut(&self.source.to_string(), WORDS_BYTES).encode(out);
        }
    }
    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let (stage, act, object) = (Stage::decode(input)?, String::decode(input)?, String::decode(input)?);
        let source = match Option::<i32>::decode(input)? {
            Some(errno) => io::Error::from_raw_os_error(errno),
            None => io::Error::other(String::decode(input)?),
        };
        Ok(Self { stage, act, object, source })
    }
}

/// Says at which stage an act failed.
pub(super) trait AtStage<T> {
    fn at(self, stage: Stage) -> Result<T, InitError>;
}

impl<T> AtStage<T> for Result<T, OpError> {
    fn at(self, stage: Stage) -> Result<T, InitError> {
        self.map_err(|e| InitError { stage, act: e.op.into(), object: e.object, source: e.source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(stage: Stage, source: io::Error) -> InitError {
        InitError { stage, act: "execute".into(), object: "/bin/x".into(), source }
    }

    #[test]
    fn an_error_comes_out_of_the_pipe_as_it_went_in() {
        for source in [io::Error::from_raw_os_error(libc::EPERM), io::Error::other("words")] {
            let before = error(Stage::Rootfs, source);
            let after = InitError::from_bytes(&before.to_bytes()).unwrap();
            assert_eq!(crate::errno::chain(&before), crate::errno::chain(&after));
            assert_eq!(before.stage, after.stage);
        }
    }

    #[test]
    fn an_error_of_any_length_fits_into_a_report() {
        let long = InitError {
            stage: Stage::Program,
            act: "look for".repeat(1000),
            object: format!("/begins-{}-ends", "ü".repeat(3000)),
            source: io::Error::other("words ".repeat(2000)),
        };
        let bytes = long.to_bytes();
        assert!(bytes.len() <= REPORT_BYTES, "{}", bytes.len());
        let told = InitError::from_bytes(&bytes).unwrap();
        assert!(told.object.starts_with("/begins-ü") && told.object.ends_with("ü-ends"), "{}", told.object);
    }

    #[test]
    fn a_report_holds_an_error_with_or_without_the_word_before_it() {
        assert!(failure(&[]).is_none());
        assert!(failure(&[NEXT]).is_none());
        let bytes = error(Stage::Exec, io::Error::from_raw_os_error(libc::ENOEXEC)).to_bytes();
        assert_ne!(bytes[0], NEXT);
        for report in [bytes.clone(), [&[NEXT], bytes.as_slice()].concat()] {
            assert_eq!(failure(&report).unwrap().unwrap().errno(), libc::ENOEXEC);
        }
        assert!(failure(&[NEXT, NEXT]).unwrap().is_err());
    }

    #[test]
    fn exit_codes_are_those_of_shells() {
        let code = |stage, errno| error(stage, io::Error::from_raw_os_error(errno)).shell_code();
        assert_eq!(code(Stage::Program, libc::ENOENT), 127);
        assert_eq!(code(Stage::Exec, libc::ENOEXEC), 126);
        assert_eq!(code(Stage::Rootfs, libc::ENOENT), 125);
    }
}
