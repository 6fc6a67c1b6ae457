//! Labels of security modules: AppArmor's profile and SELinux's context of a process, and the context of its keyring.
//!
//! ```text
//! worker                         process of the container
//! check: is there a module? ──→  open, in the host's /proc ─→ namespaces, mounts, root ─→ settle ─→ ... ─→ execve
//! ```
//! The kernel takes the label of the program to come from a file of /proc that only the process itself can write. A
//! container's /proc may be anything, even a file that swallows the label (CVE-2019-16884) or one that does harm when it
//! is written (CVE-2025-52881): so the file is opened while the host's /proc is in sight, without following a link or
//! entering another mount, and kept until it is written. That is late, so that what runs in between is not labelled, but
//! before anything that might forbid it.

use crate::errno::{OpContext, OpError};
use crate::spec::{Process, SpecError};
use crate::sys::path::open_plain;
use nix::fcntl::{OFlag, readlinkat};
use nix::sys::stat::Mode;
use nix::sys::statfs::{FsType, PROC_SUPER_MAGIC, fstatfs, statfs};
use std::ffi::{CString, OsStr};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// SELINUX_MAGIC.
const SELINUXFS: FsType = FsType(0xF97C_FF8C);

/// Refuses labels of a module that this machine does not have. `mount` is the label of the container's file systems.
pub fn check(process: &Process, mount: Option<&CString>) -> Result<(), SpecError> {
    if let Some(profile) = &process.apparmor_profile
        && !apparmor()
    {
        return refuse("process.apparmorProfile", profile, "apparmor is not enabled on this host");
    }
    for (field, label) in [("process.selinuxLabel", process.selinux_label.as_ref()), ("linux.mountLabel", mount)] {
        if let Some(label) = label
            && !selinux()
        {
            return refuse(field, label, "selinux is disabled or not supported on this host");
        }
    }
    Ok(())
}

fn refuse(field: &str, label: &CString, problem: &str) -> Result<(), SpecError> {
    Err(SpecError { field: field.into(), problem: format!("got `{}`, but {problem}", label.to_string_lossy()) })
}

fn apparmor() -> bool {
    std::fs::read("/sys/module/apparmor/parameters/enabled").is_ok_and(|text| text.starts_with(b"Y"))
}

fn selinux() -> bool {
    statfs("/sys/fs/selinux").is_ok_and(|found| found.filesystem_type() == SELINUXFS)
}

/// Labels of this process that wait to be written.
#[derive(Debug, Default)]
pub struct Labels {
    apparmor: Option<(File, CString)>,
    selinux: Option<(File, CString)>,
}

impl Labels {
    /// Opens what is to be written for `process`, which is this one. The host's /proc must be in sight.
    pub fn open(process: &Process) -> Result<Self, OpError> {
        let mut labels = Self::default();
        if let Some(profile) = &process.apparmor_profile {
            let file = match attribute("apparmor/exec") {
                // Kernels before 5.8 have one file for all modules.
                Err(e) if e.kind() == io::ErrorKind::NotFound => attribute("exec"),
                other => other,
            };
            labels.apparmor = Some((file.op("open for the apparmor profile", shown(profile))?, profile.clone()));
        }
        if let Some(label) = &process.selinux_label {
            labels.selinux = Some((attribute("exec").op("open for the selinux label", shown(label))?, label.clone()));
        }
        Ok(labels)
    }

    /// The program that this process executes next gets the labels.
    pub fn settle(self) -> Result<(), OpError> {
        if let Some((mut file, profile)) = self.apparmor {
            let text = [b"exec ", profile.to_bytes()].concat();
            let written = match file.write_all(&text) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => {
                    Err(io::Error::new(e.kind(), "no such profile is loaded"))
                }
                other => other,
            };
            written.op("apply apparmor profile", shown(&profile))?;
        }
        if let Some((mut file, label)) = self.selinux {
            file.write_all(label.to_bytes()).op("apply selinux label", shown(&label))?;
        }
        Ok(())
    }
}

/// Makes a keyring by `make` that has the SELinux label of `process`, which is this one, where it has one. As for
/// [`Labels::open`] the host's /proc must be in sight.
pub fn keyring<T>(process: &Process, make: impl FnOnce() -> io::Result<T>) -> Result<io::Result<T>, OpError> {
    let Some(label) = &process.selinux_label else { return Ok(make()) };
    let mut file = match attribute("keycreate") {
        // A kernel without keyrings.
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(make()),
        other => other.op("open for the selinux label", shown(label))?,
    };
    file.write_all(label.to_bytes()).op("label the keyring", shown(label))?;
    let made = make();
    // Nothing takes it back.
    nix::unistd::write(&file, b"").op("label no more keyrings", shown(label))?;
    Ok(made)
}

fn shown(label: &CString) -> &OsStr {
    OsStr::from_bytes(label.to_bytes())
}

/// Opens an attribute of this process for writing, in the kernel's own file system and no other.
fn attribute(name: &str) -> io::Result<File> {
    let proc: OwnedFd =
        nix::fcntl::open("/proc", OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?;
    if fstatfs(&proc)?.filesystem_type() != PROC_SUPER_MAGIC {
        return Err(io::Error::other("/proc is not a proc file system"));
    }
    // `thread-self` is a link: what it says is looked up as the plain path that it is.
    let own = readlinkat(&proc, "thread-self")?;
    let path = Path::new(&own).join("attr").join(name);
    open_plain(&proc, &path, libc::O_WRONLY).map(File::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process() -> Process {
        let document =
            br#"{"ociVersion": "1.0.2", "root": {"path": "r"}, "process": {"args": ["/bin/true"], "cwd": "/"},
            "linux": {"namespaces": [{"type": "mount"}]}}"#;
        crate::spec::parse(document).unwrap().process.unwrap()
    }

    #[test]
    fn a_process_without_labels_asks_nothing_of_the_machine() {
        let process = process();
        check(&process, None).unwrap();
        Labels::open(&process).unwrap().settle().unwrap();
        assert_eq!(keyring(&process, || Ok(7)).unwrap().unwrap(), 7);
    }

    #[test]
    fn a_label_of_a_module_that_is_not_there_is_refused_by_field() {
        let mut labelled = process();
        labelled.selinux_label = Some(c"system_u:system_r:container_t:s0".to_owned());
        labelled.apparmor_profile = Some(c"none".to_owned());
        let refused = check(&labelled, None).map_err(|e| e.field);
        // Machines have one of them at most.
        assert!(matches!(
            refused.as_ref().map_err(String::as_str),
            Err("process.apparmorProfile" | "process.selinuxLabel")
        ));
    }

    #[test]
    fn an_attribute_is_the_kernels_file_of_this_very_thread() {
        use std::os::unix::fs::MetadataExt;
        // Every kernel with any module has it; one without says that it is not there.
        let own = std::fs::metadata("/proc/thread-self/attr/exec").ok().map(|own| own.ino());
        let file = attribute("exec").ok();
        assert_eq!(file.as_ref().map(|file| file.metadata().unwrap().ino()), own);
        let kind = file.map(|file| fstatfs(&file).unwrap().filesystem_type());
        assert_eq!(kind, own.map(|_| PROC_SUPER_MAGIC));
    }
}
