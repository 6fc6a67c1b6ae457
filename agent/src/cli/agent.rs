//! `berth agent` and `berth control-plane`: flags, and the programs put together from their parts.
//!
//! Both run in the foreground and log to standard error. SIGTERM and SIGINT end them; tasks go on without an agent.

use crate::api::{self, Api};
use crate::aws::{EcsClient, Provider};
use crate::config::{self, Backend, ConfigError, HostFacts, LogFormat, Partial, Settings};
use crate::control::Control;
use crate::engine::{self, Engine, NodeImages, NodePlan, RuntimeShims};
use crate::registry::{Registry, RegistryConfig};
use crate::store::Store;
use crate::task::Remap;
use berth_control_plane::ControlPlane;
use berth_runtime::errno::{chain, tell};
use ipnet::IpNet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

/// Read where no other file is named, if it is there.
const DEFAULT_CONFIG: &str = "/etc/berth/agent.toml";

/// How long the first session with the embedded control plane may take before the agent says that it is ready anyway.
const FIRST_SESSION: Duration = Duration::from_secs(10);

/// Flags of `berth agent`; each wins over the configuration file and the environment.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct AgentArgs {
    /// Socket for operators' commands: the global `--socket`, which [`super::main`] puts here.
    #[arg(skip)]
    pub socket: Option<PathBuf>,
    /// Configuration file (TOML) [default: /etc/berth/agent.toml, if it is there]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Directory that dies with the boot [default: /run/berth]
    #[arg(long, value_name = "DIR")]
    pub run: Option<PathBuf>,
    /// Directory that outlives the boot [default: /var/lib/berth]
    #[arg(long, value_name = "DIR")]
    pub state: Option<PathBuf>,
    /// Name of the cluster [default: default]
    #[arg(long, value_name = "NAME")]
    pub cluster: Option<String>,
    /// Control plane to register with, instead of the one inside the agent
    #[arg(long, value_name = "URL")]
    pub backend: Option<String>,
    /// Region that requests are signed for [default: local]
    #[arg(long, value_name = "NAME")]
    pub region: Option<String>,
    /// Keys for the control plane, in the format of the AWS CLI
    #[arg(long, value_name = "FILE")]
    pub credentials_file: Option<PathBuf>,
    /// Address of the control plane inside the agent [default: 127.0.0.1:51680]
    #[arg(long, value_name = "ADDR:PORT")]
    pub listen: Option<String>,
    /// The berth-runtime to use [default: beside this program, or in PATH]
    #[arg(long, value_name = "FILE")]
    pub runtime: Option<PathBuf>,
    /// Parent of all control groups of tasks [default: berth]
    #[arg(long, value_name = "PATH")]
    pub cgroup_parent: Option<String>,
    /// CPU units kept for the host
    #[arg(long, value_name = "UNITS")]
    pub reserved_cpu: Option<u64>,
    /// Memory kept for the host
    #[arg(long, value_name = "MIB")]
    pub reserved_memory: Option<u64>,
    /// TCP ports never given to tasks
    #[arg(long, value_name = "PORTS", value_delimiter = ',')]
    pub reserved_ports: Option<Vec<u16>>,
    /// UDP ports never given to tasks
    #[arg(long, value_name = "PORTS", value_delimiter = ',')]
    pub reserved_ports_udp: Option<Vec<u16>>,
    /// Subnets of containers on the bridge, one of each family at most
    #[arg(long, value_name = "SUBNETS", value_delimiter = ',')]
    pub bridge_subnets: Option<Vec<IpNet>>,
    /// Subnets of awsvpc tasks, one of each family at most
    #[arg(long, value_name = "SUBNETS", value_delimiter = ',')]
    pub awsvpc_subnets: Option<Vec<IpNet>>,
    /// Map users of tasks to others of the host: root of a task is BASE [default: off]
    #[arg(long, value_name = "BASE:COUNT")]
    pub userns_remap: Option<Remap>,
    /// `text` or `json` [default: text]
    #[arg(long, value_name = "FORMAT", value_parser = parse_log_format)]
    pub log_format: Option<LogFormat>,
    /// error, warn, info, debug or trace [default: info]
    #[arg(long, value_name = "LEVEL")]
    pub log_level: Option<String>,
}

fn parse_log_format(word: &str) -> Result<LogFormat, String> {
    match word {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err("write text or json".into()),
    }
}

/// Flags of `berth control-plane`.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct ControlPlaneArgs {
    /// Address to listen on
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:51680")]
    pub listen: String,
    /// Directory of its records and credentials
    #[arg(long, value_name = "DIR", default_value = "/var/lib/berth/control-plane")]
    pub state: PathBuf,
    /// Name of the cluster that is made at the first start
    #[arg(long, value_name = "NAME", default_value = "default")]
    pub cluster: String,
    /// Region in the names of things
    #[arg(long, value_name = "NAME", default_value = "local")]
    pub region: String,
    /// Where agents are told to connect [default: the address that they use already]
    #[arg(long, value_name = "URL")]
    pub endpoint: Option<String>,
}

impl AgentArgs {
    fn partial(self) -> Partial {
        Partial {
            cluster: self.cluster,
            backend: self.backend,
            region: self.region,
            credentials_file: self.credentials_file,
            listen: self.listen,
            run_dir: self.run,
            state_dir: self.state,
            socket: self.socket,
            runtime: self.runtime,
            cgroup_parent: self.cgroup_parent,
            reserved_cpu: self.reserved_cpu,
            reserved_memory: self.reserved_memory,
            reserved_ports: self.reserved_ports,
            reserved_ports_udp: self.reserved_ports_udp,
            bridge_subnets: self.bridge_subnets,
            awsvpc_subnets: self.awsvpc_subnets,
            userns_remap: self.userns_remap,
            log_format: self.log_format,
            log_level: self.log_level,
            ..Partial::default()
        }
    }
}

/// Why the agent or the control plane has ended. Shown with its whole chain.
type Fatal = Box<dyn std::error::Error + Send + Sync>;

fn fatal(text: impl Into<String>) -> Fatal {
    text.into().into()
}

/// Runs the node agent until it is told to stop.
pub fn run_agent(args: AgentArgs) -> ExitCode {
    finish(settings(args).map_err(Fatal::from).and_then(|settings| {
        start_logging(settings.log_format, &settings.log_level)?;
        runtime()?.block_on(agent(settings))
    }))
}

/// Runs a control plane by itself until it is told to stop.
pub fn run_control_plane(args: ControlPlaneArgs) -> ExitCode {
    finish(start_logging(LogFormat::Text, "info").and_then(|()| runtime()?.block_on(control_plane(args))))
}

fn finish(result: Result<(), Fatal>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tell(&format!("berth: {}", chain(error.as_ref())));
            ExitCode::from(super::failure::BERTH_FAILED)
        }
    }
}

fn runtime() -> Result<tokio::runtime::Runtime, Fatal> {
    // Once for the process; a second time is no error.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build()?)
}

fn settings(args: AgentArgs) -> Result<Settings, ConfigError> {
    let default = PathBuf::from(DEFAULT_CONFIG);
    let file = args.config.clone().or_else(|| default.exists().then_some(default));
    let file = file.map(|path| Partial::from_file(&path)).transpose()?.unwrap_or_default();
    let environment = config::from_environment(|name| std::env::var(name).ok())?;
    let host = HostFacts::read().map_err(|source| ConfigError::Read { path: "/proc".into(), source })?;
    Settings::resolve(args.partial().over(environment).over(file), &host)
}

fn start_logging(format: LogFormat, level: &str) -> Result<(), Fatal> {
    use tracing_subscriber::EnvFilter;
    let filter = EnvFilter::try_new(level).map_err(|e| fatal(format!("setting log-level `{level}`: {e}")))?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Json => builder.json().init(),
        LogFormat::Text => builder.with_ansi(false).with_target(false).init(),
    }
    Ok(())
}

/// Resolves when the process is asked to end.
fn shutdown() -> Result<impl Future<Output = ()> + Send + 'static, Fatal> {
    let mut term = signal(SignalKind::terminate())?;
    let mut int = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
        }
    })
}

async fn control_plane(args: ControlPlaneArgs) -> Result<(), Fatal> {
    let shutdown = shutdown()?;
    let config = berth_control_plane::Config {
        cluster: args.cluster,
        region: args.region,
        endpoint: args.endpoint,
        ..berth_control_plane::Config::default()
    };
    let plane = ControlPlane::open(&args.state, config)?;
    let listener = listen(&args.listen).await?;
    tracing::info!(listen = args.listen, credentials = %args.state.join("credentials").display(), "control plane is ready");
    super::node_start::notify_ready();
    plane.serve(listener, shutdown).await?;
    Ok(())
}

async fn listen(address: &str) -> Result<TcpListener, Fatal> {
    let bound = TcpListener::bind(address).await;
    bound.map_err(|e| fatal(format!("listen on {address}: {e}: another agent or control plane? choose with --listen")))
}

async fn agent(settings: Settings) -> Result<(), Fatal> {
    let settings = Arc::new(settings);
    let shutdown = shutdown()?;
    let search_path = std::env::var("PATH").unwrap_or_default();
    let own = std::env::current_exe().ok();
    let program = config::find_runtime(settings.runtime.as_deref(), own.as_deref(), &search_path)?;
    let _lock = super::node_start::lock_directories(&settings)?;
    super::node_start::raise_file_limit();
    let mut warnings = super::node_start::make_groups(&settings)?;
    warnings.extend(super::node_start::make_network(&settings, &program).await);

    let registry = RegistryConfig { insecure: settings.insecure_registries.clone(), ..RegistryConfig::default() };
    let images = engine::open_store(settings.dirs.images())?;
    let images = NodeImages::new(images, Registry::new(registry), settings.pull);
    let (store, loaded) = Store::open(&settings.dirs.agent_store())?;
    warnings.extend(loaded.set_aside.iter().map(|path| format!("store was damaged: set aside as {}", path.display())));
    let parts = parts(&settings, &images, &program);
    let engine = Engine::start(parts, store.clone(), loaded)?;
    images.release_unknown(|task| engine.task(task).is_some());

    let (plane, client) = connect(&settings).await?;
    let control = Control::new(engine.clone(), settings.clone(), client.clone());
    let mut connection = control.connection();
    let api = Api::new(api::Parts {
        engine: engine.clone(),
        images,
        settings: settings.clone(),
        runtime: program.clone(),
        backend: client.endpoint().to_owned(),
        plane: plane.clone(),
        connection: connection.clone(),
        warnings,
    });
    let listener = api::bind(&settings.socket)?;
    tokio::spawn(api.serve(listener, std::future::pending()));
    let mut control = tokio::spawn(control.run());
    if plane.is_some() {
        // Alone, nothing can be run before the two have met. Another control plane may be away for long.
        let open = connection.wait_for(|c| c.connected);
        tokio::select! {
            _ = tokio::time::timeout(FIRST_SESSION, open) => {}
            refused = &mut control => return Err(ended(refused)),
        }
    }
    tracing::info!(socket = %settings.socket.display(), "agent is ready");
    super::node_start::notify_ready();
    tokio::select! {
        () = shutdown => {}
        refused = &mut control => return Err(ended(refused)),
    }
    super::node_start::notify_stopping();
    let _ = std::fs::remove_file(&settings.socket);
    control.abort();
    store.flush().await?;
    let alive = engine.tasks().iter().filter(|t| !t.life.is_ended()).count();
    tracing::info!(tasks = alive, "agent ends; tasks go on");
    if alive == 0 {
        super::node_start::leave(&settings, &program).await;
    }
    Ok(())
}

fn parts(settings: &Settings, images: &NodeImages, program: &Path) -> engine::Parts {
    engine::Parts {
        dirs: settings.dirs.clone(),
        node: settings.node.clone(),
        plan: NodePlan::of(settings),
        images: Arc::new(images.clone()),
        shims: Arc::new(RuntimeShims::new(program.to_owned())),
        hold: Arc::new(|transport, port| berth_runtime::net::hold::bind(transport, port).map_err(|e| e.source)),
        keep_stopped: settings.keep_stopped,
    }
}

fn ended(result: Result<Result<(), crate::control::ControlError>, tokio::task::JoinError>) -> Fatal {
    match result {
        Ok(Ok(())) => fatal("the control plane's session has ended for good"),
        Ok(Err(e)) => e.into(),
        Err(e) => e.into(),
    }
}

/// The control plane, and a client for it: signed requests over TCP, wherever it is.
async fn connect(settings: &Settings) -> Result<(Option<Arc<ControlPlane>>, EcsClient), Fatal> {
    let http = || reqwest::Client::builder().connect_timeout(Duration::from_secs(10)).build();
    match &settings.backend {
        Backend::Remote(url) => {
            let keys = Provider::choose(settings.credentials_file.as_deref(), |name| std::env::var(name).ok())?;
            Ok((None, EcsClient::new(http()?, url, &settings.region, keys)))
        }
        Backend::Embedded(address) => {
            let dir = settings.dirs.control_plane();
            let config = berth_control_plane::Config {
                cluster: settings.cluster.clone(),
                region: settings.region.clone(),
                ..berth_control_plane::Config::default()
            };
            let plane = ControlPlane::open(&dir, config)?;
            let listener = listen(&address.to_string()).await?;
            let address = listener.local_addr()?;
            let serving = plane.clone();
            tokio::spawn(async move {
                if let Err(e) = serving.serve(listener, std::future::pending()).await {
                    tracing::error!(err = %e, "the control plane inside the agent has ended");
                }
            });
            let keys = Provider::File(dir.join("credentials"));
            // A proxy that is set for registries must not see what stays inside the process.
            let http = reqwest::Client::builder().no_proxy().build()?;
            Ok((Some(plane), EcsClient::new(http, &format!("http://{address}"), &settings.region, keys)))
        }
    }
}
