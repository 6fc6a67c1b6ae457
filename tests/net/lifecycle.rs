//! Up and down, in order, out of order, interrupted.

use crate::world::{alone, call, exists, run, serve, within};
use berth_runtime::net;
use berth_runtime::net::plan::{NetPlan, Publish, Transport};
use std::time::{Duration, Instant};

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
        let begin = Instant::now();
        for to in ["172.30.0.2", "fd30::2"] {
            assert!(call(world.host(), Transport::Tcp, to, 80).is_ok(), "{to}");
        }
        for to in ["127.0.0.1", "::1"] {
            assert!(call(world.host(), Transport::Tcp, to, 8080).is_ok(), "{to}");
        }
        // A second is what a client waits that lost its first packet to a link that was not switched on yet.
        assert!(begin.elapsed() < Duration::from_millis(900), "{:?}", begin.elapsed());
        net::down(&plan).unwrap();
        net::down(&plan).unwrap();
        assert_eq!(world.everything(), before);
    });
}
