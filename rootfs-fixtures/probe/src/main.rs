//! Does inside a test container what a shell's own tools cannot.
//!
//! `probe notify MESSAGE` tells the service manager MESSAGE, as sd_notify(3) does.

use std::os::unix::net::UnixDatagram;
use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let result = match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["notify", message] => notify(message),
        // What images are tested with that need any program at all.
        [] => Ok(()),
        _ => Err(std::io::Error::other("usage: probe notify MESSAGE")),
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
