//! An error in an answer or in a stream.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::wire::api::Api;
use crate::wire::failure::ProviderError;
use crate::wire::failure::class::Failure;
use crate::wire::failure::classify::{classify_named, classify_told};
use crate::wire::format::anthropic::stop_reason;

/// Anthropic sends `{"type":"error","error":{…}}`; vendors that copy it leave out one or the other, and AWS has
/// the `message` at the top.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Body<'b> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'b, str>,
    #[serde(borrow)]
    error: Option<&'b RawValue>,
    message: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Error {
    #[serde(rename = "type")]
    kind: Option<String>,
    message: Option<String>,
}

/// Returns true for an error body, whatever its status.
pub(super) fn is_error(body: &[u8]) -> bool {
    let body: Body<'_> = serde_json::from_slice(body).unwrap_or_default();
    body.kind == "error" || body.error.is_some()
}

/// Parses an error body or an `error` event.
pub(super) fn parse(body: &[u8]) -> ProviderError {
    let Error { kind, message } = error_of(body);
    provider_error(classify_told(Api::Anthropic, body), kind, message)
}

/// Parses an exception of an AWS event stream.
pub(super) fn parse_exception(kind: &str, payload: &[u8]) -> ProviderError {
    let message = error_of(payload).message;
    provider_error(classify_named(kind, payload), Some(kind.to_owned()), message)
}

fn error_of(body: &[u8]) -> Error {
    let body: Body<'_> = serde_json::from_slice(body).unwrap_or_default();
    let error = body.error.map(|raw| {
        serde_json::from_str(raw.get())
            .unwrap_or_else(|_| Error { kind: None, message: serde_json::from_str(raw.get()).ok() })
    });
    let Error { kind, message } = error.unwrap_or_default();
    Error { kind, message: message.or(body.message) }
}

fn provider_error(
    failure: Failure,
    kind: Option<String>,
    message: Option<String>,
) -> ProviderError {
    let status = kind.as_deref().and_then(stop_reason::status);
    let message = message.unwrap_or_else(|| "The provider reports an error.".to_owned());
    ProviderError { failure, status, kind, code: None, param: None, message }
}
