//! `berth doctor`: what this host lacks, and how to mend it.
//!
//! Needs no agent: it reads `/proc`, `/sys` and the node's directories, and changes nothing. Each check gives
//! [`Finding`]s. Where an agent answers, what it complains about is added.
//!
//! | file | looks at |
//! |---|---|
//! | `kernel` | version, seccomp, namespaces, the user's rights |
//! | `cgroups` | version and controllers |
//! | `network` | nf_tables, forwarding, bridge filters |
//! | `storage` | overlay, the two directories, `berth-runtime` |
//! | `leftovers` | tasks whose shim is dead, control groups without a task |

mod cgroups;
mod kernel;
mod leftovers;
mod network;
mod storage;

use super::Context;
use super::failure::{FAILED, Failure};
use super::{terminal, text};
use crate::api::types::NodeView;
use berth_runtime::rundir::Dirs;
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Flags of `berth doctor`.
#[derive(Debug, clap::Args)]
pub(crate) struct DoctorArgs {
    /// The node's run directory [default: the agent's, or /run/berth]
    #[arg(long, value_name = "DIR")]
    run: Option<PathBuf>,
    /// The node's state directory [default: the agent's, or /var/lib/berth]
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// The node's control group
    #[arg(long, value_name = "PATH", default_value = "berth")]
    cgroup_parent: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Level {
    /// As it should be.
    Ok,
    /// Something will not work.
    Warn,
    /// Tasks will not run, or something is left over.
    Bad,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Finding {
    /// What was looked at.
    topic: &'static str,
    level: Level,
    /// What was found, and where that is not well, what it means.
    found: String,
    /// How to mend it.
    #[serde(skip_serializing_if = "Option::is_none")]
    mend: Option<String>,
}

impl Finding {
    fn ok(topic: &'static str, found: impl Into<String>) -> Self {
        Self { topic, level: Level::Ok, found: found.into(), mend: None }
    }

    fn warn(topic: &'static str, found: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { topic, level: Level::Warn, found: found.into(), mend: Some(mend.into()) }
    }

    fn bad(topic: &'static str, found: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { topic, level: Level::Bad, found: found.into(), mend: Some(mend.into()) }
    }
}

/// Where the host is looked at. Tests make one out of files.
#[derive(Debug, Clone)]
struct Host {
    /// `/`, or a directory that stands for it.
    root: PathBuf,
    /// The node's directories, as they are.
    dirs: Dirs,
    /// The node's control group.
    cgroup_parent: String,
    /// An agent answers on this node.
    agent_runs: bool,
}

impl Host {
    /// A file of the host as text, trimmed; `None` where it cannot be read.
    fn read(&self, path: &str) -> Option<String> {
        std::fs::read_to_string(self.path(path)).ok().map(|text| text.trim().to_owned())
    }

    fn path(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }
}

/// Looks at everything, and tells it. Ends with 1 when something is bad.
pub(crate) async fn run(context: &Context, args: &DoctorArgs) -> Result<ExitCode, Failure> {
    let node: Result<NodeView, Failure> = context.client.get("/v1/node").await;
    let host = Host {
        root: "/".into(),
        dirs: dirs(args, node.as_ref().ok(), context.client.socket()),
        cgroup_parent: args.cgroup_parent.clone(),
        agent_runs: node.is_ok(),
    };
    let mut findings = examine(&host);
    findings.extend(agent(&node));
    if args.json {
        terminal::print_json(&findings)?;
    } else {
        terminal::print(&render(&findings))?;
    }
    let bad = findings.iter().filter(|f| f.level == Level::Bad).count();
    Ok(if bad == 0 { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
}

/// Flags win over what the agent says, that over what follows from its socket's place.
fn dirs(args: &DoctorArgs, node: Option<&NodeView>, socket: &Path) -> Dirs {
    let default = Dirs::default();
    let run = args.run.clone().or_else(|| node.map(|n| n.run_dir.clone())).unwrap_or_else(|| {
        let beside = socket.parent().filter(|_| socket.file_name() == default.agent_socket().file_name());
        beside.unwrap_or(&default.run).to_owned()
    });
    let state = args.state.clone().or_else(|| node.map(|n| n.state_dir.clone())).unwrap_or(default.state);
    Dirs::new(run, state)
}

fn examine(host: &Host) -> Vec<Finding> {
    let checks = [kernel::check, cgroups::check, network::check, storage::check, leftovers::check];
    checks.iter().flat_map(|check| check(host)).collect()
}

fn agent(node: &Result<NodeView, Failure>) -> Vec<Finding> {
    const TOPIC: &str = "agent";
    match node {
        Err(_) => {
            vec![Finding::warn(TOPIC, "does not answer", "start it with `systemctl start berth` or `berth agent`")]
        }
        Ok(node) => {
            let mut findings = vec![match node.connected {
                true => Finding::ok(TOPIC, format!("berth {}, connected to {}", node.version, node.backend)),
                false => Finding::warn(
                    TOPIC,
                    format!("berth {}, not connected to {}", node.version, node.backend),
                    "see the agent's log; tasks that run go on",
                ),
            }];
            let complaints = node.warnings.iter();
            findings.extend(complaints.map(|w| Finding::warn(TOPIC, w, "see the agent's log for where it began")));
            findings
        }
    }
}

fn render(findings: &[Finding]) -> String {
    let width = findings.iter().map(|f| f.topic.len()).max().unwrap_or(0);
    let mut out = String::new();
    for finding in findings {
        let level = match finding.level {
            Level::Ok => "ok",
            Level::Warn => "warn",
            Level::Bad => "BAD",
        };
        out.push_str(&format!("{level:<4}  {:width$}  {}\n", finding.topic, finding.found));
        if let Some(mend) = &finding.mend {
            out.push_str(&format!("{:4}  {:width$}  mend: {mend}\n", "", ""));
        }
    }
    let count = |level| findings.iter().filter(|f| f.level == level).count();
    let summary = match (count(Level::Bad), count(Level::Warn)) {
        (0, 0) => "all is well".to_owned(),
        (0, warnings) => text::count(warnings, "warning"),
        (bad, 0) => text::count(bad, "problem"),
        (bad, warnings) => format!("{}, {}", text::count(bad, "problem"), text::count(warnings, "warning")),
    };
    format!("{out}\n{summary}\n")
}

#[cfg(test)]
mod testing {
    //! A host made of files.

    use super::Host;
    use berth_runtime::rundir::Dirs;
    use tempfile::TempDir;

    /// A host with these files, and its directories under `run` and `state` of the same place.
    pub(super) fn host(files: &[(&str, &str)]) -> (TempDir, Host) {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let host = Host {
            root: dir.path().to_owned(),
            dirs: Dirs::new(dir.path().join("run"), dir.path().join("state")),
            cgroup_parent: "berth".into(),
            agent_runs: false,
        };
        (dir, host)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_trouble_comes_with_its_mend() {
        let findings = [
            Finding::ok("kernel", "6.1.0"),
            Finding::warn("forwarding", "off", "turn it on"),
            Finding::bad("overlay", "is missing", "load it"),
        ];
        assert_eq!(
            render(&findings),
            "\
ok    kernel      6.1.0
warn  forwarding  off
                  mend: turn it on
BAD   overlay     is missing
                  mend: load it

1 problem, 1 warning
"
        );
        assert!(render(&findings[..1]).ends_with("\nall is well\n"));
    }

    #[test]
    fn a_socket_elsewhere_tells_where_the_run_directory_is() {
        let args = DoctorArgs { run: None, state: None, cgroup_parent: "berth".into(), json: false };
        let found = |socket: &str| dirs(&args, None, Path::new(socket)).run;
        assert_eq!(found("/tmp/x/agent.sock"), Path::new("/tmp/x"));
        assert_eq!(found("/tmp/x/other.sock"), Path::new("/run/berth"));
    }
}
