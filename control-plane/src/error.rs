//! Errors of the API: the exception's name decides how callers react, so each case is made by its own function.

use crate::validate::FieldError;

/// The exceptions of the ECS API that the embedded control plane answers with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// The request cannot be carried out as it is; agents do not repeat it.
    Client,
    /// We failed: the same request may work later.
    Server,
    /// A value is not acceptable.
    InvalidParameter,
    /// There is no such cluster.
    ClusterNotFound,
    /// The cluster still has container instances.
    ClusterContainsContainerInstances,
    /// The cluster still has tasks.
    ClusterContainsTasks,
    /// There is no such resource.
    ResourceNotFound,
    /// Asked for in a way that this control plane does not support.
    UnsupportedFeature,
    /// No such operation.
    UnknownOperation,
    /// The body is not JSON, or a member has another type.
    Serialization,
    /// No credentials, or not ours.
    AccessDenied,
    /// The access key is not ours.
    UnrecognizedClient,
    /// The signature does not fit the request.
    InvalidSignature,
}

impl Code {
    /// The exception's name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Code::Client => "ClientException",
            Code::Server => "ServerException",
            Code::InvalidParameter => "InvalidParameterException",
            Code::ClusterNotFound => "ClusterNotFoundException",
            Code::ClusterContainsContainerInstances => "ClusterContainsContainerInstancesException",
            Code::ClusterContainsTasks => "ClusterContainsTasksException",
            Code::ResourceNotFound => "ResourceNotFoundException",
            Code::UnsupportedFeature => "UnsupportedFeatureException",
            Code::UnknownOperation => "UnknownOperationException",
            Code::Serialization => "SerializationException",
            Code::AccessDenied => "AccessDeniedException",
            Code::UnrecognizedClient => "UnrecognizedClientException",
            Code::InvalidSignature => "InvalidSignatureException",
        }
    }

    /// The HTTP status that goes with it. SDKs repeat a request after 5xx only.
    pub fn status(self) -> u16 {
        match self {
            Code::Server => 500,
            _ => 400,
        }
    }
}

/// Why a request was not carried out.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{}: {message}", code.name())]
pub struct ApiError {
    /// The exception.
    pub code: Code,
    /// In words.
    pub message: String,
    /// The members of a task definition that are wrong, each with its path; empty for other errors.
    pub fields: Vec<FieldError>,
}

impl ApiError {
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), fields: Vec::new() }
    }

    pub(crate) fn client(message: impl Into<String>) -> Self {
        Self::new(Code::Client, message)
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(Code::InvalidParameter, message)
    }

    /// The members `fields` of a task definition are wrong.
    pub(crate) fn fields(fields: Vec<FieldError>) -> Self {
        let message = fields.iter().map(FieldError::to_string).collect::<Vec<_>>().join("; ");
        Self { code: Code::Client, message, fields }
    }
}
