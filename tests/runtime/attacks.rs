//! What others have done to container runtimes: at least one test for each class, by its first CVE. The table of classes
//! is in docs/threat-model.md. Runtimes older than a class do not pass.

use crate::bundle::Bundle;
use serde_json::json;
use std::ffi::CString;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

/// Swaps two names of a directory over and over while `attack` runs; says how often.
fn while_swapping(dir: &Path, one: &str, other: &str, attack: impl FnOnce()) -> u64 {
    let path = |name: &str| CString::new(dir.join(name).to_str().unwrap()).unwrap();
    let (one, other, done) = (path(one), path(other), AtomicBool::new(false));
    std::thread::scope(|threads| {
        let swapping = threads.spawn(|| {
            let mut swaps = 0;
            while !done.load(Ordering::Relaxed) {
                let here = nix::fcntl::AT_FDCWD;
                let flags = nix::fcntl::RenameFlags::RENAME_EXCHANGE;
                nix::fcntl::renameat2(here, one.as_c_str(), here, other.as_c_str(), flags).unwrap();
                swaps += 1;
            }
            swaps
        });
        // Ends the thread also when the attack's assertions fail.
        struct End<'a>(&'a AtomicBool);
        impl Drop for End<'_> {
            fn drop(&mut self) {
                self.0.store(true, Ordering::Relaxed);
            }
        }
        let end = End(&done);
        attack();
        drop(end);
        swapping.join().unwrap()
    })
}

#[test]
#[ignore = "needs root"]
fn a_mount_point_swapped_for_a_link_leads_no_mount_out_of_the_container() {
    // CVE-2021-30465: a second container changes the shared volume while mounts are made below it.
    let mut bundle = Bundle::new("rt-race");
    let (volume, outside) = (bundle.volume("volume"), bundle.volume("outside"));
    std::fs::create_dir(volume.join("place")).unwrap();
    // The same directory of the host by its absolute name and by climbing from any depth.
    let climb = format!("{}{}", "../".repeat(20), outside.strip_prefix("/").unwrap().display());
    for (i, target) in [outside.to_str().unwrap(), &climb].into_iter().enumerate() {
        std::os::unix::fs::symlink(target, volume.join(format!("link{i}"))).unwrap();
    }
    bundle.mount(json!({"destination": "/v", "type": "bind", "source": volume, "options": ["rbind"]}));
    bundle.mount(json!({"destination": "/v/place/below", "type": "tmpfs", "source": "swapped"}));
    bundle.script(
        "while read -r _ _ _ _ at _ _ _ rest; do case $rest in *swapped*) echo $at;; esac; done < /proc/self/mountinfo",
    );
    let before = bundle.host.run("cat", &["/proc/self/mounts"]);
    let inside = outside.join("below").to_str().unwrap().to_owned();
    let mut seen = std::collections::BTreeSet::new();
    for link in ["link0", "link1"] {
        while_swapping(&volume, "place", link, || {
            for _ in 0..60 {
                let said = bundle.run();
                assert!(said.code == 0 || said.stderr.contains("/v/place/below"), "{}", said.stderr);
                seen.extend(said.stdout.lines().map(str::to_owned));
            }
        });
        let _ = std::fs::rename(volume.join(link), volume.join(format!("used-{link}")));
        if !volume.join("place").exists() {
            std::fs::create_dir(volume.join("place")).unwrap();
        }
    }
    assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 0, "something was made on the host");
    assert_eq!(bundle.host.run("cat", &["/proc/self/mounts"]), before);
    // Below the volume, or where the link leads inside of the container: the test races only if it has seen both.
    let allowed = ["/v/place/below", "/v/link0/below", "/v/link1/below", &inside];
    assert!(seen.iter().all(|at| allowed.contains(&at.as_str())), "{seen:?}");
    assert!(seen.contains(&inside), "the link was never met: {seen:?}");
    bundle.done();
}

#[test]
#[ignore = "needs root"]
fn a_mount_point_swapped_for_a_link_covers_nothing_of_proc() {
    // CVE-2025-52881: what the runtime or a program that confines itself writes to would be the attacker's.
    let mut bundle = Bundle::new("rt-race-proc");
    let volume = bundle.volume("volume");
    std::fs::create_dir(volume.join("place")).unwrap();
    std::os::unix::fs::symlink("/proc/self", volume.join("link")).unwrap();
    bundle.mount(json!({"destination": "/v", "type": "bind", "source": volume, "options": ["rbind"]}));
    bundle.mount(json!({"destination": "/v/place/attr", "type": "tmpfs", "source": "swapped"}));
    bundle.script("grep -c 'swapped /proc' /proc/self/mounts; true");
    let mut refused = 0;
    while_swapping(&volume, "place", "link", || {
        for _ in 0..60 {
            let said = bundle.run();
            match said.code {
                0 => assert_eq!(said.stdout, "0"),
                _ => refused += 1,
            }
        }
    });
    assert!(refused > 0, "the link was never met");
    bundle.done();
}

#[test]
#[ignore = "needs root"]
fn a_link_into_proc_is_no_mount_point() {
    let mut bundle = Bundle::new("rt-link-proc");
    for (name, target) in [("to-attr", "/proc/self/attr"), ("to-proc", "/proc"), ("to-sys", "to-proc/../proc/sys")] {
        std::os::unix::fs::symlink(target, bundle.rootfs().join(name)).unwrap();
        bundle.mount(json!({"destination": format!("/{name}"), "type": "tmpfs", "source": "x"}));
        let said = bundle.script("true").run();
        assert_eq!(said.code, 1, "{name}");
        assert!(said.stderr.contains("cannot be mounted because it is"), "{name}: {}", said.stderr);
        bundle.config["mounts"].as_array_mut().unwrap().pop();
    }
    bundle.done();
}

#[test]
#[ignore = "needs root"]
fn proc_and_sys_are_not_mounted_through_a_link() {
    // CVE-2023-27561, CVE-2019-19921: the masks would be of another place than the file system.
    for name in ["proc", "sys"] {
        let mut bundle = Bundle::new("rt-proc-link");
        std::fs::remove_dir(bundle.rootfs().join(name)).unwrap();
        std::fs::create_dir(bundle.rootfs().join("bad")).unwrap();
        std::os::unix::fs::symlink("/bad", bundle.rootfs().join(name)).unwrap();
        let said = bundle.script("true").run();
        assert_eq!(said.code, 1);
        assert!(said.stderr.contains("must be mounted on ordinary directory"), "{}", said.stderr);
        bundle.done();
    }
}

#[test]
#[ignore = "needs root"]
fn a_file_system_of_the_kernel_moved_away_before_it_is_masked_starts_no_container() {
    // As CVE-2023-27561, by somebody who writes the image's directory from elsewhere: for the host, /proc of the container
    // is an ordinary directory there.
    for (name, at) in [("proc", "proc"), ("sys", "sys"), ("proc", "deep/proc")] {
        let mut bundle = Bundle::new("rt-moved");
        let (old, new) = (bundle.rootfs().join(at), bundle.rootfs().join("moved"));
        if at != name {
            bundle.mount(json!({"destination": format!("/{at}"), "type": name, "source": name}));
            bundle.config["linux"]["maskedPaths"] = json!([format!("/{at}/keys")]);
        }
        let swap = format!("mv {0} {1} && mkdir {0}", old.display(), new.display());
        bundle.config["hooks"]["createRuntime"] = json!([
            {"path": "/bin/sh", "args": ["sh", "-c", swap], "env": ["PATH=/usr/bin:/bin"]}]);
        let said = bundle.script("ls /moved; cat /moved/keys").run();
        assert_eq!((said.code, said.stdout.as_str()), (1, ""), "{at}");
        assert!(said.stderr.contains(&format!("`/{at}`")), "{}", said.stderr);
        bundle.done();
    }
}

#[test]
#[ignore = "needs root"]
fn a_file_system_of_the_kernel_is_masked_where_it_is_when_it_is_moved_and_put_back() {
    let mut bundle = Bundle::new("rt-moving");
    std::fs::create_dir(bundle.rootfs().join("empty")).unwrap();
    bundle.script("for p in /proc /empty; do if test -e $p/keys; then wc -c < $p/keys; fi; done");
    let (mut ran, mut refused) = (0, 0);
    let rootfs = bundle.rootfs();
    while_swapping(&rootfs, "proc", "empty", || {
        for _ in 0..60 {
            let said = bundle.run();
            match said.code {
                0 => {
                    // Both names may be seen to be it, one after the other.
                    assert!(said.stdout.lines().all(|size| size == "0"), "{}", said.stdout);
                    ran += 1;
                }
                _ => refused += 1,
            }
        }
    });
    assert!(ran > 0 && refused > 0, "{ran} have run, {refused} have not");
    bundle.done();
}

/// A bundle with a tmpfs `kept` at /kept, where the volume at /v has a link to.
fn with_kept(name: &str, options: &[&str]) -> (Bundle, std::path::PathBuf) {
    let mut bundle = Bundle::new(name);
    let volume = bundle.volume("volume");
    std::fs::create_dir(volume.join("place")).unwrap();
    std::os::unix::fs::symlink("/kept", volume.join("link")).unwrap();
    bundle.mount(json!({"destination": "/v", "type": "bind", "source": volume, "options": ["rbind"]}));
    bundle.mount(json!({"destination": "/kept", "type": "tmpfs", "source": "kept", "options": options}));
    bundle.script("grep '^kept ' /proc/self/mounts; grep -c '^swapped ' /proc/self/mounts");
    (bundle, volume)
}

#[test]
#[ignore = "needs root"]
fn a_mount_point_swapped_for_a_link_has_no_other_mount_changed() {
    // As CVE-2021-30465, between a mount and a later entry that changes it.
    for options in [json!(["bind", "remount", "ro"]), json!(["remount", "size=64k"])] {
        let (mut bundle, volume) = with_kept("rt-race-remount", &["size=128k"]);
        bundle.mount(json!({"destination": "/v/place", "type": "tmpfs", "source": "swapped"}));
        bundle.mount(json!({"destination": "/v/place", "type": "tmpfs", "options": options}));
        while_swapping(&volume, "place", "link", || {
            for _ in 0..60 {
                let said = bundle.run().ok();
                assert!(said.contains("kept /kept tmpfs rw,relatime,size=128k"), "{said}");
                assert!(said.ends_with("\n1"), "{said}");
            }
        });
        bundle.done();
    }
}

#[test]
#[ignore = "needs root"]
fn a_mount_with_long_options_is_not_looked_for_by_its_name() {
    let (mut bundle, volume) = with_kept("rt-race-long", &[]);
    let lower = bundle.volume("lower");
    let lower = ["a", "b"].map(|name| lower.join(name.repeat(150)));
    lower.iter().for_each(|dir| std::fs::create_dir(dir).unwrap());
    let lower = format!("lowerdir={}:{}", lower[0].display(), lower[1].display());
    bundle.mount(
        json!({"destination": "/v/place", "type": "overlay", "source": "swapped", "options": [lower, "rnodev"]}),
    );
    while_swapping(&volume, "place", "link", || {
        for _ in 0..60 {
            let said = bundle.run().ok();
            assert!(said.contains("kept /kept tmpfs rw,relatime"), "{said}");
            assert!(said.ends_with("\n1"), "{said}");
        }
    });
    bundle.done();
}

#[test]
#[ignore = "needs root"]
fn a_parameter_is_set_in_the_kernel_and_not_where_the_containers_proc_is() {
    // CVE-2019-16884: what should be the kernel's is a directory of the image.
    let mut bundle = Bundle::new("rt-fake-proc");
    bundle.config["mounts"][0]["destination"] = json!("/kernel");
    std::fs::create_dir_all(bundle.rootfs().join("proc/sys/kernel")).unwrap();
    let fake = bundle.rootfs().join("proc/sys/kernel/msgmax");
    std::fs::write(&fake, "").unwrap();
    bundle.config["linux"]["sysctl"] = json!({"kernel.msgmax": "4096"});
    assert_eq!(bundle.sh("cat /kernel/sys/kernel/msgmax"), "4096");
    assert_eq!(std::fs::read_to_string(fake).unwrap(), "");
    bundle.done();
}

#[test]
#[ignore = "needs root"]
fn a_link_in_place_of_the_null_device_neither_masks_with_its_target_nor_opens_it() {
    // CVE-2025-31133: what stands at /dev/null when paths are masked would be mounted over them.
    let mut bundle = Bundle::new("rt-null");
    bundle.config["mounts"].as_array_mut().unwrap().drain(1..3);
    std::fs::write(bundle.rootfs().join("etc/target"), "not masked\n").unwrap();
    std::os::unix::fs::symlink("/etc/target", bundle.rootfs().join("dev/null")).unwrap();
    let said = bundle.script("cat /proc/keys").run();
    assert_eq!((said.code, said.stdout.as_str()), (1, ""), "a link is taken for the null device");
    // And where /dev is bound, so that nobody looks at the devices in it.
    bundle.mount(json!({"destination": "/dev", "type": "bind", "source": "rootfs/dev", "options": ["bind"]}));
    assert_eq!(bundle.sh("cat /proc/keys; wc -c < /proc/keys"), "0");
    bundle.done();
}

#[test]
#[ignore = "needs root"]
fn a_link_in_place_of_the_console_leads_no_terminal_to_another_file() {
    // CVE-2025-52565: a file of /proc would get the terminal as a cover before it is masked or protected.
    let mut bundle = Bundle::new("rt-console-link");
    bundle.config["mounts"].as_array_mut().unwrap().remove(1);
    std::os::unix::fs::symlink("/proc/sys/kernel/core_pattern", bundle.rootfs().join("dev/console")).unwrap();
    bundle.config["process"]["terminal"] = json!(true);
    let socket = bundle.host.dir().join("socket");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let said = bundle.script("true").create_with(&["--console-socket", socket.to_str().unwrap()]);
    assert_eq!(said.code, 1);
    assert!(said.stderr.contains("/dev/console"), "{}", said.stderr);
    bundle.assert_clean();
}

#[test]
#[ignore = "needs root"]
fn a_program_inherits_no_descriptor_and_no_key_of_the_host() {
    // CVE-2024-21626. Descriptors of the caller's that are not close-on-exec are no less of the host.
    let mut bundle = Bundle::new("rt-inherit");
    bundle.config["linux"]["maskedPaths"] = json!([]);
    let leak = leaked();
    // The directory that is listed is open itself, as one more.
    assert_eq!(bundle.sh("ls /proc/self/fd"), "0\n1\n2\n3");
    bundle.started();
    assert_eq!(bundle.verb(&["exec", "c", "ls", "/proc/self/fd"]).ok(), "0\n1\n2\n3");
    drop(leak);
    bundle.done();
}

/// The host's root directory, open for whatever this process starts.
fn leaked() -> std::fs::File {
    let leak = std::fs::File::open("/").unwrap();
    nix::fcntl::fcntl(&leak, nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::empty())).unwrap();
    leak
}

#[test]
#[ignore = "needs root"]
fn a_working_directory_through_a_descriptor_of_the_host_is_refused() {
    // CVE-2024-21626, of a descriptor that is certainly there.
    let mut bundle = Bundle::new("rt-cwd-leak");
    let leak = leaked();
    for number in (0..20).chain([leak.as_raw_fd()]) {
        bundle.config["process"]["cwd"] = json!(format!("/proc/self/fd/{number}"));
        let said = bundle.script("cat etc/shadow ../../../../../../etc/shadow; pwd").run();
        assert_ne!(said.code, 0, "{number}: {}", said.stdout);
        assert_eq!(said.stdout, "", "{number}");
    }
    bundle.done();
}

#[test]
#[ignore = "needs root"]
fn a_program_is_not_looked_up_through_a_descriptor_of_the_host() {
    // CVE-2024-21626: its name, PATH and the interpreter of a script are looked up by a process that was the runtime's.
    let mut bundle = Bundle::new("rt-program-leak");
    let outside = bundle.volume("outside");
    std::fs::copy("/bin/busybox", outside.join("echo")).unwrap();
    let leak = leaked();
    let below = outside.strip_prefix("/").unwrap().display().to_string();
    // From any directory of the host's, such as a control group's, up to its root and down.
    let climb = "../".repeat(20);
    let numbers: Vec<i32> = (3..16).chain([leak.as_raw_fd()]).collect();
    for number in &numbers {
        let script = bundle.rootfs().join(format!("bin/script{number}"));
        std::fs::write(&script, format!("#!/proc/self/fd/{number}/{climb}{below}/echo escaped\n")).unwrap();
        std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    }
    let commands = numbers.iter().flat_map(|number| {
        let dir = format!("/proc/self/fd/{number}/{climb}{below}");
        let [search, name] = [format!("PATH={dir}"), format!("{dir}/echo")];
        [("PATH=/bin".into(), name), (search, "echo".to_owned()), ("PATH=/bin".into(), format!("script{number}"))]
    });
    let commands: Vec<(String, String)> = commands.collect();
    for (path, name) in &commands {
        bundle.config["process"]["env"] = json!([path]);
        bundle.config["process"]["args"] = json!([name, "escaped"]);
        let said = bundle.run();
        assert_ne!(said.code, 0, "{path} {name}: {}", said.stdout);
        assert_eq!(said.stdout, "", "{path} {name}");
    }
    bundle.config["process"]["env"] = json!(["PATH=/bin"]);
    bundle.started();
    for (path, name) in &commands {
        let said = bundle.verb(&["exec", "--env", path, "c", name, "escaped"]);
        assert_ne!(said.code, 0, "exec, {path} {name}: {}", said.stdout);
        assert_eq!(said.stdout, "", "exec, {path} {name}");
    }
    drop(leak);
    bundle.done();
}

#[test]
#[ignore = "needs root"]
fn a_script_interpreted_by_the_runtime_itself_cannot_write_it() {
    // CVE-2019-5736: the runtime's program runs in the container, where a handle to it outlives it.
    let mut bundle = Bundle::new("rt-interpreter");
    let copy = bundle.host.dir().join("runtime");
    std::fs::copy(berth_test_host::berth_runtime(), &copy).unwrap();
    // Says nothing of one that is static, and fails.
    let needed = berth_test_host::output(bundle.host.command("ldd").arg(&copy)).stdout;
    for library in String::from_utf8(needed).unwrap().split_whitespace() {
        if let Some(path) = library.strip_prefix('/') {
            let inside = bundle.rootfs().join(path);
            std::fs::create_dir_all(inside.parent().unwrap()).unwrap();
            std::fs::copy(library, inside).unwrap();
        }
    }
    // The unknown verb is an error, and the log that it is written to keeps the runtime waiting for a reader.
    bundle.host.run("mkfifo", &[bundle.rootfs().join("data/log").to_str().unwrap()]);
    let script = bundle.rootfs().join("bin/trap");
    std::fs::write(&script, "#!/proc/self/exe --log=/data/log\n").unwrap();
    std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    bundle.started();
    let mut exec = bundle.host.command(&copy);
    exec.args(["--root", "/run/runtime", "exec", "c", "/bin/trap"]);
    let trap = bundle.host.spawn(&mut exec);
    // Until it has become the program it cannot be looked at, and has no readable name.
    let writer = "for i in $(seq 20000); do for p in /proc/[0-9]*; do case $(readlink $p/exe) in '' | /bin/busybox) ;; \
                  *) met=met; break 2;; esac; done; done; exec 9<$p/exe; cat /data/log >/dev/null; \
                  while test -e $p/exe; do :; done; { echo pwned >/proc/self/fd/9; } 2>/dev/null && echo WROTE || echo $met kept";
    assert_eq!(bundle.verb(&["exec", "c", "sh", "-c", writer]).ok(), "met kept");
    drop(trap);
    assert!(std::fs::read(&copy).unwrap() == std::fs::read(berth_test_host::berth_runtime()).unwrap());
    bundle.done();
}
