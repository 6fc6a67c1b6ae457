//! `/etc/hosts`, `/etc/resolv.conf` and `/etc/hostname` of a container, as text.

use crate::task::{Container, NetworkMode};
use std::net::IpAddr;

const LOCALHOST: &str = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n";

/// `/etc/hosts`: itself, the containers it is linked to, and what the definition adds. In host mode the host's own
/// lines stand first, as for Docker.
pub(super) fn hosts(
    network: NetworkMode,
    host_file: &str,
    own: (&str, &[IpAddr]),
    links: &[(String, IpAddr)],
    container: &Container,
) -> String {
    let mut text = if network == NetworkMode::Host { host_file.to_owned() } else { LOCALHOST.to_owned() };
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    let (name, addresses) = own;
    for address in addresses {
        text.push_str(&format!("{address}\t{name}\n"));
    }
    if addresses.is_empty() && network != NetworkMode::Host {
        text.push_str(&format!("127.0.0.1\t{name}\n"));
    }
    for (alias, address) in links {
        text.push_str(&format!("{address}\t{alias}\n"));
    }
    for (name, address) in &container.extra_hosts {
        text.push_str(&format!("{address}\t{name}\n"));
    }
    text
}

/// `/etc/resolv.conf`: the definition's servers and domains, else the host's. A server on the host's loopback is not
/// there in a namespace of its own, so those lines are left out then; `upstream` is where a local resolver has its own
/// servers (systemd-resolved), used when nothing else is left.
pub(super) fn resolv_conf(network: NetworkMode, host_file: &str, upstream: &str, container: &Container) -> String {
    let own_namespace = network != NetworkMode::Host;
    let is_loopback = |line: &str| {
        let server = line.strip_prefix("nameserver").map(str::trim);
        let address = server.and_then(|s| s.split('%').next()).and_then(|s| s.parse::<IpAddr>().ok());
        address.is_some_and(|a| a.is_loopback())
    };
    let is_server = |line: &&str| line.starts_with("nameserver");
    let is_search = |line: &&str| line.starts_with("search") || line.starts_with("domain");
    let usable = |file: &str| -> Vec<String> {
        let lines = file.lines().filter(|l| !(own_namespace && is_loopback(l)));
        lines.map(str::to_owned).collect()
    };
    let mut lines = usable(host_file);
    if own_namespace && !lines.iter().any(|l| is_server(&l.as_str())) {
        lines.extend(usable(upstream).into_iter().filter(|l| is_server(&l.as_str())));
    }
    if !container.dns.is_empty() {
        lines.retain(|l| !is_server(&l.as_str()));
        lines.extend(container.dns.iter().map(|server| format!("nameserver {server}")));
    }
    if !container.dns_search.is_empty() {
        lines.retain(|l| !is_search(&l.as_str()));
        lines.push(format!("search {}", container.dns_search.join(" ")));
    }
    lines.retain(|l| !l.trim().is_empty() && !l.starts_with(['#', ';']));
    lines.into_iter().map(|l| l + "\n").collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::fixtures::container;

    #[test]
    fn a_container_knows_itself_and_those_it_is_linked_to() {
        let mut app = container("app");
        app.extra_hosts = vec![("registry".into(), "10.0.0.5".into())];
        let own = ["10.88.0.2".parse().unwrap()];
        let links = [("db".to_owned(), "10.88.0.3".parse().unwrap())];
        let text = hosts(NetworkMode::Bridge, "192.0.2.1 host", ("app1", &own), &links, &app);
        assert!(text.starts_with("127.0.0.1\tlocalhost\n"));
        assert!(text.ends_with("10.88.0.2\tapp1\n10.88.0.3\tdb\n10.0.0.5\tregistry\n"), "{text}");
        let text = hosts(NetworkMode::Host, "192.0.2.1 host", ("h", &[]), &[], &container("a"));
        assert_eq!(text, "192.0.2.1 host\n");
    }

    #[test]
    fn a_resolver_on_the_hosts_loopback_is_replaced_in_a_namespace_of_its_own() {
        let host = "# made by systemd-resolved\nnameserver 127.0.0.53\nsearch example.com\noptions edns0\n";
        let upstream = "nameserver 192.0.2.53\nsearch elsewhere\n";
        let bridge = resolv_conf(NetworkMode::Bridge, host, upstream, &container("a"));
        assert_eq!(bridge, "search example.com\noptions edns0\nnameserver 192.0.2.53\n");
        let own = resolv_conf(NetworkMode::Host, host, upstream, &container("a"));
        assert_eq!(own, "nameserver 127.0.0.53\nsearch example.com\noptions edns0\n");
    }

    #[test]
    fn servers_of_the_definition_replace_the_hosts() {
        let mut app = container("a");
        (app.dns, app.dns_search) = (vec!["1.1.1.1".into()], vec!["corp".into()]);
        let text = resolv_conf(NetworkMode::Awsvpc, "nameserver 8.8.8.8\nsearch x\n", "", &app);
        assert_eq!(text, "nameserver 1.1.1.1\nsearch corp\n");
    }
}
