//! The control plane as its owner sees it: one method for each operation, the same that the HTTP dispatcher calls.

use crate::config::Config;
use crate::credentials::Credentials;
use crate::error::ApiError;
use crate::session::Sessions;
use crate::state::{Effects, State, Turn};
use crate::store::{Durable, Records, Store};
use crate::{OpenError, http};
use berth_wire::ecs;
use std::fs;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::net::TcpListener;
use tokio::sync::watch;

/// The embedded control plane. Cheap to share (`Arc`), and all of its methods can be called from any number of tasks.
pub struct ControlPlane {
    pub(crate) config: Config,
    pub(crate) credentials: Credentials,
    pub(crate) sessions: Arc<Sessions>,
    core: Arc<Mutex<State>>,
    store: Store,
    /// The address that [`ControlPlane::serve`] listens on, for callers in this process.
    listening: OnceLock<std::net::SocketAddr>,
}

/// Seconds since the epoch.
pub(crate) fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

/// An id as ECS makes them: 32 hexadecimal digits.
fn fresh() -> String {
    let mut bytes = [0_u8; 16];
    getrandom::fill(&mut bytes).expect("the kernel's random source answered when the control plane was opened");
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn lock(core: &Mutex<State>) -> MutexGuard<'_, State> {
    // A decision that panicked may have left half of its changes. Each change by itself leaves a usable state, and
    // refusing everything from now on would be worse.
    core.lock().unwrap_or_else(PoisonError::into_inner)
}

impl ControlPlane {
    /// Opens the control plane kept in the directory `dir`, or makes a new one there: `state.redb`, and `credentials`
    /// in the format of the AWS CLI. Only one process can have it open.
    pub fn open(dir: &Path, config: Config) -> Result<Arc<Self>, OpenError> {
        let io = |op| move |source| OpenError::Io { op, path: dir.to_owned(), source };
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(io("create"))?;
        // Definitions hold environment variables, and those hold passwords.
        fs::set_permissions(dir, fs::Permissions::from_mode(0o700)).map_err(io("restrict"))?;
        let credentials = Credentials::load_or_create(&dir.join("credentials"))?;
        let path = dir.join("state.redb");
        let records = Records::open(&path)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).map_err(io("restrict the state in"))?;
        let mut state = State::new(&config);
        records.read(&path, &mut state)?;

        let core = Arc::new(Mutex::new(state));
        let sessions = Arc::new(Sessions::default());
        let store = {
            let (core, sessions) = (Arc::clone(&core), Arc::clone(&sessions));
            records.start(move |effects: Effects| {
                let mut state = lock(&core);
                effects.tasks.iter().for_each(|task| state.tell(task));
                drop(state);
                effects.close.iter().for_each(|instance| sessions.close(instance));
                effects.wake.iter().for_each(|instance| sessions.wake(instance));
            })?
        };
        let plane = Self { config, credentials, sessions, core, store, listening: OnceLock::new() };
        plane.decide(|state, turn| {
            state.restored(turn);
            state.prune(turn);
        });
        Ok(Arc::new(plane))
    }

    /// Serves the API and the agents' websocket on `listener` until `shutdown` is ready; then no new request is taken,
    /// those under way are finished, and the agents' connections are closed. Tasks are not touched.
    pub async fn serve(
        self: &Arc<Self>,
        listener: TcpListener,
        shutdown: impl Future<Output = ()> + Send + 'static,
    ) -> std::io::Result<()> {
        let address = listener.local_addr()?;
        let _ = self.listening.set(address);
        tracing::info!(%address, "the control plane listens");
        http::serve(Arc::clone(self), listener, shutdown).await
    }

    /// The keys that clients and agents must sign with.
    pub fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    /// What it was opened with.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Makes a decision, and queues what follows from it; does not wait until that is durable.
    pub(crate) fn decide<T>(&self, decision: impl FnOnce(&mut State, &mut Turn<'_>) -> T) -> T {
        self.decide_and_queue(decision).0
    }

    fn decide_and_queue<T>(&self, decision: impl FnOnce(&mut State, &mut Turn<'_>) -> T) -> (T, Durable) {
        let mut id = fresh;
        let mut turn = Turn::new(now(), &mut id);
        let mut state = lock(&self.core);
        let answer = decision(&mut state, &mut turn);
        let receiver = self.store.queue(turn);
        drop(state);
        (answer, receiver)
    }

    /// Makes a decision and waits until it is durable.
    async fn write<T>(
        &self,
        decision: impl FnOnce(&mut State, &mut Turn<'_>) -> Result<T, ApiError>,
    ) -> Result<T, ApiError> {
        let (answer, receiver) = self.decide_and_queue(|state, turn| {
            state.prune(turn);
            decision(state, turn)
        });
        Store::durable(receiver).await?;
        answer
    }

    fn read<T>(&self, question: impl FnOnce(&State) -> T) -> T {
        question(&lock(&self.core))
    }

    /// Watches a task, by ARN or id: the receiver always has the task as it last was, and learns of a change once that is
    /// durable. `None` when there is no such task; closed when the task is forgotten.
    pub fn watch_task(&self, task: &str) -> Option<watch::Receiver<Arc<ecs::Task>>> {
        lock(&self.core).watch(task)
    }

    /// Waits until the task, by ARN or id, has `status` or is STOPPED. `None` when there is no such task, or it was
    /// forgotten meanwhile.
    pub async fn wait_task(&self, task: &str, status: &str) -> Option<Arc<ecs::Task>> {
        use ecs::values::last_status::STOPPED;
        let mut watch = self.watch_task(task)?;
        let reached = |task: &Arc<ecs::Task>| task.last_status == status || task.last_status == STOPPED;
        watch.wait_for(reached).await.ok().map(|task| Arc::clone(&task))
    }

    /// Where agents are to poll. `host` is the address that the agent itself used.
    pub fn discover_poll_endpoint(
        &self,
        request: &ecs::DiscoverPollEndpointRequest,
        host: Option<&str>,
    ) -> Result<ecs::DiscoverPollEndpointResponse, ApiError> {
        let known = self.read(|state| {
            state.session(
                request.cluster.as_deref().unwrap_or_default(),
                request.container_instance.as_deref().unwrap_or_default(),
            )
        });
        let endpoint = self
            .config
            .endpoint
            .clone()
            .or_else(|| host.map(|host| format!("http://{host}")))
            .or_else(|| self.listening.get().map(|address| format!("http://{address}")));
        if request.container_instance.as_deref().is_some_and(|arn| !arn.is_empty()) && known.is_err() {
            return Err(ApiError::invalid("the container instance is not registered"));
        }
        Ok(ecs::DiscoverPollEndpointResponse {
            telemetry_endpoint: endpoint.clone(),
            endpoint,
            ..ecs::DiscoverPollEndpointResponse::default()
        })
    }
}

/// Writes the methods that hand a request to the state of the same name.
macro_rules! operations {
    ($($(#[$doc:meta])* $how:ident $name:ident($request:ident) -> $response:ident;)*) => {
        impl ControlPlane {
            $(operations!(@ $(#[$doc])* $how $name $request $response);)*
        }
    };
    (@ $(#[$doc:meta])* write $name:ident $request:ident $response:ident) => {
        $(#[$doc])*
        pub async fn $name(&self, request: ecs::$request) -> Result<ecs::$response, ApiError> {
            self.write(|state, turn| state.$name(request, turn)).await
        }
    };
    (@ $(#[$doc:meta])* read $name:ident $request:ident $response:ident) => {
        $(#[$doc])*
        pub async fn $name(&self, request: ecs::$request) -> Result<ecs::$response, ApiError> {
            self.read(|state| state.$name(&request))
        }
    };
}

operations! {
    /// Registers a new revision of a task definition; the error has every wrong member.
    write register_task_definition(RegisterTaskDefinitionRequest) -> RegisterTaskDefinitionResponse;
    /// Makes a revision inactive.
    write deregister_task_definition(DeregisterTaskDefinitionRequest) -> DeregisterTaskDefinitionResponse;
    /// Shows a task definition.
    read describe_task_definition(DescribeTaskDefinitionRequest) -> DescribeTaskDefinitionResponse;
    /// Lists revisions.
    read list_task_definitions(ListTaskDefinitionsRequest) -> ListTaskDefinitionsResponse;
    /// Lists families.
    read list_task_definition_families(ListTaskDefinitionFamiliesRequest) -> ListTaskDefinitionFamiliesResponse;
    /// Places and starts tasks; what did not fit is in the response's failures.
    write run_task(RunTaskRequest) -> RunTaskResponse;
    /// Starts tasks on instances that the request names.
    write start_task(StartTaskRequest) -> StartTaskResponse;
    /// Wishes a task stopped.
    write stop_task(StopTaskRequest) -> StopTaskResponse;
    /// Shows tasks.
    read describe_tasks(DescribeTasksRequest) -> DescribeTasksResponse;
    /// Lists tasks.
    read list_tasks(ListTasksRequest) -> ListTasksResponse;
    /// Protects tasks from scale-in.
    write update_task_protection(UpdateTaskProtectionRequest) -> UpdateTaskProtectionResponse;
    /// Registers a node, or registers it again.
    write register_container_instance(RegisterContainerInstanceRequest) -> RegisterContainerInstanceResponse;
    /// Takes a node out.
    write deregister_container_instance(DeregisterContainerInstanceRequest) -> DeregisterContainerInstanceResponse;
    /// Shows nodes.
    read describe_container_instances(DescribeContainerInstancesRequest) -> DescribeContainerInstancesResponse;
    /// Lists nodes.
    read list_container_instances(ListContainerInstancesRequest) -> ListContainerInstancesResponse;
    /// Drains nodes, or ends that.
    write update_container_instances_state(UpdateContainerInstancesStateRequest) -> UpdateContainerInstancesStateResponse;
    /// An agent's report on a task.
    write submit_task_state_change(SubmitTaskStateChangeRequest) -> SubmitTaskStateChangeResponse;
    /// An agent's report on a container.
    write submit_container_state_change(SubmitContainerStateChangeRequest) -> SubmitContainerStateChangeResponse;
    /// Makes a cluster.
    write create_cluster(CreateClusterRequest) -> CreateClusterResponse;
    /// Deletes a cluster that is empty.
    write delete_cluster(DeleteClusterRequest) -> DeleteClusterResponse;
    /// Lists clusters.
    read list_clusters(ListClustersRequest) -> ListClustersResponse;
    /// Labels a resource.
    write tag_resource(TagResourceRequest) -> TagResourceResponse;
    /// Takes labels off a resource.
    write untag_resource(UntagResourceRequest) -> UntagResourceResponse;
    /// Lists the labels of a resource.
    read list_tags_for_resource(ListTagsForResourceRequest) -> ListTagsForResourceResponse;
}

impl ControlPlane {
    /// Shows clusters.
    pub async fn describe_clusters(
        &self,
        request: ecs::DescribeClustersRequest,
    ) -> Result<ecs::DescribeClustersResponse, ApiError> {
        Ok(self.read(|state| state.describe_clusters(&request)))
    }

    /// Shows the protection of tasks.
    pub async fn task_protection(
        &self,
        request: ecs::GetTaskProtectionRequest,
    ) -> Result<ecs::GetTaskProtectionResponse, ApiError> {
        self.read(|state| state.task_protection(&request, now()))
    }

    /// An agent's report on attachments.
    pub async fn submit_attachment_state_changes(
        &self,
        request: ecs::SubmitAttachmentStateChangesRequest,
    ) -> Result<ecs::SubmitAttachmentStateChangesResponse, ApiError> {
        Ok(self.read(|state| state.submit_attachment_state_changes(&request)))
    }
}
