//! From the name of an operation to the method of [`ControlPlane`] and back.

use crate::error::{ApiError, Code};
use crate::plane::ControlPlane;
use crate::validate;
use berth_wire::ecs;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    // Some clients send nothing where there are no members.
    let body = if body.is_empty() { b"{}" } else { body };
    // A structure can also be read from a list of its members' values, which is nothing that a client means.
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Err(ApiError::new(Code::Serialization, "read the request: it is not a JSON object"));
    }
    serde_json::from_slice(body)
        .map_err(|error| ApiError::new(Code::Serialization, format!("read the request: {error}")))
}

fn write<T: Serialize>(response: Result<T, ApiError>) -> Result<Vec<u8>, ApiError> {
    let response = response?;
    serde_json::to_vec(&response).map_err(|error| ApiError::new(Code::Server, format!("write the response: {error}")))
}

/// Members that a task definition does not have are refused there, where they would change what is run.
fn definition(body: &[u8]) -> Result<ecs::RegisterTaskDefinitionRequest, ApiError> {
    let value: Value = parse(body)?;
    let unknown = validate::unknown_fields(&value);
    if !unknown.is_empty() {
        return Err(ApiError::fields(unknown));
    }
    serde_json::from_value(value)
        .map_err(|error| ApiError::new(Code::Serialization, format!("read the request: {error}")))
}

/// Carries out `operation`. `host` is the address the client used.
pub(super) async fn dispatch(
    plane: &ControlPlane,
    operation: &str,
    body: &[u8],
    host: Option<&str>,
) -> Result<Vec<u8>, ApiError> {
    /// One arm for each operation: the name on the wire and the method.
    macro_rules! operations {
        ($($name:literal => $method:ident),* $(,)?) => {
            match operation {
                "RegisterTaskDefinition" => write(plane.register_task_definition(definition(body)?).await),
                "DiscoverPollEndpoint" => write(plane.discover_poll_endpoint(&parse(body)?, host)),
                $($name => write(plane.$method(parse(body)?).await),)*
                other => {
                    let text = format!("the embedded control plane does not have the operation `{other}`");
                    Err(ApiError::new(Code::UnknownOperation, text))
                }
            }
        };
    }
    operations! {
        "DeregisterTaskDefinition" => deregister_task_definition,
        "DescribeTaskDefinition" => describe_task_definition,
        "ListTaskDefinitions" => list_task_definitions,
        "ListTaskDefinitionFamilies" => list_task_definition_families,
        "RunTask" => run_task,
        "StartTask" => start_task,
        "StopTask" => stop_task,
        "DescribeTasks" => describe_tasks,
        "ListTasks" => list_tasks,
        "UpdateTaskProtection" => update_task_protection,
        "GetTaskProtection" => task_protection,
        "RegisterContainerInstance" => register_container_instance,
        "DeregisterContainerInstance" => deregister_container_instance,
        "DescribeContainerInstances" => describe_container_instances,
        "ListContainerInstances" => list_container_instances,
        "UpdateContainerInstancesState" => update_container_instances_state,
        "SubmitTaskStateChange" => submit_task_state_change,
        "SubmitContainerStateChange" => submit_container_state_change,
        "SubmitAttachmentStateChanges" => submit_attachment_state_changes,
        "CreateCluster" => create_cluster,
        "DescribeClusters" => describe_clusters,
        "ListClusters" => list_clusters,
        "DeleteCluster" => delete_cluster,
        "TagResource" => tag_resource,
        "UntagResource" => untag_resource,
        "ListTagsForResource" => list_tags_for_resource,
    }
}
