//! Where the programs under test are.
//!
//! `CARGO_BIN_EXE_*` exists only in the binary's own package. Elsewhere the programs are found by environment
//! (`BERTH_RUNTIME_BIN`, `BERTH_BIN`, `BERTH_PROBE_BIN`) or in the target directory of the test executable, where cargo
//! leaves them; and a program older than its sources is refused, because a test of it would prove nothing.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// The `berth-runtime` under test.
pub fn berth_runtime() -> PathBuf {
    program("BERTH_RUNTIME_BIN", "berth-runtime", "berth-runtime")
}

/// The `berth` under test.
pub fn berth() -> PathBuf {
    program("BERTH_BIN", "berth", "berth-agent")
}

/// The in-container tester. It is linked to the machine's C library; images hold a static one.
pub fn probe() -> PathBuf {
    program("BERTH_PROBE_BIN", "probe", "probe")
}

fn program(variable: &str, name: &str, package: &str) -> PathBuf {
    if let Some(path) = env::var_os(variable) {
        let path = PathBuf::from(path);
        assert!(path.is_file(), "{variable} names `{}`, which is not there", path.display());
        return path;
    }
    let exe = env::current_exe().expect("a test executable has a path");
    // TARGET/PROFILE/deps/test-HASH, or TARGET/PROFILE/examples/…
    let dir = exe.ancestors().nth(2).expect("a test executable is two levels below its profile's directory");
    let path = dir.join(name);
    assert!(path.is_file(), "`{}` is missing: run `cargo build --workspace`, or set {variable}", path.display());
    if let Some(newer) = newer_source(&path, &fs::read_to_string(dir.join(format!("{name}.d"))).unwrap_or_default()) {
        panic!("`{}` is older than `{}`: run `cargo build -p {package}`", path.display(), newer.display());
    }
    path
}

/// The first source in a program's dep-info (`PROGRAM: SOURCE SOURCE …`) that is newer than the program.
fn newer_source(program: &Path, dep_info: &str) -> Option<PathBuf> {
    let built = modified(program)?;
    let (_, sources) = dep_info.lines().next()?.split_once(": ")?;
    // Spaces inside a name are escaped by a backslash.
    let sources = sources.replace("\\ ", "\0");
    let mut sources = sources.split(' ').map(|s| PathBuf::from(s.replace('\0', " ")));
    sources.find(|source| modified(source).is_some_and(|at| at > built))
}

fn modified(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).and_then(|m| m.modified()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_program_older_than_a_source_is_stale() {
        let dir = tempfile::tempdir().expect("make a directory");
        let (program, source) = (dir.path().join("p"), dir.path().join("a b.rs"));
        fs::write(&program, "").expect("write");
        let info = format!("{}: {}", program.display(), source.display().to_string().replace(' ', "\\ "));
        for (age, stale) in [(Duration::from_secs(5), false), (Duration::ZERO, true)] {
            let file = fs::File::create(&source).expect("write");
            let built = modified(&program).expect("built");
            let time = if stale { built + Duration::from_secs(5) } else { built - age };
            file.set_modified(time).expect("set time");
            assert_eq!(newer_source(&program, &info).is_some(), stale);
        }
    }
}
