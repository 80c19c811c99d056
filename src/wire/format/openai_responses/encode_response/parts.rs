//! What is going on in a caller's stream, each by its own events: a part of a message, a thought, a call.

use serde_json::{Value, json};

use super::write::{number, raw, text, value};
use super::{Lines, item_id};
use crate::wire::format::openai_responses::signature::Of;
use crate::wire::format::openai_responses::{FREEFORM, signature};
use crate::wire::ir::Signature;

pub(crate) const MESSAGE: &str = "msg";
pub(crate) const REASONING: &str = "rs";
const FUNCTION: &str = "fc";
const CUSTOM: &str = "ctc";

/// A part of a message.
#[derive(Debug)]
pub(crate) struct Part {
    /// Of its message among the items.
    pub(crate) index: usize,
    /// Of it in its message.
    pub(crate) place: usize,
    refusal: bool,
    text: String,
    annotations: Vec<Value>,
    /// Those that tell no place in the text: of the whole of it.
    unplaced: Vec<Value>,
    logprobs: Vec<Value>,
}

/// A reasoning item.
#[derive(Debug)]
pub(crate) struct Thought {
    pub(crate) index: usize,
    text: String,
    pub(crate) signature: Option<Signature>,
}

/// A call of a function, or of a custom tool.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) index: usize,
    id: String,
    name: String,
    arguments: String,
    freeform: bool,
    pub(crate) signature: Option<Signature>,
}

/// The beginning of an item.
pub(crate) fn head(out: &mut Vec<u8>, prefix: &str, id: &str, index: usize, kind: &str) {
    out.extend_from_slice(b"{\"id\":");
    item_id(out, prefix, id, index);
    text(out, "type", kind);
}

impl Part {
    pub(crate) fn new(index: usize, place: usize, refusal: bool) -> Part {
        Part {
            index,
            place,
            refusal,
            text: String::new(),
            annotations: Vec::new(),
            unplaced: Vec::new(),
            logprobs: Vec::new(),
        }
    }

    /// The part begins.
    pub(crate) fn added(&self, lines: &mut Lines<'_>) {
        let out = self.begin("response.content_part.added", lines);
        raw(out, "part", b"");
        self.write(out);
        lines.finish();
    }

    fn begin<'l>(&self, kind: &str, lines: &'l mut Lines<'_>) -> &'l mut Vec<u8> {
        let out = lines.begin_at(kind, MESSAGE, self.index);
        number(out, "content_index", self.place as u64);
        out
    }

    pub(crate) fn say(&mut self, more: &str, lines: &mut Lines<'_>) {
        self.text.push_str(more);
        if self.refusal {
            text(self.begin("response.refusal.delta", lines), "delta", more);
        } else {
            let out = self.begin("response.output_text.delta", lines);
            text(out, "delta", more);
            raw(out, "logprobs", b"[]");
        }
        lines.finish();
    }

    /// They come behind their text, which was not held back for them.
    pub(crate) fn logprobs(&mut self, more: &[Value], lines: &mut Lines<'_>) {
        if self.refusal {
            return;
        }
        self.logprobs.extend_from_slice(more);
        let out = self.begin("response.output_text.delta", lines);
        text(out, "delta", "");
        raw(out, "logprobs", b"");
        value(out, more);
        lines.finish();
    }

    pub(crate) fn cite(&mut self, what: &Value, lines: &mut Lines<'_>) {
        match annotation(what) {
            _ if self.refusal => {}
            Some(own) if own["start_index"].is_u64() || own["type"] != "url_citation" => {
                self.annotate(own, lines);
            }
            Some(own) => self.unplaced.push(own),
            None => {}
        }
    }

    fn annotate(&mut self, own: Value, lines: &mut Lines<'_>) {
        let out = self.begin("response.output_text.annotation.added", lines);
        number(out, "annotation_index", self.annotations.len() as u64);
        raw(out, "annotation", b"");
        value(out, &own);
        lines.finish();
        self.annotations.push(own);
    }

    pub(crate) fn close(&mut self, lines: &mut Lines<'_>) {
        for mut own in std::mem::take(&mut self.unplaced) {
            own["start_index"] = Value::from(0);
            own["end_index"] = Value::from(self.text.chars().count());
            self.annotate(own, lines);
        }
        if self.refusal {
            text(self.begin("response.refusal.done", lines), "refusal", &self.text);
        } else {
            let out = self.begin("response.output_text.done", lines);
            text(out, "text", &self.text);
            raw(out, "logprobs", b"");
            value(out, &self.logprobs);
        }
        lines.finish();
        let out = self.begin("response.content_part.done", lines);
        raw(out, "part", b"");
        self.write(out);
        lines.finish();
    }

    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        if self.refusal {
            out.extend_from_slice(b"{\"type\":\"refusal\"");
            text(out, "refusal", &self.text);
        } else {
            out.extend_from_slice(b"{\"type\":\"output_text\"");
            text(out, "text", &self.text);
            raw(out, "annotations", b"");
            value(out, &self.annotations);
            raw(out, "logprobs", b"");
            value(out, &self.logprobs);
        }
        out.push(b'}');
    }
}

/// A citation as this API has it, or one of the web brought into its form; others have no place.
fn annotation(what: &Value) -> Option<Value> {
    const OWN: &[&str] = &["file_citation", "container_file_citation", "file_path"];
    // OpenAI's chat format has it within.
    let within = &what["url_citation"];
    let what = if within.is_object() { within } else { what };
    if what["type"].as_str().is_some_and(|kind| OWN.contains(&kind)) {
        return Some(what.clone());
    }
    let url = what["url"].as_str()?;
    let title = what["title"].as_str().unwrap_or(url);
    let mut own = json!({ "type": "url_citation", "url": url, "title": title });
    if let (Some(start), Some(end)) = (what["start_index"].as_u64(), what["end_index"].as_u64()) {
        own["start_index"] = Value::from(start);
        own["end_index"] = Value::from(end);
    }
    Some(own)
}

impl Thought {
    pub(crate) fn new(index: usize) -> Thought {
        Thought { index, text: String::new(), signature: None }
    }

    fn begin<'l>(&self, kind: &str, lines: &'l mut Lines<'_>) -> &'l mut Vec<u8> {
        let out = lines.begin_at(kind, REASONING, self.index);
        number(out, "summary_index", 0);
        out
    }

    pub(crate) fn say(&mut self, more: &str, lines: &mut Lines<'_>) {
        if more.is_empty() {
            return;
        }
        if self.text.is_empty() {
            let out = self.begin("response.reasoning_summary_part.added", lines);
            raw(out, "part", br#"{"type":"summary_text","text":""}"#);
            lines.finish();
        }
        self.text.push_str(more);
        text(self.begin("response.reasoning_summary_text.delta", lines), "delta", more);
        lines.finish();
    }

    pub(crate) fn close(&self, lines: &mut Lines<'_>) {
        if self.text.is_empty() {
            return;
        }
        text(self.begin("response.reasoning_summary_text.done", lines), "text", &self.text);
        lines.finish();
        let out = self.begin("response.reasoning_summary_part.done", lines);
        raw(out, "part", b"");
        self.part(out);
        lines.finish();
    }

    fn part(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"type\":\"summary_text\"");
        text(out, "text", &self.text);
        out.push(b'}');
    }

    pub(crate) fn write(&self, id: &str, out: &mut Vec<u8>) {
        head(out, REASONING, id, self.index, "reasoning");
        raw(out, "summary", b"[");
        if !self.text.is_empty() {
            self.part(out);
        }
        out.push(b']');
        if let Some(signature) = &self.signature {
            text(out, "encrypted_content", &signature::written(signature, Of::Thought));
        }
        out.push(b'}');
    }
}

impl Call {
    pub(crate) fn new(index: usize, id: String, name: String, freeform: bool) -> Call {
        Call { index, id, name, arguments: String::new(), freeform, signature: None }
    }

    fn prefix(&self) -> &'static str {
        if self.freeform { CUSTOM } else { FUNCTION }
    }

    /// The text of a custom tool is told when it is whole: before, it is a piece of JSON.
    pub(crate) fn say(&mut self, more: &str, lines: &mut Lines<'_>) {
        self.arguments.push_str(more);
        if !self.freeform && !more.is_empty() {
            let kind = "response.function_call_arguments.delta";
            text(lines.begin_at(kind, FUNCTION, self.index), "delta", more);
            lines.finish();
        }
    }

    /// What is called with, told in full.
    pub(crate) fn close(&mut self, lines: &mut Lines<'_>) -> String {
        if !self.freeform {
            // Some providers call without a word a tool that takes nothing.
            if self.arguments.is_empty() {
                self.say("{}", lines);
            }
            let said = &*self.arguments;
            let kind = "response.function_call_arguments.done";
            let out = lines.begin_at(kind, FUNCTION, self.index);
            text(out, "name", &self.name);
            text(out, "arguments", said);
            lines.finish();
            return said.to_owned();
        }
        let said = freeform(&self.arguments);
        if !said.is_empty() {
            let kind = "response.custom_tool_call_input.delta";
            text(lines.begin_at(kind, CUSTOM, self.index), "delta", &said);
            lines.finish();
        }
        let kind = "response.custom_tool_call_input.done";
        text(lines.begin_at(kind, CUSTOM, self.index), "input", &said);
        lines.finish();
        said
    }

    pub(crate) fn write(&self, said: &str, status: &str, id: &str, out: &mut Vec<u8>) {
        let kind = if self.freeform { "custom_tool_call" } else { "function_call" };
        head(out, self.prefix(), id, self.index, kind);
        text(out, "status", status);
        text(out, "call_id", &self.id);
        text(out, "name", &self.name);
        text(out, if self.freeform { FREEFORM } else { "arguments" }, said);
        out.push(b'}');
    }
}

/// The text for a custom tool; a model that did not keep to the schema has written it bare.
fn freeform(arguments: &str) -> String {
    let value: Option<Value> = serde_json::from_str(arguments).ok();
    match value.as_ref().map(|value| &value[FREEFORM]) {
        Some(Value::String(text)) => text.clone(),
        _ => arguments.to_owned(),
    }
}
