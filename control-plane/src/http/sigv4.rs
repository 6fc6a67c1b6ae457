//! Checks Signature Version 4: the request is put into its canonical form again, signed with our secret, and compared.
//!
//! The region in a signature may be any: clients take theirs from their own configuration. The service must be `ecs`.

use crate::credentials::Credentials;
use crate::error::{ApiError, Code};
use aws_sigv4::sign::v4::{calculate_signature, generate_signing_key};
use axum::http::{HeaderMap, header};
use berth_wire::ecs::SIGNING_NAME;
use sha2::{Digest, Sha256};
use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// How far the client's clock may be from ours.
const MAX_SKEW: Duration = Duration::from_secs(300);

/// What a signature is over.
pub(super) struct Signed<'a> {
    pub(super) method: &'a str,
    /// As it was sent, without the query.
    pub(super) path: &'a str,
    /// As it was sent, without the question mark.
    pub(super) query: &'a str,
    pub(super) headers: &'a HeaderMap,
    pub(super) body: &'a [u8],
}

/// The header `Authorization`, taken apart.
#[derive(Debug, PartialEq, Eq)]
struct Authorization<'a> {
    access_key_id: &'a str,
    date: &'a str,
    region: &'a str,
    service: &'a str,
    signed_headers: &'a str,
    signature: &'a str,
}

impl<'a> Authorization<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let rest = text.strip_prefix(ALGORITHM)?.trim_start();
        let member = |name: &str| {
            rest.split(',').find_map(|part| part.trim().strip_prefix(name)?.strip_prefix('=')).map(str::trim)
        };
        // An access key has no slash.
        let mut scope = member("Credential")?.split('/');
        let parsed = Self {
            access_key_id: scope.next()?,
            date: scope.next()?,
            region: scope.next()?,
            service: scope.next()?,
            signed_headers: member("SignedHeaders")?,
            signature: member("Signature")?,
        };
        (scope.next()? == "aws4_request" && scope.next().is_none()).then_some(parsed)
    }
}

/// Checks that `request` was signed with `credentials`, not long before or after `now`.
pub(super) fn verify(request: &Signed<'_>, credentials: &Credentials, now: SystemTime) -> Result<(), ApiError> {
    let denied = |text: &str| ApiError::new(Code::AccessDenied, text);
    let wrong = |text: String| ApiError::new(Code::InvalidSignature, text);
    let authorization = request
        .headers
        .get(header::AUTHORIZATION)
        .ok_or_else(|| denied("the request is not signed: the header Authorization is missing"))?;
    let parsed = authorization
        .to_str()
        .ok()
        .and_then(Authorization::parse)
        .ok_or_else(|| denied("the header Authorization is not one of Signature Version 4 (AWS4-HMAC-SHA256)"))?;
    if !equal(parsed.access_key_id.as_bytes(), credentials.access_key_id.as_bytes()) {
        return Err(ApiError::new(Code::UnrecognizedClient, "the access key is not one of this control plane"));
    }
    if parsed.service != SIGNING_NAME {
        return Err(wrong(format!("the signature is for the service `{}`, not `{SIGNING_NAME}`", parsed.service)));
    }
    let covered: Vec<&str> = parsed.signed_headers.split(';').collect();
    // Without these a signature could be used for another request, another server, or for ever.
    let needed = ["host", "x-amz-date", "x-amz-target"];
    if let Some(name) = needed.iter().find(|name| request.headers.contains_key(**name) && !covered.contains(name)) {
        return Err(wrong(format!("the header {name} is not signed")));
    }
    let (timestamp, time) =
        time(request.headers).ok_or_else(|| wrong("X-Amz-Date is missing or no time".to_owned()))?;
    let skew = now.duration_since(time).unwrap_or_else(|ahead| ahead.duration());
    if skew > MAX_SKEW || !timestamp.starts_with(parsed.date) {
        let seconds = skew.as_secs();
        return Err(wrong(format!(
            "the signature's time {timestamp} is {seconds} s from the control plane's clock, at most {} are allowed",
            MAX_SKEW.as_secs()
        )));
    }
    let scope = format!("{}/{}/{}/aws4_request", parsed.date, parsed.region, parsed.service);
    let key = generate_signing_key(&credentials.secret_access_key, time, parsed.region, parsed.service);
    for query in canonical_queries(request.query) {
        let canonical = canonical_request(request, &query, &covered, parsed.signed_headers)
            .ok_or_else(|| wrong("a signed header is missing, or the body does not have the signed hash".to_owned()))?;
        let to_sign = format!("{ALGORITHM}\n{timestamp}\n{scope}\n{}", hex_digest(canonical.as_bytes()));
        let ours = calculate_signature(&key, to_sign.as_bytes());
        if equal(ours.as_bytes(), parsed.signature.as_bytes()) {
            return Ok(());
        }
    }
    Err(wrong("the signature does not fit the request: is the secret access key right?".to_owned()))
}

/// Compares without telling by its time where the difference is.
fn equal(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && std::hint::black_box(a.iter().zip(b).fold(0, |all, (a, b)| all | (a ^ b))) == 0
}

fn time(headers: &HeaderMap) -> Option<(&str, SystemTime)> {
    let text = headers.get("x-amz-date")?.to_str().ok()?;
    let parsed = jiff::civil::DateTime::strptime("%Y%m%dT%H%M%SZ", text).ok()?;
    Some((text, parsed.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp().into()))
}

fn canonical_request(request: &Signed<'_>, query: &str, covered: &[&str], signed_headers: &str) -> Option<String> {
    let body = hex_digest(request.body);
    // A client may say the hash itself; then it must be true. "UNSIGNED-PAYLOAD" is not taken.
    if let Some(said) = request.headers.get("x-amz-content-sha256")
        && !equal(said.as_bytes(), body.as_bytes())
    {
        return None;
    }
    let mut out = String::new();
    let _ = writeln!(out, "{}", request.method);
    let _ = writeln!(out, "{}", encode(request.path.as_bytes(), true));
    let _ = writeln!(out, "{}", query);
    for name in covered {
        let mut values = Vec::new();
        for value in request.headers.get_all(*name) {
            values.push(value.to_str().ok()?.split_ascii_whitespace().collect::<Vec<_>>().join(" "));
        }
        if values.is_empty() {
            return None;
        }
        let _ = writeln!(out, "{name}:{}", values.join(","));
    }
    let _ = write!(out, "\n{signed_headers}\n{body}");
    Some(out)
}

/// The forms in which clients put a query when they sign it: decoded and encoded again (AWS's rule; a plus is a space, as
/// the stock agent means it), or only sorted, as Python's SDK does with a URL that has its query already. Either covers
/// all that was sent.
fn canonical_queries(query: &str) -> Vec<String> {
    let mut sorted: Vec<&str> = query.split('&').filter(|pair| !pair.is_empty()).collect();
    sorted.sort_unstable();
    let mut forms = vec![canonical_query(query), sorted.join("&")];
    forms.dedup();
    forms
}

fn canonical_query(query: &str) -> String {
    let encoded = parse_query(query);
    let mut pairs: Vec<_> =
        encoded.iter().map(|(name, value)| (encode(name.as_bytes(), false), encode(value.as_bytes(), false))).collect();
    pairs.sort();
    pairs.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
}

/// Names and values of a query, decoded. What is no UTF-8 is replaced: no name or value of ours has it.
pub(super) fn parse_query(query: &str) -> Vec<(String, String)> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (decode(name), decode(value)))
        .collect()
}

fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let digits = bytes.get(at + 1..at + 3).and_then(|digits| std::str::from_utf8(digits).ok());
        let escaped = digits.filter(|_| *byte == b'%').and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match escaped {
            Some(escaped) => {
                out.push(escaped);
                at += 3;
            }
            None => {
                out.push(if *byte == b'+' { b' ' } else { *byte });
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn encode(bytes: &[u8], keep_slash: bool) -> String {
    let mut out = String::with_capacity(bytes.len());
    for byte in bytes {
        let plain = byte.is_ascii_alphanumeric() || b"-._~".contains(byte) || (keep_slash && *byte == b'/');
        if plain {
            out.push(char::from(*byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

fn hex_digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::with_capacity(64), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

#[cfg(test)]
mod tests;
