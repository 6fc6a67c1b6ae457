use super::*;

fn host() -> HostFacts {
    HostFacts { cpus: 2, memory_mib: 3934, ephemeral_ports: PortRange { first: 32768, last: 60999 } }
}

fn file(text: &str) -> Partial {
    toml::from_str(text).unwrap()
}

#[test]
fn nothing_said_is_a_whole_configuration() {
    let settings = Settings::resolve(Partial::default(), &host()).unwrap();
    assert_eq!(settings.cluster, "default");
    assert_eq!(settings.backend, Backend::Embedded(DEFAULT_LISTEN.parse().unwrap()));
    assert_eq!((settings.node.cpu, settings.node.task_memory()), (2048, 3934));
    assert_eq!(settings.net.bridge_v4.unwrap().address.to_string(), "10.88.0.1");
    assert_eq!(settings.node.dynamic_ports.to_string(), "61000-65535");
    assert_eq!(settings.socket, Path::new("/run/berth/agent.sock"));
}

#[test]
fn flags_win_over_the_environment_and_that_over_the_file() {
    let flags = Partial { cluster: Some("flag".into()), ..Partial::default() };
    let env = Partial { cluster: Some("env".into()), reserved_memory: Some(100), ..Partial::default() };
    let file = file("cluster = 'file'\nreserved-memory = 1\nreserved-cpu = 128");
    let settings = Settings::resolve(flags.over(env).over(file), &host()).unwrap();
    assert_eq!(
        (settings.cluster.as_str(), settings.node.reserved_memory, settings.node.reserved_cpu),
        ("flag", 100, 128)
    );
}

#[test]
fn an_unknown_setting_in_the_file_is_an_error() {
    assert!(toml::from_str::<Partial>("clutser = 'x'").unwrap_err().to_string().contains("clutser"));
}

#[test]
fn subnets_are_one_of_each_family_and_do_not_overlap() {
    let resolve = |text: &str| Settings::resolve(file(text), &host());
    assert!(resolve("bridge-subnets = ['10.1.0.0/24', '10.2.0.0/24']").is_err());
    assert!(resolve("bridge-subnets = ['10.1.0.0/16']\nawsvpc-subnets = ['10.1.2.0/24']").is_err());
    assert!(resolve("bridge-subnets = ['10.1.0.0/31']").is_err());
    let settings = resolve("bridge-subnets = ['10.1.0.0/24']\nawsvpc-subnets = []").unwrap();
    assert!(settings.net.bridge_v6.is_none() && settings.node.awsvpc.is_empty());
}

#[test]
fn users_of_tasks_are_the_hosts_unless_a_range_is_given() {
    assert_eq!(Settings::resolve(Partial::default(), &host()).unwrap().userns_remap, None);
    let settings = Settings::resolve(file("userns-remap = '1000000:65536'"), &host()).unwrap();
    assert_eq!(settings.userns_remap.unwrap().to_string(), "1000000:65536");
    let said = toml::from_str::<Partial>("userns-remap = '0:65536'").unwrap_err().to_string();
    assert!(said.contains("BASE 0 is the host's root"), "{said}");
}

#[test]
fn a_host_reserved_whole_is_refused() {
    let partial = Partial { reserved_memory: Some(3934), ..Partial::default() };
    let text = Settings::resolve(partial, &host()).unwrap_err().to_string();
    assert_eq!(text, "setting reserved-memory `3934`: the host has 3934");
}

#[test]
fn a_backend_without_a_scheme_is_https_as_for_the_stock_agent() {
    let of = |url: &str| backend(Some(url), None);
    assert_eq!(of("ecs.example:8443/").unwrap(), Backend::Remote("https://ecs.example:8443".into()));
    assert_eq!(of("http://10.0.0.1:51680").unwrap(), Backend::Remote("http://10.0.0.1:51680".into()));
    assert!(of("ftp://x").is_err());
}

#[test]
fn the_runtime_is_found_beside_the_agent_or_in_the_path() {
    let dir = tempfile::tempdir().unwrap();
    let runtime = dir.path().join("berth-runtime");
    assert!(find_runtime(None, Some(&dir.path().join("berth")), "").is_err());
    std::fs::write(&runtime, "").unwrap();
    assert_eq!(find_runtime(None, Some(&dir.path().join("berth")), "").unwrap(), runtime);
    assert_eq!(find_runtime(None, None, dir.path().to_str().unwrap()).unwrap(), runtime);
    assert!(find_runtime(Some(Path::new("/nonexistent")), None, "").is_err());
}
