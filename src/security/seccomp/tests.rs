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
    for name in [
        "mount",
        "unshare",
        "setns",
        "bpf",
        "keyctl",
        "add_key",
        "request_key",
        "reboot",
        "open_by_handle_at",
        "kexec_load",
        "io_uring_setup",
        "io_uring_enter",
        "io_uring_register",
        "perf_event_open",
        "userfaultfd",
        "move_mount",
        "pivot_root",
        "init_module",
        "swapon",
        "settimeofday",
        "iopl",
        "acct",
        "syslog",
        "kcmp",
        "mbind",
        "chroot",
    ] {
        assert_eq!(call(name, [0; 6]), EPERM, "{name}");
    }
    assert_eq!(call("clone", [libc::SIGCHLD as u64, 0, 0, 0, 0, 0]), ALLOW);
    assert_eq!(call("clone", [libc::CLONE_NEWUSER as u64, 0, 0, 0, 0, 0]), EPERM);
    assert_eq!(call("clone3", [0; 6]), ENOSYS);
    for family in [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK, libc::AF_PACKET, libc::AF_XDP] {
        assert_eq!(call("socket", [family as u64, 0, 0, 0, 0, 0]), ALLOW, "{family}");
    }
    for family in [libc::AF_VSOCK, libc::AF_ALG, libc::AF_CAIF, 46] {
        assert_eq!(call("socket", [family as u64, 0, 0, 0, 0, 0]), EPERM, "{family}");
        // The kernel cuts the number off to 32 bits.
        assert_eq!(call("socket", [family as u64 | 1 << 32, 0, 0, 0, 0, 0]), EPERM, "{family}");
    }
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
    // 11 is munmap on x86_64 and execve on x86; 21 is access and mount.
    assert_eq!(run(&program, X86, 11, [0; 6]), ALLOW);
    assert_eq!(run(&program, X86, 21, [0; 6]), EPERM);
    assert_eq!(run(&program, X86_64, X32_BIT, [0; 6]), ALLOW);
    assert_eq!(run(&program, X86_64, X32_BIT | 165, [0; 6]), EPERM);
    // x32's own execve; where x86_64 has it x32 has nothing.
    assert_eq!(run(&program, X86_64, X32_BIT | 520, [0; 6]), ALLOW);
    assert_eq!(run(&program, X86_64, X32_BIT | 59, [0; 6]), EPERM);
    assert_eq!(run(&program, Arch::ScmpArchAarch64 as u32, 63, [0; 6]), KILL_PROCESS);
    let narrow = compiled(json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [
        {"names": ["read"], "action": "SCMP_ACT_ALLOW"}]}));
    assert_eq!(run(&narrow, X86, 3, [0; 6]), KILL_PROCESS);
    assert_eq!(run(&narrow, X86_64, X32_BIT, [0; 6]), KILL_PROCESS);
}

#[test]
fn calls_newer_than_the_profile_answer_that_they_do_not_exist() {
    let program = compile(&default_profile(0)).unwrap().program;
    for (arch, number) in [
        (X86_64, 500),
        (X86_64, 9999),
        (X86_64, u32::MAX),
        (X86, 9999),
        (X86_64, X32_BIT | 500),
        (X86_64, X32_BIT | 548),
    ] {
        assert_eq!(run(&program, arch, number, [0; 6]), ENOSYS, "{arch:#x} {number:#x}");
    }
    for traced in ["SCMP_ACT_TRACE", "SCMP_ACT_LOG"] {
        let program = compiled(json!({"defaultAction": traced, "syscalls": [
            {"names": ["mount"], "action": "SCMP_ACT_ERRNO"}]}));
        assert_ne!(run(&program, X86_64, 9999, [0; 6]), ENOSYS, "{traced}");
    }
    // Highest of all that are named, whatever is said of it.
    let named = compiled(json!({"defaultAction": "SCMP_ACT_KILL_PROCESS", "syscalls": [
        {"names": ["read"], "action": "SCMP_ACT_ALLOW"}, {"names": ["openat2"], "action": "SCMP_ACT_KILL_PROCESS"}]}));
    assert_eq!(run(&named, X86_64, 437, [0; 6]), KILL_PROCESS);
    assert_eq!(run(&named, X86_64, 438, [0; 6]), ENOSYS);
    let permissive = compiled(json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"names": ["mount"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38}]}));
    assert_eq!(run(&permissive, X86_64, 9999, [0; 6]), ALLOW);
    assert_eq!(run(&permissive, X86_64, 165, [0; 6]), ENOSYS);
}

#[test]
fn the_default_filter_is_short() {
    let program = compile(&default_profile(0)).unwrap().program;
    assert!(program.len() < 1100, "{} instructions", program.len());
}

#[test]
fn what_cannot_be_compiled_is_refused_by_name() {
    let refused = |value: Value| compile(&serde_json::from_value(value).unwrap()).unwrap_err().to_string();
    let with_rule = |rule: Value| refused(json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}));
    let cases = [
        (
            with_rule(json!({"names": ["read"], "action": "SCMP_ACT_NOTIFY"})),
            "linux.seccomp.listenerPath: is missing, and SCMP_ACT_NOTIFY needs it",
        ),
        (
            with_rule(json!({"names": ["read", "write"], "action": "SCMP_ACT_NOTIFY"})),
            "linux.seccomp.syscalls[0]: SCMP_ACT_NOTIFY cannot be used for the write syscall",
        ),
        (
            refused(json!({"defaultAction": "SCMP_ACT_NOTIFY", "listenerPath": "/x"})),
            "linux.seccomp.defaultAction: SCMP_ACT_NOTIFY cannot be used as default action",
        ),
        (
            with_rule(json!({"names": ["mount"], "action": "SCMP_ACT_ERRNO",
                "args": [{"index": 0, "value": 0, "op": "SCMP_CMP_EQ"}, {"index": 6, "value": 0, "op": "SCMP_CMP_EQ"}]})),
            "linux.seccomp.syscalls[0].args[1].index: got 6 for `mount`, a call has arguments 0 to 5",
        ),
        (
            with_rule(json!({"names": ["read"], "action": "SCMP_ACT_ERRNO", "errnoRet": 70000})),
            "linux.seccomp.syscalls[0].errnoRet: got 70000, it goes up to 65535",
        ),
        (
            with_rule(json!({"names": ["read"], "action": "SCMP_ACT_TRAP", "errnoRet": 5})),
            "linux.seccomp.syscalls[0].errnoRet: got 5, but SCMP_ACT_TRAP takes none",
        ),
        (
            refused(json!({"defaultAction": "SCMP_ACT_ALLOW", "defaultErrnoRet": 5})),
            "linux.seccomp.defaultErrnoRet: got 5, but SCMP_ACT_ALLOW takes none",
        ),
        (
            with_rule(json!({"names": ["read", ""], "action": "SCMP_ACT_TRAP"})),
            "linux.seccomp.syscalls[0].names[1]: is empty",
        ),
        (with_rule(json!({"names": [], "action": "SCMP_ACT_ERRNO"})), "linux.seccomp.syscalls[0].names: is empty"),
        (
            refused(json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerMetadata": "m"})),
            "linux.seccomp.listenerMetadata: is for a listener, and listenerPath is missing",
        ),
    ];
    for (said, expected) in cases {
        assert_eq!(said, expected);
    }
}

#[test]
fn a_profile_longer_than_the_kernel_takes_is_refused() {
    let rules: Vec<Value> = (0..1000)
        .map(|n| {
            json!({"names": ["read"], "action": "SCMP_ACT_ERRNO",
            "args": [{"index": 0, "value": n, "op": "SCMP_CMP_EQ"}]})
        })
        .collect();
    let profile = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules});
    let refused = compile(&serde_json::from_value(profile).unwrap()).unwrap_err().to_string();
    assert!(refused.starts_with("linux.seccomp: takes 50"), "{refused}");
}

#[test]
fn every_action_is_the_kernels() {
    let of = |action: &str, errno: Option<u32>| {
        let profile = json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/run/agent", "syscalls": [
            {"names": ["read"], "action": action, "errnoRet": errno}]});
        run(&compiled(profile), X86_64, 0, [0; 6])
    };
    assert_eq!(of("SCMP_ACT_KILL", None), 0);
    assert_eq!(of("SCMP_ACT_KILL_THREAD", None), 0);
    assert_eq!(of("SCMP_ACT_KILL_PROCESS", None), 0x8000_0000);
    assert_eq!(of("SCMP_ACT_TRAP", None), 0x0003_0000);
    assert_eq!(of("SCMP_ACT_ERRNO", None), 0x0005_0001);
    assert_eq!(of("SCMP_ACT_ERRNO", Some(0)), 0x0005_0000);
    assert_eq!(of("SCMP_ACT_ERRNO", Some(38)), 0x0005_0026);
    assert_eq!(of("SCMP_ACT_NOTIFY", None), 0x7FC0_0000);
    assert_eq!(of("SCMP_ACT_TRACE", None), 0x7FF0_0001);
    assert_eq!(of("SCMP_ACT_TRACE", Some(7)), 0x7FF0_0007);
    assert_eq!(of("SCMP_ACT_LOG", None), 0x7FFC_0000);
    assert_eq!(of("SCMP_ACT_ALLOW", None), 0x7FFF_0000);
}

#[test]
fn flags_are_the_kernels_and_a_listener_is_asked_for_when_a_rule_needs_one() {
    let of = |flags: Value, action: &str| {
        let mut profile = json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/run/agent", "listenerMetadata": "m",
            "syscalls": [{"names": ["read"], "action": action}]});
        if flags != Value::Null {
            profile["flags"] = flags;
        }
        let filter = compile(&serde_json::from_value(profile).unwrap()).unwrap();
        (filter.flags, filter.listener)
    };
    let all = json!([
        "SECCOMP_FILTER_FLAG_TSYNC",
        "SECCOMP_FILTER_FLAG_LOG",
        "SECCOMP_FILTER_FLAG_SPEC_ALLOW",
        "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"
    ]);
    assert_eq!(of(Value::Null, "SCMP_ACT_ERRNO"), (4, None));
    assert_eq!(of(json!([]), "SCMP_ACT_ERRNO"), (0, None));
    assert_eq!(of(all.clone(), "SCMP_ACT_ERRNO"), (2 | 4, None));
    let listener = Listener { path: "/run/agent".into(), metadata: Some("m".into()) };
    assert_eq!(of(all, "SCMP_ACT_NOTIFY"), (2 | 4 | 8 | 32, Some(listener)));
}

#[test]
fn a_rule_without_conditions_wins_and_one_that_says_the_default_says_nothing() {
    let eq = json!([{"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}]);
    let conditional = json!({"names": ["read"], "action": "SCMP_ACT_ERRNO", "errnoRet": 5, "args": eq});
    let plain = json!({"names": ["read"], "action": "SCMP_ACT_ALLOW"});
    let idle = json!({"names": ["read"], "action": "SCMP_ACT_ERRNO"});
    for rules in [json!([conditional, plain]), json!([plain, conditional]), json!([idle, conditional, plain, idle])] {
        let program = compiled(json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": rules}));
        assert_eq!(run(&program, X86_64, 0, [1, 0, 0, 0, 0, 0]), ALLOW, "{rules}");
    }
    let program = compiled(json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [idle, conditional]}));
    assert_eq!(run(&program, X86_64, 0, [1, 0, 0, 0, 0, 0]), EPERM + 4);
    assert_eq!(run(&program, X86_64, 0, [2, 0, 0, 0, 0, 0]), EPERM);
}

#[test]
fn thirty_two_bits_are_compared_where_there_are_no_more() {
    let high = 7u64 << 32;
    for (op, value, two, fits, fails) in [
        ("SCMP_CMP_EQ", high | 5, 0, 5, 6),
        ("SCMP_CMP_EQ", u64::MAX, 0, 0xFFFF_FFFF, 0),
        ("SCMP_CMP_NE", 5, 0, 6, high | 5),
        ("SCMP_CMP_LT", high | 5, 0, high | 4, 5),
        ("SCMP_CMP_LE", 5, 0, high | 5, 6),
        ("SCMP_CMP_GE", high | 5, 0, 5, 4),
        ("SCMP_CMP_GT", high | 5, 0, 6, high | 5),
        ("SCMP_CMP_MASKED_EQ", high | 0xF0, high | 0x10, 0x1F, 0x2F),
    ] {
        let program =
            compiled(json!({"defaultAction": "SCMP_ACT_ERRNO", "architectures": ["SCMP_ARCH_X86"], "syscalls": [{
            "names": ["read"], "action": "SCMP_ACT_ALLOW",
            "args": [{"index": 1, "value": value, "valueTwo": two, "op": op}]}]}));
        assert_eq!(run(&program, X86, 3, [0, fits, 0, 0, 0, 0]), ALLOW, "{op} {fits:#x}");
        assert_eq!(run(&program, X86, 3, [0, fails, 0, 0, 0, 0]), EPERM, "{op} {fails:#x}");
    }
}

#[test]
fn what_a_mask_leaves_out_of_a_value_does_not_count() {
    let program = with_test("SCMP_CMP_MASKED_EQ", 0x0F, 0x1F);
    assert_eq!(run(&program, X86_64, 0, [0, 0xF, 0, 0, 0, 0]), ALLOW);
}

#[test]
fn a_rule_for_sockets_counts_behind_socketcall_and_is_never_weaker_there() {
    let x86 = |default: &str, rule: Value| {
        compiled(json!({"defaultAction": default, "architectures": ["SCMP_ARCH_X86"], "syscalls": [rule]}))
    };
    let socketcall = |program: &[Instruction], which: u64| run(program, X86, 102, [which, 0, 0, 0, 0, 0]);
    let ipc = |program: &[Instruction], which: u64| run(program, X86, 117, [which, 0, 0, 0, 0, 0]);
    let vsock = json!([{"index": 0, "value": 40, "op": "SCMP_CMP_EQ"}]);

    let denied = x86("SCMP_ACT_ALLOW", json!({"names": ["socket", "shmat"], "action": "SCMP_ACT_ERRNO"}));
    assert_eq!((socketcall(&denied, 1), socketcall(&denied, 2)), (EPERM, ALLOW));
    // Whatever the version.
    assert_eq!((ipc(&denied, 21), ipc(&denied, 1 << 16 | 21), ipc(&denied, 22)), (EPERM, EPERM, ALLOW));
    let some_denied = x86("SCMP_ACT_ALLOW", json!({"names": ["socket"], "action": "SCMP_ACT_ERRNO", "args": vsock}));
    assert_eq!(socketcall(&some_denied, 1), EPERM);
    let allowed = x86("SCMP_ACT_ERRNO", json!({"names": ["bind", "send"], "action": "SCMP_ACT_ALLOW"}));
    assert_eq!((socketcall(&allowed, 2), socketcall(&allowed, 9), socketcall(&allowed, 1)), (ALLOW, ALLOW, EPERM));
    let some_allowed = x86("SCMP_ACT_ERRNO", json!({"names": ["socket"], "action": "SCMP_ACT_ALLOW", "args": vsock}));
    assert_eq!(socketcall(&some_allowed, 1), EPERM);
    let by_name = x86("SCMP_ACT_ERRNO", json!({"names": ["socketcall", "socket"], "action": "SCMP_ACT_ALLOW"}));
    assert_eq!((socketcall(&by_name, 1), socketcall(&by_name, 20)), (ALLOW, ALLOW));
}

#[test]
fn the_default_profile_is_as_narrow_for_32_bits() {
    let program = compile(&default_profile(0)).unwrap().program;
    let call = |name: &str, args| run(&program, X86, syscalls::number(Table::X86, name).unwrap(), args);
    for name in ["mount", "umount", "unshare", "keyctl", "bpf", "io_uring_setup", "setns", "vm86", "stime", "uselib"] {
        assert_eq!(call(name, [0; 6]), EPERM, "{name}");
    }
    assert_eq!(call("clone3", [0; 6]), ENOSYS);
    assert_eq!(call("clone", [libc::CLONE_NEWUSER as u64, 0, 0, 0, 0, 0]), EPERM);
    for family in [40u64, 38, 1 << 32 | 38] {
        assert_eq!(call("socket", [family, 0, 0, 0, 0, 0]), EPERM, "{family}");
    }
    assert_eq!(call("socket", [2, 0, 0, 0, 0, 0]), ALLOW);
    assert_eq!(call("socketcall", [1, 0, 0, 0, 0, 0]), EPERM);
    assert_eq!(call("socketcall", [3, 0, 0, 0, 0, 0]), ALLOW);
}

#[test]
fn arm_has_a_section_for_each_of_its_widths() {
    let mut profile = default_profile(0);
    profile.set_architectures(Some(vec![Arch::ScmpArchAarch64, Arch::ScmpArchArm, Arch::ScmpArchX86]));
    let program = compile_for(Arch::ScmpArchAarch64, &profile).unwrap().program;
    let (arm64, arm) = (Arch::ScmpArchAarch64 as u32, Arch::ScmpArchArm as u32);
    let wide = |name: &str| run(&program, arm64, syscalls::number(Table::Arm64, name).unwrap(), [0; 6]);
    let narrow = |name: &str| run(&program, arm, syscalls::number(Table::Arm, name).unwrap(), [0; 6]);
    for name in ["read", "execve", "clone", "socket"] {
        assert_eq!((wide(name), narrow(name)), (ALLOW, ALLOW), "{name}");
    }
    for name in ["mount", "unshare", "keyctl", "open_by_handle_at"] {
        assert_eq!((wide(name), narrow(name)), (EPERM, EPERM), "{name}");
    }
    assert_eq!((narrow("set_tls"), narrow("cacheflush"), narrow("usr26")), (ALLOW, ALLOW, EPERM));
    assert_eq!((wide("clone3"), narrow("clone3")), (ENOSYS, ENOSYS));
    assert_eq!(run(&program, arm, 999, [0; 6]), ENOSYS);
    assert_eq!(run(&program, arm64, 999, [0; 6]), ENOSYS);
    assert_eq!(run(&program, X86, 3, [0; 6]), KILL_PROCESS);
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
    fn every_number_gets_what_the_profile_says(picked in proptest::collection::btree_set(0usize..400, 1..200), asked in 0u32..480) {
        let all = syscalls::names(Table::X86_64);
        let names: Vec<&str> = picked.iter().filter_map(|n| all.get(*n).copied()).collect();
        prop_assume!(!names.is_empty());
        let program = compiled(json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
            {"names": names, "action": "SCMP_ACT_ERRNO"}]}));
        let named = names.iter().any(|n| syscalls::number(Table::X86_64, n) == Some(asked));
        prop_assert_eq!(run(&program, X86_64, asked, [0; 6]), if named { EPERM } else { ALLOW });
    }
}
