//! What the document asks of the kernel for a container as a whole: parameters, personality, memory policy, devices of
//! the network.

use super::{Namespaces, SpecError, number_list, refuse};
use oci_spec::runtime::{Linux, LinuxPersonalityDomain};

/// `PER_LINUX` and `PER_LINUX32`.
const PER_LINUX: u64 = 0;
const PER_LINUX32: u64 = 8;

/// `MPOL_*` by their numbers.
pub const MEMORY_MODES: [(&str, u32); 7] = [
    ("MPOL_DEFAULT", 0),
    ("MPOL_PREFERRED", 1),
    ("MPOL_BIND", 2),
    ("MPOL_INTERLEAVE", 3),
    ("MPOL_LOCAL", 4),
    ("MPOL_PREFERRED_MANY", 5),
    ("MPOL_WEIGHTED_INTERLEAVE", 6),
];
/// `MPOL_F_*` by their bits.
pub const MEMORY_FLAGS: [(&str, u32); 3] =
    [("MPOL_F_NUMA_BALANCING", 1 << 13), ("MPOL_F_RELATIVE_NODES", 1 << 14), ("MPOL_F_STATIC_NODES", 1 << 15)];

/// What set_mempolicy(2) takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryPolicy {
    /// `MPOL_*`, with `MPOL_F_*`.
    pub mode: u32,
    /// Memory nodes as bits.
    pub nodes: Vec<u64>,
}

/// A network device of the host that becomes the container's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetDevice {
    /// Its name on the host.
    pub host_name: String,
    /// Its name inside, or a template with `%d` for a number of the kernel's choice.
    pub name: String,
}

impl NetDevice {
    /// Whether the kernel is to complete its name.
    fn is_numbered(&self) -> bool {
        self.name.contains('%')
    }
}

/// Parameters in their order, each of which belongs to a namespace that the container has.
pub(super) fn sysctl(linux: &Linux, namespaces: &Namespaces) -> Result<Vec<(String, String)>, SpecError> {
    let mut values = Vec::new();
    for (name, value) in linux.sysctl().iter().flatten() {
        if name.is_empty() || name.split(['.', '/']).any(|part| part.is_empty() || part == "..") {
            return refuse("linux.sysctl", format!("`{name}` is not the name of a parameter"));
        }
        check_namespaced(&name.replace('/', "."), namespaces)?;
        values.push((name.clone(), value.clone()));
    }
    values.sort();
    Ok(values)
}

/// Refuses a parameter that would change the host. `name` is written with dots.
fn check_namespaced(name: &str, namespaces: &Namespaces) -> Result<(), SpecError> {
    let field = || format!("linux.sysctl.{name}");
    let ipc = matches!(
        name,
        "kernel.msgmax"
            | "kernel.msgmnb"
            | "kernel.msgmni"
            | "kernel.msg_next_id"
            | "kernel.sem"
            | "kernel.sem_next_id"
            | "kernel.shmall"
            | "kernel.shmmax"
            | "kernel.shmmni"
            | "kernel.shm_next_id"
            | "kernel.shm_rmid_forced"
    ) || name.starts_with("fs.mqueue.");
    let needs = |flag, kind: &str| match namespaces.has(flag) {
        true => Ok(()),
        false => refuse(field(), format!("sysctl `{name}` is not allowed in the hosts {kind} namespace")),
    };
    if ipc {
        needs(libc::CLONE_NEWIPC, "ipc")
    } else if name.starts_with("net.") {
        needs(libc::CLONE_NEWNET, "network")
    } else if name == "kernel.domainname" {
        needs(libc::CLONE_NEWUTS, "uts")
    } else if name == "kernel.hostname" {
        refuse(field(), format!("sysctl `{name}` is not allowed as it conflicts with the OCI `hostname` field"))
    } else if name.starts_with("user.") && namespaces.has(libc::CLONE_NEWUSER) {
        Ok(())
    } else {
        refuse(field(), format!("sysctl `{name}` is not in a separate kernel namespace"))
    }
}

pub(super) fn personality(linux: &Linux) -> Result<Option<u64>, SpecError> {
    let Some(given) = linux.personality() else { return Ok(None) };
    if given.flags().as_ref().is_some_and(|flags| !flags.is_empty()) {
        return refuse("linux.personality.flags", "the specification has no flags yet");
    }
    Ok(Some(match given.domain() {
        LinuxPersonalityDomain::PerLinux => PER_LINUX,
        LinuxPersonalityDomain::PerLinux32 => PER_LINUX32,
    }))
}

pub(super) fn memory_policy(linux: &Linux) -> Result<Option<MemoryPolicy>, SpecError> {
    let Some(given) = linux.memory_policy() else { return Ok(None) };
    let number = |table: &[(&str, u32)], name: &str| table.iter().find(|(known, _)| *known == name).map(|(_, n)| *n);
    let name = given.mode().to_string();
    let Some(mode) = number(&MEMORY_MODES, &name) else {
        return refuse("linux.memoryPolicy.mode", format!("`{name}` is unknown"));
    };
    let nodes = number_list::parse(given.nodes().as_deref().unwrap_or_default())
        .or_else(|problem| refuse("linux.memoryPolicy.nodes", problem))?;
    match name.as_str() {
        "MPOL_DEFAULT" | "MPOL_LOCAL" if !nodes.is_empty() => {
            return refuse("linux.memoryPolicy.nodes", format!("{name} takes no nodes"));
        }
        "MPOL_BIND" | "MPOL_INTERLEAVE" | "MPOL_WEIGHTED_INTERLEAVE" | "MPOL_PREFERRED_MANY" if nodes.is_empty() => {
            return refuse("linux.memoryPolicy.nodes", format!("{name} needs nodes"));
        }
        _ => {}
    }
    let flags = given.flags().iter().flatten().map(ToString::to_string);
    let flags = flags.filter_map(|name| number(&MEMORY_FLAGS, &name)).fold(0, |all, flag| all | flag);
    Ok(Some(MemoryPolicy { mode: mode | flags, nodes }))
}

pub(super) fn net_devices(linux: &Linux, namespaces: &Namespaces) -> Result<Vec<NetDevice>, SpecError> {
    let given = linux.net_devices().iter().flatten();
    let mut devices: Vec<NetDevice> = given
        .map(|(host_name, device)| {
            let name = device.name().clone().filter(|name| !name.is_empty());
            NetDevice { host_name: host_name.clone(), name: name.unwrap_or_else(|| host_name.clone()) }
        })
        .collect();
    // Last those whose number the kernel chooses: it is to be no name that another gets.
    devices.sort_by(|a, b| (a.is_numbered(), &a.host_name).cmp(&(b.is_numbered(), &b.host_name)));
    if !devices.is_empty() && !namespaces.has(libc::CLONE_NEWNET) {
        return refuse("linux.netDevices", "needs a network namespace");
    }
    for (i, device) in devices.iter().enumerate() {
        for name in [&device.host_name, &device.name] {
            if !is_device_name(name) {
                return refuse("linux.netDevices", format!("`{name}` is not the name of a network device"));
            }
        }
        if !device.is_numbered() && devices[..i].iter().any(|other| other.name == device.name) {
            return refuse("linux.netDevices", format!("two devices are to be called `{}`", device.name));
        }
    }
    Ok(devices)
}

/// What the kernel takes as a device's name, be it one with `%d`.
fn is_device_name(name: &str) -> bool {
    if name.matches('%').count() != usize::from(name.contains("%d")) {
        return false;
    }
    let bad = |b: u8| b == b'/' || b == b':' || b == 0 || b.is_ascii_whitespace();
    !name.is_empty() && name.len() < libc::IFNAMSIZ && name != "." && name != ".." && !name.bytes().any(bad)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn linux(json: &str) -> Linux {
        serde_json::from_str(json).unwrap()
    }

    fn having(new: i32) -> Namespaces {
        Namespaces { new, ..Namespaces::default() }
    }

    #[test]
    fn a_parameter_needs_the_namespace_it_belongs_to() {
        let cases = [
            ("net.ipv4.ip_forward", libc::CLONE_NEWNET),
            ("net/ipv4/conf/eth0.1/forwarding", libc::CLONE_NEWNET),
            ("kernel.msgmax", libc::CLONE_NEWIPC),
            ("fs.mqueue.msg_max", libc::CLONE_NEWIPC),
            ("kernel.domainname", libc::CLONE_NEWUTS),
            ("user.max_user_namespaces", libc::CLONE_NEWUSER),
        ];
        for (name, flag) in cases {
            let asked = linux(&format!(r#"{{"sysctl": {{"{name}": "1"}}}}"#));
            assert!(sysctl(&asked, &having(flag)).is_ok(), "{name}");
            assert!(sysctl(&asked, &having(!flag)).is_err(), "{name}");
        }
    }

    #[test]
    fn a_parameter_of_the_whole_machine_is_refused() {
        for name in ["kernel.panic", "vm.swappiness", "kernel.hostname", "net..x", "net.../../kernel.panic", ""] {
            let asked = linux(&format!(r#"{{"sysctl": {{"{name}": "1"}}}}"#));
            assert!(sysctl(&asked, &having(-1)).is_err(), "{name}");
        }
    }

    #[test]
    fn a_memory_policy_is_a_mode_with_flags_and_nodes() {
        let parse = |json: &str| memory_policy(&linux(&format!(r#"{{"memoryPolicy": {json}}}"#)));
        let bind = parse(r#"{"mode": "MPOL_BIND", "nodes": "0,2", "flags": ["MPOL_F_STATIC_NODES"]}"#);
        assert_eq!(bind, Ok(Some(MemoryPolicy { mode: 2 | 1 << 15, nodes: vec![5] })));
        assert_eq!(parse(r#"{"mode": "MPOL_LOCAL"}"#), Ok(Some(MemoryPolicy { mode: 4, nodes: vec![] })));
        for bad in [
            r#"{"mode": "MPOL_BIND"}"#,
            r#"{"mode": "MPOL_DEFAULT", "nodes": "0"}"#,
            r#"{"mode": "MPOL_BIND", "nodes": "x"}"#,
        ] {
            assert_eq!(parse(bad).unwrap_err().field, "linux.memoryPolicy.nodes", "{bad}");
        }
    }

    #[test]
    fn a_network_device_keeps_its_name_unless_it_gets_another() {
        let parse = |json: &str| net_devices(&linux(&format!(r#"{{"netDevices": {json}}}"#)), &having(-1));
        let found = parse(r#"{"eth1": {}, "eth0": {"name": "front"}}"#).unwrap();
        let device = |host_name: &str, name: &str| NetDevice { host_name: host_name.into(), name: name.into() };
        assert_eq!(found, [device("eth0", "front"), device("eth1", "eth1")]);
        let templates = parse(r#"{"a": {"name": "eth%d"}, "b": {"name": "eth%d"}, "c": {"name": "eth0"}}"#).unwrap();
        assert_eq!(templates, [device("c", "eth0"), device("a", "eth%d"), device("b", "eth%d")]);
        for bad in [
            r#"{"a": {"name": "x"}, "b": {"name": "x"}}"#,
            r#"{"a/b": {}}"#,
            r#"{"sixteen-bytes-ab": {}}"#,
            r#"{"a": {"name": "eth%s"}}"#,
            r#"{"a": {"name": "eth%d%d"}}"#,
        ] {
            assert_eq!(parse(bad).unwrap_err().field, "linux.netDevices", "{bad}");
        }
        let asked = linux(r#"{"netDevices": {"eth0": {}}}"#);
        assert!(net_devices(&asked, &having(0)).is_err());
    }
}
