//! Many ports and many tasks.

use crate::world::{NODE, alone, call, run, serve};
use berth_runtime::net;
use berth_runtime::net::plan::{Publish, Transport};
use std::time::{Duration, Instant};

fn ports(from: u16, count: u16) -> Vec<Publish> {
    let both = [Transport::Tcp, Transport::Udp];
    let one = |port| both.map(|transport| Publish { transport, host_port: port, container_port: port });
    (from..from + count).flat_map(one).collect()
}

fn rules() -> usize {
    run("nft -a list ruleset").lines().filter(|l| l.contains("# handle") && !l.contains('{')).count()
}

/// The best of a few times.
fn best_up(plan: &net::plan::NetPlan) -> Duration {
    let once = || {
        let begin = Instant::now();
        net::up(plan).unwrap();
        let taken = begin.elapsed();
        net::down(plan).unwrap();
        taken
    };
    (0..5).map(|_| once()).min().unwrap()
}

#[test]
#[ignore = "needs root"]
fn a_thousand_ports_of_a_task_add_no_rule_and_all_lead_to_it() {
    alone("many::a_thousand_ports_of_a_task_add_no_rule_and_all_lead_to_it", |world| {
        net::node::up(&world.node).unwrap();
        let (empty, rules_before) = (world.everything(), rules());
        // The first task switches the bridge on, which is not what is compared.
        // TCP only: with UDP the kernel's table of connections is walked, which has its own price.
        let other = world.bridge(3, &ports(20_000, 1)[..1]);
        best_up(&other);
        let alone = best_up(&other);
        let plan = world.bridge(2, &ports(10_000, 1000));
        let begin = Instant::now();
        let task = net::up(&plan).unwrap().unwrap();
        println!("up with 2000 ports: {:?}", begin.elapsed());
        assert_eq!(rules(), rules_before);
        let found = net::leftovers(&world.node, world.run.path()).unwrap();
        assert_eq!(found.published.len(), 4000, "each port in both families");
        serve(&task, "last", Transport::Tcp, 10_999);
        for to in NODE {
            assert!(call(&world.outside, Transport::Tcp, to, 10_999).unwrap().starts_with("last"));
        }
        // One more task is no slower for them; room for a busy machine.
        let beside = best_up(&other);
        println!("up with a port: {alone:?} alone, {beside:?} beside 2000");
        assert!(beside < alone * 3 + Duration::from_millis(20), "{alone:?} alone, {beside:?} beside 2000");
        let begin = Instant::now();
        net::down(&plan).unwrap();
        println!("down with 2000 ports: {:?}", begin.elapsed());
        assert_eq!(world.everything(), empty);
    });
}

#[test]
#[ignore = "needs root"]
fn tasks_that_come_and_go_at_the_same_time_do_not_disturb_each_other() {
    alone("many::tasks_that_come_and_go_at_the_same_time_do_not_disturb_each_other", |world| {
        net::node::up(&world.node).unwrap();
        let empty = world.everything();
        std::thread::scope(|scope| {
            for worker in 0..8u8 {
                scope.spawn(move || {
                    for round in 0..5u16 {
                        let number = 10 + worker;
                        let port = 9000 + u16::from(worker) * 10 + round;
                        let ports = [Publish { transport: Transport::Udp, host_port: port, container_port: 53 }];
                        let plans = [world.bridge(number, &ports), world.awsvpc(number)];
                        for plan in &plans {
                            net::up(plan).unwrap();
                        }
                        for plan in &plans {
                            net::down(plan).unwrap();
                        }
                    }
                });
            }
        });
        assert_eq!(world.everything(), empty);
    });
}

const ROUNDS: usize = 15;

/// Not a check but a measurement: `cargo test --test net -- --ignored --nocapture how_long`.
#[test]
#[ignore = "needs root"]
fn how_long_a_task_with_a_port_takes() {
    alone("many::how_long_a_task_with_a_port_takes", |world| {
        net::node::up(&world.node).unwrap();
        let tcp = [Publish { transport: Transport::Tcp, host_port: 8080, container_port: 80 }];
        let udp = [Publish { transport: Transport::Udp, host_port: 8080, container_port: 80 }];
        // A node has tasks, and so a bridge that is switched on, and connections that are tracked.
        net::up(&world.bridge(9, &[])).unwrap();
        serve(&world.outside, "far", Transport::Tcp, 9000);
        call(world.host(), Transport::Tcp, crate::world::OUTSIDE[0], 9000).unwrap();
        let plans = [
            ("none", net::plan::NetPlan::None { pin: world.pin("n") }),
            ("bridge, no port", world.bridge(2, &[])),
            ("bridge, tcp port", world.bridge(2, &tcp)),
            ("bridge, udp port", world.bridge(2, &udp)),
            ("awsvpc", world.awsvpc(2)),
        ];
        for (name, plan) in plans {
            let (mut ups, mut downs) = (Vec::new(), Vec::new());
            for _ in 0..ROUNDS {
                let begin = Instant::now();
                let netns = net::up(&plan).unwrap();
                ups.push(begin.elapsed());
                drop(netns);
                let begin = Instant::now();
                net::down(&plan).unwrap();
                downs.push(begin.elapsed());
            }
            ups.sort();
            downs.sort();
            println!(
                "{name}: up {:?} (best {:?}, 90 % {:?}), down {:?}",
                ups[ROUNDS / 2],
                ups[0],
                ups[ROUNDS * 9 / 10],
                downs[ROUNDS / 2]
            );
        }
    });
}
