//! Names of images: `[REGISTRY/]REPOSITORY[:TAG][@DIGEST]`.
//!
//! The rules that every user knows by heart are those of Docker: a first part without a dot, a colon and other than
//! `localhost` is not a registry, so the name belongs to the default one; a name of one part there belongs to `library/`;
//! no tag and no digest means `latest`. A digest wins over a tag: it says which bytes, the tag is only kept for people.

use super::digest::Digest;
use std::fmt;
use std::str::FromStr;

/// The registry of names that do not name one.
pub const DEFAULT_REGISTRY: &str = "docker.io";

/// A text is not the name of an image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("image name `{value}`: {problem}")]
pub struct InvalidReference {
    value: String,
    problem: &'static str,
}

/// The full name of an image. Two names of the same image compare equal.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reference {
    registry: String,
    repository: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

impl Reference {
    /// Host and, where given, port.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The path below the registry, such as `library/busybox`.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The tag; `None` only where a digest stands instead.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest of the manifest or index, where the name has one.
    pub fn digest(&self) -> Option<Digest> {
        self.digest
    }

    /// What a registry is asked for: the digest where there is one, else the tag.
    pub fn target(&self) -> String {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => digest.to_string(),
            (None, Some(tag)) => tag.clone(),
            (None, None) => "latest".into(),
        }
    }

    /// The name as people write it: without the default registry and its `library/`.
    pub fn familiar(&self) -> String {
        let full = self.to_string();
        let Some(rest) = full.strip_prefix(DEFAULT_REGISTRY).and_then(|r| r.strip_prefix('/')) else { return full };
        rest.strip_prefix("library/").unwrap_or(rest).to_owned()
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

impl FromStr for Reference {
    type Err = InvalidReference;

    fn from_str(value: &str) -> Result<Self, InvalidReference> {
        let refuse = |problem| InvalidReference { value: value.chars().take(120).collect(), problem };
        if value.is_empty() {
            return Err(refuse("is empty"));
        }
        let (name, digest) = match value.split_once('@') {
            Some((name, digest)) => {
                let digest = digest.parse().map_err(|_| refuse("the part after `@` is no sha256 digest"))?;
                (name, Some(digest))
            }
            None => (value, None),
        };
        // A colon after the last slash begins a tag, one before it a port.
        let (name, tag) = match name.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
            _ => (name, None),
        };
        if tag.is_some_and(|tag| !is_tag(tag)) {
            return Err(refuse("the tag is not 1 to 128 letters, digits, `_`, `.` and `-`"));
        }
        let (registry, repository) = match name.split_once('/') {
            Some((first, rest)) if first == "localhost" || first.contains(['.', ':']) => (first, rest),
            _ => (DEFAULT_REGISTRY, name),
        };
        if !is_registry(registry) {
            return Err(refuse("the registry is not HOST or HOST:PORT"));
        }
        if repository.chars().any(|c| c.is_ascii_uppercase()) {
            return Err(refuse("the repository has upper-case letters"));
        }
        if !repository.split('/').all(is_component) {
            return Err(refuse("the repository is not made of lower-case letters, digits, `.`, `_`, `-` and `/`"));
        }
        // The registry answers to several names; one image must have one.
        let registry = if registry == "index.docker.io" { DEFAULT_REGISTRY } else { registry };
        let repository = match registry {
            DEFAULT_REGISTRY if !repository.contains('/') => format!("library/{repository}"),
            _ => repository.to_owned(),
        };
        // As it will be asked for: a name that is taken must be taken again from a record.
        if repository.len() > 255 {
            return Err(refuse("the repository is longer than 255 characters"));
        }
        let tag = tag.map(str::to_owned).or_else(|| digest.is_none().then(|| "latest".into()));
        Ok(Self { registry: registry.to_owned(), repository, tag, digest })
    }
}

fn is_tag(tag: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    (1..=128).contains(&tag.len())
        && tag.bytes().all(|b| word(b) || b == b'.' || b == b'-')
        && tag.bytes().next().is_some_and(word)
}

fn is_component(part: &str) -> bool {
    let letter = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    !part.is_empty()
        && part.bytes().all(|b| letter(b) || matches!(b, b'.' | b'_' | b'-'))
        && part.bytes().next().is_some_and(letter)
        && part.bytes().last().is_some_and(letter)
        && !part.contains("..")
}

fn is_registry(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, rest)) => {
            if address.parse::<std::net::Ipv6Addr>().is_err() {
                return false;
            }
            match rest.strip_prefix(':') {
                Some(port) => ("v6", Some(port)),
                None if rest.is_empty() => ("v6", None),
                None => return false,
            }
        }
        None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
    };
    !host.is_empty()
        && host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
        && !host.starts_with(['.', '-'])
        && port.is_none_or(|port| port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|p| p != 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full(name: &str) -> String {
        name.parse::<Reference>().unwrap().to_string()
    }

    #[test]
    fn short_names_get_registry_library_and_tag() {
        assert_eq!(full("busybox"), "docker.io/library/busybox:latest");
        assert_eq!(full("busybox:1.36"), "docker.io/library/busybox:1.36");
        assert_eq!(full("someone/app"), "docker.io/someone/app:latest");
        assert_eq!(full("index.docker.io/busybox"), "docker.io/library/busybox:latest");
        assert_eq!(full("docker.io/library/busybox:1"), "docker.io/library/busybox:1");
    }

    #[test]
    fn a_first_part_with_a_dot_or_a_port_is_a_registry() {
        assert_eq!(full("localhost/app"), "localhost/app:latest");
        assert_eq!(full("localhost:5000/a/b:v1"), "localhost:5000/a/b:v1");
        assert_eq!(full("127.0.0.1:5000/app"), "127.0.0.1:5000/app:latest");
        assert_eq!(full("[::1]:5000/app"), "[::1]:5000/app:latest");
        assert_eq!(full("registry.example/a"), "registry.example/a:latest");
    }

    #[test]
    fn a_digest_needs_no_tag_and_wins_over_one() {
        let digest = Digest::of(b"x");
        let name: Reference = format!("app@{digest}").parse().unwrap();
        assert_eq!((name.tag(), name.target()), (None, digest.to_string()));
        let name: Reference = format!("host:1/app:v1@{digest}").parse().unwrap();
        assert_eq!((name.tag(), name.target()), (Some("v1"), digest.to_string()));
        assert_eq!(full(&name.to_string()), name.to_string());
    }

    #[test]
    fn familiar_names_are_short() {
        assert_eq!("busybox".parse::<Reference>().unwrap().familiar(), "busybox:latest");
        assert_eq!("a/b:1".parse::<Reference>().unwrap().familiar(), "a/b:1");
        assert_eq!("h:5/b:1".parse::<Reference>().unwrap().familiar(), "h:5/b:1");
    }

    #[test]
    fn names_that_are_none_are_refused_with_their_reason() {
        for bad in [
            "",
            "/",
            "a/",
            "/a",
            "a//b",
            "UPPER",
            "a:",
            "a:b c",
            "a@sha256:0",
            "../a",
            "a/..",
            "h:0/a",
            "h:99999/a",
            "[::1/a",
            "[x]:5/a",
            "http://h/a",
            "a:-t",
            "-a",
            "h:5/a?x=y",
            "a b",
        ] {
            assert!(bad.parse::<Reference>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_name_that_grows_too_long_is_refused() {
        assert!("a".repeat(247).parse::<Reference>().is_ok());
        assert!("a".repeat(248).parse::<Reference>().is_err());
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_refused_or_stands_for_itself(text in "[a-zA-Z0-9@:/._\\-\\[\\] ]{0,60}") {
            if let Ok(name) = text.parse::<Reference>() {
                let again: Reference = name.to_string().parse().unwrap();
                assert_eq!(again, name);
                assert_eq!(name.familiar().parse::<Reference>().unwrap(), name);
            }
        }
    }
}
