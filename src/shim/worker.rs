//! A worker: takes one order from its shim, does the kernel work, answers, and exits.
//!
//! Single-threaded, because it clones and enters namespaces. It dies with its shim (`PR_SET_PDEATHSIG`), and until it is
//! gone the task's lock is held by it too, so that nobody sweeps the task beside it. A process of exec does not hold it:
//! the container sees that one, could keep it from going on, and so the lock. What a failed job has made the worker
//! removes itself; what a killed worker has made the tear-down finds by the plan, which names all of it.

use super::facts;
use super::job::{Answer, Job, MAX_MESSAGE, Order};
use super::protocol::ExecProcess;
use super::task_group;
use crate::cgroup::{Group, Hierarchies};
use crate::codec::Codec;
use crate::container::ahead::Netns;
use crate::container::exec;
use crate::container::launch::{self, Launch, LaunchError, Launched};
use crate::errno::{OpContext, OpError, chain};
use crate::id::{ContainerName, TaskId};
use crate::interrupt::Interrupt;
use crate::net;
use crate::rundir::{ContainerDirs, TaskDirs};
use crate::spec::Resources;
use crate::sys::fd::{MAX_PASSED, receive_with, send_with};
use crate::task::plan::{ContainerPlan, LogPlan, TaskPlan};
use nix::sys::prctl;
use nix::sys::signal::Signal;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// How many files what a worker makes may have open, whatever the agent's unit says of the agent: what select(2) can take.
/// A definition that names a limit of its own gets that one.
const FILES: u64 = 1024;

/// Takes the order that waits in `socket`, carries it out and answers. Fails when there is nobody to answer to. An init
/// holds the task's `lock` until it has become a program of the user's.
pub fn run(socket: &OwnedFd, lock: Option<BorrowedFd<'_>>) -> Result<(), OpError> {
    prctl::set_pdeathsig(Signal::SIGKILL).op("ask to die with", "the shim")?;
    let (mut buffer, mut fds) = (vec![0; MAX_MESSAGE], Vec::with_capacity(MAX_PASSED));
    let n = receive_with(socket, &mut buffer, &mut fds).op("receive order from", "the shim")?;
    let order = Order::from_bytes(&buffer[..n])
        .map_err(|e| OpError::new("receive order from", "the shim", io::Error::new(io::ErrorKind::InvalidData, e)))?;
    launch::limit_files(FILES)?;
    if nix::unistd::getppid().as_raw() != order.shim as i32 {
        // The shim died before we asked to die with it.
        return Err(OpError::new("work for", order.run.display().to_string(), io::ErrorKind::BrokenPipe));
    }
    let (answer, passed) = carry_out(&TaskDirs::new(order.run, order.state), order.job, fds, lock);
    let passed: Vec<BorrowedFd<'_>> = passed.iter().map(AsFd::as_fd).collect();
    send_with(socket, &answer.to_bytes(), &passed).op("answer", "the shim")?;
    Ok(())
}

/// Does the job; all of `fds` are closed when it returns, so that the shim sees the ends of its pipes.
fn carry_out(dirs: &TaskDirs, job: Job, fds: Vec<OwnedFd>, lock: Option<BorrowedFd<'_>>) -> (Answer, Vec<OwnedFd>) {
    let done = Work::begin(dirs, lock).and_then(|work| match job {
        Job::Network => work.network(),
        Job::Create { container } => work.create(container as usize, fds),
        Job::Exec { container, init, process } => work.exec(container as usize, init, process, &fds),
        Job::TearDown => {
            let problems = tear_down(&work.plan, dirs, &work.task).iter().map(|e| chain(e)).collect();
            Ok((Answer::TornDown { problems }, Vec::new()))
        }
    });
    done.unwrap_or_else(|failure| (Answer::Failed { reason: failure.reason, code: failure.code }, Vec::new()))
}

/// Why a job could not be done.
#[derive(Debug)]
struct Failure {
    reason: String,
    code: i32,
}

impl Failure {
    /// `class` is Amazon ECS's name.
    fn new(class: &str, code: i32, problem: String) -> Self {
        Self { reason: format!("{class}: {problem}"), code }
    }

    fn create(e: OpError) -> Self {
        Self::new("CannotCreateContainerError", 125, chain(&e))
    }

    /// An exec is a person's: no name of Amazon ECS's in front.
    fn exec(code: i32, problem: String) -> Self {
        Self { reason: format!("exec: {problem}"), code }
    }

    fn network(e: OpError) -> Self {
        Self::new("ContainerNetworkingError", 125, chain(&e))
    }

    fn launch(e: LaunchError) -> Self {
        let class = match e {
            LaunchError::Init(_) | LaunchError::Died | LaunchError::Hook(_) => "CannotStartContainerError",
            LaunchError::Spec(_) | LaunchError::Bundle { .. } | LaunchError::Prepare(_) => "CannotCreateContainerError",
        };
        Self::new(class, e.shell_code(), chain(&e))
    }
}

struct Work<'a> {
    dirs: &'a TaskDirs,
    plan: TaskPlan,
    task: Group,
    lock: Option<BorrowedFd<'a>>,
}

type Done = Result<(Answer, Vec<OwnedFd>), Failure>;

impl<'a> Work<'a> {
    fn begin(dirs: &'a TaskDirs, lock: Option<BorrowedFd<'a>>) -> Result<Self, Failure> {
        let plan = facts::read_plan(dirs).map_err(Failure::create)?;
        let task = find_task_group(&plan).map_err(Failure::create)?;
        Ok(Self { dirs, plan, task, lock })
    }

    fn network(&self) -> Done {
        let Some(network) = &self.plan.network else { return Ok((Answer::NetworkUp, Vec::new())) };
        let netns = net::up_for(network, &self.plan.users).map_err(Failure::network)?;
        Ok((Answer::NetworkUp, netns.into_iter().collect()))
    }

    /// `fds`: gate, report and, where containers share one, the network namespace.
    fn create(&self, container: usize, fds: Vec<OwnedFd>) -> Done {
        let plan = self.plan.containers.get(container);
        let (Some(plan), Some([gate, report])) = (plan, fds.first_chunk()) else {
            return Err(Failure::new("CannotCreateContainerError", 125, format!("no container {container}")));
        };
        let own = plan
            .network
            .as_ref()
            .map(|network| net::up_for(network, &self.plan.users))
            .transpose()
            .map_err(Failure::network)?
            .flatten();
        let netns = own.as_ref().or(fds.get(2)).map(AsFd::as_fd);
        let name = plan.name.as_str();
        let group = self.task.child(name);
        match self.launch(plan, &group, netns, gate.as_fd(), report.as_fd()) {
            Ok(made) => Ok(launched(made)),
            Err(failure) => {
                // The first failure is the one to tell; what cannot be removed now the tear-down tries again.
                let _ = group.remove();
                if let Some(network) = &plan.network {
                    let _ = net::down(network);
                }
                Err(failure)
            }
        }
    }

    fn launch(
        &self,
        plan: &ContainerPlan,
        group: &Group,
        netns: Option<BorrowedFd<'_>>,
        gate: BorrowedFd<'_>,
        report: BorrowedFd<'_>,
    ) -> Result<Launched, Failure> {
        let checked = launch::read_plan(&plan.bundle).map_err(Failure::launch)?;
        self.limit(group, &checked.resources).map_err(Failure::create)?;
        let name = ContainerName::parse(&plan.name).map_err(|e| Failure::create(invalid_name(&plan.name, e)))?;
        let [stdin, stdout, stderr] = stdio(plan.log, &self.dirs.container(&name)).map_err(Failure::create)?;
        let id = container_id(&self.plan, plan);
        let launch = Launch {
            id: &id,
            bundle: &plan.bundle,
            cgroup: group,
            netns: netns.map(Netns::Made),
            stdio: [stdin.as_fd(), stdout.as_fd(), stderr.as_fd()],
            sibling: true,
            interrupt: Interrupt::default(),
            gate,
            report,
            hold: self.lock,
            preserve: 0,
            no_pivot: false,
            new_keyring: true,
        };
        launch::launch_plan(&launch, &checked).map_err(Failure::launch)
    }

    /// `fds`: init's pidfd and, without a terminal, the three standard streams.
    fn exec(&self, container: usize, init: u32, process: ExecProcess, fds: &[OwnedFd]) -> Done {
        let (Some(plan), Some(pidfd)) = (self.plan.containers.get(container), fds.first()) else {
            return Err(Failure::exec(125, format!("no container {container}")));
        };
        let null = File::options().read(true).write(true).open("/dev/null").op("open", "/dev/null");
        let null = null.map_err(|e| Failure::exec(125, chain(&e)))?;
        let stdio = match fds.get(1..4) {
            Some([stdin, stdout, stderr]) => [stdin.as_fd(), stdout.as_fd(), stderr.as_fd()],
            _ => [null.as_fd(); 3],
        };
        let ExecProcess { args, env, cwd, user, tty } = process;
        let args = args.into_iter().map(Into::into).collect();
        let id = container_id(&self.plan, plan);
        let exec = exec::Exec {
            id: &id,
            bundle: &plan.bundle,
            documents: &plan.bundle,
            init,
            pidfd: pidfd.as_fd(),
            cgroup: &self.task.child(&plan.name),
            subgroups: &[],
            process: exec::ExecRequest { args, env, cwd: cwd.map(Into::into), user, tty, ..Default::default() },
            stdio,
            sibling: true,
            interrupt: Interrupt::default(),
            new_keyring: true,
            preserve: 0,
        };
        exec::exec(&exec).map(launched).map_err(|e| Failure::exec(e.shell_code(), chain(&e)))
    }

    /// Makes the groups of the task and of one of its containers. Several workers may do so for the task at once.
    fn limit(&self, group: &Group, resources: &Resources) -> Result<(), OpError> {
        self.task.create()?;
        self.task.apply(&self.plan.limits)?;
        group.create()?;
        group.configure(resources)
    }
}

fn launched(made: Launched) -> (Answer, Vec<OwnedFd>) {
    let fds = [Some(made.pidfd), made.terminal].into_iter().flatten().collect();
    (Answer::Launched { pid: made.pid }, fds)
}

/// The id of one of the plan's containers.
fn container_id(task: &TaskPlan, container: &ContainerPlan) -> String {
    format!("{}.{}", task.task, container.name)
}

/// The group of the plan's task.
pub(super) fn find_task_group(plan: &TaskPlan) -> Result<Group, OpError> {
    let task = TaskId::parse(&plan.task).map_err(|e| invalid_name(&plan.task, e))?;
    let hierarchies = Hierarchies::detect(Path::new("/sys/fs/cgroup"))?;
    Ok(task_group(&hierarchies.group(&plan.cgroup_parent), &task))
}

fn invalid_name(name: &str, e: crate::id::InvalidName) -> OpError {
    OpError::new("read plan of", name, io::Error::new(io::ErrorKind::InvalidData, e))
}

/// Removes everything that workers of the task make: processes, networks, groups, files of the run. From any state, and
/// all of it, whatever fails on the way.
pub(super) fn tear_down(plan: &TaskPlan, dirs: &TaskDirs, task: &Group) -> Vec<OpError> {
    let mut problems = Vec::new();
    problems.extend(task.kill().err());
    for network in plan.containers.iter().filter_map(|c| c.network.as_ref()).chain(&plan.network) {
        problems.extend(net::down(network).err().into_iter().flatten());
    }
    problems.extend(task.remove().err());
    for container in &plan.containers {
        // A plan with a name that is none was refused when the task was to start.
        let Ok(name) = ContainerName::parse(&container.name) else { continue };
        let dirs = dirs.container(&name);
        for path in [dirs.init(), dirs.stdout(), dirs.stderr()] {
            match std::fs::remove_file(&path) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => {
                    problems.extend(Err::<(), _>(e).op("remove", &path).err());
                }
                _ => {}
            }
        }
    }
    problems
}

/// Opens a container's standard streams. Output is read-write, see [`super::live`].
fn stdio(log: LogPlan, dirs: &ContainerDirs) -> Result<[File; 3], OpError> {
    let null = |write: bool| OpenOptions::new().read(!write).write(write).open("/dev/null").op("open", "/dev/null");
    let fifo = |path: &Path| OpenOptions::new().read(true).write(true).open(path).op("open", path);
    Ok(match log {
        LogPlan::Discard => [null(false)?, null(true)?, null(true)?],
        LogPlan::File => [null(false)?, fifo(&dirs.stdout())?, fifo(&dirs.stderr())?],
    })
}
