//! Names of tasks and containers, checked once where they enter.
//!
//! Both become path components and cgroup names, so neither may be empty, `.`/`..`, hold a slash or a NUL, or be
//! longer than a file name.

use std::fmt;

/// Why a name was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind} `{value}`: {problem}")]
pub struct InvalidName {
    kind: &'static str,
    value: String,
    problem: &'static str,
}

fn check(kind: &'static str, value: &str, max: usize) -> Result<(), InvalidName> {
    let refuse = |problem| Err(InvalidName { kind, value: value.chars().take(80).collect(), problem });
    if value.is_empty() {
        return refuse("is empty");
    }
    if value.len() > max {
        return refuse("is too long");
    }
    if !value.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.')) {
        return refuse("may hold only letters, digits, `-`, `_` and `.`");
    }
    if value.starts_with('.') {
        return refuse("may not start with a dot");
    }
    Ok(())
}

/// The id of a task: the last part of its ARN (Amazon ECS makes it of 32 hexadecimal digits).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TaskId(String);

impl TaskId {
    /// The longest id taken: it names directories, sockets (whose path takes 108 bytes in all) and cgroups.
    pub const MAX_LEN: usize = 64;

    /// Checks `value` and makes it a task id.
    pub fn parse(value: &str) -> Result<Self, InvalidName> {
        check("task id", value, Self::MAX_LEN)?;
        Ok(Self(value.to_owned()))
    }

    /// Takes the id out of a task's ARN, which ends in `task/CLUSTER/ID` (or `task/ID`, the older form).
    pub fn from_arn(arn: &str) -> Result<Self, InvalidName> {
        Self::parse(arn.rsplit('/').next().unwrap_or(arn))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The name of a container inside its task definition.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ContainerName(String);

impl ContainerName {
    /// The longest name Amazon ECS takes.
    pub const MAX_LEN: usize = 255;

    /// Checks `value` and makes it a container name.
    pub fn parse(value: &str) -> Result<Self, InvalidName> {
        check("container name", value, Self::MAX_LEN)?;
        Ok(Self(value.to_owned()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ContainerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_id_is_the_last_part_of_its_arn() {
        let id = TaskId::from_arn("arn:aws:ecs:local:000000000000:task/default/0af3").unwrap();
        assert_eq!(id.as_str(), "0af3");
    }

    #[test]
    fn names_that_would_leave_their_directory_are_refused() {
        for bad in ["", ".", "..", "a/b", "a\0b", ".hidden"] {
            assert!(TaskId::parse(bad).is_err(), "{bad:?}");
            assert!(ContainerName::parse(bad).is_err(), "{bad:?}");
        }
        assert!(TaskId::parse(&"x".repeat(65)).is_err());
    }
}
