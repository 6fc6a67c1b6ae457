//! Messages of the D-Bus protocol, version 1: those that systemd's manager is told and that it answers. Pure.
//!
//! Written little-endian; read in the order that the sender has marked. Every value is aligned to its size, counted from
//! the beginning of the message, and padded with zeros. What is read comes from another process: lengths are checked
//! before they are used, and nothing is taken on trust.

use std::fmt;

/// The longest message that the protocol allows.
const MAX_MESSAGE: usize = 128 << 20;
/// The part of a message whose size is known: two lengths are in it.
pub const FIXED: usize = 16;

const PATH: u8 = 1;
const INTERFACE: u8 = 2;
const MEMBER: u8 = 3;
const ERROR_NAME: u8 = 4;
const REPLY_SERIAL: u8 = 5;
const DESTINATION: u8 = 6;
const SENDER: u8 = 7;
const SIGNATURE: u8 = 8;

/// A value of one of the types that properties of units have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// `s`
    Text(String),
    /// `b`
    Bool(bool),
    /// `i`
    I32(i32),
    /// `u`
    U32(u32),
    /// `t`
    U64(u64),
    /// `as`
    Texts(Vec<String>),
    /// `au`
    U32s(Vec<u32>),
    /// `ay`
    Bytes(Vec<u8>),
    /// `a(ss)`
    Pairs(Vec<(String, String)>),
}

impl Value {
    fn signature(&self) -> &'static str {
        match self {
            Self::Text(_) => "s",
            Self::Bool(_) => "b",
            Self::I32(_) => "i",
            Self::U32(_) => "u",
            Self::U64(_) => "t",
            Self::Texts(_) => "as",
            Self::U32s(_) => "au",
            Self::Bytes(_) => "ay",
            Self::Pairs(_) => "a(ss)",
        }
    }
}

/// A name and a value, as units have them.
pub type Property = (String, Value);

/// Writes values one after the other.
#[derive(Debug, Default)]
pub struct Body {
    bytes: Vec<u8>,
    signature: String,
}

impl Body {
    /// Adds text, of type `s`.
    pub fn text(mut self, text: &str) -> Self {
        self.signature.push('s');
        put_text(&mut self.bytes, text);
        self
    }

    /// Adds a truth, of type `b`.
    pub fn bool(mut self, value: bool) -> Self {
        self.signature.push('b');
        put_u32(&mut self.bytes, value.into());
        self
    }

    /// Adds properties, of type `a(sv)`.
    pub fn properties(mut self, properties: &[Property]) -> Self {
        self.signature.push_str("a(sv)");
        put_array(&mut self.bytes, 8, properties, |out, (name, value)| {
            align(out, 8);
            put_text(out, name);
            put_signature(out, value.signature());
            put_value(out, value);
        });
        self
    }

    /// Adds an empty list of further units, of type `a(sa(sv))`.
    pub fn no_units(mut self) -> Self {
        self.signature.push_str("a(sa(sv))");
        put_array(&mut self.bytes, 8, &[(); 0], |_, ()| {});
        self
    }
}

/// Where a call goes.
#[derive(Debug, Clone, Copy)]
pub struct Target<'a> {
    /// The name of whom it is for; nobody else is at the other end where it is `None`.
    pub destination: Option<&'a str>,
    /// Its object.
    pub path: &'a str,
    /// The object's interface.
    pub interface: &'a str,
}

/// A call as bytes.
pub fn call(serial: u32, target: &Target<'_>, member: &str, body: &Body) -> Vec<u8> {
    // Little-endian, a call, without flags, of version 1.
    let mut out = vec![b'l', 1, 0, 1];
    put_u32(&mut out, body.bytes.len() as u32);
    put_u32(&mut out, serial);
    let texts = [
        (PATH, "o", Some(target.path)),
        (INTERFACE, "s", Some(target.interface)),
        (MEMBER, "s", Some(member)),
        (DESTINATION, "s", target.destination),
    ];
    let given: Vec<_> = texts.into_iter().filter_map(|(code, kind, text)| Some((code, kind, text?))).collect();
    let signature = (!body.signature.is_empty()).then_some((SIGNATURE, "g", body.signature.as_str()));
    let fields: Vec<_> = given.into_iter().chain(signature).collect();
    put_array(&mut out, 8, &fields, |out, (code, kind, text)| {
        align(out, 8);
        out.push(*code);
        put_signature(out, kind);
        if *kind == "g" { put_signature(out, text) } else { put_text(out, text) }
    });
    align(&mut out, 8);
    out.extend_from_slice(&body.bytes);
    out
}

fn align(out: &mut Vec<u8>, to: usize) {
    out.resize(out.len().next_multiple_of(to), 0);
}

fn put_u32(out: &mut Vec<u8>, n: u32) {
    align(out, 4);
    out.extend_from_slice(&n.to_le_bytes());
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    put_u32(out, text.len() as u32);
    out.extend_from_slice(text.as_bytes());
    out.push(0);
}

fn put_signature(out: &mut Vec<u8>, signature: &str) {
    out.push(signature.len() as u8);
    out.extend_from_slice(signature.as_bytes());
    out.push(0);
}

/// The length of an array does not count the padding before its first element.
fn put_array<T>(out: &mut Vec<u8>, alignment: usize, items: &[T], mut put: impl FnMut(&mut Vec<u8>, &T)) {
    put_u32(out, 0);
    let length = out.len() - 4;
    align(out, alignment);
    let start = out.len();
    items.iter().for_each(|item| put(out, item));
    let bytes = (out.len() - start) as u32;
    out[length..length + 4].copy_from_slice(&bytes.to_le_bytes());
}

fn put_value(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Text(text) => put_text(out, text),
        Value::Bool(value) => put_u32(out, (*value).into()),
        Value::I32(n) => {
            align(out, 4);
            out.extend_from_slice(&n.to_le_bytes());
        }
        Value::U32(n) => put_u32(out, *n),
        Value::U64(n) => {
            align(out, 8);
            out.extend_from_slice(&n.to_le_bytes());
        }
        Value::Texts(texts) => put_array(out, 4, texts, |out, text| put_text(out, text)),
        Value::U32s(numbers) => put_array(out, 4, numbers, |out, n| put_u32(out, *n)),
        Value::Bytes(bytes) => put_array(out, 1, bytes, |out, byte| out.push(*byte)),
        Value::Pairs(pairs) => put_array(out, 8, pairs, |out, (first, second)| {
            align(out, 8);
            put_text(out, first);
            put_text(out, second);
        }),
    }
}

/// Bytes that are no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed(&'static str);

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no message of D-Bus: {}", self.0)
    }
}

impl std::error::Error for Malformed {}

/// A message that came in, as far as anybody here wants to know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// The answer to the call of that number: its texts and object paths, in their order.
    Reply(u32, Vec<String>),
    /// The call of that number failed: name of the error, and what the other end says of it.
    Error(u32, String, String),
    /// A signal: who on the bus sent it, its name, its texts and object paths.
    Signal(String, String, Vec<String>),
    /// A call, of something that nobody here has.
    Call,
}

/// How long the message is that begins with these [`FIXED`] bytes.
pub fn length(fixed: &[u8]) -> Result<usize, Malformed> {
    let mut reader = Reader::new(fixed)?;
    reader.at = 4;
    let body = reader.u32()? as usize;
    reader.at = 12;
    let fields = reader.u32()? as usize;
    let whole = (FIXED + fields.min(MAX_MESSAGE)).next_multiple_of(8) + body.min(MAX_MESSAGE);
    if whole > MAX_MESSAGE || fields > MAX_MESSAGE { Err(Malformed("it is too long")) } else { Ok(whole) }
}

/// Reads a whole message.
pub fn parse(bytes: &[u8]) -> Result<Message, Malformed> {
    let mut reader = Reader::new(bytes)?;
    let kind = bytes[1];
    if bytes[3] != 1 {
        return Err(Malformed("it is of another version"));
    }
    reader.at = 12;
    let (mut signature, mut member, mut error, mut reply) = (String::new(), String::new(), String::new(), 0);
    let mut sender = String::new();
    let end = reader.u32()? as usize + FIXED;
    while reader.at < end {
        reader.align(8)?;
        let code = reader.byte()?;
        match (code, reader.signature()?.as_str()) {
            (SIGNATURE, "g") => signature = reader.signature()?,
            (MEMBER, "s") => member = reader.text()?,
            (SENDER, "s") => sender = reader.text()?,
            (ERROR_NAME, "s") => error = reader.text()?,
            (REPLY_SERIAL, "u") => reply = reader.u32()?,
            (_, "s" | "o") => drop(reader.text()?),
            (_, "g") => drop(reader.signature()?),
            (_, "u") => drop(reader.u32()?),
            _ => return Err(Malformed("a field of its header has a type that it cannot have")),
        }
    }
    if reader.at != end {
        return Err(Malformed("a field of its header is longer than the header"));
    }
    reader.align(8)?;
    Ok(match kind {
        1 => Message::Call,
        2 => Message::Reply(reply, reader.texts(&signature)?),
        3 => Message::Error(reply, error, reader.texts(&signature)?.into_iter().next().unwrap_or_default()),
        4 => Message::Signal(sender, member, reader.texts(&signature)?),
        _ => return Err(Malformed("it is of an unknown kind")),
    })
}

struct Reader<'a> {
    bytes: &'a [u8],
    big_endian: bool,
    at: usize,
}

impl<'a> Reader<'a> {
    fn new(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let big_endian = match bytes.first() {
            Some(b'l') => false,
            Some(b'B') => true,
            _ => return Err(Malformed("it does not say its byte order")),
        };
        if bytes.len() < FIXED {
            return Err(Malformed("it ends in its header"));
        }
        Ok(Self { bytes, big_endian, at: 0 })
    }

    fn take(&mut self, n: usize) -> Result<&'a [u8], Malformed> {
        let end = self.at.checked_add(n).filter(|end| *end <= self.bytes.len());
        let taken = &self.bytes[self.at..end.ok_or(Malformed("it ends inside a value"))?];
        self.at += n;
        Ok(taken)
    }

    fn align(&mut self, to: usize) -> Result<(), Malformed> {
        self.take(self.at.next_multiple_of(to) - self.at).map(drop)
    }

    fn byte(&mut self) -> Result<u8, Malformed> {
        Ok(self.take(1)?[0])
    }

    fn u32(&mut self) -> Result<u32, Malformed> {
        self.align(4)?;
        let bytes = self.take(4)?.try_into().expect("four bytes were taken");
        Ok(if self.big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) })
    }

    fn ended(&mut self, n: usize) -> Result<String, Malformed> {
        let text = self.take(n)?;
        if self.byte()? != 0 {
            return Err(Malformed("text does not end where it should"));
        }
        String::from_utf8(text.to_vec()).map_err(|_| Malformed("text is not UTF-8"))
    }

    fn text(&mut self) -> Result<String, Malformed> {
        let n = self.u32()? as usize;
        self.ended(n)
    }

    fn signature(&mut self) -> Result<String, Malformed> {
        let n = self.byte()?.into();
        self.ended(n)
    }

    /// The texts of a body, as far as its types are plain; what comes after others nobody here needs.
    fn texts(&mut self, signature: &str) -> Result<Vec<String>, Malformed> {
        let mut texts = Vec::new();
        for kind in signature.chars() {
            match kind {
                's' | 'o' => texts.push(self.text()?),
                'u' | 'i' | 'b' => drop(self.u32()?),
                _ => break,
            }
        }
        Ok(texts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TARGET: Target<'_> = Target { destination: None, path: "/o", interface: "a.b" };

    /// An answer as the other end writes it.
    fn incoming(kind: u8, fields: &[(u8, &str, &str)], reply: u32, signature: &str, texts: &[&str]) -> Vec<u8> {
        let mut body = Vec::new();
        for text in texts {
            put_text(&mut body, text);
        }
        let mut out = vec![b'l', kind, 0, 1];
        put_u32(&mut out, body.len() as u32);
        put_u32(&mut out, 9);
        let mut all: Vec<(u8, &str, &str)> = fields.to_vec();
        all.push((REPLY_SERIAL, "u", ""));
        all.push((SIGNATURE, "g", signature));
        put_array(&mut out, 8, &all, |out, (code, kind, text)| {
            align(out, 8);
            out.push(*code);
            put_signature(out, kind);
            match *kind {
                "g" => put_signature(out, text),
                "u" => put_u32(out, reply),
                _ => put_text(out, text),
            }
        });
        align(&mut out, 8);
        out.extend(body);
        out
    }

    #[test]
    fn a_call_is_written_as_the_protocol_says() {
        let bytes = call(1, &TARGET, "M", &Body::default().text("x"));
        #[rustfmt::skip]
        let expected = [
            b'l', 1, 0, 1, 6, 0, 0, 0, 1, 0, 0, 0, 0x37, 0, 0, 0,
            1, 1, b'o', 0, 2, 0, 0, 0, b'/', b'o', 0, 0, 0, 0, 0, 0,
            2, 1, b's', 0, 3, 0, 0, 0, b'a', b'.', b'b', 0, 0, 0, 0, 0,
            3, 1, b's', 0, 1, 0, 0, 0, b'M', 0, 0, 0, 0, 0, 0, 0,
            8, 1, b'g', 0, 1, b's', 0, 0,
            1, 0, 0, 0, b'x', 0,
        ];
        assert_eq!(bytes, expected);
        assert_eq!(length(&bytes[..FIXED]), Ok(bytes.len()));
        assert_eq!(parse(&bytes), Ok(Message::Call));
    }

    #[test]
    fn properties_are_aligned_whatever_comes_before() {
        let properties = [
            ("B".to_owned(), Value::Bool(true)),
            ("Us".to_owned(), Value::U32s(vec![7])),
            ("Max".to_owned(), Value::U64(u64::MAX)),
            ("I".to_owned(), Value::I32(-2)),
        ];
        let body = Body::default().properties(&properties);
        #[rustfmt::skip]
        let expected = [
            0x50, 0, 0, 0, 0, 0, 0, 0,
            1, 0, 0, 0, b'B', 0, 1, b'b', 0, 0, 0, 0, 1, 0, 0, 0,
            2, 0, 0, 0, b'U', b's', 0, 2, b'a', b'u', 0, 0, 4, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0,
            3, 0, 0, 0, b'M', b'a', b'x', 0, 1, b't', 0, 0, 0, 0, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255,
            1, 0, 0, 0, b'I', 0, 1, b'i', 0, 0, 0, 0, 254, 255, 255, 255,
        ];
        assert_eq!(body.bytes[..24], expected[..24]);
        assert_eq!((body.signature.as_str(), &body.bytes[24..]), ("a(sv)", &expected[24..]));
    }

    #[test]
    fn answers_errors_and_signals_are_told_apart() {
        let reply = incoming(2, &[], 7, "o", &["/org/job/1"]);
        assert_eq!(parse(&reply), Ok(Message::Reply(7, vec!["/org/job/1".into()])));
        let error = incoming(3, &[(ERROR_NAME, "s", "org.NoSuchUnit")], 7, "s", &["it is not there"]);
        let expected = Message::Error(7, "org.NoSuchUnit".into(), "it is not there".into());
        assert_eq!(parse(&error), Ok(expected));
        let header = [(MEMBER, "s", "JobRemoved"), (PATH, "o", "/x"), (SENDER, "s", ":1.7")];
        let signal = incoming(4, &header, 0, "oss", &["/j", "u.scope", "done"]);
        let texts = ["/j", "u.scope", "done"].map(str::to_owned).to_vec();
        assert_eq!(parse(&signal), Ok(Message::Signal(":1.7".into(), "JobRemoved".into(), texts)));
    }

    #[test]
    fn a_length_that_cannot_be_is_refused_before_it_is_used() {
        let mut bytes = call(1, &TARGET, "M", &Body::default());
        bytes[4..8].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(length(&bytes[..FIXED]), Err(Malformed("it is too long")));
        assert!(length(&bytes[..3]).is_err() && length(b"x").is_err() && length(b"").is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_are_read_past_their_end(mut bytes in proptest::collection::vec(any::<u8>(), 0..200), little: bool) {
            if let Some(first) = bytes.first_mut() {
                *first = if little { b'l' } else { b'B' };
            }
            let _ = length(&bytes);
            let _ = parse(&bytes);
        }

        #[test]
        fn a_damaged_message_is_another_or_none(at in 0usize..120, byte: u8) {
            let mut bytes = incoming(4, &[(MEMBER, "s", "JobRemoved")], 0, "oss", &["/j", "u.scope", "done"]);
            if let Some(b) = bytes.get_mut(at) {
                *b = byte;
            }
            let _ = parse(&bytes);
        }

        #[test]
        fn what_was_written_is_read(serial: u32, texts in proptest::collection::vec("[a-z/]{0,20}", 0..5)) {
            let signature = "s".repeat(texts.len());
            let words: Vec<&str> = texts.iter().map(String::as_str).collect();
            let bytes = incoming(2, &[], serial, &signature, &words);
            prop_assert_eq!(length(&bytes[..FIXED]), Ok(bytes.len()));
            prop_assert_eq!(parse(&bytes), Ok(Message::Reply(serial, texts)));
        }
    }
}
