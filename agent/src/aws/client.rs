//! The ECS JSON API, from an agent's side.

use super::{CredentialsError, Provider, SignError, sign};
use berth_wire::ecs::{
    CONTENT_TYPE, ContainerInstance, DeregisterContainerInstanceRequest, DiscoverPollEndpointRequest,
    DiscoverPollEndpointResponse, ErrorBody, RegisterContainerInstanceRequest, RegisterContainerInstanceResponse,
    SubmitAttachmentStateChangesRequest, SubmitTaskStateChangeRequest, TARGET_PREFIX,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::time::{Duration, SystemTime};

/// Whether an operation is worth trying again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Later it may work.
    Retry,
    /// The same request will always fail.
    Terminal,
}

/// An operation was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum ApiFailure {
    /// There are no keys to sign with.
    #[error("{operation}")]
    Credentials {
        /// The operation.
        operation: &'static str,
        /// What is missing.
        source: CredentialsError,
    },
    /// The request cannot be signed.
    #[error("{operation}")]
    Sign {
        /// The operation.
        operation: &'static str,
        /// Why.
        source: SignError,
    },
    /// Nobody answered.
    #[error("{operation} at `{endpoint}`")]
    Transport {
        /// The operation.
        operation: &'static str,
        /// The control plane.
        endpoint: String,
        /// Why.
        source: reqwest::Error,
    },
    /// The control plane refused.
    #[error("{operation}: {code}: {message}")]
    Refused {
        /// The operation.
        operation: &'static str,
        /// The exception's name.
        code: String,
        /// In its words.
        message: String,
        /// HTTP status.
        status: u16,
    },
    /// The answer cannot be read.
    #[error("{operation}: read the answer of `{endpoint}`")]
    Answer {
        /// The operation.
        operation: &'static str,
        /// The control plane.
        endpoint: String,
        /// Why.
        source: serde_json::Error,
    },
}

impl ApiFailure {
    /// Whether it is worth trying again.
    pub fn class(&self) -> Class {
        match self {
            Self::Transport { .. } | Self::Answer { .. } | Self::Credentials { .. } => Class::Retry,
            Self::Sign { .. } => Class::Terminal,
            Self::Refused { code, status, .. } => class_of(code, *status),
        }
    }

    /// The exception's name, where the control plane gave one.
    pub fn code(&self) -> Option<&str> {
        if let Self::Refused { code, .. } = self { Some(code) } else { None }
    }
}

fn class_of(code: &str, status: u16) -> Class {
    // Clocks are set and keys replaced while an agent runs: what depends on either may work later.
    let passing = [
        "ThrottlingException",
        "ServerException",
        "LimitExceededException",
        "RequestTimeTooSkewed",
        "ExpiredTokenException",
        "InvalidSignatureException",
    ];
    if status >= 500 || status == 429 || passing.contains(&code) { Class::Retry } else { Class::Terminal }
}

/// One control plane's API.
#[derive(Debug, Clone)]
pub struct EcsClient {
    http: reqwest::Client,
    endpoint: String,
    region: String,
    keys: Provider,
}

impl EcsClient {
    /// The API at `endpoint`, a base URL.
    pub fn new(http: reqwest::Client, endpoint: &str, region: &str, keys: Provider) -> Self {
        Self { http, endpoint: endpoint.trim_end_matches('/').to_owned(), region: region.to_owned(), keys }
    }

    /// The base URL.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The region that requests are signed for.
    pub fn region(&self) -> &str {
        &self.region
    }

    /// Where the keys come from.
    pub fn keys(&self) -> &Provider {
        &self.keys
    }

    /// `RegisterContainerInstance`.
    pub async fn register(&self, request: &RegisterContainerInstanceRequest) -> Result<ContainerInstance, ApiFailure> {
        let answer: RegisterContainerInstanceResponse = self.call("RegisterContainerInstance", request).await?;
        Ok(answer.container_instance.unwrap_or_default())
    }

    /// `DeregisterContainerInstance`.
    pub async fn deregister(&self, request: &DeregisterContainerInstanceRequest) -> Result<(), ApiFailure> {
        let _: serde_json::Value = self.call("DeregisterContainerInstance", request).await?;
        Ok(())
    }

    /// `DiscoverPollEndpoint`.
    pub async fn discover(
        &self,
        request: &DiscoverPollEndpointRequest,
    ) -> Result<DiscoverPollEndpointResponse, ApiFailure> {
        self.call("DiscoverPollEndpoint", request).await
    }

    /// `SubmitTaskStateChange`.
    pub async fn submit_task(&self, request: &SubmitTaskStateChangeRequest) -> Result<(), ApiFailure> {
        let _: serde_json::Value = self.call("SubmitTaskStateChange", request).await?;
        Ok(())
    }

    /// `SubmitAttachmentStateChanges`.
    pub async fn submit_attachments(&self, request: &SubmitAttachmentStateChangesRequest) -> Result<(), ApiFailure> {
        let _: serde_json::Value = self.call("SubmitAttachmentStateChanges", request).await?;
        Ok(())
    }

    async fn call<T: DeserializeOwned>(
        &self,
        operation: &'static str,
        request: &impl Serialize,
    ) -> Result<T, ApiFailure> {
        let answer = |source| ApiFailure::Answer { operation, endpoint: self.endpoint.clone(), source };
        let transport = |source| ApiFailure::Transport { operation, endpoint: self.endpoint.clone(), source };
        let body = serde_json::to_vec(request).map_err(answer)?;
        let url = format!("{}/", self.endpoint);
        let target = format!("{TARGET_PREFIX}{operation}");
        let headers = [("content-type", CONTENT_TYPE), ("x-amz-target", target.as_str())];
        let keys = self.keys.credentials().map_err(|source| ApiFailure::Credentials { operation, source })?;
        let signed = sign(&keys, &self.region, SystemTime::now(), "POST", &url, &headers, &body)
            .map_err(|source| ApiFailure::Sign { operation, source })?;
        let mut http = self.http.post(&url).timeout(Duration::from_secs(30)).body(body);
        for (name, value) in headers {
            http = http.header(name, value);
        }
        for (name, value) in &signed {
            http = http.header(name, value);
        }
        let response = http.send().await.map_err(transport)?;
        let status = response.status();
        let bytes = response.bytes().await.map_err(transport)?;
        if status.is_success() {
            return serde_json::from_slice(if bytes.is_empty() { b"{}" } else { &bytes }).map_err(answer);
        }
        let error: ErrorBody = serde_json::from_slice(&bytes).unwrap_or_default();
        let code = if error.code().is_empty() { format!("HTTP {status}") } else { error.code().to_owned() };
        Err(ApiFailure::Refused { operation, code, message: error.message, status: status.as_u16() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_pass_is_tried_again() {
        assert_eq!(class_of("ServerException", 500), Class::Retry);
        assert_eq!(class_of("ThrottlingException", 400), Class::Retry);
        assert_eq!(class_of("", 503), Class::Retry);
        assert_eq!(class_of("ClientException", 400), Class::Terminal);
        assert_eq!(class_of("AccessDeniedException", 400), Class::Terminal);
    }
}
