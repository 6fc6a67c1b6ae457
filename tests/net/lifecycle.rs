//! Up and down, in order, out of order, interrupted.

use crate::world::{alone, call, exists, run, serve, within};
use berth_runtime::net;
use berth_runtime::net::plan::{NetPlan, Publish, Transport};

#[test]
#[ignore = "needs root"]
fn a_none_namespace_has_loopback_only_and_leaves_nothing() {
    alone("lifecycle::a_none_namespace_has_loopback_only_and_leaves_nothing", |world| {
        let before = world.everything();
        let plan = NetPlan::None { pin: world.pin("n") };
        let netns = net::up(&plan).unwrap().unwrap();
        let links = within(&netns, || run("ip -br link"));
        assert_eq!(links.lines().count(), 1, "{links}");
        serve(&netns, "itself", Transport::Tcp, 80);
        assert_eq!(call(&netns, Transport::Tcp, "127.0.0.1", 80).unwrap(), "itself 127.0.0.1");
        assert_eq!(call(&netns, Transport::Tcp, "::1", 80).unwrap(), "itself ::1");
        net::down(&plan).unwrap();
        net::down(&plan).unwrap();
        assert!(!exists(&world.pin("n")));
        assert_eq!(world.everything(), before);
    });
}

/// How often this thread's network namespace has sent the first packet of a connection again.
fn lost_connects() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/net/netstat").unwrap();
    let mut lines = text.lines().filter(|line| line.starts_with("TcpExt:"));
    let (names, values) = (lines.next().unwrap(), lines.next().unwrap());
    let at = names.split_whitespace().position(|name| name == "TCPSynRetrans").unwrap();
    values.split_whitespace().nth(at).unwrap().parse().unwrap()
}

#[test]
#[ignore = "needs root"]
fn the_first_bridge_task_of_a_node_is_reached_at_once_and_leaves_nothing() {
    alone("lifecycle::the_first_bridge_task_of_a_node_is_reached_at_once_and_leaves_nothing", |world| {
        net::node::up(&world.node).unwrap();
        let before = world.everything();
        let ports = [Publish { transport: Transport::Tcp, host_port: 8080, container_port: 80 }];
        let plan = world.bridge(2, &ports);
        let netns = net::up(&plan).unwrap().unwrap();
        serve(&netns, "web", Transport::Tcp, 80);
        let lost = || within(world.host(), lost_connects);
        let before_calls = lost();
        for to in ["172.30.0.2", "fd30::2"] {
            assert!(call(world.host(), Transport::Tcp, to, 80).is_ok(), "{to}");
        }
        for to in ["127.0.0.1", "::1"] {
            assert!(call(world.host(), Transport::Tcp, to, 8080).is_ok(), "{to}");
        }
        // A client whose first packet is lost to a link that was not switched on yet waits a second, and sends it again.
        assert_eq!(lost(), before_calls);
        net::down(&plan).unwrap();
        net::down(&plan).unwrap();
        assert_eq!(world.everything(), before);
    });
}
