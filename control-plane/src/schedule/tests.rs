use super::*;
use proptest::prelude::*;

/// An instance that the tests own.
#[derive(Debug, Clone, Default)]
struct Node {
    id: String,
    connected: bool,
    attributes: BTreeMap<String, Option<String>>,
    capacity: Capacity,
    used: Demand,
    tasks: usize,
}

impl Node {
    fn new(id: &str, cpu: i64, memory: i64) -> Self {
        let capacity = Capacity { cpu, memory, ..Capacity::default() };
        Self { id: id.to_owned(), connected: true, capacity, ..Self::default() }
    }

    fn candidate(&self) -> Candidate<'_> {
        Candidate {
            id: &self.id,
            active: true,
            connected: self.connected,
            attributes: &self.attributes,
            capacity: &self.capacity,
            used: &self.used,
            tasks: self.tasks,
            has_group: self.tasks > 0,
        }
    }

    fn take(&mut self, demand: &Demand) {
        self.used.cpu += demand.cpu;
        self.used.memory += demand.memory;
        self.used.tcp.extend(&demand.tcp);
        self.used.udp.extend(&demand.udp);
        self.tasks += 1;
    }
}

fn place_on(nodes: &[Node], demand: &Demand, wishes: &Wishes) -> Result<usize, Vec<Refusal>> {
    let candidates: Vec<_> = nodes.iter().map(Node::candidate).collect();
    place(demand, wishes, &candidates)
}

fn need(cpu: i64, memory: i64, tcp: &[u16]) -> Demand {
    Demand { cpu, memory, tcp: tcp.iter().copied().collect(), ..Demand::default() }
}

#[test]
fn each_instance_says_what_is_wrong_with_it() {
    let mut nodes = vec![Node::new("a", 1024, 1024); 6];
    nodes[0].connected = false;
    nodes[1].used.cpu = 1000;
    nodes[2].used.memory = 1000;
    nodes[3].used.tcp.insert(80);
    nodes[4].capacity.reserved_tcp.insert(80);
    for node in &mut nodes[..5] {
        node.attributes.insert("ssd".to_owned(), None);
    }
    let wishes = Wishes { attributes: vec![("ssd".to_owned(), None)], ..Wishes::default() };
    let refusals = place_on(&nodes, &need(100, 100, &[80]), &wishes).unwrap_err();
    assert_eq!(
        refusals,
        [Refusal::Agent, Refusal::Cpu, Refusal::Memory, Refusal::Ports, Refusal::Ports, Refusal::Attribute]
    );
}

#[test]
fn tasks_are_spread_where_nothing_else_is_asked() {
    let mut nodes = vec![Node::new("a", 1024, 1024), Node::new("b", 1024, 1024), Node::new("c", 1024, 1024)];
    let mut taken = Vec::new();
    for _ in 0..6 {
        let index = place_on(&nodes, &need(10, 10, &[]), &Wishes::default()).unwrap();
        nodes[index].take(&need(10, 10, &[]));
        taken.push(index);
    }
    taken.sort_unstable();
    assert_eq!(taken, [0, 0, 1, 1, 2, 2]);
}

#[test]
fn binpack_fills_the_fullest_that_fits() {
    let mut nodes = vec![Node::new("a", 1024, 1024), Node::new("b", 1024, 1024), Node::new("c", 1024, 1024)];
    nodes[1].take(&need(0, 500, &[]));
    nodes[2].take(&need(0, 1000, &[]));
    let wishes = Wishes { strategy: vec![Preference::BinpackMemory], ..Wishes::default() };
    assert_eq!(place_on(&nodes, &need(0, 100, &[]), &wishes), Ok(1));
}

#[test]
fn an_attribute_is_spread_over_its_values() {
    let mut nodes = vec![Node::new("a", 9, 9), Node::new("b", 9, 9), Node::new("c", 9, 9)];
    for (node, zone) in nodes.iter_mut().zip(["z1", "z1", "z2"]) {
        node.attributes.insert("zone".to_owned(), Some(zone.to_owned()));
    }
    nodes[0].take(&need(1, 1, &[]));
    let wishes = Wishes { strategy: vec![Preference::SpreadAttribute("zone".to_owned())], ..Wishes::default() };
    assert_eq!(place_on(&nodes, &need(1, 1, &[]), &wishes), Ok(2));
}

#[test]
fn distinct_instances_hold_one_task_of_a_group_each() {
    let mut nodes = vec![Node::new("a", 9, 9), Node::new("b", 9, 9)];
    let wishes = Wishes { distinct: true, ..Wishes::default() };
    for _ in 0..2 {
        let index = place_on(&nodes, &need(1, 1, &[]), &wishes).unwrap();
        nodes[index].take(&need(1, 1, &[]));
    }
    assert_eq!(place_on(&nodes, &need(1, 1, &[]), &wishes), Err(vec![Refusal::DistinctInstance; 2]));
}

#[test]
fn a_task_goes_to_its_processor_and_to_any_that_does_not_say() {
    let mut nodes = vec![Node::new("a", 9, 9)];
    let wishes = Wishes { architecture: Some("arm64"), ..Wishes::default() };
    assert_eq!(place_on(&nodes, &need(1, 1, &[]), &wishes), Ok(0));
    nodes[0].attributes.insert("ecs.cpu-architecture".to_owned(), Some("x86_64".to_owned()));
    assert_eq!(place_on(&nodes, &need(1, 1, &[]), &wishes), Err(vec![Refusal::Attribute]));
    nodes[0].attributes.insert("ecs.cpu-architecture".to_owned(), Some("aarch64".to_owned()));
    assert_eq!(place_on(&nodes, &need(1, 1, &[]), &wishes), Ok(0));
}

fn strategies() -> impl Strategy<Value = Vec<Preference>> {
    prop::collection::vec(
        prop_oneof![
            Just(Preference::SpreadInstances),
            Just(Preference::BinpackCpu),
            Just(Preference::BinpackMemory),
            any::<u64>().prop_map(Preference::Random),
        ],
        0..3,
    )
}

proptest! {
    /// Whatever is asked for in whatever order, no instance gives more than it has, no port is given twice, and a task
    /// is refused only when it fits nowhere.
    #[test]
    fn no_instance_is_ever_oversubscribed(
        sizes in prop::collection::vec((0_i64..4096, 0_i64..4096), 1..5),
        tasks in prop::collection::vec((0_i64..2048, 0_i64..2048, prop::collection::btree_set(1_u16..8, 0..3), prop::collection::btree_set(1_u16..8, 0..2)), 0..40),
        reserved in 1_u16..8,
        strategy in strategies(),
    ) {
        let mut nodes: Vec<Node> = sizes.iter().enumerate().map(|(n, (cpu, memory))| Node::new(&n.to_string(), *cpu, *memory)).collect();
        nodes[0].capacity.reserved_tcp.insert(reserved);
        let wishes = Wishes { strategy, ..Wishes::default() };
        let mut ports = vec![0; nodes.len()];
        for (cpu, memory, tcp, udp) in tasks {
            let demand = Demand { cpu, memory, tcp, udp };
            match place_on(&nodes, &demand, &wishes) {
                Ok(index) => {
                    nodes[index].take(&demand);
                    ports[index] += demand.tcp.len() + demand.udp.len();
                }
                Err(refusals) => {
                    prop_assert_eq!(refusals.len(), nodes.len());
                    for node in &nodes {
                        let fits = demand.cpu <= node.capacity.cpu - node.used.cpu
                            && demand.memory <= node.capacity.memory - node.used.memory
                            && demand.tcp.is_disjoint(&node.used.tcp)
                            && demand.udp.is_disjoint(&node.used.udp)
                            && demand.tcp.is_disjoint(&node.capacity.reserved_tcp);
                        prop_assert!(!fits);
                    }
                }
            }
            for (node, ports) in nodes.iter().zip(&ports) {
                prop_assert!(node.used.cpu <= node.capacity.cpu && node.used.memory <= node.capacity.memory);
                prop_assert_eq!(node.used.tcp.len() + node.used.udp.len(), *ports);
                prop_assert!(node.used.tcp.is_disjoint(&node.capacity.reserved_tcp));
            }
        }
    }
}
