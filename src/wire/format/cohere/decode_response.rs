//! A provider's answer, streamed or whole -> events.
//!
//! A text that has ended stays open until the next block begins or the message ends, because its citations may
//! come after it.

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::wire::api::Api;
use crate::wire::failure::ProviderError;
use crate::wire::failure::classify::classify_told;
use crate::wire::format::quirks::Quirks;
use crate::wire::frame::Frame;
use crate::wire::inspect::token_counts::Tally;
use crate::wire::ir::block_writer::{BlockWriter, Shape};
use crate::wire::ir::{Event, Kind, Piece, Stop};

/// No answer has more blocks.
const MAX_BLOCKS: u32 = 1024;

/// Decodes a provider's stream.
#[derive(Debug)]
pub struct Decoder {
    writer: BlockWriter,
    /// The index of the open block in the message's content; calls and plans have none.
    index: Option<u64>,
}

#[derive(Deserialize)]
struct StreamEvent<'e> {
    #[serde(borrow)]
    r#type: Option<&'e str>,
    id: Option<String>,
    index: Option<u64>,
    #[serde(borrow)]
    delta: Option<Delta<'e>>,
    logprobs: Option<TokenLogprobs>,
}

#[derive(Default, Deserialize)]
struct Delta<'e> {
    message: Option<MessageDelta>,
    finish_reason: Option<String>,
    #[serde(borrow)]
    usage: Option<&'e RawValue>,
    error: Option<String>,
}

/// An event sets one of the members. At the message's start all of them are empty lists.
#[derive(Default, Deserialize)]
struct MessageDelta {
    content: Option<ObjectOrList<Part>>,
    tool_plan: Option<String>,
    tool_calls: Option<ObjectOrList<ToolCall>>,
    citations: Option<ObjectOrList<Value>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum ObjectOrList<T> {
    Object(T),
    List(Vec<T>),
}

impl<T> ObjectOrList<T> {
    fn into_first(self) -> Option<T> {
        match self {
            ObjectOrList::Object(object) => Some(object),
            ObjectOrList::List(list) => list.into_iter().next(),
        }
    }
}

#[derive(Deserialize)]
struct Answer<'a> {
    id: Option<String>,
    message: Message,
    finish_reason: Option<String>,
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
    logprobs: Option<Vec<TokenLogprobs>>,
}

#[derive(Deserialize)]
struct Message {
    tool_plan: Option<String>,
    content: Option<Vec<Part>>,
    tool_calls: Option<Vec<ToolCall>>,
    citations: Option<Vec<Value>>,
}

#[derive(Deserialize)]
struct Part {
    text: Option<String>,
    thinking: Option<String>,
}

#[derive(Deserialize)]
struct ToolCall {
    id: Option<String>,
    function: Option<FunctionCall>,
}

#[derive(Deserialize)]
struct FunctionCall {
    name: Option<String>,
    arguments: Option<String>,
}

#[derive(Deserialize)]
struct TokenLogprobs {
    text: Option<String>,
    logprobs: Option<Vec<f64>>,
}

impl Decoder {
    /// This format has one vendor, without quirks.
    pub fn new(_quirks: &'static Quirks) -> Decoder {
        Decoder { writer: BlockWriter::new(MAX_BLOCKS), index: None }
    }

    /// Decodes a frame.
    pub fn frame(&mut self, frame: Frame<'_>, out: &mut Vec<Event>) {
        let Frame::Event { name, data } = frame else { return };
        if data.is_empty() || name == b"ping" || data.starts_with(b"[DONE]") {
            return;
        }
        let Ok(event) = serde_json::from_slice::<StreamEvent<'_>>(data) else {
            return self.fail_with("The provider sent an event that cannot be read.", out);
        };
        let kind = event.r#type.or(std::str::from_utf8(name).ok()).unwrap_or_default();
        if kind == "error" {
            return self.fail(&serde_json::from_slice(data).unwrap_or_default(), out);
        }
        self.event(kind, event, out);
    }

    /// The stream has ended in order. The last event is `message-end`, so a stream without it was cut.
    pub fn end(&mut self, _out: &mut Vec<Event>) {}

    fn event(&mut self, kind: &str, event: StreamEvent<'_>, out: &mut Vec<Event>) {
        let StreamEvent { r#type: _, id, index, delta, logprobs } = event;
        let Delta { message, finish_reason, usage, error } = delta.unwrap_or_default();
        let message = message.unwrap_or_default();
        match kind {
            "message-start" => self.writer.start(id, None, None, out),
            "content-start" | "content-delta" => {
                if kind == "content-start" {
                    self.writer.close_candidate(0, out);
                }
                if let Some(part) = message.content.and_then(ObjectOrList::into_first) {
                    self.part(part, index, out);
                }
                if let Some(logprobs) = logprobs {
                    self.logprobs(logprobs, out);
                }
            }
            "tool-plan-delta" => {
                if let Some(plan) = message.tool_plan {
                    self.text(Kind::Reasoning, None, plan, out);
                }
            }
            "tool-call-start" => {
                if let Some(call) = message.tool_calls.and_then(ObjectOrList::into_first) {
                    self.call(call, out);
                }
            }
            "tool-call-delta" => {
                let call = message.tool_calls.and_then(ObjectOrList::into_first);
                if let Some(arguments) = call.and_then(|call| call.function?.arguments)
                    && let Some((block, Shape::ToolCall)) = self.writer.current(0)
                {
                    self.writer.extend(block, Piece::Text(arguments), out);
                }
            }
            "tool-call-end" => self.writer.close_candidate(0, out),
            "citation-start" => {
                if let Some(citation) = message.citations.and_then(ObjectOrList::into_first) {
                    self.cite(citation, out);
                }
            }
            "message-end" => self.message_end(finish_reason, usage, error, out),
            _ => {}
        }
    }

    fn answer(&mut self, answer: Answer<'_>, out: &mut Vec<Event>) {
        let Answer { id, message, finish_reason, usage, mut logprobs } = answer;
        let Message { tool_plan, content, tool_calls, citations } = message;
        self.writer.start(id, None, None, out);
        if let Some(plan) = tool_plan.filter(|plan| !plan.is_empty()) {
            self.text(Kind::Reasoning, None, plan, out);
        }
        let mut citations = citations.unwrap_or_default();
        for (index, part) in (0..).zip(content.unwrap_or_default()) {
            let is_text = part.text.is_some() && part.thinking.is_none();
            self.part(part, Some(index), out);
            if !is_text {
                continue;
            }
            for token in logprobs.take().into_iter().flatten() {
                self.logprobs(token, out);
            }
            // A citation without an index belongs to the first text.
            let (cited, others): (Vec<_>, _) = citations
                .into_iter()
                .partition(|citation| content_index(citation).is_none_or(|cited| cited == index));
            citations = others;
            for citation in cited {
                self.cite(citation, out);
            }
        }
        for call in tool_calls.unwrap_or_default() {
            self.call(call, out);
        }
        self.message_end(finish_reason, usage, None, out);
    }

    fn part(&mut self, part: Part, index: Option<u64>, out: &mut Vec<Event>) {
        if let Some(thinking) = part.thinking {
            self.text(Kind::Reasoning, index, thinking, out);
        } else if let Some(text) = part.text {
            self.text(Kind::Text, index, text, out);
        }
    }

    /// Adds to the open block, or opens a new one if the kind or the index differs.
    fn text(&mut self, kind: Kind, index: Option<u64>, text: String, out: &mut Vec<Event>) {
        if index != self.index {
            self.writer.close_candidate(0, out);
            self.index = index;
        }
        if let Some(block) = self.writer.continue_or_open(0, kind, out) {
            self.writer.extend(block, Piece::Text(text), out);
        }
    }

    fn call(&mut self, call: ToolCall, out: &mut Vec<Event>) {
        let Some(FunctionCall { name: Some(name), arguments }) = call.function else { return };
        self.writer.close_candidate(0, out);
        self.index = None;
        let block = self.writer.open(0, Kind::ToolCall { id: call.id, name }, out);
        if let (Some(block), Some(arguments)) = (block, arguments) {
            self.writer.extend(block, Piece::Text(arguments), out);
        }
    }

    fn cite(&mut self, citation: Value, out: &mut Vec<Event>) {
        let cited = content_index(&citation);
        if let Some((block, Shape::Text)) = self.writer.current(0)
            && (cited.is_none() || self.index.is_none() || cited == self.index)
        {
            self.writer.extend(block, Piece::Citation(citation), out);
        }
    }

    /// Writes the token of a text in OpenAI's form. A text of several tokens does not show where each ends, so it
    /// gets none.
    fn logprobs(&mut self, logprobs: TokenLogprobs, out: &mut Vec<Event>) {
        let Some((block, _)) = self.writer.current(0) else { return };
        if let (Some(text), Some([logprob])) = (logprobs.text, logprobs.logprobs.as_deref()) {
            let token = json!({
                "token": text, "logprob": logprob, "bytes": text.as_bytes(), "top_logprobs": [],
            });
            self.writer.extend(block, Piece::Logprobs(vec![token]), out);
        }
    }

    fn message_end(
        &mut self,
        finish_reason: Option<String>,
        usage: Option<&RawValue>,
        error: Option<String>,
        out: &mut Vec<Event>,
    ) {
        if self.writer.is_over() {
            return;
        }
        self.writer.start(None, None, None, out);
        self.writer.close_candidate(0, out);
        if let Some(usage) = usage {
            let mut tally = Tally::default();
            tally.of_cohere(Some(usage.get().as_bytes()));
            out.push(Event::Usage(tally.usage()));
        }
        if finish_reason.as_deref() == Some("ERROR") {
            return self.fail_with(error.as_deref().unwrap_or("The generation failed."), out);
        }
        let why = stop_reason(finish_reason.as_deref().unwrap_or_default());
        self.writer.stop(0, why, finish_reason, None, out);
        self.writer.end(out);
    }

    fn fail_with(&mut self, message: &str, out: &mut Vec<Event>) {
        self.fail(&json!({ "message": message }), out);
    }

    /// Fails with an object of the form `{"message": "...", "error_type": "..."}`.
    fn fail(&mut self, error: &Value, out: &mut Vec<Event>) {
        let text = |name: &str| error.get(name).and_then(Value::as_str).map(str::to_owned);
        let json = error.to_string();
        let failure = classify_told(Api::Cohere, json.as_bytes());
        let message = text("message").unwrap_or(json);
        let kind = text("error_type");
        let error = ProviderError { failure, kind, ..ProviderError::malformed(message) };
        self.writer.fail(error, out);
    }
}

/// Decodes a provider's whole answer.
pub fn decode_whole(body: &[u8], quirks: &'static Quirks) -> Vec<Event> {
    let (mut decoder, mut out) = (Decoder::new(quirks), Vec::new());
    match serde_json::from_slice(body) {
        Ok(answer) => decoder.answer(answer, &mut out),
        Err(_) => match serde_json::from_slice::<Value>(body) {
            Ok(error @ Value::Object(_)) => decoder.fail(&error, &mut out),
            _ => decoder.fail_with("The provider's answer cannot be read.", &mut out),
        },
    }
    out
}

/// Returns the index of the content that a citation is about.
fn content_index(citation: &Value) -> Option<u64> {
    citation.get("content_index").and_then(Value::as_u64)
}

/// <https://docs.cohere.com/reference/chat#response.body.finish_reason>
fn stop_reason(finish_reason: &str) -> Stop {
    match finish_reason {
        "COMPLETE" => Stop::End,
        "STOP_SEQUENCE" => Stop::Sequence,
        "MAX_TOKENS" => Stop::Length,
        "TOOL_CALL" => Stop::Calls,
        _ => Stop::Other,
    }
}
