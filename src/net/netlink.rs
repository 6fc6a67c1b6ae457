//! Conversations with the kernel: requests in one datagram, an acknowledgement for each, dumps.
//!
//! A refused request becomes an [`OpError`] that names the act and the object it was made with, and carries the
//! kernel's own words where it gave any (extended acknowledgements).

use super::attr;
use crate::errno::OpError;
use crate::sys::netlink::{Family, Socket};
use std::fmt;
use std::io;

/// Bytes of `struct nlmsghdr`.
pub(crate) const HEADER: usize = 16;
/// Answers come in datagrams of at most 32 KiB.
const BUFFER: usize = 64 * 1024;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
const NLM_F_ACK_TLVS: u16 = 0x200;
const NLMSGERR_ATTR_MSG: u16 = 1;
/// `NLM_F_DUMP`.
const DUMP: u16 = 0x300;
/// `NLM_F_CREATE | NLM_F_EXCL`.
pub(crate) const CREATE_NEW: u16 = 0x600;
/// `NLM_F_CREATE`.
pub(crate) const CREATE: u16 = 0x400;
/// `NLM_F_APPEND`.
pub(crate) const APPEND: u16 = 0x800;

/// One request, and what an error of it is to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Request {
    /// The message's type.
    pub(crate) kind: u16,
    /// Flags besides request and acknowledge.
    pub(crate) flags: u16,
    /// Everything after the header.
    pub(crate) payload: Vec<u8>,
    /// The act, see [`OpError::op`].
    pub(crate) op: &'static str,
    /// The object, see [`OpError::object`].
    pub(crate) object: String,
}

/// An error number together with the kernel's words for it.
#[derive(Debug, thiserror::Error)]
pub(crate) struct Refusal {
    errno: i32,
    words: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (kernel: {})", io::Error::from_raw_os_error(self.errno), self.words)
    }
}

/// The error number of a failed call, whether or not the kernel added words to it.
pub(crate) fn errno(error: &OpError) -> Option<i32> {
    error.errno().or_else(|| error.source.get_ref()?.downcast_ref::<Refusal>().map(|r| r.errno))
}

fn refusal(errno: i32, words: Option<String>) -> io::Error {
    let plain = io::Error::from_raw_os_error(errno);
    match words {
        Some(words) => io::Error::new(plain.kind(), Refusal { errno, words }),
        None => plain,
    }
}

/// A message of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Message<'a> {
    pub(crate) kind: u16,
    pub(crate) seq: u32,
    flags: u16,
    pub(crate) payload: &'a [u8],
}

impl Message<'_> {
    /// What an acknowledgement says: `Ok`, or the error. `None` for other messages and for one cut short.
    fn acknowledgement(&self) -> Option<Result<(), io::Error>> {
        if self.kind != NLMSG_ERROR && self.kind != NLMSG_DONE {
            return None;
        }
        let code = self.payload.get(..4).map(|b| i32::from_ne_bytes([b[0], b[1], b[2], b[3]]));
        match (code, self.kind) {
            (Some(0), _) | (None, NLMSG_DONE) => Some(Ok(())),
            (Some(code), _) => {
                let skip = if self.kind == NLMSG_ERROR { 4 + HEADER } else { 4 };
                let words = (self.flags & NLM_F_ACK_TLVS != 0)
                    .then(|| attr::find(self.payload.get(skip..)?, NLMSGERR_ATTR_MSG)?.text().map(str::to_owned))
                    .flatten();
                Some(Err(refusal(code.saturating_neg(), words)))
            }
            (None, _) => Some(Err(io::ErrorKind::InvalidData.into())),
        }
    }
}

/// Splits a datagram into messages; ends at the first that is cut short.
pub(crate) fn messages(datagram: &[u8]) -> impl Iterator<Item = Message<'_>> {
    let mut rest = datagram;
    std::iter::from_fn(move || {
        let header = rest.get(..HEADER)?;
        let word = |at: usize| u32::from_ne_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        let length = usize::try_from(word(0)).ok()?;
        let message = Message {
            kind: u16::from_ne_bytes([header[4], header[5]]),
            flags: u16::from_ne_bytes([header[6], header[7]]),
            seq: word(8),
            payload: rest.get(HEADER..length)?,
        };
        rest = length.checked_next_multiple_of(4).and_then(|next| rest.get(next..)).unwrap_or(&[]);
        Some(message)
    })
}

/// Appends a message with its header to `out`.
pub(crate) fn push_message(out: &mut Vec<u8>, kind: u16, flags: u16, seq: u32, payload: &[u8]) {
    let length = (HEADER + payload.len()) as u32;
    out.extend_from_slice(&length.to_ne_bytes());
    out.extend_from_slice(&kind.to_ne_bytes());
    out.extend_from_slice(&(flags | NLM_F_REQUEST).to_ne_bytes());
    out.extend_from_slice(&seq.to_ne_bytes());
    out.extend_from_slice(&0u32.to_ne_bytes());
    out.extend_from_slice(payload);
    out.resize(out.len().next_multiple_of(4), 0);
}

/// A socket, and the number of the next request on it.
#[derive(Debug)]
pub(crate) struct Talk {
    socket: Socket,
    seq: u32,
    buffer: Vec<u8>,
}

impl Talk {
    /// Opens a conversation with rtnetlink in the calling thread's network namespace.
    pub(crate) fn route() -> Result<Self, OpError> {
        Self::open(Family::Route, "rtnetlink")
    }

    /// Opens a conversation with netfilter in the calling thread's network namespace.
    pub(crate) fn netfilter() -> Result<Self, OpError> {
        Self::open(Family::Netfilter, "netfilter")
    }

    fn open(family: Family, name: &str) -> Result<Self, OpError> {
        let socket = Socket::open(family).map_err(|e| OpError::new("open netlink socket to", name, e))?;
        Ok(Self { socket, seq: 1, buffer: vec![0; BUFFER] })
    }

    /// Takes `count` consecutive sequence numbers.
    fn take_seqs(&mut self, count: usize) -> u32 {
        let first = self.seq;
        self.seq = self.seq.wrapping_add(count as u32);
        first
    }

    /// Sends `requests` in one datagram and waits until each is answered. The kernel goes on after a refused one, so
    /// later requests may have been carried out; the first error is given.
    pub(crate) fn ask(&mut self, requests: &[Request]) -> Result<(), OpError> {
        match self.ask_each(requests)?.into_iter().find_map(Result::err) {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    /// Like [`Talk::ask`], with an answer for each request in their order.
    pub(crate) fn ask_each(&mut self, requests: &[Request]) -> Result<Vec<Result<(), OpError>>, OpError> {
        let Some(whole) = requests.first() else { return Ok(Vec::new()) };
        let first = self.take_seqs(requests.len());
        let mut datagram = Vec::new();
        for (i, r) in requests.iter().enumerate() {
            push_message(&mut datagram, r.kind, r.flags | NLM_F_ACK, first.wrapping_add(i as u32), &r.payload);
        }
        let failed = |e| OpError::new(whole.op, whole.object.clone(), e);
        self.socket.send(&datagram).map_err(failed)?;
        let mut answers: Vec<Option<Result<(), OpError>>> = requests.iter().map(|_| None).collect();
        while answers.iter().any(Option::is_none) {
            let n = self.socket.receive(&mut self.buffer).map_err(failed)?;
            for message in messages(&self.buffer[..n]) {
                let Some(answer) = message.acknowledgement() else { continue };
                let index = message.seq.wrapping_sub(first) as usize;
                if let (Some(slot), Some(request)) = (answers.get_mut(index), requests.get(index)) {
                    *slot = Some(answer.map_err(|e| OpError::new(request.op, request.object.clone(), e)));
                }
            }
        }
        Ok(answers.into_iter().flatten().collect())
    }

    /// Sends `request` and gives every message of the answer to `each`, as type and payload.
    ///
    /// An answer ends with an acknowledgement, whether it is one object or a dump of all.
    fn answers(&mut self, request: &Request, flags: u16, mut each: impl FnMut(u16, &[u8])) -> Result<(), OpError> {
        let seq = self.take_seqs(1);
        let mut datagram = Vec::new();
        push_message(&mut datagram, request.kind, request.flags | flags, seq, &request.payload);
        let failed = |e| OpError::new(request.op, request.object.clone(), e);
        self.socket.send(&datagram).map_err(failed)?;
        loop {
            let n = self.socket.receive(&mut self.buffer).map_err(failed)?;
            for message in messages(&self.buffer[..n]).filter(|m| m.seq == seq) {
                match message.acknowledgement() {
                    Some(end) => return end.map_err(failed),
                    None => each(message.kind, message.payload),
                }
            }
        }
    }

    /// Asks for one object (or the objects named in the request).
    pub(crate) fn get(&mut self, request: &Request, each: impl FnMut(u16, &[u8])) -> Result<(), OpError> {
        self.answers(request, NLM_F_ACK, each)
    }

    /// Asks for all objects of a kind.
    pub(crate) fn dump(&mut self, request: &Request, each: impl FnMut(u16, &[u8])) -> Result<(), OpError> {
        self.answers(request, DUMP, each)
    }

    /// Sends a netfilter batch: all of `requests` or none. `begin` and `end` are the messages around it.
    pub(crate) fn batch(&mut self, begin: &Request, requests: &[Request], end: &Request) -> Result<(), OpError> {
        let Some(last) = requests.len().checked_sub(1) else { return Ok(()) };
        let first = self.take_seqs(requests.len() + 2);
        let mut datagram = Vec::new();
        push_message(&mut datagram, begin.kind, begin.flags, first, &begin.payload);
        for (i, r) in requests.iter().enumerate() {
            // Errors are sent anyway. One acknowledgement, for the last, says that there were none: kernels before
            // 6.10 give none for the end of a batch.
            let ack = if i == last { NLM_F_ACK } else { 0 };
            push_message(&mut datagram, r.kind, r.flags | ack, first.wrapping_add(1 + i as u32), &r.payload);
        }
        let end_seq = first.wrapping_add(1 + requests.len() as u32);
        push_message(&mut datagram, end.kind, end.flags, end_seq, &end.payload);
        let whole = |e| OpError::new(begin.op, begin.object.clone(), e);
        self.socket.send(&datagram).map_err(whole)?;
        loop {
            let n = self.socket.receive(&mut self.buffer).map_err(whole)?;
            for message in messages(&self.buffer[..n]) {
                let Some(answer) = message.acknowledgement() else { continue };
                let index = message.seq.wrapping_sub(first) as usize;
                match (answer, index.checked_sub(1).and_then(|i| requests.get(i))) {
                    (Err(e), Some(r)) => return Err(OpError::new(r.op, r.object.clone(), e)),
                    (Ok(()), Some(_)) if index == last + 1 => return Ok(()),
                    // The whole batch was refused, before its first message or when it was to be carried out.
                    (Err(e), None) if index == 0 || index == last + 2 => return Err(whole(e)),
                    // An answer to an earlier batch that ended with its first error.
                    _ => {}
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error_message(code: i32, words: Option<&str>) -> Vec<u8> {
        let mut payload = code.to_ne_bytes().to_vec();
        payload.extend_from_slice(&[0; HEADER]);
        if let Some(words) = words {
            payload.extend_from_slice(&attr::Attrs::new().text(NLMSGERR_ATTR_MSG, words).into_bytes());
        }
        let mut out = Vec::new();
        push_message(&mut out, NLMSG_ERROR, if words.is_some() { NLM_F_ACK_TLVS } else { 0 }, 5, &payload);
        out
    }

    #[test]
    fn an_acknowledgement_is_no_error() {
        let bytes = error_message(0, None);
        let message = messages(&bytes).next().unwrap();
        assert!(message.acknowledgement().unwrap().is_ok());
        assert_eq!(message.seq, 5);
    }

    #[test]
    fn a_refusal_carries_the_kernels_words_and_its_number() {
        let bytes = error_message(-libc::EINVAL, Some("Device does not exist"));
        let source = messages(&bytes).next().unwrap().acknowledgement().unwrap().unwrap_err();
        assert_eq!(source.to_string(), "Invalid argument (os error 22) (kernel: Device does not exist)");
        assert_eq!(errno(&OpError::new("add link", "x", source)), Some(libc::EINVAL));
    }

    proptest::proptest! {
        #[test]
        fn foreign_datagrams_never_panic_and_always_end(bytes: Vec<u8>) {
            for message in messages(&bytes) {
                let _ = message.acknowledgement();
            }
        }

        #[test]
        fn foreign_answers_behind_a_true_header_never_panic(kind in 0u16..4, flags: u16, payload: Vec<u8>) {
            let mut bytes = Vec::new();
            push_message(&mut bytes, kind, flags, 1, &payload);
            let message = messages(&bytes).next().unwrap();
            let _ = message.acknowledgement();
        }
    }
}
