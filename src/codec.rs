//! The compact binary form of plans, facts in flight and the shim's messages.
//!
//! The shim parses no JSON: a process that once did keeps several times the memory of one that did not. Values are
//! little-endian and fixed in width, text and lists are prefixed by a `u32` length, options by a byte. There is no
//! schema in the bytes: whoever stores or sends them puts a version first, and refuses one it does not know.

use std::path::PathBuf;

/// Bytes did not hold what they should.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The bytes ended inside a value.
    #[error("decode {what}: the bytes end early")]
    Truncated {
        /// The type that was being read.
        what: &'static str,
    },
    /// A value is none of those its type has.
    #[error("decode {what}: no such value {value}")]
    Unknown {
        /// The type that was being read.
        what: &'static str,
        /// What stood there.
        value: u64,
    },
    /// Text is not UTF-8.
    #[error("decode text: not UTF-8")]
    NotUtf8,
    /// Bytes are left after the value.
    #[error("decode: {0} bytes left over")]
    Trailing(usize),
}

/// Takes values off the front of a byte slice.
#[derive(Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Reads from the front of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Takes `n` bytes.
    pub fn take(&mut self, n: usize, what: &'static str) -> Result<&'a [u8], DecodeError> {
        let (head, tail) = self.rest.split_at_checked(n).ok_or(DecodeError::Truncated { what })?;
        self.rest = tail;
        Ok(head)
    }

    /// Succeeds when nothing is left.
    pub fn finish(self) -> Result<(), DecodeError> {
        if self.rest.is_empty() { Ok(()) } else { Err(DecodeError::Trailing(self.rest.len())) }
    }
}

/// A value with a compact binary form.
pub trait Codec: Sized {
    /// Appends the value to `out`.
    fn encode(&self, out: &mut Vec<u8>);
    /// Takes a value off the front of `input`.
    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError>;

    /// The value alone, as bytes.
    fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.encode(&mut out);
        out
    }

    /// Reads a value that fills `bytes`.
    fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut input = Reader::new(bytes);
        let value = Self::decode(&mut input)?;
        input.finish()?;
        Ok(value)
    }
}

macro_rules! integer_codec {
    ($($t:ty),*) => {$(
        impl Codec for $t {
            fn encode(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_le_bytes());
            }
            fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
                let mut bytes = [0; size_of::<$t>()];
                bytes.copy_from_slice(input.take(size_of::<$t>(), stringify!($t))?);
                Ok(<$t>::from_le_bytes(bytes))
            }
        }
    )*};
}
integer_codec!(u8, u16, u32, u64, i32, i64);

impl Codec for bool {
    fn encode(&self, out: &mut Vec<u8>) {
        out.push(u8::from(*self));
    }
    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match u8::decode(input)? {
            0 => Ok(false),
            1 => Ok(true),
            value => Err(DecodeError::Unknown { what: "bool", value: value.into() }),
        }
    }
}

impl Codec for String {
    fn encode(&self, out: &mut Vec<u8>) {
        (self.len() as u32).encode(out);
        out.extend_from_slice(self.as_bytes());
    }
    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let len = u32::decode(input)? as usize;
        let bytes = input.take(len, "text")?;
        std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| DecodeError::NotUtf8)
    }
}

/// Paths that berth puts into plans are its own and so UTF-8; other bytes are replaced.
impl Codec for PathBuf {
    fn encode(&self, out: &mut Vec<u8>) {
        self.to_string_lossy().into_owned().encode(out);
    }
    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(String::decode(input)?.into())
    }
}

impl<T: Codec> Codec for Option<T> {
    fn encode(&self, out: &mut Vec<u8>) {
        self.is_some().encode(out);
        if let Some(value) = self {
            value.encode(out);
        }
    }
    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(if bool::decode(input)? { Some(T::decode(input)?) } else { None })
    }
}

impl<T: Codec> Codec for Vec<T> {
    fn encode(&self, out: &mut Vec<u8>) {
        (self.len() as u32).encode(out);
        for value in self {
            value.encode(out);
        }
    }
    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let len = u32::decode(input)? as usize;
        // The length is foreign: grow as values arrive, never by its word.
        let mut values = Self::with_capacity(len.min(64));
        for _ in 0..len {
            values.push(T::decode(input)?);
        }
        Ok(values)
    }
}

impl<A: Codec, B: Codec> Codec for (A, B) {
    fn encode(&self, out: &mut Vec<u8>) {
        self.0.encode(out);
        self.1.encode(out);
    }
    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok((A::decode(input)?, B::decode(input)?))
    }
}

impl Codec for std::net::IpAddr {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::V4(a) => {
                out.push(4);
                out.extend_from_slice(&a.octets());
            }
            Self::V6(a) => {
                out.push(6);
                out.extend_from_slice(&a.octets());
            }
        }
    }
    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match u8::decode(input)? {
            4 => {
                let mut o = [0; 4];
                o.copy_from_slice(input.take(4, "IPv4 address")?);
                Ok(Self::from(o))
            }
            6 => {
                let mut o = [0; 16];
                o.copy_from_slice(input.take(16, "IPv6 address")?);
                Ok(Self::from(o))
            }
            value => Err(DecodeError::Unknown { what: "address family", value: value.into() }),
        }
    }
}

/// Gives a struct its binary form: its fields in the order they are named.
#[macro_export]
macro_rules! struct_codec {
    ($name:ident { $($field:ident),* $(,)? }) => {
        impl $crate::codec::Codec for $name {
            fn encode(&self, out: &mut Vec<u8>) {
                $( $crate::codec::Codec::encode(&self.$field, out); )*
                let _ = out;
            }
            fn decode(input: &mut $crate::codec::Reader<'_>) -> Result<Self, $crate::codec::DecodeError> {
                let _ = &input;
                $( let $field = $crate::codec::Codec::decode(input)?; )*
                Ok(Self { $($field),* })
            }
        }
    };
}

/// Gives an enum its binary form: a tag byte, then the fields of the variant.
#[macro_export]
macro_rules! enum_codec {
    ($name:ident { $( $tag:literal => $variant:ident $( { $($field:ident),* $(,)? } )? ),* $(,)? }) => {
        impl $crate::codec::Codec for $name {
            fn encode(&self, out: &mut Vec<u8>) {
                match self {
                    $( Self::$variant $( { $($field),* } )? => {
                        out.push($tag);
                        $( $( $crate::codec::Codec::encode($field, out); )* )?
                    } )*
                }
            }
            fn decode(input: &mut $crate::codec::Reader<'_>) -> Result<Self, $crate::codec::DecodeError> {
                let tag = <u8 as $crate::codec::Codec>::decode(input)?;
                match tag {
                    $( $tag => {
                        $( $( let $field = $crate::codec::Codec::decode(input)?; )* )?
                        Ok(Self::$variant $( { $($field),* } )?)
                    } )*
                    value => Err($crate::codec::DecodeError::Unknown { what: stringify!($name), value: value.into() }),
                }
            }
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_back_as_they_went() {
        let value = vec![(7u64, Some("héllo".to_owned())), (0, None)];
        assert_eq!(Vec::<(u64, Option<String>)>::from_bytes(&value.to_bytes()).unwrap(), value);
    }

    #[test]
    fn a_length_longer_than_the_bytes_is_refused_without_allocating_it() {
        let bytes = u32::MAX.to_bytes();
        assert_eq!(Vec::<u64>::from_bytes(&bytes), Err(DecodeError::Truncated { what: "u64" }));
        assert_eq!(String::from_bytes(&bytes), Err(DecodeError::Truncated { what: "text" }));
    }

    #[test]
    fn bytes_left_over_are_an_error() {
        assert_eq!(u8::from_bytes(&[1, 2]), Err(DecodeError::Trailing(1)));
    }
}
