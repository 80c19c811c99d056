//! What is read of a provider's answer. All members are lenient: vendors that copy the API leave out some.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

/// An event of a stream.
#[derive(Deserialize)]
pub(super) struct StreamEvent<'f> {
    #[serde(rename = "type", borrow, default)]
    pub(super) kind: Cow<'f, str>,
    #[serde(default)]
    pub(super) index: Option<u64>,
    #[serde(borrow, default)]
    pub(super) message: Option<&'f RawValue>,
    #[serde(borrow, default)]
    pub(super) content_block: Option<&'f RawValue>,
    #[serde(borrow, default)]
    pub(super) delta: Option<Delta<'f>>,
    #[serde(borrow, default)]
    pub(super) usage: Option<&'f RawValue>,
}

/// More of a block, or of the message.
#[derive(Deserialize)]
pub(super) struct Delta<'f> {
    #[serde(rename = "type", borrow, default)]
    pub(super) kind: Cow<'f, str>,
    pub(super) text: Option<String>,
    pub(super) thinking: Option<String>,
    pub(super) partial_json: Option<String>,
    pub(super) signature: Option<String>,
    #[serde(borrow)]
    pub(super) citation: Option<&'f RawValue>,
    #[serde(borrow)]
    pub(super) content: Option<&'f RawValue>,
    #[serde(borrow)]
    pub(super) encrypted_content: Option<&'f RawValue>,
    pub(super) stop_reason: Option<String>,
    pub(super) stop_sequence: Option<String>,
}

/// A message, whole or at its start.
#[derive(Deserialize)]
pub(super) struct Message<'f> {
    pub(super) id: Option<String>,
    pub(super) model: Option<String>,
    #[serde(borrow, default)]
    pub(super) content: Option<Vec<&'f RawValue>>,
    pub(super) stop_reason: Option<String>,
    pub(super) stop_sequence: Option<String>,
    #[serde(borrow, default)]
    pub(super) usage: Option<&'f RawValue>,
}

/// A block of a known type, whole or at its start.
#[derive(Deserialize)]
pub(super) struct ContentBlock<'f> {
    #[serde(rename = "type", borrow)]
    pub(super) kind: Cow<'f, str>,
    pub(super) text: Option<String>,
    #[serde(borrow)]
    pub(super) citations: Option<Vec<&'f RawValue>>,
    pub(super) thinking: Option<String>,
    pub(super) signature: Option<String>,
    pub(super) data: Option<String>,
    pub(super) id: Option<String>,
    pub(super) name: Option<String>,
    #[serde(borrow)]
    pub(super) input: Option<&'f RawValue>,
}

/// The member of a usage that is no count.
#[derive(Deserialize)]
pub(super) struct Tier {
    pub(super) service_tier: Option<String>,
}

/// Returns the `type` of an object.
pub(super) fn type_of(raw: &RawValue) -> Option<Cow<'_, str>> {
    #[derive(Deserialize)]
    struct Typed<'f> {
        #[serde(rename = "type", borrow)]
        kind: Cow<'f, str>,
    }
    serde_json::from_str::<Typed<'_>>(raw.get()).ok().map(|typed| typed.kind)
}

/// Parses a value.
pub(super) fn value_of(raw: &RawValue) -> Value {
    serde_json::from_str(raw.get()).unwrap_or_default()
}
