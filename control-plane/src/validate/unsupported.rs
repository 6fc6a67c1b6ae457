//! What a task definition may ask for under Amazon ECS and berth does not do yet. Each is refused by name; a line goes
//! when its feature comes.

use super::Faults;
use berth_wire::ecs::{ContainerDefinition, RegisterTaskDefinitionRequest, Volume, values};

const NOT_YET: &str = "is not supported yet";

/// Notes what `task` asks for in vain.
pub(super) fn check(task: &RegisterTaskDefinitionRequest, faults: &mut Faults) {
    let members: &[(&str, bool, &str)] = &[
        ("taskRoleArn", task.task_role_arn.as_deref().is_some_and(not_empty), ""),
        ("pidMode", task.pid_mode.is_some(), task.pid_mode.as_deref().unwrap_or_default()),
        ("ipcMode", task.ipc_mode.is_some(), task.ipc_mode.as_deref().unwrap_or_default()),
        ("proxyConfiguration", task.proxy_configuration.is_some(), ""),
        ("inferenceAccelerators", !task.inference_accelerators.is_empty(), ""),
        ("ephemeralStorage", task.ephemeral_storage.is_some(), ""),
        ("enableFaultInjection", task.enable_fault_injection == Some(true), "true"),
        ("trustedExecutionConfiguration", task.trusted_execution_configuration.is_some(), ""),
        ("placementConstraints", !task.placement_constraints.is_empty(), ""),
    ];
    for (field, asked, value) in members {
        if *asked {
            faults.add(*field, value, NOT_YET);
        }
    }
    for (index, kind) in task.requires_compatibilities.iter().enumerate() {
        if [values::compatibility::FARGATE, values::compatibility::MANAGED_INSTANCES].contains(&kind.as_str()) {
            faults.add(format!("requiresCompatibilities[{index}]"), kind, "is not supported: use EC2 or EXTERNAL");
        }
    }
    for (index, volume) in task.volumes.iter().enumerate() {
        self::volume(volume, &format!("volumes[{index}]"), faults);
    }
    for (index, one) in task.container_definitions.iter().enumerate() {
        container(one, &format!("containerDefinitions[{index}]"), faults);
    }
}

fn not_empty(text: &str) -> bool {
    !text.is_empty()
}

fn volume(volume: &Volume, at: &str, faults: &mut Faults) {
    let members = [
        ("dockerVolumeConfiguration", volume.docker_volume_configuration.is_some()),
        ("efsVolumeConfiguration", volume.efs_volume_configuration.is_some()),
        ("s3filesVolumeConfiguration", volume.s3files_volume_configuration.is_some()),
        ("fsxWindowsFileServerVolumeConfiguration", volume.fsx_windows_file_server_volume_configuration.is_some()),
        ("configuredAtLaunch", volume.configured_at_launch == Some(true)),
    ];
    for (member, _) in members.iter().filter(|(_, asked)| *asked) {
        faults.add(format!("{at}.{member}"), "", NOT_YET);
    }
}

fn container(container: &ContainerDefinition, at: &str, faults: &mut Faults) {
    let linux = container.linux_parameters.as_ref();
    let members = [
        ("repositoryCredentials", container.repository_credentials.is_some()),
        ("restartPolicy", container.restart_policy.as_ref().is_some_and(|policy| policy.enabled)),
        ("environmentFiles", !container.environment_files.is_empty()),
        ("secrets", !container.secrets.is_empty()),
        ("disableNetworking", container.disable_networking == Some(true)),
        ("dockerSecurityOptions", !container.docker_security_options.is_empty()),
        ("interactive", container.interactive == Some(true)),
        ("pseudoTerminal", container.pseudo_terminal == Some(true)),
        ("healthCheck", container.health_check.is_some()),
        ("resourceRequirements", !container.resource_requirements.is_empty()),
        ("firelensConfiguration", container.firelens_configuration.is_some()),
        ("credentialSpecs", !container.credential_specs.is_empty()),
        ("linuxParameters.devices", linux.is_some_and(|linux| !linux.devices.is_empty())),
        ("linuxParameters.initProcessEnabled", linux.is_some_and(|linux| linux.init_process_enabled == Some(true))),
        ("linuxParameters.maxSwap", linux.is_some_and(|linux| linux.max_swap.is_some())),
        ("linuxParameters.swappiness", linux.is_some_and(|linux| linux.swappiness.is_some())),
    ];
    for (member, _) in members.iter().filter(|(_, asked)| *asked) {
        faults.add(format!("{at}.{member}"), "", NOT_YET);
    }
    if let Some(log) = &container.log_configuration {
        // `none` is a log driver of the agent's, though not in the API's list.
        let supported = [values::log_driver::JSON_FILE, "none"];
        if !log.log_driver.is_empty() && !supported.contains(&log.log_driver.as_str()) {
            let problem = format!("{NOT_YET}: use one of {}", supported.join(", "));
            faults.add(format!("{at}.logConfiguration.logDriver"), &log.log_driver, problem);
        }
        for name in log.options.keys() {
            faults.add(format!("{at}.logConfiguration.options.{name}"), "", NOT_YET);
        }
        if !log.secret_options.is_empty() {
            faults.add(format!("{at}.logConfiguration.secretOptions"), "", NOT_YET);
        }
    }
}
