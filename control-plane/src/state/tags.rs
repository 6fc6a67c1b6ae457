//! Labels of resources that exist.

use super::{Kind, State, Turn, definitions};
use crate::arn::{DefinitionRef, last};
use crate::error::{ApiError, Code};
use berth_wire::ecs::{
    ListTagsForResourceRequest, ListTagsForResourceResponse, Tag, TagResourceRequest, TagResourceResponse,
    UntagResourceRequest, UntagResourceResponse,
};

/// The most labels of one resource, as in ECS.
const MAX: usize = 50;

impl State {
    pub(crate) fn tag_resource(
        &mut self,
        request: TagResourceRequest,
        turn: &mut Turn<'_>,
    ) -> Result<TagResourceResponse, ApiError> {
        self.change(&request.resource_arn, turn, |tags| {
            for tag in request.tags {
                tags.retain(|known| known.key != tag.key);
                tags.push(tag);
            }
        })?;
        Ok(TagResourceResponse {})
    }

    pub(crate) fn untag_resource(
        &mut self,
        request: UntagResourceRequest,
        turn: &mut Turn<'_>,
    ) -> Result<UntagResourceResponse, ApiError> {
        self.change(&request.resource_arn, turn, |tags| tags.retain(|tag| !request.tag_keys.contains(&tag.key)))?;
        Ok(UntagResourceResponse {})
    }

    pub(crate) fn list_tags_for_resource(
        &self,
        request: &ListTagsForResourceRequest,
    ) -> Result<ListTagsForResourceResponse, ApiError> {
        let arn = &request.resource_arn;
        let id = last(arn);
        let tags = match kind(arn)? {
            Kind::Cluster => self.clusters.get(id).map(|record| &record.tags),
            Kind::Instance => self.instances.get(id).map(|instance| &instance.record.tags),
            Kind::Task => self.tasks.get(id).map(|task| &task.record.view.tags),
            Kind::Definition | Kind::Family => self.definition(arn).ok().map(|record| &record.tags),
        };
        Ok(ListTagsForResourceResponse { tags: tags.ok_or_else(|| missing(arn))?.clone() })
    }

    /// Changes the labels of a resource, unless it would have too many.
    fn change(&mut self, arn: &str, turn: &mut Turn<'_>, change: impl FnOnce(&mut Vec<Tag>)) -> Result<(), ApiError> {
        let current = self.list_tags_for_resource(&ListTagsForResourceRequest { resource_arn: arn.to_owned() })?.tags;
        let mut tags = current;
        change(&mut tags);
        if tags.len() > MAX {
            return Err(ApiError::invalid(format!("tags: got {}, a resource can have {MAX}", tags.len())));
        }
        let id = last(arn);
        match kind(arn)? {
            Kind::Cluster => {
                if let Some(record) = self.clusters.get_mut(id) {
                    record.tags = tags;
                    turn.put(Kind::Cluster, id, record);
                }
            }
            Kind::Instance => {
                if let Some(instance) = self.instances.get_mut(id) {
                    instance.record.tags = tags;
                    turn.put(Kind::Instance, id, &instance.record);
                }
            }
            Kind::Task => {
                if let Some(task) = self.tasks.get_mut(id) {
                    task.record.view.tags = tags;
                }
                self.touch(id, turn);
            }
            Kind::Definition | Kind::Family => {
                if let Some(DefinitionRef { family, revision: Some(revision) }) = DefinitionRef::parse(arn)
                    && let Some(record) = self.definitions.get_mut(&(family.to_owned(), revision))
                {
                    record.tags = tags;
                    turn.put(Kind::Definition, &definitions::key(family, revision), record);
                }
            }
        }
        Ok(())
    }
}

/// What an ARN names: the sixth part is `KIND/...`.
fn kind(arn: &str) -> Result<Kind, ApiError> {
    let resource = arn.splitn(6, ':').nth(5).unwrap_or_default();
    match resource.split('/').next() {
        Some("cluster") => Ok(Kind::Cluster),
        Some("container-instance") => Ok(Kind::Instance),
        Some("task") => Ok(Kind::Task),
        Some("task-definition") => Ok(Kind::Definition),
        _ => Err(ApiError::invalid(format!("resourceArn: names no resource that can have tags (got `{arn}`)"))),
    }
}

fn missing(arn: &str) -> ApiError {
    ApiError::new(Code::ResourceNotFound, format!("there is no resource `{arn}`"))
}
