//! Members that no task definition has, and members of the wrong type.

use super::schema::{DEFINITION, Kind, Members};
use super::{Faults, FieldError};
use serde_json::Value;

/// Compares a definition file with the shape of `RegisterTaskDefinition`. Empty when it fits; then it deserializes too.
pub fn unknown_fields(definition: &Value) -> Vec<FieldError> {
    let mut faults = Faults::default();
    object("", definition, DEFINITION, &mut faults);
    faults.0
}

fn object(at: &str, value: &Value, members: Members, faults: &mut Faults) {
    let Value::Object(map) = value else {
        wrong_type(at, value, "an object", faults);
        return;
    };
    for (name, value) in map {
        let field = if at.is_empty() { name.clone() } else { format!("{at}.{name}") };
        match members.iter().find(|(known, _)| known == name) {
            Some((_, kind)) => member(&field, value, kind, faults),
            None => faults.add(field, "", unknown(name, members)),
        }
    }
}

fn member(at: &str, value: &Value, kind: &Kind, faults: &mut Faults) {
    // SDKs write null for what was not given.
    match (kind, value) {
        (_, Value::Null) | (Kind::Text, Value::String(_)) | (Kind::Bool, Value::Bool(_)) => {}
        (Kind::Int, Value::Number(number)) if number.is_i64() => {}
        (Kind::Text, _) => wrong_type(at, value, "a string", faults),
        (Kind::Bool, _) => wrong_type(at, value, "true or false", faults),
        (Kind::Int, _) => wrong_type(at, value, "a whole number", faults),
        (Kind::Map, Value::Object(map)) => {
            for (key, value) in map {
                member(&format!("{at}.{key}"), value, &Kind::Text, faults);
            }
        }
        (Kind::Map, _) => wrong_type(at, value, "an object of strings", faults),
        (Kind::List(item), Value::Array(list)) => {
            for (index, value) in list.iter().enumerate() {
                if value.is_null() {
                    wrong_type(&format!("{at}[{index}]"), value, "present", faults);
                } else {
                    member(&format!("{at}[{index}]"), value, item, faults);
                }
            }
        }
        (Kind::List(_), _) => wrong_type(at, value, "a list", faults),
        (Kind::Object(members), _) => object(at, value, members, faults),
    }
}

fn wrong_type(at: &str, value: &Value, wanted: &str, faults: &mut Faults) {
    let at = if at.is_empty() { "the definition" } else { at };
    faults.add(at, value, format!("must be {wanted}"));
}

fn unknown(name: &str, members: Members) -> String {
    let nearest = members
        .iter()
        .map(|(known, _)| (distance(&name.to_lowercase(), &known.to_lowercase()), *known))
        .min()
        // A third of the letters may be wrong: beyond that the guess confuses.
        .filter(|(distance, known)| *distance <= (known.len() / 3).max(1));
    match nearest {
        Some((_, known)) => format!("is not a member of a task definition: did you mean `{known}`?"),
        None => "is not a member of a task definition".to_owned(),
    }
}

/// How many letters must be put in, taken out or changed to make `a` into `b`. Long names are cut: the cost grows with
/// the product of the lengths.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().take(64).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().take(64).enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let change = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = change.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}
