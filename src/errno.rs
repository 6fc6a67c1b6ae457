//! The error of an act on an object, for modules whose callers do not branch on the cause.

use std::io;

/// An act on an object failed: `mount proc at /proc: operation not permitted (os error 1)`.
///
/// The source is kept and never printed by `Display`; whoever shows an error to a person prints the whole chain with
/// [`chain`].
#[derive(Debug, thiserror::Error)]
#[error("{op} `{object}`")]
pub struct OpError {
    /// What was being done: a verb with its words, such as `mount proc at`.
    pub op: &'static str,
    /// To what: a path, a name, a number.
    pub object: String,
    /// What the kernel or the lower layer said.
    #[source]
    pub source: io::Error,
}

impl OpError {
    /// Makes an error of an act, its object and its cause.
    pub fn new(op: &'static str, object: impl Into<String>, source: impl Into<io::Error>) -> Self {
        Self { op, object: object.into(), source: source.into() }
    }

    /// The kernel's error number, where the cause has one.
    pub fn errno(&self) -> Option<i32> {
        self.source.raw_os_error()
    }
}

/// Adds act and object to the error of an I/O call.
pub trait OpContext<T> {
    /// Names the act and the object of a failed call.
    fn op(self, op: &'static str, object: impl AsRef<std::path::Path>) -> Result<T, OpError>;
}

impl<T, E: Into<io::Error>> OpContext<T> for Result<T, E> {
    fn op(self, op: &'static str, object: impl AsRef<std::path::Path>) -> Result<T, OpError> {
        self.map_err(|e| OpError::new(op, object.as_ref().display().to_string(), e))
    }
}

/// Tells a person on standard error. It may be closed, or a log on a full disk: nobody is left to hear of that, and what
/// is done does not depend on who hears it.
pub fn tell(line: &str) {
    let _ = io::Write::write_all(&mut io::stderr(), format!("{line}\n").as_bytes());
}

/// The whole chain of an error on one line, each cause after a colon.
pub fn chain(error: &dyn std::error::Error) -> String {
    chain_by(error, |cause| cause.to_string())
}

/// As [`chain`], with the kernel's words in lower case: callers of OCI runtimes look for them as Go writes them.
pub fn chain_lower(error: &dyn std::error::Error) -> String {
    chain_by(error, |cause| {
        let text = cause.to_string();
        let kernels = cause.downcast_ref::<io::Error>().is_some_and(|e| e.raw_os_error().is_some());
        match text.get(..1).filter(|_| kernels) {
            Some(first) => first.to_ascii_lowercase() + &text[1..],
            None => text,
        }
    })
}

fn chain_by(error: &dyn std::error::Error, words: impl Fn(&(dyn std::error::Error + 'static)) -> String) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&words(cause));
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chain_names_act_object_and_cause() {
        let e = OpError::new("mount proc at", "/proc", io::Error::from_raw_os_error(1));
        assert_eq!(chain(&e), "mount proc at `/proc`: Operation not permitted (os error 1)");
        assert_eq!(chain_lower(&e), "mount proc at `/proc`: operation not permitted (os error 1)");
    }
}
