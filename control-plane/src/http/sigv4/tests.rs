use super::*;
use axum::http::HeaderValue;

#[test]
fn the_header_is_taken_apart() {
    let text =
        "AWS4-HMAC-SHA256 Credential=AKID/20260102/r-1/ecs/aws4_request, SignedHeaders=host;x-amz-date, Signature=ab";
    let parsed = Authorization::parse(text).unwrap();
    assert_eq!((parsed.access_key_id, parsed.date, parsed.region, parsed.service), ("AKID", "20260102", "r-1", "ecs"));
    assert_eq!((parsed.signed_headers, parsed.signature), ("host;x-amz-date", "ab"));
    // Some clients write no spaces.
    assert_eq!(Authorization::parse(&text.replace(", ", ",")).unwrap(), parsed);
    for wrong in [
        "",
        "Basic abc",
        "AWS4-HMAC-SHA256 Credential=AKID/20260102/r-1/ecs, SignedHeaders=host, Signature=ab",
        "AWS4-HMAC-SHA256 Credential=AKID/20260102/r-1/ecs/aws4_request/more, SignedHeaders=host, Signature=ab",
        "AWS4-HMAC-SHA256 Credential=AKID/20260102/r-1/ecs/aws4_request, Signature=ab",
    ] {
        assert_eq!(Authorization::parse(wrong), None, "{wrong}");
    }
}

#[test]
fn a_query_is_put_in_order_and_encoded_in_one_way() {
    assert_eq!(canonical_query(""), "");
    assert_eq!(canonical_query("b=2&a=x%20y&a=:/"), "a=%3A%2F&a=x%20y&b=2");
    assert_eq!(canonical_queries("b=2&a=1"), ["a=1&b=2"]);
    assert_eq!(canonical_queries("v=a+b&c=:"), ["c=%3A&v=a%20b", "c=:&v=a+b"]);
    // A plus is a space, as forms have it; agents write the spaces of `DockerVersion: 1` so.
    assert_eq!(canonical_query("v=a+b&flag"), "flag=&v=a%20b");
    assert_eq!(
        parse_query("a=%e2%82%ac&b=%zz&c=%"),
        [("a", "€"), ("b", "%zz"), ("c", "%")].map(|(a, b)| (a.to_owned(), b.to_owned()))
    );
}

/// The example of the canonical form that AWS documents for `GET /` with two headers.
#[test]
fn a_request_has_the_documented_canonical_form() {
    let mut headers = HeaderMap::new();
    headers.insert("host", HeaderValue::from_static("example.amazonaws.com"));
    headers.insert("x-amz-date", HeaderValue::from_static("  20150830T123600Z"));
    headers.append("my-header", HeaderValue::from_static("a   b"));
    headers.append("my-header", HeaderValue::from_static("c"));
    let request =
        Signed { method: "GET", path: "/", query: "Param2=value2&Param1=value1", headers: &headers, body: b"" };
    let canonical = canonical_request(
        &request,
        &canonical_query(request.query),
        &["host", "my-header", "x-amz-date"],
        "host;my-header;x-amz-date",
    )
    .unwrap();
    assert_eq!(
        canonical,
        "GET\n/\nParam1=value1&Param2=value2\nhost:example.amazonaws.com\nmy-header:a b,c\nx-amz-date:20150830T123600Z\n\n\
         host;my-header;x-amz-date\ne3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    );
    assert_eq!(canonical_request(&request, "", &["absent"], "absent"), None);
}

#[test]
fn a_hash_that_is_not_the_bodys_is_refused() {
    let mut headers = HeaderMap::new();
    headers.insert("x-amz-content-sha256", HeaderValue::from_static("UNSIGNED-PAYLOAD"));
    let request = Signed { method: "POST", path: "/", query: "", headers: &headers, body: b"{}" };
    assert_eq!(canonical_request(&request, "", &[], ""), None);
}

#[test]
fn a_request_that_signs_no_host_is_refused() {
    let mut headers = HeaderMap::new();
    let text = "AWS4-HMAC-SHA256 Credential=AKID/20260102/r-1/ecs/aws4_request, SignedHeaders=x-amz-date, Signature=ab";
    headers.insert("authorization", HeaderValue::from_static(text));
    headers.insert("host", HeaderValue::from_static("a"));
    headers.insert("x-amz-date", HeaderValue::from_static("20260102T030405Z"));
    let credentials = Credentials { access_key_id: "AKID".to_owned(), secret_access_key: "s".to_owned() };
    let request = Signed { method: "POST", path: "/", query: "", headers: &headers, body: b"" };
    let error = verify(&request, &credentials, SystemTime::now()).unwrap_err();
    assert_eq!((error.code, error.message.as_str()), (Code::InvalidSignature, "the header host is not signed"));
}
