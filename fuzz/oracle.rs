//! The compiler of system call filters against another one, the crate `seccompiler`, on profiles that both can express:
//! one architecture, one action where a rule fits and one where none does, conditions on different arguments.
//!
//! Both programs are run by a small interpreter of classic BPF on the same calls. The one difference that is meant: calls
//! above all that a profile names answer ENOSYS here, unless the profile lets by default.

#![allow(dead_code)] // its users take what they need

use berth_runtime::security::seccomp::compile;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule, TargetArch,
};
use serde_json::{Value, json};
use std::collections::BTreeMap;

#[cfg(target_arch = "aarch64")]
const NATIVE: (TargetArch, u32) = (TargetArch::aarch64, 0xC000_00B7);
#[cfg(not(target_arch = "aarch64"))]
const NATIVE: (TargetArch, u32) = (TargetArch::x86_64, 0xC000_003E);
const ENOSYS: u32 = 0x0005_0000 | libc::ENOSYS as u32;

const CALLS: [(&str, i64); 16] = [
    ("read", libc::SYS_read),
    ("write", libc::SYS_write),
    ("close", libc::SYS_close),
    ("mmap", libc::SYS_mmap),
    ("ioctl", libc::SYS_ioctl),
    ("socket", libc::SYS_socket),
    ("clone", libc::SYS_clone),
    ("execve", libc::SYS_execve),
    ("kill", libc::SYS_kill),
    ("mount", libc::SYS_mount),
    ("openat", libc::SYS_openat),
    ("prctl", libc::SYS_prctl),
    ("personality", libc::SYS_personality),
    ("futex", libc::SYS_futex),
    ("openat2", libc::SYS_openat2),
    ("clone3", libc::SYS_clone3),
];

/// Its name, what it is to the other compiler, and the value that the kernel is given.
type Action = (&'static str, fn() -> SeccompAction, u32);

/// The actions of a profile, in both languages and in the kernel's.
const ACTIONS: [Action; 5] = [
    ("SCMP_ACT_ALLOW", || SeccompAction::Allow, 0x7FFF_0000),
    ("SCMP_ACT_ERRNO", || SeccompAction::Errno(libc::EPERM as u32), 0x0005_0001),
    ("SCMP_ACT_KILL_PROCESS", || SeccompAction::KillProcess, 0x8000_0000),
    ("SCMP_ACT_LOG", || SeccompAction::Log, 0x7FFC_0000),
    ("SCMP_ACT_TRAP", || SeccompAction::Trap, 0x0003_0000),
];

/// Compiles the profile that `bytes` make by both compilers, and compares them on calls that `bytes` make.
pub(crate) fn seccomp(bytes: &[u8]) {
    let mut bytes = Bytes(bytes);
    let (default, action) = (usize::from(bytes.byte()) % ACTIONS.len(), usize::from(bytes.byte()) % ACTIONS.len());
    if default == action {
        return;
    }
    let rules: Vec<Rule> = (0..bytes.byte() % 6).map(|_| Rule::from(&mut bytes)).collect();
    let ours = ours(default, action, &rules);
    let theirs = theirs(default, action, &rules);
    let newest = rules.iter().map(|rule| CALLS[rule.call].1 as u32).max();
    let permissive = matches!(ACTIONS[default].0, "SCMP_ACT_ALLOW" | "SCMP_ACT_LOG");
    for turn in 0..8 * (rules.len() + 1) {
        let mut args = [0; 6];
        args.iter_mut().for_each(|arg| *arg = bytes.value());
        let call = match rules.get(turn / 8) {
            // Each rule's call, with arguments that hit, or miss by little.
            Some(rule) => {
                for &(argument, _, value, _) in &rule.conditions {
                    let near = [value, value, value, value.wrapping_add(1), value.wrapping_sub(1), value ^ 1 << 32];
                    args[usize::from(argument)] = near[usize::from(bytes.byte()) % near.len()];
                }
                CALLS[rule.call].1 as u32
            }
            None => u32::from(bytes.byte()) * 2,
        };
        let arch = if bytes.byte() == 255 { 0x4000_0003 } else { NATIVE.1 };
        let expected = match newest {
            Some(newest) if call > newest && !permissive && arch == NATIVE.1 => ENOSYS,
            _ => run(&theirs, arch, call, args),
        };
        assert_eq!(run(&ours, arch, call, args), expected, "{call} {args:x?} by {rules:?} with {default} {action}");
    }
}

/// What a generated profile is made of. When it runs out, it goes on with zeros.
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    /// A value that others are likely to be equal to, at least in one half, or close to.
    fn value(&mut self) -> u64 {
        const HALVES: [u64; 8] = [0, 1, 2, 40, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFE, 0xFFFF_FFFF];
        let which = usize::from(self.byte());
        HALVES[which % 8] | HALVES[which / 8 % 8] << 32
    }
}

#[derive(Debug)]
struct Rule {
    call: usize,
    /// Argument, operator, value, and the mask where there is one.
    conditions: Vec<(u8, u8, u64, u64)>,
}

impl Rule {
    fn from(bytes: &mut Bytes<'_>) -> Self {
        let call = usize::from(bytes.byte()) % CALLS.len();
        let mut conditions: Vec<(u8, u8, u64, u64)> = Vec::new();
        for _ in 0..bytes.byte() % 4 {
            let condition = (bytes.byte() % 6, bytes.byte() % 7, bytes.value(), bytes.value());
            // Two on one argument are alternatives here, and not there.
            if conditions.iter().all(|(argument, ..)| *argument != condition.0) {
                conditions.push(condition);
            }
        }
        Self { call, conditions }
    }
}

const OPERATORS: [&str; 7] =
    ["SCMP_CMP_EQ", "SCMP_CMP_NE", "SCMP_CMP_LT", "SCMP_CMP_LE", "SCMP_CMP_GT", "SCMP_CMP_GE", "SCMP_CMP_MASKED_EQ"];

fn ours(default: usize, action: usize, rules: &[Rule]) -> Vec<(u16, u8, u8, u32)> {
    let condition = |&(argument, operator, value, mask): &(u8, u8, u64, u64)| {
        let op = OPERATORS[usize::from(operator)];
        match op {
            "SCMP_CMP_MASKED_EQ" => json!({"index": argument, "op": op, "value": mask, "valueTwo": value}),
            _ => json!({"index": argument, "op": op, "value": value}),
        }
    };
    let rules: Vec<Value> = rules
        .iter()
        .map(|rule| {
            let args: Vec<Value> = rule.conditions.iter().map(condition).collect();
            json!({"names": [CALLS[rule.call].0], "action": ACTIONS[action].0, "args": args})
        })
        .collect();
    let profile = json!({"defaultAction": ACTIONS[default].0, "syscalls": rules});
    let profile = serde_json::from_value(profile).expect("a profile");
    let filter = compile(&profile).expect("a profile that can be compiled");
    filter.program.iter().map(|i| (i.code, i.jt, i.jf, i.k)).collect()
}

fn theirs(default: usize, action: usize, rules: &[Rule]) -> Vec<(u16, u8, u8, u32)> {
    let mut by_call: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
    let mut always: Vec<i64> = Vec::new();
    for rule in rules {
        let call = CALLS[rule.call].1;
        let of_call = by_call.entry(call).or_default();
        if rule.conditions.is_empty() {
            always.push(call);
            continue;
        }
        let conditions = rule.conditions.iter().map(|&(argument, operator, value, mask)| {
            let op = match operator {
                0 => SeccompCmpOp::Eq,
                1 => SeccompCmpOp::Ne,
                2 => SeccompCmpOp::Lt,
                3 => SeccompCmpOp::Le,
                4 => SeccompCmpOp::Gt,
                5 => SeccompCmpOp::Ge,
                _ => SeccompCmpOp::MaskedEq(mask),
            };
            SeccompCondition::new(argument, SeccompCmpArgLen::Qword, op, value).expect("an argument of a call")
        });
        of_call.push(SeccompRule::new(conditions.collect()).expect("conditions"));
    }
    // No rule at all is what it calls a rule without conditions.
    always.iter().for_each(|call| drop(by_call.insert(*call, Vec::new())));
    let (default, action) = (ACTIONS[default].1(), ACTIONS[action].1());
    let filter = SeccompFilter::new(by_call, default, action, NATIVE.0).expect("a filter");
    let program: BpfProgram = filter.try_into().expect("a filter that can be compiled");
    program.iter().map(|i| (i.code, i.jt, i.jf, i.k)).collect()
}

/// Runs a program as the kernel does.
fn run(program: &[(u16, u8, u8, u32)], arch: u32, call: u32, args: [u64; 6]) -> u32 {
    let mut data = [call.to_le_bytes(), arch.to_le_bytes()].concat();
    data.extend([0; 8]);
    args.iter().for_each(|arg| data.extend(arg.to_le_bytes()));
    let word = |at: u32| u32::from_le_bytes(data[at as usize..at as usize + 4].try_into().expect("four bytes"));
    let (mut at, mut acc) = (0, 0);
    loop {
        let (code, if_so, if_not, k) = program[at];
        at += 1;
        let jump = |holds: bool| usize::from(if holds { if_so } else { if_not });
        match code {
            0x20 => acc = word(k),
            0x54 => acc &= k,
            0x05 => at += k as usize,
            0x15 => at += jump(acc == k),
            0x25 => at += jump(acc > k),
            0x35 => at += jump(acc >= k),
            0x45 => at += jump(acc & k != 0),
            0x06 => return k,
            other => panic!("instruction {other:#x}"),
        }
    }
}
