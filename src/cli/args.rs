//! Options as runc takes them: `--name VALUE`, `--name=VALUE`, `--flag`, `--flag=false`, `-x`; before the first operand
//! or after it. Operands beyond those a verb has of its own are the container's command line, and are not looked at.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// What a verb takes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Grammar {
    /// Options with a value: long name, short name or NUL.
    pub(super) values: &'static [(&'static str, char)],
    /// Options without.
    pub(super) flags: &'static [(&'static str, char)],
    /// How many operands may have options after them; what follows the next operand is left alone.
    pub(super) operands: usize,
}

/// Options and operands of one verb.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Args {
    values: Vec<(&'static str, OsString)>,
    flags: Vec<&'static str>,
    /// In their order.
    pub(super) operands: Vec<OsString>,
}

/// The command line is wrong.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct UsageError(pub(super) String);

impl Grammar {
    /// Reads `args`.
    pub(super) fn parse(&self, args: impl IntoIterator<Item = OsString>) -> Result<Args, UsageError> {
        let mut found = Args::default();
        let mut args = args.into_iter();
        while let Some(arg) = args.next() {
            let bytes = arg.as_bytes();
            if bytes == b"--" || found.operands.len() > self.operands {
                if bytes != b"--" {
                    found.operands.push(arg);
                }
                found.operands.extend(args);
                break;
            }
            if bytes.len() < 2 || bytes[0] != b'-' {
                found.operands.push(arg);
                // The first operand that is not the verb's begins a command line of the container's.
                if found.operands.len() > self.operands {
                    found.operands.extend(args);
                    break;
                }
                continue;
            }
            self.option(bytes, &mut args, &mut found)?;
        }
        Ok(found)
    }

    fn option(
        &self,
        bytes: &[u8],
        rest: &mut impl Iterator<Item = OsString>,
        found: &mut Args,
    ) -> Result<(), UsageError> {
        let (name, inline) = match bytes.iter().position(|b| *b == b'=') {
            Some(at) => (&bytes[..at], Some(&bytes[at + 1..])),
            None => (bytes, None),
        };
        let is = |(long, short): &&(&'static str, char)| match name {
            [b'-', b'-', name @ ..] => name == long.as_bytes(),
            [b'-', name] => *name == *short as u8,
            // runc's parser takes one dash for two.
            [b'-', name @ ..] => name == long.as_bytes(),
            _ => false,
        };
        if let Some((long, _)) = self.values.iter().find(is) {
            let value = match inline {
                Some(value) => OsString::from_vec(value.to_vec()),
                None => rest.next().ok_or_else(|| UsageError(format!("option --{long} needs a value")))?,
            };
            found.values.push((long, value));
        } else if let Some((long, _)) = self.flags.iter().find(is) {
            match inline {
                None | Some(b"true" | b"1") => found.flags.push(long),
                Some(b"false" | b"0") => found.flags.retain(|f| f != long),
                Some(_) => return Err(UsageError(format!("option --{long} is true or false"))),
            }
        } else {
            return Err(UsageError(format!("unknown option `{}`", OsStr::from_bytes(name).display())));
        }
        Ok(())
    }
}

impl Args {
    /// The last value of an option.
    pub(super) fn value(&self, name: &str) -> Option<&OsStr> {
        self.values.iter().rev().find(|(n, _)| *n == name).map(|(_, value)| value.as_os_str())
    }

    /// The last value of an option as text.
    pub(super) fn text(&self, name: &str) -> Result<Option<&str>, UsageError> {
        let Some(value) = self.value(name) else { return Ok(None) };
        value.to_str().map(Some).ok_or_else(|| UsageError(format!("option --{name}: not UTF-8")))
    }

    /// All values of an option as text.
    pub(super) fn texts(&self, name: &str) -> Result<Vec<String>, UsageError> {
        let all = self.values.iter().filter(|(n, _)| *n == name);
        all.map(|(_, value)| {
            value.to_str().map(str::to_owned).ok_or_else(|| UsageError(format!("option --{name}: not UTF-8")))
        })
        .collect()
    }

    /// Whether a flag is set.
    pub(super) fn flag(&self, name: &str) -> bool {
        self.flags.contains(&name)
    }

    /// The container's id, the first operand.
    pub(super) fn id(&self) -> Result<&str, UsageError> {
        match self.operands.first() {
            Some(id) => id.to_str().ok_or_else(|| UsageError("container id: not UTF-8".into())),
            None => Err(UsageError("a container id is needed".into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXEC: Grammar = Grammar { values: &[("user", 'u'), ("env", 'e')], flags: &[("tty", 't')], operands: 1 };

    fn parse(args: &[&str]) -> Result<Args, UsageError> {
        EXEC.parse(args.iter().map(OsString::from))
    }

    #[test]
    fn options_come_before_the_id_and_after_it_but_not_after_the_command() {
        let args = parse(&["-t", "id", "--user=1:2", "-e", "A=1", "sh", "-c", "--tty"]).unwrap();
        assert!(args.flag("tty"));
        assert_eq!(args.text("user").unwrap(), Some("1:2"));
        assert_eq!(args.operands, ["id", "sh", "-c", "--tty"]);
    }

    #[test]
    fn two_dashes_end_the_options() {
        assert_eq!(parse(&["id", "--", "-t", "--", "x"]).unwrap().operands, ["id", "-t", "--", "x"]);
    }

    #[test]
    fn a_flag_can_be_taken_back() {
        assert!(!parse(&["--tty", "--tty=false", "id"]).unwrap().flag("tty"));
        assert!(parse(&["--tty=maybe", "id"]).is_err());
    }

    #[test]
    fn what_is_not_an_option_is_refused() {
        assert!(parse(&["--nope", "id"]).is_err());
        assert!(parse(&["id", "--user"]).is_err());
    }
}
