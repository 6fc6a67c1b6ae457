//! Further processes in a container that runs.

use crate::bundle::Bundle;
use serde_json::json;

#[test]
#[ignore = "needs root"]
fn it_runs_beside_the_containers_own_with_its_settings() {
    let mut bundle = Bundle::new("rt-exec");
    bundle.started();
    let said = bundle
        .verb(&["exec", "c", "/bin/sh", "-c", "hostname; echo $FROM; pwd; id -u; grep -E 'CapBnd|NoNew' /proc/self/status; ls /proc/1/exe >/dev/null && echo sees"])
        .ok();
    let lines: Vec<&str> = said.lines().collect();
    let own = bundle.verb(&["exec", "c", "grep", "-E", "CapBnd|NoNew", "/proc/1/status"]).ok();
    assert_eq!(lines[..4], ["inside", "config", "/", "0"]);
    assert_eq!(lines[4..6].join("\n"), own);
    assert_eq!(lines[6], "sees");
    bundle.done();
}

#[test]
#[ignore = "needs root"]
fn its_arguments_are_bytes() {
    use std::os::unix::ffi::OsStrExt;
    let mut bundle = Bundle::new("rt-exec-bytes");
    bundle.started();
    let mut exec = bundle.runtime();
    exec.args(["exec", "c", "sh", "-c", "printf %s \"$1\" | hexdump -v -e '/1 \"%02x\"'", "sh"]);
    let said = berth_test_host::run(exec.arg(std::ffi::OsStr::from_bytes(b"a\xff\xfe")));
    assert_eq!(said.trim(), "61fffe");
    bundle.done();
}

#[test]
#[ignore = "needs root"]
fn its_exit_code_is_given_and_a_signal_as_128_and_more() {
    let mut bundle = Bundle::new("rt-exec-code");
    bundle.started();
    assert_eq!(bundle.verb(&["exec", "c", "sh", "-c", "exit 9"]).code, 9);
    // 37 is one of those without a name.
    for (signal, code) in [("9", 137), ("37", 165)] {
        assert_eq!(bundle.verb(&["exec", "c", "sh", "-c", &format!("kill -{signal} $$")]).code, code);
    }
    assert_ne!(bundle.verb(&["exec", "c", "/no/such/program"]).code, 0);
    bundle.done();
}

#[test]
#[ignore = "needs root"]
fn user_directory_and_environment_can_be_given() {
    let mut bundle = Bundle::new("rt-exec-user");
    bundle.started();
    let options = ["exec", "--user", "33:34", "--cwd", "/tmp", "--env", "FROM=exec", "c"];
    let said = bundle.verb(&[&options[..], &["sh", "-c", "id -u; id -g; pwd; echo $FROM"]].concat()).ok();
    assert_eq!(said, "33\n34\n/tmp\nexec");
    bundle.done();
}

#[test]
#[ignore = "needs root"]
fn a_whole_process_can_be_given_as_a_document() {
    let mut bundle = Bundle::new("rt-exec-doc");
    bundle.started();
    let file = bundle.host.dir().join("process.json");
    let process = json!({"user": {"uid": 33, "gid": 34}, "args": ["sh", "-c", "id -u; echo $X; pwd"],
        "env": ["PATH=/bin", "X=doc"], "cwd": "/tmp"});
    std::fs::write(&file, process.to_string()).unwrap();
    assert_eq!(bundle.verb(&["exec", "--process", file.to_str().unwrap(), "c"]).ok(), "33\ndoc\n/tmp");
    bundle.done();
}

#[test]
#[ignore = "needs root"]
fn it_is_in_the_containers_group_and_ends_with_the_container() {
    let mut bundle = Bundle::new("rt-exec-group");
    bundle.started();
    bundle.exec_detached(&["sleep", "1000"]);
    let listed: Vec<u64> = serde_json::from_str(&bundle.verb(&["ps", "--format", "json", "c"]).ok()).unwrap();
    assert!(listed.len() >= 3, "{listed:?}");
    bundle.verb(&["kill", "c", "KILL"]).ok();
    bundle.wait_status("stopped");
    bundle.verb(&["delete", "c"]).ok();
    bundle.done();
}

#[test]
#[ignore = "needs root"]
fn a_container_that_is_not_there_or_has_ended_takes_no_process() {
    let mut bundle = Bundle::new("rt-exec-none");
    assert_ne!(bundle.verb(&["exec", "c", "true"]).code, 0);
    bundle.started();
    bundle.verb(&["kill", "c", "KILL"]).ok();
    bundle.wait_status("stopped");
    assert_ne!(bundle.verb(&["exec", "c", "true"]).code, 0);
    bundle.done();
}

#[test]
#[ignore = "needs root"]
fn what_becomes_of_the_bundle_later_is_nothing_to_it() {
    let mut bundle = Bundle::new("rt-exec-bundle");
    bundle.started();
    let from = || bundle.verb(&["exec", "c", "sh", "-c", "echo $FROM; hostname"]).ok();
    let path = bundle.dir().join("config.json");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("FROM=config", "FROM=later")).unwrap();
    assert_eq!(from(), "config\ninside");
    std::fs::remove_file(&path).unwrap();
    assert_eq!(from(), "config\ninside");
    let file = bundle.host.dir().join("process.json");
    std::fs::write(&file, json!({"args": ["/bin/pwd"], "cwd": "/tmp"}).to_string()).unwrap();
    assert_eq!(bundle.verb(&["exec", "--process", file.to_str().unwrap(), "c"]).ok(), "/tmp");
    bundle.done();
}

#[test]
#[ignore = "needs root"]
fn a_capability_that_does_not_exist_is_a_warning() {
    let mut bundle = Bundle::new("rt-exec-cap");
    bundle.started();
    let said = bundle.verb(&["exec", "--cap", "CAP_NOPE", "--cap", "CAP_NET_ADMIN", "c", "echo", "ran"]);
    assert_eq!((said.code, said.stdout.as_str()), (0, "ran"), "{}", said.stderr);
    assert!(said.stderr.contains("ignoring unknown or unavailable capabilities: [CAP_NOPE]"), "{}", said.stderr);
    bundle.done();
}

#[test]
#[ignore = "needs root"]
fn a_document_that_does_not_say_is_confined_as_the_container() {
    let mut bundle = Bundle::new("rt-exec-partial");
    bundle.config["process"]["rlimits"] = json!([{"type": "RLIMIT_CORE", "soft": 7, "hard": 8}]);
    bundle.started();
    let script =
        "sed -n 's/^CapEff:.//p' /proc/self/status; grep -o 'core file size  *7  *8' /proc/self/limits | tr -s ' '";
    let own = bundle.verb(&["exec", "c", "sh", "-c", script]).ok();
    assert!(own.ends_with("core file size 7 8") && !own.starts_with("0000000000000000"), "{own}");
    let file = bundle.host.dir().join("process.json");
    let mut document =
        json!({"args": ["sh", "-c", script], "cwd": "/", "env": ["PATH=/bin"], "user": {"uid": 0, "gid": 0}});
    std::fs::write(&file, document.to_string()).unwrap();
    assert_eq!(bundle.verb(&["exec", "--process", file.to_str().unwrap(), "c"]).ok(), own);
    document["capabilities"] = json!({});
    std::fs::write(&file, document.to_string()).unwrap();
    let none = bundle.verb(&["exec", "--process", file.to_str().unwrap(), "c"]).ok();
    assert!(none.starts_with("0000000000000000"), "{none}");
    bundle.verb(&["delete", "--force", "c"]).ok();
    bundle.done();
}

#[test]
#[ignore = "needs root"]
fn a_home_that_is_given_is_kept_for_another_user() {
    let mut bundle = Bundle::new("rt-exec-home");
    bundle.started();
    let home = |options: &[&str]| {
        let all = [&["exec", "--user", "33:34"], options, &["c", "sh", "-c", "echo $HOME"]].concat();
        bundle.verb(&all).ok()
    };
    assert_eq!((home(&[]).as_str(), home(&["--env", "HOME=/mine"]).as_str()), ("/srv", "/mine"));
    bundle.verb(&["delete", "--force", "c"]).ok();
    bundle.done();
}

#[test]
#[ignore = "needs root"]
fn the_containers_home_and_further_groups_stay_for_another_user() {
    let mut bundle = Bundle::new("rt-exec-stay");
    bundle.config["process"]["env"].as_array_mut().unwrap().push(json!("HOME=/custom"));
    bundle.config["process"]["user"]["additionalGids"] = json!([77, 34]);
    bundle.started();
    let who = |user: &str| bundle.verb(&["exec", "--user", user, "c", "sh", "-c", "echo $HOME; id -G"]).ok();
    // Written down in an order that is the kernel's.
    let sorted = |said: String| {
        let (home, groups) = said.split_once('\n').unwrap();
        let mut groups: Vec<u32> = groups.split(' ').map(|gid| gid.parse().unwrap()).collect();
        groups.sort_unstable();
        (home.to_owned(), groups)
    };
    assert_eq!(sorted(who("1000:1000")), ("/custom".into(), vec![34, 77, 1000]));
    assert_eq!(sorted(who("0:5")), ("/custom".into(), vec![5, 34, 77]));
    bundle.done();
}

#[test]
#[ignore = "needs root"]
fn an_empty_home_of_the_containers_is_none_for_another_user() {
    let mut bundle = Bundle::new("rt-exec-nohome");
    bundle.config["process"]["env"].as_array_mut().unwrap().push(json!("HOME="));
    bundle.started();
    assert_eq!(bundle.verb(&["exec", "--user", "33:34", "c", "sh", "-c", "echo $HOME"]).ok(), "/srv");
    bundle.done();
}

#[test]
#[ignore = "needs root"]
fn a_malformed_variable_and_a_relative_directory_are_refused() {
    let mut bundle = Bundle::new("rt-exec-malformed");
    bundle.started();
    for (options, words) in [
        (["--env", "FOO"], "invalid environment variable"),
        (["--env", ""], "invalid environment variable"),
        (["--env", "=x"], "environment variable name can't be empty"),
        (["--cwd", "bin"], "Cwd must be an absolute path"),
    ] {
        let said = bundle.verb(&[&["exec"], &options[..], &["c", "true"]].concat());
        assert_eq!(said.code, 255, "{options:?}: {}", said.stderr);
        assert!(said.stderr.contains(words), "{options:?}: {}", said.stderr);
    }
    // No directory is the container's.
    assert_eq!(bundle.verb(&["exec", "--cwd", "", "c", "pwd"]).ok(), "/");
    bundle.done();
}
