//! The envelope of both websockets: a text message `{"type": NAME, "message": {...}}`.

use serde::Deserialize;
use serde_json::Value;

/// Why a websocket message could not be read.
#[derive(Debug)]
pub enum DecodeError {
    /// It is not JSON, or has no `type`.
    Envelope(serde_json::Error),
    /// The body of a known message has another shape. A message id found in it allows a refusal to be sent.
    Body {
        /// The message's name.
        kind: String,
        /// Its `messageId`, where it has one.
        message_id: Option<String>,
        /// What is wrong.
        source: serde_json::Error,
    },
}

impl std::fmt::Display for DecodeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            DecodeError::Envelope(_) => f.write_str("read the envelope of a message"),
            DecodeError::Body { kind, .. } => write!(f, "read the body of a `{kind}`"),
        }
    }
}

impl std::error::Error for DecodeError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            DecodeError::Envelope(source) | DecodeError::Body { source, .. } => Some(source),
        }
    }
}

/// The envelope with its body unread. A missing body is an empty one: the exceptions may come without.
#[derive(Deserialize)]
pub(crate) struct Envelope {
    #[serde(rename = "type")]
    pub(crate) kind: String,
    #[serde(default)]
    pub(crate) message: Value,
}

/// Reads the body of a message.
pub(crate) fn body<T: for<'de> Deserialize<'de>>(kind: &str, message: Value) -> Result<T, DecodeError> {
    let message = if message.is_null() { Value::Object(serde_json::Map::new()) } else { message };
    let message_id = message.get("messageId").and_then(Value::as_str).map(str::to_owned);
    serde_json::from_value(message).map_err(|source| DecodeError::Body { kind: kind.to_owned(), message_id, source })
}

/// Makes the enum of one websocket's messages: `Variant(Body) = "NameOnTheWire"`.
macro_rules! messages {
    ($(#[$doc:meta])* pub enum $name:ident { $($variant:ident($body:ty) = $wire:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq)]
        pub enum $name {
            $(
                #[doc = concat!("`", $wire, "`")]
                $variant($body),
            )*
            /// A message that this release does not know.
            Unknown {
                /// Its name.
                kind: String,
                /// Its body.
                message: serde_json::Value,
            },
        }

        impl $name {
            /// The name on the wire.
            pub fn kind(&self) -> &str {
                match self {
                    $($name::$variant(_) => $wire,)*
                    $name::Unknown { kind, .. } => kind,
                }
            }

            /// Reads one text message.
            pub fn decode(text: &str) -> Result<Self, $crate::DecodeError> {
                let envelope: $crate::frame::Envelope =
                    serde_json::from_str(text).map_err($crate::DecodeError::Envelope)?;
                Ok(match envelope.kind.as_str() {
                    $($wire => $name::$variant($crate::frame::body($wire, envelope.message)?),)*
                    _ => $name::Unknown { kind: envelope.kind, message: envelope.message },
                })
            }

            /// The text message.
            pub fn encode(&self) -> String {
                #[derive(serde::Serialize)]
                struct Frame<'a, T> {
                    #[serde(rename = "type")]
                    kind: &'a str,
                    message: &'a T,
                }
                let kind = self.kind();
                match self {
                    $($name::$variant(message) => serde_json::to_string(&Frame { kind, message }),)*
                    $name::Unknown { message, .. } => serde_json::to_string(&Frame { kind, message }),
                }
                .expect("maps have string keys and nothing in a message fails to serialize")
            }
        }

        $(
            impl From<$body> for $name {
                fn from(body: $body) -> Self {
                    $name::$variant(body)
                }
            }
        )*
    };
}
pub(crate) use messages;
