//! Members of a provider's events and answers. Most are kept as raw JSON until they are read, so that a vendor's
//! odd value costs that member and not the whole event.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::wire::failure::ProviderError;
use crate::wire::failure::classify::classify_in_stream;

/// An event of a stream.
#[derive(Debug, Default, Deserialize)]
pub(super) struct StreamEvent<'f> {
    #[serde(rename = "type", borrow, default)]
    pub(super) kind: Cow<'f, str>,
    pub(super) output_index: Option<u32>,
    pub(super) content_index: Option<u32>,
    pub(super) summary_index: Option<u32>,
    #[serde(borrow)]
    pub(super) delta: Option<&'f RawValue>,
    #[serde(borrow)]
    pub(super) text: Option<&'f RawValue>,
    #[serde(borrow)]
    pub(super) refusal: Option<&'f RawValue>,
    #[serde(borrow)]
    pub(super) arguments: Option<&'f RawValue>,
    #[serde(borrow)]
    pub(super) logprobs: Option<&'f RawValue>,
    #[serde(borrow)]
    pub(super) annotation: Option<&'f RawValue>,
    #[serde(borrow)]
    pub(super) part: Option<&'f RawValue>,
    #[serde(borrow)]
    pub(super) item: Option<&'f RawValue>,
    #[serde(borrow)]
    pub(super) response: Option<&'f RawValue>,
    #[serde(borrow)]
    pub(super) error: Option<&'f RawValue>,
}

/// A response object.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Response<'f> {
    #[serde(borrow)]
    pub(super) id: Option<&'f RawValue>,
    #[serde(borrow)]
    pub(super) model: Option<&'f RawValue>,
    #[serde(borrow)]
    pub(super) created_at: Option<&'f RawValue>,
    #[serde(borrow)]
    pub(super) status: Option<&'f RawValue>,
    #[serde(borrow)]
    pub(super) output: Option<Vec<&'f RawValue>>,
    #[serde(borrow)]
    pub(super) usage: Option<&'f RawValue>,
    #[serde(borrow)]
    pub(super) service_tier: Option<&'f RawValue>,
    #[serde(borrow)]
    pub(super) error: Option<&'f RawValue>,
    #[serde(borrow)]
    pub(super) incomplete_details: Option<Incomplete<'f>>,
}

/// The reason why a response is incomplete.
#[derive(Debug, Deserialize)]
pub(super) struct Incomplete<'f> {
    #[serde(borrow)]
    pub(super) reason: Option<&'f RawValue>,
}

/// An item of an answer.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Item<'f> {
    #[serde(rename = "type", borrow, default)]
    pub(super) kind: Cow<'f, str>,
    #[serde(borrow)]
    pub(super) id: Option<&'f RawValue>,
    #[serde(borrow)]
    pub(super) call_id: Option<&'f RawValue>,
    #[serde(borrow)]
    pub(super) name: Option<&'f RawValue>,
    #[serde(borrow)]
    pub(super) arguments: Option<&'f RawValue>,
    #[serde(borrow)]
    pub(super) input: Option<&'f RawValue>,
    #[serde(borrow)]
    pub(super) content: Option<Vec<Part<'f>>>,
    #[serde(borrow)]
    pub(super) summary: Option<Vec<Part<'f>>>,
    #[serde(borrow)]
    pub(super) encrypted_content: Option<&'f RawValue>,
    #[serde(borrow)]
    pub(super) result: Option<&'f RawValue>,
    #[serde(borrow)]
    pub(super) output_format: Option<&'f RawValue>,
}

/// A part of a message or of reasoning.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Part<'f> {
    #[serde(rename = "type", borrow, default)]
    pub(super) kind: Cow<'f, str>,
    #[serde(borrow)]
    pub(super) text: Option<&'f RawValue>,
    #[serde(borrow)]
    pub(super) refusal: Option<&'f RawValue>,
    #[serde(borrow)]
    pub(super) annotations: Option<&'f RawValue>,
    #[serde(borrow)]
    pub(super) logprobs: Option<&'f RawValue>,
}

/// Parses a member; a value of another type counts as absent.
pub(super) fn parse<'f, T: Deserialize<'f>>(raw: Option<&'f RawValue>) -> Option<T> {
    serde_json::from_str(raw?.get()).ok()
}

/// Parses a string; an empty one counts as absent.
pub(super) fn text(raw: Option<&RawValue>) -> Option<String> {
    parse::<String>(raw).filter(|text| !text.is_empty())
}

/// Parses a list; an absent one is empty.
pub(super) fn list(raw: Option<&RawValue>) -> Vec<Value> {
    parse(raw).unwrap_or_default()
}

/// Returns the JSON text of a call's arguments. Some vendors send the JSON itself instead of a string.
pub(super) fn arguments(raw: Option<&RawValue>) -> Option<String> {
    let raw = raw?;
    match serde_json::from_str::<String>(raw.get()) {
        Ok(text) => Some(text).filter(|text| !text.is_empty()),
        Err(_) => Some(raw.get().to_owned()),
    }
}

/// Parses an error: an object, or a message alone.
pub(super) fn error(raw: &str) -> ProviderError {
    let value: Value = serde_json::from_str(raw).unwrap_or_default();
    let member = |name: &str| match &value[name] {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    };
    let message = member("message").or(value.as_str().map(str::to_owned));
    ProviderError {
        failure: classify_in_stream(raw.as_bytes()),
        status: value["status"].as_u64().and_then(|status| u16::try_from(status).ok()),
        // Where the members of the error are those of the event itself, this is the type of the event.
        kind: member("type").filter(|kind| kind != "error"),
        code: member("code"),
        param: member("param"),
        message: message
            .unwrap_or_else(|| "The provider sent an error without a message.".to_owned()),
    }
}
