//! What a task needs of the node, by its definition.

use crate::capacity::{Need, PortNeed};
use crate::task::{NetworkMode, Origin, Task};

/// What the task must hold before anything of it is made.
pub(super) fn need_of(task: &Task) -> Need {
    let mut ports = Vec::new();
    for (container, definition) in task.containers.iter().enumerate() {
        for port in &definition.ports {
            let host_port = match task.network {
                NetworkMode::Bridge => port.host_port,
                // The task itself binds it: the number is the container's.
                NetworkMode::Host => Some(port.container_port),
                NetworkMode::Awsvpc | NetworkMode::None => continue,
            };
            ports.push(PortNeed {
                container,
                transport: port.transport,
                container_port: port.container_port,
                count: port.count,
                host_port,
                hold: task.network == NetworkMode::Bridge,
            });
        }
    }
    Need {
        cpu: task.cpu_needed(),
        memory: task.memory_needed(),
        ports,
        bridge: if task.network == NetworkMode::Bridge { (0..task.containers.len()).collect() } else { Vec::new() },
        awsvpc: task.network == NetworkMode::Awsvpc && task.interface.is_none(),
        local: task.origin == Origin::Local,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::{PortMapping, fixtures};
    use berth_runtime::net::plan::Transport;

    fn with_port(network: NetworkMode) -> Task {
        let mut task = fixtures::task("t", network);
        let port = PortMapping { transport: Transport::Tcp, container_port: 80, count: 1, host_port: None };
        task.containers[0].ports.push(port);
        task
    }

    #[test]
    fn ports_are_held_in_bridge_mode_reserved_in_host_mode_and_free_otherwise() {
        let bridge = need_of(&with_port(NetworkMode::Bridge));
        assert_eq!((bridge.ports[0].host_port, bridge.ports[0].hold, bridge.bridge), (None, true, vec![0]));
        let host = need_of(&with_port(NetworkMode::Host));
        assert_eq!((host.ports[0].host_port, host.ports[0].hold, host.bridge), (Some(80), false, vec![]));
        let awsvpc = need_of(&with_port(NetworkMode::Awsvpc));
        assert!(awsvpc.ports.is_empty() && awsvpc.awsvpc);
    }

    #[test]
    fn an_address_from_the_control_plane_is_not_taken_from_the_pool() {
        let mut task = with_port(NetworkMode::Awsvpc);
        task.interface =
            Some(crate::task::Interface { attachment_arn: None, ipv4: "10.0.0.9".parse().ok(), ipv6: None, mac: None });
        assert!(!need_of(&task).awsvpc);
    }
}
