use super::*;
use berth_wire::ecs::values::desired_status;
use proptest::prelude::*;
use serde_json::json;

/// A state with what it would have on disk, and a counter for ids.
struct World {
    state: State,
    disk: BTreeMap<(&'static str, String), Vec<u8>>,
    next: u64,
    now: f64,
}

impl World {
    fn new() -> Self {
        let mut world =
            Self { state: State::new(&Config::default()), disk: BTreeMap::new(), next: 0, now: 1_700_000_000.0 };
        world.turn(|state, turn| state.restored(turn));
        world
    }

    fn turn<T>(&mut self, decision: impl FnOnce(&mut State, &mut Turn<'_>) -> T) -> T {
        let mut next = self.next;
        let mut fresh = || {
            next += 1;
            format!("{next:032x}")
        };
        let mut turn = Turn::new(self.now, &mut fresh);
        let answer = decision(&mut self.state, &mut turn);
        for write in turn.writes {
            let key = (write.kind.table(), write.key);
            match write.value {
                Some(value) => self.disk.insert(key, value),
                None => self.disk.remove(&key),
            };
        }
        self.next = next;
        self.now += 1.0;
        answer
    }

    /// The state as the next process would read it.
    fn reread(&self) -> State {
        let mut state = State::new(&Config::default());
        for kind in Kind::ALL {
            for ((table, key), value) in &self.disk {
                if *table == kind.table() {
                    state.restore(kind, key, value).unwrap();
                }
            }
        }
        let mut fresh = || panic!("nothing new is made");
        state.restored(&mut Turn::new(self.now, &mut fresh));
        state
    }

    fn register_instance(&mut self, cpu: i64, memory: i64) -> String {
        let amount = |name: &str, value: i64| json!({ "name": name, "type": "INTEGER", "integerValue": value });
        let request = json!({ "totalResources": [amount("CPU", cpu), amount("MEMORY", memory)] });
        let request = serde_json::from_value(request).unwrap();
        let answer = self.turn(|state, turn| state.register_container_instance(request, turn)).unwrap();
        let id = last(&answer.container_instance.unwrap().container_instance_arn).to_owned();
        self.state.set_connected(&id, true);
        id
    }

    fn register_definition(&mut self, family: &str, cpu: i64, host_port: i64) {
        let mapping = json!({ "containerPort": 80, "hostPort": host_port });
        let container =
            json!({ "name": "main", "image": "busybox", "memory": 64, "cpu": cpu, "portMappings": [mapping] });
        let request = serde_json::from_value(json!({ "family": family, "containerDefinitions": [container] })).unwrap();
        self.turn(|state, turn| state.register_task_definition(request, turn)).unwrap();
    }

    fn run(&mut self, family: &str) -> Option<String> {
        let request = serde_json::from_value(json!({ "taskDefinition": family })).unwrap();
        let answer = self.turn(|state, turn| state.run_task(request, turn)).unwrap();
        answer.tasks.first().map(|task| last(&task.task_arn).to_owned())
    }

    fn report(&mut self, task: &str, status: &str) {
        let container = json!({ "containerName": "main", "status": status });
        let request =
            serde_json::from_value(json!({ "task": task, "status": status, "containers": [container] })).unwrap();
        let _ = self.turn(|state, turn| state.submit_task_state_change(request, turn));
    }

    fn stop(&mut self, task: &str) {
        let request = serde_json::from_value(json!({ "task": task })).unwrap();
        let _ = self.turn(|state, turn| state.stop_task(request, turn));
    }

    fn used(&self) -> Vec<(&Demand, &Capacity, usize)> {
        self.state.instances.values().map(|i| (&i.used, &i.capacity, i.tasks.len())).collect()
    }
}

#[test]
fn a_damaged_record_is_an_error_of_its_own() {
    let mut state = State::new(&Config::default());
    assert!(state.restore(Kind::Task, "x", b"{").is_err());
    assert!(state.tasks.is_empty());
}

#[test]
fn sequence_numbers_rise_over_restarts_and_cost_few_writes() {
    let mut world = World::new();
    let instance = world.register_instance(1024, 1024);
    let mut highest = 0;
    let mut writes = 0;
    for _ in 0..50 {
        let (manifest, wrote) = world.turn(|state, turn| (state.manifest(&instance, turn).unwrap(), turn.writes.len()));
        assert!(manifest.timeline > highest);
        highest = manifest.timeline;
        writes += wrote;
    }
    assert_eq!(writes, 1);
    world.state = world.reread();
    let manifest = world.turn(|state, turn| state.manifest(&instance, turn)).unwrap();
    assert!(manifest.timeline > highest);
}

#[test]
fn a_stop_that_comes_before_the_start_was_acknowledged_is_what_is_sent() {
    let mut world = World::new();
    let instance = world.register_instance(1024, 1024);
    world.register_definition("web", 10, 0);
    let task = world.run("web").unwrap();
    world.stop(&task);
    let nothing_sent = |_: &Delivered| false;
    let (payload, items) = world.turn(|state, turn| state.payload(&instance, &nothing_sent, turn)).unwrap();
    assert_eq!(payload.tasks[0].desired_status, desired_status::STOPPED);
    world.state.delivered(&items);
    assert!(world.turn(|state, turn| state.payload(&instance, &nothing_sent, turn)).is_none());
}

#[test]
fn stops_come_first_in_a_payload() {
    let mut world = World::new();
    let instance = world.register_instance(1024, 1024);
    world.register_definition("web", 10, 0);
    let tasks: Vec<String> = (0..4).map(|_| world.run("web").unwrap()).collect();
    world.stop(&tasks[2]);
    let (payload, _) = world.turn(|state, turn| state.payload(&instance, &|_| false, turn)).unwrap();
    let wishes: Vec<_> = payload.tasks.iter().map(|task| task.desired_status.as_str()).collect();
    assert_eq!(wishes, ["STOPPED", "RUNNING", "RUNNING", "RUNNING"]);
}

#[test]
fn many_tasks_come_in_several_payloads_and_each_comes_once() {
    let mut world = World::new();
    let instance = world.register_instance(4096, 4096);
    world.register_definition("web", 10, 0);
    let mut tasks: Vec<String> = (0..25).map(|_| world.run("web").unwrap()).collect();
    let mut sent: Vec<Delivered> = Vec::new();
    let mut sizes = Vec::new();
    loop {
        let known = sent.clone();
        let next = world.turn(|state, turn| state.payload(&instance, &|item| known.contains(item), turn));
        let Some((_, items)) = next else { break };
        sizes.push(items.len());
        sent.extend(items);
    }
    assert_eq!(sizes, [10, 10, 5]);
    let mut ids: Vec<String> = sent.into_iter().map(|(id, _)| id).collect();
    ids.sort();
    tasks.sort();
    assert_eq!(ids, tasks);
}

#[test]
fn an_operators_attribute_outlives_a_registration_without_it_and_a_lost_capability_does_not() {
    let mut world = World::new();
    let named = |names: &[&str]| names.iter().map(|name| json!({ "name": name })).collect::<Vec<_>>();
    let resources = json!([{ "name": "CPU", "integerValue": 1 }, { "name": "MEMORY", "integerValue": 1 }]);
    let first = json!({ "totalResources": resources, "attributes": named(&["rack", "ecs.capability.task-eni"]) });
    let first = serde_json::from_value(first).unwrap();
    let answer = world.turn(|state, turn| state.register_container_instance(first, turn)).unwrap();
    let arn = answer.container_instance.unwrap().container_instance_arn;
    let again =
        json!({ "containerInstanceArn": arn, "totalResources": resources, "attributes": named(&["ecs.os-type"]) });
    let again = serde_json::from_value(again).unwrap();
    let answer = world.turn(|state, turn| state.register_container_instance(again, turn)).unwrap();
    let names: Vec<_> = answer.container_instance.unwrap().attributes.into_iter().map(|a| a.name).collect();
    assert_eq!(names, ["ecs.os-type", "rack"]);
}

/// One thing that happens.
#[derive(Debug, Clone)]
enum Step {
    Run(usize),
    Stop(usize),
    Report(usize, &'static str),
    Deliver(usize),
    Later,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..3_usize).prop_map(Step::Run),
        2 => (0..20_usize).prop_map(Step::Stop),
        4 => (0..20_usize, prop::sample::select(vec!["PENDING", "RUNNING", "STOPPED"])).prop_map(|(n, s)| Step::Report(n, s)),
        2 => (0..2_usize).prop_map(Step::Deliver),
        1 => Just(Step::Later),
    ]
}

proptest! {
    /// After any history: nothing is oversubscribed, what is used is the sum of what runs, a task never goes back, and
    /// the next process reads the same state.
    #[test]
    fn any_history_leaves_a_state_that_adds_up(steps in prop::collection::vec(step(), 0..60)) {
        let mut world = World::new();
        let instances = [world.register_instance(1000, 1000), world.register_instance(500, 300)];
        for (n, port) in [0, 80, 81].into_iter().enumerate() {
            world.register_definition(&format!("f{n}"), 100, port);
        }
        let mut tasks: Vec<String> = Vec::new();
        let mut seen: HashMap<String, (bool, bool)> = HashMap::new();
        for step in steps {
            match step {
                Step::Run(n) => tasks.extend(world.run(&format!("f{n}"))),
                Step::Stop(n) => if let Some(task) = tasks.get(n).cloned() { world.stop(&task) },
                Step::Report(n, status) => if let Some(task) = tasks.get(n).cloned() { world.report(&task, status) },
                Step::Deliver(n) => {
                    let sent = world.turn(|state, turn| state.payload(&instances[n], &|_| false, turn));
                    if let Some((_, items)) = sent {
                        world.state.delivered(&items);
                    }
                }
                Step::Later => {
                    world.now += 5000.0;
                    world.turn(|state, turn| state.prune(turn));
                }
            }
            for (used, capacity, count) in world.used() {
                prop_assert!(used.cpu <= capacity.cpu && used.memory <= capacity.memory);
                prop_assert_eq!(used.cpu, 100 * count as i64);
            }
            for (id, task) in &world.state.tasks {
                let wish_stopped = task.record.view.desired_status == desired_status::STOPPED;
                let before = seen.insert(id.clone(), (wish_stopped, task.record.stopped())).unwrap_or_default();
                prop_assert!(wish_stopped >= before.0 && task.record.stopped() >= before.1);
                prop_assert!(wish_stopped || !task.record.stopped());
            }
        }
        let reread = world.reread();
        let used = |state: &State| state.instances.iter().map(|(id, i)| (id.clone(), i.used.clone(), i.tasks.clone())).collect::<Vec<_>>();
        prop_assert_eq!(used(&reread), used(&world.state));
        let views = |state: &State| state.tasks.iter().map(|(id, t)| (id.clone(), t.record.view.clone())).collect::<HashMap<_, _>>();
        prop_assert_eq!(views(&reread), views(&world.state));
        prop_assert_eq!(reread.stopped.len(), world.state.stopped.len());
    }
}
