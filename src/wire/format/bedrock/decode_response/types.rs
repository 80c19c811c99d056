//! The shapes of a provider's events, as far as they are read.

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ContentBlockStart {
    pub(super) content_block_index: u64,
    pub(super) start: Start,
}

/// `contentBlockStart.start`
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Start {
    pub(super) tool_use: Option<ToolUse>,
    pub(super) tool_result: Option<Value>,
    pub(super) image: Option<ImageStart>,
}

#[derive(Debug, Deserialize)]
pub(super) struct ToolUse {
    #[serde(rename = "toolUseId")]
    pub(super) id: Option<String>,
    pub(super) name: String,
    pub(super) r#type: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct ImageStart {
    pub(super) format: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ContentBlockDelta {
    pub(super) content_block_index: u64,
    pub(super) delta: Delta,
}

/// `contentBlockDelta.delta`
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Delta {
    pub(super) text: Option<String>,
    pub(super) tool_use: Option<ToolInput>,
    pub(super) tool_result: Option<Vec<Value>>,
    pub(super) reasoning_content: Option<Reasoning>,
    pub(super) citation: Option<Value>,
    pub(super) image: Option<Image>,
}

#[derive(Debug, Deserialize)]
pub(super) struct ToolInput {
    pub(super) input: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Reasoning {
    pub(super) text: Option<String>,
    pub(super) signature: Option<String>,
    pub(super) redacted_content: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Image {
    pub(super) source: Option<Bytes>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Bytes {
    /// Base64.
    pub(super) bytes: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ContentBlockStop {
    pub(super) content_block_index: u64,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct MessageStop {
    pub(super) stop_reason: String,
    pub(super) additional_model_response_fields: Option<Value>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Metadata<'m> {
    #[serde(borrow)]
    pub(super) usage: Option<&'m RawValue>,
    pub(super) service_tier: Option<ServiceTier>,
}

#[derive(Debug, Deserialize)]
pub(super) struct ServiceTier {
    pub(super) r#type: String,
}
