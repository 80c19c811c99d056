//! What a provider's event or answer holds, member by member. A member that matters is kept as written
//! until it is looked at, so that a vendor's odd value costs that member and not the event.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::wire::failure::ProviderError;
use crate::wire::failure::class::{Class, Failure};
use crate::wire::failure::classify::classify_in_stream;

/// An event.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Said<'f> {
    #[serde(rename = "type", borrow, default)]
    pub(crate) kind: Cow<'f, str>,
    pub(crate) output_index: Option<u32>,
    pub(crate) content_index: Option<u32>,
    pub(crate) summary_index: Option<u32>,
    #[serde(borrow)]
    pub(crate) delta: Option<&'f RawValue>,
    #[serde(borrow)]
    pub(crate) text: Option<&'f RawValue>,
    #[serde(borrow)]
    pub(crate) refusal: Option<&'f RawValue>,
    #[serde(borrow)]
    pub(crate) arguments: Option<&'f RawValue>,
    #[serde(borrow)]
    pub(crate) logprobs: Option<&'f RawValue>,
    #[serde(borrow)]
    pub(crate) annotation: Option<&'f RawValue>,
    #[serde(borrow)]
    pub(crate) part: Option<&'f RawValue>,
    #[serde(borrow)]
    pub(crate) item: Option<&'f RawValue>,
    #[serde(borrow)]
    pub(crate) response: Option<&'f RawValue>,
    #[serde(borrow)]
    pub(crate) error: Option<&'f RawValue>,
}

/// A response object.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Response<'f> {
    #[serde(borrow)]
    pub(crate) id: Option<&'f RawValue>,
    #[serde(borrow)]
    pub(crate) model: Option<&'f RawValue>,
    #[serde(borrow)]
    pub(crate) created_at: Option<&'f RawValue>,
    #[serde(borrow)]
    pub(crate) status: Option<&'f RawValue>,
    #[serde(borrow)]
    pub(crate) output: Option<Vec<&'f RawValue>>,
    #[serde(borrow)]
    pub(crate) usage: Option<&'f RawValue>,
    #[serde(borrow)]
    pub(crate) service_tier: Option<&'f RawValue>,
    #[serde(borrow)]
    pub(crate) error: Option<&'f RawValue>,
    #[serde(borrow)]
    pub(crate) incomplete_details: Option<Incomplete<'f>>,
}

/// Why a response is not whole.
#[derive(Debug, Deserialize)]
pub(crate) struct Incomplete<'f> {
    #[serde(borrow)]
    pub(crate) reason: Option<&'f RawValue>,
}

/// An item of an answer.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Item<'f> {
    #[serde(rename = "type", borrow, default)]
    pub(crate) kind: Cow<'f, str>,
    #[serde(borrow)]
    pub(crate) id: Option<&'f RawValue>,
    #[serde(borrow)]
    pub(crate) call_id: Option<&'f RawValue>,
    #[serde(borrow)]
    pub(crate) name: Option<&'f RawValue>,
    #[serde(borrow)]
    pub(crate) arguments: Option<&'f RawValue>,
    #[serde(borrow)]
    pub(crate) input: Option<&'f RawValue>,
    #[serde(borrow)]
    pub(crate) content: Option<Vec<Part<'f>>>,
    #[serde(borrow)]
    pub(crate) summary: Option<Vec<Part<'f>>>,
    #[serde(borrow)]
    pub(crate) encrypted_content: Option<&'f RawValue>,
    #[serde(borrow)]
    pub(crate) result: Option<&'f RawValue>,
    #[serde(borrow)]
    pub(crate) output_format: Option<&'f RawValue>,
}

/// A part of a message or of reasoning.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Part<'f> {
    #[serde(rename = "type", borrow, default)]
    pub(crate) kind: Cow<'f, str>,
    #[serde(borrow)]
    pub(crate) text: Option<&'f RawValue>,
    #[serde(borrow)]
    pub(crate) refusal: Option<&'f RawValue>,
    #[serde(borrow)]
    pub(crate) annotations: Option<&'f RawValue>,
    #[serde(borrow)]
    pub(crate) logprobs: Option<&'f RawValue>,
}

/// A value of the type that it should have; anything else is as good as absent.
pub(crate) fn read<'f, T: Deserialize<'f>>(raw: Option<&'f RawValue>) -> Option<T> {
    serde_json::from_str(raw?.get()).ok()
}

/// A string that is not empty.
pub(crate) fn text(raw: Option<&RawValue>) -> Option<String> {
    read::<String>(raw).filter(|text| !text.is_empty())
}

/// A list, empty where there is none.
pub(crate) fn list(raw: Option<&RawValue>) -> Vec<Value> {
    read(raw).unwrap_or_default()
}

/// A call's arguments: a string of JSON, or with some vendors the JSON itself.
pub(crate) fn arguments(raw: Option<&RawValue>) -> Option<String> {
    let raw = raw?;
    match serde_json::from_str::<String>(raw.get()) {
        Ok(text) => Some(text).filter(|text| !text.is_empty()),
        Err(_) => Some(raw.get().to_owned()),
    }
}

/// An error as the provider has told it: an object, or its words alone.
pub(crate) fn error(raw: &str) -> ProviderError {
    let value: Value = serde_json::from_str(raw).unwrap_or_default();
    let part = |name: &str| match &value[name] {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    };
    let words = value.as_str().map(str::to_owned);
    ProviderError {
        failure: classify_in_stream(raw.as_bytes()),
        status: value["status"].as_u64().and_then(|status| u16::try_from(status).ok()),
        // Of the event itself, where the error stands flat in it, this is no name.
        kind: part("type").filter(|kind| kind != "error"),
        code: part("code"),
        param: part("param"),
        message: part("message")
            .or(words)
            .unwrap_or_else(|| "The provider reports an error without words.".to_owned()),
    }
}

/// An answer that cannot be read, or is none.
pub(crate) fn trouble(message: &str) -> ProviderError {
    ProviderError {
        failure: Failure { class: Class::Trouble, retry_after: None },
        status: None,
        kind: None,
        code: None,
        param: None,
        message: message.to_owned(),
    }
}
