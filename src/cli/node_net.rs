//! `berth-runtime node-net`: the node's own network objects, made and examined in a process of its own.
//!
//! Run by the agent, which never changes the kernel's state itself, and by operators. Data goes to standard output,
//! errors go to standard error; it ends with 0, 1 (it failed, or `check` found something broken) or 2 (usage).

use crate::errno::{chain, tell};
use crate::net::plan::{IpPrefix, NodeNet};
use crate::net::{self, node, reserve};
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

/// What `node-net --help` says.
pub const HELP: &str = "\
usage: berth-runtime node-net up|down|check|leftovers [OPTIONS]
       berth-runtime node-net reserve add|remove PORT...

  up         make bridge, nftables table and kernel parameters what they should be; may be repeated
  down       take bridge and table away
  check      say what keeps the node's network from working, and what mends it
  leftovers  list what of this node's tasks is in the kernel
  reserve    keep ports of host-mode tasks from being given to clients; prints the ports that changed

options:
  --bridge NAME        the bridge (berth0)
  --table NAME         the nftables table (berth)
  --bridge-v4 A/LEN    the bridge's address and the pool of bridge-mode containers
  --bridge-v6 A/LEN    the same in IPv6
  --awsvpc-v4 A/LEN    the pool of awsvpc tasks
  --awsvpc-v6 A/LEN    the same in IPv6
  --run DIR            the run directory whose pins `leftovers` lists (/run/berth)
";

#[derive(Debug, PartialEq, Eq)]
enum Command {
    Help,
    Up(NodeNet),
    Down(NodeNet),
    Check(NodeNet),
    Leftovers(NodeNet, PathBuf),
    ReserveAdd(Vec<u16>),
    ReserveRemove(Vec<u16>),
}

/// The options that say `node`, as [`main`] takes them back.
pub fn arguments(node: &NodeNet) -> Vec<String> {
    let mut arguments = vec!["--bridge".into(), node.bridge.clone(), "--table".into(), node.table.clone()];
    let pools = [
        ("--bridge-v4", node.bridge_v4),
        ("--bridge-v6", node.bridge_v6),
        ("--awsvpc-v4", node.awsvpc_v4),
        ("--awsvpc-v6", node.awsvpc_v6),
    ];
    for (option, pool) in pools {
        arguments.extend(pool.into_iter().flat_map(|p| [option.to_owned(), p.to_string()]));
    }
    arguments
}

fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Command, String> {
    let verb = arguments.next().ok_or("a verb is missing: up, down, check, leftovers or reserve")?;
    match verb.as_str() {
        "-h" | "--help" | "help" => Ok(Command::Help),
        "reserve" => parse_reserve(arguments),
        "up" => Ok(Command::Up(parse_options(arguments)?.0)),
        "down" => Ok(Command::Down(parse_options(arguments)?.0)),
        "check" => Ok(Command::Check(parse_options(arguments)?.0)),
        "leftovers" => parse_options(arguments).map(|(node, run)| Command::Leftovers(node, run)),
        other => Err(format!("`{other}` is no verb of node-net: up, down, check, leftovers or reserve")),
    }
}

fn parse_options(mut arguments: impl Iterator<Item = String>) -> Result<(NodeNet, PathBuf), String> {
    let mut node = NodeNet {
        bridge: "berth0".into(),
        table: "berth".into(),
        bridge_v4: None,
        bridge_v6: None,
        awsvpc_v4: None,
        awsvpc_v6: None,
    };
    let mut run = PathBuf::from("/run/berth");
    while let Some(argument) = arguments.next() {
        let (option, value) = match argument.split_once('=') {
            Some((option, value)) => (option.to_owned(), Some(value.to_owned())),
            None => (argument, arguments.next()),
        };
        let value = value.ok_or_else(|| format!("`{option}` needs a value"))?;
        let pool = |value: &str| value.parse::<IpPrefix>().map(Some).map_err(|e| format!("`{option}`: {e}"));
        match option.as_str() {
            "--bridge" => node.bridge = value,
            "--table" => node.table = value,
            "--run" => run = value.into(),
            "--bridge-v4" => node.bridge_v4 = pool(&value)?,
            "--bridge-v6" => node.bridge_v6 = pool(&value)?,
            "--awsvpc-v4" => node.awsvpc_v4 = pool(&value)?,
            "--awsvpc-v6" => node.awsvpc_v6 = pool(&value)?,
            _ => return Err(format!("`{option}` is no option of node-net")),
        }
    }
    Ok((node, run))
}

fn parse_reserve(mut arguments: impl Iterator<Item = String>) -> Result<Command, String> {
    let verb = arguments.next();
    let ports = arguments.map(|a| match a.parse::<u16>() {
        Ok(port) if port > 0 => Ok(port),
        _ => Err(format!("`{a}` is no port: 1 to 65535")),
    });
    let ports = ports.collect::<Result<Vec<_>, _>>()?;
    match verb.as_deref() {
        Some("add") => Ok(Command::ReserveAdd(ports)),
        Some("remove") => Ok(Command::ReserveRemove(ports)),
        _ => Err("`reserve` needs add or remove, then ports".into()),
    }
}

/// Runs `node-net` with the arguments that follow it.
pub fn main(arguments: impl Iterator<Item = String>) -> ExitCode {
    let command = match parse(arguments) {
        Ok(command) => command,
        Err(problem) => {
            complain(&[problem, "  hint: `berth-runtime node-net --help`".into()]);
            return ExitCode::from(2);
        }
    };
    match run(command) {
        Ok((text, code)) => {
            // Nobody listens any more: that is no failure of ours.
            let _ = std::io::stdout().write_all(text.as_bytes());
            code
        }
        Err(problems) => {
            complain(&problems);
            ExitCode::FAILURE
        }
    }
}

fn complain(problems: &[String]) {
    for problem in problems {
        tell(&format!("berth-runtime: {problem}"));
    }
}

fn run(command: Command) -> Result<(String, ExitCode), Vec<String>> {
    let one = |e| vec![chain(&e)];
    let text = match command {
        Command::Help => HELP.to_owned(),
        Command::Up(node) => node::up(&node).map(|()| String::new()).map_err(one)?,
        Command::Down(node) => {
            node::down(&node).map_err(|all| all.iter().map(|e| chain(e)).collect::<Vec<_>>())?;
            String::new()
        }
        Command::Check(node) => {
            let findings = net::check(&node);
            let code = if findings.iter().any(|f| f.broken) { ExitCode::FAILURE } else { ExitCode::SUCCESS };
            return Ok((findings.iter().map(|f| format!("{f}\n")).collect(), code));
        }
        Command::Leftovers(node, run) => render(&net::leftovers(&node, &run).map_err(one)?),
        Command::ReserveAdd(ports) => lines(&reserve::add(&ports).map_err(one)?),
        Command::ReserveRemove(ports) => lines(&reserve::remove(&ports).map_err(one)?),
    };
    Ok((text, ExitCode::SUCCESS))
}

fn lines(ports: &[u16]) -> String {
    ports.iter().map(|p| format!("{p}\n")).collect()
}

fn render(found: &net::Leftovers) -> String {
    let mut text: String = found.links.iter().map(|l| format!("link {l}\n")).collect();
    for p in &found.published {
        let to = std::net::SocketAddr::new(p.address, p.container_port);
        text.push_str(&format!("port {}/{} to {to}\n", p.host_port, p.transport));
    }
    text.extend(found.pins.iter().map(|p| format!("pin {}\n", p.display())));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Command, String> {
        parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn a_node_comes_back_from_its_own_arguments() {
        let Ok(Command::Up(node)) = parsed("up --bridge b1 --table t1 --bridge-v4=172.30.0.1/16 --awsvpc-v6 fd80::/64")
        else {
            panic!("refused")
        };
        assert_eq!(node.bridge_v4.unwrap().to_string(), "172.30.0.1/16");
        let again = ["up".to_owned()].into_iter().chain(arguments(&node));
        assert_eq!(parse(again), Ok(Command::Up(node)));
    }

    #[test]
    fn what_is_wrong_with_a_command_line_is_said() {
        for (line, words) in [
            ("", "a verb is missing"),
            ("fly", "`fly` is no verb"),
            ("up --bridge", "`--bridge` needs a value"),
            ("up --bridge-v4 10.0.0.1", "`--bridge-v4`: `10.0.0.1` is no ADDRESS/LENGTH"),
            ("up --bridge-v4 10.0.0.1/33", "`--bridge-v4`: `10.0.0.1/33` has no such prefix length, limit 32"),
            ("up --colour blue", "`--colour` is no option"),
            ("reserve add 0", "`0` is no port"),
            ("reserve 80", "`reserve` needs add or remove"),
        ] {
            let problem = parsed(line).unwrap_err();
            assert!(problem.starts_with(words), "{line}: {problem}");
        }
    }

    #[test]
    fn ports_to_reserve_are_taken_as_a_list() {
        assert_eq!(parsed("reserve add 80 8080"), Ok(Command::ReserveAdd(vec![80, 8080])));
    }
}
