//! Standard output of the verbs, which may be closed, full, or a pipe that nobody reads any more.

use super::oci::CliError;
use crate::errno::OpContext;
use std::io::{self, ErrorKind, Write};

/// Prints what was asked for. Who has stopped reading has got enough, which is no error.
pub(super) fn print(text: &str) -> Result<(), CliError> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(e) if e.kind() != ErrorKind::BrokenPipe => Ok(Err(e).op("write to", "standard output")?),
        _ => Ok(()),
    }
}
