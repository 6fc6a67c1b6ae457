//! Clusters: names that instances and tasks belong to.

use super::page::page;
use super::{ClusterRecord, Kind, State, Turn};
use crate::arn::last;
use crate::error::{ApiError, Code};
use berth_wire::ecs::values::last_status;
use berth_wire::ecs::{
    Cluster, CreateClusterRequest, CreateClusterResponse, DeleteClusterRequest, DeleteClusterResponse,
    DescribeClustersRequest, DescribeClustersResponse, Failure, ListClustersRequest, ListClustersResponse,
};

pub(super) const ACTIVE: &str = "ACTIVE";
const INACTIVE: &str = "INACTIVE";

impl State {
    pub(super) fn add_cluster(&mut self, mut record: ClusterRecord, turn: &mut Turn<'_>) {
        record.status = ACTIVE.to_owned();
        turn.put(Kind::Cluster, &record.name, &record);
        self.clusters.insert(record.name.clone(), record);
    }

    /// Making a cluster that exists gives it back.
    pub(crate) fn create_cluster(
        &mut self,
        request: CreateClusterRequest,
        turn: &mut Turn<'_>,
    ) -> Result<CreateClusterResponse, ApiError> {
        let name = match request.cluster_name.filter(|name| !name.is_empty()) {
            Some(name) => name,
            None => self.default_cluster.clone(),
        };
        if name.len() > 255 || !name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_')) {
            return Err(ApiError::invalid(format!(
                "clusterName: must be at most 255 letters, digits, hyphens and underscores (got `{name}`)"
            )));
        }
        if self.clusters.get(&name).is_none_or(|cluster| cluster.status != ACTIVE) {
            let record = ClusterRecord {
                name: name.clone(),
                tags: request.tags,
                settings: request.settings,
                ..ClusterRecord::default()
            };
            self.add_cluster(record, turn);
        }
        Ok(CreateClusterResponse { cluster: self.cluster_view(&name, true) })
    }

    pub(crate) fn delete_cluster(
        &mut self,
        request: DeleteClusterRequest,
        turn: &mut Turn<'_>,
    ) -> Result<DeleteClusterResponse, ApiError> {
        let name = self.cluster(Some(&request.cluster))?;
        if self.instances.values().any(|instance| instance.record.cluster == name && instance.registered()) {
            let code = Code::ClusterContainsContainerInstances;
            return Err(ApiError::new(code, format!("cluster `{name}` still has container instances")));
        }
        if self.tasks.values().any(|task| task.record.cluster == name && !task.record.stopped()) {
            return Err(ApiError::new(Code::ClusterContainsTasks, format!("cluster `{name}` still has tasks")));
        }
        if let Some(record) = self.clusters.get_mut(&name) {
            record.status = INACTIVE.to_owned();
            turn.put(Kind::Cluster, &name, record);
        }
        Ok(DeleteClusterResponse { cluster: self.cluster_view(&name, true) })
    }

    pub(crate) fn describe_clusters(&self, request: &DescribeClustersRequest) -> DescribeClustersResponse {
        let mut wanted: Vec<&str> = request.clusters.iter().map(|reference| last(reference)).collect();
        if wanted.is_empty() {
            wanted.push(&self.default_cluster);
        }
        let tags = request.include.iter().any(|include| include == "TAGS");
        let mut response = DescribeClustersResponse::default();
        for name in wanted {
            match self.cluster_view(name, tags) {
                Some(view) => response.clusters.push(view),
                None => response.failures.push(missing(self.names.cluster(name))),
            }
        }
        response
    }

    pub(crate) fn list_clusters(&self, request: &ListClustersRequest) -> Result<ListClustersResponse, ApiError> {
        let active = self.clusters.values().filter(|cluster| cluster.status == ACTIVE);
        let all = active.map(|cluster| self.names.cluster(&cluster.name)).collect();
        let (cluster_arns, next_token) = page(all, request.next_token.as_deref(), request.max_results)?;
        Ok(ListClustersResponse { cluster_arns, next_token })
    }

    fn cluster_view(&self, name: &str, tags: bool) -> Option<Cluster> {
        let record = self.clusters.get(name)?;
        let instances =
            self.instances.values().filter(|instance| instance.record.cluster == name && instance.registered());
        let in_state = |status: &str| {
            let tasks = self.tasks.values().filter(|task| task.record.cluster == name);
            tasks.filter(|task| task.record.view.last_status == status).count() as i64
        };
        Some(Cluster {
            cluster_arn: self.names.cluster(name),
            cluster_name: name.to_owned(),
            status: record.status.clone(),
            registered_container_instances_count: instances.count() as i64,
            running_tasks_count: in_state(last_status::RUNNING),
            pending_tasks_count: in_state(last_status::PENDING),
            tags: if tags { record.tags.clone() } else { Vec::new() },
            settings: record.settings.clone(),
            ..Cluster::default()
        })
    }
}

/// What is told of something that does not exist.
pub(super) fn missing(arn: String) -> Failure {
    Failure { arn: Some(arn), reason: Some("MISSING".to_owned()), detail: None }
}
