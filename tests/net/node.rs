//! The node's own objects: made, made again, examined, taken away.

use crate::world::{World, alone, call, run, serve, within};
use berth_runtime::net;
use berth_runtime::net::plan::{NetPlan, Publish, Transport};

const HTTP: [Publish; 1] = [Publish { transport: Transport::Tcp, host_port: 8080, container_port: 80 }];

fn findings(world: &World) -> String {
    net::check(&world.node).iter().map(|f| format!("{f}\n")).collect()
}

#[test]
#[ignore = "needs root"]
fn up_again_changes_nothing_and_disturbs_no_task() {
    alone("node::up_again_changes_nothing_and_disturbs_no_task", |world| {
        net::node::up(&world.node).unwrap();
        let task = net::up(&world.bridge(2, &HTTP)).unwrap().unwrap();
        serve(&task, "web", Transport::Tcp, 80);
        let before = world.everything();
        for _ in 0..3 {
            net::node::up(&world.node).unwrap();
            assert!(call(world.host(), Transport::Tcp, "127.0.0.1", 8080).is_ok());
        }
        assert_eq!(world.everything(), before);
    });
}

#[test]
#[ignore = "needs root"]
fn down_leaves_nothing_and_may_be_repeated() {
    alone("node::down_leaves_nothing_and_may_be_repeated", |world| {
        let before = world.everything();
        net::node::up(&world.node).unwrap();
        net::node::down(&world.node).unwrap();
        net::node::down(&world.node).unwrap();
        assert_eq!(world.everything(), before);
    });
}

#[test]
#[ignore = "needs root"]
fn two_nodes_share_a_namespace_without_touching_each_other() {
    alone("node::two_nodes_share_a_namespace_without_touching_each_other", |world| {
        let mut other = world.node.clone();
        other.bridge = "other0".into();
        other.table = "other".into();
        other.bridge_v4 = Some(crate::world::prefix("172.31.0.1", 16));
        other.bridge_v6 = Some(crate::world::prefix("fd31::1", 64));
        (other.awsvpc_v4, other.awsvpc_v6) = (None, None);
        net::node::up(&world.node).unwrap();
        net::up(&world.bridge(2, &HTTP)).unwrap();
        let before = world.everything();
        net::node::up(&other).unwrap();
        assert!(net::leftovers(&other, std::path::Path::new("/nowhere")).unwrap().no_task());
        net::node::down(&other).unwrap();
        assert_eq!(world.everything(), before);
        let same_name = net::plan::NodeNet { table: "other".into(), ..world.node.clone() };
        let said = berth_runtime::errno::chain(&net::node::up(&same_name).unwrap_err());
        assert!(said.contains("a bridge of that name was not made by this node"), "{said}");
    });
}

#[test]
#[ignore = "needs root"]
fn a_changed_address_of_the_bridge_replaces_the_old_one() {
    alone("node::a_changed_address_of_the_bridge_replaces_the_old_one", |world| {
        net::node::up(&world.node).unwrap();
        let mut changed = world.node.clone();
        changed.bridge_v4 = Some(crate::world::prefix("172.29.0.1", 16));
        net::node::up(&changed).unwrap();
        let addresses = run("ip -o addr show dev berth0");
        assert!(addresses.contains("172.29.0.1/16") && !addresses.contains("172.30.0.1"), "{addresses}");
        assert!(addresses.contains("fd30::1/64"), "{addresses}");
    });
}

#[test]
#[ignore = "needs root"]
fn forwarding_does_not_cost_the_host_its_router_advertisements() {
    alone("node::forwarding_does_not_cost_the_host_its_router_advertisements", |world| {
        let read = |name: &str| std::fs::read_to_string(format!("/proc/sys/net/ipv6/conf/{name}")).unwrap();
        assert_eq!(read("uplink/accept_ra").trim(), "1");
        run("sysctl -q -w net.ipv6.conf.all.forwarding=0");
        net::node::up(&world.node).unwrap();
        assert_eq!(read("uplink/accept_ra").trim(), "2");
        assert_eq!(read("all/forwarding").trim(), "1");
        assert_eq!(read("berth0/accept_ra").trim(), "0");
    });
}

#[test]
#[ignore = "needs root"]
fn check_finds_nothing_on_a_node_that_is_up_and_everything_on_one_that_is_not() {
    alone("node::check_finds_nothing_on_a_node_that_is_up_and_everything_on_one_that_is_not", |world| {
        let said = findings(world);
        for words in ["bridge `berth0` does not exist", "nftables table `inet berth` does not exist"] {
            assert!(said.contains(words), "{said}");
        }
        net::node::up(&world.node).unwrap();
        net::up(&world.bridge(2, &HTTP)).unwrap();
        net::up(&world.awsvpc(2)).unwrap();
        assert_eq!(findings(world), "");
    });
}

#[test]
#[ignore = "needs root"]
fn check_names_what_others_have_done() {
    alone("node::check_names_what_others_have_done", |world| {
        net::node::up(&world.node).unwrap();
        for (act, words) in [
            ("sysctl -q -w net.ipv4.ip_forward=0", "net.ipv4.ip_forward is 0"),
            ("sysctl -q -w net.ipv4.conf.berth0.route_localnet=0", "do not answer on 127.0.0.1"),
            ("sysctl -q -w net.ipv6.conf.all.forwarding=0", "net.ipv6.conf.all.forwarding is 0"),
            ("ip addr add 172.30.7.1/24 dev uplink", "pool bridge-v4 overlaps the network 172.30.7.1/24 of `uplink`"),
            ("ip addr add fd80::77/128 dev uplink", "pool awsvpc-v6 overlaps the network fd80::77/128 of `uplink`"),
            ("ip addr del 172.30.0.1/16 dev berth0", "bridge `berth0` has not the address 172.30.0.1/16"),
            ("ip link set berth0 down", "bridge `berth0` is down"),
            ("nft add table ip filter", ""),
            (
                "nft add chain ip filter FORWARD { type filter hook forward priority 0 ; policy drop ; }",
                "chain `FORWARD` of nftables table `filter` drops forwarded packets",
            ),
            ("nft delete table inet berth", "nftables table `inet berth` does not exist"),
            ("ip link set berth0 group 0", "link `berth0` exists and was not made by this node"),
        ] {
            run(act);
            let said = findings(world);
            assert!(said.contains(words), "{act}: {said}");
        }
    });
}

#[test]
#[ignore = "needs root"]
fn tasks_have_the_mtu_of_the_link_that_leads_out() {
    alone("node::tasks_have_the_mtu_of_the_link_that_leads_out", |world| {
        run("ip link set uplink mtu 1400");
        run("ip route add default via 192.0.2.9");
        net::node::up(&world.node).unwrap();
        for plan in [world.bridge(2, &[]), world.awsvpc(2)] {
            let task = net::up(&plan).unwrap().unwrap();
            let link = within(&task, || run("ip link show eth0"));
            assert!(link.contains("mtu 1400"), "{link}");
        }
        run("ip link set uplink mtu 9000");
        net::node::up(&world.node).unwrap();
        assert!(run("ip link show berth0").contains("mtu 9000"));
    });
}

#[test]
#[ignore = "needs root"]
fn a_node_without_ipv6_runs_tasks_without_it() {
    alone("node::a_node_without_ipv6_runs_tasks_without_it", |world| {
        run("sysctl -q -w net.ipv6.conf.all.disable_ipv6=1");
        run("sysctl -q -w net.ipv6.conf.default.disable_ipv6=1");
        let mut node = world.node.clone();
        (node.bridge_v6, node.awsvpc_v6) = (None, None);
        let without_v6 = |mut plan: NetPlan| {
            if let NetPlan::Bridge { node: of, addresses, .. } | NetPlan::Awsvpc { node: of, addresses, .. } = &mut plan
            {
                *of = node.clone();
                addresses.pop();
            }
            plan
        };
        net::node::up(&node).unwrap();
        assert_eq!(net::check(&node), []);
        let _held = net::hold::bind(Transport::Tcp, 8080).unwrap();
        let empty = world.everything();
        let plans = [without_v6(world.bridge(2, &HTTP)), without_v6(world.awsvpc(3))];
        let tasks = plans.each_ref().map(|plan| net::up(plan).unwrap().unwrap());
        within(&tasks[0], || run("sysctl -q -w net.ipv6.conf.all.disable_ipv6=0"));
        serve(&tasks[0], "web", Transport::Tcp, 80);
        assert_eq!(call(world.host(), Transport::Tcp, "127.0.0.1", 8080).unwrap(), "web 172.30.0.1");
        assert_eq!(call(&tasks[1], Transport::Tcp, "172.30.0.1", 8080).unwrap(), "web 10.80.0.3");
        for plan in &plans {
            net::down(plan).unwrap();
        }
        assert_eq!(world.everything(), empty);
    });
}

#[test]
#[ignore = "needs root"]
fn a_host_that_switches_ipv6_off_for_its_links_has_it_on_those_of_tasks() {
    alone("node::a_host_that_switches_ipv6_off_for_its_links_has_it_on_those_of_tasks", |world| {
        run("sysctl -q -w net.ipv6.conf.all.disable_ipv6=1");
        run("sysctl -q -w net.ipv6.conf.default.disable_ipv6=1");
        run("sysctl -q -w net.ipv6.conf.lo.disable_ipv6=0");
        net::node::up(&world.node).unwrap();
        assert_eq!(net::check(&world.node), []);
        let bridged = net::up(&world.bridge(2, &HTTP)).unwrap().unwrap();
        let own = net::up(&world.awsvpc(3)).unwrap().unwrap();
        serve(&bridged, "web", Transport::Tcp, 80);
        serve(&own, "own", Transport::Tcp, 80);
        assert_eq!(call(world.host(), Transport::Tcp, "::1", 8080).unwrap(), "web fd30::1");
        assert_eq!(call(&bridged, Transport::Tcp, "fd80::3", 80).unwrap(), "own fd30::2");
    });
}

#[test]
#[ignore = "needs root"]
fn the_table_reads_as_it_is_meant() {
    alone("node::the_table_reads_as_it_is_meant", |world| {
        net::node::up(&world.node).unwrap();
        net::up(&world.bridge(2, &HTTP)).unwrap();
        let found = run("nft list ruleset");
        if std::env::var_os("BERTH_BLESS").is_some() {
            std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/net/table.nft"), &found).unwrap();
        }
        assert_eq!(found, include_str!("table.nft"));
    });
}

fn node_net(world: &World, verb: &[&str]) -> (String, String, Option<i32>) {
    let node = berth_runtime::cli::node_net::arguments(&world.node);
    let output = std::process::Command::new(berth_test_host::berth_runtime())
        .arg("node-net")
        .args(verb)
        .args(if verb[0] == "reserve" { Vec::new() } else { node })
        .args(if verb[0] == "leftovers" {
            vec!["--run".into(), world.run.path().display().to_string()]
        } else {
            vec![]
        })
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (text(output.stdout), text(output.stderr), output.status.code())
}

#[test]
#[ignore = "needs root"]
fn the_command_line_makes_examines_and_takes_away_a_node() {
    alone("node::the_command_line_makes_examines_and_takes_away_a_node", |world| {
        let quiet = (String::new(), String::new(), Some(0));
        let (said, _, code) = node_net(world, &["check"]);
        assert!(said.contains("broken: bridge `berth0` does not exist\n  hint: restart the agent"), "{said}");
        assert_eq!(code, Some(1));
        assert_eq!(node_net(world, &["up"]), quiet);
        assert_eq!(node_net(world, &["check"]), quiet);
        assert_eq!(node_net(world, &["leftovers"]), quiet);
        net::up(&world.bridge(2, &HTTP)).unwrap();
        let (said, _, _) = node_net(world, &["leftovers"]);
        let pin = world.pin("b2");
        let wanted =
            format!("link bv2\nport 8080/tcp to 172.30.0.2:80\nport 8080/tcp to [fd30::2]:80\npin {}\n", pin.display());
        assert_eq!(said, wanted);
        assert_eq!(node_net(world, &["reserve", "add", "80", "81"]).0, "80\n81\n");
        assert_eq!(node_net(world, &["reserve", "remove", "80", "82"]).0, "80\n");
        assert_eq!(node_net(world, &["fly"]).2, Some(2));
        run("ip link set berth0 group 0");
        let (_, said, code) = node_net(world, &["up"]);
        assert_eq!(said, "berth-runtime: use bridge `berth0`: a bridge of that name was not made by this node\n");
        assert_eq!(code, Some(1));
        run("ip link set berth0 group 1084105802");
        assert_eq!(node_net(world, &["down"]), quiet);
    });
}

#[test]
#[ignore = "needs root"]
fn reserved_ports_are_added_to_the_machines_own_and_only_ours_are_taken_back() {
    alone("node::reserved_ports_are_added_to_the_machines_own_and_only_ours_are_taken_back", |_| {
        let path = "/proc/sys/net/ipv4/ip_local_reserved_ports";
        let list = || std::fs::read_to_string(path).unwrap().trim().to_owned();
        // Longer than any small buffer: what is cut off would be lost.
        let theirs: Vec<_> = (0..2000).map(|n| (20_000 + 2 * n).to_string()).collect();
        std::fs::write(path, theirs.join(",")).unwrap();
        let before = list_all(path);
        assert_eq!(net::reserve::add(&[8080, 20_000, 8081]).unwrap(), [8080, 8081]);
        assert!(list().starts_with("8080-8081,20000,"));
        assert_eq!(net::reserve::add(&[8080]).unwrap(), Vec::<u16>::new());
        assert_eq!(net::reserve::remove(&[8080, 8081]).unwrap(), [8080, 8081]);
        assert_eq!(list_all(path), before);
        std::fs::write(path, "\n").unwrap();
        assert_eq!(net::reserve::add(&[80]).unwrap(), [80]);
        assert_eq!(net::reserve::remove(&[80, 81]).unwrap(), [80]);
        assert_eq!(list(), "");
    });
}

fn list_all(path: &str) -> String {
    let mut buffer = vec![0; 1 << 20];
    let n = std::io::Read::read(&mut std::fs::File::open(path).unwrap(), &mut buffer).unwrap();
    String::from_utf8_lossy(&buffer[..n]).into_owned()
}
