//! Requests to a token endpoint, and what its answers mean.
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

/// All but RFC 3986's unreserved characters.
const COMPONENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// Largest file with a token in it; they are a few kilobytes.
const FILE: u64 = 64 * 1024;
/// Where the issuer does not say how long a token lives (RFC 6749 lets it be left out).
pub(super) const UNSAID: Duration = Duration::from_secs(300);
/// Error codes that are passed on as they are: those of RFC 6749, RFC 8693, Entra ID and Google. Of
/// any other text it is not known what it holds.
const CODES: [&str; 20] = [
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
/// Those of them that are no judgement of the credential.
const PASSING: [&str; 3] = ["server_error", "temporarily_unavailable", "internal_failure"];

/// A token as endpoints of OAuth and Google's IAM tell it. Numbers come as strings from some.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Answer {
    #[serde(alias = "accessToken")]
    access_token: Option<String>,
    token_type: Option<String>,
    expires_in: Option<Value>,
    /// Unix time, of Azure's managed identities.
    expires_on: Option<Value>,
    #[serde(rename = "expireTime")]
    expire_time: Option<String>,
    error: Option<Value>,
    /// Of Entra ID: the numbers behind `AADSTS`.
    error_codes: Vec<u32>,
}

/// Sends the request and reads the token out of its answer.
pub(super) async fn token(
    client: &HttpClient,
    request: Request<Bytes>,
) -> Result<NewToken<Secret>, TokenError> {
    let answer = client.fetch(request).await;
    read(&answer.map_err(|broken| TokenError::unreachable(broken.message()))?)
}

/// The token as `authorization` carries it.
pub(super) fn bearer(fresh: &NewToken<Secret>) -> Result<NewToken<HeaderValue>, TokenError> {
    let value = secret_header::bearer(&fresh.value).map_err(|_| no_token())?;
    Ok(NewToken { value, lives: fresh.lives })
}

/// The content of a file with a token of another issuer, who replaces it before it runs out.
pub(super) async fn file(path: &Path) -> io::Result<Secret> {
    let mut text = String::new();
    tokio::fs::File::open(path).await?.take(FILE).read_to_string(&mut text).await?;
    text.truncate(text.trim_end().len());
    Ok(Secret::new(text))
}

/// A POST of a form.
pub(super) fn form<'a>(
    uri: &Uri,
    fields: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Request<Bytes> {
    let mut request = Request::new(Bytes::from(encoded(fields)));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = uri.clone();
    let kind = HeaderValue::from_static("application/x-www-form-urlencoded");
    request.headers_mut().insert(CONTENT_TYPE, kind);
    request
}

/// `name=value&…`, for a form or a query.
pub(super) fn encoded<'a>(fields: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let field = |(name, value)| format!("{name}={}", component(value));
    fields.into_iter().map(field).collect::<Vec<_>>().join("&")
}

/// The text so that it stands for itself within a URI.
pub(super) fn component(text: &str) -> impl std::fmt::Display {
    utf8_percent_encode(text, COMPONENT)
}

/// The address with this path behind it.
pub(super) fn at(endpoint: &Endpoint, path: &str) -> io::Result<Uri> {
    Uri::builder()
        .scheme(endpoint.scheme.clone())
        .authority(endpoint.authority.clone())
        .path_and_query(format!("{}{path}", endpoint.prefix))
        .build()
        .map_err(io::Error::other)
}

/// What an OAuth error code says of the credential.
pub(super) fn refusal(code: &str, detail: &str) -> TokenError {
    let known = CODES.contains(&code);
    let code = if known { code } else { "an error of its own" };
    let words = format!("says {code}{detail}");
    if PASSING.contains(&code) {
        TokenError::Unreachable(words)
    } else {
        TokenError::Refused(words)
    }
}

/// For an answer without a token and without an error.
pub(super) fn no_token() -> TokenError {
    TokenError::unreachable("answered with something that is no token")
}

fn read(answer: &Response<Bytes>) -> Result<NewToken<Secret>, TokenError> {
    let status = answer.status();
    let told: Option<Answer> = serde_json::from_slice(answer.body()).ok();
    if status.is_success() {
        return told.and_then(fresh).ok_or_else(no_token);
    }
    let passes = status == StatusCode::REQUEST_TIMEOUT || status == StatusCode::TOO_MANY_REQUESTS;
    if !status.is_client_error() || passes {
        return Err(TokenError::unreachable(format!("answered {}", status.as_u16())));
    }
    let told = told.unwrap_or_default();
    let detail = told.error_codes.first().map(|number| format!(" (AADSTS{number})"));
    let code = match &told.error {
        Some(Value::String(code)) => Some(code.as_str()),
        Some(Value::Object(error)) => error.get("status").and_then(Value::as_str),
        _ => None,
    };
    let words = format!("answered {}", status.as_u16());
    Err(match code {
        Some(code) => refusal(code, detail.as_deref().unwrap_or_default()),
        // Nothing there, which says nothing of the credential. Azure's metadata service is gone like
        // that while it is updated.
        None if status == StatusCode::NOT_FOUND || status == StatusCode::GONE => {
            TokenError::Unreachable(words)
        }
        None => TokenError::Refused(words),
    })
}

fn fresh(answer: Answer) -> Option<NewToken<Secret>> {
    let bearer = |kind: &String| kind.eq_ignore_ascii_case("bearer");
    let token = answer.access_token.filter(|token| !token.is_empty())?;
    if !answer.token_type.as_ref().is_none_or(bearer) {
        return None;
    }
    let lives = match (answer.expires_in, answer.expires_on, answer.expire_time) {
        (Some(span), _, _) => Duration::from_secs(seconds(&span)?),
        (None, Some(moment), _) => {
            let moment = Duration::from_secs(seconds(&moment)?);
            until(SystemTime::UNIX_EPOCH.checked_add(moment)?)
        }
        (None, None, Some(moment)) => until(humantime::parse_rfc3339(&moment).ok()?),
        (None, None, None) => UNSAID,
    };
    Some(NewToken { value: Secret::new(token), lives })
}

/// Seconds as a number or as its digits.
fn seconds(value: &Value) -> Option<u64> {
    match value {
        Value::Number(number) => number.as_u64(),
        Value::String(digits) => digits.parse().ok(),
        _ => None,
    }
}

/// How long it is until that moment; nothing when it has passed.
pub(super) fn until(moment: SystemTime) -> Duration {
    moment.duration_since(SystemTime::now()).unwrap_or_default()
}
