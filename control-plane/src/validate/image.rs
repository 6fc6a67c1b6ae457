//! The syntax of an image's name: `[HOST[:PORT]/]PATH[:TAG][@DIGEST]`.

/// What is wrong with `reference`.
pub(super) fn check(reference: &str) -> Result<(), &'static str> {
    let (name, digest) = match reference.split_once('@') {
        Some((name, digest)) => (name, Some(digest)),
        None => (reference, None),
    };
    if let Some(digest) = digest {
        let hex = digest.strip_prefix("sha256:").ok_or("the digest after `@` must begin with `sha256:`")?;
        if hex.len() != 64 || !hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Err("the digest after `@sha256:` must be 64 lowercase hexadecimal digits");
        }
    }
    // A colon before the last slash belongs to a port.
    let path_start = name.rfind('/').map_or(0, |slash| slash + 1);
    let (path, tag) = match name[path_start..].split_once(':') {
        Some((_, tag)) => (&name[..name.len() - tag.len() - 1], Some(tag)),
        None => (name, None),
    };
    if tag.is_some_and(|tag| !is_tag(tag)) {
        return Err(
            "the tag after `:` must be at most 128 letters, digits, `_`, `.` and `-`, and begin with none of the last two",
        );
    }
    let path = match path.split_once('/') {
        Some((host, path)) if is_registry(host) => {
            if !is_host(host) {
                return Err("the registry's address is not a host name with an optional port");
            }
            path
        }
        _ => path,
    };
    if path.is_empty() || !path.split('/').all(is_component) {
        return Err(
            "the repository must be lowercase letters and digits, in parts separated by `/`, with `.`, `_`, `__` or `-` inside a part",
        );
    }
    Ok(())
}

/// The first part of a name is a registry's address when it could not be part of a path on the default one.
fn is_registry(part: &str) -> bool {
    part == "localhost" || part.contains(['.', ':']) || part.bytes().any(|b| b.is_ascii_uppercase())
}

fn is_host(host: &str) -> bool {
    let (name, port) = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, rest)) => {
            if address.parse::<std::net::Ipv6Addr>().is_err() {
                return false;
            }
            match rest.strip_prefix(':') {
                Some(port) => ("v6", Some(port)),
                None => return rest.is_empty(),
            }
        }
        None => host.split_once(':').map_or((host, None), |(name, port)| (name, Some(port))),
    };
    let label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    name.split('.').all(label) && port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0))
}

fn is_tag(tag: &str) -> bool {
    (1..=128).contains(&tag.len())
        && !tag.starts_with(['.', '-'])
        && tag.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
}

/// Lowercase letters and digits with separators inside: one dot, one or two underscores, any number of hyphens.
fn is_component(part: &str) -> bool {
    let is_word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = part.as_bytes();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else { return false };
    if !is_word(*first) || !is_word(*last) {
        return false;
    }
    bytes
        .split(|b| is_word(*b))
        .all(|separator| matches!(separator, [] | b"." | b"_" | b"__") || separator.iter().all(|b| *b == b'-'))
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn names_that_registries_take_are_taken() {
        let digest = format!("busybox@sha256:{}", "0".repeat(64));
        for name in [
            "busybox",
            "nginx:1.27",
            "library/nginx",
            "127.0.0.1:5000/a/b:c",
            "localhost/x",
            "registry.example/a__b/c-d.e:V1_2",
            "public.ecr.aws/docker/library/busybox:latest",
            "[::1]:5000/x",
            "[::1]/x",
            &digest,
        ] {
            assert_eq!(check(name), Ok(()), "{name}");
        }
    }

    #[test]
    fn names_that_no_registry_has_are_refused() {
        for name in [
            "Busybox",
            "busybox:",
            "busybox:-x",
            "a//b",
            "/a",
            "a/",
            "a..b",
            "a___b",
            "-a",
            "busybox@sha256:12",
            "busybox@md5:12",
            "host.example:99999/x",
            "host.example:/x",
            "a b",
            "busybox:x y",
            ":5000/x",
            "",
            "é",
            "[::zz]/x",
        ] {
            assert!(check(name).is_err(), "{name}");
        }
    }
}
