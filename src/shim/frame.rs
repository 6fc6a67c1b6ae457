//! Frames of the shim's socket: a `u32` length, little-endian, then that many bytes of a message.
//!
//! The bytes come in pieces of any size; [`Inbox`] gives whole messages. The agent uses it with its own sockets.

use super::protocol::MAX_FRAME;
use crate::codec::{Codec, DecodeError};

/// A frame could not be taken; the connection is of no use any more.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The length is more than either side may send.
    #[error("read frame: {length} bytes, limit {MAX_FRAME}")]
    TooLong {
        /// What the frame's head says.
        length: u32,
    },
    /// The bytes are not a message.
    #[error("read frame")]
    Message {
        /// What does not fit.
        #[source]
        source: DecodeError,
    },
}

/// `message` as a frame.
pub fn frame<T: Codec>(message: &T) -> Vec<u8> {
    let mut bytes = vec![0; 4];
    message.encode(&mut bytes);
    let length = (bytes.len() - 4) as u32;
    bytes[..4].copy_from_slice(&length.to_le_bytes());
    bytes
}

/// Bytes that have come and are not yet a whole message.
#[derive(Debug, Default)]
pub struct Inbox {
    bytes: Vec<u8>,
}

impl Inbox {
    /// Adds bytes as they come.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Takes the next message out, or `None` while it is not whole.
    pub fn take<T: Codec>(&mut self) -> Result<Option<T>, FrameError> {
        let Some((head, rest)) = self.bytes.split_first_chunk::<4>() else { return Ok(None) };
        let length = u32::from_le_bytes(*head);
        if length > MAX_FRAME {
            return Err(FrameError::TooLong { length });
        }
        let Some(body) = rest.get(..length as usize) else { return Ok(None) };
        let message = T::from_bytes(body).map_err(|source| FrameError::Message { source })?;
        self.bytes.drain(..4 + length as usize);
        if self.bytes.is_empty() {
            // A connection that rests keeps nothing.
            self.bytes = Vec::new();
        }
        Ok(Some(message))
    }
}

#[cfg(test)]
mod tests {
    use super::super::protocol::ToShim;
    use super::*;

    #[test]
    fn messages_come_out_whole_however_the_bytes_are_cut() {
        let sent = [
            ToShim::Hello { version: 1 },
            ToShim::Stop { generation: 2, timeout_ms: Some(5), reason: "why".into() },
            ToShim::Collect,
        ];
        let bytes: Vec<u8> = sent.iter().flat_map(frame).collect();
        for size in 1..bytes.len() {
            let (mut inbox, mut got) = (Inbox::default(), Vec::new());
            for piece in bytes.chunks(size) {
                inbox.push(piece);
                while let Some(message) = inbox.take::<ToShim>().unwrap() {
                    got.push(message);
                }
            }
            assert_eq!(got, sent);
        }
    }

    #[test]
    fn a_length_above_the_limit_is_refused_before_it_is_waited_for() {
        let mut inbox = Inbox::default();
        inbox.push(&(MAX_FRAME + 1).to_le_bytes());
        assert_eq!(inbox.take::<ToShim>(), Err(FrameError::TooLong { length: MAX_FRAME + 1 }));
    }

    #[test]
    fn bytes_that_are_no_message_are_refused() {
        let mut inbox = Inbox::default();
        inbox.push(&[1, 0, 0, 0, 99]);
        assert!(matches!(inbox.take::<ToShim>(), Err(FrameError::Message { .. })));
    }
}
