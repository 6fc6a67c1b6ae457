//! Classic BPF for seccomp: the shape of a filter, as instructions.

use crate::sys::seccomp::Instruction;
use std::collections::BTreeMap;

/// BPF_LD | BPF_W | BPF_ABS: a word of struct seccomp_data.
const LOAD: u16 = 0x20;
/// BPF_ALU | BPF_AND | BPF_K.
const AND: u16 = 0x54;
/// BPF_JMP | BPF_JA.
const JUMP: u16 = 0x05;
/// BPF_JMP | BPF_JEQ | BPF_K.
const IF_EQ: u16 = 0x15;
/// BPF_JMP | BPF_JGT | BPF_K.
const IF_GT: u16 = 0x25;
/// BPF_JMP | BPF_JGE | BPF_K.
const IF_GE: u16 = 0x35;
/// BPF_RET | BPF_K.
const RETURN: u16 = 0x06;

/// Offsets into struct seccomp_data.
const NUMBER: u32 = 0;
const ARCH: u32 = 4;
const ARGUMENTS: u32 = 16;

/// Where the numbers of x32 begin in the architecture of x86_64. No other has numbers that high.
const X32: u32 = 0x4000_0000;

/// What happens to one call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Verdict {
    /// Conditions that must all hold, and the action then; the first that fits counts.
    pub(super) rules: Vec<(Vec<Condition>, u32)>,
    /// The action when none fits.
    pub(super) otherwise: u32,
}

impl Verdict {
    pub(super) fn new(action: u32) -> Self {
        Self { rules: Vec::new(), otherwise: action }
    }
}

/// A condition on an argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Condition {
    /// 0 to 5.
    pub(super) argument: u32,
    pub(super) test: Test,
}

/// A comparison of 64 unsigned bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Test {
    Ne(u64),
    Lt(u64),
    Le(u64),
    Eq(u64),
    Ge(u64),
    Gt(u64),
    Masked { mask: u64, value: u64 },
}

/// The part of a filter for one architecture.
#[derive(Debug)]
pub(super) struct Part {
    /// `AUDIT_ARCH_*`.
    pub(super) audit: u32,
    /// These are the x32 numbers of `audit`.
    pub(super) x32: bool,
    /// By number.
    pub(super) calls: BTreeMap<u32, Verdict>,
    /// For all numbers that are not named.
    pub(super) default: u32,
    /// From this number on another action.
    pub(super) above: Option<(u32, u32)>,
}

fn op(code: u16, k: u32) -> Instruction {
    Instruction { code, jt: 0, jf: 0, k }
}

fn branch(code: u16, k: u32, jt: u8, jf: u8) -> Instruction {
    Instruction { code, jt, jf, k }
}

/// A whole filter. Architectures without a part get `foreign`.
pub(super) fn assemble(parts: &[Part], foreign: u32) -> Vec<Instruction> {
    let mut by_arch: Vec<(u32, BTreeMap<u32, Verdict>)> = Vec::new();
    for part in parts {
        let ranges = ranges(part, foreign);
        match by_arch.iter_mut().find(|(audit, _)| *audit == part.audit) {
            // x32's numbers lie above all others of the same architecture, whose last range they take over.
            Some((_, all)) => all.extend(ranges),
            None => by_arch.push((part.audit, ranges)),
        }
    }
    let mut program = vec![op(LOAD, ARCH)];
    for (audit, ranges) in by_arch {
        let mut section = vec![op(LOAD, NUMBER)];
        section.extend(search(&merged(ranges)));
        // A section can be longer than a conditional jump reaches.
        program.push(branch(IF_EQ, audit, 1, 0));
        program.push(op(JUMP, section.len() as u32));
        program.extend(section);
    }
    program.push(op(RETURN, foreign));
    program
}

/// A part as ranges, each from its number to that of the next.
fn ranges(part: &Part, foreign: u32) -> BTreeMap<u32, Verdict> {
    let first = if part.x32 { X32 } else { 0 };
    let mut ranges = BTreeMap::from([(first, Verdict::new(part.default))]);
    for (number, verdict) in &part.calls {
        ranges.insert(*number, verdict.clone());
        ranges.entry(number + 1).or_insert_with(|| Verdict::new(part.default));
    }
    if let Some((above, action)) = part.above {
        ranges.insert(above, Verdict::new(action));
    }
    if !part.x32 {
        ranges.insert(X32, Verdict::new(foreign));
    }
    ranges
}

fn merged(ranges: BTreeMap<u32, Verdict>) -> Vec<(u32, Verdict)> {
    let mut merged: Vec<(u32, Verdict)> = Vec::new();
    for (from, verdict) in ranges {
        if merged.last().is_none_or(|(_, last)| *last != verdict) {
            merged.push((from, verdict));
        }
    }
    merged
}

/// A binary search for the range that holds the accumulator.
fn search(ranges: &[(u32, Verdict)]) -> Vec<Instruction> {
    match ranges {
        [] => Vec::new(),
        [(_, verdict)] => leaf(verdict),
        _ => {
            let (low, high) = ranges.split_at(ranges.len() / 2);
            let (below, above) = (search(low), search(high));
            let mut code = match u8::try_from(below.len()) {
                Ok(skip) => vec![branch(IF_GE, high[0].0, skip, 0)],
                Err(_) => vec![branch(IF_GE, high[0].0, 0, 1), op(JUMP, below.len() as u32)],
            };
            code.extend(below);
            code.extend(above);
            code
        }
    }
}

fn leaf(verdict: &Verdict) -> Vec<Instruction> {
    let mut code = Vec::new();
    for (conditions, action) in &verdict.rules {
        code.extend(rule(conditions, *action));
    }
    code.push(op(RETURN, verdict.otherwise));
    code
}

/// Where a comparison goes on.
#[derive(Clone, Copy)]
enum To {
    /// The next instruction.
    Next,
    /// The condition holds.
    Holds,
    /// The rule does not fit.
    Fails,
}

/// A rule: falls out at its end when it does not fit.
fn rule(conditions: &[Condition], action: u32) -> Vec<Instruction> {
    let parts: Vec<Vec<(Instruction, To, To)>> = conditions.iter().map(|c| comparison(*c)).collect();
    let end = parts.iter().map(Vec::len).sum::<usize>() + 1;
    let mut code = Vec::with_capacity(end);
    for part in parts {
        let holds = code.len() + part.len();
        for (mut instruction, yes, no) in part {
            // Six conditions of at most six instructions: every distance fits into a byte.
            let here = code.len() + 1;
            let distance = |to| match to {
                To::Next => 0,
                To::Holds => (holds - here) as u8,
                To::Fails => (end - here) as u8,
            };
            if !matches!(instruction.code, LOAD | AND) {
                (instruction.jt, instruction.jf) = (distance(yes), distance(no));
            }
            code.push(instruction);
        }
    }
    code.push(op(RETURN, action));
    code
}

/// The upper half decides, and the lower one when that is equal.
fn comparison(condition: Condition) -> Vec<(Instruction, To, To)> {
    use To::{Fails, Holds, Next};
    let at = ARGUMENTS + 8 * condition.argument;
    let (low_at, high_at) = if cfg!(target_endian = "little") { (at, at + 4) } else { (at + 4, at) };
    let load = |at| (op(LOAD, at), Next, Next);
    let halves = |value: u64| ((value >> 32) as u32, value as u32);
    let test = |code, k, yes, no| (op(code, k), yes, no);
    match condition.test {
        Test::Eq(value) => {
            let (high, low) = halves(value);
            vec![load(high_at), test(IF_EQ, high, Next, Fails), load(low_at), test(IF_EQ, low, Holds, Fails)]
        }
        Test::Ne(value) => {
            let (high, low) = halves(value);
            vec![load(high_at), test(IF_EQ, high, Next, Holds), load(low_at), test(IF_EQ, low, Fails, Holds)]
        }
        Test::Masked { mask, value } => {
            let ((mask_high, mask_low), (high, low)) = (halves(mask), halves(value));
            vec![
                load(high_at),
                (op(AND, mask_high), Next, Next),
                test(IF_EQ, high, Next, Fails),
                load(low_at),
                (op(AND, mask_low), Next, Next),
                test(IF_EQ, low, Holds, Fails),
            ]
        }
        Test::Gt(value) | Test::Ge(value) => {
            let (high, low) = halves(value);
            let last = if matches!(condition.test, Test::Gt(_)) { IF_GT } else { IF_GE };
            vec![
                load(high_at),
                test(IF_GT, high, Holds, Next),
                test(IF_EQ, high, Next, Fails),
                load(low_at),
                test(last, low, Holds, Fails),
            ]
        }
        Test::Lt(value) | Test::Le(value) => {
            let (high, low) = halves(value);
            let last = if matches!(condition.test, Test::Lt(_)) { IF_GE } else { IF_GT };
            vec![
                load(high_at),
                test(IF_GT, high, Fails, Next),
                test(IF_EQ, high, Next, Holds),
                load(low_at),
                test(last, low, Fails, Holds),
            ]
        }
    }
}
