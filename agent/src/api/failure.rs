//! Errors as the operators' socket answers them.

use super::types::ApiError;
use axum::Json;
use axum::response::{IntoResponse, Response};
use http::StatusCode;

/// A status and what is said with it.
#[derive(Debug)]
pub(super) struct Failure(pub(super) StatusCode, pub(super) ApiError);

impl Failure {
    /// The request is wrong.
    pub(super) fn bad(message: impl Into<String>) -> Self {
        Self(StatusCode::BAD_REQUEST, ApiError::new(message))
    }

    /// There is no such thing.
    pub(super) fn missing(message: impl Into<String>) -> Self {
        Self(StatusCode::NOT_FOUND, ApiError::new(message))
    }

    /// It cannot be done now.
    pub(super) fn conflict(message: impl Into<String>) -> Self {
        Self(StatusCode::CONFLICT, ApiError::new(message))
    }

    /// The agent has failed.
    pub(super) fn internal(message: impl Into<String>) -> Self {
        Self(StatusCode::INTERNAL_SERVER_ERROR, ApiError::new(message))
    }

    /// Names the field at fault.
    pub(super) fn field(mut self, field: impl Into<String>) -> Self {
        self.1 = self.1.with_field(field);
        self
    }

    /// Says what to do about it.
    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.1 = self.1.with_hint(hint);
        self
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        (self.0, Json(self.1)).into_response()
    }
}
