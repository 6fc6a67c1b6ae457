//! What is wrong with a document that is not even of the right shape, where it is worth more than a column of a line.

use super::SpecError;
use oci_spec::runtime::{
    Arch, LinuxDeviceType, LinuxNamespaceType, LinuxSeccompAction, LinuxSeccompFilterFlag, LinuxSeccompOperator,
    PosixRlimitType,
};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// The first word that means nothing, of those that a person is most likely to have written. Only asked of a document
/// that could not be read, so it costs nothing otherwise.
pub(super) fn unknown_word(json: &[u8]) -> Option<SpecError> {
    let document: Value = serde_json::from_slice(json).ok()?;
    let word = |list: &str, field: &str, known: fn(&Value) -> bool, problem: fn(&str) -> String| {
        let items = document.pointer(list).and_then(Value::as_array);
        let mut items = items.into_iter().flatten().enumerate();
        items.find_map(|(i, item)| {
            let name = item["type"].as_str().filter(|_| !known(&item["type"]))?;
            Some(SpecError { field: format!("{field}[{i}].type"), problem: problem(name) })
        })
    };
    let limit = word(
        "/process/rlimits",
        "process.rlimits",
        |name| PosixRlimitType::deserialize(name).is_ok(),
        |name| format!("wrong rlimit value: {name}"),
    );
    let namespace = || {
        word(
            "/linux/namespaces",
            "linux.namespaces",
            |name| LinuxNamespaceType::deserialize(name).is_ok(),
            |name| format!("namespace `{name}` does not exist"),
        )
    };
    let device = || word("/linux/devices", "linux.devices", is_device, |name| format!("got `{name}`"));
    // Of a rule, an empty type is any.
    let any_or_device = |kind: &Value| kind == "" || is_device(kind);
    let rule =
        || word("/linux/resources/devices", "linux.resources.devices", any_or_device, |name| format!("got `{name}`"));
    limit.or_else(namespace).or_else(device).or_else(rule).or_else(|| seccomp(&document))
}

fn is_device(kind: &Value) -> bool {
    LinuxDeviceType::deserialize(kind).is_ok()
}

/// The first word in the document's profile of system calls that means nothing.
fn seccomp(document: &Value) -> Option<SpecError> {
    let profile = document.pointer("/linux/seccomp")?;
    let field = |name: String| format!("linux.seccomp.{name}");
    let list = |of: &Value, name: &str| of[name].as_array().cloned().unwrap_or_default();
    if let Some(found) = unknown::<LinuxSeccompAction>(&profile["defaultAction"]) {
        return Some(SpecError { field: field("defaultAction".into()), problem: found });
    }
    for (i, arch) in list(profile, "architectures").iter().enumerate() {
        if let Some(found) = unknown::<Arch>(arch) {
            return Some(SpecError { field: field(format!("architectures[{i}]")), problem: found });
        }
    }
    for (i, flag) in list(profile, "flags").iter().enumerate() {
        if let Some(found) = unknown::<LinuxSeccompFilterFlag>(flag) {
            return Some(SpecError { field: field(format!("flags[{i}]")), problem: found });
        }
    }
    for (i, rule) in list(profile, "syscalls").iter().enumerate() {
        let name = rule.pointer("/names/0").and_then(Value::as_str).unwrap_or_default();
        let of = |problem: String| format!("{problem} for `{name}`");
        if let Some(found) = unknown::<LinuxSeccompAction>(&rule["action"]) {
            return Some(SpecError { field: field(format!("syscalls[{i}].action")), problem: of(found) });
        }
        for (j, arg) in list(rule, "args").iter().enumerate() {
            if let Some(found) = unknown::<LinuxSeccompOperator>(&arg["op"]) {
                return Some(SpecError { field: field(format!("syscalls[{i}].args[{j}].op")), problem: of(found) });
            }
        }
    }
    None
}

/// The value as a complaint, unless it is a `T`.
fn unknown<T: DeserializeOwned>(value: &Value) -> Option<String> {
    let shown = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    T::deserialize(value).is_err().then(|| format!("got `{shown}`"))
}
