//! Network devices of the host that become a container's. Pairs of veth: what every kernel has.

use crate::bundle::Bundle;
use serde_json::json;

/// Newer than the runc that the suite is proved with.
mod own {
    use super::*;

    const MAC: &str = "02:00:00:00:00:09";

    /// A host with a device `dev0` that has everything a device can have.
    fn with_device(name: &str) -> Bundle {
        let bundle = Bundle::new(name);
        std::os::unix::fs::symlink("busybox", bundle.rootfs().join("bin/ip")).unwrap();
        let ip = |line: &str| bundle.host.run("ip", &line.split(' ').collect::<Vec<_>>());
        ip("link add dev0 type veth peer name peer0");
        ip(&format!("link set dev0 address {MAC} mtu 1400"));
        ip("link set peer0 up");
        ip("link set dev0 up");
        ip("address add 10.9.0.2/24 broadcast + dev dev0");
        ip("address add 10.9.1.2 peer 10.9.1.3/32 dev dev0");
        ip("address add fd00:9::2/64 dev dev0 nodad");
        ip("address add 169.254.7.7/16 dev dev0 scope link");
        ip("address add 10.9.9.9/24 dev dev0 valid_lft 1000 preferred_lft 1000");
        bundle
    }

    fn addresses(bundle: &Bundle) -> String {
        let said = bundle.host.run("ip", &["-o", "address", "show", "dev", "dev0", "up"]);
        let mut lines: Vec<&str> = said
            .lines()
            .filter(|l| !l.contains("fe80:") && !l.contains("169.254") && !l.contains("10.9.9.9"))
            .collect();
        lines.sort_unstable();
        lines.into_iter().map(|l| l.split_once(':').unwrap().1.to_owned() + "\n").collect()
    }

    #[test]
    #[ignore = "needs root"]
    fn a_device_moves_with_its_lasting_addresses_and_gets_its_name() {
        let mut bundle = with_device("rt-netdev");
        bundle.config["linux"]["netDevices"] = json!({"dev0": {"name": "front0"}});
        let said = bundle.sh("ip address show front0; ip address show dev0 2>/dev/null; true");
        for word in [
            MAC,
            "mtu 1400",
            ",UP",
            "inet 10.9.0.2/24 brd 10.9.0.255",
            "inet 10.9.1.2 peer 10.9.1.3/32",
            "inet6 fd00:9::2/64",
        ] {
            assert!(said.contains(word), "{word}: {said}");
        }
        // Of the link only, and learned for a time.
        assert!(!said.contains("169.254.7.7") && !said.contains("10.9.9.9"), "{said}");
        assert!(!said.contains("dev0"), "{said}");
        bundle.done();
    }

    #[test]
    #[ignore = "needs root"]
    fn a_device_gets_a_number_of_the_kernels_choice_in_its_name() {
        let mut bundle = with_device("rt-netdev-number");
        bundle.config["linux"]["netDevices"] = json!({"dev0": {"name": "eth%d"}});
        let look = "ip address show eth0; ls /sys/class/net";
        let said = bundle.sh(look);
        for word in [MAC, "inet 10.9.0.2/24", "inet6 fd00:9::2/64", ",UP"] {
            assert!(said.contains(word), "{word}: {said}");
        }
        assert!(said.ends_with("eth0\nlo"), "{said}");
        bundle.done();
        // Its number and its name are taken where it goes.
        let mut bundle = with_device("rt-netdev-taken");
        let netns = bundle.host.dir().join("netns");
        bundle.host.run("touch", &[netns.to_str().unwrap()]);
        bundle.host.run("unshare", &[&format!("--net={}", netns.display()), "true"]);
        let index = bundle.host.run("cat", &["/sys/class/net/dev0/ifindex"]);
        let line = format!("ip link add dev0 index {} type veth peer name eth0", index.trim());
        let net = format!("--net={}", netns.display());
        bundle.host.run("nsenter", &[net.as_str()].into_iter().chain(line.split(' ')).collect::<Vec<_>>());
        crate::userns::namespace(&mut bundle, json!({"type": "network", "path": netns}));
        bundle.config["linux"]["netDevices"] = json!({"dev0": {"name": "eth%d"}});
        let said = bundle.sh("ip address show eth1; ls /sys/class/net");
        assert!(said.contains(MAC) && said.contains("inet 10.9.0.2/24"), "{said}");
        assert!(said.ends_with("dev0\neth0\neth1\nlo"), "{said}");
        bundle.host.run("umount", &[netns.to_str().unwrap()]);
        bundle.done();
    }

    #[test]
    #[ignore = "needs root"]
    fn two_devices_with_one_template_get_the_next_free_numbers() {
        let mut bundle = with_device("rt-netdev-two");
        bundle.host.run("ip", &["link", "add", "dev1", "type", "veth", "peer", "name", "peer1"]);
        let eth = json!({"name": "eth%d"});
        // Names that are said are given first, whatever the order of the document is.
        bundle.config["linux"]["netDevices"] = json!({"dev0": eth, "dev1": eth, "peer1": {"name": "eth0"}});
        assert_eq!(bundle.sh("ls /sys/class/net"), "eth0\neth1\neth2\nlo");
        bundle.done();
    }

    #[test]
    #[ignore = "needs root"]
    fn one_that_is_not_renamed_is_there_before_parameters_and_hooks_ask_for_it() {
        let mut bundle = with_device("rt-netdev-name");
        bundle.config["linux"]["netDevices"] = json!({"dev0": {}});
        bundle.config["linux"]["sysctl"] = json!({"net/ipv4/conf/dev0/forwarding": "1"});
        let look = "nsenter -t $(sed 's/.*\"pid\":\\([0-9]*\\).*/\\1/') -n ip link show dev0";
        bundle.config["hooks"] = json!({"createRuntime": [
            {"path": "/bin/sh", "args": ["sh", "-c", look], "env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"]}]});
        assert_eq!(bundle.sh("cat /proc/sys/net/ipv4/conf/dev0/forwarding"), "1");
        bundle.done();
    }

    #[test]
    #[ignore = "needs root"]
    fn a_device_stays_on_the_host_as_it_was_when_the_container_cannot_have_it() {
        let mut bundle = with_device("rt-netdev-fail");
        let before = addresses(&bundle);
        assert!(before.contains("10.9.0.2/24"), "{before}");
        let cases = [
            // A name that is taken; a device that is not there, after one that is; a create that fails later.
            (json!({"dev0": {"name": "lo"}}), "/bin/true", "name network device in the container `lo`"),
            (json!({"dev0": {}, "dev1": {}}), "/bin/true", "move network device `dev1`"),
            (json!({"dev0": {"name": "front0"}}), "/no/such/program", "/no/such/program"),
            (json!({"dev0": {"name": "front%d"}}), "/no/such/program", "/no/such/program"),
            (json!({"dev0": {"name": "front%d"}, "dev1": {}}), "/bin/true", "move network device `dev1`"),
        ];
        for (devices, program, why) in cases {
            bundle.config["linux"]["netDevices"] = devices;
            bundle.config["process"]["args"] = json!([program]);
            let said = bundle.create();
            assert_eq!(said.code, 1, "{why}");
            assert!(said.stderr.contains(why), "{}", said.stderr);
            assert_eq!(addresses(&bundle), before, "{why}");
        }
        bundle.host.run("ip", &["link", "delete", "dev0"]);
        bundle.assert_clean();
    }

    #[test]
    #[ignore = "needs root"]
    fn without_a_network_namespace_of_its_own_a_container_gets_none() {
        let mut bundle = with_device("rt-netdev-host");
        let before = addresses(&bundle);
        bundle.config["linux"]["netDevices"] = json!({"dev0": {"name": "front0"}});
        bundle.config["linux"]["namespaces"][1] = json!({"type": "network", "path": "/proc/1/ns/net"});
        let joined = bundle.create();
        assert!(joined.code == 1 && joined.stderr.contains("host network namespace"), "{}", joined.stderr);
        bundle.config["linux"]["namespaces"].as_array_mut().unwrap().remove(1);
        let none = bundle.create();
        assert!(none.code == 1 && none.stderr.contains("linux.netDevices"), "{}", none.stderr);
        assert_eq!(addresses(&bundle), before);
        bundle.host.run("ip", &["link", "delete", "dev0"]);
        bundle.assert_clean();
    }

    #[test]
    #[ignore = "needs root"]
    fn features_say_that_devices_can_be_moved_and_memory_bound() {
        let bundle = Bundle::new("rt-netdev-features");
        let features: serde_json::Value = serde_json::from_str(&bundle.verb(&["features"]).ok()).unwrap();
        assert_eq!(features["linux"]["netDevices"]["enabled"], true);
        let modes = features["linux"]["memoryPolicy"]["modes"].as_array().unwrap();
        assert!(modes.contains(&json!("MPOL_WEIGHTED_INTERLEAVE")), "{modes:?}");
    }
}
