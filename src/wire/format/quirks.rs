//! How vendors differ from the chat format of OpenAI, which they copied: one row of data a vendor.
//!
//! A row holds what the vendor's reference or a recorded exchange shows, with its source. What nobody
//! documents is as in [`PLAIN`].

use crate::wire::ir::Effort;

/// What one kind of provider takes of the chat format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quirks {
    /// The name of the token limit: `max_completion_tokens` or `max_tokens`.
    pub max_tokens: &'static str,
    /// True if a stream reports its usage only with `stream_options.include_usage`. False if the vendor always
    /// reports it, and may not know the option.
    pub requests_stream_usage: bool,
    /// What ids of tool calls must look like.
    pub call_ids: CallIds,
    /// The word of `tool_choice` that requires a call. `None`: only `auto` is supported.
    pub required_choice: Option<&'static str>,
    /// True if `tool_choice` may have `allowed_tools`. Otherwise the other tools are left out, which means the
    /// same.
    pub allowed_tools: bool,
    /// True if functions may have `strict`.
    pub strict_tools: bool,
    /// True if `parallel_tool_calls` is supported.
    pub parallel_tool_calls: bool,
    /// How JSON schema output is requested.
    pub json_schema: JsonSchema,
    /// The name of the seed.
    pub seed: Option<&'static str>,
    /// True if `top_k` is supported.
    pub top_k: bool,
    /// True if `frequency_penalty` and `presence_penalty` are supported.
    pub penalties: bool,
    /// True if `n` may be more than one.
    pub multiple_candidates: bool,
    /// True if `logprobs` is a boolean beside `top_logprobs`, as OpenAI has it.
    pub logprobs: bool,
    /// True if messages may have a `name`.
    pub participant_names: bool,
    /// How reasoning of earlier turns is sent.
    pub reasoning: ReasoningHistory,
    /// The words of `reasoning_effort` in ascending order; another becomes the nearest.
    pub efforts: &'static [Effort],
    /// True if reasoning is turned on and off by `thinking: {"type": …}`.
    pub thinking_switch: bool,
    /// True if `user` is supported.
    pub end_user: bool,
    /// True if `service_tier` has OpenAI's words.
    pub service_tier: bool,
    /// True if `prompt_cache_key` is supported.
    pub prompt_cache_key: bool,
    /// True if a message of the assistant may have a `refusal`. Otherwise it is sent as text.
    pub refusal: bool,
    /// True if `prefix: true` makes the model continue the last message.
    pub prefix: bool,
    /// How documents are sent.
    pub documents: Documents,
    /// True if Gemini's signatures are sent in `extra_content.google`.
    pub google_signatures: bool,
    /// True if the API has OpenAI's limits and its check of schemas.
    pub openai_limits: bool,
}

/// What ids of tool calls must look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallIds {
    /// Any text.
    Any,
    /// At most 40 characters: "Invalid ...tool_calls...id: string too long. Expected a string with
    /// maximum length 40".
    AtMost40,
    /// Nine letters and digits.
    NineAlphanumerics,
}

/// How documents are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Documents {
    /// In `file` parts, as bytes.
    Files,
    /// In `document_url` parts; bytes as a `data:` URL.
    /// <https://docs.mistral.ai/capabilities/document_ai/document_qna>
    Urls,
    /// They are refused.
    Unsupported,
}

/// How JSON schema output is requested.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JsonSchema {
    /// By `response_format`.
    Native,
    /// By a tool that must be called.
    ForcedTool,
    /// It is refused: `response_format` has no `json_schema`, and no tool can be forced.
    Unsupported,
}

/// How reasoning of earlier turns is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReasoningHistory {
    /// It is dropped.
    Dropped,
    /// In this member of the assistant's message.
    Member(&'static str),
    /// In this member, which a message with tool calls must have: it is empty where there is no reasoning.
    RequiredMember(&'static str),
    /// As a `thinking` part of the content.
    Part,
}

const ALL_EFFORTS: &[Effort] = &[
    Effort::None,
    Effort::Minimal,
    Effort::Low,
    Effort::Medium,
    Effort::High,
    Effort::XHigh,
    Effort::Max,
];
const LOW_TO_HIGH: &[Effort] = &[Effort::Low, Effort::Medium, Effort::High];
const NONE_TO_HIGH: &[Effort] = &[Effort::None, Effort::Low, Effort::Medium, Effort::High];
const ON_OR_OFF: &[Effort] = &[Effort::None, Effort::High];

const AS_OPENAI: Quirks = Quirks {
    max_tokens: "max_completion_tokens",
    requests_stream_usage: true,
    call_ids: CallIds::AtMost40,
    required_choice: Some("required"),
    allowed_tools: true,
    strict_tools: true,
    parallel_tool_calls: true,
    json_schema: JsonSchema::Native,
    seed: Some("seed"),
    top_k: false,
    penalties: true,
    multiple_candidates: true,
    logprobs: true,
    participant_names: true,
    reasoning: ReasoningHistory::Dropped,
    efforts: ALL_EFFORTS,
    thinking_switch: false,
    end_user: true,
    service_tier: true,
    prompt_cache_key: true,
    refusal: true,
    prefix: false,
    documents: Documents::Files,
    google_signatures: false,
    openai_limits: true,
};

/// What nearly all vendors take that copied OpenAI's format and have no exact reference.
const ALIKE: Quirks = Quirks {
    max_tokens: "max_tokens",
    allowed_tools: false,
    service_tier: false,
    prompt_cache_key: false,
    refusal: false,
    call_ids: CallIds::Any,
    openai_limits: false,
    ..AS_OPENAI
};

/// OpenAI, Azure, and all kinds without differences of their own.
pub static PLAIN: Quirks = AS_OPENAI;

/// Any server that copied the format. llama.cpp and Moonshot take reasoning back under this name (recorded
/// exchanges; <https://platform.moonshot.ai/docs/guide/use-kimi-k2-thinking-model>).
pub static COMPATIBLE: Quirks =
    Quirks { reasoning: ReasoningHistory::Member("reasoning_content"), ..ALIKE };

/// Gemini and other models at Vertex's endpoint for OpenAI clients.
/// <https://cloud.google.com/vertex-ai/generative-ai/docs/start/openai>;
/// <https://ai.google.dev/gemini-api/docs/thought-signatures#openai>
pub static VERTEX: Quirks = Quirks { efforts: NONE_TO_HIGH, google_signatures: true, ..ALIKE };

/// Messages are closed objects, in which any other member is an error. Every stream's last chunk has the
/// usage. <https://docs.mistral.ai/api/>. `logprobs` is a 400 (recorded). Ids of calls: the validator of
/// messages in <https://github.com/mistralai/mistral-common>.
pub static MISTRAL: Quirks = Quirks {
    requests_stream_usage: false,
    call_ids: CallIds::NineAlphanumerics,
    required_choice: Some("any"),
    seed: Some("random_seed"),
    logprobs: false,
    participant_names: false,
    reasoning: ReasoningHistory::Part,
    efforts: ON_OR_OFF,
    end_user: false,
    prompt_cache_key: true,
    prefix: true,
    documents: Documents::Urls,
    ..ALIKE
};

/// `response_format` has `text` and `json_object` only. Within a run of tool calls the reasoning must be sent
/// back; for a message without reasoning an empty text is accepted (recorded).
/// <https://api-docs.deepseek.com/api/create-chat-completion>,
/// <https://api-docs.deepseek.com/guides/thinking_mode>
pub static DEEPSEEK: Quirks = Quirks {
    strict_tools: false,
    parallel_tool_calls: false,
    json_schema: JsonSchema::ForcedTool,
    seed: None,
    multiple_candidates: false,
    reasoning: ReasoningHistory::RequiredMember("reasoning_content"),
    efforts: &[
        Effort::Minimal,
        Effort::Low,
        Effort::Medium,
        Effort::High,
        Effort::XHigh,
        Effort::Max,
    ],
    thinking_switch: true,
    end_user: false,
    documents: Documents::Unsupported,
    ..ALIKE
};

/// Reasoning is sent back under this name (recorded). All reasoning models take these two efforts.
/// <https://docs.x.ai/docs/guides/reasoning>
pub static XAI: Quirks = Quirks {
    max_tokens: "max_completion_tokens",
    reasoning: ReasoningHistory::Member("reasoning_content"),
    efforts: &[Effort::Low, Effort::High],
    documents: Documents::Unsupported,
    ..ALIKE
};

/// Of tool choices only `auto` is supported, of response formats only `json_object`. Every stream's last chunk
/// has the usage. <https://docs.z.ai/api-reference/llm/chat-completion>,
/// <https://docs.z.ai/guides/capabilities/thinking-mode>
pub static ZAI: Quirks = Quirks {
    requests_stream_usage: false,
    required_choice: None,
    strict_tools: false,
    parallel_tool_calls: false,
    json_schema: JsonSchema::Unsupported,
    seed: None,
    penalties: false,
    multiple_candidates: false,
    logprobs: false,
    participant_names: false,
    reasoning: ReasoningHistory::Member("reasoning_content"),
    efforts: &[],
    thinking_switch: true,
    end_user: false,
    documents: Documents::Unsupported,
    ..ALIKE
};

/// The compatibility endpoint. <https://docs.cohere.com/docs/compatibility-api> lists what it supports.
pub static COHERE: Quirks = Quirks {
    parallel_tool_calls: false,
    multiple_candidates: false,
    logprobs: false,
    participant_names: false,
    efforts: ON_OR_OFF,
    end_user: false,
    documents: Documents::Unsupported,
    ..ALIKE
};

/// `logprobs`, names and more than one candidate are each a 400. <https://console.groq.com/docs/openai>
pub static GROQ: Quirks = Quirks {
    max_tokens: "max_completion_tokens",
    multiple_candidates: false,
    logprobs: false,
    participant_names: false,
    efforts: NONE_TO_HIGH,
    documents: Documents::Unsupported,
    ..ALIKE
};

/// `logprobs` is a number here. Every stream's last chunk has the usage.
/// <https://docs.together.ai/reference/chat-completions-1>
pub static TOGETHER: Quirks = Quirks {
    requests_stream_usage: false,
    parallel_tool_calls: false,
    top_k: true,
    logprobs: false,
    efforts: LOW_TO_HIGH,
    end_user: false,
    documents: Documents::Unsupported,
    ..ALIKE
};

/// <https://docs.vllm.ai/en/latest/serving/openai_compatible_server.html>
pub static VLLM: Quirks = Quirks {
    top_k: true,
    reasoning: ReasoningHistory::Member("reasoning_content"),
    efforts: LOW_TO_HIGH,
    documents: Documents::Unsupported,
    ..ALIKE
};

/// <https://docs.ollama.com/api/openai-compatibility>; reasoning is sent back as `reasoning` (recorded).
pub static OLLAMA: Quirks = Quirks {
    strict_tools: false,
    parallel_tool_calls: false,
    multiple_candidates: false,
    reasoning: ReasoningHistory::Member("reasoning"),
    efforts: NONE_TO_HIGH,
    end_user: false,
    documents: Documents::Unsupported,
    ..ALIKE
};

/// <https://docs.sglang.ai/basic_usage/openai_api_completions.html>
pub static SGLANG: Quirks = Quirks {
    top_k: true,
    reasoning: ReasoningHistory::Member("reasoning_content"),
    efforts: LOW_TO_HIGH,
    documents: Documents::Unsupported,
    ..ALIKE
};
