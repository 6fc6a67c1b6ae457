use super::{FieldError, task_definition, unknown_fields};
use berth_wire::ecs::RegisterTaskDefinitionRequest;
use proptest::prelude::*;
use serde_json::{Value, json};

/// A definition of one good container with `task` and `container` put over it; null takes a member away.
fn definition(task: Value, container: Value) -> Value {
    let mut inner = json!({ "name": "main", "image": "busybox", "memory": 64 });
    put(&mut inner, container);
    let mut outer = json!({ "family": "web", "containerDefinitions": [inner] });
    put(&mut outer, task);
    outer
}

fn put(into: &mut Value, members: Value) {
    for (name, value) in members.as_object().unwrap() {
        into[name] = value.clone();
    }
}

fn check(definition: &Value) -> Vec<FieldError> {
    assert_eq!(unknown_fields(definition), [], "{definition}");
    let request: RegisterTaskDefinitionRequest = serde_json::from_value(definition.clone()).unwrap();
    task_definition(&request).err().unwrap_or_default()
}

/// The only fault of the definition is in `field`, has `value`, and says `words`.
#[track_caller]
fn faulty(task: Value, container: Value, field: &str, value: &str, words: &str) {
    let definition = definition(task, container);
    let faults = check(&definition);
    assert_eq!(faults.len(), 1, "{definition}: {faults:?}");
    assert_eq!((faults[0].field.as_str(), faults[0].value.as_str()), (field, value));
    assert!(faults[0].problem.contains(words), "{}", faults[0]);
}

#[track_caller]
fn fine(task: Value, container: Value) {
    let definition = definition(task, container);
    assert_eq!(check(&definition), [], "{definition}");
}

#[test]
fn definitions_that_ecs_takes_are_taken() {
    fine(json!({}), json!({}));
    fine(json!({}), json!({ "memory": null, "memoryReservation": 32 }));
    fine(json!({ "memory": "0.5 GB", "cpu": ".25 vCPU" }), json!({ "memory": null, "cpu": 256 }));
    fine(json!({ "networkMode": "host" }), json!({ "portMappings": [{ "containerPort": 80, "hostPort": 80 }] }));
    fine(json!({ "networkMode": "awsvpc" }), json!({ "portMappings": [{ "containerPort": 80 }] }));
    fine(json!({ "requiresCompatibilities": ["EC2"], "executionRoleArn": "arn:x" }), json!({ "user": "1000:100" }));
    let ports = json!([
        { "containerPort": 80, "hostPort": 8080 },
        { "containerPort": 80, "hostPort": 8080, "protocol": "udp" },
        { "containerPort": 81, "hostPort": 0 },
        { "containerPort": 82 },
        { "containerPortRange": "9000-9099" },
    ]);
    fine(json!({}), json!({ "portMappings": ports }));
    let volumes = json!([{ "name": "data", "host": { "sourcePath": "/srv" } }, { "name": "scratch" }]);
    let mounts = json!([
        { "sourceVolume": "data", "containerPath": "/data", "readOnly": true },
        { "sourceVolume": "scratch", "containerPath": "/tmp/x" },
    ]);
    fine(json!({ "volumes": volumes }), json!({ "mountPoints": mounts }));
    let linux = json!({ "capabilities": { "add": ["NET_ADMIN"], "drop": ["ALL"] }, "tmpfs": [{ "containerPath": "/run", "size": 8 }] });
    fine(json!({}), json!({ "linuxParameters": linux, "logConfiguration": { "logDriver": "json-file" } }));
}

#[test]
fn a_task_as_a_whole_is_checked() {
    faulty(json!({ "family": "" }), json!({}), "family", "", "is required");
    faulty(json!({ "family": "a b" }), json!({}), "family", "a b", "letters, digits");
    faulty(
        json!({ "networkMode": "nat" }),
        json!({}),
        "networkMode",
        "nat",
        "must be one of bridge, host, awsvpc, none",
    );
    faulty(json!({ "memory": "4" }), json!({ "memory": null }), "memory", "4", "at least 6 MiB");
    faulty(
        json!({ "memory": "much" }),
        json!({ "memory": null, "memoryReservation": 6 }),
        "memory",
        "much",
        "number of MiB",
    );
    faulty(json!({ "cpu": "0" }), json!({}), "cpu", "0", "1 to 196608");
    faulty(json!({ "cpu": "128" }), json!({ "cpu": 129 }), "cpu", "128", "129 CPU units");
    faulty(json!({ "memory": "32" }), json!({ "memory": null, "memoryReservation": 33 }), "memory", "32", "33 MiB");
    faulty(json!({ "containerDefinitions": [] }), json!({}), "containerDefinitions", "", "at least one container");
    faulty(json!({}), json!({ "essential": false }), "containerDefinitions", "", "must be essential");
    faulty(
        json!({ "requiresCompatibilities": ["FARGATE"] }),
        json!({}),
        "requiresCompatibilities[0]",
        "FARGATE",
        "EC2",
    );
    let windows = json!({ "runtimePlatform": { "operatingSystemFamily": "WINDOWS_SERVER_2022_CORE" } });
    faulty(windows, json!({}), "runtimePlatform.operatingSystemFamily", "WINDOWS_SERVER_2022_CORE", "LINUX");
    let twice = json!({ "volumes": [{ "name": "a" }, { "name": "a" }] });
    faulty(twice, json!({}), "volumes[1].name", "a", "another volume");
    let relative = json!({ "volumes": [{ "name": "a", "host": { "sourcePath": "srv" } }] });
    faulty(relative, json!({}), "volumes[0].host.sourcePath", "srv", "absolute path");
}

#[test]
fn a_container_is_checked() {
    let at = |member: &str| format!("containerDefinitions[0].{member}");
    faulty(json!({}), json!({ "name": null }), &at("name"), "", "is required");
    faulty(json!({}), json!({ "name": "a.b" }), &at("name"), "a.b", "letters, digits");
    faulty(json!({}), json!({ "image": null }), &at("image"), "", "is required");
    faulty(json!({}), json!({ "image": "UPPER" }), &at("image"), "UPPER", "lowercase");
    faulty(json!({}), json!({ "memory": 5 }), &at("memory"), "5", "at least 6 MiB");
    faulty(json!({}), json!({ "memory": null }), &at("memory"), "", "is required");
    faulty(json!({ "memory": "32" }), json!({}), &at("memory"), "64", "more than the task's memory, 32 MiB");
    faulty(json!({}), json!({ "memoryReservation": 65 }), &at("memory"), "64", "memoryReservation, 65 MiB");
    faulty(json!({}), json!({ "cpu": -1 }), &at("cpu"), "-1", "negative");
    faulty(json!({}), json!({ "user": "a:b:c" }), &at("user"), "a:b:c", "USER:GROUP");
    faulty(json!({}), json!({ "workingDirectory": "x" }), &at("workingDirectory"), "x", "absolute path");
    faulty(json!({}), json!({ "stopTimeout": -1 }), &at("stopTimeout"), "-1", "0 or more");
    faulty(
        json!({}),
        json!({ "environment": [{ "name": "A=B", "value": "x" }] }),
        &at("environment[0].name"),
        "A=B",
        "`=`",
    );
    faulty(
        json!({}),
        json!({ "mountPoints": [{ "sourceVolume": "v", "containerPath": "/v" }] }),
        &at("mountPoints[0].sourceVolume"),
        "v",
        "volumes",
    );
    faulty(json!({}), json!({ "dnsServers": ["localhost"] }), &at("dnsServers[0]"), "localhost", "IP address");
    faulty(json!({ "networkMode": "awsvpc" }), json!({ "hostname": "h" }), &at("hostname"), "h", "awsvpc");
    let ulimits = |limit: Value| json!({ "ulimits": [limit] });
    faulty(
        json!({}),
        ulimits(json!({ "name": "files", "softLimit": 1, "hardLimit": 1 })),
        &at("ulimits[0].name"),
        "files",
        "nofile",
    );
    faulty(
        json!({}),
        ulimits(json!({ "name": "core", "softLimit": -1, "hardLimit": 1 })),
        &at("ulimits[0].softLimit"),
        "-1",
        "hardLimit",
    );
    let linux = |linux: Value| json!({ "linuxParameters": linux });
    faulty(
        json!({}),
        linux(json!({ "capabilities": { "add": ["FLY"] } })),
        &at("linuxParameters.capabilities.add[0]"),
        "FLY",
        "capability",
    );
    faulty(
        json!({}),
        linux(json!({ "tmpfs": [{ "containerPath": "/x", "size": 0 }] })),
        &at("linuxParameters.tmpfs[0].size"),
        "0",
        "1 MiB",
    );
}

#[test]
fn ports_are_checked() {
    let at = |member: &str| format!("containerDefinitions[0].portMappings[0]{member}");
    let port = |mapping: Value| json!({ "portMappings": [mapping] });
    let mode = |mode: &str| json!({ "networkMode": mode });
    faulty(json!({}), port(json!({ "hostPort": 80 })), &at(".containerPort"), "", "is required");
    faulty(json!({}), port(json!({ "containerPort": 0 })), &at(".containerPort"), "0", "1 to 65535");
    faulty(json!({}), port(json!({ "containerPort": 80, "hostPort": 65536 })), &at(".hostPort"), "65536", "1 to 65535");
    faulty(json!({}), port(json!({ "containerPort": 80, "protocol": "sctp" })), &at(".protocol"), "sctp", "tcp, udp");
    for kind in ["host", "awsvpc"] {
        let other = port(json!({ "containerPort": 80, "hostPort": 81 }));
        faulty(mode(kind), other, &at(".hostPort"), "81", "same as containerPort, 80");
    }
    faulty(mode("none"), port(json!({ "containerPort": 80 })), &at(""), "80", "networkMode none");
    for (range, words) in
        [("9-8", "ends before"), ("1-101", "more than 100"), ("x", "FIRST-LAST"), ("0-5", "FIRST-LAST")]
    {
        faulty(json!({}), port(json!({ "containerPortRange": range })), &at(".containerPortRange"), range, words);
    }
    let two = |first: Value, second: Value| json!({ "portMappings": [first, second] });
    let twice = two(json!({ "containerPort": 80, "hostPort": 9 }), json!({ "containerPort": 81, "hostPort": 9 }));
    faulty(json!({}), twice, "containerDefinitions[0].portMappings[1].hostPort", "9", "twice for tcp");
    let twice = two(json!({ "containerPort": 80 }), json!({ "containerPort": 80 }));
    faulty(mode("awsvpc"), twice, "containerDefinitions[0].portMappings[1].containerPort", "80", "twice for tcp");
}

/// Containers `a`, `b`, ... where each depends on those named.
fn depending(arrows: &[&[(&str, &str)]]) -> Value {
    let container = |(index, arrows): (usize, &&[(&str, &str)])| {
        let name = char::from(b'a' + u8::try_from(index).unwrap()).to_string();
        let on = |(name, condition): &(&str, &str)| json!({ "containerName": name, "condition": condition });
        let depends_on: Vec<Value> = arrows.iter().map(on).collect();
        json!({ "name": name, "image": "busybox", "memory": 64, "essential": index == 0, "dependsOn": depends_on })
    };
    let containers: Vec<Value> = arrows.iter().enumerate().map(container).collect();
    json!({ "family": "web", "containerDefinitions": containers })
}

#[track_caller]
fn fault_of(arrows: &[&[(&str, &str)]]) -> String {
    let faults = check(&depending(arrows));
    assert_eq!(faults.len(), 1, "{faults:?}");
    faults[0].to_string()
}

#[test]
fn dependencies_are_checked() {
    assert_eq!(check(&depending(&[&[("b", "SUCCESS"), ("c", "START")], &[("c", "COMPLETE")], &[]])), []);
    let at = "containerDefinitions[0].dependsOn[0]";
    assert_eq!(
        fault_of(&[&[("x", "START")]]),
        format!("{at}.containerName: is not a container of this task definition (got `x`)")
    );
    assert_eq!(fault_of(&[&[("a", "START")]]), format!("{at}.containerName: is the container itself (got `a`)"));
    assert!(fault_of(&[&[("b", "READY")], &[]]).contains("START, COMPLETE, SUCCESS, HEALTHY"));
    assert!(fault_of(&[&[("b", "HEALTHY")], &[]]).contains("no healthCheck"));
    assert!(fault_of(&[&[], &[("a", "SUCCESS")]]).contains("`a` is essential"));
    assert_eq!(
        fault_of(&[&[("b", "START")], &[("c", "START")], &[("b", "START")]]),
        "containerDefinitions[2].dependsOn[0].containerName: is circular: b -> c -> b (got `b`)"
    );
}

#[test]
fn links_are_arrows_too() {
    let mut definition = depending(&[&[("b", "START")], &[]]);
    definition["containerDefinitions"][1]["links"] = json!(["a:alias"]);
    let faults = check(&definition);
    assert_eq!(faults.len(), 1, "{faults:?}");
    assert!(faults[0].problem.contains("a -> b -> a"), "{}", faults[0]);
}

#[test]
fn what_is_not_supported_yet_is_refused_by_name() {
    let container = [
        ("secrets", json!([{ "name": "A", "valueFrom": "arn" }])),
        ("environmentFiles", json!([{ "type": "s3", "value": "arn" }])),
        ("repositoryCredentials", json!({ "credentialsParameter": "arn" })),
        ("healthCheck", json!({ "command": ["CMD", "true"] })),
        ("restartPolicy", json!({ "enabled": true })),
        ("resourceRequirements", json!([{ "type": "GPU", "value": "1" }])),
        ("firelensConfiguration", json!({ "type": "fluentbit" })),
        ("pseudoTerminal", json!(true)),
        ("credentialSpecs", json!(["x"])),
    ];
    for (member, value) in container {
        let faults = check(&definition(json!({}), json!({ member: value })));
        let expected = format!("containerDefinitions[0].{member}: is not supported yet");
        assert_eq!(faults.iter().map(FieldError::to_string).collect::<Vec<_>>(), [expected]);
    }
    let volume = json!({ "volumes": [{ "name": "v", "efsVolumeConfiguration": { "fileSystemId": "fs-1" } }] });
    faulty(volume, json!({}), "volumes[0].efsVolumeConfiguration", "", "not supported yet");
    faulty(json!({ "pidMode": "host" }), json!({}), "pidMode", "host", "not supported yet");
    let log = json!({ "logConfiguration": { "logDriver": "awslogs" } });
    faulty(
        json!({}),
        log,
        "containerDefinitions[0].logConfiguration.logDriver",
        "awslogs",
        "not supported yet: use one of json-file",
    );
}

#[test]
fn all_faults_are_told_at_once() {
    let bad = definition(json!({ "family": "a b", "networkMode": "nat" }), json!({ "memory": 1, "image": "A" }));
    let fields: Vec<_> = check(&bad).into_iter().map(|fault| fault.field).collect();
    assert_eq!(fields, ["family", "networkMode", "containerDefinitions[0].image", "containerDefinitions[0].memory"]);
}

#[test]
fn unknown_members_are_refused_with_the_name_that_was_meant() {
    let told = |value: Value| unknown_fields(&value).iter().map(FieldError::to_string).collect::<Vec<_>>();
    assert_eq!(
        told(json!({ "family": "x", "networkmode": "host" })),
        ["networkmode: is not a member of a task definition: did you mean `networkMode`?"]
    );
    let nested = json!({ "containerDefinitions": [{ "portMappings": [{ "containerport": 80 }], "comand": [] }] });
    assert_eq!(
        told(nested),
        [
            "containerDefinitions[0].comand: is not a member of a task definition: did you mean `command`?",
            "containerDefinitions[0].portMappings[0].containerport: is not a member of a task definition: did you mean `containerPort`?",
        ]
    );
    assert_eq!(told(json!({ "zzzzzzzz": 1 })), ["zzzzzzzz: is not a member of a task definition"]);
}

#[test]
fn members_of_the_wrong_type_are_refused_with_their_value() {
    let told = |value: Value| unknown_fields(&value).iter().map(FieldError::to_string).collect::<Vec<_>>();
    assert_eq!(told(json!({ "cpu": 256 })), ["cpu: must be a string (got `256`)"]);
    let container = |member: Value| json!({ "containerDefinitions": [member] });
    assert_eq!(
        told(container(json!({ "memory": "64" }))),
        ["containerDefinitions[0].memory: must be a whole number (got `\"64\"`)"]
    );
    assert_eq!(
        told(container(json!({ "command": "sh" }))),
        ["containerDefinitions[0].command: must be a list (got `\"sh\"`)"]
    );
    assert_eq!(
        told(container(json!({ "essential": 1 }))),
        ["containerDefinitions[0].essential: must be true or false (got `1`)"]
    );
    assert_eq!(told(json!([])), ["the definition: must be an object (got `[]`)"]);
}

fn json_value() -> impl Strategy<Value = Value> {
    let members = [
        "family",
        "containerDefinitions",
        "memory",
        "cpu",
        "name",
        "image",
        "portMappings",
        "hostPort",
        "environment",
        "x",
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[a-z0-9./:@-]{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((prop::sample::select(members.to_vec()), inner), 0..4).prop_map(|pairs| {
                Value::Object(pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
            }),
        ]
    })
}

proptest! {
    /// Whatever a file holds, there is an answer; and what has no unknown member can be read.
    #[test]
    fn any_json_is_judged(value in json_value()) {
        if unknown_fields(&value).is_empty() {
            let request: RegisterTaskDefinitionRequest = serde_json::from_value(value).unwrap();
            let _ = task_definition(&request);
        }
    }
}

/// Every member that the wire type writes is known to the schema, and the other way round.
#[test]
fn the_schema_has_the_members_of_the_wire_types() {
    fn sample(members: super::schema::Members) -> Value {
        fn of(kind: &super::schema::Kind) -> Value {
            use super::schema::Kind;
            match kind {
                Kind::Text => json!("text"),
                Kind::Int => json!(7),
                Kind::Bool => json!(true),
                Kind::Map => json!({ "key": "text" }),
                Kind::List(item) => json!([of(item)]),
                Kind::Object(members) => sample(members),
            }
        }
        Value::Object(members.iter().map(|(name, kind)| ((*name).to_owned(), of(kind))).collect())
    }
    let sample = sample(super::schema::DEFINITION);
    let read: RegisterTaskDefinitionRequest = serde_json::from_value(sample.clone()).unwrap();
    assert_eq!(serde_json::to_value(&read).unwrap(), sample);
    assert_eq!(unknown_fields(&sample), []);
}
