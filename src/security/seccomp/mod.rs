//! System call filters: a profile of config.json compiled to classic BPF.
//!
//! ```text
//! arch? ─→ one section per architecture of the profile; any other: kill
//!            number > highest the profile knows ─→ ENOSYS (a C library then does without the newer call)
//!            binary search over ranges of numbers with the same verdict ─→ verdict
//!                                                                        └→ conditions on arguments, rule by rule
//! ```
//! The search tree is not only for the calls at run time: when a filter is loaded, the kernel runs it once for each
//! number to find what it allows whatever the arguments are, so a chain of comparisons makes every start slow.
//!
//! Names that no architecture of the profile has are passed over, as profiles name the calls of all machines.

mod bpf;
mod profile;
mod syscalls;

pub use profile::default_profile;

use crate::sys::seccomp::{Instruction, MAX_INSTRUCTIONS};
use bpf::{Condition, Test, Verdict};
use oci_spec::runtime::{
    Arch, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompFilterFlag, LinuxSeccompOperator, LinuxSyscall,
};
use std::collections::BTreeMap;
use syscalls::Table;

/// A profile that cannot be compiled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("seccomp: {0}")]
pub struct SeccompError(String);

/// A compiled profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    /// The program.
    pub program: Vec<Instruction>,
    /// `SECCOMP_FILTER_FLAG_*`.
    pub flags: u32,
}

const KILL_PROCESS: u32 = libc::SECCOMP_RET_KILL_PROCESS;
const ENOSYS: u32 = libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32;
/// Marks the numbers of x32 in the architecture of x86_64.
const X32_BIT: u32 = 0x4000_0000;

/// An architecture the running kernel can have processes of.
struct Section {
    /// `AUDIT_ARCH_*`.
    audit: u32,
    table: Table,
    /// The numbers of `audit` that have the x32 bit set.
    x32: bool,
}

/// `AUDIT_ARCH_*` of an architecture: the numbers of the enum are libseccomp's, which are the kernel's but for x32.
fn audit(arch: Arch) -> u32 {
    arch as u32
}

/// The architectures of a profile, the native one always first.
fn sections(wanted: &[Arch]) -> Vec<Section> {
    let section = |arch, table, x32| Section { audit: audit(arch), table, x32 };
    if cfg!(target_arch = "aarch64") {
        return vec![section(Arch::ScmpArchAarch64, Table::Arm64, false)];
    }
    let mut found = vec![section(Arch::ScmpArchX86_64, Table::X86_64, false)];
    if wanted.contains(&Arch::ScmpArchX32) {
        found.push(section(Arch::ScmpArchX86_64, Table::X86_64, true));
    }
    if wanted.contains(&Arch::ScmpArchX86) {
        found.push(section(Arch::ScmpArchX86, Table::X86, false));
    }
    found
}

/// Compiles a profile.
pub fn compile(profile: &LinuxSeccomp) -> Result<Filter, SeccompError> {
    let default = action(profile.default_action(), profile.default_errno_ret())?;
    let mut parts = Vec::new();
    for section in sections(profile.architectures().as_deref().unwrap_or_default()) {
        let calls = verdicts(profile, &section, default)?;
        // What a profile that allows by default does not know it means to allow.
        let permissive = matches!(default, libc::SECCOMP_RET_ALLOW | libc::SECCOMP_RET_LOG);
        let newest = calls.keys().next_back().copied();
        let above = newest.filter(|_| !permissive).map(|newest| (newest + 1, ENOSYS));
        parts.push(bpf::Part { audit: section.audit, x32: section.x32, calls, default, above });
    }
    let program = bpf::assemble(&parts, KILL_PROCESS);
    if program.len() > MAX_INSTRUCTIONS {
        let problem = format!("the profile takes {} instructions, the kernel takes {MAX_INSTRUCTIONS}", program.len());
        return Err(SeccompError(problem));
    }
    Ok(Filter { program, flags: flags(profile) })
}

fn flags(profile: &LinuxSeccomp) -> u32 {
    let bit = |flag: &LinuxSeccompFilterFlag| match flag {
        LinuxSeccompFilterFlag::SeccompFilterFlagTsync => 1,
        LinuxSeccompFilterFlag::SeccompFilterFlagLog => 1 << 1,
        LinuxSeccompFilterFlag::SeccompFilterFlagSpecAllow => 1 << 2,
        LinuxSeccompFilterFlag::SeccompFilterFlagWaitKillableRecv => 1 << 5,
    };
    profile.flags().iter().flatten().fold(0, |all, flag| all | bit(flag))
}

/// The kernel's return value of an action.
fn action(action: LinuxSeccompAction, errno: Option<u32>) -> Result<u32, SeccompError> {
    use LinuxSeccompAction as A;
    if let Some(errno) = errno
        && errno > libc::SECCOMP_RET_DATA
    {
        return Err(SeccompError(format!("errnoRet: got {errno}, it goes up to {}", libc::SECCOMP_RET_DATA)));
    }
    let data = errno.unwrap_or(libc::EPERM as u32);
    Ok(match action {
        A::ScmpActAllow => libc::SECCOMP_RET_ALLOW,
        A::ScmpActLog => libc::SECCOMP_RET_LOG,
        A::ScmpActKill | A::ScmpActKillThread => libc::SECCOMP_RET_KILL_THREAD,
        A::ScmpActKillProcess => KILL_PROCESS,
        A::ScmpActTrap => libc::SECCOMP_RET_TRAP,
        A::ScmpActErrno => libc::SECCOMP_RET_ERRNO | data,
        A::ScmpActTrace => libc::SECCOMP_RET_TRACE | data,
        A::ScmpActNotify => return Err(SeccompError("SCMP_ACT_NOTIFY is not supported by this runtime".into())),
    })
}

/// What the profile says about each call it names, by number.
fn verdicts(profile: &LinuxSeccomp, section: &Section, default: u32) -> Result<BTreeMap<u32, Verdict>, SeccompError> {
    let mut calls: BTreeMap<u32, Verdict> = BTreeMap::new();
    for (i, rule) in profile.syscalls().iter().flatten().enumerate() {
        let refused = |e: SeccompError| SeccompError(format!("syscalls[{i}]: {}", e.0));
        let action = action(rule.action(), rule.errno_ret()).map_err(refused)?;
        let alternatives = alternatives(i, rule)?;
        for name in rule.names() {
            let Some(number) = syscalls::number(section.table, name) else { continue };
            let number = if section.x32 { number | X32_BIT } else { number };
            let verdict = calls.entry(number).or_insert_with(|| Verdict::new(default));
            match alternatives.as_slice() {
                [] => verdict.otherwise = action,
                some => verdict.rules.extend(some.iter().map(|conditions| (conditions.clone(), action))),
            }
        }
    }
    Ok(calls)
}

/// A rule's conditions: all of one alternative must hold. Two on the same argument are alternatives of each other, as
/// runc reads profiles.
fn alternatives(index: usize, rule: &LinuxSyscall) -> Result<Vec<Vec<Condition>>, SeccompError> {
    let mut conditions: Vec<Condition> = Vec::new();
    for arg in rule.args().iter().flatten() {
        if arg.index() > 5 {
            return Err(SeccompError(format!("syscalls[{index}]: argument {} of a call, it has 0 to 5", arg.index())));
        }
        let value = arg.value();
        let test = match arg.op() {
            LinuxSeccompOperator::ScmpCmpNe => Test::Ne(value),
            LinuxSeccompOperator::ScmpCmpLt => Test::Lt(value),
            LinuxSeccompOperator::ScmpCmpLe => Test::Le(value),
            LinuxSeccompOperator::ScmpCmpEq => Test::Eq(value),
            LinuxSeccompOperator::ScmpCmpGe => Test::Ge(value),
            LinuxSeccompOperator::ScmpCmpGt => Test::Gt(value),
            LinuxSeccompOperator::ScmpCmpMaskedEq => Test::Masked { mask: value, value: arg.value_two().unwrap_or(0) },
        };
        conditions.push(Condition { argument: arg.index() as u32, test });
    }
    let repeated = conditions.iter().enumerate().any(|(i, c)| conditions[..i].iter().any(|d| d.argument == c.argument));
    Ok(match conditions.is_empty() {
        true => Vec::new(),
        false if repeated => conditions.into_iter().map(|c| vec![c]).collect(),
        false => vec![conditions],
    })
}

#[cfg(test)]
mod tests;
