//! Documents with `null` where nothing is said, as programs in Go write and read them: a field has the value then that it
//! has when it is missing. And other values that the specification has and our types have not.

use super::{SpecError, refuse};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// Maps, whose entries are more than fields, by where they stand in a document: of texts...
const TEXTS: [&str; 3] = ["/annotations", "/linux/sysctl", "/linux/resources/unified"];
/// ...and of objects.
const OBJECTS: [&str; 2] = ["/linux/netDevices", "/linux/resources/rdma"];

/// What `null` is in the map that stands at `at`, if one does.
fn entry(at: &str) -> Option<Value> {
    match at {
        at if TEXTS.contains(&at) => Some(json!("")),
        at if OBJECTS.contains(&at) => Some(json!({})),
        _ => None,
    }
}

/// Reads a document, or the part of one that stands at `at` in it. Most types know no `null`: it is looked for only where
/// they refuse something, and costs nothing elsewhere.
pub(super) fn read<T: DeserializeOwned>(json: &[u8], at: &str) -> Result<T, SpecError> {
    let error = match serde_json::from_slice(json) {
        Ok(read) => return Ok(read),
        Err(e) => e,
    };
    let part = at.trim_start_matches('/').replace('/', ".");
    let field = || if part.is_empty() { "document" } else { &part };
    let Ok(mut value) = serde_json::from_slice(json) else { return refuse(field(), error.to_string()) };
    let changed = settle(&mut value, at);
    // As bytes once more: to read from a value would take code of its own for every type, 140 KB in all.
    let read = if changed { serde_json::from_slice(value.to_string().as_bytes()) } else { Err(error) };
    read.or_else(|e| match find(&value, &part) {
        Some(field) => refuse(field, "is null"),
        None => refuse(field(), e.to_string()),
    })
}

/// Leaves out what is `null`, and says whether anything was to be done. In lists it stays, where it says nothing.
fn settle(value: &mut Value, at: &str) -> bool {
    match value {
        Value::Object(members) => {
            let mut changed = false;
            match entry(at) {
                Some(empty) => members.values_mut().filter(|entry| entry.is_null()).for_each(|entry| {
                    entry.clone_from(&empty);
                    changed = true;
                }),
                None => members.retain(|_, member| {
                    changed |= member.is_null();
                    !member.is_null()
                }),
            }
            if at == "/linux/seccomp/syscalls/-" && !members.contains_key("names") {
                members.insert("names".into(), json!([]));
                changed = true;
            }
            // Nothing, but of the type that says the same.
            if at == "/linux/resources/devices/-" && members.get("type").is_some_and(|kind| kind == "") {
                members.remove("type");
                changed = true;
            }
            // Without a sign there. The kernel takes both for no limit.
            let limit = members.get_mut("limit").filter(|_| at == "/linux/resources/hugepageLimits/-");
            if let Some(limit) = limit.filter(|limit| limit.as_u64().is_some_and(|n| n > i64::MAX as u64)) {
                *limit = json!(i64::MAX);
                changed = true;
            }
            members
                .iter_mut()
                .fold(changed, |changed, (name, member)| settle(member, &format!("{at}/{name}")) | changed)
        }
        Value::Array(items) => items.iter_mut().fold(false, |changed, item| settle(item, &format!("{at}/-")) | changed),
        _ => false,
    }
}

/// The first `null` that is left, as a field.
fn find(value: &Value, field: &str) -> Option<String> {
    match value {
        Value::Null => Some(field.to_owned()),
        Value::Object(members) => members.iter().find_map(|(name, member)| match field {
            "" => find(member, name),
            _ => find(member, &format!("{field}.{name}")),
        }),
        Value::Array(items) => items.iter().enumerate().find_map(|(i, item)| find(item, &format!("{field}[{i}]"))),
        _ => None,
    }
}
