//! What `--help` shows, written from the same table that the parser reads.

use super::args::{Grammar, Opt};
use super::verbs;
use std::fmt::Write as _;

/// How far help texts of options are from the left.
const COLUMN: usize = 30;

/// The help of the whole program.
pub(super) fn program() -> String {
    let global = &verbs::GLOBAL;
    let mut out = format!("berth-runtime - {}\n\nUSAGE:\n    berth-runtime {}\n", global.about, global.usage);
    out.push_str("\nA container is made from a bundle: a directory with a config.json and a root file system.\n");
    out.push_str("`create`, `start` and `delete` are the steps of its life, `run` is all of them.\n\nCOMMANDS:\n");
    for verb in verbs::ALL {
        let _ = writeln!(out, "    {:10} {}", verb.name, verb.about);
    }
    let _ = writeln!(out, "    {:10} show this, or what a command takes", "help");
    options(&mut out, global.options);
    out
}

/// The help of one verb.
pub(super) fn verb(verb: &Grammar) -> String {
    let usage = format!("berth-runtime {} {}", verb.name, verb.usage);
    let mut out = format!("berth-runtime {} - {}\n\nUSAGE:\n    {}\n", verb.name, verb.about, usage.trim_end());
    if !verb.more.is_empty() {
        let _ = writeln!(out, "\n{}", verb.more);
    }
    options(&mut out, verb.options);
    out
}

fn options(out: &mut String, options: &[Opt]) {
    if options.is_empty() {
        return;
    }
    out.push_str("\nOPTIONS:\n");
    for opt in options {
        let mut left = match opt.short {
            '\0' => format!("    --{}", opt.long),
            short => format!("-{short}, --{}", opt.long),
        };
        if !opt.value.is_empty() {
            let _ = write!(left, " {}", opt.value);
        }
        if left.len() >= COLUMN {
            let _ = writeln!(out, "    {left}\n    {:COLUMN$} {}", "", opt.help);
        } else {
            let _ = writeln!(out, "    {left:COLUMN$} {}", opt.help);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every change of a help text is seen in review. Accept one with `BERTH_BLESS=1 cargo test -p berth-runtime help`.
    #[test]
    fn help_texts_are_those_of_the_golden_file() {
        let mut found = format!("==== berth-runtime ====\n{}\n", program());
        for grammar in verbs::ALL {
            let _ = write!(found, "==== berth-runtime {} ====\n{}\n", grammar.name, verb(grammar));
        }
        berth_test_host::golden(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/runtime-help.txt"), &found);
    }

    #[test]
    fn no_line_is_wider_than_a_terminal_of_120() {
        let texts = verbs::ALL.iter().map(|v| verb(v)).chain([program()]);
        for text in texts {
            assert!(text.lines().all(|line| line.len() <= 120), "{text}");
        }
    }
}
