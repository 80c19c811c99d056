//! What is written of the Messages API: requests, answers, and the events of streams.
//! <https://platform.claude.com/docs/en/api/messages/create>,
//! <https://platform.claude.com/docs/en/build-with-claude/streaming>

use std::borrow::Cow;

use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use serde_json::{Map, Number, Value};

/// A request. `model` and `stream` come first, where `anthropic_on_clouds` finds them soonest.
#[derive(Debug, Serialize)]
pub(super) struct Body<'r> {
    pub(super) model: &'r str,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) stream: bool,
    pub(super) max_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) tools: Vec<Tool<'r>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tool_choice: Option<ToolChoice<'r>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) system: Vec<ContentBlock<'r>>,
    pub(super) messages: Vec<Message<'r>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) thinking: Option<Thinking>,
    #[serde(skip_serializing_if = "OutputConfig::is_empty")]
    pub(super) output_config: OutputConfig<'r>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) temperature: Option<&'r Number>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) top_p: Option<&'r Number>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) top_k: Option<&'r Number>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    pub(super) stop_sequences: &'r [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) metadata: Option<Metadata<'r>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) service_tier: Option<&'static str>,
}

#[derive(Debug, Serialize)]
pub(super) struct Message<'r> {
    pub(super) role: &'static str,
    pub(super) content: Vec<ContentBlock<'r>>,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum Tool<'r> {
    Custom {
        name: &'r str,
        #[serde(skip_serializing_if = "Option::is_none")]
        description: Option<&'r str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        input_schema: Option<&'r Value>,
        #[serde(skip_serializing_if = "Option::is_none")]
        strict: Option<bool>,
        #[serde(skip_serializing_if = "Option::is_none")]
        cache_control: Option<CacheControl<'r>>,
    },
    Server(&'r Value),
}

#[derive(Debug, Serialize)]
pub(super) struct ToolChoice<'r> {
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) name: Option<&'r str>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) disable_parallel_tool_use: bool,
}

#[derive(Debug, Serialize)]
pub(super) struct Thinking {
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) budget_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) display: Option<&'static str>,
}

#[derive(Debug, Serialize)]
pub(super) struct OutputConfig<'r> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) effort: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) format: Option<OutputFormat<'r>>,
}

impl OutputConfig<'_> {
    fn is_empty(&self) -> bool {
        self.effort.is_none() && self.format.is_none()
    }
}

#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum OutputFormat<'r> {
    JsonSchema { schema: &'r Value },
}

#[derive(Debug, Serialize)]
pub(super) struct Metadata<'r> {
    pub(super) user_id: &'r str,
}

#[derive(Clone, Debug, Serialize)]
#[serde(tag = "type", rename = "ephemeral")]
pub(super) struct CacheControl<'r> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ttl: Option<&'r str>,
}

/// A block of a message, in a request or in an answer.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum ContentBlock<'b> {
    Text {
        text: Cow<'b, str>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        citations: Vec<Cow<'b, Value>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        cache_control: Option<CacheControl<'b>>,
    },
    Image {
        source: Source<'b>,
        #[serde(skip_serializing_if = "Option::is_none")]
        cache_control: Option<CacheControl<'b>>,
    },
    Document {
        source: Source<'b>,
        #[serde(skip_serializing_if = "Option::is_none")]
        title: Option<&'b str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        cache_control: Option<CacheControl<'b>>,
    },
    ToolUse {
        id: Cow<'b, str>,
        name: Cow<'b, str>,
        input: Input<'b>,
        #[serde(skip_serializing_if = "Option::is_none")]
        cache_control: Option<CacheControl<'b>>,
    },
    ToolResult {
        tool_use_id: &'b str,
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        is_error: bool,
        #[serde(skip_serializing_if = "Option::is_none")]
        content: Option<ResultContent<'b>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        cache_control: Option<CacheControl<'b>>,
    },
    Thinking {
        thinking: Cow<'b, str>,
        signature: Cow<'b, str>,
    },
    RedactedThinking {
        data: Cow<'b, str>,
    },
    #[serde(untagged)]
    Foreign(Cow<'b, Value>),
}

#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub(super) enum ResultContent<'b> {
    Text(&'b str),
    Blocks(Vec<ContentBlock<'b>>),
}

/// Where the bytes of an image or a document are.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Source<'b> {
    Base64 { media_type: &'b str, data: &'b str },
    Url { url: &'b str },
    File { file_id: &'b str },
    Text { media_type: &'static str, data: &'b str },
}

/// JSON text of an object, written as it is.
#[derive(Clone, Debug)]
pub(super) struct Input<'b>(pub(super) Cow<'b, str>);

impl Serialize for Input<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // Both sides make the text an object before; a block of a stream begins without any.
        match serde_json::from_str::<&RawValue>(&self.0) {
            Ok(raw) => raw.serialize(serializer),
            Err(_) => Map::new().serialize(serializer),
        }
    }
}

/// An event of a stream. An error within a stream and an error body are the same.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum StreamEvent<'e> {
    MessageStart { message: Answer<'e> },
    ContentBlockStart { index: u32, content_block: ContentBlock<'e> },
    ContentBlockDelta { index: u32, delta: Delta<'e> },
    ContentBlockStop { index: u32 },
    MessageDelta { delta: MessageDelta<'e>, usage: Usage },
    MessageStop,
    Ping,
    Error { error: Error<'e> },
}

impl StreamEvent<'_> {
    /// The name in the frame, which is that of `type`.
    pub(super) fn name(&self) -> &'static str {
        match self {
            StreamEvent::MessageStart { .. } => "message_start",
            StreamEvent::ContentBlockStart { .. } => "content_block_start",
            StreamEvent::ContentBlockDelta { .. } => "content_block_delta",
            StreamEvent::ContentBlockStop { .. } => "content_block_stop",
            StreamEvent::MessageDelta { .. } => "message_delta",
            StreamEvent::MessageStop => "message_stop",
            StreamEvent::Ping => "ping",
            StreamEvent::Error { .. } => "error",
        }
    }
}

/// An answer, whole or at its start.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename = "message")]
pub(super) struct Answer<'e> {
    pub(super) id: Cow<'e, str>,
    pub(super) role: &'static str,
    pub(super) model: Cow<'e, str>,
    pub(super) content: Vec<ContentBlock<'e>>,
    pub(super) stop_reason: Option<&'static str>,
    pub(super) stop_sequence: Option<String>,
    pub(super) usage: Usage,
}

#[derive(Debug, Serialize)]
#[serde(tag = "type")]
pub(super) enum Delta<'e> {
    #[serde(rename = "text_delta")]
    Text { text: &'e str },
    #[serde(rename = "input_json_delta")]
    InputJson { partial_json: &'e str },
    #[serde(rename = "thinking_delta")]
    Thinking { thinking: &'e str },
    #[serde(rename = "signature_delta")]
    Signature { signature: String },
    #[serde(rename = "citations_delta")]
    Citation { citation: &'e Value },
}

#[derive(Debug, Serialize)]
pub(super) struct MessageDelta<'e> {
    pub(super) stop_reason: &'static str,
    pub(super) stop_sequence: Option<&'e str>,
}

/// Counts in the API's accounting, where `input_tokens` leaves out those of the cache. Of `message_delta` a
/// `null` leaves what `message_start` reported.
#[derive(Debug, Default, Serialize)]
pub(super) struct Usage {
    pub(super) input_tokens: Option<u64>,
    pub(super) cache_creation_input_tokens: Option<u64>,
    pub(super) cache_read_input_tokens: Option<u64>,
    pub(super) output_tokens: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) output_tokens_details: Option<OutputTokensDetails>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) service_tier: Option<&'static str>,
}

#[derive(Debug, Serialize)]
pub(super) struct OutputTokensDetails {
    pub(super) thinking_tokens: u64,
}

#[derive(Debug, Serialize)]
pub(super) struct Error<'e> {
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
    pub(super) message: &'e str,
}

/// Returns true for a citation in the form of this API: each of its kinds is a location in something.
pub(super) fn is_own_citation(citation: &Value) -> bool {
    let kind = citation.get("type").and_then(Value::as_str);
    kind.is_some_and(|kind| kind.ends_with("_location"))
}
