//! Classic BPF for seccomp: the shape of a filter, as instructions.

use super::ENOSYS;
use crate::sys::seccomp::Instruction;

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

/// `AUDIT_ARCH_X86_64`.
const X86_64: u32 = 0xC000_003E;
/// Where the numbers of x32 begin in the architecture of x86_64.
const X32: u32 = super::X32_BIT;

/// What happens to one call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Verdict {
    /// Conditions that must all hold, and the action then; the first that fits counts.
    rules: Vec<(Vec<Condition>, u32)>,
    /// The action when none fits.
    otherwise: u32,
    /// `otherwise` was asked for, and no conditions count any more.
    settled: bool,
}

impl Verdict {
    pub(super) fn new(action: u32) -> Self {
        Self { rules: Vec::new(), otherwise: action, settled: false }
    }

    /// Adds a rule with conditions.
    pub(super) fn when(&mut self, conditions: Vec<Condition>, action: u32) {
        if !self.settled {
            self.rules.push((conditions, action));
        }
    }

    /// Adds a rule without conditions.
    pub(super) fn always(&mut self, action: u32) {
        if !self.settled {
            *self = Self { rules: Vec::new(), otherwise: action, settled: true };
        }
    }

    /// Whether it does the same as another.
    fn same(&self, other: &Self) -> bool {
        self.rules == other.rules && self.otherwise == other.otherwise
    }
}

/// A condition on an argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Condition {
    /// 0 to 5.
    pub(super) argument: u32,
    pub(super) test: Test,
    /// All 64 bits count, not only the lower half.
    pub(super) wide: bool,
}

/// A comparison of unsigned numbers.
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
    /// Numbers in their order, none twice.
    pub(super) calls: Vec<(u32, Verdict)>,
    /// For all numbers that are not named.
    pub(super) default: u32,
    /// From and to (which is out): numbers of calls that are not there yet.
    pub(super) absent: Vec<(u32, u32)>,
}

fn op(code: u16, k: u32) -> Instruction {
    Instruction { code, jt: 0, jf: 0, k }
}

fn branch(code: u16, k: u32, jt: u8, jf: u8) -> Instruction {
    Instruction { code, jt, jf, k }
}

/// A whole filter. Architectures without a part get `foreign`.
pub(super) fn assemble(parts: Vec<Part>, foreign: u32) -> Vec<Instruction> {
    let mut by_arch: Vec<(u32, Vec<(u32, Verdict)>)> = Vec::new();
    for part in parts {
        let audit = part.audit;
        let ranges = ranges(part, foreign);
        match by_arch.iter_mut().find(|(other, _)| *other == audit) {
            // x32's numbers lie above all others of the same architecture, whose last ranges they take over.
            Some((_, all)) => {
                all.retain(|(from, _)| *from < X32);
                all.extend(ranges);
            }
            None => by_arch.push((audit, ranges)),
        }
    }
    // Backwards: how far a jump goes is known when what it jumps over is there.
    let mut program = vec![op(RETURN, foreign)];
    for (audit, ranges) in by_arch.iter().rev() {
        let end = program.len();
        search(ranges, &mut program);
        program.push(op(LOAD, NUMBER));
        // A section can be longer than a conditional jump reaches.
        program.push(op(JUMP, (program.len() - end) as u32));
        program.push(branch(IF_EQ, *audit, 1, 0));
    }
    program.push(op(LOAD, ARCH));
    program.reverse();
    program
}

/// A part as ranges, each from its number to that of the next, of which no two neighbours do the same.
fn ranges(part: Part, foreign: u32) -> Vec<(u32, Verdict)> {
    let mut ranges = Vec::with_capacity(2 * part.calls.len() + 8);
    let plain = |number, action| (number, Verdict::new(action));
    let unknown = if part.absent.is_empty() { part.default } else { ENOSYS };
    // What comes first of those that begin at one number counts: the sort is stable.
    let after: Vec<u32> = part.calls.iter().map(|(number, _)| number + 1).collect();
    ranges.extend(part.calls);
    if part.audit == X86_64 {
        // No call at all, as tracers write it to skip one; it has the bit of x32 by accident.
        ranges.push(plain(u32::MAX, unknown));
        if !part.x32 {
            ranges.push(plain(X32, foreign));
        }
    }
    ranges.extend(part.absent.iter().map(|(from, _)| plain(*from, ENOSYS)));
    ranges.extend(part.absent.iter().map(|(_, to)| plain(*to, part.default)));
    ranges.extend(after.into_iter().map(|number| plain(number, part.default)));
    ranges.push(plain(if part.x32 { X32 } else { 0 }, part.default));
    ranges.sort_by_key(|(from, _)| *from);
    ranges.dedup_by_key(|(from, _)| *from);
    ranges.dedup_by(|(_, verdict), (_, before)| verdict.same(before));
    ranges
}

/// A binary search for the range that holds the accumulator, backwards.
fn search(ranges: &[(u32, Verdict)], program: &mut Vec<Instruction>) {
    match ranges {
        [] => {}
        [(_, verdict)] => program.extend(leaf(verdict).into_iter().rev()),
        _ => {
            let (low, high) = ranges.split_at(ranges.len() / 2);
            search(high, program);
            let end = program.len();
            search(low, program);
            let below = program.len() - end;
            match u8::try_from(below) {
                Ok(skip) => program.push(branch(IF_GE, high[0].0, skip, 0)),
                Err(_) => program.extend([op(JUMP, below as u32), branch(IF_GE, high[0].0, 0, 1)]),
            }
        }
    }
}

fn leaf(verdict: &Verdict) -> Vec<Instruction> {
    let mut code = Vec::with_capacity(1);
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

/// The upper half decides where it counts, and the lower one when that is equal.
fn comparison(condition: Condition) -> Vec<(Instruction, To, To)> {
    use To::{Fails, Holds, Next};
    let at = ARGUMENTS + 8 * condition.argument;
    let (low_at, high_at) = if cfg!(target_endian = "little") { (at, at + 4) } else { (at + 4, at) };
    let load = |at| (op(LOAD, at), Next, Next);
    let and = |mask| (op(AND, mask), Next, Next);
    let test = |code, k, yes, no| (op(code, k), yes, no);
    let halves = |value: u64| ((value >> 32) as u32, value as u32);
    let value = match condition.test {
        Test::Ne(value) | Test::Lt(value) | Test::Le(value) | Test::Eq(value) | Test::Ge(value) | Test::Gt(value) => {
            value
        }
        Test::Masked { value, .. } => value,
    };
    let (high, low) = halves(value);
    let mut code = Vec::with_capacity(6);
    if condition.wide {
        code.push(load(high_at));
        match condition.test {
            Test::Eq(_) => code.push(test(IF_EQ, high, Next, Fails)),
            Test::Ne(_) => code.push(test(IF_EQ, high, Next, Holds)),
            Test::Masked { mask, .. } => code.extend([and(halves(mask).0), test(IF_EQ, high, Next, Fails)]),
            Test::Gt(_) | Test::Ge(_) => {
                code.extend([test(IF_GT, high, Holds, Next), test(IF_EQ, high, Next, Fails)]);
            }
            Test::Lt(_) | Test::Le(_) => {
                code.extend([test(IF_GT, high, Fails, Next), test(IF_EQ, high, Next, Holds)]);
            }
        }
    }
    code.push(load(low_at));
    match condition.test {
        Test::Eq(_) => code.push(test(IF_EQ, low, Holds, Fails)),
        Test::Ne(_) => code.push(test(IF_EQ, low, Fails, Holds)),
        Test::Masked { mask, .. } => code.extend([and(halves(mask).1), test(IF_EQ, low, Holds, Fails)]),
        Test::Gt(_) => code.push(test(IF_GT, low, Holds, Fails)),
        Test::Ge(_) => code.push(test(IF_GE, low, Holds, Fails)),
        Test::Lt(_) => code.push(test(IF_GE, low, Fails, Holds)),
        Test::Le(_) => code.push(test(IF_GT, low, Fails, Holds)),
    }
    code
}
