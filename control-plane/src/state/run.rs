//! RunTask and StartTask: from a definition to tasks that have a place.

use super::{Kind, State, Task, TaskRecord, Turn};
use crate::arn::last;
use crate::definition;
use crate::error::{ApiError, Code};
use crate::payload;
use crate::schedule::{self, Candidate, Demand, Preference, Refusal, Wishes};
use berth_wire::ecs::values::{
    container_instance_status, last_status, launch_type, network_mode, placement_constraint_type,
    placement_strategy_type, task_definition_status,
};
use berth_wire::ecs::{
    self, ContainerDefinition, Failure, PlacementConstraint, PlacementStrategy, RunTaskRequest, RunTaskResponse,
    StartTaskRequest, StartTaskResponse, TaskDefinition, TaskOverride,
};

/// The most tasks of one request, as in ECS.
const MAX_COUNT: i64 = 10;

/// What the tasks of one request have in common.
struct Plan {
    cluster: String,
    definition: TaskDefinition,
    containers: Vec<ContainerDefinition>,
    size: (Option<i64>, Option<i64>),
    demand: Demand,
    overrides: TaskOverride,
    group: Option<String>,
    started_by: Option<String>,
    tags: Vec<ecs::Tag>,
    client_token: Option<String>,
    enable_execute_command: bool,
}

impl State {
    /// Places as many of the tasks asked for as fit; of the others the answer says why each instance did not take one.
    pub(crate) fn run_task(
        &mut self,
        request: RunTaskRequest,
        turn: &mut Turn<'_>,
    ) -> Result<RunTaskResponse, ApiError> {
        let cluster = self.cluster(request.cluster.as_deref())?;
        let count = request.count.unwrap_or(1);
        if !(1..=MAX_COUNT).contains(&count) {
            return Err(ApiError::invalid(format!("count: got {count}, must be 1 to {MAX_COUNT}")));
        }
        supported(&request)?;
        if let Some(tasks) = self.same_request(&cluster, request.client_token.as_deref()) {
            return Ok(RunTaskResponse { tasks, failures: Vec::new() });
        }
        let wishes = wishes(&request.placement_constraints, &request.placement_strategy, turn)?;
        let plan = self.plan(
            cluster,
            &request.task_definition,
            Shared {
                overrides: request.overrides,
                group: request.group,
                started_by: request.started_by,
                tags: request.tags,
                propagate_tags: request.propagate_tags,
                client_token: request.client_token,
                enable_execute_command: request.enable_execute_command,
            },
        )?;
        if !self.instances.values().any(|instance| instance.record.cluster == plan.cluster && instance.registered()) {
            return Err(ApiError::invalid("No Container Instances were found in your cluster."));
        }
        let wishes = Wishes {
            attributes: definition::needed(&plan.definition),
            architecture: definition::architecture(&plan.definition),
            ..wishes
        };
        let mut response = RunTaskResponse::default();
        for _ in 0..count {
            let placed = {
                let nodes = self.candidates(&plan);
                schedule::place(&plan.demand, &wishes, &nodes)
                    .map(|index| nodes[index].id.to_owned())
                    .map_err(|refusals| failures(self, &plan, &wishes, &nodes, &refusals))
            };
            match placed {
                Ok(instance) => response.tasks.push(self.start_on(&plan, &instance, turn)),
                Err(failures) => {
                    response.failures = failures;
                    break;
                }
            }
        }
        Ok(response)
    }

    /// Starts a task on each of the instances named, where it fits.
    pub(crate) fn start_task(
        &mut self,
        request: StartTaskRequest,
        turn: &mut Turn<'_>,
    ) -> Result<StartTaskResponse, ApiError> {
        let cluster = self.cluster(request.cluster.as_deref())?;
        if request.container_instances.is_empty() || request.container_instances.len() as i64 > MAX_COUNT {
            return Err(ApiError::invalid(format!(
                "containerInstances: must name 1 to {MAX_COUNT} container instances"
            )));
        }
        if !request.volume_configurations.is_empty() {
            return Err(ApiError::new(Code::UnsupportedFeature, "volumeConfigurations: is not supported yet"));
        }
        let plan = self.plan(
            cluster,
            &request.task_definition,
            Shared {
                overrides: request.overrides,
                group: request.group,
                started_by: request.started_by,
                tags: request.tags,
                propagate_tags: request.propagate_tags,
                client_token: None,
                enable_execute_command: request.enable_execute_command,
            },
        )?;
        let wishes = Wishes {
            attributes: definition::needed(&plan.definition),
            architecture: definition::architecture(&plan.definition),
            ..Wishes::default()
        };
        let mut response = StartTaskResponse::default();
        for reference in &request.container_instances {
            let id = last(reference);
            let verdict = {
                let nodes = self.candidates(&plan);
                match nodes.iter().find(|node| node.id == id) {
                    None => Err(super::clusters::missing(self.names.instance(&plan.cluster, id))),
                    Some(node) => schedule::fits(&plan.demand, &wishes, node)
                        .map_err(|refusal| failure(self, &plan, &wishes, node, refusal)),
                }
            };
            match verdict {
                Ok(()) => response.tasks.push(self.start_on(&plan, id, turn)),
                Err(failure) => response.failures.push(failure),
            }
        }
        Ok(response)
    }

    /// The tasks that a request with this token has started before, in order.
    fn same_request(&self, cluster: &str, token: Option<&str>) -> Option<Vec<ecs::Task>> {
        let token = token.filter(|token| !token.is_empty())?;
        let same = |task: &&Task| task.record.cluster == cluster && task.record.client_token.as_deref() == Some(token);
        let mut tasks: Vec<_> = self.tasks.values().filter(same).map(|task| task.record.view.clone()).collect();
        tasks.sort_by(|a, b| a.task_arn.cmp(&b.task_arn));
        (!tasks.is_empty()).then_some(tasks)
    }

    fn plan(&self, cluster: String, reference: &str, shared: Shared) -> Result<Plan, ApiError> {
        let record = self.definition(reference)?;
        let definition = &record.definition;
        if definition.status != task_definition_status::ACTIVE {
            return Err(ApiError::client(format!("TaskDefinition is inactive: `{}`", definition.task_definition_arn)));
        }
        let overrides = shared.overrides.unwrap_or_default();
        let containers = payload::overridden(definition, &overrides).map_err(|name| {
            ApiError::invalid(format!(
                "Override for container named `{name}` is not a container in the TaskDefinition."
            ))
        })?;
        overridable(&overrides)?;
        let size = definition::task_size(definition, &overrides);
        let mut tags = shared.tags;
        if shared.propagate_tags.as_deref() == Some("TASK_DEFINITION") {
            let missing = record.tags.iter().filter(|tag| !tags.iter().any(|own| own.key == tag.key)).cloned();
            tags.extend(missing.collect::<Vec<_>>());
        }
        Ok(Plan {
            cluster,
            demand: definition::demand(definition, &containers, size),
            group: Some(shared.group.unwrap_or_else(|| format!("family:{}", definition.family))),
            definition: definition.clone(),
            containers,
            size,
            overrides,
            started_by: shared.started_by,
            tags,
            client_token: shared.client_token.filter(|token| !token.is_empty()),
            enable_execute_command: shared.enable_execute_command == Some(true),
        })
    }

    fn candidates(&self, plan: &Plan) -> Vec<Candidate<'_>> {
        let here = self.instances.values().filter(|i| i.record.cluster == plan.cluster && i.registered());
        here.map(|instance| Candidate {
            id: &instance.record.id,
            active: instance.record.status == container_instance_status::ACTIVE,
            connected: instance.connected,
            attributes: &instance.attributes,
            capacity: &instance.capacity,
            used: &instance.used,
            tasks: instance.tasks.len(),
            has_group: instance
                .tasks
                .iter()
                .filter_map(|task| self.tasks.get(task))
                .any(|task| task.record.view.group == plan.group),
        })
        .collect()
    }

    /// Makes a task on an instance that it fits.
    fn start_on(&mut self, plan: &Plan, instance: &str, turn: &mut Turn<'_>) -> ecs::Task {
        let id = (turn.fresh)();
        let arn = self.names.task(&plan.cluster, &id);
        let cluster_arn = self.names.cluster(&plan.cluster);
        let arns: Vec<String> =
            plan.containers.iter().map(|_| self.names.container(&plan.cluster, &id, &(turn.fresh)())).collect();
        let view = ecs::Task {
            containers: plan.containers.iter().zip(&arns).map(|(one, own)| container_view(one, own, &arn)).collect(),
            ..task_view(plan, &arn, &cluster_arn, self.names.instance(&plan.cluster, instance), turn.now)
        };
        let payload = payload::task(
            &plan.definition,
            &payload::Run {
                arn: &arn,
                cluster_arn: &cluster_arn,
                account: &self.account,
                group: plan.group.as_deref(),
                size: plan.size,
                containers: &plan.containers,
                container_arns: &arns,
                overrides: &plan.overrides,
            },
        );
        let record = TaskRecord {
            id: id.clone(),
            cluster: plan.cluster.clone(),
            instance: instance.to_owned(),
            view: view.clone(),
            payload,
            demand: plan.demand.clone(),
            client_token: plan.client_token.clone(),
            protected_until: None,
        };
        turn.put(Kind::Task, &id, &record);
        turn.effects.tasks.insert(id.clone());
        turn.effects.wake.insert(instance.to_owned());
        self.tasks.insert(id.clone(), Task { record, delivered: None, watch: None });
        if let Some(entry) = self.instances.get_mut(instance) {
            entry.tasks.insert(id);
        }
        self.recount(instance);
        view
    }
}

/// The members that RunTask and StartTask have in common.
struct Shared {
    overrides: Option<TaskOverride>,
    group: Option<String>,
    started_by: Option<String>,
    tags: Vec<ecs::Tag>,
    propagate_tags: Option<String>,
    client_token: Option<String>,
    enable_execute_command: Option<bool>,
}

/// Refuses what would be silently different from what was asked. The subnets of a network configuration have no meaning
/// here (the node's pool gives the address) and are accepted, because clients must send them for awsvpc.
fn supported(request: &RunTaskRequest) -> Result<(), ApiError> {
    let wrong =
        |member: &str, problem: &str| Err(ApiError::new(Code::UnsupportedFeature, format!("{member}: {problem}")));
    if let Some(kind) = request.launch_type.as_deref().filter(|kind| !kind.is_empty())
        && ![launch_type::EC2, launch_type::EXTERNAL].contains(&kind)
    {
        return wrong("launchType", &format!("must be EC2 or EXTERNAL (got `{kind}`)"));
    }
    if !request.capacity_provider_strategy.is_empty() {
        return wrong("capacityProviderStrategy", "is not supported yet");
    }
    if !request.volume_configurations.is_empty() {
        return wrong("volumeConfigurations", "is not supported yet");
    }
    Ok(())
}

fn overridable(overrides: &TaskOverride) -> Result<(), ApiError> {
    let asked = [
        ("taskRoleArn", overrides.task_role_arn.as_deref().is_some_and(|arn| !arn.is_empty())),
        ("ephemeralStorage", overrides.ephemeral_storage.is_some()),
        ("inferenceAcceleratorOverrides", !overrides.inference_accelerator_overrides.is_empty()),
        (
            "containerOverrides.environmentFiles",
            overrides.container_overrides.iter().any(|c| !c.environment_files.is_empty()),
        ),
        (
            "containerOverrides.resourceRequirements",
            overrides.container_overrides.iter().any(|c| !c.resource_requirements.is_empty()),
        ),
    ];
    if let Some((member, _)) = asked.iter().find(|(_, asked)| *asked) {
        return Err(ApiError::new(Code::UnsupportedFeature, format!("overrides.{member}: is not supported yet")));
    }
    let least = crate::validate::MIN_MEMORY_MIB;
    for change in &overrides.container_overrides {
        for (member, value) in [("memory", change.memory), ("memoryReservation", change.memory_reservation)] {
            if let Some(value) = value.filter(|value| *value < least) {
                return Err(ApiError::invalid(format!(
                    "overrides.containerOverrides.{member}: must be at least {least} MiB (got `{value}`)"
                )));
            }
        }
        if let Some(cpu) = change.cpu.filter(|cpu| *cpu < 0) {
            return Err(ApiError::invalid(format!(
                "overrides.containerOverrides.cpu: may not be negative (got `{cpu}`)"
            )));
        }
    }
    for (member, text, parsed) in [
        ("cpu", &overrides.cpu, overrides.cpu.as_deref().map(crate::validate::parse_cpu)),
        ("memory", &overrides.memory, overrides.memory.as_deref().map(crate::validate::parse_memory)),
    ] {
        let least = if member == "cpu" { 1 } else { least };
        if parsed.is_some_and(|parsed| parsed.is_none_or(|value| value < least)) {
            let text = text.as_deref().unwrap_or_default();
            return Err(ApiError::invalid(format!(
                "overrides.{member}: must be a number, at least {least} (got `{text}`)"
            )));
        }
    }
    Ok(())
}

fn wishes(
    constraints: &[PlacementConstraint],
    strategy: &[PlacementStrategy],
    turn: &mut Turn<'_>,
) -> Result<Wishes, ApiError> {
    let mut wishes = Wishes::default();
    for constraint in constraints {
        match constraint.kind.as_deref().unwrap_or_default() {
            placement_constraint_type::DISTINCT_INSTANCE => wishes.distinct = true,
            other => {
                let text = format!("placementConstraints: `{other}` is not supported yet, `distinctInstance` is");
                return Err(ApiError::new(Code::UnsupportedFeature, text));
            }
        }
    }
    for step in strategy {
        let kind = step.kind.as_deref().unwrap_or_default();
        let field = step.field.as_deref().unwrap_or_default();
        wishes.strategy.push(match (kind, field.to_ascii_lowercase().as_str()) {
            (placement_strategy_type::SPREAD, "instanceid" | "host") => Preference::SpreadInstances,
            (placement_strategy_type::SPREAD, name) if !name.is_empty() => {
                let name = field.strip_prefix("attribute:").unwrap_or(field);
                Preference::SpreadAttribute(name.to_owned())
            }
            (placement_strategy_type::BINPACK, "cpu") => Preference::BinpackCpu,
            (placement_strategy_type::BINPACK, "memory") => Preference::BinpackMemory,
            (placement_strategy_type::RANDOM, _) => {
                let digits = (turn.fresh)();
                Preference::Random(digits.get(..16).and_then(|d| u64::from_str_radix(d, 16).ok()).unwrap_or_default())
            }
            _ => return Err(ApiError::invalid(format!("placementStrategy: there is no `{kind}` by `{field}`"))),
        });
    }
    Ok(wishes)
}

fn failures(
    state: &State,
    plan: &Plan,
    wishes: &Wishes,
    nodes: &[Candidate<'_>],
    refusals: &[Refusal],
) -> Vec<Failure> {
    nodes.iter().zip(refusals).map(|(node, refusal)| failure(state, plan, wishes, node, *refusal)).collect()
}

fn failure(state: &State, plan: &Plan, wishes: &Wishes, node: &Candidate<'_>, refusal: Refusal) -> Failure {
    Failure {
        arn: Some(state.names.instance(&plan.cluster, node.id)),
        reason: Some(refusal.reason().to_owned()),
        detail: Some(schedule::detail(refusal, &plan.demand, wishes, node)),
    }
}

fn task_view(plan: &Plan, arn: &str, cluster_arn: &str, instance_arn: String, now: f64) -> ecs::Task {
    let architecture = ecs::Attribute {
        name: "ecs.cpu-architecture".to_owned(),
        value: definition::architecture(&plan.definition).map(str::to_owned),
        ..ecs::Attribute::default()
    };
    ecs::Task {
        attributes: architecture.value.is_some().then_some(architecture).into_iter().collect(),
        cluster_arn: cluster_arn.to_owned(),
        container_instance_arn: Some(instance_arn),
        connectivity: Some("CONNECTED".to_owned()),
        connectivity_at: Some(now),
        cpu: Some(plan.demand.cpu.to_string()),
        memory: Some(plan.demand.memory.to_string()),
        created_at: Some(now),
        desired_status: last_status::RUNNING.to_owned(),
        last_status: last_status::PENDING.to_owned(),
        enable_execute_command: plan.enable_execute_command,
        group: plan.group.clone(),
        health_status: Some("UNKNOWN".to_owned()),
        launch_type: Some(launch_type::EC2.to_owned()),
        overrides: Some(shown(plan)),
        started_by: plan.started_by.clone(),
        tags: plan.tags.clone(),
        task_arn: arn.to_owned(),
        task_definition_arn: plan.definition.task_definition_arn.clone(),
        version: 1,
        ..ecs::Task::default()
    }
}

/// The overrides as ECS shows them: every container has an entry.
fn shown(plan: &Plan) -> TaskOverride {
    let mut overrides = plan.overrides.clone();
    for container in &plan.containers {
        if !overrides.container_overrides.iter().any(|change| change.name == container.name) {
            let empty = ecs::ContainerOverride { name: container.name.clone(), ..ecs::ContainerOverride::default() };
            overrides.container_overrides.push(empty);
        }
    }
    overrides
}

fn container_view(container: &ContainerDefinition, arn: &str, task_arn: &str) -> ecs::Container {
    ecs::Container {
        container_arn: arn.to_owned(),
        task_arn: task_arn.to_owned(),
        name: container.name.clone(),
        image: Some(container.image.clone()),
        last_status: last_status::PENDING.to_owned(),
        health_status: Some("UNKNOWN".to_owned()),
        cpu: Some(container.cpu.to_string()),
        memory: container.memory.map(|memory| memory.to_string()),
        memory_reservation: container.memory_reservation.map(|memory| memory.to_string()),
        ..ecs::Container::default()
    }
}

/// Whether tasks of this mode have an address of their own.
pub(super) fn has_own_address(mode: &str) -> bool {
    mode == network_mode::AWSVPC
}
