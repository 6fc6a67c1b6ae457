//! What a container sees of files.

use crate::bundle::Bundle;
use berth_test_host::TestHost;
use serde_json::{Value, json};

fn add(bundle: &mut Bundle, mount: Value) {
    bundle.config["mounts"].as_array_mut().unwrap().push(mount);
}

#[test]
#[ignore = "needs root"]
fn a_read_only_root_cannot_be_written() {
    let mut bundle = Bundle::new("rt-ro");
    bundle.config["root"]["readonly"] = json!(true);
    assert_eq!(bundle.sh("touch /file 2>/dev/null || echo no; touch /dev/file && echo yes"), "no\nyes");
    bundle.done();
}

#[test]
#[ignore = "needs root"]
fn default_devices_and_links_are_there_and_work() {
    let mut bundle = Bundle::new("rt-dev");
    let said = bundle.sh(
        "for d in null zero full random urandom tty; do test -c /dev/$d && echo $d; done; \
         echo x > /dev/null; head -c 4 /dev/zero | wc -c; for l in stdin fd ptmx; do readlink /dev/$l; done; test -c /dev/ptmx && echo pty",
    );
    let expected = "null zero full random urandom tty 4 /proc/self/fd/0 /proc/self/fd pts/ptmx pty";
    assert_eq!(said.lines().collect::<Vec<_>>().join(" "), expected);
    bundle.done();
}

#[test]
#[ignore = "needs root"]
fn a_device_of_the_document_is_made_as_it_says() {
    let mut bundle = Bundle::new("rt-device");
    bundle.config["linux"]["devices"] = json!([
        {"path": "/dev/deep/fuse", "type": "c", "major": 10, "minor": 229, "fileMode": 0o640, "uid": 33, "gid": 34}]);
    assert_eq!(bundle.sh("stat -c '%t:%T %a %u %g %F' /dev/deep/fuse"), "a:e5 640 33 34 character special file");
    bundle.done();
}

#[test]
#[ignore = "needs root"]
fn paths_are_masked_and_protected() {
    let mut bundle = Bundle::new("rt-mask");
    let said = bundle.sh(
        "wc -c < /proc/keys; ls -A /sys/firmware | wc -l; echo 1 2>/dev/null > /proc/sys/kernel/domainname || echo protected",
    );
    assert_eq!(said, "0\n0\nprotected");
    bundle.done();
}

#[test]
#[ignore = "needs root"]
fn binds_are_of_directories_and_files_and_read_only_where_asked() {
    let mut bundle = Bundle::new("rt-bind");
    let volume = bundle.host.dir().join("volume");
    std::fs::create_dir(&volume).unwrap();
    std::fs::write(volume.join("file"), "content\n").unwrap();
    add(&mut bundle, json!({"destination": "/made/dir", "type": "bind", "source": volume, "options": ["rbind"]}));
    add(&mut bundle, json!({"destination": "/data/file", "source": volume.join("file"), "options": ["bind", "ro"]}));
    let said = bundle.sh("cat /data/file; echo more 2>/dev/null > /data/file || echo no; echo new > /made/dir/new");
    assert_eq!(said, "content\nno");
    assert_eq!(std::fs::read_to_string(volume.join("new")).unwrap(), "new\n");
    bundle.done();
}

#[test]
#[ignore = "needs root"]
fn a_link_in_the_image_does_not_lead_a_mount_out_of_it() {
    let mut bundle = Bundle::new("rt-link");
    let (volume, outside) = (bundle.host.dir().join("volume"), bundle.host.dir().join("outside"));
    std::fs::create_dir(&volume).unwrap();
    std::fs::create_dir(&outside).unwrap();
    std::os::unix::fs::symlink(&outside, bundle.rootfs().join("link")).unwrap();
    add(&mut bundle, json!({"destination": "/link/below", "type": "bind", "source": volume, "options": ["bind"]}));
    // Made inside, or refused: never outside.
    let _ = bundle.script("true").run();
    assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 0);
    bundle.done();
}

#[test]
#[ignore = "needs root"]
fn file_systems_get_their_options() {
    let mut bundle = Bundle::new("rt-tmpfs");
    add(
        &mut bundle,
        json!({"destination": "/scratch", "type": "tmpfs", "source": "mine",
            "options": ["nosuid", "noexec", "size=64k", "mode=1750", "noatime"]}),
    );
    let said = bundle.sh("stat -c %a /scratch; grep ' /scratch ' /proc/mounts; dd if=/dev/zero of=/scratch/f bs=1k count=99 2>&1 | grep -c 'No space'");
    // Some kernels are built to say which inode numbers a tmpfs has.
    let said = said.replace(",inode64", "");
    assert_eq!(said, "1750\nmine /scratch tmpfs rw,nosuid,noexec,noatime,size=64k,mode=1750 0 0\n1");
    bundle.done();
}

#[test]
#[ignore = "needs root"]
fn the_cgroup_mount_shows_the_container_as_the_root() {
    let mut bundle = Bundle::new("rt-cgmount");
    add(
        &mut bundle,
        json!({"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["ro", "nosuid"]}),
    );
    let said = bundle.sh(
        "cat /sys/fs/cgroup/memory/cgroup.procs /sys/fs/cgroup/cgroup.procs 2>/dev/null | head -1; \
         mkdir /sys/fs/cgroup/memory/x /sys/fs/cgroup/x 2>/dev/null || echo protected; \
         grep -v -E ':(blkio|hugetlb|name=[a-z]*|perf_event|rdma|misc|net_cls.*|)?:' /proc/self/cgroup | grep -vc ':/$'; true",
    );
    assert_eq!(said, "1\nprotected\n0");
    bundle.done();
}

#[test]
#[ignore = "needs root"]
fn the_source_of_a_file_system_may_be_long() {
    let mut bundle = Bundle::new("rt-long-source");
    let source = "s".repeat(300);
    bundle.mount(json!({"destination": "/t", "type": "tmpfs", "source": source, "options": ["size=64k"]}));
    assert_eq!(bundle.sh("grep -c '^s\\{300\\} /t tmpfs' /proc/mounts"), "1");
    bundle.done();
}

#[test]
#[ignore = "needs root"]
fn kernel_parameters_of_its_namespaces_are_set() {
    let mut bundle = Bundle::new("rt-sysctl");
    bundle.config["linux"]["sysctl"] = json!({"net.ipv4.ip_forward": "1", "kernel.msgmax": "4096"});
    assert_eq!(bundle.sh("cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/msgmax"), "1\n4096");
    bundle.done();
}

#[test]
#[ignore = "needs root"]
fn nothing_mounted_inside_reaches_a_host_whose_mounts_are_shared() {
    let mut bundle = Bundle::on(TestHost::with_shared_mounts("rt-shared"));
    let before = bundle.host.run("cat", &["/proc/self/mounts"]);
    let volume = bundle.host.dir().join("volume");
    std::fs::create_dir(&volume).unwrap();
    let all = json!(["CAP_SYS_ADMIN"]);
    bundle.config["process"]["capabilities"] = json!({"bounding": all, "effective": all, "permitted": all});
    add(&mut bundle, json!({"destination": "/data", "type": "bind", "source": volume, "options": ["rbind"]}));
    assert_eq!(bundle.sh("mkdir /data/below && mount -t tmpfs inner /data/below && grep -c inner /proc/mounts"), "1");
    bundle.started();
    assert_eq!(bundle.host.run("cat", &["/proc/self/mounts"]), before);
    bundle.done();
}

#[test]
#[ignore = "needs root"]
fn a_missing_working_directory_is_made() {
    let mut bundle = Bundle::new("rt-cwd");
    bundle.config["process"]["cwd"] = json!("/work/here");
    assert_eq!(bundle.sh("pwd"), "/work/here");
    bundle.done();
}

#[test]
#[ignore = "needs root"]
fn the_terminal_multiplexer_stays_the_containers_own_when_all_devices_are_handed_over() {
    let mut bundle = Bundle::new("rt-ptmx");
    bundle.config["linux"]["devices"] = json!([
        {"path": "/dev/ptmx", "type": "c", "major": 5, "minor": 2, "fileMode": 0o666, "uid": 0, "gid": 5},
        {"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229, "fileMode": 0o666, "uid": 0, "gid": 0}]);
    assert_eq!(bundle.sh("readlink /dev/ptmx; stat -c %t:%T /dev/fuse"), "pts/ptmx\na:e5");
    bundle.done();
}
