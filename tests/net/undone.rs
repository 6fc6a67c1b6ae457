//! An `up` that fails says why and leaves nothing; a `down` takes what is its own and no more.

use crate::world::{World, alone, exists, prefix, run};
use berth_runtime::errno::chain;
use berth_runtime::net;
use berth_runtime::net::plan::{NetPlan, Publish, Transport};

const HTTP: [Publish; 1] = [Publish { transport: Transport::Tcp, host_port: 8080, container_port: 80 }];

/// `up` fails with `words`, nothing is changed, and `down` has nothing to complain of.
fn fails(world: &World, plan: &NetPlan, words: &str) {
    let before = world.everything();
    let said = chain(&net::up(plan).unwrap_err());
    assert!(said.contains(words), "{said}");
    assert_eq!(world.everything(), before);
}

#[test]
#[ignore = "needs root"]
fn without_the_bridge_up_names_it() {
    alone("undone::without_the_bridge_up_names_it", |world| {
        let words = "use bridge `berth0`: no such link: the node's network is not up";
        fails(world, &world.bridge(2, &[]), words);
    });
}

#[test]
#[ignore = "needs root"]
fn without_the_table_up_names_it_and_takes_the_links_away_again() {
    alone("undone::without_the_table_up_names_it_and_takes_the_links_away_again", |world| {
        net::node::up(&world.node).unwrap();
        run("nft delete table inet berth");
        fails(world, &world.bridge(2, &HTTP), "`berth publish4`: No such file or directory");
    });
}

#[test]
#[ignore = "needs root"]
fn a_pin_that_is_there_is_somebody_elses_and_stays() {
    alone("undone::a_pin_that_is_there_is_somebody_elses_and_stays", |world| {
        net::node::up(&world.node).unwrap();
        std::fs::write(world.pin("b2"), "theirs").unwrap();
        fails(world, &world.bridge(2, &HTTP), "create namespace pin");
        assert_eq!(std::fs::read(world.pin("b2")).unwrap(), b"theirs");
    });
}

#[test]
#[ignore = "needs root"]
fn a_link_that_is_there_is_somebody_elses_and_stays() {
    alone("undone::a_link_that_is_there_is_somebody_elses_and_stays", |world| {
        net::node::up(&world.node).unwrap();
        run("ip link add bv2 type veth peer name theirs");
        let plan = world.bridge(2, &HTTP);
        fails(world, &plan, "add veth `bv2`: File exists");
        let errors = net::down(&plan).unwrap_err();
        assert_eq!(errors.len(), 1);
        assert!(chain(&errors[0]).contains("not made by this node"), "{}", chain(&errors[0]));
        run("ip link show bv2");
    });
}

#[test]
#[ignore = "needs root"]
fn a_port_that_leads_elsewhere_is_named_with_where_it_leads() {
    alone("undone::a_port_that_leads_elsewhere_is_named_with_where_it_leads", |world| {
        net::node::up(&world.node).unwrap();
        net::up(&world.bridge(2, &HTTP)).unwrap();
        let words = "publish port `8080/tcp`: it leads to 172.30.0.2 port 80 already";
        fails(world, &world.bridge(3, &HTTP), words);
        // A teardown of the one that failed takes nothing from the one that works.
        let before = world.everything();
        net::down(&world.bridge(3, &HTTP)).unwrap();
        assert_eq!(world.everything(), before);
    });
}

#[test]
#[ignore = "needs root"]
fn an_address_given_twice_fails_in_the_middle_and_leaves_nothing() {
    alone("undone::an_address_given_twice_fails_in_the_middle_and_leaves_nothing", |world| {
        net::node::up(&world.node).unwrap();
        let mut plan = world.bridge(2, &HTTP);
        if let NetPlan::Bridge { addresses, .. } = &mut plan {
            addresses.push(prefix("172.30.0.2", 16));
        }
        fails(world, &plan, "add address `172.30.0.2/16`: File exists");
        let mut plan = world.awsvpc(2);
        if let NetPlan::Awsvpc { addresses, .. } = &mut plan {
            addresses.push(prefix("10.80.0.2", 32));
        }
        fails(world, &plan, "add address `10.80.0.2/32`: File exists");
    });
}

#[test]
#[ignore = "needs root"]
fn down_of_what_never_was_is_no_error_even_without_a_node() {
    alone("undone::down_of_what_never_was_is_no_error_even_without_a_node", |world| {
        let before = world.everything();
        for plan in [world.bridge(2, &HTTP), world.awsvpc(2), NetPlan::None { pin: world.pin("n") }, NetPlan::Host] {
            net::down(&plan).unwrap();
        }
        assert_eq!(world.everything(), before);
    });
}

#[test]
#[ignore = "needs root"]
fn down_goes_on_after_an_error_and_gives_it() {
    alone("undone::down_goes_on_after_an_error_and_gives_it", |world| {
        net::node::up(&world.node).unwrap();
        let plan = world.bridge(2, &HTTP);
        net::up(&plan).unwrap();
        // Not ours any more, by its label.
        run("ip link set bv2 group 7");
        let errors = net::down(&plan).unwrap_err();
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert!(!exists(&world.pin("b2")));
        assert!(!run("nft list map inet berth publish4").contains("8080"));
    });
}
