//! `berth node`: what this node has, what is registered, held and left.

use super::Context;
use super::failure::Failure;
use super::table::{Align, Table, facts};
use super::{terminal, text};
use crate::api::types::{Amount, NodeView, PortsView};
use std::process::ExitCode;

/// Flags of `berth node`.
#[derive(Debug, clap::Args)]
pub(crate) struct NodeArgs {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Shows the node.
pub(crate) async fn run(context: &Context, args: &NodeArgs) -> Result<ExitCode, Failure> {
    let node: NodeView = context.client.get("/v1/node").await?;
    if args.json {
        terminal::print_json(&node)?;
    } else {
        terminal::print(&render(&node, text::now_ms()))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn render(node: &NodeView, now_ms: u64) -> String {
    let sections = [
        facts(&[
            ("Cluster", node.cluster.clone()),
            ("Control plane", control_plane(node, now_ms)),
            ("Instance", node.container_instance_arn.clone().unwrap_or_else(|| "not registered yet".to_owned())),
            ("Agent", format!("berth {}", node.version)),
            ("Tasks", tasks(node)),
        ]),
        amounts(node),
        ports(node),
        pools(node),
    ];
    let mut out = sections.into_iter().filter(|s| !s.is_empty()).collect::<Vec<_>>().join("\n");
    for (index, warning) in node.warnings.iter().enumerate() {
        out.push_str(if index == 0 { "\nwarning: " } else { "warning: " });
        out.push_str(warning);
        out.push('\n');
    }
    out
}

fn control_plane(node: &NodeView, now_ms: u64) -> String {
    let which = if node.standalone { format!("inside this agent, {}", node.backend) } else { node.backend.clone() };
    let heard = match (node.connected, node.last_contact_at_ms) {
        (true, Some(then)) => format!("connected, last heard {}", text::ago(then, now_ms)),
        (true, None) => "connected".to_owned(),
        (false, Some(then)) => format!("NOT connected, last heard {}", text::ago(then, now_ms)),
        (false, None) => "NOT connected".to_owned(),
    };
    format!("{which} ({heard})")
}

fn tasks(node: &NodeView) -> String {
    let counts = [
        (node.tasks.running, "running"),
        (node.tasks.pending, "pending"),
        (node.tasks.stopping, "stopping"),
        (node.tasks.stopped, "stopped"),
    ];
    let words: Vec<_> = counts.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")).collect();
    if words.is_empty() { "none".to_owned() } else { words.join(", ") }
}

fn amounts(node: &NodeView) -> String {
    let mut table = Table::new(&[
        ("RESOURCE", Align::Left),
        ("TOTAL", Align::Right),
        ("RESERVED", Align::Right),
        ("REGISTERED", Align::Right),
        ("USED", Align::Right),
        ("REMAINING", Align::Right),
    ]);
    let mut row = |name: &str, a: &Amount| {
        let numbers = [a.total, a.reserved, a.registered, a.used, a.remaining].map(|n| n.to_string());
        table.row(std::iter::once(name.to_owned()).chain(numbers));
    };
    row("CPU units", &node.cpu);
    row("memory MiB", &node.memory);
    table.render(None)
}

fn ports(node: &NodeView) -> String {
    let mut table = Table::new(&[
        ("PORTS", Align::Left),
        ("RESERVED", Align::Left),
        ("USED", Align::Left),
        ("DYNAMIC", Align::Left),
    ]);
    let mut row = |name: &str, p: &PortsView| {
        let dynamic = format!("{}-{}", p.dynamic_range.0, p.dynamic_range.1);
        table.row([name.to_owned(), runs(&p.reserved), runs(&p.used), dynamic]);
    };
    row("tcp", &node.tcp_ports);
    row("udp", &node.udp_ports);
    table.render(None)
}

fn pools(node: &NodeView) -> String {
    if node.addresses.is_empty() {
        return String::new();
    }
    let mut table = Table::new(&[
        ("ADDRESSES", Align::Left),
        ("SUBNET", Align::Left),
        ("TOTAL", Align::Right),
        ("USED", Align::Right),
    ]);
    for pool in &node.addresses {
        let total = pool.total.map_or_else(|| "plenty".to_owned(), |n| n.to_string());
        table.row([pool.pool.clone(), pool.subnet.clone(), total, pool.used.to_string()]);
    }
    table.render(None)
}

/// Ports in order, runs of three or more joined: `22, 2375, 51678-51680`.
fn runs(ports: &[u16]) -> String {
    let mut sorted = ports.to_vec();
    sorted.sort_unstable();
    sorted.dedup();
    let mut words = Vec::new();
    for run in sorted.chunk_by(|a, b| b - a == 1) {
        match run {
            [first, _, .., last] => words.push(format!("{first}-{last}")),
            few => words.extend(few.iter().map(u16::to_string)),
        }
    }
    words.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::types::{PoolView, TaskCounts};

    fn node() -> NodeView {
        NodeView {
            version: "0.1.0".into(),
            cluster: "default".into(),
            backend: "http://127.0.0.1:51680".into(),
            standalone: true,
            connected: true,
            last_contact_at_ms: Some(57_000),
            container_instance_arn: Some("arn:aws:ecs:local:000000000000:container-instance/default/7c".into()),
            run_dir: "/run/berth".into(),
            state_dir: "/var/lib/berth".into(),
            runtime: "/usr/libexec/berth/berth-runtime".into(),
            cpu: Amount { total: 2048, reserved: 0, registered: 2048, used: 256, remaining: 1792 },
            memory: Amount { total: 7945, reserved: 256, registered: 7689, used: 64, remaining: 7625 },
            tcp_ports: PortsView {
                reserved: vec![22, 51680, 51678, 51679],
                used: vec![8080],
                dynamic_range: (49153, 65535),
            },
            udp_ports: PortsView { reserved: vec![], used: vec![], dynamic_range: (49153, 65535) },
            addresses: vec![
                PoolView { pool: "bridge".into(), subnet: "10.88.0.0/16".into(), total: Some(65533), used: 1 },
                PoolView { pool: "awsvpc".into(), subnet: "fd00:be::/64".into(), total: None, used: 0 },
            ],
            tasks: TaskCounts { pending: 0, running: 1, stopping: 0, stopped: 2 },
            warnings: vec!["overlay: no xattrs".into()],
        }
    }

    #[test]
    fn a_node_shows_what_is_registered_held_and_left() {
        assert_eq!(
            render(&node(), 60_000),
            "\
Cluster        default
Control plane  inside this agent, http://127.0.0.1:51680 (connected, last heard 3s ago)
Instance       arn:aws:ecs:local:000000000000:container-instance/default/7c
Agent          berth 0.1.0
Tasks          1 running, 2 stopped

RESOURCE     TOTAL   RESERVED   REGISTERED   USED   REMAINING
CPU units     2048          0         2048    256        1792
memory MiB    7945        256         7689     64        7625

PORTS   RESERVED          USED   DYNAMIC
tcp     22, 51678-51680   8080   49153-65535
udp     -                 -      49153-65535

ADDRESSES   SUBNET          TOTAL   USED
bridge      10.88.0.0/16    65533      1
awsvpc      fd00:be::/64   plenty      0

warning: overlay: no xattrs
"
        );
    }

    #[test]
    fn a_lost_control_plane_cannot_be_overlooked() {
        let lost = NodeView { connected: false, standalone: false, backend: "https://ecs.example".into(), ..node() };
        assert!(render(&lost, 60_000).contains("https://ecs.example (NOT connected, last heard 3s ago)"));
    }

    #[test]
    fn ports_that_follow_each_other_are_joined() {
        assert_eq!(runs(&[5, 3, 1, 4, 9, 10]), "1, 3-5, 9, 10");
        assert_eq!(runs(&[65535, 65534, 65533]), "65533-65535");
    }
}
