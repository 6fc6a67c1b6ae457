//! Signature version 4.

use super::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings};
use aws_sigv4::sign::v4;
use std::time::SystemTime;

/// A request cannot be signed.
#[derive(Debug, thiserror::Error)]
#[error("sign a request to `{url}`: {problem}")]
pub struct SignError {
    url: String,
    problem: String,
}

/// Headers that sign a request of the service `ecs`, to be added to those in `headers`, which are signed as well.
pub fn sign(
    credentials: &Credentials,
    region: &str,
    now: SystemTime,
    method: &str,
    url: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Result<Vec<(String, String)>, SignError> {
    let fail = |problem: &dyn std::error::Error| SignError {
        url: url.to_owned(),
        problem: berth_runtime::errno::chain(problem),
    };
    let Credentials { access_key_id, secret_access_key, session_token } = credentials.clone();
    let identity =
        aws_credential_types::Credentials::new(access_key_id, secret_access_key, session_token, None, "berth").into();
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region(region)
        .name(berth_wire::ecs::SIGNING_NAME)
        .time(now)
        .settings(SigningSettings::default())
        .build()
        .map_err(|e| fail(&e))?
        .into();
    let request = SignableRequest::new(method, url, headers.iter().copied(), SignableBody::Bytes(body));
    let (instructions, _) =
        aws_sigv4::http_request::sign(request.map_err(|e| fail(&e))?, &params).map_err(|e| fail(&e))?.into_parts();
    Ok(instructions.headers().map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn keys(session_token: Option<&str>) -> Credentials {
        Credentials {
            access_key_id: "AKIDEXAMPLE".into(),
            secret_access_key: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".into(),
            session_token: session_token.map(Into::into),
        }
    }

    /// 2015-08-30T12:36:00Z, the time of the published examples.
    fn then() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_440_938_160)
    }

    #[test]
    fn a_signature_names_keys_day_region_and_service() {
        let headers =
            sign(&keys(None), "local", then(), "POST", "http://127.0.0.1:51680/", &[("x-amz-target", "T.Op")], b"{}");
        let headers = headers.unwrap();
        let (_, authorization) = headers.iter().find(|(name, _)| name == "authorization").unwrap();
        let wanted = "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/local/ecs/aws4_request, \
                      SignedHeaders=host;x-amz-date;x-amz-target, Signature=";
        assert!(authorization.starts_with(wanted), "{authorization}");
        assert!(headers.iter().any(|(name, value)| name == "x-amz-date" && value == "20150830T123600Z"));
    }

    #[test]
    fn temporary_keys_send_their_token() {
        let headers = sign(&keys(Some("TOKEN")), "r", then(), "GET", "https://a.example/ws?x=1", &[], b"").unwrap();
        assert!(headers.iter().any(|(name, value)| name == "x-amz-security-token" && value == "TOKEN"));
    }
}
