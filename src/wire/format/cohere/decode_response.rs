//! An answer, streamed or whole -> events.
//!
//! A text that has ended stays open until the next block begins or the message ends: what it cites may be
//! told behind it.

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::wire::api::Api;
use crate::wire::failure::ProviderError;
use crate::wire::failure::classify::classify_told;
use crate::wire::format::quirks::Quirks;
use crate::wire::frame::Frame;
use crate::wire::inspect::token_counts::Tally;
use crate::wire::ir::{Event, Kind, Piece, Stop};

/// Of one answer; no model opens as many.
const MOST_BLOCKS: u32 = 1024;

/// Makes events of a provider's stream, and of a whole answer's parts.
#[derive(Debug, Default)]
pub struct Decoder {
    started: bool,
    over: bool,
    number: u32,
    open: Option<Open>,
}

/// One block at a time is told.
#[derive(Clone, Copy, Debug)]
struct Open {
    block: u32,
    what: What,
    /// Its place in the message's content; calls and plans have none.
    index: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Text,
    Thought,
    Call,
}

#[derive(Deserialize)]
struct Line<'l> {
    #[serde(borrow)]
    r#type: Option<&'l str>,
    id: Option<String>,
    index: Option<u64>,
    #[serde(borrow)]
    delta: Option<Delta<'l>>,
    logprobs: Option<Probable>,
}

#[derive(Deserialize)]
struct Delta<'l> {
    message: Option<Message>,
    finish_reason: Option<String>,
    #[serde(borrow)]
    usage: Option<&'l RawValue>,
    error: Option<String>,
}

/// Only that member is read which the event is about: at the message's start all of them are empty lists.
#[derive(Deserialize)]
struct Message {
    content: Option<OneOrNone<Part>>,
    tool_plan: Option<String>,
    tool_calls: Option<OneOrNone<Call>>,
    citations: Option<OneOrNone<Value>>,
}

/// An object, or the list that stands for none.
#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrNone<T> {
    One(T),
    None(Vec<T>),
}

impl<T> OneOrNone<T> {
    fn one(self) -> Option<T> {
        match self {
            OneOrNone::One(one) => Some(one),
            OneOrNone::None(list) => list.into_iter().next(),
        }
    }
}

#[derive(Deserialize)]
struct Part {
    text: Option<String>,
    thinking: Option<String>,
}

#[derive(Deserialize)]
struct Call {
    id: Option<String>,
    function: Option<Function>,
}

#[derive(Deserialize)]
struct Function {
    name: Option<String>,
    arguments: Option<String>,
}

#[derive(Deserialize)]
struct Probable {
    text: Option<String>,
    logprobs: Option<Vec<f64>>,
}

impl Decoder {
    /// Vendors of this format are one.
    pub fn new(_quirks: &'static Quirks) -> Decoder {
        Decoder::default()
    }

    /// Takes a frame, and gives what it tells.
    pub fn frame(&mut self, frame: Frame<'_>, out: &mut Vec<Event>) {
        let Frame::Event { name, data } = frame else { return };
        if self.over || data.is_empty() || name == b"ping" || data.starts_with(b"[DONE]") {
            return;
        }
        let Ok(line) = serde_json::from_slice::<Line<'_>>(data) else {
            return self.fail(
                &json!({ "message": "The provider sent an event that cannot be read." }),
                out,
            );
        };
        let kind = line.r#type.or(std::str::from_utf8(name).ok()).unwrap_or_default();
        if kind == "error" {
            return self.fail(&serde_json::from_slice(data).unwrap_or_default(), out);
        }
        self.event(kind, line, out);
    }

    /// Behind its last event nothing is owed.
    pub fn end(&mut self, _out: &mut Vec<Event>) {}

    fn event(&mut self, kind: &str, line: Line<'_>, out: &mut Vec<Event>) {
        let Line { r#type: _, id, index, delta, logprobs } = line;
        let (message, finish, usage, error) = match delta {
            Some(delta) => (delta.message, delta.finish_reason, delta.usage, delta.error),
            None => (None, None, None, None),
        };
        match kind {
            "message-start" => self.begin(id, out),
            "content-start" | "content-delta" => {
                if kind == "content-start" {
                    self.close(out);
                }
                if let Some(part) = message.and_then(|own| own.content?.one()) {
                    self.part(part, index, out);
                }
                if let Some(probable) = logprobs {
                    self.probable(probable, out);
                }
            }
            "tool-plan-delta" => {
                if let Some(plan) = message.and_then(|own| own.tool_plan) {
                    self.grow(What::Thought, None, plan, out);
                }
            }
            "tool-call-start" => {
                if let Some(call) = message.and_then(|own| own.tool_calls?.one()) {
                    self.call(call, out);
                }
            }
            "tool-call-delta" => {
                let call = message.and_then(|own| own.tool_calls?.one());
                if let Some(more) = call.and_then(|call| call.function?.arguments) {
                    self.arguments(more, out);
                }
            }
            "tool-call-end" => self.close(out),
            "citation-start" => {
                if let Some(citation) = message.and_then(|own| own.citations?.one()) {
                    self.cite(citation, out);
                }
            }
            "message-end" => self.message_end(finish, usage, error, out),
            _ => {}
        }
    }

    fn begin(&mut self, id: Option<String>, out: &mut Vec<Event>) {
        if !self.started {
            self.started = true;
            out.push(Event::Start { id, model: None, created: None });
        }
    }

    fn part(&mut self, part: Part, index: Option<u64>, out: &mut Vec<Event>) {
        if let Some(thinking) = part.thinking {
            self.grow(What::Thought, index, thinking, out);
        } else if let Some(text) = part.text {
            self.grow(What::Text, index, text, out);
        }
    }

    fn grow(&mut self, what: What, index: Option<u64>, text: String, out: &mut Vec<Event>) {
        let same = self.open.filter(|open| open.what == what && open.index == index);
        let kind = if what == What::Text { Kind::Text } else { Kind::Reasoning };
        let block = same.map(|open| open.block).or_else(|| self.open(what, index, kind, out));
        if let Some(block) = block.filter(|_| !text.is_empty()) {
            out.push(Event::Delta { block, piece: Piece::Text(text) });
        }
    }

    fn call(&mut self, call: Call, out: &mut Vec<Event>) {
        let Some(Function { name: Some(name), arguments }) = call.function else { return };
        self.open(What::Call, None, Kind::ToolCall { id: call.id, name }, out);
        if let Some(arguments) = arguments {
            self.arguments(arguments, out);
        }
    }

    fn arguments(&mut self, more: String, out: &mut Vec<Event>) {
        if let Some(Open { block, what: What::Call, .. }) = self.open
            && !more.is_empty()
        {
            out.push(Event::Delta { block, piece: Piece::Text(more) });
        }
    }

    fn cite(&mut self, citation: Value, out: &mut Vec<Event>) {
        let wanted = citation.get("content_index").and_then(Value::as_u64);
        if let Some(Open { block, what: What::Text, index }) = self.open
            && (wanted.is_none() || index.is_none() || wanted == index)
        {
            out.push(Event::Delta { block, piece: Piece::Citation(citation) });
        }
    }

    /// A text's token as OpenAI tells it. Of several tokens in one text there is no telling which is which.
    fn probable(&mut self, probable: Probable, out: &mut Vec<Event>) {
        let Some(Open { block, .. }) = self.open else { return };
        if let (Some(text), Some([logprob])) = (probable.text, probable.logprobs.as_deref()) {
            let token = json!({
                "token": text, "logprob": logprob, "bytes": text.as_bytes(), "top_logprobs": [],
            });
            out.push(Event::Delta { block, piece: Piece::Logprobs(vec![token]) });
        }
    }

    fn message_end(
        &mut self,
        finish: Option<String>,
        usage: Option<&RawValue>,
        error: Option<String>,
        out: &mut Vec<Event>,
    ) {
        self.begin(None, out);
        self.close(out);
        if self.over {
            return;
        }
        if let Some(usage) = usage {
            let mut tally = Tally::default();
            tally.of_cohere(Some(usage.get().as_bytes()));
            out.push(Event::Usage(tally.usage()));
        }
        if finish.as_deref() == Some("ERROR") {
            let message = error.unwrap_or_else(|| "The generation failed.".to_owned());
            return self.fail(&json!({ "message": message }), out);
        }
        let why = why(finish.as_deref().unwrap_or_default());
        out.push(Event::Stop { candidate: 0, why, raw: finish, sequence: None });
        self.over = true;
        out.push(Event::End);
    }

    fn open(
        &mut self,
        what: What,
        index: Option<u64>,
        kind: Kind,
        out: &mut Vec<Event>,
    ) -> Option<u32> {
        self.begin(None, out);
        self.close(out);
        if self.number == MOST_BLOCKS {
            self.fail(
                &json!({ "message": "The provider sent more blocks than can be followed." }),
                out,
            );
        }
        if self.over {
            return None;
        }
        let block = self.number;
        self.number += 1;
        self.open = Some(Open { block, what, index });
        out.push(Event::Open { block, candidate: 0, kind });
        Some(block)
    }

    fn close(&mut self, out: &mut Vec<Event>) {
        if let Some(Open { block, .. }) = self.open.take() {
            out.push(Event::Close { block });
        }
    }

    /// `{"message":"…"}`, and what stands beside it in an error answer.
    fn fail(&mut self, error: &Value, out: &mut Vec<Event>) {
        if self.over {
            return;
        }
        self.over = true;
        let text = |name: &str| error.get(name).and_then(Value::as_str).map(str::to_owned);
        out.push(Event::Fail(ProviderError {
            failure: classify_told(Api::Cohere, error.to_string().as_bytes()),
            status: None,
            kind: text("error_type"),
            code: None,
            param: None,
            message: text("message").unwrap_or_else(|| error.to_string()),
        }));
    }
}

/// <https://docs.cohere.com/reference/chat#response.body.finish_reason>
fn why(finish: &str) -> Stop {
    match finish {
        "COMPLETE" => Stop::End,
        "STOP_SEQUENCE" => Stop::Sequence,
        "MAX_TOKENS" => Stop::Length,
        "TOOL_CALL" => Stop::Calls,
        _ => Stop::Other,
    }
}

#[derive(Deserialize)]
struct Whole<'w> {
    id: Option<String>,
    message: WholeMessage,
    finish_reason: Option<String>,
    #[serde(borrow)]
    usage: Option<&'w RawValue>,
    logprobs: Option<Vec<Probable>>,
}

#[derive(Deserialize)]
struct WholeMessage {
    tool_plan: Option<String>,
    content: Option<Vec<Part>>,
    tool_calls: Option<Vec<Call>>,
    citations: Option<Vec<Value>>,
}

/// Makes events of a provider's whole answer.
pub fn decode_whole(body: &[u8], quirks: &'static Quirks) -> Vec<Event> {
    let mut out = Vec::new();
    let mut decoder = Decoder::new(quirks);
    let Ok(whole) = serde_json::from_slice::<Whole<'_>>(body) else {
        let error = serde_json::from_slice::<Value>(body).ok().filter(Value::is_object);
        let unread = || json!({ "message": "The provider's answer cannot be read." });
        decoder.fail(&error.unwrap_or_else(unread), &mut out);
        return out;
    };
    let Whole { id, message, finish_reason, usage, logprobs } = whole;
    let WholeMessage { tool_plan, content, tool_calls, citations } = message;
    decoder.begin(id, &mut out);
    if let Some(plan) = tool_plan.filter(|plan| !plan.is_empty()) {
        decoder.grow(What::Thought, None, plan, &mut out);
    }
    let mut citations = citations.unwrap_or_default();
    let mut logprobs = logprobs;
    for (index, part) in (0..).zip(content.unwrap_or_default()) {
        let is_text = part.text.is_some() && part.thinking.is_none();
        decoder.part(part, Some(index), &mut out);
        if !is_text {
            continue;
        }
        for probable in logprobs.take().into_iter().flatten() {
            decoder.probable(probable, &mut out);
        }
        // One that does not say of which text it is stands with the first.
        let (own, others) = citations.into_iter().partition(|citation: &Value| {
            citation.get("content_index").and_then(Value::as_u64).is_none_or(|of| of == index)
        });
        citations = others;
        let own: Vec<Value> = own;
        for citation in own {
            decoder.cite(citation, &mut out);
        }
    }
    for call in tool_calls.unwrap_or_default() {
        decoder.call(call, &mut out);
    }
    decoder.message_end(finish_reason, usage, None, &mut out);
    out
}
