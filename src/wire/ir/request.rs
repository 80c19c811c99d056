//! A request, whatever format it was written in.

use std::sync::Arc;

use serde_json::{Map, Number, Value};

use crate::wire::api::Format;
use crate::wire::feature::Feature;

/// What is asked of a model.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Request {
    /// The model, as the provider is to be asked for it.
    pub model: String,
    /// Instructions that stand before the conversation.
    pub system: Vec<Block>,
    /// The conversation. Turns need not alternate: what a format demands, its encoder makes.
    pub turns: Vec<Turn>,
    /// What the model may call.
    pub tools: Vec<Tool>,
    /// Whether it must.
    pub choice: Option<Choice>,
    /// Whether it may call several at once; absent: as the provider has it.
    pub parallel: Option<bool>,
    /// The longest answer, in tokens, reasoning included.
    pub max_tokens: Option<u64>,
    /// What ends the answer where the model writes it.
    pub stop: Vec<String>,
    /// How the next token is drawn.
    pub sampling: Sampling,
    /// How much is thought before the answer.
    pub thinking: Option<Thinking>,
    /// How the model is told to think, where targets have several ways: set by `fit`.
    pub thinking_mode: Option<ThinkingMode>,
    /// The form that the text of the answer must have.
    pub form: Option<Form>,
    /// How many answers are wanted.
    pub candidates: Option<u32>,
    /// Whether probabilities of tokens are wanted.
    pub logprobs: Option<Logprobs>,
    /// An id of the end user, opaque.
    pub user: Option<String>,
    /// Names and values that the caller ties to the request.
    pub metadata: Option<Map<String, Value>>,
    /// How fast and at what price.
    pub tier: Option<Tier>,
    /// What requests share that have a prompt's beginning in common.
    pub cache_key: Option<String>,
    /// Whether the answer is to come event by event.
    pub stream: bool,
    /// Whether a stream is to tell its usage. Formats that always tell it set this.
    pub stream_usage: bool,
    /// What the caller asks for that has no field here, with the place in its body: the target's
    /// `Feature::support` says whether that may be left out.
    pub asked: Vec<(Feature, String)>,
    /// Top-level names that are not known at all. They are left out and named.
    pub unknown: Vec<String>,
    /// What the answer says again, or needs to know, of the request; of formats whose answers do.
    pub echo: Option<Arc<Echo>>,
}

/// What an answer in the caller's format repeats of its request. Handed on in
/// [`ResponseContext`](crate::wire::format::context::ResponseContext).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Echo {
    /// Members of the answer's object as JSON text, one behind the other, each with a comma before it.
    pub members: String,
    /// Tools that the caller's format calls with plain text. To the provider each is a function with one
    /// string, `input`, and the caller gets that string alone.
    pub freeform: Vec<String>,
}

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The caller. Outcomes of calls are the caller's as well.
    User,
    /// The model.
    Assistant,
    /// Instructions in the middle of a conversation (OpenAI's `system` and `developer` messages behind
    /// the first turn).
    System,
}

/// What one side says in a row.
#[derive(Clone, Debug, PartialEq)]
pub struct Turn {
    /// Whose it is.
    pub role: Role,
    /// A name for one of several speakers of a role (OpenAI).
    pub name: Option<String>,
    /// What is said.
    pub blocks: Vec<Block>,
}

/// A piece of what is said.
#[derive(Clone, Debug, PartialEq)]
pub struct Block {
    /// What it is.
    pub content: Content,
    /// A mark that the prompt is to be cached up to here.
    pub cache: Option<Cache>,
    /// Made by a provider and to be handed back to it with the block: the signature of a thought, of a
    /// call, or of a text.
    pub signature: Option<Signature>,
    /// Where it stands in the caller's body: a JSON pointer (RFC 6901). Empty in answers.
    pub at: String,
}

impl Block {
    /// Without mark or signature.
    pub fn new(content: Content, at: impl Into<String>) -> Block {
        Block { content, cache: None, signature: None, at: at.into() }
    }
}

/// What a block is.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    /// Text, with what it cites, each as the format that made it has it.
    Text {
        /// The text.
        text: String,
        /// Citations in the provider's own form.
        citations: Vec<Value>,
    },
    /// An image, a document, a sound or a film.
    Media(Media),
    /// The model calls a tool.
    ToolCall {
        /// The call's id; absent where the format has none (Gemini, mostly).
        id: Option<String>,
        /// The tool.
        name: String,
        /// JSON text as the model wrote it, usually an object; may be damaged where a format has it as a
        /// string.
        arguments: String,
    },
    /// What came of a call.
    ToolResult(ToolResult),
    /// What the model thought; empty text with a signature is a redacted thought.
    Reasoning {
        /// In words, as far as shown.
        text: String,
    },
    /// The model says that it will not answer.
    Refusal(String),
    /// What only one format can say: a server tool's call or result, a compaction, and what is new.
    Foreign {
        /// Whose.
        format: Format,
        /// The block as it stands there.
        json: Value,
    },
}

impl Content {
    /// Text that cites nothing.
    pub fn text(text: impl Into<String>) -> Content {
        Content::Text { text: text.into(), citations: Vec::new() }
    }
}

/// What came of a call.
#[derive(Clone, Debug, PartialEq)]
pub struct ToolResult {
    /// The call's id. Formats without ids have the empty string, and the outcomes stand in the order of
    /// their calls.
    pub id: String,
    /// The tool's name, where the format repeats it.
    pub name: Option<String>,
    /// Texts and media; of JSON results the JSON text.
    pub content: Vec<Block>,
    /// Whether the tool failed.
    pub is_error: bool,
}

/// A mark for the provider's prompt cache.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cache {
    /// How long it is to live, as Anthropic and Bedrock write it: `5m`, `1h`.
    pub ttl: Option<String>,
}

/// What a provider signed, and nobody else can read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// The format that made it and may have it back.
    pub format: Format,
    /// As it came.
    pub data: String,
    /// The id of the item that it belongs to, where the format asks for it back (Responses).
    pub id: Option<String>,
}

/// What is neither text nor a call.
#[derive(Clone, Debug, PartialEq)]
pub struct Media {
    /// Of what sort.
    pub kind: MediaKind,
    /// Where its bytes are.
    pub source: Source,
    /// A file's name or title.
    pub name: Option<String>,
    /// How closely to look at it (OpenAI: `low`, `high`, `auto`).
    pub detail: Option<String>,
}

/// Sorts of media.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "their names say it")]
pub enum MediaKind {
    Image,
    Document,
    Audio,
    Video,
}

/// Where the bytes of media are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// In the body.
    Base64 {
        /// The media type, such as `image/png`.
        media_type: String,
        /// Base64, standard alphabet, as the caller wrote it.
        data: String,
    },
    /// Elsewhere. keymux never fetches it: a format that wants bytes refuses it.
    Url {
        /// The address: `https:`, and for some providers `gs:` or `s3:`.
        url: String,
        /// The media type, where the format says it beside the address.
        media_type: Option<String>,
    },
    /// Kept by a provider, by its id: only that provider can read it.
    File {
        /// Whose id it is.
        format: Format,
        /// The id.
        id: String,
    },
    /// A document that is plain text.
    Text(String),
}

/// A function that the model may call, or a tool of the provider's own.
#[derive(Clone, Debug, PartialEq)]
pub enum Tool {
    /// A function of the caller's.
    Function {
        /// Its name.
        name: String,
        /// What it is for.
        description: Option<String>,
        /// JSON Schema of its arguments; absent: it takes none.
        parameters: Option<Value>,
        /// Whether arguments must follow the schema to the letter.
        strict: Option<bool>,
        /// A mark that tools up to here are to be cached.
        cache: Option<Cache>,
        /// Where it stands in the caller's body.
        at: String,
    },
    /// What one format's providers run themselves: search, code, computer use.
    Foreign {
        /// Whose.
        format: Format,
        /// As it stands there.
        json: Value,
        /// Where it stands in the caller's body.
        at: String,
    },
}

/// Whether the model calls a tool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice {
    /// As it likes.
    Auto,
    /// One at least.
    Any,
    /// None.
    None,
    /// This one.
    Tool(String),
    /// One at least of these (OpenAI's `allowed_tools`, Gemini's `allowedFunctionNames`).
    AnyOf(Vec<String>),
}

/// How the next token is drawn. Numbers stay as the caller wrote them.
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

/// How much is thought before the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thinking {
    /// By word; absent where the caller gave tokens only.
    pub effort: Option<Effort>,
    /// By tokens (Anthropic's `budget_tokens`, Gemini's `thinkingBudget`).
    pub budget: Option<u64>,
    /// Whether the thoughts, or a summary of them, are to be in the answer; absent: as the format has it.
    pub shown: Option<bool>,
}

/// How a Claude model is told to think.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ThinkingMode {
    /// Not at all.
    Disabled,
    /// Between tool calls only.
    BetweenTools,
    /// As much as it sees fit.
    Adaptive,
    /// At most this many tokens.
    Budget(u64),
}

/// Effort in the words of the APIs, least first.
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

/// The form of an answer's text.
#[derive(Clone, Debug, PartialEq)]
pub enum Form {
    /// Any JSON object.
    Json,
    /// JSON that follows a schema.
    Schema {
        /// What to call it, where the caller says.
        name: Option<String>,
        /// What it is for.
        description: Option<String>,
        /// JSON Schema.
        schema: Value,
        /// Whether to follow it to the letter.
        strict: Option<bool>,
    },
}

/// What is wanted of the probabilities of tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Logprobs {
    /// How many alternatives of each token.
    pub top: Option<u32>,
}

/// How fast and at what price.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tier {
    /// As the account has it.
    Auto,
    /// At the normal price and speed, and nothing else.
    Standard,
    /// Cheaper and slower.
    Flex,
    /// Faster and dearer.
    Priority,
    /// A word of one API's.
    Other(String),
}
