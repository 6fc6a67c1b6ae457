//! ACS: the websocket over which a control plane gives an agent its work.

mod attachment;
mod container;
mod message;
mod task;

pub use attachment::*;
pub use container::*;
pub use message::*;
pub use task::*;

crate::frame::messages! {
    /// A message of the websocket, in either direction.
    pub enum Message {
        Heartbeat(HeartbeatMessage) = "HeartbeatMessage",
        HeartbeatAck(HeartbeatAckRequest) = "HeartbeatAckRequest",
        Payload(PayloadMessage) = "PayloadMessage",
        Ack(AckRequest) = "AckRequest",
        Nack(NackRequest) = "NackRequest",
        RoleCredentials(IamRoleCredentialsMessage) = "IAMRoleCredentialsMessage",
        RoleCredentialsAck(IamRoleCredentialsAckRequest) = "IAMRoleCredentialsAckRequest",
        AttachTaskNetworkInterfaces(AttachTaskNetworkInterfacesMessage) = "AttachTaskNetworkInterfacesMessage",
        AttachInstanceNetworkInterfaces(AttachInstanceNetworkInterfacesMessage) =
            "AttachInstanceNetworkInterfacesMessage",
        ConfirmAttachment(ConfirmAttachmentMessage) = "ConfirmAttachmentMessage",
        TaskManifest(TaskManifestMessage) = "TaskManifestMessage",
        TaskStopVerification(TaskStopVerificationMessage) = "TaskStopVerificationMessage",
        TaskStopVerificationAck(TaskStopVerificationAck) = "TaskStopVerificationAck",
        StageUpdate(StageUpdateMessage) = "StageUpdateMessage",
        PerformUpdate(PerformUpdateMessage) = "PerformUpdateMessage",
        Close(CloseMessage) = "CloseMessage",
        Error(ErrorMessage) = "ErrorMessage",
        ServerException(ServerException) = "ServerException",
        BadRequest(BadRequestException) = "BadRequestException",
        InvalidCluster(InvalidClusterException) = "InvalidClusterException",
        InvalidInstance(InvalidInstanceException) = "InvalidInstanceException",
        AccessDenied(AccessDeniedException) = "AccessDeniedException",
        InactiveInstance(InactiveInstanceException) = "InactiveInstanceException",
    }
}
