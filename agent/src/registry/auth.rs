//! Challenges of registries, and the tokens that answer them.
//!
//! A 401 says how to come back: `Basic`, with the user's name and password, or `Bearer`, with a token that a token server
//! gives for a scope (the password goes to that server only).

use base64::Engine as _;
use std::collections::HashMap;
use std::fmt;
use std::time::{Duration, Instant};

/// Name and password for one registry. Never printed.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Credentials {
    /// The user.
    pub user: String,
    /// The password or token.
    pub password: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("user", &self.user).finish_non_exhaustive()
    }
}

impl Credentials {
    /// The value of an `Authorization` header.
    pub(super) fn basic(&self) -> String {
        let pair = format!("{}:{}", self.user, self.password);
        format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair))
    }
}

/// How a registry wants to be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Challenge {
    Basic,
    Bearer { realm: String, service: Option<String>, scope: Option<String> },
}

/// Reads the values of `WWW-Authenticate` headers; the first challenge that is understood counts, Bearer before Basic.
pub(super) fn parse<'a>(headers: impl Iterator<Item = &'a str>) -> Option<Challenge> {
    let mut basic = None;
    for header in headers.take(8) {
        for (scheme, parameters) in challenges(header) {
            if scheme.eq_ignore_ascii_case("basic") {
                basic = Some(Challenge::Basic);
            } else if scheme.eq_ignore_ascii_case("bearer") {
                let get =
                    |name: &str| parameters.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.clone());
                if let Some(realm) = get("realm") {
                    return Some(Challenge::Bearer { realm, service: get("service"), scope: get("scope") });
                }
            }
        }
    }
    basic
}

/// Splits `Scheme a="b", c=d, Other …` into schemes with their parameters (RFC 9110, 11.6.1).
fn challenges(header: &str) -> Vec<(String, Vec<(String, String)>)> {
    let mut found: Vec<(String, Vec<(String, String)>)> = Vec::new();
    let mut rest = header.trim_start_matches([' ', ',', '\t']);
    while !rest.is_empty() {
        let end = rest.find(['=', ' ', ',', '\t']).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        let value = after.trim_start().strip_prefix('=').map(str::trim_start);
        rest = match (value, found.last_mut()) {
            (Some(value), Some((_, parameters))) => {
                let (value, after) = parameter_value(value);
                parameters.push((word.to_owned(), value));
                after
            }
            _ => {
                found.push((word.to_owned(), Vec::new()));
                after
            }
        };
        // A separator is passed over whatever it is, so every turn gets further.
        rest = match rest.trim_start_matches([' ', ',', '\t']) {
            same if same.len() == rest.len() && value.is_none() => same.get(1..).unwrap_or_default(),
            shorter => shorter,
        };
    }
    found
}

fn parameter_value(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([',', ' ']).unwrap_or(text.len());
        return (text[..end].to_owned(), &text[end..]);
    };
    let mut value = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return (value, &quoted[at + 1..]),
            '\\' => value.extend(chars.next().map(|(_, c)| c)),
            c => value.push(c),
        }
    }
    (value, "")
}

/// A token and what it is good for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct TokenKey {
    pub(super) registry: String,
    pub(super) repository: String,
    pub(super) credentials: Option<Credentials>,
}

/// The value of an `Authorization` header until it runs out.
pub(super) type Tokens = HashMap<TokenKey, (String, Instant)>;

/// A token server's answer.
#[derive(serde::Deserialize)]
pub(super) struct TokenAnswer {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<u64>,
}

impl TokenAnswer {
    /// The header's value, and how long it is sure to be good.
    pub(super) fn header(self) -> Option<(String, Duration)> {
        let token = self.token.or(self.access_token).filter(|t| !t.is_empty())?;
        // Sixty seconds is what the specification says where the server does not; a tenth is kept back for slow clocks.
        let seconds = self.expires_in.unwrap_or(60).clamp(10, 3600);
        Some((format!("Bearer {token}"), Duration::from_secs(seconds * 9 / 10)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_challenges_are_understood() {
        let header = r#"Bearer realm="https://auth.example/token",service="reg, one",scope="repository:a/b:pull,push""#;
        assert_eq!(
            parse([header].into_iter()),
            Some(Challenge::Bearer {
                realm: "https://auth.example/token".into(),
                service: Some("reg, one".into()),
                scope: Some("repository:a/b:pull,push".into()),
            })
        );
        assert_eq!(parse([r#"Basic realm="ecr",service="x""#].into_iter()), Some(Challenge::Basic));
        assert_eq!(parse(["basic"].into_iter()), Some(Challenge::Basic));
    }

    #[test]
    fn bearer_is_preferred_wherever_it_stands() {
        let one = [r#"Basic realm="a", Bearer realm="http://b""#];
        let two = [r#"Basic realm="a""#, r#"Bearer realm="http://b""#];
        let bearer = Some(Challenge::Bearer { realm: "http://b".into(), service: None, scope: None });
        assert_eq!(parse(one.into_iter()), bearer);
        assert_eq!(parse(two.into_iter()), bearer);
        assert_eq!(parse(["Negotiate abc"].into_iter()), None);
    }

    proptest::proptest! {
        #[test]
        fn any_header_is_read_to_its_end(header in r#"[a-zé =",\\\t]{0,80}"#) {
            let _ = parse([header.as_str()].into_iter());
        }
    }

    #[test]
    fn passwords_are_not_printed() {
        let credentials = Credentials { user: "u".into(), password: "secret".into() };
        assert!(!format!("{credentials:?}").contains("secret"));
    }
}
