//! Netlink attributes: written for requests, read from answers.
//!
//! An attribute is a `u16` length (header included), a `u16` type and a value, padded to four bytes; values may be
//! attributes again. Lengths that come from outside are never believed: reading stops where the bytes do.

/// Bytes of an attribute's header.
const HEADER: usize = 4;
/// `NLA_F_NESTED | NLA_F_NET_BYTEORDER`: not part of the type.
const FLAGS: u16 = 0xc000;
/// `NLA_F_NESTED`.
pub(crate) const NESTED: u16 = 0x8000;

/// Writes attributes one after the other.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Attrs {
    bytes: Vec<u8>,
}

impl Attrs {
    /// No attributes yet.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Starts with `header`, the fixed part in front of a message's attributes. Its length is a multiple of four.
    pub(crate) fn after(header: &[u8]) -> Self {
        debug_assert_eq!(header.len() % 4, 0);
        Self { bytes: header.to_vec() }
    }

    /// Appends an attribute of raw bytes.
    ///
    /// A value longer than an attribute can say (65 531 bytes) is a mistake of ours: callers split before.
    pub(crate) fn bytes(mut self, kind: u16, value: &[u8]) -> Self {
        let length = HEADER + value.len();
        debug_assert!(length <= usize::from(u16::MAX));
        self.bytes.extend_from_slice(&(length as u16).to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(value);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        self
    }

    /// Appends a byte.
    #[cfg(test)]
    pub(crate) fn u8(self, kind: u16, value: u8) -> Self {
        self.bytes(kind, &[value])
    }

    /// Appends a number in network byte order, as everything under netfilter is.
    #[cfg(test)]
    pub(crate) fn be16(self, kind: u16, value: u16) -> Self {
        self.bytes(kind, &value.to_be_bytes())
    }

    /// Appends a number in network byte order, as everything under netfilter is.
    pub(crate) fn be32(self, kind: u16, value: u32) -> Self {
        self.bytes(kind, &value.to_be_bytes())
    }

    /// Appends text with the NUL that the kernel wants at its end.
    pub(crate) fn text(self, kind: u16, value: &str) -> Self {
        let mut bytes = Vec::with_capacity(value.len() + 1);
        bytes.extend_from_slice(value.as_bytes());
        bytes.push(0);
        self.bytes(kind, &bytes)
    }

    /// Appends attributes inside an attribute.
    pub(crate) fn nest(self, kind: u16, inner: &Self) -> Self {
        self.bytes(kind | NESTED, &inner.bytes)
    }

    /// What has been written, with the header that [`Attrs::after`] was given.
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Bytes written so far.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }
}

/// One attribute of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Attr<'a> {
    /// Its type, flags taken off.
    pub(crate) kind: u16,
    /// Its value, padding taken off.
    pub(crate) value: &'a [u8],
}

impl<'a> Attr<'a> {
    /// The attributes inside the value.
    pub(crate) fn nested(self) -> AttrIter<'a> {
        attributes(self.value)
    }

    /// The value as text up to its first NUL; `None` when it is not UTF-8.
    pub(crate) fn text(self) -> Option<&'a str> {
        let end = self.value.iter().position(|b| *b == 0).unwrap_or(self.value.len());
        std::str::from_utf8(self.value.get(..end)?).ok()
    }

    /// The value as a number in the machine's byte order, as under rtnetlink.
    pub(crate) fn u32(self) -> Option<u32> {
        Some(u32::from_ne_bytes(self.value.try_into().ok()?))
    }

    /// The value as a number in network byte order, as under netfilter.
    pub(crate) fn be16(self) -> Option<u16> {
        Some(u16::from_be_bytes(self.value.try_into().ok()?))
    }
}

/// Walks the attributes in `bytes`; ends at the first that is cut short or shorter than its header.
pub(crate) fn attributes(bytes: &[u8]) -> AttrIter<'_> {
    AttrIter { rest: bytes }
}

/// The first attribute of type `kind` in `bytes`.
pub(crate) fn find(bytes: &[u8], kind: u16) -> Option<Attr<'_>> {
    attributes(bytes).find(|a| a.kind == kind)
}

/// See [`attributes`].
#[derive(Debug, Clone)]
pub(crate) struct AttrIter<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for AttrIter<'a> {
    type Item = Attr<'a>;

    fn next(&mut self) -> Option<Attr<'a>> {
        let header = self.rest.get(..HEADER)?;
        let length = usize::from(u16::from_ne_bytes([header[0], header[1]]));
        let kind = u16::from_ne_bytes([header[2], header[3]]) & !FLAGS;
        let Some(value) = self.rest.get(HEADER..length) else {
            self.rest = &[];
            return None;
        };
        self.rest = self.rest.get(length.next_multiple_of(4)..).unwrap_or(&[]);
        Some(Attr { kind, value })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_back() {
        let inner = Attrs::new().u8(1, 7).text(2, "berth0");
        let bytes = Attrs::new().be16(5, 8080).nest(6, &inner).into_bytes();
        assert_eq!(find(&bytes, 5).unwrap().be16(), Some(8080));
        let nest = find(&bytes, 6).unwrap();
        assert_eq!(nest.nested().map(|a| a.kind).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(find(nest.value, 2).unwrap().text(), Some("berth0"));
    }

    #[test]
    fn a_length_shorter_than_its_header_or_longer_than_the_bytes_ends_the_walk() {
        for length in [0u16, 1, 3, 9, u16::MAX] {
            let mut bytes = length.to_ne_bytes().to_vec();
            bytes.extend_from_slice(&[1, 0, 0, 0, 0, 0]);
            assert_eq!(attributes(&bytes).count(), 0, "{length}");
        }
    }

    proptest::proptest! {
        #[test]
        fn foreign_bytes_never_panic_and_always_end(bytes: Vec<u8>) {
            let mut values = 0;
            for attr in attributes(&bytes) {
                values += attr.value.len() + HEADER;
                let _ = (attr.text(), attr.u32(), attr.be16(), attr.nested().count());
            }
            proptest::prop_assert!(values <= bytes.len());
        }
    }
}
