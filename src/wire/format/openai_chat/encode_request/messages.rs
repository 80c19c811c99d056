//! The messages of a request, as a provider is to get them.

use std::borrow::Cow;
use std::collections::VecDeque;

use serde::Serialize;
use serde_json::Value;

use crate::wire::api::Format;
use crate::wire::feature::Feature;
use crate::wire::fit::Fitting;
use crate::wire::format::openai_chat::encode_response::google;
use crate::wire::format::openai_chat::media::data_url;
use crate::wire::format::quirks::{CallIds, Documents, Quirks, Thoughts};
use crate::wire::ir::{
    Block, Content as Of, Media, MediaKind, Request, Role, Source, ToolResult, Turn,
};
use crate::wire::json::digest::Digest;
use crate::wire::json::fields::Rejected;

#[expect(clippy::option_option, reason = "`null` is not the same as absent")]
#[derive(Default, Serialize)]
pub(crate) struct Message<'r> {
    role: &'static str,
    /// `Some(None)` is `null`: Mistral and DeepSeek want it beside calls.
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<Option<Content<'r>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'r str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_call_id: Option<Cow<'r, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_content: Option<Cow<'r, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning: Option<Cow<'r, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_details: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refusal: Option<Cow<'r, str>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<Call<'r>>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    prefix: bool,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Content<'r> {
    Text(&'r str),
    Parts(Vec<Part<'r>>),
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Part<'r> {
    Text {
        text: &'r str,
    },
    /// Mistral's.
    Thinking {
        thinking: [Text<'r>; 1],
    },
    ImageUrl {
        image_url: Url<'r>,
    },
    InputAudio {
        input_audio: Audio<'r>,
    },
    File {
        file: File<'r>,
    },
    /// Mistral's.
    DocumentUrl {
        document_url: Cow<'r, str>,
    },
}

#[derive(Serialize)]
struct Text<'r> {
    #[serde(rename = "type")]
    kind: &'static str,
    text: &'r str,
}

#[derive(Serialize)]
struct Url<'r> {
    url: Cow<'r, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'r str>,
}

#[derive(Serialize)]
struct Audio<'r> {
    data: &'r str,
    format: &'r str,
}

#[expect(clippy::struct_field_names, reason = "the API's names")]
#[derive(Serialize)]
struct File<'r> {
    #[serde(skip_serializing_if = "Option::is_none")]
    filename: Option<&'r str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    file_data: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    file_id: Option<&'r str>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Call<'r> {
    Function {
        id: Cow<'r, str>,
        #[serde(rename = "type")]
        kind: &'static str,
        function: Function<'r>,
        #[serde(skip_serializing_if = "Option::is_none")]
        extra_content: Option<Value>,
    },
    Foreign(&'r Value),
}

#[derive(Serialize)]
struct Function<'r> {
    name: &'r str,
    arguments: &'r str,
}

pub(crate) fn messages<'r>(
    request: &'r Request,
    quirks: &'r Quirks,
    fitting: &mut Fitting,
) -> Result<Vec<Message<'r>>, Rejected> {
    let mut writer = Writer {
        quirks,
        fitting,
        messages: Vec::with_capacity(request.turns.len() + 1),
        behind: Vec::new(),
        unnamed: VecDeque::new(),
        made: 0,
    };
    writer.message("system", None, &request.system)?;
    for turn in &request.turns {
        writer.turn(turn)?;
    }
    writer.flush();
    writer.prefill(request)?;
    Ok(writer.messages)
}

struct Writer<'r, 's> {
    quirks: &'r Quirks,
    fitting: &'s mut Fitting,
    messages: Vec<Message<'r>>,
    /// Media of tools' results, which come in a message behind them: results must directly follow their
    /// calls, and hold text only.
    behind: Vec<Part<'r>>,
    /// Ids made for calls that have none, until their results have come.
    unnamed: VecDeque<(&'r str, String)>,
    made: usize,
}

impl<'r> Writer<'r, '_> {
    fn turn(&mut self, turn: &'r Turn) -> Result<(), Rejected> {
        let name = match &turn.name {
            Some(name) if self.quirks.names => {
                let at = turn.blocks.first().map_or("", |block| &block.at);
                self.fitting.keep(Feature::ParticipantName, at)?.then_some(name.as_str())
            }
            Some(_) => {
                self.fitting.omit(Feature::ParticipantName, "");
                None
            }
            None => None,
        };
        match turn.role {
            Role::User => {
                // Results first, since they must follow their calls.
                for block in &turn.blocks {
                    if let Of::ToolResult(outcome) = &block.content {
                        self.outcome(outcome)?;
                    }
                }
                self.message("user", name, &turn.blocks)
            }
            Role::System => {
                let at = turn.blocks.first().map_or("", |block| &block.at);
                self.fitting.keep(Feature::SystemTurn, at)?;
                self.message("system", name, &turn.blocks)
            }
            Role::Assistant => self.model(name, &turn.blocks),
        }
    }

    /// A message of parts; none of no parts.
    fn message(
        &mut self,
        role: &'static str,
        name: Option<&'r str>,
        blocks: &'r [Block],
    ) -> Result<(), Rejected> {
        let mut parts = Vec::with_capacity(blocks.len());
        for block in blocks {
            if !matches!(block.content, Of::ToolResult(_)) {
                parts.push(self.part(block)?);
            }
        }
        if parts.is_empty() {
            return Ok(());
        }
        if role == "user" {
            // Media of results and what is said to them are one message.
            self.behind.append(&mut parts);
            std::mem::swap(&mut self.behind, &mut parts);
        } else {
            self.flush();
        }
        let content = Some(Some(content_of(parts)));
        self.messages.push(Message { role, content, name, ..Message::default() });
        Ok(())
    }

    /// Media of results to which nothing was said.
    fn flush(&mut self) {
        if !self.behind.is_empty() {
            let parts = std::mem::take(&mut self.behind);
            let content = Some(Some(content_of(parts)));
            self.messages.push(Message { role: "user", content, ..Message::default() });
        }
    }

    fn model(&mut self, name: Option<&'r str>, blocks: &'r [Block]) -> Result<(), Rejected> {
        self.flush();
        let mut message = Message { role: "assistant", name, ..Message::default() };
        let mut parts = Vec::new();
        for block in blocks {
            self.mark(block)?;
            match &block.content {
                Of::Text { text, .. } if text.is_empty() => {}
                Of::Reasoning { text } => self.thought(block, text, &mut message, &mut parts)?,
                Of::Refusal(text) if self.quirks.refusal => join(&mut message.refusal, text),
                Of::Text { text, .. } | Of::Refusal(text) => parts.push(Part::Text { text }),
                Of::ToolCall { id, name, arguments } => {
                    let call = self.call(block, id.as_deref(), name, arguments)?;
                    message.tool_calls.push(call);
                }
                Of::Foreign { format: Format::OpenAiChat, json } => {
                    message.tool_calls.push(Call::Foreign(json));
                }
                Of::Foreign { .. } | Of::ToolResult(_) => {
                    return Err(self.fitting.refuse(Feature::ServerToolBlock, &block.at));
                }
                // An answer's media have no place in a question.
                Of::Media(media) => {
                    return Err(self.fitting.refuse(of_kind(media.kind), &block.at));
                }
            }
        }
        if matches!(self.quirks.thoughts, Thoughts::Beside(_)) && !message.tool_calls.is_empty() {
            message.reasoning_content.get_or_insert_default();
        }
        let said = message.refusal.is_some() || !message.tool_calls.is_empty();
        message.content = match parts.is_empty() {
            true if said => Some(None),
            true => Some(Some(Content::Text(""))),
            false => Some(Some(content_of(parts))),
        };
        self.messages.push(message);
        Ok(())
    }

    fn thought(
        &mut self,
        block: &'r Block,
        text: &'r str,
        message: &mut Message<'r>,
        parts: &mut Vec<Part<'r>>,
    ) -> Result<(), Rejected> {
        match (self.quirks.thoughts, text) {
            (Thoughts::Dropped, _) => {
                return self.fitting.keep(Feature::Reasoning, &block.at).map(drop);
            }
            (_, "") => {}
            (Thoughts::Member("reasoning"), text) => join(&mut message.reasoning, text),
            (Thoughts::Member(_) | Thoughts::Beside(_), text) => {
                join(&mut message.reasoning_content, text);
            }
            (Thoughts::Chunk, text) => {
                parts.push(Part::Thinking { thinking: [Text { kind: "text", text }] });
            }
        }
        match &block.signature {
            Some(signature) if signature.format == Format::OpenAiChat => {
                message.reasoning_details = details(&signature.data, text);
            }
            Some(_) => drop(self.fitting.keep(Feature::ForeignSignatures, &block.at)?),
            None => {}
        }
        Ok(())
    }

    fn call(
        &mut self,
        block: &'r Block,
        id: Option<&'r str>,
        name: &'r str,
        arguments: &'r str,
    ) -> Result<Call<'r>, Rejected> {
        let id: Cow<'r, str> = if let Some(id) = id {
            id.into()
        } else {
            let made = format!("call_{}", self.made);
            self.made += 1;
            self.unnamed.push_back((name, made.clone()));
            made.into()
        };
        let id = call_id(id, self.quirks);
        let extra_content = match &block.signature {
            Some(signature) if self.quirks.google_seals && signature.format == Format::Gemini => {
                Some(google(signature))
            }
            Some(_) => {
                self.fitting.keep(Feature::ForeignSignatures, &block.at)?;
                None
            }
            None => None,
        };
        let arguments = if arguments.trim().is_empty() { "{}" } else { arguments };
        let function = Function { name, arguments };
        Ok(Call::Function { id, kind: "function", function, extra_content })
    }

    fn outcome(&mut self, outcome: &'r ToolResult) -> Result<(), Rejected> {
        let id: Cow<'r, str> = if outcome.id.is_empty() {
            // In the order of their calls, unless a name tells more.
            let named = outcome.name.as_deref();
            let mut calls = self.unnamed.iter();
            let at = calls.position(|(name, _)| named.is_none_or(|named| named == *name));
            let call = self.unnamed.remove(at.unwrap_or(0));
            call.map_or(Cow::Borrowed("call_0"), |(_, id)| id.into())
        } else {
            outcome.id.as_str().into()
        };
        if outcome.is_error {
            self.fitting.keep(Feature::ToolResultError, "")?;
        }
        let mut texts = Vec::new();
        for block in &outcome.content {
            match self.part(block)? {
                Part::Text { text } => texts.push(Part::Text { text }),
                media => {
                    self.fitting.keep(Feature::ToolResultMedia, &block.at)?;
                    self.behind.push(media);
                }
            }
        }
        let content = if texts.is_empty() { Content::Text("") } else { content_of(texts) };
        self.messages.push(Message {
            role: "tool",
            content: Some(Some(content)),
            tool_call_id: Some(call_id(id, self.quirks)),
            ..Message::default()
        });
        Ok(())
    }

    fn mark(&mut self, block: &Block) -> Result<(), Rejected> {
        if block.cache.is_some() {
            self.fitting.keep(Feature::CachePoint, &format!("{}/cache_control", block.at))?;
        }
        Ok(())
    }

    fn part(&mut self, block: &'r Block) -> Result<Part<'r>, Rejected> {
        self.mark(block)?;
        match &block.content {
            Of::Text { text, .. } | Of::Refusal(text) | Of::Reasoning { text } => {
                Ok(Part::Text { text })
            }
            Of::Media(media) => self.media(media, &block.at),
            Of::ToolCall { .. } | Of::ToolResult(_) | Of::Foreign { .. } => {
                Err(self.fitting.refuse(Feature::ServerToolBlock, &block.at))
            }
        }
    }

    fn media(&mut self, media: &'r Media, at: &str) -> Result<Part<'r>, Rejected> {
        match (media.kind, &media.source) {
            (_, Source::Text(text)) => Ok(Part::Text { text }),
            (MediaKind::Image, Source::Base64 { media_type, data }) => {
                Ok(image(data_url(media_type, data).into(), media))
            }
            (MediaKind::Image, Source::Url { url, .. }) if is_web(url) => {
                Ok(image(url.as_str().into(), media))
            }
            (MediaKind::Image, Source::Url { .. }) => {
                Err(self.fitting.refuse(Feature::ImageUrl, at))
            }
            (MediaKind::Audio, Source::Base64 { media_type, data }) => {
                let format = audio_format(media_type);
                let format = format.ok_or_else(|| self.fitting.refuse(Feature::Audio, at))?;
                Ok(Part::InputAudio { input_audio: Audio { data, format } })
            }
            (MediaKind::Document, Source::Base64 { media_type, data }) => {
                self.document(media, data_url(media_type, data), at)
            }
            (MediaKind::Document, Source::Url { url, .. })
                if self.quirks.documents == Documents::Urls =>
            {
                Ok(Part::DocumentUrl { document_url: url.as_str().into() })
            }
            // OpenAI keeps files for both of its APIs.
            (
                MediaKind::Document,
                Source::File { format: Format::OpenAiChat | Format::OpenAiResponses, id },
            ) => {
                let file = File { filename: None, file_data: None, file_id: Some(id) };
                Ok(Part::File { file })
            }
            (_, Source::File { .. }) => Err(self.fitting.refuse(Feature::FileId, at)),
            (kind, _) => Err(self.fitting.refuse(of_kind(kind), at)),
        }
    }

    /// The bytes of a document.
    fn document(&self, media: &'r Media, url: String, at: &str) -> Result<Part<'r>, Rejected> {
        match self.quirks.documents {
            Documents::Files => {
                // The file's name is required beside its data.
                let filename = Some(media.name.as_deref().unwrap_or("document.pdf"));
                Ok(Part::File { file: File { filename, file_data: Some(url), file_id: None } })
            }
            Documents::Urls => Ok(Part::DocumentUrl { document_url: url.into() }),
            Documents::Never => Err(self.fitting.refuse(Feature::DocumentBytes, at)),
        }
    }

    /// A last message of the model's is where the answer is to begin.
    fn prefill(&mut self, request: &Request) -> Result<(), Rejected> {
        let Some(last) = request.turns.last().filter(|turn| turn.role == Role::Assistant) else {
            return Ok(());
        };
        match self.messages.last_mut() {
            Some(message) if self.quirks.prefix => message.prefix = true,
            _ => {
                let at = last.blocks.first().map_or("", |block| &block.at);
                self.fitting.keep(Feature::Prefill, at)?;
            }
        }
        Ok(())
    }
}

/// One text stands by itself, as all servers understand it.
fn content_of(mut parts: Vec<Part<'_>>) -> Content<'_> {
    match parts.as_slice() {
        [Part::Text { text }] => Content::Text(text),
        _ => Content::Parts(std::mem::take(&mut parts)),
    }
}

fn join<'r>(text: &mut Option<Cow<'r, str>>, more: &'r str) {
    match text {
        None => *text = Some(more.into()),
        Some(text) => text.to_mut().push_str(more),
    }
}

/// OpenRouter's signed details, as they came; of one that was told apart from its text the text is put back.
fn details(data: &str, text: &str) -> Option<Value> {
    let mut details: Value = serde_json::from_str(data).ok()?;
    for detail in details.as_array_mut()? {
        let shown = detail.get("type").and_then(Value::as_str) == Some("reasoning.text");
        if let Some(members) = detail.as_object_mut().filter(|_| shown)
            && members.get("text").and_then(Value::as_str).is_none_or(str::is_empty)
        {
            members.insert("text".to_owned(), text.into());
        }
    }
    Some(details)
}

fn image<'r>(url: Cow<'r, str>, media: &'r Media) -> Part<'r> {
    Part::ImageUrl { image_url: Url { url, detail: media.detail.as_deref() } }
}

fn is_web(url: &str) -> bool {
    ["https:", "http:"].iter().any(|scheme| {
        url.get(..scheme.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(scheme))
    })
}

/// Formats by the names that are used here; OpenAI takes the first two.
fn audio_format(media_type: &str) -> Option<&str> {
    match media_type.strip_prefix("audio/")? {
        "wav" | "wave" | "x-wav" | "vnd.wave" => Some("wav"),
        "mp3" | "mpeg" => Some("mp3"),
        other => Some(other),
    }
}

fn of_kind(kind: MediaKind) -> Feature {
    match kind {
        MediaKind::Image => Feature::ImageOutput,
        MediaKind::Document => Feature::DocumentUrl,
        MediaKind::Audio => Feature::Audio,
        MediaKind::Video => Feature::Video,
    }
}

/// Mistral takes only ids of nine letters and digits: another is replaced by one that depends on nothing but
/// it, so that a call and its result keep belonging together.
fn call_id<'r>(id: Cow<'r, str>, quirks: &Quirks) -> Cow<'r, str> {
    const LETTERS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let fits = id.len() == 9 && id.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if quirks.call_ids == CallIds::Any || fits {
        return id;
    }
    // Nine characters contain 53 bits of the digest, so two ids of one conversation do not collide.
    let mut rest = Digest::default().text(id.as_bytes()).finish();
    let mut letter = || {
        let letter = LETTERS[(rest % 62) as usize];
        rest /= 62;
        char::from(letter)
    };
    (0..9).map(|_| letter()).collect::<String>().into()
}
