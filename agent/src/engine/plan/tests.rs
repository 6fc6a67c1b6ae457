use super::*;
use crate::capacity::BridgeGrant;
use crate::task::{Dependency, MountPoint, VolumeFrom, fixtures};
use berth_runtime::net::plan::{NodeNet, Transport};
use std::path::Path;

fn node() -> NodePlan {
    let v4 = |a: &str, prefix| Some(IpPrefix { address: a.parse().unwrap(), prefix });
    NodePlan {
        net: NodeNet {
            bridge: "berth0".into(),
            table: "berth".into(),
            bridge_v4: v4("10.88.0.1", 16),
            bridge_v6: None,
            awsvpc_v4: v4("10.89.0.0", 16),
            awsvpc_v6: None,
        },
        cgroup_parent: "berth".into(),
        task_pids: None,
        stop_timeout_ms: 30_000,
        region: None,
    }
}

fn dirs() -> TaskDirs {
    TaskDirs::new("/r/tasks/t", "/s/tasks/t")
}

fn bridge_grant() -> Grant {
    let port = |transport, container_port, host_port, count| PortGrant {
        container: 0,
        transport,
        container_port,
        host_port,
        count,
        held: true,
    };
    Grant {
        ports: vec![port(Transport::Tcp, 80, 61000, 1), port(Transport::Udp, 5000, 61010, 3)],
        bridge: vec![BridgeGrant { container: 0, addresses: vec!["10.88.0.2".parse().unwrap()] }],
        ..Grant::default()
    }
}

#[test]
fn a_quarter_of_a_vcpu_is_a_quarter_of_each_period() {
    let plan = task_plan(&node(), &dirs(), &fixtures::task("t", NetworkMode::None), &Grant::default(), &[15]);
    assert_eq!((plan.limits.cpu_quota_us, plan.limits.cpu_period_us), (Some(25_000), Some(100_000)));
    assert_eq!((plan.limits.memory_bytes, plan.limits.swap_bytes), (Some(64 << 20), Some(0)));
}

#[test]
fn a_task_without_cpu_has_the_weight_of_its_containers_and_no_quota() {
    let mut task = fixtures::task("t", NetworkMode::None);
    task.cpu = 0;
    task.containers = vec![fixtures::container("a"), fixtures::container("b")];
    task.containers[0].cpu = 512;
    let limits = task_limits(&node(), &task);
    assert_eq!((limits.cpu_quota_us, limits.cpu_shares), (None, Some(514)));
}

#[test]
fn a_bridge_container_has_its_address_and_every_port_of_a_range() {
    let task = fixtures::task("t", NetworkMode::Bridge);
    let plan = task_plan(&node(), &dirs(), &task, &bridge_grant(), &[15]);
    let Some(NetPlan::Bridge { addresses, publish, pin, .. }) = &plan.containers[0].network else { panic!() };
    assert_eq!(addresses[0], IpPrefix { address: "10.88.0.2".parse().unwrap(), prefix: 16 });
    assert_eq!(pin, Path::new("/r/tasks/t/c/app/netns"));
    let ports: Vec<_> = publish.iter().map(|p| (p.host_port, p.container_port)).collect();
    assert_eq!(ports, [(61000, 80), (61010, 5000), (61011, 5001), (61012, 5002)]);
    assert!(plan.network.is_none());
}

#[test]
fn awsvpc_containers_share_the_tasks_namespace() {
    let task = fixtures::task("t", NetworkMode::Awsvpc);
    let grant = Grant { awsvpc: vec!["10.89.0.2".parse().unwrap()], ..Grant::default() };
    let plan = task_plan(&node(), &dirs(), &task, &grant, &[15]);
    let Some(NetPlan::Awsvpc { addresses, mac, .. }) = &plan.network else { panic!() };
    assert_eq!((addresses[0].prefix, mac.len()), (32, 6));
    assert!(plan.containers[0].network.is_none());
}

#[test]
fn host_ports_are_told_to_the_container() {
    let environment = environment(&node(), &bridge_grant(), 0);
    assert!(environment.contains(&("HOST_PORT_80".into(), "61000".into())));
    assert!(environment.contains(&("HOST_PORT_5002_UDP".into(), "61012".into())));
}

#[test]
fn a_link_waits_for_what_it_leads_to_unless_the_definition_says_more() {
    let mut container = fixtures::container("web");
    container.links = vec![(1, "db".into()), (2, "cache".into())];
    container.depends_on = vec![Dependency { on: 1, condition: Condition::Success }];
    let linked: Vec<_> = links(&container).collect();
    assert_eq!(linked, [plan::Dependency { on: 2, condition: plan::Condition::Start }]);
}

#[test]
fn volumes_of_another_container_are_added_and_its_circle_is_broken() {
    let mut task = fixtures::task("t", NetworkMode::None);
    task.containers = vec![fixtures::container("a"), fixtures::container("b")];
    task.volumes.insert("data".into(), Volume::Empty);
    task.volumes.insert("etc".into(), Volume::Host("/etc/app".into()));
    let mount = |volume: &str, path: &str| MountPoint { volume: volume.into(), path: path.into(), read_only: false };
    task.containers[0].mounts = vec![mount("data", "/data/deep"), mount("etc", "/data")];
    task.containers[0].volumes_from = vec![VolumeFrom { container: 1, read_only: false }];
    task.containers[1].volumes_from = vec![VolumeFrom { container: 0, read_only: true }];
    let list = mounts(&dirs(), &task, 1, &mut Vec::new());
    let expected =
        |source: &str, target: &str| BindMount { source: source.into(), target: target.into(), read_only: true };
    assert_eq!(list, [expected("/etc/app", "/data"), expected("/s/tasks/t/volumes/data", "/data/deep")]);
}

#[test]
fn a_container_without_a_stop_timeout_has_the_nodes() {
    let mut task = fixtures::task("t", NetworkMode::Host);
    task.containers.push(fixtures::container("b"));
    task.containers[1].stop_timeout_s = Some(2);
    let plan = task_plan(&node(), &dirs(), &task, &Grant::default(), &[15, 3]);
    let told: Vec<_> = plan.containers.iter().map(|c| (c.stop_timeout_ms, c.stop_signal)).collect();
    assert_eq!(told, [(30_000, 15), (2_000, 3)]);
    assert_eq!(plan.containers[0].network, Some(NetPlan::Host));
}
