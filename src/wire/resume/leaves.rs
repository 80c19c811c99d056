//! What an event of each format says, place by place.

use serde_json::{Map, Value};

use super::said::Taken;
use crate::wire::api::{Api, Framing, Operation};

/// A format whose streams can be gone on with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Chat,
    Completions,
    Anthropic,
    Gemini,
}

/// What is said at one place.
#[derive(Debug)]
pub(super) enum Leaf<'v> {
    /// A part of a text that grows: its place, and the part.
    Text(String, &'v mut String),
    /// Something that comes whole and in its turn: its place, and what it is.
    Token(String, String),
    /// Something that is said once, however often it comes, and behind all that came before it.
    Mark(String),
}

/// Hears each leaf, with the choice or candidate that says it.
type Hear<'h> = dyn FnMut(u64, Leaf<'_>) -> Taken + 'h;

impl Form {
    pub(super) fn of(operation: Operation, framing: Framing) -> Option<Self> {
        match (framing, operation) {
            (Framing::Events, Operation::Chat) => Some(Form::Chat),
            (Framing::Events, Operation::Completions) => Some(Form::Completions),
            (Framing::Events | Framing::Array, Operation::StreamGenerateContent) => {
                Some(Form::Gemini)
            }
            (Framing::Events, operation) if operation.api() == Api::Anthropic => {
                Some(Form::Anthropic)
            }
            _ => None,
        }
    }

    pub(super) fn is_error(self, name: &[u8], event: &Value) -> bool {
        let error = &event["error"];
        name == b"error"
            || match self {
                Form::Anthropic => event["type"] == "error",
                Form::Gemini => error.is_object(),
                Form::Chat | Form::Completions => {
                    !error.is_null() && *error != Value::Bool(false) && error != ""
                }
            }
    }

    /// Goes over all that an event says, and takes out of it what was said before. `false`: it says
    /// something that is not understood.
    pub(super) fn visit(self, event: &mut Value, hear: &mut Hear<'_>) -> bool {
        match self {
            Form::Chat => each(&mut event["choices"], |choice| chat(choice, hear)),
            Form::Completions => each(&mut event["choices"], |choice| completion(choice, hear)),
            Form::Anthropic => anthropic(event, hear),
            Form::Gemini => each(&mut event["candidates"], |candidate| gemini(candidate, hear)),
        }
    }
}

/// Visits the elements of an array; whether all were understood.
fn each(list: &mut Value, mut visit: impl FnMut(&mut Value) -> bool) -> bool {
    let list = list.as_array_mut().map(Vec::as_mut_slice).unwrap_or_default();
    list.iter_mut().fold(true, |understood, item| visit(item) & understood)
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or(0)
}

fn mark(group: u64, what: &str, value: &Value, hear: &mut Hear<'_>) {
    if let Some(word) = value.as_str().filter(|word| !word.is_empty()) {
        hear(group, Leaf::Mark(format!("{what} {word}")));
    }
}

/// A choice of a `chat.completion.chunk`.
fn chat(choice: &mut Value, hear: &mut Hear<'_>) -> bool {
    let group = number(&choice["index"]);
    let mut understood = true;
    let mut part = false;
    if let Some(delta) = choice["delta"].as_object_mut() {
        for (name, value) in delta.iter_mut() {
            match (name.as_str(), value) {
                (_, Value::Null) => {}
                ("role", value) => mark(group, "role", value, hear),
                (
                    "content" | "refusal" | "reasoning" | "reasoning_content",
                    Value::String(text),
                ) => part |= hear(group, Leaf::Text(name.clone(), text)) != Taken::New,
                ("tool_calls", Value::Array(calls)) => {
                    for (place, call) in calls.iter_mut().enumerate() {
                        let index = call["index"].as_u64().unwrap_or(place as u64);
                        understood &= tool_call(group, index, call, hear);
                    }
                    calls.retain(|call| !call.is_null());
                }
                _ => understood = false,
            }
        }
    }
    if part && let Some(choice) = choice.as_object_mut() {
        // They are of the whole part.
        choice.remove("logprobs");
    }
    mark(group, "finish", &choice["finish_reason"], hear);
    understood
}

/// A part of a call. What was said in full is left as `null`.
fn tool_call(group: u64, index: u64, call: &mut Value, hear: &mut Hear<'_>) -> bool {
    let (kind, arguments) =
        if call["custom"].is_object() { ("custom", "input") } else { ("function", "arguments") };
    let Some(function) = call[kind].as_object_mut() else { return false };
    let place = format!("call {index}");
    let name = function.get("name").and_then(Value::as_str).filter(|name| !name.is_empty());
    let name = name.map(|name| hear(group, Leaf::Token(place.clone(), name.to_owned())));
    let arguments = match function.get_mut(arguments) {
        Some(Value::String(text)) => hear(group, Leaf::Text(format!("{place} {arguments}"), text)),
        _ => Taken::Nothing,
    };
    if name != Some(Taken::Old) {
        if name.is_none() && arguments == Taken::Old {
            *call = Value::Null;
        }
        return true;
    }
    if matches!(arguments, Taken::Old | Taken::Nothing) {
        *call = Value::Null;
        return true;
    }
    // The call is open under the id of the answer that opened it.
    function.remove("name");
    if let Some(call) = call.as_object_mut() {
        call.remove("id");
        call.remove("type");
    }
    true
}

/// A choice of a `text_completion`.
fn completion(choice: &mut Value, hear: &mut Hear<'_>) -> bool {
    let group = number(&choice["index"]);
    if let Value::String(text) = &mut choice["text"]
        && hear(group, Leaf::Text("text".into(), text)) != Taken::New
        && let Some(choice) = choice.as_object_mut()
    {
        choice.remove("logprobs");
    }
    mark(group, "finish", &choice["finish_reason"], hear);
    true
}

/// An event of a message. <https://platform.claude.com/docs/en/build-with-claude/streaming>
fn anthropic(event: &mut Value, hear: &mut Hear<'_>) -> bool {
    let block = format!("block {}", number(&event["index"]));
    let kind = event["type"].as_str().unwrap_or_default().to_owned();
    match &*kind {
        "ping" => {}
        "message_start" | "message_stop" => {
            hear(0, Leaf::Mark(kind));
        }
        "content_block_start" => {
            let mut opened = event["content_block"].clone();
            without(opened.as_object_mut(), &["id", "signature", "data"]);
            hear(0, Leaf::Token(block, format!("start {opened}")));
        }
        "content_block_stop" => {
            hear(0, Leaf::Token(block, "stop".into()));
        }
        "content_block_delta" => return delta(block, &mut event["delta"], hear),
        "message_delta" => mark(0, "stop", &event["delta"]["stop_reason"], hear),
        _ => return false,
    }
    true
}

fn delta(block: String, delta: &mut Value, hear: &mut Hear<'_>) -> bool {
    let kind = delta["type"].as_str().unwrap_or_default().to_owned();
    let text = match &*kind {
        "text_delta" => "text",
        "thinking_delta" => "thinking",
        "input_json_delta" => "partial_json",
        // Another answer has another signature of the same thought.
        "signature_delta" => {
            hear(0, Leaf::Token(block, kind));
            return true;
        }
        "citations_delta" => {
            hear(0, Leaf::Token(block, delta["citation"].to_string()));
            return true;
        }
        _ => return false,
    };
    match &mut delta[text] {
        Value::String(piece) => {
            hear(0, Leaf::Text(format!("{block} {text}"), piece));
            true
        }
        _ => false,
    }
}

/// A candidate of a `GenerateContentResponse`.
fn gemini(candidate: &mut Value, hear: &mut Hear<'_>) -> bool {
    let group = number(&candidate["index"]);
    let parts = candidate.pointer_mut("/content/parts").and_then(Value::as_array_mut);
    if let Some(parts) = parts {
        parts.retain_mut(|part| gemini_part(group, part, hear) != Taken::Old);
    }
    mark(group, "finish", &candidate["finishReason"], hear);
    true
}

fn gemini_part(group: u64, part: &mut Value, hear: &mut Hear<'_>) -> Taken {
    let thought = if part["thought"] == true { "thought" } else { "text" };
    if let Some(Value::String(text)) = part.get_mut("text") {
        return hear(group, Leaf::Text(thought.into(), text));
    }
    let mut said = part.clone();
    without(said.as_object_mut(), &["thoughtSignature"]);
    without(said["functionCall"].as_object_mut(), &["id"]);
    hear(group, Leaf::Token("part".into(), said.to_string()))
}

fn without(object: Option<&mut Map<String, Value>>, names: &[&str]) {
    if let Some(object) = object {
        object.retain(|name, _| !names.contains(&name.as_str()));
    }
}
