//! Container instances: nodes that have registered, what they have, and what is left of it.

use super::clusters::missing;
use super::page::page;
use super::{Instance, InstanceRecord, Kind, State, Turn};
use crate::arn::last;
use crate::error::{ApiError, Code};
use crate::schedule::Capacity;
use berth_wire::ecs::values::{container_instance_status as status, last_status, resource_name};
use berth_wire::ecs::{
    Attribute, ContainerInstance, DeregisterContainerInstanceRequest, DeregisterContainerInstanceResponse,
    DescribeContainerInstancesRequest, DescribeContainerInstancesResponse, ListContainerInstancesRequest,
    ListContainerInstancesResponse, RegisterContainerInstanceRequest, RegisterContainerInstanceResponse, Resource,
    UpdateContainerInstancesStateRequest, UpdateContainerInstancesStateResponse, VersionInfo,
};
use std::collections::BTreeSet;

pub(super) const INACTIVE: &str = "INACTIVE";

impl Instance {
    pub(super) fn of(record: InstanceRecord) -> Self {
        let attributes = record.attributes.iter().map(|a| (a.name.clone(), a.value.clone())).collect();
        let capacity = capacity(&record.resources);
        let sequence = record.sequence_reserved;
        Self { record, attributes, capacity, sequence, ..Self::default() }
    }

    /// Whether it still counts; a deregistered one can only be described.
    pub(super) fn registered(&self) -> bool {
        self.record.status != INACTIVE
    }
}

/// Prefixes of the attributes that an agent says of itself.
const OF_THE_AGENT: [&str; 2] = ["ecs.", "com.amazonaws.ecs."];

/// The attributes after a registration. An agent sends its operator's own only the first time, so those stay; what it
/// says of itself is always complete, and a capability that is gone must go.
fn attributes(sent: Vec<Attribute>, old: &[Attribute]) -> Vec<Attribute> {
    let kept = old.iter().filter(|attribute| {
        !OF_THE_AGENT.iter().any(|prefix| attribute.name.starts_with(prefix))
            && !sent.iter().any(|new| new.name == attribute.name)
    });
    let kept: Vec<_> = kept.cloned().collect();
    sent.into_iter().chain(kept).collect()
}

fn capacity(resources: &[Resource]) -> Capacity {
    let find = |name: &str| resources.iter().find(|resource| resource.name == name);
    let amount = |name: &str| find(name).map_or(0, |resource| resource.integer_value);
    let ports = |name: &str| -> BTreeSet<u16> {
        find(name).map(|r| r.string_set_value.iter().filter_map(|port| port.parse().ok()).collect()).unwrap_or_default()
    };
    Capacity {
        cpu: amount(resource_name::CPU),
        memory: amount(resource_name::MEMORY),
        reserved_tcp: ports(resource_name::PORTS),
        reserved_udp: ports(resource_name::PORTS_UDP),
    }
}

impl State {
    /// A node registers: anew, or again by its ARN (its tasks stay its own). What it sends replaces what it sent before;
    /// the answer has every attribute sent, which the stock agent insists on.
    pub(crate) fn register_container_instance(
        &mut self,
        request: RegisterContainerInstanceRequest,
        turn: &mut Turn<'_>,
    ) -> Result<RegisterContainerInstanceResponse, ApiError> {
        let cluster = self.cluster(request.cluster.as_deref())?;
        for needed in [resource_name::CPU, resource_name::MEMORY] {
            if !request.total_resources.iter().any(|resource| resource.name == needed && resource.integer_value >= 0) {
                return Err(ApiError::invalid(format!("totalResources: {needed} is missing or negative")));
            }
        }
        let again = request.container_instance_arn.as_deref().filter(|arn| !arn.is_empty()).map(last);
        let id = match again {
            Some(id) => {
                self.registered(id, &cluster)?;
                id.to_owned()
            }
            None => match self.by_token(&cluster, request.client_token.as_deref()) {
                Some(id) => id,
                None => (turn.fresh)(),
            },
        };
        let known = self.instances.remove(&id);
        let fresh = known.is_none();
        let old = known.unwrap_or_default();
        let record = InstanceRecord {
            id: id.clone(),
            cluster,
            status: if fresh { status::ACTIVE.to_owned() } else { old.record.status },
            attributes: attributes(request.attributes, &old.record.attributes),
            resources: request.total_resources,
            tags: if fresh { request.tags } else { old.record.tags },
            version_info: request.version_info.or(old.record.version_info),
            registered_at: if fresh { turn.now } else { old.record.registered_at },
            version: old.record.version + 1,
            client_token: request.client_token.or(old.record.client_token),
            sequence_reserved: old.record.sequence_reserved,
        };
        turn.put(Kind::Instance, &id, &record);
        let entry =
            Instance { connected: old.connected, tasks: old.tasks, sequence: old.sequence, ..Instance::of(record) };
        self.instances.insert(id.clone(), entry);
        self.recount(&id);
        Ok(RegisterContainerInstanceResponse { container_instance: self.instance_view(&id, true) })
    }

    /// A request that is sent again because its answer was lost must not make a second instance.
    fn by_token(&self, cluster: &str, token: Option<&str>) -> Option<String> {
        let token = token.filter(|token| !token.is_empty())?;
        let same = |i: &&Instance| i.record.cluster == cluster && i.record.client_token.as_deref() == Some(token);
        self.instances.values().filter(|instance| instance.registered()).find(same).map(|i| i.record.id.clone())
    }

    /// Checks that an instance is registered in `cluster`.
    pub(super) fn registered(&self, id: &str, cluster: &str) -> Result<&Instance, ApiError> {
        match self.instances.get(id) {
            Some(instance) if instance.record.cluster == cluster && instance.registered() => Ok(instance),
            Some(instance) if instance.record.cluster == cluster => {
                Err(ApiError::client(format!("container instance `{id}` is not registered any more (INACTIVE)")))
            }
            _ => Err(ApiError::invalid(format!("there is no container instance `{id}` in cluster `{cluster}`"))),
        }
    }

    /// With `force` its tasks are given up: they are STOPPED for us, whatever becomes of them there.
    pub(crate) fn deregister_container_instance(
        &mut self,
        request: DeregisterContainerInstanceRequest,
        turn: &mut Turn<'_>,
    ) -> Result<DeregisterContainerInstanceResponse, ApiError> {
        let cluster = self.cluster(request.cluster.as_deref())?;
        let id = last(&request.container_instance).to_owned();
        let tasks = self.registered(&id, &cluster)?.tasks.clone();
        if !tasks.is_empty() && request.force != Some(true) {
            return Err(ApiError::invalid(format!(
                "Found running tasks on the instance: {} are not stopped; stop them, or use force",
                tasks.len()
            )));
        }
        for task in tasks {
            self.give_up(&task, "Container instance deregistered forcibly by user.", turn);
        }
        if let Some(instance) = self.instances.get_mut(&id) {
            instance.record.status = INACTIVE.to_owned();
            instance.record.version += 1;
            instance.connected = false;
            turn.put(Kind::Instance, &id, &instance.record);
            turn.effects.close.insert(id.clone());
        }
        Ok(DeregisterContainerInstanceResponse { container_instance: self.instance_view(&id, true) })
    }

    pub(crate) fn describe_container_instances(
        &self,
        request: &DescribeContainerInstancesRequest,
    ) -> Result<DescribeContainerInstancesResponse, ApiError> {
        let cluster = self.cluster(request.cluster.as_deref())?;
        if request.container_instances.is_empty() {
            return Err(ApiError::invalid("Container instance can not be empty."));
        }
        let tags = request.include.iter().any(|include| include == "TAGS");
        let mut response = DescribeContainerInstancesResponse::default();
        for reference in &request.container_instances {
            let id = last(reference);
            let here = self.instances.get(id).is_some_and(|instance| instance.record.cluster == cluster);
            match self.instance_view(id, tags).filter(|_| here) {
                Some(view) => response.container_instances.push(view),
                None => response.failures.push(missing(self.names.instance(&cluster, id))),
            }
        }
        Ok(response)
    }

    pub(crate) fn list_container_instances(
        &self,
        request: &ListContainerInstancesRequest,
    ) -> Result<ListContainerInstancesResponse, ApiError> {
        let cluster = self.cluster(request.cluster.as_deref())?;
        if request.filter.as_deref().is_some_and(|filter| !filter.is_empty()) {
            return Err(ApiError::new(
                Code::UnsupportedFeature,
                "filter: the cluster query language is not supported yet",
            ));
        }
        let fits = |instance: &&Instance| {
            instance.record.cluster == cluster
                && match request.status.as_deref().filter(|status| !status.is_empty()) {
                    Some(status) => instance.record.status == status,
                    None => instance.registered(),
                }
        };
        let all = self.instances.values().filter(fits).map(|i| self.names.instance(&cluster, &i.record.id)).collect();
        let (container_instance_arns, next_token) = page(all, request.next_token.as_deref(), request.max_results)?;
        Ok(ListContainerInstancesResponse { container_instance_arns, next_token })
    }

    /// DRAINING takes no new tasks; tasks that run go on, as those of RunTask do in ECS.
    pub(crate) fn update_container_instances_state(
        &mut self,
        request: UpdateContainerInstancesStateRequest,
        turn: &mut Turn<'_>,
    ) -> Result<UpdateContainerInstancesStateResponse, ApiError> {
        let cluster = self.cluster(request.cluster.as_deref())?;
        if ![status::ACTIVE, status::DRAINING].contains(&request.status.as_str()) {
            return Err(ApiError::invalid(format!("status: must be ACTIVE or DRAINING (got `{}`)", request.status)));
        }
        let mut response = UpdateContainerInstancesStateResponse::default();
        for reference in &request.container_instances {
            let id = last(reference);
            if self.registered(id, &cluster).is_err() {
                response.failures.push(missing(self.names.instance(&cluster, id)));
                continue;
            }
            if let Some(instance) = self.instances.get_mut(id) {
                instance.record.status.clone_from(&request.status);
                instance.record.version += 1;
                turn.put(Kind::Instance, id, &instance.record);
            }
            response.container_instances.extend(self.instance_view(id, true));
        }
        Ok(response)
    }

    pub(super) fn instance_view(&self, id: &str, tags: bool) -> Option<ContainerInstance> {
        let instance = self.instances.get(id)?;
        let record = &instance.record;
        let in_state = |status: &str| {
            let tasks = instance.tasks.iter().filter_map(|task| self.tasks.get(task));
            tasks.filter(|task| task.record.view.last_status == status).count() as i64
        };
        Some(ContainerInstance {
            container_instance_arn: self.names.instance(&record.cluster, id),
            version: record.version,
            version_info: Some(record.version_info.clone().unwrap_or_else(VersionInfo::default)),
            remaining_resources: remaining(instance),
            registered_resources: record.resources.clone(),
            status: record.status.clone(),
            agent_connected: instance.connected,
            running_tasks_count: in_state(last_status::RUNNING),
            pending_tasks_count: in_state(last_status::PENDING),
            attributes: record.attributes.clone(),
            registered_at: Some(record.registered_at),
            tags: if tags { record.tags.clone() } else { Vec::new() },
            ..ContainerInstance::default()
        })
    }
}

/// What is left: registered less used; for ports, which are lists of what is taken, those and the used ones.
fn remaining(instance: &Instance) -> Vec<Resource> {
    let ports = |reserved: &BTreeSet<u16>, used: &BTreeSet<u16>| reserved.union(used).map(u16::to_string).collect();
    let left = |resource: &Resource| {
        let mut resource = resource.clone();
        match resource.name.as_str() {
            resource_name::CPU => resource.integer_value = instance.capacity.cpu.saturating_sub(instance.used.cpu),
            resource_name::MEMORY => {
                resource.integer_value = instance.capacity.memory.saturating_sub(instance.used.memory);
            }
            resource_name::PORTS => {
                resource.string_set_value = ports(&instance.capacity.reserved_tcp, &instance.used.tcp)
            }
            resource_name::PORTS_UDP => {
                resource.string_set_value = ports(&instance.capacity.reserved_udp, &instance.used.udp);
            }
            _ => {}
        }
        resource
    };
    instance.record.resources.iter().map(left).collect()
}
