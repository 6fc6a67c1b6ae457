//! TCS: the websocket over which an agent sends metrics and health.
//!
//! What an agent sends is not bare JSON: lines of a signed HTTP header and an empty line come first.
//! [`strip_header`] skips them.

mod message;
mod metrics;

pub use crate::ecs::Timestamp;
pub use message::*;
pub use metrics::*;

crate::frame::messages! {
    /// A message of the websocket, in either direction.
    pub enum Message {
        PublishMetrics(PublishMetricsRequest) = "PublishMetricsRequest",
        PublishHealth(PublishHealthRequest) = "PublishHealthRequest",
        PublishInstanceStatus(PublishInstanceStatusRequest) = "PublishInstanceStatusRequest",
        AckPublishMetric(AckPublishMetric) = "AckPublishMetric",
        AckPublishHealth(AckPublishHealth) = "AckPublishHealth",
        AckPublishInstanceStatus(AckPublishInstanceStatus) = "AckPublishInstanceStatus",
        Heartbeat(HeartbeatMessage) = "HeartbeatMessage",
        StopTelemetrySession(StopTelemetrySessionMessage) = "StopTelemetrySessionMessage",
        ServerException(ServerException) = "ServerException",
        BadRequest(BadRequestException) = "BadRequestException",
        ResourceValidation(ResourceValidationException) = "ResourceValidationException",
        InvalidParameter(InvalidParameterException) = "InvalidParameterException",
    }
}

/// The JSON of a message that an agent sent: what follows the first empty line of its signed header, or all of it where
/// it begins with an object at once.
pub fn strip_header(text: &str) -> &str {
    if text.starts_with('{') {
        return text;
    }
    text.split_once("\r\n\r\n").or_else(|| text.split_once("\n\n")).map_or("", |(_, json)| json)
}
