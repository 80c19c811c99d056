use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use aws_sigv4::http_request::{
    PayloadChecksumKind, SessionTokenMode, SignableBody, SignableRequest, SigningSettings,
    UriPathNormalizationMode,
};
use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue, Request};
use serde_json::Value;

use super::caller_signature::{CallerSignature, SignatureError};
use super::canonical_request::{self, SignedRequest};
use super::sign::{self, hex};
use crate::config::AwsCredentials;
use crate::secret::{Secret, sha256};
use crate::upstream::RequestBody;

const ID: &str = "AKIDEXAMPLE";
const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
const SONNET: &str = "https://bedrock-runtime.us-east-1.amazonaws.com/model/\
                      anthropic.claude-3-5-sonnet-20241022-v2%3A0/converse";

fn secret(text: &str) -> Secret {
    Secret::new(text.to_owned())
}

fn pair(token: Option<&str>) -> AwsCredentials {
    AwsCredentials {
        access_key: secret(ID),
        secret_key: secret(SECRET),
        session_token: token.map(secret),
    }
}

/// 2024-06-15T12:00:00Z
fn noon() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_718_452_800)
}

/// Returns a request with the body `{"messages":[]}` in three pieces, signed at noon.
fn signed(
    uri: &str,
    region: &str,
    token: Option<&str>,
    more: &[(&'static str, &'static str)],
) -> Request<RequestBody> {
    let pieces = [&b"{\"mess"[..], b"", b"ages\":[]}"].map(Bytes::from_static);
    let mut request = Request::post(uri).body(RequestBody::new(pieces)).unwrap();
    let usual = [
        ("content-type", "application/json"),
        ("accept", "*/*"),
        ("user-agent", "an-sdk/1"),
        ("traceparent", "00-1"),
    ];
    for (name, value) in usual.iter().chain(more) {
        request.headers_mut().insert(*name, HeaderValue::from_static(value));
    }
    let hash = hex(&sha256(BODY.as_bytes()));
    sign::sign(&mut request, hash, &sign::identity(&pair(token)), bedrock(region), noon()).unwrap();
    request
}

fn authorization(request: &Request<RequestBody>) -> &str {
    request.headers()[AUTHORIZATION].to_str().unwrap()
}

/// The signatures are those of botocore 1.44: `SigV4Auth.canonical_request`, `.string_to_sign` and
/// `.signature` of an `AWSRequest` with the same URL, headers and body, at the same time.
#[test]
fn signatures_match_those_of_botocore() {
    let request = signed(SONNET, "us-east-1", None, &[]);
    assert_eq!(
        authorization(&request),
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20240615/us-east-1/bedrock/aws4_request, \
         SignedHeaders=content-type;host;x-amz-date, \
         Signature=9080163738dec2510eb9ca4d7d9ffbb0e0c930ef6ce2482585e9e411f8e8131e"
    );
    assert_eq!(request.headers()["x-amz-date"], "20240615T120000Z");
    assert!(request.headers()[AUTHORIZATION].is_sensitive());

    let profile = "https://bedrock-runtime.eu-west-1.amazonaws.com/model/\
                   arn%3Aaws%3Abedrock%3Aeu-west-1%3A123456789012%3Ainference-profile%2F\
                   eu.amazon.nova-lite-v1%3A0/converse-stream";
    let token = "IQoJb3JpZ2luX2VjEXAMPLE//token==";
    let request = signed(profile, "eu-west-1", Some(token), &[]);
    assert!(
        authorization(&request).ends_with(
            "SignedHeaders=content-type;host;x-amz-date;x-amz-security-token, \
             Signature=a8b053910af4d67577a320b949555684fa6d0bf3cfea86f25fbe612232c0a248"
        ),
        "{}",
        authorization(&request)
    );
    assert_eq!(request.headers()["x-amz-security-token"], token);
    assert!(request.headers()["x-amz-security-token"].is_sensitive());

    let raw = "http://127.0.0.1:8443/model/meta%2Fllama:1/invoke?trace=a%20b&a=%3A";
    let guarded =
        [("x-amzn-bedrock-trace", "ENABLED"), ("x-amzn-bedrock-guardrailidentifier", "gr-1")];
    let request = signed(raw, "us-west-2", None, &guarded);
    assert!(
        authorization(&request).ends_with(
            "SignedHeaders=content-type;host;x-amz-date;x-amzn-bedrock-guardrailidentifier;\
             x-amzn-bedrock-trace, \
             Signature=1048add172edd6212fe349d521988d5d8aa9233679914fd73043ca8b5fb18778"
        ),
        "{}",
        authorization(&request)
    );
}

#[tokio::test]
async fn the_hash_covers_all_pieces_of_a_body() {
    let long = Bytes::from(vec![7; 600 * 1024]);
    let pieces = [long.slice(..300 * 1024), Bytes::new(), long.slice(300 * 1024..)];
    assert_eq!(sign::hash(&pieces).await, hex(&sha256(&long)));
    assert_eq!(sign::hash(&[]).await, hex(&sha256(b"")));
}

#[test]
fn an_invalid_session_token_is_not_signed() {
    let mut request = Request::post(SONNET).body(RequestBody::default()).unwrap();
    let identity = sign::identity(&pair(Some("line\nbreak")));
    assert_eq!(
        sign::sign(&mut request, String::new(), &identity, bedrock("us-east-1"), noon()),
        None
    );
}

fn bedrock(region: &str) -> sign::Scope<'_> {
    sign::Scope { region, service: sign::BEDROCK }
}

/// Returns the head of a signed request, as a server receives it.
fn received_head(uri: &str, change: impl FnOnce(&mut HeaderMap)) -> http::request::Parts {
    let (mut head, _) = signed(uri, "us-east-1", None, &[]).into_parts();
    let host = HeaderValue::from_str(head.uri.authority().unwrap().as_str()).unwrap();
    head.headers.insert("host", host);
    head.uri = head.uri.path_and_query().unwrap().as_str().parse().unwrap();
    change(&mut head.headers);
    head
}

async fn verify(head: &http::request::Parts, body: &str, with: &str) -> Result<(), SignatureError> {
    let signature =
        CallerSignature::from_headers(&head.headers, noon()).expect("an AWS signature")?;
    assert_eq!(signature.access_key(), ID);
    signature.verify(head, &Bytes::from(body.to_owned()), &secret(with)).await
}

const BODY: &str = r#"{"messages":[]}"#;

#[tokio::test]
async fn a_callers_signature_must_match_request_and_secret() {
    let head = received_head(SONNET, |_| ());
    assert_eq!(verify(&head, BODY, SECRET).await, Ok(()));
    assert_eq!(verify(&head, BODY, "another").await, Err(SignatureError::Mismatch));
    assert_eq!(verify(&head, r#"{"messages":[1]}"#, SECRET).await, Err(SignatureError::Mismatch));
    let unencoded = "http://localhost:1/model/a:0/b/converse?x=1&a=";
    assert_eq!(verify(&received_head(unencoded, |_| ()), BODY, SECRET).await, Ok(()));

    let mut other = received_head(SONNET, |_| ());
    other.uri = "/model/another/converse".parse().unwrap();
    assert_eq!(verify(&other, BODY, SECRET).await, Err(SignatureError::Mismatch));
    let other = received_head(SONNET, |headers| {
        headers.insert("host", HeaderValue::from_static("elsewhere"));
    });
    assert_eq!(verify(&other, BODY, SECRET).await, Err(SignatureError::Mismatch));
    let spaced = received_head(SONNET, |headers| {
        headers.insert("user-agent", HeaderValue::from_static("changed on the way"));
    });
    assert_eq!(verify(&spaced, BODY, SECRET).await, Ok(()));
}

#[tokio::test]
async fn http2_has_its_host_in_the_uri() {
    let (head, _) = signed(SONNET, "us-east-1", None, &[]).into_parts();
    assert!(!head.headers.contains_key("host"));
    assert_eq!(verify(&head, BODY, SECRET).await, Ok(()));
}

#[test]
fn a_signature_is_valid_for_fifteen_minutes() {
    let head = received_head(SONNET, |_| ());
    let at = |now| CallerSignature::from_headers(&head.headers, now).unwrap().map(drop);
    let minute = Duration::from_secs(60);
    for good in [noon() - 15 * minute, noon() + 15 * minute] {
        assert_eq!(at(good), Ok(()));
    }
    for bad in [noon() - 16 * minute, noon() + 16 * minute, SystemTime::UNIX_EPOCH] {
        assert_eq!(at(bad), Err(SignatureError::Expired));
    }
}

#[tokio::test]
async fn malformed_signatures_are_rejected_before_the_body_is_read() {
    let head = received_head(SONNET, |_| ());
    let good = head.headers[AUTHORIZATION].to_str().unwrap().to_owned();
    let why = |text: String| {
        let mut headers = head.headers.clone();
        headers.insert(AUTHORIZATION, HeaderValue::try_from(text).unwrap());
        CallerSignature::from_headers(&headers, noon()).map(|read| read.map(drop).unwrap_err())
    };
    let with = |from: &str, to: &str| why(good.replace(from, to));
    assert_eq!(with("/bedrock/", "/s3/"), Some(SignatureError::WrongService));
    assert_eq!(with("host;", ""), Some(SignatureError::WrongHeaders));
    assert_eq!(with(";x-amz-date", ""), Some(SignatureError::WrongHeaders));
    assert_eq!(with("content-type;host", "host;content-type"), Some(SignatureError::WrongHeaders));
    assert_eq!(with("/20240615/", "/20240614/"), Some(SignatureError::Malformed));
    assert_eq!(with("Signature=90", "Signature="), Some(SignatureError::Malformed));
    assert_eq!(with("Signature=90", "Signature=9A"), Some(SignatureError::Malformed));
    assert_eq!(with("SignedHeaders", "Headers"), Some(SignatureError::Malformed));
    assert_eq!(with("AKIDEXAMPLE/", ""), Some(SignatureError::Malformed));
    assert_eq!(why("AWS4-HMAC-SHA256".to_owned()), Some(SignatureError::Malformed));
    assert_eq!(why("Bearer AKIDEXAMPLE".to_owned()), None);
    for time in ["20240615T12000Z", "20240615 120000Z", "20241315T120000Z", "2024-06-15T12:00"] {
        let mut headers = head.headers.clone();
        headers.insert("x-amz-date", HeaderValue::from_str(time).unwrap());
        assert_eq!(
            CallerSignature::from_headers(&headers, noon()).unwrap().map(drop),
            Err(SignatureError::Malformed)
        );
    }
    let mut head = received_head(SONNET, |_| ());
    let missing = good.replace("content-type;host", "content-type;host;missing");
    head.headers.insert(AUTHORIZATION, HeaderValue::try_from(missing).unwrap());
    assert_eq!(verify(&head, BODY, SECRET).await, Err(SignatureError::WrongHeaders));
}

#[tokio::test]
async fn a_signed_hash_must_match_the_body() {
    for (hash, expected) in [
        (hex(&sha256(BODY.as_bytes())), Err(SignatureError::Mismatch)),
        ("UNSIGNED-PAYLOAD".to_owned(), Err(SignatureError::BodyMismatch)),
    ] {
        let head = received_head(SONNET, |headers| {
            let good = headers[AUTHORIZATION].to_str().unwrap();
            let with = good.replace("host;x-amz-date", "host;x-amz-content-sha256;x-amz-date");
            headers.insert(AUTHORIZATION, HeaderValue::try_from(with).unwrap());
            headers.insert("x-amz-content-sha256", HeaderValue::try_from(hash).unwrap());
        });
        assert_eq!(verify(&head, BODY, SECRET).await, expected);
    }
}

/// One case of the published vectors: a request and the intermediate results of its signature.
struct Case {
    name: String,
    request: String,
    canonical: String,
    string_to_sign: String,
    signature: String,
    token: Option<String>,
    normalize: bool,
    sign_body: bool,
    omit_token: bool,
}

fn vectors() -> Option<Vec<Case>> {
    let shared = PathBuf::from(std::env::var("KEYMUX_SHARED").ok()?).join("specs/aws-sigv4");
    let read = |name: &str| -> Value {
        serde_json::from_slice(&std::fs::read(shared.join(name)).unwrap()).unwrap()
    };
    let text = |value: &Value| value.as_str().unwrap_or_default().replace("\r\n", "\n");
    let mut cases = Vec::new();
    for case in read("vectors.json")["cases"].as_array().unwrap() {
        let (files, context) = (&case["files"], &case["context"]);
        cases.push(Case {
            name: text(&case["name"]),
            request: text(&files["header-signed-request.txt"]),
            canonical: text(&files["header-canonical-request.txt"]),
            string_to_sign: text(&files["header-string-to-sign.txt"]),
            signature: text(&files["header-signature.txt"]),
            token: context["credentials"]["token"].as_str().map(str::to_owned),
            normalize: context["normalize"] == true,
            sign_body: context["sign_body"] == true,
            omit_token: context["omit_session_token"] == true,
        });
    }
    for case in read("vectors-classic.json")["cases"].as_array().unwrap() {
        let Some(authorization) = case["authz"].as_str() else { continue };
        let request = text(&case["sreq"]);
        cases.push(Case {
            name: format!("classic {}", text(&case["name"])),
            canonical: text(&case["creq"]),
            string_to_sign: text(&case["sts"]),
            signature: authorization.rsplit_once("Signature=").unwrap().1.trim().to_owned(),
            // In these the token is an ordinary header of the request, signed when it was there before.
            token: None,
            normalize: true,
            sign_body: false,
            omit_token: false,
            request,
        });
    }
    assert!(cases.len() > 60, "{}", cases.len());
    Some(cases)
}

/// Parses a request: method, target, headers, body. A line that begins with a space continues the line
/// before it.
fn parse(request: &str) -> (&str, &str, HeaderMap, &str) {
    let (head, body) = request.split_once("\n\n").unwrap_or((request, ""));
    let (first, fields) = head.split_once('\n').unwrap();
    let (method, rest) = first.split_once(' ').unwrap();
    let target = rest.rsplit_once(' ').unwrap().0;
    let mut headers = HeaderMap::new();
    for line in fields.replace("\n ", " ").lines().filter(|line| !line.is_empty()) {
        let (name, value) = line.split_once(':').unwrap();
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        headers.append(name, HeaderValue::from_str(value.trim()).unwrap());
    }
    (method, target, headers, body)
}

const SCOPE: canonical_request::Scope<'static> =
    canonical_request::Scope { date: "20150830", region: "us-east-1", service: "service" };

#[test]
fn verification_matches_the_published_vectors() {
    let Some(cases) = vectors() else { return println!("skipped: KEYMUX_SHARED is not set") };
    let mut checked = 0;
    // Only S3 keeps dot segments, and keymux does not sign for S3.
    for case in cases.iter().filter(|case| case.normalize) {
        let (method, target, headers, body) = parse(&case.request);
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let authorization = headers[AUTHORIZATION].to_str().unwrap();
        let names = authorization.split_once("SignedHeaders=").unwrap().1;
        let names = names.split(',').next().unwrap();
        let signed =
            SignedRequest { method, path, query, headers: &headers, authority: None, names };
        let canonical = signed.canonical(&hex(&sha256(body.as_bytes()))).unwrap();
        assert_eq!(canonical, case.canonical.trim_end(), "{}", case.name);
        let string_to_sign =
            canonical_request::string_to_sign("20150830T123600Z", SCOPE, &canonical);
        assert_eq!(string_to_sign, case.string_to_sign.trim_end(), "{}", case.name);
        let signature = canonical_request::signature(SECRET, SCOPE, &string_to_sign);
        assert_eq!(hex(signature.as_ref()), case.signature.trim_end(), "{}", case.name);
        checked += 1;
    }
    assert!(checked > 55, "{checked}");
}

#[test]
fn signing_matches_the_published_vectors() {
    let Some(cases) = vectors() else { return println!("skipped: KEYMUX_SHARED is not set") };
    let (mut checked, mut skipped) = (0, Vec::new());
    // 2015-08-30T12:36:00Z
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_440_938_160);
    for case in &cases {
        let (method, target, mut headers, body) = parse(&case.request);
        for made in ["authorization", "x-amz-date"] {
            headers.remove(made);
        }
        if case.token.is_some() || !case.canonical.contains("x-amz-security-token") {
            headers.remove("x-amz-security-token");
        }
        let mut settings = SigningSettings::default();
        if !case.normalize {
            settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
        }
        if case.sign_body {
            settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
        }
        if case.omit_token {
            settings.session_token_mode = SessionTokenMode::Exclude;
        }
        let fields = headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap()));
        let body = SignableBody::Precomputed(hex(&sha256(body.as_bytes())));
        let uri = format!("https://example.amazonaws.com{target}");
        let Ok(request) = SignableRequest::new(method, uri, fields, body) else {
            skipped.push(&*case.name);
            continue;
        };
        let identity = sign::identity(&pair(case.token.as_deref()));
        let scope = sign::Scope { region: "us-east-1", service: "service" };
        let made = sign::signature(request, &identity, scope, settings, now).unwrap();
        let authorization = made[AUTHORIZATION].to_str().unwrap();
        let signature = authorization.rsplit_once("Signature=").unwrap().1;
        assert_eq!(signature, case.signature.trim_end(), "{}: {authorization}", case.name);
        checked += 1;
    }
    // A target with a space is invalid, so keymux sends none.
    assert!(skipped.iter().all(|name| name.contains("space")), "{skipped:?}");
    assert!(checked > 60, "{checked}");
}
