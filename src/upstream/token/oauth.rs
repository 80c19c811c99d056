//! Requests to a token endpoint and their answers.
//! <https://www.rfc-editor.org/rfc/rfc6749#section-5>

use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde_json::Value;
use tokio::io::AsyncReadExt;

use super::cache::NewToken;
use crate::config::Endpoint;
use crate::secret::Secret;
use crate::upstream::client::HttpClient;
use crate::upstream::error::TokenError;
use crate::upstream::secret_header;

/// All characters except RFC 3986's unreserved ones.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// Bytes read of a file with a token; such files have a few kilobytes.
const MAX_FILE: u64 = 64 * 1024;
/// Lifetime of a token whose issuer reports none (RFC 6749 makes it optional).
pub(super) const DEFAULT_LIFETIME: Duration = Duration::from_secs(300);
/// Error codes that are logged and reported: those of RFC 6749, RFC 8693, Entra ID and Google. Any other
/// text could contain a secret.
const KNOWN_CODES: [&str; 20] = [
    "invalid_request",
    "invalid_client",
    "invalid_grant",
    "invalid_scope",
    "invalid_target",
    "invalid_resource",
    "unauthorized_client",
    "unsupported_grant_type",
    "access_denied",
    "expired_token",
    "interaction_required",
    "consent_required",
    "identity_not_found",
    "account_disabled",
    "server_error",
    "temporarily_unavailable",
    "internal_failure",
    "PERMISSION_DENIED",
    "UNAUTHENTICATED",
    "NOT_FOUND",
];
/// Codes that mean a temporary failure of the issuer, not a bad credential.
const TEMPORARY_CODES: [&str; 3] = ["server_error", "temporarily_unavailable", "internal_failure"];

/// The answer of an OAuth token endpoint or of Google's IAM. Some issuers send numbers as strings.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Answer {
    #[serde(alias = "accessToken")]
    access_token: Option<String>,
    token_type: Option<String>,
    expires_in: Option<Value>,
    /// Unix time, from Azure's managed identities.
    expires_on: Option<Value>,
    #[serde(rename = "expireTime")]
    expire_time: Option<String>,
    error: Option<Value>,
    /// From Entra ID: the numbers of `AADSTS` codes.
    error_codes: Vec<u32>,
}

/// Sends the request and returns the token of its answer.
pub(super) async fn fetch(
    client: &HttpClient,
    request: Request<Bytes>,
) -> Result<NewToken<Secret>, TokenError> {
    let answer = client.fetch(request).await;
    parse(&answer.map_err(|error| TokenError::unreachable(error.message()))?)
}

/// Converts a token to the value of `authorization`.
pub(super) fn into_bearer(token: &NewToken<Secret>) -> Result<NewToken<HeaderValue>, TokenError> {
    let value = secret_header::bearer(&token.value).map_err(|_| invalid_answer())?;
    Ok(NewToken { value, lifetime: token.lifetime })
}

/// Reads a file with a token of another issuer, which replaces it before it expires.
pub(super) async fn read_token_file(path: &Path) -> io::Result<Secret> {
    let mut text = String::new();
    tokio::fs::File::open(path).await?.take(MAX_FILE).read_to_string(&mut text).await?;
    text.truncate(text.trim_end().len());
    Ok(Secret::new(text))
}

pub(super) fn get(uri: &Uri) -> Request<Bytes> {
    let mut request = Request::new(Bytes::new());
    *request.uri_mut() = uri.clone();
    request
}

pub(super) fn post(uri: &Uri, content_type: &'static str, body: String) -> Request<Bytes> {
    let mut request = Request::new(Bytes::from(body));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = uri.clone();
    request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    request
}

/// Returns a POST of a form.
pub(super) fn form<'a>(
    uri: &Uri,
    fields: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Request<Bytes> {
    post(uri, "application/x-www-form-urlencoded", form_encode(fields))
}

/// Returns `name=value&...`, for a form or a query.
pub(super) fn form_encode<'a>(fields: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let field = |(name, value)| format!("{name}={}", percent_encode(value));
    fields.into_iter().map(field).collect::<Vec<_>>().join("&")
}

/// Escapes a text for one component of a URI.
pub(super) fn percent_encode(text: &str) -> impl std::fmt::Display {
    utf8_percent_encode(text, RESERVED)
}

/// Returns the URI of this path, appended to the endpoint's prefix.
pub(super) fn uri_at(endpoint: &Endpoint, path: &str) -> io::Result<Uri> {
    Uri::builder()
        .scheme(endpoint.scheme.clone())
        .authority(endpoint.authority.clone())
        .path_and_query(format!("{}{path}", endpoint.prefix))
        .build()
        .map_err(io::Error::other)
}

/// Returns the error for an OAuth error code; `detail` is appended to the code.
pub(super) fn error_for_code(code: &str, detail: &str) -> TokenError {
    let is_known = KNOWN_CODES.contains(&code);
    let code = if is_known { code } else { "an unknown error code" };
    let message = format!("returned {code}{detail}");
    if TEMPORARY_CODES.contains(&code) {
        TokenError::Unreachable(message)
    } else {
        TokenError::Refused(message)
    }
}

/// Returns the error for an answer with neither a token nor an error.
pub(super) fn invalid_answer() -> TokenError {
    TokenError::unreachable("returned no valid token")
}

fn parse(response: &Response<Bytes>) -> Result<NewToken<Secret>, TokenError> {
    let status = response.status();
    let answer: Option<Answer> = serde_json::from_slice(response.body()).ok();
    if status.is_success() {
        return answer.and_then(new_token).ok_or_else(invalid_answer);
    }
    let message = format!("returned status {}", status.as_u16());
    let is_temporary =
        status == StatusCode::REQUEST_TIMEOUT || status == StatusCode::TOO_MANY_REQUESTS;
    if !status.is_client_error() || is_temporary {
        return Err(TokenError::Unreachable(message));
    }
    let answer = answer.unwrap_or_default();
    let detail = answer.error_codes.first().map(|number| format!(" (AADSTS{number})"));
    let code = match &answer.error {
        Some(Value::String(code)) => Some(code.as_str()),
        Some(Value::Object(error)) => error.get("status").and_then(Value::as_str),
        _ => None,
    };
    Err(match code {
        Some(code) => error_for_code(code, detail.as_deref().unwrap_or_default()),
        // Not a judgement of the credential: Azure's metadata service returns these while it is updated.
        None if status == StatusCode::NOT_FOUND || status == StatusCode::GONE => {
            TokenError::Unreachable(message)
        }
        None => TokenError::Refused(message),
    })
}

fn new_token(answer: Answer) -> Option<NewToken<Secret>> {
    let is_bearer = |kind: &String| kind.eq_ignore_ascii_case("bearer");
    let token = answer.access_token.filter(|token| !token.is_empty())?;
    if !answer.token_type.as_ref().is_none_or(is_bearer) {
        return None;
    }
    let lifetime = match (answer.expires_in, answer.expires_on, answer.expire_time) {
        (Some(seconds), _, _) => Duration::from_secs(parse_seconds(&seconds)?),
        (None, Some(unix), _) => {
            let unix = Duration::from_secs(parse_seconds(&unix)?);
            time_until(SystemTime::UNIX_EPOCH.checked_add(unix)?)
        }
        (None, None, Some(time)) => time_until(humantime::parse_rfc3339(&time).ok()?),
        (None, None, None) => DEFAULT_LIFETIME,
    };
    Some(NewToken { value: Secret::new(token), lifetime })
}

/// Parses seconds, sent as a number or as a string of digits.
fn parse_seconds(value: &Value) -> Option<u64> {
    match value {
        Value::Number(number) => number.as_u64(),
        Value::String(digits) => digits.parse().ok(),
        _ => None,
    }
}

/// Returns the time from now until that moment; zero if it has passed.
pub(super) fn time_until(moment: SystemTime) -> Duration {
    moment.duration_since(SystemTime::now()).unwrap_or_default()
}
