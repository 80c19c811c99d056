//! The blocks of an answer that are open.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::wire::api::Format;
use crate::wire::format::anthropic::signature;
use crate::wire::ir::{Event, Kind, Piece};

use super::Delta;

/// The API streams one block after another; no answer has more at once, nor more in all.
const MOST_OPEN: usize = 64;
const MOST: u32 = 4096;
/// What is held of blocks that are told whole.
const MOST_HELD: usize = 16 << 20;

/// Bookkeeping of blocks.
#[derive(Debug, Default)]
pub(crate) struct Blocks {
    open: Vec<Open>,
    next: u32,
    held: usize,
}

#[derive(Debug)]
struct Open {
    /// The provider's number.
    index: u64,
    /// Ours; `None`: not told yet, because it is told whole.
    block: Option<u32>,
    /// Of a call: nothing of its arguments has come.
    bare: bool,
    foreign: Value,
    /// Of a foreign block the JSON that becomes its `input`.
    input: String,
}

#[derive(Deserialize)]
struct Begun<'f> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'f, str>,
    text: Option<String>,
    #[serde(borrow)]
    citations: Option<Vec<&'f RawValue>>,
    thinking: Option<String>,
    signature: Option<String>,
    data: Option<String>,
    id: Option<String>,
    name: Option<String>,
    #[serde(borrow)]
    input: Option<&'f RawValue>,
}

type Taken = Result<(), &'static str>;

impl Blocks {
    /// A block begins, usually empty; of a whole answer it has all in it.
    pub(super) fn start(&mut self, index: u64, raw: &RawValue, out: &mut Vec<Event>) -> Taken {
        if self.open.len() >= MOST_OPEN || self.next >= MOST {
            return Err("The provider's answer has too many blocks.");
        }
        if self.open.iter().any(|open| open.index == index) {
            self.stop(index, out);
        }
        let kind = kind_of(raw).ok_or("The provider began a block that is none.")?;
        if !matches!(&*kind, "text" | "thinking" | "redacted_thinking" | "tool_use") {
            return self.hold(index, raw);
        }
        let Ok(begun) = serde_json::from_str::<Begun<'_>>(raw.get()) else {
            return Err("The provider began a block that cannot be read.");
        };
        let block = self.next;
        self.next += 1;
        let mut open = Open {
            index,
            block: Some(block),
            bare: false,
            foreign: Value::Null,
            input: String::new(),
        };
        let (kind, text, sealed) = match &*begun.kind {
            "text" => (Kind::Text, begun.text, None),
            "thinking" => (
                Kind::Reasoning,
                begun.thinking,
                begun.signature.as_deref().and_then(signature::own),
            ),
            "redacted_thinking" => {
                (Kind::Reasoning, None, begun.data.as_deref().map(signature::redacted))
            }
            _ => {
                let input = begun.input.map(RawValue::get).filter(|json| !is_empty_object(json));
                open.bare = input.is_none();
                let name = begun.name.unwrap_or_default();
                (Kind::ToolCall { id: begun.id, name }, input.map(str::to_owned), None)
            }
        };
        self.open.push(open);
        out.push(Event::Open { block, candidate: 0, kind });
        let mut delta = |piece| out.push(Event::Delta { block, piece });
        if let Some(text) = text.filter(|text| !text.is_empty()) {
            delta(Piece::Text(text));
        }
        for citation in begun.citations.unwrap_or_default() {
            delta(Piece::Citation(value_of(citation)));
        }
        if let Some(signature) = sealed {
            delta(Piece::Signature(signature));
        }
        Ok(())
    }

    /// More of a block; of one that is not open it is passed over, as what is unknown is.
    pub(super) fn delta(&mut self, index: u64, delta: Delta<'_>, out: &mut Vec<Event>) -> Taken {
        let Some(open) = self.open.iter_mut().find(|open| open.index == index) else {
            return Ok(());
        };
        let Some(block) = open.block else {
            self.held += open.gather(delta);
            return if self.held > MOST_HELD {
                Err("The provider sent a block of more than 16 MiB.")
            } else {
                Ok(())
            };
        };
        let piece = match &*delta.kind {
            "text_delta" => delta.text.map(Piece::Text),
            "thinking_delta" => delta.thinking.map(Piece::Text),
            "input_json_delta" => delta.partial_json.map(Piece::Text),
            "signature_delta" => {
                delta.signature.as_deref().and_then(signature::own).map(Piece::Signature)
            }
            "citations_delta" => delta.citation.map(|raw| Piece::Citation(value_of(raw))),
            _ => None,
        };
        if let Some(piece) = piece {
            if let Piece::Text(text) = &piece {
                if text.is_empty() {
                    return Ok(());
                }
                open.bare = false;
            }
            out.push(Event::Delta { block, piece });
        }
        Ok(())
    }

    pub(super) fn stop(&mut self, index: u64, out: &mut Vec<Event>) {
        if let Some(place) = self.open.iter().position(|open| open.index == index) {
            let open = self.open.remove(place);
            self.close(open, out);
        }
    }

    pub(super) fn close_all(&mut self, out: &mut Vec<Event>) {
        for open in std::mem::take(&mut self.open) {
            self.close(open, out);
        }
    }

    /// A block that is told whole, when it is.
    fn hold(&mut self, index: u64, raw: &RawValue) -> Taken {
        self.held += raw.get().len();
        if self.held > MOST_HELD {
            return Err("The provider sent a block of more than 16 MiB.");
        }
        let foreign = value_of(raw);
        self.open.push(Open { index, block: None, bare: false, foreign, input: String::new() });
        Ok(())
    }

    fn close(&mut self, open: Open, out: &mut Vec<Event>) {
        let block = if let Some(block) = open.block {
            // The block began with `"input": {}`, and that was all.
            if open.bare {
                out.push(Event::Delta { block, piece: Piece::Text("{}".to_owned()) });
            }
            block
        } else {
            let (block, mut json) = (self.next, open.foreign);
            self.next += 1;
            self.held = 0;
            let input = serde_json::from_str::<Value>(&open.input).ok();
            if let (Some(input), Value::Object(members)) = (input, &mut json) {
                members.insert("input".to_owned(), input);
            }
            let kind = Kind::Foreign { format: Format::Anthropic, json };
            out.push(Event::Open { block, candidate: 0, kind });
            block
        };
        out.push(Event::Close { block });
    }
}

impl Open {
    /// Adds to a block that is told whole, and says how many bytes came to it.
    fn gather(&mut self, delta: Delta<'_>) -> usize {
        let mut came = 0;
        if let Some(json) = delta.partial_json {
            came += json.len();
            self.input.push_str(&json);
        }
        let Value::Object(members) = &mut self.foreign else { return came };
        for (name, raw) in
            [("content", delta.content), ("encrypted_content", delta.encrypted_content)]
        {
            if let Some(raw) = raw {
                came += raw.get().len();
                members.insert(name.to_owned(), value_of(raw));
            }
        }
        if let Some(text) = delta.text {
            came += text.len();
            match members.entry("text").or_insert_with(|| Value::String(String::new())) {
                Value::String(own) => own.push_str(&text),
                other => *other = Value::String(text),
            }
        }
        came
    }
}

fn kind_of(raw: &RawValue) -> Option<Cow<'_, str>> {
    #[derive(Deserialize)]
    struct Typed<'f> {
        #[serde(rename = "type", borrow)]
        kind: Cow<'f, str>,
    }
    serde_json::from_str::<Typed<'_>>(raw.get()).ok().map(|typed| typed.kind)
}

fn is_empty_object(json: &str) -> bool {
    let inner = json.trim().strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
    inner.is_some_and(|inner| inner.trim().is_empty())
}

fn value_of(raw: &RawValue) -> Value {
    serde_json::from_str(raw.get()).unwrap_or_default()
}
