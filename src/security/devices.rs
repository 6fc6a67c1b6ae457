//! Who may use which device: rules as a BPF program for version 2 cgroups, which have no file for them.
//!
//! The last rule that matches decides, so the program tries them from the last to the first. A rule that allows matches
//! when it covers all of the access asked for, one that denies when it covers any of it. What no rule matches is denied.

use crate::spec::DeviceRule;
use crate::sys::bpf::{self, Instruction};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

/// Registers.
const RESULT: u8 = 0;
const CONTEXT: u8 = 1;
const KIND: u8 = 2;
const ACCESS: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;

/// BPF_LDX | BPF_W | BPF_MEM, and the others of BPF_ALU64 and BPF_JMP that are needed.
const LOAD: u8 = 0x61;
const MOVE: u8 = 0xbf;
const SET: u8 = 0xb7;
const AND: u8 = 0x57;
const SHIFT_RIGHT: u8 = 0x77;
const IF_NE: u8 = 0x55;
const IF_NE_REGISTER: u8 = 0x5d;
const IF_EQ: u8 = 0x15;
const EXIT: u8 = 0x95;

const ALL_ACCESS: i32 = 0b111;

fn op(code: u8, to: u8, from: u8, offset: i16, immediate: i32) -> Instruction {
    Instruction { code, registers: from << 4 | to, offset, immediate }
}

/// The kernel's bits of an access: 1 makes a node, 2 reads, 4 writes.
fn access(text: &str) -> i32 {
    text.chars().fold(0, |bits, c| {
        bits | match c {
            'm' => 1,
            'r' => 2,
            'w' => 4,
            _ => 0,
        }
    })
}

/// The program of a list of rules.
fn compile(rules: &[DeviceRule]) -> Vec<Instruction> {
    let mut code = vec![
        op(LOAD, KIND, CONTEXT, 0, 0),
        op(MOVE, ACCESS, KIND, 0, 0),
        op(AND, KIND, 0, 0, 0xFFFF),
        op(SHIFT_RIGHT, ACCESS, 0, 0, 16),
        op(LOAD, MAJOR, CONTEXT, 4, 0),
        op(LOAD, MINOR, CONTEXT, 8, 0),
    ];
    for rule in rules.iter().rev() {
        let decided = one(rule);
        let always = decided.len() == 2;
        code.extend(decided);
        if always {
            // It matches everything. Kernels before 6.18 refuse a program with instructions that cannot be reached.
            return code;
        }
    }
    code.extend([op(SET, RESULT, 0, 0, 0), op(EXIT, 0, 0, 0, 0)]);
    code
}

fn one(rule: &DeviceRule) -> Vec<Instruction> {
    let mut tests = Vec::new();
    match rule.kind {
        'b' => tests.push(op(IF_NE, KIND, 0, 0, 1)),
        'c' => tests.push(op(IF_NE, KIND, 0, 0, 2)),
        _ => {}
    }
    let bits = access(&rule.access);
    if bits != ALL_ACCESS {
        // The context is read, its register is free.
        tests.extend([op(MOVE, CONTEXT, ACCESS, 0, 0), op(AND, CONTEXT, 0, 0, bits)]);
        tests.push(if rule.allow { op(IF_NE_REGISTER, CONTEXT, ACCESS, 0, 0) } else { op(IF_EQ, CONTEXT, 0, 0, 0) });
    }
    // Numbers are 12 and 20 bits: they fit the signed operand.
    tests.extend(rule.major.map(|major| op(IF_NE, MAJOR, 0, 0, major as i32)));
    tests.extend(rule.minor.map(|minor| op(IF_NE, MINOR, 0, 0, minor as i32)));
    let end = tests.len() + 2;
    for (at, test) in tests.iter_mut().enumerate() {
        if matches!(test.code, IF_NE | IF_NE_REGISTER | IF_EQ) {
            test.offset = (end - at - 1) as i16;
        }
    }
    tests.extend([op(SET, RESULT, 0, 0, rule.allow.into()), op(EXIT, 0, 0, 0, 0)]);
    tests
}

/// Puts `rules` in force for a version 2 group and all below it.
pub fn restrict(group: BorrowedFd<'_>, rules: &[DeviceRule]) -> io::Result<()> {
    bpf::attach_device_program(group, bpf::load_device_program(&compile(rules))?.as_fd())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs a program as the kernel does.
    fn run(program: &[Instruction], kind: u64, access: u64, major: u64, minor: u64) -> bool {
        let mut registers = [0u64; 11];
        let mut at = 0usize;
        loop {
            let i = program[at];
            at += 1;
            let (to, from) = (usize::from(i.registers & 15), usize::from(i.registers >> 4));
            let mut jump = |yes: bool| at = if yes { at.wrapping_add_signed(i.offset.into()) } else { at };
            match i.code {
                LOAD => registers[to] = [access << 16 | kind, major, minor][i.offset as usize / 4],
                MOVE => registers[to] = registers[from],
                SET => registers[to] = i.immediate as u64,
                AND => registers[to] &= i.immediate as u64,
                SHIFT_RIGHT => registers[to] >>= i.immediate,
                IF_NE => jump(registers[to] != i.immediate as u64),
                IF_EQ => jump(registers[to] == i.immediate as u64),
                IF_NE_REGISTER => jump(registers[to] != registers[from]),
                EXIT => return registers[0] == 1,
                other => panic!("instruction {other:#x}"),
            }
        }
    }

    fn rule(allow: bool, kind: char, number: (Option<u32>, Option<u32>), access: &str) -> DeviceRule {
        DeviceRule { allow, kind, major: number.0, minor: number.1, access: access.into() }
    }

    const B: u64 = 1;
    const C: u64 = 2;
    const R: u64 = 2;
    const RW: u64 = 6;

    #[test]
    fn the_last_rule_that_covers_the_access_decides() {
        let program = compile(&[
            rule(false, 'a', (None, None), "rwm"),
            rule(true, 'c', (Some(1), Some(3)), "rwm"),
            rule(true, 'b', (Some(8), None), "r"),
            rule(false, 'b', (Some(8), Some(1)), "r"),
        ]);
        assert!(run(&program, C, RW, 1, 3));
        assert!(!run(&program, B, RW, 1, 3));
        assert!(!run(&program, C, RW, 1, 1));
        assert!(run(&program, B, R, 8, 0));
        assert!(!run(&program, B, RW, 8, 0));
        assert!(!run(&program, B, R, 8, 1));
    }

    #[test]
    fn nothing_stands_behind_a_rule_that_always_decides() {
        let last = rule(false, 'a', (None, None), "rwm");
        let program = compile(&[rule(true, 'c', (Some(1), Some(3)), "rwm"), last.clone()]);
        assert_eq!(program, compile(&[last]));
        assert_eq!(program.iter().filter(|i| i.code == EXIT).count(), 1);
    }

    #[test]
    fn what_no_rule_matches_is_denied_and_a_rule_for_all_allows_all() {
        assert!(!run(&compile(&[]), C, R, 1, 3));
        assert!(run(&compile(&[rule(true, 'a', (None, None), "rwm")]), B, RW, 8, 0));
    }
}
