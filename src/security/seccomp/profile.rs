//! The filter of containers for which nothing else is said: calls that programs need, by name, and those that their
//! capabilities make meaningful. Everything else answers EPERM, and calls newer than the list ENOSYS.
//!
//! Sockets are made in the families that are named here and no other, and on 32-bit x86 by `socket` only: behind
//! `socketcall` a filter cannot see the family, and all that keeps AF_ALG away there would be a security module that a
//! machine may not have. C libraries of the last ten years call `socket`; Go's programs for 32-bit x86 do not, and need a
//! profile of their own to reach the network.

use oci_spec::runtime::{
    Arch, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompArgBuilder, LinuxSeccompBuilder,
    LinuxSeccompOperator, LinuxSyscall, LinuxSyscallBuilder,
};

/// Files, memory, time, signals, processes, sockets: what acts on a process's own things.
const ALWAYS: &str = "\
accept accept4 access adjtimex alarm arch_prctl arm_fadvise64_64 arm_sync_file_range bind breakpoint brk cachestat cacheflush capget capset chdir chmod chown chown32 clock_adjtime \
clock_adjtime64 clock_getres clock_getres_time64 clock_gettime clock_gettime64 clock_nanosleep clock_nanosleep_time64 \
close close_range connect copy_file_range creat dup dup2 dup3 epoll_create epoll_create1 epoll_ctl epoll_ctl_old \
epoll_pwait epoll_pwait2 epoll_wait epoll_wait_old eventfd eventfd2 execve execveat exit exit_group faccessat faccessat2 \
fadvise64 fadvise64_64 fallocate fanotify_mark fchdir fchmod fchmodat fchmodat2 fchown fchown32 fchownat fcntl fcntl64 \
fdatasync fgetxattr flistxattr flock fork fremovexattr fsetxattr fstat fstat64 fstatat64 fstatfs fstatfs64 fsync \
ftruncate ftruncate64 futex futex_requeue futex_time64 futex_wait futex_waitv futex_wake futimesat get_robust_list \
get_thread_area getcpu getcwd getdents getdents64 getegid getegid32 geteuid geteuid32 getgid getgid32 getgroups \
getgroups32 getitimer getpeername getpgid getpgrp getpid getppid getpriority getrandom getresgid getresgid32 getresuid \
getresuid32 getrlimit getrusage getsid getsockname getsockopt gettid gettimeofday getuid getuid32 getxattr getxattrat \
inotify_add_watch inotify_init inotify_init1 inotify_rm_watch io_cancel io_destroy io_getevents io_pgetevents \
io_pgetevents_time64 io_setup io_submit ioctl ioprio_get ioprio_set ipc kill landlock_add_rule landlock_create_ruleset \
landlock_restrict_self lchown lchown32 lgetxattr link linkat listen listmount listxattr listxattrat llistxattr _llseek \
lremovexattr lseek lsetxattr lstat lstat64 madvise map_shadow_stack membarrier memfd_create memfd_secret mincore mkdir \
mkdirat mknod mknodat mlock mlock2 mlockall mmap mmap2 modify_ldt mprotect mq_getsetattr mq_notify mq_open \
mq_timedreceive mq_timedreceive_time64 mq_timedsend mq_timedsend_time64 mq_unlink mremap mseal msgctl msgget msgrcv \
msgsnd msync munlock munlockall munmap name_to_handle_at nanosleep newfstatat _newselect open openat openat2 pause \
pidfd_open pidfd_send_signal pipe pipe2 pkey_alloc pkey_free pkey_mprotect poll ppoll ppoll_time64 prctl pread64 preadv \
preadv2 prlimit64 process_mrelease process_vm_readv process_vm_writev pselect6 pselect6_time64 ptrace pwrite64 pwritev \
pwritev2 read readahead readlink readlinkat readv recv recvfrom recvmmsg recvmmsg_time64 recvmsg remap_file_pages \
removexattr removexattrat rename renameat renameat2 restart_syscall rmdir rseq rt_sigaction rt_sigpending rt_sigprocmask \
rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait rt_sigtimedwait_time64 rt_tgsigqueueinfo \
sched_get_priority_max sched_get_priority_min sched_getaffinity sched_getattr sched_getparam sched_getscheduler \
sched_rr_get_interval sched_rr_get_interval_time64 sched_setaffinity sched_setattr sched_setparam sched_setscheduler \
sched_yield seccomp select semctl semget semop semtimedop semtimedop_time64 send sendfile sendfile64 sendmmsg sendmsg \
sendto set_robust_list set_thread_area set_tid_address set_tls setfsgid setfsgid32 setfsuid setfsuid32 setgid setgid32 setgroups \
setgroups32 setitimer setpgid setpriority setregid setregid32 setresgid setresgid32 setresuid setresuid32 setreuid \
setreuid32 setrlimit setsid setsockopt setuid setuid32 setxattr setxattrat shmat shmctl shmdt shmget shutdown \
sigaltstack signalfd signalfd4 sigprocmask sigreturn socketpair splice stat stat64 statfs statfs64 statmount \
statx symlink symlinkat sync sync_file_range sync_file_range2 syncfs sysinfo tee tgkill time timer_create timer_delete \
timer_getoverrun timer_gettime timer_gettime64 timer_settime timer_settime64 timerfd_create timerfd_gettime \
timerfd_gettime64 timerfd_settime timerfd_settime64 times tkill truncate truncate64 ugetrlimit umask uname unlink \
unlinkat uretprobe utime utimensat utimensat_time64 utimes vfork vmsplice wait4 waitid waitpid write writev";

/// What a capability (by its number) makes meaningful; without it the kernel would refuse most of them anyway.
const WITH: [(u32, &str); 14] = [
    (2, "open_by_handle_at"),
    (16, "delete_module finit_module init_module"),
    (17, "iopl ioperm"),
    (18, "chroot"),
    (19, "kcmp pidfd_getfd process_madvise"),
    (20, "acct"),
    (
        21,
        "bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie lsm_get_self_attr lsm_list_modules \
         lsm_set_self_attr mount mount_setattr move_mount open_tree open_tree_attr perf_event_open quotactl quotactl_fd \
         setdomainname sethostname setns syslog umount umount2 unshare",
    ),
    (22, "reboot"),
    (23, "get_mempolicy mbind set_mempolicy set_mempolicy_home_node"),
    (25, "clock_settime clock_settime64 settimeofday stime"),
    (26, "vhangup"),
    (34, "syslog"),
    (38, "perf_event_open"),
    (39, "bpf"),
];

const SYS_ADMIN: u32 = 21;
/// CLONE_NEW* but CLONE_NEWTIME, which clone(2) cannot express.
const CLONE_NEW_MASK: u64 = 0x7E02_0000;
/// Families of sockets: all below this one...
const FAMILIES_BELOW: u64 = 12;
/// ...and of those above it the ones that a kernel still has, are confined by a network namespace or by a capability,
/// and are of use in a container. Not among them: AF_ALG (38), the kernel's ciphers, an attack surface that nobody
/// needs; and AF_VSOCK (40), the hypervisor and other machines on it, which no network namespace confines.
const FAMILIES: [(u64, &str); 19] = [
    (15, "AF_KEY"),
    (16, "AF_NETLINK"),
    (17, "AF_PACKET"),
    (21, "AF_RDS"),
    (24, "AF_PPPOX"),
    (26, "AF_LLC"),
    (29, "AF_CAN"),
    (30, "AF_TIPC"),
    (31, "AF_BLUETOOTH"),
    (32, "AF_IUCV"),
    (33, "AF_RXRPC"),
    (35, "AF_PHONET"),
    (36, "AF_IEEE802154"),
    (39, "AF_NFC"),
    (41, "AF_KCM"),
    (42, "AF_QIPCRTR"),
    (43, "AF_SMC"),
    (44, "AF_XDP"),
    (45, "AF_MCTP"),
];
/// Domains that change nothing but what uname says and how memory is laid out; the last one only asks.
const PERSONALITIES: [u64; 5] = [0, 0x8, 0x2_0000, 0x2_0008, 0xFFFF_FFFF];

fn names(text: &str) -> Vec<String> {
    text.split_ascii_whitespace().map(str::to_owned).collect()
}

fn rule(names: Vec<String>) -> LinuxSyscallBuilder {
    LinuxSyscallBuilder::default().names(names).action(LinuxSeccompAction::ScmpActAllow)
}

fn built(rule: LinuxSyscallBuilder) -> LinuxSyscall {
    rule.build().expect("names and action are all that a rule must have")
}

fn condition(value: u64, op: LinuxSeccompOperator) -> Vec<LinuxSeccompArg> {
    let argument = LinuxSeccompArgBuilder::default().index(0usize).value(value).value_two(0u64).op(op);
    vec![argument.build().expect("index, value and operator are all that a condition must have")]
}

/// The filter of a container whose bounding set holds `capabilities` (a bit each).
pub fn default_profile(capabilities: u64) -> LinuxSeccomp {
    let has = |number: u32| capabilities & 1 << number != 0;
    let mut allowed = names(ALWAYS);
    for (_, more) in WITH.iter().filter(|(number, _)| has(*number)) {
        allowed.extend(names(more));
    }
    allowed.sort_unstable();
    allowed.dedup();
    let below = condition(FAMILIES_BELOW, LinuxSeccompOperator::ScmpCmpLt);
    let mut rules = vec![built(rule(allowed)), built(rule(names("socket")).args(below))];
    for (family, _) in FAMILIES {
        let same = condition(family, LinuxSeccompOperator::ScmpCmpEq);
        rules.push(built(rule(names("socket")).args(same)));
    }
    for domain in PERSONALITIES {
        let same = condition(domain, LinuxSeccompOperator::ScmpCmpEq);
        rules.push(built(rule(names("personality")).args(same)));
    }
    if !has(SYS_ADMIN) {
        let no_namespaces = condition(CLONE_NEW_MASK, LinuxSeccompOperator::ScmpCmpMaskedEq);
        rules.push(built(rule(names("clone")).args(no_namespaces)));
        // Its flags are in memory, out of a filter's sight: ENOSYS makes C libraries use clone.
        let hidden = rule(names("clone3")).action(LinuxSeccompAction::ScmpActErrno).errno_ret(libc::ENOSYS as u32);
        rules.push(built(hidden));
    }
    LinuxSeccompBuilder::default()
        .default_action(LinuxSeccompAction::ScmpActErrno)
        .default_errno_ret(libc::EPERM as u32)
        .architectures(architectures())
        .syscalls(rules)
        .build()
        .expect("the default action is all that a profile must have")
}

fn architectures() -> Vec<Arch> {
    if cfg!(target_arch = "aarch64") {
        vec![Arch::ScmpArchAarch64, Arch::ScmpArchArm]
    } else {
        vec![Arch::ScmpArchX86_64, Arch::ScmpArchX86, Arch::ScmpArchX32]
    }
}
