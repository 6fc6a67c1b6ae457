//! When, where and before whom this process runs: scheduling policy, I/O priority, processors.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{Builder, JoinHandle};

/// `IOPRIO_WHO_PROCESS`.
const IO_WHO_PROCESS: libc::c_int = 1;

/// How the kernel gives processor time to a process, see sched_setattr(2).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Policy {
    /// `SCHED_*`.
    pub policy: u32,
    /// `SCHED_FLAG_*`.
    pub flags: u64,
    /// Of `SCHED_OTHER` and `SCHED_BATCH`.
    pub nice: i32,
    /// Of `SCHED_FIFO` and `SCHED_RR`.
    pub priority: u32,
    /// Of `SCHED_DEADLINE`, nanoseconds.
    pub runtime_ns: u64,
    /// Of `SCHED_DEADLINE`, nanoseconds.
    pub deadline_ns: u64,
    /// Of `SCHED_DEADLINE`, nanoseconds.
    pub period_ns: u64,
}

/// The first version of the kernel's `struct sched_attr`, which every kernel takes.
#[repr(C)]
struct SchedAttr {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    runtime: u64,
    deadline: u64,
    period: u64,
}

fn done(result: libc::c_long) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Sets the policy of the calling thread.
pub fn set_policy(policy: Policy) -> io::Result<()> {
    let attr = SchedAttr {
        size: size_of::<SchedAttr>() as u32,
        policy: policy.policy,
        flags: policy.flags,
        nice: policy.nice,
        priority: policy.priority,
        runtime: policy.runtime_ns,
        deadline: policy.deadline_ns,
        period: policy.period_ns,
    };
    // SAFETY: the kernel reads `size` bytes of `attr`, a local laid out as the first 48 bytes of its struct, and writes
    // nothing back when the size is one that it knows; 0 is the calling thread.
    done(unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attr, 0) })
}

/// Sets the I/O priority of the calling thread: the class from bit 13 on, the level below.
pub fn set_io_priority(priority: u16) -> io::Result<()> {
    // SAFETY: ioprio_set takes three integers; with IOPRIO_WHO_PROCESS, 0 is the calling thread.
    done(unsafe { libc::syscall(libc::SYS_ioprio_set, IO_WHO_PROCESS, 0, libc::c_int::from(priority)) })
}

/// Processors that a mask has room for. Linux takes up to 8192.
const MOST: usize = 8192;

/// All processors, those to come as well.
pub const EVERYWHERE: [u64; MOST / 64] = [u64::MAX; MOST / 64];

/// Lets the calling thread run on the processors of `bits` only, the first 64 in the first word; those that its control
/// group does not have are left out.
pub fn set_affinity(bits: &[u64]) -> io::Result<()> {
    // SAFETY: the kernel reads as many bytes as the slice holds and ignores those beyond the processors that it can
    // have; 0 is the calling thread.
    done(unsafe { libc::syscall(libc::SYS_sched_setaffinity, 0, size_of_val(bits), bits.as_ptr()) })
}

/// Starts a thread that runs on any other processor than the calling thread, where that may use others: a scheduler may
/// leave a new thread where its maker is until that one sleeps, and the two are to run side by side. One that cannot be
/// moved runs all the same.
pub fn spawn_elsewhere<T: Send + 'static>(
    builder: Builder,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<JoinHandle<T>> {
    let placed = Arc::new(AtomicBool::new(false));
    let there = StayUntil(placed.clone());
    let thread = builder.spawn(move || {
        let _there = there;
        work()
    })?;
    let _ = move_elsewhere(&thread);
    placed.store(true, Ordering::Release);
    thread.thread().unpark();
    Ok(thread)
}

/// Keeps a thread from ending before it has been placed: of one that has ended the C library passes 0 to the kernel, which
/// means whoever calls.
struct StayUntil(Arc<AtomicBool>);

impl Drop for StayUntil {
    fn drop(&mut self) {
        while !self.0.load(Ordering::Acquire) {
            std::thread::park();
        }
    }
}

fn move_elsewhere<T>(thread: &JoinHandle<T>) -> io::Result<()> {
    use std::os::unix::thread::JoinHandleExt;
    let mut mask = [0_u64; MOST / 64];
    // SAFETY: the kernel writes at most the size given, which is the array's; 0 is the calling thread.
    let known = unsafe { libc::syscall(libc::SYS_sched_getaffinity, 0, size_of_val(&mask), mask.as_mut_ptr()) };
    done(known)?;
    // SAFETY: takes nothing and reads no memory of ours.
    let here = usize::try_from(unsafe { libc::sched_getcpu() }).map_err(|_| io::Error::last_os_error())?;
    if let Some(word) = mask.get_mut(here / 64) {
        *word &= !(1 << (here % 64));
    }
    if mask.iter().all(|word| *word == 0) {
        return Ok(());
    }
    // SAFETY: `thread` has been neither joined nor detached, so its id is valid, and it has not ended, as it waits in
    // `StayUntil` for what follows this call; as many bytes are read as the array has.
    match unsafe { libc::pthread_setaffinity_np(thread.as_pthread_t(), size_of_val(&mask), mask.as_ptr().cast()) } {
        0 => Ok(()),
        error => Err(io::Error::from_raw_os_error(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // A thread each: what is set here is the calling thread's alone.
    fn on_a_thread<T: Send>(act: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| scope.spawn(act).join().unwrap())
    }

    #[test]
    fn a_policy_is_set_with_its_nice_level() {
        let stat = on_a_thread(|| {
            set_policy(Policy { policy: 3, nice: 7, ..Policy::default() }).unwrap();
            std::fs::read_to_string("/proc/thread-self/stat").unwrap()
        });
        let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_ascii_whitespace().collect();
        // Fields 19 and 41 of proc(5), counted from the state, which is field 3.
        assert_eq!((fields[16], fields[38]), ("7", "3"));
    }

    #[test]
    fn an_unknown_policy_is_refused() {
        let refused = on_a_thread(|| set_policy(Policy { policy: 99, ..Policy::default() }));
        assert_eq!(refused.unwrap_err().raw_os_error(), Some(libc::EINVAL));
    }

    #[test]
    fn a_thread_runs_where_it_is_let() {
        let status = on_a_thread(|| {
            set_affinity(&[1]).unwrap();
            std::fs::read_to_string("/proc/thread-self/status").unwrap()
        });
        assert!(status.contains("Cpus_allowed_list:\t0\n"), "{status}");
        // None that exists.
        assert!(on_a_thread(|| set_affinity(&[0])).is_err());
    }

    #[test]
    fn an_io_class_that_does_not_exist_is_refused() {
        assert!(on_a_thread(|| set_io_priority(2 << 13 | 7)).is_ok());
        assert_eq!(on_a_thread(|| set_io_priority(7 << 13)).unwrap_err().raw_os_error(), Some(libc::EINVAL));
    }

    fn allowed() -> String {
        let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
        status.lines().find_map(|l| l.strip_prefix("Cpus_allowed:\t")).unwrap().to_owned()
    }

    #[test]
    fn a_thread_is_started_where_its_maker_is_not() {
        on_a_thread(|| {
            let (go, wait) = std::sync::mpsc::channel::<()>();
            let thread = spawn_elsewhere(Builder::new(), move || {
                let _ = wait.recv();
                allowed()
            });
            drop(go);
            let mask = thread.unwrap().join().unwrap();
            let counted: u32 = mask.split(',').map(|word| u32::from_str_radix(word, 16).unwrap().count_ones()).sum();
            let processors = std::thread::available_parallelism().unwrap().get();
            assert_eq!(counted as usize, (processors - 1).max(1), "of {processors}: {mask}");
        });
    }

    #[test]
    fn the_maker_of_a_thread_that_ends_at_once_stays_where_it_may_be() {
        on_a_thread(|| {
            let before = allowed();
            for _ in 0..500 {
                spawn_elsewhere(Builder::new(), || ()).unwrap().join().unwrap();
            }
            assert_eq!(allowed(), before);
        });
    }
}
