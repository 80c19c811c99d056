//! The shapes that keymux writes: request bodies for providers, and answers and stream events for callers.
//! Names are the API's:
//! <https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html>

use std::borrow::Cow;

use serde::ser::Error as _;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use serde_json::{Map, Number, Value};

/// The body of `Converse` and `ConverseStream`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Body<'r> {
    pub(super) messages: Vec<Message<'r>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) system: Vec<ContentBlock<'r>>,
    #[serde(skip_serializing_if = "InferenceConfig::is_empty")]
    pub(super) inference_config: InferenceConfig<'r>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tool_config: Option<ToolConfig<'r>>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub(super) additional_model_request_fields: Map<String, Value>,
    #[serde(skip_serializing_if = "OutputConfig::is_empty")]
    pub(super) output_config: OutputConfig<'r>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) request_metadata: Option<&'r Map<String, Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) service_tier: Option<ServiceTier<'r>>,
}

#[derive(Debug, Serialize)]
pub(super) struct Message<'r> {
    pub(super) role: &'static str,
    pub(super) content: Vec<ContentBlock<'r>>,
}

/// A `ContentBlock`, a `SystemContentBlock` or a `ToolResultContentBlock`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub(super) enum ContentBlock<'r> {
    Text(Cow<'r, str>),
    Image {
        format: &'static str,
        source: MediaSource<'r>,
    },
    Document {
        format: &'static str,
        name: &'r str,
        source: MediaSource<'r>,
    },
    Audio {
        format: &'static str,
        source: MediaSource<'r>,
    },
    Video {
        format: &'static str,
        source: MediaSource<'r>,
    },
    ToolUse {
        tool_use_id: Cow<'r, str>,
        name: Cow<'r, str>,
        input: ToolInput<'r>,
    },
    ToolResult {
        tool_use_id: &'r str,
        content: Vec<ContentBlock<'r>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        status: Option<&'static str>,
    },
    ReasoningContent(ReasoningContent<'r>),
    CitationsContent {
        content: Vec<CitedText<'r>>,
        citations: Vec<Cow<'r, Value>>,
    },
    CachePoint(CachePoint<'r>),
    #[serde(untagged)]
    Foreign(Cow<'r, Value>),
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum MediaSource<'r> {
    /// Base64.
    Bytes(Cow<'r, str>),
    S3Location {
        uri: &'r str,
    },
}

/// The JSON text of an object, written as it is.
#[derive(Debug)]
pub(super) struct ToolInput<'r>(pub(super) Cow<'r, str>);

impl Serialize for ToolInput<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serde_json::from_str::<&RawValue>(&self.0).map_err(S::Error::custom)?.serialize(serializer)
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum ReasoningContent<'r> {
    ReasoningText {
        text: Cow<'r, str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        signature: Option<Cow<'r, str>>,
    },
    /// Base64.
    RedactedContent(Cow<'r, str>),
}

#[derive(Debug, Serialize)]
pub(super) struct CitedText<'r> {
    pub(super) text: Cow<'r, str>,
}

/// Marks the end of what is cached.
#[derive(Debug, Serialize)]
pub(super) struct CachePoint<'r> {
    pub(super) r#type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ttl: Option<&'r str>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct InferenceConfig<'r> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) max_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) temperature: Option<&'r Number>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) top_p: Option<&'r Number>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    pub(super) stop_sequences: &'r [String],
}

impl InferenceConfig<'_> {
    fn is_empty(&self) -> bool {
        let InferenceConfig { max_tokens, temperature, top_p, stop_sequences } = self;
        max_tokens.is_none()
            && temperature.is_none()
            && top_p.is_none()
            && stop_sequences.is_empty()
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ToolConfig<'r> {
    pub(super) tools: Vec<Tool<'r>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tool_choice: Option<ToolChoice<'r>>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub(super) enum Tool<'r> {
    #[serde(rename = "toolSpec")]
    Function {
        name: &'r str,
        #[serde(skip_serializing_if = "Option::is_none")]
        description: Option<&'r str>,
        input_schema: InputSchema<'r>,
        #[serde(skip_serializing_if = "Option::is_none")]
        strict: Option<bool>,
    },
    CachePoint(CachePoint<'r>),
    #[serde(untagged)]
    Foreign(&'r Value),
}

#[derive(Debug, Serialize)]
pub(super) struct InputSchema<'r> {
    pub(super) json: Option<&'r Value>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum ToolChoice<'r> {
    Auto {},
    Any {},
    Tool { name: &'r str },
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct OutputConfig<'r> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) text_format: Option<TextFormat<'r>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) effort: Option<&'static str>,
}

impl OutputConfig<'_> {
    fn is_empty(&self) -> bool {
        self.text_format.is_none() && self.effort.is_none()
    }
}

#[derive(Debug, Serialize)]
pub(super) struct TextFormat<'r> {
    pub(super) r#type: &'static str,
    pub(super) structure: TextStructure<'r>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub(super) enum TextStructure<'r> {
    JsonSchema {
        name: &'r str,
        /// JSON text.
        schema: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        description: Option<&'r str>,
    },
}

#[derive(Debug, Serialize)]
pub(super) struct ServiceTier<'r> {
    pub(super) r#type: &'r str,
}

/// The answer of `Converse`. `metrics.latencyMs`, which the API's model requires, is left out here and in the
/// stream's `metadata`: no time is known here, and the SDKs read answers without it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Answer<'a> {
    pub(super) output: Output<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) stop_reason: Option<String>,
    #[serde(flatten)]
    pub(super) metadata: Metadata,
}

#[derive(Debug, Serialize)]
pub(super) struct Output<'a> {
    pub(super) message: Message<'a>,
}

/// An event of the stream of `ConverseStream`; serialized as its payload.
#[derive(Debug, Serialize)]
#[serde(untagged, rename_all_fields = "camelCase")]
pub(super) enum StreamEvent<'e> {
    MessageStart {
        role: &'static str,
    },
    ContentBlockStart {
        start: BlockStart<'e>,
        content_block_index: u32,
    },
    ContentBlockDelta {
        content_block_index: u32,
        delta: Delta<'e>,
    },
    ContentBlockStop {
        content_block_index: u32,
    },
    /// A complete block of the format: a start and a delta in the stream.
    #[serde(skip)]
    ForeignBlock {
        content_block_index: u32,
        json: &'e Value,
    },
    MessageStop {
        stop_reason: &'e str,
    },
    Metadata(Metadata),
}

impl StreamEvent<'_> {
    /// Returns the `:event-type`.
    pub(super) fn name(&self) -> &'static str {
        match self {
            StreamEvent::MessageStart { .. } => "messageStart",
            StreamEvent::ContentBlockStart { .. } | StreamEvent::ForeignBlock { .. } => {
                "contentBlockStart"
            }
            StreamEvent::ContentBlockDelta { .. } => "contentBlockDelta",
            StreamEvent::ContentBlockStop { .. } => "contentBlockStop",
            StreamEvent::MessageStop { .. } => "messageStop",
            StreamEvent::Metadata(_) => "metadata",
        }
    }
}

/// `contentBlockStart.start`
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub(super) enum BlockStart<'e> {
    ToolUse {
        tool_use_id: &'e str,
        name: &'e str,
    },
    Image {
        format: &'static str,
    },
    #[serde(untagged)]
    Foreign(Map<String, Value>),
}

/// `contentBlockDelta.delta`
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Delta<'e> {
    Text(&'e str),
    ToolUse { input: &'e str },
    ToolResult(&'e Value),
    ReasoningContent(ReasoningDelta<'e>),
    Citation(CitationDelta<'e>),
    Image { source: MediaSource<'e> },
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum ReasoningDelta<'e> {
    Text(&'e str),
    Signature(String),
    RedactedContent(&'e str),
}

#[derive(Debug, Serialize)]
pub(super) struct CitationDelta<'e> {
    #[serde(flatten)]
    pub(super) citation: Cow<'e, Value>,
    /// Set when another format made it.
    #[serde(skip)]
    pub(super) is_translated: bool,
}

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Metadata {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) usage: Option<TokenUsage>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) service_tier: Option<ServiceTier<'static>>,
}

/// `inputTokens` does not count the cache, `totalTokens` does. The API's model requires these and
/// `outputTokens`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::struct_field_names, reason = "the API's names")]
pub(super) struct TokenUsage {
    pub(super) input_tokens: u64,
    pub(super) output_tokens: u64,
    pub(super) total_tokens: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) cache_read_input_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) cache_write_input_tokens: Option<u64>,
}

/// Returns true for a citation of this format.
pub(super) fn is_own_citation(citation: &Value) -> bool {
    citation.as_object().is_some_and(|members| {
        let mut names = members.keys().map(String::as_str);
        names.all(|name| matches!(name, "title" | "source" | "sourceContent" | "location"))
            && members.get("location").is_none_or(Value::is_object)
    })
}
