//! A task definition from what was typed: from a file in ECS's own JSON, or from an image and flags.
//!
//! Pure but for reading the file. What the definition means is checked by the control plane, which names fields;
//! here only what cannot be put into one is refused.

use super::failure::Failure;
use serde_json::{Map, Value, json};
use std::path::Path;

/// Memory that is set aside for a container whose definition names none, in MiB: a definition must name some.
const DEFAULT_RESERVATION_MIB: u64 = 64;

/// The longest definition file taken, in bytes; Amazon ECS takes 64 KiB.
const MAX_FILE: usize = 1 << 20;

/// What a container is run with, as typed.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wanted<'a> {
    /// The image.
    pub(crate) image: &'a str,
    /// What to run instead of the image's command.
    pub(crate) command: &'a [String],
    /// Family and container name, or `None` for one made from the image's.
    pub(crate) name: Option<&'a str>,
    /// Network mode.
    pub(crate) network: &'a str,
    /// CPU units of the task.
    pub(crate) cpu: Option<u64>,
    /// Memory limit of the task in MiB.
    pub(crate) memory: Option<u64>,
    /// Published ports.
    pub(crate) publish: &'a [Publish],
    /// Environment.
    pub(crate) environment: &'a [(String, String)],
    /// Mounts.
    pub(crate) volumes: &'a [Volume],
    /// User in the container.
    pub(crate) user: Option<&'a str>,
    /// Whose users: `host` or `remap`.
    pub(crate) userns: Option<&'a str>,
}

/// The definition that means the same as the flags.
pub(crate) fn from_flags(wanted: &Wanted<'_>) -> Value {
    let family = match wanted.name {
        Some(name) => name.to_owned(),
        None => family_of(wanted.image),
    };
    let mut container = Map::new();
    container.insert("name".into(), json!(family));
    container.insert("image".into(), json!(wanted.image));
    container.insert("essential".into(), json!(true));
    if !wanted.command.is_empty() {
        container.insert("command".into(), json!(wanted.command));
    }
    if wanted.memory.is_none() {
        container.insert("memoryReservation".into(), json!(DEFAULT_RESERVATION_MIB));
    }
    if !wanted.publish.is_empty() {
        container.insert("portMappings".into(), wanted.publish.iter().map(Publish::mapping).collect());
    }
    if !wanted.environment.is_empty() {
        let pairs = wanted.environment.iter().map(|(name, value)| json!({"name": name, "value": value}));
        container.insert("environment".into(), pairs.collect());
    }
    if let Some(user) = wanted.user {
        container.insert("user".into(), json!(user));
    }
    if let Some(users) = wanted.userns {
        container.insert("dockerLabels".into(), json!({ "berth.userns": users }));
    }
    let mut volumes = Vec::new();
    let mut mounts = Vec::new();
    for (index, volume) in wanted.volumes.iter().enumerate() {
        let name = format!("v{index}");
        mounts.push(json!({"sourceVolume": name, "containerPath": volume.container, "readOnly": volume.read_only}));
        volumes.push(json!({"name": name, "host": {"sourcePath": volume.host}}));
    }
    let mut definition = Map::new();
    definition.insert("family".into(), json!(family));
    definition.insert("networkMode".into(), json!(wanted.network));
    if let Some(cpu) = wanted.cpu {
        definition.insert("cpu".into(), json!(cpu.to_string()));
    }
    if let Some(memory) = wanted.memory {
        definition.insert("memory".into(), json!(memory.to_string()));
    }
    if !volumes.is_empty() {
        container.insert("mountPoints".into(), Value::Array(mounts));
        definition.insert("volumes".into(), Value::Array(volumes));
    }
    definition.insert("containerDefinitions".into(), json!([container]));
    Value::Object(definition)
}

/// Reads a definition from `path`, or from standard input for `-`.
pub(crate) fn from_file(path: &Path) -> Result<Value, Failure> {
    let shown = path.display();
    let bytes = match path.as_os_str() == "-" {
        true => std::io::read_to_string(std::io::stdin()).map(String::into_bytes),
        false => std::fs::read(path),
    };
    let bytes = bytes.map_err(|e| Failure::caused(format!("read `{shown}`"), &e).code(super::failure::USAGE))?;
    if bytes.len() > MAX_FILE {
        return Err(Failure::usage(format!("read `{shown}`: got {} bytes, limit {MAX_FILE}", bytes.len())));
    }
    parse(&bytes).map_err(|problem| match problem {
        Problem::Syntax(e) => Failure::usage(format!("read `{shown}`: line {}, column {}: {e}", e.line(), e.column()))
            .hint("a task definition is JSON as `aws ecs register-task-definition --cli-input-json` takes it"),
        Problem::NotAnObject => Failure::usage(format!("read `{shown}`: not a JSON object"))
            .hint("a task definition is JSON as `aws ecs register-task-definition --cli-input-json` takes it"),
    })
}

#[derive(Debug)]
enum Problem {
    Syntax(serde_json::Error),
    NotAnObject,
}

fn parse(bytes: &[u8]) -> Result<Value, Problem> {
    let value: Value = serde_json::from_slice(bytes).map_err(Problem::Syntax)?;
    if value.is_object() { Ok(value) } else { Err(Problem::NotAnObject) }
}

/// A family made from an image's name: its last part without tag and digest, as far as a family may hold it.
fn family_of(image: &str) -> String {
    let last = image.rsplit('/').next().unwrap_or(image);
    let bare = last.split(['@', ':']).next().unwrap_or(last);
    let name: String =
        bare.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' || c == '_' { c } else { '-' }).collect();
    let name = name.trim_matches('-');
    if name.is_empty() { "task".to_owned() } else { name.to_owned() }
}

/// A port to publish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Publish {
    host: u16,
    container: u16,
    protocol: &'static str,
}

impl Publish {
    /// Reads `HOST:CONTAINER[/udp]`; the host's port may be 0 or left out, and is then chosen by the node.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let (ports, protocol) = match text.split_once('/') {
            None => (text, "tcp"),
            Some((ports, "tcp")) => (ports, "tcp"),
            Some((ports, "udp")) => (ports, "udp"),
            Some((_, other)) => return Err(format!("`{other}` is neither tcp nor udp")),
        };
        let parts: Vec<_> = ports.split(':').collect();
        let (host, container) = match parts[..] {
            [container] => ("0", container),
            [host, container] => (host, container),
            _ => return Err("expected HOST:CONTAINER; a port is always published on all addresses".to_owned()),
        };
        let number = |text: &str| text.parse::<u16>().map_err(|_| format!("`{text}` is not a port"));
        let (host, container) = (number(host)?, number(container)?);
        if container == 0 {
            return Err("the container's port cannot be 0".to_owned());
        }
        Ok(Self { host, container, protocol })
    }

    fn mapping(&self) -> Value {
        json!({"containerPort": self.container, "hostPort": self.host, "protocol": self.protocol})
    }
}

/// A directory or file of the host in the container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Volume {
    host: String,
    container: String,
    read_only: bool,
}

impl Volume {
    /// Reads `HOST:CONTAINER[:ro|:rw]`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let parts: Vec<_> = text.split(':').collect();
        let (host, container, read_only) = match parts[..] {
            [host, container] | [host, container, "rw"] => (host, container, false),
            [host, container, "ro"] => (host, container, true),
            [_, _, other] => return Err(format!("`{other}` is neither ro nor rw")),
            _ => return Err("expected HOST:CONTAINER[:ro]".to_owned()),
        };
        for path in [host, container] {
            if !path.starts_with('/') {
                return Err(format!("`{path}` is not an absolute path"));
            }
        }
        Ok(Self { host: host.to_owned(), container: container.to_owned(), read_only })
    }
}

/// Reads `NAME=VALUE`, or `NAME` for the command's own; `None` where it has none.
pub(crate) fn parse_environment(text: &str, own: impl Fn(&str) -> Option<String>) -> Option<(String, String)> {
    match text.split_once('=') {
        Some((name, value)) => Some((name.to_owned(), value.to_owned())),
        None => own(text).map(|value| (text.to_owned(), value)),
    }
}

/// Reads CPU units: `256`, or the same in CPUs: `0.25vcpu`.
pub(crate) fn parse_cpu(text: &str) -> Result<u64, String> {
    let lower = text.trim().to_ascii_lowercase();
    let Some(cpus) = lower.strip_suffix("vcpu") else {
        return lower.parse().map_err(|_| "expected units such as 256, or CPUs such as 0.25vcpu".to_owned());
    };
    match cpus.trim().parse::<f64>() {
        Ok(cpus) if cpus > 0.0 && cpus <= 10_000.0 => Ok((cpus * 1024.0).round() as u64),
        _ => Err(format!("`{cpus}` is not a number of CPUs")),
    }
}

/// Reads memory in MiB: `512`, `512m`, `2g`.
pub(crate) fn parse_memory(text: &str) -> Result<u64, String> {
    let lower = text.trim().to_ascii_lowercase();
    let digits = lower.trim_end_matches(|c: char| !c.is_ascii_digit());
    let factor = match lower[digits.len()..].trim() {
        "" | "m" | "mb" | "mib" => 1,
        "g" | "gb" | "gib" => 1024,
        _ => return Err("expected MiB such as 512, or GiB such as 2g".to_owned()),
    };
    let number: u64 = digits.parse().map_err(|_| "expected MiB such as 512, or GiB such as 2g".to_owned())?;
    number.checked_mul(factor).ok_or_else(|| "too much".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_alone_makes_a_definition_that_names_some_memory() {
        let wanted = Wanted { image: "127.0.0.1:5000/library/nginx:1.27", network: "bridge", ..Wanted::default() };
        assert_eq!(
            from_flags(&wanted),
            json!({
                "family": "nginx",
                "networkMode": "bridge",
                "containerDefinitions": [{
                    "name": "nginx",
                    "image": "127.0.0.1:5000/library/nginx:1.27",
                    "essential": true,
                    "memoryReservation": 64,
                }],
            })
        );
    }

    #[test]
    fn every_flag_has_its_place() {
        let wanted = Wanted {
            image: "busybox",
            command: &["sh".into(), "-c".into(), "date".into()],
            name: Some("clock"),
            network: "bridge",
            cpu: Some(256),
            memory: Some(64),
            publish: &[Publish::parse("8053:53/udp").unwrap()],
            environment: &[("A".into(), "b=c".into())],
            volumes: &[Volume::parse("/srv:/data:ro").unwrap()],
            user: Some("nobody"),
            userns: Some("host"),
        };
        assert_eq!(
            from_flags(&wanted),
            json!({
                "family": "clock",
                "networkMode": "bridge",
                "cpu": "256",
                "memory": "64",
                "volumes": [{"name": "v0", "host": {"sourcePath": "/srv"}}],
                "containerDefinitions": [{
                    "name": "clock",
                    "image": "busybox",
                    "essential": true,
                    "command": ["sh", "-c", "date"],
                    "portMappings": [{"containerPort": 53, "hostPort": 8053, "protocol": "udp"}],
                    "environment": [{"name": "A", "value": "b=c"}],
                    "user": "nobody",
                    "dockerLabels": {"berth.userns": "host"},
                    "mountPoints": [{"sourceVolume": "v0", "containerPath": "/data", "readOnly": true}],
                }],
            })
        );
    }

    #[test]
    fn families_hold_only_what_they_may() {
        let cases = [
            ("nginx", "nginx"),
            ("a.example:5000/x/y.z:tag", "y-z"),
            ("busybox@sha256:00", "busybox"),
            ("...", "task"),
        ];
        for (image, family) in cases {
            assert_eq!(family_of(image), family);
        }
    }

    #[test]
    fn ports_are_read_as_docker_users_type_them() {
        let ok = |text| Publish::parse(text).map(|p| (p.host, p.container, p.protocol));
        assert_eq!(ok("8080:80"), Ok((8080, 80, "tcp")));
        assert_eq!(ok("0:53/udp"), Ok((0, 53, "udp")));
        assert_eq!(ok("80"), Ok((0, 80, "tcp")));
        for bad in ["", "x", "8080:0", "70000:80", "8080:80/sctp", "127.0.0.1:8080:80"] {
            assert!(Publish::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn volumes_are_absolute() {
        assert!(Volume::parse("/a:/b").is_ok());
        for bad in ["a:/b", "/a:b", "/a", "/a:/b:zz", ""] {
            assert!(Volume::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn cpu_and_memory_take_the_units_of_ecs_and_of_people() {
        assert_eq!(parse_cpu("256"), Ok(256));
        assert_eq!(parse_cpu("0.25 vCPU"), Ok(256));
        assert_eq!(parse_memory("512"), Ok(512));
        assert_eq!(parse_memory("512MiB"), Ok(512));
        assert_eq!(parse_memory("2g"), Ok(2048));
        for bad in ["", "-1", "x", "1.5", "-1vcpu", "NaNvcpu"] {
            assert!(parse_cpu(bad).is_err(), "{bad}");
        }
        for bad in ["", "x", "5k", "1.5g", "99999999999999999999", "18446744073709551615g"] {
            assert!(parse_memory(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_name_alone_takes_the_commands_own_value() {
        let own = |name: &str| (name == "HOME").then(|| "/root".to_owned());
        assert_eq!(parse_environment("A=", own), Some(("A".into(), String::new())));
        assert_eq!(parse_environment("HOME", own), Some(("HOME".into(), "/root".into())));
        assert_eq!(parse_environment("NONE", own), None);
    }

    #[test]
    fn what_is_no_definition_is_told_apart() {
        assert!(matches!(parse(b"{"), Err(Problem::Syntax(_))));
        assert!(matches!(parse(b"[]"), Err(Problem::NotAnObject)));
        assert!(parse(b"{}").is_ok());
    }
}
