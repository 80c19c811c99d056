//! A provider's stream -> events.

pub(crate) mod whole;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::{REDACTED, media_types};
use crate::wire::api::Format;
use crate::wire::failure::ProviderError;
use crate::wire::failure::class::{Class, Failure};
use crate::wire::failure::classify::classify_named;
use crate::wire::format::quirks::Quirks;
use crate::wire::frame::Frame;
use crate::wire::inspect::token_counts::Tally;
use crate::wire::ir::{Event, Kind, Media, MediaKind, Piece, Signature, Source, Stop};

/// Of one answer; no model opens as many.
const MOST_BLOCKS: u32 = 1024;
/// Blocks that are told whole are gathered up to here.
const MOST_GATHERED: usize = 16 * 1024 * 1024;

/// Makes events of a provider's stream, and of a whole answer's blocks.
#[derive(Debug, Default)]
pub struct Decoder {
    started: bool,
    stopped: bool,
    over: bool,
    open: Vec<Open>,
    /// Of the next block.
    number: u32,
    gathered: usize,
}

/// A block that is not closed.
#[derive(Debug)]
struct Open {
    /// The provider's number of it.
    index: u64,
    /// Ours; of what is told whole, none until then.
    block: Option<u32>,
    what: What,
}

#[derive(Debug)]
enum What {
    Text,
    Thought,
    Call,
    /// A call of a tool that the provider runs: its head, and its arguments.
    ServerCall(Value, String),
    /// What came of that: its head, and its parts.
    ServerOutcome(Value, Vec<Value>),
    /// An image, by its format, and its bytes.
    Image(String, Vec<u8>),
    /// Of a kind that is not known.
    Unknown,
}

/// `contentBlockStart.start`
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Start {
    pub tool_use: Option<ToolUse>,
    pub tool_result: Option<Value>,
    pub image: Option<ImageStart>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct ToolUse {
    #[serde(rename = "toolUseId")]
    pub id: Option<String>,
    pub name: String,
    pub r#type: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct ImageStart {
    pub format: String,
}

/// `contentBlockDelta.delta`
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Delta {
    pub text: Option<String>,
    pub tool_use: Option<Input>,
    pub tool_result: Option<Vec<Value>>,
    pub reasoning_content: Option<Reasoning>,
    pub citation: Option<Value>,
    pub image: Option<Image>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Input {
    pub input: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Reasoning {
    pub text: Option<String>,
    pub signature: Option<String>,
    pub redacted_content: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Image {
    pub source: Option<Bytes>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Bytes {
    pub bytes: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Started {
    content_block_index: u64,
    start: Start,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Grown {
    content_block_index: u64,
    delta: Delta,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Stopped {
    content_block_index: u64,
}

/// `messageStop`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct MessageStop {
    pub stop_reason: String,
    pub additional_model_response_fields: Option<Value>,
}

/// `metadata`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Metadata<'m> {
    #[serde(borrow)]
    pub usage: Option<&'m RawValue>,
    pub service_tier: Option<ServiceTier>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct ServiceTier {
    pub r#type: String,
}

impl Decoder {
    /// Vendors of this format are one.
    pub fn new(_quirks: &'static Quirks) -> Decoder {
        Decoder::default()
    }

    /// Takes a frame, and gives what it tells.
    pub fn frame(&mut self, frame: Frame<'_>, out: &mut Vec<Event>) {
        if self.over {
            return;
        }
        match frame {
            Frame::Exception { kind, payload } => self.exception(kind, payload, out),
            Frame::Event { name, data } => {
                if self.event(name, data, out).is_err() {
                    self.fail("The provider sent an event that cannot be read.", out);
                }
            }
        }
    }

    /// The stream has ended in order: behind `messageStop` it is whole even without `metadata`.
    pub fn end(&mut self, out: &mut Vec<Event>) {
        if self.stopped && !self.over {
            self.over = true;
            out.push(Event::End);
        }
    }

    fn event(
        &mut self,
        name: &[u8],
        data: &[u8],
        out: &mut Vec<Event>,
    ) -> Result<(), serde_json::Error> {
        match name {
            b"contentBlockDelta" => {
                let Grown { content_block_index, delta } = serde_json::from_slice(data)?;
                self.delta(content_block_index, delta, out);
            }
            b"contentBlockStart" => {
                let Started { content_block_index, start } = serde_json::from_slice(data)?;
                self.start(content_block_index, start, out);
            }
            b"contentBlockStop" => {
                let Stopped { content_block_index } = serde_json::from_slice(data)?;
                self.stop(content_block_index, out);
            }
            b"messageStart" => self.begin(out),
            b"messageStop" => {
                let stop = serde_json::from_slice(data)?;
                self.message_stop(stop, out);
            }
            b"metadata" => {
                let metadata = serde_json::from_slice(data)?;
                self.metadata(&metadata, out);
                if self.stopped {
                    self.end(out);
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// The answer begins.
    pub(crate) fn begin(&mut self, out: &mut Vec<Event>) {
        if !self.started {
            self.started = true;
            out.push(Event::Start { id: None, model: None, created: None });
        }
    }

    /// A block begins that says so: texts and thoughts begin with their first delta.
    pub(crate) fn start(&mut self, index: u64, start: Start, out: &mut Vec<Event>) {
        self.stop(index, out);
        if let Some(ToolUse { id, name, r#type }) = start.tool_use {
            if r#type.as_deref() == Some("server_tool_use") {
                let head = json!({ "toolUseId": id, "name": name, "type": r#type });
                self.open_silently(index, What::ServerCall(head, String::new()), out);
            } else {
                self.open(index, What::Call, Kind::ToolCall { id, name }, out);
            }
        } else if let Some(head) = start.tool_result {
            self.open_silently(index, What::ServerOutcome(head, Vec::new()), out);
        } else if let Some(image) = start.image {
            self.open_silently(index, What::Image(image.format, Vec::new()), out);
        } else {
            self.open_silently(index, What::Unknown, out);
        }
    }

    /// More of a block comes.
    pub(crate) fn delta(&mut self, index: u64, delta: Delta, out: &mut Vec<Event>) {
        if let Some(text) = delta.text {
            if let Some(block) = self.of(index, &Kind::Text, out)
                && !text.is_empty()
            {
                out.push(Event::Delta { block, piece: Piece::Text(text) });
            }
        } else if let Some(Input { input }) = delta.tool_use {
            self.input(index, input, out);
        } else if let Some(reasoning) = delta.reasoning_content {
            let Some(block) = self.of(index, &Kind::Reasoning, out) else { return };
            let Reasoning { text, signature, redacted_content } = reasoning;
            if let Some(text) = text.filter(|text| !text.is_empty()) {
                out.push(Event::Delta { block, piece: Piece::Text(text) });
            }
            let redacted = redacted_content.map(|data| format!("{REDACTED}{data}"));
            if let Some(data) = redacted.or(signature) {
                let signature = Signature { format: Format::Bedrock, data, id: None };
                out.push(Event::Delta { block, piece: Piece::Signature(signature) });
            }
        } else if let Some(citation) = delta.citation {
            if let Some(block) = self.of(index, &Kind::Text, out) {
                out.push(Event::Delta { block, piece: Piece::Citation(citation) });
            }
        } else if let Some(parts) = delta.tool_result {
            // Their size is that of their JSON, near enough.
            let size: usize = parts.iter().map(|part| part.to_string().len()).sum();
            if let Some(What::ServerOutcome(_, all)) = self.what(index) {
                all.extend(parts);
                self.gather(size, out);
            }
        } else if let Some(bytes) = delta.image.and_then(|image| image.source?.bytes)
            && let Some(What::Image(_, all)) = self.what(index)
            && let Ok(more) = STANDARD.decode(bytes)
        {
            all.extend_from_slice(&more);
            self.gather(more.len(), out);
        }
    }

    fn input(&mut self, index: u64, input: String, out: &mut Vec<Event>) {
        let Some(open) = self.open.iter_mut().find(|open| open.index == index) else { return };
        match (&mut open.what, open.block) {
            (What::Call, Some(block)) if !input.is_empty() => {
                out.push(Event::Delta { block, piece: Piece::Text(input) });
            }
            (What::ServerCall(_, all), _) => {
                all.push_str(&input);
                self.gather(input.len(), out);
            }
            _ => {}
        }
    }

    /// A block is whole.
    pub(crate) fn stop(&mut self, index: u64, out: &mut Vec<Event>) {
        if let Some(place) = self.open.iter().position(|open| open.index == index) {
            let open = self.open.remove(place);
            self.close(open, out);
        }
    }

    fn close(&mut self, open: Open, out: &mut Vec<Event>) {
        if let Some(block) = open.block {
            out.push(Event::Close { block });
            return;
        }
        let foreign = |json| Kind::Foreign { format: Format::Bedrock, json };
        let kind = match open.what {
            What::ServerCall(mut head, input) => {
                // What is no JSON stays as it came.
                head["input"] = match &*input {
                    "" => json!({}),
                    input => serde_json::from_str(input).unwrap_or_else(|_| json!(input)),
                };
                foreign(json!({ "toolUse": head }))
            }
            What::ServerOutcome(mut head, parts) => {
                if head.is_object() {
                    head["content"] = Value::Array(parts);
                }
                foreign(json!({ "toolResult": head }))
            }
            What::Image(format, bytes) => {
                let Some(media_type) = media_types::type_of(MediaKind::Image, &format) else {
                    return;
                };
                Kind::Media(image(media_type, STANDARD.encode(bytes)))
            }
            What::Text | What::Thought | What::Call | What::Unknown => return,
        };
        self.whole(kind, out);
    }

    /// A block that comes whole.
    pub(crate) fn whole(&mut self, kind: Kind, out: &mut Vec<Event>) {
        if let Some(block) = self.next(out) {
            out.push(Event::Open { block, candidate: 0, kind });
            out.push(Event::Close { block });
        }
    }

    pub(crate) fn message_stop(&mut self, stop: MessageStop, out: &mut Vec<Event>) {
        self.begin(out);
        for open in std::mem::take(&mut self.open) {
            self.close(open, out);
        }
        if self.stopped || self.over {
            return;
        }
        self.stopped = true;
        let MessageStop { stop_reason, additional_model_response_fields: fields } = stop;
        // ProviderError only to those who ask for it.
        let sequence = fields.and_then(|fields| Some(fields["stop_sequence"].as_str()?.to_owned()));
        let why = why(&stop_reason);
        out.push(Event::Stop { candidate: 0, why, raw: Some(stop_reason), sequence });
    }

    pub(crate) fn metadata(&mut self, metadata: &Metadata<'_>, out: &mut Vec<Event>) {
        self.begin(out);
        if let Some(usage) = metadata.usage {
            let mut tally = Tally::default();
            tally.of_bedrock(Some(usage.get().as_bytes()));
            out.push(Event::Usage(tally.usage()));
        }
        if let Some(ServiceTier { r#type }) = &metadata.service_tier {
            out.push(Event::Tier(r#type.clone()));
        }
    }

    pub(crate) fn fail(&mut self, message: &str, out: &mut Vec<Event>) {
        self.fail_as(
            ProviderError {
                failure: Failure { class: Class::Trouble, retry_after: None },
                status: None,
                kind: None,
                code: None,
                param: None,
                message: message.to_owned(),
            },
            out,
        );
    }

    pub(crate) fn fail_as(&mut self, told: ProviderError, out: &mut Vec<Event>) {
        if !self.over {
            self.over = true;
            out.push(Event::Fail(told));
        }
    }

    fn exception(&mut self, kind: &str, payload: &[u8], out: &mut Vec<Event>) {
        let told = ProviderError {
            failure: classify_named(kind, payload),
            status: status(kind),
            kind: Some(kind.to_owned()),
            code: None,
            param: None,
            message: message(payload).unwrap_or_else(|| kind.to_owned()),
        };
        self.fail_as(told, out);
    }

    /// The block of this index, which begins here unless it is open and of this kind.
    fn of(&mut self, index: u64, kind: &Kind, out: &mut Vec<Event>) -> Option<u32> {
        let open = self.open.iter().find(|open| open.index == index);
        match (open.map(|open| (&open.what, open.block)), kind) {
            (Some((What::Text, block)), Kind::Text)
            | (Some((What::Thought, block)), Kind::Reasoning) => block,
            (Some((What::Unknown, _)), _) => None,
            (_, Kind::Reasoning) => {
                self.stop(index, out);
                self.open(index, What::Thought, Kind::Reasoning, out)
            }
            _ => {
                self.stop(index, out);
                self.open(index, What::Text, Kind::Text, out)
            }
        }
    }

    fn what(&mut self, index: u64) -> Option<&mut What> {
        self.open.iter_mut().find(|open| open.index == index).map(|open| &mut open.what)
    }

    fn open(&mut self, index: u64, what: What, kind: Kind, out: &mut Vec<Event>) -> Option<u32> {
        let block = self.next(out)?;
        self.open.push(Open { index, block: Some(block), what });
        out.push(Event::Open { block, candidate: 0, kind });
        Some(block)
    }

    fn open_silently(&mut self, index: u64, what: What, out: &mut Vec<Event>) {
        self.begin(out);
        if self.stopped || self.over {
            return;
        }
        if self.open.len() >= 128 {
            return self.fail("The provider opened more blocks than can be followed.", out);
        }
        self.open.push(Open { index, block: None, what });
    }

    /// The number of the next block; none behind the answer's end.
    fn next(&mut self, out: &mut Vec<Event>) -> Option<u32> {
        self.begin(out);
        if self.stopped || self.over {
            return None;
        }
        if self.number == MOST_BLOCKS {
            self.fail("The provider sent more blocks than can be followed.", out);
            return None;
        }
        self.number += 1;
        Some(self.number - 1)
    }

    fn gather(&mut self, more: usize, out: &mut Vec<Event>) {
        self.gathered += more;
        if self.gathered > MOST_GATHERED {
            self.open.clear();
            self.fail("The provider sent blocks of more than 16 MiB.", out);
        }
    }
}

pub(crate) fn image(media_type: &str, data: String) -> Media {
    let source = Source::Base64 { media_type: media_type.to_owned(), data };
    Media { kind: MediaKind::Image, source, name: None, detail: None }
}

/// `message`, or what the model's vendor said.
pub(crate) fn message(payload: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Error {
        #[serde(alias = "Message")]
        message: Option<String>,
        original_message: Option<String>,
    }
    let error: Error = serde_json::from_slice(payload).ok()?;
    error.message.or(error.original_message)
}

/// Of the exceptions of a stream, as the API's model has them.
fn status(kind: &str) -> Option<u16> {
    Some(match kind {
        "internalServerException" => 500,
        "modelStreamErrorException" => 424,
        "validationException" => 400,
        "throttlingException" => 429,
        "serviceUnavailableException" => 503,
        _ => return None,
    })
}

fn why(reason: &str) -> Stop {
    match reason {
        "end_turn" => Stop::End,
        "tool_use" => Stop::Calls,
        "max_tokens" => Stop::Length,
        "stop_sequence" => Stop::Sequence,
        "guardrail_intervened" | "content_filtered" => Stop::Filter,
        "malformed_model_output" | "malformed_tool_use" => Stop::Malformed,
        "model_context_window_exceeded" => Stop::Window,
        _ => Stop::Other,
    }
}
