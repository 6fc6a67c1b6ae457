//! Options as runc takes them: `--name VALUE`, `--name=VALUE`, `--flag`, `--flag=false`, `-x`; before the first operand
//! or after it. Operands beyond those a verb has of its own are the container's command line, and are not looked at.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// One option, as it is read and as help shows it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Opt {
    /// Its long name.
    pub(super) long: &'static str,
    /// Its short name, or NUL.
    pub(super) short: char,
    /// What its value is called; empty for a flag.
    pub(super) value: &'static str,
    /// What it does.
    pub(super) help: &'static str,
}

/// What may follow a verb's options.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operands {
    /// So many.
    Exactly(usize),
    /// From so many to so many.
    Between(usize, usize),
    /// One, and then a command line that is left alone.
    Command,
    /// A verb, which reads the rest.
    Verb,
}

/// What a verb takes.
#[derive(Debug)]
pub(super) struct Grammar {
    /// Its name, empty for the program itself.
    pub(super) name: &'static str,
    /// Its operands as help shows them.
    pub(super) usage: &'static str,
    /// What it does, in a line.
    pub(super) about: &'static str,
    /// What else there is to know.
    pub(super) more: &'static str,
    /// Its options.
    pub(super) options: &'static [Opt],
    /// Its operands.
    pub(super) operands: Operands,
}

/// Options and operands of one verb.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Args {
    values: Vec<(&'static str, OsString)>,
    flags: Vec<&'static str>,
    /// Help is asked for, whatever else is.
    pub(super) help: bool,
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
        // How many operands may have options after them; what follows the next one is left alone.
        let own = match self.operands {
            Operands::Exactly(_) | Operands::Between(..) => usize::MAX,
            Operands::Command => 1,
            Operands::Verb => 0,
        };
        while let Some(arg) = args.next() {
            let bytes = arg.as_bytes();
            if bytes == b"--" {
                found.operands.extend(args);
                break;
            }
            if bytes.len() < 2 || bytes[0] != b'-' {
                found.operands.push(arg);
                if found.operands.len() > own {
                    found.operands.extend(args);
                    break;
                }
                continue;
            }
            self.option(bytes, &mut args, &mut found)?;
        }
        if !found.help {
            self.count(found.operands.len())?;
        }
        Ok(found)
    }

    fn count(&self, found: usize) -> Result<(), UsageError> {
        let name = self.name;
        match self.operands {
            Operands::Exactly(n) if found != n => {
                Err(UsageError(format!("\"{name}\" requires exactly {n} argument(s), got {found}")))
            }
            Operands::Between(least, _) if found < least => {
                Err(UsageError(format!("\"{name}\" requires a minimum of {least} argument(s), got {found}")))
            }
            Operands::Between(_, most) if found > most => {
                Err(UsageError(format!("\"{name}\" requires a maximum of {most} argument(s), got {found}")))
            }
            Operands::Command if found == 0 => {
                Err(UsageError(format!("\"{name}\" requires a minimum of 1 argument(s), got 0")))
            }
            _ => Ok(()),
        }
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
        let is = |opt: &&Opt| match name {
            [b'-', b'-', name @ ..] => name == opt.long.as_bytes(),
            [b'-', name] => *name == opt.short as u8,
            // runc's parser takes one dash for two.
            [b'-', name @ ..] => name == opt.long.as_bytes(),
            _ => false,
        };
        let Some(opt) = self.options.iter().find(is) else {
            if matches!(bytes, b"--help" | b"-help" | b"-h") {
                found.help = true;
                return Ok(());
            }
            let bare = name.strip_prefix(b"-").and_then(|name| name.strip_prefix(b"-")).unwrap_or(&name[1..]);
            let bare = OsStr::from_bytes(bare).display();
            return Err(UsageError(format!("flag provided but not defined: -{bare}")));
        };
        let long = opt.long;
        if !opt.value.is_empty() {
            let value = match inline {
                Some(value) => OsString::from_vec(value.to_vec()),
                None => rest.next().ok_or_else(|| UsageError(format!("option --{long} needs a value")))?,
            };
            found.values.push((long, value));
            return Ok(());
        }
        match inline {
            // As strconv.ParseBool of Go has it, which callers are written for.
            None | Some(b"true" | b"True" | b"TRUE" | b"t" | b"T" | b"1") => found.flags.push(long),
            Some(b"false" | b"False" | b"FALSE" | b"f" | b"F" | b"0") => found.flags.retain(|f| *f != long),
            Some(_) => return Err(UsageError(format!("option --{long} is true or false"))),
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

    /// All parts between commas of all values of an option.
    pub(super) fn list(&self, name: &str) -> Result<Vec<String>, UsageError> {
        let texts = self.texts(name)?;
        Ok(texts.iter().flat_map(|t| t.split(',')).map(|part| part.trim().to_owned()).collect())
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

    const fn opt(long: &'static str, short: char, value: &'static str) -> Opt {
        Opt { long, short, value, help: "" }
    }

    const EXEC: Grammar = Grammar {
        name: "exec",
        usage: "",
        about: "",
        more: "",
        options: &[opt("user", 'u', "USER"), opt("env", 'e', "ENV"), opt("tty", 't', "")],
        operands: Operands::Command,
    };

    const KILL: Grammar = Grammar { name: "kill", operands: Operands::Between(1, 2), ..EXEC };

    fn parse(args: &[&str]) -> Result<Args, UsageError> {
        EXEC.parse(args.iter().map(OsString::from))
    }

    #[test]
    fn flags_are_true_or_false_in_every_way_that_callers_write_it() {
        for (text, expected) in [("--tty=T", true), ("--tty=True", true), ("-t=1", true), ("--tty=F", false)] {
            assert_eq!(parse(&[text, "id", "sh"]).unwrap().flag("tty"), expected, "{text}");
        }
        assert!(parse(&["--tty=yes", "id", "sh"]).is_err());
        let unknown = parse(&["--nope=1", "id"]).unwrap_err();
        assert_eq!(unknown.to_string(), "flag provided but not defined: -nope");
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

    #[test]
    fn operands_are_counted_unless_help_is_asked_for() {
        let kill = |args: &[&str]| KILL.parse(args.iter().map(OsString::from));
        assert!(kill(&["id", "TERM"]).is_ok());
        assert!(kill(&[]).unwrap_err().0.contains("minimum of 1"));
        assert!(kill(&["id", "TERM", "more"]).unwrap_err().0.contains("maximum of 2"));
        assert!(kill(&["--help"]).unwrap().help);
        assert!(parse(&[]).is_err());
    }

    #[test]
    fn a_list_is_of_commas_and_of_repetitions() {
        assert_eq!(parse(&["-e", "1,2", "-e", "3", "id"]).unwrap().list("env").unwrap(), ["1", "2", "3"]);
    }
}
