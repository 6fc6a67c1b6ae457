//! Every way in which a task with addresses of its own can be called and can call.

use crate::world::{NODE, OUTSIDE, World, alone, call, run, serve, within};
use berth_runtime::net;
use berth_runtime::net::plan::Transport;
use std::os::fd::OwnedFd;

const BOTH: [Transport; 2] = [Transport::Tcp, Transport::Udp];
const OWN: [&str; 2] = ["10.80.0.2", "fd80::2"];
const NEXT: [&str; 2] = ["10.80.0.3", "fd80::3"];
const BRIDGED: [&str; 2] = ["172.30.0.4", "fd30::4"];
const BRIDGE: [&str; 2] = ["172.30.0.1", "fd30::1"];
const V4: usize = 0;
const V6: usize = 1;

struct Tasks<'a> {
    world: &'a World,
    own: OwnedFd,
    next: OwnedFd,
    bridged: OwnedFd,
}

impl<'a> Tasks<'a> {
    fn start(world: &'a World) -> Self {
        net::node::up(&world.node).unwrap();
        let up = |plan| net::up(&plan).unwrap().unwrap();
        let (own, next) = (up(world.awsvpc(2)), up(world.awsvpc(3)));
        let publish = BOTH.map(|t| net::plan::Publish { transport: t, host_port: 8080, container_port: 80 });
        let bridged = up(world.bridge(4, &publish));
        for transport in BOTH {
            serve(&own, "own", transport, 80);
            serve(&bridged, "bridged", transport, 80);
            serve(&world.outside, "far", transport, 9000);
            serve(world.host(), "node", transport, 7000);
        }
        Self { world, own, next, bridged }
    }

    fn reaches(&self, from: &OwnedFd, to: &str, port: u16, name: &str, seen: &str) {
        for transport in BOTH {
            let answer = call(from, transport, to, port);
            assert_eq!(answer.as_deref().ok(), Some(&*format!("{name} {seen}")), "{transport} to {to}: {answer:?}");
        }
    }

    fn outside_calls_the_task(&self, f: usize) {
        self.reaches(&self.world.outside, OWN[f], 80, "own", OUTSIDE[f]);
    }

    fn the_task_calls_itself(&self, f: usize) {
        self.reaches(&self.own, OWN[f], 80, "own", OWN[f]);
        let loopback = ["127.0.0.1", "::1"][f];
        self.reaches(&self.own, loopback, 80, "own", loopback);
    }

    fn neighbours_call_each_other(&self, f: usize) {
        self.reaches(&self.next, OWN[f], 80, "own", NEXT[f]);
        self.reaches(&self.bridged, OWN[f], 80, "own", BRIDGED[f]);
        self.reaches(&self.own, BRIDGED[f], 80, "bridged", OWN[f]);
    }

    fn the_task_calls_a_published_port(&self, f: usize) {
        self.reaches(&self.own, NODE[f], 8080, "bridged", OWN[f]);
        self.reaches(&self.own, BRIDGE[f], 8080, "bridged", OWN[f]);
    }

    fn the_task_calls_the_node(&self, f: usize) {
        // By TCP: a datagram server bound to all addresses would have to answer from the one it was called by.
        let answer = call(&self.own, Transport::Tcp, NODE[f], 7000);
        assert_eq!(answer.unwrap(), format!("node {}", OWN[f]));
    }

    fn the_task_calls_outwards(&self, f: usize) {
        self.reaches(&self.own, OUTSIDE[f], 9000, "far", NODE[f]);
    }

    fn the_node_calls_the_task(&self, f: usize) {
        for transport in BOTH {
            let answer = call(self.world.host(), transport, OWN[f], 80).unwrap();
            // Never the gateway's address, which is not the node's outside this one link.
            assert_ne!(answer, "own 169.254.1.1");
            assert!(answer.starts_with("own "), "{answer}");
        }
    }
}

macro_rules! paths {
    ($($test:ident: $path:ident $family:expr;)*) => {$(
        #[test]
        #[ignore = "needs root"]
        fn $test() {
            alone(concat!("awsvpc::", stringify!($test)), |world| Tasks::start(world).$path($family));
        }
    )*};
}

paths! {
    outside_reaches_the_task_by_its_own_address_v4: outside_calls_the_task V4;
    outside_reaches_the_task_by_its_own_address_v6: outside_calls_the_task V6;
    a_task_reaches_itself_v4: the_task_calls_itself V4;
    a_task_reaches_itself_v6: the_task_calls_itself V6;
    neighbours_reach_each_other_by_their_own_addresses_v4: neighbours_call_each_other V4;
    neighbours_reach_each_other_by_their_own_addresses_v6: neighbours_call_each_other V6;
    a_task_reaches_the_nodes_published_ports_v4: the_task_calls_a_published_port V4;
    a_task_reaches_the_nodes_published_ports_v6: the_task_calls_a_published_port V6;
    a_task_reaches_the_node_v4: the_task_calls_the_node V4;
    a_task_reaches_the_node_v6: the_task_calls_the_node V6;
    a_task_reaches_the_outside_as_the_node_v4: the_task_calls_outwards V4;
    a_task_reaches_the_outside_as_the_node_v6: the_task_calls_outwards V6;
    the_node_reaches_the_task_v4: the_node_calls_the_task V4;
    the_node_reaches_the_task_v6: the_node_calls_the_task V6;
}

#[test]
#[ignore = "needs root"]
fn on_a_host_with_strict_filters_all_paths_work() {
    alone("awsvpc::on_a_host_with_strict_filters_all_paths_work", |world| {
        for parameter in ["rp_filter=1", "arp_ignore=1", "arp_announce=2"] {
            run(&format!("sysctl -q -w net.ipv4.conf.all.{parameter}"));
            run(&format!("sysctl -q -w net.ipv4.conf.default.{parameter}"));
        }
        for name in ["iptables", "ip6tables"] {
            let path = format!("/proc/sys/net/bridge/bridge-nf-call-{name}");
            std::fs::write(path, "1").expect("this test needs the kernel module br_netfilter");
        }
        let tasks = Tasks::start(world);
        for f in [V4, V6] {
            tasks.outside_calls_the_task(f);
            tasks.the_task_calls_itself(f);
            tasks.neighbours_call_each_other(f);
            tasks.the_task_calls_a_published_port(f);
            tasks.the_task_calls_the_node(f);
            tasks.the_task_calls_outwards(f);
            tasks.the_node_calls_the_task(f);
        }
    });
}

#[test]
#[ignore = "needs root"]
fn a_task_has_its_own_mac_and_leaves_nothing() {
    alone("awsvpc::a_task_has_its_own_mac_and_leaves_nothing", |world| {
        net::node::up(&world.node).unwrap();
        let before = world.everything();
        let plan = world.awsvpc(2);
        let task = net::up(&plan).unwrap().unwrap();
        let link = within(&task, || run("ip -br link show eth0"));
        assert!(link.contains("02:00:00:00:00:02"), "{link}");
        net::down(&plan).unwrap();
        net::down(&plan).unwrap();
        assert_eq!(world.everything(), before);
    });
}

#[test]
#[ignore = "needs root"]
fn a_mac_of_another_length_is_refused_before_anything_is_made() {
    alone("awsvpc::a_mac_of_another_length_is_refused_before_anything_is_made", |world| {
        net::node::up(&world.node).unwrap();
        let before = world.everything();
        let mut plan = world.awsvpc(2);
        if let net::plan::NetPlan::Awsvpc { mac, .. } = &mut plan {
            mac.pop();
        }
        let said = berth_runtime::errno::chain(&net::up(&plan).unwrap_err());
        assert!(said.contains("has 5 bytes, must have 6"), "{said}");
        assert_eq!(world.everything(), before);
    });
}
