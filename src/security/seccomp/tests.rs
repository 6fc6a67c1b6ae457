use super::*;
use proptest::prelude::*;
use serde_json::{Value, json};

/// Runs a filter as the kernel does.
fn run(program: &[Instruction], arch: u32, number: u32, args: [u64; 6]) -> u32 {
    let mut data = Vec::new();
    data.extend(number.to_le_bytes());
    data.extend(arch.to_le_bytes());
    data.extend(0u64.to_le_bytes());
    args.iter().for_each(|a| data.extend(a.to_le_bytes()));
    let (mut at, mut acc) = (0usize, 0u32);
    loop {
        let i = program[at];
        at += 1;
        let jump = |yes: bool| usize::from(if yes { i.jt } else { i.jf });
        match i.code {
            0x20 => acc = u32::from_le_bytes(data[i.k as usize..i.k as usize + 4].try_into().unwrap()),
            0x54 => acc &= i.k,
            0x05 => at += i.k as usize,
            0x15 => at += jump(acc == i.k),
            0x25 => at += jump(acc > i.k),
            0x35 => at += jump(acc >= i.k),
            0x06 => return i.k,
            other => panic!("instruction {other:#x}"),
        }
    }
}

const X86_64: u32 = Arch::ScmpArchX86_64 as u32;
const X86: u32 = Arch::ScmpArchX86 as u32;
const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;
const EPERM: u32 = libc::SECCOMP_RET_ERRNO | 1;

fn compiled(value: Value) -> Vec<Instruction> {
    compile(&serde_json::from_value(value).unwrap()).unwrap().program
}

fn with_test(op: &str, value: u64, two: u64) -> Vec<Instruction> {
    compiled(json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{
        "names": ["read"], "action": "SCMP_ACT_ALLOW",
        "args": [{"index": 1, "value": value, "valueTwo": two, "op": op}]}]}))
}

#[test]
fn the_default_profile_lets_programs_live_and_keeps_the_host_away() {
    let program = compile(&default_profile(0)).unwrap().program;
    let call = |name: &str, args| run(&program, X86_64, syscalls::number(Table::X86_64, name).unwrap(), args);
    assert_eq!(call("read", [0; 6]), ALLOW);
    assert_eq!(call("execve", [0; 6]), ALLOW);
    for name in ["mount", "unshare", "setns", "bpf", "keyctl", "add_key", "reboot", "open_by_handle_at", "kexec_load"] {
        assert_eq!(call(name, [0; 6]), EPERM, "{name}");
    }
    assert_eq!(call("clone", [libc::SIGCHLD as u64, 0, 0, 0, 0, 0]), ALLOW);
    assert_eq!(call("clone", [libc::CLONE_NEWUSER as u64, 0, 0, 0, 0, 0]), EPERM);
    assert_eq!(call("clone3", [0; 6]), ENOSYS);
    assert_eq!(call("socket", [libc::AF_INET as u64, 0, 0, 0, 0, 0]), ALLOW);
    assert_eq!(call("socket", [libc::AF_VSOCK as u64, 0, 0, 0, 0, 0]), EPERM);
    assert_eq!(call("personality", [0xFFFF_FFFF, 0, 0, 0, 0, 0]), ALLOW);
    assert_eq!(call("personality", [0x0400_0000, 0, 0, 0, 0, 0]), EPERM);
}

#[test]
fn a_capability_brings_its_calls() {
    let program = compile(&default_profile(1 << 21)).unwrap().program;
    let call = |name| run(&program, X86_64, syscalls::number(Table::X86_64, name).unwrap(), [u64::MAX; 6]);
    assert_eq!(call("mount"), ALLOW);
    assert_eq!(call("clone3"), ALLOW);
    assert_eq!(call("init_module"), EPERM);
}

#[test]
fn other_architectures_of_the_profile_have_their_own_numbers_and_foreign_ones_are_killed() {
    let program = compile(&default_profile(0)).unwrap().program;
    // 11 is munmap on x86_64 and execve on x86; 21 is access and mount; 102 is getuid and socketcall.
    assert_eq!(run(&program, X86, 11, [0; 6]), ALLOW);
    assert_eq!(run(&program, X86, 21, [0; 6]), EPERM);
    assert_eq!(run(&program, X86, 102, [0; 6]), ALLOW);
    assert_eq!(run(&program, X86_64, X32_BIT, [0; 6]), ALLOW);
    assert_eq!(run(&program, X86_64, X32_BIT | 165, [0; 6]), EPERM);
    assert_eq!(run(&program, Arch::ScmpArchAarch64 as u32, 63, [0; 6]), KILL_PROCESS);
    let narrow = compiled(json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [
        {"names": ["read"], "action": "SCMP_ACT_ALLOW"}]}));
    assert_eq!(run(&narrow, X86, 3, [0; 6]), KILL_PROCESS);
    assert_eq!(run(&narrow, X86_64, X32_BIT, [0; 6]), KILL_PROCESS);
}

#[test]
fn calls_newer_than_the_profile_answer_that_they_do_not_exist() {
    let program = compile(&default_profile(0)).unwrap().program;
    assert_eq!(run(&program, X86_64, 9999, [0; 6]), ENOSYS);
    let permissive = compiled(json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"names": ["mount"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38}]}));
    assert_eq!(run(&permissive, X86_64, 9999, [0; 6]), ALLOW);
    assert_eq!(run(&permissive, X86_64, 165, [0; 6]), ENOSYS);
}

#[test]
fn the_default_filter_is_short() {
    let program = compile(&default_profile(0)).unwrap().program;
    assert!(program.len() < 800, "{} instructions", program.len());
}

#[test]
fn what_cannot_be_compiled_is_refused_by_name() {
    let refused = |value: Value| compile(&serde_json::from_value(value).unwrap()).unwrap_err().to_string();
    let notify = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"names": ["read"], "action": "SCMP_ACT_NOTIFY"}]});
    assert!(refused(notify).contains("SCMP_ACT_NOTIFY"));
    let argument = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["read"],
        "action": "SCMP_ACT_ERRNO", "args": [{"index": 6, "value": 0, "op": "SCMP_CMP_EQ"}]}]});
    assert!(refused(argument).contains("argument 6"));
}

#[test]
fn two_conditions_on_one_argument_are_alternatives_and_on_two_are_both_needed() {
    let rules = |args: Value| {
        compiled(json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [
            {"names": ["read"], "action": "SCMP_ACT_ALLOW", "args": args}]}))
    };
    let eq = |index: u32, value: u64| json!({"index": index, "value": value, "op": "SCMP_CMP_EQ"});
    let either = rules(json!([eq(0, 1), eq(0, 2)]));
    assert_eq!(run(&either, X86_64, 0, [2, 0, 0, 0, 0, 0]), ALLOW);
    let both = rules(json!([eq(0, 1), eq(1, 2)]));
    assert_eq!(run(&both, X86_64, 0, [1, 0, 0, 0, 0, 0]), EPERM);
    assert_eq!(run(&both, X86_64, 0, [1, 2, 0, 0, 0, 0]), ALLOW);
}

proptest! {
    #[test]
    fn comparisons_are_those_of_64_bits(a in any::<u64>(), b in any::<u64>(), near in 0u64..3, same_high in any::<bool>()) {
        // Random pairs are hardly ever equal in either half.
        let b = if same_high { (a & !0xFFFF_FFFF) | (b & 0xFFFF_FFFF) } else { b.min(a.saturating_add(near)) };
        let cases: [(&str, bool); 6] = [
            ("SCMP_CMP_NE", a != b), ("SCMP_CMP_LT", a < b), ("SCMP_CMP_LE", a <= b),
            ("SCMP_CMP_EQ", a == b), ("SCMP_CMP_GE", a >= b), ("SCMP_CMP_GT", a > b),
        ];
        for (op, holds) in cases {
            let verdict = run(&with_test(op, b, 0), X86_64, 0, [0, a, 0, 0, 0, 0]);
            prop_assert_eq!(verdict == ALLOW, holds, "{} {:#x} {:#x}", op, a, b);
        }
        let verdict = run(&with_test("SCMP_CMP_MASKED_EQ", b, a & b), X86_64, 0, [0, a, 0, 0, 0, 0]);
        prop_assert_eq!(verdict, ALLOW);
    }

    #[test]
    fn every_number_gets_what_the_profile_says(picked in proptest::collection::btree_set(0usize..400, 0..200), asked in 0u32..480) {
        let all = syscalls::names(Table::X86_64);
        let names: Vec<&str> = picked.iter().filter_map(|n| all.get(*n).copied()).collect();
        let program = compiled(json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
            {"names": names, "action": "SCMP_ACT_ERRNO"}]}));
        let named = names.iter().any(|n| syscalls::number(Table::X86_64, n) == Some(asked));
        prop_assert_eq!(run(&program, X86_64, asked, [0; 6]), if named { EPERM } else { ALLOW });
    }
}
