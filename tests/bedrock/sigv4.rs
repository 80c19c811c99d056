//! Signature Version 4 from its documentation, independent of the program's implementation.
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>

use std::fmt::Write as _;
use std::time::SystemTime;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac::{HMAC_SHA256, Key, sign};

use super::common::http::request;
use super::common::upstream::Received;

/// A key pair; a temporary one has a session token.
#[derive(Clone, Copy)]
pub(crate) struct Pair {
    pub(crate) id: &'static str,
    pub(crate) secret: &'static str,
    pub(crate) token: Option<&'static str>,
}

/// Computes the correct `authorization` header of a received request.
pub(crate) fn expected(received: &Received, pair: Pair, region: &str, service: &str) -> String {
    let time = received.header("x-amz-date").expect("x-amz-date");
    let sent = received.header("authorization").expect("a signature");
    let names = sent.split_once("SignedHeaders=").expect("signed headers").1;
    let names: Vec<&str> = names.split(',').next().unwrap().split(';').collect();
    let headers: Vec<_> =
        names.iter().map(|name| (*name, received.header(name).expect("a header"))).collect();
    let (method, path) = (received.method(), received.path());
    authorization(pair, [region, service], time, method, path, &headers, &received.body)
}

/// Returns the bytes of a request that an AWS SDK sends, signed at that time.
pub(crate) fn signed(pair: Pair, region: &str, at: SystemTime, path: &str, body: &str) -> Vec<u8> {
    let time = humantime::format_rfc3339_seconds(at).to_string().replace(['-', ':'], "");
    let kind = ("content-type", "application/json");
    let host = ("host", "localhost");
    let date = ("x-amz-date", &*time);
    let signed: Vec<_> = [kind, host, date]
        .into_iter()
        .chain(pair.token.map(|token| ("x-amz-security-token", token)))
        .collect();
    let scope = [region, "bedrock"];
    let value = authorization(pair, scope, &time, "POST", path, &signed, body.as_bytes());
    let mut headers: Vec<_> = signed.into_iter().filter(|(name, _)| *name != "host").collect();
    headers.push(("authorization", &value));
    request("POST", path, &headers, body.as_bytes())
}

fn authorization(
    pair: Pair,
    [region, service]: [&str; 2],
    time: &str,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> String {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut pairs: Vec<&str> = query.split('&').filter(|pair| !pair.is_empty()).collect();
    pairs.sort_unstable();
    let path = if service == "s3" { path.to_owned() } else { encoded(path) };
    let mut canonical = format!("{method}\n{path}\n{}\n", pairs.join("&"));
    for (name, value) in headers {
        let _ = writeln!(canonical, "{name}:{value}");
    }
    let names: Vec<&str> = headers.iter().map(|(name, _)| *name).collect();
    let names = names.join(";");
    let hash = hex(digest(&SHA256, body).as_ref());
    let _ = write!(canonical, "\n{names}\n{hash}");

    let day = &time[..8];
    let scope = format!("{day}/{region}/{service}/aws4_request");
    let hash = hex(digest(&SHA256, canonical.as_bytes()).as_ref());
    let text = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{hash}");
    let key = [day, region, service, "aws4_request"]
        .iter()
        .fold(format!("AWS4{}", pair.secret).into_bytes(), |key, part| mac(&key, part));
    let signature = hex(&mac(&key, &text));
    let id = pair.id;
    format!(
        "AWS4-HMAC-SHA256 Credential={id}/{scope}, SignedHeaders={names}, Signature={signature}"
    )
}

fn encoded(path: &str) -> String {
    let mut out = String::new();
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

fn mac(key: &[u8], text: &str) -> Vec<u8> {
    sign(&Key::new(HMAC_SHA256, key), text.as_bytes()).as_ref().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    let mut out = String::new();
    for byte in bytes {
        let _ = write!(out, "{byte:02x}");
    }
    out
}
