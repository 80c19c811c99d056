//! The request of a conversation, independent of the format it came in.

use std::sync::Arc;

use serde_json::{Map, Number, Value};

use crate::wire::api::Format;
use crate::wire::feature::Feature;

/// A request to a model.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Request {
    /// The model, by the name that the provider gets.
    pub model: String,
    /// Instructions before the conversation.
    pub system: Vec<Block>,
    /// The conversation. Turns need not alternate: `fit` arranges them as the target requires.
    pub turns: Vec<Turn>,
    /// The tools that the model may call.
    pub tools: Vec<Tool>,
    /// The tool choice.
    pub choice: Option<Choice>,
    /// True if the model may call several tools at once. Absent: the provider's default.
    pub parallel: Option<bool>,
    /// The most tokens of the answer, reasoning included.
    pub max_tokens: Option<u64>,
    /// Stop sequences.
    pub stop: Vec<String>,
    /// Sampling settings.
    pub sampling: Sampling,
    /// How much the model reasons before the answer.
    pub thinking: Option<Thinking>,
    /// How the target is told to reason, if it has several ways: set by `fit`.
    pub thinking_mode: Option<ThinkingMode>,
    /// The format that the text of the answer must have.
    pub form: Option<Form>,
    /// The number of candidates.
    pub candidates: Option<u32>,
    /// Log probabilities of tokens. Absent: none.
    pub logprobs: Option<Logprobs>,
    /// An opaque id of the end user.
    pub user: Option<String>,
    /// Names and values that the caller attaches to the request.
    pub metadata: Option<Map<String, Value>>,
    /// The service tier.
    pub tier: Option<Tier>,
    /// A key shared by requests whose prompts begin alike.
    pub cache_key: Option<String>,
    /// True for a streamed answer.
    pub stream: bool,
    /// True if a stream reports usage. Set by formats that always report it.
    pub stream_usage: bool,
    /// Features that the caller sets and that have no field here, with their place in the body:
    /// `Feature::support` decides whether each may be left out.
    pub asked: Vec<(Feature, String)>,
    /// Unknown top-level members. They are left out and named.
    pub unknown: Vec<String>,
    /// What the answer repeats of the request, or needs of it; only for formats whose answers do.
    pub echo: Option<Arc<Echo>>,
}

/// What an answer in the caller's format repeats of its request. Carried in
/// [`ResponseContext`](crate::wire::format::context::ResponseContext).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Echo {
    /// Members of the answer's object as JSON text, joined, each with a comma before it.
    pub members: String,
    /// Tools that the caller's format calls with plain text. The provider gets each as a function with one
    /// string, `input`, and the caller gets that string alone.
    pub freeform: Vec<String>,
}

/// The role of a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The caller. Results of tool calls belong to this role.
    User,
    /// The model.
    Assistant,
    /// Instructions within the conversation (OpenAI's `system` and `developer` messages after the first
    /// turn).
    System,
}

/// Consecutive content of one role.
#[derive(Clone, Debug, PartialEq)]
pub struct Turn {
    /// The role.
    pub role: Role,
    /// The name of one of several participants with this role (OpenAI).
    pub name: Option<String>,
    /// The content.
    pub blocks: Vec<Block>,
}

/// One piece of content.
#[derive(Clone, Debug, PartialEq)]
pub struct Block {
    /// The content.
    pub content: Content,
    /// A cache point: the provider caches the prompt up to and including this block.
    pub cache: Option<Cache>,
    /// A signature that the provider made and expects back with the block: of reasoning, of a tool call, or
    /// of a text.
    pub signature: Option<Signature>,
    /// The place in the caller's body: a JSON pointer (RFC 6901). Empty in answers.
    pub at: String,
}

impl Block {
    /// Creates a block without cache point or signature.
    pub fn new(content: Content, at: impl Into<String>) -> Block {
        Block { content, cache: None, signature: None, at: at.into() }
    }
}

/// The content of a block.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    /// Text, with its citations in the form of the format that made them.
    Text {
        /// The text.
        text: String,
        /// Citations in the provider's form.
        citations: Vec<Value>,
    },
    /// An image, a document, audio or video.
    Media(Media),
    /// A tool call by the model.
    ToolCall {
        /// The id of the call; absent if the format has none (usually Gemini).
        id: Option<String>,
        /// The name of the tool.
        name: String,
        /// JSON text as the model wrote it, usually an object; may be damaged if the format carries it as a
        /// string.
        arguments: String,
    },
    /// The result of a tool call.
    ToolResult(ToolResult),
    /// Reasoning of the model; empty text with a signature is redacted reasoning.
    Reasoning {
        /// The visible text.
        text: String,
    },
    /// The model refuses to answer.
    Refusal(String),
    /// Content that only one format has: server tool calls and results, compactions, and unknown blocks.
    Foreign {
        /// The format.
        format: Format,
        /// The block in that format.
        json: Value,
    },
}

impl Content {
    /// Creates text without citations.
    pub fn text(text: impl Into<String>) -> Content {
        Content::Text { text: text.into(), citations: Vec::new() }
    }
}

/// The result of a tool call.
#[derive(Clone, Debug, PartialEq)]
pub struct ToolResult {
    /// The id of the call. Empty in formats without ids, where results are in the order of their calls.
    pub id: String,
    /// The name of the tool, if the format repeats it.
    pub name: Option<String>,
    /// Texts and media; the JSON text of JSON results.
    pub content: Vec<Block>,
    /// True if the tool failed.
    pub is_error: bool,
}

/// A cache point.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cache {
    /// The lifetime, as Anthropic and Bedrock write it: `5m`, `1h`.
    pub ttl: Option<String>,
}

/// Data that a provider signed or encrypted, and that only this provider can read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// The format that made it and may get it back.
    pub format: Format,
    /// The data, unchanged.
    pub data: String,
    /// The id of its item, if the format requires it back (Responses).
    pub id: Option<String>,
}

/// Content that is neither text nor a tool call.
#[derive(Clone, Debug, PartialEq)]
pub struct Media {
    /// The kind.
    pub kind: MediaKind,
    /// The source of the bytes.
    pub source: Source,
    /// The name or title of a file.
    pub name: Option<String>,
    /// The image detail (OpenAI: `low`, `high`, `auto`).
    pub detail: Option<String>,
}

/// Kinds of media.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "their names say it")]
pub enum MediaKind {
    Image,
    Document,
    Audio,
    Video,
}

/// The source of the bytes of media.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Inline.
    Base64 {
        /// The media type, such as `image/png`.
        media_type: String,
        /// Base64, standard alphabet, as the caller wrote it.
        data: String,
    },
    /// By address. keymux never fetches it: a format that requires bytes refuses it.
    Url {
        /// `https:`, and for some providers `gs:` or `s3:`.
        url: String,
        /// The media type, if the format states it beside the address.
        media_type: Option<String>,
    },
    /// A file stored by a provider, by its id: only that provider can read it.
    File {
        /// The format of that provider.
        format: Format,
        /// The id.
        id: String,
    },
    /// A plain-text document.
    Text(String),
}

/// A function that the model may call, or a tool that the provider runs.
#[derive(Clone, Debug, PartialEq)]
pub enum Tool {
    /// A function of the caller.
    Function {
        /// Its name.
        name: String,
        /// Its purpose, for the model.
        description: Option<String>,
        /// JSON Schema of the arguments; absent: no arguments.
        parameters: Option<Value>,
        /// True if arguments must follow the schema exactly.
        strict: Option<bool>,
        /// A cache point after the tools up to this one.
        cache: Option<Cache>,
        /// The place in the caller's body.
        at: String,
    },
    /// A tool that the providers of one format run themselves: search, code execution, computer use.
    Foreign {
        /// The format.
        format: Format,
        /// The tool in that format.
        json: Value,
        /// The place in the caller's body.
        at: String,
    },
}

/// The tool choice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice {
    /// The model decides.
    Auto,
    /// At least one call.
    Any,
    /// No call.
    None,
    /// A call of this tool.
    Tool(String),
    /// At least one call of these tools (OpenAI's `allowed_tools`, Gemini's `allowedFunctionNames`).
    AnyOf(Vec<String>),
}

/// Sampling settings. Numbers stay as the caller wrote them.
#[derive(Clone, Debug, Default, PartialEq)]
#[expect(missing_docs, reason = "the field's standard names")]
pub struct Sampling {
    pub temperature: Option<Number>,
    pub top_p: Option<Number>,
    pub top_k: Option<Number>,
    pub frequency_penalty: Option<Number>,
    pub presence_penalty: Option<Number>,
    pub seed: Option<Number>,
}

/// How much the model reasons before the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thinking {
    /// The effort; absent if the caller gave a token budget only.
    pub effort: Option<Effort>,
    /// The token budget (Anthropic's `budget_tokens`, Gemini's `thinkingBudget`).
    pub budget: Option<u64>,
    /// True if the answer contains the reasoning or a summary of it; absent: the format's default.
    pub shown: Option<bool>,
}

/// How a model with several ways to reason is told to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ThinkingMode {
    /// No reasoning.
    Disabled,
    /// Reasoning between tool calls only.
    BetweenTools,
    /// As much reasoning as the model decides.
    Adaptive,
    /// At most this many tokens of reasoning.
    Budget(u64),
}

/// Reasoning effort in the words of the APIs, in ascending order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the words of the APIs")]
pub enum Effort {
    None,
    Minimal,
    Low,
    Medium,
    High,
    XHigh,
    Max,
}

/// The format of an answer's text.
#[derive(Clone, Debug, PartialEq)]
pub enum Form {
    /// Any JSON object.
    Json,
    /// JSON that follows a schema.
    Schema {
        /// The name of the schema, if the caller gave one.
        name: Option<String>,
        /// Its purpose, for the model.
        description: Option<String>,
        /// JSON Schema.
        schema: Value,
        /// True if the answer must follow the schema exactly.
        strict: Option<bool>,
    },
}

/// Log probabilities of tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Logprobs {
    /// The number of alternatives for each token.
    pub top: Option<u32>,
}

/// The service tier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tier {
    /// The account's default.
    Auto,
    /// Normal price and speed only.
    Standard,
    /// Cheaper and slower.
    Flex,
    /// Faster and more expensive.
    Priority,
    /// A word of one API.
    Other(String),
}
