//! A machine of its own for each test: network and mount namespaces, a neighbour machine outside, and threads that
//! live in any of them.
//!
//! The test binary runs itself again under `unshare`, with the one test named: so nothing of a test is ever seen in
//! the machine's own namespaces, and all of it is gone with the process.

use berth_runtime::net;
use berth_runtime::net::plan::{IpPrefix, NetPlan, NodeNet, Publish, Transport};
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc;
use std::time::Duration;

/// How long anything may take before the test fails.
pub(crate) const DEADLINE: Duration = Duration::from_secs(5);

/// Runs `test` as root of new namespaces: in this process when it is in them already, else in a new one.
pub(crate) fn alone(name: &str, test: fn(&World)) {
    if std::env::var_os("BERTH_NET_TEST_ALONE").is_some() {
        let world = World::make();
        test(&world);
        return;
    }
    assert!(nix::unistd::geteuid().is_root(), "this test needs root");
    let output = Command::new("unshare")
        .args(["--net", "--mount", "--propagation", "private", "--"])
        .arg(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "--nocapture", "--test-threads=1", name])
        .env("BERTH_NET_TEST_ALONE", "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    print!("{said}{}", String::from_utf8_lossy(&output.stderr));
    // A name that is no test's runs none, successfully.
    assert!(output.status.success() && said.contains(" 1 passed"), "{name} in its own namespaces: {}", output.status);
}

/// Runs a program and gives its output.
pub(crate) fn run(line: &str) -> String {
    let mut words = line.split_whitespace();
    let output = Command::new(words.next().unwrap()).args(words).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{line}: {said}");
    String::from_utf8(output.stdout).unwrap()
}

/// The test's machine: a node, whose namespace the calling thread is in, and a machine outside.
pub(crate) struct World {
    pub(crate) node: NodeNet,
    pub(crate) run: tempfile::TempDir,
    host: OwnedFd,
    pub(crate) outside: OwnedFd,
}

/// The node's own addresses, to the outside.
pub(crate) const NODE: [&str; 2] = ["192.0.2.1", "2001:db8::1"];
/// The machine outside.
pub(crate) const OUTSIDE: [&str; 2] = ["192.0.2.9", "2001:db8::9"];

pub(crate) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

pub(crate) fn prefix(text: &str, prefix: u8) -> IpPrefix {
    IpPrefix { address: ip(text), prefix }
}

impl World {
    fn make() -> Self {
        let host = net::namespace::current().unwrap();
        let run_dir = tempfile::tempdir().unwrap();
        // Sockets, pins and /sys of this namespace.
        run("mount -t sysfs sysfs /sys");
        let outside = in_new_namespace();
        run("ip link set lo up");
        // Whether br_netfilter is loaded is up to the kernel the test runs on; what it does here is up to the test.
        let _ = std::fs::write("/proc/sys/net/bridge/bridge-nf-call-ip6tables", "0");
        let _ = std::fs::write("/proc/sys/net/bridge/bridge-nf-call-iptables", "0");
        run("ip link add uplink type veth peer name far");
        nsenter_link("far", &outside);
        // Other machines on this wire, or nobody, would never object to these addresses.
        for (link, [v4, v6]) in [("uplink", NODE), ("far", OUTSIDE)] {
            let there = if link == "far" { &outside } else { &host };
            within(there, || {
                run(&format!("ip addr add {v4}/24 dev {link}"));
                run(&format!("ip addr add {v6}/64 dev {link} nodad"));
                run(&format!("ip link set {link} up"));
                run("ip link set lo up");
            });
        }
        for (link, there) in [("uplink", &host), ("far", &outside)] {
            within(there, || wait_until_running(link));
        }
        within(&outside, || {
            run(&format!("ip route add 10.80.0.0/24 via {}", NODE[0]));
            run(&format!("ip route add fd80::/64 via {}", NODE[1]));
        });
        let node = NodeNet {
            bridge: "berth0".into(),
            table: "berth".into(),
            bridge_v4: Some(prefix("172.30.0.1", 16)),
            bridge_v6: Some(prefix("fd30::1", 64)),
            awsvpc_v4: Some(prefix("10.80.0.0", 24)),
            awsvpc_v6: Some(prefix("fd80::", 64)),
        };
        Self { node, run: run_dir, host, outside }
    }

    pub(crate) fn host(&self) -> &OwnedFd {
        &self.host
    }

    pub(crate) fn pin(&self, name: &str) -> PathBuf {
        self.run.path().join(name)
    }

    /// A plan of a task on the bridge with the addresses that end in `number`.
    pub(crate) fn bridge(&self, number: u8, publish: &[Publish]) -> NetPlan {
        NetPlan::Bridge {
            pin: self.pin(&format!("b{number}")),
            node: self.node.clone(),
            host_link: format!("bv{number}"),
            addresses: vec![prefix(&format!("172.30.0.{number}"), 16), prefix(&format!("fd30::{number:x}"), 64)],
            publish: publish.to_vec(),
        }
    }

    /// A plan of an awsvpc task with the addresses that end in `number`.
    pub(crate) fn awsvpc(&self, number: u8) -> NetPlan {
        NetPlan::Awsvpc {
            pin: self.pin(&format!("a{number}")),
            node: self.node.clone(),
            host_link: format!("av{number}"),
            addresses: vec![prefix(&format!("10.80.0.{number}"), 32), prefix(&format!("fd80::{number:x}"), 128)],
            mac: vec![2, 0, 0, 0, 0, number],
        }
    }

    /// What there is in this namespace and mounts that a task could have left behind.
    pub(crate) fn everything(&self) -> String {
        let mounts = std::fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
        let pins: Vec<_> = mounts.lines().filter(|l| l.contains(" nsfs ")).map(|l| l.split(' ').nth(4)).collect();
        let files: Vec<_> = std::fs::read_dir(self.run.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        let names = run("ip -br link").lines().map(|l| l.split(' ').next().unwrap().to_owned()).collect::<Vec<_>>();
        format!(
            "{pins:?}\n{files:?}\n{names:?}\n{}{}{}{}",
            run("ip -4 addr")
                .replace("state DOWN", "")
                .replace("state UP", "")
                .lines()
                .filter(|l| l.contains("inet"))
                .collect::<Vec<_>>()
                .join("\n"),
            run("ip route show table all scope link dev uplink"),
            run("nft list ruleset"),
            run("ip -6 neigh show proxy"),
        )
    }
}

/// A link that has just come up loses packets until the kernel's work queue has been there.
fn wait_until_running(link: &str) {
    let deadline = std::time::Instant::now() + DEADLINE;
    while !run(&format!("ip -br link show {link}")).contains(" UP ") {
        assert!(std::time::Instant::now() < deadline, "{link} does not come up");
    }
}

fn in_new_namespace() -> OwnedFd {
    std::thread::spawn(|| {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
        net::namespace::current().unwrap()
    })
    .join()
    .unwrap()
}

fn nsenter_link(link: &str, netns: &OwnedFd) {
    let pin = format!("/proc/{}/fd/{}", std::process::id(), std::os::fd::AsRawFd::as_raw_fd(netns));
    run(&format!("ip link set {link} netns {pin}"));
}

/// Runs `act` on a thread of its own in the namespace `netns`.
pub(crate) fn within<T: Send>(netns: &OwnedFd, act: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let inside = scope.spawn(|| {
            net::namespace::enter(netns).unwrap();
            act()
        });
        match inside.join() {
            Ok(value) => value,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

/// A server in a namespace that answers every client with `NAME CLIENT-ADDRESS`, until the process ends.
pub(crate) fn serve(netns: &OwnedFd, name: &'static str, transport: Transport, port: u16) {
    let (ready, is_ready) = mpsc::channel();
    let netns = netns.try_clone().unwrap();
    std::thread::spawn(move || {
        net::namespace::enter(&netns).unwrap();
        let any = (std::net::Ipv6Addr::UNSPECIFIED, port);
        match transport {
            Transport::Tcp => {
                let listener = TcpListener::bind(any).unwrap();
                ready.send(()).unwrap();
                for client in listener.incoming() {
                    let mut client = client.unwrap();
                    let from = client.peer_addr().unwrap().ip().to_canonical();
                    // A client that is gone again is its own affair.
                    let _ = write!(client, "{name} {from}");
                }
            }
            Transport::Udp => {
                let socket = UdpSocket::bind(any).unwrap();
                // A wildcard socket answers from the address its route prefers: with one address per family that is
                // the one it was called by.
                ready.send(()).unwrap();
                let mut buffer = [0; 64];
                loop {
                    let (_, from) = socket.recv_from(&mut buffer).unwrap();
                    let _ = socket.send_to(format!("{name} {}", from.ip().to_canonical()).as_bytes(), from);
                }
            }
        }
    });
    is_ready.recv().unwrap();
}

/// Calls a server from a namespace and gives its answer.
pub(crate) fn call(netns: &OwnedFd, transport: Transport, to: &str, port: u16) -> std::io::Result<String> {
    let to = SocketAddr::new(ip(to), port);
    within(netns, || call_here(transport, to))
}

fn call_here(transport: Transport, to: SocketAddr) -> std::io::Result<String> {
    let mut answer = String::new();
    match transport {
        Transport::Tcp => {
            let mut stream = TcpStream::connect_timeout(&to, DEADLINE)?;
            stream.set_read_timeout(Some(DEADLINE))?;
            stream.read_to_string(&mut answer)?;
        }
        Transport::Udp => {
            let any: IpAddr = if to.is_ipv4() { ip("0.0.0.0") } else { ip("::") };
            let socket = UdpSocket::bind((any, 0))?;
            socket.set_read_timeout(Some(DEADLINE))?;
            socket.connect(to)?;
            socket.send(b"?")?;
            let mut buffer = [0; 128];
            let n = socket.recv(&mut buffer)?;
            answer.push_str(&String::from_utf8_lossy(&buffer[..n]));
        }
    }
    Ok(answer)
}

/// A file that is there and says something.
pub(crate) fn exists(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

/// Whether a server does not answer a TCP client within a time in which every other does.
pub(crate) fn silent(netns: &OwnedFd, to: &str, port: u16) -> bool {
    let to = SocketAddr::new(ip(to), port);
    let patience = Duration::from_millis(300);
    within(netns, || TcpStream::connect_timeout(&to, patience).is_err_and(|e| e.kind() == std::io::ErrorKind::TimedOut))
}
