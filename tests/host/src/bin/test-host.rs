//! Starts a test host for programs that are not written in Rust, and keeps it until its standard input closes.
//!
//! Prints one line of JSON: `{"pid": …, "dir": …}`. Programs go in by `nsenter --target PID --all`.

use berth_test_host::TestHost;
use std::io::Read as _;

fn main() {
    let name = std::env::args().nth(1).unwrap_or_else(|| "host".into());
    let host = TestHost::new(&name);
    println!("{}", serde_json::json!({ "pid": host.pid(), "dir": host.dir() }));
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
}
