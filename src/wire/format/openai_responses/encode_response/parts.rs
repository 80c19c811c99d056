//! The open parts and items of a caller's answer, each with its own events: a part of a message, a reasoning
//! item, a call.

use serde_json::{Value, json};

use super::event_writer::{EventWriter, Place};
use crate::wire::format::openai_responses::signature::{self, Signed};
use crate::wire::format::openai_responses::types::{FREEFORM, OutputItem, OutputPart, SummaryPart};
use crate::wire::ir::Signature;

/// A part of a message.
#[derive(Debug)]
pub(super) struct MessagePart {
    pub(super) place: Place,
    is_refusal: bool,
    text: String,
    annotations: Vec<Value>,
    /// URL citations without a position in the text: they become citations of the whole text.
    without_position: Vec<Value>,
    logprobs: Vec<Value>,
}

/// A reasoning item. Its text is one part of its summary.
#[derive(Debug)]
pub(super) struct ReasoningItem {
    pub(super) place: Place,
    text: String,
    pub(super) signature: Option<Signature>,
}

/// A call of a function, or of a custom tool.
#[derive(Debug)]
pub(super) struct CallItem {
    pub(super) place: Place,
    pub(super) call_id: String,
    pub(super) name: String,
    pub(super) is_custom: bool,
    arguments: String,
    pub(super) signature: Option<Signature>,
}

impl MessagePart {
    /// Opens the part.
    pub(super) fn open(place: Place, is_refusal: bool, events: &mut EventWriter<'_>) -> Self {
        let part = MessagePart {
            place,
            is_refusal,
            text: String::new(),
            annotations: Vec::new(),
            without_position: Vec::new(),
            logprobs: Vec::new(),
        };
        events.event_at(&part.place, "response.content_part.added", |event| {
            event.put("part", &part.json());
        });
        part
    }

    pub(super) fn push_text(&mut self, delta: &str, events: &mut EventWriter<'_>) {
        self.text.push_str(delta);
        if self.is_refusal {
            events.event_at(&self.place, "response.refusal.delta", |event| {
                event.put("delta", delta);
            });
        } else {
            self.text_delta(delta, &[], events);
        }
    }

    /// Adds probabilities of tokens. Their text was sent before, so they come with an empty delta.
    pub(super) fn push_logprobs(&mut self, logprobs: &[Value], events: &mut EventWriter<'_>) {
        if !self.is_refusal {
            self.logprobs.extend_from_slice(logprobs);
            self.text_delta("", logprobs, events);
        }
    }

    fn text_delta(&self, delta: &str, logprobs: &[Value], events: &mut EventWriter<'_>) {
        events.event_at(&self.place, "response.output_text.delta", |event| {
            event.put("delta", delta).put("logprobs", logprobs);
        });
    }

    pub(super) fn push_citation(&mut self, citation: &Value, events: &mut EventWriter<'_>) {
        match annotation(citation) {
            _ if self.is_refusal => {}
            Some(it) if it["start_index"].is_u64() || it["type"] != "url_citation" => {
                self.annotate(it, events);
            }
            Some(it) => self.without_position.push(it),
            None => {}
        }
    }

    fn annotate(&mut self, annotation: Value, events: &mut EventWriter<'_>) {
        events.event_at(&self.place, "response.output_text.annotation.added", |event| {
            event.put("annotation_index", &self.annotations.len()).put("annotation", &annotation);
        });
        self.annotations.push(annotation);
    }

    pub(super) fn close(&mut self, events: &mut EventWriter<'_>) {
        for mut annotation in std::mem::take(&mut self.without_position) {
            annotation["start_index"] = Value::from(0);
            annotation["end_index"] = Value::from(self.text.chars().count());
            self.annotate(annotation, events);
        }
        if self.is_refusal {
            events.event_at(&self.place, "response.refusal.done", |event| {
                event.put("refusal", &self.text);
            });
        } else {
            events.event_at(&self.place, "response.output_text.done", |event| {
                event.put("text", &self.text).put("logprobs", &self.logprobs);
            });
        }
        events.event_at(&self.place, "response.content_part.done", |event| {
            event.put("part", &self.json());
        });
    }

    pub(super) fn json(&self) -> OutputPart<'_> {
        let MessagePart { text, annotations, logprobs, .. } = self;
        if self.is_refusal {
            OutputPart::Refusal { refusal: text }
        } else {
            OutputPart::OutputText { text, annotations, logprobs }
        }
    }
}

/// Converts a citation of the hub: this API's citations are kept, URL citations of other APIs are brought into
/// its form; others have no counterpart.
fn annotation(citation: &Value) -> Option<Value> {
    const OWN: &[&str] = &["file_citation", "container_file_citation", "file_path"];
    // OpenAI's chat format nests the members.
    let nested = &citation["url_citation"];
    let citation = if nested.is_object() { nested } else { citation };
    if citation["type"].as_str().is_some_and(|kind| OWN.contains(&kind)) {
        return Some(citation.clone());
    }
    let url = citation["url"].as_str()?;
    let title = citation["title"].as_str().unwrap_or(url);
    let mut annotation = json!({ "type": "url_citation", "url": url, "title": title });
    if let (Some(start), Some(end)) =
        (citation["start_index"].as_u64(), citation["end_index"].as_u64())
    {
        annotation["start_index"] = Value::from(start);
        annotation["end_index"] = Value::from(end);
    }
    Some(annotation)
}

impl ReasoningItem {
    pub(super) fn new(place: Place) -> ReasoningItem {
        ReasoningItem { place, text: String::new(), signature: None }
    }

    pub(super) fn push_text(&mut self, delta: &str, events: &mut EventWriter<'_>) {
        if delta.is_empty() {
            return;
        }
        if self.text.is_empty() {
            events.event_at(&self.place, "response.reasoning_summary_part.added", |event| {
                event.put("part", &SummaryPart::SummaryText { text: "" });
            });
        }
        self.text.push_str(delta);
        events.event_at(&self.place, "response.reasoning_summary_text.delta", |event| {
            event.put("delta", delta);
        });
    }

    pub(super) fn close(&self, events: &mut EventWriter<'_>) {
        if self.text.is_empty() {
            return;
        }
        events.event_at(&self.place, "response.reasoning_summary_text.done", |event| {
            event.put("text", &self.text);
        });
        events.event_at(&self.place, "response.reasoning_summary_part.done", |event| {
            event.put("part", &SummaryPart::SummaryText { text: &self.text });
        });
    }

    pub(super) fn json(&self) -> OutputItem<'_> {
        let signature = self.signature.as_ref();
        let text = Some(&*self.text).filter(|text| !text.is_empty());
        OutputItem::Reasoning {
            id: &self.place.item_id,
            summary: text.map(|text| SummaryPart::SummaryText { text }).into_iter().collect(),
            encrypted_content: signature.map(|it| signature::encode(it, Signed::ThisItem)),
        }
    }
}

impl CallItem {
    pub(super) fn new(place: Place, call_id: String, name: String, is_custom: bool) -> CallItem {
        CallItem { place, call_id, name, is_custom, arguments: String::new(), signature: None }
    }

    /// Adds to the arguments. The text of a custom tool is sent when it is complete: until then it is a piece of
    /// JSON.
    pub(super) fn push_arguments(&mut self, delta: &str, events: &mut EventWriter<'_>) {
        self.arguments.push_str(delta);
        if !self.is_custom && !delta.is_empty() {
            events.event_at(&self.place, "response.function_call_arguments.delta", |event| {
                event.put("delta", delta);
            });
        }
    }

    /// Ends the arguments, and returns them, or the text of a custom tool.
    pub(super) fn close(&mut self, events: &mut EventWriter<'_>) -> String {
        if self.is_custom {
            let input = custom_tool_input(&self.arguments);
            if !input.is_empty() {
                events.event_at(&self.place, "response.custom_tool_call_input.delta", |event| {
                    event.put("delta", &input);
                });
            }
            events.event_at(&self.place, "response.custom_tool_call_input.done", |event| {
                event.put("input", &input);
            });
            return input;
        }
        // Some providers send no arguments for a tool without parameters.
        if self.arguments.is_empty() {
            self.push_arguments("{}", events);
        }
        events.event_at(&self.place, "response.function_call_arguments.done", |event| {
            event.put("name", &self.name).put("arguments", &self.arguments);
        });
        self.arguments.clone()
    }

    pub(super) fn json<'a>(&'a self, input: &'a str, status: &'static str) -> OutputItem<'a> {
        let CallItem { call_id, name, .. } = self;
        let id = &*self.place.item_id;
        if self.is_custom {
            OutputItem::CustomToolCall { id, status, call_id, name, input }
        } else {
            OutputItem::FunctionCall { id, status, call_id, name, arguments: input }
        }
    }
}

/// Returns the text for a custom tool. A model that ignored the schema wrote the text itself.
fn custom_tool_input(arguments: &str) -> String {
    match serde_json::from_str::<Value>(arguments).as_ref().map(|value| &value[FREEFORM]) {
        Ok(Value::String(text)) => text.clone(),
        _ => arguments.to_owned(),
    }
}
