//! Every way in which a task on the bridge can be called and can call, in both families and both transports.
//!
//! `web` (addresses ending in 2) publishes its port 80 as 8080 of the node; `next` (3) is its neighbour. Both are
//! called through sockets that hold the port, as on a node.

use crate::world::{NODE, OUTSIDE, World, alone, call, run, serve, within};
use berth_runtime::net;
use berth_runtime::net::plan::{Publish, Transport};
use std::os::fd::OwnedFd;

const BOTH: [Transport; 2] = [Transport::Tcp, Transport::Udp];
const BRIDGE: [&str; 2] = ["172.30.0.1", "fd30::1"];
const WEB: [&str; 2] = ["172.30.0.2", "fd30::2"];
const NEXT: [&str; 2] = ["172.30.0.3", "fd30::3"];
const LOOPBACK: [&str; 2] = ["127.0.0.1", "::1"];
const V4: usize = 0;
const V6: usize = 1;

struct Tasks<'a> {
    world: &'a World,
    web: OwnedFd,
    next: OwnedFd,
    _held: Vec<OwnedFd>,
}

impl<'a> Tasks<'a> {
    fn start(world: &'a World) -> Self {
        net::node::up(&world.node).unwrap();
        let publish = BOTH.map(|transport| Publish { transport, host_port: 8080, container_port: 80 });
        let held = BOTH.iter().map(|t| net::hold::bind(*t, 8080).unwrap()).collect();
        let web = net::up(&world.bridge(2, &publish)).unwrap().unwrap();
        let next = net::up(&world.bridge(3, &[])).unwrap().unwrap();
        for transport in BOTH {
            serve(&web, "web", transport, 80);
            serve(&world.outside, "far", transport, 9000);
        }
        Self { world, web, next, _held: held }
    }

    /// A call from `from` to `to` reaches `name`, which sees it come from `seen`.
    fn reaches(&self, from: &OwnedFd, to: &str, port: u16, name: &str, seen: &str) {
        for transport in BOTH {
            let answer = call(from, transport, to, port);
            assert_eq!(answer.as_deref().ok(), Some(&*format!("{name} {seen}")), "{transport} to {to}: {answer:?}");
        }
    }

    fn outside_calls_the_node(&self, f: usize) {
        self.reaches(&self.world.outside, NODE[f], 8080, "web", OUTSIDE[f]);
    }

    fn the_node_calls_its_own_address(&self, f: usize) {
        self.reaches(self.world.host(), NODE[f], 8080, "web", NODE[f]);
    }

    fn the_node_calls_loopback(&self, f: usize) {
        self.reaches(self.world.host(), LOOPBACK[f], 8080, "web", BRIDGE[f]);
    }

    fn a_neighbour_calls_the_task(&self, f: usize) {
        self.reaches(&self.next, WEB[f], 80, "web", NEXT[f]);
    }

    fn a_neighbour_calls_the_published_port(&self, f: usize) {
        self.reaches(&self.next, NODE[f], 8080, "web", BRIDGE[f]);
    }

    fn the_task_calls_its_own_published_port(&self, f: usize) {
        self.reaches(&self.web, NODE[f], 8080, "web", BRIDGE[f]);
    }

    fn the_task_calls_outwards(&self, f: usize) {
        self.reaches(&self.web, OUTSIDE[f], 9000, "far", NODE[f]);
    }
}

/// A test per path and family.
macro_rules! paths {
    ($($test:ident: $path:ident $family:expr;)*) => {$(
        #[test]
        #[ignore = "needs root"]
        fn $test() {
            alone(concat!("bridge::", stringify!($test)), |world| Tasks::start(world).$path($family));
        }
    )*};
}

paths! {
    outside_reaches_a_published_port_v4: outside_calls_the_node V4;
    outside_reaches_a_published_port_v6: outside_calls_the_node V6;
    the_node_reaches_a_published_port_by_its_own_address_v4: the_node_calls_its_own_address V4;
    the_node_reaches_a_published_port_by_its_own_address_v6: the_node_calls_its_own_address V6;
    the_node_reaches_a_published_port_on_loopback_v4: the_node_calls_loopback V4;
    the_node_reaches_a_published_port_on_loopback_v6: the_node_calls_loopback V6;
    a_neighbour_reaches_the_task_v4: a_neighbour_calls_the_task V4;
    a_neighbour_reaches_the_task_v6: a_neighbour_calls_the_task V6;
    a_neighbour_reaches_a_published_port_v4: a_neighbour_calls_the_published_port V4;
    a_neighbour_reaches_a_published_port_v6: a_neighbour_calls_the_published_port V6;
    a_task_reaches_its_own_published_port_v4: the_task_calls_its_own_published_port V4;
    a_task_reaches_its_own_published_port_v6: the_task_calls_its_own_published_port V6;
    a_task_reaches_the_outside_v4: the_task_calls_outwards V4;
    a_task_reaches_the_outside_v6: the_task_calls_outwards V6;
}

#[test]
#[ignore = "needs root"]
fn with_br_netfilter_in_the_way_all_paths_work_but_loopback_v6_which_is_refused_at_once() {
    alone("bridge::with_br_netfilter_in_the_way_all_paths_work_but_loopback_v6_which_is_refused_at_once", |world| {
        for name in ["iptables", "ip6tables"] {
            let path = format!("/proc/sys/net/bridge/bridge-nf-call-{name}");
            std::fs::write(path, "1").expect("this test needs the kernel module br_netfilter");
        }
        let tasks = Tasks::start(world);
        for f in [V4, V6] {
            tasks.outside_calls_the_node(f);
            tasks.the_node_calls_its_own_address(f);
            tasks.a_neighbour_calls_the_task(f);
            tasks.a_neighbour_calls_the_published_port(f);
            tasks.the_task_calls_its_own_published_port(f);
            tasks.the_task_calls_outwards(f);
        }
        tasks.the_node_calls_loopback(V4);
        let refused = call(world.host(), Transport::Tcp, "::1", 8080).unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
        let findings = net::check(&world.node);
        assert!(findings.iter().any(|f| !f.broken && f.problem.contains("refused on ::1")), "{findings:?}");
        // Out of the way again, and the node's network brought up once more.
        std::fs::write("/proc/sys/net/bridge/bridge-nf-call-ip6tables", "0").unwrap();
        net::node::up(&world.node).unwrap();
        tasks.the_node_calls_loopback(V6);
    });
}

#[test]
#[ignore = "needs root"]
fn on_a_host_with_strict_filters_all_paths_work() {
    alone("bridge::on_a_host_with_strict_filters_all_paths_work", |world| {
        // As Red Hat's and Amazon's systems and hosts behind load balancers have it.
        for parameter in ["rp_filter=1", "arp_ignore=1", "arp_announce=2"] {
            run(&format!("sysctl -q -w net.ipv4.conf.all.{parameter}"));
            run(&format!("sysctl -q -w net.ipv4.conf.default.{parameter}"));
        }
        let tasks = Tasks::start(world);
        for f in [V4, V6] {
            tasks.outside_calls_the_node(f);
            tasks.the_node_calls_its_own_address(f);
            tasks.the_node_calls_loopback(f);
            tasks.a_neighbour_calls_the_task(f);
            tasks.a_neighbour_calls_the_published_port(f);
            tasks.the_task_calls_its_own_published_port(f);
            tasks.the_task_calls_outwards(f);
        }
    });
}

/// Makes a task send packets for the node's 127.0.0.1 to the node instead of to itself.
fn loopback_leads_to_the_node(task: &OwnedFd) {
    within(task, || {
        std::fs::write("/proc/sys/net/ipv4/conf/eth0/route_localnet", "1").unwrap();
        run("ip addr del 127.0.0.1/8 dev lo");
        run("ip route add 127.0.0.1/32 via 172.30.0.1 dev eth0 src 172.30.0.2");
    });
}

#[test]
#[ignore = "needs root"]
fn a_task_cannot_reach_what_the_node_serves_on_loopback() {
    alone("bridge::a_task_cannot_reach_what_the_node_serves_on_loopback", |world| {
        let tasks = Tasks::start(world);
        serve(world.host(), "secret", Transport::Tcp, 6379);
        loopback_leads_to_the_node(&tasks.web);
        assert!(tasks.web_cannot_call("127.0.0.1", 6379));
        // The proof that the packets got as far as the rule: without it the node answers.
        run("nft flush chain inet berth raw");
        tasks.reaches_tcp("127.0.0.1", 6379, "secret 172.30.0.2");
    });
}

#[test]
#[ignore = "needs root"]
fn the_outside_reaches_no_port_that_is_not_published() {
    alone("bridge::the_outside_reaches_no_port_that_is_not_published", |world| {
        let tasks = Tasks::start(world);
        within(&world.outside, || {
            run(&format!("ip route add 172.30.0.0/16 via {}", NODE[V4]));
            run(&format!("ip route add fd30::/64 via {}", NODE[V6]));
        });
        for to in WEB {
            assert!(crate::world::silent(&world.outside, to, 80), "{to}");
        }
        run("nft flush chain inet berth forward");
        for (f, to) in WEB.iter().enumerate() {
            tasks.reaches(&world.outside, to, 80, "web", OUTSIDE[f]);
        }
    });
}

#[test]
#[ignore = "needs root"]
fn a_task_cannot_send_from_an_address_that_is_not_reached_by_the_bridge() {
    alone("bridge::a_task_cannot_send_from_an_address_that_is_not_reached_by_the_bridge", |world| {
        let tasks = Tasks::start(world);
        let counter = || {
            let hosts = run("nft list chain inet berth seen");
            hosts.contains("packets 0 ")
        };
        run("nft add chain inet berth seen { type filter hook prerouting priority 0 ; }");
        run("nft add rule inet berth seen ip saddr 198.51.100.7 counter");
        within(&tasks.web, || {
            run("ip addr add 198.51.100.7/32 dev eth0");
            let socket = std::net::UdpSocket::bind("198.51.100.7:0").unwrap();
            socket.send_to(b"x", "172.30.0.1:9").unwrap();
        });
        assert!(counter(), "{}", run("nft list chain inet berth seen"));
        run("nft flush chain inet berth raw");
        within(&tasks.web, || {
            let socket = std::net::UdpSocket::bind("198.51.100.7:0").unwrap();
            socket.send_to(b"x", "172.30.0.1:9").unwrap();
        });
        assert!(!counter(), "{}", run("nft list chain inet berth seen"));
    });
}

impl Tasks<'_> {
    fn web_cannot_call(&self, to: &str, port: u16) -> bool {
        crate::world::silent(&self.web, to, port)
    }

    fn reaches_tcp(&self, to: &str, port: u16, answer: &str) {
        assert_eq!(call(&self.web, Transport::Tcp, to, port).unwrap(), answer);
    }
}
