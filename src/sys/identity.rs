//! What the kernel tells programs of the machine they are on, and where it takes their memory from: personality, NIS
//! domain name, memory policy; and limits that are set from outside.

use std::io;

fn done(result: libc::c_long) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Sets the execution domain (`PER_*`) of the calling process; programs that it becomes keep it.
pub fn set_personality(persona: u64) -> io::Result<()> {
    // SAFETY: personality takes an integer.
    done(unsafe { libc::personality(persona) }.into())
}

/// Sets the NIS domain name of the UTS namespace this process is in.
pub fn set_domain_name(name: &str) -> io::Result<()> {
    // SAFETY: the kernel reads `len` bytes of `name`, which is borrowed for the call, and wants no NUL.
    done(unsafe { libc::setdomainname(name.as_ptr().cast(), name.len()) }.into())
}

/// Sets where the calling thread's memory comes from: `mode` is `MPOL_*` with `MPOL_F_*`, `nodes` are bits, the first
/// 64 in the first word.
pub fn set_memory_policy(mode: u32, nodes: &[u64]) -> io::Result<()> {
    let pointer = if nodes.is_empty() { std::ptr::null() } else { nodes.as_ptr() };
    // The kernel takes the number of bits for one more than it is.
    let bits = nodes.len() * 64 + 1;
    // SAFETY: the kernel reads the words of `nodes` that `bits` covers, which are those the slice has, and none at all
    // through the null that stands for an empty one.
    done(unsafe { libc::syscall(libc::SYS_set_mempolicy, mode as libc::c_int, pointer, bits) })
}

/// Sets a limit (`RLIMIT_*`) of process `pid`, 0 for this one: what it may use now, and how far it may raise that.
pub fn set_limit_of(pid: u32, resource: u32, soft: u64, hard: u64) -> io::Result<()> {
    let limit = libc::rlimit64 { rlim_cur: soft, rlim_max: hard };
    // SAFETY: the kernel reads `limit`, which lives across the call, and writes nothing through the null.
    done(unsafe { libc::prlimit64(pid as libc::pid_t, resource, &raw const limit, std::ptr::null_mut()) }.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    // A thread each: what is set here is the calling thread's alone.
    fn on_a_thread<T: Send>(act: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| scope.spawn(act).join().unwrap())
    }

    #[test]
    fn a_memory_policy_is_of_nodes_that_exist() {
        const BIND: u32 = 2;
        let maps = on_a_thread(|| {
            set_memory_policy(BIND, &[1]).unwrap();
            std::fs::read_to_string("/proc/thread-self/numa_maps").unwrap()
        });
        assert!(maps.contains(" bind:0 "), "{maps}");
        assert!(on_a_thread(|| set_memory_policy(BIND, &[0, 0, 1 << 63])).is_err());
        assert!(on_a_thread(|| set_memory_policy(0, &[])).is_ok());
    }
}
