//! How vendors bend a format: plain data, one row a vendor, never a copy of the code.
//!
//! A row says what is known of the vendor's own API from its reference or from recorded exchanges, and
//! where; what nobody says is as in [`PLAIN`].

use crate::wire::ir::Effort;

/// The row of one kind of provider. All of it is about OpenAI's chat format, which is the one that others
/// have copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quirks {
    /// The name of the token limit: `max_completion_tokens`, or `max_tokens`.
    pub max_tokens: &'static str,
    /// Whether a stream tells its usage because of `stream_options.include_usage`; `false`: the vendor
    /// tells it anyway, and may not know the option.
    pub asks_usage: bool,
    /// What ids of calls must look like.
    pub call_ids: CallIds,
    /// The word by which one call at least is asked for; `None`: only `auto` is understood.
    pub any: Option<&'static str>,
    /// Whether `allowed_tools` is understood; otherwise the other tools are left out, which comes to the
    /// same.
    pub allowed_tools: bool,
    /// Whether `strict` of a function is known.
    pub strict: bool,
    /// Whether `parallel_tool_calls` is known.
    pub parallel: bool,
    /// How answers by schema are asked for.
    pub schema: Schema,
    /// The name of the seed.
    pub seed: Option<&'static str>,
    /// Whether `top_k` is known.
    pub top_k: bool,
    /// Whether `frequency_penalty` and `presence_penalty` are known.
    pub penalties: bool,
    /// Whether `n` may be more than one.
    pub several: bool,
    /// Whether `logprobs` is a boolean beside `top_logprobs`, as OpenAI has it.
    pub logprobs: bool,
    /// Whether messages may have a `name`.
    pub names: bool,
    /// How an earlier thought goes back.
    pub thoughts: Thoughts,
    /// The words of `reasoning_effort`, least first; another goes to the nearest.
    pub efforts: &'static [Effort],
    /// Whether thinking is turned on and off by `thinking: {"type": …}`.
    pub thinking_switch: bool,
    /// The name of the end user's id.
    pub user: Option<&'static str>,
    /// Whether `service_tier` has OpenAI's words.
    pub tier: bool,
    /// Whether `prompt_cache_key` is known.
    pub cache_key: bool,
    /// Whether an assistant's message may have a `refusal`; otherwise it goes back as its text.
    pub refusal: bool,
    /// Whether `prefix: true` lets the answer go on where the last message ends.
    pub prefix: bool,
    /// How documents are given.
    pub documents: Documents,
    /// Whether Gemini's signatures go back in `extra_content.google`.
    pub google_seals: bool,
}

/// What ids of calls must look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallIds {
    /// As they like.
    Any,
    /// Nine letters and digits.
    Nine,
}

/// How documents are given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Documents {
    /// In `file` parts, as bytes.
    Files,
    /// In `document_url` parts, as bytes too: in a `data:` URL.
    /// <https://docs.mistral.ai/capabilities/document_ai/document_qna>
    Urls,
    /// Not at all.
    Never,
}

/// How answers by schema are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Schema {
    /// `response_format` has `json_schema`.
    Native,
    /// By a tool that must be called.
    Tool,
    /// Not at all: there is no such format, and no tool can be forced.
    Never,
}

/// How an earlier thought goes back to the vendor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Thoughts {
    /// Not at all.
    Dropped,
    /// In a member of the assistant's message.
    Member(&'static str),
    /// Likewise, and empty where calls come without a thought.
    Beside(&'static str),
    /// As a `thinking` chunk of its content.
    Chunk,
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
    asks_usage: true,
    call_ids: CallIds::Any,
    any: Some("required"),
    allowed_tools: true,
    strict: true,
    parallel: true,
    schema: Schema::Native,
    seed: Some("seed"),
    top_k: false,
    penalties: true,
    several: true,
    logprobs: true,
    names: true,
    thoughts: Thoughts::Dropped,
    efforts: ALL_EFFORTS,
    thinking_switch: false,
    user: Some("user"),
    tier: true,
    cache_key: true,
    refusal: true,
    prefix: false,
    documents: Documents::Files,
    google_seals: false,
};

/// What holds of nearly all who copied OpenAI's format and have no reference as exact.
const ALIKE: Quirks = Quirks {
    max_tokens: "max_tokens",
    allowed_tools: false,
    tier: false,
    cache_key: false,
    refusal: false,
    ..AS_OPENAI
};

/// A vendor that does as the format's own reference says.
pub static PLAIN: Quirks = AS_OPENAI;

/// Any server that copied the format. llama.cpp and Moonshot take thoughts back under this name (recorded
/// exchanges; <https://platform.moonshot.ai/docs/guide/use-kimi-k2-thinking-model>).
pub static COMPATIBLE: Quirks = Quirks { thoughts: Thoughts::Member("reasoning_content"), ..ALIKE };

/// Gemini's and other models behind Vertex's endpoint for OpenAI's clients.
/// <https://cloud.google.com/vertex-ai/generative-ai/docs/start/openai>;
/// <https://ai.google.dev/gemini-api/docs/thought-signatures#openai>
pub static VERTEX: Quirks = Quirks { efforts: NONE_TO_HIGH, google_seals: true, ..ALIKE };

/// Messages are closed objects, in which any other member is an error; usage stands in every stream's last
/// chunk. <https://docs.mistral.ai/api/>. `logprobs` is a 400 (recorded). Ids of
/// calls: <https://github.com/mistralai/mistral-common>, the validator of messages.
pub static MISTRAL: Quirks = Quirks {
    asks_usage: false,
    call_ids: CallIds::Nine,
    any: Some("any"),
    seed: Some("random_seed"),
    logprobs: false,
    names: false,
    thoughts: Thoughts::Chunk,
    efforts: ON_OR_OFF,
    user: None,
    cache_key: true,
    prefix: true,
    documents: Documents::Urls,
    ..ALIKE
};

/// `response_format` knows `text` and `json_object`. In a run of tool calls the thoughts must go back; of a
/// message that had none the empty text is taken (recorded).
/// <https://api-docs.deepseek.com/api/create-chat-completion>,
/// <https://api-docs.deepseek.com/guides/thinking_mode>
pub static DEEPSEEK: Quirks = Quirks {
    strict: false,
    parallel: false,
    schema: Schema::Tool,
    seed: None,
    several: false,
    thoughts: Thoughts::Beside("reasoning_content"),
    efforts: &[
        Effort::Minimal,
        Effort::Low,
        Effort::Medium,
        Effort::High,
        Effort::XHigh,
        Effort::Max,
    ],
    thinking_switch: true,
    user: None,
    documents: Documents::Never,
    ..ALIKE
};

/// Thoughts go back under this name (recorded); of efforts all reasoning models take two.
/// <https://docs.x.ai/docs/guides/reasoning>
pub static XAI: Quirks = Quirks {
    max_tokens: "max_completion_tokens",
    thoughts: Thoughts::Member("reasoning_content"),
    efforts: &[Effort::Low, Effort::High],
    documents: Documents::Never,
    ..ALIKE
};

/// Of tool choices only `auto` is understood, of forms only `json_object`; usage stands in every stream's
/// last chunk. <https://docs.z.ai/api-reference/llm/chat-completion>,
/// <https://docs.z.ai/guides/capabilities/thinking-mode>
pub static ZAI: Quirks = Quirks {
    asks_usage: false,
    any: None,
    strict: false,
    parallel: false,
    schema: Schema::Never,
    seed: None,
    penalties: false,
    several: false,
    logprobs: false,
    names: false,
    thoughts: Thoughts::Member("reasoning_content"),
    efforts: &[],
    thinking_switch: true,
    user: None,
    documents: Documents::Never,
    ..ALIKE
};

/// The compatibility endpoint. <https://docs.cohere.com/docs/compatibility-api> lists what it knows.
pub static COHERE: Quirks = Quirks {
    parallel: false,
    several: false,
    logprobs: false,
    names: false,
    efforts: ON_OR_OFF,
    user: None,
    documents: Documents::Never,
    ..ALIKE
};

/// `logprobs`, names and more than one answer are each a 400. <https://console.groq.com/docs/openai>
pub static GROQ: Quirks = Quirks {
    max_tokens: "max_completion_tokens",
    several: false,
    logprobs: false,
    names: false,
    efforts: NONE_TO_HIGH,
    documents: Documents::Never,
    ..ALIKE
};

/// `logprobs` is a number here; usage stands in every stream's last chunk.
/// <https://docs.together.ai/reference/chat-completions-1>
pub static TOGETHER: Quirks = Quirks {
    asks_usage: false,
    parallel: false,
    top_k: true,
    logprobs: false,
    efforts: LOW_TO_HIGH,
    user: None,
    documents: Documents::Never,
    ..ALIKE
};

/// <https://docs.vllm.ai/en/latest/serving/openai_compatible_server.html>
pub static VLLM: Quirks = Quirks {
    top_k: true,
    thoughts: Thoughts::Member("reasoning_content"),
    efforts: LOW_TO_HIGH,
    documents: Documents::Never,
    ..ALIKE
};

/// <https://docs.ollama.com/api/openai-compatibility>; thoughts go back as `reasoning` (recorded).
pub static OLLAMA: Quirks = Quirks {
    strict: false,
    parallel: false,
    several: false,
    thoughts: Thoughts::Member("reasoning"),
    efforts: NONE_TO_HIGH,
    user: None,
    documents: Documents::Never,
    ..ALIKE
};

/// <https://docs.sglang.ai/basic_usage/openai_api_completions.html>
pub static SGLANG: Quirks = Quirks {
    top_k: true,
    thoughts: Thoughts::Member("reasoning_content"),
    efforts: LOW_TO_HIGH,
    documents: Documents::Never,
    ..ALIKE
};
