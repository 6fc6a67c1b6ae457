//! A node whose images and shims are the test's own.

use berth_agent::aws::{EcsClient, Provider};
use berth_agent::config::{HostFacts, Partial, Settings};
use berth_agent::control::Control;
use berth_agent::engine::{
    BundleFacts, BundleRequest, Engine, ImageFailure, Images, Inheritance, Later, NodePlan, Parts, Shims, Status,
    TaskState,
};
use berth_agent::store::Store;
use berth_control_plane::ControlPlane;
use berth_runtime::rundir::{Dirs, TaskDirs};
use berth_runtime::shim::facts;
use berth_runtime::shim::frame::{Inbox, frame};
use berth_runtime::shim::protocol::{FromShim, PROTOCOL_VERSION, ToShim};
use berth_runtime::task::view::{ContainerState, ContainerView, ExitRecord, Phase, TaskView};
use berth_wire::ecs;
use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Images that are always here, or never.
#[derive(Default)]
pub(crate) struct FakeImages(Mutex<Option<String>>);

impl FakeImages {
    /// From now on there is none.
    pub(crate) fn fail(&self, why: &str) {
        *self.0.lock().unwrap() = Some(why.to_owned());
    }
}

impl Images for FakeImages {
    fn obtain(&self, _reference: &str) -> Later<Result<String, ImageFailure>> {
        let answer = self.0.lock().unwrap().clone().map_or(Ok("sha256:00".to_owned()), |e| Err(ImageFailure::new(e)));
        Box::pin(async move { answer })
    }

    fn bundle(&self, request: &BundleRequest) -> Result<BundleFacts, ImageFailure> {
        std::fs::create_dir_all(&request.dir).unwrap();
        Ok(BundleFacts { stop_signal: 15 })
    }

    fn release(&self, _key: &str) -> io::Result<()> {
        Ok(())
    }
}

/// What a test does with a shim.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Order {
    Run,
    End(Option<i32>),
    /// Ends and goes without waiting to be collected.
    Leave(Option<i32>),
}

struct Shim {
    orders: watch::Sender<Order>,
    task: JoinHandle<()>,
}

/// Shims as tasks of the test's runtime. They outlive the agent, as real ones do.
#[derive(Clone)]
pub(crate) struct FakeShims {
    shims: Arc<Mutex<HashMap<String, Shim>>>,
    started: Arc<AtomicUsize>,
    swept: Arc<AtomicUsize>,
    runtime: tokio::runtime::Handle,
}

fn id_of(dirs: &TaskDirs) -> String {
    dirs.run().file_name().unwrap().to_string_lossy().into_owned()
}

impl FakeShims {
    fn new() -> Self {
        let runtime = tokio::runtime::Handle::current();
        Self { shims: Arc::default(), started: Arc::default(), swept: Arc::default(), runtime }
    }

    fn order(&self, id: &str, order: Order) {
        self.shims.lock().unwrap()[id].orders.send_replace(order);
    }

    /// The container ends.
    pub(crate) fn end(&self, id: &str, code: Option<i32>) {
        self.order(id, Order::End(code));
    }

    /// The container ends while no agent is there, and the shim goes after it.
    pub(crate) fn end_unseen(&self, id: &str, code: Option<i32>) {
        self.order(id, Order::Leave(code));
        let deadline = std::time::Instant::now() + PATIENCE;
        while !self.shims.lock().unwrap()[id].task.is_finished() {
            assert!(std::time::Instant::now() < deadline, "the shim stays");
            std::thread::yield_now();
        }
    }

    /// The shim dies without a word.
    pub(crate) fn kill(&self, id: &str) {
        self.shims.lock().unwrap()[id].task.abort();
    }

    pub(crate) fn started(&self) -> usize {
        self.started.load(Ordering::SeqCst)
    }

    pub(crate) fn swept(&self) -> usize {
        self.swept.load(Ordering::SeqCst)
    }
}

impl Shims for FakeShims {
    fn spawn(&self, dirs: &TaskDirs, inheritance: Inheritance) -> io::Result<()> {
        self.started.fetch_add(1, Ordering::SeqCst);
        let (orders, inbox) = watch::channel(Order::Run);
        let _entered = self.runtime.enter();
        inheritance.listener.set_nonblocking(true)?;
        let listener = UnixListener::from_std(inheritance.listener)?;
        let live = live(dirs.clone(), inheritance.lock, listener, inbox);
        let task = self.runtime.spawn(live);
        self.shims.lock().unwrap().insert(id_of(dirs), Shim { orders, task });
        Ok(())
    }

    fn sweep(&self, dirs: &TaskDirs) -> Later<Result<(), String>> {
        self.swept.fetch_add(1, Ordering::SeqCst);
        let view = TaskView { reason: Some("its shim died".into()), ..view(Phase::Ended, Some(137)) };
        let written = facts::write_end(dirs, &view).map_err(|e| e.to_string());
        Box::pin(async move { written })
    }
}

fn view(phase: Phase, code: Option<i32>) -> TaskView {
    let ended = phase == Phase::Ended;
    let exit = ExitRecord { code, signal: None, oom: None, reason: None, finished_at_ms: 2_000 };
    let container = ContainerView {
        name: "app".into(),
        state: if ended { ContainerState::Stopped } else { ContainerState::Running },
        pid: (!ended).then_some(1),
        started_at_ms: Some(1_000),
        exit: ended.then_some(exit),
    };
    TaskView {
        generation: 0,
        phase,
        reason: ended.then(|| "Essential container in task exited".to_owned()),
        containers: vec![container],
        execution_stopped_at_ms: ended.then_some(2_000),
    }
}

/// A shim's whole life. `_lock` is what makes it alive.
async fn live(dirs: TaskDirs, _lock: File, listener: UnixListener, mut orders: watch::Receiver<Order>) {
    loop {
        tokio::select! {
            Ok((stream, _)) = listener.accept() => {
                // Dropped with this future, as descriptors are closed with a process.
                let served = serve(stream, id_of(&dirs), orders.clone(), dirs.clone());
                if served.await { return }
            }
            _ = orders.changed() => {
                if let Order::Leave(code) = *orders.borrow() {
                    facts::write_end(&dirs, &view(Phase::Ended, code)).unwrap();
                    return;
                }
            }
        }
    }
}

/// Serves the one client; says whether the shim was let go.
async fn serve(mut stream: UnixStream, task: String, mut orders: watch::Receiver<Order>, dirs: TaskDirs) -> bool {
    let mut inbox = Inbox::default();
    let mut buffer = [0; 4096];
    let hello = FromShim::Hello { version: PROTOCOL_VERSION, task, pid: 1 };
    let first = [frame(&hello), frame(&FromShim::View { view: view(Phase::Running, None) })].concat();
    stream.write_all(&first).await.unwrap();
    loop {
        let mut end = None;
        tokio::select! {
            read = stream.read(&mut buffer) => {
                match read {
                    Ok(0) | Err(_) => return false,
                    Ok(n) => inbox.push(&buffer[..n]),
                }
                while let Some(message) = inbox.take::<ToShim>().unwrap() {
                    match message {
                        ToShim::Stop { .. } => end = Some(Some(143)),
                        ToShim::Collect => return true,
                        _ => {}
                    }
                }
            }
            _ = orders.changed() => {
                if let Order::End(code) = *orders.borrow_and_update() {
                    end = Some(code);
                }
            }
        }
        if let Some(code) = end {
            let view = view(Phase::Ended, code);
            facts::write_end(&dirs, &view).unwrap();
            stream.write_all(&frame(&FromShim::View { view })).await.unwrap();
        }
    }
}

/// An agent that can be stopped and started again, between a control plane and shims that stay.
pub(crate) struct Node {
    pub(crate) plane: Arc<ControlPlane>,
    pub(crate) shims: FakeShims,
    pub(crate) images: Arc<FakeImages>,
    settings: Arc<Settings>,
    client: EcsClient,
    agent: Option<(tokio::runtime::Runtime, Engine)>,
    definition: String,
    _dir: tempfile::TempDir,
}

impl Node {
    pub(crate) async fn start() -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let dir = tempfile::tempdir().unwrap();
        let plane = ControlPlane::open(&dir.path().join("plane"), berth_control_plane::Config::default()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = plane.clone();
        tokio::spawn(async move { serving.serve(listener, std::future::pending()).await });
        let keys = Provider::File(dir.path().join("plane/credentials"));
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let client = EcsClient::new(http, &format!("http://{address}"), "local", keys);
        let partial = Partial {
            run_dir: Some(dir.path().join("r")),
            state_dir: Some(dir.path().join("s")),
            ..Partial::default()
        };
        let settings = Arc::new(Settings::resolve(partial, &HostFacts::read().unwrap()).unwrap());
        std::fs::create_dir_all(settings.dirs.run_tasks()).unwrap();
        std::fs::create_dir_all(settings.dirs.state_tasks()).unwrap();
        let images = Arc::default();
        let mut node = Self {
            plane,
            shims: FakeShims::new(),
            images,
            settings,
            client,
            agent: None,
            definition: String::new(),
            _dir: dir,
        };
        node.start_agent().await;
        let container = serde_json::json!({ "name": "app", "image": "app:1", "memory": 16, "command": ["x"] });
        let request = serde_json::json!({ "family": "f", "networkMode": "none", "containerDefinitions": [container] });
        let answer = node.plane.register_task_definition(serde_json::from_value(request).unwrap()).await.unwrap();
        node.definition = answer.task_definition.unwrap().task_definition_arn;
        node
    }

    /// In a runtime of its own: its end is the end of everything that the agent had under way.
    pub(crate) async fn start_agent(&mut self) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let (store, loaded) = open_store(&self.settings.dirs);
        let parts = Parts {
            dirs: self.settings.dirs.clone(),
            node: self.settings.node.clone(),
            plan: NodePlan::of(&self.settings),
            images: self.images.clone(),
            shims: Arc::new(self.shims.clone()),
            hold: Arc::new(|_, _| Ok(tempfile::tempfile()?.into())),
            keep_stopped: Duration::from_secs(3600),
        };
        let engine = {
            let _entered = runtime.enter();
            Engine::start(parts, store, loaded).unwrap()
        };
        let control = Control::new(engine.clone(), self.settings.clone(), self.client.clone());
        let mut connection = control.connection();
        runtime.spawn(control.run());
        tokio::time::timeout(PATIENCE, connection.wait_for(|c| c.connected)).await.unwrap().unwrap();
        self.agent = Some((runtime, engine));
    }

    pub(crate) async fn stop_agent(&mut self) {
        let (runtime, engine) = self.agent.take().unwrap();
        drop(engine);
        runtime.shutdown_background();
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.agent.as_ref().unwrap().1
    }

    pub(crate) fn dirs(&self) -> &Dirs {
        &self.settings.dirs
    }

    pub(crate) async fn run_task(&self) -> String {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let request =
                ecs::RunTaskRequest { task_definition: self.definition.clone(), ..ecs::RunTaskRequest::default() };
            let answer = self.plane.run_task(request).await.unwrap();
            if let Some(task) = answer.tasks.first() {
                return task.task_arn.rsplit('/').next().unwrap().to_owned();
            }
            // The session is open on our side a moment before the control plane counts it.
            assert!(tokio::time::Instant::now() < deadline, "{:?}", answer.failures);
            tokio::task::yield_now().await;
        }
    }

    pub(crate) async fn wait(&self, id: &str, status: Status) {
        self.until(id, |task| task.status() == status).await;
    }

    pub(crate) async fn until(&self, id: &str, condition: impl Fn(&TaskState) -> bool) {
        let mut changes = self.engine().changes();
        let reached = async {
            let mut watch = loop {
                match self.engine().watch(id) {
                    Some(watch) => break watch,
                    None => drop(changes.recv().await),
                }
            };
            let state = watch.wait_for(|state| condition(state)).await;
            state.map(|_| ()).unwrap_or_else(|_| panic!("task {id} is gone"));
        };
        if tokio::time::timeout(PATIENCE, reached).await.is_err() {
            panic!("task {id} is {:?}", self.engine().task(id));
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // A runtime may not be waited for inside another.
        if let Some((runtime, _)) = self.agent.take() {
            runtime.shutdown_background();
        }
    }
}

/// The agent before closes its store a moment after its end.
fn open_store(dirs: &Dirs) -> (Store, berth_agent::store::Loaded) {
    let deadline = std::time::Instant::now() + PATIENCE;
    loop {
        match Store::open(&dirs.agent_store()) {
            Ok(opened) => return opened,
            Err(e) => assert!(std::time::Instant::now() < deadline, "{e}"),
        }
        std::thread::yield_now();
    }
}
