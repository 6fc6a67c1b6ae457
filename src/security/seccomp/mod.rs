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
//! What profiles that are written for libseccomp rely on, and nobody says:
//!
//! - Names that no architecture of the profile has are passed over, as profiles name the calls of all machines.
//! - A rule whose action is the default one says nothing.
//! - A rule without conditions wins over all others of its call, wherever it stands; the first of two wins.
//! - On an architecture of 32 bits, the lower half of a value is all there is, on both sides of a comparison: what the
//!   kernel gives the call is cut off there too.
//! - The calls of sockets and of System V IPC, which 32-bit x86 has twice, are meant both times. Behind `socketcall` and
//!   `ipc` the arguments are out of a filter's sight: a rule with conditions that forbids then forbids all, and one that
//!   allows allows nothing.

mod bpf;
mod profile;
mod syscalls;

pub use profile::default_profile;

use crate::sys::seccomp::{Instruction, MAX_INSTRUCTIONS, NEW_LISTENER};
use bpf::{Condition, Test, Verdict};
use oci_spec::runtime::{
    Arch, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompFilterFlag, LinuxSeccompOperator, LinuxSyscall,
};
use std::path::PathBuf;
use syscalls::{Call, Table};

/// A profile that cannot be compiled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("linux.seccomp{field}: {problem}")]
pub struct SeccompError {
    /// Which member of the profile, with what stands before it.
    pub field: String,
    /// What is wrong with it.
    pub problem: String,
}

fn refuse<T>(field: impl Into<String>, problem: impl Into<String>) -> Result<T, SeccompError> {
    Err(SeccompError { field: field.into(), problem: problem.into() })
}

/// A compiled profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    /// The program.
    pub program: Vec<Instruction>,
    /// `SECCOMP_FILTER_FLAG_*`.
    pub flags: u32,
    /// Who answers for the calls that the program hands on, where it does so.
    pub listener: Option<Listener>,
}

/// Who answers for calls in the kernel's place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// The socket where it waits for descriptors.
    pub path: PathBuf,
    /// What it is told besides.
    pub metadata: Option<String>,
}

const KILL_PROCESS: u32 = libc::SECCOMP_RET_KILL_PROCESS;
const ENOSYS: u32 = libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32;
/// Marks the numbers of x32 in the architecture of x86_64.
const X32_BIT: u32 = 0x4000_0000;

/// An architecture the running kernel can have processes of.
struct Section {
    /// `AUDIT_ARCH_*`: the numbers of oci-spec's enum are libseccomp's, which are the kernel's but for x32.
    audit: u32,
    table: Table,
}

impl Section {
    fn new(audit: Arch, table: Table) -> Self {
        Self { audit: audit as u32, table }
    }

    /// Its registers have 64 bits.
    fn wide(&self) -> bool {
        !matches!(self.table, Table::X86 | Table::Arm)
    }

    fn x32(&self) -> bool {
        self.table == Table::X32
    }

    /// From where on numbers are not given out in order.
    fn irregular(&self) -> Option<u32> {
        match self.table {
            Table::X32 => Some(syscalls::X32_FIRST | X32_BIT),
            Table::Arm => Some(syscalls::ARM_PRIVATE),
            _ => None,
        }
    }

    fn number(&self, call: Call) -> Option<u32> {
        call.number(self.table).map(|number| if self.x32() { number | X32_BIT } else { number })
    }
}

/// The architecture that this program is built for.
const NATIVE: Arch = if cfg!(target_arch = "aarch64") { Arch::ScmpArchAarch64 } else { Arch::ScmpArchX86_64 };

/// The architectures that profiles may name. Of most of them the running kernel has no processes, and there is nothing to
/// filter.
pub const ARCHITECTURES: [Arch; 23] = [
    Arch::ScmpArchAarch64,
    Arch::ScmpArchArm,
    Arch::ScmpArchLoongarch64,
    Arch::ScmpArchM68k,
    Arch::ScmpArchMips,
    Arch::ScmpArchMips64,
    Arch::ScmpArchMips64n32,
    Arch::ScmpArchMipsel,
    Arch::ScmpArchMipsel64,
    Arch::ScmpArchMipsel64n32,
    Arch::ScmpArchParisc,
    Arch::ScmpArchParisc64,
    Arch::ScmpArchPpc,
    Arch::ScmpArchPpc64,
    Arch::ScmpArchPpc64le,
    Arch::ScmpArchRiscv64,
    Arch::ScmpArchS390,
    Arch::ScmpArchS390x,
    Arch::ScmpArchSh,
    Arch::ScmpArchSheb,
    Arch::ScmpArchX32,
    Arch::ScmpArchX86,
    Arch::ScmpArchX86_64,
];

/// The architectures of a profile that a kernel of `native` can run, the native one always first.
fn sections(native: Arch, wanted: &[Arch]) -> Vec<Section> {
    if native == Arch::ScmpArchAarch64 {
        let mut found = vec![Section::new(native, Table::Arm64)];
        if wanted.contains(&Arch::ScmpArchArm) {
            found.push(Section::new(Arch::ScmpArchArm, Table::Arm));
        }
        return found;
    }
    let mut found = vec![Section::new(native, Table::X86_64)];
    if wanted.contains(&Arch::ScmpArchX32) {
        found.push(Section::new(native, Table::X32));
    }
    if wanted.contains(&Arch::ScmpArchX86) {
        found.push(Section::new(Arch::ScmpArchX86, Table::X86));
    }
    found
}

/// Compiles a profile.
pub fn compile(profile: &LinuxSeccomp) -> Result<Filter, SeccompError> {
    compile_for(NATIVE, profile)
}

fn compile_for(native: Arch, profile: &LinuxSeccomp) -> Result<Filter, SeccompError> {
    let default = action(profile.default_action(), profile.default_errno_ret())
        .or_else(|problem| refuse(".defaultErrnoRet", problem))?;
    let listener = listener(profile)?;
    let rules = rules(profile)?;
    let mut parts = Vec::new();
    for section in sections(native, profile.architectures().as_deref().unwrap_or_default()) {
        let named = rules.iter().flat_map(|rule| rule.calls.iter());
        let known = named.filter_map(|call| section.number(*call));
        parts.push(bpf::Part {
            audit: section.audit,
            x32: section.x32(),
            absent: absent(&section, known, default),
            calls: verdicts(&section, &rules, default),
            default,
        });
    }
    let program = bpf::assemble(parts, KILL_PROCESS);
    if program.len() > MAX_INSTRUCTIONS {
        let problem = format!("takes {} instructions as a filter, the kernel takes {MAX_INSTRUCTIONS}", program.len());
        return refuse("", problem);
    }
    Ok(Filter { program, flags: flags(profile, listener.is_some()), listener })
}

/// Who is to get the listener, if anybody. What a process does to get it there cannot wait for it.
fn listener(profile: &LinuxSeccomp) -> Result<Option<Listener>, SeccompError> {
    const NOTIFY: LinuxSeccompAction = LinuxSeccompAction::ScmpActNotify;
    if profile.default_action() == NOTIFY {
        return refuse(".defaultAction", "SCMP_ACT_NOTIFY cannot be used as default action");
    }
    let mut wanted = false;
    for (i, rule) in profile.syscalls().iter().flatten().enumerate().filter(|(_, rule)| rule.action() == NOTIFY) {
        if rule.names().iter().any(|name| name == "write") {
            return refuse(format!(".syscalls[{i}]"), "SCMP_ACT_NOTIFY cannot be used for the write syscall");
        }
        wanted = true;
    }
    let path = profile.listener_path().as_ref().filter(|path| !path.as_os_str().is_empty());
    let metadata = profile.listener_metadata().as_ref().is_some_and(|metadata| !metadata.is_empty());
    match path {
        None if metadata && !wanted => refuse(".listenerMetadata", "is for a listener, and listenerPath is missing"),
        _ if !wanted => Ok(None),
        Some(path) => Ok(Some(Listener { path: path.clone(), metadata: profile.listener_metadata().clone() })),
        None => refuse(".listenerPath", "is missing, and SCMP_ACT_NOTIFY needs it"),
    }
}

/// Ranges of numbers that were not given out yet when the profile was written. What a profile that lets all calls pass,
/// or be traced, does not know it means to let pass.
fn absent(section: &Section, known: impl Iterator<Item = u32>, default: u32) -> Vec<(u32, u32)> {
    if passes(default) {
        return Vec::new();
    }
    let regular_end = section.irregular().unwrap_or(u32::MAX);
    let (mut newest, mut newest_irregular) = (None, None);
    for number in known {
        let newest = if number < regular_end { &mut newest } else { &mut newest_irregular };
        *newest = (*newest).max(Some(number));
    }
    let regular = newest.map(|newest| (newest + 1, regular_end));
    let irregular = newest_irregular.map(|newest| (newest + 1, u32::MAX));
    regular.into_iter().chain(irregular).collect()
}

/// Whether an action lets a call happen.
fn passes(action: u32) -> bool {
    let action = action & libc::SECCOMP_RET_ACTION_FULL;
    matches!(action, libc::SECCOMP_RET_ALLOW | libc::SECCOMP_RET_LOG | libc::SECCOMP_RET_TRACE)
}

fn flags(profile: &LinuxSeccomp, listener: bool) -> u32 {
    use LinuxSeccompFilterFlag as F;
    let bit = |flag: &F| match flag {
        // There is one thread, and the kernel would not give a listener to several.
        F::SeccompFilterFlagTsync => 0,
        F::SeccompFilterFlagLog => LOG,
        F::SeccompFilterFlagSpecAllow => SPEC_ALLOW,
        // The kernel takes it with a listener only.
        F::SeccompFilterFlagWaitKillableRecv if listener => WAIT_KILLABLE_RECV,
        F::SeccompFilterFlagWaitKillableRecv => 0,
    };
    let asked = match profile.flags() {
        Some(flags) => flags.iter().fold(0, |all, flag| all | bit(flag)),
        // As runc has it: a filter says nothing about speculation, so it does not make stores slower.
        None => SPEC_ALLOW,
    };
    if listener { asked | NEW_LISTENER } else { asked }
}

const LOG: u32 = 1 << 1;
const SPEC_ALLOW: u32 = 1 << 2;
const WAIT_KILLABLE_RECV: u32 = 1 << 5;

/// The kernel's return value of an action.
fn action(action: LinuxSeccompAction, errno: Option<u32>) -> Result<u32, String> {
    use LinuxSeccompAction as A;
    let data = match errno {
        Some(errno) if errno > libc::SECCOMP_RET_DATA => {
            return Err(format!("got {errno}, it goes up to {}", libc::SECCOMP_RET_DATA));
        }
        Some(errno) if matches!(action, A::ScmpActErrno | A::ScmpActTrace) => errno,
        Some(errno) => return Err(format!("got {errno}, but {action} takes none")),
        None => libc::EPERM as u32,
    };
    Ok(match action {
        A::ScmpActAllow => libc::SECCOMP_RET_ALLOW,
        A::ScmpActLog => libc::SECCOMP_RET_LOG,
        A::ScmpActKill | A::ScmpActKillThread => libc::SECCOMP_RET_KILL_THREAD,
        A::ScmpActKillProcess => KILL_PROCESS,
        A::ScmpActTrap => libc::SECCOMP_RET_TRAP,
        A::ScmpActErrno => libc::SECCOMP_RET_ERRNO | data,
        A::ScmpActTrace => libc::SECCOMP_RET_TRACE | data,
        A::ScmpActNotify => libc::SECCOMP_RET_USER_NOTIF,
    })
}

/// A rule, the same for all architectures.
struct Rule {
    calls: Vec<Call>,
    action: u32,
    /// The conditions of one of these must all hold; none at all when it is empty.
    alternatives: Vec<Vec<(u32, Test)>>,
}

/// The rules, those that say nothing as well: their calls are known to the profile.
fn rules(profile: &LinuxSeccomp) -> Result<Vec<Rule>, SeccompError> {
    let mut rules = Vec::new();
    for (i, rule) in profile.syscalls().iter().flatten().enumerate() {
        let action =
            action(rule.action(), rule.errno_ret()).or_else(|p| refuse(format!(".syscalls[{i}].errnoRet"), p))?;
        if rule.names().is_empty() {
            return refuse(format!(".syscalls[{i}].names"), "is empty");
        }
        if let Some(at) = rule.names().iter().position(String::is_empty) {
            return refuse(format!(".syscalls[{i}].names[{at}]"), "is empty");
        }
        let alternatives = alternatives(i, rule)?;
        let calls = rule.names().iter().filter_map(|name| Call::find(name)).collect();
        rules.push(Rule { calls, action, alternatives });
    }
    Ok(rules)
}

/// A rule's conditions: all of one alternative must hold. Two on the same argument are alternatives of each other, as
/// profiles written for libseccomp mean it.
fn alternatives(index: usize, rule: &LinuxSyscall) -> Result<Vec<Vec<(u32, Test)>>, SeccompError> {
    let mut conditions: Vec<(u32, Test)> = Vec::new();
    for (i, arg) in rule.args().iter().flatten().enumerate() {
        let field = format!(".syscalls[{index}].args[{i}]");
        let argument = match u32::try_from(arg.index()) {
            Ok(argument @ 0..=5) => argument,
            _ => {
                let name = rule.names().first().map_or("", String::as_str);
                let problem = format!("got {} for `{name}`, a call has arguments 0 to 5", arg.index());
                return refuse(field + ".index", problem);
            }
        };
        let value = arg.value();
        let test = match arg.op() {
            LinuxSeccompOperator::ScmpCmpNe => Test::Ne(value),
            LinuxSeccompOperator::ScmpCmpLt => Test::Lt(value),
            LinuxSeccompOperator::ScmpCmpLe => Test::Le(value),
            LinuxSeccompOperator::ScmpCmpEq => Test::Eq(value),
            LinuxSeccompOperator::ScmpCmpGe => Test::Ge(value),
            LinuxSeccompOperator::ScmpCmpGt => Test::Gt(value),
            LinuxSeccompOperator::ScmpCmpMaskedEq => {
                Test::Masked { mask: value, value: value & arg.value_two().unwrap_or(0) }
            }
        };
        conditions.push((argument, test));
    }
    let repeated = conditions.iter().enumerate().any(|(i, (one, _))| conditions[..i].iter().any(|(o, _)| o == one));
    Ok(match conditions.is_empty() {
        true => Vec::new(),
        false if repeated => conditions.into_iter().map(|c| vec![c]).collect(),
        false => vec![conditions],
    })
}

/// What the rules say about each call they name, by number.
fn verdicts(section: &Section, rules: &[Rule], default: u32) -> Vec<(u32, Verdict)> {
    // By number, then in the order of the rules; with what it is behind another call.
    let mut said: Vec<(u32, usize, Option<u64>)> = Vec::with_capacity(512);
    for (i, rule) in rules.iter().enumerate().filter(|(_, rule)| rule.action != default) {
        for call in &rule.calls {
            said.extend(section.number(*call).map(|number| (number, i, None)));
            if rule.alternatives.is_empty() || !passes(rule.action) {
                said.extend(call.multiplexed(section.table).map(|(number, which)| (number, i, Some(which))));
            }
        }
    }
    said.sort_unstable();
    let wide = section.wide();
    let mut calls: Vec<(u32, Verdict)> = Vec::with_capacity(said.len());
    for (number, i, behind) in said {
        if calls.last().is_none_or(|(last, _)| *last != number) {
            calls.push((number, Verdict::new(default)));
        }
        let (Some((_, verdict)), rule) = (calls.last_mut(), &rules[i]) else { continue };
        match behind {
            // The upper half of what `ipc` takes first is a version.
            Some(which) => {
                let test = Test::Masked { mask: 0xFFFF, value: which };
                verdict.when(vec![Condition { argument: 0, test, wide }], rule.action);
            }
            None if rule.alternatives.is_empty() => verdict.always(rule.action),
            None => {
                for conditions in &rule.alternatives {
                    let conditions = conditions.iter().map(|&(argument, test)| Condition { argument, test, wide });
                    verdict.when(conditions.collect(), rule.action);
                }
            }
        }
    }
    calls
}

#[cfg(test)]
mod tests;
