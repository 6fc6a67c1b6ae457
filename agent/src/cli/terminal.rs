//! What the command's own streams are, and writing to them.

use super::failure::Failure;
use serde::Serialize;
use std::io::{IsTerminal, Write};

/// Width of the terminal that standard output is, if it is one.
pub(crate) fn width() -> Option<u16> {
    let stdout = std::io::stdout();
    if !stdout.is_terminal() {
        return None;
    }
    // `stty` and most shells keep COLUMNS for scripts; the terminal itself is the better witness.
    berth_runtime::sys::tty::window_size(&stdout).ok().map(|size| size.columns).filter(|columns| *columns > 0)
}

/// Whether a person reads standard error.
pub(crate) fn talks_to_a_person() -> bool {
    std::io::stderr().is_terminal()
}

/// Prints `text` on standard output.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(())
}

/// Prints `value` on standard output as indented JSON.
pub(crate) fn print_json<T: Serialize>(value: &T) -> Result<(), Failure> {
    let mut text = serde_json::to_string_pretty(value).map_err(|e| Failure::caused("write JSON", &e))?;
    text.push('\n');
    print(&text)
}

/// Prints `value` on standard output as one line of JSON.
pub(crate) fn print_json_line<T: Serialize>(value: &T) -> Result<(), Failure> {
    let mut text = serde_json::to_string(value).map_err(|e| Failure::caused("write JSON", &e))?;
    text.push('\n');
    print(&text)
}
