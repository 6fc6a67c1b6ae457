//! Content addresses: `sha256:` and 64 hexadecimal digits.

use sha2::{Digest as _, Sha256};
use std::fmt;
use std::str::FromStr;

/// A text is not a digest that berth can check.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("digest `{value}`: {problem}")]
pub struct InvalidDigest {
    value: String,
    problem: &'static str,
}

/// The SHA-256 of some bytes, written `sha256:HEX`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// The 64 hexadecimal digits, which are a file name.
    pub fn hex(&self) -> String {
        use fmt::Write as _;
        self.0.iter().fold(String::with_capacity(64), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
    }

    /// Reads 64 lower-case hexadecimal digits.
    pub fn from_hex(hex: &str) -> Option<Self> {
        fn digit(b: u8) -> Option<u8> {
            match b {
                b'0'..=b'9' => Some(b - b'0'),
                b'a'..=b'f' => Some(b - b'a' + 10),
                _ => None,
            }
        }
        let mut out = [0; 32];
        if hex.len() != 64 {
            return None;
        }
        for (byte, pair) in out.iter_mut().zip(hex.as_bytes().chunks_exact(2)) {
            *byte = digit(pair[0])? << 4 | digit(pair[1])?;
        }
        Some(Self(out))
    }

    /// The chain id of a layer: the digest of its parent's chain id and its own diff id, or the diff id itself for the
    /// lowest layer (OCI image specification, "Layer ChainID").
    pub fn chain(parent: Option<Self>, diff_id: Self) -> Self {
        parent.map_or(diff_id, |parent| Self::of(format!("{parent} {diff_id}").as_bytes()))
    }
}

impl FromStr for Digest {
    type Err = InvalidDigest;

    fn from_str(value: &str) -> Result<Self, InvalidDigest> {
        let refuse = |problem| InvalidDigest { value: value.chars().take(100).collect(), problem };
        let (algorithm, hex) = value.split_once(':').ok_or_else(|| refuse("has no algorithm"))?;
        if algorithm != "sha256" {
            return Err(refuse("the algorithm is not sha256"));
        }
        Self::from_hex(hex).ok_or_else(|| refuse("is not 64 lower-case hexadecimal digits"))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl serde::Serialize for Digest {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Digest {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(d)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Digests bytes as they come.
#[derive(Debug, Clone, Default)]
pub struct Hasher(Sha256);

impl Hasher {
    /// Adds `bytes`.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest of everything added.
    pub fn finish(self) -> Digest {
        Digest(self.0.finalize().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn a_digest_is_read_back_as_it_was_written() {
        assert_eq!(Digest::of(b"").to_string(), EMPTY);
        assert_eq!(EMPTY.parse(), Ok(Digest::of(b"")));
    }

    #[test]
    fn what_cannot_be_checked_or_could_leave_its_directory_is_refused() {
        for bad in ["", "sha256:", "sha256:../../etc", "sha512:00", &EMPTY.to_uppercase(), &EMPTY[..70]] {
            assert!(bad.parse::<Digest>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn the_chain_id_of_the_lowest_layer_is_its_diff_id() {
        let a = Digest::of(b"a");
        assert_eq!(Digest::chain(None, a), a);
        assert_eq!(Digest::chain(Some(a), a), Digest::of(format!("{a} {a}").as_bytes()));
    }
}
