//! Values of the open enumerations. A field is a string, so that a value newer than this list survives; these are
//! the names known today.

#![allow(missing_docs, reason = "each constant is named as its value")]

/// Whether an agent is being updated.
pub mod agent_update_status {
    pub const PENDING: &str = "PENDING";
    pub const STAGING: &str = "STAGING";
    pub const STAGED: &str = "STAGED";
    pub const UPDATING: &str = "UPDATING";
    pub const UPDATED: &str = "UPDATED";
    pub const FAILED: &str = "FAILED";
    pub const VALUES: &[&str] = &[PENDING, STAGING, STAGED, UPDATING, UPDATED, FAILED];
}

/// Kinds of capacity that a task definition can run on.
pub mod compatibility {
    pub const EC2: &str = "EC2";
    pub const FARGATE: &str = "FARGATE";
    pub const EXTERNAL: &str = "EXTERNAL";
    pub const MANAGED_INSTANCES: &str = "MANAGED_INSTANCES";
    pub const VALUES: &[&str] = &[EC2, FARGATE, EXTERNAL, MANAGED_INSTANCES];
}

/// Whether the agent of a task is connected.
pub mod connectivity {
    pub const CONNECTED: &str = "CONNECTED";
    pub const DISCONNECTED: &str = "DISCONNECTED";
    pub const VALUES: &[&str] = &[CONNECTED, DISCONNECTED];
}

/// What a container waits for in another.
pub mod container_condition {
    pub const START: &str = "START";
    pub const COMPLETE: &str = "COMPLETE";
    pub const SUCCESS: &str = "SUCCESS";
    pub const HEALTHY: &str = "HEALTHY";
    pub const VALUES: &[&str] = &[START, COMPLETE, SUCCESS, HEALTHY];
}

/// States of a container instance.
pub mod container_instance_status {
    pub const ACTIVE: &str = "ACTIVE";
    pub const DRAINING: &str = "DRAINING";
    pub const REGISTERING: &str = "REGISTERING";
    pub const DEREGISTERING: &str = "DEREGISTERING";
    pub const REGISTRATION_FAILED: &str = "REGISTRATION_FAILED";
    pub const VALUES: &[&str] = &[ACTIVE, DRAINING, REGISTERING, DEREGISTERING, REGISTRATION_FAILED];
}

/// States that a task can be wished in.
pub mod desired_status {
    pub const RUNNING: &str = "RUNNING";
    pub const PENDING: &str = "PENDING";
    pub const STOPPED: &str = "STOPPED";
    pub const VALUES: &[&str] = &[RUNNING, PENDING, STOPPED];
}

/// What may be done with a device.
pub mod device_cgroup_permission {
    pub const READ: &str = "read";
    pub const WRITE: &str = "write";
    pub const MKNOD: &str = "mknod";
    pub const VALUES: &[&str] = &[READ, WRITE, MKNOD];
}

/// Health of a container or a task.
pub mod health_status {
    pub const HEALTHY: &str = "HEALTHY";
    pub const UNHEALTHY: &str = "UNHEALTHY";
    pub const UNKNOWN: &str = "UNKNOWN";
    pub const VALUES: &[&str] = &[HEALTHY, UNHEALTHY, UNKNOWN];
}

/// IPC namespaces of a task.
pub mod ipc_mode {
    pub const HOST: &str = "host";
    pub const TASK: &str = "task";
    pub const NONE: &str = "none";
    pub const VALUES: &[&str] = &[HOST, TASK, NONE];
}

/// Where a task runs.
pub mod launch_type {
    pub const EC2: &str = "EC2";
    pub const FARGATE: &str = "FARGATE";
    pub const EXTERNAL: &str = "EXTERNAL";
    pub const MANAGED_INSTANCES: &str = "MANAGED_INSTANCES";
    pub const VALUES: &[&str] = &[EC2, FARGATE, EXTERNAL, MANAGED_INSTANCES];
}

/// Log drivers.
pub mod log_driver {
    pub const JSON_FILE: &str = "json-file";
    pub const SYSLOG: &str = "syslog";
    pub const JOURNALD: &str = "journald";
    pub const GELF: &str = "gelf";
    pub const FLUENTD: &str = "fluentd";
    pub const AWSLOGS: &str = "awslogs";
    pub const SPLUNK: &str = "splunk";
    pub const AWSFIRELENS: &str = "awsfirelens";
    pub const VALUES: &[&str] = &[JSON_FILE, SYSLOG, JOURNALD, GELF, FLUENTD, AWSLOGS, SPLUNK, AWSFIRELENS];
}

/// Network modes of a task.
pub mod network_mode {
    pub const BRIDGE: &str = "bridge";
    pub const HOST: &str = "host";
    pub const AWSVPC: &str = "awsvpc";
    pub const NONE: &str = "none";
    pub const VALUES: &[&str] = &[BRIDGE, HOST, AWSVPC, NONE];
}

/// Operating systems.
pub mod os_family {
    pub const WINDOWS_SERVER_2019_FULL: &str = "WINDOWS_SERVER_2019_FULL";
    pub const WINDOWS_SERVER_2019_CORE: &str = "WINDOWS_SERVER_2019_CORE";
    pub const WINDOWS_SERVER_2016_FULL: &str = "WINDOWS_SERVER_2016_FULL";
    pub const WINDOWS_SERVER_2004_CORE: &str = "WINDOWS_SERVER_2004_CORE";
    pub const WINDOWS_SERVER_2022_CORE: &str = "WINDOWS_SERVER_2022_CORE";
    pub const WINDOWS_SERVER_2022_FULL: &str = "WINDOWS_SERVER_2022_FULL";
    pub const WINDOWS_SERVER_2025_CORE: &str = "WINDOWS_SERVER_2025_CORE";
    pub const WINDOWS_SERVER_2025_FULL: &str = "WINDOWS_SERVER_2025_FULL";
    pub const WINDOWS_SERVER_20H2_CORE: &str = "WINDOWS_SERVER_20H2_CORE";
    pub const LINUX: &str = "LINUX";
    pub const VALUES: &[&str] = &[
        WINDOWS_SERVER_2019_FULL,
        WINDOWS_SERVER_2019_CORE,
        WINDOWS_SERVER_2016_FULL,
        WINDOWS_SERVER_2004_CORE,
        WINDOWS_SERVER_2022_CORE,
        WINDOWS_SERVER_2022_FULL,
        WINDOWS_SERVER_2025_CORE,
        WINDOWS_SERVER_2025_FULL,
        WINDOWS_SERVER_20H2_CORE,
        LINUX,
    ];
}

/// Processors.
pub mod cpu_architecture {
    pub const X86_64: &str = "X86_64";
    pub const ARM64: &str = "ARM64";
    pub const VALUES: &[&str] = &[X86_64, ARM64];
}

/// PID namespaces of a task.
pub mod pid_mode {
    pub const HOST: &str = "host";
    pub const TASK: &str = "task";
    pub const VALUES: &[&str] = &[HOST, TASK];
}

/// Kinds of placement constraints.
pub mod placement_constraint_type {
    pub const DISTINCT_INSTANCE: &str = "distinctInstance";
    pub const MEMBER_OF: &str = "memberOf";
    pub const VALUES: &[&str] = &[DISTINCT_INSTANCE, MEMBER_OF];
}

/// Kinds of placement strategies.
pub mod placement_strategy_type {
    pub const RANDOM: &str = "random";
    pub const SPREAD: &str = "spread";
    pub const BINPACK: &str = "binpack";
    pub const VALUES: &[&str] = &[RANDOM, SPREAD, BINPACK];
}

/// Where a task gets tags from.
pub mod propagate_tags {
    pub const TASK_DEFINITION: &str = "TASK_DEFINITION";
    pub const SERVICE: &str = "SERVICE";
    pub const NONE: &str = "NONE";
    pub const VALUES: &[&str] = &[TASK_DEFINITION, SERVICE, NONE];
}

/// Kinds of devices that a container can need.
pub mod resource_type {
    pub const GPU: &str = "GPU";
    pub const INFERENCE_ACCELERATOR: &str = "InferenceAccelerator";
    pub const NEURON_DEVICE: &str = "NeuronDevice";
    pub const VALUES: &[&str] = &[GPU, INFERENCE_ACCELERATOR, NEURON_DEVICE];
}

/// Life of a volume made by a driver.
pub mod scope {
    pub const TASK: &str = "task";
    pub const SHARED: &str = "shared";
    pub const VALUES: &[&str] = &[TASK, SHARED];
}

/// Orders of a list.
pub mod sort_order {
    pub const ASC: &str = "ASC";
    pub const DESC: &str = "DESC";
    pub const VALUES: &[&str] = &[ASC, DESC];
}

/// What an attribute belongs to.
pub mod target_type {
    pub const CONTAINER_INSTANCE: &str = "container-instance";
    pub const VALUES: &[&str] = &[CONTAINER_INSTANCE];
}

/// States of a family in a list.
pub mod task_definition_family_status {
    pub const ACTIVE: &str = "ACTIVE";
    pub const INACTIVE: &str = "INACTIVE";
    pub const ALL: &str = "ALL";
    pub const VALUES: &[&str] = &[ACTIVE, INACTIVE, ALL];
}

/// States of a task definition.
pub mod task_definition_status {
    pub const ACTIVE: &str = "ACTIVE";
    pub const INACTIVE: &str = "INACTIVE";
    pub const DELETE_IN_PROGRESS: &str = "DELETE_IN_PROGRESS";
    pub const VALUES: &[&str] = &[ACTIVE, INACTIVE, DELETE_IN_PROGRESS];
}

/// Classes of reasons why a task stopped.
pub mod task_stop_code {
    pub const TASK_FAILED_TO_START: &str = "TaskFailedToStart";
    pub const ESSENTIAL_CONTAINER_EXITED: &str = "EssentialContainerExited";
    pub const USER_INITIATED: &str = "UserInitiated";
    pub const SERVICE_SCHEDULER_INITIATED: &str = "ServiceSchedulerInitiated";
    pub const SPOT_INTERRUPTION: &str = "SpotInterruption";
    pub const TERMINATION_NOTICE: &str = "TerminationNotice";
    pub const INFRASTRUCTURE_HEALTH: &str = "InfrastructureHealth";
    pub const VALUES: &[&str] = &[
        TASK_FAILED_TO_START,
        ESSENTIAL_CONTAINER_EXITED,
        USER_INITIATED,
        SERVICE_SCHEDULER_INITIATED,
        SPOT_INTERRUPTION,
        TERMINATION_NOTICE,
        INFRASTRUCTURE_HEALTH,
    ];
}

/// Transport protocols of a port.
pub mod transport_protocol {
    pub const TCP: &str = "tcp";
    pub const UDP: &str = "udp";
    pub const VALUES: &[&str] = &[TCP, UDP];
}

/// Names of resource limits.
pub mod ulimit_name {
    pub const CORE: &str = "core";
    pub const CPU: &str = "cpu";
    pub const DATA: &str = "data";
    pub const FSIZE: &str = "fsize";
    pub const LOCKS: &str = "locks";
    pub const MEMLOCK: &str = "memlock";
    pub const MSGQUEUE: &str = "msgqueue";
    pub const NICE: &str = "nice";
    pub const NOFILE: &str = "nofile";
    pub const NPROC: &str = "nproc";
    pub const RSS: &str = "rss";
    pub const RTPRIO: &str = "rtprio";
    pub const RTTIME: &str = "rttime";
    pub const SIGPENDING: &str = "sigpending";
    pub const STACK: &str = "stack";
    pub const VALUES: &[&str] = &[
        CORE, CPU, DATA, FSIZE, LOCKS, MEMLOCK, MSGQUEUE, NICE, NOFILE, NPROC, RSS, RTPRIO, RTTIME, SIGPENDING, STACK,
    ];
}

/// Whether all tasks of a service run one image digest.
pub mod version_consistency {
    pub const ENABLED: &str = "enabled";
    pub const DISABLED: &str = "disabled";
    pub const VALUES: &[&str] = &[ENABLED, DISABLED];
}

/// Application protocols of a port.
pub mod application_protocol {
    pub const HTTP: &str = "http";
    pub const HTTP2: &str = "http2";
    pub const GRPC: &str = "grpc";
    pub const VALUES: &[&str] = &[HTTP, HTTP2, GRPC];
}

/// States that a task or a container was last seen in.
pub mod last_status {
    pub const PROVISIONING: &str = "PROVISIONING";
    pub const PENDING: &str = "PENDING";
    pub const ACTIVATING: &str = "ACTIVATING";
    pub const RUNNING: &str = "RUNNING";
    pub const DEACTIVATING: &str = "DEACTIVATING";
    pub const STOPPING: &str = "STOPPING";
    pub const DEPROVISIONING: &str = "DEPROVISIONING";
    pub const STOPPED: &str = "STOPPED";
}

/// Names of the resources that an agent registers.
pub mod resource_name {
    pub const CPU: &str = "CPU";
    pub const MEMORY: &str = "MEMORY";
    pub const PORTS: &str = "PORTS";
    pub const PORTS_UDP: &str = "PORTS_UDP";
}
