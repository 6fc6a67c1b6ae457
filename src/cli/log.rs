//! Errors where the caller looks for them: standard error, and the file of `--log` in the format of `--log-format`.

use super::args::{Args, UsageError};
use crate::errno::tell;
use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

/// Where errors go besides standard error.
#[derive(Debug, Default, Clone)]
pub(super) struct Log {
    /// The file of `--log`.
    file: Option<PathBuf>,
    /// Lines of JSON, as containerd and podman read them.
    json: bool,
    /// What is done is told too.
    debug: bool,
}

impl Log {
    /// Takes over what the options before the verb say. The file is taken first, so that the rest can be complained of.
    pub(super) fn configure(&mut self, global: &Args) -> Result<(), UsageError> {
        self.file = global.value("log").filter(|path| !path.is_empty()).map(Into::into);
        self.debug = global.flag("debug");
        match global.text("log-format")? {
            Some("json") => self.json = true,
            None | Some("text" | "") => {}
            Some(other) => return Err(UsageError(format!("invalid log-format: {other}"))),
        }
        Ok(())
    }

    /// Tells an error. In the file it is the last line, which is the one that callers show.
    pub(super) fn error(&self, message: &str) {
        if self.file.is_none() && self.json {
            tell(&self.line("error", message));
            return;
        }
        tell(&format!("berth-runtime: {message}"));
        self.append("error", message);
    }

    /// Tells of something that is done otherwise than it was asked for.
    pub(super) fn warn(&self, message: &str) {
        if self.file.is_none() && self.json {
            tell(&self.line("warning", message));
            return;
        }
        tell(&format!("berth-runtime: warning: {message}"));
        self.append("warning", message);
    }

    /// Tells what is done, where that is asked for.
    pub(super) fn debug(&self, message: &str) {
        if !self.debug {
            return;
        }
        match self.file {
            Some(_) => self.append("debug", message),
            None => tell(&self.line("debug", message)),
        }
    }

    fn append(&self, level: &str, message: &str) {
        let Some(path) = &self.file else { return };
        // Nobody is left to tell when the log cannot be written.
        if let Ok(mut file) = File::options().create(true).append(true).open(path) {
            let _ = file.write_all(format!("{}\n", self.line(level, message)).as_bytes());
        }
    }

    fn line(&self, level: &str, message: &str) -> String {
        let time = rfc3339(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64);
        match self.json {
            true => serde_json::json!({"level": level, "msg": message, "time": time}).to_string(),
            false => format!("time=\"{time}\" level={level} msg={message:?}"),
        }
    }
}

/// Milliseconds since the epoch as RFC 3339 in UTC.
pub(super) fn rfc3339(ms: u64) -> String {
    let (days, second_of_day, ms) = (ms / 86_400_000, ms / 1000 % 86_400, ms % 1000);
    // Days to a date of the Gregorian calendar, whose cycle of 400 years has 146 097 days; years begin in March.
    let shifted = days + 719_468;
    let (cycle, day_of_cycle) = (shifted / 146_097, shifted % 146_097);
    let year_of_cycle = (day_of_cycle - day_of_cycle / 1460 + day_of_cycle / 36_524 - day_of_cycle / 146_096) / 365;
    let day_of_year = day_of_cycle - (365 * year_of_cycle + year_of_cycle / 4 - year_of_cycle / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_cycle + cycle * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (second_of_day / 3600, second_of_day / 60 % 60, second_of_day % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(rfc3339(951_782_400_000), "2000-02-29T00:00:00.000Z");
        assert_eq!(rfc3339(1_767_225_599_999), "2025-12-31T23:59:59.999Z");
    }
}
