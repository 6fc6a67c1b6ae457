//! Whether a task definition can be run, and if not, which members are wrong: pure, and complete, so that a file with
//! three mistakes is mended in one round.
//!
//! - [`unknown_fields`] looks at the JSON: members that no task definition has (with the name that was probably meant),
//!   and members of the wrong type.
//! - [`task_definition`] looks at the values: the rules of Amazon ECS for what berth supports, and by name what berth
//!   does not support yet (`unsupported`), because a definition whose secrets are silently ignored is worse than one
//!   that is refused.
//!
//! Nothing here depends on a node: whether a port is free or an image exists is found out by the scheduler and the agent.

mod container;
mod dependencies;
mod image;
mod ports;
mod schema;
mod sizes;
mod task;
mod unknown;
mod unsupported;

pub(crate) use sizes::{parse_cpu, parse_memory};
pub use task::task_definition;
pub use unknown::unknown_fields;

use std::fmt;

/// The least memory of a container, and so of a task, in MiB: what it takes to start a process in its own group.
pub const MIN_MEMORY_MIB: i64 = 6;

/// One wrong member of a task definition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldError {
    /// The member's path, such as `containerDefinitions[0].memory`.
    pub field: String,
    /// Its value as written; empty when it is missing.
    pub value: String,
    /// What is wrong with it.
    pub problem: String,
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.problem)?;
        if self.value.is_empty() { Ok(()) } else { write!(f, " (got `{}`)", self.value) }
    }
}

/// Collects what is wrong.
#[derive(Default)]
struct Faults(Vec<FieldError>);

impl Faults {
    /// `field` has `value`, and that is wrong because of `problem`. Long values are cut: they come back in an error.
    fn add(&mut self, field: impl Into<String>, value: impl fmt::Display, problem: impl Into<String>) {
        let mut value = value.to_string();
        if let Some((end, _)) = value.char_indices().nth(120) {
            value.truncate(end);
            value.push('…');
        }
        self.0.push(FieldError { field: field.into(), value, problem: problem.into() });
    }

    /// `field` is needed and absent.
    fn missing(&mut self, field: impl Into<String>) {
        self.add(field, "", "is required");
    }

    /// Notes `value` unless it is one of `known`.
    fn one_of(&mut self, field: impl Into<String>, value: &str, known: &[&str]) -> bool {
        let ok = known.contains(&value);
        if !ok {
            self.add(field, value, format!("must be one of {}", known.join(", ")));
        }
        ok
    }
}

/// Whether `name` is a name as ECS wants it for families, containers and volumes.
fn is_name(name: &str) -> bool {
    (1..=255).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
}

const NAME_RULE: &str = "must be 1 to 255 letters, digits, hyphens and underscores";

#[cfg(test)]
mod tests;
