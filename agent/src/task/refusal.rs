//! Why a task cannot be run as it was asked for.

use std::fmt;

/// A field of a task definition or payload that this node cannot do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The field, in the words of task definitions: `containerDefinitions[0].memory`.
    pub field: String,
    /// The value that stands there.
    pub value: String,
    /// What is wrong with it.
    pub problem: String,
}

impl Refusal {
    /// Refuses `value` of `field`.
    pub fn new(field: impl Into<String>, value: impl fmt::Display, problem: impl Into<String>) -> Self {
        let value: String = value.to_string().chars().take(120).collect();
        Self { field: field.into(), value, problem: problem.into() }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { field, value, problem } = self;
        if value.is_empty() { write!(f, "{field}: {problem}") } else { write!(f, "{field} `{value}`: {problem}") }
    }
}

impl std::error::Error for Refusal {}
