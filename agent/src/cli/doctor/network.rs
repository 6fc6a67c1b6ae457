//! nf_tables, forwarding, and filters on bridges.

use super::{Finding, Host};
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket};
use std::io;
use std::os::fd::AsRawFd;

pub(super) fn check(host: &Host) -> Vec<Finding> {
    [nf_tables(ask_generation()), forwarding(host)].into_iter().chain(bridge_filters(host)).collect()
}

fn nf_tables(answer: io::Result<()>) -> Finding {
    const TOPIC: &str = "nf_tables";
    match answer {
        Ok(()) => Finding::ok(TOPIC, "answers"),
        Err(e) if e.kind() == io::ErrorKind::PermissionDenied => {
            Finding::warn(TOPIC, "may only be asked by root", "run this as root, such as by sudo")
        }
        Err(e) => Finding::bad(
            TOPIC,
            format!("does not answer ({e}): ports could not be published, tasks not reach outside"),
            "modprobe nf_tables; or boot a kernel built with CONFIG_NF_TABLES, CONFIG_NF_TABLES_INET and CONFIG_NFT_NAT",
        ),
    }
}

/// Asks nf_tables for the number of its generation, which also loads it where it is a module.
fn ask_generation() -> io::Result<()> {
    // NFNL_SUBSYS_NFTABLES and NFT_MSG_GETGEN of nfnetlink.h and nf_tables.h.
    const GETGEN: u16 = (10 << 8) | 16;
    const NLM_F_REQUEST: u16 = 1;
    const NLMSG_ERROR: u16 = 2;
    let mut request = [0; 20];
    request[0..4].copy_from_slice(&20u32.to_ne_bytes());
    request[4..6].copy_from_slice(&GETGEN.to_ne_bytes());
    request[6..8].copy_from_slice(&NLM_F_REQUEST.to_ne_bytes());
    let flags = SockFlag::SOCK_CLOEXEC;
    let netlink = socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkNetFilter)?;
    send(netlink.as_raw_fd(), &request, MsgFlags::empty())?;
    let mut answer = [0; 1024];
    // Netlink answers before the send returns: nothing to receive is an answer too.
    let n = recv(netlink.as_raw_fd(), &mut answer, MsgFlags::MSG_DONTWAIT)?;
    let (Some(kind), Some(code)) = (answer[..n].get(4..6), answer[..n].get(16..20)) else {
        return Err(io::ErrorKind::UnexpectedEof.into());
    };
    if kind != NLMSG_ERROR.to_ne_bytes() {
        return Ok(());
    }
    let errno = code.try_into().map(i32::from_ne_bytes).unwrap_or(0);
    Err(io::Error::from_raw_os_error(-errno))
}

fn forwarding(host: &Host) -> Finding {
    const TOPIC: &str = "forwarding";
    let families = [("IPv4", "/proc/sys/net/ipv4/ip_forward"), ("IPv6", "/proc/sys/net/ipv6/conf/all/forwarding")];
    // A host without IPv6 has no such file, and lacks nothing.
    let off: Vec<_> =
        families.iter().filter(|(_, path)| host.read(path).as_deref() == Some("0")).map(|(name, _)| *name).collect();
    match (off.is_empty(), host.agent_runs) {
        (true, _) => Finding::ok(TOPIC, "on"),
        (false, false) => {
            Finding::ok(TOPIC, format!("off for {}; the agent turns it on when it starts", off.join(", ")))
        }
        (false, true) => Finding::bad(
            TOPIC,
            format!("off for {}, though the agent turned it on: somebody else turned it off", off.join(", ")),
            "restart the agent; and look for who sets net.ipv4.ip_forward or net.ipv6.conf.all.forwarding (sysctl.d)",
        ),
    }
}

fn bridge_filters(host: &Host) -> Option<Finding> {
    let on = host.read("/proc/sys/net/bridge/bridge-nf-call-ip6tables")? == "1";
    on.then(|| {
        Finding::warn(
            "::1",
            "another program makes bridges pass through ip6tables: published ports do not answer on ::1",
            "use 127.0.0.1; or `sysctl -w net.bridge.bridge-nf-call-ip6tables=0` if nothing needs it",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::super::testing::host;
    use super::*;

    #[test]
    fn forwarding_that_is_off_matters_once_the_agent_runs() {
        let (_dir, mut host) = host(&[("proc/sys/net/ipv4/ip_forward", "0\n")]);
        assert_eq!(forwarding(&host).level, Level::Ok);
        host.agent_runs = true;
        assert_eq!(forwarding(&host).level, Level::Bad);
    }

    #[test]
    fn a_kernel_without_nf_tables_is_told_from_a_user_without_rights() {
        let level = |errno| nf_tables(Err(io::Error::from_raw_os_error(errno))).level;
        assert_eq!(level(nix::libc::EPERM), Level::Warn);
        assert_eq!(level(nix::libc::EINVAL), Level::Bad);
        assert_eq!(nf_tables(Ok(())).level, Level::Ok);
    }

    #[test]
    fn filters_on_bridges_cost_the_published_ports_on_the_loopback_of_ipv6() {
        assert!(bridge_filters(&host(&[]).1).is_none());
        let at = |value| bridge_filters(&host(&[("proc/sys/net/bridge/bridge-nf-call-ip6tables", value)]).1);
        assert!(at("0\n").is_none());
        assert_eq!(at("1\n").unwrap().level, Level::Warn);
    }
}
