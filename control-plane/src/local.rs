//! A task without a control plane's record of it: the same checks and the same form as in a payload, for an agent that
//! starts a task of its own operator while another control plane is in charge.

use crate::validate::{self, FieldError};
use crate::{definition, payload};
use berth_wire::acs;
use berth_wire::ecs::{RegisterTaskDefinitionRequest, TaskOverride};

/// The task as a payload would have it. The error has every wrong member.
pub fn local_task(
    request: RegisterTaskDefinitionRequest,
    arn: &str,
    cluster_arn: &str,
) -> Result<acs::Task, Vec<FieldError>> {
    validate::task_definition(&request)?;
    let definition = definition::revision(request, String::new(), 0, 0.0);
    let overrides = TaskOverride::default();
    let containers = &definition.container_definitions;
    let arns: Vec<String> = containers.iter().map(|c| format!("{arn}/{}", c.name)).collect();
    Ok(payload::task(
        &definition,
        &payload::Run {
            arn,
            cluster_arn,
            account: "",
            group: None,
            size: definition::task_size(&definition, &overrides),
            containers,
            container_arns: &arns,
            overrides: &overrides,
        },
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_local_task_is_checked_and_sized_as_one_in_a_payload() {
        let request = |text: &str| serde_json::from_str::<RegisterTaskDefinitionRequest>(text).unwrap();
        let good = r#"{"family":"web","cpu":"256","memory":"64",
            "containerDefinitions":[{"name":"app","image":"app:1"}]}"#;
        let task = local_task(request(good), "arn:x/1", "arn:c").unwrap();
        assert_eq!((task.cpu, task.memory, task.network_mode.as_str()), (Some(0.25), Some(64), "bridge"));
        let bad = r#"{"family":"web","containerDefinitions":[{"name":"app","image":"app:1","memory":2}]}"#;
        assert_eq!(local_task(request(bad), "a", "c").unwrap_err()[0].field, "containerDefinitions[0].memory");
    }
}
