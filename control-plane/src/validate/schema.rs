//! Which members a task definition may have, and of what type: the shape of `RegisterTaskDefinition`.
//!
//! [`super::unknown_fields`] compares a definition with it, so that a misspelled member is refused by name instead of
//! being dropped. A test holds it against the wire types.

/// The type of a member.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    Text,
    Int,
    Bool,
    /// Text to text.
    Map,
    List(&'static Kind),
    Object(Members),
}
use Kind::{Bool, Int, List, Map, Object, Text};

/// The members of an object.
pub(super) type Members = &'static [(&'static str, Kind)];

const REPOSITORY_CREDENTIALS: Members = &[("credentialsParameter", Text)];

const PORT_MAPPING: Members = &[
    ("containerPort", Int),
    ("hostPort", Int),
    ("protocol", Text),
    ("name", Text),
    ("appProtocol", Text),
    ("containerPortRange", Text),
];

const CONTAINER_RESTART_POLICY: Members =
    &[("enabled", Bool), ("ignoredExitCodes", List(&Int)), ("restartAttemptPeriod", Int)];

const KEY_VALUE_PAIR: Members = &[("name", Text), ("value", Text)];

const ENVIRONMENT_FILE: Members = &[("value", Text), ("type", Text)];

const MOUNT_POINT: Members = &[("sourceVolume", Text), ("containerPath", Text), ("readOnly", Bool)];

const VOLUME_FROM: Members = &[("sourceContainer", Text), ("readOnly", Bool)];

const KERNEL_CAPABILITIES: Members = &[("add", List(&Text)), ("drop", List(&Text))];

const DEVICE: Members = &[("hostPath", Text), ("containerPath", Text), ("permissions", List(&Text))];

const TMPFS: Members = &[("containerPath", Text), ("size", Int), ("mountOptions", List(&Text))];

const LINUX_PARAMETERS: Members = &[
    ("capabilities", Object(KERNEL_CAPABILITIES)),
    ("devices", List(&Object(DEVICE))),
    ("initProcessEnabled", Bool),
    ("sharedMemorySize", Int),
    ("tmpfs", List(&Object(TMPFS))),
    ("maxSwap", Int),
    ("swappiness", Int),
];

const SECRET: Members = &[("name", Text), ("valueFrom", Text)];

const CONTAINER_DEPENDENCY: Members = &[("containerName", Text), ("condition", Text)];

const HOST_ENTRY: Members = &[("hostname", Text), ("ipAddress", Text)];

const ULIMIT: Members = &[("name", Text), ("softLimit", Int), ("hardLimit", Int)];

const LOG_CONFIGURATION: Members = &[("logDriver", Text), ("options", Map), ("secretOptions", List(&Object(SECRET)))];

const HEALTH_CHECK: Members =
    &[("command", List(&Text)), ("interval", Int), ("timeout", Int), ("retries", Int), ("startPeriod", Int)];

const SYSTEM_CONTROL: Members = &[("namespace", Text), ("value", Text)];

const NVIDIA_MPS_ALLOCATION: Members = &[("memory", Int), ("maxComputePercent", Int)];

const SHARING_STRATEGY: Members = &[("nvidiaMps", Object(NVIDIA_MPS_ALLOCATION))];

const RESOURCE_REQUIREMENT: Members = &[("value", Text), ("type", Text), ("sharingStrategy", Object(SHARING_STRATEGY))];

const FIRELENS_CONFIGURATION: Members = &[("type", Text), ("options", Map)];

const CONTAINER_DEFINITION: Members = &[
    ("name", Text),
    ("image", Text),
    ("repositoryCredentials", Object(REPOSITORY_CREDENTIALS)),
    ("cpu", Int),
    ("memory", Int),
    ("memoryReservation", Int),
    ("links", List(&Text)),
    ("portMappings", List(&Object(PORT_MAPPING))),
    ("essential", Bool),
    ("restartPolicy", Object(CONTAINER_RESTART_POLICY)),
    ("entryPoint", List(&Text)),
    ("command", List(&Text)),
    ("environment", List(&Object(KEY_VALUE_PAIR))),
    ("environmentFiles", List(&Object(ENVIRONMENT_FILE))),
    ("mountPoints", List(&Object(MOUNT_POINT))),
    ("volumesFrom", List(&Object(VOLUME_FROM))),
    ("linuxParameters", Object(LINUX_PARAMETERS)),
    ("secrets", List(&Object(SECRET))),
    ("dependsOn", List(&Object(CONTAINER_DEPENDENCY))),
    ("startTimeout", Int),
    ("stopTimeout", Int),
    ("versionConsistency", Text),
    ("hostname", Text),
    ("user", Text),
    ("workingDirectory", Text),
    ("disableNetworking", Bool),
    ("privileged", Bool),
    ("readonlyRootFilesystem", Bool),
    ("dnsServers", List(&Text)),
    ("dnsSearchDomains", List(&Text)),
    ("extraHosts", List(&Object(HOST_ENTRY))),
    ("dockerSecurityOptions", List(&Text)),
    ("interactive", Bool),
    ("pseudoTerminal", Bool),
    ("dockerLabels", Map),
    ("ulimits", List(&Object(ULIMIT))),
    ("logConfiguration", Object(LOG_CONFIGURATION)),
    ("healthCheck", Object(HEALTH_CHECK)),
    ("systemControls", List(&Object(SYSTEM_CONTROL))),
    ("resourceRequirements", List(&Object(RESOURCE_REQUIREMENT))),
    ("firelensConfiguration", Object(FIRELENS_CONFIGURATION)),
    ("credentialSpecs", List(&Text)),
];

const HOST_VOLUME_PROPERTIES: Members = &[("sourcePath", Text)];

const DOCKER_VOLUME_CONFIGURATION: Members =
    &[("scope", Text), ("autoprovision", Bool), ("driver", Text), ("driverOpts", Map), ("labels", Map)];

const EFS_AUTHORIZATION_CONFIG: Members = &[("accessPointId", Text), ("iam", Text)];

const EFS_VOLUME_CONFIGURATION: Members = &[
    ("fileSystemId", Text),
    ("rootDirectory", Text),
    ("transitEncryption", Text),
    ("transitEncryptionPort", Int),
    ("authorizationConfig", Object(EFS_AUTHORIZATION_CONFIG)),
];

const S3_FILES_VOLUME_CONFIGURATION: Members =
    &[("fileSystemArn", Text), ("rootDirectory", Text), ("transitEncryptionPort", Int), ("accessPointArn", Text)];

const FSX_WINDOWS_FILE_SERVER_AUTHORIZATION_CONFIG: Members = &[("credentialsParameter", Text), ("domain", Text)];

const FSX_WINDOWS_FILE_SERVER_VOLUME_CONFIGURATION: Members = &[
    ("fileSystemId", Text),
    ("rootDirectory", Text),
    ("authorizationConfig", Object(FSX_WINDOWS_FILE_SERVER_AUTHORIZATION_CONFIG)),
];

const VOLUME: Members = &[
    ("name", Text),
    ("host", Object(HOST_VOLUME_PROPERTIES)),
    ("dockerVolumeConfiguration", Object(DOCKER_VOLUME_CONFIGURATION)),
    ("efsVolumeConfiguration", Object(EFS_VOLUME_CONFIGURATION)),
    ("s3filesVolumeConfiguration", Object(S3_FILES_VOLUME_CONFIGURATION)),
    ("fsxWindowsFileServerVolumeConfiguration", Object(FSX_WINDOWS_FILE_SERVER_VOLUME_CONFIGURATION)),
    ("configuredAtLaunch", Bool),
];

const TASK_DEFINITION_PLACEMENT_CONSTRAINT: Members = &[("type", Text), ("expression", Text)];

const TAG: Members = &[("key", Text), ("value", Text)];

const PROXY_CONFIGURATION: Members =
    &[("type", Text), ("containerName", Text), ("properties", List(&Object(KEY_VALUE_PAIR)))];

const INFERENCE_ACCELERATOR: Members = &[("deviceName", Text), ("deviceType", Text)];

const EPHEMERAL_STORAGE: Members = &[("sizeInGiB", Int)];

const RUNTIME_PLATFORM: Members = &[("cpuArchitecture", Text), ("operatingSystemFamily", Text)];

const TRUSTED_EXECUTION_CONFIGURATION: Members = &[("isolationMode", Text), ("attestationPolicy", Text)];

pub(super) const DEFINITION: Members = &[
    ("family", Text),
    ("taskRoleArn", Text),
    ("executionRoleArn", Text),
    ("networkMode", Text),
    ("containerDefinitions", List(&Object(CONTAINER_DEFINITION))),
    ("volumes", List(&Object(VOLUME))),
    ("placementConstraints", List(&Object(TASK_DEFINITION_PLACEMENT_CONSTRAINT))),
    ("requiresCompatibilities", List(&Text)),
    ("cpu", Text),
    ("memory", Text),
    ("tags", List(&Object(TAG))),
    ("pidMode", Text),
    ("ipcMode", Text),
    ("proxyConfiguration", Object(PROXY_CONFIGURATION)),
    ("inferenceAccelerators", List(&Object(INFERENCE_ACCELERATOR))),
    ("ephemeralStorage", Object(EPHEMERAL_STORAGE)),
    ("runtimePlatform", Object(RUNTIME_PLATFORM)),
    ("enableFaultInjection", Bool),
    ("trustedExecutionConfiguration", Object(TRUSTED_EXECUTION_CONFIGURATION)),
];
