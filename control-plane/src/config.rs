//! What the embedded control plane is told when it is opened.

use std::time::Duration;

/// Settings of the embedded control plane.
#[derive(Debug, Clone)]
pub struct Config {
    /// The cluster that requests mean when they name none; made at the first start.
    pub cluster: String,
    /// The region in ARNs. Signatures may name any region.
    pub region: String,
    /// The account in ARNs, twelve digits.
    pub account: String,
    /// How long a stopped task can still be described.
    pub stopped_task_retention: Duration,
    /// Time between heartbeats to an agent. Agents close a connection that is silent for a minute.
    pub heartbeat_interval: Duration,
    /// The base URL that agents are told to poll, such as `http://10.0.0.1:51680`; `None` for the address that the agent
    /// itself used.
    pub endpoint: Option<String>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            cluster: "default".to_owned(),
            region: "local".to_owned(),
            account: "000000000000".to_owned(),
            stopped_task_retention: Duration::from_secs(3600),
            heartbeat_interval: Duration::from_secs(25),
            endpoint: None,
        }
    }
}
