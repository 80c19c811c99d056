//! What a provider's event or answer holds, member by member. A member that matters is kept as written
//! until it is looked at, so that a vendor's odd value costs that member and not the event.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::wire::failure::{Class, Failure, classify_in_stream};
use crate::wire::ir::Told;

/// An event.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Said<'f> {
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

/// Why a response is not whole.
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

/// A value of the type that it should have; anything else is as good as absent.
pub(super) fn read<'f, T: Deserialize<'f>>(raw: Option<&'f RawValue>) -> Option<T> {
    serde_json::from_str(raw?.get()).ok()
}

/// A string that is not empty.
pub(super) fn text(raw: Option<&RawValue>) -> Option<String> {
    read::<String>(raw).filter(|text| !text.is_empty())
}

/// A list, empty where there is none.
pub(super) fn list(raw: Option<&RawValue>) -> Vec<Value> {
    read(raw).unwrap_or_default()
}

/// A call's arguments: a string of JSON, or with some vendors the JSON itself.
pub(super) fn arguments(raw: Option<&RawValue>) -> Option<String> {
    let raw = raw?;
    match serde_json::from_str::<String>(raw.get()) {
        Ok(text) => Some(text).filter(|text| !text.is_empty()),
        Err(_) => Some(raw.get().to_owned()),
    }
}

/// An error as the provider has told it: an object, or its words alone.
pub(super) fn error(raw: &str) -> Told {
    let value: Value = serde_json::from_str(raw).unwrap_or_default();
    let part = |name: &str| match &value[name] {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    };
    let words = value.as_str().map(str::to_owned);
    Told {
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
pub(super) fn trouble(message: &str) -> Told {
    Told {
        failure: Failure { class: Class::Trouble, retry_after: None },
        status: None,
        kind: None,
        code: None,
        param: None,
        message: message.to_owned(),
    }
}
