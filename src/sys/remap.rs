//! Exchanges, in a running process, the file that its program is mapped from: for the same file by another mount.
//!
//! `/proc/PID/exe` is a field of the process's memory (`mm->exe_file`) that prctl(2) sets (`PR_SET_MM_MAP`, with
//! `CAP_SYS_ADMIN` or, from Linux 5.9, `CAP_CHECKPOINT_RESTORE`; kernels built with `CONFIG_CHECKPOINT_RESTORE`, as those
//! of distributions are) once nothing is mapped from the old file any more. That takes about fifteen system calls, where
//! executing the file again takes a new address space, the start of the C library and, in a virtual machine, a hundred
//! exits to the hypervisor for its `cpuid` instructions.
//!
//! ```text
//! segments of the program (as it was loaded)
//!   not writable ─→ mapped again in place, from the new file: the same bytes
//!   writable ─────→ copied to anonymous memory, which is moved to their place
//! then mm->exe_file ─→ the new file
//! ```
//! Every step leaves a process that runs, and who is not told `Ok` has the old file in `/proc/self/exe`; with one exception,
//! want of memory in the kernel itself while a segment is replaced, which ends the process before it has done anything.

use super::clone::single_threaded;
use super::procfs;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::AsRawFd;

/// A loadable part of the program, in whole pages.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Segment {
    /// Addresses of what is mapped from the file; zeroed memory that follows is not.
    pages: Range<usize>,
    /// Where that begins in the file.
    offset: u64,
    /// `PROT_*` that it was loaded with.
    protection: i32,
}

/// Where the program is in memory.
#[derive(Debug, Default)]
struct Layout {
    segments: Vec<Segment>,
    /// Writable while the program was started, and no more.
    read_only_after_start: Option<Range<usize>>,
}

/// Maps this process's program from `file`, which must be its own by another mount, and makes that `/proc/self/exe`.
///
/// # Errors
/// `EBUSY` when this process has more than one thread; else what mmap(2), mremap(2) and `PR_SET_MM_MAP` say.
pub(super) fn run_from(file: &File) -> io::Result<()> {
    if !single_threaded()? {
        return Err(io::Error::from_raw_os_error(libc::EBUSY));
    }
    let map = MemoryMap::read(file.as_raw_fd())?;
    let layout = layout();
    for segment in &layout.segments {
        match segment.protection & libc::PROT_WRITE {
            0 => map_again(segment, file)?,
            _ => copy(segment, layout.read_only_after_start.as_ref())?,
        }
    }
    map.set()
}

/// The program's own segments, as the kernel and the C library have loaded them.
fn layout() -> Layout {
    unsafe extern "C" fn first(info: *mut libc::dl_phdr_info, _: usize, layout: *mut libc::c_void) -> i32 {
        // SAFETY: dl_iterate_phdr gives a valid description, which lives during the callback.
        let info = unsafe { &*info };
        // SAFETY: as many headers as it says, which stay mapped as long as the program does.
        let headers = unsafe { std::slice::from_raw_parts(info.dlpi_phdr, usize::from(info.dlpi_phnum)) };
        // SAFETY: what `layout` below hands over: a local that nobody else borrows meanwhile.
        let layout = unsafe { &mut *layout.cast::<Layout>() };
        let base = info.dlpi_addr as usize;
        let headers = headers.iter().map(|h| Header {
            kind: h.p_type,
            flags: h.p_flags,
            offset: h.p_offset,
            address: base + h.p_vaddr as usize,
            in_file: h.p_filesz as usize,
            in_memory: h.p_memsz as usize,
        });
        *layout = layout_of(headers, page_size());
        // The program itself is the first; libraries are of no interest.
        1
    }
    let mut layout = Layout::default();
    // SAFETY: the callback has the type asked for and does not unwind (it neither indexes nor unwraps); the pointer is
    // to a local that lives across the call.
    unsafe { libc::dl_iterate_phdr(Some(first), (&raw mut layout).cast()) };
    layout
}

/// What counts of a program header, elf(5).
struct Header {
    kind: u32,
    flags: u32,
    offset: u64,
    address: usize,
    in_file: usize,
    in_memory: usize,
}

fn layout_of(headers: impl Iterator<Item = Header>, page: usize) -> Layout {
    let down = |address: usize| address & !(page - 1);
    let mut layout = Layout::default();
    for h in headers {
        match h.kind {
            libc::PT_LOAD if h.in_file > 0 => {
                let flag = |flag, protection| if h.flags & flag != 0 { protection } else { 0 };
                layout.segments.push(Segment {
                    pages: down(h.address)..down(h.address + h.in_file + page - 1),
                    offset: h.offset & !(page as u64 - 1),
                    protection: flag(libc::PF_R, libc::PROT_READ)
                        | flag(libc::PF_W, libc::PROT_WRITE)
                        | flag(libc::PF_X, libc::PROT_EXEC),
                });
            }
            libc::PT_GNU_RELRO => layout.read_only_after_start = Some(down(h.address)..down(h.address + h.in_memory)),
            _ => {}
        }
    }
    layout
}

fn page_size() -> usize {
    // SAFETY: sysconf takes an integer and reads no memory of ours.
    usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(4096)
}

/// Maps a segment that nobody writes to again where it is.
fn map_again(segment: &Segment, file: &File) -> io::Result<()> {
    let offset = libc::off_t::try_from(segment.offset).map_err(io::Error::other)?;
    let length = segment.pages.len();
    let flags = libc::MAP_PRIVATE | libc::MAP_FIXED;
    // SAFETY: replaces pages of our own program, which no Rust value owns, by the same bytes of the same inode at the
    // same addresses: the kernel refuses writes to a file that is executed (ETXTBSY), and relocations are only in
    // segments that are writable. The one thread there is resumes after the call in a page that reads as before. A
    // refusal comes before anything is unmapped, but for want of memory in the kernel itself, which ends the process
    // here, before it has done anything.
    let mapped =
        unsafe { libc::mmap(at(segment.pages.start), length, segment.protection, flags, file.as_raw_fd(), offset) };
    if mapped == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Puts a copy of a segment, which is of no file, in its place.
fn copy(segment: &Segment, read_only: Option<&Range<usize>>) -> io::Result<()> {
    let (place, length) = (at(segment.pages.start), segment.pages.len());
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: new memory, at a place where nothing is.
    let new = unsafe { libc::mmap(std::ptr::null_mut(), length, segment.protection, flags, -1, 0) };
    if new == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: whole readable pages to as many bytes of new memory. Read as bytes, whatever values they hold.
    unsafe { std::ptr::copy_nonoverlapping(place.cast::<u8>(), new.cast::<u8>(), length) };
    // SAFETY: puts the copy in the place of what it is a copy of, so that what points there still does. Nothing has
    // written to the segment in between: there is one thread, and the calls above write to the stack and, on failure, to
    // errno, which is in thread-local storage, on neither side.
    let moved = unsafe { libc::mremap(new, length, length, libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED, place) };
    if moved == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    let Some(pages) = read_only.and_then(|pages| overlap(pages, &segment.pages)) else { return Ok(()) };
    // SAFETY: the pages are within the segment just moved, and nobody has been able to write to them since the program
    // was started: the C library had protected them as they are now again.
    match unsafe { libc::mprotect(at(pages.start), pages.len(), libc::PROT_READ) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn overlap(a: &Range<usize>, b: &Range<usize>) -> Option<Range<usize>> {
    let both = a.start.max(b.start)..a.end.min(b.end);
    (!both.is_empty()).then_some(both)
}

fn at(address: usize) -> *mut libc::c_void {
    std::ptr::with_exposed_provenance_mut(address)
}

/// `struct prctl_mm_map` of linux/prctl.h.
#[repr(C)]
#[derive(Debug, Default)]
struct MemoryMap {
    start_code: u64,
    end_code: u64,
    start_data: u64,
    end_data: u64,
    start_brk: u64,
    brk: u64,
    start_stack: u64,
    arg_start: u64,
    arg_end: u64,
    env_start: u64,
    env_end: u64,
    auxv: u64,
    auxv_size: u32,
    exe_fd: u32,
}

impl MemoryMap {
    /// As it is now, but for the program's file, which is `exe`.
    fn read(exe: i32) -> io::Result<Self> {
        let stat = procfs::read("/proc/self/stat")?;
        let malformed = || io::Error::new(io::ErrorKind::InvalidData, "malformed /proc/self/stat");
        // SAFETY: brk(2) with an address that cannot be moves nothing and gives the present one.
        let brk = unsafe { libc::syscall(libc::SYS_brk, 0) };
        let map = Self { brk: brk as u64, exe_fd: exe as u32, ..Self::parse(&stat).ok_or_else(malformed)? };
        Ok(map)
    }

    /// From fields that proc_pid_stat(5) counts from 1.
    fn parse(stat: &str) -> Option<Self> {
        let fields: Vec<&str> = procfs::stat_fields(stat)?.collect();
        let field = |number: usize| fields.get(number - 3)?.parse().ok();
        Some(Self {
            start_code: field(26)?,
            end_code: field(27)?,
            start_stack: field(28)?,
            start_data: field(45)?,
            end_data: field(46)?,
            start_brk: field(47)?,
            arg_start: field(48)?,
            arg_end: field(49)?,
            env_start: field(50)?,
            env_end: field(51)?,
            ..Self::default()
        })
    }

    fn set(&self) -> io::Result<()> {
        // SAFETY: the kernel reads a prctl_mm_map of the size given during the call. All addresses are those it has
        // itself reported, so that nothing but the file changes.
        let set = unsafe {
            libc::prctl(libc::PR_SET_MM, libc::PR_SET_MM_MAP, std::ptr::from_ref(self), size_of::<Self>(), 0)
        };
        if set == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_are_whole_pages_of_what_the_file_holds() {
        let header = |kind, flags, offset, address, in_file, in_memory| Header {
            kind,
            flags,
            offset,
            address,
            in_file,
            in_memory,
        };
        let headers = [
            header(libc::PT_LOAD, libc::PF_R, 0, 0x20_0000, 0x1234, 0x1234),
            header(libc::PT_LOAD, libc::PF_R | libc::PF_X, 0x1700, 0x20_2700, 0x1000, 0x1000),
            header(libc::PT_LOAD, libc::PF_R | libc::PF_W, 0x2c10, 0x20_4c10, 0x20, 0x9000),
            header(libc::PT_LOAD, libc::PF_R | libc::PF_W, 0x3000, 0x30_0000, 0, 0x9000),
            header(libc::PT_GNU_RELRO, libc::PF_R, 0x2c10, 0x20_4c10, 0x20, 0x13f0),
        ];
        let layout = layout_of(headers.into_iter(), 0x1000);
        let of = |pages, offset, protection| Segment { pages, offset, protection };
        assert_eq!(
            layout.segments,
            [
                of(0x20_0000..0x20_2000, 0, libc::PROT_READ),
                of(0x20_2000..0x20_4000, 0x1000, libc::PROT_READ | libc::PROT_EXEC),
                of(0x20_4000..0x20_5000, 0x2000, libc::PROT_READ | libc::PROT_WRITE),
            ]
        );
        assert_eq!(layout.read_only_after_start, Some(0x20_4000..0x20_6000));
        assert_eq!(overlap(&(0x20_4000..0x20_6000), &layout.segments[2].pages), Some(0x20_4000..0x20_5000));
        assert_eq!(overlap(&(0..1), &layout.segments[2].pages), None);
    }

    #[test]
    fn this_program_is_laid_out_as_the_kernel_has_mapped_it() {
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let mapped = |address: usize| {
            maps.lines().any(|line| {
                let (from, to) = line.split(' ').next().unwrap().split_once('-').unwrap();
                let number = |text| usize::from_str_radix(text, 16).unwrap();
                (number(from)..number(to)).contains(&address)
            })
        };
        let layout = layout();
        assert!(layout.segments.len() >= 2);
        assert!(layout.segments.iter().all(|s| mapped(s.pages.start) && mapped(s.pages.end - 1)));
        assert!(layout.segments.iter().any(|s| s.protection & libc::PROT_EXEC != 0));
    }

    #[test]
    fn the_memory_map_is_read_whatever_the_program_is_called() {
        let numbers: Vec<String> = (3..=52).map(|n| n.to_string()).collect();
        let map = MemoryMap::parse(&format!("7 (a) b (c)) {}", numbers.join(" "))).unwrap();
        assert_eq!((map.start_code, map.end_code, map.start_stack), (26, 27, 28));
        assert_eq!((map.start_data, map.end_data, map.start_brk), (45, 46, 47));
        assert_eq!((map.arg_start, map.arg_end, map.env_start, map.env_end), (48, 49, 50, 51));
        assert!(MemoryMap::parse("7 (a) 3 4").is_none());
    }

    #[test]
    fn a_process_with_threads_is_left_alone() {
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        let other = std::thread::spawn(move || stopped.recv());
        let file = File::open("/proc/self/exe").unwrap();
        assert_eq!(run_from(&file).unwrap_err().raw_os_error(), Some(libc::EBUSY));
        drop(stop);
        let _ = other.join();
    }
}
