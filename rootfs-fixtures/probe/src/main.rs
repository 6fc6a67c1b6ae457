//! Does inside a test container what a shell's own tools cannot.
//!
//! `probe notify MESSAGE` tells the service manager MESSAGE, as sd_notify(3) does.
//! `probe call WIDTH:NUMBER[:ARGUMENT]... ...` makes system calls by number, of 64 bits or by the gate that 32-bit
//! programs use, and prints a line for each: what the kernel gave back, an error as its negative number.
//! `probe outlived` ends its first thread while another goes on until the process is killed.

use std::os::unix::net::UnixDatagram;
use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let result = match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["notify", message] => notify(message),
        ["outlived"] => outlived(),
        ["call", ref calls @ ..] => calls.iter().try_for_each(|text| report(text)).map_err(std::io::Error::other),
        // What images are tested with that need any program at all.
        [] => Ok(()),
        _ => Err(std::io::Error::other(
            "usage: probe notify MESSAGE | probe outlived | probe call WIDTH:NUMBER[:ARGUMENT]...",
        )),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("probe: {e}");
            ExitCode::FAILURE
        }
    }
}

fn notify(message: &str) -> std::io::Result<()> {
    let path = std::env::var_os("NOTIFY_SOCKET").ok_or_else(|| std::io::Error::other("NOTIFY_SOCKET is not set"))?;
    UnixDatagram::unbound()?.send_to(message.as_bytes(), path).map(drop)
}

fn outlived() -> std::io::Result<()> {
    std::thread::Builder::new().spawn(|| {
        loop {
            std::thread::park();
        }
    })?;
    // Of this thread alone.
    call(nix::libc::SYS_exit as u64, [0; 6]);
    Ok(())
}

fn report(text: &str) -> Result<(), String> {
    let words: Vec<u64> = text
        .split(':')
        .map(|word| word.parse().map_err(|_| format!("`{word}` in `{text}` is not a number")))
        .collect::<Result<_, _>>()?;
    let [width, number, args @ ..] = words.as_slice() else { return Err(format!("`{text}` names no call")) };
    let mut six = [0; 6];
    six.get_mut(..args.len()).ok_or_else(|| format!("`{text}` has too many arguments"))?.copy_from_slice(args);
    let result = match width {
        64 => call(*number, six),
        32 => call_32(*number, six)?,
        _ => return Err(format!("`{text}`: a call is of 64 or 32 bits")),
    };
    println!("{result}");
    Ok(())
}

fn call(number: u64, args: [u64; 6]) -> i64 {
    let [a, b, c, d, e, f] = args;
    // SAFETY: whatever the call does it does to this process, which only prints its result and ends; the arguments of
    // the tests are numbers that no call can take for memory of ours.
    match unsafe { nix::libc::syscall(number as i64, a, b, c, d, e, f) } {
        -1 => -i64::from(nix::Error::last_raw()),
        result => result,
    }
}

#[cfg(target_arch = "x86_64")]
fn call_32(number: u64, args: [u64; 6]) -> Result<i64, String> {
    let [a, b, c, d, e, _] = args;
    let result: i32;
    // SAFETY: the gate keeps all registers but eax, where the result is; rbx, which the compiler keeps for itself, is put
    // back. As for `call`, no argument is memory of ours.
    unsafe {
        std::arch::asm!(
            "xchg {b}, rbx",
            "int 0x80",
            "xchg {b}, rbx",
            b = inout(reg) a => _,
            inlateout("eax") number as u32 => result,
            in("ecx") b as u32,
            in("edx") c as u32,
            in("esi") d as u32,
            in("edi") e as u32,
            lateout("r8") _,
            lateout("r9") _,
            lateout("r10") _,
            lateout("r11") _,
        );
    }
    Ok(result.into())
}

#[cfg(not(target_arch = "x86_64"))]
fn call_32(_: u64, _: [u64; 6]) -> Result<i64, String> {
    Err("this machine has no gate for calls of 32 bits".into())
}
