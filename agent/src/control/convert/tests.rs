use super::*;

fn border() -> Border {
    Border { origin: Origin::ControlPlane, disable_privileged: false, remap: None, now_ms: 7 }
}

fn container(name: &str) -> acs::Container {
    acs::Container { name: name.into(), image: "app:1".into(), essential: true, ..acs::Container::default() }
}

fn payload(containers: Vec<acs::Container>) -> acs::Task {
    acs::Task {
        arn: "arn:aws:ecs:local:000000000000:task/default/0123abcd".into(),
        task_cluster_arn: "arn:aws:ecs:local:000000000000:cluster/default".into(),
        family: "web".into(),
        version: "3".into(),
        desired_status: "RUNNING".into(),
        cpu: Some(0.25),
        memory: Some(64),
        containers,
        ..acs::Task::default()
    }
}

fn docker(config: &str, host_config: &str) -> Option<acs::DockerConfig> {
    Some(acs::DockerConfig { version: "1.32".into(), config: config.into(), host_config: host_config.into() })
}

fn refusal(payload: &acs::Task) -> String {
    task(payload, border()).unwrap_err().to_string()
}

#[test]
fn vcpus_become_units_and_the_arn_gives_the_id() {
    let made = task(&payload(vec![container("app")]), border()).unwrap();
    assert_eq!((made.id.as_str(), made.cpu, made.memory), ("0123abcd", 256, 64));
    assert_eq!(made.network, NetworkMode::Bridge);
}

#[test]
fn settings_in_dockers_words_are_taken_over() {
    let mut c = container("app");
    c.docker_config = docker(
        r#"{"User":"nobody","WorkingDir":"/srv","Hostname":"h","Labels":{"a":"b"}}"#,
        r#"{"ReadonlyRootfs":true,"CapAdd":["NET_ADMIN"],"CapDrop":["ALL"],"MemoryReservation":33554432,
            "Ulimits":[{"Name":"nofile","Soft":10,"Hard":-1}],"ExtraHosts":["db:fd00::1"],"Dns":["1.1.1.1"],
            "Tmpfs":{"/run":"size=64m"},"LogConfig":{"Type":"none"},"NetworkMode":"bridge","CapFuture":null}"#,
    );
    let made = task(&payload(vec![c]), border()).unwrap();
    let c = &made.containers[0];
    assert_eq!((c.user.as_deref(), c.working_directory.as_deref()), (Some("nobody"), Some("/srv")));
    assert!(c.readonly_rootfs && c.cap_add == ["NET_ADMIN"] && c.cap_drop == ["ALL"]);
    assert_eq!((c.memory_reservation, c.log), (32, Log::Discard));
    assert_eq!(c.ulimits[0], crate::task::Ulimit { name: "nofile".into(), soft: 10, hard: u64::MAX });
    assert_eq!(c.extra_hosts, [("db".to_owned(), "fd00::1".to_owned())]);
    assert_eq!(c.tmpfs["/run"], "size=64m");
}

#[test]
fn what_cannot_be_done_is_refused_by_field_and_value() {
    let with = |change: fn(&mut acs::Task)| {
        let mut p = payload(vec![container("app")]);
        change(&mut p);
        refusal(&p)
    };
    assert_eq!(
        with(|p| p.network_mode = "macvlan".into()),
        "networkMode `macvlan`: must be awsvpc, bridge, host or none"
    );
    assert_eq!(with(|p| p.pid_mode = "host".into()), "pidMode `host`: is not supported yet");
    assert_eq!(
        with(|p| p.containers[0].memory = Some(2)),
        "containerDefinitions[0].memory `2`: must be 4 MiB at least"
    );
    assert_eq!(
        with(|p| p.containers[0].memory = Some(100)),
        "containerDefinitions[0].memory `100`: is more than the task's 64 MiB"
    );
    assert_eq!(
        with(|p| p.containers[0].docker_config = docker("", r#"{"LogConfig":{"Type":"awslogs"}}"#)),
        "containerDefinitions[0].logConfiguration.logDriver `awslogs`: is not supported yet: use json-file or none"
    );
    assert!(
        with(|p| p.containers[0].docker_config = docker("{", ""))
            .starts_with("containerDefinitions[0].dockerConfig.config")
    );
    assert_eq!(
        with(|p| p.containers[0].docker_config = docker(r#"{"Tty":true}"#, "")),
        "containerDefinitions[0].pseudoTerminal `true`: is not supported yet"
    );
    assert_eq!(with(|p| p.containers.clear()), "containerDefinitions: must have at least one container");
    assert_eq!(
        with(|p| p.containers[0].essential = false),
        "containerDefinitions: at least one container must be essential"
    );
    assert!(with(|p| p.containers[0].name = "a/b".into()).contains("container name `a/b`"));
}

#[test]
fn circles_are_refused_and_named() {
    let depends = |name: &str, on: &str| {
        let dependency = acs::ContainerDependency { container_name: on.into(), condition: "START".into() };
        acs::Container { depends_on: vec![dependency], ..container(name) }
    };
    assert_eq!(
        refusal(&payload(vec![container("x"), depends("a", "b"), depends("b", "a")])),
        "containerDefinitions[1].dependsOn `a`: depends on itself, by way of others"
    );
    assert_eq!(
        refusal(&payload(vec![depends("a", "zzz")])),
        "containerDefinitions[0].dependsOn `zzz`: is the name of no container of this task"
    );
    assert!(task(&payload(vec![depends("a", "b"), depends("b", "c"), container("c")]), border()).is_ok());
}

#[test]
fn ports_are_checked_against_the_network_mode() {
    let with = |mode: &str, mapping: acs::PortMapping| {
        let mut p = payload(vec![acs::Container { port_mappings: vec![mapping], ..container("app") }]);
        p.network_mode = mode.into();
        task(&p, border())
    };
    let port = |container, host| acs::PortMapping {
        container_port: Some(container),
        host_port: Some(host),
        ..acs::PortMapping::default()
    };
    assert_eq!(with("bridge", port(80, 0)).unwrap().containers[0].ports[0].host_port, None);
    assert_eq!(
        with("host", port(80, 8080)).unwrap_err().to_string(),
        "containerDefinitions[0].portMappings[0].hostPort `8080`: must be the containerPort 80 in host mode"
    );
    assert!(with("bridge", port(70_000, 0)).is_err() && with("bridge", port(0, 0)).is_err());
    let range = acs::PortMapping { container_port_range: "7000-7009".into(), ..acs::PortMapping::default() };
    assert_eq!(with("bridge", range).unwrap().containers[0].ports[0].count, 10);
}

#[test]
fn the_same_port_of_the_host_is_not_given_to_two_containers_of_a_task() {
    let mapping = acs::PortMapping { container_port: Some(80), host_port: Some(8080), ..acs::PortMapping::default() };
    let with_port = |name| acs::Container { port_mappings: vec![mapping.clone()], ..container(name) };
    assert_eq!(
        refusal(&payload(vec![with_port("a"), with_port("b")])),
        "containerDefinitions[1].portMappings[0].hostPort `8080`: is asked for twice in this task"
    );
}

#[test]
fn a_runs_command_replaces_the_definitions() {
    let mut c = container("app");
    c.command = vec!["a".into()];
    c.overrides = r#"{"command":["b","c"]}"#.into();
    assert_eq!(task(&payload(vec![c.clone()]), border()).unwrap().containers[0].command, ["b", "c"]);
    c.overrides = "{}".into();
    assert_eq!(task(&payload(vec![c]), border()).unwrap().containers[0].command, ["a"]);
}

#[test]
fn volumes_are_of_the_host_or_empty() {
    let mut p = payload(vec![container("app")]);
    p.volumes = vec![acs::Volume { name: "v".into(), ..acs::Volume::default() }];
    assert_eq!(task(&p, border()).unwrap().volumes["v"], Volume::Empty);
    p.volumes[0].host = Some(acs::HostVolumeProperties { source_path: "/srv".into() });
    assert_eq!(task(&p, border()).unwrap().volumes["v"], Volume::Host("/srv".into()));
    p.volumes[0].kind = "efs".into();
    assert_eq!(refusal(&p), "volumes[0].type `efs`: is not supported yet: use host");
    p.volumes[0] = acs::Volume { name: "../up".into(), ..acs::Volume::default() };
    assert!(refusal(&p).contains("volume name `../up`"), "{}", refusal(&p));
}

#[test]
fn an_address_of_the_control_planes_is_used() {
    let mut p = payload(vec![container("app")]);
    p.network_mode = "awsvpc".into();
    assert_eq!(task(&p, border()).unwrap().interface, None);
    p.elastic_network_interfaces = vec![acs::ElasticNetworkInterface {
        mac_address: "02:00:00:00:00:0a".into(),
        attachment_arn: "arn:attachment".into(),
        ipv4_addresses: vec![acs::Ipv4AddressAssignment { private_address: "10.0.2.7".into(), primary: true }],
        ..acs::ElasticNetworkInterface::default()
    }];
    let interface = task(&p, border()).unwrap().interface.unwrap();
    assert_eq!((interface.ipv4.unwrap().to_string(), interface.mac), ("10.0.2.7".into(), Some([2, 0, 0, 0, 0, 10])));
    p.elastic_network_interfaces[0].mac_address = "xx".into();
    assert!(refusal(&p).contains("macAddress"));
}

#[test]
fn privileged_containers_can_be_forbidden() {
    let mut c = container("app");
    c.docker_config = docker("", r#"{"Privileged":true}"#);
    let p = payload(vec![c]);
    assert!(task(&p, border()).unwrap().containers[0].privileged);
    let refused = task(&p, Border { disable_privileged: true, ..border() }).unwrap_err();
    assert_eq!(refused.field, "containerDefinitions[0].privileged");
}

fn remapping() -> Border {
    Border { remap: Some("1000000:65536".parse().unwrap()), ..border() }
}

#[test]
fn users_are_mapped_as_the_node_does_it_unless_a_label_says_otherwise() {
    let of = |label: &str, border| {
        let mut c = container("app");
        let labels =
            if label.is_empty() { String::new() } else { format!(r#"{{"Labels":{{"berth.userns":"{label}"}}}}"#) };
        c.docker_config = docker(&labels, "");
        task(&payload(vec![c]), border).map(|t| t.remap.is_some()).map_err(|e| e.to_string())
    };
    assert_eq!((of("", border()), of("host", border())), (Ok(false), Ok(false)));
    assert_eq!(
        (of("", remapping()), of("remap", remapping()), of("host", remapping())),
        (Ok(true), Ok(true), Ok(false))
    );
    let field = "containerDefinitions[0].dockerLabels.berth.userns";
    assert!(of("remap", border()).unwrap_err().starts_with(&format!("{field} `remap`: this node maps no users")));
    assert_eq!(of("some", remapping()).unwrap_err(), format!("{field} `some`: must be host or remap"));
}

#[test]
fn containers_of_a_task_are_mapped_alike() {
    let labelled = |name: &str, users: &str| {
        let mut c = container(name);
        c.docker_config = docker(&format!(r#"{{"Labels":{{"berth.userns":"{users}"}}}}"#), "");
        c
    };
    let refused = |users: [&str; 2]| {
        let p = payload(vec![labelled("a", users[0]), labelled("b", users[1]), container("c")]);
        task(&p, remapping()).map_err(|e| e.field)
    };
    assert_eq!(refused(["host", "remap"]).unwrap_err(), "containerDefinitions[1].dockerLabels.berth.userns");
    assert!(refused(["host", "host"]).unwrap().remap.is_none());
}

#[test]
fn what_mapped_users_cannot_have_is_refused_by_its_field() {
    let mut p = payload(vec![container("app")]);
    p.network_mode = "host".into();
    assert_eq!(task(&p, remapping()).unwrap_err().field, "networkMode");
    p.network_mode = "awsvpc".into();
    assert!(task(&p, remapping()).is_ok());
    p.containers[0].docker_config = docker("", r#"{"Privileged":true}"#);
    assert_eq!(task(&p, remapping()).unwrap_err().field, "containerDefinitions[0].privileged");
    p.containers[0].docker_config = docker(r#"{"Labels":{"berth.userns":"host"}}"#, r#"{"Privileged":true}"#);
    assert!(task(&p, remapping()).is_ok());
}
