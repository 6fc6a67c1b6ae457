//! A worker may be killed at any moment: `down` finds everything it has made.

use crate::world::{World, alone};
use berth_runtime::net;
use berth_runtime::net::plan::{NetPlan, Publish, Transport};
use std::io::Read;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const KIND: &str = "BERTH_NET_TEST_KILLED";

fn plan(world: &World, kind: &str) -> NetPlan {
    let ports: Vec<_> =
        (8000..8010).map(|port| Publish { transport: Transport::Tcp, host_port: port, container_port: 80 }).collect();
    if kind == "bridge" { world.bridge(2, &ports) } else { world.awsvpc(2) }
}

/// Kills a worker after each of many times, from before its first act to after its last.
fn killed_everywhere(world: &World, kind: &str) {
    net::node::up(&world.node).unwrap();
    let plan = plan(world, kind);
    let before = world.everything();
    let begin = Instant::now();
    net::up(&plan).unwrap();
    let whole = begin.elapsed();
    net::down(&plan).unwrap();
    let plan_file = world.pin("plan");
    std::fs::write(&plan_file, berth_runtime::codec::Codec::to_bytes(&plan)).unwrap();
    let (mut early, mut half, mut late) = (0, 0, 0);
    // How long a worker takes depends on what else the machine does: the moment of the kill sweeps from too early to
    // too late, and again.
    let mut moment = whole;
    for step in 0..80 {
        if early >= 5 && half >= 15 && late >= 3 {
            break;
        }
        let mut worker = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "--nocapture", "--test-threads=1", "killed::worker"])
            .env(KIND, &plan_file)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = worker.stdout.take().unwrap();
        wait_for_line(&mut said, "ready");
        // The worker goes on when its input ends; from then on every moment has its turn.
        drop(worker.stdin.take());
        let kill_at = Instant::now() + moment;
        while Instant::now() < kill_at {
            std::hint::spin_loop();
        }
        worker.kill().unwrap();
        worker.wait().unwrap();
        let mut rest = String::new();
        said.read_to_string(&mut rest).unwrap();
        let found = net::leftovers(&world.node, world.run.path()).unwrap();
        let (count, factor) = match (rest.contains("done"), found.no_task()) {
            (true, _) => (&mut late, 0.4),
            (false, true) => (&mut early, 1.3),
            (false, false) => (&mut half, 1.07),
        };
        *count += 1;
        moment = moment.mul_f64(factor).max(Duration::from_micros(20));
        net::down(&plan).unwrap();
        let left = net::leftovers(&world.node, world.run.path()).unwrap();
        assert!(left.no_task(), "after {step}: {left:?}");
    }
    std::fs::remove_file(&plan_file).unwrap();
    assert_eq!(world.everything(), before);
    println!("killed before {early}, in the middle {half}, after {late}");
    assert!(half > 5, "killed before {early}, in the middle {half}, after {late}");
}

fn wait_for_line(from: &mut impl Read, wanted: &str) {
    let mut text = String::new();
    let mut byte = [0];
    while !text.ends_with(&format!("{wanted}\n")) {
        assert_eq!(from.read(&mut byte).unwrap(), 1, "the worker ended: {text}");
        text.push(byte[0].into());
    }
}

/// Not a test of its own: the worker that the tests below kill. Without their variable it has nothing to do.
#[test]
#[ignore = "needs root"]
fn worker() {
    let Some(plan) = std::env::var_os(KIND) else { return };
    let plan: NetPlan = berth_runtime::codec::Codec::from_bytes(&std::fs::read(plan).unwrap()).unwrap();
    println!("ready");
    let _ = std::io::stdin().read_line(&mut String::new());
    let _netns = net::up(&plan).unwrap();
    println!("done");
    // Until it is killed.
    loop {
        std::thread::park();
    }
}

#[test]
#[ignore = "needs root"]
fn a_killed_bridge_worker_leaves_nothing_that_down_does_not_find() {
    alone("killed::a_killed_bridge_worker_leaves_nothing_that_down_does_not_find", |world| {
        killed_everywhere(world, "bridge");
    });
}

#[test]
#[ignore = "needs root"]
fn a_killed_awsvpc_worker_leaves_nothing_that_down_does_not_find() {
    alone("killed::a_killed_awsvpc_worker_leaves_nothing_that_down_does_not_find", |world| {
        killed_everywhere(world, "awsvpc");
    });
}
