//! How a process gets processor time and disk operations, and on which processors.

use super::document::{AffinityDocument, IoPriorityDocument, SchedulerDocument};
use super::{SpecError, number_list, refuse};
use crate::sys::sched::Policy;

/// `SCHED_*` by their numbers. 4 was to be another and is nobody's.
const POLICIES: [(&str, u32); 7] = [
    ("SCHED_OTHER", 0),
    ("SCHED_FIFO", 1),
    ("SCHED_RR", 2),
    ("SCHED_BATCH", 3),
    ("SCHED_ISO", 4),
    ("SCHED_IDLE", 5),
    ("SCHED_DEADLINE", 6),
];
const OTHER: u32 = 0;
const FIFO: u32 = 1;
const ROUND_ROBIN: u32 = 2;
const BATCH: u32 = 3;
const DEADLINE: u32 = 6;

/// `SCHED_FLAG_*` by their bits.
const FLAGS: [(&str, u64); 7] = [
    ("SCHED_FLAG_RESET_ON_FORK", 0x01),
    ("SCHED_FLAG_RECLAIM", 0x02),
    ("SCHED_FLAG_DL_OVERRUN", 0x04),
    ("SCHED_FLAG_KEEP_POLICY", 0x08),
    ("SCHED_FLAG_KEEP_PARAMS", 0x10),
    ("SCHED_FLAG_UTIL_CLAMP_MIN", 0x20),
    ("SCHED_FLAG_UTIL_CLAMP_MAX", 0x40),
];

/// `IOPRIO_CLASS_*` by their numbers.
const IO_CLASSES: [(&str, u16); 3] = [("IOPRIO_CLASS_RT", 1), ("IOPRIO_CLASS_BE", 2), ("IOPRIO_CLASS_IDLE", 3)];
/// Where the class is in what ioprio_set(2) takes.
const IO_CLASS_SHIFT: u16 = 13;

/// Processors as bits, for a process that joins a container. Without any it runs wherever the container may.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExecAffinity {
    /// Where the runtime runs until the process is in the container's group; as it happens to when empty.
    pub initial: Vec<u64>,
    /// Where the process runs in the group; where the kernel leaves it when empty.
    pub last: Vec<u64>,
}

fn by_name<T: Copy>(table: &[(&str, T)], field: &str, name: &str) -> Result<T, SpecError> {
    match table.iter().find(|(known, _)| *known == name) {
        Some((_, value)) => Ok(*value),
        None => refuse(field, format!("`{name}` is unknown")),
    }
}

pub(super) fn scheduler(given: SchedulerDocument) -> Result<Policy, SpecError> {
    let policy = by_name(&POLICIES, "process.scheduler.policy", &given.policy)?;
    let only = |field: &str, allowed: bool, policies: &str| match allowed {
        true => Ok(()),
        false => refuse(field, format!("is for {policies} only, not for {}", given.policy)),
    };
    if let Some(nice) = given.nice.filter(|nice| *nice != 0) {
        only("process.scheduler.nice", matches!(policy, OTHER | BATCH), "SCHED_OTHER and SCHED_BATCH")?;
        if !(-20..=19).contains(&nice) {
            return refuse("process.scheduler.nice", format!("got {nice}, it goes from -20 to 19"));
        }
    }
    if given.priority.is_some_and(|priority| priority != 0) {
        only("process.scheduler.priority", matches!(policy, FIFO | ROUND_ROBIN), "SCHED_FIFO and SCHED_RR")?;
    }
    if [given.runtime, given.deadline, given.period].iter().flatten().any(|ns| *ns != 0) {
        let field = "process.scheduler.runtime, deadline and period";
        only(field, policy == DEADLINE, "SCHED_DEADLINE")?;
    }
    let priority = given.priority.unwrap_or(0);
    let Ok(priority) = u32::try_from(priority) else {
        return refuse("process.scheduler.priority", format!("got {priority}, it goes from 1 to 99"));
    };
    let flag = |name: &String| by_name(&FLAGS, "process.scheduler.flags", name);
    Ok(Policy {
        policy,
        flags: given.flags.iter().try_fold(0, |all, name| Ok(all | flag(name)?))?,
        nice: given.nice.unwrap_or(0),
        priority,
        runtime_ns: given.runtime.unwrap_or(0),
        deadline_ns: given.deadline.unwrap_or(0),
        period_ns: given.period.unwrap_or(0),
    })
}

pub(super) fn io_priority(given: IoPriorityDocument) -> Result<u16, SpecError> {
    let class = by_name(&IO_CLASSES, "process.ioPriority.class", &given.class)?;
    match u16::try_from(given.priority) {
        Ok(priority @ 0..=7) => Ok(class << IO_CLASS_SHIFT | priority),
        _ => refuse("process.ioPriority.priority", format!("got {}, it goes from 0 to 7", given.priority)),
    }
}

pub(super) fn affinity(given: AffinityDocument) -> Result<ExecAffinity, SpecError> {
    let list = |field: &str, text: Option<String>| {
        number_list::parse(text.as_deref().unwrap_or_default()).or_else(|problem| refuse(field, problem))
    };
    Ok(ExecAffinity {
        initial: list("process.execCPUAffinity.initial", given.initial)?,
        last: list("process.execCPUAffinity.final", given.last)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str) -> Result<Policy, SpecError> {
        scheduler(serde_json::from_str(json).unwrap())
    }

    #[test]
    fn a_policy_has_its_own_numbers() {
        let fifo = parse(r#"{"policy": "SCHED_FIFO", "priority": 5, "flags": ["SCHED_FLAG_RESET_ON_FORK"]}"#);
        assert_eq!(fifo, Ok(Policy { policy: 1, priority: 5, flags: 1, ..Policy::default() }));
        let deadline = parse(r#"{"policy": "SCHED_DEADLINE", "runtime": 1, "deadline": 2, "period": 3}"#).unwrap();
        assert_eq!((deadline.runtime_ns, deadline.deadline_ns, deadline.period_ns), (1, 2, 3));
        assert_eq!(parse(r#"{"policy": "SCHED_BATCH", "nice": -3}"#).unwrap().nice, -3);
    }

    #[test]
    fn numbers_of_another_policy_and_unknown_names_are_refused_by_field() {
        let field = |json| parse(json).unwrap_err().field;
        assert_eq!(field(r#"{"policy": "SCHED_NEW"}"#), "process.scheduler.policy");
        assert_eq!(field(r#"{"policy": "SCHED_OTHER", "flags": ["X"]}"#), "process.scheduler.flags");
        assert_eq!(field(r#"{"policy": "SCHED_OTHER", "nice": 20}"#), "process.scheduler.nice");
        assert_eq!(field(r#"{"policy": "SCHED_FIFO", "nice": 1}"#), "process.scheduler.nice");
        assert_eq!(field(r#"{"policy": "SCHED_OTHER", "priority": 1}"#), "process.scheduler.priority");
        assert_eq!(field(r#"{"policy": "SCHED_FIFO", "priority": -1}"#), "process.scheduler.priority");
        assert!(field(r#"{"policy": "SCHED_FIFO", "period": 1}"#).starts_with("process.scheduler.runtime"));
    }

    #[test]
    fn an_io_priority_is_class_and_level() {
        let parse = |class: &str, priority| io_priority(IoPriorityDocument { class: class.into(), priority });
        assert_eq!(parse("IOPRIO_CLASS_BE", 4), Ok(2 << 13 | 4));
        assert_eq!(parse("IOPRIO_CLASS_BE", 8).unwrap_err().field, "process.ioPriority.priority");
        assert_eq!(parse("IOPRIO_CLASS_X", 0).unwrap_err().field, "process.ioPriority.class");
    }
}
