//! What is written: a request of `/v2/chat`.

use std::borrow::Cow;

use serde::Serialize;
use serde_json::{Number, Value};

#[derive(Serialize)]
pub(super) struct Body<'r> {
    pub(super) model: &'r str,
    pub(super) stream: bool,
    pub(super) messages: Vec<Message<'r>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) documents: Vec<Document<'r>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) tools: Vec<Tool<'r>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) strict_tools: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tool_choice: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) response_format: Option<ResponseFormat<'r>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) thinking: Option<Thinking>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) max_tokens: Option<u64>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    pub(super) stop_sequences: &'r [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) temperature: Option<&'r Number>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) p: Option<&'r Number>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) k: Option<&'r Number>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) seed: Option<&'r Number>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) frequency_penalty: Option<&'r Number>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) presence_penalty: Option<&'r Number>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) logprobs: Option<bool>,
}

#[derive(Default, Serialize)]
pub(super) struct Message<'r> {
    pub(super) role: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tool_call_id: Option<&'r str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tool_plan: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) tool_calls: Vec<ToolCall<'r>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) content: Option<Vec<Part<'r>>>,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Part<'r> {
    Text { text: &'r str },
    Thinking { thinking: &'r str },
    ImageUrl { image_url: ImageUrl<'r> },
}

#[derive(Serialize)]
pub(super) struct ImageUrl<'r> {
    pub(super) url: Cow<'r, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) detail: Option<&'r str>,
}

#[derive(Serialize)]
pub(super) struct ToolCall<'r> {
    pub(super) id: &'r str,
    pub(super) r#type: &'static str,
    pub(super) function: FunctionCall<'r>,
}

#[derive(Serialize)]
pub(super) struct FunctionCall<'r> {
    pub(super) name: &'r str,
    pub(super) arguments: &'r str,
}

#[derive(Serialize)]
pub(super) struct Tool<'r> {
    pub(super) r#type: &'static str,
    pub(super) function: Function<'r>,
}

#[derive(Serialize)]
pub(super) struct Function<'r> {
    pub(super) name: &'r str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) description: Option<&'r str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) parameters: Option<&'r Value>,
}

/// A document that the model may cite, outside the conversation.
#[derive(Serialize)]
pub(super) struct Document<'r> {
    pub(super) data: DocumentData<'r>,
}

#[derive(Serialize)]
pub(super) struct DocumentData<'r> {
    pub(super) text: &'r str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) title: Option<&'r str>,
}

#[derive(Serialize)]
pub(super) struct ResponseFormat<'r> {
    pub(super) r#type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) json_schema: Option<&'r Value>,
}

#[derive(Serialize)]
pub(super) struct Thinking {
    pub(super) r#type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) token_budget: Option<u64>,
}
