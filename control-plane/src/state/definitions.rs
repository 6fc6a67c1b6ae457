//! Families and revisions of task definitions. A revision never changes; its number is never given twice.

use super::page::{page, page_with};
use super::{DefinitionRecord, Kind, State, Turn};
use crate::arn::DefinitionRef;
use crate::definition;
use crate::error::ApiError;
use crate::validate;
use berth_wire::ecs::values::{sort_order, task_definition_family_status, task_definition_status as status};
use berth_wire::ecs::{
    DeregisterTaskDefinitionRequest, DeregisterTaskDefinitionResponse, DescribeTaskDefinitionRequest,
    DescribeTaskDefinitionResponse, ListTaskDefinitionFamiliesRequest, ListTaskDefinitionFamiliesResponse,
    ListTaskDefinitionsRequest, ListTaskDefinitionsResponse, RegisterTaskDefinitionRequest,
    RegisterTaskDefinitionResponse,
};

impl State {
    pub(crate) fn register_task_definition(
        &mut self,
        mut request: RegisterTaskDefinitionRequest,
        turn: &mut Turn<'_>,
    ) -> Result<RegisterTaskDefinitionResponse, ApiError> {
        validate::task_definition(&request).map_err(ApiError::fields)?;
        let family = request.family.clone();
        let revision = self.families.get(&family).copied().unwrap_or(0) + 1;
        let tags = std::mem::take(&mut request.tags);
        let arn = self.names.definition(&family, revision);
        let made = definition::revision(request, arn, revision, turn.now);
        let record = DefinitionRecord { definition: made.clone(), tags: tags.clone() };
        turn.put(Kind::Definition, &key(&family, revision), &record);
        turn.put(Kind::Family, &family, &revision);
        self.families.insert(family.clone(), revision);
        self.definitions.insert((family, revision), record);
        Ok(RegisterTaskDefinitionResponse { task_definition: Some(made), tags })
    }

    /// Existing tasks go on; new ones cannot be started from it.
    pub(crate) fn deregister_task_definition(
        &mut self,
        request: DeregisterTaskDefinitionRequest,
        turn: &mut Turn<'_>,
    ) -> Result<DeregisterTaskDefinitionResponse, ApiError> {
        let reference = DefinitionRef::parse(&request.task_definition).filter(|reference| reference.revision.is_some());
        let Some(DefinitionRef { family, revision: Some(revision) }) = reference else {
            let got = &request.task_definition;
            return Err(ApiError::client(format!("taskDefinition: must be FAMILY:REVISION or an ARN (got `{got}`)")));
        };
        let record = self
            .definitions
            .get_mut(&(family.to_owned(), revision))
            .ok_or_else(|| unknown(&request.task_definition))?;
        if record.definition.status == status::ACTIVE {
            record.definition.status = status::INACTIVE.to_owned();
            record.definition.deregistered_at = Some(turn.now);
            turn.put(Kind::Definition, &key(family, revision), record);
        }
        Ok(DeregisterTaskDefinitionResponse { task_definition: Some(record.definition.clone()) })
    }

    pub(crate) fn describe_task_definition(
        &self,
        request: &DescribeTaskDefinitionRequest,
    ) -> Result<DescribeTaskDefinitionResponse, ApiError> {
        let record = self.definition(&request.task_definition)?;
        let tags = request.include.iter().any(|include| include == "TAGS");
        Ok(DescribeTaskDefinitionResponse {
            task_definition: Some(record.definition.clone()),
            tags: if tags { record.tags.clone() } else { Vec::new() },
        })
    }

    pub(crate) fn list_task_definitions(
        &self,
        request: &ListTaskDefinitionsRequest,
    ) -> Result<ListTaskDefinitionsResponse, ApiError> {
        let wanted = request.status.as_deref().unwrap_or(status::ACTIVE);
        let family = request.family_prefix.as_deref().unwrap_or_default();
        // In this operation the "prefix" is the whole name, as in ECS.
        let chosen = self
            .definitions
            .iter()
            .filter(|((name, _), record)| (family.is_empty() || name == family) && record.definition.status == wanted);
        let mut all: Vec<String> = chosen.map(|(_, record)| record.definition.task_definition_arn.clone()).collect();
        let down = request.sort.as_deref() == Some(sort_order::DESC);
        if down {
            all.reverse();
        }
        // By family and number: as text, revision 10 would come before 9.
        let order = |arn: &str| DefinitionRef::parse(arn).map(|r| (r.family.to_owned(), r.revision));
        let after = |item: &str, last: &str| if down { order(item) < order(last) } else { order(item) > order(last) };
        let (task_definition_arns, next_token) =
            page_with(all, request.next_token.as_deref(), request.max_results, after)?;
        Ok(ListTaskDefinitionsResponse { task_definition_arns, next_token })
    }

    pub(crate) fn list_task_definition_families(
        &self,
        request: &ListTaskDefinitionFamiliesRequest,
    ) -> Result<ListTaskDefinitionFamiliesResponse, ApiError> {
        let prefix = request.family_prefix.as_deref().unwrap_or_default();
        let wanted = request.status.as_deref().unwrap_or(task_definition_family_status::ALL);
        let fits = |family: &String| {
            let active = self.newest(family).is_some();
            match wanted {
                task_definition_family_status::ACTIVE => active,
                task_definition_family_status::INACTIVE => !active,
                _ => true,
            }
        };
        let all = self.families.keys().filter(|family| family.starts_with(prefix) && fits(family)).cloned().collect();
        let (families, next_token) = page(all, request.next_token.as_deref(), request.max_results)?;
        Ok(ListTaskDefinitionFamiliesResponse { families, next_token })
    }

    fn newest(&self, family: &str) -> Option<&DefinitionRecord> {
        let range = (family.to_owned(), 0)..=(family.to_owned(), i64::MAX);
        self.definitions.range(range).rev().map(|(_, record)| record).find(|r| r.definition.status == status::ACTIVE)
    }

    /// The definition that a request means: a family alone is its newest active revision.
    pub(super) fn definition(&self, reference: &str) -> Result<&DefinitionRecord, ApiError> {
        let parsed = DefinitionRef::parse(reference).ok_or_else(|| unknown(reference))?;
        let found = match parsed.revision {
            Some(revision) => self.definitions.get(&(parsed.family.to_owned(), revision)),
            None => self.newest(parsed.family),
        };
        found.ok_or_else(|| unknown(reference))
    }
}

pub(super) fn key(family: &str, revision: i64) -> String {
    format!("{family}:{revision}")
}

/// Clients look for the first words, which are those of ECS.
fn unknown(reference: &str) -> ApiError {
    ApiError::client(format!("Unable to describe task definition: there is no `{reference}`"))
}
