//! How the allocator treats memory that was used once.

/// Allocations from this size on are mappings of their own, in bytes.
const OWN_MAPPING: libc::c_int = 32 * 1024;

/// Unused memory at the top of the heap beyond this goes back to the kernel, in bytes.
const KEPT: libc::c_int = 16 * 1024;

/// Gives unused memory back to the kernel, also from within the heap. A few microseconds; for the moment when a busy
/// time is over. Does nothing with another C library.
pub fn give_back_now() {
    #[cfg(target_env = "gnu")]
    // SAFETY: takes an integer and works on glibc's malloc under its own lock; memory in use stays where it is.
    unsafe {
        libc::malloc_trim(0)
    };
}

/// Makes all threads allocate from the one heap there is, for those that hardly do: by default each gets one of its own,
/// for a reservation of 128 MiB, four system calls and two new pages. Does nothing with another C library.
pub fn one_heap() {
    #[cfg(target_env = "gnu")]
    // SAFETY: takes two integers and changes a field of glibc's malloc under its own lock.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1)
    };
}

/// Makes the allocator give memory back as soon as it is free. For processes that rest for weeks after a short busy
/// time, of which there are many.
///
/// By default glibc raises its threshold for mappings to the size of the largest one that was freed, so that after the
/// first large buffer all later ones come from the heap, are cleared there, and stay resident. Does nothing with
/// another C library.
pub fn give_back_early() {
    #[cfg(target_env = "gnu")]
    for (parameter, value) in [(libc::M_MMAP_THRESHOLD, OWN_MAPPING), (libc::M_TRIM_THRESHOLD, KEPT)] {
        // SAFETY: takes two integers and changes fields of glibc's malloc under its own lock.
        unsafe { libc::mallopt(parameter, value) };
    }
}
