use super::super::{PortRange, default_dynamic_range};
use super::*;
use proptest::prelude::*;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;

fn node() -> Node {
    Node {
        cpu: 2048,
        memory: 1024,
        reserved_cpu: 0,
        reserved_memory: 24,
        reserved_tcp: BTreeSet::from([22]),
        reserved_udp: BTreeSet::new(),
        dynamic_ports: PortRange { first: 61000, last: 61007 },
        bridge: vec![Pool::new("10.88.0.0/28".parse().unwrap()), Pool::new("fd00::/64".parse().unwrap())],
        awsvpc: vec![Pool::new("10.89.0.0/28".parse().unwrap())],
    }
}

fn free(_: Transport, port: u16) -> io::Result<u16> {
    Ok(port)
}

fn port(host_port: Option<u16>, count: u16) -> PortNeed {
    PortNeed { container: 0, transport: Transport::Tcp, container_port: 80, count, host_port, hold: true }
}

fn need(ports: Vec<PortNeed>) -> Need {
    Need { cpu: 100, memory: 10, ports, ..Need::default() }
}

#[test]
fn a_task_larger_than_the_node_never_fits() {
    let mut book = Book::new(node());
    let denied = book.admit("t", &Need { memory: 1001, ..Need::default() }, free).unwrap_err();
    let Denied::Never { field, problem } = denied else { panic!("{denied:?}") };
    assert_eq!(
        (field.as_str(), problem.as_str()),
        ("memory", "needs 1001 MiB of memory, and the node has 1000 for tasks")
    );
}

#[test]
fn what_is_held_is_waited_for_and_free_again_after_its_release() {
    let mut book = Book::new(node());
    book.admit("a", &Need { cpu: 2000, ..Need::default() }, free).unwrap();
    let wants = Need { cpu: 100, ..Need::default() };
    assert_eq!(
        book.admit("b", &wants, free).unwrap_err(),
        Denied::Wait("waits for CPU units: needs 100, 48 of 2048 are free".into())
    );
    assert!(book.release("a") && !book.release("a"));
    book.admit("b", &wants, free).unwrap();
}

#[test]
fn a_reserved_port_is_refused_and_a_held_one_is_waited_for() {
    let mut book = Book::new(node());
    assert!(matches!(book.admit("a", &need(vec![port(Some(22), 1)]), free), Err(Denied::Never { .. })));
    book.admit("b", &need(vec![port(Some(80), 1)]), free).unwrap();
    assert!(matches!(book.admit("c", &need(vec![port(Some(80), 1)]), free), Err(Denied::Wait(_))));
    let udp = PortNeed { transport: Transport::Udp, ..port(Some(80), 1) };
    book.admit("d", &need(vec![udp]), free).unwrap();
}

#[test]
fn a_port_of_another_program_is_refused_by_number() {
    let mut book = Book::new(node());
    let in_use = |_, _| -> io::Result<()> { Err(io::ErrorKind::AddrInUse.into()) };
    let denied = book.admit("a", &need(vec![port(Some(8080), 1)]), in_use).unwrap_err();
    let Denied::Never { field, problem } = denied else { panic!("{denied:?}") };
    assert_eq!(field, "containerDefinitions[0].portMappings.hostPort");
    assert_eq!(problem, "8080/tcp is in use by another program of the host");
    assert!(book.grants().is_empty());
}

#[test]
fn ports_that_others_use_are_passed_over() {
    let mut book = Book::new(node());
    let hold = |_, port| if port < 61003 { Err(io::ErrorKind::AddrInUse.into()) } else { Ok(port) };
    let (grant, held) = book.admit("a", &need(vec![port(None, 2)]), hold).unwrap();
    assert_eq!((grant.ports[0].host_port, held), (61003, vec![61003, 61004]));
}

#[test]
fn a_range_is_contiguous_and_whole_or_waits() {
    let mut book = Book::new(node());
    book.admit("a", &need(vec![port(Some(61003), 1)]), free).unwrap();
    let (grant, held) = book.admit("b", &need(vec![port(None, 4)]), free).unwrap();
    assert_eq!((grant.ports[0].host_port, held), (61004, vec![61004, 61005, 61006, 61007]));
    assert!(matches!(book.admit("c", &need(vec![port(None, 4)]), free), Err(Denied::Wait(_))));
}

#[test]
fn a_free_port_is_never_one_that_the_same_task_names() {
    let mut book = Book::new(node());
    let (grant, _) = book.admit("a", &need(vec![port(None, 1), port(Some(61000), 1)]), free).unwrap();
    let ports: BTreeSet<u16> = grant.ports.iter().map(|p| p.host_port).collect();
    assert_eq!(ports, BTreeSet::from([61000, 61001]));
}

#[test]
fn a_released_port_is_not_the_next_to_be_given() {
    let mut book = Book::new(node());
    let first = book.admit("a", &need(vec![port(None, 1)]), free).unwrap().0.ports[0].host_port;
    book.release("a");
    let second = book.admit("b", &need(vec![port(None, 1)]), free).unwrap().0.ports[0].host_port;
    assert_ne!(first, second);
}

#[test]
fn each_container_on_the_bridge_gets_an_address_of_each_family() {
    let mut book = Book::new(node());
    let (grant, _) = book.admit("a", &Need { bridge: vec![0, 2], ..Need::default() }, free).unwrap();
    let texts: Vec<String> = grant.bridge.iter().flat_map(|b| &b.addresses).map(ToString::to_string).collect();
    assert_eq!(texts, ["10.88.0.2", "fd00::2", "10.88.0.3", "fd00::3"]);
    let (grant, _) = book.admit("b", &Need { awsvpc: true, ..Need::default() }, free).unwrap();
    assert_eq!(grant.awsvpc, ["10.89.0.2".parse::<IpAddr>().unwrap()]);
}

#[test]
fn a_network_mode_without_a_subnet_is_refused() {
    let mut book = Book::new(Node { awsvpc: vec![], ..node() });
    assert!(matches!(book.admit("a", &Need { awsvpc: true, ..Need::default() }, free), Err(Denied::Never { .. })));
}

#[test]
fn the_default_range_is_usable_to_its_end() {
    let range = default_dynamic_range(PortRange { first: 32768, last: 60999 });
    let mut book = Book::new(Node { cpu: u64::MAX, memory: u64::MAX, dynamic_ports: range, ..node() });
    book.last_port = 65534;
    let (grant, _) = book.admit("a", &need(vec![port(None, 1), port(None, 1)]), free).unwrap();
    assert_eq!(grant.ports.iter().map(|p| p.host_port).collect::<Vec<_>>(), [65535, 61000]);
}

/// A socket of the model: the port is free again when it is dropped.
#[derive(Debug)]
struct Bound(Rc<RefCell<HashSet<(Transport, u16)>>>, (Transport, u16));

impl Drop for Bound {
    fn drop(&mut self) {
        self.0.borrow_mut().remove(&self.1);
    }
}

#[derive(Debug, Clone)]
enum Step {
    Admit(u8, Need),
    Release(u8),
    Foreign(u16),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let ports = (prop::bool::ANY, 1u16..4, prop::option::of(60998u16..61012), prop::bool::ANY).prop_map(
        |(udp, count, host_port, hold)| PortNeed {
            container: 0,
            transport: if udp { Transport::Udp } else { Transport::Tcp },
            container_port: 1,
            count,
            // Host mode always names its ports.
            hold: hold || host_port.is_none(),
            host_port,
        },
    );
    let need = (0u64..900, 0u64..500, prop::collection::vec(ports, 0..3), 0usize..3, prop::bool::ANY).prop_map(
        |(cpu, memory, ports, containers, awsvpc)| Need {
            cpu,
            memory,
            ports,
            bridge: (0..containers).collect(),
            awsvpc,
            local: false,
        },
    );
    let step = prop_oneof![
        4 => (0u8..12, need).prop_map(|(t, n)| Step::Admit(t, n)),
        3 => (0u8..12).prop_map(Step::Release),
        1 => (60998u16..61012).prop_map(Step::Foreign),
    ];
    prop::collection::vec(step, 0..60)
}

proptest! {
    #[test]
    fn nothing_is_ever_held_twice_and_every_release_restores(steps in steps()) {
        let mut book = Book::new(node());
        let bound = Rc::new(RefCell::new(HashSet::new()));
        let mut sockets: BTreeMap<u8, Vec<Bound>> = BTreeMap::new();
        let mut foreign: HashSet<(Transport, u16)> = HashSet::new();
        for step in steps {
            match step {
                Step::Admit(task, need) => {
                    let before = (book.used_cpu(), book.used_memory(), book.used_addresses(), bound.borrow().clone());
                    let hold = |transport, port| {
                        if foreign.contains(&(transport, port)) || !bound.borrow_mut().insert((transport, port)) {
                            return Err(io::ErrorKind::AddrInUse.into());
                        }
                        Ok(Bound(bound.clone(), (transport, port)))
                    };
                    match book.admit(&task.to_string(), &need, hold) {
                        Ok((grant, held)) => {
                            prop_assert_eq!(held.len(), grant.ports.iter().filter(|p| p.held).map(|p| usize::from(p.count)).sum::<usize>());
                            sockets.insert(task, held);
                        }
                        Err(_) => {
                            let after = (book.used_cpu(), book.used_memory(), book.used_addresses(), bound.borrow().clone());
                            prop_assert_eq!(before, after, "a denial leaves nothing behind");
                        }
                    }
                }
                Step::Release(task) => {
                    book.release(&task.to_string());
                    sockets.remove(&task);
                }
                Step::Foreign(port) => {
                    if !bound.borrow().contains(&(Transport::Tcp, port)) {
                        foreign.insert((Transport::Tcp, port));
                    }
                }
            }
            prop_assert!(book.used_cpu() <= book.node().task_cpu());
            prop_assert!(book.used_memory() <= book.node().task_memory());
            for transport in [Transport::Tcp, Transport::Udp] {
                let grants = || book.grants().values().flat_map(|g| &g.ports).filter(|p| p.transport == transport);
                let count: usize = grants().map(|p| usize::from(p.count)).sum();
                let distinct = book.used_ports(transport, false);
                prop_assert_eq!(count, distinct.len(), "a port is held twice");
                prop_assert!(distinct.is_disjoint(&book.node().reserved(transport).iter().copied().collect()));
            }
            let addresses: usize = book.grants().values()
                .map(|g| g.awsvpc.len() + g.bridge.iter().map(|b| b.addresses.len()).sum::<usize>()).sum();
            prop_assert_eq!(addresses, book.used_addresses().len(), "an address is held twice");
        }
        let tasks: Vec<String> = book.grants().keys().cloned().collect();
        for task in tasks { book.release(&task); }
        sockets.clear();
        prop_assert_eq!((book.used_cpu(), book.used_memory()), (0, 0));
        prop_assert!(bound.borrow().is_empty() && book.used_addresses().is_empty());
    }
}
