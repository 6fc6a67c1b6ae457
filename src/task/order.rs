//! What containers wait for: `dependsOn` when starting, its reverse when stopping.
//!
//! A condition is met, is not met yet, or can never be met. The last is an end for the container that waits (Amazon
//! ECS: `CannotStartContainerError`, exit code 143), and through it for those that wait for that one.

use super::plan::{Condition, Dependency};

/// What the order of a task depends on, of one container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress<'a> {
    /// Its name, for reasons.
    pub name: &'a str,
    /// Where it is.
    pub reached: Reached,
    /// Monotonic time when it began to run, in milliseconds.
    pub started_ms: Option<u64>,
    /// How long others wait for it from then, in milliseconds; 0 is for ever.
    pub start_timeout_ms: u64,
    /// What its health check says, or `None` when it has none.
    pub healthy: Option<bool>,
}

/// How far a container has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reached {
    /// It has not begun to run.
    NotYet,
    /// It runs.
    Running,
    /// It ran and ended with this exit code.
    Ended(i32),
    /// It will never run.
    Never,
}

/// Whether a container may start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Readiness {
    /// Every condition is met.
    Ready,
    /// Some condition is not met yet; at this monotonic time, if any, it is given up.
    Waits {
        /// Earliest end of a start time-out.
        until_ms: Option<u64>,
    },
    /// Some condition can never be met.
    Never {
        /// Which, and why.
        reason: String,
    },
}

/// Whether a container that depends on `depends_on` may start, given how far every container of its task has come.
pub fn readiness<'a>(
    depends_on: &[Dependency],
    progress: impl Fn(usize) -> Option<Progress<'a>>,
    now_ms: u64,
) -> Readiness {
    let (mut waits, mut until_ms) = (false, None);
    for dependency in depends_on {
        let Some(on) = progress(dependency.on as usize) else {
            return Readiness::Never { reason: format!("dependency {}: no such container", dependency.on) };
        };
        match met(dependency.condition, &on) {
            Ok(true) => continue,
            Ok(false) => waits = true,
            Err(problem) => return Readiness::Never { reason: format!("dependency `{}`: {problem}", on.name) },
        }
        let Some(limit) = limit_ms(dependency.condition, &on) else { continue };
        if limit <= now_ms {
            let problem = format!(
                "dependency `{}`: not {} within {} ms of its start",
                on.name,
                word(dependency.condition),
                on.start_timeout_ms
            );
            return Readiness::Never { reason: problem };
        }
        until_ms = Some(until_ms.map_or(limit, |earlier: u64| earlier.min(limit)));
    }
    if waits { Readiness::Waits { until_ms } } else { Readiness::Ready }
}

/// Whether `condition` is met, or why it never will be.
fn met(condition: Condition, on: &Progress<'_>) -> Result<bool, String> {
    match (condition, on.reached) {
        (_, Reached::Never) => Err("it will never run".into()),
        (Condition::Healthy, Reached::Ended(code)) => Err(format!("it ended with code {code}")),
        (Condition::Healthy, _) => on.healthy.ok_or_else(|| "it has no health check".into()),
        (_, Reached::NotYet) => Ok(false),
        (Condition::Start, _) | (Condition::Complete, Reached::Ended(_)) | (Condition::Success, Reached::Ended(0)) => {
            Ok(true)
        }
        (Condition::Success, Reached::Ended(code)) => Err(format!("it ended with code {code}, not 0")),
        (Condition::Complete | Condition::Success, Reached::Running) => Ok(false),
    }
}

/// When a condition that is not met is given up. Amazon ECS counts from the start of the container depended on, and
/// never gives up on `START`.
fn limit_ms(condition: Condition, on: &Progress<'_>) -> Option<u64> {
    if condition == Condition::Start || on.start_timeout_ms == 0 {
        return None;
    }
    Some(on.started_ms?.saturating_add(on.start_timeout_ms))
}

fn word(condition: Condition) -> &'static str {
    match condition {
        Condition::Start => "started",
        Condition::Complete => "ended",
        Condition::Success => "ended with code 0",
        Condition::Healthy => "healthy",
    }
}

/// A container that depends on itself, directly or through others; `None` when the order can be resolved. `depends_on`
/// has one list per container.
pub fn find_cycle(depends_on: &[&[Dependency]]) -> Option<usize> {
    // Take away, again and again, every container whose dependencies are all taken away. What stays is in a cycle, or
    // waits for one.
    let mut resolved = vec![false; depends_on.len()];
    loop {
        let mut progress = false;
        for (i, list) in depends_on.iter().enumerate() {
            let free = list.iter().all(|d| resolved.get(d.on as usize).copied().unwrap_or(true));
            if free && !resolved[i] {
                resolved[i] = true;
                progress = true;
            }
        }
        if !progress {
            return resolved.iter().position(|r| !r);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on(reached: Reached) -> Progress<'static> {
        Progress { name: "db", reached, started_ms: Some(100), start_timeout_ms: 0, healthy: None }
    }

    fn of(condition: Condition, on: Progress<'static>, now_ms: u64) -> Readiness {
        readiness(&[Dependency { on: 0, condition }], |_| Some(on), now_ms)
    }

    const WAITS: Readiness = Readiness::Waits { until_ms: None };

    fn never(r: &Readiness) -> &str {
        let Readiness::Never { reason } = r else { panic!("{r:?}") };
        reason
    }

    #[test]
    fn start_is_met_by_one_that_runs_or_has_run() {
        assert_eq!(of(Condition::Start, on(Reached::NotYet), 0), WAITS);
        assert_eq!(of(Condition::Start, on(Reached::Running), 0), Readiness::Ready);
        assert_eq!(of(Condition::Start, on(Reached::Ended(1)), 0), Readiness::Ready);
        never(&of(Condition::Start, on(Reached::Never), 0));
    }

    #[test]
    fn complete_is_met_by_any_code_and_success_by_0_alone() {
        assert_eq!(of(Condition::Complete, on(Reached::Running), 0), WAITS);
        assert_eq!(of(Condition::Complete, on(Reached::Ended(1)), 0), Readiness::Ready);
        assert_eq!(of(Condition::Success, on(Reached::Ended(0)), 0), Readiness::Ready);
        let r = of(Condition::Success, on(Reached::Ended(3)), 0);
        assert_eq!(never(&r), "dependency `db`: it ended with code 3, not 0");
    }

    #[test]
    fn healthy_needs_a_health_check_and_a_running_container() {
        let with = |reached, healthy| Progress { healthy: Some(healthy), ..on(reached) };
        assert_eq!(of(Condition::Healthy, with(Reached::Running, false), 0), WAITS);
        assert_eq!(of(Condition::Healthy, with(Reached::Running, true), 0), Readiness::Ready);
        never(&of(Condition::Healthy, with(Reached::Ended(0), true), 0));
        assert_eq!(never(&of(Condition::Healthy, on(Reached::NotYet), 0)), "dependency `db`: it has no health check");
    }

    #[test]
    fn the_start_time_out_counts_from_the_start_and_not_for_start_itself() {
        let limited = Progress { start_timeout_ms: 50, ..on(Reached::Running) };
        assert_eq!(of(Condition::Success, limited, 149), Readiness::Waits { until_ms: Some(150) });
        assert_eq!(
            never(&of(Condition::Success, limited, 150)),
            "dependency `db`: not ended with code 0 within 50 ms of its start"
        );
        let not_started = Progress { started_ms: None, reached: Reached::NotYet, ..limited };
        assert_eq!(of(Condition::Start, not_started, 1_000_000), WAITS);
        assert_eq!(of(Condition::Success, not_started, 1_000_000), WAITS);
    }

    #[test]
    fn a_circle_is_found_and_a_long_line_is_none() {
        let to = |on| Dependency { on, condition: Condition::Start };
        let line: Vec<Vec<Dependency>> = (0..50).map(|i| if i == 49 { vec![] } else { vec![to(i + 1)] }).collect();
        let slices: Vec<&[Dependency]> = line.iter().map(Vec::as_slice).collect();
        assert_eq!(find_cycle(&slices), None);
        assert_eq!(find_cycle(&[&[to(1)], &[to(2)], &[to(1)], &[]]), Some(0));
        assert_eq!(find_cycle(&[&[], &[to(1)]]), Some(1));
    }
}
